"""Groups against every ordered batch, autograd of the loss, the closed forms of other modules, and simulation."""

import itertools

import pytest
import torch
from plain import random_policy, seeded, sequences_of

from pgnotes.theory.advantages import KINDS, group_advantages
from pgnotes.theory.estimators import moments_of, outcomes, with_leave_one_out
from pgnotes.theory.groups import (
    BATCH_RULES,
    RULES,
    completions,
    groups,
    knock_world,
    knocker,
    step_moments,
    true_values,
    vine_moments,
)
from pgnotes.theory.objectives import AGGREGATES, policy_loss
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld, sum_world

STOPS = [[0.2, 0.7, 0.5, 0.5], [0.3, 0.5, 0.6, 0.5]]


def small(prompts=2, least=-0.5):
    """Three outcomes of lengths 1, 2 and 2, with another reward for each and for each prompt."""
    table = torch.tensor([[0.3, 1.0, least], [0.0, 0.2, 2.0]], dtype=torch.float64)
    at_once = torch.tensor([1.0, 0.0])
    world = TokenWorld(2, 2, lambda s, prompt: table[prompt][s.sum(1)][:, None] * at_once, eos=0, prompts=prompts)
    return world, random_policy(world, seed=3)


def branching():
    """Two symbols, two steps and no end: two states at the second place."""
    table = torch.tensor([[0.3, 1.0], [-0.5, 2.0]], dtype=torch.float64)
    world = TokenWorld(2, 2, lambda s, prompt: table[s[:, 0], s[:, 1]][:, None] * torch.tensor([0.0, 1.0]))
    return world, random_policy(world, seed=3)


def every_step(world, policy, size, weigh, average):
    """Mean and covariance from all ordered batches: the gradient of the loss by autograd for each."""
    theta = policy.logits.clone().requires_grad_()
    learner, chances = PrefixPolicy(theta), world.probabilities(policy)
    groups_of_a_prompt = [list(members) for members in sequences_of(len(world.sequences), size)]
    probabilities, estimates = [], []
    for batch in itertools.product(groups_of_a_prompt, repeat=world.prompts):
        rewards = torch.stack([world.returns()[i][members] for i, members in enumerate(batch)])
        logp = torch.cat([learner.log_prob(world.sequences[members], i) for i, members in enumerate(batch)])
        mask = torch.cat([world.mask[members] for members in batch])
        weights = weigh(rewards, batch).flatten(0, 1)
        loss = policy_loss(logp, logp.detach(), weights, mask, "reinforce", aggregate=average)
        estimates.append(-torch.autograd.grad(loss, theta, retain_graph=True)[0].flatten())
        of_each = [chances[i][members].prod() for i, members in enumerate(batch)]
        probabilities.append(torch.stack(of_each).prod())
    return moments_of(torch.stack(probabilities).detach(), torch.stack(estimates))


@pytest.mark.parametrize("average", AGGREGATES)
@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_those_of_every_ordered_batch(kind, average):
    world, policy = small(least=0.0 if kind == "maxrl" else -0.5)  # maxrl divides by a mean
    wanted = every_step(world, policy, 2, lambda rewards, _: group_advantages(rewards, kind), average)
    found = step_moments(completions(world, policy), kind, 2, average)
    assert torch.allclose(found.mean, wanted.mean, atol=1e-12)
    assert torch.allclose(found.covariance, wanted.covariance, atol=1e-12)


@pytest.mark.parametrize("make", [small, branching])
@pytest.mark.parametrize("kind", ["same_length", "same_state", "gigpo", "group_mean_batch_std"])
def test_the_other_rules_written_out(kind, make):
    world, policy = make()

    def alike(m, mine, t):
        """Whether two completions are compared at place t."""
        if kind == "same_length":
            return world.mask[m].sum() == world.mask[mine].sum()
        return world.mask[m, t] and (world.sequences[m, :t] == world.sequences[mine, :t]).all()

    def weigh(rewards, batch):
        weights = torch.zeros(*rewards.shape, world.horizon, dtype=torch.float64)
        for prompt, members in enumerate(batch):
            for (i, mine), t in itertools.product(enumerate(members), range(world.horizon)):
                like = [j for j, m in enumerate(members) if alike(m, mine, t)]
                if like:
                    weights[prompt, i, t] = rewards[prompt, i] - rewards[prompt, like].mean()
        if kind == "gigpo":
            weights += (rewards - rewards.mean(1, keepdim=True))[..., None]
        if kind == "group_mean_batch_std":
            apart = rewards - rewards.mean(1, keepdim=True)
            weights = (apart / (apart.std() + 1e-4))[..., None].expand(weights.shape)
        return weights

    size = 3 if kind == "same_state" else 2
    wanted = every_step(world, policy, size, weigh, "sum")
    found = step_moments(completions(world, policy), kind, size)
    assert torch.allclose(found.mean, wanted.mean, atol=1e-12)
    assert torch.allclose(found.covariance, wanted.covariance, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_leave_one_out_is_the_gradient_and_dr_grpo_a_factor_of_it(size):
    world, policy = knock_world(), knocker(STOPS)
    listed, exact = completions(world, policy), world.exact_gradient(policy).flatten()
    rloo, dr_grpo = step_moments(listed, "rloo", size), step_moments(listed, "dr_grpo", size)
    assert torch.allclose(rloo.mean, exact, atol=1e-12)
    assert torch.allclose(dr_grpo.mean, exact * (size - 1) / size, atol=1e-12)
    assert torch.allclose(dr_grpo.covariance, rloo.covariance * ((size - 1) / size) ** 2, atol=1e-12)


def test_one_prompt_is_the_closed_form_of_lesson_05():
    world, policy = small(prompts=1)
    found, wanted = step_moments(completions(world, policy), "rloo", 5), with_leave_one_out(outcomes(world, policy), 5)
    assert torch.allclose(found.mean, wanted.mean, atol=1e-12)
    assert torch.allclose(found.covariance, wanted.covariance, atol=1e-12)


def test_groups_are_multinomial():
    chances = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    members, p = groups(chances, 4)
    assert members.shape == (15, 4)
    assert p.sum().item() == pytest.approx(1.0)
    tally = {}
    for ordered in sequences_of(3, 4):
        key = tuple(sorted(ordered))
        tally[key] = tally.get(key, 0.0) + chances[list(ordered)].prod().item()
    assert p.tolist() == pytest.approx([tally[tuple(row)] for row in members.tolist()])


def test_a_group_of_an_outcome_that_never_comes_has_chance_0():
    members, p = groups([1.0, 0.0], 3)
    assert p[(members == 1).any(1)].sum() == 0
    assert p.sum() == 1


def test_the_values_of_prefixes():
    world, policy = knock_world(), knocker(STOPS)
    values = true_values(completions(world, policy)[0])
    assert values[:, 0].tolist() == pytest.approx([0.56] * 5)
    assert values[1].tolist() == pytest.approx([0.56, 0.7, 1.0, 1.0, 1.0]), "one knock, stop: 1 from then on"
    assert values[3, :2].tolist() == pytest.approx([0.56, 0.7])
    assert values[3, 2:].abs().max() == 0


@pytest.mark.parametrize("rollouts", [1, 3])
def test_vine_is_unbiased_and_as_noisy_as_simulated(rollouts):
    world, policy = small(prompts=1)
    one = completions(world, policy)[0]
    exact = vine_moments([one], rollouts, 1)
    assert torch.allclose(exact.mean, world.exact_gradient(policy).flatten(), atol=1e-12)

    generator, estimates, n = seeded(0), [], 4000
    drawn = torch.multinomial(one.chances, n, replacement=True, generator=generator)
    for m in drawn.tolist():
        guesses = []
        for t in range(world.horizon):
            like = (one.sequences[:, :t] == one.sequences[m, :t]).all(1)
            fresh = torch.multinomial(one.chances * like, rollouts, replacement=True, generator=generator)
            guesses.append(one.returns[fresh].mean() if one.mask[m, t] else one.returns[m])
        guesses.append(one.returns[m])
        estimates.append(sum((guesses[t + 1] - guesses[t]) * one.scores[m, t] for t in range(world.horizon)))

    estimates = torch.stack(estimates)
    assert ((estimates.mean(0) - exact.mean).abs() <= 4 * estimates.std(0) / n**0.5 + 1e-12).all()
    squares = (estimates - exact.mean).square().sum(1)
    assert abs(squares.mean() - exact.trace) < 4 * squares.std() / n**0.5


def test_an_average_over_tokens_turns_vine_s_mean():
    world, policy = small()
    listed, exact = completions(world, policy), world.exact_gradient(policy).flatten()
    steps = [true_values(prompt).diff() for prompt in listed]
    wanted = every_step(world, policy, 2, lambda _, batch: torch.stack([*map(pick, steps, batch)]), "token")
    found, added = step_moments(listed, "vine", 2, "token"), step_moments(listed, "vine", 2)
    assert torch.allclose(found.mean, wanted.mean, atol=1e-12)
    assert torch.allclose(added.mean, exact, atol=1e-12)
    assert torch.allclose(added.covariance, vine_moments(listed, 10**12, 2).covariance, atol=1e-9)
    assert torch.cosine_similarity(found.mean, exact, 0) < 0.9999


def pick(values, members):
    return values[members]


@pytest.mark.parametrize(("size", "degrees"), [(4, 69.1), (8, 61.5), (32, 21.6), (64, 6.1), (128, 1.7)])
def test_the_angle_of_the_division_shrinks_when_groups_hold_the_rare_answer(size, degrees):
    """Rewards 0, 0.1 and 1, the 1 rare: what lesson 08 and its quiz say."""
    world = TokenWorld(3, 1, lambda s, prompt: torch.tensor([0.0, 0.1, 1.0])[s])
    policy = PrefixPolicy(torch.tensor([[0.15, 0.8, 0.05]], dtype=torch.float64).log())
    exact, listed = world.exact_gradient(policy).flatten(), completions(world, policy)
    mean = step_moments(listed, "grpo", size).mean
    assert torch.cosine_similarity(mean, exact, 0).acos().rad2deg().item() == pytest.approx(degrees, abs=0.05)
    centred = step_moments(listed, "dr_grpo", size).mean
    assert torch.allclose(centred, (size - 1) / size * exact, atol=1e-12), "the mean alone turns nothing"


def test_lengths_move_where_nothing_is_paid_for_them_unless_the_average_is_a_constant():
    """The first symbol decides, and the rest is padding: slopes of both mean lengths along the mean step (C18)."""
    world = TokenWorld(3, 3, lambda s, prompt: (s == 1) * (torch.arange(3) == 0), eos=0)
    first, length = world.sequences[:, 0], world.mask.sum(1).double()
    moves = {}
    for seed in range(10):
        theta = random_policy(world, seed=seed).logits.detach().requires_grad_()
        p = world.probabilities(PrefixPolicy(theta))[0]
        means = [p[first == symbol] @ length[first == symbol] / p[first == symbol].sum() for symbol in (1, 2)]
        slopes = [torch.autograd.grad(mean, theta, retain_graph=True)[0].flatten() for mean in means]
        listed = completions(world, PrefixPolicy(theta.detach()))
        for average in ("sum", "dr_grpo", "token", "sequence"):
            push = step_moments(listed, "rloo", 2, average).mean
            moves.setdefault(average, []).append([(slope @ push).item() for slope in slopes])
    moves = {average: torch.tensor(rows, dtype=torch.float64) for average, rows in moves.items()}
    for average in ("sum", "dr_grpo"):
        assert moves[average].abs().max() < 1e-12
    for average in ("token", "sequence"):
        right, wrong = moves[average].unbind(1)
        assert (right < -1e-9).all()
        assert (wrong > 1e-9).all()


@pytest.mark.parametrize("average", ["token", "sequence"])
def test_a_stop_that_is_one_logit_for_both_kinds_of_answer_is_not_moved(average):
    """Under lesson 08's lengths: what right answers pull, wrong ones pull back, if (nearly) none stops at once."""
    world = TokenWorld(3, 3, lambda s, prompt: (s == 1) * (torch.arange(3) == 0), eos=0)
    for seed in range(3):
        theta = random_policy(world, seed=seed).logits.detach().clone()
        theta[3], theta[10:13] = theta[2], theta[7:10]  # after a 2 as after a 1; rows are breadth first
        theta[0, 0] = -40.0
        push = step_moments(completions(world, PrefixPolicy(theta)), "rloo", 2, average).mean.view(13, 3)
        after_1, after_2 = push[[2, 7, 8, 9]], push[[3, 10, 11, 12]]
        assert after_1.abs().max() > 1e-3
        assert torch.allclose(after_1 + after_2, torch.zeros(4, 3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("paid", "kind", "climbs"),
    [([0, 0.1, 1], "grpo", False), ([0, 0.1, 1], "dr_grpo", True), ([0, 1, 1], "grpo", True)],
)
def test_with_more_than_two_rewards_the_division_follows_no_objective(paid, kind, climbs):
    """A push that climbs some function has a symmetric Jacobian (lesson 08, C9)."""
    world = TokenWorld(3, 1, lambda s, prompt: torch.tensor(paid)[s])
    logits, h = torch.tensor([0.15, 0.8, 0.05], dtype=torch.float64).log(), 1e-4

    def push(moved):
        return step_moments(completions(world, PrefixPolicy(moved[None])), kind, 4).mean

    steps = h * torch.eye(3, dtype=torch.float64)
    jacobian = torch.stack([(push(logits + step) - push(logits - step)) / (2 * h) for step in steps], 1)
    gap = (jacobian - jacobian.T).abs().max()
    assert gap < 1e-9 if climbs else gap > 0.02


SMALL = completions(*small())
BAD = [
    ("world", completions, (None, small()[1])),
    ("policy", completions, (knock_world(), small()[1])),
    ("stops", knocker, ([[0.5] * 3] * 2,)),
    ("stops", knocker, ([[0.5, 0.5, 0.5, 1.0]] * 2,)),
    ("chances", groups, ("a", 2)),
    ("chances", groups, ([0.5, 0.6], 2)),
    ("size", groups, ([0.5, 0.5], 0)),
    ("size", groups, ([1 / 50] * 50, 8)),
    ("kind", step_moments, (SMALL, "ppo", 2)),
    ("average", step_moments, (SMALL, "rloo", 2, "mean")),
    ("size", step_moments, (SMALL, "rloo", 1)),
    ("size", step_moments, (completions(sum_world(), PrefixPolicy(torch.zeros(85, 4))) * 2, "batch_mean", 2)),
    ("listed", step_moments, ([], "rloo", 2)),
    ("listed", vine_moments, ([], 1, 2)),
    ("rollouts", vine_moments, (SMALL, 0, 2)),
    ("size", vine_moments, (SMALL, 1, 0)),
]


@pytest.mark.parametrize(("name", "function", "arguments"), BAD)
def test_bad_arguments_are_named(name, function, arguments):
    with pytest.raises(ValueError, match=rf"^{name} "):
        function(*arguments)


def test_every_rule_is_known():
    assert set(BATCH_RULES) == {"reinforce_pp", "batch_mean", "lite_ppo", "group_mean_batch_std"}
    listed = completions(*small(least=0.0))
    assert all(step_moments(listed, kind, 2).mean.isfinite().all() for kind in RULES)
