"""What a run holds in memory, and how it begins or goes on."""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import accelerate
import torch
import transformers
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.models import device_capability, load, parameter_groups, precision, stop_ids
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
    scaler: torch.amp.GradScaler  # of the loss; does nothing but in float16
    accelerator: Accelerator  # this process among the others, and its device
    half: torch.dtype  # of the arithmetic; the weights that are trained are float32
    copy: PreTrainedModel | None  # of the policy in half precision, which samples; None where the policy does
    stops: list[int]
    rows: int  # completions in a micro-batch
    records: list[dict] = field(default_factory=list)  # one for each step done
    updates: int = 0  # of the weights; a skipped one does not count
    groups: list[Group] = field(default_factory=list)  # this process's completions of the last step

    def autocast(self) -> torch.autocast:
        """The context in which the policy's matrix products are in half precision, where the device has a good one."""
        return torch.autocast(self.accelerator.device.type, self.half, enabled=self.half != torch.float32)

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
        """Take up what `state` gave."""
        self.records, self.updates, self.rows = state["records"], state["updates"], state["rows"]
        for name in ("policy", "optimizer", "scaler"):
            getattr(self, name).load_state_dict(state[name])


def learner(config: GRPOConfig, prompts: list[str] | None = None, half: torch.dtype | None = None) -> Learner:
    """Load the model and all that trains it. prompts: instead of `config.prompts` (a resumed run's own).  half: instead of the device's `precision`."""
    torch.set_num_threads(config.threads or CORES)
    task = digits_and_length(config.length, config.digit_sum, prompts or config.prompts, config.reward, config.instruction)
    # accelerate leaves processes without GPUs alone with themselves unless it is told that they are to work on the CPU
    accelerator = Accelerator(mixed_precision="no", cpu=int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available())
    if config.prompts_per_step % accelerator.num_processes:
        raise ValueError(f"prompts_per_step is {config.prompts_per_step}; it must be a multiple of the {accelerator.num_processes} processes")
    device, half = accelerator.device, half or precision(device_capability())
    policy, tokenizer = load(config.model, device)
    reference = load(config.model, device, half)[0].requires_grad_(False) if config.beta > 0 else None
    copy = load(config.model, device, half)[0].requires_grad_(False) if half != torch.float32 else None
    # fused: in one pass, without copies of the weights' size on the way
    optimizer = torch.optim.AdamW(parameter_groups(policy, config.weight_decay), lr=config.lr, betas=config.betas, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)
    scaler.scale(torch.zeros((), device=device))  # gives it its scale: a process whose groups are all dead scales no loss, but takes part in the update
    return Learner(config, task, policy, tokenizer, reference, optimizer, scaler, accelerator, half, copy, stop_ids(policy, tokenizer), config.group_size)


def begin(config: GRPOConfig, out: str | Path | None, resume: bool) -> tuple[Learner, RunFolder]:
    """Load a run, at its newest checkpoint if it is resumed, and lay out its folder. Nothing is written before all arguments are checked."""
    folder = RunFolder(out if out is not None else tempfile.mkdtemp(prefix="pgnotes-"))
    config = agree(config, folder, resume)
    stored = folder.read("run.json")
    run = learner(config, stored and folder.read("prompts.json"))
    processes = run.accelerator.num_processes
    if stored and stored["processes"] != processes:
        raise ValueError(f"the run in {str(folder.path)!r} was made by {stored['processes']} processes; it can't go on with {processes}")
    folder.writes = run.accelerator.is_main_process
    run.accelerator.wait_for_everyone()  # all have read what was there before the first one writes
    versions = {"python": platform.python_version(), **{m.__name__: m.__version__ for m in (torch, transformers, accelerate)}}
    folder.write("run.json", {"config": asdict(config), "processes": processes, "versions": versions})
    folder.write("prompts.json", run.task.prompts + run.task.held_out)
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
        return replace(config, threads=config.threads or CORES)
    if not resume:
        raise ValueError(f"out is {str(folder.path)!r}, which already holds a run; add --resume to go on with it, or choose another folder")
    old = asdict(GRPOConfig.from_json(stored["config"]))
    config = replace(config, threads=config.threads or old["threads"])
    changed = [key for key, was in old.items() if getattr(config, key) != was and (key != "steps" or config.steps < was)]
    differences = ", ".join(f"{key} was {old[key]!r} and is now {getattr(config, key)!r}" for key in changed)
    if differences:
        raise ValueError(f"the run in {str(folder.path)!r} had other settings: {differences}; only steps may be changed, to more")
    return config
