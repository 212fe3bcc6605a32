"""Two things paid at once: how much a group can still say after its rewards were normalised (lesson 10, claim C85)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.arguments import check_count, check_real

MOST = 2**20  # groups that are listed
DIGITS = 9  # two advantages that agree so far are one
LARGE = 1e9  # rewards so large that the 1e-4 beside a standard deviation tells no two groups apart


def every_group(rewards: int, size: int) -> Tensor:
    """All groups of `size` completions, each paid `rewards` times 0 or 1: [K, 2^(K·G), G] (lesson 10).

    ValueError naming the argument, if there are too many to list.
    """
    kinds, size = check_count("rewards", rewards), check_count("size", size, 2)
    if kinds * size > math.log2(MOST):
        raise ValueError(f"size is {size}, which makes 2^{kinds * size} groups; at most {MOST:,} are listed")
    paid = torch.tensor(list(itertools.product((0.0, 1.0), repeat=kinds * size)), dtype=torch.float64)
    return paid.view(-1, kinds, size).transpose(0, 1)


def summed_first(rewards: Tensor) -> Tensor:
    """GRPO's advantages of the *sum* of the rewards. rewards: [K, P, G] -> [P, G]."""
    return group_advantages(LARGE * rewards.sum(0), "grpo")


def normalised_first(rewards: Tensor) -> Tensor:
    """The sum of GRPO's advantages of *each* reward: GDPO before its last step, which is one factor for the batch.

    rewards: [K, P, G] -> [P, G].  See `advantages.gdpo_advantages` (2601.05242).
    """
    return torch.stack([group_advantages(LARGE * each, "grpo") for each in rewards]).sum(0)


def distinct(advantages: Tensor) -> int:
    """How many different rows there are, [C, G], to nine digits after the point (lesson 10)."""
    return len(check_real("advantages", advantages, 2).round(decimals=DIGITS).unique(dim=0))
