"""Exercises of lesson 01: softmax, its score, the general score, the Gaussian score, KL."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.policies import GaussianPolicy, SoftmaxPolicy

LOGITS = torch.tensor([1.8, 1.1, 0.0], dtype=torch.float64)
LARGE = torch.tensor([1000.0, 999.0, 0.0], dtype=torch.float64)
ALONE = torch.tensor([1000.0, 0.0, 0.0, 0.0], dtype=torch.float64)  # the mean is 750 below the largest
FLAT = torch.zeros(4, dtype=torch.float64)
FAR = torch.tensor([-2.0, 0.5, 3.0, 1.0], dtype=torch.float64)
FEATURES = torch.tensor([[1.0, 0.0], [0.5, 2.0], [-1.0, 1.0]], dtype=torch.float64)
THETA = torch.tensor([0.7, -0.3], dtype=torch.float64)
P, Q = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)
SURE = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
OVERFLOW = (
    "Right for small logits, but exp(1000) is infinite and ∞/∞ is not a number. Subtract the largest logit first: "
    "numerator and denominator shrink by the same factor."
)


def one_hot(action: int, k: int) -> Tensor:
    """1 at the action, 0 elsewhere, [K]."""
    return torch.eye(k, dtype=torch.float64)[action]


def naive_softmax(logits: Tensor) -> Tensor:
    """As the formula is written: overflows."""
    return logits.exp() / logits.exp().sum()


softmax = Exercise(
    "1.1",
    "Write softmax(logits)",
    lambda logits: SoftmaxPolicy(logits).probs,
    ((LOGITS,), (FLAT,), (FAR,), (LARGE,), (ALONE,)),
    {
        "overflow": (
            naive_softmax,
            OVERFLOW,
        ),
        "overflow in plain Python": (
            lambda x: [math.exp(v) / sum(map(math.exp, x.tolist())) for v in x.tolist()],
            "Right for small logits, but exp(1000) is more than a number in Python can hold. Subtract the largest "
            "logit first: numerator and denominator shrink by the same factor.",
        ),
        "less the mean": (
            lambda x: (x - x.mean()).exp() / (x - x.mean()).exp().sum(),
            "You subtract the mean. The largest logit may still be far above it, as in [1000, 0, 0, 0]: subtract the "
            "largest one, so that no exponent is above 0.",
        ),
        "powers of two": (
            lambda x: torch.exp2(x - x.max()) / torch.exp2(x - x.max()).sum(),
            "You raise 2 to the logits. A softmax raises e to them; with base 2 every difference counts less.",
        ),
        "by the maximum": (
            lambda x: (x - x.max()).exp(),
            "You give every action its size relative to the likeliest one. These are not yet probabilities: divide by "
            "their sum, so that they add up to 1.",
        ),
        "without exp": (
            lambda x: x / x.sum(),
            "You divide the logits by their sum. Logits may be negative or add up to 0; exponentiate them first.",
        ),
        "sigmoid": (
            torch.sigmoid,
            "That is the sigmoid of each logit alone. It is a probability for a yes/no decision; these actions "
            "compete, so each must be divided by the sum over all.",
        ),
        "log": (lambda x: torch.log_softmax(x, 0), "These are the log-probabilities. Exponentiate them."),
    },
    "It agrees with the package's policy, for logits of 1000 too.",
)

softmax_score = Exercise(
    "1.2",
    "Write softmax_score(logits, action)",
    lambda logits, action: SoftmaxPolicy(logits).score([action])[0],
    ((LOGITS, 0), (LOGITS, 1), (LOGITS, 2), (FLAT, 2), (FAR, 0)),
    {
        "one-hot only": (
            lambda x, a: one_hot(a, len(x)),
            "That is the derivative of θ_a alone. log π(a) = θ_a − log Σ exp θ, and the second term has a derivative "
            "too: −π.",
        ),
        "sign": (
            lambda x, a: x.softmax(0) - one_hot(a, len(x)),
            "Every sign is the wrong way round: you have the gradient of −log π, the one a loss would use.",
        ),
        "of the probability": (
            lambda x, a: x.softmax(0)[a] * (one_hot(a, len(x)) - x.softmax(0)),
            "That is ∇π(a), not ∇log π(a): there is a factor π(a) too much. The logarithm divides it out.",
        ),
        "logits": (
            lambda x, a: one_hot(a, len(x)) - x,
            "You subtract the logits. Subtract the probabilities, their softmax.",
        ),
        "only its own": (
            lambda x, a: one_hot(a, len(x)) * (1 - x.softmax(0)),
            "Only the action taken has an entry in your version. The other logits stand in the sum under the fraction: "
            "each gets −π of its own.",
        ),
        "uniform": (
            lambda x, a: one_hot(a, len(x)) - 1 / len(x),
            "You subtract 1/K from every entry. That is π only where all actions are equally likely; subtract π "
            "itself.",
        ),
        "one number": (
            lambda x, a: 1 - x.softmax(0)[a],
            "That is one entry, the one of the action taken. The other logits get a derivative too: −π(b).",
        ),
    },
    "It agrees with the closed form and with autograd, on five policies and actions.",
)

general_score = Exercise(
    "1.3",
    "Write general_score(features, weights, action)",
    lambda features, theta, action: SoftmaxPolicy(features @ theta).score([action])[0] @ features,
    ((FEATURES, THETA, 0), (FEATURES, THETA, 1), (FEATURES, THETA, 2), (FEATURES, -2 * THETA, 1)),
    {
        "no expectation": (
            lambda f, t, a: f[a],
            "That is φ(a), the derivative of the action's own logit. Subtract the features that the policy takes on "
            "average, E[φ] = Σ_b π(b) φ(b).",
        ),
        "plain average": (
            lambda f, t, a: f[a] - f.mean(0),
            "You subtract the plain average of the features. The average is under the policy: weigh each action's "
            "features by π(b).",
        ),
        "sign": (
            lambda f, t, a: (f @ t).softmax(0) @ f - f[a],
            "Every sign is the wrong way round: φ(a) comes first, its average is subtracted.",
        ),
        "of the probability": (
            lambda f, t, a: (f @ t).softmax(0)[a] * (f[a] - (f @ t).softmax(0) @ f),
            "That is ∇π(a): a factor π(a) too much. The logarithm divides it out.",
        ),
        "sum": (
            lambda f, t, a: f[a] - f.sum(0),
            "You subtract the sum of all features. Their average under the policy is wanted: weigh each by π(b).",
        ),
        "others forgotten": (
            lambda f, t, a: (1 - (f @ t).softmax(0)[a]) * f[a],
            "You have (1 − π(a)) φ(a), the part of the action taken. Each other action's logit falls as well, by π(b), "
            "and moves the weights by its own features.",
        ),
        "in the logits": (
            lambda f, t, a: one_hot(a, len(f)) - (f @ t).softmax(0),
            "That is the score in the logits, K numbers. w has D of them: the chain rule multiplies by the features "
            "once more.",
        ),
    },
    "φ(a) − E[φ]. With features = the identity it is one-hot − π again.",
)

gaussian_score = Exercise(
    "1.4",
    "Write gaussian_score(action, mean, std): the derivatives of log π by the mean and by log std",
    lambda action, mean, std: GaussianPolicy(mean, std).score([action])[0],
    ((-0.3, 0.2, 2.0), (1.5, 1.0, 0.5), (0.7, 0.7, 0.3)),
    {
        "std not squared": (
            lambda a, m, s: torch.tensor([(a - m) / s, ((a - m) / s) ** 2 - 1]),
            "The first entry has (a − μ)/σ; it should have σ² below. One σ comes from the square's derivative, the "
            "other from the chain rule inside it.",
        ),
        "by std": (
            lambda a, m, s: torch.tensor([(a - m) / s**2, ((a - m) ** 2 / s**2 - 1) / s]),
            "The second entry is the derivative by σ. By log σ it is σ times that.",
        ),
        "by the variance": (
            lambda a, m, s: torch.tensor([(a - m) / s**2, ((a - m) ** 2 / s**2 - 1) / (2 * s**2)]),
            "The second entry is the derivative by the variance σ². By log σ it is 2σ² times that.",
        ),
        "swapped": (
            lambda a, m, s: torch.tensor([((a - m) / s) ** 2 - 1, (a - m) / s**2]),
            "Both are right and in the wrong order: first by the mean, then by log σ.",
        ),
        "second sign": (
            lambda a, m, s: torch.tensor([(a - m) / s**2, 1 - (a - m) ** 2 / s**2]),
            "The second entry has the wrong sign: an action far from the mean becomes likelier when the spread grows.",
        ),
        "constant forgotten": (
            lambda a, m, s: torch.tensor([(a - m) / s**2, (a - m) ** 2 / s**2]),
            "The second entry lacks a −1: log π also contains −log σ, the normaliser. Without it the policy could "
            "only ever widen.",
        ),
        "sign": (
            lambda a, m, s: torch.tensor([(m - a) / s**2, (a - m) ** 2 / s**2 - 1]),
            "The first entry points the wrong way: an action above the mean becomes likelier when the mean rises.",
        ),
    },
    "It agrees with the package's Gaussian policy and with autograd.",
)

kl = Exercise(
    "1.5",
    "Write kl(p, q)",
    lambda p, q: torch.xlogy(p, p / q).sum(),
    ((P, Q), (Q, P), (P, P), (SURE, Q)),
    {
        "reversed": (
            lambda p, q: torch.xlogy(q, q / p).sum(),
            "That is KL(q ‖ p). Average log(p/q) under the first of the two.",
        ),
        "nan": (
            lambda p, q: (p * (p / q).log()).sum(),
            "Right unless p holds a 0: 0 · log 0 is not a number in floating point, though its limit is 0. "
            "torch.xlogy(p, p / q) knows that.",
        ),
        "zero in plain Python": (
            lambda p, q: sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True)),
            "Right unless p holds a 0: there Python's logarithm raises an error. In the limit 0 · log 0 is 0, so leave "
            "the zeros out.",
        ),
        "unweighted": (
            lambda p, q: (p / q).log().sum(),
            "You add the logarithms up without weights. KL is an average under p: weigh each by p(a).",
        ),
        "of the entropies": (
            lambda p, q: torch.xlogy(p, p).sum() - torch.xlogy(q, q).sum(),
            "That is the difference of the two entropies. Both logarithms are averaged under p: Σ p (log p − log q).",
        ),
        "mean": (
            lambda p, q: torch.xlogy(p, p / q).mean(),
            "You take the mean over the actions, which divides by K. The weights p are the average already: add up.",
        ),
        "cross-entropy": (
            lambda p, q: -(p * q.log()).sum(),
            "That is the cross-entropy, KL plus the entropy of p. For p = q it is not 0.",
        ),
        "sign": (
            lambda p, q: torch.xlogy(p, q / p).sum(),
            "Your result is below 0, and KL never is: turn the fraction inside the logarithm round.",
        ),
        "bits": (
            lambda p, q: torch.xlogy(p, p / q).sum() / torch.log(torch.tensor(2.0)),
            "That is KL in bits. This course counts in nats: the natural logarithm.",
        ),
    },
    "Zero for equal distributions, above zero for all others, and different in the two directions.",
)

EXERCISES = (softmax, softmax_score, general_score, gaussian_score, kl)
