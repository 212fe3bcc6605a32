"""Sample G completions for each prompt from the policy itself: no top-k, no penalty, one temperature."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from pgnotes.lm.errors import out_of_memory
from pgnotes.lm.policy import Policy, head_logits, hidden_states, prefill

BLOCK = 256  # tokens whose probabilities are added up together when one is drawn
GRAPHS = ("cuda",)  # devices that can record a token's work and repeat it
CAPTURABLE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # whether a model's could be, once it was tried
DROP = 0.25  # finished rows leave the batch when they are so large a share of it: each time costs a copy of the cache


@dataclass
class Group:
    """The G completions of one prompt, padded to the longest, R tokens."""

    prompt: Tensor  # [P] ids
    tokens: Tensor  # [G, R] ids
    mask: Tensor  # [G, R] bool: True up to the stop token, which counts
    logp: Tensor  # [G, R] log-probabilities in nats when sampled; 0 on dead tokens
    ended: Tensor  # [G] bool: True where the model itself wrote a stop token
    texts: list[str]  # G completions, the stop token not shown
    advantages: Tensor = None  # ty: ignore[invalid-assignment]  # [G], once they are known
    # [G, R] the same as the scorer sees them; set by the first training pass
    logp_old: Tensor = None  # ty: ignore[invalid-assignment]
    source: str = ""  # the prompt as the task knows it, uncut

    def split(self, rows: int) -> list[Group]:
        """The same completions in groups of at most so many."""
        return [self.part(slice(start, start + rows)) for start in range(0, len(self.tokens), rows)]

    def part(self, rows: slice) -> Group:
        """Some of the completions."""
        return Group(
            prompt=self.prompt,
            tokens=self.tokens[rows],
            mask=self.mask[rows],
            logp=self.logp[rows],
            ended=self.ended[rows],
            texts=self.texts[rows],
            advantages=None if self.advantages is None else self.advantages[rows],
            logp_old=None if self.logp_old is None else self.logp_old[rows],
            source=self.source,
        )


class Sampler(Protocol):
    """What samples the completions of a step: `generate`, or one of your own (examples/vllm_sampler.py is one)."""

    def __call__(self, policy: Policy, prompts: list[Tensor], noise: list[Tensor], temperature: float) -> list[Group]:
        """One group for each prompt [P] of ids.

        noise: a tensor [R, G] of numbers in [0, 1) for each prompt: R is the most tokens a completion may have, G how
        many completions are wanted, and the numbers decide what is drawn, where the sampler lets them. The groups'
        log-probabilities are those under which the tokens were drawn.
        """


class RoomyLayer(DynamicLayer):
    """A cache layer with room for the whole completion.

    A token is written in place, where DynamicLayer copies all that came before.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int, column: Tensor, whole: bool):
        """Take over keys and values [B, heads, P, D] of a prompt, and leave `room` places behind them.

        column: [1], where the next token goes; its owner moves it on.  whole: give all places from the start, so that
        the shapes stay; what is not written yet must then be hidden.
        """
        super().__init__()
        self.lazy_initialization(keys, values)
        self.rooms = [F.pad(old, (0, 0, 0, room)) for old in (keys, values)]
        self.column, self.used = column, keys.shape[2] + whole * room

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Put [B, heads, 1, D] at `column`; returns all keys and all values so far, [B, heads, n, D]."""
        self.used += 1
        for place, new in zip(self.rooms, (key_states, value_states), strict=True):
            place.index_copy_(2, self.column, new)
        self.keys, self.values = (place[:, :, : self.used] for place in self.rooms)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only."""
        self.rooms = [place[indices] for place in self.rooms]
        self.keys, self.values = (place[:, :, : self.used] for place in self.rooms)


def seeded(*seeds: int | str) -> torch.Generator:
    """A generator whose stream depends on all of `seeds`: (1, 2) and (12,) give different ones."""
    digest = hashlib.sha256("/".join(map(str, seeds)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def uniforms(group_size: int, max_new_tokens: int, *seeds: int | str) -> Tensor:
    """One number in [0, 1) for each token of a group, [R, G], from a generator of the group's own."""
    return torch.rand(max_new_tokens, group_size, generator=seeded(*seeds))


def chosen_prompts(prompts: list[str], count: int, step: int, seed: int) -> list[str]:
    """The `count` prompts of a step: all of them in a new order each time round, decided by the seed alone."""
    total, picked = len(prompts), []
    for place in range(step * count, (step + 1) * count):
        order = torch.randperm(total, generator=seeded(seed, "order", place // total))
        picked.append(prompts[int(order[place % total])])
    return picked


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """One token a row by inverting the cumulative distribution: ids [B].

    probabilities: [B, V].  uniform: [B] in [0, 1).  First the block of tokens is found, then the token in it, which is
    faster than one long sum, and rounds less. A token of probability 0 is never drawn. Where an overflow left NaN some
    token is drawn, and the training step is skipped.
    """
    blocks = F.pad(probabilities, (0, -probabilities.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    totals = blocks.sum(-1)
    threshold = uniform.to(probabilities)[:, None] * totals.sum(-1, keepdim=True)

    block, before = first_above(totals, threshold)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]]
    place, _ = first_above(inside, threshold - before)
    return (block * BLOCK + place)[:, 0].clamp(max=probabilities.shape[1] - 1)


def first_above(terms: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """The first place whose cumulative sum exceeds the threshold, and the sum before it; both [B, 1].

    terms: [B, n].  threshold: [B, 1], held below the total, against rounding.
    """
    sums = terms.cumsum(-1)
    below_total = sums[:, -1:].nextafter(sums.new_zeros(1))
    place = torch.searchsorted(sums, torch.minimum(threshold, below_total), right=True).clamp(max=terms.shape[1] - 1)
    return place, F.pad(sums, (1, 0)).gather(1, place)


def generate(policy: Policy, prompts: list[Tensor], noise: list[Tensor], temperature: float = 1.0) -> list[Group]:
    """The loop's own `Sampler`: the policy, or its half-precision copy, one token after the other."""
    return rollout(policy.sampler(), policy.tokenizer, prompts, noise, policy.stops, temperature)


@torch.no_grad()
def rollout(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[Tensor],
    noise: list[Tensor],
    stops: list[int],
    temperature: float = 1.0,
) -> list[Group]:
    """Sample a group of completions for each prompt, all groups in one batch.

    Finished rows leave it, but where a CUDA graph repeats each token's work: there all rows stay to the end.

    prompts: one [P] tensor of ids each.  noise: one [R, G] tensor each, from `uniforms`; R is the most tokens a
    completion may have.  stops: ids that end a completion.
    A group's samples do not depend on the groups beside it, but for rounding in the model's own arithmetic.
    """
    device, (limit, group_size) = model.device, noise[0].shape
    last, cache, lengths = prefill(model, prompts)
    width = int(lengths.max())

    # One row for each completion, with room for its keys and values.
    cache.batch_repeat_interleave(group_size)
    ordinary = all(type(layer) is DynamicLayer for layer in cache.layers)  # a sliding window keeps its own kind
    graphs = ordinary and device.type in GRAPHS and CAPTURABLE.get(model, True)
    column = torch.tensor([width], device=device)  # where the next token's keys and values go
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            keys, values = cast(Tensor, layer.keys), cast(Tensor, layer.values)
            cache.layers[i] = RoomyLayer(keys, values, limit, column, graphs)
    last, lengths = last.repeat_interleave(group_size, 0), lengths.repeat_interleave(group_size)
    uniform = torch.cat(noise, dim=1).to(device)

    # What a row may see: its prompt without the padding, and all that it has written.
    columns = torch.arange(width + limit, device=device)
    visible = ((columns < lengths[:, None]) | (columns >= width))[:, None, None]

    ends = torch.tensor(stops, device=device)
    tokens = torch.zeros(len(last), limit, dtype=torch.long, device=device)
    logps = torch.zeros(tokens.shape, dtype=torch.promote_types(last.dtype, torch.float32), device=device)
    mask = tokens.bool()
    rows = torch.arange(len(last), device=device)  # those in the batch
    alive = torch.ones_like(rows, dtype=torch.bool)  # those of them that are still being written
    token = torch.zeros_like(rows)

    def write() -> None:
        """Draw the next token of every row in the batch, and note it where the row has not ended."""
        place = column - width
        logits = head_logits(model, last, temperature)
        norm = logits.logsumexp(-1, keepdim=True)
        token.copy_(draw((logits - norm).exp_(), uniform[place, rows]))
        tokens[rows, place], mask[rows, place] = token, alive
        logps[rows, place] = torch.where(alive, (logits.gather(1, token[:, None]) - norm)[:, 0], 0)
        alive.logical_and_((token[:, None] != ends).all(-1))  # isin would wait for the GPU where there are many

    def read_and_write() -> None:
        """Read the newest token of every row and write the next, all in place, so that it can be repeated as it is."""
        seen = (visible & (columns <= column))[..., : None if graphs else width + done]
        last.copy_(hidden_states(model, token[:, None], (lengths + column - width)[:, None], seen, cache)[:, 0])
        column.add_(1)
        write()

    write()
    one_more = read_and_write
    for done in range(1, limit):
        left = int(alive.sum())
        if left == 0:
            break
        if graphs and done == (1 if model in CAPTURABLE else 2):  # a model's first one warms up
            one_more = captured(read_and_write, model)
        elif not graphs and left <= (1 - DROP) * len(rows):
            cache.batch_select_indices(alive.nonzero()[:, 0])
            rows, lengths, visible, last, token, alive = (
                x[alive] for x in (rows, lengths, visible, last, token, alive)
            )
        one_more()

    ended = torch.isin(tokens, ends).logical_and(mask).any(-1)
    by_group = [table.view(len(prompts), group_size, *table.shape[1:]) for table in (tokens, mask, logps, ended)]
    return [trimmed(tokenizer, prompt, *parts) for prompt, *parts in zip(prompts, *by_group, strict=True)]


def captured(work: Callable[[], None], model: PreTrainedModel) -> Callable[[], object]:
    """The same work as a CUDA graph, which Python launches once instead of kernel by kernel. It is not done now.

    work: takes and gives nothing, and changes tensors in place.  Where `model` does something that can't be recorded,
    the work is given back as it is, and the model is not asked again.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        CAPTURABLE[model] = False
        return work
    CAPTURABLE[model] = True
    return graph.replay


def trimmed(
    tokenizer: PreTrainedTokenizerBase, prompt: Tensor, tokens: Tensor, mask: Tensor, logp: Tensor, ended: Tensor
) -> Group:
    """One group cut to its own longest completion, with its texts."""
    width, counts = int(mask.sum(-1).max()), (mask.sum(-1) - ended.long()).tolist()
    rows = [row[:count] for row, count in zip(tokens.tolist(), counts, strict=True)]
    texts = tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Group(prompt, tokens[:, :width], mask[:, :width], logp[:, :width], ended, texts)


def group_of(policy: Policy, prompt: Tensor, completions: list[list[int]], logps: list[list[float]]) -> Group:
    """The group that another sampler wrote: each completion's ids, the stop token included, and log-probabilities."""
    tokens = pad_sequence([torch.tensor(ids) for ids in completions], batch_first=True).to(policy.device)
    logp = pad_sequence([torch.tensor(row) for row in logps], batch_first=True).to(policy.device)
    counts = torch.tensor([len(ids) for ids in completions], device=policy.device)
    mask = torch.arange(tokens.shape[1], device=policy.device) < counts[:, None]
    ended = torch.tensor([ids[-1] in policy.stops for ids in completions], device=policy.device)
    return trimmed(policy.tokenizer, prompt, tokens, mask, logp, ended)
