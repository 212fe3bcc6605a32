"""How a deep network begins: what its first weights do to signals and to the first policy (lesson 15, claim C81)."""

from __future__ import annotations

from functools import reduce

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


def layer_slopes(weights: Tensor, start: Tensor, squash: bool) -> tuple[Tensor, Tensor]:
    """What comes out of the layers, [width], and each one's own derivative, [depth, width, width] (lesson 15).

    start: [width].  squash: tanh after each layer, else they are linear.
    """
    signal, slopes = start, []
    for layer in weights:
        signal, slope = layer @ signal, layer
        if squash:
            signal = torch.tanh(signal)
            slope = (1 - signal**2)[:, None] * layer
        slopes.append(slope)
    return signal, torch.stack(slopes)


def through(weights: Tensor, start: Tensor, squash: bool) -> tuple[Tensor, Tensor]:
    """What comes out of the layers, [width], and its derivative by what went in, [width, width] (lesson 15)."""
    signal, slopes = layer_slopes(weights, start, squash)
    return signal, reduce(torch.matmul, slopes.flip(0))


def end_values(slopes: Tensor) -> tuple[float, float]:
    """The smallest and the largest singular value of a product of square matrices, [depth, width, width] (lesson 15).

    The smallest is 1 / the largest of the product of inverses: beside a large one the product itself keeps no digit of
    what lies below its rounding, some 10⁻¹⁶ of the largest.
    """
    forth, back = reduce(torch.matmul, slopes.flip(0)), reduce(torch.matmul, torch.linalg.inv(slopes))
    return 1 / torch.linalg.matrix_norm(back, 2).item(), torch.linalg.matrix_norm(forth, 2).item()


def extremes(kind: str, squash: bool, nets: int, generator: torch.Generator) -> tuple[float, float]:
    """`end_values` of the first derivative of 20 layers of 64, each the median over nets.

    ValueError naming the argument.
    """
    found = []
    for _ in range(check_count("nets", nets)):
        weights = first_weights(kind, 20, 64, generator)
        start = torch.randn(64, dtype=torch.float64, generator=generator)
        found.append(end_values(layer_slopes(weights, start, squash)[1]))
    smallest, largest = torch.tensor(found, dtype=torch.float64).median(0).values.tolist()
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
