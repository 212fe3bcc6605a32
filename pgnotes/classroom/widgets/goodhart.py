"""TODO: what the reader moves, and what becomes of it (lesson 13)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_line, fill, readouts, signed
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, EXACT, label
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

LOGITS = torch.linspace(-4, 4, 81).tolist()
CONTROLS = (
    Slider("logit", "logit of B (A's is 0)", -4.0, 4.0, 0.1, 0.0),
    Slider("reward", "B pays (A pays 0.2)", -1.0, 1.0, 0.1, 1.0),
)


def numbers(logit: float, reward: float) -> dict[str, Any]:
    """The expected reward J at every logit of B; π(B), J and ∂J/∂θ_B at one of them."""
    bandit, policy = Bandit([0.2, reward]), SoftmaxPolicy([0.0, logit])
    return {
        "curve": [bandit.expected_return(SoftmaxPolicy([0.0, x])).item() for x in LOGITS],
        "logit": logit,
        "share": policy.probs[1].item(),
        "expected": bandit.expected_return(policy).item(),
        "slope": bandit.exact_gradient(policy)[1].item(),
    }


def draw(fig: Figure) -> Moving:
    """The expected reward by logit, the policy as a point on it, the gradient as its tangent; below, the readouts."""
    ax = fig.subplots(gridspec_kw={"left": 0.1, "right": 0.975, "top": 0.89, "bottom": 0.31})
    label(ax, "TODO: a sentence that says what to see", x="logit of B", y="expected reward")
    ax.set(xlim=(-4.2, 4.2), ylim=(-1.2, 1.2))

    curve = empty_line(ax, color=EXACT, linewidth=2)
    tangent = empty_line(ax, color=AFTER, linewidth=2)
    dot = empty_line(ax, "o", color=AFTER, markersize=8)
    readings = readouts(fig, 0.03, (0.25, "B is pressed"), (0.58, "expected reward"), (0.86, "its slope"))

    def update(n: dict) -> None:
        at, expected, slope = n["logit"], n["expected"], n["slope"]
        curve.set_data(LOGITS, n["curve"])
        tangent.set_data([at - 2, at + 2], [expected - 2 * slope, expected + 2 * slope])
        dot.set_data([at], [expected])
        fill(readings, (f"{n['share']:.0%}", signed(f"{expected:+.2f}"), signed(f"{slope:+.3f}")))

    return [curve, tangent, dot, *readings], update


def rlhf() -> Live:
    """The widget."""
    twin = (
        ("TODO: both buttons alike, and the slope at its steepest", {}),
        ("TODO: B is all but certain, and little is left to gain", {"logit": 3.0}),
    )
    alt = (
        "TODO: the expected reward as a curve that rises with B's logit, from 0.2 to 1, and its tangent: the slope is "
        "0.200 where both buttons are pressed alike, and 0.036 where B is pressed 95 % of the time."
    )
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt)
