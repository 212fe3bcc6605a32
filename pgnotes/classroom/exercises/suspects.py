"""Functions that claim to be GAE, to be told apart by a test (lesson 11, exercise 11.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pgnotes.theory.actor_critic import shifted
from pgnotes.theory.critics import summed_ahead


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


def next_column(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """Bootstraps, at the last live step, from whatever stands behind it."""
    deltas = torch.where(mask, rewards + shifted(values) - values, 0.0)
    return summed_ahead(deltas, mask, lam)


def through_returns(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """Right, by the λ-return: G = r + (1 - λ) V(next) + λ G(next)."""
    nexts = torch.where(shifted(mask), shifted(values), 0.0)
    return torch.where(mask, summed_ahead(rewards + (1 - lam) * nexts, mask, lam) - values, 0.0)
