"""Rewards for steps, made of a perfect judge's values, and what each way to add them up pays (lesson 15, claim C78)."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.theory.credit import values_to_go
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.worlds import TokenWorld


def step_values(world: TokenWorld, policy: PrefixPolicy) -> tuple[Tensor, Tensor]:
    """V where each symbol is chosen, and V where it leads, both [N, T], 0 where masked (lesson 15).

    V is what the policy earns from there on, on average; after the last symbol it is the return itself, as if a judge
    looked at the finished text.  world: with one prompt, paid at the end alone.  ValueError naming the argument.
    """
    values = values_to_go(world, policy)
    before = torch.where(world.mask, values[prefix_rows(world.sequences, world.vocab_size)], 0.0)
    goes_on = torch.cat([world.mask[:, 1:], torch.zeros(len(before), 1, dtype=torch.bool)], 1)
    return before, torch.where(goes_on, before.roll(-1, 1), world.returns()[0, :, None]) * world.mask


def process_returns(world: TokenWorld, policy: PrefixPolicy) -> dict[str, Tensor]:
    """What a text is paid in all, by how its step rewards are made of values and put together, [N] each (lesson 15).

    The outcome alone; differences V(after) - V(before), added up, which is shaping by a potential (Ng, Harada and
    Russell 1999); values added up; their mean; the smallest of them.  Arguments as in `step_values`.
    """
    before, after = step_values(world, policy)
    return {
        "the outcome": world.returns()[0],
        "differences of V": (after - before).sum(1).round(decimals=12),  # equal texts stay equal
        "sum of V": after.sum(1),
        "mean of V": after.sum(1) / world.mask.sum(1),
        "smallest V": after.masked_fill(~world.mask, float("inf")).amin(1),
    }
