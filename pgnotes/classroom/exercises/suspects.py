"""Functions that claim to be GAE: wrong answers to exercise 11.2, and suspects for the test of 11.6 (lesson 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pgnotes.theory.actor_critic import shifted
from pgnotes.theory.critics import summed_ahead, td_errors


@dataclass(frozen=True)
class Suspect:
    """An estimator to be tried: (rewards, values, mask, λ) -> advantages, with a name to be told by."""

    name: str
    function: Callable[[Tensor, Tensor, Tensor, float], Tensor]

    def __call__(self, rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
        """What it estimates."""
        return self.function(rewards, values, mask, lam)

    def __repr__(self) -> str:
        """Its name alone: which one has a bug is to be found out."""
        return self.name


def deltas(rewards: Tensor, values: Tensor, nexts: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """r + γ · what is put for the next value - V, 0 where the mask is False."""
    return torch.where(mask, rewards + gamma * nexts - values, 0.0)


def uncut(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """GAE whose sum runs on into what stands after the end."""
    nexts = torch.where(shifted(mask), shifted(values), 0.0)
    everywhere = torch.ones_like(mask)
    return torch.where(mask, summed_ahead(rewards + gamma * nexts - values, everywhere, gamma * lam), 0.0)


def forwards(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """The TD errors *before* a step, added up in place of those after it."""
    backwards = td_errors(rewards, values, mask, gamma).flip(-1)
    return summed_ahead(backwards, mask.flip(-1), gamma * lam).flip(-1)


def next_column(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """Bootstraps, at the last live step, from whatever stands behind it."""
    return summed_ahead(deltas(rewards, values, shifted(values), mask, 1.0), mask, lam)


def through_returns(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """Right, by the λ-return: G = r + (1 - λ) V(next) + λ G(next)."""
    nexts = torch.where(shifted(mask), shifted(values), 0.0)
    return torch.where(mask, summed_ahead(rewards + (1 - lam) * nexts, mask, lam) - values, 0.0)
