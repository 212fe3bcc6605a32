"""A Gaussian squashed into (-1, 1) by tanh: its density and entropy, with and without the determinant (lesson 14)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import area, empty_line, empty_shapes, fill, legend, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, BAND, EXACT, MUTED, QUIET, WORSE, label
from pgnotes.theory.continuous import Squashed, log_slope
from pgnotes.theory.pathwise import quadrature

EDGE = 0.9
SPREADS = [0.05 * k for k in range(1, 81)]
POINTS = torch.linspace(-3.8, 3.8, 241, dtype=torch.float64)  # before tanh, so that the edges are seen closely
ACTIONS = POINTS.tanh().tolist()
CONTROLS = (
    Slider("std", "spread σ before tanh", 0.1, 4.0, 0.05, 0.5),
    Slider("mean", "mean μ before tanh", -1.5, 1.5, 0.1, 0.0),
    Switch("determinant", "with the log-determinant", value=True),
)


@lru_cache(64)
def entropies(mean: float) -> tuple[list[float], list[float]]:
    """For each of `SPREADS` the squashed policy's entropy and the Gaussian's."""
    policies = [Squashed(mean, spread) for spread in SPREADS]
    return [p.entropy().item() for p in policies], [p.before.entropy().item() for p in policies]


def beyond(mean: float, std: float) -> float:
    """How often the action lies beyond ±`EDGE`."""
    edge = math.atanh(EDGE)
    return 0.5 * sum(math.erfc((edge - side * mean) / std / 2**0.5) for side in (1, -1))


def numbers(std: float, mean: float, determinant: bool) -> dict[str, Any]:
    """The density, the area under it, entropies by spread, and this policy's."""
    policy = Squashed(mean, std)
    logs = policy.log_prob(POINTS) if determinant else policy.before.log_prob(POINTS)
    z, weights = quadrature()
    slopes = log_slope(mean + std * z).exp()
    true, gaussian = policy.entropy().item(), policy.before.entropy().item()
    return {
        "std": std,
        "density": logs.exp().clamp(max=4.0).tolist(),
        "determinant": determinant,
        "area": 1.0 if determinant else (weights @ slopes).item(),
        "curves": entropies(round(mean, 1)),
        "entropy": true,
        "reported": true if determinant else gaussian,
        "beyond": beyond(mean, std),
    }


def draw(fig: Figure) -> Moving:
    """Left the density, right the entropy up to this spread; below, the readouts."""
    shape, nats = two_panels(fig, 1.0, left=0.06, top=0.89, bottom=0.3, gap=0.2)
    label(shape, "How dense the actions lie", x="action tanh u").set(xlim=(-1.04, 1.04), ylim=(0, 2.2))
    shape.set_xticks([-1, -EDGE, 0, EDGE, 1], ["", "−0.9", "0", "0.9", ""])
    shape.set_yticks([0, 1, 2])
    for side in (-1, 1):
        shape.axvline(side, color=QUIET, linewidth=1)
    hill = empty_shapes(shape, facecolor=BAND, edgecolor=AFTER, linewidth=2)
    word = shape.text(0.0, 2.0, "", ha="center", color=WORSE, fontweight="bold")

    label(nats, "What its entropy is", x="spread σ").set(xlim=(0, 4), ylim=(-3.0, 3.4))
    nats.set_yticks([-2, 0, 2], ["−2", "0", "2"])
    nats.axhline(math.log(2), color=EXACT, linewidth=1, linestyle=(0, (4, 3)))
    nats.text(3.96, math.log(2) + 0.12, "log 2, the most", ha="right", color=EXACT)
    legend(nats, (1.2, -1.9, "squashed", AFTER), (0.75, 2.9, "without the determinant", MUTED))
    old = empty_line(nats, color=QUIET, linewidth=2)
    new = empty_line(nats, color=AFTER, linewidth=2)
    dots = [empty_line(nats, "o", color=c, markersize=m, clip_on=False) for c, m in ((AFTER, 8), (WORSE, 8))]
    readings = readouts(fig, 0.03, (0.13, "entropy"), (0.4, "it reports"), (0.63, "area"), (0.88, "beyond ±0.9"))

    def update(n: dict) -> None:
        hill.set_verts([area(ACTIONS, [0.0] * len(ACTIONS), n["density"])])
        word.set_text("" if n["determinant"] else "no density")
        known = sum(spread < n["std"] + 1e-9 for spread in SPREADS)  # the curves come as far
        for line, values in zip((new, old), n["curves"], strict=True):
            line.set_data(SPREADS[:known], values[:known])
        dots[0].set_data([n["std"]], [n["entropy"]])
        dots[1].set_data([n["std"]], [n["reported"]])
        dots[1].set_visible(not n["determinant"])
        texts = f"{n['entropy']:+.3f}", f"{n['reported']:+.3f}", f"{n['area']:.2f}", f"{n['beyond']:.0%}"
        fill(readings, map(signed, texts))

    return [hill, word, old, new, *dots, *readings], update


def squashed() -> Live:
    """The widget."""
    twin = (
        ("σ = 0.5: an entropy of 0.50 nats", {}),
        ("σ = 0.9, near the most there is: 0.684 at σ = 0.87", {"std": 0.9}),
        ("σ = 3: 62 % of the actions beyond ±0.9, and an entropy of −1.10", {"std": 3.0}),
        ("Without the determinant: no density, and an entropy that cannot be", {"std": 3.0, "determinant": False}),
    )
    alt = (
        "Left, the density of tanh(u) for a Gaussian u: one hump at σ = 0.5, nearly level at 0.9, two steep humps at "
        "the edges at 3. Right, its entropy by σ: it rises to 0.68 at σ = 0.87, just below log 2, and falls below −1 "
        "at σ = 3, while the Gaussian's own entropy rises on. Without the log-determinant the program reports 2.52."
    )
    recorded = {"std": (0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 2.0, 3.0, 4.0), "mean": (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)}
    return Live(numbers, draw, CONTROLS, 3.2, twin, alt, recorded=recorded)
