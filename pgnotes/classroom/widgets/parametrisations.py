"""One policy written five ways: which steps climb alike, whatever the writing (lesson 12)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, EXACT, MUTED, QUIET, label
from pgnotes.classroom.widgets.score_arrows import CORNERS, triangle
from pgnotes.theory.parametrisations import FIVE, HOWS, climb, steps_until
from pgnotes.theory.worlds import Bandit

REWARDS, START = (1.0, 0.7, 0.0), (0.1, 0.8, 0.1)
SIZES = [0.1, 0.25, 0.5, 1.0]
ENDS = {"plain": 1000, "natural": 400, "adam": 400}  # how many steps are computed
GOAL = 0.99
FIRST = 0.5  # where the axis of steps, a logarithmic one, has step 0
FORMS = (
    ("logits: θ = φ", "logits"),
    ("scaled: θ = 5 φ", "scaled"),
    ("sums: θ adds up the φ so far", "sums"),
    ("cubes: θ = φ³", "cubes"),
    ("squares: π ∝ φ²", "squares"),
)
CONTROLS = (
    Choice(
        "how", "the step", (("plain gradient", "plain"), ("Adam", "adam"), ("natural gradient", "natural")), "plain"
    ),
    Choice("form", "how the policy is written", FORMS, "logits"),
    Choice("size", "step size (Adam: a tenth of it)", tuple((f"{size:g}", size) for size in SIZES), 0.5),
    Slider("steps", "steps", 0, 400, 1, 20),
)


@cache
def paths() -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """For each kind of step and each form: π by step for all sizes, [sizes, steps + 1, 3], and the steps it took."""
    found, bandit = {}, Bandit(REWARDS)
    for how in HOWS:
        sizes = torch.tensor(SIZES, dtype=torch.float64) / (10 if how == "adam" else 1)
        for form in FIVE:
            path = climb(bandit, START, form, how, sizes, ENDS[how])
            found[how, form] = path, steps_until(path, 0, GOAL)
    return found


def numbers(how: str, form: str, size: float, steps: int) -> dict[str, Any]:
    """π(A) by step in all forms, the chosen one's path in the triangle, and where it is after so many steps."""
    place = SIZES.index(size)
    curves = [paths()[how, name][0][place, :, 0].tolist() for name in FIVE]
    path = paths()[how, form][0][place]
    taken = int(paths()[how, form][1][place])
    return {
        "curves": curves,
        "chosen": list(FIVE).index(form),
        "path": (path[: steps + 1] @ CORNERS).tolist(),
        "ways": [(paths()[how, name][0][place] @ CORNERS)[:: 1 + ENDS[how] // 150].tolist() for name in FIVE],
        "steps": steps,
        "probs": path[steps].tolist(),
        "taken": f"{taken}" if taken >= 0 else f"over {ENDS[how]}",
    }


def draw(fig: Figure) -> Moving:
    """Left the path in the triangle, right π(A) by step, in each form; below, the readouts."""
    plane, curve = two_panels(fig, 1.1, left=0.01, right=0.965, top=0.9, bottom=0.22, gap=0.16)
    label(plane, "The way there").set(xlim=(-0.16, 1.16), ylim=(-0.12, 0.9), anchor="C")
    triangle(plane)
    for (x, y), (right, up, ha), text in zip(
        CORNERS.tolist(),
        ((-0.02, -0.1, "left"), (0.02, -0.1, "right"), (0.06, -0.02, "left")),
        ("A pays 1", "B pays 0.7", "C pays 0"),
        strict=True,
    ):
        plane.text(x + right, y + up, text, ha=ha, color=EXACT, fontweight="bold")
    ways = [empty_line(plane, color="#c3cad6", linewidth=1.1) for _ in FORMS]
    way = empty_line(plane, "o-", color=AFTER, linewidth=2, markersize=3)
    start = torch.tensor(START, dtype=torch.float64) @ CORNERS
    plane.plot(*start[:, None].tolist(), "o", color=BEFORE, markersize=9, zorder=3)
    dot = empty_line(plane, "o", color=AFTER, markersize=9, zorder=4)

    label(curve, "How likely A is").set(xlim=(FIRST, 1000), ylim=(0, 1.03), xscale="log")
    curve.set_xlabel("step", labelpad=1)
    curve.set_xticks([FIRST, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    curve.set_yticks([0, 0.5, GOAL], ["0", "50 %", "99 %"])
    curve.minorticks_off()
    curve.axhline(GOAL, color=QUIET, linewidth=0.8, linestyle="--")
    fig.text(0.985, 0.03, "faint: the other four forms", color=MUTED, ha="right")
    curve.plot([FIRST], [START[0]], "o", color=BEFORE, markersize=9, zorder=3, clip_on=False)
    lines = [empty_line(curve, color="#c3cad6", linewidth=1.3) for _ in FORMS]
    bold = empty_line(curve, color=AFTER, linewidth=2.4)
    mark = empty_line(curve, "o", color=AFTER, markersize=8, zorder=4, clip_on=False)
    readings = readouts(fig, 0.03, (0.17, "steps to 99 %"), (0.4, "A, B, C"))

    def update(n: dict) -> None:
        for line, other, values, points in zip(lines, ways, n["curves"], n["ways"], strict=True):
            line.set_data([FIRST, *range(1, len(values))], values)
            other.set_data([x for x, _ in points], [y for _, y in points])
        chosen = n["curves"][n["chosen"]]
        bold.set_data([FIRST, *range(1, len(chosen))], chosen)
        mark.set_data([n["steps"] or FIRST], [n["probs"][0]])
        way.set_data([x for x, _ in n["path"]], [y for _, y in n["path"]])
        dot.set_data([n["path"][-1][0]], [n["path"][-1][1]])
        fill(readings, (n["taken"], ", ".join(f"{100 * p:.1f}" for p in n["probs"]) + " %"))

    return [*ways, way, dot, *lines, bold, mark, *readings], update


def parametrisations() -> Live:
    """The widget."""
    twin = (
        (
            "Plain steps in the logits: 405 of them, and each other way of writing takes a number of its own",
            {"steps": 400},
        ),
        ("Plain steps in cubes: first the wrong way, A falls from 10 to 4 %, and yet 99 % after 19", {"form": "cubes"}),
        ("Natural steps in cubes: 43, and all five climb nearly alike", {"how": "natural", "form": "cubes"}),
    )
    alt = (
        "A path in the triangle of all policies over A, B and C, and the probability of A by step, for one policy "
        "written five ways. Plain gradient steps take 405 steps to 99 % in the logits, 16 scaled, 754 as sums, 19 as "
        "cubes, 13 as squares, on different paths, and in cubes A first falls to 4 %. Natural steps take 45, 45, 45, "
        "43 and 44, on nearly the same path."
    )
    recorded = {"steps": (0, 5, 10, 20, 50, 100, 200, 400), "size": (0.25, 0.5, 1.0)}
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt, recorded=recorded)
