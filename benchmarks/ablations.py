"""What each part of the pocket run does: the run of lesson 09, with one thing changed at a time.

    python benchmarks/ablations.py                         every variant, 75 steps, seeds 0 and 1
    python benchmarks/ablations.py "no leash" --seeds 2    one variant, another seed

All of them take about an hour on two cores. Each run lies in its own folder under --out and is not done twice. The
table's columns are those of the command's last line.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import train

VARIANTS = {
    "as it is": {},
    "shaped reward": {"reward": "shaped"},
    "no leash": {"beta": 0.0},
    "leash by k3": {"kl": "k3"},
    "entropy bonus 0.01": {"entropy_bonus": 0.01},
    "not divided by the spread": {"advantages": "dr_grpo"},
    "64 groups of 4": {"prompts_per_step": 64, "group_size": 4},
}
COLUMNS = {
    "pass_rate_after": "passes",
    "pass_rate_unseen": "neighbours",
    "logprob_after": "nats/char",
    "distinct": "distinct",
    "seconds": "seconds",
}


def quietly(text: str) -> None:
    """Where a run stands is not what is asked for here."""


def main() -> None:
    """Run what is missing, and print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="variant", help=", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--evaluate", type=int, default=400, help="completions in each evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    args = parser.parse_args()
    if unknown := set(args.variants) - set(VARIANTS):
        parser.error(f"unknown variants: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")

    print(f"{'variant':26}seed  " + "".join(f"{name:>11}" for name in COLUMNS.values()), flush=True)
    pocket = dataclasses.replace(GRPOConfig.preset("pocket"), steps=args.steps, evaluate=args.evaluate)
    for seed in args.seeds:
        for name in args.variants or VARIANTS:
            config = dataclasses.replace(pocket, seed=seed, **VARIANTS[name])
            folder = args.out / f"{name.replace(' ', '-')}-{seed}"
            result = train(config, folder, resume=True, say=quietly).result
            print(f"{name:26}{seed:4}  " + "".join(f"{result[key]:11.2f}" for key in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
