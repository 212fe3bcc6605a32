"""A run as a picture: pass rate, reward, dead groups, entropy, KL and length by step; redrawn while it trains."""

from __future__ import annotations

import time

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgnotes.classroom.style import AFTER, BEFORE, BETTER, EXACT, QUIET, WORSE, bundle, figure, label, panels

SECONDS_BETWEEN = 0.5  # redraws, at least
SHARE = 0.1  # of the time may go into drawing


def smooth(values: list[float], width: int = 9) -> np.ndarray:
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


def curves(records: list[dict], steps: int, length: int, digit_sum: int) -> tuple[Figure, str]:
    """The six panels and a sentence that describes them."""
    fig, axes = panels(3, 2, 6.0, sharex=True)
    passed, reward, sums, lengths, kl, dead = axes.flat
    line(label(passed, "Share of completions that pass", y="pass rate"), records, "pass_rate")
    passed.set_ylim(-0.02, 1.02)
    spread(label(reward, "Reward, mean ± 1 standard deviation", y="reward"), records, "reward")
    for ax, key, target, name in ((lengths, "length", length, "characters"), (sums, "digit_sum", digit_sum, "digit sum")):
        spread(label(ax, f"{name.capitalize()}: target {target}", y=name), records, key)
        ax.axhline(target, color=EXACT, linewidth=1, linestyle="--")
    line(label(kl, "How far from the start, how unsure", x="step", y="nats a token"), records, "kl")
    line(kl, records, "entropy", QUIET)
    line(label(dead, "Groups that teach nothing", x="step", y="share of groups"), records, "dead_fail", WORSE)
    line(dead, records, "dead_pass", BETTER)
    dead.set_ylim(-0.02, 1.02)
    for ax, words in ((kl, (("KL", AFTER), ("entropy", QUIET))), (dead, (("all fail", WORSE), ("all pass", BETTER)))):
        for i, (word, colour) in enumerate(words):
            ax.text(0.98, 0.96 - 0.14 * i, word, color=colour, transform=ax.transAxes, ha="right", va="top")
    passed.set_xlim(0, max(steps - 1, 1))
    last = records[-1]
    alt = f"Learning curves after {len(records)} of {steps} steps: pass rate {last['pass_rate']:.0%}, mean length {last['length']:.0f} characters, "
    return fig, alt + f"mean digit sum {last['digit_sum']:.0f}, {last['dead_fail'] + last['dead_pass']:.0%} of groups without a signal."


def outcomes(before: list[dict], after: list[dict], length: int, digit_sum: int) -> tuple[Figure, str]:
    """Length and digit sum of each completion before and after training, and a sentence that describes them.

    before, after: the `completions` of two evaluations. Points are moved by up to ± 0.3 so that equal ones can be told apart.
    """
    fig, axes = panels(1, 2, 3.4, sharex=True, sharey=True)
    noise = np.random.default_rng(0)
    shares = []
    for ax, rows, colour, name in ((axes[0], before, BEFORE, "Before"), (axes[1], after, AFTER, "After")):
        points = np.array([[row["length"], row["digit_sum"]] for row in rows]) + noise.uniform(-0.3, 0.3, (len(rows), 2))
        shares.append(sum(row["passed"] for row in rows) / len(rows))
        label(ax, f"{name}: {shares[-1]:.0%} pass", x="length in characters")
        ax.axvline(length, color=EXACT, linewidth=0.8, linestyle="--")
        ax.axhline(digit_sum, color=EXACT, linewidth=0.8, linestyle="--")
        ax.scatter(*points.T, s=14, color=colour, alpha=0.7, linewidth=0)
    axes[0].set_ylabel("digits add up to")
    axes[0].set_xlim(length - 9, length + 9)
    axes[0].set_ylim(max(-1, digit_sum - 9), digit_sum + 9)
    alt = f"Each dot is a completion; the target, {length} characters and digit sum {digit_sum}, is where the dashed lines cross. "
    return fig, alt + f"Before training {shares[0]:.0%} lie on it, after training {shares[1]:.0%}."


class LivePicture:
    """A consumer of step records that keeps one picture up to date, at most twice a second; call `finish` when the run is over."""

    def __init__(self, steps: int, length: int, digit_sum: int):
        self.steps, self.targets = steps, (length, digit_sum)
        self.records: list[dict] = []
        self.handle, self.due = None, 0.0

    def __call__(self, record: dict) -> None:
        """Take a record; redraw if that is due."""
        self.records.append(record)
        if time.monotonic() >= self.due:
            self.draw()

    def draw(self) -> None:
        """Show the picture, or replace it, and set when the next one is due."""
        started = time.monotonic()
        fig, alt = curves(self.records, self.steps, *self.targets)
        if self.handle is None:
            self.handle = figure(fig, alt)
        else:
            data, metadata = bundle(fig, alt)
            self.handle.update(data, metadata=metadata, raw=True)
        ended = time.monotonic()
        self.due = ended + max(SECONDS_BETWEEN, (ended - started) / SHARE)

    def finish(self) -> None:
        """Draw what came after the last redraw."""
        if self.records:
            self.draw()
