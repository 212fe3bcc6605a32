"""Actions that are real numbers: a reward with a peak, and what climbing it does to a Gaussian policy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pgnotes.theory.arguments import check_between, check_finite, check_positive, check_real
from pgnotes.theory.policies import GaussianPolicy


@dataclass(frozen=True)
class Peak:
    """A world with one real action, paid exp(-(a - centre)² / 2 width²), 1 at the centre (lesson 01).

    centre, width: in the action's unit, width above 0.  ValueError naming the argument.
    """

    centre: float = 0.0
    width: float = 1.0

    def __post_init__(self) -> None:
        """Check both."""
        check_finite("centre", self.centre)
        check_positive("width", self.width)

    def rewards(self, a: Any) -> Tensor:
        """What each action of `a` [n] is paid, [n]."""
        return (-0.5 * ((check_real("a", a, 1) - self.centre) / self.width) ** 2).exp()

    def expected_return(self, policy: GaussianPolicy) -> Tensor:
        """J = w / √(w² + σ²) · exp(-(μ - c)² / 2(w² + σ²)), the integral of a product of two normal curves."""
        wide = self.width**2 + policy.std**2
        return self.width / wide.sqrt() * (-0.5 * (policy.mean - self.centre) ** 2 / wide).exp()

    def slopes(self, mean: float, std: float) -> tuple[float, float]:
        """The exact derivatives of J by the mean and by log σ."""
        wide, distance = self.width**2 + std**2, mean - self.centre
        value = self.width / math.sqrt(wide) * math.exp(-0.5 * distance**2 / wide)
        return -value * distance / wide, value * std**2 / wide * (distance**2 / wide - 1)


def gaussian_ascent(
    world: Peak, policy: GaussianPolicy, step_size: float, bonus: float = 0.0
) -> Iterator[tuple[float, float]]:
    """(mean, std) before each step of gradient ascent on J + bonus · entropy in (μ, log σ), without end (lesson 01).

    The entropy of a Gaussian rises by 1 nat for each 1 of log σ.  step_size: above 0.  bonus: nats of entropy are worth
    so much reward, from 0.  ValueError naming the argument.
    """
    step_size, bonus = check_positive("step_size", step_size), check_between("bonus", bonus, 0.0, float("1e9"))
    mean, log_std = policy.mean.item(), policy.std.log().item()
    while True:
        yield mean, math.exp(log_std)
        by_mean, by_log_std = world.slopes(mean, math.exp(log_std))
        mean += step_size * by_mean
        log_std += step_size * (by_log_std + bonus)
