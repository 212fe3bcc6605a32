"""Two hundred estimates of one gradient as a cloud: how many point uphill, and the exact ellipse (lesson 04)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider, Switch
from pgnotes.classroom.style import BETTER, ESTIMATE, EXACT, MUTED, QUIET, WORSE, label
from pgnotes.theory.estimators import Moments, outcomes, with_noise
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

PAYS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)  # what A, B and C earn at each step, on average
NOISE = 0.3  # standard deviation of a reward around that
POLICY = SoftmaxPolicy([0.5, 0.2, 0.0])
CLOUD, LONGEST = 200, 8  # estimates; steps of a sequence at most
BATCHES = (1, 2, 4, 8, 16, 32, 64)
ANGLES = torch.linspace(0, 2 * torch.pi, 121, dtype=torch.float64)
CIRCLE = torch.stack([ANGLES.cos(), ANGLES.sin()])
FRAME = torch.tensor([[-3.4, -3.55], [5.4, 3.55]], dtype=torch.float64)  # of the picture: least, and most
UNIT = 0.25  # of reward: the picture's unit where lengths are not measured in gradients; about one gradient
CONTROLS = (
    Choice("batch", "batch", tuple((str(n), n) for n in BATCHES), 8),
    Slider("scale", "rewards times", 0.5, 4.0, 0.5, 1.0),
    Slider("offset", "returns plus", -2.0, 4.0, 0.5, 0.0),
    Slider("steps", "steps", 1, LONGEST, 1, 1),
    Switch("relative", "measure lengths in gradients", True),
)


@lru_cache(maxsize=8)
def drawn(seed: int, batches: int, most: int) -> tuple[Tensor, Tensor]:
    """What the first step chose, as scores [batches, most, 3], and what was earned up to each step, [.., .., 8].

    They are the same for every setting.
    """
    generator = torch.Generator().manual_seed(seed)
    actions = POLICY.sample(batches * most * LONGEST, generator).view(batches, most, LONGEST)
    paid = PAYS[actions] + NOISE * torch.randn(actions.shape, dtype=torch.float64, generator=generator)
    return POLICY.score(actions[..., 0].flatten()).view(batches, most, 3), paid.cumsum(2)


def estimates(
    batch: int, scale: float, offset: float, steps: int, seed: int = 0, batches: int = CLOUD, most: int = BATCHES[-1]
) -> Tensor:
    """What so many batches say about the gradient in the first step's logits, [batches, 3]; `most` are drawn of each.

    Each is the mean over the batch of (scale · rewards + offset) · score.
    """
    scores, earned = drawn(seed, batches, most)
    returns = scale * earned[:, :batch, steps - 1, None] + offset
    return (returns * scores[:, :batch]).mean(1)


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


def along_and_across(gradient: Tensor) -> Tensor:
    """Two unit vectors as rows [2, 3]: the gradient's direction, and the other one in which estimates can differ.

    An estimate's three entries add up to zero, as a score's do; so there are two.
    """
    along = gradient / gradient.norm()
    across = torch.linalg.cross(torch.ones(3, dtype=torch.float64) / 3**0.5, along)
    return torch.stack([along, across])


def numbers(batch: int, scale: float, offset: float, steps: int, relative: bool, seed: int) -> dict[str, Any]:
    """The cloud along and across the gradient, its exact ellipse, the share that points uphill, errors by batch."""
    gradient, moments = exact(scale, offset, steps)
    size = gradient.norm().item()
    frame = along_and_across(gradient)
    unit = size if relative else UNIT

    cloud = estimates(batch, scale, offset, steps, seed)
    uphill = cloud @ gradient > 0
    spread = frame @ moments.of_batch(batch).covariance @ frame.T
    centre = torch.tensor([[size], [0.0]], dtype=torch.float64)
    errors = (moments.trace / torch.tensor(BATCHES)).sqrt() / size
    return {
        "batch": batch,
        "uphill": (cloud[uphill] @ frame.T / unit).tolist(),
        "downhill": (cloud[~uphill] @ frame.T / unit).tolist(),
        "share": uphill.double().mean().item(),
        "truth": size / unit,
        "ellipse": ((centre + 2 * torch.linalg.cholesky(spread) @ CIRCLE) / unit).tolist(),
        "errors": errors.tolist(),
        "exact": errors[BATCHES.index(batch)].item(),
        "measured": ((cloud - gradient).square().sum(1).mean().sqrt() / size).item(),
        "size": size,
    }


def framed(dots: list[list[float]]) -> tuple[list[list[float]], list[list[float]]]:
    """Those that lie in the picture, and the others, each moved to the nearest point of its border."""
    points = torch.tensor(dots, dtype=torch.float64).view(-1, 2)
    moved = points.clamp(*FRAME)
    inside = (moved == points).all(1)
    return points[inside].tolist(), moved[~inside].tolist()


def draw(fig: Figure) -> Moving:
    """Left the cloud, right the error by batch size; below the readouts."""
    cloud, error = two_panels(fig, 1.25, left=0.075, right=0.98, top=0.91, bottom=0.25, gap=0.28)
    label(cloud, "Right of the line, a step goes uphill").set(xlim=FRAME[:, 0].tolist(), ylim=FRAME[:, 1].tolist())
    cloud.set_aspect("equal")
    cloud.set_xlabel("along the gradient", labelpad=1)
    cloud.set_ylabel("across it", labelpad=0)
    cloud.axvline(0, color=QUIET, linewidth=1.2)
    names = (-3.2, "downhill", WORSE, "left"), (5.2, "uphill", BETTER, "right")  # on top of what moves
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    sides = [cloud.text(x, 2.95, name, color=c, ha=ha, fontweight="bold", bbox=ground) for x, name, c, ha in names]
    dots = [empty_line(cloud, "o", color=c, markersize=3.5, alpha=0.6, markeredgewidth=0) for c in (BETTER, WORSE)]
    hollow = {"markersize": 4.5, "markerfacecolor": "white", "clip_on": False}
    beyond = [empty_line(cloud, "o", color=c, **hollow) for c in (BETTER, WORSE)]
    ellipse = empty_line(cloud, color=EXACT, linewidth=1.4)
    truth = empty_line(cloud, "o", color=EXACT, markersize=7)

    label(error, "The error falls with the batch").set(xscale="log", yscale="log", xlim=(0.85, 75), ylim=(0.1, 40))
    error.set_xlabel("batch", labelpad=1)
    error.set_ylabel("error ÷ gradient", labelpad=0)
    error.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    error.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    error.minorticks_off()
    error.axhline(1, color=QUIET, linewidth=1, linestyle="--")
    error.text(0.95, 0.14, "dashed: as long as\nthe gradient", color=MUTED, va="bottom")
    legend(error, (70, 26, "exact", EXACT), (70, 15, "of these 200", ESTIMATE), ha="right")
    line = empty_line(error, color=EXACT, linewidth=1.8)
    measured = empty_line(error, "o", color=ESTIMATE, markersize=8)

    below = (0.19, "gradient's length"), (0.42, "exact error"), (0.68, "÷ gradient"), (0.89, "uphill")
    readings = readouts(fig, 0.025, *below)

    def update(n: dict) -> None:
        for side, *lines in zip(("uphill", "downhill"), dots, beyond, strict=True):
            for line_of, points in zip(lines, framed(n[side]), strict=True):
                line_of.set_data(*zip(*points, strict=True) if points else ([], []))
        ellipse.set_data(*n["ellipse"])
        truth.set_data([n["truth"]], [0])
        line.set_data(BATCHES, n["errors"])
        measured.set_data([n["batch"]], [n["measured"]])
        texts = f"{n['size']:.3f}", f"{n['exact'] * n['size']:.2f}", f"{n['exact']:.2f}", f"{n['share']:.0%}"
        fill(readings, texts)

    return [*dots, *beyond, ellipse, truth, *sides, line, measured, *readings], update


def variance_lab() -> Live:
    """The widget."""
    twin = (
        ("Batches of 8, one step: an estimate is off by 0.8 of the gradient's length (root mean square)", {}),
        ("All rewards times 4, lengths measured in gradients: the same picture", {"scale": 4.0}),
        ("All rewards times 4, in rewards' own units: cloud and gradient four times as large",
         {"scale": 4.0, "relative": False}),
        ("2 added to every return: the same gradient in a wide cloud, over a quarter downhill",
         {"offset": 2.0}),
        ("Eight steps, all of whose rewards are in the return: seven strangers make the noise", {"steps": 8}),
        ("0.5 subtracted from every return: nearly every batch points uphill", {"offset": -0.5}),
    )  # fmt: skip
    alt = (
        "Clouds of 200 gradient estimates, green where a step would go uphill and purple where it would go down, with "
        "their exact ellipse, and the error by batch size on logarithmic axes. Multiplying rewards by four stretches "
        "cloud and gradient alike and changes nothing relative to the gradient; adding two to the returns widens the "
        "cloud only, as do seven more steps, whose rewards the first step does not influence; subtracting a half "
        "narrows it."
    )
    # two hundred dots make heavy pictures: a few telling positions of each control
    recorded = {"batch": (1, 8, 64), "scale": (1.0, 4.0), "offset": (-2.0, -0.5, 0.0, 2.0), "steps": (1, 8)}
    return Live(numbers, draw, CONTROLS, 3.5, twin, alt, noise=True, recorded=recorded)
