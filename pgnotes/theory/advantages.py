"""Advantages of completions that share a prompt: how good is each one, compared with what?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_numbers

EPSILON = 1e-4  # added to a standard deviation before dividing; TRL's value


def spread_is_zero(rewards: Tensor) -> Tensor:
    """True where all rewards along the last axis are equal: a dead group, which carries no policy gradient.

    rewards: [..., G].  Returns [...] bool.  Compares max with min: a tiny spread is not a dead group, and rounding can
    give a spread to equal rewards.
    ValueError for something else than a tensor of numbers, or an empty one.
    """
    check_numbers("rewards", rewards)
    return rewards.amax(-1) == rewards.amin(-1)


def centred(rewards: Tensor) -> Tensor:
    """Reward minus its group's mean (lesson 08; Liu et al. 2025, Dr. GRPO). rewards [P, G] -> [P, G]."""
    return rewards - rewards.mean(-1, keepdim=True)


def standardised(rewards: Tensor) -> Tensor:
    """Reward minus its group's mean, in units of its standard deviation (lesson 08; Shao et al. 2024, GRPO).

    [P, G] -> [P, G].  The standard deviation is the unbiased one.
    """
    return centred(rewards) / (rewards.std(-1, keepdim=True) + EPSILON)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Reward minus the mean of the *others* in its group (lesson 05; Ahmadian et al. 2024, RLOO).

    [P, G] -> [P, G]; G/(G-1) times `centred`.
    """
    group_size = rewards.shape[-1]
    sum_of_others = rewards.sum(-1, keepdim=True) - rewards
    return rewards - sum_of_others / (group_size - 1)


def batch_centred(rewards: Tensor) -> Tensor:
    """Reward minus the mean over the whole batch, all prompts together (lesson 05). [P, G] -> [P, G]."""
    return rewards - rewards.mean()


def batch_standardised(rewards: Tensor) -> Tensor:
    """Reward minus the batch's mean, in units of its standard deviation (lesson 08; Hu et al. 2025, REINFORCE++).

    [P, G] -> [P, G].  The standard deviation is the unbiased one.
    """
    return batch_centred(rewards) / (rewards.std() + EPSILON)


# two that only lesson 08 looks at, in `groups`


def batch_scaled(rewards: Tensor) -> Tensor:
    """Reward minus its group's mean, in units of the *batch's* spread: REINFORCE++ with a group mean (Hu et al. 2025).

    [P, G] -> [P, G].
    """
    differences = centred(rewards)
    return differences / (differences.std() + EPSILON)


def centred_by_class(rewards: Tensor, classes: Tensor) -> Tensor:
    """Reward minus the mean over those of its group with the same class, its own included.

    rewards [C, G], classes [C, G, T] -> [C, G, T].
    """
    same = (classes[:, :, None] == classes[:, None]).double()  # [C, i, j, T]
    means = torch.einsum("cijt,cj->cit", same, rewards) / same.sum(2)
    return rewards[..., None] - means


# what can be asked for

GROUP_KINDS: dict[str, Callable[[Tensor], Tensor]] = {"grpo": standardised, "dr_grpo": centred, "rloo": leave_one_out}
BATCH_KINDS: dict[str, Callable[[Tensor], Tensor]] = {"reinforce_pp": batch_standardised, "batch_mean": batch_centred}
KINDS: dict[str, Callable[[Tensor], Tensor]] = GROUP_KINDS | BATCH_KINDS | {"none": torch.clone}


def group_advantages(rewards: Tensor, kind: str) -> Tensor:
    """The advantage of each of G completions for each of P prompts (lessons 08 and 09).

    rewards: [P, G] floats, G >= 2, finite.  kind: one of `KINDS`.
    Returns [P, G], for "grpo" and "reinforce_pp" without unit, else in the reward's.
    Equal rewards give exact zeros: the three kinds that compare within a group to a group whose rewards are all equal,
    the two that compare within the batch to a batch of them; without this, rounding would leave a step of pure noise.
    ValueError for another shape, G < 2, values that are not finite, or an unknown kind.
    """
    check_choice("kind", kind, KINDS)
    check_numbers("rewards", rewards)
    if rewards.dim() != 2 or rewards.shape[0] < 1 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards has shape {list(rewards.shape)}; "
            "it must be [P, G] with at least one prompt and G >= 2 completions each"
        )
    if not rewards.is_floating_point() or not rewards.isfinite().all():
        raise ValueError("rewards must be finite floating-point numbers")

    advantages = KINDS[kind](rewards)
    if kind in GROUP_KINDS:
        return advantages.masked_fill(spread_is_zero(rewards)[:, None], 0.0)
    if kind in BATCH_KINDS:
        return advantages.masked_fill(spread_is_zero(rewards.flatten()), 0.0)
    return advantages
