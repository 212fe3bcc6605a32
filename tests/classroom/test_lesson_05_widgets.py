"""Lesson 05's mixing slider says what the closed form says, and the lens shows the arrows that are there."""

from itertools import islice

import pytest
import torch

from pgnotes.classroom.widgets import corner_cloud, critic_mix
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.learning import learn_values, prefix_values, symbol_values
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world


@pytest.fixture(scope="module")
def half():
    world = sum_world()
    policy = next(islice(reinforce(world, Recipe(normalise=True), 0), 20, None))
    return world, PrefixPolicy(policy.logits.detach())


@pytest.mark.parametrize("share", [0.0, 0.35, 0.5, 1.0])
def test_with_an_exact_critic_the_mix_is_the_closed_form(share):
    luck, worth = 0.1436, 0.0972  # the lesson's
    n = critic_mix.numbers("subtracted", 0, share)
    assert n["trace"] == pytest.approx(luck + (1 - share) ** 2 * worth, abs=1e-4)
    assert n["now"]["along"] == pytest.approx(1 - share)
    assert n["now"]["off"] == pytest.approx(share)

    n = critic_mix.numbers("replacing", 0, share)
    assert n["trace"] == pytest.approx((1 - share) ** 2 * luck + worth, abs=1e-4)
    assert n["now"]["luck"] == pytest.approx((1 - share) ** 2 * luck, abs=1e-4)
    assert n["now"]["along"] == pytest.approx(1.0)
    assert n["now"]["off"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("place", ["subtracted", "replacing"])
def test_with_a_learnt_critic_it_is_the_sum_over_all_outcomes(half, place):
    """Sequence by sequence: the critic's Q of a symbol is its value of what is then written."""
    world, policy = half
    share, values = 0.7, next(islice(learn_values(world, policy, 16, 0.2, seed=0), 3, None))
    rows, returns = prefix_rows(world.sequences, 4), world.returns()[0]
    weights = torch.zeros(world.mask.shape, dtype=torch.float64)
    for i, t in world.mask.nonzero().tolist():
        ends = t == world.horizon - 1 or not world.mask[i, t + 1]
        v, q = values[rows[i, t]], returns[i] if ends else values[rows[i, t + 1]]
        mixed = (returns[i] - (1 - share) * v - share * q, (1 - share) * returns[i] + share * q - v)
        weights[i, t] = mixed[place == "replacing"]
    wanted = moments_of(outcomes(world, policy).chances, token_estimates(world, policy, weights[None]))
    exact = world.exact_gradient(policy).flatten()

    n = critic_mix.numbers(place, 3, share)
    assert n["trace"] == pytest.approx(wanted.trace.item())
    assert n["now"]["along"] == pytest.approx((wanted.mean @ exact / exact.square().sum()).item())
    assert n["now"]["off"] == pytest.approx((wanted.bias(exact) / exact.norm()).item())


def test_the_luck_is_what_no_value_of_the_symbol_foresees(half):
    world, policy = half
    rows, returns = prefix_rows(world.sequences, 4), world.returns()[0][:, None]
    left = (returns - symbol_values(world, policy)[rows, world.sequences]) * world.mask
    luck = moments_of(outcomes(world, policy).chances, token_estimates(world, policy, left[None])).trace.item()
    assert critic_mix.numbers("subtracted", 0, 1.0)["trace"] == pytest.approx(luck)
    assert prefix_values(world, policy)[0] == pytest.approx(0.586, abs=1e-3), "the lesson's policy"


def test_the_lens_names_the_short_arrows_alone():
    """b* − 0.5 at step size 1: a press of A goes far, B and C near; with the batch's mean nothing moves."""
    widget = corner_cloud.corner_cloud()
    for baseline, near in ((("optimal", -0.5), {"B", "C"}), (("batch mean", 0.0), set())):
        settings = widget.settings | {"baseline": baseline, "step_size": 1.0}
        numbers = widget.numbers(**settings)
        (x, y), ends = numbers["at"], numbers["after"]
        lengths = [((u - x) ** 2 + (v - y) ** 2) ** 0.5 for u, v in ends]
        assert {name for name, length in zip("ABC", lengths, strict=True) if 0.004 < length <= 0.06} == near

        widget.canvas.image(numbers)
        (left, _) = widget.canvas.figure.axes
        inside = [t for t in left.texts if t.get_text() in "ABC" and t.get_text()]
        centre = torch.tensor(corner_cloud.LENS)
        found = {t.get_text() for t in inside if (torch.tensor(t.get_position()) - centre).norm() < corner_cloud.RADIUS}
        assert found == near
