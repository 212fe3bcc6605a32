"""Continue a text a few times under a temperature and a top-k, which change the policy (lesson 01)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pgnotes.lm.policy import head_logits, hidden_states, prefill
from pgnotes.lm.rollout import draw
from pgnotes.theory.policies import reshaped


@torch.no_grad()
def continuations(
    model: PreTrainedModel, prompt: Tensor, noise: Tensor, temperature: float = 1.0, top_k: int = 0
) -> Iterator[Tensor]:
    """The next token of each of G continuations, [G], one place after the other, R times (lesson 01).

    prompt: [P] ids, which run through the model once.  noise: [R, G] in [0, 1), from `rollout.uniforms`.
    temperature, top_k: as `theory.policies.reshaped` has them, which says what is wrong with others.  Nothing ends at
    a stop token: what follows one is for the caller to leave out.
    """
    lines = noise.shape[1]
    last, cache, lengths = prefill(model, [prompt])
    cache.batch_repeat_interleave(lines)
    last, lengths = last.expand(lines, -1), lengths.expand(lines)
    for done, uniforms in enumerate(noise):
        logits = head_logits(model, last, 1.0).double()
        chosen = [choose(row, u, temperature, top_k) for row, u in zip(logits, uniforms, strict=True)]
        tokens = torch.stack(chosen)
        yield tokens

        seen = torch.ones(lines, 1, 1, len(prompt) + done + 1, dtype=torch.bool)
        last = hidden_states(model, tokens[:, None], (lengths + done)[:, None], seen, cache)[:, 0]


def choose(logits: Tensor, u: Tensor, temperature: float, top_k: int) -> Tensor:
    """The token that the random number `u` picks from logits [V] under a temperature and a top-k."""
    values, kept = reshaped(logits, temperature, top_k)
    return kept[draw(values.softmax(0)[None], u[None])[0]]
