"""Lesson 04's exercises: a sample's variance, the batch needed, relative error, other steps, a measured covariance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.estimators import outcomes, with_baseline
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

PROBS = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
PAYS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
EVEN, MIXED = torch.full((4,), 0.25, dtype=torch.float64), torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
ESTIMATES = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def exact_trace(probs: Tensor, rewards: Tensor) -> Tensor:
    """The trace of one sample's covariance."""
    return with_baseline(outcomes(Bandit(rewards), SoftmaxPolicy(probs.log())), 0.0).trace


def pieces(probs: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Each action's estimate [K, K], and the exact gradient [K]."""
    estimates = rewards[:, None] * (torch.eye(len(probs), dtype=torch.float64) - probs)
    return estimates, probs @ estimates


trace = Exercise(
    "4.1",
    "Write one_sample_variance(probs, rewards)",
    exact_trace,
    ((PROBS, PAYS), (EVEN, MIXED), (PROBS.flip(0), PAYS + 2)),
    {
        "gradient not subtracted": (
            lambda p, r: p @ pieces(p, r)[0].square().sum(1),
            "That is the mean square of the estimate. The variance is around its mean: subtract the squared length of "
            "the gradient.",
        ),
        "unweighted": (
            lambda p, r: (pieces(p, r)[0] - pieces(p, r)[1]).square().sum(1).mean(),
            "You average over actions as if all were equally likely. Weight each by its probability.",
        ),
        "root": (
            lambda p, r: exact_trace(p, r).sqrt(),
            "That is the standard deviation. The variance is its square, and variances are what add up and divide "
            "by N.",
        ),
        "of the rewards": (
            lambda p, r: p @ (r - p @ r).square(),
            "That is the variance of the reward, one number's. The estimate is a vector: reward times score. Add the "
            "variances of its entries.",
        ),
        "mean over entries": (
            lambda p, r: exact_trace(p, r) / len(p),
            "You average over the entries of the vector. The squared distance of two vectors is a sum over entries.",
        ),
    },
    "E‖R·s‖² − ‖g‖², with every action listed.",
)

needed = Exercise(
    "4.2",
    "Write batch_needed(variance, gradient_length, relative)",
    lambda variance, gradient_length, relative: math.ceil(variance / (relative * gradient_length) ** 2),
    ((0.27, 0.23, 0.1), (1.0, 0.5, 0.5), (30.0, 0.23, 0.1)),
    {
        "not squared": (
            lambda v, g, q: math.ceil(v / (q * g)),
            "You compare a variance with a length. The standard error is the root of variance/N: set it equal to "
            "relative · length and square.",
        ),
        "absolute": (
            lambda v, g, q: math.ceil(v / q**2),
            "You aim at a standard error of `relative` itself; it is to be that share of the gradient's length.",
        ),
        "length not squared": (
            lambda v, g, q: math.ceil(v / (q**2 * g)),
            "The relative error is squared, the gradient's length is not. Both stand inside the same square.",
        ),
        "rounded down": (
            lambda v, g, q: math.floor(v / (q * g) ** 2),
            "Almost: rounded down, the batch is one too small to reach the error asked for. Round up.",
        ),
    },
    "A tenth of the error costs a hundred times the samples.",
)

relative = Exercise(
    "4.3",
    "Write relative_error(variance, gradient, batch)",
    lambda variance, gradient, batch: (variance / batch) ** 0.5 / gradient.norm(),
    ((0.27, PAYS, 8), (2.0, MIXED, 100), (1.0, MIXED, 1)),
    {
        "variance": (
            lambda v, g, n: v / n / g.norm(),
            "You divide a variance by a length. The error is the variance's root; only then do both have the same "
            "unit, and scaling all rewards changes nothing.",
        ),
        "batch outside": (
            lambda v, g, n: v**0.5 / n / g.norm(),
            "The batch divides the variance, so it stands under the root: the error falls with √N, not with N.",
        ),
        "mean entry": (
            lambda v, g, n: (v / n) ** 0.5 / g.abs().mean(),
            "You compare with the mean entry of the gradient. Variance is added over entries here, so compare with "
            "the gradient's length.",
        ),
        "squared length": (
            lambda v, g, n: (v / n) ** 0.5 / (g @ g),
            "You divide by the squared length of the gradient.",
        ),
    },
    "At 1 the noise is as long as the gradient. Multiply all rewards by 100, and it stays.",
)

others = Exercise(
    "4.4",
    "Write return_of_others(mean, variance, steps): [mean, variance] of what the other steps add",
    lambda mean, variance, steps: torch.tensor([(steps - 1) * mean, (steps - 1) * variance]),
    ((0.5, 0.2, 8), (0.5, 0.2, 1), (-1.0, 2.0, 3)),
    {
        "all steps": (
            lambda m, v, t: torch.tensor([t * m, t * v]),
            "You count the step itself among the others. Its reward is the signal; T − 1 steps are left.",
        ),
        "variance squared in T": (
            lambda m, v, t: torch.tensor([(t - 1) * m, (t - 1) ** 2 * v]),
            "The variance of a sum of independent rewards grows with their number, not with its square. (The mean's "
            "square does: that is the offset's share.)",
        ),
        "mean of the rewards": (
            lambda m, v, t: torch.tensor([m, v / max(t - 1, 1)]),
            "These are the moments of an average. A return is a sum: both grow with the number of steps.",
        ),
        "standard deviation": (
            lambda m, v, t: torch.tensor([(t - 1) * m, ((t - 1) * v) ** 0.5]),
            "The second number is the standard deviation. Asked for is the variance, which adds up.",
        ),
    },
    "The mean is an offset like any other, and grows with T: its share of the variance grows with T².",
)

measured = Exercise(
    "4.5",
    "Write measured_covariance(estimates)",
    lambda estimates: estimates.T.cov(),
    ((ESTIMATES,), (3 * ESTIMATES[:4] + 1,)),
    {
        "not centred": (
            lambda e: e.T @ e / (len(e) - 1),
            "You did not subtract the mean of the estimates: that is their second moment.",
        ),
        "biased": (
            lambda e: e.T.cov(correction=0),
            "You divide by n. The mean was computed from the same estimates, which costs one of them: divide by n − "
            "1. (The same (n − 1)/n as in claim C26.)",
        ),
        "of the mean": (
            lambda e: e.T.cov() / len(e),
            "That is the covariance of the *mean* of the estimates. Asked for is that of one estimate.",
        ),
        "variances only": (
            lambda e: e.var(0),
            "These are the variances, the diagonal. The covariance is a matrix; the ellipse needs what lies off the "
            "diagonal too.",
        ),
    },
    "Its trace is the squared error, its shape the ellipse of the first picture.",
)

EXERCISES = (trace, needed, relative, others, measured)
