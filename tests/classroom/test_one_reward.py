"""What lesson 01 says of one reward, of one exact step and of the pocket model's slips, found a second way."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

from pgnotes.classroom.widgets.next_token import ids_of, numbers, pocket

ROOT = Path(__file__).parents[2]
LOGITS = (1.8, 1.1, 0.0)
SENTENCE = "27 blue buns with great care."


def softmax(logits):
    sizes = [math.exp(logit) for logit in logits]
    return [size / sum(sizes) for size in sizes]


def pressed(action, reward=1.0):
    """Step of the logits and probabilities after one update of step size 1."""
    step = [reward * ((k == action) - prob) for k, prob in enumerate(softmax(LOGITS))]
    return step, softmax([logit + move for logit, move in zip(LOGITS, step, strict=True)])


def test_the_rarest_action_has_the_largest_step_and_the_middle_one_moves_the_policy_most():
    before = softmax(LOGITS)
    steps = [pressed(action)[0][action] for action in range(3)]
    after = [pressed(action)[1] for action in range(3)]
    assert [round(step, 1) for step in steps] == [0.4, 0.7, 0.9]
    assert [round(after[k][k], 2) for k in range(3)] == [0.74, 0.59, 0.31]
    moved = [sum(p * math.log(p / q) for p, q in zip(before, each, strict=True)) for each in after]
    assert moved == pytest.approx([0.048, 0.184, 0.134], abs=0.0005)


def test_one_exact_step_makes_the_best_button_rarer_once_a_pays_more_than_that():
    def change(pay, tiny=1e-6):
        probs, pays = softmax(LOGITS), (pay, 0.0, 1.0)
        average = sum(p * r for p, r in zip(probs, pays, strict=True))
        pushed = [x + tiny * p * (r - average) for x, p, r in zip(LOGITS, probs, pays, strict=True)]
        return (softmax(pushed)[2] - probs[2]) / tiny

    assert change(0.9) < change(0.87) < 0 < change(0.8696) < change(0.5)


def test_a_slip_comes_after_about_five_characters_at_temperature_2_5():
    model, tokenizer = pocket()
    start = ids_of("sold 12 loaves and ")
    written = torch.tensor(tokenizer(SENTENCE, add_special_tokens=False)["input_ids"])
    along = model(torch.cat([start, written])[None]).logits[0, len(start) - 1 : -1].double()
    for temperature, mean, whole in ((1.0, 0.001, 0.96), (1.5, 0.014, 0.66), (2.5, 0.18, 0.003)):
        heated = (along.softmax(-1) ** (1 / temperature)).double()
        leaks = (heated * (along.softmax(-1) < 0.005)).sum(-1) / heated.sum(-1)
        alone = 1.0
        expected = 0.0  # of the characters before the first slip
        for leak in leaks.tolist():
            alone *= 1 - leak
            expected += alone
        assert leaks.mean().item() == pytest.approx(mean, abs=0.005)
        assert alone == pytest.approx(whole, abs=0.005)
    assert expected == pytest.approx(4.8, abs=0.05)
    assert [round(leak, 2) for leak in (min(leaks.tolist()), max(leaks.tolist()))] == [0.08, 0.36]

    # the first of them is what the widget shows, and the lesson asks about
    shown = numbers("sold 12 loaves and ", 2.5, 0)
    assert 1 - sum(shown["after"][:9]) == pytest.approx(leaks[0].item(), abs=0.005)


def test_the_minutes_of_the_sections_add_up_to_those_of_the_title():
    cells = json.loads((ROOT / "notebooks/01_softmax_bandits.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(each["source"]) for each in cells if each["cell_type"] == "markdown")
    promised = re.search(r"^(\d+) minutes to read.*?, (\d+) for the exercises and the quiz", text, re.M)
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes\)$", text, re.M)]
    assert sum(sections) == sum(map(int, promised.groups())) <= 60
    assert sum(sections[-2:]) == int(promised[2]), "the exercises and the quiz"
