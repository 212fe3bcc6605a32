"""What an objective of the family multiplies a token's score with, by its ratio and its advantage (lesson 10)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pgnotes.classroom.artists import empty_line, fill, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BAND, BEFORE, EXACT, MUTED, QUIET, label
from pgnotes.theory import token_weights

GRID = torch.linspace(0.005, 2, 400, dtype=torch.float64)
METHODS = (
    ("PPO, GRPO, DAPO: ratio, clipped", "ppo"),
    ("CISPO: ratio, capped", "cispo"),
    ("SAPO: a soft gate", "sapo"),
    ("DPPO: a band for the probability", "dppo"),
    ("GSPO: one ratio a sequence", "gspo"),
    ("GMPO: mean of clipped ratios", "gmpo"),
    ("REINFORCE", "reinforce"),
)
BANDS = (
    ("0.1 below, 0.1 above", (0.1, 0.1)),
    ("0.2 below, 0.2 above", (0.2, 0.2)),
    ("0.2 below, 0.28 above", (0.2, 0.28)),
    ("0.4 below, 0.4 above", (0.4, 0.4)),
)
CONTROLS = (
    Choice("method", "method", METHODS, "ppo"),
    Choice("band", "band ε", BANDS, (0.2, 0.2)),
    Choice("chance", "probability when sampled", tuple((str(p), p) for p in (0.01, 0.1, 0.5, 0.8, 0.9)), 0.01),
    Slider("ratio", "ratio r", 0.04, 2.0, 0.04, 1.0),
)
WHOLE = ("gspo", "gmpo")  # whose ratio is a sequence's, and says nothing of one token's probability
TOP = 2.2


@lru_cache(maxsize=64)
def curves(method: str, band: tuple[float, float], chance: float) -> tuple[list[float], ...]:
    """The weight over GRID, for A = +1 and for A = −1; NaN where no probability goes."""
    return tuple(token_weights.token_weight(GRID, sign, method, band, chance=chance).tolist() for sign in (1.0, -1.0))


def edges(method: str, band: tuple[float, float], chance: float) -> tuple[float, float] | None:
    """Between which ratios a method knows no limit; None if it has no band."""
    low, high = band
    if method == "dppo":
        return max(0.0, 1 - low / chance), min(1 + high / chance, 1 / chance)
    if method == "gmpo":
        return math.exp(-low), math.exp(high)
    return {"reinforce": None, "sapo": None, "cispo": (0.0, 1 + high)}.get(method, (1 - low, 1 + high))


def numbers(method: str, band: tuple[float, float], chance: float, ratio: float) -> dict[str, Any]:
    """Both curves, the band, and at one ratio both weights and where the probability has gone.

    None where the ratio is not that of one token.
    """
    if method in WHOLE:
        chance = 0.01  # a sequence's ratio ends at none of the slider's
    r = min(round(ratio, 2), 1 / chance)  # no probability is above 1
    weights = [token_weights.token_weight([r], sign, method, band, chance=chance).item() for sign in (1.0, -1.0)]
    return {
        "curves": curves(method, band, chance),
        "band": edges(method, band, chance),
        "chance": chance,
        "ratio": r,
        "weights": weights,
        "now": None if method in WHOLE else r * chance,
    }


def strip(fig: Figure) -> Moving:
    """The token's probability on a line from 0 to 1, when it was sampled and now."""
    ax = fig.add_axes((0.085, 0.2, 0.9, 0.055))
    ax.set(xlim=(0, 1), ylim=(0, 1), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1], facecolor=BAND)
    ax.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.text(0, 1.3, "The token's probability", color=EXACT, fontweight="bold")
    ax.text(0.305, 1.3, "when sampled", color=MUTED, fontweight="bold")
    ax.text(0.495, 1.3, "now", color=AFTER, fontweight="bold")
    way = ax.add_patch(Rectangle((0, 0.35), 0, 0.3, facecolor=AFTER, alpha=0.45, linewidth=0))
    ticks = [ax.plot([0, 0], [0, 1], color=c, linewidth=3, solid_capstyle="butt")[0] for c in (BEFORE, AFTER)]

    def move(n: dict) -> None:
        for part in (way, *ticks):
            part.set_visible(n["now"] is not None)
        if n["now"] is None:
            return
        way.set(x=min(n["chance"], n["now"]), width=abs(n["now"] - n["chance"]))
        for tick, x in zip(ticks, (n["chance"], n["now"]), strict=True):
            tick.set_xdata([x, x])

    return [way, *ticks], move


def panel(ax: Axes, sign: int) -> None:
    """Axes, ticks and what does not move."""
    title = "A = +1: make it likelier" if sign > 0 else "A = −1: make it rarer"
    low, high = (-0.1, TOP) if sign > 0 else (-TOP, 0.1)
    label(ax, title).set(xlim=(0, 2), ylim=(low, high), xticks=[0, 0.5, 1, 1.5, 2])
    ax.set_xlabel("ratio r", labelpad=1)
    ax.axhline(0, color=QUIET, linewidth=0.8)


def draw(fig: Figure) -> Moving:
    """Left the weight for A = +1, right for A = −1; below the probability and the readouts."""
    axes = two_panels(fig, top=0.92, bottom=0.46, gap=0.22)
    moving, parts = [], []
    for ax, sign in zip(axes, (1, -1), strict=True):
        panel(ax, sign)
        band = ax.add_patch(Rectangle((0, -3), 0, 6, facecolor=EXACT, alpha=0.09, linewidth=0))
        beyond = ax.add_patch(Rectangle((2, -3), 0, 6, facecolor="#e6e9ef", linewidth=0))
        ax.plot([0, 2], [0, 2 * sign], color=QUIET, linewidth=1.4, linestyle="--")
        ax.text(0.04, 0.88 * TOP * sign, "dashed: r A", color=MUTED, va="center")
        curve = empty_line(ax, color=AFTER, linewidth=2.4)
        dot = empty_line(ax, "o", color=AFTER, markersize=8, markeredgecolor="white", clip_on=False)
        never = ax.text(0, 0.5 * TOP * sign, "", color=MUTED, ha="center", va="center", linespacing=1.1)
        parts.append((band, beyond, curve, dot, never))
        moving += parts[-1]
    axes[0].set_ylabel("weight of its score")

    on_strip, move_strip = strip(fig)
    names = (0.07, "ratio"), (0.285, "weight, A = +1"), (0.545, "weight, A = −1"), (0.86, "probability moved by")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        for (band, beyond, curve, dot, never), ys, weight in zip(parts, n["curves"], n["weights"], strict=True):
            low, high = n["band"] or (0, 0)
            band.set(x=low, width=min(high, 2) - low)
            end = min(1 / n["chance"], 2)
            beyond.set(x=end, width=2 - end)
            never.set(x=(end + 2) / 2, text="above\nprobability 1" if end < 1.8 else "")
            curve.set_data(GRID, ys)
            dot.set_data([n["ratio"]], [weight])
        move_strip(n)
        told = [signed(f"{weight:+.2f}") if weight else "0" for weight in n["weights"]]
        moved = "–" if n["now"] is None else signed(f"{n['now'] - n['chance']:+z.4f}")
        fill(readings, (f"{n['ratio']:.2f}", *told, moved))

    return [*moving, *on_strip, *readings], update


def token_weight() -> Live:
    """The widget."""
    moved = {"ratio": 1.24}
    likely, narrow = moved | {"chance": 0.8}, {"method": "dppo", "band": (0.1, 0.1)}
    twin = (
        ("PPO, a token of probability 0.01 at ratio 1.24: moved by 0.0024, and silenced for A = +1", moved),
        ("PPO, a token of probability 0.8 at the same ratio: moved by 0.19, and silenced", likely),
        ("DPPO, a band of 0.1 for the probability: the rare token is pushed on", moved | narrow),
        ("DPPO, and the likely token: silenced", likely | narrow),
        ("SAPO: a gate that closes slowly, on both sides of 1", {"method": "sapo", "ratio": 1.6}),
    )
    alt = (
        "What multiplies a token's score, over its ratio, for advantages +1 and −1, with the token's probability when "
        "it was sampled and now. Under PPO it is the ratio, and 0 beyond the band on the side that the advantage asks "
        "for, whether the probability has moved by 0.0024 or by 0.19; DPPO, with a band of 0.1 for the probability, "
        "silences only the second; SAPO's falls off smoothly on both sides."
    )
    recorded = {"ratio": (0.4, 0.76, 1.0, 1.24, 1.6, 2.0)}
    return Live(numbers, draw, CONTROLS, 4.0, twin, alt, recorded=recorded)
