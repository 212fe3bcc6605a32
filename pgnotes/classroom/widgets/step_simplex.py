"""A budget of KL around a policy, what plain and natural steps make of it, and where PPO comes to rest (lesson 12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BEFORE, BETTER, ESTIMATE, EXACT, MUTED, WORSE, label
from pgnotes.classroom.widgets.score_arrows import CORNERS, triangle
from pgnotes.theory.ppo import divergence
from pgnotes.theory.trust_regions import best_within, clip_band, kl_circle, ppo_rest, step_of_kl

OLD = {"rare": (0.05, 0.75, 0.20), "even": (1 / 3, 1 / 3, 1 / 3), "half": (0.2, 0.2, 0.6)}
PLAIN, PPO = WORSE, BETTER
COLOURS = (BEFORE, PLAIN, ESTIMATE, EXACT, PPO)
CONTROLS = (
    Choice(
        "old",
        "the old policy: A, B, C",
        (("5, 75, 20 %", "rare"), ("a third each", "even"), ("20, 20, 60 %", "half")),
        "rare",
    ),
    Slider("reward", "B pays (A pays 1, C nothing)", 0.0, 1.0, 0.1, 0.6),
    Slider("delta", "budget δ in nats", 0.01, 0.2, 0.01, 0.01),
    Slider("clip", "PPO's band ε", 0.1, 0.5, 0.05, 0.2),
)


@lru_cache(4096)
def ball(old: str, delta: float) -> Tensor:
    """The edge of the budget, where it is drawn."""
    return kl_circle(OLD[old], delta) @ CORNERS


@lru_cache(4096)
def rest(old: str, reward: float, clip: float) -> tuple[Tensor, bool]:
    """Where PPO leads, and whether it rests there."""
    return ppo_rest(OLD[old], (1.0, reward, 0.0), clip)


def numbers(old: str, reward: float, delta: float, clip: float) -> dict[str, Any]:
    """The old policy and the four new ones, where they are drawn, the ball and the band."""
    reward, delta, clip = round(reward, 2), round(delta, 2), round(clip, 2)
    probs = torch.tensor(OLD[old], dtype=torch.float64)
    rewards = torch.tensor([1.0, reward, 0.0], dtype=torch.float64)
    advantages = rewards - probs @ rewards
    at_rest, rests = rest(old, reward, clip)
    policies = torch.stack([
        probs,
        step_of_kl(probs, probs * advantages, delta),  # along the gradient in the logits
        step_of_kl(probs, advantages, delta),  # along the natural gradient
        best_within(probs, rewards, delta),
        at_rest,
    ])  # fmt: skip
    return {
        "policies": policies.tolist(),
        "places": (policies @ CORNERS).tolist(),
        "ball": ball(old, delta).tolist(),
        "band": (clip_band(probs, clip) @ CORNERS).tolist(),
        "rests": rests,
        "kl": divergence(probs, at_rest).item(),
        "ratios": (at_rest / probs).tolist(),
    }


def draw(fig: Figure) -> Moving:
    """Left the triangle with ball, band and steps, right how likely the best action is after each; below readouts."""
    plane, bars = two_panels(fig, 1.15, left=0.01, right=0.985, top=0.91, bottom=0.24, gap=0.18)
    label(plane, "Which policies a step may reach").set(xlim=(-0.1, 1.1), ylim=(-0.13, 0.98), anchor="C")
    triangle(plane)
    for (x, y), (right, up, ha), name in zip(
        CORNERS.tolist(), ((0, -0.11, "left"), (0, -0.11, "right"), (0.05, -0.03, "left")), "ABC", strict=True
    ):
        plane.text(x + right, y + up, name, ha=ha, color=EXACT, fontweight="bold")
    disc = plane.add_patch(Polygon([(0, 0)] * 3, facecolor=ESTIMATE, alpha=0.18, edgecolor="none"))
    rim = plane.add_patch(Polygon([(0, 0)] * 3, fill=False, edgecolor=ESTIMATE, linewidth=1.2))
    band = plane.add_patch(Polygon([(0, 0)] * 3, fill=False, edgecolor=PPO, linewidth=1.4, linestyle="--"))
    shafts = [empty_line(plane, color=colour, linewidth=2) for colour in COLOURS[1:]]
    dots = [empty_line(plane, "o", color=c, markersize=6, markeredgecolor="white", zorder=4) for c in COLOURS]

    names = ("old", "plain", "natural", "best", "PPO")
    label(bars, "How likely A, the best, becomes").set(xlim=(-0.6, 4.6), ylim=(0, 1))
    bars.set_xticks(range(5), names)
    bars.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    heights = [empty_bars(bars, [x], 0.62, color=colour) for x, colour in enumerate(COLOURS)]
    shares = [bars.text(x, 0, "", ha="center", color=EXACT, fontweight="bold") for x in range(5)]
    legend(plane, (0.0, 0.9, "KL(old ‖ new) ≤ δ", ESTIMATE), (0.0, 0.8, "PPO's band", PPO))
    readings = readouts(fig, 0.03, (0.23, "PPO's ratios of A, B, C"), (0.71, "its KL"))
    fig.text(0.0, 0, "", color=MUTED)

    def update(n: dict) -> None:
        disc.set_xy(n["ball"])
        rim.set_xy(n["ball"])
        band.set_xy(n["band"])
        start = n["places"][0]
        for shaft, (x, y) in zip(shafts, n["places"][1:], strict=True):
            shaft.set_data([start[0], x], [start[1], y])
        for dot, (x, y) in zip(dots, n["places"], strict=True):
            dot.set_data([x], [y])
        for (bar,), share, policy in zip(heights, shares, n["policies"], strict=True):
            bar.set_height(policy[0])
            share.set(text=f"{100 * policy[0]:.1f}", y=policy[0] + 0.02)
        ratios = ", ".join(f"{ratio:.2f}" for ratio in n["ratios"])
        fill(readings, (ratios, f"{n['kl']:.2f} nats, at rest" if n["rests"] else "grows without end"))

    moving = [disc, rim, band, *shafts, *dots, *(bar for (bar,) in heights), *shares, *readings]
    return moving, update


def step_simplex() -> Live:
    """The widget."""
    twin = (
        ("δ = 0.01: the plain step makes the best action rarer, the natural one likelier", {}),
        ("δ = 0.05: the same, further; the natural step is no longer the best", {"delta": 0.05}),
        ("ε = 0.3: A and B, 80 % together, can't all rise by 30 %; PPO never rests", {"clip": 0.3}),
    )
    alt = (
        "The triangle of policies over A, B and C, with the old policy at 5, 75 and 20 %, the region of KL at most δ, "
        "PPO's band, and where four steps lead. At δ = 0.01 A goes from 5 % to 4.8 with the plain gradient, 6.5 with "
        "the natural one, 6.8 at best, and with PPO at rest to 6.0, where C is at a fifth of what it was and the KL is "
        "0.18. With ε = 0.3 PPO never rests."
    )
    recorded = {
        "reward": (0.0, 0.3, 0.6, 0.9, 1.0),
        "delta": (0.01, 0.02, 0.05, 0.1, 0.2),
        "clip": (0.1, 0.2, 0.3, 0.5),
    }
    return Live(numbers, draw, CONTROLS, 3.5, twin, alt, recorded=recorded)
