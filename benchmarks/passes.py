"""How many of 64 completions pass, before and after a run: what lesson 10 draws as pass@k.

    python -m pgnotes grpo --preset pocket --out runs/pocket --set steps=150      as far as lesson 09 shows one
    python benchmarks/passes.py runs/pocket/model

Held-out openings under the target that was trained for, and under its neighbours, which were not. About two minutes on
a quiet core; writes `pgnotes/classroom/pocket_passes.json`, or what --out names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.evaluate import count_passes, held_out_requests, unseen_requests
from pgnotes.lm.models import load
from pgnotes.lm.tasks import digits_and_length

RECORD = Path(__file__).parent.parent / "pgnotes/classroom/pocket_passes.json"


def main() -> None:
    """Count, print the shares, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the trained model's folder")
    parser.add_argument("--n", type=int, default=64, help="completions of each request")
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--out", type=Path, default=RECORD)
    args = parser.parse_args()

    config = GRPOConfig.preset("pocket")
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    kinds = {"held out": held_out_requests(task, args.requests), "neighbours": unseen_requests(task, args.requests)}
    counts: dict[str, dict[str, list[int]]] = {kind: {} for kind in kinds}
    for when, path in (("before", "pocket"), ("after", args.model)):
        model, tokenizer = load(path)
        for kind, requests in kinds.items():
            counts[kind][when] = count_passes(model, tokenizer, requests, config, args.n)
            share = sum(counts[kind][when]) / (args.n * args.requests)
            print(f"{kind:10}  {when:6}  {share:6.1%} pass", flush=True)
    args.out.write_text(json.dumps(counts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
