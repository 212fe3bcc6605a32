"""The pocket model sampled by a copy of itself that is not quite itself, and scored by itself (lesson 10)."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.rollout import rollout, uniforms
from pgnotes.lm.tasks import digits_and_length
from pgnotes.theory.arguments import check_choice, check_count, check_positive
from pgnotes.theory.mismatch import PRECISIONS


class Gap(NamedTuple):
    """log π - log μ in nats, float64: of each token that was sampled [n], and of each whole completion [G]."""

    tokens: Tensor
    wholes: Tensor


@torch.no_grad()
def sampler_gap(
    precision: str = "float32", temperature: float = 1.0, prompts: int = 8, completions: int = 16, seed: int = 0
) -> Gap:
    """How far a sampler μ, the model's copy in another precision or at another temperature, is from the model π.

    The noise is the same for all samplers. precision: one of `PRECISIONS`.  prompts: how many held-out ones, each with
    so many completions.  ValueError naming the argument.
    """
    kind = PRECISIONS[check_choice("precision", precision, PRECISIONS)]
    check_positive("temperature", temperature)
    config = GRPOConfig.preset("pocket")
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    model, tokenizer = load("pocket")

    asked = [encode(tokenizer, task.message(opening)) for opening in task.held_out[: check_count("prompts", prompts)]]
    noise = [uniforms(check_count("completions", completions), config.token_limit, seed, i) for i in range(len(asked))]
    sampler = copy.deepcopy(model).to(kind)
    groups = rollout(sampler, tokenizer, asked, noise, stop_ids(model, tokenizer), temperature)

    tokens, wholes = [], []
    for group in groups:
        scored, _ = completion_logprobs(model, group.prompt, group.tokens, group.mask, entropy="none")
        gap = (scored - group.logp).double() * group.mask
        tokens.append(gap[group.mask])
        wholes.append(gap.sum(1))
    return Gap(torch.cat(tokens), torch.cat(wholes))
