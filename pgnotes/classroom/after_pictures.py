"""Lesson 10's pictures: the family at ratio 1, one try and many, pass rate against entropy, two suspects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import legend
from pgnotes.classroom.passes import KS, curve
from pgnotes.classroom.style import AFTER, BEFORE, ESTIMATE, EXACT, MUTED, label, panels
from pgnotes.theory.pass_at_k import pass_rate_of_k, shared_rates

# a name, its marker, degrees, noise; which side of its mark it stands on, how far up
Point = tuple[str, str, float, float, str, float]
AVERAGES = {"^": "own length", "s": "all tokens", "o": "added up"}  # markers of `family_map`
SUSPECT = ("#4b3fa0", "#8c6d1f")  # X and Y, as in lesson 07


def family_map(points: Sequence[Point]) -> Figure:
    """Each method's mean step: degrees off the exact gradient, and the noise of a step; its average by its marker."""
    fig, ax = panels(1, 1, 3.2)
    title = "Here own length turns a step most; three rows leave it alone"
    label(ax, title, x="degrees off the exact gradient", y="noise of a step")
    ax.set(xlim=(-11, 40), ylim=(0.58, 1.16), xticks=[0, 10, 20, 30, 40])
    ax.axvline(0, color=EXACT)
    for y, (marker, average) in zip((1.11, 1.07, 1.03), AVERAGES.items(), strict=True):
        ax.plot(30, y, marker, color=ESTIMATE)
        ax.text(31, y, average, color=MUTED, va="center", fontsize=9)
    for name, marker, turned, noise, side, up in points:
        ax.plot(turned, noise, marker, color=ESTIMATE)
        look = {"ha": "right" if side == "left" else "left", "va": "center", "color": EXACT, "fontsize": 9}
        ax.text(turned + (-0.7 if side == "left" else 0.7), noise + up, name, **look)
    return fig


def one_or_many(passes: dict[str, dict[str, Tensor]]) -> Figure:
    """pass@k over k: two requests that share a strategy, exactly, and the pocket model, from `recorded_passes`."""
    fig, (two, real) = panels(1, 2, 3.3, sharey=True)
    tries = range(1, 65)
    for share, colour in ((0.5, BEFORE), (0.999, AFTER)):
        chances = [pass_rate_of_k(shared_rates(share), k).mean() for k in tries]
        two.plot(tries, chances, color=colour, linewidth=2.4)
    legend(two, (7.5, 0.78, "P(A) = 0.5", MUTED), (7.5, 0.42, "P(A) = 0.999", AFTER))

    for kind, style in (("held out", "-"), ("neighbours", ":")):
        for when, colour in (("before", BEFORE), ("after", AFTER)):
            mean, error = curve(passes[kind][when]).T
            real.errorbar(KS, mean, 2 * error, color=colour, linestyle=style, linewidth=2.4, capsize=2)
    legend(real, (1.6, 1.04, "after, the target trained for", AFTER), (12, 0.58, "before, both", MUTED))
    legend(real, (6, 0.29, "after, neighbours", AFTER))

    label(two, "Two requests: they cross", x="tries k", y="pass@k")
    label(real, "The pocket model: they do not", x="tries k")
    for ax in (two, real):
        ax.set_xscale("log")
        ax.set(xlim=(0.93, 70), ylim=(0, 1.12))
        ax.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
        ax.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        ax.minorticks_off()
    return fig


def least_squares(x: Tensor, y: Tensor) -> tuple[Callable[[Tensor], Tensor], float]:
    """The line through points, [n] both, as a function of x, and the share of y's variance that it explains."""
    both = torch.stack([x, torch.ones_like(x)], 1)
    slope, start = torch.linalg.lstsq(both, y[:, None]).solution[:, 0]
    explained = 1 - (y - both @ torch.stack([slope, start])).var() / y.var()
    return lambda at: start + slope * at, explained.item()


def entropy_dots(entropy: Tensor, rate: Tensor) -> Figure:
    """Pass rate against entropy, a dot a step [150], with a line in the entropy and one in its exponential."""
    fig, ax = panels(1, 1, 2.9)
    label(ax, "As passes rise, entropy falls", x="entropy of the policy, nats a token", y="pass rate")
    ax.set(xlim=(0, 0.42), ylim=(0, 1.3))
    ax.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    ax.axhline(1, color=MUTED, linewidth=1, linestyle=":")
    for some, colour in ((slice(40), BEFORE), (slice(40, 80), "#e39a66"), (slice(80, None), AFTER)):
        ax.plot(entropy[some], rate[some], "o", color=colour, markersize=4)

    at = torch.linspace(0, 0.41, 80, dtype=torch.float64)
    line, curved = (least_squares(f(entropy), rate)[0] for f in (torch.clone, torch.exp))
    ax.plot(at, line(at), color=EXACT, linewidth=1.3)
    ax.plot(at, curved(at.exp()), color=EXACT, linewidth=1.3, linestyle="--")
    legend(
        ax, (0.32, 0.43, "steps 0 to 39", MUTED), (0.2, 0.75, "40 to 79", "#b8682f"), (0.135, 0.9, "80 to 149", AFTER)
    )
    ax.text(0.2, 1.03, "no pass rate is above 100 %", color=MUTED)
    ax.text(0.075, 1.17, "solid: a line in H; dashed: in exp H", color=EXACT, fontsize=9)
    return fig


def suspects(seen: dict[str, tuple[Tensor, Sequence[float]]]) -> Figure:
    """Of X and Y: expected returns [updates, seeds], and the share of tokens silenced at each update."""
    fig, (left, right) = panels(1, 2, 2.9)
    for (returns, silent), colour in zip(seen.values(), SUSPECT, strict=True):
        updates = range(1, len(returns) + 1)
        left.plot(updates, returns[:, :2], color=colour, linewidth=0.6, alpha=0.5)
        left.plot(updates, returns.mean(1), color=colour, linewidth=2.6)
        right.plot(updates, silent, color=colour, linewidth=2.6)
    label(left, "Expected return", x="update").set(xlim=(1, 40), ylim=(0.2, 1.02))
    label(right, "Share of tokens that the clip silences", x="update").set(xlim=(1, 40), ylim=(-0.008, 0.16))
    right.set_yticks([0, 0.05, 0.1, 0.15], ["0", "5 %", "10 %", "15 %"])
    words: tuple[tuple[Axes, float, float, str], ...] = ((left, 24, 0.58, "X"), (left, 15, 0.8, "Y"))
    for ax, x, y, name in (*words, (right, 15, 0.1, "X"), (right, 30, 0.005, "Y")):
        legend(ax, (x, y, name, SUSPECT[name == "Y"]))
    return fig
