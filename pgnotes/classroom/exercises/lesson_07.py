"""Lesson 07's exercises: a sequence's weight, PPO's objective and slope, clip fraction, sample size, suspects."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.objectives import clip_range, ppo_terms
from pgnotes.theory.ppo import effective_sample_size, outside, sequence_weights, silenced

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
TABLE = torch.tensor([[1.0, 1.3, 0.6, 1.1], [0.78, 1.15, 3.0, 3.0], [0.9, 0.7, 1.22, 3.0]], dtype=torch.float64)
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
    ((NEW, OLD, MASK), (NEW[:1], OLD[:1], MASK[:1]), (OLD, NEW, MASK)),
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
            "You divide by the length: that is the geometric mean of the ratios (GSPO, lesson 08). The weight is "
            "their product, whose mean is exactly 1.",
        ),
        "sum of ratios": (
            lambda a, b, m: ((a - b).exp() * m).sum(1),
            "You add the ratios. The probability of a sequence is a product over its tokens, so the weight is one "
            "too: add log-ratios, then take exp.",
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
            "You switch to the max for negative advantages, so that nothing pulls at ratio 1.5 and A = −1, where the "
            "slope is −1. One min serves both signs.",
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
    },
    "Zero on two of the four sides, A everywhere else.",
)

fraction = Exercise(
    "7.4",
    "Write clip_fraction(ratio, mask, clip)",
    lambda ratio, mask, clip: outside(ratio[mask], clip).double().mean(),
    ((TABLE, LIVE, 0.2), (TABLE, LIVE, 0.25), (TABLE[1:], LIVE[1:], 0.1)),
    {
        "no mask": (
            lambda r, m, e: outside(r, e).double().mean(),
            "You count masked places. Whatever stands there was never chosen: look at live tokens only.",
        ),
        "divided by all": (
            lambda r, m, e: (outside(r, e) & m).double().mean(),
            "You count live tokens and divide by all places. Padding then makes the fraction look small: divide by "
            "the number of live ones.",
        ),
        "upper side": (
            lambda r, m, e: (r[m] > 1 + e).double().mean(),
            "You count ratios above the band. Those below 1 − ε are outside as well.",
        ),
        "inside": (lambda r, m, e: (~outside(r[m], e)).double().mean(), "That is the share inside the band."),
        "sequences": (
            lambda r, m, e: (outside(r, e) & m).any(1).double().mean(),
            "You count sequences with at least one such token. The fraction is one of tokens.",
        ),
    },
    "A share of live tokens. It counts all that are outside, also those that are still being pulled back.",
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
            "Sum over largest is another measure, and a stricter one. Asked for is the one that says how much the "
            "variance of a mean has grown: with squares.",
        ),
        "root": (
            lambda w: w.sum() / w.square().sum().sqrt(),
            "That is its square root: both sums must be of the same power of the weights.",
        ),
    },
    "n for equal weights, 1 when a single one counts.",
)

EXERCISES = (weight, objective, slope, fraction, ess)
