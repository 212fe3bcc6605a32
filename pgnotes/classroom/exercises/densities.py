"""Functions that claim to be a squashed Gaussian's log-density, and tests of them (lesson 14, exercise 14.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pgnotes.theory.continuous import log_slope


@dataclass(frozen=True)
class Density:
    """A program's log π of the action tanh(u), for u [n] and a policy's mean and std; with a name to be told by."""

    name: str
    function: Callable[[Tensor, float, float], Tensor]

    def __call__(self, u: Tensor, mean: float, std: float) -> Tensor:
        """What it computes, [n]."""
        return self.function(u, mean, std)

    def __repr__(self) -> str:
        """Its name alone: which one has a bug is to be found out."""
        return self.name


def gaussian(u: Tensor, mean: float, std: float) -> Tensor:
    """log N(u)."""
    return -0.5 * ((u - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


SUSPECTS: tuple[Callable[[Tensor, float, float], Tensor], ...] = (
    lambda u, mean, std: gaussian(u, mean, std) - log_slope(u),
    gaussian,
    lambda u, mean, std: gaussian(u, mean, std) - 2 * math.log(2) + 2 * (u + softplus(-2 * u)),
    lambda u, mean, std: gaussian(u, mean, std) + log_slope(u),
    lambda u, mean, std: gaussian(u, mean, std) - log_slope(u.tanh()),
    lambda u, mean, std: gaussian(u, math.tanh(mean), std) - log_slope(u) + 0.5 * math.tanh(mean) ** 2,
)


def adds_up(mean: float = 0.4, std: float = 0.8, most: float = 1e-3) -> Callable[[Density], bool]:
    """A test that integrates a density over actions, for one policy: da = (1 - tanh² u) du."""

    def test(density: Density) -> bool:
        u = torch.linspace(mean - 10 * std, mean + 10 * std, 4001, dtype=torch.float64)
        mass = torch.trapezoid((density(u, mean, std) + log_slope(u)).exp(), u)
        return abs(mass.item() - 1) < most

    return test


def bounded(density: Density) -> bool:
    """The tell-tale: an entropy of log 2 at most, for one policy."""
    u = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    weights = gaussian(u, 0.0, 0.5).exp()
    return bool(-(weights * density(u, 0.0, 0.5)).sum() / weights.sum() < math.log(2))


def over_u(density: Density) -> bool:
    """Integrates by u, where a density of actions does not add up to 1."""
    u = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    return abs(torch.trapezoid(density(u, 0.4, 0.8).exp(), u).item() - 1) < 1e-3
