"""The loop of lesson 03 against steps made by hand, and against what it has to reach."""

import math
from itertools import islice

import pytest
import torch
from plain import entropy_slope, numbers, seeded

from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce, symbol_weights
from pgnotes.theory.worlds import TokenWorld, sum_world

WORLD = sum_world()


def policies(recipe, steps, seed=0, world=WORLD, logits=None):
    """The logits before each of the first steps."""
    return [policy.logits.detach().clone() for policy in islice(reinforce(world, recipe, seed, logits), steps)]


def by_hand(recipe, seed, logits, weigh):
    """One step from its formula, symbol by symbol: each score times its weight, on the same generator's batch."""
    batch = WORLD.rollout(PrefixPolicy(logits), recipe.batch, seeded(seed))
    returns, rows = batch.rewards.sum(1).tolist(), prefix_rows(batch.sequences, 4)
    probs, step = logits.softmax(1), torch.zeros_like(logits)
    weights = weigh(returns)
    for i, t in batch.mask.nonzero().tolist():
        row, symbol = rows[i, t], batch.sequences[i, t]
        step[row] -= weights[i] * probs[row]
        step[row, symbol] += weights[i]
    return step / recipe.batch


@pytest.fixture
def start():
    return numbers(85, 4, seed=5)


@pytest.mark.parametrize("seed", range(5))
def test_it_reaches_95_percent_of_the_optimum(seed):
    policy = next(islice(reinforce(WORLD, Recipe(step_size=4.0), seed), 200, None))
    assert WORLD.returns().max() == 1
    assert WORLD.expected_return(policy) > 0.95


def test_one_step_by_hand(start):
    recipe = Recipe(step_size=0.7)
    before, after = policies(recipe, 2, seed=3, logits=start)
    torch.testing.assert_close(before, start)
    torch.testing.assert_close(after - before, 0.7 * by_hand(recipe, 3, start, lambda returns: returns))


def test_normalised_returns(start):
    def standardised(returns):
        mean = sum(returns) / len(returns)
        std = math.sqrt(sum((r - mean) ** 2 for r in returns) / (len(returns) - 1))
        return [(r - mean) / (std + 1e-4) for r in returns]

    recipe = Recipe(normalise=True)
    before, after = policies(recipe, 2, seed=1, logits=start)
    torch.testing.assert_close(after - before, by_hand(recipe, 1, start, standardised))


def test_equal_returns_teach_nothing_once_normalised(start):
    world = TokenWorld(4, 4, lambda sequences, prompt: torch.ones(sequences.shape))
    before, after = policies(Recipe(normalise=True), 2, world=world, logits=start)
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_clipping_shortens_and_does_not_turn(start):
    free, clipped, loose = (policies(Recipe(clip_norm=c), 2, logits=start)[1] - start for c in (0.0, 0.01, 100.0))
    assert clipped.norm() == pytest.approx(0.01)
    assert torch.cosine_similarity(free.flatten(), clipped.flatten(), 0) == pytest.approx(1.0)
    torch.testing.assert_close(loose, free)


def test_the_bonus_adds_the_entropy_s_own_gradient(start):
    plain, bonus = (policies(Recipe(entropy_bonus=c), 2, logits=start)[1] for c in (0.0, 0.3))
    batch, expected = WORLD.rollout(PrefixPolicy(start), 16, seeded(0)), torch.zeros_like(start)
    for row in prefix_rows(batch.sequences, 4)[batch.mask].tolist():
        expected[row] += entropy_slope(start[row]) / 16
    torch.testing.assert_close(bonus - plain, 0.3 * expected)


def test_values_are_subtracted_and_follow_the_returns(start):
    """With every return 1, the weights are 1, then 1 - 0.25, where a row's value has moved a quarter of the way."""
    world = TokenWorld(4, 1, lambda sequences, prompt: torch.ones(sequences.shape))
    one_row = start[:1]
    recipe = Recipe(batch=8, value_step=0.25)
    first, second, third = policies(recipe, 3, world=world, logits=one_row)
    generator = seeded(0)
    for weight, (before, after) in zip((1.0, 0.75), ((first, second), (second, third)), strict=True):
        drawn = world.rollout(PrefixPolicy(before), 8, generator).sequences[:, 0]
        score = torch.nn.functional.one_hot(drawn, 4).double().mean(0) - before.softmax(1)[0]
        torch.testing.assert_close((after - before)[0], weight * score)


def test_the_value_changes_no_expectation(start):
    """The table is of earlier batches, so subtracting it leaves the step right on average.

    Here many sequences and one fixed table.
    """
    policy, generator = PrefixPolicy(start), seeded(0)
    table = torch.randn(85, dtype=torch.float64, generator=generator)
    batch = WORLD.rollout(policy, 20_000, generator)
    rows = prefix_rows(batch.sequences, 4)
    recipe = Recipe(batch=20_000, value_step=1.0)
    weights = symbol_weights(batch.rewards, rows, batch.mask, recipe, table.clone())
    plain = batch.rewards.sum(1)[:, None].expand(weights.shape)
    difference = policy.score(batch.sequences, (plain - weights) * batch.mask)
    mean, error = difference.mean(0), difference.std(0) / 20_000**0.5
    assert ((mean / error.clamp(min=1e-12)).abs()[error > 0] < 4.5).all()
    assert (difference[0].abs() > 0).any()


def test_step_sizes():
    assert [Recipe(step_size=2.0, half_after=10.0).size_at(t) for t in (0, 10, 30)] == [2.0, 1.0, 0.5]
    assert Recipe(step_size=2.0).size_at(1000) == 2.0
    slow = policies(Recipe(half_after=1.0), 3)
    batchwise = policies(Recipe(), 2)
    torch.testing.assert_close(slow[1], batchwise[1])
    again = policies(Recipe(), 2, logits=slow[1])
    assert (slow[2] - slow[1]).norm() < (again[1] - again[0]).norm()


def test_the_seed_decides_everything():
    torch.manual_seed(1)
    first = policies(Recipe(), 4, seed=7)
    torch.manual_seed(2)
    again, other = policies(Recipe(), 4, seed=7), policies(Recipe(), 4, seed=8)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[-1], other[-1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step_size", 0),
        ("step_size", math.nan),
        ("batch", 0),
        ("batch", 1.5),
        ("half_after", -1),
        ("entropy_bonus", -0.1),
        ("clip_norm", "a"),
        ("value_step", 1.5),
    ],
)
def test_bad_recipes_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        Recipe(**{name: value})


def test_a_batch_of_one_cannot_be_normalised():
    with pytest.raises(ValueError, match="^batch "):
        Recipe(batch=1, normalise=True)
