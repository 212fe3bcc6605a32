"""Log-probabilities of completions that share a prompt: packed into few rows, the vocabulary in chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from pgnotes.lm.policy import completion_hidden, head_logits

CHUNK_LOGITS = 256 * 151_936  # logits alive at a time: 256 rows of Qwen2.5's vocabulary, 148 MiB in float32
ENTROPY = ("none", "logged", "trained")  # not computed · without a gradient · with one


def token_logprobs(
    model: PreTrainedModel,
    hidden: Tensor,
    targets: Tensor,
    temperature: float,
    chunk_logits: int = CHUNK_LOGITS,
    entropy: str = "logged",
) -> tuple[Tensor, Tensor]:
    """(log-probability of each target [N], entropy [N]), both in nats, from hidden states [N, H].

    Never with all N·V logits in memory: each chunk of rows is recomputed in the backward pass, so that only its input
    is kept.  entropy: one of `ENTROPY`; zeros where it is not computed.
    """

    def chunk(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logp = F.log_softmax(head_logits(model, rows, temperature), dim=-1)
        chosen = logp.gather(1, ids[:, None])[:, 0]
        if entropy == "none":
            return chosen, torch.zeros_like(chosen)
        with torch.set_grad_enabled(torch.is_grad_enabled() and entropy == "trained"):
            return chosen, -(logp.exp() * logp).sum(-1)

    size = max(1, chunk_logits // model.get_output_embeddings().weight.shape[0])
    if len(hidden) <= size:
        return chunk(hidden, targets)
    pairs = zip(hidden.split(size), targets.split(size), strict=True)
    parts = [checkpoint(chunk, h, t, use_reentrant=False, preserve_rng_state=False) for h, t in pairs]
    logp, spread = zip(*parts, strict=True)
    return torch.cat(logp), torch.cat(spread)


def completion_logprobs(
    model: PreTrainedModel,
    prompt: Tensor,
    tokens: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    chunk_logits: int = CHUNK_LOGITS,
    pack: int = 0,
    entropy: str = "logged",
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy, in nats, of every completion token of one group (lesson 09).

    prompt: [P] ids.  tokens: [G, R] ids.  mask: [G, R] bool, True on live tokens, which come first in each row.
    pack: see `completion_hidden`.  entropy: see `token_logprobs`.
    Returns two [G, R], 0 on dead tokens; gradients flow through the prompt's one forward pass too.
    """
    hidden = completion_hidden(model, prompt, tokens, mask, pack)
    logp, spread = token_logprobs(model, hidden, tokens[mask], temperature, chunk_logits, entropy)
    zeros = torch.zeros(tokens.shape, dtype=logp.dtype, device=logp.device)
    return zeros.masked_scatter(mask, logp), zeros.masked_scatter(mask, spread)
