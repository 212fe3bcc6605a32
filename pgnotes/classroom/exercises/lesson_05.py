"""Lesson 05's exercises: advantages, the best baseline, the mean of the others, a prefix's value, what is missing."""

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
TEXTS = torch.tensor([[3, 3, 0], [3, 2, 0], [3, 0, 0], [1, 3, 0], [1, 1, 3], [2, 2, 0]])
CHANCES, RETURNS = vector(0.3, 0.1, 0.2, 0.1, 0.1, 0.2), vector(1.0, 0.8, 0.5, 0.7, 0.0, 0.6)


def scores(probs: Tensor) -> Tensor:
    """The score of each action, one a row."""
    return SoftmaxPolicy(probs.log()).score(range(len(probs)))


def sizes(probs: Tensor) -> Tensor:
    """‖score‖² of each action."""
    return scores(probs).square().sum(1)


def mean_with(weights: Tensor, rewards: Tensor) -> Tensor:
    """The weighted mean of rewards."""
    return weights @ rewards / weights.sum()


def best(probs: Tensor, rewards: Tensor) -> float:
    """The right answer of 5.2."""
    return optimal_baseline(Outcomes(probs, rewards, scores(probs)))


def passing(sequences: Tensor, prefix: Tensor) -> Tensor:
    """Which sequences begin with a prefix."""
    return (sequences[:, : len(prefix)] == prefix).all(1)


def mean_over(chosen: Tensor, chances: Tensor, returns: Tensor) -> Tensor:
    """The mean return of the chosen sequences, each weighted by its chance."""
    return chances[chosen] @ returns[chosen] / chances[chosen].sum()


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
        "the others": (
            lambda p, q: q - (p @ q - p * q) / (1 - p),
            "You leave the action itself out of the average. The value is what the policy gets on average, all its "
            "actions included; leaving one out is for samples (exercise 5.3).",
        ),
        "own share": (
            lambda p, q: q - p * q,
            "From each action you subtract its own share of the value, π times what it is worth. Subtract the whole "
            "value, the sum of these shares: the same number for all actions.",
        ),
        "divided by the spread": (
            lambda p, q: (q - p @ q) / (p @ (q - p @ q).square()).sqrt(),
            "The differences are right before you divide by their standard deviation. An advantage is in the reward's "
            "unit; lesson 08 says what dividing does.",
        ),
        "divided by torch's spread": (
            lambda p, q: (q - p @ q) / q.std(),
            "The differences are right before you divide by the standard deviation. An advantage is in the reward's "
            "unit; lesson 08 says what dividing does.",
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
        "sum less mean": (
            lambda p, r: r.sum() - p @ r,
            "R₁ + R₂ − mean is the answer for two actions only. With three, weight each reward by π times the score's "
            "squared length.",
        ),
        "own entry": (
            lambda p, r: (p * (1 - p) ** 2 * r).sum() / (p * (1 - p) ** 2).sum(),
            "You take (1 − π)², the chosen action's own entry of the score. Its other entries, −π of each other "
            "action, belong to its length as well.",
        ),
        "variance": (
            lambda p, r: (p * (1 - p) * r).sum() / (p * (1 - p)).sum(),
            "You weight by π(1 − π), the variance of one logit's score. The weight of an action is π times the "
            "squared length of its whole score: 1 − 2π + Σπ².",
        ),
        "columns": (
            lambda p, r: mean_with(p * scores(p).square().sum(0), r),
            "You add up columns. An action's score is a *row* of eye − π: `sum(1)`.",
        ),
        "squares alone": (
            lambda p, r: mean_with(p**2, r),
            "You weight by π². The weight is π times the squared length of the whole score, one-hot − π.",
        ),
        "square of the chance": (
            lambda p, r: mean_with(p**2 * sizes(p), r),
            "You weight by π² times the squared length. How often an action is taken counts once: π.",
        ),
        "all entries": (
            lambda p, r: (scores(p).square() * r).sum() / scores(p).square().sum(),
            "You add up all squares of the matrix, and forget how often each action is taken. Add up along each row, "
            "for each action's squared length, and weight that by π.",
        ),
        "upside down": (
            lambda p, r: (p * r / sizes(p)).sum() / (p / sizes(p)).sum(),
            "You divide by the squared length, so that short scores count most. Long scores make the noise: multiply.",
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
        "factor upside down": (
            lambda r: (r - r.mean()) * (len(r) - 1) / len(r),
            "The factor is upside down: the reward less the mean of all, times n/(n − 1), not (n − 1)/n.",
        ),
        "divided by the spread": (
            lambda r: (r - r.mean()) / r.std(),
            "You subtract the mean of all and divide by the standard deviation, which is GRPO's rule (lesson 08). Here "
            "the others' mean is subtracted, and nothing is divided.",
        ),
        "others not averaged": (
            lambda r: r - (r.sum() - r),
            "You subtract the *sum* of the others. Their mean is this sum divided by n − 1.",
        ),
        "own in the sum": (
            lambda r: r - r.sum() / (len(r) - 1),
            "You divide by n − 1, but the sum still holds the sample's own reward. Take it out: the sum less the own "
            "reward.",
        ),
    },
    "It is n/(n − 1) times the reward less the mean of all: repaired, in one factor.",
)

prefix_value = Exercise(
    "5.4",
    "Write value_of(prefix, sequences, chances, returns)",
    lambda prefix, sequences, chances, returns: mean_over(passing(sequences, prefix), chances, returns),
    (
        (torch.tensor([3]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([1]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([3, 2]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([2, 2]), TEXTS, CHANCES, RETURNS),
        (torch.tensor([], dtype=torch.long), TEXTS, CHANCES, RETURNS),  # nothing written yet: J
    ),
    {
        "not divided": (
            lambda x, s, p, r: p[passing(s, x)] @ r[passing(s, x)],
            "You add up chance times return of what goes through the prefix. That is how much it contributes to J; "
            "divide by the chance of the prefix to get the mean.",
        ),
        "divided by the count": (
            lambda x, s, p, r: p[passing(s, x)] @ r[passing(s, x)] / passing(s, x).sum(),
            "You divide by how many sequences there are. A mean weighted by chances is divided by the sum of these "
            "chances, which is the chance of the prefix.",
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
            lambda x, s, p, r: mean_over((s == x[-1]).any(1), p, r),
            "You take sequences that hold the symbol anywhere. A prefix stands at the beginning.",
        ),
        "suffix": (
            lambda x, s, p, r: mean_over((s[:, s.shape[1] - len(x) :] == x).all(1), p, r),
            "You compare with the *last* symbols of each sequence. A prefix stands at the beginning: the first k.",
        ),
        "any order": (
            lambda x, s, p, r: mean_over(torch.isin(s[:, : len(x)], x).all(1), p, r),
            "You ask whether the first symbols occur in the prefix, in any order. Each must equal the prefix's symbol "
            "in its own place: `==`.",
        ),
        "any place": (
            lambda x, s, p, r: mean_over((s[:, : len(x)] == x).any(1), p, r),
            "You keep sequences that agree with the prefix in *some* place. They have to agree in all of them: `all` "
            "in place of `any`. (And with an empty prefix all of nothing is true, any of nothing is not.)",
        ),
        "first symbol": (
            lambda x, s, p, r: mean_over(s[:, 0] == x[0], p, r),
            "You compare the first symbol alone. With a prefix of two symbols both have to agree; with an empty one "
            "there is nothing to compare, and every sequence counts.",
        ),
        "last symbol": (
            lambda x, s, p, r: mean_over(s[:, len(x) - 1] == x[-1], p, r),
            "You compare the prefix's last symbol alone. All of its symbols have to agree; with an empty prefix there "
            "is nothing to compare, and every sequence counts.",
        ),
        "best": (
            lambda x, s, p, r: r[passing(s, x)].max(),
            "That is the best return one can still reach. The value is the average under this policy.",
        ),
    },
    "Of the empty prefix it is J. A learned value estimates this number, without ever listing a sequence.",
)

missing = Exercise(
    "5.5",
    "Write missing_gradient(probs, b)",
    lambda probs, b: probs * (b - probs @ b),
    (
        (PROBS, WORTH),
        (SURE, PAYS),
        (vector(0.25, 0.25, 0.5), vector(3.0, -1.0, 0.5)),
        (PROBS, vector(0.4, 0.4, 0.4)),
    ),
    {
        "nothing": (
            lambda p, b: torch.zeros_like(p),
            "You say 0. That holds only if all entries of b are equal, so that b leaves the expectation. If b depends "
            "on the action, E[b(a) s] does not vanish; the mean of a product is not the product of the means. "
            "(Or is it the wrong axis? The entries of *one* action's score add up to 0. Add over the actions, "
            "`sum(0)`.)",
        ),
        "sign": (
            lambda p, b: p * (p @ b - b),
            "The sign is turned. E[(R − b) s] is ∇J − E[b s]; what is missing from it is E[b s], with a plus.",
        ),
        "no chances": (
            lambda p, b: b @ (torch.eye(len(p), dtype=torch.float64) - p),
            "You add up b(a) s over the actions as if each were taken once. An expectation weights each by π(a).",
        ),
        "not centred": (
            lambda p, b: p * b,
            "You multiply π and b entry by entry. An action's score is one-hot − π: the −π part takes away π times "
            "E[b] in every entry.",
        ),
        "own entry": (
            lambda p, b: p * b * (1 - p),
            "You keep each action's own entry of its score, 1 − π. The scores of the other actions reach this logit "
            "too, with −π: average whole vectors, one-hot − π.",
        ),
        "advantage": (
            lambda p, b: b - p @ b,
            "That is how far each b(a) lies above its mean. In the gradient each logit moves by π times that.",
        ),
        "one number": (
            lambda p, b: p @ b,
            "That is E[b], one number. What is missing from a gradient has an entry for each logit: E[b(a) s].",
        ),
    },
    "It is the gradient of E[b]: what the policy's choice changes about its own baseline. With b = Q it is all of ∇J.",
)

EXERCISES = (advantage, best_baseline, leave_one_out, prefix_value, missing)
