"""GRPO in one file: sample groups, reward them, compare within each group, follow the gradient (lesson 09)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import RewardError, out_of_memory, release_frames
from pgnotes.lm.learner import Learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import quiet, request
from pgnotes.lm.monitor import describe, measure, summary
from pgnotes.lm.rollout import Group, Sampler, chosen_prompts, generate, uniforms
from pgnotes.lm.runs import BAD_REWARD, NOT_FINITE, RunLog, evaluated, finish, finished_run, save_overflow, setup_run
from pgnotes.lm.state import RunFolder, finite
from pgnotes.lm.tasks import Task, paid, paid_apart
from pgnotes.lm.warmup import warmed_up
from pgnotes.theory.advantages import gdpo_advantages, group_advantages
from pgnotes.theory.mismatch import sampler_weights
from pgnotes.theory.objectives import aggregate, denominator, entropy_weight, kl_estimate, policy_loss


def train_step(run: Learner, step: int) -> tuple[dict, dict]:
    """One step of GRPO: its record, and the seconds its parts took (lesson 09; Shao et al. 2024, algorithm 1)."""
    config, figures = run.config, []
    started = time.perf_counter()

    # 1 roll out: G completions of each prompt
    groups = run.groups = sample_groups(run, step)
    sampled = time.perf_counter()

    # 2 reward each completion
    rewards = run.accelerator.gather(rewards_of(run.task, groups).to(run.device)).cpu()

    # 3 advantages: how much better than the others of its group
    advantages = advantages_of(run, groups, rewards)[run.local_groups()]
    for group, own in zip(groups, advantages, strict=True):
        group.advantages = own
    run.entropy_weight = entropy_weight(rewards, config.entropy_bonus, config.entropy_scale)

    # 4 the loss and its gradient, one group at a time, under one normaliser for the whole step
    normaliser = sum(denominator(group.mask, config.aggregate, config.token_limit) for group in groups)
    normaliser = run.all_reduce_sum(normaliser)
    for _ in range(config.epochs):
        groups, seen = accumulate(run, groups, normaliser)
        figures += seen

        # 5 clip and step
        outcome = update(run)

    # 6 record
    record = {"step": step} | describe(run, run.groups, rewards) | summary(run, figures) | outcome
    return finite(record), {"step": step, "rollout_s": sampled - started, "train_s": time.perf_counter() - sampled}


# 1 · roll out


def sample_groups(run: Learner, step: int) -> list[Group]:
    """This process's share of the step's groups; if memory runs out, fewer of them are sampled at once.

    A group's noise is seeded from (seed, step, group), whoever samples it.
    """
    config, policy = run.config, run.policy
    prompts = chosen_prompts(run.task.prompts, config.prompts_per_step, step, config.seed)[run.local_groups()]
    requests = [request(policy.tokenizer, run.task.message, prompt, config.prompt_tokens) for prompt in prompts]
    places = range(config.prompts_per_step)[run.local_groups()]
    noise = [uniforms(config.group_size, config.token_limit, config.seed, step, place) for place in places]

    while True:
        blocks = [slice(i, i + run.prompts_at_once) for i in range(0, len(prompts), run.prompts_at_once)]
        try:
            sampled = [run.generate(policy, requests[block], noise[block], config.temperature) for block in blocks]
            break
        except RuntimeError as error:
            if run.prompts_at_once == 1 or not out_of_memory(error):
                raise
        run.prompts_at_once = (run.prompts_at_once + 1) // 2
        clear_device_cache(garbage_collection=True)

    groups = list(itertools.chain(*sampled))
    for group, prompt in zip(groups, prompts, strict=True):
        group.source = prompt
    return groups


def rewards_of(task: Task, groups: list[Group]) -> Tensor:
    """Rewards [P, G] of the texts; a completion that did not end by itself gets 0.

    RewardError if the task gives no numbers.
    """
    rewards = torch.tensor([paid(task, group.source, group.texts) for group in groups], dtype=torch.float32)
    return rewards * torch.stack([group.ended for group in groups]).to(rewards)


# 3 · advantages


def advantages_of(run: Learner, groups: list[Group], rewards: Tensor) -> Tensor:
    """Advantages [P, G] of all processes' groups, from their rewards, or by "gdpo" from the task's several ones."""
    if run.config.advantages != "gdpo":
        return group_advantages(rewards, run.config.advantages)
    apart = torch.tensor([paid_apart(run.task, group.source, group.texts) for group in groups])  # [P, K, G]
    apart = apart * torch.stack([group.ended for group in groups])[:, None].to(apart)
    return gdpo_advantages(run.accelerator.gather(apart.to(run.device)).cpu().transpose(0, 1))


# 4 · loss and gradient


def accumulate(run: Learner, groups: list[Group], normaliser: float) -> tuple[list[Group], list[dict[str, Tensor]]]:
    """The gradient of the step's loss, one micro-batch after the other. Returns the micro-batches and their figures.

    If memory runs out it is done again from the start with half the completions in each; the loss is a sum over
    completions, so that the gradient stays the same.
    """
    config = run.config
    while True:
        parts = [part for group in groups for part in group.split(run.micro_batch)]
        figures = []
        try:
            for part in parts:
                # A dead group has something to say only where more than its advantages counts.
                if part.advantages.any() or config.beta > 0 or config.entropy_bonus:
                    loss, numbers = loss_of(run, part, normaliser)
                    run.scaler.scale(loss).backward()
                    figures += [] if numbers is None else [numbers]
            return parts, figures
        except RuntimeError as error:
            if run.micro_batch == 1 or not out_of_memory(error):
                raise
        loss = None  # with its graph, if the backward pass ran out; the error, and all that it held on to, is gone
        run.micro_batch = (run.micro_batch + 1) // 2
        run.optimizer.zero_grad()
        clear_device_cache(garbage_collection=True)


def loss_of(run: Learner, part: Group, normaliser: float) -> tuple[Tensor, dict[str, Tensor] | None]:
    """One micro-batch's share of the loss, and its figures for the record.

    The loss: policy gradient, KL to the start model, entropy bonus. After an overflow in half precision it is NaN, and
    there are no figures: `update` then skips the step.
    """
    config, args = run.config, (part.prompt, part.tokens, part.mask, run.config.temperature)
    with run.policy.autocast():
        how = "trained" if config.entropy_bonus else "logged"
        logp, entropy = completion_logprobs(run.policy.model, *args, entropy=how)
    logp_ref = logp.detach()
    if config.beta > 0:
        with torch.no_grad(), run.policy.reference() as start_model:
            logp_ref = completion_logprobs(start_model, *args, entropy="none")[0].to(logp)
    if not torch.stack([logp, logp_ref, part.logp.to(logp)])[:, part.mask].isfinite().all():
        return logp.sum() * math.nan, None

    if part.logp_old is None:
        part.logp_old = logp.detach()  # the first pass is at the weights that sampled: no second forward
    advantages = part.advantages.to(logp)
    if config.sampler_cap > 0:
        bounds = (config.sampler_cap, config.sampler_rule, config.sampler_floor)
        advantages = advantages[:, None] * sampler_weights(part.logp_old, part.logp.to(logp), part.mask, *bounds)
    how = (config.loss, config.clip, config.aggregate, normaliser)
    loss = policy_loss(logp, part.logp_old, advantages, part.mask, *how, gate=config.gate)

    if config.beta > 0:
        leash = kl_estimate(logp, logp_ref, config.kl)
        loss = loss + config.beta * aggregate(leash, part.mask, config.aggregate, normaliser)
    if config.entropy_bonus:
        loss = loss - run.entropy_weight * aggregate(entropy, part.mask, config.aggregate, normaliser)

    # The gauge is k1, unbiased whatever the loss uses: k2 has the right gradient and is no measure (lesson 08).
    kl = kl_estimate(logp.detach(), logp_ref, "k1")
    return loss, measure(part, loss, logp, entropy, kl, config)


def update(run: Learner) -> dict:
    """Sum the gradient over processes, clip it, and take a step; says what became of it.

    No step is taken if no group gave a gradient, or if it is not finite.
    """
    trained = list(run.policy.trainable().values())
    outcome = {"grad_norm": 0.0, "lr": run.config.learning_rate(run.updates), "skipped": ""}  # the norm before clipping
    if run.all_reduce_sum(sum(p.grad is not None for p in trained)) == 0:
        return outcome | {"skipped": "every group was dead"}  # a step would still move the weights: AdamW has momentum
    if run.accelerator.num_processes > 1:
        for p in trained:
            p.grad = run.accelerator.reduce(torch.zeros_like(p) if p.grad is None else p.grad, "sum")

    for group in run.optimizer.param_groups:
        group["lr"] = outcome["lr"]
    run.scaler.unscale_(run.optimizer)
    outcome["grad_norm"] = torch.nn.utils.clip_grad_norm_(trained, run.config.grad_clip).item()
    if math.isfinite(outcome["grad_norm"]):
        run.scaler.step(run.optimizer)
        run.updates += 1
    else:
        outcome["skipped"] = NOT_FINITE
    run.scaler.update()
    run.optimizer.zero_grad()
    return outcome


# a whole run


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
            save_overflow(run, folder)
        if (step + 1) % run.config.checkpoint_every == 0 or step + 1 == run.config.steps:
            folder.save_checkpoint(step + 1, run.state())
        yield record


def steps(
    config: GRPOConfig,
    out: str | Path | None = None,
    resume: bool = False,
    task: Task | None = None,
    say: Callable[[str], None] = print,
    generate: Sampler = generate,
) -> Iterator[dict]:
    """Train, yielding a record after each step; bars, pictures and early stops are up to whoever iterates (lesson 09).

    out: the run's folder; a temporary one if None.  task, say, generate: as in `train`.  Raises what `train` raises.
    """
    run, folder = setup_run(config, out, resume, task, generate)
    try:
        yield from loop(warmed_up(run, folder, say), folder)
    finally:
        folder.release()


def train(
    config: GRPOConfig,
    out: str | Path | None = None,
    resume: bool = False,
    task: Task | None = None,
    consumers: tuple[Callable[[dict], None], ...] = (),
    say: Callable[[str], None] = print,
    generate: Sampler = generate,
) -> RunLog:
    """Evaluate, train, evaluate again, and save the model in `out` (lesson 09).

    consumers: called with every record; one with a method `warm_up` is given those of the supervised stage, too.
    out: the run's folder; a temporary one if None.  resume: go on with the run in `out`, or start it if there is none.
    task: what is learned, instead of the task that `config` names (`tasks.from_reward` makes one of a reward function).
    say: is told, in a line each, what is being done and what was found.  generate: what samples a step's completions.
    BadInputError for settings that can't work or that differ from the resumed run's; ConnectionError for what is out of
    reach; DiskFullError; FloatingPointError if gradients stay infinite. On all of them the last checkpoint is whole.
    """
    if out is not None and resume and (finished := finished_run(config, RunFolder(out), task, say)):
        for record, consume in itertools.product(finished.records, consumers):
            consume(record)
        return finished
    say(f"loading {config.model}")
    run, folder = setup_run(config, out, resume, task, generate)
    try:
        if resume:
            done = f"going on after {len(run.records)} of" if run.records else "starting anew,"
            say(f"{done} {config.steps} steps")
        found = {"before": evaluated(run, folder, "before", say)}
        run = warmed_up(run, folder, say, consumers)
        found["warm"] = evaluated(run, folder, "warm", say)
        for record in itertools.chain(list(run.records), loop(run, folder)):
            for consume in consumers:
                consume(record)
        found |= {when: evaluated(run, folder, when, say) for when in ("after", "unseen")}
        with quiet():
            folder.save_model(run.policy.merged(), run.policy.tokenizer)
        return finish(run, folder, found)
    except BaseException as error:
        if isinstance(error, RewardError):
            folder.write("stopped.json", {"step": len(run.records), "reason": BAD_REWARD})
        run = None
        release_frames(error)
        raise
    finally:
        folder.release()
