"""Two pictures of the whole: the lessons as a map, and where the ideas come from (lesson 00)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pgnotes.classroom.style import AFTER, BAND, BEFORE, BETTER, ESTIMATE, EXACT, MUTED, QUIET, WIDTH, WORSE, panels

Curve = list[tuple[float, float]]


def curve(f: Callable[[float], float], low: float = 0.0, high: float = 1.0) -> Curve:
    """41 points of a function that maps [low, high] into the unit square's height, spread over its width."""
    return [(i / 40, f(low + (high - low) * i / 40)) for i in range(41)]


BELL = curve(lambda x: math.exp(-x * x / 2), -2.6, 2.6)
# number, name, what it adds, and a sketch in the unit square: bars (x, height, colour), dots (x, y, colour), lines
# (points, colour)
LESSONS: tuple[tuple[str, str, str, dict], ...] = (
    ("00", "Start here", "the words, the map,\nhow a lesson works", {
        "lines": [([(0.0, 0.1), (0.3, 0.6), (0.65, 0.3), (1.0, 0.9)], QUIET)],
        "dots": [(0.0, 0.1, AFTER), (1.0, 0.9, EXACT)],
    }),
    ("01", "Softmax bandits", "one reward moves\nevery action", {
        "bars": [(0.1, 0.6, BEFORE), (0.25, 0.9, AFTER), (0.55, 0.4, BEFORE), (0.7, 0.2, AFTER)],
    }),
    ("02", "Log-derivative trick", "a gradient from\nsamples alone", {
        "lines": [
            (curve(lambda x: 0.35 + 0.25 * math.log(x), 0.25, 12.0), EXACT),
            ([(-0.05, 0.31), (0.5, 0.93)], ESTIMATE),
        ],
    }),
    ("03", "REINFORCE", "the first algorithm\nthat learns", {
        "lines": [(curve(lambda x: 0.1 + 0.85 / (1 + math.exp(8 * (0.45 - x)))), AFTER)],
    }),
    ("04", "Variance", "why learning is noisy,\nand what that costs", {
        "bars": [(0.05 + 0.13 * i, h, ESTIMATE) for i, h in enumerate((0.1, 0.35, 0.7, 0.95, 0.75, 0.3, 0.15))],
    }),
    ("05", "Baselines", "compare with what you\nexpected, and the noise\nusually shrinks", {
        "lines": [(curve(lambda x: 0.15 + 2.6 * (x - 0.45) ** 2), ESTIMATE)], "dots": [(0.45, 0.15, EXACT)],
    }),
    ("06", "Reward-to-go", "credit an action only with\nwhat comes after it", {
        "dots": [
            (0.1 + 0.2 * i, 0.95 - 0.2 * j, BETTER if i >= j else "#d9dee6") for i in range(5) for j in range(5)
        ],
    }),
    ("07", "PPO's clip", "use the same samples\nagain, but not without\nlimit", {
        "lines": [([(0.0, 0.05), (0.6, 0.7), (1.0, 0.7)], AFTER), ([(0.6, 0.7), (0.82, 0.94)], QUIET)],
    }),
    ("08", "Group baselines", "completions of one\nprompt, compared with\neach other", {
        "lines": [([(0.0, 0.5), (1.0, 0.5)], EXACT)],
        "dots": [
            (0.1 + 0.16 * i, y, BETTER if y > 0.5 else WORSE) for i, y in enumerate((0.8, 0.2, 0.65, 0.9, 0.3, 0.1))
        ],
    }),
    ("09", "GRPO on a T4", "the whole loop,\non a language model", {
        "lines": [
            ([(x, 0.7 * y) for x, y in BELL], BEFORE),
            ([(0.35 + 0.6 * x, 0.95 * y) for x, y in BELL], AFTER),
        ],
    }),
    ("10", "After GRPO", "which weight, which leash,\nwhose samples", {
        "lines": [
            ([(0.0, 0.0), (0.6, 0.6), (0.6, 0.05), (1.0, 0.05)], AFTER),
            ([(0.0, 0.0), (0.6, 0.6), (1.0, 0.6)], ESTIMATE),
        ],
    }),
    ("11", "Actor–critic", "what each symbol changed,\nby a table that may err", {
        "lines": [
            ([(0.0, 0.12), (0.34, 0.12), (0.34, 0.4), (0.62, 0.4), (0.62, 0.92), (1.0, 0.92)], ESTIMATE),
        ],
        "bars": [(0.28, 0.28, BETTER), (0.56, 0.52, BETTER)],
    }),
    ("12", "Natural gradient", "steps measured by what\nthe policy does", {
        "lines": [
            ([(0.5 + 0.46 * math.cos(t / 6.2), 0.5 + 0.3 * math.sin(t / 6.2)) for t in range(40)], ESTIMATE),
            ([(0.5, 0.5), (0.8, 0.7)], AFTER),
        ],
        "dots": [(0.5, 0.5, BEFORE)],
    }),
    ("13", "RLHF, preferences", "a reward from comparisons,\nand what a policy makes\nof it", {
        "lines": [
            (curve(lambda x: 0.1 + 0.85 * x**0.5), ESTIMATE),
            (curve(lambda x: 0.1 + 3.4 * x**0.8 * (1 - x) ** 2), EXACT),
        ],
    }),
    ("14", "Actions as numbers", "two gradients of one mean,\nand what tanh does\nto a bell curve", {
        "lines": [
            (BELL, BEFORE),
            (curve(lambda x: 0.12 + 0.16 / (1.04 - x * x) ** 0.55, -1.0, 1.0), AFTER),
        ],
    }),
    ("15", "Open questions", "what would count as no,\nand an empty form", {
        "lines": [
            ([(0.02, 0.08), (0.02, 0.95), (0.98, 0.95), (0.98, 0.08), (0.02, 0.08)], QUIET),
            ([(0.15, 0.72), (0.85, 0.72)], ESTIMATE), ([(0.15, 0.48), (0.6, 0.48)], WORSE),
            ([(0.15, 0.24), (0.35, 0.24)], QUIET),
        ],
    }),
)  # fmt: skip
# name, first and last lesson, which stand in one row
GROUPS = (
    ("one decision", "01", "01"),
    ("sequences", "02", "03"),
    ("less noise", "04", "06"),
    ("from PPO to GRPO", "07", "09"),
    ("side trips", "10", "12"),
    ("further afield", "13", "15"),
)
IN_WORDS = {10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen"}
TALL = 1.36


def places(count: int) -> list[tuple[float, float, float]]:
    """Left, bottom and width of `count` boxes, in inches: four in the first row, three in each other one."""
    rows = 1 + math.ceil((count - 4) / 3)
    bottoms = [1.02 + 1.89 * row for row in reversed(range(rows))]
    first = [(0.12 + 1.72 * i, bottoms[0], 1.6) for i in range(4)]
    others = [(0.12 + 2.293 * i, bottom, 2.173) for bottom in bottoms[1:] for i in range(3)]
    return [*first, *others][:count]


def paper(height: float) -> tuple[Figure, Axes]:
    """A white page whose units are inches, without axes."""
    fig, ax = panels(1, 1, height)
    fig.set_layout_engine("none")
    ax.set(position=(0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.axis("off")
    return fig, ax


def box(ax: Axes, x: float, y: float, wide: float, tall: float, **look: Any) -> None:
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
    """The lessons as a path, grouped, with what each adds: the figure, and its description."""
    boxes = places(len(LESSONS))
    fig, ax = paper(boxes[0][1] + TALL + 0.4)

    # bands behind the groups
    at = dict(zip((number for number, *_ in LESSONS), boxes, strict=True))
    for name, first, last in GROUPS:
        (x, y, _), (right, _, wide) = at[first], at[last]
        box(ax, x - 0.05, y - 0.07, right + wide - x + 0.1, TALL + 0.38, facecolor=BAND, edgecolor="none")
        ax.text(x + 0.04, y + TALL + 0.09, name, color="#5b6675", fontweight="bold")

    # a box for each lesson, and an arrow to the next
    for (number, name, adds, drawing), (x, y, wide) in zip(LESSONS, boxes, strict=True):
        box(ax, x, y, wide, TALL, facecolor="white", edgecolor="#cfd6df", linewidth=0.9)
        ax.text(x + 0.09, y + 0.99, number, fontsize=15, color=EXACT, fontweight="bold")
        sketch(ax, x + wide - 0.74, y + 0.87, **drawing)
        ax.text(x + 0.09, y + 0.66, name, color=EXACT, fontsize=10.5)
        ax.text(x + 0.09, y + 0.57, adds, color=MUTED, va="top", linespacing=1.15)
    for (x, y, wide), (to, below, next_wide) in pairwise(boxes):
        if y == below:
            arrow(ax, (x + wide, y + 1.08), (to, y + 1.08))
        else:  # on to the next row
            turn, out, into = y - 0.105, x + wide / 2, to + 0.75 * next_wide
            arrow(ax, (out, y), (out, turn), (into, turn), (into, below + TALL))

    # the thread, on a dark bar
    box(ax, 0.07, 0.12, WIDTH - 0.14, 0.6, facecolor=EXACT, edgecolor="none")
    look: dict[str, Any] = {"color": "white", "ha": "center", "va": "center"}
    thread = "every estimator meets an exact answer"
    ax.text(WIDTH / 2, 0.51, f"The thread: {thread}", fontweight="bold", **look)
    how = "worlds small enough to list every outcome, then the same functions on a language model"
    ax.text(WIDTH / 2, 0.28, how, **look)

    many = IN_WORDS.get(len(LESSONS), len(LESSONS))
    steps = "; ".join(f"{number} {name}" for number, name, *_ in LESSONS)
    return fig, f"A map of the {many} lessons, in order: {steps}. Under all of them runs one thread: {thread}."


# the three stories, and where their columns stand
LANES = (("policies and values", 0.76), ("variance and baselines", 2.95), ("language models", 5.22))
# year, lane, what, who, the lessons that meet it
HISTORY = (
    (1992, 0, "REINFORCE", "Williams", "03"), (2000, 0, "Policy gradient theorem", "Sutton et al.", "02"),
    (2001, 0, "Natural policy gradient", "Kakade", "12"), (2001, 1, "GPOMDP", "Baxter & Bartlett", "14"),
    (2002, 0, "Conservative policy iteration", "Kakade & Langford", "07"),
    (2004, 1, "Optimal baselines", "Greensmith et al.", "05"),
    (2013, 0, "DQN: values alone", "Mnih et al.", "01"), (2015, 0, "TRPO", "Schulman et al.", "12"),
    (2015, 0, "DDPG", "Lillicrap et al.", "14"), (2015, 1, "GAE", "Schulman et al.", "11"),
    (2016, 0, "A3C", "Mnih et al.", "11"),
    (2017, 0, "PPO", "Schulman et al.", "07"), (2017, 0, "Human preferences", "Christiano et al.", "13"),
    (2018, 0, "SAC", "Haarnoja et al.", "14"), (2018, 1, "Action-dependent baselines", "Tucker et al.", "05"),
    (2019, 2, "Preferences for text", "Ziegler et al.", "07"), (2020, 1, "Beyond variance", "Chung et al.", "05"),
    (2022, 2, "InstructGPT", "Ouyang et al.", "13"), (2023, 2, "DPO", "Rafailov et al.", "13"),
    (2023, 2, "Process rewards", "Lightman et al.", "15"),
    (2024, 1, "RLOO", "Ahmadian et al.", "08"), (2024, 2, "GRPO", "Shao et al.", "08"),
    (2025, 1, "REINFORCE++", "Hu et al., January", "08"), (2025, 1, "Dr. GRPO", "Liu et al., March", "08"),
    (2025, 2, "DeepSeek-R1", "DeepSeek-AI, January", ""), (2025, 2, "DAPO", "Yu et al., March", "08"),
    (2025, 2, "CISPO", "MiniMax, June", "10"), (2025, 2, "GSPO", "Zheng et al., July", "10"),
    (2025, 2, "SAPO", "Gao et al., Nov.", "10"),
)  # fmt: skip


def timeline() -> tuple[Figure, str]:
    """1992 to 2025 from top to bottom, a row for each year with an entry: the figure, and its description."""
    years = sorted({year for year, *_ in HISTORY})
    deep = {year: max(sum(entry[:2] == (year, lane) for entry in HISTORY) for lane in range(3)) for year in years}
    row, gap, spine = 0.4, 0.22, 0.62
    height = 0.6 + row * sum(deep.values()) + gap * sum(b - a > 3 for a, b in pairwise(years))
    fig, ax = paper(height)
    for name, x in LANES:
        ax.text(x, height - 0.27, name, color=EXACT, fontsize=11.5, fontweight="bold")

    y, before = height - 0.42, None
    for year in years:
        if before and year - before > 3:
            ax.plot([spine, spine], [y, y - gap], color=QUIET, linewidth=1.4, linestyle=(0, (1, 2)))
            ax.text(LANES[0][1], y - gap / 2, f"{year - before} years", color=MUTED, va="center", style="italic")
            y -= gap
        if years.index(year) % 2 == 0:
            ax.axhspan(y - row * deep[year], y, facecolor=BAND)
        ax.plot([spine, spine], [y, y - row * deep[year]], color=QUIET, linewidth=1.4, solid_capstyle="butt")
        ax.text(spine - 0.1, y - row / 2, str(year), color=EXACT, fontweight="bold", ha="right", va="center")
        for lane, (_, x) in enumerate(LANES):
            for i, (*_, what, who, lesson) in enumerate(entry for entry in HISTORY if entry[:2] == (year, lane)):
                ax.text(x, y - row * i - 0.18, what, color=EXACT, fontweight="bold")
                ax.text(x, y - row * i - 0.345, f"{who} · {lesson}" if lesson else who, color=MUTED)
        y, before = y - row * deep[year], year

    told = "; ".join(f"{year} {what} ({who})" for year, _, what, who, _ in HISTORY)
    names = ", ".join(name for name, _ in LANES)
    return fig, f"A timeline in three columns, {names}: {told}."
