"""Lesson 03's still pictures: one step of REINFORCE on a few sequences, and the pushes of a batch."""

from __future__ import annotations

from fractions import Fraction

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pgnotes.classroom.artists import policy_bars
from pgnotes.classroom.style import ESTIMATE, EXACT, QUIET, label, panels


def one_step(sequences: Tensor, mask: Tensor, returns: Tensor, before: Tensor, after: Tensor) -> tuple[Figure, str]:
    """What was sampled, what counts and what it earned, and beside it the first symbol's chances before and after.

    sequences, mask: [n, T].  returns: [n], in [0, 1].  before, after: [V].  Returns the figure, and its description.
    """
    fig, (grid, bars) = panels(1, 2, 2.7, width_ratios=(1.1, 1))
    draw_grid(grid, sequences, mask, returns)

    label(bars, "4 · step: the first symbol gains or loses")
    _, move = policy_bars(bars, before.tolist())
    move(after.tolist())
    bars.set(ylim=(0, 0.52), yticks=[], xticks=range(len(before)))
    bars.set_xticklabels(["0, stop", *map(str, range(1, len(before)))])
    bars.spines["left"].set_visible(False)
    bars.grid(visible=False)

    rows = "; ".join(
        f"{' '.join(str(s) for s, on in zip(row, live, strict=True) if on)} earned {fraction(earned)}"
        for row, live, earned in zip(sequences.tolist(), mask.tolist(), returns.tolist(), strict=True)
    )
    changes = ", ".join(f"{a:.0%} to {b:.0%}" for a, b in zip(before.tolist(), after.tolist(), strict=True))
    return (
        fig,
        f"Four sequences in a grid, the places that count filled: {rows}. Chances of the first symbol: {changes}.",
    )


def draw_grid(ax: Axes, sequences: Tensor, mask: Tensor, returns: Tensor) -> None:
    """A cell for each place, filled where it counts, the sequence's return on the right."""
    n, places = sequences.shape
    label(ax, "1 · sample, 2 · mask, 3 · weigh").set(xlim=(-0.55, places + 1.1), ylim=(n - 0.4, -0.95))
    ax.set_axis_off()
    for i, row in enumerate(sequences.tolist()):
        earned = returns[i].item()
        for t, (symbol, on) in enumerate(zip(row, mask[i].tolist(), strict=True)):
            if on:  # the more the sequence earned, the harder it is pushed, and the bluer
                ax.add_patch(Rectangle((t - 0.45, i - 0.42), 0.9, 0.84, facecolor=ESTIMATE, alpha=0.06 + 0.3 * earned))
                ax.add_patch(Rectangle((t - 0.45, i - 0.42), 0.9, 0.84, fill=False, edgecolor=QUIET))
            text = str(symbol) if on else "·"
            ax.text(t, i, text, ha="center", va="center", color=EXACT if on else QUIET, fontsize=12, fontweight="bold")
        ax.text(places + 0.25, i, fraction(earned), ha="center", va="center", color=EXACT, fontsize=12)
    ax.text((places - 1) / 2, -0.72, "place 1 to 4", ha="center", va="center", color=EXACT)
    ax.text(places + 0.25, -0.72, "return", ha="center", va="center", color=EXACT)


def fraction(number: float) -> str:
    """A number as it is written by hand."""
    return str(Fraction(number).limit_denominator(100))


def pushes(kinds: dict[str, Tensor], chances: Tensor) -> tuple[Figure, str]:
    """How a batch pushes, by kind: a histogram over all batches, the mean as a line.

    kinds: title -> [batches].  chances: [batches].  Returns the figure, and what it shows in words.
    """
    fig, axes = panels(len(kinds), 1, 1.75 * len(kinds))
    told = []
    for ax, (name, push) in zip(axes, kinds.items(), strict=True):
        mean, down = (chances @ push).item(), chances[push < 0].sum().item()
        low, high = 1.1 * push.min().item(), 1.1 * push.max().item()
        heights, edges = torch.histogram(push, bins=45, range=(low, high), weight=chances)
        middles = (edges[:-1] + edges[1:]) / 2
        ax.bar(middles.tolist(), heights.tolist(), 0.9 * (edges[1] - edges[0]).item(), color=ESTIMATE)
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.axvline(mean, color=EXACT, linewidth=2)
        side = {"ha": "left"} if mean > 0 else {"ha": "right"}
        text = f"  mean {mean:+.2f}  ".replace("-", "−")
        ax.text(mean, 0.93 * heights.max().item(), text, color=EXACT, fontweight="bold", va="top", **side)
        label(ax, name, y="chance")
        told.append(f"{name}: {down:.0%} of the batches push the better arm down, the mean push is {mean:+.2f}")
    axes[-1].set_xlabel("push of a batch on the better arm")
    return fig, f"Histograms of a batch's push on the better arm. {'; '.join(told)}."
