"""PPO's clip: objective and slope for one action, and the map of where the slope is zero (lesson 07)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, signed
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, MUTED, QUIET, WORSE, label
from pgnotes.theory.ppo import silenced
from pgnotes.theory.terms import ppo_terms

# finer below 1, where it begins a little above 0
BELOW, ABOVE = torch.linspace(0.001, 1, 200, dtype=torch.float64), torch.linspace(1, 2, 201, dtype=torch.float64)
GRID = torch.cat([BELOW, ABOVE[1:]])
CONTROLS = (
    Slider("advantage", "advantage A", -1.0, 1.0, 0.1, -1.0),
    Slider("clip", "band ε", 0.05, 0.5, 0.05, 0.2),
    Slider("ratio", "ratio r", 0.0, 2.0, 0.05, 1.0),
)


def numbers(advantage: float, clip: float, ratio: float) -> dict[str, Any]:
    """Objective and slope along the ratio, and at the point."""
    # A slider's 1.2 may be 1.2000000000000002, on the other side of an edge.
    a, eps, r = (round(x, 2) for x in (advantage, clip, ratio))
    ratios = torch.cat([GRID, torch.tensor([max(r, 1e-9)], dtype=torch.float64)])
    worth = torch.full_like(ratios, a)
    objective = -ppo_terms(ratios.log(), torch.zeros_like(ratios), worth, worth > 0, eps)
    slopes = torch.where(silenced(ratios, worth, eps), 0.0, worth)
    return {
        "advantage": a,
        "edges": (1 - eps, 1 + eps),
        "ratio": r,
        "objective": objective[:-1].numpy(),
        "slopes": slopes[:-1].numpy(),
        "point": (objective[-1].item(), slopes[-1].item()),
    }


def axes_of(fig: Figure) -> tuple[Axes, Axes, Axes]:
    """Left the objective above its slope, right the map of ratio and advantage."""
    edges = {"left": 0.075, "right": 0.98, "top": 0.93, "bottom": 0.185, "wspace": 0.31, "hspace": 0.42}
    grid = fig.add_gridspec(2, 2, width_ratios=(1.15, 1), **edges)
    top, bottom, plane = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[1, 0]), fig.add_subplot(grid[:, 1])
    label(top, "Objective: min(rA, clip(r) A)").set(ylim=(-2.1, 2.1), yticks=[-2, -1, 0, 1, 2])
    label(bottom, "Its slope in r").set(ylim=(-1.2, 1.2), yticks=[-1, 0, 1])
    label(plane, "Which way a step moves r", y="advantage A").set(ylim=(-1.05, 1.05), yticks=[-1, -0.5, 0, 0.5, 1])
    for ax in (top, bottom, plane):
        ax.set(xlim=(0, 2), xticks=[0, 0.5, 1, 1.5, 2])
    for ax in (bottom, plane):
        ax.set_xlabel("ratio r", labelpad=1)
    for ax in (top, bottom):
        ax.axhline(0, color=QUIET, linewidth=0.8)
    plane.grid(visible=False)
    return top, bottom, plane


def draw(fig: Figure) -> Moving:
    """The three axes and what moves in them; below the readouts."""
    top, bottom, plane = axes_of(fig)
    bands = [ax.add_patch(Rectangle((0, -5), 0, 10, facecolor=EXACT, alpha=0.09, linewidth=0)) for ax in (top, bottom)]
    bare = empty_line(top, color=QUIET, linewidth=1.4, linestyle="--")
    top.text(0.03, 1.55, "dashed: rA, without the clip", color=MUTED)
    curve, slope = (empty_line(ax, color=AFTER, linewidth=2.2) for ax in (top, bottom))

    plane.axhspan(0, 1.05, facecolor=BETTER, alpha=0.22)
    plane.axhspan(-1.05, 0, facecolor=WORSE, alpha=0.22)
    flat = [plane.add_patch(Rectangle((0, y), 0, 1.05, facecolor="#dfe4ec", edgecolor="none")) for y in (0, -1.05)]
    edges = [empty_line(plane, color=EXACT, linewidth=1, linestyle="--") for _ in range(2)]
    words = (0.4, 0.62, "slope A:\nr rises", "#00694d"), (1.6, -0.62, "slope A:\nr falls", "#7d1f5c")
    legend(plane, *words, ha="center", va="center")
    look: dict[str, Any] = {"color": "#4a5566", "ha": "center", "va": "center", "fontweight": "bold"}
    zeros = [plane.text(x, y, "zero", **look) for x, y in ((1.6, 0.62), (0.4, -0.62))]

    point = {"color": AFTER, "markersize": 8, "markeredgecolor": "white", "clip_on": False}
    dots = [empty_line(ax, "o", **point) for ax in (top, bottom, plane)]
    readings = readouts(fig, 0.025, (0.16, "objective"), (0.36, "slope in r"), (0.62, "so a step"))

    def update(n: dict) -> None:
        low, high = n["edges"]
        for band in bands:
            band.set(x=low, width=high - low)
        flat[0].set(x=high, width=2 - high)
        flat[1].set(x=0, width=low)
        for line, edge in zip(edges, (low, high), strict=True):
            line.set_data([edge, edge], [-1.05, 1.05])

        bare.set_data([0, 2], [0, 2 * n["advantage"]])
        curve.set_data(GRID, n["objective"])
        slope.set_data(GRID, n["slopes"])
        for dot, y in zip(dots, (*n["point"], n["advantage"]), strict=True):
            dot.set_data([n["ratio"]], [y])

        value, steep = n["point"]
        word = "does nothing to r" if steep == 0 else "moves r up" if steep > 0 else "moves r down"
        fill(readings, (signed(f"{value:+z.2f}"), signed(f"{steep:+.1f}") if steep else "0", word))

    return [*bands, *flat, *zeros, *edges, bare, curve, slope, *dots, *readings], update


def clip() -> Live:
    """The widget."""
    twin = (
        ("A = −1, ratio 1.5: outside the band, and the full slope pulls it back", {"ratio": 1.5}),
        ("A = −1, ratio 0.5: outside the band, on the side that A asks for; the slope is zero", {"ratio": 0.5}),
        ("A = +1, ratio 1.5: here the upper side is the silent one", {"advantage": 1.0, "ratio": 1.5}),
    )
    alt = (
        "PPO's objective for one action and its slope by ratio, and a map of ratio and advantage. The slope is zero "
        "only above the band for positive advantages and below it for negative ones; on the other two sides the full "
        "slope, equal to the advantage, pulls the ratio back."
    )
    return Live(numbers, draw, CONTROLS, 4.0, twin, alt)
