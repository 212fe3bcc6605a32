"""Record DPO on the pocket model, for lesson 13: two step sizes, three seeds each.

    python tools/record_dpo.py          writes pgnotes/classroom/pocket_dpo.json.gz; some minutes on one core

Of each training opening the model writes a group of completions; those that pass are paired with those that fail. Then
40 steps of 16 pairs. Followed: of all pairs, by how much log π of both completions has changed, after some steps; what
pushes the better one up and down at the start and after ten steps; and how often the model passes on held-out
openings, before and after.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.dpo import Pair, dpo, judged_pairs, pair_logprobs
from pgnotes.lm.evaluate import held_out_requests, sample
from pgnotes.lm.models import load
from pgnotes.lm.tasks import DigitsAndLength, digits_and_length

OUT = Path(__file__).parent.parent / "pgnotes/classroom/pocket_dpo.json.gz"
SEEDS, STEP_SIZES, BETA, STEPS, BATCH = (0, 1, 2), (3e-5, 1e-4), 0.1, 40, 16
OPENINGS, GROUP, EVALUATED, WATCHED, PUSHED = 48, 16, 768, (0, 1, 2, 5, 10, 20, 30, 40), (0, 10)


def pass_rate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: DigitsAndLength, n: int) -> float:
    """How many of n completions of held-out openings pass, one each."""
    groups = sample(model, tokenizer, held_out_requests(task, n), GRPOConfig.preset("pocket"), 1, "evaluate")
    return sum(bool(group.ended[0]) and task.passed(group.texts[0]) for group in groups) / n


def pushes(model: PreTrainedModel, pairs: list[Pair], start: Tensor) -> Tensor:
    """What a gradient step on the mean loss of all pairs adds to log π of each better completion, by its causes.

    start: both log-probabilities at the reference, [n, 2] -> [n, 4], to first order and per unit of step size: by the
    better and by the worse completion of its own pair, by the better and by the worse ones of all other pairs.
    """
    weights, scores, now = list(model.parameters()), [], []
    for pair in pairs:
        both = torch.stack(pair_logprobs(model, [pair]))[:, 0]
        slopes = [torch.autograd.grad(logp, weights, retain_graph=True) for logp in both]
        scores.append(torch.stack([torch.cat([part.flatten() for part in slope]) for slope in slopes]))
        now.append(both.detach())

    better, worse = torch.stack(scores).unbind(1)
    margins = BETA * (torch.stack(now) - start) @ torch.tensor([1.0, -1.0])
    pull = BETA * torch.sigmoid(-margins) / len(pairs)  # the gradient of a pair's term is -pull (s_w - s_l)
    up, down = pull * (better @ better.T), -pull * (better @ worse.T)
    own = torch.stack([up.diag(), down.diag()], 1)
    return torch.cat([own, torch.stack([up.sum(1), down.sum(1)], 1) - own], 1)


def run(pairs: list[Pair], lr: float, seed: int, steps: int, evaluated: int) -> dict[str, Any]:
    """One run: losses, both log-probabilities' changes [watched, pairs, 2], `pushes` [pushed, pairs, 4], pass rate."""
    model, tokenizer = load("pocket")
    start = torch.stack(pair_logprobs(model, pairs), 1).detach()
    losses, changes, pushed = [], {0: torch.zeros_like(start)}, {0: pushes(model, pairs, start)}
    for step in islice(dpo(model, pairs, BETA, lr, min(BATCH, len(pairs)), seed), steps):
        losses.append(round(step.loss, 4))
        if step.step + 1 in WATCHED:
            with torch.no_grad():
                changes[step.step + 1] = torch.stack(pair_logprobs(model, pairs), 1) - start
        if step.step + 1 in PUSHED:
            pushed[step.step + 1] = pushes(model, pairs, start)
    return {
        "lr": lr,
        "seed": seed,
        "losses": losses,
        "changes": {step: [[round(x, 3) for x in pair] for pair in moved.tolist()] for step, moved in changes.items()},
        "pushes": {step: [[round(x, 3) for x in parts] for parts in found.tolist()] for step, found in pushed.items()},
        "pass_rate": pass_rate(model, tokenizer, task_of(), evaluated),
    }


def task_of() -> DigitsAndLength:
    """The pocket preset's."""
    config = GRPOConfig.preset("pocket")
    return digits_and_length(config.length, config.digit_sum, instruction=config.instruction)


@torch.no_grad()
def pairs_of(seed: int, openings: int) -> list[Pair]:
    """Pairs of the start model's completions of training openings; each seed has its own."""
    model, tokenizer = load("pocket")
    task = task_of()
    prompts = task.prompts[seed * openings : (seed + 1) * openings]
    config = GRPOConfig.preset("pocket")
    groups = sample(model, tokenizer, [(task, prompt) for prompt in prompts], config, GROUP, f"pairs {seed}")
    for group, prompt in zip(groups, prompts, strict=True):
        group.source = prompt
    return judged_pairs(task, groups)


def record(openings: int, steps: int, evaluated: int) -> dict[str, Any]:
    """Everything that the file holds."""
    runs, counts = [], []
    for seed in SEEDS:
        pairs = pairs_of(seed, openings)
        counts.append(len(pairs))
        for lr in STEP_SIZES:
            runs.append(run(pairs, lr, seed, steps, evaluated))
            print(f"seed {seed}, {len(pairs)} pairs, step size {lr}: passes {runs[-1]['pass_rate']:.1%}", flush=True)
    model, tokenizer = load("pocket")
    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    return {
        "command": "python tools/record_dpo.py",
        "model": hashlib.sha256(weights).hexdigest(),
        "beta": BETA,
        "batch": BATCH,
        "evaluated": evaluated,
        "pairs": counts,
        "pass_rate_before": pass_rate(model, tokenizer, task_of(), evaluated),
        "runs": runs,
    }


def main() -> None:
    """Record and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openings", type=int, default=OPENINGS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--evaluated", type=int, default=EVALUATED)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    packed = json.dumps(record(args.openings, args.steps, args.evaluated)).encode()
    args.out.write_bytes(gzip.compress(packed, 9, mtime=0))
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
