"""Sample G completions for each prompt from the policy itself: no top-k, no penalty, one temperature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from pgnotes.lm.logprobs import extend, head_logits, prefill


@dataclass
class Group:
    """The G completions of one prompt, padded to the longest, R tokens."""

    prompt: Tensor  # [P] ids
    tokens: Tensor  # [G, R] ids
    mask: Tensor  # [G, R] bool: True up to the stop token, which counts
    logp: Tensor  # [G, R] log-probabilities in nats when sampled; 0 on dead tokens
    ended: Tensor  # [G] bool: True where the model itself wrote a stop token
    texts: list[str]  # G completions, the stop token not shown
    logp_old: Tensor | None = None  # [G, R] log-probabilities when sampled, as the scorer sees them; set by the first training pass


class RoomyLayer(DynamicLayer):
    """A cache layer with room for the whole completion: a token is written in place, where DynamicLayer copies all that came before."""

    def __init__(self, layer: DynamicLayer, repeats: int, room: int):
        """Take over `layer`'s keys and values [B, heads, P, D], each row `repeats` times, with `room` more places."""
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.rooms = []
        for old in (layer.keys, layer.values):
            batch, heads, used, width = old.shape
            self.rooms.append(old.new_empty(batch * repeats, heads, used + room, width))
            self.rooms[-1][:, :, :used] = old.repeat_interleave(repeats, dim=0)
        self.keys, self.values = (place[:, :, :used] for place in self.rooms)

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Append [B, heads, n, D]; returns all keys and all values so far."""
        start, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        for place, new in zip(self.rooms, (key_states, value_states), strict=True):
            place[:, :, start:end] = new
        self.keys, self.values = (place[:, :, :end] for place in self.rooms)
        return self.keys, self.values


def make_room(cache: DynamicCache, repeats: int, room: int) -> None:
    """Repeat each row of the cache and leave `room` places behind it; layers of another kind are repeated as they are."""
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = RoomyLayer(layer, repeats, room)
        else:
            layer.batch_repeat_interleave(repeats)


def seeded(*seeds: int | str) -> torch.Generator:
    """A generator whose stream depends on all of `seeds`: (1, 2) and (12,) give different ones."""
    digest = hashlib.sha256("/".join(map(str, seeds)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def uniforms(group_size: int, max_new_tokens: int, *seeds: int | str) -> Tensor:
    """One number in [0, 1) for each token of a group, [R, G], from a generator of the group's own."""
    return torch.rand(max_new_tokens, group_size, generator=seeded(*seeds))


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """One token a row by inverting the cumulative distribution. probabilities [B, V], uniform [B] in [0, 1). Returns ids [B].

    A token of probability 0 is never drawn: the first whose cumulative sum *exceeds* u times the total is taken.
    """
    cumulative = probabilities.cumsum(-1)
    threshold = uniform.to(probabilities)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp(max=probabilities.shape[1] - 1)


@torch.no_grad()
def rollout(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[Tensor], noise: list[Tensor], stops: list[int], temperature: float = 1.0
) -> list[Group]:
    """Sample a group of completions for each prompt, all groups in one batch.

    prompts: one [P] tensor of ids each.  noise: one [R, G] tensor each, from `uniforms`; R is the most tokens a completion may have.
    stops: ids that end a completion.  A group's samples do not depend on the groups beside it, but for rounding in the model's own arithmetic.
    """
    limit, group_size = noise[0].shape
    last, cache, lengths = prefill(model, prompts)
    make_room(cache, group_size, limit)
    last, lengths = last.repeat_interleave(group_size, 0), lengths.repeat_interleave(group_size)
    uniform = torch.cat(noise, dim=1).to(model.device)
    ends = torch.tensor(stops, device=model.device)
    alive = torch.ones(len(last), dtype=torch.bool, device=model.device)
    tokens, logps, masks = [], [], []
    for done in range(limit):
        logp = F.log_softmax(head_logits(model, last, temperature), dim=-1)
        token = draw(logp.exp(), uniform[done])
        tokens.append(token)
        logps.append(logp.gather(1, token[:, None])[:, 0] * alive)
        masks.append(alive)
        alive = alive & ~torch.isin(token, ends)
        if done + 1 == limit or not alive.any():
            break
        last = extend(model, cache, lengths, token[:, None], done)[:, 0]
    columns = [torch.stack(column, dim=1).view(len(prompts), group_size, -1) for column in (tokens, masks, logps)]
    ended = (~alive).view(len(prompts), group_size)
    return [trimmed(tokenizer, prompt, *parts) for prompt, *parts in zip(prompts, *columns, ended, strict=True)]


def trimmed(tokenizer: PreTrainedTokenizerBase, prompt: Tensor, tokens: Tensor, mask: Tensor, logp: Tensor, ended: Tensor) -> Group:
    """One group cut to its own longest completion, with its texts."""
    width = int(mask.sum(-1).max())
    counts = (mask.sum(-1) - ended.long()).tolist()
    rows = tokens.tolist()
    texts = tokenizer.batch_decode(
        [row[:count] for row, count in zip(rows, counts, strict=True)], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return Group(prompt, tokens[:, :width], mask[:, :width], logp[:, :width], ended, texts)
