"""The commands: python -m pgnotes doctor | grpo | evaluate | pocket | collect | recheck."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgnotes.lm.config import GRPOConfig


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="pgnotes", description="Lessons on policy gradients, from a bandit to GRPO: the commands."
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="versions, device, precision, memory; what runs here and what does not")

    grpo = commands.add_parser("grpo", help="train a language model with GRPO")
    grpo.add_argument(
        "--preset",
        help="smoke (20 s), pocket (the bundled model, minutes; the default), laptop (SmolLM2-135M, an hour and a "
        "quarter without a GPU) or t4 (Qwen2.5-0.5B on a T4)",
    )
    grpo.add_argument("--out", help="the run's folder: settings, log, checkpoints, model")
    grpo.add_argument(
        "--preflight",
        action="store_true",
        help="do one step, say what to expect (pass rate, dead groups, memory, minutes), and stop",
    )
    grpo.add_argument("--resume", action="store_true", help="go on with the run in --out; start it if there is none")
    add_set(grpo, "change settings: --set steps=200 prompts=my.txt")

    evaluate = commands.add_parser("evaluate", help="pass rate of a run or of a model folder on held-out prompts")
    evaluate.add_argument("model", metavar="DIR", nargs="?", help="a run, a model folder, or 'pocket'")
    evaluate.add_argument("--n", type=int, default=100, help="completions to sample")
    add_set(evaluate, "length, digit_sum, prompts, seed, …")

    pocket = commands.add_parser("pocket", help="build the pocket model from a seed, as the bundled one was")
    pocket.add_argument("--out", help="a new folder to write it to")
    pocket.add_argument(
        "--replace", action="store_true", help="replace what is there; without --out, the bundled model itself"
    )
    pocket.add_argument("--seed", type=int, default=0, help="another seed makes another model; the bundled one is 0")
    pocket.add_argument("--steps", type=int, help="at most so many steps of each stage, for a try-out")

    collect = commands.add_parser("collect", help="a class from its receipts: who passed what, and the frequent slips")
    collect.add_argument("receipts", metavar="FILE", help="a form's CSV, or any text that receipts were pasted into")
    collect.add_argument("--out", default="class", help="the folder for class.csv, slips.csv and slips.png")

    recheck = commands.add_parser("recheck", help="check handed-in notebooks again, each in a sandbox")
    recheck.add_argument("folder", metavar="FOLDER", help="where the notebooks are, at whatever depth")
    recheck.add_argument("--out", default="rechecked", help="the folder for notebooks.csv and exercises.csv")
    recheck.add_argument("--workers", type=int, default=2, help="how many notebooks to check at a time")
    recheck.add_argument("--seconds", type=float, default=10.0, help="processor time that a check may take")
    recheck.add_argument("--memory", type=int, default=1024, help="MiB of memory that a check may take")
    return top


def add_set(command: argparse.ArgumentParser, text: str) -> None:
    """The argument --set of a command."""
    command.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", help=text)


def changed(config: GRPOConfig, settings: Iterable[str]) -> GRPOConfig:
    """The settings of a run, changed by texts like "lr=1e-4".

    BadInputError for an unknown key or a value of the wrong kind.
    """
    from pgnotes.lm.errors import BadInputError

    changes, keys = {}, [field.name for field in dataclasses.fields(config)]
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in keys:
            raise BadInputError(f"--set takes key=value, not {setting!r}; the keys are {', '.join(keys)}")
        changes[key] = parse(key, text, getattr(config, key))
    return dataclasses.replace(config, **changes)


def parse(key: str, text: str, like: int | float | str | tuple) -> int | float | str | tuple:
    """`text` as the kind of value that `like` is; a pair may be given as one number."""
    from pgnotes.lm.errors import BadInputError

    try:
        if isinstance(like, tuple):
            numbers = tuple(float(part) for part in text.split(","))
            return numbers * 2 if len(numbers) == 1 else numbers
        return type(like)(text)
    except ValueError:
        kind = "a number or a pair of numbers" if isinstance(like, tuple) else type(like).__name__
        raise BadInputError(f"{key} is {text!r}; it must be {kind}") from None


def run_grpo(args: argparse.Namespace) -> dict:
    """Train; the progress bar goes to stderr."""
    import torch

    from pgnotes.classroom.progress import Bar
    from pgnotes.lm.config import GRPOConfig
    from pgnotes.lm.errors import BadInputError
    from pgnotes.lm.grpo import train
    from pgnotes.lm.models import device_capability
    from pgnotes.lm.preflight import memory_estimate, preflight
    from pgnotes.lm.state import RunFolder

    if args.out is None and not args.preflight:
        raise BadInputError("--out is missing; name a folder for the run")
    stored = RunFolder(args.out).read_run() if args.out and args.resume and args.preset is None else None
    config = GRPOConfig.from_json(stored["config"]) if stored else GRPOConfig.preset(args.preset or "pocket")
    config = changed(config, args.set)

    # A model that has grown sure makes many numbers below 1e-38, and they are slow. Not in a process that others share.
    if __name__ == "__main__":
        torch.set_flush_denormal(True)

    # Before anything is loaded: will it fit?
    memory = memory_estimate(config, device_capability(config.device))["total"]
    if memory > 1:
        tell(f"{config.model} will take about {memory:.1f} GiB")
    if args.preflight:
        return preflight(config)
    with Bar(config.steps) as bar:
        return train(config, args.out, args.resume, consumers=(bar,), say=tell).result


def run_evaluate(args: argparse.Namespace) -> dict:
    """Evaluate a run's model on the run's own task, or any model on the preset's."""
    from pgnotes.lm.errors import BadInputError
    from pgnotes.lm.evaluate import evaluate, held_out_requests
    from pgnotes.lm.learner import check_lengths, task_and_hash
    from pgnotes.lm.models import device_capability, load, precision, processes_and_device

    if args.model is None and args.set and "=" not in args.set[-1]:
        args.model = args.set.pop()  # `evaluate --set length=50 DIR`
    if args.model is None:
        raise BadInputError("DIR is missing; name a run, a model folder, or 'pocket'")
    if args.n < 1:
        raise BadInputError(f"--n is {args.n}; it must be at least 1")
    config, prompts, start = evaluated(args.model)
    config = changed(config, args.set)
    given = any(setting.startswith("prompts=") for setting in args.set)
    task, _ = task_and_hash(config, prompts=None if given else prompts)
    _, device = processes_and_device(config.device)
    dtype = precision(device_capability(device), config.precision)
    model, tokenizer = load(args.model, device, dtype)
    check_lengths(config, task, model, tokenizer)
    start_model = contextlib.nullcontext(load(start, device, dtype)[0]) if start else None  # it scores fluency
    found = evaluate(model, tokenizer, held_out_requests(task, args.n), config, start_model)
    for row in found.completions[:10]:
        verdict = "pass" if row["passed"] else "fail"
        numbers = ", ".join(f"{name} {value:g}" for name, value in task.measures(row["completion"]).items())
        print(f"{verdict}  {numbers}  {row['prompt']!r} → {row['completion']!r}")
    return {key: value for key, value in dataclasses.asdict(found).items() if key != "completions"}


def evaluated(name: str) -> tuple[GRPOConfig, list[str] | None, str | None]:
    """How the model in a run, in a run's `model/`, or in another folder is to be asked: settings, prompts, start model.

    BadInputError for a run that has not ended, whose `model/` is then missing or an older one, and for a folder called
    "pocket".
    """
    from pgnotes.lm.config import GRPOConfig
    from pgnotes.lm.errors import BadInputError
    from pgnotes.lm.models import is_pocket
    from pgnotes.lm.state import RunFolder
    from pgnotes.lm.warmup import start_of

    if name == "pocket" and Path(name).is_dir():
        raise BadInputError(
            "'pocket' is the bundled model, and there is a folder of that name here; for the folder write ./pocket"
        )
    place = Path(name).expanduser().resolve()
    is_model = place.name == "model" and (place / "config.json").is_file()
    folder = RunFolder(place.parent if is_model else place)
    stored = folder.read_run()
    if stored is None:
        return GRPOConfig.preset("pocket") if is_pocket(name) else GRPOConfig(), None, None
    config, result = GRPOConfig.from_json(stored["config"]), folder.read("result.json")
    if not result or result["steps"] != config.steps or not (folder / "model").is_dir():
        done = len(folder.lines("log.jsonl"))
        raise BadInputError(
            f"the run in {str(folder.path)!r} has not ended: {done} of {config.steps} steps are done; "
            f"go on with: python -m pgnotes grpo --resume --out {shlex.quote(str(folder.path))}"
        )
    return config, folder.read("prompts.json"), start_of(config, folder)


def run_pocket(args: argparse.Namespace) -> dict:
    """Build the pocket model and say where it lies."""
    from importlib.resources import files

    from tqdm import tqdm

    from pgnotes.lm.errors import BadInputError
    from pgnotes.lm.pocket.build import STAGES, build
    from pgnotes.lm.state import RunFolder

    if args.steps is not None and args.steps < 1:
        raise BadInputError(f"--steps is {args.steps}; it must be at least 1")
    if args.out is None and not args.replace:
        raise BadInputError("--out is missing; name a new folder, or add --replace to replace the bundled model itself")
    folder = RunFolder(args.out or str(files("pgnotes.lm.pocket")))
    if folder.entries() and not args.replace:
        raise BadInputError(f"out is {str(folder.path)!r}, which is not empty; choose a new folder, or add --replace")
    folder.check_writable()
    stages = tuple((min(steps, args.steps or steps), peak, exact) for steps, peak, exact in STAGES)
    steps = build(folder.path, stages, seed=args.seed)
    bar = tqdm(steps, total=sum(stage[0] for stage in stages), desc="pocket model", unit="step")
    for loss in bar:
        bar.set_postfix(nats_per_character=f"{loss:.3f}", refresh=False)
    return {"out": str(folder.path), "seed": args.seed, "loss": loss}


def run_doctor(args: argparse.Namespace) -> dict:
    """Print what runs here; exit status 1 if the lessons can't."""
    from pgnotes.classroom.session import report

    lines, ready = report()
    print("\n".join(lines))
    if not ready:
        raise SystemExit(1)
    return {}


def run_collect(args: argparse.Namespace) -> dict:
    """Make a class's table, and say what could not be counted."""
    from pgnotes.classroom.collect import collect
    from pgnotes.lm.errors import BadInputError

    source, out = Path(args.receipts).expanduser(), Path(args.out).expanduser()
    if not source.is_file():
        raise BadInputError(f"FILE is {args.receipts!r}, and there is no such file")
    result = collect(source, out)
    for sentence in result["not_counted"]:
        tell(f"not counted: {sentence}")
    for exercise, slip in result["most_often"].items():
        print(f"{exercise:>5}  {slip}")
    return {"receipts": result["receipts"], "students": result["students"], "out": str(out)}


def run_recheck(args: argparse.Namespace) -> dict:
    """Check what was handed in, and write the table; a line for each notebook as it is done."""
    from pgnotes.classroom.collect import write
    from pgnotes.classroom.recheck.folder import notebooks, recheck, tables
    from pgnotes.classroom.recheck.sandbox import Limits
    from pgnotes.lm.errors import BadInputError

    if importlib.util.find_spec("nbformat") is None:
        raise BadInputError("recheck reads notebooks with nbformat, which is missing here: pip install nbformat")
    if not hasattr(os, "fork"):
        raise BadInputError("recheck needs Linux or macOS; on Windows use WSL")
    folder, out = Path(args.folder).expanduser(), Path(args.out).expanduser()
    if not folder.is_dir() or not notebooks(folder):
        raise BadInputError(f"FOLDER is {args.folder!r}, in which there is no notebook")
    for name, value, least in (("workers", args.workers, 1), ("seconds", args.seconds, 1), ("memory", args.memory, 64)):
        if not value >= least:
            raise BadInputError(f"--{name} is {value:g}; it must be at least {least}")

    rows = []
    for path, row in recheck(folder, Limits(args.seconds, args.memory), args.workers, say=tell):
        name = str(path.relative_to(folder))
        words = " ".join(word for word, _, _ in row["exercises"].values())
        print(f"{name}: {row['fault'] or words}", flush=True)
        rows.append((name, row))
    short, long = tables(rows)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "notebooks.csv", short)
    write(out / "exercises.csv", long)
    unread = sum(bool(row["fault"]) for _, row in rows)
    return {"notebooks": len(rows), "unreadable": unread, "out": str(out)}


COMMANDS = {
    "doctor": run_doctor,
    "grpo": run_grpo,
    "evaluate": run_evaluate,
    "pocket": run_pocket,
    "collect": run_collect,
    "recheck": run_recheck,
}


def tell(text: str) -> None:
    """A line on stderr; of several processes only the first speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(f"pgnotes: {text}", file=sys.stderr)


def prepare_streams() -> None:
    """Make stdout and stderr take whatever we write.

    A terminal, a pipe or a file may know few characters, and `>&-` closes them.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Exit status: 0 done · 1 stopped half-way, what was saved is whole · 2 bad input, nothing was changed · 130 stopped
    with Ctrl-C.
    With PGNOTES_DEBUG=1 every fault keeps its traceback.
    """
    prepare_streams()
    args = parser().parse_args(argv)
    try:
        result = COMMANDS[args.command](args)
        if result and os.environ.get("RANK", "0") == "0":
            print(json.dumps(result))
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        goes_on = args.command == "grpo" and args.out and (Path(args.out).expanduser() / "run.json").is_file()
        print("pgnotes: stopped" + "; go on with --resume" * bool(goes_on), file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("PGNOTES_DEBUG", "0") not in ("", "0"):
            raise
        status, text = explain(error)
        if status is None:
            raise
        print(f"pgnotes: {text}", file=sys.stderr)
        return status


def explain(error: Exception) -> tuple[int | None, str]:
    """Exit status and sentence for faults that are no mistake of ours; status None for one that needs its traceback."""
    from pgnotes.lm.errors import BadInputError, RewardError, out_of_memory

    if isinstance(error, RewardError):
        return 1, f"{error}; once it is mended, a run goes on with --resume"
    if isinstance(error, BadInputError | ConnectionError):
        return 2, str(error)
    if out_of_memory(error):
        return 1, (
            "not enough memory, even with one completion at a time; "
            "lower prompts_per_step, group_size or max_new_tokens, or take a smaller model"
        )
    if isinstance(error, OSError | FloatingPointError):
        return 1, str(error)
    return None, ""


if __name__ == "__main__":
    raise SystemExit(main())
