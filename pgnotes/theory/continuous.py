"""Actions that are real numbers: Gaussian policies, one with a peak to climb, of full covariance, and squashed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pgnotes.theory.arguments import (
    check_between,
    check_count,
    check_finite,
    check_generator,
    check_positive,
    check_real,
    check_shape,
)
from pgnotes.theory.pathwise import quadrature
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


class MultivariateGaussian:
    """A distribution over D real actions, normal with `mean` [D] and covariance L Lᵀ (lesson 14; Peters & Schaal 2006).

    scale_tril: L [D, D], lower triangular with a diagonal above 0, in the actions' unit.  Gradients flow through both;
    results are float64.  ValueError naming the argument.
    """

    def __init__(self, mean: Any, scale_tril: Any):
        self.mean = check_real("mean", mean, 1)
        size = len(self.mean)
        self.scale_tril = check_shape("scale_tril", check_real("scale_tril", scale_tril, 2), (size, size))
        if self.scale_tril.triu(1).any() or (self.scale_tril.diagonal() <= 0).any():
            raise ValueError("scale_tril must be lower triangular, with a diagonal above 0")

    @property
    def covariance(self) -> Tensor:
        """Σ = L Lᵀ, [D, D]."""
        return self.scale_tril @ self.scale_tril.T

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent actions, μ + L z, [n, D]."""
        n, generator = check_count("n", n), check_generator("generator", generator)
        noise = torch.randn(n, len(self.mean), dtype=torch.float64, generator=generator)
        return self.mean.detach() + noise @ self.scale_tril.detach().T

    def log_prob(self, a: Any) -> Tensor:
        """log of the density of each action of `a` [n, D], [n]."""
        z = self._whitened(a)
        return -0.5 * (z**2).sum(1) - self.scale_tril.diagonal().log().sum() - 0.5 * z.shape[1] * math.log(2 * math.pi)

    def score(self, a: Any) -> Tensor:
        """The derivatives of log π(a) by μ and by the entries of L on and below the diagonal, [n, D + D(D+1)/2].

        By μ: Σ⁻¹d = L⁻ᵀz, with d = a - μ = Lz. By L: the lower triangle of L⁻ᵀ(z zᵀ - I), row by row.
        """
        z = self._whitened(a).detach()
        pulled = torch.linalg.solve_triangular(self.scale_tril.detach().T, z.T, upper=True).T  # L⁻ᵀ z, [n, D]
        inverse = torch.linalg.inv(self.scale_tril.detach()).T
        by_scale = pulled[:, :, None] * z[:, None, :] - inverse
        rows, columns = torch.tril_indices(len(self.mean), len(self.mean))
        return torch.cat([pulled, by_scale[:, rows, columns]], 1)

    def entropy(self) -> Tensor:
        """½ log det(2πe Σ) in nats."""
        size = len(self.mean)
        return 0.5 * size * math.log(2 * math.pi * math.e) + self.scale_tril.diagonal().log().sum()

    def _whitened(self, a: Any) -> Tensor:
        """z = L⁻¹(a - μ), [n, D]."""
        apart = check_real("a", a, 2) - self.mean
        return torch.linalg.solve_triangular(self.scale_tril, apart.T, upper=False).T


class Squashed:
    """tanh of a normal number u with `mean` and `std`: an action in (-1, 1) (lesson 14; Haarnoja et al. 2018, app. C).

    mean: a number; std: a number above 0.  Gradients flow through both if they are tensors.  Results are float64.
    """

    def __init__(self, mean: Any, std: Any):
        self.before = GaussianPolicy(mean, std)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n independent actions tanh(u), and the u they come from, both [n]."""
        u = self.before.sample(n, generator)
        return u.tanh(), u

    def log_prob(self, u: Any) -> Tensor:
        """log of the density of the action tanh(u) for each of `u` [n], [n]: log N(u) - log(1 - tanh² u).

        It takes u and not the action: float64 has no number between tanh(20) and 1. Finite for any u.
        """
        return self.before.log_prob(u) - log_slope(check_real("u", u, 1))

    def entropy(self) -> Tensor:
        """-E[log π] in nats, by quadrature: at most log 2, which a uniform action in (-1, 1) would have."""
        z, weights = quadrature()
        return self.before.entropy() + weights @ log_slope(self.before.mean + self.before.std * z)


def log_slope(u: Tensor) -> Tensor:
    """log(1 - tanh² u) = 2 (log 2 - u - softplus(-2u)), the logarithm of tanh's slope, elementwise (lesson 14).

    1 - tanh² u itself is 0 in float32 from u = 9 on, and in float64 from 19 on.
    """
    return 2 * (math.log(2) - u - softplus(-2 * u))


def gpomdp(scores: Any, rewards: Any, beta: float) -> Tensor:
    """Σ_t r_t z_t with the trace z_t = β z_{t-1} + s_t, [D]: what one run says of the gradient (lesson 14).

    Baxter & Bartlett 2001, algorithm 1, whose estimate of an average reward's gradient is this over T. The same sum in
    another order is Σ_t s_t Σ_{k ≥ t} β^{k-t} r_k: reward-to-go, discounted. The trace needs no look ahead, and no
    memory that grows.
    scores: [T, D], ∇ log π of each action.  rewards: [T], what came after it.  beta: β in [0, 1].
    """
    scores = check_real("scores", scores, 2)
    rewards = check_shape("rewards", check_real("rewards", rewards, 1), scores.shape[:1])
    beta = check_between("beta", beta, 0.0, 1.0)
    trace, total = torch.zeros_like(scores[0]), torch.zeros_like(scores[0])
    for score, reward in zip(scores, rewards, strict=True):
        trace = beta * trace + score
        total = total + reward * trace
    return total
