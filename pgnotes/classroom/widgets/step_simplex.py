"""A budget of KL around a policy, what plain and natural steps make of it, and where PPO comes to rest (lesson 12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BEFORE, ESTIMATE, EXACT, MUTED, QUIET, label
from pgnotes.classroom.widgets.score_arrows import CORNERS, triangle
from pgnotes.theory.ppo import divergence
from pgnotes.theory.trust_regions import best_within, clip_band, kl_circle, ppo_rest, step_of_kl

OLD = {"rare": (0.05, 0.75, 0.20), "even": (1 / 3, 1 / 3, 1 / 3), "half": (0.2, 0.2, 0.6)}
PLAIN, PPO = "#647810", "#9c1c1c"  # moss and dark red, which no other thing in the course has
ROOM = 0.2  # around the old policy, in the triangle's side
COLOURS = (BEFORE, PLAIN, ESTIMATE, EXACT, PPO)
BEST = COLOURS.index(EXACT)
CONTROLS = (
    Choice(
        "old",
        "the old policy: A, B, C",
        (("5, 75, 20 %", "rare"), ("a third each", "even"), ("20, 20, 60 %", "half")),
        "rare",
    ),
    Slider("reward", "B pays (A pays 1, C nothing)", 0.0, 1.0, 0.1, 0.6),
    Slider("delta", "budget δ in nats", 0.005, 0.05, 0.005, 0.01),
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
    reward, delta, clip = round(reward, 2), round(delta, 3), round(clip, 2)
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
    """Left the triangle with ball, band and steps, right the same around the old policy, larger; below, readouts."""
    whole, near = two_panels(fig, 1.0, left=0.01, right=0.985, top=0.92, bottom=0.2, gap=0.06)
    label(whole, "Every policy over A, B and C").set(xlim=(-0.16, 1.1), ylim=(-0.12, 1.02), anchor="C")
    triangle(whole)
    places = ((0, -0.1, "left"), (0, -0.1, "right"), (0.05, -0.03, "left"))
    for (x, y), (right, up, ha), name in zip(CORNERS.tolist(), places, "ABC", strict=True):
        whole.text(x + right, y + up, name, ha=ha, color=EXACT, fontweight="bold")
    words = ("plain step", PLAIN), ("natural step", ESTIMATE), ("best within δ", EXACT), ("PPO", PPO)
    legend(whole, *((-0.16, 0.94 - 0.1 * i, word, colour) for i, (word, colour) in enumerate(words)))

    label(near, "The same, larger").set(xlim=(-ROOM, ROOM), ylim=(-ROOM, ROOM), anchor="C", aspect="equal")
    near.set(xticks=[], yticks=[])
    near.grid(visible=False)
    (dx, dy), ends = (CORNERS[2] - CORNERS[1]).tolist(), (-0.6, 0.14)
    near.plot([end * dx for end in ends], [end * dy for end in ends], color=QUIET, linewidth=1, linestyle="--")
    near.text(-0.96 * ROOM, -0.93 * ROOM, "A likelier", color=MUTED)
    near.text(0.96 * ROOM, 0.86 * ROOM, "A rarer", color=MUTED, ha="right")
    near.text(-0.96 * ROOM, 0.86 * ROOM, "KL ≤ δ", color=ESTIMATE, fontweight="bold")
    near.text(-0.96 * ROOM, 0.73 * ROOM, "PPO's band", color=PPO, fontweight="bold")

    both = (whole, near)
    discs = [Polygon([(0, 0)] * 3, facecolor="#cfe3f1", edgecolor=ESTIMATE) for _ in both]
    bands = [Polygon([(0, 0)] * 3, fill=False, edgecolor=PPO, linestyle="--") for _ in both]
    for ax, *shapes in zip(both, discs, bands, strict=True):
        for shape in shapes:
            ax.add_patch(shape)
    shafts = [[empty_line(ax, color=colour, linewidth=2) for colour in COLOURS[1:]] for ax in both]
    look: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.7, "zorder": 4}
    rings: dict[str, Any] = {"color": EXACT, "fillstyle": "none", "markeredgewidth": 1.6, "zorder": 5}
    dots = []
    for ax, size in ((whole, 5), (near, 8)):
        marks = [empty_line(ax, "o", color=colour, markersize=size, **look) for colour in COLOURS]
        marks[BEST] = empty_line(ax, "o", markersize=size + 3, **rings)  # the natural step often ends within it
        dots.append(marks)
    names = (0.13, "A in %: old"), (0.295, "plain"), (0.49, "natural"), (0.655, "best"), (0.9, "PPO at its end")
    shares = readouts(fig, 0.11, *names)
    readings = readouts(fig, 0.025, (0.26, "PPO's ratios of A, B, C"), (0.68, "its KL"))

    def update(n: dict) -> None:
        for disc, rim, lines, marks, (x0, y0) in zip(
            discs, bands, shafts, dots, ((0.0, 0.0), n["places"][0]), strict=True
        ):
            disc.set_xy([(x - x0, y - y0) for x, y in n["ball"]])
            rim.set_xy([(x - x0, y - y0) for x, y in n["band"]])
            points = [(x - x0, y - y0) for x, y in n["places"]]
            for line, (x, y) in zip(lines, points[1:], strict=True):
                line.set_data([points[0][0], x], [points[0][1], y])
            for mark, (x, y) in zip(marks, points, strict=True):
                mark.set_data([x], [y])
        fill(shares, (f"{100 * policy[0]:.1f}" for policy in n["policies"]))
        ratios = ", ".join(f"{ratio:.2f}" for ratio in n["ratios"])
        fill(readings, (ratios, f"{n['kl']:.2f} nats, at rest" if n["rests"] else "grows without end"))

    lines = [*shafts[0][::-1], *shafts[1][::-1]]  # PPO's, the longest, below the others
    moving = [*discs, *bands, *lines, *dots[0], *dots[1], *shares, *readings]
    return moving, update


def step_simplex() -> Live:
    """The widget."""
    twin = (
        ("δ = 0.01: the plain step makes A rarer; the natural one, within the ring of the best, likelier", {}),
        ("δ = 0.05: the same, further; the natural step falls short of the best", {"delta": 0.05}),
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
        "delta": (0.01, 0.02, 0.03, 0.05),
        "clip": (0.1, 0.2, 0.3, 0.5),
    }
    return Live(numbers, draw, CONTROLS, 3.9, twin, alt, recorded=recorded)
