"""A step size that falls with a power of time: one shakes for ever, one arrives, one stops on the way (lesson 03)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, EXACT, MUTED, QUIET, label
from pgnotes.classroom.widgets.score_arrows import CORNERS, triangle
from pgnotes.theory.step_sizes import climb, distance, sizes, summit
from pgnotes.theory.worlds import Bandit

BANDIT, BONUS = Bandit([0.0, 0.5, 1.0]), 0.5  # arms A, B and C; what a nat of entropy is worth
START = torch.tensor([3.0, 0.0, 0.0])  # nine times in ten A, the worst
FIRST, HALF_AFTER = 0.5, 20.0  # α_0 and h
RUNS, STEPS, EVERY = 80, 4000, 40  # policies, steps, between two looks at them
MARKS = list(range(0, STEPS + 1, EVERY))
POWERS = [
    round(0.1 * i, 1) for i in range(21)
]  # all of them are run at once, so that the slider has nothing to wait for
GHOSTS = (0.0, 1.0, 2.0)  # powers whose curves stay, in grey, where the switch is on
CONTROLS = (
    Slider("power", "power p of α₀ / (1 + t/h)ᵖ", 0.0, 2.0, 0.1, 0.0),
    Switch("ghosts", "show p = 0, 1 and 2 as well"),
)


@lru_cache(maxsize=4)
def policies(seed: int) -> Tensor:
    """The policies at `MARKS` under every power, [marks, powers, runs, 3]."""
    schedule = sizes(FIRST, HALF_AFTER, torch.tensor(POWERS, dtype=torch.float64), STEPS)
    walk = climb(BANDIT, START, BONUS, schedule, RUNS, seed)
    return torch.stack([probs for step, probs in enumerate(walk) if step % EVERY == 0])


@lru_cache(maxsize=4)
def distances(seed: int) -> list[list[float]]:
    """How far they are from the summit at `MARKS`, for each power."""
    return distance(policies(seed), summit(BANDIT, BONUS)).T.tolist()


def numbers(power: float, ghosts: bool = False, seed: int = 0) -> dict[str, Any]:
    """How far the policies are from the summit under every power that is drawn, and where those of `power` end."""
    goal = summit(BANDIT, BONUS)
    far = distances(seed)
    mine = POWERS.index(round(power, 1))
    ends = policies(seed)[-1, mine]
    return {
        "far": far[mine],
        "ghosts": [far[POWERS.index(ghost)] for ghost in GHOSTS] if ghosts else [],
        "ends": (ends @ CORNERS).T.tolist(),
        "path": (policies(seed)[:, mine, 0] @ CORNERS).T.tolist(),
        "goal": (goal @ CORNERS).tolist(),
        # of an endless schedule
        "sum": "infinite" if power <= 1 else "finite",
        "squares": "finite" if power > 0.5 else "infinite",
        "after": [far[mine][step // EVERY] for step in (400, STEPS)],
    }


def draw(fig: Figure) -> Moving:
    """Left the distance over the steps, right where the policies are after the last; below, the two sums."""
    left, right = two_panels(fig, 1.2, left=0.075, right=0.995, top=0.91, bottom=0.27, gap=0.05)
    curves, move_curves = draw_curves(left)
    cloud, move_cloud = draw_cloud(right)
    names = ((0.09, "Σ α"), (0.31, "Σ α²"), (0.68, "distance after 400"), (0.91, "after 4000"))
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        move_curves(n)
        move_cloud(n)
        fill(readings, (n["sum"], n["squares"], *(f"{far:.2f}" for far in n["after"])))

    return [*curves, *cloud, *readings], update


def draw_curves(ax: Axes) -> Moving:
    """The distance from the summit, root mean square over the runs, of this power and perhaps, in grey, of three."""
    label(ax, "Distance from the summit", x="step").set(xlim=(0, STEPS * 1.13), ylim=(0.02, 1.2), yscale="log")
    ax.set_xticks([0, 1000, 2000, 3000, 4000])
    ax.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    ax.minorticks_off()
    ghosts = [empty_line(ax, color=QUIET, linewidth=1.2, linestyle=dash) for dash in ("-", "--", ":")]
    # two of them end at about the same height
    ends = ax.text(STEPS * 1.015, 1, "p = 0\nand 2", color=MUTED, va="center")
    middle = ax.text(STEPS * 1.015, 1, "p = 1", color=MUTED, va="center")
    mine = empty_line(ax, color=AFTER, linewidth=2.6)

    drawn: list[list[float]] = []
    for name in (ends, middle):
        name.set_visible(False)

    def move(n: dict) -> None:
        if n["ghosts"] != drawn:  # they move with the random numbers alone, and are not drawn again for a power
            drawn[:] = n["ghosts"]
            for line, curve in zip(ghosts, drawn or [[]] * len(ghosts), strict=True):
                line.set_data(MARKS[: len(curve)], curve)
            for name in (ends, middle):
                name.set_visible(bool(drawn))
            if drawn:
                shaking, arriving, stopping = (curve[-1] for curve in drawn)
                ends.set_y((shaking * stopping) ** 0.5)
                middle.set_y(arriving)
        mine.set_data(MARKS, n["far"])

    return [*ghosts, ends, middle, mine], move


def draw_cloud(ax: Axes) -> Moving:
    """Where each policy is after the last step, in the triangle of the three arms, and the path of one."""
    label(ax, "Where 80 policies end").set(xlim=(-0.18, 1.18), ylim=(-0.15, 0.95))
    triangle(ax)
    ax.text(0, -0.08, "A pays 0", ha="center", va="center", color=EXACT)
    ax.text(1, -0.08, "B pays 0.5", ha="center", va="center", color=EXACT)
    ax.text(0.55, 0.87, "C pays 1", va="center", color=EXACT)
    ax.text(0.66, 0.57, "summit", va="center", color=EXACT, fontweight="bold")
    path = empty_line(ax, color=AFTER, linewidth=0.7, alpha=0.5)
    ends = empty_line(ax, "o", color=AFTER, markersize=3.5, alpha=0.55, markeredgewidth=0)
    goal = empty_line(ax, "+", color=EXACT, markersize=13, markeredgewidth=2)

    def move(n: dict) -> None:
        path.set_data(*n["path"])
        ends.set_data(*n["ends"])
        goal.set_data(*([at] for at in n["goal"]))

    return [path, ends, goal], move


def step_sizes() -> Live:
    """The widget."""
    twin = (
        ("p = 0, a constant step: the policies shake about the summit for ever", {"power": 0.0, "ghosts": True}),
        ("p = 1: they arrive", {"power": 1.0, "ghosts": True}),
        ("p = 2, which falls too fast: they stop on the way, each somewhere else", {"power": 2.0, "ghosts": True}),
    )
    alt = (
        "For three powers p of a falling step size: the distance of 80 policies from the summit over 4000 steps, and "
        "where they end in the triangle of three arms. With p = 0 the distance stays near 0.4 and the policies are "
        "scattered around the summit, many in a corner. With p = 1 it falls to 0.03 and all lie on the summit. With p "
        "= 2 it stays at 0.4 too, and the policies lie in a stripe between their start and the summit."
    )
    return Live(numbers, draw, CONTROLS, 2.9, twin, alt, noise=True)
