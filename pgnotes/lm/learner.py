"""What a run holds in memory: the task, the policy, what trains it."""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError, out_of_memory
from pgnotes.lm.functions import load_function, source_hash
from pgnotes.lm.models import (
    device_capability,
    encode,
    load,
    precision,
    processes_and_device,
    request,
    stop_ids,
    text_limit,
)
from pgnotes.lm.policy import Policy, add_adapters, parameter_groups
from pgnotes.lm.rollout import Group, Sampler, generate
from pgnotes.lm.tasks import IN_WORDS, TASK_PARTS, Task, digits_and_length, from_reward

CORES = torch.get_num_threads()  # what PyTorch found on its own, before a run sets anything
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # what `mallopt` calls its parameters


@dataclass
class Learner:
    """What a run holds in memory."""

    config: GRPOConfig
    task: Task
    task_hash: str  # of what the task is made of
    policy: Policy
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # of the loss; does nothing but in float16
    accelerator: Accelerator  # this process among the others
    micro_batch: int  # completions in a forward pass of training; fewer once memory has run out
    prompts_at_once: int  # prompts whose completions are sampled together; the same
    generate: Sampler = generate
    entropy_weight: float = 0.0  # of the bonus, in the step that is being made
    records: list[dict] = field(default_factory=list)  # one for each step done
    updates: int = 0  # of the weights; a skipped one does not count
    groups: list[Group] = field(default_factory=list)  # this process's completions of the last step
    changes: dict = field(default_factory=dict)  # settings that changed when the run went on, for the next record

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.policy.device

    def local_groups(self) -> slice:
        """This process's groups among the step's: a run of neighbours."""
        share = self.config.prompts_per_step // self.accelerator.num_processes
        return slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)

    def all_reduce_sum(self, value: float) -> float:
        """The sum of a number over all processes."""
        return self.accelerator.reduce(torch.tensor(float(value), device=self.device), "sum").item()

    def state(self) -> dict:
        """Everything a resumed run needs; the noise of later steps follows from the seed and the step."""
        return {
            "records": self.records,
            "updates": self.updates,
            "micro_batch": self.micro_batch,
            "prompts_at_once": self.prompts_at_once,
            "policy": self.policy.state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict) -> None:
        """Take up what `state` gave, on whatever device and in whatever precision.

        Float16's loss scale starts anew where there was none.  BadInputError for the state of another model.
        """
        try:
            self.records, self.updates = state["records"], state["updates"]
            self.micro_batch = state.get("micro_batch", self.micro_batch)  # the first versions had another name for it
            self.prompts_at_once = state.get("prompts_at_once", self.prompts_at_once)
            self.policy.restore(state["policy"])
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


def learner(
    config: GRPOConfig,
    prompts: list[str] | None = None,
    compute_dtype: torch.dtype | None = None,
    task: Task | None = None,
    generate: Sampler = generate,
    start: str | None = None,
) -> Learner:
    """Load the model and all that trains it.

    prompts: instead of `config.prompts` (a resumed run's own).  compute_dtype: instead of the device's `precision`.
    task: instead of the one that `config` names.  generate: what samples.  start: the model, instead of `config.model`.
    BadInputError or ConnectionError for settings that can't work with this model on this machine.
    """
    torch.set_num_threads(config.threads or CORES)
    task, task_hash = task_and_hash(config, task, prompts)
    accelerator, device = processes_and_device(config.device)
    if config.prompts_per_step % accelerator.num_processes:
        raise BadInputError(
            f"prompts_per_step is {config.prompts_per_step}; "
            f"it must be a multiple of the {accelerator.num_processes} processes"
        )
    compute_dtype = compute_dtype or precision(device_capability(device), config.precision)
    keep_freed_memory(device)
    policy = load_policy(config, start or config.model, device, compute_dtype)
    check_lengths(config, task, policy.model, policy.tokenizer)

    # Fused: in one pass, without copies of the weights' size on the way.
    parameters = parameter_groups(policy.trainable(), config.weight_decay)
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, betas=config.betas, fused=True)

    # A scaler gets its scale with the first loss. A process whose groups are all dead scales none, but takes part in
    # the update.
    scaler = torch.amp.GradScaler(device.type, enabled=compute_dtype == torch.float16)
    scaler.scale(torch.zeros((), device=device))
    return Learner(
        config=config,
        task=task,
        task_hash=task_hash,
        policy=policy,
        optimizer=optimizer,
        scaler=scaler,
        accelerator=accelerator,
        micro_batch=config.group_size,
        prompts_at_once=config.prompts_per_step,
        generate=generate,
        entropy_weight=config.entropy_bonus,
    )


def keep_freed_memory(device: torch.device) -> None:
    """On a CPU, have the C library keep freed memory for the next step, which would fetch as much anew, page by page.

    It is kept until the process ends. Training `laptop` then takes a tenth less time, and more in a short process
    (benchmarks/README.md).  Only Linux's glibc has `mallopt`.
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        # The heap never shrinks, and large tensors come from it, too.
        for parameter, value in ((M_TRIM_THRESHOLD, -1), (M_MMAP_MAX, 0)):
            ctypes.CDLL(None).mallopt(parameter, value)


def load_policy(config: GRPOConfig, name: str, device: torch.device, compute_dtype: torch.dtype) -> Policy:
    """The model that is trained and the models that are needed beside it, all frozen."""

    def beside(dtype: torch.dtype) -> PreTrainedModel:
        return load(name, device, dtype)[0].requires_grad_(False)

    frozen = config.lora_rank > 0
    model, tokenizer = load(name, device, compute_dtype if frozen else torch.float32)
    policy = Policy(model, tokenizer, stop_ids(model, tokenizer), compute_dtype)
    if frozen:
        policy.adapters = add_adapters(model, config.lora_rank, config.seed)
        return policy
    if config.beta > 0:
        policy.start_model = beside(compute_dtype)
    if compute_dtype != torch.float32:
        policy.sampling_copy = beside(compute_dtype)
    return policy


def task_and_hash(config: GRPOConfig, task: Task | None = None, prompts: list[str] | None = None) -> tuple[Task, str]:
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
    return digits_and_length(
        config.length, config.digit_sum, prompts or config.prompts, config.reward, config.instruction
    ), ""


def check_lengths(config: GRPOConfig, task: Task, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """BadInputError if a prompt and its completion could be longer than the model can read."""
    limit = text_limit(model)
    around = len(encode(tokenizer, task.message("a")))
    if limit is None or around + config.prompt_tokens + config.token_limit <= limit:
        return  # whatever the prompts are
    asked = (request(tokenizer, task.message, one, config.prompt_tokens) for one in task.prompts + task.held_out)
    longest = max(map(len, asked))
    if longest + config.token_limit > limit:
        raise BadInputError(
            f"model is {config.model!r}, which reads {limit} tokens at most; the longest prompt has {longest} and a "
            f"completion may have {config.token_limit}: lower prompt_tokens (now {config.prompt_tokens}), length or "
            "max_new_tokens, or take another model"
        )
