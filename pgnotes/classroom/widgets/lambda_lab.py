"""Bias and noise of GAE by λ, for critics that know more or less and batches of several sizes (lesson 11)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, MUTED, QUIET, label
from pgnotes.theory.critics import by_place, pieces, powers
from pgnotes.theory.learning import learn_values, prefix_values
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import TokenWorld, sum_world

HALF, LATE = 20, 120  # steps of training: the policy of the lesson, and one whose values are not its own
GRID = torch.arange(21, dtype=torch.float64) / 20
LOW, HIGH = 0.04, 5.0  # of the error axis, in lengths of ∇J
CRITICS = (
    ("knows nothing: all zeros", "0"),
    ("has seen 5 batches of 16", "5"),
    ("has seen 10 batches", "10"),
    ("has seen 25 batches", "25"),
    ("has seen 100 batches", "100"),
    ("is exact", "exact"),
    ("is exact, for a later policy (step 120)", "late"),
    ("random, between 0 and 1", "random"),
)
SIZES = tuple((f"{n:,}", n) for n in (16, 64, 256, 1024, 4096))
CONTROLS = (
    Slider("lam", "λ", 0.0, 1.0, 0.05, 0.95),
    Choice("critic", "the critic", CRITICS, "25"),
    Choice("size", "sequences a step", SIZES, 16),
)


@cache
def trained() -> tuple[TokenWorld, PrefixPolicy, PrefixPolicy, Tensor]:
    """The sum world, its policy half way through training and near the end, and the first one's gradient [D]."""
    world = sum_world()
    run = reinforce(world, Recipe(normalise=True), seed=0)
    half, late = (PrefixPolicy(p.logits.detach().clone()) for p in islice(run, HALF, LATE + 1, LATE - HALF))
    return world, half, late, world.exact_gradient(half).flatten()


@cache
def learned(seed: int) -> list[Tensor]:
    """The table [rows] after each of 0 … 100 batches."""
    world, half, _, _ = trained()
    return list(islice(learn_values(world, half, batch=16, step=0.2, seed=seed), 101))


def table_of(critic: str, seed: int) -> Tensor:
    """A critic's values, [rows]."""
    world, half, late, _ = trained()
    if critic.isdigit():
        return learned(seed)[int(critic)]
    if critic == "random":
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(half.logits.shape[0], dtype=torch.float64, generator=generator)
    return prefix_values(world, half if critic == "exact" else late)


@cache
def along(critic: str, seed: int) -> dict[str, Tensor]:
    """For each λ of `GRID`: bias and noise of one sequence, cosine and length of the mean, and what each place gets.

    [21] each, in lengths of ∇J; the places [21, 4].
    """
    world, half, _, exact = trained()
    found = pieces(world, half, table_of(critic, seed))
    weights = powers(GRID, world.horizon)
    mean, size = found.mean(weights), exact.norm()
    return {
        "bias": (mean - exact).norm(dim=1) / size,
        "noise": found.trace(weights).sqrt() / size,
        "cosine": torch.cosine_similarity(mean, exact[None]),
        "length": mean.norm(dim=1) / size,
        "places": by_place(world, mean, exact),
    }


def numbers(lam: float, critic: str, size: int, seed: int) -> dict[str, Any]:
    """Bias, noise and both together at every λ, with the lowest point; at this λ also what each place hears."""
    world, _, _, exact = trained()
    found, i = along(critic, seed), round(20 * lam)
    noise = found["noise"] / size**0.5
    error = (found["bias"].square() + noise.square()).sqrt()
    best = int(error.argmin())
    return {
        "curves": [curve.tolist() for curve in (found["bias"], noise, error)],
        "at": (GRID[i].item(), error[i].item()),
        "best": (GRID[best].item(), error[best].item()),
        "places": found["places"][i].tolist(),
        "true": by_place(world, exact, exact).tolist(),
        "cosine": found["cosine"][i].item(),
        "length": found["length"][i].item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the error over λ, right the credit of each place; below the readouts."""
    errors, places = two_panels(fig, 1.12, left=0.07, gap=0.18)
    label(errors, "How far off one step is, ÷ length of ∇J")
    errors.set_xlabel("λ", labelpad=0)
    errors.set(xlim=(-0.04, 1.04), yscale="log", ylim=(LOW, HIGH), xticks=[0, 0.25, 0.5, 0.75, 1])
    errors.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
    errors.minorticks_off()
    words = (0.02, 0.93, "– – bias", MUTED), (0.25, 0.93, "··· noise", MUTED), (0.5, 0.93, "both together", EXACT)
    legend(errors, *words, transform=errors.transAxes)

    label(places, "What each place hears, on average")
    places.set_xlabel("place of the symbol", labelpad=0)
    places.set(xlim=(-0.6, 3.6), ylim=(-1.6, 1.75), xticks=range(4))
    places.axhline(0, color=QUIET, linewidth=0.8)
    words = (0.02, 0.93, "its part of ∇J", EXACT), (0.46, 0.93, "what it hears", ESTIMATE)
    legend(places, *words, transform=places.transAxes)
    truth = empty_bars(places, range(4), 0.36, -0.2, color=EXACT)
    heard = empty_bars(places, range(4), 0.36, 0.2, color=ESTIMATE)

    lines = [
        empty_line(errors, color=MUTED, linewidth=1.6, linestyle="--"),
        empty_line(errors, color=MUTED, linewidth=1.6, linestyle=":"),
        empty_line(errors, color=EXACT, linewidth=2.2),
    ]
    lowest = empty_line(
        errors, "o", color=EXACT, markersize=11, markerfacecolor="none", markeredgewidth=1.6, clip_on=False
    )
    dot = empty_line(errors, "o", color=EXACT, markersize=7, clip_on=False)
    names = (0.16, "off at this λ"), (0.345, "lowest"), (0.735, "cosine of the mean"), (0.9, "its length")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        for line, heights in zip(lines, n["curves"], strict=True):
            line.set_data(GRID.tolist(), [max(height, LOW / 10) for height in heights])  # 0 has no place on the axis
        for mark, (x, y) in ((lowest, n["best"]), (dot, n["at"])):
            mark.set_data([x], [min(y, HIGH)])
        for bars, heights in ((truth, n["true"]), (heard, n["places"])):
            for bar, height in zip(bars, heights, strict=True):
                bar.set_height(height)
        lam, error = n["best"]
        texts = f"{n['at'][1]:.3f}", f"{error:.3f} at {lam:.2f}", signed(f"{n['cosine']:.2f}"), f"{n['length']:.2f}"
        fill(readings, texts)

    return [*truth, *heard, *lines, lowest, dot, *readings], update


def lambda_lab() -> Live:
    """The widget."""
    twin = (
        ("A half-learned critic and 16 sequences: λ = 0.2 is best, its bias drowns in the noise", {"lam": 0.2}),
        (
            "The same critic and 4,096 sequences: at 0.2 bias is all that is left; λ = 1 is best",
            {"lam": 0.2, "size": 4096},
        ),
        (
            "An exact critic: no bias (0 is below the axis), and λ = 0 has the least noise",
            {"critic": "exact", "lam": 0.0},
        ),
        ("A table of zeros, λ = 0: the first symbol hears nothing", {"critic": "0", "lam": 0.0, "size": 4096}),
    )
    alt = (
        "Left, over λ and on a logarithmic axis: how far one step's estimate is off, as bias, as noise, and both "
        "together, with the lowest point ringed. For a half-learned critic it lies at 0.2 with 16 sequences a step "
        "and at 1 with 4,096; for an exact critic at 0. Right, each place's part of the gradient beside that of the "
        "mean estimate: with a table of zeros and λ = 0 the first place hears nothing and the second the opposite."
    )
    recorded = {"lam": (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0), "critic": ("0", "5", "25", "100", "exact", "late")}
    return Live(numbers, draw, CONTROLS, 3.5, twin, alt, noise=True, recorded=recorded | {"size": (16, 256, 4096)})
