"""The mean reward of fixed samples against the expected reward, and both slopes, as one logit turns (lesson 02)."""

from __future__ import annotations

import itertools
import math
from functools import cache, lru_cache
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BAND, ESTIMATE, EXACT, MUTED, label
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

OTHERS = (1.8, 1.1)  # the logits of A and B, which stay
REWARDS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # of A, B and C
LOGITS = torch.linspace(-2, 4, 121, dtype=torch.float64)  # of C, where the curves are drawn
NEAR = 1e-6  # how far to either side a slope is measured
CONTROLS = (
    Slider("logit", "logit of C (A: 1.8, B: 1.1)", -2.0, 4.0, 0.01, 0.0),
    Choice("n", "samples", (("10", 10), ("30", 30), ("300", 300)), 30),
)


def policy_at(logit: float) -> SoftmaxPolicy:
    """The policy with this logit of C."""
    return SoftmaxPolicy([*OTHERS, logit])


@cache
def along() -> tuple[list[SoftmaxPolicy], Tensor]:
    """The policy at each of LOGITS, and J with its slope there, [121, 2]."""
    policies = [policy_at(logit) for logit in LOGITS.tolist()]
    return policies, torch.tensor([exact(policy) for policy in policies], dtype=torch.float64)


def exact(policy: SoftmaxPolicy) -> tuple[float, float]:
    """J and its slope in the logit of C."""
    bandit = Bandit(REWARDS)
    return bandit.expected_return(policy).item(), bandit.exact_gradient(policy)[2].item()


def sampled(policies: list[SoftmaxPolicy], uniforms: Tensor) -> Tensor:
    """For each policy the mean reward of its samples, and reward times C's score averaged over them, [..., 2]."""
    actions = torch.stack([policy.pick(uniforms) for policy in policies])
    chances = torch.stack([policy.probs for policy in policies])
    paid, scores = REWARDS[actions], (actions == 2).double() - chances[:, 2:]
    return torch.stack([paid.mean(1), (paid * scores).mean(1)], -1)


@lru_cache(maxsize=8)
def curves(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """n random numbers, and over LOGITS, [121, 4]: J, its slope, and what `sampled` says with them."""
    uniforms = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    policies, values = along()
    return uniforms, torch.cat([values, sampled(policies, uniforms)], 1)


def numbers(logit: float, n: int, seed: int) -> dict[str, Any]:
    """The four curves over all logits, and the same four at this one, with the slope of the samples' mean reward.

    Also what the strip shows: the random numbers, and the borders between A, B and C.
    """
    uniforms, values = curves(n, seed)
    policy, *beside = (policy_at(logit + by) for by in (0.0, -NEAR, NEAR))
    paid, push = sampled([policy, *beside], uniforms).T.tolist()
    return {
        "n": n,
        "logit": logit,
        "curves": values.T.tolist(),
        "here": (*exact(policy), paid[0], push[0]),
        "flat": (paid[2] - paid[1]) / (2 * NEAR),
        "uniforms": uniforms.tolist(),
        "borders": policy.probs.cumsum(0)[:2].tolist(),
    }


def strip(ax: Axes) -> Moving:
    """The buttons side by side from 0 to 1, each as wide as it is likely, and the random numbers as ticks on them."""
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], facecolor=BAND)
    ax.spines[:].set_visible(False)
    ticks = empty_line(ax, color=ESTIMATE)
    borders = [ax.plot([0, 0], [0, 1], color=AFTER, linewidth=2.5)[0] for _ in range(2)]
    names = [ax.text(0, 0.72, name, color=AFTER, ha="center", va="center", fontweight="bold") for name in "ABC"]
    words = ax.text(0, -0.16, "", color=ESTIMATE, fontweight="bold", va="top")

    def update(n: dict) -> None:
        for line, x in zip(borders, n["borders"], strict=True):
            line.set_xdata([x, x])
        for name, (low, high) in zip(names, itertools.pairwise((0, *n["borders"], 1)), strict=True):
            name.set_x((low + high) / 2)
            name.set_visible(high - low > 0.03)

        # one line for all ticks, broken between them
        ticks.set_data(
            [x for u in n["uniforms"] for x in (u, u, u)], [y for _ in n["uniforms"] for y in (0, 0.45, math.nan)]
        )
        ticks.set_linewidth(0.8 if n["n"] > 100 else 1.6)
        words.set_text(f"{n['n']} random numbers: each presses the button on which it falls")

    return [ticks, *borders, *names, words], update


def draw(fig: Figure) -> Moving:
    """Left the expected reward and the samples' mean reward, right the slopes; below the strip and the readouts."""
    values, slopes = two_panels(fig, 1.1, top=0.92, bottom=0.43, gap=0.24)
    below, move_strip = strip(fig.add_axes((0.085, 0.185, 0.9, 0.1)))
    label(values, "The samples' mean climbs in steps").set(xlim=(-2, 4), ylim=(0, 1))
    values.set_xlabel("logit of C", labelpad=1)
    values.text(-1.8, 0.9, "expected reward J", color=EXACT, fontweight="bold")
    name = values.text(-1.8, 0.79, "", color=ESTIMATE, fontweight="bold")
    smooth = empty_line(values, color=EXACT, linewidth=1.8)
    stairs = empty_line(values, color=ESTIMATE, linewidth=1.8, drawstyle="steps-mid")

    label(slopes, "Its slope is 0, J's is not").set(xlim=(-2, 4), ylim=(-0.11, 0.55))
    slopes.set_xlabel("logit of C", labelpad=1)
    slopes.axhline(0, color=MUTED, linewidth=2.5)
    slopes.text(3.9, -0.08, "slope of the steps", color=MUTED, fontweight="bold", ha="right")
    slopes.text(-1.8, 0.48, "slope of J", color=EXACT, fontweight="bold")
    slopes.text(3.9, 0.48, "reward × score", color=ESTIMATE, fontweight="bold", ha="right")
    exact = empty_line(slopes, color=EXACT, linewidth=1.8)
    estimate = empty_line(slopes, color=ESTIMATE, linewidth=1.2)

    dots = [empty_line(ax, "o", color=c, markersize=7) for ax in (values, slopes) for c in (EXACT, ESTIMATE)]
    readings = readouts(fig, 0.025, (0.24, "slope of the steps"), (0.5, "slope of J"), (0.83, "reward × score"))

    def update(n: dict) -> None:
        move_strip(n)
        logits = LOGITS.tolist()
        for line, height in zip((smooth, exact, stairs, estimate), n["curves"], strict=True):
            line.set_data(logits, height)
        for dot, k in zip(dots, (0, 2, 1, 3), strict=True):
            dot.set_data([n["logit"]], [n["here"][k]])
        name.set_text(f"mean of {n['n']} samples")
        fill(
            readings, (signed(f"{value:z.3g}") for value in (n["flat"], round(n["here"][1], 3), round(n["here"][3], 3)))
        )

    return [*below, smooth, stairs, name, exact, estimate, *dots, *readings], update


def staircase() -> Live:
    """The widget."""
    twin = (
        ("30 samples, the same random numbers at every logit: a staircase around a smooth curve", {}),
        ("300: the steps are smaller, and as flat", {"n": 300}),
        ("10: between two jumps the mean stands still, while reward times score moves", {"n": 10, "logit": 1.0}),
    )
    alt = (
        "Left, over the logit of C: the expected reward, a smooth rising curve, and the mean reward of samples drawn "
        "with the same random numbers throughout, a staircase. Right, their slopes: 0 for the staircase at every "
        "logit, a hump for the expected reward, and near it reward times score averaged over the same samples. Below, "
        "the buttons side by side, each as wide as it is likely, with the samples' random numbers as ticks on them."
    )
    return Live(numbers, draw, CONTROLS, 3.7, twin, alt, noise=True)
