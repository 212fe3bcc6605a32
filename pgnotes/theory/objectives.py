"""Surrogate losses, KL estimators, and how per-token terms become one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Clip = float | tuple[float, float]
AGGREGATES = ("token", "sequence", "sum", "dr_grpo")


def clip_range(clip: Clip) -> tuple[float, float]:
    """The (lower, upper) distance from 1 at which a ratio is clipped; a single number serves both sides."""
    low, high = clip if isinstance(clip, tuple | list) else (clip, clip)
    if not (0 <= low <= 1 and high >= 0):
        raise ValueError(f"clip is {clip!r}; it must be ε, or a pair (low, high), with 0 <= low <= 1 and high >= 0")
    return low, high


def reinforce_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-A log π, whose gradient is REINFORCE's (lesson 03; Williams 1992). All [B, T]."""
    return -advantages * logp


def ppo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-min(rA, clip(r, 1-low, 1+high) A) with r = π/π_old for each token (lesson 07; Schulman et al. 2017, eq. 7). All [B, T]."""
    low, high = clip_range(clip)
    ratio = torch.exp(logp - logp_old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def cispo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-stopgrad(min(r, 1+high)) A log π: the weight is clipped, never the gradient (lesson 08; MiniMax 2025, eq. 4-5). All [B, T]."""
    weight = torch.exp(logp - logp_old).clamp(max=1 + clip_range(clip)[1])
    return -weight.detach() * advantages * logp


def gspo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """PPO's terms with one ratio a sequence, the geometric mean of its tokens' (lesson 08; Zheng et al. 2025, eq. 5-7). All [B, T]."""
    low, high = clip_range(clip)
    difference = torch.where(mask, logp - logp_old, 0.0)
    ratio = torch.exp(difference.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)).expand_as(logp)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


KINDS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Clip], Tensor]] = {
    "reinforce": reinforce_terms,
    "ppo": ppo_terms,
    "cispo": cispo_terms,
    "gspo": gspo_terms,
}


def denominator(mask: Tensor, how: str, length: int | None = None) -> float:
    """What `aggregate` divides by for a whole batch; fix it once a step, then micro-batches of any size give the same gradient.

    mask: [B, T] bool.  "token": live tokens · "sequence", "sum": B · "dr_grpo": B times `length` (T if not given).
    """
    if how not in AGGREGATES:
        raise ValueError(f"aggregate is {how!r}; it must be one of {', '.join(AGGREGATES)}")
    batch, width = mask.shape
    counts = {"token": mask.sum().item(), "sequence": batch, "sum": batch, "dr_grpo": batch * (width if length is None else length)}
    return float(counts[how])


def aggregate(per_token: Tensor, mask: Tensor, how: str, normaliser: float | None = None) -> Tensor:
    """One number from per-token terms: their sum over live tokens divided by `denominator(mask, how)` (lesson 08, claim C18).

    per_token, mask: [B, T].  "sequence" first averages each sequence over its own tokens (GRPO's 1/|o|, Shao et al. 2024, eq. 3);
    "dr_grpo" divides by a constant (Liu et al. 2025).  normaliser: divide by this instead.  ValueError for an unknown `how`.
    """
    live = torch.where(mask, per_token, 0.0).sum(-1)
    if how == "sequence":
        live = live / mask.sum(-1).clamp(min=1)
    return live.sum() / max(denominator(mask, how) if normaliser is None else normaliser, 1.0)


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
    """A scalar whose gradient is minus the policy gradient's estimate: minimise it, but don't read it (lessons 03, 07, 08).

    logp, logp_old: [B, T] log-probabilities in nats of the sampled tokens, now and when they were sampled.  advantages: [B] or [B, T].
    mask: [B, T] bool, True on tokens the policy chose, the end token included.  kind: one of `KINDS`.
    clip: ε or (low, high).  aggregate: see `aggregate`; `length` is for "dr_grpo".  Computes in the dtype of `logp`.
    ValueError for shapes that differ, an unknown kind or aggregate, a clip out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    check_shapes(logp, logp_old, advantages, mask)
    spread = advantages if advantages.dim() == 2 else advantages[:, None].expand_as(logp)
    per_token = KINDS[kind](logp, logp_old, spread, mask, clip)
    divisor = denominator(mask, aggregate, length) if normaliser is None else normaliser
    return _aggregate(per_token, mask, aggregate, divisor)


_aggregate = aggregate  # `policy_loss` has an argument of that name


def check_shapes(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor) -> None:
    """ValueError, naming the argument, unless all shapes fit `logp` [B, T] and the mask is boolean."""
    if logp.dim() != 2:
        raise ValueError(f"logp has shape {list(logp.shape)}; it must be [B, T]")
    for name, tensor, shapes in (("logp_old", logp_old, [logp.shape]), ("mask", mask, [logp.shape]), ("advantages", advantages, [logp.shape, logp.shape[:1]])):
        if tensor.shape not in shapes:
            raise ValueError(f"{name} has shape {list(tensor.shape)}; with logp {list(logp.shape)} it must be {' or '.join(str(list(s)) for s in shapes)}")
    if mask.dtype != torch.bool:
        raise ValueError(f"mask has dtype {mask.dtype}; it must be torch.bool")


KL_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "k1": lambda d: -d,
    "k2": lambda d: d**2 / 2,
    "k3": lambda d: torch.expm1(d) - d,
}


def kl_estimate(logp: Tensor, logp_ref: Tensor, kind: str) -> Tensor:
    """Estimate of KL(π ‖ reference) from samples of π, elementwise, in nats (lesson 08; Schulman, "Approximating KL divergence").

    With d = logp_ref - logp: "k1" -d, unbiased · "k2" d²/2, biased, never negative · "k3" eᵈ - 1 - d, unbiased and never negative.
    As *losses* the three have different gradients: claim C14.  ValueError for an unknown kind or shapes that differ.
    """
    if kind not in KL_KINDS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KL_KINDS)}")
    if logp.shape != logp_ref.shape:
        raise ValueError(f"logp_ref has shape {list(logp_ref.shape)}; it must be that of logp, {list(logp.shape)}")
    return KL_KINDS[kind](logp_ref - logp)
