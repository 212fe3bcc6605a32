"""Lesson 03's still pictures: one step of REINFORCE on a few sequences, and the pushes of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from pgnotes.classroom.artists import policy_bars
from pgnotes.classroom.style import BAND, BETTER, ESTIMATE, EXACT, QUIET, label, panels


def one_step(sequences: Tensor, mask: Tensor, returns: Sequence[str], before: Tensor, after: Tensor) -> tuple[Figure, str]:
    """What was sampled, what counts and what it earned, and beside it the first symbol's chances before and after.

    sequences, mask: [n, T].  returns: n texts.  before, after: [V].  Returns the figure, and what it shows in words.
    """
    fig, (grid, bars) = panels(1, 2, 2.7, width_ratios=(1.1, 1))
    draw_grid(grid, sequences, mask, returns)

    label(bars, "4 · step: the first symbol, before and after")
    _, move = policy_bars(bars, before.tolist())
    move(after.tolist())
    bars.set(ylim=(0, 0.52), yticks=[], xticks=range(len(before)))
    bars.set_xticklabels(["0, stop", *map(str, range(1, len(before)))])
    bars.spines["left"].set_visible(False)
    bars.grid(visible=False)

    rows = "; ".join(
        f"{' '.join(str(s) for s, on in zip(row, live, strict=True) if on)} earned {earned}"
        for row, live, earned in zip(sequences.tolist(), mask.tolist(), returns, strict=True)
    )
    changes = ", ".join(f"{a:.0%} to {b:.0%}" for a, b in zip(before.tolist(), after.tolist(), strict=True))
    return fig, f"Four sequences in a grid, the places that count filled: {rows}. Chances of the first symbol: {changes}."


def draw_grid(ax: Axes, sequences: Tensor, mask: Tensor, returns: Sequence[str]) -> None:
    """A cell for each place, filled where it counts, the sequence's return on the right."""
    n, places = sequences.shape
    label(ax, "1 · sample, 2 · mask, 3 · weigh").set(xlim=(-0.55, places + 1.1), ylim=(n - 0.4, -0.95))
    ax.set_axis_off()
    for i, (row, live) in enumerate(zip(sequences.tolist(), mask.tolist(), strict=True)):
        for t, (symbol, on) in enumerate(zip(row, live, strict=True)):
            look = {"facecolor": BAND, "edgecolor": QUIET} if on else {"fill": False, "edgecolor": BAND}
            ax.add_patch(Rectangle((t - 0.45, i - 0.42), 0.9, 0.84, linewidth=1, **look))
            text = str(symbol) if on else "·"
            ax.text(t, i, text, ha="center", va="center", color=EXACT if on else QUIET, fontsize=12, fontweight="bold")
        ax.text(places + 0.25, i, returns[i], ha="center", va="center", color=BETTER, fontsize=12, fontweight="bold")
    ax.text((places - 1) / 2, -0.72, "place 1 to 4", ha="center", va="center", color=EXACT)
    ax.text(places + 0.25, -0.72, "return", ha="center", va="center", color=BETTER)


def pushes(kinds: dict[str, Tensor], chances: Tensor) -> tuple[Figure, str]:
    """How a batch pushes, by kind: a histogram over all batches, the mean as a line.

    kinds: name -> [batches].  chances: [batches].  Returns the figure, and what it shows in words.
    """
    fig, axes = panels(len(kinds), 1, 1.75 * len(kinds))
    told = []
    for ax, (name, push) in zip(axes, kinds.items(), strict=True):
        mean, down = (chances @ push).item(), chances[push < 0].sum().item()
        end = 1.05 * push.abs().max().item()
        heights, edges = torch.histogram(push, bins=41, range=(-end, end), weight=chances)
        ax.bar((edges[:-1] + edges[1:]) / 2, heights, (edges[1] - edges[0]).item() * 0.9, color=ESTIMATE)
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.axvline(mean, color=EXACT, linewidth=2)
        side = {"ha": "left"} if mean > 0 else {"ha": "right"}
        text = f"  mean {mean:+.2f}  ".replace("-", "−")
        ax.text(mean, 0.93 * heights.max().item(), text, color=EXACT, fontweight="bold", va="top", **side)
        label(ax, f"{name}: {down:.0%} of the batches push the better arm down", y="chance")
        told.append(f"{name}: {down:.0%} of the batches push it down, the mean push is {mean:+.2f}")
    axes[-1].set_xlabel("push of a batch on the better arm")
    return fig, f"Histograms of a batch's push on the better arm. {'; '.join(told)}."
