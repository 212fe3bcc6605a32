"""What a step does to a policy's entropy: a covariance, which says when it has to fall (lesson 10, claim C88)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_distributions, check_real, check_shape

STEPS = ("gradient", "natural")


def entropy_slope(probs: Any, values: Any, step: str = "gradient") -> Tensor:
    """dH/dη at η = 0 of a softmax row that takes a step of size η up its own expected value, in nats (lesson 10).

    With A = value - mean value: -Cov_π(log π, π A) for the exact gradient's step, which adds η π A to the logits, and
    -Cov_π(log π, A) for the natural gradient's, which adds η A (Cui et al. 2025, 2505.22617). A likely action that is
    better than the mean lowers the entropy, a rare one raises it.
    probs: [..., K], rows of probabilities above 0.  values: [..., K], what each action is worth.  step: one of `STEPS`.
    Returns [...].  ValueError naming the argument.
    """
    probs = check_distributions("probs", check_real("probs", probs, 1, 2, 3))
    if (probs <= 0).any():
        raise ValueError("probs must all be above 0; a softmax's are")
    values = check_shape("values", check_real("values", values, 1, 2, 3), probs.shape)
    check_choice("step", step, STEPS)

    advantages = values - (probs * values).sum(-1, keepdim=True)
    moved = probs * advantages if step == "gradient" else advantages  # what a step adds to the logits
    return -covariance(probs, probs.log(), moved)


def covariance(probs: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Cov_π(x, y) along the last axis."""
    return (probs * x * (y - (probs * y).sum(-1, keepdim=True))).sum(-1)
