"""Lesson 10's widgets, pictures and record: what they show is what the formulas give."""

import itertools
import math

import pytest
import torch
from matplotlib.figure import Figure

from pgnotes.classroom import after_pictures
from pgnotes.classroom.exercises.lesson_10 import SUSPECTS
from pgnotes.classroom.family import family_curves, fared, over_seeds, recorded_family, smoothed
from pgnotes.classroom.passes import KS, N, curve, recorded_passes
from pgnotes.classroom.widgets import mismatch, token_weight
from pgnotes.theory.mismatch import hotter
from pgnotes.theory.pass_at_k import pass_rate_of_k, shared_rates


def test_the_weight_and_the_probability_it_speaks_of():
    seen = token_weight.numbers("ppo", (0.2, 0.2), 0.01, 1.24)
    assert seen["weights"] == pytest.approx([0.0, -1.24])
    assert seen["now"] == pytest.approx(0.0124)
    assert token_weight.numbers("dppo", (0.2, 0.2), 0.01, 1.24)["weights"] == pytest.approx([1.24, -1.24])
    likely = token_weight.numbers("ppo", (0.2, 0.2), 0.8, 2.0)
    assert (likely["ratio"], likely["now"]) == pytest.approx((1.25, 1.0)), "no probability is above 1"
    at = dict(zip(token_weight.GRID.tolist(), likely["curves"][0], strict=True))
    assert all(math.isnan(weight) == (ratio > 1.25) for ratio, weight in at.items())


@pytest.mark.parametrize("method", ["gspo", "gmpo"])
def test_a_sequence_s_ratio_says_nothing_of_one_token_s_probability(method):
    seen = token_weight.numbers(method, (0.2, 0.2), 0.8, 2.0)
    assert seen["now"] is None
    assert seen["ratio"] == 2.0, "and 1/0.8 is no end for it"
    assert not any(map(math.isnan, seen["curves"][0]))


@pytest.mark.parametrize("method", [value for _, value in token_weight.METHODS])
@pytest.mark.parametrize("chance", [0.01, 0.8])
def test_inside_its_band_a_method_leaves_the_ratio_alone(method, chance):
    """But for REINFORCE, which has none, and SAPO's gate; outside, on the side that A asks for, it does not."""
    band = token_weight.edges(method, (0.2, 0.28), chance)
    if method in ("reinforce", "sapo"):
        assert band is None
        return
    for sign, weights in zip((1.0, -1.0), token_weight.curves(method, (0.2, 0.28), chance), strict=True):
        for ratio, weight in zip(token_weight.GRID.tolist(), weights, strict=True):
            if math.isnan(weight):
                assert ratio * chance > 1
            elif band[0] + 1e-6 < ratio < band[1] - 1e-6:
                assert weight == pytest.approx(sign * ratio)
            elif (ratio - 1) * sign > 0 and not band[0] - 1e-6 < ratio < band[1] + 1e-6:
                assert abs(weight) < ratio - 1e-9


def test_the_mismatch_s_bars_are_the_exact_corrections():
    listed, past = mismatch.setting(4)
    assert listed.world.expected_return(past[-1]) > mismatch.HALF_WAY > listed.world.expected_return(past[-2])
    seen = mismatch.numbers(1.1, 2, 4, 2.0, 512)
    sampler = hotter(past[-3], 1.1)
    for row, (rule, bounds) in enumerate(mismatch.RULES.values()):
        floor, cap = bounds(2.0)
        found = listed.correction(sampler, rule, cap, floor)
        assert seen["bias"][row] == pytest.approx(found.bias)
        assert seen["noise"][row] == pytest.approx((found.trace / 512) ** 0.5 / listed.gradient.norm().item())
        assert seen["left"][row] == found.effective
    assert seen["long"] == pytest.approx(listed.correction(sampler, "token").effective ** 200)


def test_only_the_whole_sequence_s_weight_is_unbiased():
    """What the lesson says of every setting of the widget."""
    names = [*mismatch.RULES]
    for temperature, age, horizon in itertools.product((0.7, 1.1, 1.5), (0, 5), (2, 4, 6)):
        biases = dict(zip(names, mismatch.numbers(temperature, age, horizon, 2.0, 64)["bias"], strict=True))
        assert biases["sequence"] < 1e-9 < min(biases["none"], biases["token, truncated"], biases["geometric mask"])


def test_the_record_of_passes_and_its_curves():
    passes = recorded_passes()
    assert [*passes] == ["held out", "neighbours"]
    for both in passes.values():
        assert [*both] == ["before", "after"]
        for counts in both.values():
            assert counts.shape == (96,)
            assert 0 <= counts.min() <= counts.max() <= N
            mean, error = curve(counts).T
            assert mean[0] == pytest.approx(counts.double().mean().item() / N)
            assert mean[-1] == (counts > 0).double().mean()
            assert error[0] == pytest.approx(counts.double().std().item() / N / 96**0.5)
            assert (mean.diff() >= 0).all()
            assert len(mean) == len(KS)
    before, after = (curve(passes["held out"][when])[:, 0] for when in ("before", "after"))
    assert (after >= before).all(), "the lesson says that these do not cross"
    before, after = (curve(passes["neighbours"][when])[:, 0] for when in ("before", "after"))
    assert (after < before).all()


def test_the_line_through_points():
    x = torch.linspace(0, 1, 20, dtype=torch.float64)
    line, explained = after_pictures.least_squares(x, 3 - 2 * x)
    assert line(torch.tensor(0.5, dtype=torch.float64)).item() == pytest.approx(2.0)
    assert explained == pytest.approx(1.0)
    wobble = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(10)
    assert after_pictures.least_squares(x, wobble)[1] < 0.1


def test_the_pictures_draw_what_they_are_given():
    fig = after_pictures.family_map([("RLOO", "o", 0.0, 0.97, "left", 0.0), ("GRPO", "^", 30.0, 0.85, "right", 0.0)])
    drawn = fig.axes[0].lines[-2:]
    assert [line.get_xydata().tolist() for line in drawn] == [[[0.0, 0.97]], [[30.0, 0.85]]]
    assert [line.get_marker() for line in drawn] == ["o", "^"]
    seen = {name: (torch.rand(40, 3).double(), [0.01 * i for i in range(40)]) for name in SUSPECTS}
    left, right = after_pictures.suspects(seen).axes
    assert torch.equal(torch.as_tensor(left.lines[2].get_ydata()), seen["X"][0].mean(1)), "the mean of all seeds"
    assert [*right.lines[0].get_ydata()] == seen["X"][1]
    assert isinstance(after_pictures.one_or_many(recorded_passes()), Figure)


def test_one_suspect_takes_the_trainer_s_and_one_the_sampler_s():
    trainer, sampler = torch.zeros(2), torch.ones(2)
    taken = {name: old_of(trainer, sampler) for name, old_of in SUSPECTS.items()}
    assert taken["X"] is sampler, "the section's answer"
    assert taken["Y"] is trainer


def test_the_family_s_record_says_what_the_lesson_says():
    record = recorded_family()
    runs, names = record["runs"], [*record["variants"]]
    assert names == ["GRPO", "no ratio", "CISPO", "DPPO"]
    assert [(run["name"], run["seed"]) for run in runs] == [*itertools.product(names, range(3))]
    assert (record["budget"]["epochs"], record["budget"]["steps"], record["budget"]["evaluate"]) == (3, 40, 300)
    assert all(len(run["curves"]["pass_rate"]) == 40 for run in runs)
    before, after = (over_seeds(runs, "no ratio", f"pass_rate_{when}") for when in ("before", "after"))
    assert (after < before).all(), "below their start"
    told = [tuple(round(100 * x) for x in fared(runs, name).after) for name in names]
    assert told == [(58, 4), (4, 1), (19, 2), (25, 9)]
    assert (100 * over_seeds(runs, "DPPO")).round().sort().values.tolist() == [10, 24, 41]


def test_how_a_method_fared_is_counted_seed_by_seed():
    runs = [
        {"name": name, "seed": seed, "result": {"pass_rate_after": rate}, "curves": {"pass_rate": [rate] * 7}}
        for name, rates in (("GRPO", (0.2, 0.6)), ("CISPO", (0.1, 0.5)))
        for seed, rate in reversed([*enumerate(rates)])
    ]
    found = fared(runs, "CISPO")
    assert found.after == pytest.approx((0.3, 0.2))
    assert found.difference == pytest.approx((-0.1, 0.0))
    assert smoothed([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]).tolist() == pytest.approx([0.0, 0.5, 2 / 3, 0.75, 0.8, 1.0])
    (only,) = family_curves(runs, ["CISPO"]).axes
    assert [line.get_ydata()[-1] for line in only.lines] == pytest.approx([0.6, 0.2, 0.5, 0.1])


def test_a_bonus_would_have_kept_pass_at_64():
    """What the quiz says: with β times the entropy, P(A) = σ((0.45 - 0.3) / β), the best of a concave goal."""
    share = 1 / (1 + math.exp(-0.15 / 0.1))
    one, many, most = (pass_rate_of_k(shared_rates(p), k).mean() for p, k in ((share, 1), (share, 64), (1.0, 1)))
    assert many == pytest.approx(0.99, abs=0.005)
    assert most - one == pytest.approx(0.03, abs=0.005)
