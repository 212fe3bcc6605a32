"""Many runs at once against the loop that autograd differentiates, run by run."""

from itertools import islice

import pytest
import torch
from plain import numbers, seeded

from pgnotes.theory.many import (
    expected_returns,
    learning_curves,
    mean_gradient,
    probabilities,
    reinforce_many,
    rollouts,
    share,
    stuck,
)
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.random_worlds import random_world
from pgnotes.theory.reinforce import Recipe, mean_entropy, reinforce, symbol_weights
from pgnotes.theory.worlds import Rollout, sum_world

WORLD = sum_world()
RUNS = 3


@pytest.fixture
def logits():
    return torch.stack([numbers(85, 4, seed=seed) for seed in range(RUNS)])


def one_run(batch, run):
    return Rollout(*(each[run] for each in batch))


def rows_of(batch):
    return torch.stack([prefix_rows(sequences, 4) for sequences in batch.sequences])


def test_each_run_s_sequences_follow_its_own_policy(logits):
    """A hundred thousand of each, counted against all that can happen."""
    batch = rollouts(WORLD, logits, 100_000, seeded(0))
    for run in range(RUNS):
        policy = PrefixPolicy(logits[run])
        chances = WORLD.probabilities(policy)[0]
        drawn = (batch.sequences[run][:, None] == WORLD.sequences).all(-1).double()
        error = (chances * (1 - chances) / 100_000).sqrt()
        assert ((drawn.mean(0) - chances).abs() < 4.5 * error).all()
        assert torch.equal(batch.rewards[run], WORLD.rewards_of(batch.sequences[run], 0))


@pytest.mark.parametrize("bonus", [0.0, 0.3])
def test_the_gradient_is_autograd_s(logits, bonus):
    batch = rollouts(WORLD, logits, 16, seeded(1))
    weights = torch.randn(batch.rewards.shape, dtype=torch.float64, generator=seeded(2))
    given = mean_gradient(logits, batch, rows_of(batch), weights, bonus)
    for run in range(RUNS):
        theta = logits[run].clone().requires_grad_()
        policy, own = PrefixPolicy(theta), one_run(batch, run)
        score = (policy.log_prob(own.sequences) * weights[run] * own.mask).sum() / 16
        (wanted,) = torch.autograd.grad(score + bonus * mean_entropy(policy, own), theta)
        torch.testing.assert_close(given[run], wanted)


@pytest.mark.parametrize(
    "recipe", [Recipe(), Recipe(normalise=True), Recipe(value_step=0.3), Recipe(to_go=True, value_step=0.3)]
)
def test_the_weights_of_many_runs_are_those_of_each(logits, recipe):
    world = random_world("own", 4, 4, seed=0)[0]
    batch = rollouts(world, logits, 16, seeded(1))
    values = torch.randn(RUNS, 85, dtype=torch.float64, generator=seeded(2))
    moved = values.clone()
    together = symbol_weights(batch.rewards, rows_of(batch), batch.mask, recipe, moved)
    for run in range(RUNS):
        own, alone = one_run(batch, run), values[run].clone()
        weights = symbol_weights(own.rewards, rows_of(batch)[run], own.mask, recipe, alone)
        torch.testing.assert_close(together[run], weights)
        torch.testing.assert_close(moved[run], alone)


def test_expected_returns_are_the_world_s(logits):
    for world in (WORLD, random_world("own", 4, 4, seed=0)[0]):
        wanted = [world.expected_return(PrefixPolicy(each)) for each in logits]
        torch.testing.assert_close(expected_returns(world, logits), torch.stack(wanted))


def test_a_step_is_the_recipe_s(logits):
    """Clipped and ever smaller: two steps of many runs from their own batches."""
    recipe = Recipe(step_size=2.0, half_after=1.0, clip_norm=0.05)
    first, second, third = islice(reinforce_many(WORLD, recipe, RUNS, 0, logits[0]), 3)
    assert torch.equal(first, logits[:1].expand(RUNS, -1, -1))
    for before, after, size in ((first, second, 2.0), (second, third, 1.0)):
        torch.testing.assert_close((after - before).flatten(1).norm(dim=1), torch.full((RUNS,), size * 0.05).double())


def test_it_learns_as_the_single_loop_does():
    """The shares that pass 95 % agree: 60 runs at once against 20 of the loop that autograd differentiates."""
    recipe, steps = Recipe(normalise=True), 150
    many = next(islice(reinforce_many(WORLD, recipe, 60, 0), steps, None))
    alone = [next(islice(reinforce(WORLD, recipe, seed), steps, None)) for seed in range(20)]
    single = torch.tensor([WORLD.expected_return(policy).item() for policy in alone])
    together = expected_returns(WORLD, many)
    assert abs((together > 0.95).double().mean() - (single > 0.95).double().mean()) < 0.25
    assert abs(together.mean() - single.mean()) < 0.05


def test_the_seed_decides_everything():
    def ends(seed):
        return next(islice(reinforce_many(WORLD, Recipe(), 4, seed), 3, None))

    torch.manual_seed(1)
    first = ends(0)
    torch.manual_seed(2)
    assert torch.equal(first, ends(0))
    assert not torch.equal(first, ends(1))
    assert not torch.equal(first[0], first[1]), "each run has numbers of its own"


@pytest.mark.parametrize(("name", "change"), [("runs", {"runs": 0}), ("seed", {"seed": -1}), ("logits", {"logits": 3})])
def test_bad_arguments_are_named(name, change):
    with pytest.raises(ValueError, match=f"^{name} "):
        next(reinforce_many(**{"world": WORLD, "recipe": Recipe(), "runs": 2, "seed": 0} | change))


def test_whole_returns_are_normalised_or_none():
    with pytest.raises(ValueError, match="^to_go "):
        Recipe(normalise=True, to_go=True)


def test_to_go_counts_what_is_still_to_come():
    world = random_world("own", 4, 4, seed=0)[0]
    batch = world.rollout(PrefixPolicy(torch.zeros(85, 4)), 8, seeded(0))
    rows = prefix_rows(batch.sequences, 4)
    weights = symbol_weights(batch.rewards, rows, batch.mask, Recipe(to_go=True), torch.zeros(85).double())
    torch.testing.assert_close(weights, batch.rewards.flip(1).cumsum(1).flip(1))


def test_probabilities_are_a_softmax():
    logits = torch.cat(
        [numbers(5, 7, 4, seed=0), torch.tensor([[1000.0, 0.0, -1000.0, 999.0]]).double().expand(5, 1, 4)], 1
    )
    torch.testing.assert_close(probabilities(logits), logits.softmax(-1))


def test_learning_curves_are_read_off_the_runs():
    policies = list(islice(reinforce_many(WORLD, Recipe(step_size=3.0), 4, 2), 9))
    curves, habits = learning_curves(WORLD, Recipe(step_size=3.0), 4, 8, seed=2, every=4)
    seen = [policies[step] for step in (0, 4, 8)]
    assert torch.equal(curves, torch.stack([expected_returns(WORLD, logits) for logits in seen], 1))
    assert torch.equal(habits, torch.stack([stuck(WORLD, logits) for logits in seen], 1))
    with pytest.raises(ValueError, match="^steps is 9; it must be a multiple of every, 4"):
        learning_curves(WORLD, Recipe(), 1, 9)


def test_a_share_has_its_standard_error():
    p, error = share(torch.tensor([True] * 80 + [False] * 20))
    assert (p, error) == (pytest.approx(0.8), pytest.approx(0.04))


def writing(*answers):
    """Logits of a policy that writes the first answer in most cases, each later one rarely."""
    theta = torch.zeros(85, 4, dtype=torch.float64)
    for strength, answer in zip((6.0, 5.0), answers, strict=False):
        theta[prefix_rows(torch.tensor([answer]), 4)[0], answer] = strength
    return theta


def test_stuck_is_a_wrong_habit_and_no_level():
    """One wrong answer more than half of the time; neither the best one, nor a policy that passes 5/6 on its way."""
    wrong, best, unsure = [2, 3, 0, 0], [3, 3, 0, 0], torch.zeros(85, 4, dtype=torch.float64)
    passing = writing(best) * 0.6
    logits = torch.stack([writing(wrong), writing(best), unsure, passing])
    assert stuck(WORLD, logits).tolist() == [True, False, False, False]
    assert 0.78 < expected_returns(WORLD, passing[None]).item() < 0.87


def test_a_larger_step_is_quicker_and_loses_more():
    """What lesson 03 says of step sizes 1 and 4, and of one that falls: 400 runs each."""
    recipes = Recipe(), Recipe(step_size=4.0), Recipe(step_size=4.0, half_after=20.0)
    one, four, falling = (learning_curves(WORLD, recipe, 400, 200, every=40)[0] for recipe in recipes)
    shares = [share(curves[:, -1] > 0.95)[0] for curves in (one, four, falling)]
    assert shares[0] > shares[1] + 0.06
    assert shares[2] < shares[1] + 0.05, "a falling step brings no more of them home"
    assert (four[:, 1] > 0.95).double().mean() > 0.3 > 0.01 > (one[:, 1] > 0.95).double().mean()


def test_a_small_step_or_a_large_batch_seldom_goes_in():
    """What lesson 03 says of step size 0.2 after a thousand steps, and of batches of 64 after two hundred."""
    small, large = Recipe(step_size=0.2), Recipe(batch=64)
    for recipe, steps in ((small, 1000), (large, 200)):
        _, habits = learning_curves(WORLD, recipe, 150, steps, every=steps)
        assert share(habits[:, -1])[0] < 0.04
