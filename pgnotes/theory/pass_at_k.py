"""At least one of k: estimating it without bias, what its gradient weighs, and what it keeps alive (lesson 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_array, check_between, check_count, check_positive

SOLVES = ((0.9, 0.0), (0.3, 0.3))  # strategy A solves the first prompt at .9 and the second never; B both at .3


def pass_at_k(n: int, right: Any, k: int) -> Tensor:
    """1 - C(n-c, k) / C(n, k), pass@k without bias from n samples of which c are right (lesson 10; Chen et al. 2021).

    The share of all sets of k of these samples that hold a right one; 1 - (1 - c/n)^k would draw one sample twice, and
    is too small on average. As a product of k factors below 1, so that nothing overflows.
    n: at least k.  right: c, whole numbers from 0 to n, any shape.  k: at least 1.  Returns float64 in c's shape.
    ValueError naming the argument.
    """
    n, k = check_count("n", n), check_count("k", k)
    if k > n:
        raise ValueError(f"k is {k}; of {n} samples at most {n} can be taken")
    counts = check_array("right", right)
    if not ((counts >= 0) & (counts <= n) & (counts == counts.round())).all():
        raise ValueError(f"right must hold whole numbers from 0 to n = {n}")

    # C(n-c, k) / C(n, k) = Π_{i < k} (n - c - i) / (n - i), and 0 from the first factor that is not above 0
    drawn = torch.arange(k, dtype=torch.float64)
    factors = (n - counts[..., None] - drawn).clamp(min=0) / (n - drawn)
    return 1 - factors.prod(-1)


def pass_rate_of_k(rate: Any, k: int) -> Tensor:
    """1 - (1-p)^k: how likely one of k samples is right, each with the chance p. rate: in [0, 1], any shape."""
    return 1 - (1 - check_rates(rate)) ** check_count("k", k)


def pass_at_k_weight(rate: Any, k: int) -> Tensor:
    """k (1-p)^(k-1), which ∇pass@k is times ∇p: large where little is solved (lesson 10; 2508.10751).

    rate: p in [0, 1], any shape.  k: at least 1, where it is 1 everywhere.
    """
    return check_count("k", k) * (1 - check_rates(rate)) ** (k - 1)


class Climb(NamedTuple):
    """Where the ascent of pass@k stands: P(A), and the pass rate of each prompt [2]."""

    share: float
    rates: Tensor


def shared_rates(share: Any) -> Tensor:
    """Pass rates of two prompts that share one choice of strategy, A with chance `share`, else B (lesson 10, C86).

    Every sample chooses anew. share: in [0, 1], any shape.  Returns [..., 2]; see `SOLVES`.
    """
    with_a, with_b = torch.tensor(SOLVES, dtype=torch.float64)
    share = check_rates(share, "share")[..., None]
    return share * with_a + (1 - share) * with_b


def climb(k: int, share: float = 0.5, step_size: float = 1.0) -> Iterator[Climb]:
    """Ascent of the two prompts' mean pass@k along its exact gradient in the logit of A, without end (lesson 10, C86).

    k: 1 is what RL climbs.  share: P(A) to start with, in (0, 1).
    """
    check_count("k", k)
    if not 0 < check_between("share", share, 0.0, 1.0) < 1:
        raise ValueError(f"share is {share}; it must lie strictly between 0 and 1")
    step_size = check_positive("step_size", step_size)
    with_a, with_b = torch.tensor(SOLVES, dtype=torch.float64)

    logit = torch.logit(torch.tensor(share, dtype=torch.float64))
    while True:
        chance = logit.sigmoid()
        rates = shared_rates(chance)
        yield Climb(chance.item(), rates)
        slope = chance * (1 - chance) * (with_a - with_b)  # of each prompt's rate, by the logit
        logit = logit + step_size * (pass_at_k_weight(rates, k) * slope).mean()


def check_rates(rate: Any, name: str = "rate") -> Tensor:
    """Rates as a float64 tensor.  ValueError, naming the argument, unless all lie between 0 and 1."""
    rates = check_array(name, rate)
    if not ((rates >= 0) & (rates <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1")
    return rates
