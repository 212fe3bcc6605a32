"""A run as a picture: pass rate, reward, dead groups, entropy, KL and length by step; redrawn while it trains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator, PercentFormatter

from pgnotes.classroom.progress import measures_of
from pgnotes.classroom.style import (
    AFTER,
    BEFORE,
    BETTER,
    EXACT,
    QUIET,
    WORSE,
    bundle,
    figure,
    label,
    name_lines,
    panels,
)
from pgnotes.lm.evaluate import standard_error

SECONDS_BETWEEN = 0.5  # redraws, at least
MEASURES = {"length": "characters", "digit_sum": "digit sum"}  # what they are called in a title
SAID = {"length": "mean length {:.0f} characters", "digit_sum": "mean digit sum {:.0f}"}  # and in the description
CLEAR = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}  # behind a word among dots
SHARE = 0.1  # of the time may go into drawing


def smooth(values: Sequence[float], width: int = 9) -> np.ndarray:
    """Mean of each value and up to `width` - 1 before it."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)


def line(ax: Axes, records: list[dict], key: str, colour: str = AFTER) -> None:
    """A quantity by step, faint, with its running mean on top."""
    known = [(r["step"], r[key]) for r in records if r[key] is not None]
    if known:
        x, y = zip(*known, strict=True)
        ax.plot(x, y, color=colour, alpha=0.25, linewidth=1)
        ax.plot(x, smooth(y), color=colour, linewidth=1.8)


def spread(ax: Axes, records: list[dict], key: str) -> None:
    """A mean by step with a band of one standard deviation."""
    x, mean, std = (np.array([r[k] for r in records]) for k in ("step", key, key + "_std"))
    ax.fill_between(x, mean - std, mean + std, color=AFTER, alpha=0.15, linewidth=0)
    ax.plot(x, mean, color=AFTER, linewidth=1.5)


def measure(ax: Axes, records: list[dict], name: str, target: float | None) -> None:
    """One of the task's own measures, and its target if it has one."""
    words = MEASURES.get(name, name.replace("_", " "))
    spread(label(ax, f"{words.capitalize()}, mean ± spread"), records, name)
    if target is not None:
        ax.axhline(target, color=EXACT, linewidth=1, linestyle="--")


def curves(records: list[dict], steps: int, **targets: float) -> tuple[Figure, str]:
    """The panels and a sentence that describes them. targets: of the task's measures, where they have one: length=48.

    At most two measures are shown, those with a target first.
    """
    shown = sorted(measures_of(records[0]), key=lambda name: name not in targets)[:2]
    fig, axes = panels(3, 2, 6.0, sharex=True)
    passed, reward, second, first, kl, dead = axes.flat

    line(label(passed, "Share that passes"), records, "pass_rate")
    passed.set_ylim(-0.02, 1.02 if max(r["pass_rate"] for r in records) > 0.45 else 0.52)
    line(label(reward, "Reward of the step's samples"), records, "reward")
    line(reward, records, "reward_std", QUIET)
    name_lines(reward, ("mean", AFTER), ("spread", QUIET))

    for ax, name in zip((first, second), shown, strict=False):
        measure(ax, records, name, targets.get(name))
    for ax in (first, second)[len(shown) :]:
        ax.set_visible(False)

    line(label(kl, "Far from the start? Still unsure?", x="step", y="nats a token"), records, "kl")
    line(kl, records, "entropy", QUIET)
    name_lines(kl, ("KL", AFTER), ("entropy", QUIET))
    line(label(dead, "Groups that teach nothing", x="step"), records, "dead_fail", WORSE)
    line(dead, records, "dead_pass", BETTER)
    dead.set_ylim(-0.02, 0.84)
    name_lines(dead, ("all fail", WORSE), ("all pass", BETTER))
    for ax in (passed, dead):
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    passed.set_xlim(0, max(steps - 1, 1))

    last = records[-1]
    said = [f"pass rate {last['pass_rate']:.0%}"]
    said += [SAID.get(name, f"mean {name} {{:.0f}}").format(last[name]) for name in shown]
    said.append(f"{last['dead_fail'] + last['dead_pass']:.0%} of groups without a signal")
    return fig, f"Learning curves after {len(records)} of {steps} steps: {', '.join(said)}."


def warmup_curve(records: list[dict]) -> tuple[Figure, str]:
    """The loss of the supervised stage by update, and a sentence that describes it."""
    fig, axes = panels(1, 1, 2.0)
    losses = [record["loss"] for record in records]
    shown = label(axes, "Warm-up: the task's own examples, by cross-entropy", x="update", y="nats a token")
    shown.plot([record["update"] for record in records], losses, color=AFTER, alpha=0.25, linewidth=1)
    shown.plot([record["update"] for record in records], smooth(losses), color=AFTER, linewidth=1.8)
    shown.set_ylim(0, 1.1 * max(losses))
    return fig, f"Loss of the warm-up by update: {losses[0]:.2f} nats a token at first, {losses[-1]:.2f} now."


def outcomes(before: list[dict], after: list[dict], length: int, digit_sum: int) -> tuple[Figure, str]:
    """Length and digit sum of each completion before and after training, and a sentence that describes them.

    before, after: the `completions` of two evaluations. Points are moved by up to ± 0.3 so that equal ones can be told
    apart.
    """
    fig, axes = panels(1, 2, 3.4, sharex=True, sharey=True)
    noise, shares = np.random.default_rng(0), []
    for ax, rows, colour, name in ((axes[0], before, BEFORE, "Before"), (axes[1], after, AFTER, "After")):
        found = np.array([[row["length"], row["digit_sum"]] for row in rows])
        points = found + noise.uniform(-0.3, 0.3, found.shape)
        share = sum(row["passed"] for row in rows) / len(rows)
        shares.append(f"{share:.0%} ± {standard_error(share, len(rows)):.0%}")

        # the dashed lines cross at the target
        label(ax, f"{name}: {shares[-1]} pass", x="length in characters")
        ax.axvline(length, color=EXACT, linewidth=0.8, linestyle="--")
        ax.axhline(digit_sum, color=EXACT, linewidth=0.8, linestyle="--")
        ax.scatter(*points.T, s=14, color=colour, alpha=0.7, linewidth=0)
        ax.xaxis.set_major_locator(MultipleLocator(4))
        ax.text(length + 0.3, 0.98, "target", transform=ax.get_xaxis_transform(), color=EXACT, va="top", bbox=CLEAR)
    axes[0].set_ylabel("digits add up to")
    axes[0].set_xlim(length - 8, length + 8)
    axes[0].set_ylim(max(-1, digit_sum - 8), digit_sum + 8)

    target = f"the target, {length} characters and digit sum {digit_sum}, is where the dashed lines cross"
    passed = f"Before training {shares[0]} lie on it, after training {shares[1]}."
    return fig, f"Each dot is a completion; {target}. {passed}"


class LivePicture:
    """A consumer of step records that keeps one picture up to date, at most twice a second.

    The supervised stage, if a run has one, gets a picture of its own above.  Call `finish` when the run is over.
    """

    def __init__(self, steps: int, **targets: float):
        self.steps, self.targets = steps, targets
        self.records: list[dict] = []
        self.warmup: list[dict] = []
        self.shown: dict[str, Any] = {}  # the handle of each picture
        self.due = 0.0

    def warm_up(self, record: dict) -> None:
        """Take a record of the supervised stage; redraw if that is due."""
        self.warmup.append(record)
        if time.monotonic() >= self.due:
            self.draw("warm-up")

    def __call__(self, record: dict) -> None:
        """Take a record; redraw if that is due."""
        if self.warmup and not self.records:
            self.draw("warm-up")
        self.records.append(record)
        if time.monotonic() >= self.due:
            self.draw("steps")

    def draw(self, which: str) -> None:
        """Show a picture, or replace it, and set when the next one is due."""
        started = time.monotonic()
        steps = which == "steps"
        fig, alt = curves(self.records, self.steps, **self.targets) if steps else warmup_curve(self.warmup)
        if self.shown.get(which) is None:
            self.shown[which] = figure(fig, alt)
        else:
            data, metadata = bundle(fig, alt)
            self.shown[which].update(data, metadata=metadata, raw=True)
        ended = time.monotonic()
        self.due = ended + max(SECONDS_BETWEEN, (ended - started) / SHARE)

    def finish(self) -> None:
        """Draw what came after the last redraw."""
        if self.records:
            self.draw("steps")
