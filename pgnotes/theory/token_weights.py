"""What an objective multiplies a token's score with: every method of the family as one number (lesson 10)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_array, check_finite
from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.terms import GATE, Clip


def loss_weights(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    kind: str,
    clip: Clip = 0.2,
    gate: tuple[float, float] = GATE,
) -> Tensor:
    """∂J/∂log π of each token, where J is the sum of all terms: the gradient is Σ weight · ∇ log π (lesson 10).

    At ratio 1 it is the advantage, for every kind. Of "gspo" and "gmpo", whose tokens share a ratio, a sequence's terms
    are all the same, and their sum over its T tokens undoes the mean within.
    Arguments and errors as in `policy_loss`, through which it differentiates.  Returns [B, T], 0 on dead tokens.
    """
    with torch.enable_grad():
        moved = logp.detach().requires_grad_()
        loss = policy_loss(moved, logp_old, advantages, mask, kind, clip, "sum", normaliser=1.0, gate=gate)
        return 0.0 - torch.autograd.grad(loss, moved)[0]  # and no minus zeros


def token_weight(
    ratio: Any,
    advantage: float,
    kind: str,
    clip: Clip = 0.2,
    gate: tuple[float, float] = GATE,
    chance: float = 0.1,
) -> Tensor:
    """∂J/∂log π of a token whose probability has gone from `chance` to ratio · chance (lesson 10).

    A sequence of this one token, so that of "gspo" and "gmpo" it is the weight of a sequence whose ratio this is.
    ratio: any shape, above 0.  advantage: a number.  kind, clip, gate: as in `policy_loss`.  chance: in (0, 1], the
    old probability; only "dppo" looks at it.  Returns float64 in the ratio's shape, NaN where ratio · chance is above
    1, which no probability is.  ValueError naming the argument.
    """
    ratios = check_array("ratio", ratio).detach()
    if ratios.numel() == 0 or not ((ratios > 0) & ratios.isfinite()).all():
        raise ValueError("ratio must hold numbers above 0, at least one")
    if not 0 < check_finite("chance", chance) <= 1:
        raise ValueError(f"chance is {chance}; it must lie above 0 and not above 1")

    old = torch.full((ratios.numel(), 1), math.log(chance), dtype=torch.float64)
    advantages = torch.full((ratios.numel(),), check_finite("advantage", advantage), dtype=torch.float64)
    everything = torch.ones_like(old, dtype=torch.bool)
    weights = loss_weights(old + ratios.reshape(-1, 1).log(), old, advantages, everything, kind, clip, gate)
    possible = ratios * chance <= 1 + 1e-12
    return torch.where(possible, weights.view(ratios.shape), math.nan)
