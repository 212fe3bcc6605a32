"""What the two halves of a batch say about the pocket model's gradient: how noisy it is, measured (lesson 04)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.pocket.shorter import LONGEST, REQUEST, shortness
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import digits_and_length

ASKED = 48  # characters


class Half(NamedTuple):
    """Half a batch: what its completions earned [n], their mean of R·s, and their mean of s, both [D].

    With a baseline b the estimate is `weighted - b * score`.
    """

    returns: Tensor
    weighted: Tensor
    score: Tensor


def halves(batches: int, half: int = 32, seed: int = 0) -> Iterator[tuple[Half, Half]]:
    """Pairs of halves from batches of completions of one and the same prompt, paid by `shortness` (lesson 04).

    The model is never changed. D is its number of weights.
    """
    model, tokenizer = load("pocket")
    prompt = encode(tokenizer, REQUEST.format(length=ASKED, prompt=digits_and_length().prompts[0]))
    for batch in range(batches):
        noise = uniforms(2 * half, LONGEST, seed, batch)
        (group,) = rollout(model, tokenizer, [prompt], [noise], stop_ids(model, tokenizer))
        first, second = (measured(model, part) for part in group.split(half))
        yield first, second


def measured(model: PreTrainedModel, part: Group) -> Half:
    """One half's returns and the two means."""
    returns = shortness(part.texts)
    logp, _ = completion_logprobs(model, part.prompt, part.tokens, part.mask, entropy="none")
    of_completion = logp.sum(1)  # log π of each whole completion, [n]
    weights = list(model.parameters())
    weighted, score = (
        torch.cat([g.flatten() for g in torch.autograd.grad(mean, weights, retain_graph=True)])
        for mean in ((returns * of_completion).mean(), of_completion.mean())
    )
    return Half(returns, weighted, score)
