"""Every policy over three actions is a point of a triangle; each action, once taken, pulls it somewhere (lesson 02)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from pgnotes.classroom.artists import empty_line, fill, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BAND, BETTER, EXACT, QUIET, WORSE, label
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], dtype=torch.float64)  # A, B, C
STEP = 1.1  # the arrows are what a step of this size does, to first order
CONTROLS = (
    Slider("logit_a", "logit of A", -3.0, 3.0, 0.1, 0.8),
    Slider("logit_b", "logit of B (C: 0)", -3.0, 3.0, 0.1, 0.2),
    Slider("reward_a", "reward of A", -1.0, 1.0, 0.1, 0.5),
    Slider("reward_b", "reward of B (C: 0)", -1.0, 1.0, 0.1, 1.0),
    Slider("extra", "add to all rewards", 0.0, 2.0, 0.1, 0.0),
)


def numbers(logit_a: float, logit_b: float, reward_a: float, reward_b: float, extra: float) -> dict[str, Any]:
    """Where the policy stands, where each action pulls it, and what the pulls are on average."""
    policy = SoftmaxPolicy([logit_a, logit_b, 0.0])
    rewards = torch.tensor([reward_a, reward_b, 0.0], dtype=torch.float64) + extra
    pushes = rewards[:, None] * policy.score([0, 1, 2])  # on the logits, a row for each action
    # ∂π/∂θ: how a small step on the logits moves the probabilities
    turn = policy.probs.diag() - policy.probs[:, None] * policy.probs
    gradient = Bandit(rewards).exact_gradient(policy)
    noise = (policy.probs @ (pushes - gradient).square().sum(1)).sqrt()
    return {
        "rewards": rewards.tolist(),
        "at": (policy.probs @ CORNERS).tolist(),
        "arrows": (STEP * pushes @ turn @ CORNERS).tolist(),
        "parts": (STEP * policy.probs[:, None] * pushes @ turn @ CORNERS).tolist(),
        "whole": (STEP * gradient @ turn @ CORNERS).tolist(),
        "readings": (policy.probs @ rewards, gradient.norm(), noise),
    }


def triangle(ax: Axes) -> None:
    """All policies over three actions."""
    bare(ax)
    ax.fill(*CORNERS.T.tolist(), facecolor=BAND, edgecolor=QUIET)


def bare(ax: Axes) -> None:
    """Take away all of the axes but their room, in which both directions have the same scale."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def still_arrows(ax: Axes, n: int, width: float, **look: Any) -> Quiver:
    """n arrows that have not moved yet, in the axes' own units."""
    units: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": width, "zorder": 3}
    return ax.quiver([0] * n, [0] * n, [1] * n, [1] * n, **units, **look)


def draw(fig: Figure) -> Moving:
    """Left the triangle with an arrow for each action, right the same arrows weighted and laid head to tail."""
    corner, chain = two_panels(fig, 1.05, left=0.01, right=0.99, top=0.91, bottom=0.1, gap=0.04)
    label(corner, "Where one sample of each action pulls").set(xlim=(-0.2, 1.2), ylim=(-0.09, 0.96), anchor="N")
    triangle(corner)
    places = ((-0.03, -0.04, "right"), (0.03, -0.04, "left"), (0, 0.04, "center"))  # beside each corner
    for name, (x, y), (right, up, ha) in zip("ABC", CORNERS.tolist(), places, strict=True):
        corner.text(x + right, y + up, name, ha=ha, color=EXACT, fontweight="bold")
    pulls = still_arrows(corner, 3, 0.012)
    dot = empty_line(corner, "o", color=AFTER, markersize=9)

    label(chain, "Weighted by probability, head to tail").set(xlim=(-0.21, 0.13), ylim=(-0.14, 0.115), anchor="N")
    bare(chain)
    chain.plot([0], [0], "o", color=AFTER, markersize=9)
    chain.text(-0.2, -0.125, "dark: the average, which is the gradient", color=EXACT, fontsize=9)
    parts, whole = still_arrows(chain, 3, 0.012), still_arrows(chain, 1, 0.012, color=EXACT)
    names = [chain.text(0, 0, name, color=EXACT, ha="center", va="center", clip_on=True) for name in "ABC"]
    readings = readouts(fig, 0.025, (0.24, "expected reward J"), (0.575, "gradient's length"), (0.93, "noise of one"))

    def update(n: dict) -> None:
        dot.set_data(*([place] for place in n["at"]))
        tails = [(0.0, 0.0)]
        for dx, dy in n["parts"][:-1]:
            tails.append((tails[-1][0] + dx, tails[-1][1] + dy))
        point(pulls, [n["at"]] * 3, n["arrows"])
        point(parts, tails, n["parts"])
        point(whole, tails[:1], [n["whole"]])
        for arrows in (pulls, parts):
            arrows.set_color([BETTER if reward >= 0 else WORSE for reward in n["rewards"]])

        for name, (u, v), (dx, dy) in zip(names, tails, n["parts"], strict=True):
            length = (dx**2 + dy**2) ** 0.5
            name.set_visible(length > 0.02)  # beside the middle of its arrow, on the outer side
            name.set_position((u + dx / 2 + 0.01 * dy / (length or 1), v + dy / 2 - 0.01 * dx / (length or 1)))
        fill(readings, (f"{value:.2f}" for value in n["readings"]))

    return [pulls, parts, whole, dot, *names, *readings], update


def point(arrows: Quiver, tails: list, vectors: list) -> None:
    """Move arrows to tails [(x, y), …] and let them point along vectors [(dx, dy), …]."""
    arrows.set_offsets(tails)
    arrows.set_UVC([dx for dx, _ in vectors], [dy for _, dy in vectors])


def score_arrows() -> Live:
    """The widget."""
    equal = {"reward_a": 0.0, "reward_b": 0.0, "extra": 1.5}
    twin = (
        ("Rewards 0.5, 1 and 0: only A and B pull, and the average goes towards B", {}),
        ("1.5 more for every action: all pull harder, the average is the same", {"extra": 1.5}),
        ("The same reward for all: three strong pulls, and on average none", equal),
    )
    alt = (
        "A policy as a dot in a triangle with arrows for what one sample of each action does, and beside it the "
        "arrows weighted by how often they happen, laid head to tail. Adding 1.5 to every reward makes all arrows "
        "longer and leaves their sum as it was; with equal rewards the weighted arrows close to nothing."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt)
