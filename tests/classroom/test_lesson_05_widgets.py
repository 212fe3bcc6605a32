"""Lesson 05's pictures say what the closed forms say, its lens shows what is there, and its twins differ."""

import json
import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from pgnotes.classroom.widgets import advantage_bars, baseline_parabola, corner_cloud, critic_mix
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.learning import (
    best_of_each,
    learn_values,
    prefix_optimum,
    prefix_values,
    symbol_values,
    train_bandits,
    with_table,
)
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import Bandit, sum_world


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


@pytest.mark.parametrize("prefix", [(), (1,), (3,), (3, 3)])
def test_the_average_push_is_the_advantage_whatever_it_is_compared_with(prefix):
    """Computed with what is compared, and found again without it."""
    for steps in (0, 20, 120):
        found = {kind: advantage_bars.numbers(prefix, steps, kind) for kind in advantage_bars.NAMES}
        for n in found.values():
            wanted = [p * (after - n["value"]) for p, after in zip(n["probs"], n["after"], strict=True)]
            assert n["pushes"] == pytest.approx(wanted, abs=1e-12)
    assert len({n["noise"] for n in found.values()}) > 1, "the noise does depend on it"


def test_no_title_says_what_is_still_hidden():
    widget = baseline_parabola.baseline_parabola()
    for reveal in (False, True, False):
        widget.canvas.image(widget.numbers(**widget.settings | {"reveal": reveal}))
        titles = " ".join(ax.get_title(loc="left") for ax in widget.canvas.figure.axes)
        assert ("parabola" in titles) == ("listens" in titles) == reveal


@pytest.mark.parametrize(("shift", "after"), [(-0.5, 0.821), (0.5, 0.769)])
def test_one_press_of_b(shift, after):
    """By hand: B's logit rises by the advantage times 1 - π, the others fall by it times their π."""
    n = corner_cloud.numbers(("optimal", shift), 1.0, (0.0, 2.0, 0.0), 1, 0)
    assert n["press of B"] == pytest.approx([0.787, after], abs=5e-4)
    probs = torch.tensor([0.0, 2.0, 0.0]).double().softmax(0)
    gap = 0.7 - best_of_each(probs[None], torch.tensor([1.0, 0.7, 0.0]).double())[0] - shift
    powers = probs * (gap * (torch.tensor([0.0, 1.0, 0.0]) - probs)).exp()
    assert n["press of B"][1] == pytest.approx((powers[1] / powers.sum()).item())


def covariance(bandit, logits, shift):
    listed = outcomes(bandit, SoftmaxPolicy(torch.tensor(logits, dtype=torch.float64)))
    best = best_of_each(listed.chances[None], bandit.mean_rewards)[0]
    said = (listed.returns - best - shift)[:, None] * listed.scores
    off = said - listed.chances @ said
    return off.T @ (listed.chances[:, None] * off)


def test_the_twins_share_the_trace_and_not_the_covariance():
    low, high = (covariance(corner_cloud.BANDIT, [0.0, 2.0, 0.0], shift) for shift in (-0.5, 0.5))
    assert low.trace() == pytest.approx(high.trace().item())
    assert low.diag().tolist() == pytest.approx([0.083, 0.077, 0.0003], abs=5e-4), "between A and B"
    assert high.diag().tolist() == pytest.approx([0.001, 0.073, 0.086], abs=5e-4), "between C and B"
    low, high = (covariance(Bandit([1.0, 0.7]), [0.0, 2.0], shift) for shift in (-0.5, 0.5))
    assert torch.allclose(low, high), "of two buttons there is one direction"


def lost(pays, start, shift, steps):
    runs = train_bandits(Bandit(pays), start, "optimal", 1.0, 1000, seed=5, shift=shift)
    return (next(islice(runs, steps, None))[:, 1:] > 0.95).any(1).double().mean().item()


def test_which_twin_loses_more_depends_on_the_bandit():
    three, two = (1.0, 0.7, 0.0), (1.0, 0.7)
    assert lost(three, [0, 2, 0], -0.5, 300) > lost(three, [0, 2, 0], 0.5, 300) + 0.1
    assert lost(three, [0, 3, 3], -0.5, 300) + 0.05 < lost(three, [0, 3, 3], 0.5, 300)
    assert lost(two, [0, 2], -0.5, 300) + 0.01 < lost(two, [0, 2], 0.5, 300)
    assert lost(three, [0, 2, 0], 2.0, 300) > 0.4, "higher is not safer"


def test_a_value_learnt_from_below_beats_the_exact_one_and_one_from_above_does_not(half):
    world, policy = half
    exact = with_table(world, policy, prefix_values(world, policy)).trace
    least = with_table(world, policy, prefix_optimum(world, policy)).trace

    def after(batches, start):
        tables = [next(islice(learn_values(world, policy, 16, 0.2, s, start), batches, None)) for s in range(8)]
        return sum(with_table(world, policy, table).trace for table in tables) / 8

    assert least < after(8, 0.0) < exact < after(8, 1.0)
    assert after(80, 0.0) > exact, "it follows its last returns"


def test_the_minutes_of_the_sections_add_up_to_those_of_the_title():
    lesson = Path(__file__).parents[2] / "notebooks/05_baselines.ipynb"
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(each["source"]) for each in cells if each["cell_type"] == "markdown")
    promised = re.search(r"^(\d+) minutes to read, (\d+) for the exercises and the quiz", text, re.M)
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes\)$", text, re.M)]
    assert sum(sections) == sum(map(int, promised.groups())) <= 60
    assert sum(sections[-2:]) == int(promised[2]), "the exercises and the quiz"
