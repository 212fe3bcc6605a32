"""A button in two turns: the exact gradient and the form without γ^t walk apart on one curve (lesson 06)."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, signed
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, QUIET, label
from pgnotes.theory.credit import credit

STEP_SIZE = 5.0
LONG = 12.0  # an arrow is so many times its derivative
LOGITS = torch.linspace(-6, 6, 121, dtype=torch.float64)
PLACES = {"to_go": 0.09, "usual": -0.09}  # of the arrows, above and below their dots
CONTROLS = (
    Slider("gamma", "discount γ", 0.0, 1.0, 0.05, 0.5),
    Slider("cost", "a press in turn 2 costs", 0.5, 1.75, 0.25, 1.5),
    Slider("steps", "steps uphill", 0, 60, 1, 0),
)


def push(rule: str, gamma: float, cost: float) -> float:
    """What the estimate says on average, but for the factor p(1 - p) of the score's own size.

    Both turns have the same logit and do not depend on each other: of each reward's share for each token only a
    token's own reward is left.
    """
    return (credit(rule, 2, gamma).diagonal() @ torch.tensor([1.0, -cost], dtype=torch.float64)).item()


def climb(rule: str, gamma: float, cost: float, steps: int) -> tuple[float, float]:
    """The logit after so many steps from 0, and the derivative there."""
    logit, towards = 0.0, push(rule, gamma, cost)
    for _ in range(steps):
        logit += STEP_SIZE * towards * slope(logit)
    return logit, towards * slope(logit)


def slope(logit: float) -> float:
    """The derivative of p = σ(logit), p(1 - p)."""
    p = 1 / (1 + math.exp(-logit))
    return p * (1 - p)


def numbers(gamma: float, cost: float, steps: int) -> dict[str, Any]:
    """J_γ for all logits, and for both directions the logit they lead to, p, J_γ and the derivative there."""
    worth = push("to_go", gamma, cost)  # J_γ = p · worth
    walks = {}
    for rule in PLACES:
        logit, derivative = climb(rule, gamma, cost, steps)
        p = 1 / (1 + math.exp(-logit))
        walks[rule] = {"logit": logit, "derivative": derivative, "p": p, "worth": worth * p}
    return {"curve": (worth * LOGITS.sigmoid()).tolist(), "walks": walks}


def draw(fig: Figure) -> Moving:
    """The curve, a dot for each direction with its arrow, and what each has come to."""
    edges = {"left": 0.11, "right": 0.985, "top": 0.9, "bottom": 0.33}
    ax = fig.subplots(gridspec_kw=edges)
    label(
        ax, "What the discounted objective pays, and where both directions lead", x="logit of pressing", y=r"$J_\gamma$"
    )
    ax.set(xlim=(-6, 6), ylim=(-0.85, 1.15), yticks=[-0.5, 0, 0.5, 1])
    ax.axhline(0, color=QUIET, linewidth=0.8)
    curve = empty_line(ax, color=QUIET, linewidth=2)
    colours = {"to_go": EXACT, "usual": ESTIMATE}
    legend(ax, (-5.8, 0.95, r"exact, with $\gamma^t$", EXACT), (-5.8, 0.76, "usual form, without", ESTIMATE))

    dots, arrows = {}, {}
    for rule, colour in colours.items():
        # the exact one a ring around the other, for where both stand in one place
        size, inside = (13, "none") if rule == "to_go" else (8, colour)
        look_of_dot: dict[str, Any] = {"markersize": size, "markerfacecolor": inside, "markeredgewidth": 2}
        dots[rule] = empty_line(ax, "o", color=colour, **look_of_dot)
        look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 14, "linewidth": 2.2, "color": colour}
        arrows[rule] = ax.add_patch(FancyArrowPatch((0, 0), (1, 0), shrinkA=0, shrinkB=0, **look))

    rows = {}
    for rule, y, name in (("to_go", 0.12, "exact: slope"), ("usual", 0.03, "usual form: slope")):
        rows[rule] = readouts(fig, y, (0.26, name), (0.56, "presses in"), (0.83, r"and earns $J_\gamma$ ="))

    def update(n: dict) -> None:
        curve.set_data(LOGITS, n["curve"])
        for rule, walk in n["walks"].items():
            x, y = walk["logit"], walk["worth"]
            dots[rule].set_data([x], [y])
            length = LONG * walk["derivative"]
            place = y + PLACES[rule]
            arrows[rule].set_positions((x, place), (x + length, place))
            arrows[rule].set_visible(abs(length) > 0.3)  # or it would be all head
            texts = f"{walk['derivative']:+z.4f}", f"{walk['p']:.1%}", f"{walk['worth']:+z.3f}"
            fill(rows[rule], map(signed, texts))

    texts = [text for row in rows.values() for text in row]
    return [curve, *dots.values(), *arrows.values(), *texts], update


def two_presses() -> Live:
    """The widget."""
    twin = (
        ("γ = 0.5: a press in turn 2 costs 0.75 seen from the start; the two arrows point apart", {}),
        ("60 steps later: one has learned to press, the other not to", {"steps": 60}),
        ("γ = 0.9: pressing does not pay; the arrows agree, but for their length", {"gamma": 0.9}),
    )
    alt = (
        "The discounted objective as a curve over the logit of pressing, with a dot and an arrow for the exact "
        "gradient and for the usual form. At a discount of 0.5 the exact arrow points to pressing and the usual one "
        "away from it; after 60 steps one dot is at the top of the curve and the other at its bottom. At 0.9 both "
        "point away from pressing."
    )
    return Live(numbers, draw, CONTROLS, 3.4, twin, alt)
