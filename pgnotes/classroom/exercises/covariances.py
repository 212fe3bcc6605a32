"""The score of a Gaussian with a full covariance, right and otherwise (lesson 14, exercise 14.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def rows(*values: list[float]) -> Tensor:
    """A float64 tensor with a row for each list."""
    return torch.tensor(values, dtype=torch.float64)


def both_scores(a: Tensor, mean: Tensor, covariance: Tensor, square: float = 0.5, volume: float = -0.5) -> Tensor:
    """∇_μ and ∇_Σ of log N, one after the other, [D + D²]; the parts of the second with these weights."""
    inverse = torch.linalg.inv(covariance)
    pulled = inverse @ (a - mean)
    return joined(pulled, square * torch.outer(pulled, pulled) + volume * inverse)


def joined(by_mean: Tensor, by_covariance: Tensor) -> Tensor:
    """Both in one tensor."""
    return torch.cat([by_mean, by_covariance.flatten()])


def by_precision(a: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The derivative by Σ⁻¹ in place of Σ."""
    d = a - mean
    return joined(torch.linalg.solve(covariance, d), 0.5 * (covariance - torch.outer(d, d)))


def by_factor(a: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The derivative by the lower-triangular L of Σ = L Lᵀ in place of Σ."""
    root = torch.linalg.cholesky(covariance)
    pulled = torch.linalg.solve(covariance, a - mean)
    by_root = torch.outer(pulled, root.T @ pulled) - torch.linalg.inv(root).T
    return joined(pulled, by_root.tril())


def twice_off_diagonal(size: int) -> Tensor:
    """1 for μ and on the diagonal of Σ, else 2; [D + D²]."""
    return joined(torch.ones(size), 2 - torch.eye(size)).double()


WIDE = rows([2.0, 0.6], [0.6, 0.5])
covariance_score = Exercise(
    "14.1",
    "Write gaussian_score(a, mean, covariance)",
    both_scores,
    (
        (vector(1.0, -0.5), vector(0.0, 0.0), WIDE),
        (vector(0.3, 2.0), vector(0.5, 1.0), rows([0.4, -0.3], [-0.3, 0.9])),
        (vector(0.0, 1.0, 2.0), vector(1.0, 1.0, 1.0), rows([1.0, 0.2, 0.0], [0.2, 2.0, -0.5], [0.0, -0.5, 0.7])),
    ),
    {
        "diagonal only": (
            lambda a, mean, covariance: both_scores(a, mean, covariance.diagonal().diag()),
            "You use the diagonal of Σ alone. Off it stands how the actions go together, and Σ⁻¹ mixes all of it.",
        ),
        "covariance for its inverse": (
            lambda a, mean, covariance: joined(
                covariance @ (a - mean),
                0.5 * (torch.outer(covariance @ (a - mean), covariance @ (a - mean)) - covariance),
            ),
            "Σ stands where Σ⁻¹ belongs. A wide policy is pulled *less* by an action at the same distance.",
        ),
        "no volume": (
            lambda *case: both_scores(*case, volume=0.0),
            "−½ Σ⁻¹ is missing, the derivative of −½ log det Σ. Without it the score does not average to zero, and "
            "every rewarded action widens the policy.",
        ),
        "no half": (
            lambda *case: both_scores(*case, 1.0, -1.0),
            "The derivative by Σ is twice too large: both of its parts carry a ½.",
        ),
        "turned": (
            lambda *case: both_scores(*case, -0.5, 0.5),
            "The derivative by Σ has the other sign: an action far away should widen the policy.",
        ),
        "by the precision": (
            by_precision,
            "That is the derivative by Σ⁻¹. By Σ: Σ⁻¹ changes by −Σ⁻¹ dΣ Σ⁻¹, which puts a Σ⁻¹ on either side and "
            "turns the sign.",
        ),
        "mean turned": (
            lambda a, mean, covariance: (
                both_scores(a, mean, covariance) * torch.cat([-torch.ones(len(a)), torch.ones(len(a) ** 2)])
            ),
            "The derivative by μ has the wrong sign: a rewarded action pulls the mean towards itself, d = a − μ.",
        ),
        "entry by entry": (
            lambda a, mean, covariance: joined(
                torch.linalg.solve(covariance, a - mean),
                0.5 * (torch.outer(a - mean, a - mean) / covariance**2 - 1 / covariance),
            ),
            "1/Σ entry by entry is not Σ⁻¹: torch.linalg.inv.",
        ),
        "by the factor": (
            by_factor,
            "That is the derivative by the factor L. By Σ it is ½(Σ⁻¹ddᵀΣ⁻¹ − Σ⁻¹), without L.",
        ),
        "counted twice": (
            lambda a, mean, covariance: both_scores(a, mean, covariance) * twice_off_diagonal(len(a)),
            "Off the diagonal yours is twice too large: it moves Σ₁₂ and Σ₂₁ together. Differentiate by each alone.",
        ),
        "covariance alone": (
            lambda a, mean, covariance: both_scores(a, mean, covariance)[len(a) :],
            "The derivative by μ is missing: put it first, then that by Σ, row by row.",
        ),
    },
    "Averaged over actions both halves are zero, as every score's.",
)
