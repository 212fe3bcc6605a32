"""REINFORCE on the sum world, plain and with what people add to it: choose a recipe, train, compare (lesson 03)."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import area, empty_line, empty_shapes, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Dear, Live, Moving, Slider, Switch, result_of
from pgnotes.classroom.style import AFTER, EXACT, MUTED, QUIET, label
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world

SEEDS, STEPS, EVERY = 5, 200, 4
MARKS = list(range(0, STEPS + 1, EVERY))  # the steps at which the expected return is computed
SCHEDULES = (("constant", 0.0), ("falls: half at step 20", 20.0), ("falls: half at step 100", 100.0))
CONTROLS = (
    Slider("step_size", "step size", 0.2, 6.0, 0.2, 1.0),
    Choice("schedule", "over time", SCHEDULES, 0.0),
    Slider("batch", "batch", 4, 64, 4, 16),
    Choice("bonus", "entropy bonus", (("none", 0.0), ("0.05", 0.05), ("0.2", 0.2)), 0.0),
    Switch("normalise", "normalise rewards"),
    Switch("clip", "clip the gradient at 0.2"),
    Switch("value", "subtract a learned value"),
)


def recipe_of(
    step_size: float, schedule: float, batch: int, bonus: float, normalise: bool, clip: bool, value: bool
) -> Recipe:
    """The controls as a recipe."""
    return Recipe(step_size, batch, schedule, normalise, bonus, clip_norm=0.2 * clip, value_step=0.2 * value)


def train(**settings: Any) -> Generator[float, None, Tensor]:
    """Train every seed; yields progress and returns the expected returns at `MARKS`, [SEEDS, marks]."""
    world, curves = sum_world(), []
    for seed in range(SEEDS):
        curve = []
        for step, policy in enumerate(islice(reinforce(world, recipe_of(**settings), seed), STEPS + 1)):
            if step % EVERY == 0:
                curve.append(world.expected_return(policy).item())
                yield (seed + step / STEPS) / SEEDS
        curves.append(curve)
    return torch.tensor(curves)


@cache
def plain() -> Tensor:
    """The curves of plain REINFORCE, the controls' first values."""
    return result_of(train(**{control.name: control.value for control in CONTROLS}))


def numbers(dear: Tensor | None = None, **settings: Any) -> dict[str, Any]:
    """The curves of plain REINFORCE and, once trained, of the recipe; its step sizes, and what it is in words."""
    recipe = recipe_of(**settings)
    extras = {
        "normalised": recipe.normalise,
        f"bonus {recipe.entropy_bonus:g}": recipe.entropy_bonus,
        "clipped": recipe.clip_norm,
        "value": recipe.value_step,
    }
    added = [name for name, on in extras.items() if on] or ["nothing added"]
    return {
        "plain": plain(),
        "yours": dear,
        "sizes": [recipe.size_at(step) for step in MARKS],
        "words": ", ".join([f"batch {recipe.batch}", *added]),
    }


def draw(fig: Figure) -> Moving:
    """Left the curves, right the step size; below the recipe and how it ended."""
    curves, sizes = two_panels(fig, 2.3, right=0.975)
    label(curves, "Expected return: five seeds each, and their range", x="step").set(xlim=(0, STEPS), ylim=(0, 1.13))
    curves.set_yticks([0, 0.25, 0.5, 0.75, 1])
    curves.axhline(0.95, color=EXACT, linewidth=1, linestyle="--")
    curves.text(2, 1.08, "dashed: 95 % of the optimum", va="center", color=EXACT, fontsize=9)
    legend(curves, (STEPS, 0.2, "plain REINFORCE", QUIET), (STEPS, 0.1, "your recipe", AFTER), ha="right")
    hint = curves.text(STEPS, 0.42, "Press “Train five seeds”", ha="right", color=MUTED)
    bands = [empty_shapes(curves, facecolor=colour, alpha=0.18, linewidth=0) for colour in (QUIET, AFTER)]
    plain_lines, your_lines = (
        [empty_line(curves, color=colour, linewidth=1.1) for _ in range(SEEDS)] for colour in (QUIET, AFTER)
    )

    label(sizes, "Step size", x="step").set(xlim=(0, STEPS), ylim=(0, 6.3), xticks=[0, 100, 200])
    size = empty_line(sizes, color=AFTER, linewidth=2)
    readings = readouts(fig, 0.025, (0.14, "recipe"), (0.89, "ended over 95 %"))

    def update(n: dict) -> None:
        yours = n["yours"]
        for band, lines, values in zip(bands, (plain_lines, your_lines), (n["plain"], yours), strict=True):
            for line, curve in zip(lines, [[]] * SEEDS if values is None else values, strict=True):
                line.set_data(MARKS[: len(curve)], curve)
            band.set_verts([] if values is None else [area(MARKS, values.amin(0), values.amax(0).tolist())])
        size.set_data(MARKS, n["sizes"])
        hint.set_visible(yours is None)
        ended = "" if yours is None else f"{int((yours[:, -1] > 0.95).sum())} of {SEEDS}"
        fill(readings, (n["words"], ended))

    return [*bands, *plain_lines, *your_lines, size, hint, *readings], update


def learning_lab() -> Live:
    """The widget."""
    falling = {"step_size": 4.0, "schedule": 20.0}
    twin = (
        ("Step size 6: four arrive sooner still, and one is stuck at 0.83", {"step_size": 6.0}),
        ("Rewards normalised in each batch: every seed arrives, and sooner", {"normalise": True}),
        ("A large step that falls soon: one seed stops short of the optimum, and stays", falling),
        ("Entropy bonus 0.2: no seed is stuck, and none arrives; it climbs another hill", {"bonus": 0.2}),
    )
    alt = (
        "Learning curves of REINFORCE on the sum world, five seeds each, against plain REINFORCE, of which one seed "
        "stays at 0.82. With step size 6 four arrive soon and one stays at 0.83; with normalised rewards all pass "
        "95 % early; with a large step size that falls soon one stays below; with an entropy bonus of 0.2 all end "
        "around 0.72."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt, dear=Dear("Train five seeds", train))
