"""A world that slips: the gradient depends on the ice, and scores of the policy alone find it (lesson 02)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import compared_bars, empty_line, fill, legend, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, label
from pgnotes.theory.estimators import mean_and_error
from pgnotes.theory.policies import StatePolicy
from pgnotes.theory.worlds import TabularMDP, icy_path

WALKER = StatePolicy([[0.0, 0.5], [0.2, 0.0], [0.3, -0.3]])  # logits of left and right in each place
RIGHT, MIDDLE = 1, 1
SLIPS = [i / 25 for i in range(26)]  # where the curve is drawn
CONTROLS = (
    Slider("slip", "chance to slip", 0.0, 1.0, 0.02, 0.1),
    Choice("n", "walks", (("50", 50), ("500", 500), ("5000", 5000)), 500),
)


@lru_cache(maxsize=128)
def ice(slip: float) -> TabularMDP:
    """The world at one slipperiness."""
    return icy_path(slip)


@lru_cache(maxsize=1)
def curve() -> list[float]:
    """The exact entry "right, in the middle" at each of SLIPS."""
    return [ice(slip).exact_gradient(WALKER)[MIDDLE, RIGHT].item() for slip in SLIPS]


def numbers(slip: float, n: int, seed: int) -> dict[str, Any]:
    """The gradient's entries "right" in each place: exact, and from n walks whose scores know nothing of the ice."""
    slip = round(slip, 2)
    states, actions, paid = ice(slip).rollout(WALKER, n, torch.Generator().manual_seed(seed))
    estimates = paid.sum(1)[:, None] * WALKER.score(states, actions)[..., RIGHT]
    mean, error = mean_and_error(estimates)
    return {
        "slip": slip,
        "curve": curve(),
        "exact": ice(slip).exact_gradient(WALKER)[:, RIGHT].tolist(),
        "mean": mean.tolist(),
        "error": error.tolist(),
    }


def draw(fig: Figure) -> Moving:
    """Left one entry over the slipperiness, right the entries of all three places; below the readouts."""
    path, bars = two_panels(fig, 1.25, left=0.105, top=0.9, bottom=0.27, gap=0.22)
    label(path, "The gradient follows the ice", y="∂J / ∂θ").set(xlim=(-0.02, 1.02), ylim=(-0.36, 0.42))
    path.set_xlabel("chance to slip", labelpad=1)
    path.axhline(0, color=EXACT, linewidth=0.8)
    path.plot(SLIPS, curve(), color=EXACT, linewidth=1.8)
    path.text(0.98, 0.33, "exact, through the ice", color=EXACT, fontweight="bold", ha="right")
    path.text(0.98, 0.24, "from walks, ± 2 SE", color=ESTIMATE, fontweight="bold", ha="right")
    spread = empty_line(path, color=ESTIMATE, linewidth=3)
    dot = empty_line(path, "o", color=ESTIMATE, markersize=8)

    label(bars, '"Right" in each place').set(xlim=(-0.6, 2.6), ylim=(-0.42, 0.55))
    compared, move_compared = compared_bars(bars, ["left", "middle", "right"])
    legend(bars, (2.55, 0.48, "exact", EXACT), (2.55, 0.4, "from walks", ESTIMATE), ha="right")
    readings = readouts(fig, 0.025, (0.3, "middle, right: exact"), (0.67, "from walks, ± 2 SE"))

    def update(n: dict) -> None:
        mean, error = n["mean"][MIDDLE], n["error"][MIDDLE]
        dot.set_data([n["slip"]], [mean])
        spread.set_data([n["slip"]] * 2, [mean - 2 * error, mean + 2 * error])
        move_compared(zip(n["exact"], n["mean"], n["error"], strict=True))
        fill(readings, (signed(f"{n['exact'][MIDDLE]:+z.3f}"), signed(f"{mean:+z.3f} ± {2 * error:.3f}")))

    return [spread, dot, *compared, *readings], update


def slipping() -> Live:
    """The widget."""
    twin = (
        ("No slipping: every “right” is pushed up, most of all in the middle", {"slip": 0.0}),
        ("Slipping half of the time: your choice does not matter, and the gradient is gone", {"slip": 0.5}),
        ("Slipping 9 times in 10: who wants to go right had better choose left", {"slip": 0.9}),
    )
    alt = (
        "Left, the policy gradient's entry for going right in the middle over the chance to slip: it falls from 0.27 "
        "through 0 at one half to −0.21 at 1, with an estimate from walks on it. Right, the entries of all three "
        "places, exact and from walks that never look at the ice's probabilities."
    )
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt, noise=True)
