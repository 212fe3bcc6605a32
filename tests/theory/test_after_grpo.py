"""What lesson 10 claims: MaxRL's pull, groups that differ, entropy's covariance, token baselines, the weighted KL."""

import itertools
import math

import pytest
import torch
from plain import entropy_slope as entropy_gradient
from plain import finite_differences, numbers, random_policy

from pgnotes.theory.advantages import GROUP_KINDS, gdpo_advantages, group_advantages
from pgnotes.theory.entropy import STEPS, entropy_slope
from pgnotes.theory.estimators import outcomes, with_baseline
from pgnotes.theory.groups import completions, step_moments
from pgnotes.theory.learning import prefix_optimum, with_table
from pgnotes.theory.objectives import kl_estimate
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.right_or_wrong import pull, pull_of, right_first
from pgnotes.theory.several_rewards import distinct, every_group, normalised_first, summed_first
from pgnotes.theory.token_baseline import PLACE_RULES, place_baselines, with_places
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world

RATES = torch.tensor([0.03, 0.2, 0.5, 0.9], dtype=torch.float64)

# C84


@pytest.mark.parametrize("size", [2, 3, 5])
def test_maxrl_climbs_pass_at_k_to_order_g_minus_1(size):
    """Σ_{k<G} ∇pass@k / k = (1 - (1-p)^(G-1))/p ∇p: by the binomial, and by listing every group of three answers."""
    wanted = (1 - (1 - RATES) ** (size - 1)) / RATES
    harmonic = sum((1 - RATES) ** (k - 1) for k in range(1, size))
    torch.testing.assert_close(harmonic, wanted, rtol=0, atol=1e-13)
    torch.testing.assert_close(pull(RATES, size, "maxrl"), wanted, rtol=0, atol=1e-13)

    world = TokenWorld(3, 1, lambda s, prompt: torch.tensor([0.0, 1.0, 1.0])[s])
    for logits in numbers(5, 1, 3):
        policy = PrefixPolicy(logits[None])
        p = world.expected_return(policy).item()
        factor = (1 - (1 - p) ** (size - 1)) / p
        mean = step_moments(completions(world, policy), "maxrl", size).mean
        torch.testing.assert_close(mean, factor * world.exact_gradient(policy).flatten(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_order_g_needs_no_centring_or_all_wrong_groups_that_push_down(size):
    rewards = right_first(size)
    share = rewards.mean(1, keepdim=True)
    uncentred = rewards / share.clamp(min=1e-9)
    wanted = (1 - (1 - RATES) ** size) / RATES
    for advantages in (uncentred, uncentred - 1):
        torch.testing.assert_close(pull_of(RATES, advantages), wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", GROUP_KINDS)
def test_the_general_pull_is_that_of_each_kind(kind):
    general = pull_of(RATES, group_advantages(right_first(6), kind))
    torch.testing.assert_close(general, pull(RATES, 6, kind), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "rate", "table"), [("advantages", 0.5, torch.zeros(3, 3)), ("pass_rate", 1.0, 0)])
def test_a_table_of_another_size_and_a_rate_without_a_chance_are_refused(name, rate, table):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        pull_of(rate, table)


def test_maxrl_has_no_place_for_rewards_below_0():
    with pytest.raises(ValueError, match="^rewards must not be below 0"):
        group_advantages(torch.tensor([[1.0, -1.0]]), "maxrl")


# C85


def test_two_rewards_normalised_alone_tell_more_groups_apart():
    groups = every_group(2, 4)
    assert groups.shape == (2, 256, 4)
    assert (distinct(summed_first(groups)), distinct(normalised_first(groups))) == (51, 107)
    by_hand = {tuple(2 * a + b for a, b in zip(*pair, strict=True)) for pair in groups.transpose(0, 1).tolist()}
    assert len(by_hand) == 256, "all groups are there, each once"


def test_gdpo_by_hand():
    """One reward is right in one of four, the other in three of four; the second counts half; two prompts."""
    rewards = torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]], [[0, 1, 1, 1], [1, 1, 1, 1]]], dtype=torch.float64)
    up, down, unit = 0.75, 0.25, 0.5 + 1e-4  # of a group with one that differs: distances from the mean, and spread
    first = [up / unit - 0.5 * up / unit, *[-down / unit + 0.5 * down / unit] * 3]
    total = torch.tensor([*first, 0, 0, 0, 0], dtype=torch.float64)
    wanted = (total - total.mean()) / (total.std() + 1e-4)
    found = gdpo_advantages(rewards, torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(found.flatten(), wanted, rtol=1e-12, atol=1e-12)
    assert (found[1] == 0).all(), "nothing to compare, exact zeros"
    assert not gdpo_advantages(torch.full((3, 2, 4), 0.1)).any()
    torch.testing.assert_close(gdpo_advantages(rewards[:1]), gdpo_advantages(5 * rewards[:1]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rewards", (torch.zeros(2, 4),)),
        ("rewards", (torch.zeros(2, 3, 1),)),
        ("rewards", (torch.full((2, 3, 4), math.nan),)),
        ("rewards", (None,)),
        ("weights", (torch.zeros(2, 3, 4), torch.ones(3))),
        ("weights", (torch.zeros(2, 3, 4), [1.0, 1.0])),
    ],
)
def test_bad_rewards_are_named(name, arguments):
    with pytest.raises(ValueError, match=rf"^{name} "):
        gdpo_advantages(*arguments)


def test_too_many_groups_are_not_listed():
    with pytest.raises(ValueError, match="^size is 11"):
        every_group(2, 11)


# C88


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("seed", range(5))
def test_entropy_moves_by_a_covariance(step, seed):
    """Autograd of the entropy, dotted with the step itself, and the entropy before and after a small step."""
    theta, values = numbers(6, seed=seed), numbers(6, seed=seed + 9)
    probs = theta.softmax(0)
    advantages = values - probs @ values
    moved = probs * advantages if step == "gradient" else advantages
    found = entropy_slope(probs, values, step)
    assert found.item() == pytest.approx((entropy_gradient(theta) @ moved).item(), abs=1e-12)
    if step == "gradient":  # what is added to the logits is the gradient of the expected value
        slope = finite_differences(lambda t: (t.softmax(0) @ values).item(), theta)
        torch.testing.assert_close(moved, slope, rtol=0, atol=1e-8)

    def entropy(size):
        p = (theta + size * moved).softmax(0)
        return -(p * p.log()).sum().item()

    assert found.item() == pytest.approx((entropy(1e-5) - entropy(-1e-5)) / 2e-5, abs=1e-8)


def test_a_likely_good_action_lowers_the_entropy_and_a_rare_one_raises_it():
    probs = torch.tensor([[0.7, 0.2, 0.1]] * 2, dtype=torch.float64)
    values = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    for step in STEPS:
        falls, rises = entropy_slope(probs, values, step).tolist()
        assert falls < 0 < rises


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("probs", {"probs": [0.5, 0.6]}),
        ("probs", {"probs": [1.0, 0.0]}),
        ("probs", {"probs": 1.0}),
        ("values", {"values": [1.0, 2.0, 3.0]}),
        ("values", {"values": [1.0, math.nan]}),
        ("step", {"step": "adam"}),
    ],
)
def test_bad_arguments_of_the_entropy_are_named(name, change):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        entropy_slope(**{"probs": [0.5, 0.5], "values": [0.0, 1.0]} | change)


# C90


def test_a_number_for_each_place_by_hand():
    """Sums over sequences, one at a time, of what the paper's formula weighs."""
    world = sum_world()
    policy = random_policy(world, seed=1)
    chances, returns = world.probabilities(policy)[0], world.returns()[0]
    for rule in ("mean", "cumulative", "own"):
        above, below = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        for n, sequence in enumerate(world.sequences.tolist()):
            cumulative, row = 0.0, 0
            for t, symbol in enumerate(sequence):
                if not world.mask[n, t]:
                    break
                probs = policy.probs[row]
                energy = sum((float(symbol == v) - probs[v]) ** 2 for v in range(4))
                cumulative, row = cumulative + energy, 4 * row + 1 + symbol
                weight = chances[n] * {"mean": 1.0, "cumulative": cumulative, "own": energy}[rule]
                above[t], below[t] = above[t] + weight * returns[n], below[t] + weight
        torch.testing.assert_close(place_baselines(world, policy, rule), above / below, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_no_number_for_each_place_has_a_smaller_trace_than_the_best(shared, seed):
    """And the paper's is not it: a nudge of any entry of "best" only adds to the trace."""
    world = sum_world()
    row = numbers(1, 4, seed=seed).expand(85, 4)
    policy = PrefixPolicy(row) if shared else random_policy(world, seed=seed)
    best = place_baselines(world, policy, "best", shared)
    least = with_places(world, policy, best, shared).trace
    for t, nudge in itertools.product(range(4), (-0.01, 0.01)):
        moved = best.clone()
        moved[t] += nudge
        assert with_places(world, policy, moved, shared).trace > least
    traces = {
        rule: with_places(world, policy, place_baselines(world, policy, rule, shared), shared).trace.item()
        for rule in PLACE_RULES
    }
    assert traces["cumulative"] > least + 1e-6
    assert (abs(traces["own"] - least) < 1e-12) == (not shared)


def test_places_agree_with_lesson_05_s_tables():
    world = sum_world()
    policy = random_policy(world, seed=4)
    same = torch.full((4,), 0.3, dtype=torch.float64)
    found, wanted = with_places(world, policy, same), with_baseline(outcomes(world, policy), 0.3)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.covariance, wanted.covariance, rtol=0, atol=1e-14)
    by_prefix = with_table(world, policy, prefix_optimum(world, policy)).trace
    assert by_prefix < with_places(world, policy, place_baselines(world, policy, "best")).trace
    one_row = with_places(world, policy, same, shared=True).mean
    torch.testing.assert_close(one_row, world.exact_gradient(policy).sum(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("rule", lambda: place_baselines(sum_world(), random_policy(sum_world()), "otb")),
        ("world", lambda: place_baselines(Bandit([0.0, 1.0]), random_policy(sum_world()), "own")),
        ("baselines", lambda: with_places(sum_world(), random_policy(sum_world()), [0.0] * 3)),
    ],
)
def test_bad_arguments_of_places_are_named(name, call):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()


# the ratio-weighted KL


@pytest.mark.parametrize("kind", ["k1", "k3"])
@pytest.mark.parametrize("seed", range(5))
def test_weighted_with_the_ratio_k1_and_k3_descend_the_kl_wherever_the_policy_has_moved(kind, seed):
    """Every outcome of one decision, drawn by an old policy."""
    theta = numbers(5, seed=seed).requires_grad_()
    old, reference = numbers(5, seed=seed + 50).log_softmax(0), numbers(5, seed=seed + 99).log_softmax(0)
    logp = theta.log_softmax(0)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - reference)).sum(), theta, retain_graph=True)
    weighted = old.exp() @ kl_estimate(logp, reference, kind, old)
    (found,) = torch.autograd.grad(weighted, theta, retain_graph=True)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    assert weighted.item() == pytest.approx((logp.exp() * (logp - reference)).sum().item(), abs=1e-12)
    (without,) = torch.autograd.grad(old.exp() @ kl_estimate(logp, reference, kind), theta)
    assert (without - exact).abs().max() > 1e-3


@pytest.mark.parametrize("bad", ["a", torch.zeros(3), torch.full((2,), math.nan)])
def test_old_log_probabilities_of_another_kind_are_refused(bad):
    logp = torch.zeros(2)
    with pytest.raises(ValueError, match="^logp_old"):
        kl_estimate(logp, logp, "k3", bad)
