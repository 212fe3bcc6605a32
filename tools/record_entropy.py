"""Record how sure the pocket model was of 768 of its texts, and which of them pass, for lesson 15.

    python tools/record_entropy.py      writes pgnotes/classroom/pocket_entropy.json.gz; about half a minute

64 completions for each of the first twelve held-out openings, at temperature 1, before any training.
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

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import DigitsAndLength, digits_and_length

OUT = Path(__file__).parent.parent / "pgnotes/classroom/pocket_entropy.json.gz"
SEED, OPENINGS, GROUP, LAST = 0, 12, 64, 12


@torch.no_grad()
def record(openings: int = OPENINGS, size: int = GROUP, seed: int = SEED) -> dict[str, Any]:
    """Everything that the file holds: how it was made, and a row for each completion."""
    config = GRPOConfig.preset("pocket")
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    model, tokenizer = load("pocket")

    rows: list[dict[str, Any]] = []
    for number, opening in enumerate(task.held_out[:openings]):
        prompt = encode(tokenizer, task.message(opening))
        noise = uniforms(size, config.token_limit, seed, "entropy", number)
        (group,) = rollout(model, tokenizer, [prompt], [noise], stop_ids(model, tokenizer))
        logp, entropy = completion_logprobs(model, group.prompt, group.tokens, group.mask)
        rows += [described(task, number, group, i, logp[i], entropy[i]) for i in range(size)]
    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    return {
        "command": "python tools/record_entropy.py",
        "model": hashlib.sha256(weights).hexdigest(),
        "seed": seed,
        "openings": openings,
        "last": LAST,
        "rows": rows,
    }


def described(
    task: DigitsAndLength, opening: int, group: Group, i: int, logp: torch.Tensor, entropy: torch.Tensor
) -> dict[str, Any]:
    """One completion: its opening's number, whether it passes, tokens, and means over all or the last of them, nats."""
    live = group.mask[i]
    return {
        "opening": opening,
        "passed": bool(group.ended[i]) and task.passed(group.texts[i]),
        "tokens": int(live.sum()),
        "entropy": round(entropy[live].mean().item(), 5),
        "last_entropy": round(entropy[live][-LAST:].mean().item(), 5),
        "logprob": round(logp[live].mean().item(), 5),
    }


def main() -> None:
    """Record and pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openings", type=int, default=OPENINGS)
    parser.add_argument("--group", type=int, default=GROUP)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = record(args.openings, args.group)
    args.out.write_bytes(gzip.compress(json.dumps(found).encode(), 9, mtime=0))
    passed = sum(row["passed"] for row in found["rows"])
    print(f"{args.out.name}: {passed} of {len(found['rows'])} pass, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
