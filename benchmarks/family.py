"""The family of lesson 10 on the pocket task, at equal budget: one setting changed at a time, the same seeds for all.

    python benchmarks/family.py                          every variant, 40 steps of 64 completions, seeds 0, 1 and 2
    python benchmarks/family.py SAPO GMPO --seeds 3      two variants, another seed
    python benchmarks/family.py --steps 20 --seeds 0     does each of them train at all?

Each batch is gone through three times: in the first pass every ratio is 1, and all losses are REINFORCE's. Seeds decide
prompts and the sampler's noise, so that two variants begin with the same texts. Each run lies in its own folder under
--out and is not done twice; --pack FILE writes what the lesson shows of the runs that were asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import importlib.metadata
import itertools
import json
import shlex
from pathlib import Path

from ablations import quietly

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import train

BUDGET = {"prompts_per_step": 4, "group_size": 16, "epochs": 3, "checkpoint_every": 1000, "threads": 1}
VARIANTS = {
    "GRPO": {},
    "no ratio": {"loss": "reinforce"},
    "CISPO": {"loss": "cispo"},
    "SAPO": {"loss": "sapo"},
    "DPPO": {"loss": "dppo"},
    # a hundred times the paper's band: at this step size its own silences nearly every sequence
    "GSPO": {"loss": "gspo", "aggregate": "sequence", "clip": (0.03, 0.04)},
    "GMPO": {"loss": "gmpo", "aggregate": "sequence", "clip": (0.4, 0.4)},
    "MaxRL": {"advantages": "maxrl"},
    "Lite PPO": {"advantages": "lite_ppo"},
    "GDPO": {"advantages": "gdpo"},
}
CURVES = ("pass_rate", "entropy", "kl", "clip_low", "clip_high", "grad_norm")
RESULTS = ("pass_rate_before", "pass_rate_after", "pass_rate_unseen", "logprob_after", "distinct", "seconds")


def folder_of(out: Path, name: str, seed: int) -> Path:
    """Where a run lies."""
    return out / f"{name.replace(' ', '-')}-{seed}"


def config_of(name: str, seed: int, steps: int, evaluate: int) -> GRPOConfig:
    """The pocket preset with this benchmark's budget and one variant's settings."""
    changes = BUDGET | VARIANTS[name]
    return dataclasses.replace(GRPOConfig.preset("pocket"), steps=steps, evaluate=evaluate, seed=seed, **changes)


def command_of(args: argparse.Namespace) -> str:
    """What does these runs again, wherever it is started."""
    options = ["--steps", args.steps, "--seeds", *args.seeds, "--evaluate", args.evaluate, "--pack", args.pack.name]
    return shlex.join(["python", "benchmarks/family.py", *args.variants, *map(str, options)])


def pack(args: argparse.Namespace, names: list[str]) -> None:
    """Write settings, results and curves of the runs asked for, all finished, to `args.pack`."""
    runs = []
    for name, seed in itertools.product(names, args.seeds):
        folder = folder_of(args.out, name, seed)
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        result = json.loads((folder / "result.json").read_text())
        runs.append(
            {
                "name": name,
                "seed": seed,
                "result": {key: result[key] for key in RESULTS},
                "curves": {key: [record[key] and round(record[key], 4) for record in records] for key in CURVES},
            }
        )
    packed = {
        "command": command_of(args),
        "budget": BUDGET | {"steps": args.steps, "evaluate": args.evaluate},
        "variants": {name: VARIANTS[name] for name in names},
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "runs": runs,
    }
    args.pack.write_bytes(gzip.compress(json.dumps(packed).encode(), 9, mtime=0))


def main() -> None:
    """Run what is missing, print a row for each run, and pack them if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="variant", help=", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--evaluate", type=int, default=400, help="completions in each evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/family"))
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write what the lesson shows of these runs")
    args = parser.parse_args()
    if unknown := set(args.variants) - set(VARIANTS):
        parser.error(f"unknown variants: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")

    names = args.variants or [*VARIANTS]
    print(f"{'variant':12}seed" + "".join(f"{key:>18}" for key in RESULTS), flush=True)
    for seed in args.seeds:
        for name in names:
            config = config_of(name, seed, args.steps, args.evaluate)
            result = train(config, folder_of(args.out, name, seed), resume=True, say=quietly).result
            print(f"{name:12}{seed:4}" + "".join(f"{result[key]:18.3f}" for key in RESULTS), flush=True)
    if args.pack:
        pack(args, names)


if __name__ == "__main__":
    main()
