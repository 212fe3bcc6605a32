"""The engine alone: decoding beside `generate`, a step as its sizes grow, and what it would lose to the machine.

    python benchmarks/engine.py [--repeats 3] [--size tiny] [--only machine]

Float32 on a CPU, random weights, completions of a fixed length, both ways in turn, medians.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import torch
import transformers
from random_model import SIZES, random_run, write_model, write_prompts
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm import learner
from pgnotes.lm.grpo import train_step
from pgnotes.lm.models import load
from pgnotes.lm.policy import multiply_logits
from pgnotes.lm.rollout import rollout, uniforms

ROWS = (8, 32, 128)  # completions decoded at once, 8 of each prompt
GROUP, PROMPT, NEW = 8, 64, 32  # completions of a prompt; tokens of a prompt; tokens of a completion
SURE = 35.0  # so that most chances are tiny, as a trained model's are
GROWN = {"a prompt's completions": (1, 1, 4), "tokens of a prompt": (4, 1, 1), "tokens of a completion": (1, 4, 1)}


def decode_ours(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: torch.Tensor, new: int) -> None:
    """A group for each prompt [P, n]: prompts once, sampled in one batch."""
    draws = [uniforms(GROUP, new, i) for i in range(len(prompts))]
    groups = rollout(model, tokenizer, list(prompts), draws, [])
    assert all(group.tokens.shape == (GROUP, new) for group in groups)


@torch.no_grad()
def decode_generate(model: PreTrainedModel, prompts: torch.Tensor, new: int) -> None:
    """The same with `generate`, each row with its own copy of the prompt."""
    ids = prompts.repeat_interleave(GROUP, 0).to(model.device)
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    texts = model.generate(ids, attention_mask=torch.ones_like(ids), **sampling, max_new_tokens=new, pad_token_id=0)
    assert texts.shape == (len(ids), prompts.shape[1] + new)


def seconds(action: object, *args: object) -> float:
    """How long a call takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    action(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def decode_rates(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: int, prompt: int, new: int, repeats: int
) -> tuple[float, float]:
    """Tokens a second of ours and of `generate`, in turn after one call each to warm up, medians."""
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, model.config.vocab_size, (rows // GROUP, prompt), generator=generator)
    ours, theirs = [], []
    for _ in range(repeats + 1):
        ours.append(seconds(decode_ours, model, tokenizer, prompts, new))
        theirs.append(seconds(decode_generate, model, prompts, new))
    return rows * new / statistics.median(ours[1:]), rows * new / statistics.median(theirs[1:])


def step_seconds(
    folder: Path, size: dict, shape: tuple[int, int, int], repeats: int, factor: float = 1.0
) -> tuple[float, float]:
    """Seconds of a step's sampling and training, medians after one step to warm up; factor: of the model's logits."""
    name = "-".join(map(str, (size["vocab_size"], *shape)))
    model = write_model(folder / name, size)
    prompts = write_prompts(folder / f"{name}.txt", shape[0], size["vocab_size"])
    run = random_run(model, prompts, shape, 4, beta=0.0, steps=repeats + 1)
    multiply_logits(run.policy.model, factor, name)
    times = [train_step(run, step)[1] for step in range(repeats + 1)][1:]
    return statistics.median(t["rollout_s"] for t in times), statistics.median(t["train_s"] for t in times)


def decoding_table(folder: Path, size: dict, repeats: int) -> None:
    """Print the tokens a second of both ways to decode, a row for each number of rows."""
    model, tokenizer = load(write_model(folder / "decode", size))
    print(f"\ndecoding, prompt {4 * PROMPT}, completion {2 * NEW}, groups of {GROUP}; tokens a second")
    print(f"  {'rows':>6s} {'pgnotes':>12s} {'generate':>12s} {'ratio':>8s}")
    for rows in ROWS:
        ours, theirs = decode_rates(model, tokenizer, rows, 4 * PROMPT, 2 * NEW, repeats)
        print(f"  {rows:6d} {ours:12,.0f} {theirs:12,.0f} {ours / theirs:8.2f}", flush=True)


def step_table(folder: Path, size: dict, repeats: int) -> None:
    """Print what a step costs, and how much more when one of its sizes grows."""
    usual = (PROMPT, NEW, GROUP)
    label = f"{PROMPT} + {NEW} tokens, groups of {GROUP}, {size['vocab_size']:,} symbols"
    rollout_s, train_s = step_seconds(folder, size, usual, repeats)
    print(f"\na step of 4 prompts\n  {'':42s} {'rollout s':>10s} {'train s':>10s} {'× rollout':>10s} {'× train':>10s}")
    print(f"  {label:42s} {rollout_s:10.2f} {train_s:10.2f}", flush=True)

    cases = {}
    for name, by in GROWN.items():
        grown = tuple(a * b for a, b in zip(usual, by, strict=True))
        cases[f"{max(by)} × {name}"] = (size, grown)
    cases["4 × the vocabulary"] = (size | {"vocab_size": 4 * size["vocab_size"]}, usual)
    for name, (model_size, shape) in cases.items():
        rollout, train = step_seconds(folder, model_size, shape, repeats)
        ratios = f"{rollout / rollout_s:10.2f} {train / train_s:10.2f}"
        print(f"  {name:42s} {rollout:10.2f} {train:10.2f} {ratios}", flush=True)


def step_without(part: str, *args: object) -> tuple[float, float]:
    """What `step_seconds` finds, of a model that is very sure, where a part of what a run asks of a CPU is not."""
    if part == "freed memory kept":
        learner.keep_freed_memory = lambda device: None
    torch.set_flush_denormal(part != "tiny numbers as 0")
    return step_seconds(*args, SURE)


def machine_table(folder: Path, size: dict, repeats: int) -> None:
    """Print what a step costs with and without what is asked of a CPU, each way in two processes, in turn."""
    shape = (2 * PROMPT, 2 * NEW, 2 * GROUP)
    print(f"\na step of 4 prompts, {shape[0]} + {shape[1]} tokens, groups of {shape[2]}, logits multiplied by {SURE:g}")
    print(f"  {'without':20s} {'rollout s':>10s} {'train s':>10s}")
    processes = multiprocessing.get_context("spawn")
    for part in 2 * ("nothing", "freed memory kept", "tiny numbers as 0"):
        with processes.Pool(1) as pool:
            rollout_s, train_s = pool.apply(step_without, (part, folder, size, shape, repeats))
        print(f"  {part:20s} {rollout_s:10.2f} {train_s:10.2f}", flush=True)


TABLES = {"decoding": decoding_table, "step": step_table, "machine": machine_table}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", choices=TABLES, nargs="+", default=TABLES)
    args = parser.parse_args()
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}; {torch.get_num_threads()} threads; medians of {args.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            TABLES[name](Path(folder), SIZES[args.size], args.repeats)


if __name__ == "__main__":
    main()
