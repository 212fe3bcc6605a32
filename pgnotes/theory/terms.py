"""What one token adds to a surrogate loss, under every method of the family (lessons 03, 07 and 10).

All take logp, logp_old, advantages [B, T], a boolean mask [B, T] and a clip, and return terms [B, T] to be minimised.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

Clip = float | tuple[float, float]
LOG_RATIO_LIMIT = 20.0  # nats: a ratio of 5e8, far outside any band
GATE = (1.0, 1.05)  # SAPO's temperatures where A > 0, and where not


def clip_range(clip: Clip) -> tuple[float, float]:
    """The (lower, upper) distance from 1 at which a ratio is clipped; a single number serves both sides.

    ValueError for anything else.
    """
    pair = tuple(clip) if isinstance(clip, tuple | list) else (clip, clip)
    is_pair = len(pair) == 2 and all(isinstance(side, Real) for side in pair)
    if not is_pair or not (0 <= pair[0] <= 1 and pair[1] >= 0):
        raise ValueError(f"clip is {clip!r}; it must be ε, or a pair (low, high), with 0 <= low <= 1 and high >= 0")
    return pair


def gate_range(gate: tuple[float, float]) -> tuple[float, float]:
    """SAPO's two temperatures, if they are two numbers above 0.

    ValueError for anything else.
    """
    is_pair = isinstance(gate, tuple | list) and len(gate) == 2 and all(isinstance(side, Real) for side in gate)
    if not is_pair or not all(0 < side < float("inf") for side in gate):
        raise ValueError(f"gate is {gate!r}; it must be two temperatures above 0, for A > 0 and for the rest")
    return tuple(gate)


def ratio_of(log_ratio: Tensor) -> Tensor:
    """exp of a log-ratio, which is held within ±`LOG_RATIO_LIMIT`.

    Beyond, a ratio would overflow single precision, and its slope is 0 here.
    """
    return torch.exp(log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))


def reinforce_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-A log π, whose gradient is REINFORCE's (lesson 03; Williams 1992). All [B, T]."""
    return -advantages * logp


# one ratio a token


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


def sapo_terms(
    logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip, gate: tuple[float, float] = GATE
) -> Tensor:
    """-(4/τ) σ(τ(r-1)) A: a gate that closes smoothly where PPO's clip is a switch (lesson 10; SAPO, 2511.20347).

    The gradient is PPO's unclipped one times 4σ(1-σ): 1 at ratio 1, less on *both* sides of it.
    All [B, T]; no clip.  gate: τ where A > 0, and where not, the larger one, which closes faster.
    """
    rising, falling = gate_range(gate)
    temperature = torch.full_like(advantages, falling).masked_fill(advantages > 0, rising)
    opened = torch.sigmoid(temperature * (ratio_of(logp - logp_old) - 1))
    return -4 / temperature * opened * advantages


def dppo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-M r A, where M is 0 once the token's *probability* has moved too far (lesson 10; DPPO, 2602.04879).

    Too far: π - π_old above `high` where A > 0, π_old - π above `low` where A < 0. |π - π_old| is the total variation
    between the two policies if all other tokens count as one ("binary TV"), so the trust region needs no other token's
    probability. A step back into it is never masked.
    All [B, T].  clip: in units of probability.
    """
    low, high = clip_range(clip)
    moved = (logp.exp() - logp_old.exp()).detach()
    inside = torch.where(advantages > 0, moved <= high, moved >= -low)
    return torch.where(inside, -ratio_of(logp - logp_old) * advantages, 0.0)


# one ratio a sequence


def gspo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """PPO's terms with one ratio a sequence, the geometric mean of its tokens' (Zheng et al. 2025, eq. 5-7).

    All [B, T].
    """
    ratio = ratio_of(mean_over_tokens(logp - logp_old, mask)).expand_as(logp)
    return clipped_terms(ratio, advantages, clip)


def gmpo_terms(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor, clip: Clip) -> Tensor:
    """-A times the geometric mean of *clipped* ratios, each token's by itself (lesson 10; GMPO, 2507.20673).

    Clipped in logarithms, and on PPO's side alone: log r <= high where A > 0, log r >= -low where A < 0. A clipped
    token passes no gradient; the others of its sequence still do.
    All [B, T], every token with its sequence's term: average them with "sequence".  clip: in nats; the paper has 0.4.
    """
    low, high = clip_range(clip)
    log_ratio = logp - logp_old
    clipped = torch.where(advantages > 0, log_ratio.clamp(max=high), log_ratio.clamp(min=-low))
    return -ratio_of(mean_over_tokens(clipped, mask)) * advantages


def mean_over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over a sequence's live tokens, [B, 1]; 0 if there is none. values, mask: [B, T]."""
    return torch.where(mask, values, 0.0).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)


KINDS: dict[str, Callable[..., Tensor]] = {
    "reinforce": reinforce_terms,
    "ppo": ppo_terms,
    "cispo": cispo_terms,
    "sapo": sapo_terms,
    "dppo": dppo_terms,
    "gspo": gspo_terms,
    "gmpo": gmpo_terms,
}
