"""What a run holds in memory, and how it begins or goes on."""

from __future__ import annotations

import atexit
import hashlib
import inspect
import json
import os
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import accelerate
import torch
import transformers
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError, out_of_memory
from pgnotes.lm.models import (
    cut,
    device_capability,
    encode,
    load,
    parameter_groups,
    precision,
    processes_and_device,
    stop_ids,
    text_limit,
)
from pgnotes.lm.rollout import Group
from pgnotes.lm.state import RunFolder
from pgnotes.lm.tasks import IN_WORDS, Task, digits_and_length, from_reward, load_function

CORES = torch.get_num_threads()  # what PyTorch found on its own, before a run sets anything
BOOKKEEPING = ("checkpoint_every", "evaluate", "device")  # settings that may change when a run goes on
BAD_REWARD = "the reward failed"  # a run that stopped for this may go on with another one
TASK_PARTS = ("prompts", "held_out", "message", "reward", "passed", "measures")
RESCUE = ("lr", "beta")  # and these, once the gradient has stayed infinite


@dataclass
class Learner:
    """What a run holds in memory."""

    config: GRPOConfig
    task: Task
    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reference: PreTrainedModel | None  # the start model, frozen; None if beta is 0
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # of the loss; does nothing but in float16
    accelerator: Accelerator  # this process among the others
    device: torch.device  # where this process computes
    half: torch.dtype  # of the arithmetic; the weights that are trained are float32
    copy: PreTrainedModel | None  # of the policy in half precision, which samples; None where the policy does
    stops: list[int]
    rows: int  # completions in a micro-batch
    source: str = ""  # the hash of what the task is made of
    records: list[dict] = field(default_factory=list)  # one for each step done
    updates: int = 0  # of the weights; a skipped one does not count
    groups: list[Group] = field(default_factory=list)  # this process's completions of the last step
    # Settings that changed when the run went on, for the next record: [before, now]
    changes: dict = field(default_factory=dict)

    def autocast(self) -> torch.autocast:
        """The context in which the policy's matrix products are in half precision, where the device has a good one."""
        return torch.autocast(self.device.type, self.half, enabled=self.half != torch.float32)

    @torch.no_grad()
    def sampler(self) -> PreTrainedModel:
        """The policy as it samples: itself, or its half-precision copy brought up to date."""
        for half, whole in zip(self.copy.parameters(), self.policy.parameters(), strict=True) if self.copy else ():
            half.copy_(whole)
        return self.copy or self.policy

    def state(self) -> dict:
        """Everything a resumed run needs; the noise of later steps follows from the seed and the step."""
        parts = {name: getattr(self, name).state_dict() for name in ("policy", "optimizer", "scaler")}
        return {"records": self.records, "updates": self.updates, "rows": self.rows, **parts}

    def restore(self, state: dict) -> None:
        """Take up what `state` gave, on whatever device and in whatever precision: float16's loss scale starts anew where there was none."""
        try:
            self.records, self.updates, self.rows = state["records"], state["updates"], state["rows"]
            self.policy.load_state_dict(state["policy"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:
                self.scaler.load_state_dict(state["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
            raise BadInputError(
                f"the checkpoint does not fit model {self.config.model!r} as it is now: {reason}"
            ) from error


def task_and_source(config: GRPOConfig, task: Task | None = None, prompts: list[str] | None = None) -> tuple[Task, str]:
    """The task of a run, and what decides it beyond the settings: the hash of a file or of a function's source.

    task: given in Python, instead of the one that `config` names.  prompts: instead of `config.prompts`.
    """
    if task is not None:
        return task, source_hash(task)
    if ":" in config.task:
        make, digest = load_function(config.task)
        made = make()
        if not isinstance(made, Task):
            raise BadInputError(f"task is {config.task!r}, which made {made!r}; a task has {', '.join(TASK_PARTS)}")
        return made, digest
    if ":" in config.reward:
        function, digest = load_function(config.reward)
        own = "{prompt}" if config.instruction == IN_WORDS else config.instruction
        instruction = own.replace("{length}", str(config.length)).replace("{digit_sum}", str(config.digit_sum))
        return from_reward(function, prompts or config.prompts, instruction), digest
    source = prompts or config.prompts
    return digits_and_length(config.length, config.digit_sum, source, config.reward, config.instruction), ""


def source_hash(task: Task) -> str:
    """The SHA-256 of a task's reward function as it is written, or of its class; "" where there is no source."""
    try:
        text = inspect.getsource(getattr(task, "function", type(task)))
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def check_same_task(source: str, stored: dict) -> None:
    """BadInputError if a run is to go on with another task than it began with."""
    if source != stored.get("task", ""):
        raise BadInputError(
            "the task of this run is another one now: its file or its reward has changed; choose another folder"
        )


def learner(
    config: GRPOConfig,
    prompts: list[str] | None = None,
    half: torch.dtype | None = None,
    task: Task | None = None,
) -> Learner:
    """Load the model and all that trains it.

    prompts: instead of `config.prompts` (a resumed run's own).  half: instead of the device's `precision`.
    task: instead of the one that `config` names.
    BadInputError or ConnectionError for settings that can't work with this model on this machine.
    """
    torch.set_num_threads(config.threads or CORES)
    task, source = task_and_source(config, task, prompts)
    accelerator, device = processes_and_device(config.device)
    if config.prompts_per_step % accelerator.num_processes:
        raise BadInputError(
            f"prompts_per_step is {config.prompts_per_step}; it must be a multiple of the {accelerator.num_processes} processes"
        )
    half = half or precision(device_capability(device))
    policy, tokenizer = load(config.model, device)
    check_lengths(config, task, policy, tokenizer)
    reference = load(config.model, device, half)[0].requires_grad_(False) if config.beta > 0 else None
    copy = load(config.model, device, half)[0].requires_grad_(False) if half != torch.float32 else None

    # Fused: in one pass, without copies of the weights' size on the way.
    parameters = parameter_groups(policy, config.weight_decay)
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, betas=config.betas, fused=True)

    # A scaler gets its scale with the first loss. A process whose groups are all dead scales none, but takes part in
    # the update.
    scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)
    scaler.scale(torch.zeros((), device=device))
    return Learner(
        config=config,
        task=task,
        source=source,
        policy=policy,
        tokenizer=tokenizer,
        reference=reference,
        optimizer=optimizer,
        scaler=scaler,
        accelerator=accelerator,
        device=device,
        half=half,
        copy=copy,
        stops=stop_ids(policy, tokenizer),
        rows=config.group_size,
    )


def check_lengths(config: GRPOConfig, task: Task, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """BadInputError if a prompt and its completion could be longer than the model can read."""
    limit = text_limit(model)
    around = len(encode(tokenizer, task.message("a")))
    if limit is None or around + config.prompt_tokens + config.token_limit <= limit:
        return  # whatever the prompts are
    prompts = (cut(tokenizer, prompt, config.prompt_tokens) for prompt in task.prompts + task.held_out)
    longest = max(len(encode(tokenizer, task.message(prompt))) for prompt in prompts)
    if longest + config.token_limit > limit:
        raise BadInputError(
            f"model is {config.model!r}, which reads {limit} tokens at most; the longest prompt has {longest} and a completion may have "
            f"{config.token_limit}: lower prompt_tokens (now {config.prompt_tokens}), length or max_new_tokens, or take another model"
        )


def begin(
    config: GRPOConfig, out: str | Path | None, resume: bool, task: Task | None = None
) -> tuple[Learner, RunFolder]:
    """Load a run, at its newest checkpoint if it is resumed, and lay out its folder, which is this process's until `release`.

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
        return prepare(config, folder, stored, resume, task), folder
    except BaseException:
        folder.release()
        raise


def prepare(config: GRPOConfig, folder: RunFolder, stored: dict | None, resume: bool, task: Task | None) -> Learner:
    """`begin` once the folder is known."""
    config, changes = agree(config, folder, resume)
    goes_on = stored is not None and stored["config"].get("prompts") == config.prompts
    run = learner(config, folder.read("prompts.json") if goes_on else None, task=task)
    run.changes = changes
    if stored and folder.checkpoints():
        stopped = folder.read("stopped.json") or {}
        if stopped.get("reason") != BAD_REWARD:
            check_same_task(run.source, stored)
        elif run.source != stored.get("task", ""):
            run.changes["task"] = [stored.get("task", ""), run.source]
    processes = run.accelerator.num_processes
    if stored and stored["processes"] != processes:
        raise BadInputError(
            f"the run in {str(folder.path)!r} was made by {stored['processes']} processes; it can't go on with {processes}"
        )
    state = folder.load_checkpoint() if stored else None
    if state is not None:
        run.restore(state)

    # From here on the folder is written to.
    run.accelerator.wait_for_everyone()  # all have read what was there before the first one writes
    if folder.writes:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.acquire()
        if folder.read_run() != stored:
            raise BadInputError(
                f"out is {str(folder.path)!r}, where another process has begun a run in the meantime; choose another folder"
            )
    versions = {"python": platform.python_version()} | {
        m.__name__: m.__version__ for m in (torch, transformers, accelerate)
    }
    folder.write(
        "run.json", {"config": asdict(config), "task": run.source, "processes": processes, "versions": versions}
    )
    folder.write("prompts.json", run.task.prompts + run.task.held_out)
    if stored and stored["config"] != json.loads(json.dumps(asdict(config))) and state is None:
        folder.drop("evaluation_before.json")  # it was made under other settings
    folder.rewind("log.jsonl", run.records)
    folder.rewind("times.jsonl", folder.lines("times.jsonl")[: len(run.records)])
    run.accelerator.wait_for_everyone()
    return run


def temporary_folder() -> RunFolder:
    """A folder that is removed when this Python ends; a run in it can't be resumed, and keeps no checkpoints."""
    folder = RunFolder(tempfile.mkdtemp(prefix="pgnotes-"))
    folder.keeps_checkpoints = False
    atexit.register(shutil.rmtree, folder.path, ignore_errors=True)
    return folder


def with_absolute_paths(config: GRPOConfig) -> GRPOConfig:
    """The settings with folders and files named from the root, so that a run can be resumed from anywhere."""
    changes = {}
    for key in ("model", "prompts", "reward", "task"):
        file, colon, function = (
            getattr(config, key).rpartition(":") if key in ("reward", "task") else (getattr(config, key), "", "")
        )
        path = Path(file).expanduser()
        if file and file not in ("pocket", "bundled", "openwebtext") and path.exists():
            changes[key] = f"{path.resolve()}{colon}{function}"
    return replace(config, **changes)


def agree(config: GRPOConfig, folder: RunFolder, resume: bool) -> tuple[GRPOConfig, dict]:
    """The settings to go on with, and those that changed: {key: [before, now]}.

    BadInputError if the folder holds something else than a run, a run that is not to be resumed, or one of other
    settings. A run goes on under other settings if `steps` is raised, for bookkeeping, after gradients that stayed
    infinite, and as long as no step of it is saved; threads = 0 takes the number it started with.
    """
    stored, place = folder.read_run(), str(folder.path)
    if stored is None:
        if foreign := folder.entries():
            raise BadInputError(
                f"out is {place!r}, which holds other things and no run ({', '.join(foreign[:3])}); choose a new folder"
            )
        return replace(config, threads=config.threads or CORES), {}
    old = GRPOConfig.from_json(stored["config"])
    if not folder.checkpoints():
        if folder.read("result.json"):
            raise BadInputError(
                f"the run in {place!r} is finished and its checkpoints are gone; start another one from its model: model={place}"
            )
        if resume or not folder.lines("log.jsonl"):  # nothing is lost
            return replace(config, threads=config.threads or CORES), {}
    if not resume:
        raise BadInputError(
            f"out is {place!r}, which already holds a run; add --resume to go on with it, or choose another folder"
        )
    config = replace(config, threads=config.threads or old.threads)
    return config, compare(config, old, folder)


def compare(config: GRPOConfig, old: GRPOConfig, folder: RunFolder) -> dict:
    """What the log says of settings that changed: {key: [before, now]}.  BadInputError if others did than may."""
    config = replace(config, threads=config.threads or old.threads)
    differing = {key: [was, getattr(config, key)] for key, was in asdict(old).items() if getattr(config, key) != was}
    stopped = folder.read("stopped.json") or {"reason": BAD_REWARD}
    free = BOOKKEEPING if stopped["reason"] == BAD_REWARD else BOOKKEEPING + RESCUE
    wrong = {
        key: pair for key, pair in differing.items() if key not in free and not (key == "steps" and pair[1] > pair[0])
    }
    if wrong:
        texts = ", ".join(f"{key} was {was!r} and is now {now!r}" for key, (was, now) in wrong.items())
        raise BadInputError(
            f"the run in {str(folder.path)!r} had other settings: {texts}; only steps (to more), {', '.join(free)} may change"
        )
    return {key: pair for key, pair in differing.items() if key in RESCUE}
