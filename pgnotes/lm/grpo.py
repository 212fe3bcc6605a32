"""GRPO in one file: sample groups, reward them, compare within each group, follow the gradient.

Lesson 09 walks through it.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import RewardError, out_of_memory, release_frames
from pgnotes.lm.evaluate import Request, evaluate, held_out_requests, unseen_requests
from pgnotes.lm.learner import (
    BAD_REWARD,
    Learner,
    begin,
    check_same_task,
    compare,
    task_and_source,
    with_absolute_paths,
)
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import cut, encode, load, quiet
from pgnotes.lm.monitor import describe, measure, summary
from pgnotes.lm.rollout import Group, rollout, seeded, uniforms
from pgnotes.lm.state import RunFolder, finite
from pgnotes.lm.tasks import Task, paid
from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.objectives import aggregate, denominator, kl_estimate, policy_loss

NOT_FINITE = "the gradient is not finite"


def chosen_prompts(config: GRPOConfig, task: Task, step: int) -> list[str]:
    """The prompts of a step: all training prompts in a new order each time round, decided by the seed alone."""
    total, picked = len(task.prompts), []
    for place in range(step * config.prompts_per_step, (step + 1) * config.prompts_per_step):
        order = torch.randperm(total, generator=seeded(config.seed, "order", place // total))
        picked.append(task.prompts[int(order[place % total])])
    return picked


def sample_groups(run: Learner, step: int) -> list[Group]:
    """This process's share of the step's groups; a group's noise is seeded from (seed, step, group), whoever samples it."""
    config = run.config
    prompts = chosen_prompts(config, run.task, step)[mine(run)]
    shortened = [cut(run.tokenizer, prompt, config.prompt_tokens) for prompt in prompts]
    requests = [encode(run.tokenizer, run.task.message(prompt)) for prompt in shortened]
    noise = [
        uniforms(config.group_size, config.token_limit, config.seed, step, g)
        for g in range(config.prompts_per_step)[mine(run)]
    ]
    groups = rollout(run.sampler(), run.tokenizer, requests, noise, run.stops, config.temperature)
    for group, prompt in zip(groups, prompts, strict=True):
        group.source = prompt
    return groups


def rewards_of(task: Task, groups: list[Group]) -> Tensor:
    """Rewards [P, G] of the texts; a completion that did not end by itself gets 0.

    RewardError if the task gives no numbers.
    """
    rewards = torch.tensor([paid(task, group.source, group.texts) for group in groups], dtype=torch.float32)
    return rewards * torch.stack([group.ended for group in groups]).to(rewards)


def train_step(run: Learner, step: int) -> tuple[dict, dict]:
    """One step of GRPO (lesson 09; Shao et al. 2024, algorithm 1).

    Returns the step's record and the seconds its parts took.
    """
    config, seen = run.config, []
    started = time.perf_counter()

    # 1 roll out: G completions of each prompt
    groups = run.groups = sample_groups(run, step)
    sampled = time.perf_counter()

    # 2 reward each completion
    rewards = run.accelerator.gather(rewards_of(run.task, groups).to(run.device)).cpu()

    # 3 advantages: how much better than the others of its group
    for group, advantages in zip(groups, group_advantages(rewards, config.advantages)[mine(run)], strict=True):
        group.advantages = advantages

    # 4 the loss and its gradient, one group at a time, under one normaliser for the whole step
    normaliser = total(run, sum(denominator(group.mask, config.aggregate, config.token_limit) for group in groups))
    for _ in range(config.epochs):
        groups, figures = accumulate(run, groups, normaliser)
        seen += figures

        # 5 clip and step
        fate = update(run)

    # 6 record
    record = finite({"step": step} | describe(run, run.groups, rewards) | summary(run, seen) | fate)
    return record, {"step": step, "rollout_s": sampled - started, "train_s": time.perf_counter() - sampled}


def accumulate(run: Learner, groups: list[Group], normaliser: float) -> tuple[list[Group], list[Tensor]]:
    """The gradient of the step's loss, one micro-batch after the other. Returns the micro-batches and their figures.

    If memory runs out it is done again from the start with half the rows in each; the loss is a sum over rows, so that
    the gradient stays the same.
    """
    config = run.config
    while True:
        parts, seen = [part for group in groups for part in group.split(run.rows)], []
        try:
            for part in parts:
                # Else a dead group has nothing to say
                if part.advantages.any() or config.beta > 0 or config.entropy_bonus > 0:
                    loss, numbers = loss_of(run, part, normaliser)
                    run.scaler.scale(loss).backward()
                    seen += [] if numbers is None else [numbers]
            return parts, seen
        except RuntimeError as error:
            if run.rows == 1 or not out_of_memory(error):
                raise
        # With its graph, if the backward pass ran out; the error, and all that it held on to, is gone by now
        loss = None
        run.rows = (run.rows + 1) // 2
        run.optimizer.zero_grad()
        clear_device_cache(garbage_collection=True)


def loss_of(run: Learner, part: Group, normaliser: float) -> tuple[Tensor, Tensor | None]:
    """One micro-batch's share of the loss: policy gradient, KL to the start model, entropy bonus; and its figures for the record."""
    config, args = run.config, (part.prompt, part.tokens, part.mask, run.config.temperature)
    with run.autocast():
        logp, entropy = completion_logprobs(run.policy, *args)
    with torch.no_grad():
        logp_ref = completion_logprobs(run.reference, *args)[0].to(logp) if run.reference is not None else logp.detach()
    if not torch.stack([logp, logp_ref, part.logp.to(logp)])[:, part.mask].isfinite().all():
        # An overflow in half precision: the gradient is then not finite, and `update` skips the step
        return logp.sum() * math.nan, None
    if part.logp_old is None:
        part.logp_old = logp.detach()  # the first pass is at the weights that sampled: no second forward
    loss = policy_loss(
        logp, part.logp_old, part.advantages.to(logp), part.mask, config.loss, config.clip, config.aggregate, normaliser
    )
    kl = kl_estimate(logp, logp_ref, config.kl)
    if config.beta > 0:
        loss = loss + config.beta * aggregate(kl, part.mask, config.aggregate, normaliser)
    if config.entropy_bonus > 0:
        loss = loss - config.entropy_bonus * aggregate(entropy, part.mask, config.aggregate, normaliser)
    return loss, measure(part, loss, logp, entropy, kl, config.clip)


def update(run: Learner) -> dict:
    """Sum the gradient over processes, clip it, and take a step, unless no group gave a gradient or it is not finite.

    Says what became of it.
    """
    trained = list(run.policy.parameters())
    fate = {"grad_norm": 0.0, "lr": run.config.learning_rate(run.updates), "skipped": ""}  # the norm before clipping
    if total(run, sum(p.grad is not None for p in trained)) == 0:
        return fate | {"skipped": "every group was dead"}  # a step would still move the weights: AdamW has momentum
    if run.accelerator.num_processes > 1:
        for p in trained:
            p.grad = run.accelerator.reduce(torch.zeros_like(p) if p.grad is None else p.grad, "sum")
    for group in run.optimizer.param_groups:
        group["lr"] = fate["lr"]
    run.scaler.unscale_(run.optimizer)
    fate["grad_norm"] = torch.nn.utils.clip_grad_norm_(trained, run.config.grad_clip).item()
    if math.isfinite(fate["grad_norm"]):
        run.scaler.step(run.optimizer)
        run.updates += 1
    else:
        fate["skipped"] = NOT_FINITE
    run.scaler.update()
    run.optimizer.zero_grad()
    return fate


def mine(run: Learner) -> slice:
    """This process's groups among the step's: a run of neighbours."""
    share = run.config.prompts_per_step // run.accelerator.num_processes
    return slice(run.accelerator.process_index * share, (run.accelerator.process_index + 1) * share)


def total(run: Learner, value: float) -> float:
    """The sum of a number over all processes."""
    return run.accelerator.reduce(torch.tensor(float(value), device=run.device), "sum").item()


def loop(run: Learner, folder: RunFolder) -> Iterator[dict]:
    """The steps still to do, each logged, checkpointed when due, and yielded."""
    for step in range(len(run.records), run.config.steps):
        record, seconds = train_step(run, step)
        if run.changes:
            record["changes"], run.changes = run.changes, {}
        run.records.append(record)
        folder.append("log.jsonl", record)
        folder.append("times.jsonl", seconds)
        if record["skipped"] == NOT_FINITE:
            keep_for_a_look(run, folder)
        if (step + 1) % run.config.checkpoint_every == 0 or step + 1 == run.config.steps:
            folder.save_checkpoint(step + 1, run.state())
        yield record


def keep_for_a_look(run: Learner, folder: RunFolder) -> None:
    """Write the batch whose gradient was not finite.

    FloatingPointError, naming what to try, after several such steps in a row.
    """
    folder.put(
        "not_finite.pt",
        lambda place: torch.save({"record": run.records[-1], "groups": [vars(group) for group in run.groups]}, place),
    )
    patience = 20 if run.half == torch.float16 else 3  # float16's loss scale needs a few to settle
    if [r["skipped"] for r in run.records[-patience:]] == [NOT_FINITE] * patience:
        folder.write("stopped.json", {"step": run.records[-1]["step"], "reason": NOT_FINITE})
        raise FloatingPointError(
            f"the gradient was not finite {patience} steps in a row; go on with a smaller lr, or a larger beta: "
            f"--resume --set lr={run.config.lr / 4:.2g} (see {folder / 'not_finite.pt'})"
        )


def steps(
    config: GRPOConfig, out: str | Path | None = None, resume: bool = False, task: Task | None = None
) -> Iterator[dict]:
    """Train, yielding a record after each step; progress bars, pictures and early stops are up to whoever iterates (lesson 09).

    out: the run's folder; a temporary one if None.  task: instead of the one that `config` names.  Raises what `train` raises.
    """
    run, folder = begin(config, out, resume, task)
    try:
        yield from loop(run, folder)
    finally:
        folder.release()


@dataclass(frozen=True)
class RunLog:
    """A finished run: `log["pass_rate"]` is a column of its records, `result` what the command prints, `folder` where it lies."""

    records: list[dict]
    result: dict
    folder: Path

    def __getitem__(self, key: str) -> list:
        """One value a step."""
        return [record[key] for record in self.records]


def train(
    config: GRPOConfig,
    out: str | Path | None = None,
    resume: bool = False,
    task: Task | None = None,
    consumers: tuple[Callable[[dict], None], ...] = (),
    say: Callable[[str], None] = print,
) -> RunLog:
    """Evaluate, train, evaluate again, and save the model in `out` (lesson 09).

    Each consumer is called with every record.
    resume: go on with the run in `out`, or start it if there is none.  task: what is learned, instead of the task that
    `config` names (`tasks.from_reward` makes one of a reward function).  say: is told, in a line, where a resumed run
    stands.
    BadInputError for settings that can't work or that differ from those of the run to resume; ConnectionError for a
    model or prompts out of reach; DiskFullError; FloatingPointError if gradients stay infinite. On all of them the last
    checkpoint is whole.
    """
    if out is not None and resume and (finished := finished_run(config, RunFolder(out), task, say)):
        for record in finished.records:
            for consume in consumers:
                consume(record)
        return finished
    run, folder = begin(config, out, resume, task)
    try:
        if resume:
            done, total_steps = len(run.records), config.steps
            say(f"going on after {done} of {total_steps} steps" if done else f"starting anew, {total_steps} steps")
        before = folder.read("evaluation_before.json") or evaluate_and_save(run, folder, "before", held_out_requests)
        for record in itertools.chain(list(run.records), loop(run, folder)):
            for consume in consumers:
                consume(record)
        after = evaluate_and_save(run, folder, "after", held_out_requests)
        unseen = evaluate_and_save(run, folder, "unseen", unseen_requests)
        with quiet():
            folder.save_model(run.policy, run.tokenizer)
        return finish(run, folder, before, after, unseen)
    except BaseException as error:
        if isinstance(error, RewardError):
            folder.write("stopped.json", {"step": len(run.records), "reason": BAD_REWARD})
        run = None
        release_frames(error)
        raise
    finally:
        folder.release()


def finished_run(config: GRPOConfig, folder: RunFolder, task: Task | None, say: Callable[[str], None]) -> RunLog | None:
    """The run in a folder, if it is finished and went as far as is asked for.

    BadInputError if it had other settings.
    """
    stored, result = folder.read_run(), folder.read("result.json")
    if stored is None or not result or result["steps"] < config.steps or not (folder / "model").is_dir():
        return None
    old = GRPOConfig.from_json(stored["config"])
    compare(replace(with_absolute_paths(config), steps=old.steps), old, folder)
    check_same_task(task_and_source(with_absolute_paths(config), task)[1], stored)
    asked = "" if result["steps"] == config.steps else f", more than the {config.steps} asked for"
    say(f"already finished, all {result['steps']} steps{asked}: this is what was found; another folder starts anew")
    return RunLog(folder.lines("log.jsonl")[: result["steps"]], result, folder.path)


def finish(run: Learner, folder: RunFolder, before: dict, after: dict, unseen: dict) -> RunLog:
    """The result of a run that is over, also written to `result.json`.

    Its seconds are those of all steps and evaluations, in all sessions.
    """
    seconds = sum(line["rollout_s"] + line["train_s"] for line in folder.lines("times.jsonl"))
    result = {
        "pass_rate_before": before["pass_rate"],
        "pass_rate_after": after["pass_rate"],
        "pass_rate_unseen": unseen["pass_rate"],
        "logprob_before": before["logprob"],
        "logprob_after": after["logprob"],
        "distinct": after["distinct"],
        "seconds": round(seconds + sum(found.get("seconds", 0.0) for found in (before, after, unseen)), 1),
        "steps": run.config.steps,
        "reward": run.config.reward,
    }
    folder.write("result.json", finite(result))
    return RunLog(run.records, result, folder.path)


def evaluate_and_save(
    run: Learner, folder: RunFolder, when: str, requests: Callable[[Task, int], list[Request]]
) -> dict:
    """Evaluate the policy under the run's settings; what is found is also kept in `evaluation_{when}.json`."""
    started = time.perf_counter()
    start_model = run.reference or load(run.config.model, run.device, run.half)[0]
    asked = requests(run.task, run.config.evaluate)
    if not asked:  # the task has no neighbours
        return {"pass_rate": None}
    found = asdict(evaluate(run.sampler(), run.tokenizer, asked, run.config, start_model))
    found = finite(found | {"seconds": round(time.perf_counter() - started, 2)})
    folder.write(f"evaluation_{when}.json", found)
    return found
