"""The widget of lesson 00 against a second way to its numbers, in plain Python, and what the lesson says of them."""

import itertools
import json
import math
import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from pgnotes.classroom.widgets.first_policy import START, first_policy, numbers, spread
from pgnotes.theory.ascent import exact_ascent
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

ROOT = Path(__file__).parents[2]
NAMED = ("| A ", "| B ", "| C ")  # how a table's rows begin


def softmax(logits):
    weights = [math.exp(logit) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def average(logits, pays):
    return sum(prob * pay for prob, pay in zip(softmax(logits), pays, strict=True))


def climb(a_pays, step_size, steps):
    """Logits before each step and after the last; each slope of the average is a difference of two averages."""
    logits, pays, path, tiny = [*START], (a_pays, 0.0, 1.0), [], 1e-5
    for _ in range(steps):
        path.append(logits)
        around = [[[*logits[:k], logits[k] + d, *logits[k + 1 :]] for d in (tiny, -tiny)] for k in range(3)]
        slopes = [(average(up, pays) - average(down, pays)) / (2 * tiny) for up, down in around]
        logits = [logit + step_size * slope for logit, slope in zip(logits, slopes, strict=True)]
    return [*path, logits]


@pytest.mark.parametrize(("step", "size", "a_pays"), [(0, 1.0, 0.5), (7, 1.0, 0.5), (100, 0.1, 0.9), (60, 2.0, 0.0)])
def test_it_shows_the_climb_of_the_average(step, size, a_pays):
    path = climb(a_pays, size, step)
    n = numbers(step, size, a_pays)
    assert n["logits"] == pytest.approx(path[-1], abs=1e-6)
    assert len(n["probs"]) == step + 1
    for probs, reward, logits in zip(n["probs"], n["rewards"], path, strict=False):
        assert probs == pytest.approx(softmax(logits), abs=1e-6)
        assert reward == pytest.approx(average(logits, (a_pays, 0.0, 1.0)), abs=1e-6)


def test_with_a_paying_almost_as_much_the_best_button_falls_first_while_its_logit_rises():
    path = climb(0.9, 1.0, 100)
    chances = [softmax(logits)[2] for logits in path]
    lowest = min(range(101), key=chances.__getitem__)
    assert lowest == 52
    assert [round(chances[i], 3) for i in (0, 52, 100)] == [0.099, 0.054, 0.062]
    assert all(later[2] > sooner[2] for sooner, later in itertools.pairwise(path)), "its logit rises at every step"

    # the widget shows the same
    shown = numbers(100, 1.0, 0.9)
    assert [probs[2] for probs in shown["probs"]] == pytest.approx(chances, abs=1e-6)
    assert numbers(52, 1.0, 0.9)["logits"] == pytest.approx([3.34, -0.93, 0.49], abs=0.005)


def test_the_best_button_comes_back_in_the_end():
    """The lesson names what becomes of C after three hundred and a thousand steps, beyond the slider."""
    policies = [*islice(exact_ascent(Bandit((0.9, 0.0, 1.0)), SoftmaxPolicy(START), 1.0), 1001)]
    assert [round(policies[i].probs[2].item(), 2) for i in (300, 1000)] == [0.91, 0.99]


def test_with_shared_weights_the_logit_of_what_pays_more_than_the_average_may_fall():
    """Its slope is Σ_k (φ_a · φ_k) π_k (r_k - J): random features and pays, a logit of its own beside two weights."""
    generator, worlds = torch.Generator().manual_seed(0), 4000
    pays = torch.rand(worlds, 3, generator=generator)
    features = torch.randn(worlds, 3, 2, generator=generator)
    weights = torch.randn(worlds, 2, 1, generator=generator)
    own, shared = torch.eye(3).expand(worlds, 3, 3), features @ features.mT
    for overlaps, logits, share in (
        (own, torch.randn(worlds, 3, generator=generator), 0.0),
        (shared, (features @ weights)[..., 0], 0.33),
    ):
        probs = logits.softmax(1)
        above = pays - (probs * pays).sum(1, keepdim=True)
        slopes = (overlaps @ (probs * above)[..., None])[..., 0]
        fell = ((above > 0) & (slopes < 0)).any(1).float().mean().item()
        assert fell == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("a_pays", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_a_logit_rises_exactly_where_its_button_pays_more_than_the_average(a_pays):
    n = [numbers(step, 1.0, a_pays) for step in range(101)]
    for button, pay in enumerate((a_pays, 0.0, 1.0)):
        for sooner, later in itertools.pairwise(n):
            rises = later["logits"][button] > sooner["logits"][button]
            assert rises == (pay > sooner["rewards"][sooner["step"]])


def test_the_logit_of_a_may_turn_later_than_its_probability():
    def peak(values):
        return max(range(len(values)), key=values.__getitem__)

    for a_pays, turns in ((0.5, (7, 7)), (0.8, (24, 33))):
        n = [numbers(step, 1.0, a_pays) for step in range(101)]
        assert (peak([each["probs"][-1][0] for each in n]), peak([each["logits"][0] for each in n])) == turns


def test_letters_keep_their_order_and_their_distance():
    assert spread([0.71, 0.14, 0.145], 0.1) == pytest.approx([0.71, 0.14, 0.24])
    assert spread([0.5, 0.1, 0.9], 0.1) == [0.5, 0.1, 0.9]
    assert spread([0.0, 0.0, 0.0], 0.1) == pytest.approx([0.0, 0.1, 0.2])


def test_the_twin_answers_what_the_lesson_asks():
    """What becomes of A in a hundred steps, and of C while A pays 0.9."""
    settings = [changes for _, changes in first_policy().twin]
    assert {"training_step": 100} in settings
    assert {"training_step": 52, "a_pays": 0.9} in settings


@pytest.mark.parametrize(("cell", "a_pays"), [("first-why", 0.5), ("first-best", 0.9)])
def test_the_tables_of_the_lesson_are_the_first_step_of_the_widget(cell, a_pays):
    first, then = numbers(0, 1.0, a_pays), numbers(1, 1.0, a_pays)
    cells = json.loads((ROOT / "notebooks/00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    lines = next("".join(each["source"]) for each in cells if each["id"] == cell).splitlines()
    rows = {line[2]: [number.strip() for number in line[4:].split("|")] for line in lines if line[:4] in NAMED}
    for i, pay in enumerate((a_pays, 0.0, 1.0)):
        told = [float(number.replace("−", "-")) for number in rows["ABC"[i]] if number]
        above, push = pay - first["rewards"][0], then["logits"][i] - first["logits"][i]
        exact = [first["probs"][0][i], pay, above, push, then["probs"][1][i]][: len(told)]
        assert told == pytest.approx(exact, abs=0.005), "ABC"[i]


def test_the_points_that_change_hands_in_that_step_are_those_of_the_lesson():
    before, after = numbers(1, 1.0, 0.9)["probs"]
    points = [100 * (new - old) for old, new in zip(before, after, strict=True)]
    assert [round(point, 2) for point in points] == [6.61, -6.45, -0.16]


@pytest.mark.parametrize("a_pays", [0.2, 0.5, 0.8, 0.9])
def test_a_probability_rises_where_its_logit_is_pushed_harder_than_the_logits_on_average(a_pays):
    """In a small step; the average is weighted with the policy."""
    first, then = islice(exact_ascent(Bandit((a_pays, 0.0, 1.0)), SoftmaxPolicy(START), 0.001), 2)
    pushes = then.logits - first.logits
    assert ((then.probs > first.probs) == (pushes > first.probs @ pushes)).all()


def test_the_minutes_of_the_sections_add_up_to_those_of_the_title():
    cells = json.loads((ROOT / "notebooks/00_start_here.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(each["source"]) for each in cells if each["cell_type"] == "markdown")
    promised = re.search(r"^(\d+) minutes to read.*?, (\d+) for the exercises and the quiz", text, re.M)
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes\)$", text, re.M)]
    assert sum(sections) == sum(map(int, promised.groups())) <= 60
    assert sum(sections[-2:]) == int(promised[2]), "the exercises and the quiz"
