"""One group of completions, and what a few updates on it alone do to every token's distribution (lesson 09)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import accumulate, rewards_of, sample_groups, update
from pgnotes.lm.learner import learner
from pgnotes.lm.policy import completion_hidden, head_logits
from pgnotes.lm.rollout import Group
from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.objectives import denominator


def train_on_one_group(group_size: int, updates: int) -> tuple[Group, Tensor, list[Tensor]]:
    """The first group of the pocket run, its rewards [G], and log π [N, V] around each update on it (lesson 09).

    log π: of the N live tokens' distributions in nats, `updates` + 1 times, first before any update. The loop's own
    functions train, with the pocket preset's settings but no warm-up; always on the CPU and in float32, so that every
    machine finds the same.
    """
    settings = {"prompts_per_step": 1, "group_size": group_size, "warmup": 0, "device": "cpu"}
    run = learner(dataclasses.replace(GRPOConfig.preset("pocket"), **settings), compute_dtype=torch.float32)
    (group,) = sample_groups(run, 0)
    rewards = rewards_of(run.task, [group])
    group.advantages = group_advantages(rewards, "grpo")[0]
    normaliser = float(denominator(group.mask, "token"))

    seen = [log_probs(run.policy.model, group)]
    for _ in range(updates):
        accumulate(run, [group], normaliser)
        update(run)
        seen.append(log_probs(run.policy.model, group))
    return group, rewards[0], seen


@torch.no_grad()
def log_probs(model: PreTrainedModel, group: Group) -> Tensor:
    """The whole distribution at each live token of a group, one completion after the other, in nats, [N, V]."""
    hidden = completion_hidden(model, group.prompt, group.tokens, group.mask)
    return head_logits(model, hidden, 1.0).double().log_softmax(-1)
