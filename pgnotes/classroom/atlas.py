"""Two pictures of the whole: the lessons as a map, and where the ideas come from (lesson 00)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pgnotes.classroom.style import AFTER, BAND, BEFORE, BETTER, ESTIMATE, EXACT, QUIET, WIDTH, WORSE, panels

Curve = list[tuple[float, float]]


def curve(f: Callable[[float], float], low: float = 0.0, high: float = 1.0) -> Curve:
    """41 points of a function that maps [low, high] into the unit square's height, spread over its width."""
    return [(i / 40, f(low + (high - low) * i / 40)) for i in range(41)]


BELL = curve(lambda x: math.exp(-x * x / 2), -2.6, 2.6)
# name, what it adds, and a sketch in the unit square: bars (x, height, colour), dots (x, y, colour), lines (points,
# colour)
LESSONS: tuple[tuple[str, str, dict], ...] = (
    ("Start here", "the words, the map,\nhow a lesson works", {
        "lines": [([(0.0, 0.1), (0.3, 0.6), (0.65, 0.3), (1.0, 0.9)], QUIET)], "dots": [(0.0, 0.1, AFTER), (1.0, 0.9, EXACT)],
    }),
    ("Softmax bandits", "one reward moves\nevery action", {"bars": [(0.1, 0.6, BEFORE), (0.25, 0.9, AFTER), (0.55, 0.4, BEFORE), (0.7, 0.2, AFTER)]}),
    ("Log-derivative trick", "a gradient from\nsamples alone", {
        "lines": [(curve(lambda x: 0.35 + 0.25 * math.log(x), 0.25, 12.0), EXACT), ([(-0.05, 0.31), (0.5, 0.93)], ESTIMATE)],
    }),
    ("REINFORCE", "the first algorithm\nthat learns", {"lines": [(curve(lambda x: 0.1 + 0.85 / (1 + math.exp(8 * (0.45 - x)))), AFTER)]}),
    ("Variance", "why learning is noisy,\nand what noise costs", {
        "bars": [(0.05 + 0.13 * i, h, ESTIMATE) for i, h in enumerate((0.1, 0.35, 0.7, 0.95, 0.75, 0.3, 0.15))],
    }),
    ("Baselines", "compare with what you expected,\nand the noise usually shrinks", {
        "lines": [(curve(lambda x: 0.15 + 2.6 * (x - 0.45) ** 2), ESTIMATE)], "dots": [(0.45, 0.15, EXACT)],
    }),
    ("Reward-to-go", "credit an action only with\nwhat comes after it", {
        "dots": [(0.1 + 0.2 * i, 0.95 - 0.2 * j, BETTER if i >= j else "#d9dee6") for i in range(5) for j in range(5)],
    }),
    ("PPO's clip", "use the same samples again,\nbut not without limit", {
        "lines": [([(0.0, 0.05), (0.6, 0.7), (1.0, 0.7)], AFTER), ([(0.6, 0.7), (0.82, 0.94)], QUIET)],
    }),
    ("Group baselines", "completions of one prompt,\ncompared with each other", {
        "lines": [([(0.0, 0.5), (1.0, 0.5)], EXACT)],
        "dots": [(0.1 + 0.16 * i, y, BETTER if y > 0.5 else WORSE) for i, y in enumerate((0.8, 0.2, 0.65, 0.9, 0.3, 0.1))],
    }),
    ("GRPO on a T4", "the whole loop,\non a language model", {
        "lines": [([(x, 0.7 * y) for x, y in BELL], BEFORE), ([(0.35 + 0.6 * x, 0.95 * y) for x, y in BELL], AFTER)],
    }),
)  # fmt: skip
GROUPS = (("", 0, 0), ("one decision", 1, 1), ("sequences", 2, 3), ("less noise", 4, 6), ("from PPO to GRPO", 7, 9))
PLACES = [(0.12 + 1.72 * i, 4.42, 1.6) for i in range(4)] + [
    (0.12 + 2.293 * (i % 3), 2.72 - 1.7 * (i // 3), 2.173) for i in range(6)
]  # left, bottom, width
TALL = 1.18


def paper(height: float) -> tuple[Figure, Axes]:
    """A white page whose units are inches, without axes."""
    fig, ax = panels(1, 1, height)
    fig.set_layout_engine("none")
    ax.set(position=(0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.axis("off")
    return fig, ax


def box(ax: Axes, x: float, y: float, wide: float, tall: float, **look: object) -> None:
    """A rectangle with round corners."""
    ax.add_patch(FancyBboxPatch((x, y), wide, tall, boxstyle="round,pad=0,rounding_size=0.08", **look))


def sketch(ax: Axes, x: float, y: float, bars: tuple = (), dots: tuple = (), lines: tuple = ()) -> None:
    """A small drawing, 0.62 by 0.42 inches."""
    wide, tall = 0.62, 0.42
    for left, height, colour in bars:
        ax.bar(x + wide * left, tall * height, 0.075, bottom=y, align="edge", color=colour)
    for points, colour in lines:
        ax.plot(
            [x + wide * px for px, _ in points],
            [y + tall * py for _, py in points],
            color=colour,
            linewidth=1.8,
            solid_capstyle="round",
        )
    for px, py, colour in dots:
        ax.plot([x + wide * px], [y + tall * py], "o", color=colour, markersize=4)


def arrow(ax: Axes, *points: tuple[float, float]) -> None:
    """An arrow along straight pieces."""
    ax.plot(*zip(*points[:-1], strict=True), color=QUIET, linewidth=1.3, solid_capstyle="butt")
    ax.add_patch(
        FancyArrowPatch(
            points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, color=QUIET, linewidth=1.3, shrinkA=0, shrinkB=0
        )
    )


def course_map() -> tuple[Figure, str]:
    """The ten lessons as a path, grouped, with what each adds: the figure, and its description."""
    fig, ax = paper(6.0)
    for name, first, last in GROUPS:
        (x, y, _), (right, _, wide) = PLACES[first], PLACES[last]
        if name:
            box(ax, x - 0.05, y - 0.07, right + wide - x + 0.1, TALL + 0.38, facecolor=BAND, edgecolor="none")
            ax.text(x + 0.04, y + TALL + 0.09, name, fontsize=9.5, color="#5b6675", fontweight="bold")
    for i, ((name, adds, drawing), (x, y, wide)) in enumerate(zip(LESSONS, PLACES, strict=True)):
        box(ax, x, y, wide, TALL, facecolor="white", edgecolor="#cfd6df", linewidth=0.9)
        ax.text(x + 0.11, y + 0.81, f"{i:02d}", fontsize=15, color=EXACT, fontweight="bold")
        sketch(ax, x + wide - 0.74, y + 0.7, **drawing)
        ax.text(x + 0.11, y + 0.47, name, fontsize=8.8, color=EXACT, fontweight="bold")
        ax.text(x + 0.11, y + 0.4, adds, fontsize=8.2, color=EXACT, va="top", linespacing=1.2)
    for (x, y, wide), (to, below, next_wide) in pairwise(PLACES):
        if y == below:
            arrow(ax, (x + wide, y + 0.9), (to, y + 0.9))
        else:  # on to the next row
            turn, out, into = y - 0.105, x + wide / 2, to + 0.75 * next_wide
            arrow(ax, (out, y), (out, turn), (into, turn), (into, below + TALL))
    box(ax, 0.07, 0.12, WIDTH - 0.14, 0.6, facecolor=EXACT, edgecolor="none")
    ax.text(
        WIDTH / 2,
        0.51,
        "The thread: every estimator meets an exact answer",
        color="white",
        fontsize=10,
        fontweight="bold",
        ha="center",
        va="center",
    )
    how = "worlds small enough to list every outcome, then the same functions on a language model"
    ax.text(WIDTH / 2, 0.28, how, color="white", fontsize=8.5, ha="center", va="center")
    steps = "; ".join(f"{i:02d} {name}" for i, (name, _, _) in enumerate(LESSONS))
    return (
        fig,
        f"A map of the ten lessons, in order: {steps}. Under all of them runs one thread: every estimator meets an exact answer.",
    )


LANES = (("policy gradients", 0.82, EXACT), ("variance and baselines", 2.97, ESTIMATE), ("language models", 5.1, AFTER))
# year, lane, what, who, the lessons that meet it
HISTORY = (
    (1992, 0, "REINFORCE", "Williams", "03"), (2000, 0, "Policy gradient theorem", "Sutton et al.", "02"),
    (2001, 0, "Natural policy gradient", "Kakade", ""), (2001, 1, "GPOMDP", "Baxter & Bartlett", ""),
    (2002, 0, "Conservative policy iteration", "Kakade & Langford", "07"), (2004, 1, "Optimal baselines", "Greensmith et al.", "05"),
    (2013, 0, "DQN: values instead", "Mnih et al.", "01"), (2015, 0, "TRPO", "Schulman et al.", "07"), (2015, 1, "GAE", "Schulman et al.", ""),
    (2016, 0, "A3C", "Mnih et al.", ""), (2017, 0, "PPO", "Schulman et al.", "07"), (2018, 1, "Action-dependent baselines", "Tucker et al.", "05"),
    (2019, 2, "Human preferences", "Ziegler et al.", "07"), (2020, 1, "Beyond variance", "Chung et al.", "05"),
    (2022, 2, "InstructGPT", "Ouyang et al.", ""), (2023, 2, "DPO", "Rafailov et al.", ""),
    (2024, 1, "RLOO", "Ahmadian et al.", "08"), (2024, 2, "GRPO", "Shao et al.", "08"),
    (2025, 1, "REINFORCE++", "Hu et al., January", "08"), (2025, 1, "Dr. GRPO", "Liu et al., March", "08"),
    (2025, 2, "DeepSeek-R1", "DeepSeek-AI, January", ""), (2025, 2, "DAPO", "Yu et al., March", "08"),
    (2025, 2, "CISPO", "MiniMax, June", "08"), (2025, 2, "GSPO", "Zheng et al., July", "08"),
)  # fmt: skip


def timeline() -> tuple[Figure, str]:
    """1992 to 2025 from top to bottom, a row for each year in which something happened: the figure, and its description."""
    years = sorted({year for year, *_ in HISTORY})
    deep = {year: max(sum(entry[:2] == (year, lane) for entry in HISTORY) for lane in range(3)) for year in years}
    row, gap = 0.335, 0.2
    height = 0.6 + row * sum(deep.values()) + gap * sum(b - a > 3 for a, b in pairwise(years))
    fig, ax = paper(height)
    for name, x, colour in LANES:
        ax.text(x, height - 0.27, name, color=colour, fontsize=11, fontweight="bold")
    y, before, spine = height - 0.42, None, 0.62
    for year in years:
        if before and year - before > 3:
            ax.plot([spine, spine], [y, y - gap], color=QUIET, linewidth=1.4, linestyle=(0, (1, 2)))
            ax.text(
                LANES[0][1],
                y - gap / 2,
                f"{year - before} years",
                color="#6b7585",
                fontsize=8,
                va="center",
                style="italic",
            )
            y -= gap
        if years.index(year) % 2 == 0:
            ax.axhspan(y - row * deep[year], y, facecolor=BAND)
        ax.plot([spine, spine], [y, y - row * deep[year]], color=QUIET, linewidth=1.4, solid_capstyle="butt")
        ax.text(
            spine - 0.1, y - row / 2, str(year), color=EXACT, fontsize=9.5, fontweight="bold", ha="right", va="center"
        )
        for lane, (_, x, colour) in enumerate(LANES):
            for i, (_, _, what, who, lesson) in enumerate(entry for entry in HISTORY if entry[:2] == (year, lane)):
                ax.text(x, y - row * i - 0.155, what, color=colour, fontsize=9, fontweight="bold")
                ax.text(x, y - row * i - 0.285, f"{who} · lesson {lesson}" if lesson else who, color=EXACT, fontsize=8)
        y, before = y - row * deep[year], year
    told = "; ".join(f"{year} {what} ({who})" for year, _, what, who, _ in HISTORY)
    return fig, f"A timeline in three columns, policy gradients, variance and baselines, language models: {told}."
