"""The soft optimum: by Bellman against listing; what a bonus and a posterior over trajectories make of it."""

import math

import pytest
import torch
from plain import WORLDS, numbers, random_mdp, random_policy

from pgnotes.theory.maximum_entropy import (
    bonus_gradient,
    bonus_optimum,
    carried_out,
    sequence_entropy,
    slips_believed,
    soft_gradient,
    soft_optimum,
    soft_plan,
)
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld, icy_path, sum_world

SINGLE = [(v, t, eos) for v, t, eos, prompts in WORLDS if prompts == 1]


def token_world(v, t, eos):
    table = numbers(v, t, seed=3)
    return TokenWorld(v, t, lambda sequences, _: table[sequences, torch.arange(t)], eos=eos)


@pytest.mark.parametrize("alpha", [0.1, 1.0])
@pytest.mark.parametrize("size", SINGLE)
def test_by_bellman_is_by_listing(size, alpha):
    world = token_world(*size)
    listed = torch.softmax(world.returns()[0] / alpha, 0)
    policy = soft_optimum(world, alpha)
    torch.testing.assert_close(world.probabilities(policy)[0], listed, rtol=1e-10, atol=1e-14)
    top = world.expected_return(policy) + alpha * sequence_entropy(world, policy)
    partition = alpha * torch.logsumexp(world.returns()[0] / alpha, 0)
    torch.testing.assert_close(top, partition, rtol=1e-12, atol=1e-12)
    assert soft_gradient(world, policy, alpha).abs().max() < 1e-12


@pytest.mark.parametrize("size", SINGLE)
def test_the_entropy_of_sequences_is_that_of_rows_along_them(size):
    world = token_world(*size)
    policy = random_policy(world)
    rows = policy.log_prob(world.sequences).masked_fill(~world.mask, 0).sum(1)
    chances = world.probabilities(policy)[0]
    torch.testing.assert_close(sequence_entropy(world, policy), -(chances * rows).sum())


@pytest.mark.parametrize("alpha", [0.1, 1.0])
@pytest.mark.parametrize("size", SINGLE)
def test_the_bonus_comes_to_rest_where_it_is_said_to(size, alpha):
    world = token_world(*size)
    assert bonus_gradient(world, bonus_optimum(world, alpha), alpha).abs().max() < 1e-12


def test_the_bonus_gradient_by_hand():
    """Row by row: d(s) times the slope of a row's entropy, -π (log π + H)."""
    world = token_world(3, 3, 0)
    policy = random_policy(world)
    added = bonus_gradient(world, policy, 0.7) - world.exact_gradient(policy)
    probs = policy.probs
    entropies = -(probs * probs.log()).sum(1)
    rows = {(): 0}
    for length in range(2):
        for prefix in [p for p in rows if len(p) == length]:
            for symbol in range(3):
                rows[(*prefix, symbol)] = rows[prefix] * 3 + 1 + symbol
    for prefix, row in rows.items():
        passed = 0.0 if 0 in prefix else math.prod(probs[rows[prefix[:t]], s].item() for t, s in enumerate(prefix))
        wanted = -0.7 * passed * probs[row] * (probs[row].log() + entropies[row])
        torch.testing.assert_close(added[row], wanted, rtol=1e-9, atol=1e-12)


def test_with_one_decision_there_is_no_difference():
    world = token_world(4, 1, 2)
    policy = random_policy(world)
    torch.testing.assert_close(soft_gradient(world, policy, 0.3), bonus_gradient(world, policy, 0.3))
    torch.testing.assert_close(soft_optimum(world, 0.3).probs, bonus_optimum(world, 0.3).probs)


def test_without_reward_the_soft_optimum_is_even_over_sequences_and_the_bonus_over_rows():
    world = TokenWorld(4, 4, lambda sequences, _: torch.zeros(sequences.shape), eos=0)
    assert sequence_entropy(world, soft_optimum(world, 1.0)).item() == pytest.approx(math.log(121))
    even = bonus_optimum(world, 1.0)
    torch.testing.assert_close(even.probs[0], torch.full((4,), 0.25).double())
    assert sequence_entropy(world, even) < math.log(121) - 1


# states


@pytest.mark.parametrize("optimistic", [False, True])
def test_plans_are_what_listed_trajectories_say(optimistic):
    """The posterior's conditionals from all trajectories; the soft optimum as the best of what it claims."""
    mdp, _ = random_mdp((2, 2, 3), seed=4)
    alpha = 0.5
    plan = soft_plan(mdp, alpha, optimistic)
    if optimistic:
        weights = mdp.dynamics * (mdp.rewards_of_trajectories.sum(1) / alpha).exp()
        for t in range(3):
            for s in range(2):
                here = mdp.states[:, t] == s
                for a in range(2):
                    taken = here & (mdp.actions[:, t] == a)
                    share = weights[taken].sum() / weights[here].sum()
                    assert plan.policy[t, s, a].item() == pytest.approx(share.item())
                    if t < 2:
                        onward = torch.stack([weights[taken & (mdp.states[:, t + 1] == n)].sum() for n in range(2)])
                        torch.testing.assert_close(plan.beliefs[t, s, a], onward / onward.sum())
        return

    def claims(policy):
        found = carried_out(mdp, policy)
        return found.reward + alpha * found.entropy

    top = claims(plan.policy)
    for seed in range(30):
        other = torch.softmax(plan.policy.log() + 0.2 * numbers(3, 2, 2, seed=seed), -1)
        assert claims(other) < top
    assert torch.equal(plan.beliefs[0], mdp.transitions)


def test_carried_out_is_what_listed_trajectories_earn():
    mdp, _ = random_mdp((2, 3, 3), seed=1)
    policy = numbers(3, 2, 3, seed=2).softmax(-1)
    chances = mdp.dynamics * math.prod(policy[t, mdp.states[:, t], mdp.actions[:, t]] for t in range(3))
    found = carried_out(mdp, policy)
    assert found.reward == pytest.approx((chances @ mdp.rewards_of_trajectories.sum(1)).item())
    logs = sum(policy[t, mdp.states[:, t], mdp.actions[:, t]].log() for t in range(3))
    assert found.entropy == pytest.approx(-(chances @ logs).item())
    for t in range(3):
        shares = torch.stack([chances[mdp.states[:, t] == s].sum() for s in range(2)])
        torch.testing.assert_close(found.visits[t], shares)


def test_where_nothing_slips_both_plans_are_one():
    soft, posterior = soft_plan(icy_path(0.0), 0.3), soft_plan(icy_path(0.0), 0.3, optimistic=True)
    reached = carried_out(icy_path(0.0), soft.policy).visits > 0
    torch.testing.assert_close(soft.policy[reached], posterior.policy[reached])


def test_believed_slips_are_those_of_weighted_trajectories():
    ice, alpha = icy_path(0.3), 0.3
    weights = ice.dynamics * (ice.rewards_of_trajectories.sum(1) / alpha).exp()
    weights = weights / weights.sum()
    right = slipped = 0.0
    for t in range(3):
        stepped = ice.actions[:, t] == 1
        meant = (ice.states[:, t] + 1).clamp(max=2)
        right += weights[stepped].sum().item()
        slipped += weights[stepped & (ice.states[:, t + 1] != meant)].sum().item()
    plan = soft_plan(ice, alpha, optimistic=True)
    assert slips_believed(ice, plan, 0.3, action=1) == pytest.approx(slipped / right)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("alpha", lambda: soft_optimum(sum_world(), 0.0)),
        ("alpha", lambda: bonus_optimum(sum_world(), -1.0)),
        ("alpha", lambda: soft_plan(icy_path(0.1), 0.0)),
        ("world", lambda: soft_optimum(TokenWorld(2, 2, lambda s, _: s.double(), prompts=2), 1.0)),
        ("policy", lambda: carried_out(icy_path(0.1), torch.full((3, 3, 2), 0.5))),
        ("slip", lambda: slips_believed(icy_path(0.1), soft_plan(icy_path(0.1), 1.0), 2.0, 1)),
        ("policy", lambda: bonus_gradient(sum_world(), PrefixPolicy(torch.zeros(1, 4)), 1.0)),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
