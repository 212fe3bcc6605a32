"""What a run holds in memory, and how it begins or goes on."""

from __future__ import annotations

import dataclasses
import os
import platform
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import accelerate
import torch
import transformers
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.models import HALF, device_capability, frozen, load, parameter_groups, precision, stop_ids
from pgnotes.lm.rollout import Group
from pgnotes.lm.state import RunFolder
from pgnotes.lm.tasks import DigitsAndLength, digits_and_length

CORES = torch.get_num_threads()  # what PyTorch found on its own, before a run sets anything


@dataclass
class Learner:
    """What a run holds in memory."""

    config: GRPOConfig
    task: DigitsAndLength
    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reference: PreTrainedModel | None  # the start model, frozen; None if beta is 0
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    stops: list[int]
    records: list[dict] = field(default_factory=list)  # one for each step done
    updates: int = 0  # of the weights; a skipped one does not count
    groups: list[Group] = field(default_factory=list)  # this process's completions of the last step

    def state(self) -> dict:
        """Everything a resumed run needs; the noise of later steps follows from the seed and the step."""
        scaler = self.accelerator.scaler
        return {
            "records": self.records,
            "updates": self.updates,
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        }

    def restore(self, state: dict) -> None:
        """Take up what `state` gave."""
        self.records, self.updates = state["records"], state["updates"]
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def learner(config: GRPOConfig, prompts: list[str] | None = None) -> Learner:
    """Load the model and all that trains it. `prompts` are used instead of `config.prompts` if given (a resumed run's own)."""
    torch.set_num_threads(config.threads or CORES)
    task = digits_and_length(config.length, config.digit_sum, prompts or config.prompts, config.reward, config.instruction)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # accelerate leaves processes without GPUs alone with themselves unless it is told that they are to work on the CPU
    accelerator = Accelerator(mixed_precision=precision(device_capability()), cpu=several and not torch.cuda.is_available())
    if config.prompts_per_step % accelerator.num_processes:
        raise ValueError(f"prompts_per_step is {config.prompts_per_step}; it must be a multiple of the {accelerator.num_processes} processes")
    policy, tokenizer = load(config.model, accelerator.device)
    half = HALF[accelerator.mixed_precision]
    reference = frozen(load(config.model, accelerator.device, half)[0]) if config.beta > 0 else None
    optimizer = torch.optim.AdamW(parameter_groups(policy, config.weight_decay), lr=config.lr, betas=config.betas)
    return Learner(config, task, policy, tokenizer, reference, accelerator.prepare(optimizer), accelerator, stop_ids(policy, tokenizer))


def begin(config: GRPOConfig, out: str | Path | None, resume: bool) -> tuple[Learner, RunFolder]:
    """Load a run, at its newest checkpoint if it is resumed, and lay out its folder. Nothing is written before all arguments are checked."""
    folder = RunFolder(out if out is not None else tempfile.mkdtemp(prefix="pgnotes-"))
    config = agree(config, folder, resume)
    run = learner(config, folder.read("prompts.json") if folder.read("run.json") else None)
    folder.writes = run.accelerator.is_main_process
    run.accelerator.wait_for_everyone()  # all have read what was there before the first one writes
    versions = {"python": platform.python_version(), **{m.__name__: m.__version__ for m in (torch, transformers, accelerate)}}
    folder.create({"config": config.to_json(), "versions": versions}, run.task.prompts + run.task.held_out)
    run.accelerator.wait_for_everyone()
    state = folder.load_checkpoint()
    if state is not None:
        run.restore(state)
    folder.rewind("log.jsonl", run.records)
    folder.rewind("times.jsonl", folder.lines("times.jsonl")[: len(run.records)])
    return run, folder


def agree(config: GRPOConfig, folder: RunFolder, resume: bool) -> GRPOConfig:
    """The settings to go on with. ValueError if the folder holds a run and `resume` is false, or that run had other settings.

    `steps` may be raised; threads = 0 takes the number the run started with.
    """
    stored = folder.read("run.json")
    if stored is None:
        return dataclasses.replace(config, threads=config.threads or CORES)
    if not resume:
        raise ValueError(f"out is {str(folder.path)!r}, which already holds a run; add --resume to go on with it, or choose another folder")
    old = GRPOConfig.from_json(stored["config"])
    new = dataclasses.replace(config, threads=config.threads or old.threads)
    changed = [f.name for f in dataclasses.fields(old) if getattr(old, f.name) != getattr(new, f.name) and (f.name != "steps" or new.steps < old.steps)]
    if changed:
        differences = ", ".join(f"{key} was {getattr(old, key)!r} and is now {getattr(new, key)!r}" for key in changed)
        raise ValueError(f"the run in {str(folder.path)!r} had other settings: {differences}; only steps may be changed, to more")
    return new
