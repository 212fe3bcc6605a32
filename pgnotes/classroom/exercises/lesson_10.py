"""Lesson 10's exercises: the weight of a token, what a leash does to it, a truncated weight, pass@k; two suspects."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise, as_tensor, same
from pgnotes.theory.mismatch import sampler_weights
from pgnotes.theory.objectives import kl_estimate, policy_loss
from pgnotes.theory.ppo import silenced

# Section 7 trains with both of these; don't look before you have decided. Each is given the log-probabilities of a
# batch's tokens as the trainer scored them before its update, and as the sampler reported them, and returns the ones
# that go under the ratio.


def x(by_trainer: Tensor, by_sampler: Tensor) -> Tensor:
    """What is old."""
    return by_sampler


def y(by_trainer: Tensor, by_sampler: Tensor) -> Tensor:
    """What is old."""
    return by_trainer


SUSPECTS = {"X": x, "Y": y}

OUT = torch.tensor([0.5, 1.1, 1.5, 1.6], dtype=torch.float64)  # geometric mean 1.07, inside a band of 0.2
FAR = torch.tensor([1.6, 1.4, 1.05, 0.7], dtype=torch.float64)  # 1.13, above a band of 0.1
LOW = torch.tensor([0.4, 0.9, 1.3], dtype=torch.float64)  # 0.78, below a band of 0.2
LOGP = torch.tensor([-0.5, -1.2, -0.3, -2.0, -0.9], dtype=torch.float64)
LOGP_REF = torch.tensor([-0.9, -1.0, -0.3, -0.5, -2.4], dtype=torch.float64)
NOW = torch.tensor([[-0.5, -1.2, -0.3], [-0.9, -0.2, -2.0], [-1.5, -0.7, -0.1]], dtype=torch.float64)
DRAWN = torch.tensor([[-0.7, -1.0, -2.3], [-1.1, -0.9, -0.4], [-0.8, -1.9, -0.6]], dtype=torch.float64)
WORTH = torch.tensor([[1.0, 1.0, 1.0], [-0.5, -0.5, -0.5], [2.0, 2.0, 2.0]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])


def geometric_mean(ratios: Tensor) -> Tensor:
    """The same for all tokens: the T-th root of their product."""
    return ratios.log().mean().exp().expand_as(ratios)


def held(ratios: Tensor, advantage: float, clip: float) -> Tensor:
    """rA, and 0 where the clip has silenced it."""
    worth = torch.full_like(ratios, advantage)
    return torch.where(silenced(ratios, worth, clip), 0.0, ratios * worth)


def capped(ratios: Tensor, advantage: float, clip: float) -> Tensor:
    """min(r, 1 + ε) A."""
    return ratios.clamp(max=1 + clip) * advantage


def three(ratios: Tensor, advantage: float, clip: float) -> Tensor:
    """The right answer of 10.1, [3, T], differentiated from the losses that the course trains with."""
    logp, rows = ratios.log()[None], []
    for kind in ("ppo", "cispo", "gspo"):
        leaf = logp.clone().requires_grad_()
        worth, mask = torch.full_like(logp, advantage), torch.ones_like(logp, dtype=torch.bool)
        loss = policy_loss(leaf, torch.zeros_like(logp), worth, mask, kind, clip, aggregate="sum")
        rows.append(-torch.autograd.grad(loss, leaf)[0][0])
    return torch.stack(rows)


def outside_is_zero(ratios: Tensor, advantage: float, clip: float) -> Tensor:
    """rA inside the band, 0 outside it, on either side."""
    return torch.where((ratios - 1).abs() > clip, 0.0, ratios * advantage)


def below_only(ratios: Tensor, advantage: float, clip: float) -> Tensor:
    """rA up to 1 + ε, 0 above it, whatever the sign of A."""
    return torch.where(ratios > 1 + clip, 0.0, ratios * advantage)


def rows_apart(case: tuple, value: Any) -> str | None:
    """What is wrong with an attempt at 10.1, and before it which of its rows are right; None if all are."""
    told, whole = weights.difference(case, value), as_tensor(value)
    if told is None or (whole is not None and (whole.ndim == 0 or len(whole) != 3)):
        return told
    if not isinstance(value, list | tuple) and whole is None:
        return told
    rows = dict(zip(("PPO", "CISPO", "GSPO"), map(as_tensor, value if whole is None else whole), strict=False))
    single = [name for name, row in rows.items() if row is not None and row.numel() == 1]
    if whole is None and single:
        return f"{single[0]}'s row is one number; each of the T tokens has an entry: `.expand_as(ratios)`."
    right = [name for (name, row), wanted in zip(rows.items(), three(*case), strict=False) if same(row, wanted, 1e-5)]
    return f"In this case {' and '.join(right)} {'is' if len(right) == 1 else 'are'} right. {told}" if right else told


weights = Exercise(
    "10.1",
    "Write weights(ratios, advantage, clip)",
    three,
    ((OUT, 1.0, 0.2), (OUT, -1.0, 0.2), (FAR, 2.0, 0.1), (LOW, -1.0, 0.2), (LOW, 1.0, 0.2)),
    {
        "two-sided clip": (
            lambda r, a, e: torch.stack(
                [outside_is_zero(r, a, e), capped(r, a, e), outside_is_zero(geometric_mean(r), a, e)]
            ),
            "Your clip silences both sides of the band. A ratio that A would bring back keeps its weight: silent is "
            "above the band for A > 0, below it for A < 0 (lesson 07).",
        ),
        "PPO two-sided": (
            lambda r, a, e: torch.stack([outside_is_zero(r, a, e), capped(r, a, e), held(geometric_mean(r), a, e)]),
            "PPO's row silences both sides of the band. A ratio that A would bring back keeps its weight: silent is "
            "above the band for A > 0, below it for A < 0 (lesson 07).",
        ),
        "upper limit for both signs": (
            lambda r, a, e: torch.stack([below_only(r, a, e), capped(r, a, e), below_only(geometric_mean(r), a, e)]),
            "You silence what is above 1 + ε whatever the sign of A. With A < 0 a ratio above is being brought back, "
            "and the limit is 1 − ε, below.",
        ),
        "clamped, not silenced": (
            lambda r, a, e: torch.stack(
                [r.clamp(1 - e, 1 + e) * a, capped(r, a, e), geometric_mean(r).clamp(1 - e, 1 + e) * a]
            ),
            "PPO's and GSPO's rows are the clamped ratio times A: a value, not a slope. Where the clamp holds the "
            "objective its slope is 0, and on the side that A would bring back the min takes the ratio itself.",
        ),
        "clipped by the token": (
            lambda r, a, e: torch.stack(
                [held(r, a, e), capped(r, a, e), torch.where(held(r, a, e) == 0, 0.0, geometric_mean(r) * a)]
            ),
            "In GSPO's row each token's own ratio decides whether it is silent. There is one ratio for all: the "
            "sequence speaks or is silent as a whole.",
        ),
        "no advantage": (
            lambda r, a, e: three(r, a, e) / a,
            "The advantage is missing: it multiplies what the clip leaves, and its sign says which side is silent.",
        ),
        "of the loss": (
            lambda r, a, e: -three(r, a, e),
            "The sign is turned: that is the slope of the loss. Asked for is the objective's, which is climbed.",
        ),
        "GSPO by the length": (
            lambda r, a, e: torch.cat([three(r, a, e)[:2], three(r, a, e)[2:] / len(r)]),
            "GSPO's row is divided by T. Its objective here is T times the clipped ratio of the sequence, and each "
            "token moves the mean logarithm by 1/T: T and 1/T cancel.",
        ),
        "through the cap": (
            lambda r, a, e: torch.stack(
                [held(r, a, e), torch.where(r > 1 + e, 0.0, r * a), held(geometric_mean(r), a, e)]
            ),
            "CISPO's row is 0 above the cap, as if the capped ratio were differentiated. Its gradient is stopped: the "
            "cap is a number in front of log π, and the token keeps the weight (1 + ε) A.",
        ),
        "CISPO below too": (
            lambda r, a, e: torch.stack([held(r, a, e), r.clamp(1 - e, 1 + e) * a, held(geometric_mean(r), a, e)]),
            "You cap CISPO's weight from below as well. A ratio of 0.5 stays 0.5: only what is too loud is turned "
            "down.",
        ),
        "no root": (
            lambda r, a, e: torch.stack([held(r, a, e), capped(r, a, e), held(r.prod().expand_as(r), a, e)]),
            "GSPO's row has the product of the ratios. It takes the T-th root of it, their geometric mean; without "
            "the root the weight explodes with the length (lesson 07).",
        ),
        "arithmetic mean": (
            lambda r, a, e: torch.stack([held(r, a, e), capped(r, a, e), held(r.mean().expand_as(r), a, e)]),
            "GSPO's row has the arithmetic mean of the ratios. Its mean is the geometric one: average the logarithms.",
        ),
        "clipped value": (
            lambda r, a, e: torch.stack(
                [
                    torch.minimum(r * a, r.clamp(1 - e, 1 + e) * a),
                    capped(r, a, e),
                    torch.minimum(geometric_mean(r) * a, geometric_mean(r).clamp(1 - e, 1 + e) * a),
                ]
            ),
            "Those are the values of the clipped objectives. Asked for is their slope in log π: r A where r still "
            "moves the objective, and 0 where the clip holds it.",
        ),
        "slope in the ratio": (
            lambda r, a, e: three(r, a, e) / torch.stack([r, r, geometric_mean(r)]),
            "That is the slope in the ratio. A score is the slope of log π, and dr = r d log π: there is a factor r.",
        ),
        "divided by the length": (
            lambda r, a, e: three(r, a, e) / len(r),
            "You divide by the number of tokens. Leave the average out: what is asked for is the weight before it.",
        ),
    },
    "Three objectives of the family, and one question asked of each: how loudly does this token speak?",
    fault=rows_apart,
)

leash = Exercise(
    "10.2",
    "Write leash(logp, logp_ref)",
    lambda logp, ref: torch.stack(
        [
            torch.autograd.grad(kl_estimate(leaf := logp.clone().requires_grad_(), ref, kind).sum(), leaf)[0]
            for kind in ("k2", "k3")
        ]
    ),
    ((LOGP, LOGP_REF), (LOGP[:2], LOGP_REF[:2]), (LOGP_REF, LOGP)),
    {
        "values": (
            lambda p, r: torch.stack([kl_estimate(p, r, "k2"), kl_estimate(p, r, "k3")]),
            "Those are the estimates themselves. Asked for is what multiplies the score when they are a loss: their "
            "slope in log π.",
        ),
        "sign": (
            lambda p, r: torch.stack([r - p, torch.expm1(r - p)]),
            "The sign is turned: d falls as log π rises, so the slope in log π is minus the slope in d.",
        ),
        "sign of k2": (
            lambda p, r: torch.stack([r - p, -torch.expm1(r - p)]),
            "k3's row is right. In k2's the sign is turned: its slope is d in d, and −d in log π.",
        ),
        "sign of k3": (
            lambda p, r: torch.stack([p - r, torch.expm1(r - p)]),
            "k2's row is right. In k3's the sign is turned: the slope of eᵈ − 1 − d is eᵈ − 1 in d, and 1 − eᵈ in "
            "log π.",
        ),
        "upside down": (
            lambda p, r: torch.stack([p - r, -torch.expm1(p - r)]),
            "k3's row has the ratio upside down: d is log π_ref − log π, and eᵈ is π_ref / π.",
        ),
        "e to the minus d": (
            lambda p, r: torch.stack([p - r, torch.expm1(p - r)]),
            "Near 0 this is right, to first order. But eᵈ has d = log π_ref − log π, and the slope is 1 − eᵈ, not "
            "e⁻ᵈ − 1.",
        ),
        "one forgotten": (
            lambda p, r: torch.stack([p - r, -(r - p).exp()]),
            "In k3 you forgot the slope of −d itself, which is 1 in log π. Where both agree, a leash must not pull.",
        ),
        "no half": (
            lambda p, r: torch.stack([2 * (p - r), -torch.expm1(r - p)]),
            "k2 has a ½ in front of the square: its slope is d times −1, not −2d.",
        ),
        "swapped": (
            lambda p, r: torch.stack([-torch.expm1(r - p), p - r]),
            "The rows are swapped: k2 first, then k3.",
        ),
    },
    "k2 pulls in proportion to the log-ratio. k3 pulls at most 1 back from what has become likelier, and without "
    "limit towards what has become rarer.",
)


def truncated(logp: Tensor, drawn: Tensor, worth: Tensor, mask: Tensor, cap: float) -> Tensor:
    """The right answer of 10.3."""
    return weighted(sampler_weights(logp, drawn, mask, cap), logp, worth, mask)


def weighted(weight: Tensor, logp: Tensor, worth: Tensor, mask: Tensor) -> Tensor:
    """A loss: minus the mean over live tokens of weight times advantage times log π."""
    return -torch.where(mask, weight * worth * logp, 0.0).sum() / mask.sum()


def raw(logp: Tensor, drawn: Tensor) -> Tensor:
    """π / π_sampler, a number."""
    return (logp - drawn).detach().exp()


correction = Exercise(
    "10.3",
    "Write corrected_loss(logp, logp_sampler, advantages, mask, cap)",
    truncated,
    ((NOW, DRAWN, WORTH, MASK, 2.0), (NOW, DRAWN, WORTH, MASK, 1.2), (NOW[:2], DRAWN[:2], -WORTH[:2], MASK[:2], 0.7)),
    {
        "cap on the logarithm": (
            lambda p, s, a, m, c: weighted((p - s).detach().clamp(max=c).exp(), p, a, m),
            "You cap the *logarithm* of the weight, which lets weights up to e to the cap through. Cap the ratio.",
        ),
        "cap from below": (
            lambda p, s, a, m, c: weighted(raw(p, s).clamp(min=c), p, a, m),
            "Your cap is a floor: it raises small weights and leaves the large ones as they are. `clamp(max=cap)`.",
        ),
        "not detached": (
            lambda p, s, a, m, c: weighted((p - s).exp().clamp(max=c), p, a, m),
            "The weight is differentiated, too: it depends on log π. It is a number that says how much a sample "
            "counts; detach it.",
        ),
        "upside down": (
            lambda p, s, a, m, c: weighted(raw(s, p).clamp(max=c), p, a, m),
            "The ratio is upside down. What the sampler draws too often has to count less: policy over sampler.",
        ),
        "no cap": (
            lambda p, s, a, m, c: weighted(raw(p, s), p, a, m),
            "The cap is missing: one token that the sampler hardly ever draws may outweigh all others.",
        ),
        "masked above": (
            lambda p, s, a, m, c: weighted(torch.where(raw(p, s) > c, 0.0, raw(p, s)), p, a, m),
            "What lies above the cap has no gradient in your loss: it is dropped (the masked variant, IcePop), or the "
            "truncated ratio itself is differentiated. A truncated weight keeps the token, at the cap.",
        ),
        "capped on both sides": (
            lambda p, s, a, m, c: weighted(raw(p, s).clamp(1 / c, c), p, a, m),
            "You cap small weights as well, at 1/cap. A truncated weight has an upper end only.",
        ),
        "no mask": (
            lambda p, s, a, m, c: weighted(raw(p, s).clamp(max=c), p, a, torch.ones_like(m)),
            "Masked places are in your loss: they were never drawn. Add up live tokens, and divide by their number.",
        ),
        "divided by all": (
            lambda p, s, a, m, c: truncated(p, s, a, m, c) * m.double().mean(),
            "You add up live tokens and divide by all places. Divide by the number of live ones.",
        ),
        "a sum": (
            lambda p, s, a, m, c: truncated(p, s, a, m, c) * m.sum(),
            "You add up. Asked for is the mean over live tokens.",
        ),
        "sequence weight": (
            lambda p, s, a, m, c: weighted(
                torch.where(m, p - s, 0.0).detach().sum(1, keepdim=True).exp().clamp(max=c).expand_as(p), p, a, m
            ),
            "That is the whole sequence's weight, the unbiased one. Asked for is the token's: each its own ratio.",
        ),
        "own length": (
            lambda p, s, a, m, c: (
                -(torch.where(m, raw(p, s).clamp(max=c) * a * p, 0.0).sum(1) / m.sum(1)).sum() / len(m)
            ),
            "You average within each completion first, by its own length. Asked for is one mean over all live tokens.",
        ),
        "weights averaged away": (
            lambda p, s, a, m, c: (
                (w := torch.where(m, raw(p, s).clamp(max=c), 0.0)).sum() ** -1 * -torch.where(m, w * a * p, 0.0).sum()
            ),
            "You divide by the sum of the weights. That estimate is called self-normalised; here the number of live "
            "tokens is asked for.",
        ),
        "sign": (
            lambda p, s, a, m, c: -truncated(p, s, a, m, c),
            "The sign is turned: a loss is minimised, so it has a minus in front.",
        ),
        "no weight": (
            lambda p, s, a, m, c: weighted(torch.ones_like(p), p, a, m),
            "The sampler's log-probabilities are not used: that is REINFORCE's loss, as if sampler and policy were "
            "the same.",
        ),
    },
    "What the sampler draws too often counts less; what it draws too rarely counts more, up to the cap. What is cut "
    "off there is one bias. A larger one is what a token's weight never sees: its prefix, and what follows.",
    gradient_of=(0,),
)


def at_k(n: int, c: int, k: int) -> float:
    """The right answer of 10.4 (Chen et al. 2021, equation 1)."""
    return 1 - math.comb(n - c, k) / math.comb(n, k)


pass_at_k = Exercise(
    "10.4",
    "Write pass_at_k(n, c, k)",
    at_k,
    ((16, 2, 4), (10, 9, 3), (16, 0, 8), (5, 5, 1), (3000, 40, 500), (64, 1, 64)),
    {
        "plugged in": (
            lambda n, c, k: 1 - (1 - c / n) ** k,
            "1 − (1 − c/n)ᵏ would be right if c/n were the pass rate. It is an estimate, and this function of it is "
            "too small on average: with one pass in 64, all 64 tries hold it, and yours says 63 %.",
        ),
        "share of k": (
            lambda n, c, k: min(1.0, k * c / n),
            "k · c/n counts a choice that holds two passes twice. Count the choices without any pass.",
        ),
        "all pass": (
            lambda n, c, k: math.comb(c, k) / math.comb(n, k),
            "That is the chance that *all* k pass. Asked for is one less the chance that none does.",
        ),
        "no pass": (
            lambda n, c, k: math.comb(n - c, k) / math.comb(n, k),
            "That is the chance that none of the k passes. One less that.",
        ),
        "pass at one": (
            lambda n, c, k: c / n,
            "That is pass@1, whatever k is.",
        ),
        "overflow": (
            lambda n, c, k: 1 - float(math.comb(n - c, k)) / float(math.comb(n, k)),
            "The formula is right, but with n = 3000 the binomials are too large for a float. Divide the whole "
            "numbers (Python does that exactly), or multiply k small fractions.",
        ),
    },
    "Unbiased for every k up to n, since it is a mean over all choices of k of your n.",
)

EXERCISES = (weights, leash, correction, pass_at_k)
