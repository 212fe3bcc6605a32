"""Groups of answers that are right or wrong, rewards 1 and 0: what a group rule says at each pass rate (lesson 08)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.advantages import GROUP_KINDS, group_advantages
from pgnotes.theory.arguments import check_array, check_between, check_choice, check_count, check_real, check_shape


def dead_share(pass_rate: Any, size: int) -> Tensor:
    """p^G + (1-p)^G: how likely a group of `size` answers is dead (lesson 08; Yu et al. 2025, DAPO).

    All answers are right, or all are wrong, and the group says nothing.
    """
    p = check_rate(pass_rate)
    return p ** check_count("size", size) + (1 - p) ** size


def pull(pass_rate: Any, size: int, kind: str) -> Tensor:
    """f(p) in E[ĝ] = f(p) ∇p, for rewards 0 and 1 and a rule that compares within the group (lesson 08, claim C18).

    It is 1 for RLOO, (G-1)/G for Dr. GRPO, (1 - (1-p)^(G-1))/p for MaxRL (lesson 10, claim C84). The mean scores of
    right and of wrong answers lie ∇p / (p(1-p)) apart, and f is a sum over how many of the group are right, a binomial.
    pass_rate: in (0, 1), any shape.  kind: one of `GROUP_KINDS`.  ValueError naming the argument.
    """
    p, n = check_rate(pass_rate), check_count("size", size, 2)
    return right_counts(p, n) @ push_of_count(n, kind) / (p * (1 - p))


def pull_of(pass_rate: Any, advantages: Any) -> Tensor:
    """f(p) in E[ĝ] = f(p) ∇p for any rule that compares within a group of right and wrong answers (lesson 10, C84).

    The mean score of a right answer is ∇p / p, of a wrong one -∇p / (1-p): right ones pull with A / p, wrong ones with
    -A / (1-p).
    pass_rate: in (0, 1), any shape.  advantages: [G + 1, G]: what the rule says of the rows of `right_first(G)`.
    ValueError naming the argument.
    """
    p, table = check_rate(pass_rate), check_real("advantages", advantages, 2)
    n = check_shape("advantages", table, (table.shape[1] + 1, table.shape[1])).shape[1]
    right = right_first(n)
    chances = right_counts(p, n)
    praise, blame = (table * right).sum(1) / n, (table * (1 - right)).sum(1) / n
    return chances @ praise / p - chances @ blame / (1 - p)


def completions_needed(
    pass_rate: Any, size: int, kind: str, among_right: float = 0.0, among_wrong: float = 0.0, error: float = 0.1
) -> Tensor:
    """Completions of one prompt until a rule's standard error is `error` of the length of its own mean (lesson 08).

    With k of the group right, the estimate is c_k (mean score of its right answers - mean score of its wrong ones).
    In units of the distance between the two expected scores its mean is c_k, and its mean square
    c_k² (1 + among_right / k + among_wrong / (G-k)).
    pass_rate, size, kind: as for `pull`.  among_right, among_wrong: the mean squared distance of a right answer's score
    from the right ones' mean, and of a wrong one's from the wrong ones', in those units squared: 0 where one logit
    decides, large where there are many long ways to be right or wrong.  error: above 0.
    ValueError naming the argument.
    """
    p, n = check_rate(pass_rate), check_count("size", size, 2)
    check_between("among_right", among_right, 0, math.inf)
    check_between("among_wrong", among_wrong, 0, math.inf)
    if not 0 < error < math.inf:
        raise ValueError(f"error is {error}; it must be greater than 0")

    push, right = push_of_count(n, kind), torch.arange(n + 1, dtype=torch.float64)
    # dead groups push with 0, whatever their scores
    spread = 1 + among_right / right.clamp(min=1) + among_wrong / (n - right).clamp(min=1)
    chances = right_counts(p, n)
    mean, square = chances @ push, chances @ (push**2 * spread)
    return n * (square / mean**2 - 1) / error**2


def push_of_count(size: int, kind: str) -> Tensor:
    """Advantage of a right answer times the share that is right, [G + 1], for 0 to G right ones; wrong ones: minus it.

    Centred advantages add up to zero, so both sides weigh the same.
    """
    check_choice("kind", kind, GROUP_KINDS)
    rewards = right_first(size)
    return (group_advantages(rewards, kind) * rewards).sum(1) / size


def right_first(size: int) -> Tensor:
    """Rewards of groups of 1 and 0, [G + 1, G]: in row k the first k are right."""
    places = torch.arange(check_count("size", size))
    return (places < torch.arange(size + 1)[:, None]).double()


def right_counts(p: Tensor, size: int) -> Tensor:
    """How likely 0 to G of a group are right at each pass rate, [..., G + 1]: a binomial, in logarithms."""
    right = torch.arange(size + 1, dtype=torch.float64)
    log_orders = torch.lgamma(right.new_tensor(size + 1.0)) - torch.lgamma(right + 1) - torch.lgamma(size - right + 1)
    log_right, log_wrong = torch.xlogy(right, p[..., None]), torch.xlogy(size - right, 1 - p[..., None])
    return (log_orders + log_right + log_wrong).exp()


def check_rate(pass_rate: Any, name: str = "pass_rate") -> Tensor:
    """Rates as a float64 tensor.  ValueError, naming the argument, unless all lie strictly between 0 and 1."""
    p = check_array(name, pass_rate)
    if not ((p > 0) & (p < 1)).all():
        raise ValueError(f"{name} must lie strictly between 0 and 1; at the ends there is nothing to learn")
    return p
