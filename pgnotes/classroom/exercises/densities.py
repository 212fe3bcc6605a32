"""Functions that claim to be a squashed Gaussian's log-density, and tests of them (lesson 14, exercise 14.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pgnotes.classroom.checks import Exercise
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
    lambda u, mean, std: gaussian(u, mean, std**2) - log_slope(u),
    lambda u, mean, std: gaussian(u, math.tanh(mean), std) - log_slope(u),
    lambda u, mean, std: gaussian(u, mean, std) - torch.log(1 - u.tanh() ** 2 + 1e-6),
)
NAMES = tuple(f"suspect {number}" for number in range(1, len(SUSPECTS) + 1))
ENTROPY = "Its entropy may lie below log 2 all the same: look at the density, not at the entropy."
PASSES = {  # what is wrong with those that are, told to a test that lets them pass
    "suspect 2": "The log-determinant is missing. " + ENTROPY,
    "suspect 4": "The log-determinant has the wrong sign. " + ENTROPY,
    "suspect 5": "tanh is taken twice. " + ENTROPY,
    "suspect 6": "It has σ² for σ. That adds up to 1 and is another policy's; with σ = 1 nothing shows. Compare "
    "with the Gaussian too, for another σ.",
    "suspect 7": "Its mean is squashed, tanh μ for μ. That adds up to 1 and is another policy's; with μ = 0 nothing "
    "shows. Compare with the Gaussian too, for another μ.",
    "suspect 8": "It has 1e-6 inside the logarithm, which counts where tanh is flat, for |u| of 7 and more: take a "
    "policy wide enough to go there (at σ = 3 it lacks 1.5 % of its mass).",
}
REFUSED = (
    "It is right, and your test says False. Is a sum nan (atanh(±1) is infinite)? Are the ends cut off, or is u taken "
    "for the action, a = tanh u? Do the points lie far apart for your tolerance? Print what you compare."
)


def verdict_fault(case: tuple[Density], value: object) -> str | None:
    """What is wrong with a test's answer for one suspect, in a sentence; None if nothing is."""
    name = case[0].name
    if not isinstance(value, bool | np.bool_) and not (isinstance(value, Tensor) and value.dtype == torch.bool):
        return f"For {name} your function gives {value!r}; return True or False."
    if bool(value) is (name not in PASSES):
        return None
    return f"{name.capitalize()} passes your test. {PASSES[name]}" if value else f"{name.capitalize()}: {REFUSED}"


def agrees(mean: float = 1.0, std: float = 3.0, most: float = 1e-3) -> Callable[[Density], bool]:
    """A test that compares how likely an action lies below tanh(u), by the density and by the Gaussian, everywhere."""

    def test(density: Density) -> bool:
        u = torch.linspace(mean - 8 * std, mean + 8 * std, 4001, dtype=torch.float64)
        below = torch.cumulative_trapezoid((density(u, mean, std) + log_slope(u)).exp(), u)
        wanted = 0.5 * torch.erfc(-(u[1:] - mean) / std / math.sqrt(2))
        return bool((below - wanted).abs().max() < most)

    return test


def adds_up(mean: float = 1.0, std: float = 3.0, most: float = 1e-3) -> Callable[[Density], bool]:
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


detector = Exercise(
    "14.6",
    "Write is_density(log_prob)",
    agrees(),
    tuple((Density(name, function),) for name, function in zip(NAMES, SUSPECTS, strict=True)),
    {
        "sum alone": (
            adds_up(),
            "Two suspects pass your test that add up to 1 and are another policy's: one has σ² for σ, one tanh μ for "
            "μ. Compare with the Gaussian too: how likely is an action below tanh u?",
        ),
        "sum of a narrow policy": (
            adds_up(0.0, 0.5),
            "Three suspects pass your test. Two add up to 1 and are another policy's (σ² for σ, tanh μ for μ): a sum "
            "does not see that. The third has 1e-6 inside the logarithm, which counts only for a wide policy.",
        ),
        "entropy alone": (
            bounded,
            "You look at the entropy, and let wrong ones pass that are below log 2. That bound catches what is "
            "impossible; whether a density is one, its integral says, and whose it is, the Gaussian.",
        ),
        "by u": (
            over_u,
            "You integrate by u. The density is one of *actions*: a = tanh u, so da = (1 − tanh² u) du.",
        ),
        "all are right": (
            lambda density: True,
            "Everybody passes your test. A density adds up to 1: is the integral over (−1, 1) compared with it?",
        ),
        "none is right": (
            lambda density: False,
            "Nobody passes your test, the right ones neither. Is a sum nan (atanh(±1) is infinite)? Are the ends cut "
            "off, or is u taken for the action, a = tanh u? Print what suspect 1, which is right, adds up to.",
        ),
        "upside down": (
            lambda density: not agrees()(density),
            "Upside down: True is for the right ones.",
        ),
    },
    "It catches all six, whatever the reward and α: no missing determinant, and no other policy's density.",
    fault=verdict_fault,
)
