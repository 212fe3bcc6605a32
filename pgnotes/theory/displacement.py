"""What learning from one pair does to a third answer, where answers share features (lesson 13)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_positive, check_real, check_shape
from pgnotes.theory.preferences import dpo_terms


def train_on_pair(
    features: Any, weights: Any, winner: int, loser: int, beta: float, step_size: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """DPO's gradient steps on one pair: log π [..., N] and the loss [...] before each, without end (lesson 13).

    Logits are φ·w; the answers of a softmax with logits of their own have one-hot features. The reference is the
    policy at the start.  Razin et al. 2024 show the same of language models.
    features: φ, [..., N, F], several policies side by side.  weights: w at the start, [F].  winner, loser: below N.
    beta, step_size: above 0.  ValueError naming the argument.
    """
    features, weights = check_real("features", features, 2, 3), check_real("weights", weights, 1)
    check_shape("weights", weights, features.shape[-1:])
    beta, step_size = check_positive("beta", beta), check_positive("step_size", step_size)
    for name, answer in (("winner", winner), ("loser", loser)):
        if check_count(name, answer, 0) >= features.shape[-2]:
            raise ValueError(f"{name} is {answer}; it must be below {features.shape[-2]}")

    w = weights.expand(*features.shape[:-2], len(weights)).clone()
    reference = log_policy(features, w)
    while True:
        with torch.enable_grad():
            logp = log_policy(features, w.requires_grad_())
            loss = dpo_terms(logp[..., winner], logp[..., loser], reference[..., winner], reference[..., loser], beta)
            (gradient,) = torch.autograd.grad(loss.sum(), w)
        yield logp.detach(), loss.detach()
        w = (w - step_size * gradient).detach()


def log_policy(features: Tensor, weights: Tensor) -> Tensor:
    """log softmax of φ·w: features [..., N, F] and weights [..., F] -> [..., N] nats."""
    return torch.log_softmax((features @ weights[..., None])[..., 0], -1)
