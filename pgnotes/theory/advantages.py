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


def per_success(rewards: Tensor) -> Tensor:
    """(Reward minus its group's mean) / that mean: each success counts 1/p, not 1 (lesson 10; MaxRL, 2602.02710).

    [P, G] -> [P, G], rewards none below 0. No small number is added to the mean: what it divides is at most G times as
    large. A group without a success, whose mean is 0, gets zeros.
    """
    mean = rewards.mean(-1, keepdim=True)
    return centred(rewards) / torch.where(mean > 0, mean, 1.0)


def scaled_by_batch(rewards: Tensor) -> Tensor:
    """Reward minus its *group's* mean, in units of all rewards' standard deviation (lesson 10; Lite PPO, 2508.08221).

    [P, G] -> [P, G].  The standard deviation is the unbiased one, of the rewards as they are.
    """
    return centred(rewards) / (rewards.std() + EPSILON)


# two that only `groups` looks at (lessons 08 and 10)


def batch_scaled(rewards: Tensor) -> Tensor:
    """Reward minus its group's mean, in units of the spread of *these differences*: REINFORCE++ with a group mean.

    [P, G] -> [P, G].  Hu et al. 2025 (2501.03262).
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


def pooled_leave_one_out(rewards: Tensor) -> Tensor:
    """Reward minus the mean of *all* others, those of other prompts too (lesson 15, claim C75).

    [P, G] -> [P, G].  Unbiased, as no reward is compared with itself. Less noise than `leave_one_out` where the prompts
    are about equally hard, and more where they are not.  ValueError naming the argument.
    """
    check_groups(rewards, 2)
    others = rewards.numel() - 1
    return (rewards - (rewards.sum() - rewards) / others).masked_fill(spread_is_zero(rewards.flatten()), 0.0)


# what can be asked for

# one group decides
GROUP_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "grpo": standardised,
    "dr_grpo": centred,
    "rloo": leave_one_out,
    "maxrl": per_success,
}
# other prompts' rewards count, too
BATCH_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "reinforce_pp": batch_standardised,
    "batch_mean": batch_centred,
    "lite_ppo": scaled_by_batch,
}
KINDS: dict[str, Callable[[Tensor], Tensor]] = GROUP_KINDS | BATCH_KINDS | {"none": torch.clone}
MEAN_OF_GROUP = (*GROUP_KINDS, "lite_ppo")  # under these a dead group says nothing


def group_advantages(rewards: Tensor, kind: str) -> Tensor:
    """The advantage of each of G completions for each of P prompts (lessons 08, 09 and 10).

    rewards: [P, G] floats, G >= 2, finite; for "maxrl" none below 0.  kind: one of `KINDS`.
    Returns [P, G], in the reward's unit for "dr_grpo", "rloo", "batch_mean" and "none", else without one.
    Equal rewards give exact zeros: the kinds that compare within a group to a group whose rewards are all equal, the
    two that compare with the batch's mean to a batch of them; without this, rounding would leave a step of pure noise.
    ValueError for another shape, G < 2, values that are not finite, or an unknown kind.
    """
    check_choice("kind", kind, KINDS)
    check_groups(rewards, 2)
    if kind == "maxrl" and (rewards < 0).any():
        raise ValueError("rewards must not be below 0 for maxrl, which divides by their mean")

    advantages = KINDS[kind](rewards)
    if kind in MEAN_OF_GROUP:
        return advantages.masked_fill(spread_is_zero(rewards)[:, None], 0.0)
    if kind in BATCH_KINDS:
        return advantages.masked_fill(spread_is_zero(rewards.flatten()), 0.0)
    return advantages


def gdpo_advantages(rewards: Tensor, weights: Tensor | None = None) -> Tensor:
    """Advantages where K rewards are paid: each normalised in its group *alone*, then added up (lesson 10, claim C85).

    A_k = "grpo" of reward k; Σ_k w_k A_k is then standardised over the whole batch, so that its size does not grow with
    K (GDPO, 2601.05242; both standard deviations unbiased, plus 1e-4).
    rewards: [K, P, G].  weights: [K], all 1 if not given.  Returns [P, G], without unit.
    A group in which each reward is the same for all gets exact zeros.  ValueError naming the argument.
    """
    check_groups(rewards, 3)
    if weights is None:
        weights = rewards.new_ones(len(rewards))
    check_numbers("weights", weights, rewards.shape[:1])
    alone = torch.stack([group_advantages(each, "grpo") for each in rewards])
    total = torch.einsum("k,kpg->pg", weights.to(alone), alone)
    dead = torch.stack([spread_is_zero(each) for each in rewards]).all(0)
    return batch_standardised(total).masked_fill(dead[:, None], 0.0)


def check_groups(rewards: Tensor, dims: int) -> Tensor:
    """`rewards`, if it is a tensor [P, G] of finite floats with G >= 2, or [K, P, G] where `dims` is 3.

    ValueError naming it otherwise.
    """
    check_numbers("rewards", rewards)
    if rewards.dim() != dims or rewards.shape[-1] < 2:
        shape = "[P, G]" if dims == 2 else "[K, P, G]"
        raise ValueError(
            f"rewards has shape {list(rewards.shape)}; "
            f"it must be {shape} with at least one prompt and G >= 2 completions each"
        )
    if not rewards.is_floating_point() or not rewards.isfinite().all():
        raise ValueError("rewards must be finite floating-point numbers")
    return rewards
