"""What a text is worth after each of its tokens: the mean reward of fresh continuations (lesson 11).

VinePPO (Kazemnejad et al. 2024, arXiv 2410.01679) puts such values in the place of a critic's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.grpo import rewards_of
from pgnotes.lm.models import encode, stop_ids
from pgnotes.lm.rollout import Group, rollout, trimmed, uniforms
from pgnotes.lm.tasks import Task


def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    prompt: str,
    tokens: Tensor,
    samples: int,
    limit: int,
    *seeds: int | str,
) -> Tensor:
    """What fresh continuations of a completion earn, of none of its tokens, of the first, and so on: [R + 1, samples].

    The mean of row t is V after t tokens, with rewards of 1 and 0 the chance to pass. In the last row nothing is left
    to be drawn where the completion is over: it is what the completion itself earns.
    prompt: as the task knows it.  tokens: [R] ids, the stop token included.  limit: the most tokens of a completion, at
    least R.  The seeds and the place t decide what is drawn.  ValueError naming the argument.
    """
    if not 0 < len(tokens) <= limit:
        raise ValueError(f"tokens has {len(tokens)} entries; it must have 1 to limit, {limit}")
    start, stops = encode(tokenizer, task.message(prompt)), stop_ids(model, tokenizer)
    earned = []
    for t in range(len(tokens) + 1):
        noise = uniforms(samples, limit - t, *seeds, t)
        group = with_continuations(model, tokenizer, start, tokens[:t], noise, stops)
        group.source = prompt
        earned.append(rewards_of(task, [group])[0].double())
    return torch.stack(earned)


def with_continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    start: Tensor,
    prefix: Tensor,
    noise: Tensor,
    stops: list[int],
) -> Group:
    """The group of the completions that begin with `prefix` [t], as the model goes on from there; noise: [R, G].

    Nothing follows a prefix that ends with a stop token, or that leaves no room (R is 0).
    """
    heads = prefix.expand(noise.shape[1], -1)
    ended = torch.full((len(heads),), bool(len(prefix)) and int(prefix[-1]) in stops)
    if ended.all() or len(noise) == 0:
        return trimmed(tokenizer, start, heads, torch.ones_like(heads, dtype=torch.bool), heads.float(), ended)

    (tails,) = rollout(model, tokenizer, [torch.cat([start, prefix])], [noise], stops)
    mask = torch.cat([torch.ones_like(heads, dtype=torch.bool), tails.mask], 1)
    logp = torch.cat([torch.zeros_like(heads, dtype=tails.logp.dtype), tails.logp], 1)  # of the continuations alone
    return trimmed(tokenizer, start, torch.cat([heads, tails.tokens], 1), mask, logp, tails.ended)
