"""Lesson 15's empty form: what it asks for, what it answers, and what it refuses."""

import math
import re

import numpy as np
import pytest
import torch

from pgnotes.classroom.questions import Question


def noisy(seed):
    return torch.randn(1, generator=torch.Generator().manual_seed(seed)).item() + 0.5


FILLED = {
    "claim": "The mean is above 0.",
    "quantity": "a number",
    "measure": noisy,
    "wrong_if": lambda mean: mean < 0,
    "yes": 1.0,
    "no": -1.0,
}


def test_an_untouched_form_says_what_is_missing_and_stops_nothing():
    answer = Question().run()
    assert answer.verdict == "open"
    assert all(name in answer.sentence for name in FILLED)
    half = Question(**(FILLED | {"claim": "...", "no": ...})).run()
    assert (half.verdict, half.sentence) == ("open", "Fill in claim, no.")


@pytest.mark.parametrize(
    ("bound", "verdict"), [(0.0, "not wrong"), (1.5, "wrong"), (0.6, "undecided"), (0.4, "undecided")]
)
def test_the_rule_meets_the_mean_and_two_errors_to_each_side(bound, verdict):
    answer = Question(**(FILLED | {"wrong_if": lambda mean: mean < bound, "yes": 2.0})).run(seeds=50)
    numbers = [noisy(seed) for seed in range(50)]
    mean = sum(numbers) / 50
    error = math.sqrt(sum((x - mean) ** 2 for x in numbers) / 49 / 50)
    assert (answer.mean, answer.error, answer.seeds) == pytest.approx((mean, error, 50))
    assert answer.verdict == verdict
    low, high = mean - 2 * error, mean + 2 * error
    assert verdict == ("not wrong" if low >= bound else "wrong" if high < bound else "undecided")
    assert answer.sentence in answer._repr_html_()
    assert repr(answer).startswith(f"{verdict}: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wrong_if": lambda mean: True}, "wrong_if refutes 1, your yes"),
        ({"wrong_if": lambda mean: False}, "wrong_if does not refute -1, your no"),
        ({"wrong_if": lambda mean: "no"}, "wrong_if gives 'no'"),
        ({"wrong_if": 0.3}, "wrong_if is 0.3"),
        ({"measure": 3}, "measure is 3"),
        ({"measure": lambda seed: None}, "measure gives None for seed 0"),
        ({"measure": lambda seed: float("nan")}, "measure gives nan for seed 0"),
        ({"measure": lambda seed: torch.ones(2)}, "measure gives tensor"),
        ({"claim": 7}, "claim is 7"),
        ({"yes": float("inf")}, "yes "),
        ({"no": "less"}, "no "),
    ],
)
def test_a_form_that_cannot_be_run_says_which_entry(change, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        Question(**(FILLED | change)).run(seeds=3)


@pytest.mark.parametrize("seeds", [1, 0, [3], [1, 1, 2], True])
def test_one_seed_has_no_spread(seeds):
    with pytest.raises(ValueError, match="^seeds"):
        Question(**FILLED).run(seeds=seeds)


def test_numbers_that_are_all_the_same_are_asked_about():
    answer = Question(**(FILLED | {"measure": lambda seed: 3.0})).run(seeds=5)
    assert "does measure use its seed?" in answer.sentence
    assert "does measure use its seed?" not in Question(**FILLED).run(seeds=5).sentence


@pytest.mark.parametrize("rule", [lambda m: torch.tensor(m) < 0, lambda m: np.float64(m) < 0, lambda m: int(m < 0)])
def test_a_rule_may_give_any_kind_of_yes_and_no(rule):
    assert Question(**(FILLED | {"wrong_if": rule})).run(seeds=50).verdict == "not wrong"


@pytest.mark.parametrize("name", ["measure", "wrong_if"])
def test_a_function_without_an_argument_is_named(name):
    with pytest.raises(ValueError, match=f"^{name} must take one argument"):
        Question(**(FILLED | {name: lambda: 1})).run(seeds=3)
