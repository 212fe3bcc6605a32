"""Log-probabilities of completions that share a prompt: the prompt is computed once, the vocabulary in chunks."""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

CHUNK_LOGITS = 256 * 151_936  # logits alive at a time: 256 rows of Qwen2.5's vocabulary, 148 MiB in float32


def cache_argument(model: PreTrainedModel) -> str:
    """What the model calls its cache: transformers 5.24 renamed the argument."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def hidden_states(
    model: PreTrainedModel, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache | None = None
) -> Tensor:
    """Hidden states [B, n, H] of tokens `ids` at `positions`, both [B, n]; they see the keys (those in the cache first) where `mask` [B, 1, n, K] is True.

    Positions and mask are always given: without a mask, positions that start again are taken for a second text packed into the same row.
    """
    return model.base_model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        use_cache=cache is not None,
        **{cache_argument(model.base_model): cache},
    ).last_hidden_state


def causal(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [B, n] and mask [B, 1, n, n] of texts that begin here."""
    rows, width = ids.shape
    return torch.arange(width, device=ids.device).expand(rows, -1), key_mask(ids.new_zeros(rows), 0, width)


def key_mask(lengths: Tensor, width: int, new: int) -> Tensor:
    """Which keys the `new` completion tokens may see: their prompt without its padding to `width`, and no later token.

    lengths: [B].  Returns [B, 1, new, width + new] bool.
    """
    prompt = torch.arange(width, device=lengths.device) < lengths[:, None]
    later = torch.ones(new, new, dtype=torch.bool, device=lengths.device).tril()
    return torch.cat([prompt[:, None].expand(-1, new, -1), later.expand(len(lengths), -1, -1)], dim=-1)[:, None]


def prefill(model: PreTrainedModel, prompts: list[Tensor]) -> tuple[Tensor, DynamicCache, Tensor]:
    """Run each prompt once. prompts: B tensors [P_b] of ids.

    Returns (hidden [B, H] after the last token, cache, lengths [B]).
    Shorter prompts are padded on the right: causality hides the padding from every real token, and `key_mask` hides it
    from the completion.
    """
    lengths = torch.tensor([len(p) for p in prompts], device=model.device)
    ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True).to(model.device)
    cache = DynamicCache(config=model.config)
    hidden = hidden_states(model, ids, *causal(ids), cache)
    return hidden[torch.arange(len(prompts), device=model.device), lengths - 1], cache, lengths


def completion_hidden(model: PreTrainedModel, prompt: Tensor, tokens: Tensor, shared: bool = True) -> Tensor:
    """The hidden state from which each token of a group is chosen. prompt: [P] ids.  tokens: [G, R] ids.

    Returns [G, R, H].
    shared: the prompt runs once and its keys and values serve all completions (Prefix Grouper, 2506.05433); else once
    in each row, the plain way.
    """
    (group_size, new), before = tokens.shape, tokens[:, :-1]
    if not shared:
        ids = torch.cat([prompt.to(tokens).expand(group_size, -1), before], dim=1)
        return hidden_states(model, ids, *causal(ids))[:, -new:]
    last, cache, lengths = prefill(model, [prompt])
    first = last.expand(group_size, -1)[:, None]
    if new == 1:
        return first
    cache.batch_repeat_interleave(group_size)
    lengths = lengths.expand(group_size)
    positions = lengths[:, None] + torch.arange(new - 1, device=tokens.device)
    return torch.cat(
        [first, hidden_states(model, before, positions, key_mask(lengths, len(prompt), new - 1), cache)], dim=1
    )


def head_logits(model: PreTrainedModel, hidden: Tensor, temperature: float) -> Tensor:
    """Logits [N, V] of hidden states [N, H] at this temperature, in at least float32."""
    head = model.get_output_embeddings()
    with torch.autocast(hidden.device.type, enabled=False):
        logits = head(hidden.to(head.weight.dtype))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits if temperature == 1 else logits / temperature


def token_logprobs(
    model: PreTrainedModel, hidden: Tensor, targets: Tensor, temperature: float, chunk_logits: int = CHUNK_LOGITS
) -> tuple[Tensor, Tensor]:
    """(log-probability of each target [N], entropy [N]), both in nats, from hidden states [N, H], never with all N·V logits in memory.

    Each chunk of rows is recomputed in the backward pass, so that only its input is kept.
    """

    def chunk(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logp = F.log_softmax(head_logits(model, rows, temperature), dim=-1)
        return logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(-1)

    size = max(1, chunk_logits // model.get_output_embeddings().weight.shape[0])
    if len(hidden) <= size:
        return chunk(hidden, targets)
    parts = [
        checkpoint(chunk, h, t, use_reentrant=False)
        for h, t in zip(hidden.split(size), targets.split(size), strict=True)
    ]
    logp, entropy = zip(*parts, strict=True)
    return torch.cat(logp), torch.cat(entropy)


def completion_logprobs(
    model: PreTrainedModel,
    prompt: Tensor,
    tokens: Tensor,
    mask: Tensor,
    temperature: float = 1.0,
    chunk_logits: int = CHUNK_LOGITS,
    shared: bool = True,
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy, in nats, of every completion token of one group (lesson 09).

    prompt: [P] ids.  tokens: [G, R] ids.  mask: [G, R] bool, True on live tokens, which come first in each row.
    shared: see `completion_hidden`.
    Returns two [G, R], 0 on dead tokens; gradients flow through the prompt's one forward pass too.
    """
    hidden = completion_hidden(model, prompt, tokens, shared)
    logp, entropy = token_logprobs(model, hidden[mask], tokens[mask], temperature, chunk_logits)
    zeros = torch.zeros(tokens.shape, dtype=logp.dtype, device=logp.device)
    return zeros.masked_scatter(mask, logp), zeros.masked_scatter(mask, entropy)
