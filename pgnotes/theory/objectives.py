"""Surrogate losses, KL estimators, and how per-token terms become one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_booleans,
    check_choice,
    check_count,
    check_finite,
    check_numbers,
)
from pgnotes.theory.terms import GATE, KINDS, Clip, clip_range, gate_range, ratio_of

AGGREGATES = ("token", "sequence", "sum", "dr_grpo")
ENTROPY_SCALES = ("constant", "inverse_variance", "variance")
LARGEST_VARIANCE = 0.25  # of rewards between 0 and 1: half of them 0, half 1
MOST_SCALED = 4.0  # times, up and down


def denominator(mask: Tensor, how: str, length: int | None = None) -> float:
    """What `aggregate` divides by for a whole batch.

    Fix it once a step, then micro-batches of any size give the same gradient.
    mask: [B, T] bool, or 1 and 0.  how: "token" gives the number of live tokens · "sequence" and "sum" B · "dr_grpo" B
    times `length` (T if not given).
    ValueError, naming the argument, for another kind of mask, an unknown `how`, or a length that is no whole number
    above 0.
    """
    check_choice("how", how, AGGREGATES)
    mask = check_booleans("mask", mask)
    if mask.dim() != 2:
        raise ValueError(f"mask has shape {list(mask.shape)}; it must be [B, T]")
    batch, width = mask.shape
    length = width if length is None else check_count("length", length)
    counts = {"token": mask.sum().item(), "sequence": batch, "sum": batch, "dr_grpo": batch * length}
    return float(counts[how])


def aggregate(per_token: Tensor, mask: Tensor, how: str, normaliser: float | None = None) -> Tensor:
    """One number from per-token terms: their sum over live tokens by `denominator(mask, how)` (lesson 08, claim C18).

    per_token, mask: [B, T].  "sequence" first averages each sequence over its own tokens (GRPO's 1/|o|, Shao et al.
    2024, eq. 3); "dr_grpo" divides by a constant (Liu et al. 2025).  normaliser: divide by this instead; by 1 if there
    is nothing to divide by.
    Terms that are not finite are added up like any other, dead ones never.  ValueError, naming the argument, for shapes
    that differ or are empty, a mask that is neither boolean nor of 1 and 0, an unknown `how`, a normaliser below 0.
    """
    mask = check_mask("per_token", per_token, mask)
    check_choice("how", how, AGGREGATES)
    if normaliser is None:
        normaliser = denominator(mask, how)
    normaliser = check_between("normaliser", normaliser, 0.0, float("inf"))

    per_sequence = torch.where(mask, per_token, 0.0).sum(-1)
    if how == "sequence":
        per_sequence = per_sequence / mask.sum(-1).clamp(min=1)
    return per_sequence.sum() / (normaliser or 1.0)


def policy_loss(
    logp: Tensor,
    logp_old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    kind: str,
    clip: Clip = 0.2,
    aggregate: str = "token",
    normaliser: float | None = None,
    length: int | None = None,
    gate: tuple[float, float] = GATE,
) -> Tensor:
    """A scalar whose gradient is minus the policy gradient's estimate (lessons 03, 07, 10).

    Minimise it, but don't read it.
    logp, logp_old: [B, T] log-probabilities in nats of the sampled tokens, now and when they were sampled.
    advantages: [B] or [B, T].  mask: [B, T] bool, True on tokens the policy chose, the end token included.
    kind: one of `KINDS`; "gspo" under aggregate "sum" is LUSPO (2602.05261).  clip: ε or (low, high), around a ratio of
    1; of "gmpo" around 0 nats, of "dppo" around the old probability.  gate: the temperatures of "sapo".
    aggregate: see `aggregate`; `length` is for "dr_grpo".
    Computes in the dtype of `logp`.  Values where the mask is False are never looked at.
    ValueError, naming the argument, for shapes that differ or are empty, a mask that is neither boolean nor of 1 and 0,
    numbers on live tokens that are not finite, an unknown kind or aggregate, a clip or gate out of range.
    """
    check_choice("kind", kind, KINDS)
    check_choice("aggregate", aggregate, AGGREGATES)
    clip_range(clip)
    gate_range(gate)
    mask = check_mask("logp", logp, mask)
    check_numbers("logp_old", logp_old, logp.shape)
    check_numbers("advantages", advantages, logp.shape, logp.shape[:1])

    if advantages.dim() == 1:  # one for each sequence, the same for all of its tokens
        advantages = advantages[:, None].expand_as(logp)
    logp, logp_old = live_only("logp", logp, mask), live_only("logp_old", logp_old, mask)
    advantages = live_only("advantages", advantages, mask)

    own = {"gate": gate} if kind == "sapo" else {}
    per_token = KINDS[kind](logp, logp_old, advantages, mask, clip, **own)
    if normaliser is None:
        normaliser = denominator(mask, aggregate, length)
    return _aggregate(per_token, mask, aggregate, normaliser)


_aggregate = aggregate  # `policy_loss` has an argument of that name


def check_mask(name: str, values: Any, mask: Any) -> Tensor:
    """The mask as booleans.

    ValueError, naming the argument, unless `values` is a tensor [B, T] of numbers and `mask` one of the same shape.
    """
    if check_numbers(name, values).dim() != 2:
        raise ValueError(f"{name} has shape {list(values.shape)}; it must be [B, T]")
    return check_booleans("mask", mask, values.shape)


def live_only(name: str, values: Tensor, mask: Tensor) -> Tensor:
    """`values` with 0 on dead places, through which no NaN then reaches the loss or its gradient.

    ValueError if a live one is not finite.
    """
    live = torch.where(mask, values, 0.0)
    if not live.isfinite().all():
        raise ValueError(f"{name} holds a number that is not finite on a live token")
    return live


def k2(d: Tensor) -> Tensor:
    """d²/2."""
    limit = torch.finfo(d.dtype).max ** 0.25
    return with_tangents(lambda x: x**2 / 2, lambda x: x, d, limit)


def k3(d: Tensor) -> Tensor:
    """eᵈ - 1 - d."""
    limit = math.log(torch.finfo(d.dtype).max) - 1.0
    return with_tangents(lambda x: torch.expm1(x) - x, torch.expm1, d, limit)


def with_tangents(function: Callable, slope: Callable, d: Tensor, limit: float) -> Tensor:
    """`function(d)` from -limit to limit, and its tangents beyond, whose slope is finite.

    A dead place, however far away, then has 0 times a number for a gradient, and not 0 times infinity, which is NaN.
    """
    inside = d.clamp(-limit, limit)
    return function(inside) + (d - inside) * slope(inside)


KL_KINDS: dict[str, Callable[[Tensor], Tensor]] = {"k1": torch.neg, "k2": k2, "k3": k3}


def kl_estimate(logp: Tensor, logp_ref: Tensor, kind: str, logp_old: Tensor | None = None) -> Tensor:
    """Estimate of KL(π ‖ reference) from samples of π, elementwise, in nats (lesson 10; Schulman 2020).

    With d = logp_ref - logp: "k1" -d, unbiased · "k2" d²/2, biased, never negative · "k3" eᵈ - 1 - d, unbiased and
    never negative (J. Schulman, "Approximating KL divergence"). As *losses* the three have different gradients: claim
    C14.
    logp_old: under what the samples were drawn; each estimate is then weighed with the ratio π/π_old, gradient and all,
    so that for one decision "k1" and "k3" have the gradient of KL(π ‖ reference), wherever π has moved to
    (DeepSeek-V3.2, 2512.02556).
    ValueError, naming the argument, for an unknown kind, shapes that differ or are empty, and NaN; a token that the
    reference never chooses, -inf, passes, and its estimate is infinite.
    """
    check_choice("kind", kind, KL_KINDS)
    check_numbers("logp", logp)
    check_numbers("logp_ref", logp_ref, logp.shape)
    given = {"logp": logp, "logp_ref": logp_ref}
    if logp_old is not None:
        given["logp_old"] = check_numbers("logp_old", logp_old, logp.shape)
    for name, values in given.items():
        if values.isnan().any():
            raise ValueError(f"{name} holds NaN")

    estimate = KL_KINDS[kind](logp_ref - logp)
    return estimate if logp_old is None else ratio_of(logp - logp_old) * estimate


def entropy_weight(rewards: Tensor, bonus: float, scale: str = "constant") -> float:
    """The weight of an entropy bonus in a step with these rewards (lesson 09's claim C13).

    rewards: any shape, between 0 and 1.  bonus: the weight, in units of reward a nat, where half of them are 0 and half
    are 1; below 0 it is being sure that is paid for.  scale: "constant"; "inverse_variance", bonus · ¼ / variance;
    "variance", bonus · variance / ¼. Both are clamped to a quarter and to four times the bonus, since rewards that are
    all alike have no variance.
    ValueError, naming the argument, for anything else.
    """
    check_choice("scale", scale, ENTROPY_SCALES)
    check_finite("bonus", bonus)
    if scale == "constant":
        return bonus
    variance = check_numbers("rewards", rewards).double().var(correction=0).item() / LARGEST_VARIANCE
    times = variance if scale == "variance" else 1 / max(variance, 1 / MOST_SCALED)
    return bonus * min(max(times, 1 / MOST_SCALED), MOST_SCALED)
