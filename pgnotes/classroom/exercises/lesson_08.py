"""Exercises of lesson 08: GRPO's advantages, live groups, three averages, a flat batch, GRPO's average push."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.advantages import EPSILON, group_advantages, leave_one_out
from pgnotes.theory.objectives import aggregate, denominator
from pgnotes.theory.right_or_wrong import dead_share, pull

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.5], [0.3, 0.3, 0.3, 0.3], [2.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
SQUARE = torch.cat([REWARDS, REWARDS[:1] / 2])  # a missing keepdim goes unnoticed here, and does something else
RATES = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
ADVANTAGES = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
LIVE = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
SHORTER = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)  # the longest does not fill the table
FLAT = torch.tensor([1.0, 0.0, 0.6, 0.2, 0.5, 0.0], dtype=torch.float64)
PROMPTS = torch.tensor([2, 0, 2, 0, 1, 0])  # prompt 1 was answered once


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
    ((REWARDS,), (REWARDS[:2],), (100 * REWARDS,), (SQUARE,)),
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
        "another small number": (
            lambda r: standardise(r, epsilon=1e-8),
            "Right but for the fourth digit: what you add to the standard deviation is not 1e-4 (or you add nothing).",
        ),
        "variance": (
            lambda r: (r - r.mean(1, keepdim=True)) / (r.var(1, keepdim=True) + EPSILON),
            "You divide by the variance. Ten times the rewards would then give a tenth of the advantages; the standard "
            "deviation has the reward's own unit.",
        ),
        "the others' mean": (
            lambda r: leave_one_out(r) / (r.std(1, keepdim=True) + EPSILON),
            "You subtract the mean of the others, as RLOO does, and divide by the spread. GRPO subtracts the mean of "
            "all G, its own reward included.",
        ),
        "no keepdim": (
            lambda r: (r - r.mean(1)) / (r.std(1) + EPSILON),
            "The means are a row of P numbers and are subtracted along the wrong axis (for as many prompts as "
            "completions PyTorch does not even complain). keepdim=True keeps them a column.",
        ),
    },
    "A dead group gets zeros; a hundred times the rewards change nothing, which is both the attraction and the "
    "trouble.",
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


def weights(advantages: Tensor, mask: Tensor, how: str, limit: int) -> Tensor:
    """What each token's score is multiplied by: the derivative of the aggregate by each token's term."""
    terms = torch.zeros(mask.shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        one = aggregate(terms * advantages[:, None], mask, how, denominator(mask, how, limit))
        return torch.autograd.grad(one, terms)[0]


def divided(**divisors: Callable[[Tensor, int], Tensor | int]) -> Callable[..., Tensor]:
    """Advantage over live tokens, divided by what `divisors` say; for the averages not among them, by the right one."""
    right = {
        "token": lambda m, limit: m.sum(),
        "sequence": lambda m, limit: m.sum(1, keepdim=True) * len(m),
        "dr_grpo": lambda m, limit: len(m) * limit,
    }
    return lambda a, m, how, limit: a[:, None] * m / (right | divisors)[how](m, limit)


HOWS = ("token", "sequence", "dr_grpo")
three_averages = Exercise(
    "8.3",
    "Write token_weights(advantages, mask, how, limit)",
    weights,
    (
        *((ADVANTAGES, LIVE, how, 6) for how in HOWS),  # the table is as wide as this step's longest, the limit is 6
        *((ADVANTAGES[:2], SHORTER, how, 8) for how in HOWS),
    ),
    {
        "not over completions": (
            divided(sequence=lambda m, limit: m.sum(1, keepdim=True)),
            "Your “sequence” divides by the completion's length only. It is a mean over the completions as well: "
            "divide by their number too.",
        ),
        "no column": (
            divided(sequence=lambda m, limit: m.sum(1) * len(m)),
            "The lengths are a row of B numbers and do not fit the table [B, T]: keepdim=True makes them a column.",
        ),
        "exchanged": (
            divided(token=lambda m, limit: m.sum(1, keepdim=True) * len(m), sequence=lambda m, limit: m.sum()),
            "“token” and “sequence” are exchanged. “token” pools all live tokens of the step; “sequence” averages "
            "each completion over its own first.",
        ),
        "width of the table": (
            divided(dr_grpo=lambda m, limit: m.numel()),
            "Your “dr_grpo” divides by the size of the table. That is as wide as this step's longest completion "
            "happens to be, and no constant: use the limit.",
        ),
        "longest completion": (
            divided(dr_grpo=lambda m, limit: len(m) * m.sum(1).max()),
            "Your “dr_grpo” divides by this step's longest completion. The next step has another one: the constant is "
            "the limit, which no completion changes.",
        ),
        "sum over completions": (
            divided(dr_grpo=lambda m, limit: len(m)),
            "Your “dr_grpo” divides by the number of completions only. That has the right direction, but the constant "
            "is B times the limit.",
        ),
        "limit alone": (
            divided(dr_grpo=lambda m, limit: limit),
            "Your “dr_grpo” divides by the limit only. Twice as many completions would make twice the gradient: divide "
            "by their number too.",
        ),
        "live tokens for the constant": (
            divided(dr_grpo=lambda m, limit: m.sum()),
            "Your “dr_grpo” counts live tokens, as “token” does. Its point is a constant that does not depend on what "
            "was written: B times the limit.",
        ),
        "no mask": (
            lambda a, m, how, limit: (
                a[:, None].expand(m.shape)
                / {"token": m.sum(), "sequence": m.sum(1, keepdim=True) * len(m), "dr_grpo": len(m) * limit}[how]
            ),
            "Tokens after the end have a weight in your version. Nobody chose them: multiply by the mask.",
        ),
    },
    "Same advantages, three different gradients: an average is a decision about length.",
)


def flat(groups_of: Callable[[Tensor], Tensor], prompts: Tensor, rewards: Tensor) -> Tensor:
    """`groups_of` the rewards of each prompt, put back where they came from."""
    result = torch.zeros_like(rewards)
    for prompt in prompts.unique():
        result[prompts == prompt] = groups_of(rewards[prompts == prompt])
    return result


def others(rewards: Tensor) -> Tensor:
    """Less the mean of the others; 0 for one that has none."""
    return leave_one_out(rewards) if len(rewards) > 1 else torch.zeros_like(rewards)


flat_batch = Exercise(
    "8.4",
    "Write rloo(rewards, prompts)",
    lambda rewards, prompts: flat(others, prompts, rewards),
    ((FLAT, PROMPTS), (FLAT[:5], PROMPTS[:5]), (FLAT, torch.tensor([0, 0, 0, 0, 1, 1]))),
    {
        "own included": (
            lambda r, p: flat(lambda g: g - g.mean(), p, r),
            "You subtract the mean of the whole group, its own reward included: Dr. GRPO. Leave the own one out.",
        ),
        "whole batch": (
            lambda r, p: leave_one_out(r),
            "You compare with all other completions, whatever they answer. Each one is compared with those of its own "
            "prompt.",
        ),
        "neighbours": (
            lambda r, p: flat(others, torch.unique_consecutive(p, return_inverse=True)[1], r),
            "You take neighbours in the list for a group. It comes in any order: compare with all that have the same "
            "prompt number, wherever they stand.",
        ),
        "batch mean": (
            lambda r, p: r - r.mean(),
            "One mean for the whole batch: the easy prompt's failures are then praised beside the hard one's. Each "
            "prompt has its own comparison.",
        ),
        "alone: nan": (
            lambda r, p: flat(leave_one_out, p, r),
            "Right but for the completion that is alone with its prompt: 0 divided by 0. It has nobody to be compared "
            "with and gets 0.",
        ),
        "alone: own reward": (
            lambda r, p: flat(lambda g: leave_one_out(g) if len(g) > 1 else g, p, r),
            "Right but for the completion that is alone with its prompt: it keeps its reward. With nobody to compare "
            "with it gets 0.",
        ),
        "divided": (
            lambda r, p: flat(lambda g: standardise(g, 0) if len(g) > 1 else 0 * g, p, r),
            "That is GRPO, prompt by prompt. RLOO subtracts the mean of the others and divides by nothing.",
        ),
        "divided by all": (
            lambda r, p: flat(lambda g: g - (g.sum() - g) / len(g), p, r),
            "The others' sum is divided by the size of the group. There is one fewer of them: G − 1.",
        ),
        "the others alone": (
            lambda r, p: r - flat(others, p, r),
            "That is the mean of the others, the baseline. The advantage is the reward less that.",
        ),
    },
    "Groups of any size, in any order, and one alone says nothing: its prompt has no baseline.",
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
        "dead groups, raised": (
            lambda p, n: 1 / 0,
            "You divide by a spread of 0: the groups with k = 0 and k = G are dead. They push with 0; leave them out.",
        ),
        "dead groups, nan": (
            lambda p, n: float("nan"),
            "0 divided by 0: groups with k = 0 or k = G are dead, without spread. They push with 0; leave them out.",
        ),
        "live ones only": (
            lambda p, n: pull(p, n, "grpo") * p * (1 - p) / (1 - dead_share(p, n)),
            "You average over the live groups. The dead ones belong to the average, with a push of 0.",
        ),
    },
    "At G = 2 it is RLOO's push times √½ at every p, at G = 3 times 2/√3: pairs and triples know no difficulty. The "
    "bias comes with larger groups.",
    tolerance=1e-3,
)

EXERCISES = (grpo, live, three_averages, flat_batch, average_push)
