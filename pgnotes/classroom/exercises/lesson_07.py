"""Lesson 07's exercises: a sequence's weight, PPO's objective and slope, clip fraction, sample size; two suspects."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.ppo import clip_fraction, effective_sample_size, outside, sequence_weights, silenced
from pgnotes.theory.terms import clip_range, ppo_terms

# Section 8 trains with both of these; don't look before you have decided.


def x(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """A clipped surrogate, as a loss."""
    ratio = torch.exp(logp - logp_old)
    terms = torch.maximum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return -torch.where(mask, terms, 0.0).sum() / len(mask)


def y(logp: Tensor, logp_old: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """A clipped surrogate, as a loss."""
    ratio = torch.exp(logp - logp_old)
    terms = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return -torch.where(mask, terms, 0.0).sum() / len(mask)


SUSPECTS = {"X": x, "Y": y}

NEW = torch.tensor([[-0.5, -1.2, -0.3], [-0.9, -0.2, -2.0], [-1.5, -0.7, -0.1]], dtype=torch.float64)
OLD = torch.tensor([[-0.7, -1.0, -0.8], [-1.1, -0.9, -0.4], [-1.2, -0.9, -0.6]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
RATIOS = torch.tensor([0.5, 0.9, 1.1, 1.5, 0.5, 0.9, 1.1, 1.5, 1.5], dtype=torch.float64)
WORTH = torch.tensor([1.0, 1.0, 2.0, 1.0, -1.0, -1.0, -2.0, -0.5, 0.0], dtype=torch.float64)
TABLE = torch.tensor([[1.3, 1.3, 0.6, 0.7], [0.78, 1.4, 3.0, 3.0], [1.0, 0.7, 1.22, 3.0]], dtype=torch.float64)
GAINS = torch.tensor([[1.0, -1.0, -2.0, 1.0], [-0.5, 0.0, 1.0, 1.0], [0.0, -1.0, 0.5, 1.0]], dtype=torch.float64)
LIVE = torch.tensor([[True] * 4, [True, True, False, False], [True, True, True, False]])
WEIGHTS = torch.tensor([0.1, 0.4, 2.0, 5.0, 0.5], dtype=torch.float64)


def objective_of(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's objective of each decision."""
    return -ppo_terms(ratio.log(), torch.zeros_like(ratio), advantage, torch.ones_like(ratio, dtype=torch.bool), clip)


def slope_of(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Its derivative by the ratio."""
    return torch.where(silenced(ratio, advantage, clip), 0.0, advantage)


def clipped(ratio: Tensor, clip: float) -> Tensor:
    """The ratio moved to the nearest point of the band."""
    low, high = clip_range(clip)
    return ratio.clamp(1 - low, 1 + high)


weight = Exercise(
    "7.1",
    "Write sequence_weight(logp, logp_old, mask)",
    sequence_weights,
    ((NEW[1:2], OLD[1:2], MASK[1:2]), (NEW, OLD, MASK), (OLD, NEW, MASK)),  # the first few enough to be shown
    {
        "no mask": (
            lambda a, b, m: (a - b).sum(1).exp(),
            "You multiply over all places. What stands where the mask is False was never chosen, and its ratio must "
            "count as 1.",
        ),
        "masked with zero": (
            lambda a, b, m: ((a - b).exp() * m).prod(1),
            "You set the ratios of masked places to 0, and one factor of 0 makes the whole product 0. Mask the "
            "log-ratios instead: log 1 is 0.",
        ),
        "upside down": (
            lambda a, b, m: ((b - a) * m).sum(1).exp(),
            "Yours is old over new. The weight says how much likelier a sequence has become: new over old.",
        ),
        "geometric mean": (
            lambda a, b, m: (((a - b) * m).sum(1) / m.sum(1)).exp(),
            "You divide by the length: that is the geometric mean of the ratios (GSPO's). The weight is "
            "their product, whose mean is exactly 1.",
        ),
        "sum of ratios": (
            lambda a, b, m: ((a - b).exp() * m).sum(1),
            "You add the ratios. The probability of a sequence is a product over its tokens, so the weight is one "
            "too: add log-ratios, then take exp.",
        ),
        "exp forgotten": (
            lambda a, b, m: ((a - b) * m).sum(1),
            "That is the logarithm of the weight. Take exp of it: an unchanged sequence has weight 1, and log 1 is 0.",
        ),
        "mean over all places": (
            lambda a, b, m: ((a - b) * m).mean(1).exp(),
            "You average the log-ratios, over masked places too. A product of ratios is exp of their sum.",
        ),
        "one for the batch": (
            lambda a, b, m: ((a - b) * m).sum().exp(),
            "You multiply over all sequences. Each has a weight of its own: sum over the tokens of one, dimension 1.",
        ),
        "logarithms divided": (
            lambda a, b, m: torch.where(m, a / b, 1.0).prod(1),
            "You divide logarithms. The logarithm of a ratio of probabilities is a *difference* of logarithms.",
        ),
        "token by token": (
            lambda a, b, m: ((a - b) * m).exp(),
            "These are the ratios, one a token. A sequence's weight is the product of its own.",
        ),
    },
    "One number a sequence: exp of the sum of the live log-ratios.",
)

objective = Exercise(
    "7.2",
    "Write ppo_objective(ratio, advantage, clip)",
    objective_of,
    ((RATIOS, WORTH, 0.2), (RATIOS, -WORTH, 0.3)),
    {
        "without the min": (
            lambda r, a, e: clipped(r, e) * a,
            "You use the clipped product alone. Then the slope is zero on all four sides, also where a step would "
            "come back: take the min of it and the unclipped one.",
        ),
        "max": (
            lambda r, a, e: torch.maximum(r * a, clipped(r, e) * a),
            "That is the max. It is flat exactly where a step would come back, and lets go where it should hold; "
            "section 8 shows what comes of it.",
        ),
        "max where negative": (
            lambda r, a, e: torch.where(
                a < 0, torch.maximum(r * a, clipped(r, e) * a), torch.minimum(r * a, clipped(r, e) * a)
            ),
            "For negative advantages yours is the larger product: you switched to the max there, or took the min of r "
            "and clip(r) before multiplying by A, which a negative A turns into the max. Then nothing pulls at ratio "
            "1.5 and A = −1, where the slope is −1. Multiply first, then take one min, for both signs.",
        ),
        "a loss": (
            lambda r, a, e: -objective_of(r, a, e),
            "The sign: asked for is the objective, which one climbs. With the minus it is the loss.",
        ),
        "product clipped": (
            lambda r, a, e: torch.minimum(r * a, clipped(r * a, e)),
            "You clip the product of ratio and advantage. The band is one of ratios, around 1: clip r, then multiply "
            "by A.",
        ),
        "upper edge only": (
            lambda r, a, e: torch.minimum(r * a, r.clamp(max=1 + e) * a),
            "You clip at 1 + ε only. For A < 0 the edge that counts is the lower one: the objective is flat below it.",
        ),
        "less the start": (
            lambda r, a, e: objective_of(r, a, e) - a,
            "You subtract A, the objective's value at ratio 1. Its slopes are right, and its value is the gain since "
            "then; asked for is the objective itself.",
        ),
        "in the logarithm": (
            lambda r, a, e: torch.minimum(r.log() * a, r.log().clamp(-e, e) * a),
            "You clip log r. The band is one of the ratio itself: from 1 − ε to 1 + ε.",
        ),
        "around 0": (
            lambda r, a, e: torch.minimum(r * a, r.clamp(-e, e) * a),
            "Your band is around 0. Ratios live around 1: the band reaches from 1 − ε to 1 + ε.",
        ),
        "one advantage": (
            lambda r, a, e: torch.minimum(r * a, clipped(r, e)),
            "The second product lacks its A: it is clip(r) · A.",
        ),
        "size of the advantage": (
            lambda r, a, e: objective_of(r, a.abs(), e),
            "The sign of A is lost. With a negative advantage the objective falls as the ratio rises.",
        ),
        "averaged": (
            lambda r, a, e: objective_of(r, a, e).mean(),
            "You average. Asked for is one number for each token.",
        ),
    },
    "The smaller of the two products; a lower bound of rA.",
)

slope = Exercise(
    "7.3",
    "Write slope(ratio, advantage, clip)",
    slope_of,
    ((RATIOS, WORTH, 0.2), (RATIOS, -WORTH, 0.05)),
    {
        "zero outside": (
            lambda r, a, e: torch.where(outside(r, e), 0.0, a),
            "Your slope is zero whenever the ratio is outside the band: claim C4. Above the band with A < 0, and "
            "below it with A > 0, the full slope remains.",
        ),
        "sides swapped": (
            lambda r, a, e: torch.where(silenced(r, -a, e), 0.0, a),
            "You have the sides swapped: yours is flat where a step would come back. It should be flat above the band "
            "for A > 0 and below it for A < 0.",
        ),
        "upper side only": (
            lambda r, a, e: torch.where((a > 0) & (r > 1 + e), 0.0, a),
            "The upper side is right. The lower one is missing: for A < 0 the objective is flat below 1 − ε.",
        ),
        "in the logarithm": (
            lambda r, a, e: r * slope_of(r, a, e),
            "That is the slope in log r, or in log π: the chain rule gives a factor r. Asked for is the slope in r.",
        ),
        "sign only": (
            lambda r, a, e: slope_of(r, a, e).sign(),
            "You give the direction only. The slope of rA in r is A itself, so a larger advantage pushes harder.",
        ),
        "of the loss": (
            lambda r, a, e: -slope_of(r, a, e),
            "That is the slope of the loss, which is minus the objective. Asked for is the objective's.",
        ),
        "zero inside": (
            lambda r, a, e: torch.where(outside(r, e), a, 0.0),
            "Yours is zero inside the band, where the clip does nothing: there the slope is A.",
        ),
        "size only": (
            lambda r, a, e: slope_of(r, a, e).abs(),
            "The sign of A is lost: for a negative advantage the slope is negative, and r is to fall.",
        ),
        "ones": (
            lambda r, a, e: torch.where(silenced(r, a, e) & (a != 0), 0.0, 1.0),
            "You say where there is a slope, and not how large it is: where it is not zero it is A itself.",
        ),
        "the objective": (
            objective_of,
            "That is the objective. Asked for is its derivative in r.",
        ),
        "lower side only": (
            lambda r, a, e: torch.where((a < 0) & (r < 1 - e), 0.0, a),
            "The lower side is right. The upper one is missing: for A > 0 the objective is flat above 1 + ε.",
        ),
    },
    "Zero on two of the four sides, A everywhere else.",
)

fraction = Exercise(
    "7.4",
    "Write clip_fraction(ratio, advantage, mask, clip)",
    clip_fraction,
    ((TABLE, GAINS, LIVE, 0.2), (TABLE, -GAINS, LIVE, 0.25), (TABLE[1:], GAINS[1:], LIVE[1:], 0.1)),
    {
        "both signs alike": (
            lambda r, a, m, e: outside(r[m], e).double().mean(),
            "You count every live ratio outside the band, whatever its advantage: the convention of Stable-Baselines3 "
            "and CleanRL. On two of the four sides such a token still has its full gradient. TRL and verl count the "
            "silent sides only, and so should you.",
        ),
        "the sides that pull": (
            lambda r, a, m, e: clip_fraction(r, -a, m, e),
            "You have the sides swapped: those are the tokens that are still being pulled back. Silent is above the "
            "band for A > 0 and below it for A < 0.",
        ),
        "no mask": (
            lambda r, a, m, e: clip_fraction(r, a, torch.ones_like(m), e),
            "You count masked places. Whatever stands there was never chosen: look at live tokens only.",
        ),
        "divided by all": (
            lambda r, a, m, e: clip_fraction(r, a, m, e) * m.double().mean(),
            "You count live tokens and divide by all places. Padding then makes the fraction look small: divide by "
            "the number of live ones.",
        ),
        "a count": (
            lambda r, a, m, e: clip_fraction(r, a, m, e) * m.sum(),
            "That is how many there are. Divide by the number of live tokens.",
        ),
        "zero advantages": (
            lambda r, a, m, e: silenced(r, a, e)[m].double().mean(),
            "You count tokens whose advantage is 0. They have no gradient, but not because of the clip.",
        ),
        "zero advantages outside": (
            lambda r, a, m, e: (((a >= 0) & (r > 1 + e)) | ((a <= 0) & (r < 1 - e)))[m].double().mean(),
            "You count tokens whose advantage is 0 as clipped. They have no gradient, but not because of the clip: "
            "the comparison is with < and >, not with ≤ and ≥.",
        ),
        "upper side": (
            lambda r, a, m, e: ((a > 0) & (r > 1 + e))[m].double().mean(),
            "You count the upper silent side. Below 1 − ε with A < 0 the gradient is gone as well.",
        ),
        "mean of sequences": (
            lambda r, a, m, e: ((silenced(r, a, e) & (a != 0) & m).sum(1) / m.sum(1)).mean(),
            "You average the sequences' own fractions. Then a token of a short sequence counts for more; the fraction "
            "is one of all live tokens.",
        ),
        "of those with an advantage": (
            lambda r, a, m, e: (silenced(r, a, e) & (a != 0) & m).sum() / (m & (a != 0)).sum(),
            "You divide by the live tokens that have an advantage. The share is one of all live tokens.",
        ),
        "of those outside": (
            lambda r, a, m, e: (silenced(r, a, e) & (a != 0) & m).sum() / (m & outside(r, e)).sum(),
            "You divide by the live tokens outside the band. The share is one of all live tokens.",
        ),
        "sequences": (
            lambda r, a, m, e: (silenced(r, a, e) & (a != 0) & m).any(1).double().mean(),
            "You count sequences with at least one such token. The fraction is one of tokens.",
        ),
    },
    "The share whose gradient the clip has taken. The tokens outside that are being pulled back are not in it.",
)

ess = Exercise(
    "7.5",
    "Write effective_size(weights)",
    effective_sample_size,
    ((WEIGHTS,), (torch.ones(6, dtype=torch.float64),), (torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64),)),
    {
        "upside down": (
            lambda w: w.square().sum() / w.sum() ** 2,
            "Upside down: with equal weights yours gives 1/n. The square of the sum belongs on top.",
        ),
        "a share": (
            lambda w: w.mean() ** 2 / w.square().mean(),
            "With means in the place of sums you get the share of n that is left. Multiply by n.",
        ),
        "not normalised": (
            lambda w: 1 / w.square().sum(),
            "1/Σw² is right only for weights that add up to 1. Divide by the squared sum first.",
        ),
        "by the largest": (
            lambda w: w.sum() / w.max(),
            "Sum over largest is another measure, and a stricter one. Asked for is the one with squares.",
        ),
        "root": (
            lambda w: w.sum() / w.square().sum().sqrt(),
            "That is its square root: both sums must be of the same power of the weights.",
        ),
        "sample variance": (
            lambda w: len(w) / (1 + w.var() / w.mean() ** 2),
            "n / (1 + variance / mean²) is the same number only with the variance that divides by n: correction=0. "
            "PyTorch's own default divides by n − 1.",
        ),
        "no square": (
            lambda w: w.sum() / w.square().sum(),
            "The sum on top is not squared, so that the answer changes when all weights are doubled.",
        ),
    },
    "n for equal weights, 1 when a single one counts.",
)

EXERCISES = (weight, objective, slope, fraction, ess)
