"""The same GRPO steps by pgnotes and by TRL's GRPOTrainer: seconds and memory; and a task's reward used by both.

    python benchmarks/trl_side_by_side.py [--steps 5] [--shapes 128,48,8 …] [--keep-memory]
                                                                          needs: pip install -e ".[bench]"

Step by step in turn, with the same model, prompts, completion lengths, precision, batch and optimizer; a random reward,
so that no group is dead. TRL runs with all rows of a step in one micro-batch, with one group in each as pgnotes does,
and with one group in each and checkpointed activations, its way of saving memory. Each way lives in a process of its
own, waits for its turn, and reports the most memory that it ever held. The last row compares pgnotes with the fastest
of the others in time, and with the smallest in memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from random_model import SIZES, random_reward, random_run, write_model, write_prompts

# Tokens of a prompt, tokens of a completion, completions of a prompt
SHAPES = ((128, 48, 8), (128, 64, 16), (32, 256, 8))
SAVING = "trl, saving"
WAYS = ("pgnotes", "trl", "trl, by group", SAVING)
# What pgnotes asks of glibc by itself: freed memory is kept, and large pieces come from what was kept.
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
SILENT = {"report_to": [], "disable_tqdm": True, "logging_strategy": "no", "save_strategy": "no"}  # settings of TRL's
PARTS = ("rollout", "train", "whole")  # of a step, in seconds


def wait() -> None:
    """Until it is this process's turn."""
    if not sys.stdin.readline():
        raise SystemExit


def tell(**figures: float) -> None:
    """Report to the parent."""
    print(json.dumps(figures), flush=True)


def peak_mib() -> float:
    """The most memory this process ever held: of the GPU where there is one, else its own.

    Linux only, since getrusage would count the parent's, too.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def pgnotes_steps(model: str, prompts: str, shape: tuple[int, int, int], per_step: int, steps: int) -> None:
    """Our steps, each at its turn."""
    from pgnotes.lm.grpo import train_step

    run = random_run(model, prompts, shape, per_step)
    tell(imported=peak_mib())
    for step in range(steps):
        wait()
        started = time.perf_counter()
        record, seconds = train_step(run, step)
        tell(whole=time.perf_counter() - started, rollout=seconds["rollout_s"], train=seconds["train_s"])
        assert record["skipped"] == ""
        assert record["dead_fail"] == 0
        for group in run.groups:
            assert group.mask.all()
            assert group.tokens.shape == (shape[2], shape[1])
            assert len(group.prompt) == shape[0]


def trl_steps(model: str, prompts: str, shape: tuple[int, int, int], per_step: int, steps: int, way: str) -> None:
    """TRL's steps, each at its turn."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from pgnotes.lm.models import device_capability, precision

    class Timed(GRPOTrainer):
        rollout = 0.0

        def _generate_and_score_completions(self, inputs: list) -> dict:
            started = time.perf_counter()
            outputs = super()._generate_and_score_completions(inputs)
            Timed.rollout = time.perf_counter() - started
            assert outputs["completion_ids"].shape[1] == outputs["completion_mask"].sum(1).min() == shape[1]
            assert outputs["prompt_mask"].sum(1).min() == shape[0]
            return outputs

    class Turns(TrainerCallback):
        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            wait()
            self.started = time.perf_counter()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            whole = time.perf_counter() - self.started
            tell(whole=whole, rollout=Timed.rollout, train=whole - Timed.rollout)

    _, new, group_size = shape
    by_group = way != "trl"
    half = precision(device_capability())  # as pgnotes chooses it
    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=group_size if by_group else per_step * group_size,
        gradient_accumulation_steps=per_step if by_group else 1,
        num_generations=group_size,
        max_completion_length=new,
        max_steps=steps,
        learning_rate=1e-5,
        weight_decay=0.01,
        adam_beta2=0.95,
        bf16=half == torch.bfloat16,
        fp16=half == torch.float16,
        activation_checkpointing=way == SAVING,
        loss_type="dapo",  # the sum over the step's tokens by their number, as in pgnotes
        use_cpu=not torch.cuda.is_available(),
        **SILENT,
    )
    lines = Path(prompts).read_text(encoding="utf-8").splitlines()
    trainer = Timed(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32", attn_implementation="sdpa"),
        processing_class=PreTrainedTokenizerFast.from_pretrained(model, padding_side="left"),
        reward_funcs=[random_reward],
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": lines}),
        callbacks=[Turns()],
    )
    tell(imported=peak_mib())
    trainer.train()
    assert trainer.model.is_gradient_checkpointing == (way == SAVING)


def work(way: str, model: str, prompts: str, shape: str, per_step: str, steps: str) -> None:
    """What one of the processes does."""
    sizes = tuple(map(int, shape.split(","))), int(per_step), int(steps)
    if way == "pgnotes":
        pgnotes_steps(model, prompts, *sizes)
    else:
        trl_steps(model, prompts, *sizes, way)
    tell(peak=peak_mib())


def side_by_side(
    folder: Path, model: str, vocab_size: int, shape: tuple[int, int, int], per_step: int, steps: int, **extra: str
) -> dict[str, dict[str, float]]:
    """Medians over the steps of each way, in turn after one step to warm up; MiB at the end.

    extra: variables of the processes' environment.
    """
    prompts = write_prompts(folder / f"prompts-{shape[0]}.txt", shape[0], vocab_size)
    silent = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error"}
    environment = os.environ | silent | extra
    task = [model, prompts, ",".join(map(str, shape)), str(per_step), str(steps + 1)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--work", way, *task]
        workers[way] = subprocess.Popen(command, env=environment, **pipes)

    # What each tells: its memory once all is imported, its seconds step by step, and its memory at the end
    figures = {way: [json.loads(worker.stdout.readline())] for way, worker in workers.items()}
    for _ in range(steps + 1):
        for way, worker in workers.items():
            print("go", file=worker.stdin, flush=True)
            figures[way].append(json.loads(worker.stdout.readline()))
    for way, worker in workers.items():
        figures[way].append(json.loads(worker.stdout.read().splitlines()[-1]))

    found = {}
    for way, (imported, _, *timed, peak) in figures.items():
        medians = {part: statistics.median(row[part] for row in timed) for part in PARTS}
        found[way] = medians | imported | peak
    return found


def print_table(shape: tuple[int, int, int], per_step: int, found: dict[str, dict[str, float]]) -> None:
    """One shape's figures; the ratio is to the best of TRL's ways in each column."""
    print(f"\nprompt {shape[0]}, completion {shape[1]}, group {shape[2]}, {per_step} prompts a step")
    print(f"  {'':14s} {'rollout s':>10s} {'train s':>10s} {'whole s':>10s} {'peak MiB':>10s} {'… − start':>10s}")
    for way, row in found.items():
        times = " ".join(f"{row[part]:10.2f}" for part in PARTS)
        print(f"  {way:14s} {times} {row['peak']:10.0f} {row['peak'] - row['imported']:10.0f}")
    ours, *theirs = found.values()
    ratios = [min(row[part] for row in theirs) / ours[part] for part in (*PARTS, "peak")]
    print(f"  {'ratio':14s} " + " ".join(f"{ratio:10.2f}" for ratio in ratios), flush=True)


def task_in_trl(steps: int = 2, group_size: int = 4) -> None:
    """Train the pocket model in TRL with the very reward function that pgnotes uses; both judge the same texts."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from pgnotes.lm.models import load
    from pgnotes.lm.tasks import digits_and_length

    task = digits_and_length(48, 12, reward="shaped", instruction="{length} {digit_sum}: {prompt}")
    seen: list[tuple[list, list[float]]] = []

    def reward(completions: list, **columns) -> list[float]:
        seen.append((completions, task.reward(completions, **columns)))
        return seen[-1][1]

    model, tokenizer = load("pocket")
    chats = [[{"role": "user", "content": task.message(prompt)}] for prompt in task.prompts]
    settings = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=2 * group_size,
        num_generations=group_size,
        max_completion_length=64,
        max_steps=steps,
        bf16=False,
        use_cpu=True,
        **SILENT,
    )
    dataset = Dataset.from_dict({"prompt": chats})
    GRPOTrainer(model, [task.reward, reward], settings, dataset, processing_class=tokenizer).train()

    for completions, rewards in seen:
        texts = [chat[-1]["content"] for chat in completions]
        assert rewards == task.reward(texts), "a chat and its text are judged alike"
    rewards = [value for _, values in seen for value in values]
    print(
        f"\nTRL trained {steps} steps on lm.tasks' reward, unchanged: "
        f"{len(rewards)} completions, mean reward {statistics.mean(rewards):.3f}"
    )


def main() -> None:
    """Run the comparison and print one table a shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps timed for each way, after one that is not")
    parser.add_argument("--shapes", nargs="+", default=[",".join(map(str, shape)) for shape in SHAPES], metavar="P,R,G")
    parser.add_argument("--prompts", type=int, default=4, help="prompts a step")
    sizes = "of the model: small has 25 million parameters, qwen is Qwen2.5-0.5B's shape"
    parser.add_argument("--size", choices=SIZES, default="small", help=sizes)
    parser.add_argument("--keep-memory", action="store_true", help="TRL's processes keep freed memory, too")
    parser.add_argument("--work", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(*args.work)
        return

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "trl"))
    print(f"{versions}; {os.cpu_count()} cores; medians of {args.steps} steps, in turn")
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model", SIZES[args.size])
        for text in args.shapes:
            shape = tuple(map(int, text.split(",")))
            sizes = (SIZES[args.size]["vocab_size"], shape, args.prompts, args.steps)
            found = side_by_side(Path(folder), model, *sizes, **(KEEP if args.keep_memory else {}))
            print_table(shape, args.prompts, found)
    task_in_trl()


if __name__ == "__main__":
    main()
