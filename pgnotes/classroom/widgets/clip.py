"""PPO's clip: objective and slope for one action, by advantage, ε and ratio, and the map of where the slope is zero (lesson 07)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, MUTED, QUIET, WORSE, fill, label, readouts
from pgnotes.theory.objectives import ppo_terms
from pgnotes.theory.ppo import silenced

GRID = torch.cat(
    [torch.linspace(0.001, 1, 200, dtype=torch.float64), torch.linspace(1, 2, 201, dtype=torch.float64)[1:]]
)
CONTROLS = (
    Slider("advantage", "advantage A", -2.0, 2.0, 0.1, -1.0),
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


def draw(fig: Figure) -> Moving:
    """Left the objective above its slope, right the map of both; below the readouts."""
    grid = fig.add_gridspec(
        2, 2, width_ratios=(1.15, 1), left=0.075, right=0.98, top=0.93, bottom=0.185, wspace=0.25, hspace=0.42
    )
    top, bottom, plane = fig.add_subplot(grid[0, 0]), fig.add_subplot(grid[1, 0]), fig.add_subplot(grid[:, 1])
    label(top, "Objective: min(rA, clip(r) A)").set(xlim=(0, 2), ylim=(-4.2, 4.2))
    label(bottom, "Its slope in r").set(xlim=(0, 2), ylim=(-2.6, 2.6))
    label(plane, "Which way a step moves r", y="advantage A").set(xlim=(0, 2), ylim=(-2.1, 2.1))
    bottom.set_xlabel("ratio r", labelpad=1)
    plane.set_xlabel("ratio r", labelpad=1)
    plane.grid(visible=False)
    for ax in (top, bottom, plane):
        ax.set_xticks([0, 0.5, 1, 1.5, 2])
    top.set_yticks([-4, -2, 0, 2, 4])
    for ax in (bottom, plane):
        ax.set_yticks([-2, -1, 0, 1, 2])
    for ax in (top, bottom):
        ax.axhline(0, color=QUIET, linewidth=0.8)
    plane.axhspan(0, 2.1, facecolor=BETTER, alpha=0.22)
    plane.axhspan(-2.1, 0, facecolor=WORSE, alpha=0.22)
    bands = [ax.add_patch(Rectangle((0, -5), 0, 10, facecolor=EXACT, alpha=0.09, linewidth=0)) for ax in (top, bottom)]
    flat = [plane.add_patch(Rectangle((0, y), 0, 2.1, facecolor="#dfe4ec", edgecolor="none")) for y in (0, -2.1)]
    edges = [plane.plot([], [], color=EXACT, linewidth=1, linestyle="--")[0] for _ in range(2)]
    (bare,) = top.plot([], [], color=QUIET, linewidth=1.4, linestyle="--")
    curve, slope = (ax.plot([], [], color=AFTER, linewidth=2.2)[0] for ax in (top, bottom))
    dots = [
        ax.plot([], [], "o", color=AFTER, markersize=8, markeredgecolor="white", clip_on=False)[0]
        for ax in (top, bottom, plane)
    ]
    top.text(0.03, 3.2, "dashed: rA, without the clip", color=MUTED, fontsize=9)
    for x, y, text, colour in ((0.4, 1.75, "slope A: r rises", "#00694d"), (1.6, -1.75, "slope A: r falls", "#7d1f5c")):
        plane.text(x, y, text, color=colour, ha="center", va="center", fontsize=8.5, fontweight="bold")
    zeros = [
        plane.text(x, y, "zero", color="#4a5566", ha="center", va="center", fontsize=9, fontweight="bold")
        for x, y in ((1.77, 1.75), (0.23, -1.75))
    ]
    readings = readouts(fig, 0.025, (0.16, "objective"), (0.36, "slope in r"), (0.62, "so a step"))

    def update(n: dict) -> None:
        low, high = n["edges"]
        for band in bands:
            band.set_x(low), band.set_width(high - low)
        flat[0].set_x(high), flat[0].set_width(2 - high)
        flat[1].set_x(0), flat[1].set_width(low)
        for line, edge in zip(edges, (low, high), strict=True):
            line.set_data([edge, edge], [-2.1, 2.1])
        bare.set_data([0, 2], [0, 2 * n["advantage"]])
        curve.set_data(GRID, n["objective"])
        slope.set_data(GRID, n["slopes"])
        for dot, y in zip(dots, (*n["point"], n["advantage"]), strict=True):
            dot.set_data([n["ratio"]], [y])
        value, steep = n["point"]
        word = "does nothing to r" if steep == 0 else "moves r up" if steep > 0 else "moves r down"
        fill(readings, (f"{value:+z.2f}", f"{steep:+.1f}" if steep else "0", word))

    return [*bands, *flat, *zeros, *edges, bare, curve, slope, *dots, *readings], update


def clip() -> Live:
    """The widget."""
    return Live(
        numbers, draw, CONTROLS, 4.0,
        twin=(
            ("A = −1, ratio 1.5: outside the band, and the full slope pulls it back", {"ratio": 1.5}),
            ("A = −1, ratio 0.5: outside the band, on the side that A asks for; the slope is zero", {"ratio": 0.5}),
            ("A = +1, ratio 1.5: here the upper side is the silent one", {"advantage": 1.0, "ratio": 1.5}),
        ),
        alt="PPO's objective for one action and its slope by ratio, and a map of ratio and advantage. The slope is zero only above the band for positive "
        "advantages and below it for negative ones; on the other two sides the full slope, equal to the advantage, pulls the ratio back.",
    )  # fmt: skip
