"""Lesson 12's exercises: a Fisher matrix, its product, a step's length, a mirror step, a line search, a broken one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.curvature import PRODUCTS
from pgnotes.theory.geometry import fisher, fisher_product, mirror_step
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.ppo import divergence


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def matrix(*rows: tuple[float, ...]) -> Tensor:
    """A float64 tensor of rows."""
    return torch.tensor(rows, dtype=torch.float64)


def scores(probs: Tensor) -> Tensor:
    """The score of each action, one a row."""
    return torch.eye(len(probs), dtype=torch.float64) - probs


def centred(probs: Tensor, v: Tensor) -> Tensor:
    """A table less each row's mean under the policy."""
    return v - (probs * v).sum(1, keepdim=True)


def is_broken(product: Callable, size: int, damping: float) -> float:
    """1.0 if a product is nothing but damping."""
    basis = torch.eye(size, dtype=torch.float64)
    return float(all(torch.allclose(product(v), damping * v) for v in basis))


PROBS, EVEN = vector(0.6, 0.3, 0.1), vector(0.25, 0.25, 0.25, 0.25)

fisher_matrix = Exercise(
    "12.1",
    "Write fisher_of(probs)",
    lambda probs: fisher(SoftmaxPolicy(probs.log())),
    ((PROBS,), (EVEN,), (vector(0.9, 0.1),)),
    {
        "diagonal": (
            lambda p: p.diag(),
            "That is diag π alone. When one logit rises the others' probabilities fall: −ππᵀ is missing, and without "
            "it a constant added to all logits would seem to change the policy.",
        ),
        "variances": (
            lambda p: (p * (1 - p)).diag(),
            "The diagonal is right, π(1 − π). Outside it stand −π(a)π(b), not zeros: the entries of a score move "
            "together.",
        ),
        "not weighted": (
            lambda p: scores(p).T @ scores(p),
            "You add up s sᵀ over the actions as if each were taken once. It is a mean under the policy: weight each "
            "by π(a).",
        ),
        "plain mean": (
            lambda p: scores(p).T @ scores(p) / len(p),
            "You average over the actions as if all were equally likely. Weight each by π(a).",
        ),
        "outer": (
            lambda p: torch.outer(p, p),
            "That is ππᵀ. The covariance of a one-hot vector is the mean of its square, diag π, *less* that.",
        ),
        "sign": (
            lambda p: torch.outer(p, p) - p.diag(),
            "The sign is turned: this is the mean Hessian of log π, and F is minus it. A mean of squares has no "
            "negative entry on its diagonal.",
        ),
        "other side": (
            lambda p: (p[:, None] * scores(p)) @ scores(p).T,
            "You multiply the rows by each other: entry (a, b) is π(a) s(a)·s(b), from action to action. F goes from "
            "logit to logit: Σ_a π(a) s(a)s(a)ᵀ, the scores' transpose on the left.",
        ),
    },
    "Its rows add up to zero: a constant added to all logits changes nothing.",
)

TABLE = matrix((0.6, 0.3, 0.1), (0.2, 0.2, 0.6))
SEEN, ALONG = vector(1.0, 0.3), matrix((1.0, 0.0, -2.0), (0.5, 3.0, 1.0))
OTHER = (matrix((0.5, 0.5), (0.9, 0.1), (0.3, 0.7)), vector(0.2, 2.0, 0.0), matrix((1.0, 1.0), (0.0, 4.0), (1.0, -1.0)))

product_of = Exercise(
    "12.2",
    "Write fisher_times(probs, visits, v)",
    fisher_product,
    ((TABLE, SEEN, ALONG), OTHER),
    {
        "no visits": (
            lambda p, d, v: p * centred(p, v),
            "You leave the visits out. A row that is seldom passed changes the policy seldom: its block is multiplied "
            "by d(s).",
        ),
        "no mean": (
            lambda p, d, v: d[:, None] * p * v,
            "That is d(s) π ∘ v, with the −ππᵀ forgotten: take the row's mean under the policy, π·v, away from v "
            "first.",
        ),
        "visits squared": (
            lambda p, d, v: d[:, None] ** 2 * p * centred(p, v),
            "The visits count twice. F's block is d(s) times (diag π − ππᵀ).",
        ),
        "plain mean": (
            lambda p, d, v: d[:, None] * p * (v - v.mean(1, keepdim=True)),
            "You take the plain mean of each row of v away. It is the mean under the policy, Σ_a π(a) v(a).",
        ),
        "whole mean": (
            lambda p, d, v: d[:, None] * p * (v - (p * v).sum()),
            "You take one number away from all rows. Each row has a mean of its own: `sum(1, keepdim=True)`.",
        ),
        "shares": (
            lambda p, d, v: (d / d.sum())[:, None] * p * centred(p, v),
            "You divide the visits by their sum, which makes them a mean over states. That is how many trainers do it; "
            "here d(s) is how often a sequence passes the row.",
        ),
        "not weighted": (
            lambda p, d, v: d[:, None] * centred(p, v),
            "Half of it: v less its mean. diag π multiplies each entry by its probability as well.",
        ),
    },
    "One pass over the table, whatever its size: the matrix would have (S · V)² entries.",
)

STEEP = (vector(1.0, -2.0, 0.5), vector(0.2, -0.3, 0.1), 0.01)

trust_scale = Exercise(
    "12.3",
    "Write trust_scale(x, fx, delta)",
    lambda x, fx, delta: (2 * delta / (x @ fx)).sqrt(),
    (STEEP, (vector(3.0, 4.0), vector(3.0, 4.0), 0.5), (vector(0.1, 0.0), vector(5.0, 1.0), 2.0)),
    {
        "without the 2": (
            lambda x, fx, delta: (delta / (x @ fx)).sqrt(),
            "The KL of a step is *half* of ΔᵀFΔ. Set ½ c² xᵀFx = δ: as it is, your step's KL is δ/2.",
        ),
        "2 on the other side": (
            lambda x, fx, delta: (delta / (2 * x @ fx)).sqrt(),
            "The 2 stands on the wrong side: ½ c² xᵀFx = δ, so c² = 2δ / xᵀFx.",
        ),
        "plain length": (
            lambda x, fx, delta: (2 * delta / (x @ x)).sqrt(),
            "You measure x by its own length. The budget is in nats: measure with F, x·Fx.",
        ),
        "of the product": (
            lambda x, fx, delta: (2 * delta / (fx @ fx)).sqrt(),
            "You measure Fx by its own length. xᵀFx is x times Fx.",
        ),
        "no root": (
            lambda x, fx, delta: 2 * delta / (x @ fx),
            "The KL grows with the square of the scale: take the root.",
        ),
        "upside down": (
            lambda x, fx, delta: (x @ fx / (2 * delta)).sqrt(),
            "Upside down: the longer x is, the less of it fits into the budget.",
        ),
        "sign": (
            lambda x, fx, delta: -((2 * delta / (x @ fx)).sqrt()),
            "The sign is turned. Return is to rise: a step goes along x (minimising a loss, its gradient has the minus "
            "already).",
        ),
        "the step": (
            lambda x, fx, delta: (2 * delta / (x @ fx)).sqrt() * x,
            "That is the whole step. Return the number that x is multiplied with.",
        ),
    },
    "δ is in nats, whatever x is; c takes out how long x is: of a direction twice as long it is half.",
)

BETTER_BY = vector(0.5, 0.1, -0.5)

mirror = Exercise(
    "12.4",
    "Write mirror(probs, advantages, eta)",
    mirror_step,
    (
        (vector(0.05, 0.75, 0.20), BETTER_BY, 1.0),
        (PROBS, vector(-1.0, 2.0, 0.0), 0.5),
        (vector(0.5, 0.5), vector(3.0, 3.0), 2.0),
    ),
    {
        "added": (
            lambda p, a, eta: p + eta * a,
            "You add ηA to the probabilities, which then may fall below 0. Add it to the *logarithms*: multiply each "
            "probability by e^{ηA}.",
        ),
        "linear": (
            lambda p, a, eta: p * (1 + eta * a),
            "1 + ηA is e^{ηA} to first order. It sums to one by luck if π·A = 0, and falls below 0 for large steps.",
        ),
        "linear, normalised": (
            lambda p, a, eta: p * (1 + eta * a) / (p * (1 + eta * a)).sum(),
            "1 + ηA is e^{ηA} to first order only; with large steps it falls below 0.",
        ),
        "not normalised": (
            lambda p, a, eta: p * (eta * a).exp(),
            "These don't add up to 1: divide by their sum.",
        ),
        "old forgotten": (
            lambda p, a, eta: torch.softmax(eta * a, 0),
            "That is softmax(ηA), wherever the policy was. Multiply by the old probabilities: a step starts from them.",
        ),
        "plain step": (
            lambda p, a, eta: torch.softmax(p.log() + eta * p * a, 0),
            "You add η π A to the logits, the plain gradient's step. The natural gradient has divided by π: add η A.",
        ),
        "temperature": (
            lambda p, a, eta: torch.softmax(p.log() + a / eta, 0),
            "You divide by η, as if it were a temperature. A larger step moves further: multiply.",
        ),
    },
    "Whoever is better than average grows, at a rate that does not ask how rare it is.",
)


def nats(old: Tensor, new: Tensor, visits: Tensor) -> Tensor:
    """KL(old ‖ new) of a sequence."""
    return visits @ divergence(old, new)


def gained(old: Tensor, new: Tensor, visits: Tensor, advantages: Tensor) -> Tensor:
    """What the surrogate promises: Σ d(s) π_new(a|s) A(s, a)."""
    return visits @ (new * advantages).sum(1)


def quadratic(old: Tensor, new: Tensor, visits: Tensor) -> Tensor:
    """½ ΔᵀFΔ of the step between two tables: log ratios are Δ, less a constant in each row."""
    return visits @ (old * centred(old, (new / old).log()) ** 2).sum(1) / 2


def search(
    kl: Callable = nats, gain: Callable = gained, join: Callable = all, tries: Iterable[int] = range(11)
) -> Callable[..., float]:
    """A line search, by what it takes for the KL and for the gain, and whether it asks `all` or `any`."""

    def searched(theta: Tensor, step: Tensor, visits: Tensor, advantages: Tensor, delta: float) -> float:
        old = theta.softmax(1)
        for k in tries:
            new = (theta + 0.5**k * step).softmax(1)
            if join((kl(old, new, visits) <= delta, gain(old, new, visits, advantages) > 0)):
                return 0.5**k
        return 0.0

    return searched


def judged(theta: Tensor, step: Tensor, visits: Tensor, worth: Tensor, delta: float) -> tuple:
    """A case: what each action is worth, less its row's mean under the old policy."""
    return theta, step, visits, centred(theta.softmax(1), worth), delta


TWO, UP = matrix((0.0, 0.0, 0.0), (1.0, 0.0, -1.0)), matrix((1.0, -1.0, 0.0), (0.5, 0.0, 0.0))
WORTH, PASSED = matrix((1.0, -1.0, 0.0), (0.4, -0.3, 0.0)), vector(1.0, 0.5)
SEARCHES = (
    judged(TWO, UP, PASSED, WORTH, 0.086),
    judged(TWO, UP, PASSED, WORTH, 5.0),
    judged(TWO, -UP, PASSED, WORTH, 0.1),  # downhill, whatever its length
    # the whole step is short enough, and gains nothing: all of its gain is near
    judged(matrix((0.0, 0.0, 0.0)), matrix((1.0, 1.6, 0.0)), vector(1.0), matrix((1.0, -0.55, -0.45)), 0.5),
    # the KL the other way round is longer
    judged(matrix((0.0, 4.0)), matrix((3.0, 0.0)), vector(1.0), matrix((1.0, 0.0)), 0.3),
    # a row that is hardly ever passed goes furthest and loses more than the common one gains
    judged(matrix((0, 0), (0, 0)), matrix((1, 0), (0, 2)), vector(1.0, 0.1), matrix((1, 0), (3, 0)), 0.2),
    # two rows of 0.12 nats each: their sum is too long, their mean and their largest are not
    judged(
        matrix((0.0, 0.0), (0.0, 0.0)), matrix((1.0, 0.0), (1.0, 0.0)), vector(1.0, 1.0), matrix((1, 0), (1, 0)), 0.2
    ),
    # a rare action that is good grows, and a common one that is bad: the ratios gain, the policy loses
    judged(matrix((2.0, 2.0, -2.0)), matrix((1.0, 0.0, 2.0)), vector(1.0), matrix((-0.5, 0.0, 1.0)), 5.0),
    # a rare action grows far: the models of second order find other lengths than the KL
    judged(matrix((0.0, 3.0)), matrix((3.0, 0.0)), vector(1.0), matrix((1.0, 0.0)), 0.2),
    # no share but the last is short enough
    judged(matrix((0.0, 0.0)), matrix((100.0, 0.0)), vector(1.0), matrix((1.0, 0.0)), 0.002),
)

RATIOS = (
    "You add up the ratios. From samples that is right, because the old policy has drawn them; where all actions are "
    "listed each ratio is weighted by π_old, and Σ π_old · ratio · A is Σ π_new A."
)
MODEL = (
    "Your KL is a model of second order. TRPO has scaled the step by such a model already, and the search is there to "
    "check it: take the KL itself, Σ π_old log(π_old / π_new)."
)

line_search = Exercise(
    "12.5",
    "Write line_search(theta, step, visits, advantages, delta)",
    search(),
    SEARCHES,
    {
        "surrogate not looked at": (
            search(gain=lambda old, new, d, a: 1.0),
            "You accept the first step that is short enough, whether it gains or not. Look at the surrogate, too: "
            "Σ d π_new A must be above 0.",
        ),
        "KL not looked at": (
            search(kl=lambda old, new, d: 0.0),
            "You accept whatever gains, however far it goes. The KL must be at most δ as well.",
        ),
        "either": (search(join=any), "You accept a step that is short enough *or* gains. It must do both."),
        "KL the other way": (
            search(kl=lambda old, new, d: nats(new, old, d)),
            "Your KL goes from the new policy to the old one. To second order both are the same; a whole step is not "
            "so short. TRPO's limit is KL(old ‖ new).",
        ),
        "no visits": (
            search(kl=lambda old, new, d: divergence(old, new).sum()),
            "You add up the KL of the rows without the visits. A row that half of the sequences pass counts half.",
        ),
        "mean KL": (
            search(kl=lambda old, new, d: nats(old, new, d / d.sum())),
            "You divide the KL by the number of visits: that is the mean of a state, and many trainers' limit. Here "
            "the limit is on a sequence, Σ d KL.",
        ),
        "largest KL": (
            search(kl=lambda old, new, d: divergence(old, new).max()),
            "You take the row with the largest KL, as the theorem does. The limit here is on their sum, Σ d KL.",
        ),
        "gain without visits": (
            search(gain=lambda old, new, d, a: (new * a).sum()),
            "Your surrogate adds up the rows without the visits. What happens in a row that is hardly ever passed "
            "hardly counts: Σ d π_new A.",
        ),
        "halved first": (search(tries=range(1, 11)), "You halve before you look: try the whole step first."),
        "ten tries": (search(tries=range(10)), "You stop at 1/512. There are eleven tries, and the last is 1/1024."),
        "ratios": (search(gain=lambda old, new, d, a: d @ (new / old * a).sum(1)), RATIOS),
        "chi-square": (search(kl=lambda old, new, d: d @ ((new - old) ** 2 / old).sum(1) / 2), MODEL),
        "quadratic": (search(kl=quadratic), MODEL),
    },
    "Two questions to the batch itself; neither asks what the quadratic model believes.",
)

broken = Exercise(
    "12.6",
    "Write broken(product, size, damping)",
    is_broken,
    tuple((product, len(product.logits), product.damping) for product in PRODUCTS),
    {
        "never": (
            lambda product, size, damping: 0.0,
            "You call none of them broken. Two are: what they give is damping times v, for every v. (A product of 0 is "
            "not to be found, the damping is in it; and that F's rows add up to 0 is true of an empty one, too.)",
        ),
        "always": (
            lambda product, size, damping: 1.0,
            "You call all five broken; three are sound: where F v is not 0 they give something other than damping · v. "
            "Which v did you try, if any? A constant one and zeros can't tell, for F takes both to 0; and the broken "
            "ones are linear, too. Try one-hot vectors.",
        ),
        "turned": (
            lambda product, size, damping: 1 - is_broken(product, size, damping),
            "Turned round: 1 is for the broken ones.",
        ),
    },
    "Third and fourth are KLs the other way round: only the one with nothing held fixed is broken.",
)

EXERCISES = (fisher_matrix, product_of, trust_scale, mirror, line_search, broken)
