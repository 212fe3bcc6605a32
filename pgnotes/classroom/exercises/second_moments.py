"""Second moments of a first token's estimate in a world of two tokens: exercise 6.4's answer, and its slips."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def second_moments(first: Tensor, second: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """E[w²‖s‖²] of the second token's score, with w the whole return and with w the reward-to-go, [2]."""
    return second_moments_of(first, second, early[:, None] + late, late)


def second_moments_of(first: Tensor, second: Tensor, whole: Tensor, to_go: Tensor, squares: Any = None) -> Tensor:
    """The same of any two tables of weights [K, K]; squares: what stands for Σπ² of each row."""
    squares = second.square().sum(1, keepdim=True) if squares is None else squares
    sizes = 1 - 2 * second + squares
    chances = first[:, None] * second
    return torch.stack([(chances * sizes * w.square()).sum() for w in (whole, to_go)])


def without_sizes(first: Tensor, second: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Weights alone."""
    return torch.stack([(first[:, None] * second * w.square()).sum() for w in (early[:, None] + late, late)])


def not_squared(first: Tensor, second: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """The weight instead of its square."""
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    return torch.stack([(first[:, None] * second * sizes * w).sum() for w in (early[:, None] + late, late)])


def past_alone(first: Tensor, second: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """The past's square for the whole return's."""
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    parts = [(first[:, None] * second * sizes * w.square()).sum() for w in (early[:, None].expand_as(late), late)]
    return torch.stack([parts[0] + parts[1], parts[1]])
