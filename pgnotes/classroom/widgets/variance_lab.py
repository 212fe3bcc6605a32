"""Two hundred estimates of one gradient as a cloud, with its exact ellipse (lesson 04)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, MUTED, QUIET, label
from pgnotes.theory.estimators import Moments, outcomes, with_noise
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

PAYS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # what A, B and C earn at each step, on average
NOISE = 0.3  # standard deviation of a reward around that
POLICY = SoftmaxPolicy([0.5, 0.2, 0.0])
CLOUD, MOST, LONGEST = 200, 64, 8  # estimates; sequences in each at most; steps of a sequence at most
BATCHES = torch.tensor([2.0**i for i in range(7)], dtype=torch.float64)
ANGLES = torch.linspace(0, 2 * torch.pi, 121, dtype=torch.float64)
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()])
CONTROLS = (
    Slider("power", "batch: 2 to the", 0, 6, 1, 3),
    Slider("scale", "rewards times", 0.5, 4.0, 0.5, 1.0),
    Slider("offset", "returns plus", -4.0, 4.0, 0.5, 0.0),
    Slider("steps", "steps", 1, LONGEST, 1, 1),
)


@lru_cache(maxsize=8)
def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """What the first step chose, as scores [200, 64, 3], and what was earned up to each step, [200, 64, 8].

    They are the same for every setting.
    """
    generator = torch.Generator().manual_seed(seed)
    actions = POLICY.sample(CLOUD * MOST * LONGEST, generator).view(CLOUD, MOST, LONGEST)
    paid = PAYS[actions] + NOISE * torch.randn(actions.shape, dtype=torch.float64, generator=generator)
    return POLICY.score(actions[..., 0].flatten()).view(CLOUD, MOST, 3), paid.cumsum(2)


def exact(scale: float, offset: float, steps: int) -> tuple[Tensor, Moments]:
    """The gradient of the return in the first step's logits [3], and the moments of one sequence's estimate of it."""
    listed = outcomes(Bandit(scale * PAYS), POLICY)
    mean = listed.chances @ listed.returns
    variance = listed.chances @ (listed.returns - mean).square()

    # the rewards of the other steps know nothing of the first, and are in the return all the same
    others = steps - 1
    shift = (others * mean).item() + offset
    noise = (others * variance).item() + steps * (scale * NOISE) ** 2
    moments = with_noise(listed, shift, noise)
    return moments.mean, moments


def numbers(power: int, scale: float, offset: float, steps: int, seed: int) -> dict[str, Any]:
    """The cloud of estimates (the entries of A and C), its exact ellipse, and errors by batch size."""
    n, (scores, earned) = 2**power, drawn(seed)
    estimates = ((scale * earned[:, :n, steps - 1, None] + offset) * scores[:, :n]).mean(1)
    gradient, moments = exact(scale, offset, steps)
    shown = moments.of_batch(n).covariance[[0, 2]][:, [0, 2]]
    errors = (moments.trace / BATCHES).sqrt()
    return {
        "n": n,
        "cloud": estimates[:, [0, 2]].tolist(),
        "gradient": gradient[[0, 2]].tolist(),
        "ellipse": (gradient[[0, 2], None] + 2 * torch.linalg.cholesky(shown) @ CIRCLE).tolist(),
        "absolute": errors.tolist(),
        "relative": (errors / gradient.norm()).tolist(),
        "measured": (estimates - gradient).square().sum(1).mean().sqrt().item(),
        "size": gradient.norm().item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the cloud, right the error by batch size; below the readouts."""
    cloud, error = two_panels(fig, 1.05, right=0.98, bottom=0.24, gap=0.27)
    label(cloud, "200 estimates of one gradient").set(xlim=(-2.6, 2.6), ylim=(-2.2, 2.2))
    cloud.set_xlabel("entry of A", labelpad=1)
    cloud.set_ylabel("entry of C", labelpad=0)
    cloud.plot([0], [0], "+", color=QUIET, markersize=9)
    cloud.text(-2.5, -1.75, "black: exact gradient, and two", color=EXACT, fontsize=8.5)
    cloud.text(-2.5, -2.05, "standard deviations around it", color=EXACT, fontsize=8.5)
    dots = empty_line(cloud, "o", color=ESTIMATE, markersize=3, alpha=0.55, markeredgewidth=0)
    ellipse = empty_line(cloud, color=EXACT, linewidth=1.4)
    truth = empty_line(cloud, "o", color=EXACT, markersize=7)

    label(error, "Error (root mean square)").set(xscale="log", yscale="log", xlim=(0.85, 75), ylim=(0.03, 90))
    error.set_xlabel("batch", labelpad=1)
    error.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    error.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    error.minorticks_off()
    error.axhline(1, color=QUIET, linewidth=1, linestyle="--")
    error.text(0.95, 0.042, "dashed: 1", color=MUTED, fontsize=8.5, va="center")
    legend(error, (70, 50, "÷ gradient", EXACT), (70, 24, "absolute", ESTIMATE), ha="right")
    absolute, relative = (empty_line(error, color=colour, linewidth=1.8) for colour in (ESTIMATE, EXACT))
    at_absolute, at_relative = (empty_line(error, "o", color=colour, markersize=8) for colour in (ESTIMATE, EXACT))

    names = (0.11, "batch"), (0.4, "gradient's length"), (0.62, "error"), (0.9, "in gradient lengths")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        dots.set_data(*zip(*n["cloud"], strict=True))
        ellipse.set_data(*n["ellipse"])
        truth.set_data(*([x] for x in n["gradient"]))
        measured, in_lengths = n["measured"], n["measured"] / n["size"]
        absolute.set_data(BATCHES, n["absolute"])
        relative.set_data(BATCHES, n["relative"])
        at_absolute.set_data([n["n"]], [measured])
        at_relative.set_data([n["n"]], [in_lengths])
        fill(readings, (f"{n['n']}", f"{n['size']:.3f}", f"{measured:.2f}", f"{in_lengths:.1f}"))

    return [dots, ellipse, truth, absolute, relative, at_absolute, at_relative, *readings], update


def variance_lab() -> Live:
    """The widget."""
    scaled = "All rewards times 4: a larger cloud around a longer gradient; relative to it, nothing has changed"
    twin = (
        ("Batches of 8, one step: each estimate is off by 0.8 of the gradient's length", {}),
        (scaled, {"scale": 4.0}),
        ("4 added to every return: the same gradient, in the middle of a cloud several times as wide", {"offset": 4.0}),
        ("0.5 subtracted from every return: a smaller cloud", {"offset": -0.5}),
        ("Eight steps, all of whose rewards are in the return: seven strangers make the noise", {"steps": 8}),
    )
    alt = (
        "Clouds of 200 gradient estimates with their exact ellipses, and error by batch size on logarithmic axes. "
        "Multiplying rewards by four stretches cloud and gradient alike; adding four to the returns widens the cloud "
        "only, as do seven more steps, whose rewards the first step does not influence; subtracting a half narrows it."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt, noise=True)
