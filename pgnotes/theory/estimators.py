"""Gradient estimators: what one sample says of the gradient, its exact mean and variance, and its Monte Carlo spread."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pgnotes.theory.arguments import real, shaped
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld


def mean_and_error(estimates: Any) -> tuple[Tensor, Tensor]:
    """The mean of n independent estimates and its standard error, their standard deviation over √n (lesson 02).

    estimates: [n, ...] real, n >= 2.  Returns two [...], float64.  ValueError for a single estimate, which has no spread.
    """
    tensor = real("estimates", estimates, *range(1, 9))
    if len(tensor) < 2:
        raise ValueError("estimates has 1 row; the spread needs at least 2")
    return tensor.mean(0), tensor.std(0) / len(tensor) ** 0.5


def exact_moments(world: TokenWorld, policy: PrefixPolicy, weights: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance, for each logit, of the estimate Σ_t w_t ∇ log π from one sequence of one random prompt (lessons 02 and 04).

    weights: [P, N, T] real, what each symbol of each listed outcome is worth, 0 on masked ones.  Returns two tensors in the logits' shape, by
    adding up all outcomes; no gradient flows through them.  The estimator is unbiased if the mean is `world.exact_gradient(policy)`.
    """
    if not isinstance(world, TokenWorld):
        raise ValueError(f"world is a {type(world).__name__}; it must be a TokenWorld")
    chances = world.probabilities(policy) / world.prompts
    worth = shaped("weights", real("weights", weights, 3), world.rewards.shape)
    scores = [policy.score(world.sequences, worth[prompt], prompt) for prompt in range(world.prompts)]
    axes = (-1,) + (1,) * policy.logits.dim()
    mean = sum((chance.view(axes) * score).sum(0) for chance, score in zip(chances, scores, strict=True))
    variance = sum((chance.view(axes) * (score - mean) ** 2).sum(0) for chance, score in zip(chances, scores, strict=True))
    return mean.detach(), variance.detach()
