"""Lesson 04's exercises: a sample's variance, the batch it needs, a ranking of rewards, other steps, two halves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.estimators import Moments, outcomes, with_baseline
from pgnotes.theory.noise import from_halves
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

PROBS = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
PAYS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
EVEN, MIXED = torch.full((4,), 0.25, dtype=torch.float64), torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
RIVALS = torch.tensor(
    [[0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [1.0, 1.0, 2.0], [100.0, 0.0, 0.0]], dtype=torch.float64
)  # right or wrong, partial credit, a bonus for all, and large
OTHERS = torch.tensor([[3.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 3.0], [5.0, 5.0, 6.0]], dtype=torch.float64)
FIRST, SECOND = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1


def moments_of(probs: Tensor, rewards: Tensor) -> Moments:
    """Of one sample's estimate."""
    return with_baseline(outcomes(Bandit(rewards), SoftmaxPolicy(probs.log())), 0.0)


def exact_trace(probs: Tensor, rewards: Tensor) -> Tensor:
    """The trace of one sample's covariance."""
    return moments_of(probs, rewards).trace


def pieces(probs: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Each action's estimate [K, K], and the exact gradient [K]."""
    estimates = rewards[:, None] * (torch.eye(len(probs), dtype=torch.float64) - probs)
    return estimates, probs @ estimates


trace = Exercise(
    "4.1",
    "Write one_sample_variance(probs, rewards)",
    exact_trace,
    ((PROBS, PAYS), (EVEN, MIXED), (PROBS.flip(0), PAYS + 2)),
    {
        "gradient not subtracted": (
            lambda p, r: p @ pieces(p, r)[0].square().sum(1),
            "That is the mean square of the estimate. The variance is around its mean: subtract the squared length of "
            "the gradient.",
        ),
        "length not squared": (
            lambda p, r: p @ pieces(p, r)[0].square().sum(1) - pieces(p, r)[1].norm(),
            "You subtract the gradient's length. A mean square less the square of the mean: subtract its *squared* "
            "length.",
        ),
        "unweighted": (
            lambda p, r: (pieces(p, r)[0] - pieces(p, r)[1]).square().sum(1).mean(),
            "You average over actions as if all were equally likely. Weight each by its probability.",
        ),
        "root": (
            lambda p, r: exact_trace(p, r).sqrt(),
            "That is the standard deviation. The variance is its square, and variances are what add up and divide "
            "by N.",
        ),
        "of the rewards": (
            lambda p, r: p @ (r - p @ r).square(),
            "That is the variance of the reward, one number's. The estimate is a vector: reward times score. Add the "
            "variances of its entries.",
        ),
        "centred first": (
            lambda p, r: exact_trace(p, r - p @ r),
            "You subtracted the mean reward before multiplying. That is lesson 05's cure, and another estimator; the "
            "variance asked for is that of the plain reward times score.",
        ),
        "score without reward": (
            lambda p, r: p @ (torch.eye(len(p)) - p).square().sum(1) - pieces(p, r)[1].square().sum(),
            "The mean square has no reward in it. One sample's estimate is reward times score: square that.",
        ),
        "reward not squared": (
            lambda p, r: p @ (r * (torch.eye(len(p)) - p).square().sum(1)) - pieces(p, r)[1].square().sum(),
            "You square the score and not the reward. One sample's estimate is reward times score: square the product.",
        ),
        "one-hot for a score": (
            lambda p, r: p @ r.square() - (p * r).square().sum(),
            "Two slips give this number. Either your score is one-hot, where softmax's is one-hot − π (lesson 01). Or "
            "the rewards run along the wrong axis: row a belongs to action a, so multiply it by `rewards[:, None]`.",
        ),
        "mean over entries": (
            lambda p, r: exact_trace(p, r) / len(p),
            "You average over the entries of the vector. The squared distance of two vectors is a sum over entries.",
        ),
        "a vector": (
            lambda p, r: moments_of(p, r).covariance.diagonal(),
            "These are the variances of the entries. Their sum, the trace, is asked for.",
        ),
        "the matrix": (
            lambda p, r: moments_of(p, r).covariance,
            "That is the whole covariance. Its trace is asked for: the sum of its diagonal.",
        ),
    },
    "E‖R·s‖² − ‖g‖², with every action listed.",
)


def exact_batch(variance: float, gradient: Tensor, relative: float) -> float:
    """How large a batch has to be, before it is made whole."""
    return variance / (relative * gradient.norm().item()) ** 2


needed = Exercise(
    "4.2",
    "Write batch_needed(variance, gradient, relative)",
    lambda variance, gradient, relative: math.ceil(exact_batch(variance, gradient, relative)),
    ((0.28, PAYS, 0.1), (16.0, torch.tensor([0.0, 1.0], dtype=torch.float64), 0.5), (30.0, MIXED, 0.1)),
    {
        "not squared": (
            lambda v, g, q: math.ceil(v / (q * g.norm())),
            "You compare a variance with a length. The standard error is the root of variance/N: set it equal to "
            "relative · length and square.",
        ),
        "root of the variance": (
            lambda v, g, q: math.ceil(v**0.5 / (q * g.norm())),
            "That many times smaller the error has to be. The error falls with √N only, so square it: N is what "
            "divides the variance.",
        ),
        "upside down": (
            lambda v, g, q: math.ceil((q * g.norm()) ** 2 / v),
            "Upside down: more variance needs a larger batch, so the variance stands above.",
        ),
        "absolute": (
            lambda v, g, q: math.ceil(v / q**2),
            "You aim at a standard error of `relative` itself; it is to be that share of the gradient's length.",
        ),
        "length not squared": (
            lambda v, g, q: math.ceil(v / (q**2 * g.norm())),
            "The relative error is squared, the gradient's length is not. Both stand inside the same square.",
        ),
        "sum of entries": (
            lambda v, g, q: math.ceil(v / (q * g.abs().sum()) ** 2),
            "You add up the gradient's entries. Its length is the root of the sum of their squares, `gradient.norm()`.",
        ),
        "rounded down": (
            lambda v, g, q: math.floor(exact_batch(v, g, q)),
            "Almost: rounded down, the batch is one too small to reach the error asked for. Round up.",
        ),
        "rounded": (
            lambda v, g, q: round(exact_batch(v, g, q)),
            "Almost: rounded to the nearest, the batch may be one too small. Round up, with `math.ceil`.",
        ),
        "not rounded": (
            exact_batch,
            "That is the number, but a batch is a whole number of samples. Round up, with `math.ceil`.",
        ),
        "one more": (
            lambda v, g, q: math.floor(exact_batch(v, g, q)) + 1,
            "One too many where the division comes out even: 64 samples are enough if exactly 64 are needed. "
            "`math.ceil` rounds up and leaves whole numbers alone.",
        ),
    },
    "A tenth of the error costs a hundred times the samples. Multiply all rewards by 100, and nothing changes.",
)

WRONG_AXIS = (
    "Your rewards multiply the columns of the scores, and the mean of such rows is 0, not the gradient. Row a belongs "
    "to action a: `row[:, None] * (one-hot − π)`."
)


def along_columns(probs: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """What rewards multiplied along the wrong axis give: a mean square, and a gradient of 0 but for rounding."""
    says = rewards * (torch.eye(len(probs)) - probs)
    return probs @ says.square().sum(1), probs @ says


def relative_noise(probs: Tensor, rewards: Tensor) -> Tensor:
    """Variance over squared gradient length of each row of rewards, [M]."""
    rows = [moments_of(probs, row) for row in rewards]
    return torch.stack([row.trace / row.mean.square().sum() for row in rows])


ranking = Exercise(
    "4.3",
    "Write cheapest_first(probs, rewards): the numbers of the reward functions in order",
    lambda probs, rewards: relative_noise(probs, rewards).argsort(),
    ((PROBS, RIVALS), (PROBS.flip(0), OTHERS)),
    {
        "the other way round": (
            lambda p, r: relative_noise(p, r).argsort(descending=True),
            "That is the order from the most samples to the fewest.",
        ),
        "by variance": (
            lambda p, r: torch.stack([exact_trace(p, row) for row in r]).argsort(),
            "You order by the variance itself. A reward times 100 has ten thousand times the variance, and a gradient "
            "a hundred times as long: divide by the squared length.",
        ),
        "by the rewards' variance": (
            lambda p, r: torch.stack([p @ (row - p @ row).square() for row in r]).argsort(),
            "You order by the variance of the reward, which does not see an offset. What counts is the variance of "
            "reward times score, over the squared length of the gradient.",
        ),
        "by the gradient": (
            lambda p, r: torch.stack([pieces(p, row)[1].norm() for row in r]).argsort(descending=True),
            "You order by the gradient's length alone. A long gradient may be noisy: divide the variance by its "
            "squared length.",
        ),
        "by the gradient, shortest first": (
            lambda p, r: torch.stack([pieces(p, row)[1].norm() for row in r]).argsort(),
            "You order by the gradient's length. What counts is the variance divided by its square.",
        ),
        "length not squared": (
            lambda p, r: torch.stack([exact_trace(p, row) / pieces(p, row)[1].norm() for row in r]).argsort(),
            "You divide a variance by a length; with that, the scale of the rewards does not cancel. Divide by the "
            "squared length.",
        ),
        "wrong axis": (
            lambda p, r: torch.stack(
                [along_columns(p, row)[0] / pieces(p, row)[1].square().sum() for row in r]
            ).argsort(),
            WRONG_AXIS,
        ),
        "wrong axis, and the gradient from it": (
            lambda p, r: torch.stack([sq / (g @ g) - 1 for sq, g in (along_columns(p, row) for row in r)]).argsort(),
            WRONG_AXIS,
        ),
        "the costs": (
            relative_noise,
            "These are the costs themselves. Asked for are the numbers of the rows in their order: `torch.argsort`.",
        ),
        "the samples": (
            lambda p, r: 100 * relative_noise(p, r),
            "These are the samples needed. Asked for are the numbers of the rows in their order: `torch.argsort`.",
        ),
        "counted from one": (
            lambda p, r: relative_noise(p, r).argsort() + 1,
            "The order is right, and the rows are counted from 0, as in Python.",
        ),
        "the cheapest only": (
            lambda p, r: relative_noise(p, r).argmin(),
            "That is the cheapest. Asked for are all of them, in their order.",
        ),
        "ranks": (
            lambda p, r: relative_noise(p, r).argsort().argsort(),
            "You give each reward function its rank. Asked for is the list the other way round: the number of the "
            "cheapest first, then the next.",
        ),
    },
    "The costs are 67, 464, 900 and 7,186 samples: 3, 1, 0, 2. Large is not noisy, a bonus for all is; the winner is "
    "right/wrong with p = 0.6: (1 − p)/p = ⅔.",
)

others = Exercise(
    "4.4",
    "Write return_of_others(mean, variance, steps): [mean, variance] of what the other steps add",
    lambda mean, variance, steps: torch.tensor([(steps - 1) * mean, (steps - 1) * variance]),
    ((0.5, 0.2, 8), (0.5, 0.2, 1), (-1.0, 2.0, 3)),
    {
        "all steps": (
            lambda m, v, t: torch.tensor([t * m, t * v]),
            "You count the step itself among the others. Its reward is the signal; T − 1 steps are left.",
        ),
        "variance squared in T": (
            lambda m, v, t: torch.tensor([(t - 1) * m, (t - 1) ** 2 * v]),
            "The variance of a sum of independent rewards grows with their number, not with its square. (The mean's "
            "square does: that is the offset's share.)",
        ),
        "mean of the rewards": (
            lambda m, v, t: torch.tensor([m, v / max(t - 1, 1)]),
            "These are the moments of an average. A return is a sum: both grow with the number of steps.",
        ),
        "standard deviation": (
            lambda m, v, t: torch.tensor([(t - 1) * m, ((t - 1) * v) ** 0.5]),
            "The second number is the standard deviation. Asked for is the variance, which adds up.",
        ),
        "second moment": (
            lambda m, v, t: torch.tensor([(t - 1) * m, (t - 1) * v + ((t - 1) * m) ** 2]),
            "The second number is the mean square. The variance is what is left without the square of the mean.",
        ),
        "variance of one": (
            lambda m, v, t: torch.tensor([(t - 1) * m, v]),
            "The mean is right. The variances of independent rewards add up as well: T − 1 of them.",
        ),
        "order": (
            lambda m, v, t: torch.tensor([(t - 1) * v, (t - 1) * m]),
            "Both are right, in the wrong order: the mean first, then the variance.",
        ),
        "mean only": (
            lambda m, v, t: (t - 1) * m,
            "That is the mean. Asked for are two numbers: mean and variance.",
        ),
        "variance only": (
            lambda m, v, t: (t - 1) * v,
            "That is the variance. Asked for are two numbers: mean and variance.",
        ),
    },
    "The mean is an offset like any other, and grows with T: its share of the variance grows with T².",
)


def signal_and_trace(first: Tensor, second: Tensor, half: int) -> Tensor:
    """[2]: what `from_halves` finds in one batch."""
    return torch.cat(from_halves(first, second, half))


def changed(signal: float, variance: float) -> Tensor:
    """The two numbers of a slip."""
    return torch.stack([torch.as_tensor(signal), torch.as_tensor(variance)])


halves = Exercise(
    "4.5",
    "Write two_halves(first, second, half): [‖g‖², one sample's variance]",
    signal_and_trace,
    ((FIRST, SECOND, 32), (3 * SECOND[:2], -FIRST[:2], 1), (PAYS, PAYS + 1, 8)),
    {
        "length of the mean": (
            lambda a, b, n: changed(((a + b) / 2).square().sum(), n * (a - b).square().sum() / 2),
            "Your first number is the squared length of the whole batch's estimate. That is ‖g‖² plus noise, too "
            "large on average. The product of the halves has no noise of its own: first @ second.",
        ),
        "mean of the lengths": (
            lambda a, b, n: changed((a @ a + b @ b) / 2, n * (a - b).square().sum() / 2),
            "Your first number is the mean squared length of the estimates. Each is ‖g‖² plus noise. The product of "
            "the halves has no noise of its own: first @ second.",
        ),
        "product of the lengths": (
            lambda a, b, n: changed(a.norm() * b.norm(), n * (a - b).square().sum() / 2),
            "Your first number multiplies the lengths of the estimates, and each is too long by its noise. Their "
            "scalar product has no noise of its own: first @ second.",
        ),
        "sum in place of difference": (
            lambda a, b, n: changed(a @ b, n * (a + b).square().sum() / 2),
            "Your second number has the sum of the halves in it, in which the signal stays. In their difference it "
            "cancels, and only noise is left.",
        ),
        "half forgotten": (
            lambda a, b, n: changed(a @ b, (a - b).square().sum() / 2),
            "Your second number is the variance of a mean of `half` samples. One sample's is `half` times as large.",
        ),
        "one half's length": (
            lambda a, b, n: changed(a @ b, n * (a @ a - a @ b)),
            "Right on average, but your second number uses one half's length only. Half the squared difference uses "
            "both, and is never negative.",
        ),
        "the other half's length": (
            lambda a, b, n: changed(a @ b, n * (b @ b - a @ b)),
            "Right on average, but your second number uses one half's length only. Half the squared difference uses "
            "both, and is never negative.",
        ),
        "halved twice": (
            lambda a, b, n: changed(a @ b, n * (a - b).square().sum() / 4),
            "Your second number is half of it: you divide by 4, or by 2 with `unbiased=False`. Half the squared "
            "difference is already the variance of one half's estimate.",
        ),
        "divided by half": (
            lambda a, b, n: changed(a @ b, (a - b).square().sum() / 2 / n),
            "You divide by `half`. A mean of `half` samples has less variance than one of them, so multiply to get "
            "back to one sample.",
        ),
        "not halved": (
            lambda a, b, n: changed(a @ b, n * (a - b).square().sum()),
            "Twice too much: both halves are noisy, so their difference has twice the variance of one. Is a factor ½ "
            "missing, or did you multiply by the whole batch's size? Each estimate is a mean of `half` samples.",
        ),
        "not squared": (
            lambda a, b, n: changed(a @ b, n * (a - b).norm() / 2),
            "Your second number has the length of the difference. A variance has its square.",
        ),
        "order": (
            lambda a, b, n: signal_and_trace(a, b, n).flip(0),
            "Both are right, in the wrong order: the signal first, then the variance.",
        ),
        "by entry": (
            lambda a, b, n: torch.stack([a * b, n * (a - b).square() / 2]),
            "You have one number for each entry. Add up over entries: first @ second, and the squared length of the "
            "difference.",
        ),
        "root": (
            lambda a, b, n: signal_and_trace(a, b, n).abs().sqrt(),
            "These are roots. Asked for are the *squared* length and the variance, which may be averaged over batches. "
            "(The first can come out negative; a root would hide it.)",
        ),
    },
    "On average exactly ‖g‖² and the trace. From one batch it is a guess, and the first number can be negative.",
)

EXERCISES = (trace, needed, ranking, others, halves)
