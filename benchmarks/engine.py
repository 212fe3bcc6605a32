"""The engine alone: decoding beside the library's `generate`, and what a step costs as its sizes grow.

    python benchmarks/engine.py [--repeats 3] [--size tiny]

Float32 on a CPU, random weights, completions of a fixed length, both ways in turn, medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import transformers
from random_model import SIZES, random_run, write_model, write_prompts
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.grpo import train_step
from pgnotes.lm.models import load
from pgnotes.lm.rollout import rollout, uniforms

ROWS = (8, 32, 128)  # completions decoded at once, 8 of each prompt
GROUP, PROMPT, NEW = 8, 64, 32  # completions of a prompt; tokens of a prompt; tokens of a completion
GROWN = {"a prompt's completions": (1, 1, 4), "tokens of a prompt": (4, 1, 1), "tokens of a completion": (1, 4, 1)}


def decode_ours(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: torch.Tensor, new: int) -> None:
    """A group for each prompt [P, n]: prompts once, sampled in one batch."""
    groups = rollout(model, tokenizer, list(prompts), [uniforms(GROUP, new, i) for i in range(len(prompts))], [])
    assert all(group.tokens.shape == (GROUP, new) for group in groups)


@torch.no_grad()
def decode_generate(model: PreTrainedModel, prompts: torch.Tensor, new: int) -> None:
    """The same with `generate`, each row with its own copy of the prompt."""
    ids = prompts.repeat_interleave(GROUP, 0).to(model.device)
    settings = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "max_new_tokens": new,
        "pad_token_id": 0,
    }
    assert model.generate(ids, attention_mask=torch.ones_like(ids), **settings).shape == (
        len(ids),
        prompts.shape[1] + new,
    )


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
    prompts = torch.randint(
        1, model.config.vocab_size, (rows // GROUP, prompt), generator=torch.Generator().manual_seed(0)
    )
    pairs = [
        (seconds(decode_ours, model, tokenizer, prompts, new), seconds(decode_generate, model, prompts, new))
        for _ in range(repeats + 1)
    ][1:]
    return tuple(rows * new / statistics.median(times) for times in zip(*pairs, strict=True))


def step_seconds(folder: Path, size: dict, shape: tuple[int, int, int], repeats: int) -> tuple[float, float]:
    """Seconds of a step's sampling and training, medians after one step to warm up."""
    name = "-".join(map(str, (size["vocab_size"], *shape)))
    run = random_run(
        write_model(folder / name, size),
        write_prompts(folder / f"{name}.txt", shape[0], size["vocab_size"]),
        shape,
        4,
        beta=0.0,
        steps=repeats + 1,
    )
    times = [train_step(run, step)[1] for step in range(repeats + 1)][1:]
    return statistics.median(t["rollout_s"] for t in times), statistics.median(t["train_s"] for t in times)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=SIZES, default="small")
    args = parser.parse_args()
    size = SIZES[args.size]
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}; {torch.get_num_threads()} threads; medians of {args.repeats}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model, tokenizer = load(write_model(folder / "decode", size))
        print(f"\ndecoding, prompt {4 * PROMPT}, completion {2 * NEW}, groups of {GROUP}; tokens a second")
        print(f"  {'rows':>6s} {'pgnotes':>12s} {'generate':>12s} {'ratio':>8s}")
        for rows in ROWS:
            ours, theirs = decode_rates(model, tokenizer, rows, 4 * PROMPT, 2 * NEW, args.repeats)
            print(f"  {rows:6d} {ours:12,.0f} {theirs:12,.0f} {ours / theirs:8.2f}", flush=True)
        base = step_seconds(folder, size, (PROMPT, NEW, GROUP), args.repeats)
        label = f"{PROMPT} + {NEW} tokens, groups of {GROUP}, {size['vocab_size']:,} symbols"
        print(
            f"\na step of 4 prompts\n  {'':42s} {'rollout s':>10s} {'train s':>10s} {'× rollout':>10s} {'× train':>10s}"
        )
        print(f"  {label:42s} {base[0]:10.2f} {base[1]:10.2f}", flush=True)
        cases = {
            f"{max(by)} × {name}": (size, tuple(a * b for a, b in zip((PROMPT, NEW, GROUP), by, strict=True)))
            for name, by in GROWN.items()
        }
        cases["4 × the vocabulary"] = (size | {"vocab_size": 4 * size["vocab_size"]}, (PROMPT, NEW, GROUP))
        for name, (shape, sizes) in cases.items():
            found = step_seconds(folder, shape, sizes, args.repeats)
            print(
                f"  {name:42s} {found[0]:10.2f} {found[1]:10.2f} {found[0] / base[0]:10.2f} {found[1] / base[1]:10.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
