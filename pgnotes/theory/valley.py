"""A reward shaped like a valley, a bonus for entropy, and three ways for a Gaussian policy to learn its covariance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_count, check_positive, check_real, check_shape
from pgnotes.theory.continuous import MultivariateGaussian


class Valley:
    """A reward -(a - c)ᵀ H (a - c) for D real actions, and α for each nat of the policy's entropy (lesson 14).

    hessian: H [D, D], symmetric, with eigenvalues above 0.  centre: c [D].  bonus: α above 0.  ValueError naming the
    argument.
    """

    def __init__(self, hessian: Any, centre: Any, bonus: float):
        self.centre = check_real("centre", centre, 1)
        size = len(self.centre)
        self.hessian = check_shape("hessian", check_real("hessian", hessian, 2), (size, size))
        if not torch.equal(self.hessian, self.hessian.T) or (torch.linalg.eigvalsh(self.hessian) <= 0).any():
            raise ValueError("hessian must be symmetric, with eigenvalues above 0")
        self.bonus = check_positive("bonus", bonus)

    def rewards(self, a: Any) -> Tensor:
        """What each action of `a` [n, D] is paid, [n]."""
        apart = check_real("a", a, 2) - self.centre
        return -torch.einsum("ni,ij,nj->n", apart, self.hessian, apart)

    def expected_reward(self, policy: MultivariateGaussian) -> Tensor:
        """-(μ - c)ᵀ H (μ - c) - tr(HΣ), without the bonus."""
        apart = policy.mean - self.centre
        return -apart @ self.hessian @ apart - (self.hessian * policy.covariance).sum()

    def best(self) -> MultivariateGaussian:
        """The best Gaussian: at c, with Σ = (α/2) H⁻¹, where -H + (α/2) Σ⁻¹ = 0."""
        covariance = 0.5 * self.bonus * torch.linalg.inv(self.hessian)
        return MultivariateGaussian(self.centre, torch.linalg.cholesky(0.5 * (covariance + covariance.T)))

    def best_diagonal(self) -> MultivariateGaussian:
        """The best among those whose actions are independent: σ_i² = α / 2H_ii, all other entries of H unseen."""
        return MultivariateGaussian(self.centre, (0.5 * self.bonus / self.hessian.diagonal()).sqrt().diag())

    def by_precision(self, mean: Tensor, precision: Tensor, step_size: float) -> tuple[Tensor, Tensor]:
        """(μ, P = Σ⁻¹) after a natural step in the coordinates (Pμ, P): P - η(αP - 2H), then μ + ηΣ∇_μ (lesson 14).

        With the new Σ in the second. P - 2H/α and P(μ - c) both shrink by 1 - ηα, whatever H is: at η = 1/α one step
        arrives.
        """
        moved = (1 - step_size * self.bonus) * precision + 2 * step_size * self.hessian
        push = -2 * self.hessian @ (mean - self.centre)
        return mean + step_size * torch.linalg.solve(moved, push), moved

    def by_covariance(self, mean: Tensor, covariance: Tensor, step_size: float) -> tuple[Tensor, Tensor]:
        """(μ, Σ) after a natural step in the coordinates (μ, Σ): Σ + η(αΣ - 2ΣHΣ), μ + ηΣ∇_μ (lesson 14).

        The same direction as `by_precision` for a small step; a large one may leave the positive definite matrices.
        """
        push = -2 * self.hessian @ (mean - self.centre)
        bent = covariance @ self.hessian @ covariance
        return mean + step_size * covariance @ push, covariance + step_size * (self.bonus * covariance - 2 * bent)


def valley(correlation: float = 0.95, bonus: float = 0.2) -> Valley:
    """A valley in two dimensions, H = 2 [[1, -ρ], [-ρ, 1]], along the diagonal, with its bottom at 0 (lesson 14)."""
    return Valley([[2.0, -2 * correlation], [-2 * correlation, 2.0]], [0.0, 0.0], bonus)


def narrow(condition: float, bonus: float = 0.2) -> Valley:
    """A valley along an axis, H = diag(0.1, 0.1 · condition), whose best stds are 1 and 1/√condition (lesson 14)."""
    return Valley([[0.1, 0.0], [0.0, 0.1 * check_positive("condition", condition)]], [0.0, 0.0], bonus)


class Arrival(NamedTuple):
    """How many steps it took to come near the best policy, None if it never did, and with which step size."""

    steps: int | None
    step_size: float


COORDINATES = ("plain", "precision", "covariance")
START = 1.0, 2.0  # along each axis, the mean and the std
NEAR = 0.01  # nats


def arrival(
    condition: float,
    coordinates: str,
    step_sizes: Any,
    bonus: float = 0.2,
    most: int = 20_000,
    std: float = START[1],
) -> Arrival:
    """The fewest steps to a KL below `NEAR` from the best policy of `narrow(condition)` (lesson 14).

    coordinates: "plain", the gradient in (μ, log σ); or a natural step in those of `Valley.by_precision` or
    `Valley.by_covariance`.  step_sizes: [n], of which the best counts; one is out as soon as a variance is not above 0.
    std: of the start, along each axis; its mean is in `START`.
    H and the start are diagonal, so that each axis runs by itself; all step sizes run at once.
    """
    check_choice("coordinates", coordinates, COORDINATES)
    sizes = check_real("step_sizes", step_sizes, 1)[:, None]
    slopes = narrow(condition, bonus).hessian.diagonal()
    best = 2 * slopes / bonus  # precisions
    mean = torch.full((len(sizes), 2), START[0], dtype=torch.float64)
    variance = torch.full_like(mean, check_positive("std", std) ** 2)

    for taken in range(check_count("most", most) + 1):
        variance = torch.where(variance > 0, variance, math.nan)  # for good
        nats = 0.5 * (best * variance - 1 - (best * variance).log() + best * mean**2).sum(1)
        nats = torch.where(nats.isfinite(), nats, math.inf)
        if (nats < NEAR).any():
            return Arrival(taken, sizes[nats.argmin(), 0].item())
        if not nats.isfinite().any():
            break

        if coordinates == "plain":
            mean = mean - sizes * 2 * slopes * mean
            variance = variance * (2 * sizes * bonus * (1 - best * variance)).exp()  # twice the step of log σ
        elif coordinates == "precision":
            variance = 1 / ((1 - sizes * bonus) / variance + 2 * sizes * slopes)
            mean = mean - sizes * variance * 2 * slopes * mean
        else:
            mean = mean - sizes * variance * 2 * slopes * mean
            variance = variance * (1 + sizes * bonus * (1 - best * variance))
    return Arrival(None, math.nan)
