"""How much noise a token's past brings, or takes away: keep a share of it and see the exact variance (lesson 06)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, MUTED, QUIET, label
from pgnotes.theory.credit import token_weights, variance_by_step
from pgnotes.theory.random_worlds import random_world

LONGEST = 8
KINDS = (
    ("each token its own", "own"),
    ("each token about 1", "ones"),
    ("once, at the end", "end"),
    ("end, and random hints", "hints"),
    ("end, and good hints", "values"),
)
CONTROLS = (
    Choice("kind", "what is paid", KINDS, "own"),
    Slider("horizon", "tokens", 1, LONGEST, 1, 6),
    Slider("keep", "keep of the past", -0.5, 1.5, 0.05, 1.0),
)
# The first world that is shown is one whose ratio, at six tokens, is near the median of thirty
TYPICAL = {"own": 8, "ones": 4, "end": 0, "hints": 1, "values": 1}
# Variance of reward-to-go ÷ the whole return's, the median of thirty worlds, by the number of tokens from 1
MEDIANS = {
    "own": (1.0, 0.83, 0.7, 0.65, 0.65, 0.6, 0.61, 0.65),
    "ones": (1.0, 0.68, 0.6, 0.49, 0.49, 0.47, 0.45, 0.43),
    "end": (1.0,) * LONGEST,
    "hints": (1.0, 2.64, 4.11, 5.09, 4.5, 4.86, 4.61, 4.74),
    "values": (1.0, 0.73, 0.61, 0.57, 0.54, 0.54, 0.53, 0.52),
}
SHARES = torch.linspace(-0.5, 1.5, 81, dtype=torch.float64)


@lru_cache(maxsize=64)
def pieces(kind: str, horizon: int, seed: int) -> Tensor:
    """Each token's variance as a parabola in the share that is kept, its three coefficients, [3, T]."""
    world, policy = random_world(kind, 2, horizon, TYPICAL[kind] + seed)
    to_go, whole = (token_weights(world.rewards, rule) for rule in ("to_go", "whole"))

    # three points make a parabola
    none, half, all_of_it = (
        variance_by_step(world, policy, to_go + share * (whole - to_go)) for share in (0.0, 0.5, 1.0)
    )
    square = 2 * (all_of_it - 2 * half + none)
    return torch.stack([none, all_of_it - none - square, square])


def numbers(kind: str, horizon: int, keep: float, seed: int) -> dict[str, Any]:
    """Variances in units of the whole return's: for all shares, in all, of each token; where it is least; a median."""
    a, b, c = pieces(kind, horizon, seed)
    whole = (a + b + c).sum()
    now, (fixed, slope, bend) = a + b * keep + c * keep**2, (x.sum() for x in (a, b, c))
    return {
        "parabola": ((fixed + slope * SHARES + bend * SHARES**2) / whole).tolist(),
        "steps": (now / (a + b + c)).tolist(),
        "keep": keep,
        "ratio": (now.sum() / whole).item(),
        "best": (-slope / (2 * bend)).item() if bend > 1e-12 else None,
        "median": MEDIANS[kind][horizon - 1],
    }


def draw(fig: Figure) -> Moving:
    """Left the variance for each share of the past that is kept, right each token's part of it; below the readouts."""
    left, right = two_panels(fig, 1.3, gap=0.22)
    label(left, "Variance, in units of the whole return's", x="share κ of the past that is kept")
    left.set(yscale="log", xlim=(-0.5, 1.5), ylim=(0.15, 30), xticks=[-0.5, 0, 0.5, 1, 1.5])
    left.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for x, name in ((0, "reward-to-go"), (1, "whole return")):
        left.axvline(x, color=QUIET, linewidth=1, linestyle="--")
        left.text(x, 14, name, ha="center", color=MUTED, bbox=white)
    left.axhline(1, color=QUIET, linewidth=0.8)
    curve = empty_line(left, color=EXACT, linewidth=2)
    dot = empty_line(left, "o", color=ESTIMATE, markersize=9)

    label(right, "The same for each token alone", x="token t")
    right.set(yscale="log", xlim=(-0.5, LONGEST - 0.5), ylim=(0.02, 150), xticks=range(LONGEST))
    right.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    right.axhline(1, color=QUIET, linewidth=0.8)
    right.text(LONGEST - 0.6, 60, "below 1: quieter than\nwith the whole return", ha="right", va="center", color=MUTED)
    tokens = empty_line(right, "o-", color=ESTIMATE, linewidth=1.8, markersize=6)
    for ax in (left, right):
        ax.minorticks_off()

    names = (0.15, "variance"), (0.4, "least at κ ="), (0.93, "at κ = 0, median of thirty worlds")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        curve.set_data(SHARES, n["parabola"])
        dot.set_data([n["keep"]], [n["ratio"]])
        tokens.set_data(range(len(n["steps"])), n["steps"])
        best = "any" if n["best"] is None else signed(f"{n['best']:z.2f}")
        fill(readings, (f"{n['ratio']:.2f}", best, f"{n['median']:.2f}"))

    return [curve, dot, tokens, *readings], update


def past_noise() -> Live:
    """The widget."""
    ones, hints, values = ({"kind": kind, "keep": 0.0} for kind in ("ones", "hints", "values"))
    twin = (
        ("Each token is paid its own, without the past: less noise, most of all for late tokens", {"keep": 0.0}),
        ("Each token is paid about 1, without the past: half of the noise goes", ones),
        ("The end, and random hints that are taken back, without the past: far more noise", hints),
        ("The end, and good hints that are taken back, without the past: less noise again", values),
    )
    alt = (
        "The exact variance of a policy gradient estimate as a parabola in the share of the past that is kept, and "
        "each token's own variance in units of the one it has under the whole return. With rewards of each token's "
        "own the parabola is lowest near no past; with random hints that are taken back, near the whole return; with "
        "good hints, taken back as well, near no past again."
    )
    return Live(numbers, draw, CONTROLS, 3.2, twin, alt, noise=True)
