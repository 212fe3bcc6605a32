"""Surrogate losses, KL estimators, and how per-token terms become one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_booleans, check_choice, check_count, check_numbers

Clip = float | tuple[float, float]
LOG_RATIO_LIMIT = 20.0  # nats: a ratio of 5e8, far outside any band
AGGREGATES = ("token", "sequence", "sum", "dr_grpo")
ENTROPY_SCALES = ("constant", "inverse_variance", "variance")
LARGEST_VARIANCE = 0.25  # of rewards between 0 and 1: half of them 0, half 1
MOST_SCALED = 4.0  # times, up and down


def clip_range(clip: Clip) -> tuple[float, float]:
    """The (lower, upper) distance from 1 at which a ratio is clipped; a single number serves both sides.

    ValueError for anything else.
    """
    pair = tuple(clip) if isinstance(clip, tuple | list) else (clip, clip)
    is_pair = len(pair) == 2 and all(isinstance(side, Real) for side in pair)
    if not is_pair or not (0 <= pair[0] <= 1 and pair[1] >= 0):
        raise ValueError(f"clip is {clip!r}; it must be ε, or a pair (low, high), with 0 <= low <= 1 and high >= 0")
    return pair


def ratio_of(log_ratio: Tensor) -> Tensor:
    """exp of a log-ratio, which is held within ±`LOG_RATIO_LIMIT`.

    Beyond, a ratio would overflow single precision, and its slope is 0 here.
    """
    return torch.exp(log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))


def reinforce_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-A log π, whose gradient is REINFORCE's (lesson 03; Williams 1992). All [B, T]."""
    return -advantages * logp


def ppo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-min(rA, clip(r, 1-low, 1+high) A) with r = π/π_old for each token (lesson 07; Schulman et al. 2017, eq. 7).

    All [B, T].
    """
    return clipped_terms(ratio_of(logp - logp_old), advantages, clip)


def clipped_terms(ratio: Tensor, advantages: Tensor, clip: Clip) -> Tensor:
    """-min(rA, clip(r, 1-low, 1+high) A), elementwise."""
    low, high = clip_range(clip)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def cispo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-stopgrad(min(r, 1+high)) A log π: the weight is clipped, never the gradient (MiniMax 2025, eq. 4-5).

    All [B, T].
    """
    _, high = clip_range(clip)
    weight = ratio_of(logp - logp_old).clamp(max=1 + high)
    return -weight.detach() * advantages * logp


def gspo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """PPO's terms with one ratio a sequence, the geometric mean of its tokens' (Zheng et al. 2025, eq. 5-7).

    All [B, T].
    """
    log_ratio = torch.where(mask, logp - logp_old, 0.0).sum(-1, keepdim=True)
    length = mask.sum(-1, keepdim=True).clamp(min=1)
    ratio = ratio_of(log_ratio / length).expand_as(logp)
    return clipped_terms(ratio, advantages, clip)


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Clip], Tensor]] = {
    "reinforce": reinforce_terms,
    "ppo": ppo_terms,
    "cispo": cispo_terms,
    "gspo": gspo_terms,
}


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
) -> Tensor:
    """A scalar whose gradient is minus the policy gradient's estimate (lessons 03, 07, 08).

    Minimise it, but don't read it.
    logp, logp_old: [B, T] log-probabilities in nats of the sampled tokens, now and when they were sampled.
    advantages: [B] or [B, T].  mask: [B, T] bool, True on tokens the policy chose, the end token included.
    kind: one of `KINDS`.  clip: ε or (low, high).  aggregate: see `aggregate`; `length` is for "dr_grpo".
    Computes in the dtype of `logp`.  Values where the mask is False are never looked at.
    ValueError, naming the argument, for shapes that differ or are empty, a mask that is neither boolean nor of 1 and 0,
    numbers on live tokens that are not finite, an unknown kind or aggregate, a clip out of range.
    """
    check_choice("kind", kind, KINDS)
    check_choice("aggregate", aggregate, AGGREGATES)
    clip_range(clip)
    mask = check_mask("logp", logp, mask)
    check_numbers("logp_old", logp_old, logp.shape)
    check_numbers("advantages", advantages, logp.shape, logp.shape[:1])

    if advantages.dim() == 1:  # one for each sequence, the same for all of its tokens
        advantages = advantages[:, None].expand_as(logp)
    logp, logp_old = live_only("logp", logp, mask), live_only("logp_old", logp_old, mask)
    advantages = live_only("advantages", advantages, mask)

    per_token = KINDS[kind](logp, logp_old, advantages, mask, clip)
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


def kl_estimate(logp: Tensor, logp_ref: Tensor, kind: str) -> Tensor:
    """Estimate of KL(π ‖ reference) from samples of π, elementwise, in nats (lesson 09; Schulman 2020).

    With d = logp_ref - logp: "k1" -d, unbiased · "k2" d²/2, biased, never negative · "k3" eᵈ - 1 - d, unbiased and
    never negative (J. Schulman, "Approximating KL divergence"). As *losses* the three have different gradients: claim
    C14.
    ValueError, naming the argument, for an unknown kind, shapes that differ or are empty, and NaN; a token that the
    reference never chooses, -inf, passes, and its estimate is infinite.
    """
    check_choice("kind", kind, KL_KINDS)
    check_numbers("logp", logp)
    check_numbers("logp_ref", logp_ref, logp.shape)
    for name, values in (("logp", logp), ("logp_ref", logp_ref)):
        if values.isnan().any():
            raise ValueError(f"{name} holds NaN")
    return KL_KINDS[kind](logp_ref - logp)


def sampler_weights(logp: Tensor, logp_sampler: Tensor, mask: Tensor, cap: float) -> Tensor:
    """min(π/π_sampler, cap) for each token: what a sample is worth that another distribution drew (lesson 09).

    Truncated importance sampling (Ionides 2008; for tokens of a faster sampler Yao et al. 2025): without the cap the
    weighted mean is the policy's own, and one token may outweigh all others; with it the variance is bounded and what
    the sampler draws too rarely counts too little.
    logp, logp_sampler: [B, T] log-probabilities in nats under the policy and under what drew them.  mask: [B, T] bool.
    cap: above 0.  Returns [B, T], 0 where the mask is False; no gradient flows through it.  ValueError, naming the
    argument, for anything else.
    """
    if not 0 < cap < math.inf:
        raise ValueError(f"cap is {cap}; it must be greater than 0")
    mask = check_mask("logp", logp, mask)
    check_numbers("logp_sampler", logp_sampler, logp.shape)
    gap = live_only("logp", logp.detach(), mask) - live_only("logp_sampler", logp_sampler, mask).detach()
    return torch.where(mask, gap.clamp(max=math.log(cap)).exp(), 0.0)


def entropy_weight(rewards: Tensor, bonus: float, scale: str = "constant") -> float:
    """The weight of an entropy bonus in a step with these rewards (lesson 09's claim C13).

    rewards: any shape, between 0 and 1.  bonus: the weight, in units of reward a nat, where half of them are 0 and half
    are 1.  scale: "constant"; "inverse_variance", bonus · ¼ / variance; "variance", bonus · variance / ¼. Both are
    clamped to a quarter and to four times the bonus, since rewards that are all alike have no variance.
    ValueError, naming the argument, for anything else.
    """
    check_choice("scale", scale, ENTROPY_SCALES)
    check_between("bonus", bonus, 0, math.inf)
    if scale == "constant":
        return bonus
    variance = check_numbers("rewards", rewards).double().var(correction=0).item() / LARGEST_VARIANCE
    times = variance if scale == "variance" else 1 / max(variance, 1 / MOST_SCALED)
    return bonus * min(max(times, 1 / MOST_SCALED), MOST_SCALED)
