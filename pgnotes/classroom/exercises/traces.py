"""Eligibility traces over several episodes, right and otherwise (lesson 14, exercise 14.4)."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.theory.continuous import gpomdp


def traced(scores: Tensor, rewards: Tensor, ended: Tensor, beta: float) -> Tensor:
    """Episode by episode."""
    total, start = torch.zeros_like(scores[0]), 0
    for stop in [*(ended.nonzero().flatten() + 1).tolist(), len(rewards)]:
        if stop > start:
            total = total + gpomdp(scores[start:stop], rewards[start:stop], beta)
        start = stop
    return total


def looped(
    scores: Tensor, rewards: Tensor, ended: Tensor, beta: float, *, early: bool = False, reset: str = "after"
) -> Tensor:
    """A trace with something else about it: the reward before the score, or the reset at another place."""
    trace, total = torch.zeros_like(scores[0]), torch.zeros_like(scores[0])
    for score, reward, end in zip(scores, rewards, ended.tolist(), strict=True):
        if early:
            total = total + reward * trace
        trace = beta * trace + score
        if end and reset == "before":
            trace = torch.zeros_like(trace)
        if not early:
            total = total + reward * trace
        if end and reset == "after":
            trace = torch.zeros_like(trace)
    return total


def begun(ended: Tensor) -> Tensor:
    """True at each episode's first step, from True at each last one, [T]."""
    return torch.cat([torch.ones_like(ended[:1]), ended[:-1]])
