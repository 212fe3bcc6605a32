"""A run, step by step: what its completions looked like, and what the pass rate cost (lesson 09)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgnotes.classroom.artists import box, empty_line, empty_shapes, fill, legend, plain, readouts
from pgnotes.classroom.dashboard import smooth
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, BETTER, EXACT, MUTED, QUIET, label
from pgnotes.lm.tasks import DigitsAndLength

LINES, BARS, WIDEST = 4, 13, 58  # completions shown, bars of each distribution, characters of a completion
CURVES = (
    ("pass_rate", "pass rate", 0.02, AFTER, "-"),
    ("entropy", "entropy", 0.41, QUIET, "-"),
    ("kl", "··· KL", 0.78, EXACT, ":"),
)
TWIN = (  # of the full run
    ("The first step: lengths and digit sums lie around the targets, and one in ten has both", {"step": 0}),
    ("Half-way: the digit sum is ahead of the length", {"step": 70}),
    ("The last step: nearly all pass, and the sentences have changed", {"step": 149}),
)
TOLD = (
    "From the first step to the last both distributions shrink onto their targets, the digit sum first, and the pass "
    "rate rises from one in ten to more than nine in ten, while the entropy falls to a quarter and the KL grows."
)


@cache
def full_run() -> list[dict]:
    """The `log.jsonl`, packed here, of `python -m pgnotes grpo --preset pocket --set steps=150`, seed 0.

    By an earlier version of the loop, which rounded otherwise: today's makes another run of the same kind.
    """
    packed = files("pgnotes.classroom").joinpath("pocket_run.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


class Run:
    """The records of a run and its two targets, with what is the same at every step."""

    def __init__(self, records: list[dict], length: int, digit_sum: int):
        self.records, self.steps = records, [record["step"] for record in records]
        self.targets = {"lengths": length, "digit_sums": digit_sum}
        self.edges = {name: bins(records, name, target) for name, target in self.targets.items()}
        self.task = DigitsAndLength(length, digit_sum, [], [])
        known = [name for name, *_ in CURVES if records[0][name] is not None]
        self.curves = {name: smooth([record[name] or 0.0 for record in records]) for name in known}
        self.top = max(1.0, *(values.max() for values in self.curves.values()))

    def numbers(self, step: int) -> dict[str, Any]:
        """The step's distributions, its place on the curves, its readouts and some of its texts."""
        record = self.records[step]
        exact = [np.mean(np.array(record[name]) == target) for name, target in self.targets.items()]
        readings = [f"{share:.0%}" for share in (record["pass_rate"], *exact)]
        readings.append(f"{record['reward']:.2f} ± {record['reward_std']:.2f}")
        readings.append(f"{record['entropy'] or 0:.2f} nats")
        readings.append("none" if record["kl"] is None else f"{record['kl']:.2f} nats")
        readings.append(f"{record['dead_fail'] + record['dead_pass']:.0%}")
        return {
            "step": record["step"],
            "shares": {name: shares(record[name], edges) for name, edges in self.edges.items()},
            "at": [values[step] for values in self.curves.values()],
            "texts": [(text, self.task.passed(text)) for text in record["samples"][:LINES]],
            "readings": readings,
        }

    def draw(self, fig: Figure) -> Moving:
        """Two distributions and the run's curves; below readouts and texts."""
        edges = {"left": 0.075, "right": 0.985, "top": 0.92, "bottom": 0.475, "wspace": 0.24}
        *both, course = fig.subplots(1, 3, width_ratios=(1, 1, 1.25), gridspec_kw=edges)
        names = zip(both, self.targets, ("Length, characters", "Digit sum"), strict=True)
        bars = {name: self.draw_distribution(label(ax, title), name) for ax, name, title in names}
        words = (0.03, 0.98, "step 0", MUTED), (0.03, 0.85, "this step", AFTER)
        legend(both[0], *words, transform=both[0].transAxes, va="top")
        marks, move_marks = self.draw_course(label(course, "The run", x="step"))

        heads = (0.125, "passes"), (0.37, "exact length"), (0.62, "exact digit sum"), (0.835, "reward")
        readings, below = readouts(fig, 0.305, *heads), [0.215 - 0.06 * i for i in range(LINES)]
        for y, name in zip(below, ("entropy a token", "KL a token", "dead groups"), strict=False):
            readings += readouts(fig, y, (0.87, name))
        lines = [fig.text(0.05, y, "", family="monospace", fontsize=10) for y in below]

        def update(n: dict) -> None:
            for name, (_, move_bars) in bars.items():
                move_bars(n["shares"][name])
            move_marks(n)
            fill(readings, n["readings"])
            texts = n["texts"] + [("", False)] * (LINES - len(n["texts"]))
            for line, (text, passed) in zip(lines, texts, strict=True):
                line.set(text=("✓ " if passed else "  ") + plain(text[:WIDEST]), color=BETTER if passed else EXACT)

        moving = [artist for artists, _ in bars.values() for artist in artists]
        return [*moving, *marks, *readings, *lines], update

    def draw_distribution(self, ax: Axes, name: str) -> Moving:
        """The shares of step 0 as wide bars and, to be moved, those of a step as narrow ones in front of them."""
        edges = self.edges[name]
        ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.02))
        ax.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])
        middles, widths = (edges[1:] + edges[:-1]) / 2, 0.86 * np.diff(edges)
        ax.bar(middles, shares(self.records[0][name], edges), widths, color=BEFORE)
        ax.plot([self.targets[name]] * 2, [0, 1.02], color=EXACT, linewidth=1, linestyle="--", zorder=0.5)
        bars = empty_shapes(ax, linewidth=0, facecolor=AFTER)

        def move(heights: np.ndarray) -> None:
            bars.set_verts([box(x, 0.5 * w, 0.0, y) for x, w, y in zip(middles, widths, heights, strict=True)])

        return [bars], move

    def draw_course(self, ax: Axes) -> Moving:
        """The curves of the whole run and, to be moved, a line at a step with a dot on each of them."""
        ax.set(xlim=(0, max(self.steps[-1], 1)), ylim=(0, 1.3 * self.top), yticks=[0, 0.5, 1])
        dots = []
        for key, name, place, colour, style in CURVES:
            if key in self.curves:
                ax.plot(self.steps, self.curves[key], style, color=colour, linewidth=1.8)
                legend(ax, (place, 0.98, name, colour), transform=ax.transAxes, va="top")
                dots.append(empty_line(ax, "o", color=colour, markersize=6, clip_on=False))
        cursor = empty_line(ax, color=QUIET, linewidth=0.8)

        def move(n: dict) -> None:
            cursor.set_data([n["step"]] * 2, [0, 1.08 * self.top])
            for dot, height in zip(dots, n["at"], strict=True):
                dot.set_data([n["step"]], [height])

        return [cursor, *dots], move


def run_explorer(records: list[dict] | None = None, length: int = 48, digit_sum: int = 12) -> Live:
    """The widget.

    records: of a run of one's own, `log.records`, with its two targets; the full run of the pocket model if None.
    """
    records = records or full_run()
    run, last = Run(records, length, digit_sum), len(records) - 1
    twin, told = TWIN, TOLD
    if records is not full_run():
        twin = tuple((f"Step {step}", {"step": step}) for step in (0, last // 2, last))
        told = "The pass rate goes from {:.0%} to {:.0%}.".format(*run.curves["pass_rate"][[0, -1]])
    alt = (
        "Distributions of length and digit sum of a step's completions beside those of step 0, the run's pass rate, "
        f"entropy and KL with a mark there, and four completions. {told}"
    )
    return Live(run.numbers, run.draw, (Slider("step", "step", 0, last, 1, 0),), 3.6, twin, alt)


def bins(records: list[dict], name: str, target: int) -> np.ndarray:
    """Edges [BARS + 1] of bars over the target and nearly all values of the first and the last step.

    The target is in the middle of one.
    """
    low, high = np.quantile([*records[0][name], *records[-1][name]], [0.02, 0.98])
    low, high = min(low, target), max(high, target)
    width = int(np.ceil((high - low + 1) / BARS))
    first = max(round(((low + high) / 2 - target) / width) - BARS // 2, -(target // width))
    return target + width * (first + np.arange(BARS + 1) - 0.5)


def shares(values: list[int], edges: np.ndarray) -> np.ndarray:
    """The share of the values in each bar; what lies further out counts in the outermost ones."""
    inside = np.clip(values, edges[0] + 1e-9, edges[-1] - 1e-9)
    return np.histogram(inside, edges)[0] / len(values)
