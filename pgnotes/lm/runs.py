"""How a run begins, goes on and ends: old settings and new ones, the newest checkpoint, evaluations and result."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import accelerate
import torch
import transformers

from pgnotes.lm.config import GRPOConfig, with_absolute_paths
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.evaluate import evaluate, held_out_requests, standard_error, unseen_requests
from pgnotes.lm.learner import CORES, Learner, learner, task_and_hash
from pgnotes.lm.models import load
from pgnotes.lm.rollout import Sampler, generate
from pgnotes.lm.state import RunFolder, finite
from pgnotes.lm.tasks import Task
from pgnotes.lm.warmup import examples_of, start_of

BOOKKEEPING = ("checkpoint_every", "evaluate", "device", "precision")  # settings that may change when a run goes on
RESCUE = ("lr", "beta")  # and these, once the gradient has stayed infinite
BAD_REWARD = "the reward failed"  # a run that stopped for this may go on with another one
NOT_FINITE = "the gradient is not finite"
MOMENTS = {  # of an evaluation, in words
    "before": "before training",
    "warm": "after the warm-up",
    "after": "after training",
    "unseen": "on targets it was never asked for",
}


@dataclass(frozen=True)
class RunLog:
    """A finished run: `log["pass_rate"]` is a column of its records, `result` what the command prints."""

    records: list[dict]
    result: dict
    folder: Path

    def __getitem__(self, key: str) -> list:
        """One value a step."""
        return [record[key] for record in self.records]


# the beginning


def setup_run(
    config: GRPOConfig,
    out: str | Path | None = None,
    resume: bool = False,
    task: Task | None = None,
    generate: Sampler = generate,
) -> tuple[Learner, RunFolder]:
    """Load a run, at its newest checkpoint if it is resumed, and lay out its folder, which is its own until `release`.

    Nothing is written before all arguments are checked.  out: the folder; None for one that goes when this Python ends.
    """
    folder = RunFolder(out) if out is not None else temporary_folder()
    folder.writes = os.environ.get("RANK", "0") == "0"
    config = with_absolute_paths(config)
    stored = folder.read_run()
    if folder.writes:
        folder.check_writable()
    if stored:
        folder.acquire()
    try:
        config, changes = check_same_settings(config, folder, resume)
        run = load_run(config, folder, stored, task, generate)
        run.changes |= changes
        write_folder(run, folder, stored, warmup_is_stale(config, stored, task))
    except BaseException:
        folder.release()
        raise
    return run, folder


def load_run(
    config: GRPOConfig, folder: RunFolder, stored: dict | None, task: Task | None, generate: Sampler
) -> Learner:
    """The run of these settings, at the newest checkpoint in its folder; nothing is written."""
    prompts = folder.read("prompts.json") if stored and stored["config"].get("prompts") == config.prompts else None
    start = config.model if warmup_is_stale(config, stored, task) else start_of(config, folder)
    run = learner(config, prompts, task=task, generate=generate, start=start)
    if config.warmup_examples and start == config.model:
        examples_of(run.task, config, most=1)  # there are some
    if config.advantages == "gdpo" and not hasattr(run.task, "rewards"):
        raise BadInputError("advantages is 'gdpo'; it must be another kind for a task without several `rewards`")
    if stored is None:
        return run

    if stored["processes"] != run.accelerator.num_processes:
        raise BadInputError(
            f"the run in {str(folder.path)!r} was made by {stored['processes']} processes; "
            f"it can't go on with {run.accelerator.num_processes}"
        )
    if folder.checkpoints():
        run.changes = check_same_task(run.task_hash, stored, folder)
    if state := folder.load_checkpoint():
        run.restore(state)
    return run


def write_folder(run: Learner, folder: RunFolder, stored: dict | None, anew: bool) -> None:
    """Bring a run's folder to where the run stands.  anew: its warm-up, if there is one, is of no use any more."""
    run.accelerator.wait_for_everyone()  # all have read what was there before the first one writes
    if folder.writes:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.acquire()
        if folder.read_run() != stored:
            raise BadInputError(
                f"out is {str(folder.path)!r}, where another process has begun a run in the meantime; "
                "choose another folder"
            )

    settings = json.loads(json.dumps(asdict(run.config)))
    versions = {module.__name__: module.__version__ for module in (torch, transformers, accelerate)}
    described = {"config": settings, "task": run.task_hash, "processes": run.accelerator.num_processes}
    folder.write("run.json", described | {"versions": {"python": platform.python_version()} | versions})
    folder.drop("stopped.json")  # it goes on
    folder.write("prompts.json", run.task.prompts + run.task.held_out)
    if stored and stored["config"] != settings and not folder.checkpoints():
        folder.drop("evaluation_before.json", "evaluation_warm.json")  # they were made under other settings
    if anew:
        folder.drop("warmup")
    folder.rewind("log.jsonl", run.records)
    folder.rewind("times.jsonl", folder.lines("times.jsonl")[: len(run.records)])
    run.accelerator.wait_for_everyone()


def temporary_folder() -> RunFolder:
    """A folder that is removed when this Python ends; a run in it can't be resumed, and keeps no checkpoints."""
    folder = RunFolder(tempfile.mkdtemp(prefix="pgnotes-"))
    folder.keeps_checkpoints = False
    atexit.register(shutil.rmtree, folder.path, ignore_errors=True)
    return folder


# what may have changed since


def check_same_settings(config: GRPOConfig, folder: RunFolder, resume: bool) -> tuple[GRPOConfig, dict]:
    """The settings to go on with, and those that changed: {key: [before, now]}.

    BadInputError if the folder holds something else than a run, a run that is not to be resumed, or one of other
    settings. A run goes on under other settings if `steps` is raised, for bookkeeping, after gradients that stayed
    infinite, and as long as no step of it is saved; threads = 0 takes the number it started with.
    """
    stored, place = folder.read_run(), str(folder.path)
    anew = replace(config, threads=config.threads or CORES), {}
    if stored is None:
        if foreign := folder.entries():
            raise BadInputError(
                f"out is {place!r}, which holds other things and no run ({', '.join(foreign[:3])}); choose a new folder"
            )
        return anew

    old = GRPOConfig.from_json(stored["config"])
    if not folder.checkpoints():
        if folder.read("result.json"):
            raise BadInputError(
                f"the run in {place!r} is finished and its checkpoints are gone; "
                f"start another one from its model: model={place}"
            )
        if resume or not folder.lines("log.jsonl"):  # nothing is lost
            return anew
    if not resume:
        raise BadInputError(
            f"out is {place!r}, which already holds a run; add --resume to go on with it, or choose another folder"
        )
    config = replace(config, threads=config.threads or old.threads)
    return config, changed_settings(config, old, folder)


def changed_settings(config: GRPOConfig, old: GRPOConfig, folder: RunFolder) -> dict:
    """What the log says of settings that changed: {key: [before, now]}.  BadInputError if others did than may."""
    now, before = asdict(replace(config, threads=config.threads or old.threads)), asdict(old)
    differing = {key: [before[key], now[key]] for key in now if before[key] != now[key]}

    free = BOOKKEEPING + RESCUE if (folder.read("stopped.json") or {}).get("reason") == NOT_FINITE else BOOKKEEPING
    allowed = {*free, "steps"} if now["steps"] > before["steps"] else set(free)
    if set(differing) - allowed:
        texts = [f"{key} was {was!r} and is now {is_!r}" for key, (was, is_) in differing.items() if key not in allowed]
        raise BadInputError(
            f"the run in {str(folder.path)!r} had other settings: {', '.join(texts)}; "
            f"only steps (to more), {', '.join(free)} may change"
        )
    return {key: pair for key, pair in differing.items() if key in RESCUE}


def warmup_is_stale(config: GRPOConfig, stored: dict | None, task: Task | None) -> bool:
    """Whether a warm-up was made under other settings than these: they may change as long as no step is saved."""
    if stored is None or not config.warmup_examples:
        return False
    now, before = asdict(config), asdict(GRPOConfig.from_json(stored["config"]))
    decides = set(now) - {*BOOKKEEPING, *RESCUE, "steps"}
    return any(now[key] != before[key] for key in decides) or task_and_hash(config, task)[1] != stored.get("task", "")


def check_same_task(task_hash: str, stored: dict, folder: RunFolder) -> dict:
    """What the log says of a task that changed, which it may once a reward has failed.  BadInputError if it may not."""
    before = stored.get("task", "")
    if task_hash == before:
        return {}
    if (folder.read("stopped.json") or {}).get("reason") != BAD_REWARD:
        raise BadInputError(
            "the task of this run is another one now: its file or its reward has changed; choose another folder"
        )
    return {"task": [before, task_hash]}


# the end


def save_overflow(run: Learner, folder: RunFolder) -> None:
    """Write the batch whose gradient was not finite.

    FloatingPointError, naming what to try, after several such steps in a row.
    """
    folder.put(
        "not_finite.pt",
        lambda place: torch.save({"record": run.records[-1], "groups": [vars(group) for group in run.groups]}, place),
    )
    patience = 20 if run.policy.compute_dtype == torch.float16 else 3  # float16's loss scale needs a few to settle
    if [r["skipped"] for r in run.records[-patience:]] == [NOT_FINITE] * patience:
        folder.write("stopped.json", {"step": run.records[-1]["step"], "reason": NOT_FINITE})
        raise FloatingPointError(
            f"the gradient was not finite {patience} steps in a row; go on with a smaller lr, or a larger beta: "
            f"--resume --set lr={run.config.lr / 4:.2g} (see {folder / 'not_finite.pt'})"
        )


def finished_run(config: GRPOConfig, folder: RunFolder, task: Task | None, say: Callable[[str], None]) -> RunLog | None:
    """The run in a folder, if it is finished and went as far as asked for.  BadInputError if it had other settings."""
    stored, result = folder.read_run(), folder.read("result.json")
    if stored is None or not result or result["steps"] < config.steps or not (folder / "model").is_dir():
        return None
    config, old = with_absolute_paths(config), GRPOConfig.from_json(stored["config"])
    changed_settings(replace(config, steps=old.steps), old, folder)
    check_same_task(task_and_hash(config, task)[1], stored, folder)
    asked = "" if result["steps"] == config.steps else f", more than the {config.steps} asked for"
    say(f"already finished, all {result['steps']} steps{asked}: this is what was found; another folder starts anew")
    return RunLog(folder.lines("log.jsonl")[: result["steps"]], result, folder.path)


def evaluated(run: Learner, folder: RunFolder, when: str, say: Callable[[str], None]) -> dict:
    """Evaluate the policy under the run's settings; what is found is also kept in `evaluation_{when}.json`.

    when: one of `MOMENTS`; the first two do not come again, and what is kept of them is given.
    """
    if when in ("before", "warm") and (kept := folder.read(f"evaluation_{when}.json")):
        return kept
    started = time.perf_counter()
    asked = (unseen_requests if when == "unseen" else held_out_requests)(run.task, run.config.evaluate)
    if not asked or (when == "warm" and not run.config.warmup_examples):  # the task has no neighbours, or no warm-up
        return {"pass_rate": None}
    say(f"{MOMENTS[when]}: sampling {len(asked)} completions")
    policy, start_model = run.policy, run.policy.reference()
    if policy.adapters is None and policy.start_model is None:
        model, _ = load(start_of(run.config, folder), run.device, policy.compute_dtype)
        start_model = contextlib.nullcontext(model)
    found = asdict(evaluate(policy.sampler(), policy.tokenizer, asked, run.config, start_model))
    found = finite(found | {"seconds": round(time.perf_counter() - started, 2)})
    folder.write(f"evaluation_{when}.json", found)
    say(f"{MOMENTS[when]}: {found['pass_rate']:.0%} ± {standard_error(found['pass_rate'], len(asked)):.0%} pass")
    return found


def finish(run: Learner, folder: RunFolder, found: dict[str, dict]) -> RunLog:
    """The result of a run that is over, also written to `result.json`.  found: the evaluation of each moment.

    Its seconds are those of all steps and evaluations, in all sessions.
    """
    steps = sum(line["rollout_s"] + line["train_s"] for line in folder.lines("times.jsonl"))
    evaluations, after = sum(one.get("seconds", 0.0) for one in found.values()), found["after"]
    result = {f"pass_rate_{when}": found[when]["pass_rate"] for when in MOMENTS} | {
        "standard_error": standard_error(after["pass_rate"], len(after["completions"])),  # of the one after
        "logprob_before": found["before"]["logprob"],
        "logprob_after": after["logprob"],
        "distinct": after["distinct"],
        "seconds": round(steps + evaluations, 1),
        "steps": run.config.steps,
        "reward": run.config.reward,
    }
    folder.write("result.json", finite(result))
    return RunLog(run.records, result, folder.path)
