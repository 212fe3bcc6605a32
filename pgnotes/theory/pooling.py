"""Comparing completions across prompts: what it does to two prompts' gradients, exactly (lesson 15, claim C75)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count

Rule = Callable[[Tensor], Tensor]  # rewards [2, G] -> advantages [2, G]


class Pooled(NamedTuple):
    """A batch of two prompts: each one's mean gradient as a share of the true one, [2], and the noise, one number.

    The noise is the trace of the covariance of both prompts' gradients together.
    """

    pulls: Tensor
    noise: Tensor


def two_prompts(rates: Sequence[float], size: int, rule: Rule, answers: int = 100) -> Pooled:
    """The exact moments of (1/G) Σ A s for two prompts with a softmax of their own each (lesson 15).

    Every answer of a prompt is equally likely, and a share of them passes, which earns 1: scores are equally long,
    ‖s‖² = 1 - 1/K.  All (G + 1)² pairs of counts are listed.
    rates: two pass rates.  size: G.  rule: from rewards [2, G] to advantages.  answers: K.  ValueError naming the
    argument.
    """
    if len(rates) != 2:
        raise ValueError(f"rates has {len(rates)} entries; it must have two, one for each prompt")
    size, answers = check_count("size", size, 2), check_count("answers", answers, 2)
    rates = [check_between("rates", rate, 1e-9, 1 - 1e-9) for rate in rates]

    chances, squares, means = [], [], []
    for counts in ((a, b) for a in range(size + 1) for b in range(size + 1)):
        rewards = (torch.arange(size) < torch.tensor(counts)[:, None]).double()  # the first so many pass
        advantages = rule(rewards)
        chances.append(math.prod(binomial(k, size, rate) for k, rate in zip(counts, rates, strict=True)))
        listed = [one_prompt(*pair, rate, answers) for *pair, rate in zip(rewards, advantages, rates, strict=True)]
        means.append([mean for mean, _ in listed])
        squares.append(sum(square for _, square in listed))

    weights = torch.tensor(chances, dtype=torch.float64)
    pulls = weights @ torch.tensor(means, dtype=torch.float64)
    truth = torch.tensor([rate * (1 - rate) / answers for rate in rates], dtype=torch.float64)  # ‖∇p‖²
    return Pooled(pulls, weights @ torch.tensor(squares, dtype=torch.float64) - (pulls.square() * truth).sum())


def one_prompt(rewards: Tensor, advantages: Tensor, rate: float, answers: int) -> tuple[float, float]:
    """Of one prompt's group: the mean of its gradient along ∇p ÷ ‖∇p‖², and the mean of its squared length.

    Given its reward, a score has the mean ∇p / p or -∇p / (1 - p), and scores of one group are independent.
    """
    passed, failed = (torch.tensor(x, dtype=torch.float64) for x in (1 / rate, -1 / (1 - rate)))
    along = torch.where(rewards > 0, passed, failed) * advantages / len(rewards)
    lengths = (advantages.square() * (1 - 1 / answers)).sum() / len(rewards) ** 2
    crossed = (along.sum() ** 2 - along.square().sum()) * rate * (1 - rate) / answers
    return along.sum().item(), (lengths + crossed).item()


def binomial(k: int, n: int, p: float) -> float:
    """How likely k of n are, each with chance p."""
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def break_even_gap(rate: float, size: int) -> float:
    """The gap Δ of two pass rates around `rate` at which pooling stops paying (lesson 15).

    Δ² = σ² (2G - 1) / (G (G - 1)) with σ² = rate (1 - rate): where the offset GΔ/(2G - 1) of the pooled baseline,
    squared, is what its variance saves.  An approximation: both prompts are given the variance of `rate`, and the
    scores are taken to go with nothing. At `rate` 0.3 the true gap is 6 % below it for groups of 4, 3 % for 8.
    """
    size = check_count("size", size, 2)
    rate = check_between("rate", rate, 0.0, 1.0)
    return (rate * (1 - rate) * (2 * size - 1) / (size * (size - 1))) ** 0.5
