"""A gradient from samples: reward times score, averaged over N actions, beside the exact gradient (lesson 02)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import compared_bars, empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, MUTED, label
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

REWARDS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # of A, B and C
MOST = 2**13
POLICIES = (
    ("undecided: a third each", (1.0, 1.0, 1.0)),
    ("60 %, 30 %, 10 %", (0.6, 0.3, 0.1)),
    ("nearly sure: 98 %, 1.5 %, 0.5 %", (0.98, 0.015, 0.005)),
)
CONTROLS = (
    Choice("probs", "your policy", POLICIES, POLICIES[0][1]),
    Slider("power", "number of samples, as a power of 2", 0, 13, 1, 4),
)
# The numbers of samples at which the path is drawn
SHOWN = torch.unique(torch.logspace(0, 13, 157, base=2).round().long())


@lru_cache(maxsize=8)
def uniforms(seed: int) -> Tensor:
    """The same random numbers for every policy, [8192]."""
    return torch.rand(MOST, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def numbers(probs: tuple[float, ...], power: int, seed: int) -> dict[str, Any]:
    """The exact gradient, the estimate from 2^power samples, its own standard error, and its path.

    All in units of the exact gradient's length, but for the path of C's entry, which is in units of the exact entry.
    """
    policy, n = SoftmaxPolicy(torch.tensor(probs).log()), 2**power
    exact = Bandit(REWARDS).exact_gradient(policy)
    per_action = REWARDS[:, None] * policy.score([0, 1, 2])  # what one sample of each action says, [3, 3]
    actions = policy.pick(uniforms(seed))
    counts = torch.nn.functional.one_hot(actions, 3).cumsum(0)

    # the estimate and its standard error, from the n samples alone
    drawn = counts[n - 1].double()
    mean = drawn @ per_action / n
    error = ((drawn @ per_action**2 / n - mean**2).clamp(min=0) / max(n - 1, 1)).sqrt()

    # and how far such estimates really spread, C's entry and all three together
    spread = (policy.probs @ per_action**2 - exact**2).sqrt()
    size = exact.norm()
    return {
        "n": n,
        "drawn": counts[n - 1].tolist(),
        "exact": (exact / size).tolist(),
        "mean": (mean / size).tolist(),
        "error": (error / size).tolist(),
        "path": (counts[SHOWN - 1].double() @ per_action[:, 2] / SHOWN / exact[2]).tolist(),
        "funnel": (2 * spread[2] / exact[2] / SHOWN.sqrt()).tolist(),
        "off": ((mean - exact).norm() / size).item(),
        "typical": (spread.norm() / size / n**0.5).item(),  # root mean square over all that might have been drawn
    }


def draw(fig: Figure) -> Moving:
    """Left the estimate of one entry as samples come in, right all three entries at N; below the readouts."""
    path, bars = two_panels(fig, 1.35, top=0.89, bottom=0.24, gap=0.26)
    label(path, "C's entry settles on the exact one", y="estimate ÷ exact").set(
        xscale="log", xlim=(0.9, MOST * 1.1), ylim=(-2, 4)
    )
    path.set_xlabel("samples", labelpad=1)
    path.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    path.axhline(1, color=EXACT, linewidth=1.5)
    path.text(1, 1.12, "exact", color=EXACT, fontweight="bold")
    path.text(MOST, -1.75, "dotted: ± 2 SE", ha="right", color=MUTED)
    funnel = [empty_line(path, color=EXACT, linewidth=1.2, linestyle=":") for _ in range(2)]
    line = empty_line(path, color=ESTIMATE, linewidth=1.6)
    over = empty_line(path, "^", color=ESTIMATE, markersize=6, clip_on=False)
    dot = empty_line(path, "o", color=ESTIMATE, markersize=8, clip_on=False)

    label(bars, "All entries at N", y="in lengths of ∇J").set(xlim=(-0.6, 2.6), ylim=(-1.6, 2.3))
    compared, move_compared = compared_bars(bars, ["A", "B", "C"])
    legend(bars, (2.55, 1.95, "exact", EXACT), (2.55, 1.6, "estimate ± 2 SE", ESTIMATE), ha="right")
    readings = readouts(
        fig, 0.025, (0.13, "samples N"), (0.35, "A, B, C drawn"), (0.63, "off by"), (0.9, "typically off by")
    )

    def update(n: dict) -> None:
        for side, edge in zip((1, -1), funnel, strict=True):
            edge.set_data(SHOWN, [1 + side * width for width in n["funnel"]])
        line.set_data(SHOWN, n["path"])
        high = [samples for samples, value in zip(SHOWN.tolist(), n["path"], strict=True) if value > 4]
        over.set_data(high, [3.86] * len(high))  # beyond the top
        dot.set_data([n["n"]], [min(max(n["mean"][2] / n["exact"][2], -2), 4)])
        move_compared(zip(n["exact"], n["mean"], n["error"], strict=True))
        fill(readings, (f"{n['n']}", ", ".join(map(str, n["drawn"])), f"{n['off']:.0%}", f"{n['typical']:.0%}"))

    return [*funnel, line, over, dot, *compared, *readings], update


def gradient_estimate() -> Live:
    """The widget."""
    few, many = {"probs": POLICIES[2][1]}, {"probs": POLICIES[2][1], "power": 13}
    twin = (
        ("Undecided, 16 samples: still far off, and it says so", {}),
        ("Nearly sure, 16 samples, all of A: estimate 0, own standard error 0, and both are wrong", few),
        ("Nearly sure, 8192 samples: now C has been seen often enough", many),
    )
    alt = (
        "Estimates of a three-action bandit's policy gradient against the exact one. An undecided policy is 60 % off "
        "after 16 samples and knows it; one that takes A 98 % of the time has seen nothing else after 16 samples, so "
        "its estimate and its own standard error are both zero; after 8192 it is 6 % off."
    )
    return Live(numbers, draw, CONTROLS, 3.1, twin, alt, noise=True)
