"""Record what six of the pocket model's texts are worth after each character, for lesson 11.

    python tools/record_values.py       writes pgnotes/classroom/pocket_values.json.gz; about a quarter of an hour

The six are completions of one and the same opening, three that pass and three that do not, out of a group that the
model wrote itself: the first that passes, the first that passes with a comma in it, the least likely that passes; the
first of the right length with another digit sum, the first with the right sum and another length, and the least likely
of those that fail by both.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import DigitsAndLength, digit_sum, digits_and_length
from pgnotes.lm.values import continued

OUT = Path(__file__).parent.parent / "pgnotes/classroom/pocket_values.json.gz"
SEED, GROUP, SAMPLES = 0, 128, 512


def picked(task: DigitsAndLength, group: Group) -> list[int]:
    """Which six of a group are recorded, as the file's first lines say."""
    texts, likely = group.texts, group.logp.sum(1).tolist()
    passing = [i for i, text in enumerate(texts) if task.passed(text)]
    fits = {i: len(text) == task.length for i, text in enumerate(texts) if group.ended[i]}
    adds_up = {i: digit_sum(texts[i]) == task.digit_sum for i in fits}
    return [
        passing[0],
        next(i for i in passing if "," in texts[i]),
        min(passing, key=likely.__getitem__),
        next(i for i in fits if fits[i] and not adds_up[i]),
        next(i for i in fits if adds_up[i] and not fits[i]),
        min((i for i in fits if not fits[i] and not adds_up[i]), key=likely.__getitem__),
    ]


def record(samples: int, seed: int = SEED, size: int = GROUP) -> dict[str, Any]:
    """Everything that the file holds."""
    config = GRPOConfig.preset("pocket")
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    model, tokenizer = load("pocket")
    model.requires_grad_(False)

    opening = task.held_out[0]
    prompt, noise = encode(tokenizer, task.message(opening)), uniforms(size, config.token_limit, seed, "texts")
    (group,) = rollout(model, tokenizer, [prompt], [noise], stop_ids(model, tokenizer))
    texts = [described(model, tokenizer, task, opening, group, i, samples, seed) for i in picked(task, group)]
    pool_starts(texts, samples)
    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    return {
        "command": "python tools/record_values.py",
        "model": hashlib.sha256(weights).hexdigest(),
        "seed": seed,
        "samples": samples,
        "opening": opening,
        "request": task.message(opening),
        "pass_rate": sum(task.passed(text) for text in group.texts) / size,
        "texts": texts,
    }


def described(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: DigitsAndLength,
    opening: str,
    group: Group,
    i: int,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """A text, its tokens, V before the first and after each, their standard errors, log-probabilities and entropies."""
    print(f"{group.texts[i]!r}", flush=True)
    part = group.part(slice(i, i + 1))
    tokens = part.tokens[part.mask]
    limit = GRPOConfig.preset("pocket").token_limit
    values = continued(model, tokenizer, task, opening, tokens, samples, limit, seed, "values", i).mean(1)
    errors = (values * (1 - values) / samples).sqrt()
    logp, entropy = completion_logprobs(model, group.prompt, tokens[None], torch.ones(1, len(tokens), dtype=torch.bool))
    return {
        "place": i,
        "text": group.texts[i],
        "tokens": [tokenizer.decode([token]) for token in tokens.tolist()],
        "passed": task.passed(group.texts[i]),
        "values": rounded(values),
        "errors": rounded(errors),
        "logprob": rounded(logp[0]),
        "entropy": rounded(entropy[0]),
    }


def pool_starts(texts: list[dict[str, Any]], samples: int) -> None:
    """The first value of all texts is the same thing, asked once for each: give them the mean of all answers."""
    mean = sum(text["values"][0] for text in texts) / len(texts)
    error = (mean * (1 - mean) / (samples * len(texts))) ** 0.5
    for text in texts:
        text["values"][0], text["errors"][0] = round(mean, 6), round(error, 6)


def rounded(numbers: torch.Tensor) -> list[float]:
    """As they are kept: V is a multiple of 1 / `SAMPLES`, which six places show."""
    return [round(number, 6) for number in numbers.tolist()]


def main() -> None:
    """Record and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    packed = json.dumps(record(args.samples), ensure_ascii=False).encode()
    args.out.write_bytes(gzip.compress(packed, 9, mtime=0))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
