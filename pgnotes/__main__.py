"""The commands: python -m pgnotes doctor | grpo | evaluate | pocket."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgnotes.lm.config import GRPOConfig


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="pgnotes", description="Lessons on policy gradients, from a bandit to GRPO: the commands.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="versions, device, precision, memory; what runs here and what does not")

    grpo = commands.add_parser("grpo", help="train a language model with GRPO")
    grpo.add_argument("--preset", help="smoke (20 s), pocket (a laptop, minutes; the default) or t4 (Qwen2.5-0.5B on a T4)")
    grpo.add_argument("--out", help="the run's folder: settings, log, checkpoints, model")
    grpo.add_argument("--preflight", action="store_true", help="do one step, say what to expect (pass rate, dead groups, memory, minutes), and stop")
    grpo.add_argument("--resume", action="store_true", help="go on with the run in --out; start it if there is none")
    grpo.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", help="change settings: --set steps=200 prompts=my.txt")

    evaluate = commands.add_parser("evaluate", help="pass rate of a run or of a model folder on held-out prompts")
    evaluate.add_argument("model", metavar="DIR", help="a run, a model folder, or 'pocket'")
    evaluate.add_argument("--n", type=int, default=100, help="completions to sample")
    evaluate.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", help="length, digit_sum, prompts, seed, …")

    pocket = commands.add_parser("pocket", help="rebuild the bundled pocket model from a seed")
    pocket.add_argument("--out", default=None, help="where to write it (the package's own folder if not given)")
    pocket.add_argument("--seed", type=int, default=0, help="another seed makes another model; the bundled one is 0")
    pocket.add_argument("--steps", type=int, help="at most so many steps of each stage, for a try-out")
    return top


def changed(config: GRPOConfig, settings: Iterable[str]) -> GRPOConfig:
    """The settings of a run, changed by texts like "lr=1e-4"; ValueError for an unknown key or a value of the wrong kind."""
    changes, keys = {}, [field.name for field in dataclasses.fields(config)]
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in keys:
            raise ValueError(f"--set takes key=value, not {setting!r}; the keys are {', '.join(keys)}")
        changes[key] = parse(key, text, getattr(config, key))
    return dataclasses.replace(config, **changes)


def parse(key: str, text: str, like: int | float | str | tuple) -> int | float | str | tuple:
    """`text` as the kind of value that `like` is; a pair may be given as one number."""
    try:
        if isinstance(like, tuple):
            numbers = tuple(float(part) for part in text.split(","))
            return numbers * 2 if len(numbers) == 1 else numbers
        return type(like)(text)
    except ValueError:
        raise ValueError(f"{key} is {text!r}; it must be {'a number or a pair of numbers' if isinstance(like, tuple) else type(like).__name__}") from None


def run_grpo(args: argparse.Namespace) -> dict:
    """Train; the progress bar goes to stderr."""
    from pgnotes.classroom.progress import Bar
    from pgnotes.lm.config import GRPOConfig
    from pgnotes.lm.grpo import train
    from pgnotes.lm.models import device_capability
    from pgnotes.lm.preflight import memory_estimate, preflight
    from pgnotes.lm.state import RunFolder

    if args.out is None and not args.preflight:
        raise ValueError("--out is missing; name a folder for the run")
    stored = RunFolder(args.out).read("run.json") if args.out and args.resume and args.preset is None else None
    config = GRPOConfig.from_json(stored["config"]) if stored else GRPOConfig.preset(args.preset or "pocket")
    config = changed(config, args.set)
    memory = memory_estimate(config, device_capability())["total"]
    if memory > 1:  # before anything is loaded: will it fit?
        print(f"pgnotes: {config.model} will take about {memory:.1f} GiB, and the activations of one group on top", file=sys.stderr)
    if args.preflight:
        return preflight(config)
    with Bar(config.steps) as bar:
        return train(config, args.out, args.resume, consumers=(bar,)).result


def run_evaluate(args: argparse.Namespace) -> dict:
    """Evaluate a run's model on the run's own task, or any model on the pocket preset's."""
    from accelerate import Accelerator

    from pgnotes.lm.config import GRPOConfig
    from pgnotes.lm.evaluate import evaluate, held_out_requests
    from pgnotes.lm.models import device_capability, load, precision
    from pgnotes.lm.state import RunFolder
    from pgnotes.lm.tasks import digits_and_length

    if args.n < 1:
        raise ValueError(f"--n is {args.n}; it must be at least 1")
    folder = RunFolder(args.model)
    stored, prompts = folder.read("run.json"), folder.read("prompts.json")
    config = changed(GRPOConfig.from_json(stored["config"]) if stored else GRPOConfig.preset("pocket"), args.set)
    given = any(setting.startswith("prompts=") for setting in args.set)
    source = config.prompts if given or not prompts else prompts
    task = digits_and_length(config.length, config.digit_sum, source, config.reward, config.instruction)
    where = Accelerator(mixed_precision="no").device, precision(device_capability())
    model, tokenizer = load(args.model, *where)
    judge = load(config.model, *where)[0] if stored else None  # the start model judges fluency
    found = evaluate(model, tokenizer, held_out_requests(task, args.n), config, judge)
    for row in found.completions[:10]:
        verdict = "pass" if row["passed"] else "fail"
        print(f"{verdict}  {row['length']:3d} characters, digits add up to {row['digit_sum']:3d}  {row['prompt']!r} → {row['completion']!r}")
    return {key: value for key, value in dataclasses.asdict(found).items() if key != "completions"}


def run_pocket(args: argparse.Namespace) -> dict:
    """Build the pocket model and say where it lies."""
    from importlib.resources import files

    from tqdm import tqdm

    from pgnotes.lm.pocket.build import STAGES, build

    out = Path(args.out or str(files("pgnotes.lm.pocket")))
    stages = tuple((min(steps, args.steps or steps), peak, exact) for steps, peak, exact in STAGES)
    bar = tqdm(build(out, stages, seed=args.seed), total=sum(stage[0] for stage in stages), desc="pocket model", unit="step")
    for loss in bar:
        bar.set_postfix(nats_per_character=f"{loss:.3f}", refresh=False)
    return {"out": str(out), "seed": args.seed, "loss": loss}


def run_doctor(args: argparse.Namespace) -> dict:
    """Print what runs here; exit status 1 if the lessons can't."""
    from pgnotes.classroom.session import report

    lines, ready = report()
    print("\n".join(lines))
    if not ready:
        raise SystemExit(1)
    return {}


COMMANDS = {"doctor": run_doctor, "grpo": run_grpo, "evaluate": run_evaluate, "pocket": run_pocket}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done · 1 stopped half-way, what was saved is whole · 2 bad input, nothing was changed."""
    args = parser().parse_args(argv)
    try:
        result = COMMANDS[args.command](args)
    except (ValueError, ConnectionError) as error:
        print(f"pgnotes: {error}", file=sys.stderr)
        return 2
    except (OSError, FloatingPointError) as error:
        print(f"pgnotes: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        print("pgnotes: not enough memory, even with one completion at a time; try a smaller model, prompts_per_step or max_new_tokens", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pgnotes: stopped; go on with --resume", file=sys.stderr)
        return 130
    if result and os.environ.get("RANK", "0") == "0":  # of several processes only the first speaks
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
