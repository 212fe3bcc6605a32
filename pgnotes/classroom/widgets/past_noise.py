"""How much noise a token's past brings, or takes away: keep a share of it and see the exact variance (lesson 06)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, signed, two_panels
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
SHARES = torch.linspace(-0.5, 1.5, 81, dtype=torch.float64)


@lru_cache(maxsize=64)
def pieces(kind: str, horizon: int, seed: int) -> tuple[Tensor, Tensor]:
    """Each token's variance as a parabola in the share that is kept, [3, T], and the gradient's length."""
    world, policy = random_world(kind, 2, horizon, seed)
    to_go, whole = (token_weights(world.rewards, rule) for rule in ("to_go", "whole"))

    # three points make a parabola
    none, half, all_of_it = (
        variance_by_step(world, policy, to_go + share * (whole - to_go)) for share in (0.0, 0.5, 1.0)
    )
    square = 2 * (all_of_it - 2 * half + none)
    return torch.stack([none, all_of_it - none - square, square]), world.exact_gradient(policy).norm()


def numbers(kind: str, horizon: int, keep: float, seed: int) -> dict[str, Any]:
    """Variances in units of the whole return's: of each token, in all, for all shares; where it is least; samples."""
    (a, b, c), size = pieces(kind, horizon, seed)
    whole = (a + b + c).sum()
    now, (fixed, slope, bend) = a + b * keep + c * keep**2, (x.sum() for x in (a, b, c))
    return {
        "parabola": ((fixed + slope * SHARES + bend * SHARES**2) / whole).tolist(),
        "steps": (now / whole).tolist(),
        "whole": ((a + b + c) / whole).tolist(),
        "keep": keep,
        "ratio": (now.sum() / whole).item(),
        "best": (-slope / (2 * bend)).item() if bend > 1e-12 else None,
        "samples": (now.sum() / (0.1 * size) ** 2).item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the variance for each share of the past that is kept, right each token's part of it; below the readouts."""
    left, right = two_panels(fig, 1.3, gap=0.22)
    label(left, "Variance ÷ that of the whole return", x="share of the past that is kept")
    left.set(yscale="log", xlim=(-0.5, 1.5), ylim=(0.15, 30), xticks=[-0.5, 0, 0.5, 1, 1.5])
    left.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for x, name in ((0, "reward-to-go"), (1, "whole return")):
        left.axvline(x, color=QUIET, linewidth=1, linestyle="--")
        left.text(x, 14, name, ha="center", color=MUTED, bbox=white)
    left.axhline(1, color=QUIET, linewidth=0.8)
    curve = empty_line(left, color=EXACT, linewidth=2)
    dot = empty_line(left, "o", color=ESTIMATE, markersize=9)

    label(right, "Each token's part of it", x="token")
    right.set(yscale="log", xlim=(0.5, LONGEST + 0.5), ylim=(0.002, 70), xticks=range(1, LONGEST + 1))
    right.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    grey = empty_line(right, "o-", color=QUIET, linewidth=1.2, markersize=5)
    blue = empty_line(right, "o-", color=ESTIMATE, linewidth=1.8, markersize=5)
    legend(right, (0.7, 40, "whole return", MUTED), (0.7, 19, "with your share", ESTIMATE), va="center")
    for ax in (left, right):
        ax.minorticks_off()

    names = (0.225, "variance ÷ whole’s"), (0.52, "least at a share of"), (0.88, "samples for a 10 % error")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        curve.set_data(SHARES, n["parabola"])
        dot.set_data([n["keep"]], [n["ratio"]])
        for line, parts in ((grey, n["whole"]), (blue, n["steps"])):
            line.set_data(range(1, len(parts) + 1), parts)
        best = "any" if n["best"] is None else signed(f"{n['best']:z.2f}")
        fill(readings, (f"{n['ratio']:.2f}", best, f"{n['samples']:,.0f}"))

    return [curve, dot, grey, blue, *readings], update


def past_noise() -> Live:
    """The widget."""
    ones, hints, values = ({"kind": kind, "keep": 0.0} for kind in ("ones", "hints", "values"))
    twin = (
        ("Each token pays its own: without the past, less noise, most of all for late tokens", {"keep": 0.0}),
        ("Each token pays about 1: without the past a quarter of the noise goes", ones),
        ("The end, and random hints that are taken back: without the past, far more noise", hints),
        ("The end, and good hints: the same step makes the noise smaller", values),
    )
    alt = (
        "The exact variance of a policy gradient estimate as a parabola in the share of the past that is kept, and "
        "each token's part. With rewards of each token's own it is lowest near no past; with random hints that are "
        "taken back, near the whole return; with good hints near no past again."
    )
    return Live(numbers, draw, CONTROLS, 3.2, twin, alt, noise=True)
