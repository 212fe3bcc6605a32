"""Is it better now? Pass rate, fluency, variety, and the distributions of length and digit sum."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import cut, encode, stop_ids
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import DigitsAndLength, digit_sum

ROWS = 128  # completions sampled at a time

Request = tuple[DigitsAndLength, str]  # a task (its length and digit sum are what is asked for) and the opening to continue


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; `completions` has one entry (prompt, completion, ended, passed, length, digit_sum) for each sample."""

    pass_rate: float  # share of completions that ended by themselves and pass
    logprob: float  # mean log-probability in nats a character under the start model, the stop token included
    distinct: float  # different completions in every 100
    ended: float  # share that ended by itself
    completions: list[dict]


def held_out_requests(task: DigitsAndLength, n: int) -> list[Request]:
    """The task put to n held-out prompts, reused in order if they are fewer."""
    return [(task, prompt) for prompt in itertools.islice(itertools.cycle(task.held_out), n)]


def unseen_requests(task: DigitsAndLength, n: int) -> list[Request]:
    """Held-out prompts under the neighbouring targets, length ± 2 and digit sum ± 1, which training never asked for."""
    pairs = itertools.product(range(-2, 3), range(-1, 2))
    near = [
        dataclasses.replace(task, length=task.length + dn, digit_sum=task.digit_sum + ds)
        for dn, ds in pairs
        if (dn, ds) != (0, 0) and task.length + dn > 0 and task.digit_sum + ds >= 0
    ]
    return list(itertools.islice(zip(itertools.cycle(near), itertools.cycle(task.held_out), strict=False), n))


def sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: list[Request], *, seed: int, prompt_tokens: int, max_new_tokens: int
) -> list[Group]:
    """One completion for each request, at temperature 1, from noise that depends on the seed and the request's place alone."""
    stops, groups = stop_ids(model, tokenizer), []
    for start in range(0, len(requests), ROWS):
        batch = requests[start : start + ROWS]
        prompts = [encode(tokenizer, task.message(cut(tokenizer, prompt, prompt_tokens))) for task, prompt in batch]
        noise = [uniforms(1, max_new_tokens, seed, "evaluate", start + i) for i in range(len(batch))]
        groups += rollout(model, tokenizer, prompts, noise, stops)
    return groups


@torch.no_grad()
def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: list[Request],
    *,
    seed: int = 0,
    prompt_tokens: int = 128,
    max_new_tokens: int = 64,
    start_model: PreTrainedModel | None = None,
) -> Evaluation:
    """Sample one completion for each request and judge it (lesson 09). `start_model` scores fluency; without one, the model itself does."""
    groups = sample(model, tokenizer, requests, seed=seed, prompt_tokens=prompt_tokens, max_new_tokens=max_new_tokens)
    judge, logprob, characters, rows = start_model or model, 0.0, 0, []
    for (task, prompt), group in zip(requests, groups, strict=True):
        text, ended = group.texts[0], bool(group.ended[0])
        row = {"prompt": prompt, "completion": text, "ended": ended, "passed": ended and task.passed(text)}
        rows.append(row | {"length": len(text), "digit_sum": digit_sum(text)})
        logprob += completion_logprobs(judge, group.prompt, group.tokens, group.mask)[0].sum().item()
        characters += len(text)
    return Evaluation(
        pass_rate=sum(row["passed"] for row in rows) / len(rows),
        logprob=logprob / max(characters, 1),
        distinct=distinct_in_100([row["completion"] for row in rows]),
        ended=sum(row["ended"] for row in rows) / len(rows),
        completions=rows,
    )


def distinct_in_100(texts: list[str]) -> float:
    """Different texts in every 100: the smallest count over blocks of 100 (a last, shorter block is scaled up only if it is the only one)."""
    blocks = [texts[i : i + 100] for i in range(0, len(texts) - 99, 100)] or [texts]
    return min(100 * len(set(block)) / len(block) for block in blocks)
