"""The still pictures of lesson 14: learned widths in a valley, and four programs of which one is right."""

from __future__ import annotations

import math
from itertools import islice

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.style import AFTER, ESTIMATE, EXACT, MUTED, QUIET, label, panels
from pgnotes.theory.squashed_actor import actor_ascent
from pgnotes.theory.valley import arrival, valley

CONDITIONS = (1, 10, 100, 1000)
OTHER = "#4b3fa0"  # which means nothing elsewhere
WAYS = (  # coordinates, colour, name, and where the name stands
    ("plain", MUTED, "plain, (μ, log σ)", 1100, 45.0),
    ("covariance", OTHER, "natural, in Σ", 500, 9000.0),
    ("precision", ESTIMATE, "natural, in P = Σ⁻¹", 1100, 1.5),
)
PROGRAMS = {"A": "none", "B": "right", "C": "sign", "D": "twice"}
STEPS = 200


def ellipse(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """The points one standard deviation around 0, two [n]."""
    turn = torch.linspace(0, 2 * math.pi, 121, dtype=torch.float64)
    x, y = torch.linalg.cholesky(covariance) @ torch.stack([turn.cos(), turn.sin()])
    return x, y


def draw_valley(ax: Axes) -> None:
    """Lines of equal reward, and the two best Gaussians."""
    world = valley()
    label(ax, "The best width lies along the valley").set(xlim=(-1.7, 1.7), ylim=(-1.4, 1.4), aspect="equal")
    ax.set(xlabel="first action", ylabel="second action", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    side = torch.linspace(-1.7, 1.7, 141, dtype=torch.float64)
    x, y = torch.meshgrid(side, side, indexing="xy")
    rewards = world.rewards(torch.stack([x.flatten(), y.flatten()], 1)).view(x.shape)
    ax.contour(x, y, rewards, levels=[-4, -2, -1, -0.5, -0.1], colors=QUIET, linewidths=0.8, linestyles="-")
    for policy, colour, word, at in (
        (world.best(), AFTER, "full", (0.78, 0.42)),
        (world.best_diagonal(), EXACT, "diagonal", (0.24, -0.34)),
    ):
        ax.plot(*ellipse(policy.covariance), color=colour, linewidth=2)
        ax.text(*at, word, color=colour, fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def widths() -> tuple[Figure, str]:
    """The valley and its best policies, and the steps that three kinds of gradient take: figure and description."""
    fig, (left, right) = panels(1, 2, 2.9)
    draw_valley(left)
    sizes = torch.logspace(-4, 1, 60, dtype=torch.float64)
    label(
        right,
        "Steps to arrive, along an axis",
        x="condition (largest curvature / smallest)",
        y="steps, best step size",
    )
    right.set(xscale="log", yscale="log", xlim=(0.8, 1300), ylim=(0.7, 40_000))
    right.set_xticks(CONDITIONS, [f"{c:,}" for c in CONDITIONS])
    right.set_yticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    for how, colour, word, x, y in WAYS:
        found = [arrival(condition, how, sizes).steps for condition in CONDITIONS]
        right.plot(CONDITIONS, found, "o-", color=colour, linewidth=2, markersize=5)
        right.text(x, y, word, color=colour, fontweight="bold", ha="right")
    alt = (
        "Left, elongated lines of equal reward along the diagonal, the best full covariance as an ellipse along it, "
        "1.00 by 0.16, and the best diagonal one as a circle of 0.22. Right, steps by condition 1, 10, 100, 1000: "
        "plain 4, 28, 207, 1,654; natural in the covariance 3, 81, 900, 9,433; natural in the precision 1 each time."
    )
    return fig, alt


def four_programs() -> tuple[Figure, str]:
    """Reward and reported entropy of four actors, by training step: figure and description."""
    fig, (left, right) = panels(1, 2, 2.9)
    for (name, kind), style in zip(PROGRAMS.items(), ("--", "-", ":", "-."), strict=True):
        run = list(islice(actor_ascent(lambda a: -((a - 0.2) ** 2), bonus=0.5, kind=kind, step_size=0.2), STEPS + 1))
        for ax, values, high in (
            (left, [actor.reward for actor in run], 0.0),
            (right, [actor.reported for actor in run], 4.6),
        ):
            ax.plot(values, color=AFTER, linewidth=1.8, linestyle=style)
            ends = [i for i, value in enumerate(values) if value <= high]
            above = {"C": 0.035, "D": -0.03}.get(name, 0.0) if ax is left else 0.0
            ax.text(ends[-1] + 4, values[ends[-1]] + above, name, color=AFTER, fontweight="bold", va="center")
    label(left, "What the policy earns", x="training step", y="mean reward").set(xlim=(0, STEPS + 20), ylim=(-1, 0))
    label(right, "What the program reports", x="training step", y="entropy (nats)")
    right.set(xlim=(0, STEPS + 30), ylim=(0, 4.8), yticks=[0, 2, 4])
    right.axhline(math.log(2), color=EXACT, linewidth=1, linestyle=(0, (4, 3)))
    right.text(STEPS + 3, math.log(2) + 0.14, "log 2", color=EXACT)
    alt = (
        "Reward and reported entropy of four programs over 200 steps. B ends at a reward of -0.19 and reports 0.51 "
        "nats. A falls to -0.84 and reports 3.4; C falls to -0.92, comes back to -0.64, and soon reports above 4.6; "
        "D falls slowly to -0.66 and reports 1.7. A dashed line marks log 2."
    )
    return fig, alt
