"""DPO on one pair of three answers: where the probability goes when the two are alike (lesson 13)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, policy_bars, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import BEFORE, BETTER, MUTED, WORSE, label
from pgnotes.theory.displacement import train_on_pair

NAMES = ("No", "Yes", "Never")
WINNER, LOSER = 0, 2
START, BETA, STEP_SIZE, LAST = (0.6, 0.0), 0.1, 1.0, 100
PLACES = tuple(i / 10 for i in range(21))  # of Never's first feature
CONTROLS = (
    Slider("alike", "x: how far Never goes the way of No", 0.0, 2.0, 0.1, 0.0),
    Slider("steps", "training steps", 0, LAST, 1, 0),
)


@cache
def runs() -> tuple[Tensor, Tensor]:
    """For each x, over the steps: π of the three answers [21, 101, 3], and the loss [21, 101]."""
    features = torch.tensor([[[1.0, 0.0], [-1.0, 0.2], [x, 0.3]] for x in PLACES], dtype=torch.float64)
    steps = list(islice(train_on_pair(features, START, WINNER, LOSER, BETA, STEP_SIZE), LAST + 1))
    logp, loss = zip(*steps, strict=True)
    return torch.stack(logp, 1).exp(), torch.stack(loss, 1)


def numbers(alike: float, steps: int) -> dict[str, Any]:
    """The three answers over the steps, and everything at this one."""
    place = round(10 * alike)
    probs, loss = (found[place] for found in runs())
    margin = (probs[:, WINNER] / probs[:, LOSER]).log()
    return {
        "steps": steps,
        "start": probs[0].tolist(),
        "probs": probs.T.tolist(),
        "now": probs[steps].tolist(),
        "loss": loss[steps].item(),
        "margin": BETA * (margin[steps] - margin[0]).item(),
        "chosen": (probs[steps, WINNER] / probs[0, WINNER]).log().item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the policy, right its three answers over the steps; below, the readouts."""
    policy, course = two_panels(fig, 1.0, bottom=0.25, right=0.975, gap=0.2)
    label(policy, "Trained: No over Never").set(xlim=(-0.6, 2.6), ylim=(0, 1.15))
    policy.set_xticks(range(3), NAMES)
    policy.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    policy.grid(axis="x", visible=False)
    before = [policy.bar([x - 0.2], [0.0], 0.38, color=BEFORE)[0] for x in range(3)]
    bars, move_bars = policy_bars(policy, (0.0, 0.0, 0.0))

    label(course, "Where the probability goes").set(xlim=(0, LAST + 2), ylim=(0, 1.15))
    course.set_xlabel("training step", labelpad=1)
    course.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    colours = (BETTER, MUTED, WORSE)
    lines = [empty_line(course, color=colour, linewidth=2.2) for colour in colours]
    for x, name, colour in zip((4, 22, 42), NAMES, colours, strict=True):
        course.text(x, 1.05, name, color=colour, fontweight="bold")
    dots = [empty_line(course, "o", color=colour, markersize=7, clip_on=False) for colour in colours]
    readings = readouts(fig, 0.03, (0.14, "the loss"), (0.42, "the margin"), (0.82, "log π(No), change (nats)"))

    def update(n: dict) -> None:
        for bar, prob in zip(before, n["start"], strict=True):
            bar.set_height(prob)
        move_bars(n["now"])
        for line, dot, ys, y in zip(lines, dots, n["probs"], n["now"], strict=True):
            line.set_data(range(LAST + 1), ys)
            dot.set_data([n["steps"]], [y])
        texts = f"{n['loss']:.3f}", f"{n['margin']:+z.3f}", f"{n['chosen']:+z.2f}"
        fill(readings, (texts[0], *map(signed, texts[1:])))

    return [*before, *bars, *lines, *dots, *readings], update


def displacement() -> Live:
    """The widget."""
    twin = (
        ("x = 0: No and Never have nothing in common, and No rises", {"steps": LAST}),
        ("x = 1: No rises, and less", {"alike": 1.0, "steps": LAST}),
        ("x = 1.6: the loss falls, the margin rises, and both give way to Yes", {"alike": 1.6, "steps": LAST}),
    )
    alt = (
        "Bars of the policy over No, Yes and Never before and after 100 steps of DPO on the pair No over Never, and "
        "their course. With x at 0 No rises from 54 to 99 %; at 1 from 43 to 54 %; at 1.6 No falls from 37 to 1 %, "
        "Never from 52 % to nothing, and Yes, which is in no pair, rises from 11 to 98 %."
    )
    recorded = {"alike": tuple(i / 5 for i in range(11)), "steps": (0, 5, 10, 20, 40, 60, 80, 100)}
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt, recorded=recorded)
