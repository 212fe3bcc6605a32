"""What a longer run does to the noise of a gradient, where every step is the same decision (lesson 14)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from pgnotes.theory.arguments import check_count
from pgnotes.theory.pathwise import Reward, placed, quadrature, rewards_of


class Step(NamedTuple):
    """Averages over one decision, of its reward r and one entry s of its score, which averages to 0.

    mean: E[r].  square: E[r²].  score: E[s²].  gradient: E[r s].  weighted: E[r s²].  fourth: E[r² s²].
    """

    mean: float
    square: float
    score: float
    gradient: float
    weighted: float
    fourth: float

    def less(self, baseline: float) -> Step:
        """The same of the reward less a number."""
        b = baseline
        return Step(
            self.mean - b,
            self.square - 2 * b * self.mean + b**2,
            self.score,
            self.gradient,
            self.weighted - b * self.score,
            self.fourth - 2 * b * self.weighted + b**2 * self.score,
        )


def gaussian_step(reward: Reward, mean: float, std: float) -> Step:
    """The averages of a Gaussian decision with this reward, by quadrature; s is the score by the mean (lesson 14)."""
    z, weights = quadrature()
    r, s = rewards_of(reward, placed(z, mean, std)), z / std

    def average(values: Tensor) -> float:
        return (weights @ values).item()

    return Step(average(r), average(r**2), average(s**2), average(r * s), average(r * s**2), average(r**2 * s**2))


def whole_return_noise(step: Step, steps: int) -> float:
    """REINFORCE's variance over the squared gradient, (Σ r)(Σ s) of T independent equal steps (lesson 14).

    The gradient is T E[r s]. Of the products r_i r_j s_k s_l those are left in which no score stands alone.
    """
    t = check_count("steps", steps)
    pairs, triples = t * (t - 1), t * (t - 1) * (t - 2)
    second = t * step.fourth + pairs * step.score * step.square + 2 * pairs * step.weighted * step.mean
    second += triples * step.score * step.mean**2 + 2 * pairs * step.gradient**2
    return second / (t * step.gradient) ** 2 - 1


def to_go_noise(step: Step, steps: int) -> float:
    """GPOMDP's with β = 1, or reward-to-go's: Σ_t s_t Σ_{k ≥ t} r_k of T independent equal steps (lesson 14).

    The terms of different steps are uncorrelated, because the earlier score is independent of all that multiplies it
    but its own reward.
    """
    total = 0.0
    for later in range(check_count("steps", steps)):  # rewards that follow the step's own
        ahead = later * (step.square - step.mean**2) + (later * step.mean) ** 2
        total += step.fourth + 2 * later * step.mean * step.weighted + step.score * ahead - step.gradient**2
    return total / (steps * step.gradient) ** 2


def all_right_noise(steps: int) -> float:
    """REINFORCE's variance over the squared gradient, paid 1 at the end if all T actions are above 0 (lesson 14).

    Each action is drawn from N(0, 1), and J = 2^-T is subtracted. Of a half of the normal law, z averages to φ(0) and
    z² to a half.
    """
    t = check_count("steps", steps)
    chance, half = 0.5**t, 1 / math.sqrt(2 * math.pi)
    gradient = t * half * 0.5 ** (t - 1)
    square_if_paid = t * chance + t * (t - 1) * half**2 * 0.5 ** (t - 2)  # E[r (Σ s)²]
    second = (1 - 2 * chance) * square_if_paid + chance**2 * t
    return second / gradient**2 - 1
