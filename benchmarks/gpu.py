"""The t4 preset on a model of Qwen2.5-0.5B's exact shape, float16 forced and memory capped at a T4's 14.7 GiB.

    python benchmarks/gpu.py [--steps 3] [--lora 16]
    python benchmarks/gpu.py --prompts 2 --memory       on a CPU: the peak of one step beside the estimate

The weights are random; on a CPU bfloat16 stands in for float16. Peak memory, seconds by part, and decoding beside
`generate` and beside what the memory's bandwidth allows: each new token of a row reads all weights once for the whole
batch. TRL beside it, where it is installed:

    python benchmarks/trl_side_by_side.py --size qwen --prompts 16 --shapes 128,32,8
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
from pathlib import Path

import torch
from engine import GROUP, decode_rates, seconds
from random_model import SIZES, random_run, write_model, write_prompts

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import train_step
from pgnotes.lm.preflight import memory_estimate

GIB = 2**30
CARD = 14.7  # GiB, of a T4
ROWS, LONG = 128, 80  # completions decoded at once; tokens of a long one


def bandwidth(device: str, gib: float) -> float:
    """Bytes a second that a copy reads and writes, median of 5."""
    source = torch.empty(int(gib * GIB), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [seconds(target.copy_, source) for _ in range(6)][1:]  # after one to warm up
    return 2 * source.numel() / statistics.median(times)


def written(folder: Path, shape: dict) -> str:
    """Save the model from another process, whose memory goes with it."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_model, args=(folder, shape))
    process.start()
    process.join()
    return str(folder)


def resident() -> float:
    """GiB of memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / GIB


def most_resident() -> float:
    """GiB of memory that this process held at most since `forget_peak` (Linux)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / GIB


def forget_peak() -> None:
    """Count from here: while a file is loaded its pages are in memory, too (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Run the preset's steps and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3, help="steps timed, after one that is not")
    parser.add_argument("--size", choices=SIZES, default="qwen")
    parser.add_argument("--prompts", type=int, default=GRPOConfig.preset("t4").prompts_per_step, help="prompts a step")
    parser.add_argument("--lora", type=int, default=0, help="train adapters of this rank")
    parser.add_argument("--memory", action="store_true", help="the second step's peak memory, and nothing else")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    device, name = ("cuda", torch.cuda.get_device_name()) if cuda else ("cpu", "a CPU")
    if cuda:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CARD * GIB / total))

    preset = GRPOConfig.preset("t4")
    shape = (preset.prompt_tokens, preset.token_limit, preset.group_size)
    print(
        f"{name}, torch {torch.__version__}, {args.size} shape: "
        f"{args.prompts} prompts of {shape[0]} tokens, {shape[2]} completions of {shape[1]}"
    )
    with tempfile.TemporaryDirectory() as place:
        model = written(Path(place) / "model", SIZES[args.size])
        prompts = write_prompts(Path(place) / "prompts.txt", shape[0], SIZES[args.size]["vocab_size"])
        before = resident()
        settings = {"beta": preset.beta, "steps": args.steps + 1, "lora_rank": args.lora}
        dtype = torch.float16 if cuda else torch.bfloat16
        run = random_run(model, prompts, shape, args.prompts, dtype, **settings)
        estimate = memory_estimate(run.config, (7, 5))
    if args.memory:
        train_step(run, 0)  # makes AdamW's moments
        if not cuda:
            forget_peak()
        train_step(run, 1)
        peak = torch.cuda.max_memory_allocated() / GIB if cuda else most_resident() - before
        print(
            f"  peak memory    {peak:8.2f} GiB, estimate {estimate['total']:.2f} (ratio {estimate['total'] / peak:.2f})"
        )
        return

    done = [train_step(run, step) for step in range(args.steps + 1)]
    times = {part: statistics.median(spent[part] for _, spent in done[1:]) for part in ("rollout_s", "train_s")}
    rollout, train = times["rollout_s"], times["train_s"]
    skipped = sum(bool(record["skipped"]) for record, _ in done)
    gap = statistics.median(record["sampler_gap"] for record, _ in done)
    print(f"  step           {rollout + train:8.2f} s: sampling {rollout:.2f}, training {train:.2f}")
    print(f"  skipped        {skipped:8d} of {len(done)} updates, while the loss scale settles")
    print(f"  sampler's gap  {gap:8.1e} nats a token")
    print(f"  micro-batch    {run.micro_batch:8d} rows")
    if cuda:
        peak, reserved = torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB
        print(
            f"  peak memory    {peak:8.2f} GiB allocated, {reserved:.2f} reserved, of {CARD}; "
            f"estimated {estimate['total']:.2f}"
        )
    sampler = run.policy.sampler()
    run.optimizer.state.clear()
    for new in (shape[1], LONG):
        ours, theirs = decode_rates(sampler, run.policy.tokenizer, ROWS, shape[0], new, args.steps)
        print(
            f"  decoding {new:5d} {ours:8,.0f} tokens/s at {ROWS} rows, groups of {GROUP}; "
            f"generate {theirs:,.0f} (ratio {ours / theirs:.2f})"
        )
    weights = sum(p.numel() * p.element_size() for p in sampler.parameters())
    speed = bandwidth(device, 1.0 if cuda else 0.1)
    ceiling = ROWS * speed / weights
    print(
        f"  ceiling        {ceiling:8,.0f} tokens/s: "
        f"{weights / GIB:.2f} GiB of weights a token at {speed / 1e9:,.0f} GB/s"
    )


if __name__ == "__main__":
    main()
