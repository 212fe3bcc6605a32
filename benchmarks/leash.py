"""What does the leash cost, request by request, and what does it keep? The pocket run with it and without.

    python benchmarks/leash.py                  150 steps, seeds 0, 1 and 2: about half an hour on two cores
    python benchmarks/leash.py --seeds 3        another seed

Of each held-out request both models write 64 completions. The claim "a leash costs no request anything" would be false
where the leashed model passes less often than the free one; a difference counts from three standard errors on, of which
chance makes one in 370. What is kept is measured on sentences of the corpus whose openings no model was trained on,
under requests that they fulfil: nats a character under the model before, and after either run. Runs lie in folders
under --out and are not done twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import random
from itertools import cycle, islice
from pathlib import Path

import torch
from ablations import quietly
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.evaluate import count_passes, held_out_requests
from pgnotes.lm.grpo import train
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import load, request
from pgnotes.lm.pocket.corpus import WORDS, continuation
from pgnotes.lm.tasks import DigitsAndLength, digit_sum, digits_and_length

RUNS = {"leashed": {}, "free": {"beta": 0.0}}
ERRORS = 3.0  # standard errors from which on a difference counts


def trained(name: str, seed: int, steps: int, evaluate: int, out: Path) -> Path:
    """The folder of a run's model, trained if it is not there yet."""
    config = dataclasses.replace(GRPOConfig.preset("pocket"), seed=seed, steps=steps, evaluate=evaluate)
    config = dataclasses.replace(config, **RUNS[name])
    train(config, out / f"{name}-{seed}", resume=True, say=quietly)
    return out / f"{name}-{seed}" / "model"


def differences(leashed: list[int], free: list[int], n: int) -> list[float]:
    """For each request, how many standard errors the leashed model passes more often than the free one.

    leashed, free: how many of n completions passed.  The error is that of two equal shares, with one success and one
    failure added so that it is never 0.
    """
    found = []
    for ours, theirs in zip(leashed, free, strict=True):
        share = (ours + theirs + 1) / (2 * n + 2)
        found.append((ours - theirs) / n / math.sqrt(2 * share * (1 - share) / n))
    return found


def sentences(task: DigitsAndLength, n: int) -> list[tuple[DigitsAndLength, str, str]]:
    """n held-out openings, each with an end such as the corpus has, and the task that this end fulfils."""
    rng, found = random.Random(2026), []
    for opening in islice(cycle(task.held_out), n):
        trade = next(trade for trade in WORDS.trades if trade in opening)
        ends = iter(lambda trade=trade: continuation(rng, trade), None)
        rest = next(end for end in ends if 36 <= len(end) <= 60 and 3 <= digit_sum(end) <= 24)
        found.append((dataclasses.replace(task, length=len(rest), digit_sum=digit_sum(rest)), opening, rest))
    return found


@torch.no_grad()
def nats_a_character(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[tuple[DigitsAndLength, str, str]],
    prompt_tokens: int,
) -> float:
    """Mean log-probability of the sentences' ends, stops included."""
    total = 0.0
    for task, opening, rest in texts:
        ids = [*tokenizer(rest, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        tokens, asked = torch.tensor([ids]), request(tokenizer, task.message, opening, prompt_tokens)
        total += completion_logprobs(model, asked, tokens, torch.ones_like(tokens, dtype=torch.bool))[0].sum().item()
    return total / sum(len(rest) for *_, rest in texts)


def main() -> None:
    """Train what is missing, compare, and print a row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150, help="as many as the run that lesson 09 shows")
    parser.add_argument("--n", type=int, default=64, help="completions of each request")
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--out", type=Path, default=Path("runs/leash"))
    args = parser.parse_args()

    config = GRPOConfig.preset("pocket")
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    requests, texts = held_out_requests(task, args.requests), sentences(task, args.requests)
    before = nats_a_character(*load("pocket"), texts, config.prompt_tokens)
    print(f"{args.n} completions of {args.requests} requests; nats a character of new sentences before: {before:.3f}")
    print(f"{'seed':>4}{'model':>10}{'pass':>8}{'nats/char':>12}")
    for seed in args.seeds:
        counts = {}
        for name in RUNS:
            model, tokenizer = load(str(trained(name, seed, args.steps, args.requests, args.out)))
            counts[name] = count_passes(model, tokenizer, requests, config, args.n)
            share = sum(counts[name]) / (args.n * args.requests)
            kept = nats_a_character(model, tokenizer, texts, config.prompt_tokens)
            print(f"{seed:4}{name:>10}{share:8.1%}{kept:12.3f}", flush=True)
        found = differences(counts["leashed"], counts["free"], args.n)
        less, more = sum(z < -ERRORS for z in found), sum(z > ERRORS for z in found)
        print(f"    leashed: less often in {less}, more often in {more}, no telling in {len(found) - less - more}")


if __name__ == "__main__":
    main()
