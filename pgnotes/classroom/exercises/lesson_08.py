"""Exercises of lesson 08: GRPO's advantages, live groups, three averages, k3, and GRPO's average push."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.advantages import EPSILON, group_advantages
from pgnotes.theory.right_or_wrong import dead_share, pull
from pgnotes.theory.objectives import aggregate, kl_estimate

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.3, 0.3, 0.3, 0.3], [2.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
RATES = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
ADVANTAGES = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
LIVE = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
LOGP = torch.tensor([-0.2, -1.5, -0.7], dtype=torch.float64)
LOGP_REF = torch.tensor([-0.9, -1.0, -0.7], dtype=torch.float64)


def standardise(
    rewards: Tensor, dim: int | tuple[int, ...] = 1, correction: int = 1, epsilon: float = EPSILON
) -> Tensor:
    """Rewards less their mean, divided by their standard deviation along these axes."""
    return (rewards - rewards.mean(dim, keepdim=True)) / (
        rewards.std(dim, keepdim=True, correction=correction) + epsilon
    )


grpo = Exercise(
    "8.1",
    "Write grpo(rewards)",
    lambda rewards: group_advantages(rewards, "grpo"),
    ((REWARDS,), (REWARDS[:2],), (100 * REWARDS,)),
    {
        "whole batch": (
            lambda r: standardise(r, (0, 1)),
            "You take mean and spread over the whole batch. Then an easy prompt's failures count as successes next to "
            "a hard one: each row is a group of its own.",
        ),
        "across prompts": (
            lambda r: standardise(r, 0),
            "You compare along the wrong axis: the first completion of one prompt with the first of the others. A "
            "group is a row; use dim=-1.",
        ),
        "population": (
            lambda r: standardise(r, 1, 0),
            "You use the population's standard deviation, which divides by G. Asked for is the unbiased one, which "
            "divides by G − 1; torch's std does.",
        ),
        "only centred": (
            lambda r: r - r.mean(1, keepdim=True),
            "That is Dr. GRPO: centred, in the reward's unit. GRPO then divides by the group's standard deviation.",
        ),
        "nan": (
            lambda r: standardise(r, epsilon=0.0),
            "Right where the rewards of a group differ. Where they are all equal you divide 0 by 0: add 1e-4 to the "
            "standard deviation, so that a dead group gets zeros.",
        ),
    },
    "A dead group gets zeros; a hundred times the rewards change nothing, which is both the attraction and the "
    "trouble.",
    tolerance=1e-6,
)

live = Exercise(
    "8.2",
    "Write live_groups(rates, size)",
    lambda rates, size: (1 - dead_share(rates, size)).sum(),
    ((RATES, 8), (RATES, 4), (RATES[:2], 2)),
    {
        "all right are alive": (
            lambda p, n: (1 - (1 - p) ** n).sum(),
            "You count the groups with at least one success. A group that is all right is dead as well: there is "
            "nothing worse to compare with.",
        ),
        "all wrong are alive": (
            lambda p, n: (1 - p**n).sum(),
            "You leave out the groups that are all right, and keep those that are all wrong: (1 − p) to the power "
            "of G.",
        ),
        "dead": (
            lambda p, n: (p**n + (1 - p) ** n).sum(),
            "That is the number of dead groups. The live ones are the rest.",
        ),
        "mean rate": (
            lambda p, n: len(p) * (1 - p.mean() ** n - (1 - p.mean()) ** n),
            "You average the pass rates first. A prompt of 5 % and one of 95 % are nearly always dead; two of 50 % "
            "hardly ever. First the share of each prompt, then the sum.",
        ),
        "share": (
            lambda p, n: (1 - p**n - (1 - p) ** n).mean(),
            "That is a share. Asked for is the expected number among all prompts: sum over them.",
        ),
    },
    "With this number a preflight decides whether a task is worth starting (lesson 09).",
)


def weights(advantages: Tensor, mask: Tensor, how: str) -> Tensor:
    """What each token's score is multiplied by: the derivative of the aggregate by each token's term."""
    terms = torch.zeros(mask.shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        return torch.autograd.grad(aggregate(terms * advantages[:, None], mask, how), terms)[0]


def divided(divisor: dict[str, Callable[[Tensor], Tensor | int]]) -> Callable[..., Tensor]:
    """Advantage over live tokens, divided by what `divisor` says for each kind of average."""
    return lambda a, m, how: a[:, None] * m / divisor[how](m)


TOKEN, CONSTANT = (lambda m: m.sum()), (lambda m: m.numel())
three_averages = Exercise(
    "8.3",
    "Write token_weights(advantages, mask, how)",
    weights,
    (
        (ADVANTAGES, LIVE, "token"),
        (ADVANTAGES, LIVE, "sequence"),
        (ADVANTAGES, LIVE, "dr_grpo"),
        (ADVANTAGES[:2], LIVE[:2], "sequence"),
    ),
    {
        "not over completions": (
            divided({"token": TOKEN, "sequence": lambda m: m.sum(1, keepdim=True), "dr_grpo": CONSTANT}),
            "Your “sequence” divides by the completion's length only. It is a mean over the completions as well: "
            "divide by their number too.",
        ),
        "mean length": (
            divided(
                {"token": lambda m: m.sum(1, keepdim=True) * len(m), "sequence": lambda m: m.sum(), "dr_grpo": CONSTANT}
            ),
            "“token” and “sequence” are exchanged. “token” pools all live tokens of the step; “sequence” averages "
            "each completion over its own first.",
        ),
        "sum over completions": (
            divided({"token": TOKEN, "sequence": lambda m: m.sum(1, keepdim=True) * len(m), "dr_grpo": len}),
            "Your “dr_grpo” divides by the number of completions only. That has the right direction, but the constant "
            "is B times T.",
        ),
        "live tokens for the constant": (
            divided({"token": TOKEN, "sequence": lambda m: m.sum(1, keepdim=True) * len(m), "dr_grpo": TOKEN}),
            "Your “dr_grpo” counts live tokens, as “token” does. Its point is a constant that does not depend on what "
            "was written: B times T, padding included.",
        ),
        "no mask": (
            lambda a, m, how: weights(a, m, how) + a[:, None] * ~m / len(m),
            "Tokens after the end have a weight in your version. Nobody chose them: multiply by the mask.",
        ),
    },
    "Same advantages, three different gradients: an average is a decision about length.",
)

k3 = Exercise(
    "8.4",
    "Write k3(logp, logp_ref)",
    lambda logp, logp_ref: kl_estimate(logp, logp_ref, "k3"),
    ((LOGP, LOGP_REF), (LOGP[:2], LOGP_REF[:2])),
    {
        "reversed": (
            lambda lp, lr: torch.expm1(lp - lr) - (lp - lr),
            "The ratio is upside down: the samples come from π, so d is log π_ref − log π. Yours has another mean "
            "altogether.",
        ),
        "minus one": (
            lambda lp, lr: torch.exp(lr - lp) - (lr - lp),
            "The −1 is missing: where both policies agree, the estimate must be 0, and exp(0) is 1.",
        ),
        "k1": (
            lambda lp, lr: lp - lr,
            "That is k1: right on average, but negative for many samples. k3 adds exp(d) − 1, whose mean is 0.",
        ),
        "k2": (
            lambda lp, lr: (lr - lp) ** 2 / 2,
            "That is k2, half the squared log-ratio: never negative, but biased.",
        ),
        "plus d": (
            lambda lp, lr: torch.expm1(lr - lp) + (lr - lp),
            "The sign of the last term: exp(d) − 1 − d. With a plus, it is no longer the distance of a curve from its "
            "tangent, and can be negative.",
        ),
    },
    "The exponential less its tangent at 0: never negative, and unbiased as a number. As a loss, section 6 says what "
    "it descends.",
)


def counted(p: float, n: int, push: Callable[[float], float], coefficient: bool = True) -> Tensor:
    """Σ_k chance of k right × push(q) for q = k/n."""
    terms = [(math.comb(n, k) if coefficient else 1) * p**k * (1 - p) ** (n - k) * push(k / n) for k in range(1, n)]
    return torch.tensor(sum(terms), dtype=torch.float64)


average_push = Exercise(
    "8.5",
    "Write grpo_push(p, size)",
    lambda p, size: pull(p, size, "grpo") * p * (1 - p),
    ((0.3, 4), (0.05, 8), (0.5, 2)),
    {
        "plug in": (
            lambda p, n: (p * (1 - p) * (n - 1) / n) ** 0.5,
            "You put the true rate into the formula. The group divides by its own spread, which is random: sum over "
            "how many are right, each k with its chance.",
        ),
        "no coefficient": (
            lambda p, n: counted(p, n, lambda q: (q * (1 - q) * (n - 1) / n) ** 0.5, False),
            "The binomial coefficient is missing: k of G can be right in math.comb(G, k) ways.",
        ),
        "population": (
            lambda p, n: counted(p, n, lambda q: (q * (1 - q)) ** 0.5),
            "You use the population's standard deviation. The unbiased one is larger by √(G / (G − 1)).",
        ),
        "not divided": (
            lambda p, n: counted(p, n, lambda q: q * (1 - q)),
            "That is Dr. GRPO's push: q(1 − q), averaged. GRPO divides it by the group's standard deviation.",
        ),
        "one too many": (
            lambda p, n: counted(p, n, lambda q: q * (1 - q) / (q * (1 - q) * n / (n - 1))),
            "You divide by the variance. What is left is the share of live groups, times (G − 1)/G; divide by the "
            "standard deviation.",
        ),
    },
    "At G = 2 it is RLOO's push times √½ at every p: pairs know no difficulty. The bias comes with larger groups.",
    tolerance=1e-3,
)

EXERCISES = (grpo, live, three_averages, k3, average_push)
