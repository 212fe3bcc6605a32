"""Lesson 05's exercises: advantages, the best baseline, the mean of the others, a prefix's value, the mean repaired."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.estimators import Outcomes, optimal_baseline
from pgnotes.theory.policies import SoftmaxPolicy


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


PROBS, WORTH = vector(0.6, 0.3, 0.1), vector(0.2, 1.0, 0.5)
SURE, PAYS = vector(0.9, 0.1), vector(1.0, 0.0)
REWARDS = vector(1.0, 0.0, 0.0, 0.5, 1.0)
SCORES = SoftmaxPolicy(PROBS.log()).score([1, 0, 0, 2, 1])
TEXTS = torch.tensor([[3, 3, 0], [3, 2, 0], [3, 0, 0], [1, 3, 0], [1, 1, 3], [2, 2, 0]])
CHANCES, RETURNS = vector(0.3, 0.1, 0.2, 0.1, 0.1, 0.2), vector(1.0, 0.8, 0.5, 0.7, 0.0, 0.6)


def sizes(probs: Tensor) -> Tensor:
    """‖score‖² of each action."""
    return SoftmaxPolicy(probs.log()).score(range(len(probs))).square().sum(1)


def best(probs: Tensor, rewards: Tensor) -> float:
    """The right answer of 5.2."""
    return optimal_baseline(Outcomes(probs, rewards, SoftmaxPolicy(probs.log()).score(range(len(probs)))))


def passing(sequences: Tensor, prefix: Tensor) -> Tensor:
    """Which sequences begin with a prefix."""
    return (sequences[:, : len(prefix)] == prefix).all(1)


def anywhere(sequences: Tensor, prefix: Tensor) -> Tensor:
    """Which sequences hold the prefix's last symbol, wherever."""
    return (sequences == prefix[-1]).any(1)


advantage = Exercise(
    "5.1",
    "Write advantages(probs, worth)",
    lambda probs, worth: worth - probs @ worth,
    ((PROBS, WORTH), (SURE, PAYS), (vector(0.25, 0.25, 0.5), vector(1.0, 1.0, 1.0))),
    {
        "plain mean": (
            lambda p, q: q - q.mean(),
            "You subtract the plain mean of the actions. The value is the mean under the policy: weight each action "
            "by how often it is taken. As it is, the "
            "advantages do not average to zero under the policy.",
        ),
        "from the best": (
            lambda p, q: q - q.max(),
            "You compare with the best action, so that nothing is ever good news. The value is what the policy gets "
            "on average, its own mistakes included.",
        ),
        "sign": (lambda p, q: p @ q - q, "The sign is turned: what is better than average should come out above zero."),
        "weighted": (
            lambda p, q: p * (q - p @ q),
            "That is the advantage times the probability, the gradient in the logits (lesson 01). An advantage says "
            "how good an action is once it was taken, "
            "however rare it is.",
        ),
        "value": (
            lambda p, q: (p @ q).expand(len(q)),
            "That is the value, the same for all. Subtract it from what each action is worth.",
        ),
    },
    "Under the policy they average to zero: a policy is never better than itself.",
)

best_baseline = Exercise(
    "5.2",
    "Write best_baseline(probs, rewards)",
    best,
    ((PROBS, WORTH), (SURE, PAYS), (vector(0.25, 0.25, 0.5), vector(3.0, -1.0, 0.5))),
    {
        "mean": (
            lambda p, r: p @ r,
            "That is the mean reward, E[R]. An action with a long score makes more noise, and must count for more: "
            "weight by the score's squared length.",
        ),
        "length": (
            lambda p, r: (p * sizes(p).sqrt() * r).sum() / (p * sizes(p).sqrt()).sum(),
            "You weight by the length of the score. The trace is a mean of squares, so the square of the length "
            "belongs here.",
        ),
        "unweighted": (
            lambda p, r: (sizes(p) * r).sum() / sizes(p).sum(),
            "You weight by the scores alone. Both are expectations: an action also counts by how often it is taken, "
            "times π.",
        ),
        "not divided": (
            lambda p, r: (p * sizes(p) * r).sum(),
            "That is the numerator, E[‖s‖² R]. Divide by E[‖s‖²]: if all rewards are 1, the best baseline is 1.",
        ),
        "mirrored": (
            lambda p, r: r.max() + r.min() - p @ r,
            "R₁ + R₂ − mean is the answer for two actions only. With three, weight each reward by π times the score's "
            "squared length.",
        ),
    },
    "For p = 0.9 and rewards 1 and 0 it is 0.1, the mean in a mirror.",
)

leave_one_out = Exercise(
    "5.3",
    "Write compared_with_others(rewards)",
    lambda rewards: group_advantages(rewards[None], "rloo")[0],
    ((REWARDS,), (vector(1.0, 0.0),), (vector(0.5, 0.5, 0.2),)),
    {
        "own included": (
            lambda r: r - r.mean(),
            "You subtract the mean of all, the sample's own reward included: each estimate then subtracts a part of "
            "itself, and the gradient comes out (n − 1)/n as long. "
            "Leave the own reward out.",
        ),
        "divided by n": (
            lambda r: r - (r.sum() - r) / len(r),
            "The sum of the others is right, but there are n − 1 of them, not n. As it is, the baseline is too small "
            "for everybody.",
        ),
        "sign": (
            lambda r: (r.sum() - r) / (len(r) - 1) - r,
            "The sign is turned: a reward above the others' mean should come out positive.",
        ),
        "baseline only": (
            lambda r: (r.sum() - r) / (len(r) - 1),
            "That is the baseline, the mean of the others. Subtract it from the reward.",
        ),
        "next one": (
            lambda r: r - r.roll(-1),
            "You compare with one other sample. That is unbiased too, and noisier than need be: take the mean of all "
            "the others.",
        ),
    },
    "It is n/(n − 1) times the reward less the mean of all: repaired, in one factor.",
)

prefix_value = Exercise(
    "5.4",
    "Write value_of(prefix, sequences, chances, returns)",
    lambda prefix, sequences, chances, returns: (
        chances[passing(sequences, prefix)]
        @ returns[passing(sequences, prefix)]
        / chances[passing(sequences, prefix)].sum()
    ),
    (
        (torch.tensor([3]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([1]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([3, 3]), TEXTS, CHANCES, RETURNS),
    ),
    {
        "not divided": (
            lambda x, s, p, r: p[passing(s, x)] @ r[passing(s, x)],
            "You add up chance times return of what goes through the prefix. That is how much it contributes to J; "
            "divide by the chance of the prefix to get the mean.",
        ),
        "plain mean": (
            lambda x, s, p, r: r[passing(s, x)].mean(),
            "You average over the sequences as if all were equally likely. Weight each by its chance.",
        ),
        "everything": (
            lambda x, s, p, r: p @ r,
            "That is J, the value of the empty prefix. Keep only the sequences that begin with the prefix.",
        ),
        "anywhere": (
            lambda x, s, p, r: p[anywhere(s, x)] @ r[anywhere(s, x)] / p[anywhere(s, x)].sum(),
            "You take sequences that hold the symbol anywhere. A prefix stands at the beginning.",
        ),
        "best": (
            lambda x, s, p, r: r[passing(s, x)].max(),
            "That is the best return one can still reach. The value is the average under this policy.",
        ),
    },
    "A learned value estimates this number, without ever listing a sequence.",
)

repaired = Exercise(
    "5.5",
    "Write repaired_gradient(rewards, scores)",
    lambda rewards, scores: group_advantages(rewards[None], "rloo")[0] @ scores / len(rewards),
    ((REWARDS, SCORES), (REWARDS[2:4], SCORES[2:4]), (REWARDS[1:], SCORES[1:])),
    {
        "not repaired": (
            lambda r, s: (r - r.mean()) @ s / len(r),
            "You average over n. On average that is (n − 1)/n times the gradient: divide by n − 1, as for a sample's "
            "covariance, which this is.",
        ),
        "wrong way": (
            lambda r, s: (r - r.mean()) @ s * (len(r) - 1) / len(r) ** 2,
            "You multiply by (n − 1)/n, which the batch mean has done already. Undo it: multiply by n/(n − 1).",
        ),
        "not centred": (
            lambda r, s: r @ s / (len(r) - 1),
            "The mean of the rewards is not subtracted. Without it there is nothing to repair.",
        ),
        "summed": (
            lambda r, s: (r - r.mean()) @ s,
            "You add up the samples. An estimate of a gradient is an average, here over n − 1.",
        ),
        "twice": (
            lambda r, s: group_advantages(r[None], "rloo")[0] @ s / (len(r) - 1),
            "You leave the own reward out and also divide by n − 1. One of the two repairs it; with both, the "
            "gradient is n/(n − 1) times as long as it should be.",
        ),
    },
    "The same estimate as leave-one-out: the factor n/(n − 1) can sit in the advantage or in front of the sum.",
)

EXERCISES = (advantage, best_baseline, leave_one_out, prefix_value, repaired)
