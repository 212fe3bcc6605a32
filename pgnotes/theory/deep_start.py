"""How a deep network begins: what its first weights do to signals and to the first policy (lesson 15, claim C81)."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_count, check_generator

KINDS = ("orthogonal", "normal")


def first_weights(kind: str, depth: int, width: int, generator: torch.Generator) -> Tensor:
    """Square weights of each layer, [depth, width, width] (lesson 15; Saxe et al. 2014 for "orthogonal").

    "orthogonal": a random rotation or reflection each.  "normal": entries of variance 1 / width, which keeps the mean
    squared length of a signal as well.  ValueError naming the argument.
    """
    check_choice("kind", kind, KINDS)
    shape = check_count("depth", depth), check_count("width", width), width
    drawn = torch.randn(*shape, dtype=torch.float64, generator=check_generator("generator", generator))
    if kind == "normal":
        return drawn / width**0.5
    q, r = torch.linalg.qr(drawn)
    return q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[:, None]


def through(weights: Tensor, start: Tensor, squash: bool) -> tuple[Tensor, Tensor]:
    """What comes out of the layers, [width], and its derivative by what went in, [width, width] (lesson 15).

    start: [width].  squash: tanh after each layer, else they are linear.
    """
    signal, slope = start, torch.eye(len(start), dtype=torch.float64)
    for layer in weights:
        signal, slope = layer @ signal, layer @ slope
        if squash:
            signal = torch.tanh(signal)
            slope = (1 - signal**2)[:, None] * slope
    return signal, slope


def extremes(kind: str, squash: bool, nets: int, generator: torch.Generator) -> tuple[float, float]:
    """The smallest and the largest singular value of the first derivative, means over nets of 20 layers of 64.

    ValueError naming the argument.
    """
    found = []
    for _ in range(check_count("nets", nets)):
        weights = first_weights(kind, 20, 64, generator)
        _, slope = through(weights, torch.randn(64, dtype=torch.float64, generator=generator), squash)
        values = torch.linalg.svdvals(slope)
        found.append([values[-1], values[0]])
    smallest, largest = torch.tensor(found).mean(0).tolist()
    return smallest, largest


def first_entropy(gain: float, nets: int, generator: torch.Generator) -> float:
    """The first policy's entropy in nats over four actions, a mean over normal inputs and rotated last layers.

    gain: what the last layer, 4 rows of a rotation of 64 dimensions, is multiplied with.
    """
    found = []
    for _ in range(check_count("nets", nets)):
        layer = first_weights("orthogonal", 1, 64, generator)[0, :4]
        probs = torch.softmax(gain * layer @ torch.randn(64, dtype=torch.float64, generator=generator), 0)
        found.append(-torch.xlogy(probs, probs).sum())
    return torch.stack(found).mean().item()
