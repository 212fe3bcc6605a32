"""Is it better now? Pass rate, fluency, variety, and the distributions of length and digit sum."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from itertools import chain, cycle, islice

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import request, stop_ids
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import Task, passes
from pgnotes.theory import pass_at_k as estimate

ROWS = 128  # completions sampled at a time
AT = (1, 4, 16)  # tries, of which one has to pass

Request = tuple[Task, str]  # a task and the prompt that it puts to the model


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    `completions` has one entry for each sample: prompt, completion, ended, passed, and the task's measures.
    """

    pass_rate: float  # share of completions that ended by themselves and pass
    logprob: float  # mean log-probability in nats a character under the start model, the stop token included
    distinct: float  # different completions in every 100
    ended: float  # share that ended by itself
    completions: list[dict]


def held_out_requests(task: Task, n: int) -> list[Request]:
    """The task put to n held-out prompts, reused in order if they are fewer."""
    return [(task, prompt) for prompt in islice(cycle(task.held_out), n)]


def unseen_requests(task: Task, n: int) -> list[Request]:
    """Held-out prompts under neighbouring targets, which training never asked for; none where the task has none."""
    near = getattr(task, "neighbours", list)()
    return list(islice(zip(cycle(near), cycle(task.held_out), strict=False), n))


@torch.no_grad()
def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: list[Request],
    config: GRPOConfig,
    start_model: contextlib.AbstractContextManager[PreTrainedModel] | None = None,
) -> Evaluation:
    """Sample one completion for each request, at temperature 1, and judge it (lesson 09).

    The noise depends on the seed and the request's place alone.
    config: of the run; its seed and its limits on tokens count here.  start_model: a context with the model that scores
    fluency (`Policy.reference`); without one, the model itself does.
    """
    groups = sample(model, tokenizer, requests, config, 1, "evaluate")
    rows = [judged(task, prompt, group) for (task, prompt), group in zip(requests, groups, strict=True)]
    with start_model or contextlib.nullcontext(model) as scorer:
        scored = [completion_logprobs(scorer, g.prompt, g.tokens, g.mask, entropy="none")[0] for g in groups]
    return Evaluation(
        pass_rate=sum(row["passed"] for row in rows) / len(rows),
        logprob=sum(logp.sum().item() for logp in scored) / max(sum(len(row["completion"]) for row in rows), 1),
        distinct=distinct_in_100([row["completion"] for row in rows]),
        ended=sum(row["ended"] for row in rows) / len(rows),
        completions=rows,
    )


def standard_error(share: float, n: int) -> float:
    """Of a share of n samples: √(p(1 - p)/n), with one success and one failure added so that 0 of n is not certain.

    (Agresti and Coull 1998, who add two of each.)
    """
    p = (share * n + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / (n + 2))


def pass_at_k(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: list[Request],
    config: GRPOConfig,
    ks: tuple[int, ...] = AT,
) -> dict[int, float]:
    """{k: chance that one of k completions passes}, the mean over requests, without bias (lesson 09).

    max(ks) completions are sampled of each request, at temperature 1.
    """
    n = max(ks)
    passed = torch.tensor(count_passes(model, tokenizer, requests, config, n))
    return {k: estimate.pass_at_k(n, passed, k).mean().item() for k in ks}


@torch.no_grad()
def count_passes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: list[Request],
    config: GRPOConfig,
    n: int,
) -> list[int]:
    """How many of n completions of each request pass, sampled at temperature 1 (lesson 10)."""
    asked = zip(requests, sample(model, tokenizer, requests, config, n, "pass@k"), strict=True)
    return [sum(passes(task, prompt, group.texts, group.ended.tolist())) for (task, prompt), group in asked]


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: list[Request],
    config: GRPOConfig,
    n: int,
    purpose: str,
) -> list[Group]:
    """n completions of each request at temperature 1, `ROWS` at a time; purpose: what their noise is seeded by."""
    prompts = [request(tokenizer, task.message, prompt, config.prompt_tokens) for task, prompt in requests]
    noise = [uniforms(n, config.token_limit, config.seed, purpose, place) for place in range(len(requests))]
    stops, at_once = stop_ids(model, tokenizer), max(1, ROWS // n)
    blocks = [slice(start, start + at_once) for start in range(0, len(requests), at_once)]
    return list(chain(*(rollout(model, tokenizer, prompts[block], noise[block], stops) for block in blocks)))


def judged(task: Task, prompt: str, group: Group) -> dict:
    """The only completion of a group, and what the task says of it."""
    (text,), (ended,) = group.texts, group.ended.tolist()
    return {
        "prompt": prompt,
        "completion": text,
        "ended": ended,
        "passed": passes(task, prompt, [text], [ended])[0],
        **task.measures(text),
    }


def distinct_in_100(texts: list[str]) -> float:
    """Different texts in every 100: the smallest count over blocks of 100.

    A last, shorter block is scaled up, and only if it is the only one.
    """
    blocks = [texts[i : i + 100] for i in range(0, len(texts) - 99, 100)] or [texts]
    return min(100 * len(set(block)) / len(block) for block in blocks)
