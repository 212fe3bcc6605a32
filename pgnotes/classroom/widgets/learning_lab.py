"""REINFORCE on the sum world, plain and with what people add to it: train a hundred runs, compare (lesson 03)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import area, empty_line, empty_shapes, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Dear, Live, Moving, Slider, Switch, result_of
from pgnotes.classroom.style import AFTER, EXACT, MUTED, QUIET, label
from pgnotes.theory.many import expected_returns, reinforce_many, share, stuck
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.worlds import sum_world

RUNS, STEPS, EVERY, THIN = 100, 200, 4, 5  # policies, steps, between two looks at them, drawn one by one
MARKS = list(range(0, STEPS + 1, EVERY))  # the steps at which the expected return is computed
ARRIVED = 0.95  # of the optimum, 1
ENDS = ("arrived", "stuck", "elsewhere")
SCHEDULES = (("constant", 0.0), ("falls: half at step 20", 20.0), ("falls: half at step 100", 100.0))
Runs = tuple[Tensor, Tensor]  # expected returns at `MARKS`, [RUNS, marks]; which of them end stuck, [RUNS]
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
    return Recipe(
        step_size, batch, schedule, normalise, entropy_bonus=bonus, clip_norm=0.2 * clip, value_step=0.2 * value
    )


def train(seed: int = 0, **settings: Any) -> Generator[float, None, Runs]:
    """Train all runs at once; yields progress."""
    world, curves = sum_world(), []
    for step, logits in enumerate(islice(reinforce_many(world, recipe_of(**settings), RUNS, seed), STEPS + 1)):
        if step % EVERY == 0:
            curves.append(expected_returns(world, logits))
            yield step / STEPS
    return torch.stack(curves, 1), stuck(world, logits)


@lru_cache(maxsize=8)
def plain(seed: int) -> Runs:
    """The runs of plain REINFORCE, the controls' first values."""
    return result_of(train(seed, **{control.name: control.value for control in CONTROLS}))


def shares(runs: Runs) -> list[tuple[float, float]]:
    """Which share of the runs ended where `ENDS` says, and its standard error."""
    curves, caught = runs
    arrived = curves[:, -1] > ARRIVED
    return [share(arrived), share(caught), share(~arrived & ~caught)]


def numbers(seed: int = 0, dear: Runs | None = None, **settings: Any) -> dict[str, Any]:
    """The curves of plain REINFORCE and, once trained, of the recipe; where each ended, and the recipe in words."""
    recipe = recipe_of(**settings)
    extras = {
        f"half at step {recipe.half_after:g}": recipe.half_after,
        "normalised": recipe.normalise,
        f"bonus {recipe.entropy_bonus:g}": recipe.entropy_bonus,
        "clipped": recipe.clip_norm,
        "value": recipe.value_step,
    }
    added = [name for name, on in extras.items() if on]
    return {
        "curves": tuple(runs and runs[0] for runs in (plain(seed), dear)),
        "shares": tuple(runs and shares(runs) for runs in (plain(seed), dear)),
        "words": ", ".join([f"step {recipe.step_size:g}, batch {recipe.batch}", *added]),
    }


def draw(fig: Figure) -> Moving:
    """Left the curves, right where they end; below, the recipe."""
    left, right = two_panels(fig, 1.7, left=0.07, right=0.985, bottom=0.27, gap=0.4)
    curves, move_curves = draw_curves(left)
    ends, move_ends = draw_ends(right)
    readings = readouts(fig, 0.025, (0.15, "your recipe"))

    def update(n: dict) -> None:
        move_curves(n["curves"])
        move_ends(n["shares"])
        fill(readings, (n["words"],))

    return [*curves, *ends, *readings], update


def draw_curves(ax: Axes) -> Moving:
    """Of each recipe the median and the middle 80 %; of yours, a few runs by themselves as well."""
    label(ax, "Expected return of a hundred runs", x="step")
    ax.set(xlim=(0, STEPS), ylim=(0, 1.13))
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.axhline(ARRIVED, color=EXACT, linewidth=1, linestyle="--")
    ax.text(2, 1.07, "dashed: 95 % of the optimum", va="center", color=EXACT)
    legend(ax, (STEPS, 0.14, "plain, step 1", MUTED), (STEPS, 0.04, "your recipe", AFTER), ha="right")

    hint = ax.text(STEPS, 0.3, "Press “Train 100 runs”", ha="right", color=MUTED)
    bands = [empty_shapes(ax, facecolor=colour, alpha=0.2, linewidth=0) for colour in (QUIET, AFTER)]
    single = [empty_line(ax, color=AFTER, linewidth=0.8) for _ in range(THIN)]
    medians = [empty_line(ax, color=colour, linewidth=2.6) for colour in (QUIET, AFTER)]

    def move(both: Sequence[Tensor | None]) -> None:
        for band, median, curves in zip(bands, medians, both, strict=True):
            if curves is None:
                band.set_verts([])
                median.set_data([], [])
                continue
            low, middle, high = curves.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=curves.dtype), dim=0).tolist()
            band.set_verts([area(MARKS, low, high)])
            median.set_data(MARKS, middle)
        yours = both[1]
        for line, curve in zip(single, [()] * THIN if yours is None else yours[:THIN], strict=True):
            line.set_data(MARKS[: len(curve)], curve)
        hint.set_visible(yours is None)

    return [*bands, *single, *medians, hint], move


def draw_ends(ax: Axes) -> Moving:
    """Bars: the share of the hundred runs that ended at each of `ENDS`, plain above, yours below."""
    label(ax, "Where the hundred end", x="share of the runs").set(xlim=(0, 1.42), ylim=(2.6, -0.6))
    ax.set_yticks(range(len(ENDS)), ENDS)
    ax.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    ax.grid(axis="y", visible=False)
    looks = ((-0.2, QUIET, MUTED), (0.2, AFTER, AFTER))
    bars = [ax.barh([y + shift for y in range(len(ENDS))], [0.0] * len(ENDS), 0.36, color=c) for shift, c, _ in looks]
    texts = [[ax.text(0, y + shift, "", color=c, va="center") for y in range(len(ENDS))] for shift, _, c in looks]

    def move(both: Sequence[list[tuple[float, float]] | None]) -> None:
        for row, names, found in zip(bars, texts, both, strict=True):
            for bar, name, (p, error) in zip(row, names, found or [(0.0, 0.0)] * len(ENDS), strict=True):
                bar.set_width(p)
                # a share of none or all has no error that could be computed from it
                shown = f"{100 * p:.0f} ± {100 * error:.0f} %" if error else f"{100 * p:.0f} %"
                name.set(x=p + 0.03, text=shown if found else "")

    return [*(bar for row in bars for bar in row), *(text for row in texts for text in row)], move


LARGER = (
    ("Step size 4: those that arrive do so sooner, and more runs are stuck", {"step_size": 4.0}),
    ("Step size 6: sooner still, and about as many are stuck", {"step_size": 6.0}),
)
TOLD_LARGER = (
    "With step size 4 72 arrive, within 50 steps or so, and 28 are stuck; with step size 6 74 and 26, sooner still."
)
ADDED = (
    ("Step size 1, rewards normalised in each batch: sooner, and few are stuck", {"normalise": True}),
    ("Step size 1, less a learned value: no sooner, and few are stuck", {"value": True}),
    ("Step size 1, entropy bonus 0.05: later; fewer are stuck, some are still on their way", {"bonus": 0.05}),
)
TOLD_ADDED = (
    "With normalised rewards 96 arrive and 4 are stuck, early; with a learned value 95 and 4, no earlier; with an "
    "entropy bonus of 0.05 84 and 6, later."
)


def learning_lab(additions: bool = False) -> Live:
    """The widget. Its twin shows larger steps, or what section 5 adds to the smallest of them."""
    twin, told = (ADDED, TOLD_ADDED) if additions else (LARGER, TOLD_LARGER)
    alt = (
        "Expected return of a hundred runs of REINFORCE on the sum world over 200 steps, each recipe against plain "
        f"REINFORCE with step size 1, and where they end. Of the plain ones 82 arrive and 16 are stuck. {told}"
    )
    variant = "additions" if additions else ""
    dear = Dear("Train 100 runs", train)
    return Live(numbers, draw, CONTROLS, 2.9, twin, alt, noise=True, dear=dear, variant=variant)
