"""Every policy over three actions is a point of a triangle; each action, once taken, pulls it somewhere (lesson 02)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from torch import Tensor

from pgnotes.classroom.artists import Corners, empty_line, empty_shapes, fill, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BAND, ESTIMATE, EXACT, MUTED, QUIET, label
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], dtype=torch.float64)  # A, B, C
STEP = 1.1  # how large a step each path is; the straight arrows are what it does to first order
ALONG = torch.linspace(0, 1, 25, dtype=torch.float64)  # of a path, where it is drawn
LEVELS = 5  # lines of equal J
MIDDLE = -0.04, -0.02  # of the straight arrows' room
WORDS = 0.05, -0.105  # left of the one and below the other they are explained
CONTROLS = (
    Slider("logit_a", "logit of A", -3.0, 3.0, 0.1, 0.8),
    Slider("logit_b", "logit of B (C: 0)", -3.0, 3.0, 0.1, 0.2),
    Slider("reward_a", "reward of A", -1.0, 1.0, 0.1, 0.5),
    Slider("reward_b", "reward of B (C: 0)", -1.0, 1.0, 0.1, 1.0),
    Slider("extra", "add to all rewards", 0.0, 2.0, 0.1, 0.0),
)


def numbers(logit_a: float, logit_b: float, reward_a: float, reward_b: float, extra: float) -> dict[str, Any]:
    """Where the policy stands, where a step takes it for each action, and what the steps are on average."""
    policy = SoftmaxPolicy([logit_a, logit_b, 0.0])
    rewards = torch.tensor([reward_a, reward_b, 0.0], dtype=torch.float64) + extra
    pushes = rewards[:, None] * policy.score([0, 1, 2])  # on the logits, a row for each action

    # the policies on the way, from no step to a whole one: [3 actions, along, 3 probabilities]
    paths = (policy.logits + STEP * ALONG[:, None] * pushes[:, None]).softmax(-1)

    # ∂π/∂θ: how a small step on the logits moves the probabilities
    turn = policy.probs.diag() - policy.probs[:, None] * policy.probs
    gradient = Bandit(rewards).exact_gradient(policy)
    noise = (policy.probs @ (pushes - gradient).square().sum(1)).sqrt()
    return {
        "rewards": rewards.tolist(),
        "at": (policy.probs @ CORNERS).tolist(),
        "paths": (paths @ CORNERS).tolist(),
        "parts": (STEP * policy.probs[:, None] * pushes @ turn @ CORNERS).tolist(),
        "whole": (STEP * gradient @ turn @ CORNERS).tolist(),
        "levels": level_lines(rewards),
        "readings": (policy.probs @ rewards, gradient.norm(), noise),
    }


def level_lines(rewards: Tensor) -> list[Corners]:
    """The two ends of some lines of equal J, evenly spaced; none if all rewards are the same.

    J is linear in the probabilities, so that the lines are straight.
    """
    low, high = rewards.min().item(), rewards.max().item()
    if low == high:
        return []
    lines = []
    for i in range(1, LEVELS + 1):
        level, ends = low + (high - low) * i / (LEVELS + 1), []
        for a, b in ((0, 1), (1, 2), (2, 0)):
            # where the level lies on the edge from corner a to corner b
            rise = (rewards[b] - rewards[a]).item()
            share = (level - rewards[a].item()) / rise if rise else -1.0
            if 0 <= share <= 1:
                x, y = (CORNERS[a] + share * (CORNERS[b] - CORNERS[a])).tolist()
                ends.append((x, y))
        lines.append([ends[0], max(ends[1:], key=lambda end: abs(end[0] - ends[0][0]) + abs(end[1] - ends[0][1]))])
    return lines


def triangle(ax: Axes) -> None:
    """All policies over three actions."""
    bare(ax)
    ax.fill(*CORNERS.T.tolist(), facecolor=BAND, edgecolor=QUIET)


def bare(ax: Axes) -> None:
    """Take away all of the axes but their room, in which both directions have the same scale."""
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)


def beside(tail: tuple[float, float], part: tuple[float, float], taken: Corners) -> tuple[float, float] | None:
    """Where an arrow's name stands: beside its middle, on the outer side if that is free of names, words and the edge.

    None for an arrow too short for a name, and where no side is free.
    """
    (u, v), (dx, dy) = tail, part
    length = math.hypot(dx, dy)
    if length <= 0.008:
        return None
    for side in (0.012, -0.012, 0.028, -0.028):
        x, y = u + dx / 2 + side * dy / length, v + dy / 2 - side * dx / length
        inside = abs(x - MIDDLE[0]) < 0.16 and abs(y - MIDDLE[1]) < 0.13
        if inside and not (x < WORDS[0] and y < WORDS[1]) and all(math.dist((x, y), other) > 0.016 for other in taken):
            return x, y
    return None


def draw(fig: Figure) -> Moving:
    """Left the triangle with a path for each action, right the straight arrows, weighted and laid head to tail."""
    corner, chain = two_panels(fig, 1.05, left=0.01, right=0.99, top=0.91, bottom=0.1, gap=0.04)
    label(corner, "One sample of each action pulls").set(xlim=(-0.22, 1.22), ylim=(-0.17, 1.0), anchor="N")
    triangle(corner)
    levels = [empty_line(corner, color="#d5dae3", linewidth=1) for _ in range(LEVELS)]
    places = ((-0.03, -0.14, "right"), (0.03, -0.14, "left"), (0.09, -0.02, "left"))  # beside each corner
    pays = [
        corner.text(x + right, y + up, "", ha=ha, color=EXACT, fontweight="bold")
        for (x, y), (right, up, ha) in zip(CORNERS.tolist(), places, strict=True)
    ]
    corner.text(1.2, 0.46, "faint: equal J", color=MUTED, ha="right")
    dot = empty_line(corner, "o", color=AFTER, markersize=9)
    pulls, pull_heads = empty_arrows(corner, 3, ESTIMATE)

    label(chain, "Their average: a step along the gradient").set(xlim=(-0.21, 0.13), ylim=(-0.155, 0.115), anchor="N")
    bare(chain)
    chain.plot([0], [0], "o", color=AFTER, markersize=9)
    chain.text(-0.2, -0.15, "each times its probability,\nhead to tail; dark: the sum", color=EXACT)
    parts, part_heads = empty_arrows(chain, 3, ESTIMATE)
    whole, whole_head = empty_arrows(chain, 1, EXACT)
    names = [chain.text(0, 0, name, color=EXACT, ha="center", va="center", clip_on=True) for name in "ABC"]
    readings = readouts(
        fig, 0.025, (0.2, "expected reward J"), (0.5, "gradient's length"), (0.92, "noise of one sample")
    )

    def update(n: dict) -> None:
        for line, ends in zip(levels, n["levels"] or [[]] * LEVELS, strict=True):
            line.set_data([x for x, _ in ends], [y for _, y in ends])
        for text, name, reward in zip(pays, "ABC", n["rewards"], strict=True):
            text.set_text(f"{name}\n{signed(f'{reward:z.1f}')}")
        dot.set_data(*([place] for place in n["at"]))
        move(pulls, pull_heads, n["paths"], 0.055)

        tails = [(0.0, 0.0)]
        for dx, dy in n["parts"]:
            tails.append((tails[-1][0] + dx, tails[-1][1] + dy))
        straight = [[tail, tip] for tail, tip in itertools.pairwise(tails)]
        move(parts, part_heads, straight, 0.014)
        move(whole, whole_head, [[(0.0, 0.0), tuple(n["whole"])]], 0.014)

        taken: Corners = []
        for name, tail, part in zip(names, tails[:-1], n["parts"], strict=True):
            place = beside(tail, part, taken)
            name.set_visible(place is not None)
            if place:
                name.set_position(place)
                taken.append(place)
        fill(readings, (f"{value:z.2f}" for value in n["readings"]))

    moving = [*levels, *pays, *pulls, pull_heads, dot, *parts, part_heads, *whole, whole_head, *names, *readings]
    return moving, update


def still_arrows(ax: Axes, n: int, width: float, **look: Any) -> Quiver:
    """n arrows that have not moved yet, in the axes' own units."""
    units: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": width, "zorder": 3}
    return ax.quiver([0] * n, [0] * n, [1] * n, [1] * n, **units, **look)


def point(arrows: Quiver, tails: list, vectors: list) -> None:
    """Move arrows to tails [(x, y), …] and let them point along vectors [(dx, dy), …]."""
    arrows.set_offsets(tails)
    arrows.set_UVC([dx for dx, _ in vectors], [dy for _, dy in vectors])


def empty_arrows(ax: Axes, n: int, colour: str) -> tuple[list[Line2D], PolyCollection]:
    """n shafts, and one artist for all heads."""
    shafts = [empty_line(ax, color=colour, linewidth=2.6, solid_capstyle="butt") for _ in range(n)]
    return shafts, empty_shapes(ax, facecolor=colour, edgecolor="none", zorder=3)


def move(shafts: list[Line2D], heads: PolyCollection, paths: list, size: float) -> None:
    """Let each arrow follow a path [(x, y), …], with a head of this length, or as long as a shorter path.

    What goes nowhere is not drawn.
    """
    triangles = []
    for shaft, path in zip(shafts, paths, strict=True):
        (x0, y0), (x1, y1) = path[0], path[-1]
        far = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        if far < 1e-3 * size:
            shaft.set_data([], [])
            continue

        # the head covers the last bit of the path and points where it does
        back = min(size, far)
        outside = [(x, y) for x, y in path if (x - x1) ** 2 + (y - y1) ** 2 >= back**2 * 0.999]
        x, y = outside[-1]
        gap = ((x1 - x) ** 2 + (y1 - y) ** 2) ** 0.5
        u, v = (x1 - x) / gap, (y1 - y) / gap
        foot = (x1 - back * u, y1 - back * v)
        shaft.set_data([px for px, _ in outside] + [foot[0]], [py for _, py in outside] + [foot[1]])
        wide = 0.42 * back
        triangles.append([(x1, y1), (foot[0] - wide * v, foot[1] + wide * u), (foot[0] + wide * v, foot[1] - wide * u)])
    heads.set_verts(triangles)


def score_arrows() -> Live:
    """The widget."""
    equal = {"reward_a": 0.0, "reward_b": 0.0, "extra": 1.5}
    rare = {"logit_a": 1.5, "logit_b": -1.0, "reward_a": 0.9}
    twin = (
        ("Rewards 0.5, 1 and 0: only A and B pull, and the average goes towards B", {}),
        ("1.5 more for every action: all pull harder, the average is the same", {"extra": 1.5}),
        ("The same reward for all: three strong pulls, and on average none", equal),
        ("B pays most but is rare, and A pays nearly as much: the average runs towards A", rare),
    )
    alt = (
        "A policy as a dot in a triangle with curved arrows for what a step on one sample of each action does, and "
        "beside it straight arrows weighted by how often they happen, laid head to tail: their sum is a small step "
        "along the gradient. Adding 1.5 to every reward makes all arrows longer and leaves their sum as it was; with "
        "equal rewards the weighted arrows close to nothing; where the best action is rare and another pays nearly "
        "as much, the sum points to the other."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt)
