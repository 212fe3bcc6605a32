"""Every policy over three actions is a point of a triangle; each action, once taken, pulls it somewhere (lesson 02)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, QUIET, WORSE, fill, label, readouts
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


def draw(fig: Figure) -> Moving:
    """Left the triangle with an arrow for each action, right the same arrows weighted and laid head to tail."""
    triangle, chain = fig.subplots(
        1,
        2,
        width_ratios=(1.05, 1),
        gridspec_kw={"left": 0.01, "right": 0.99, "top": 0.91, "bottom": 0.1, "wspace": 0.04},
    )
    label(triangle, "Where one sample of each action pulls").set(xlim=(-0.2, 1.2), ylim=(-0.09, 0.96))
    label(chain, "Weighted by probability, head to tail").set(xlim=(-0.21, 0.13), ylim=(-0.14, 0.115))
    for ax in (triangle, chain):
        ax.set(xticks=[], yticks=[], aspect="equal", anchor="N")
        ax.spines[:].set_visible(False)
    triangle.fill(*CORNERS.T.tolist(), facecolor="#f3f5f9", edgecolor=QUIET)
    for name, (x, y), ha in zip("ABC", CORNERS.tolist(), ("right", "left", "center"), strict=True):
        triangle.text(
            x + {"right": -0.03, "left": 0.03, "center": 0}[ha],
            y + (0.04 if ha == "center" else -0.04),
            name,
            ha=ha,
            color=EXACT,
            fontweight="bold",
        )
    chain.plot([0], [0], "o", color=AFTER, markersize=9)
    options = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.012, "zorder": 3}
    pulls = triangle.quiver([0] * 3, [0] * 3, [1] * 3, [1] * 3, **options)
    parts = chain.quiver([0] * 3, [0] * 3, [1] * 3, [1] * 3, **options)
    whole = chain.quiver([0], [0], [1], [1], color=EXACT, **options)
    (dot,) = triangle.plot([], [], "o", color=AFTER, markersize=9)
    names = [chain.text(0, 0, name, color=EXACT, ha="center", va="center", clip_on=True) for name in "ABC"]
    chain.text(-0.2, -0.125, "dark: the average, which is the gradient", color=EXACT, fontsize=9)
    readings = readouts(fig, 0.025, (0.24, "expected reward J"), (0.575, "gradient's length"), (0.93, "noise of one"))

    def update(n: dict) -> None:
        (x, y), corner = n["at"], (0.0, 0.0)
        dot.set_data([x], [y])
        colours = [BETTER if reward >= 0 else WORSE for reward in n["rewards"]]
        pulls.set_offsets([(x, y)] * 3)
        tails = []
        for dx, dy in n["parts"]:
            tails.append(corner)
            corner = (corner[0] + dx, corner[1] + dy)
        parts.set_offsets(tails)
        whole.set_offsets([(0.0, 0.0)])
        for quiver, arrows in ((pulls, n["arrows"]), (parts, n["parts"]), (whole, [n["whole"]])):
            quiver.set_UVC([u for u, _ in arrows], [v for _, v in arrows])
        pulls.set_color(colours)
        parts.set_color(colours)
        for name, (u, v), (dx, dy) in zip(names, tails, n["parts"], strict=True):
            length = (dx**2 + dy**2) ** 0.5
            name.set_visible(length > 0.02)  # beside the middle of its arrow, on the outer side
            name.set_position((u + dx / 2 + 0.01 * dy / (length or 1), v + dy / 2 - 0.01 * dx / (length or 1)))
        fill(readings, (f"{value:.2f}" for value in n["readings"]))

    return [pulls, parts, whole, dot, *names, *readings], update


def score_arrows() -> Live:
    """The widget."""
    return Live(
        numbers, draw, CONTROLS, 3.3,
        twin=(
            ("Rewards 0.5, 1 and 0: only A and B pull, and the average goes towards B", {}),
            ("1.5 more for every action: all pull harder, the average is the same", {"extra": 1.5}),
            ("The same reward for all: three strong pulls, and on average none", {"reward_a": 0.0, "reward_b": 0.0, "extra": 1.5}),
        ),
        alt="A policy as a dot in a triangle with arrows for what one sample of each action does, and beside it the arrows weighted by how often they "
        "happen, laid head to tail. Adding 1.5 to every reward makes all arrows longer and leaves their sum as it was; with equal rewards the weighted arrows "
        "close to nothing.",
    )  # fmt: skip
