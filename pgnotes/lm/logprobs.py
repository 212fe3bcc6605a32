"""Log-probabilities of completions that share a prompt: the prompt is computed once, the vocabulary in chunks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedModel

CHUNK_LOGITS = 256 * 151_936  # logits alive at a time: 256 rows of Qwen2.5's vocabulary, 148 MiB in float32


def prefill(model: PreTrainedModel, prompts: list[Tensor]) -> tuple[Tensor, DynamicCache, Tensor]:
    """Run each prompt once. prompts: B tensors [P_b] of ids.  Returns (hidden [B, H] after the last token, cache, lengths [B]).

    Shorter prompts are padded on the right: causality hides the padding from every real token, and `key_mask` hides it from the completion.
    """
    device = model.device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True).to(device)
    width = ids.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    out = model.base_model(
        input_ids=ids,
        position_ids=torch.arange(width, device=device).expand_as(ids),
        attention_mask=causal.expand(len(prompts), 1, width, width),
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
    )
    last = out.last_hidden_state[torch.arange(len(prompts), device=device), lengths - 1]
    return last, out.past_key_values, lengths


def key_mask(lengths: Tensor, queries: int, new: int) -> Tensor:
    """Which keys the last `queries` of `new` completion tokens may see: their prompt without its padding, and no later token.

    lengths: [B].  Returns [B, 1, queries, P + new] bool, P the longest prompt.
    """
    width = int(lengths.max())
    prompt = torch.arange(width, device=lengths.device) < lengths[:, None]
    causal = torch.ones(new, new, dtype=torch.bool, device=lengths.device).tril()[-queries:]
    shape = (len(lengths), queries)
    return torch.cat([prompt[:, None, :].expand(*shape, width), causal.expand(*shape, new)], dim=-1)[:, None]


def extend(model: PreTrainedModel, cache: DynamicCache, lengths: Tensor, tokens: Tensor, done: int = 0) -> Tensor:
    """Append completion tokens [B, n], `done` tokens after the prompts, to the cache. Returns their hidden states [B, n, H]."""
    count = tokens.shape[1]
    return model.base_model(
        input_ids=tokens,
        position_ids=lengths[:, None] + done + torch.arange(count, device=tokens.device),
        attention_mask=key_mask(lengths, count, done + count),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state


def head_logits(model: PreTrainedModel, hidden: Tensor, temperature: float) -> Tensor:
    """Logits [N, V] of hidden states [N, H] at this temperature, in at least float32."""
    head = model.get_output_embeddings()
    with torch.autocast(hidden.device.type, enabled=False):
        logits = head(hidden.to(head.weight.dtype))
    return logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature


def token_logprobs(model: PreTrainedModel, hidden: Tensor, targets: Tensor, temperature: float, chunk_logits: int = CHUNK_LOGITS) -> tuple[Tensor, Tensor]:
    """(log-probability of each target [N], entropy [N]), both in nats, from hidden states [N, H], never with all N·V logits in memory.

    Each chunk of rows is recomputed in the backward pass, so that only its input is kept.
    """

    def chunk(rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logp = F.log_softmax(head_logits(model, rows, temperature), dim=-1)
        return logp.gather(1, ids[:, None])[:, 0], -(logp.exp() * logp).sum(-1)

    size = max(1, chunk_logits // model.get_output_embeddings().weight.shape[0])
    if len(hidden) <= size:
        return chunk(hidden, targets)
    parts = [checkpoint(chunk, h, t, use_reentrant=False) for h, t in zip(hidden.split(size), targets.split(size), strict=True)]
    logp, entropy = zip(*parts, strict=True)
    return torch.cat(logp), torch.cat(entropy)


def completion_hidden(model: PreTrainedModel, prompt: Tensor, tokens: Tensor) -> Tensor:
    """The hidden state from which each token of a group is chosen. prompt: [P] ids.  tokens: [G, R] ids.  Returns [G, R, H]."""
    group_size = len(tokens)
    last, cache, lengths = prefill(model, [prompt])
    hidden = last.expand(group_size, -1)[:, None]
    if tokens.shape[1] == 1:
        return hidden
    cache.batch_repeat_interleave(group_size)
    return torch.cat([hidden, extend(model, cache, lengths.expand(group_size), tokens[:, :-1])], dim=1)


def completion_logprobs(
    model: PreTrainedModel, prompt: Tensor, tokens: Tensor, mask: Tensor, temperature: float = 1.0, chunk_logits: int = CHUNK_LOGITS
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy, in nats, of every completion token of one group (lesson 09; Prefix Grouper, 2506.05433).

    prompt: [P] ids.  tokens: [G, R] ids.  mask: [G, R] bool, True on live tokens, which come first in each row.
    Returns two [G, R], 0 on dead tokens; gradients flow through the prompt's one forward pass too.
    """
    hidden = completion_hidden(model, prompt, tokens)
    logp, entropy = token_logprobs(model, hidden[mask], tokens[mask], temperature, chunk_logits)
    zeros = torch.zeros(tokens.shape, dtype=logp.dtype, device=logp.device)
    return zeros.masked_scatter(mask, logp), zeros.masked_scatter(mask, entropy)
