"""A run, step by step: what its completions looked like, and what the pass rate cost (lesson 09)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pgnotes.classroom.dashboard import smooth
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, BETTER, EXACT, MUTED, QUIET, box, fill, label, readouts
from pgnotes.lm.tasks import DigitsAndLength

LINES, BARS = 4, 13  # completions shown, and bars of each distribution
CURVES = (
    ("pass_rate", "pass rate", 0.02, AFTER, "-"),
    ("entropy", "entropy", 0.41, QUIET, "-"),
    ("kl", "··· KL", 0.78, EXACT, ":"),
)
TWIN = (  # of the full run
    ("The first step: lengths and digit sums lie around the targets, and one in ten has both", {"step": 0}),
    ("Half-way: the digit sum has settled, the length has not", {"step": 70}),
    ("The last step: nearly all pass, and the sentences have changed", {"step": 149}),
)
TOLD = (
    "From the first step to the last both distributions shrink onto their targets, the digit sum first, and the pass rate rises from one in ten to more than "
    "nine in ten, while the entropy halves and the KL grows."
)


@cache
def full_run() -> list[dict]:
    """The records of `python -m pgnotes grpo --preset pocket`, seed 0, 150 steps: its `log.jsonl`, which comes with the package."""
    return [
        json.loads(line)
        for line in gzip.decompress(
            files("pgnotes.classroom").joinpath("pocket_run.jsonl.gz").read_bytes()
        ).splitlines()
    ]


def run_explorer(records: list[dict] | None = None, length: int = 48, digit_sum: int = 12) -> Live:
    """The widget.

    records: of a run of one's own, `log.records`, with its two targets; the full run of the pocket model if None.
    """
    records = records or full_run()
    edges = {"lengths": bins(records, "lengths", length), "digit_sums": bins(records, "digit_sums", digit_sum)}
    targets, steps = {"lengths": length, "digit_sums": digit_sum}, [record["step"] for record in records]
    task = DigitsAndLength(length, digit_sum, [], [])
    courses = {
        key: smooth([record[key] or 0.0 for record in records]) for key, *_ in CURVES if records[0][key] is not None
    }

    def numbers(step: int) -> dict[str, Any]:
        """The step's distributions, its place on the curves, its readouts and some of its texts."""
        record = records[step]
        exact = {name: np.mean(np.array(record[name]) == target) for name, target in targets.items()}
        return {
            "step": record["step"],
            "shares": {name: shares(record[name], edges[name]) for name in edges},
            "at": [courses[key][step] for key in courses],
            "texts": [(text, task.passed(text)) for text in record["samples"][:LINES]],
            "readings": (
                *(f"{share:.0%}" for share in (record["pass_rate"], *exact.values())),
                f"{record['reward']:.2f} ± {record['reward_std']:.2f}",
                f"{record['entropy'] or 0:.2f} nats",
                "none" if record["kl"] is None else f"{record['kl']:.2f} nats",
                f"{record['dead_fail'] + record['dead_pass']:.0%}",
            ),
        }

    def draw(fig: Figure) -> Moving:
        """Two distributions and the run's curves; below readouts and texts."""
        *both, course = fig.subplots(
            1,
            3,
            width_ratios=(1, 1, 1.25),
            gridspec_kw={"left": 0.075, "right": 0.985, "top": 0.92, "bottom": 0.475, "wspace": 0.24},
        )
        bars = []
        for ax, (name, cuts), title in zip(both, edges.items(), ("Length, characters", "Digit sum"), strict=True):
            label(ax, title).set(
                xlim=(cuts[0], cuts[-1]), ylim=(0, 1.02), yticks=[0, 0.5, 1], yticklabels=["0", "50%", "100%"]
            )
            middle, width = (cuts[1:] + cuts[:-1]) / 2, 0.86 * np.diff(cuts)
            ax.bar(middle, shares(records[0][name], cuts), width, color=BEFORE)
            bars.append((ax.add_collection(PolyCollection([], linewidth=0, facecolor=AFTER)), middle, 0.5 * width))
            ax.plot([targets[name]] * 2, [0, 1.02], color=EXACT, linewidth=1, linestyle="--", zorder=0.5)
        both[0].text(0.03, 0.98, "step 0", color=MUTED, fontweight="bold", transform=both[0].transAxes, va="top")
        both[0].text(0.03, 0.85, "this step", color=AFTER, fontweight="bold", transform=both[0].transAxes, va="top")
        top = max(1.0, *(values.max() for values in courses.values()))
        label(course, "The run", x="step").set(xlim=(0, max(steps[-1], 1)), ylim=(0, 1.3 * top), yticks=[0, 0.5, 1])
        dots = []
        for key, name, place, colour, style in CURVES:
            if key in courses:
                course.plot(steps, courses[key], style, color=colour, linewidth=1.8)
                course.text(place, 0.98, name, color=colour, fontweight="bold", transform=course.transAxes, va="top")
                dots += course.plot([], [], "o", color=colour, markersize=6, clip_on=False)
        (cursor,) = course.plot([], [], color=QUIET, linewidth=0.8)
        readings = readouts(
            fig, 0.305, (0.125, "passes"), (0.37, "exact length"), (0.62, "exact digit sum"), (0.835, "reward")
        )
        for i, name in enumerate(("entropy a token", "KL a token", "dead groups")):
            readings += readouts(fig, 0.215 - 0.06 * i, (0.87, name))
        lines = [fig.text(0.05, 0.215 - 0.06 * i, "", family="monospace", fontsize=9) for i in range(LINES)]

        def update(n: dict) -> None:
            for (shapes, middle, width), values in zip(bars, n["shares"].values(), strict=True):
                shapes.set_verts(
                    [box(x, wide, 0.0, value) for x, wide, value in zip(middle, width, values, strict=True)]
                )
            for dot, height in zip(dots, n["at"], strict=True):
                dot.set_data([n["step"]], [height])
            cursor.set_data([n["step"]] * 2, [0, 1.08 * top])
            fill(readings, n["readings"])
            for i, line in enumerate(lines):
                text, passed = n["texts"][i] if i < len(n["texts"]) else ("", False)
                line.set_text(
                    ("✓ " if passed else "  ")
                    + "".join(c if c.isprintable() else "�" for c in text[:58]).replace("$", r"\$")
                )
                line.set_color(BETTER if passed else EXACT)

        return [*(shapes for shapes, *_ in bars), cursor, *dots, *readings, *lines], update

    last = len(records) - 1
    told = records is full_run()
    return Live(
        numbers, draw, (Slider("step", "step", 0, last, 1, 0),), 3.6,
        twin=TWIN if told else tuple((f"Step {step}", {"step": step}) for step in (0, last // 2, last)),
        alt=f"Distributions of length and digit sum of a step's completions beside those of step 0, the run's pass rate, entropy and KL with a mark there, and "
        f"four completions. {TOLD if told else 'The pass rate goes from {:.0%} to {:.0%}.'.format(*courses['pass_rate'][[0, -1]])}",
    )  # fmt: skip


def bins(records: list[dict], key: str, target: int) -> np.ndarray:
    """Edges [BARS + 1] of bars over the target and nearly all values of the first and the last step; the target is in the middle of one."""
    low, high = np.quantile([*records[0][key], *records[-1][key]], [0.02, 0.98])
    low, high = min(low, target), max(high, target)
    width = int(np.ceil((high - low + 1) / BARS))
    first = max(round(((low + high) / 2 - target) / width) - BARS // 2, -(target // width))
    return target + width * (first + np.arange(BARS + 1) - 0.5)


def shares(values: list[int], edges: np.ndarray) -> np.ndarray:
    """The share of the values in each bar; what lies further out counts in the outermost ones."""
    inside = np.clip(values, edges[0] + 1e-9, edges[-1] - 1e-9)
    return np.histogram(inside, edges)[0] / len(values)
