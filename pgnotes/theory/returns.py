"""Returns: what a sequence of rewards is worth, as a whole and from each step on."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_booleans, check_numbers


def discounted_return(rewards: Tensor, gamma: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Σ_t γ^t r_t, t counted from 0 (lesson 03).

    rewards: [..., T] floats in any unit.  gamma in [0, 1].  mask: [..., T] bool, or 1 and 0; rewards where it is False
    do not count, whatever they hold.  Returns [...] in the rewards' unit and dtype.  ValueError naming the argument for
    another shape or type, an empty one, or a reward that counts and is not finite.
    """
    live, gamma = live_rewards(rewards, mask), check_between("gamma", gamma, 0.0, 1.0)
    powers = gamma ** torch.arange(live.shape[-1], dtype=torch.float64, device=live.device)
    return live @ powers.to(live.dtype)


def reward_to_go(rewards: Tensor, gamma: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """G_t = Σ_{k ≥ t} γ^{k-t} r_k: what is still to come (lessons 03 and 06; Sutton & Barto 2018, eq. 3.9).

    From each step on: G_t = r_t + γ G_{t+1}.
    rewards, gamma, mask and errors as in `discounted_return`.  Returns [..., T]; 0 where the mask is False.
    """
    live, gamma = live_rewards(rewards, mask), check_between("gamma", gamma, 0.0, 1.0)

    to_go = [live[..., -1]]
    for reward in live.unbind(-1)[-2::-1]:  # from the last step but one to the first
        to_go.append(reward + gamma * to_go[-1])
    result = torch.stack(to_go[::-1], dim=-1)

    return result if mask is None else result.masked_fill(~check_booleans("mask", mask), 0.0)


def live_rewards(rewards: Tensor, mask: Tensor | None) -> Tensor:
    """The rewards, 0 where they do not count.  ValueError as in `discounted_return`."""
    if check_numbers("rewards", rewards).dim() == 0 or not rewards.is_floating_point():
        raise ValueError(
            f"rewards has shape {list(rewards.shape)} and type {rewards.dtype}; "
            "it must be [..., T], of floating-point numbers"
        )

    live = rewards if mask is None else torch.where(check_booleans("mask", mask, rewards.shape), rewards, 0.0)
    if not live.isfinite().all():
        raise ValueError("rewards holds a number that is not finite where it counts")
    return live
