"""The supervised stage before the first step: a task's own examples, learned by cross-entropy on the completion.

Reinforcement sharpens what a model already does now and then; what it never does must be shown to it first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch.nn.utils.rnn import pad_sequence

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.learner import Learner, learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import quiet, request
from pgnotes.lm.policy import multiply_logits
from pgnotes.lm.rollout import seeded
from pgnotes.lm.state import RunFolder, finite
from pgnotes.lm.tasks import Task

SAID_EVERY = 10  # updates


def start_of(config: GRPOConfig, folder: RunFolder) -> str:
    """The model that step 0 starts from: the one that is named, or what its warm-up made of it, once that is over."""
    warmed = folder / "warmup" / "model"
    return str(warmed) if config.warmup_examples and warmed.is_dir() else config.model


def warmed_up(
    run: Learner, folder: RunFolder, say: Callable[[str], None], consumers: tuple[Callable[[dict], None], ...] = ()
) -> Learner:
    """The run once its model has been warmed up, if that is asked for and still to do; it starts anew from that model.

    All of it is in `warmup/`: a log, checkpoints to go on from, and at last the model.
    """
    config = run.config
    if not config.warmup_examples or start_of(config, folder) != config.model:
        return run
    stage = RunFolder(folder / "warmup")
    stage.writes, stage.keeps_checkpoints = folder.writes, folder.keeps_checkpoints
    if config.warmup_temperature != 1:  # divided by as much below, the model gives at first what it gave before
        multiply_logits(run.policy.model, config.warmup_temperature, config.model)
    learn_examples(run, stage, say, [hook for one in consumers if (hook := getattr(one, "warm_up", None))])
    with quiet():
        stage.save_model(run.policy.merged(), run.policy.tokenizer)
    stage.drop("checkpoints")
    run.accelerator.wait_for_everyone()

    start, dtype = start_of(config, folder), run.policy.compute_dtype
    del run.policy, run.optimizer  # before the next ones are loaded
    again = learner(config, compute_dtype=dtype, task=run.task, generate=run.generate, start=start)
    again.task_hash, again.changes = run.task_hash, run.changes
    return again


def examples_of(task: Task, config: GRPOConfig, most: int | None = None) -> list[tuple[str, str]]:
    """The examples of a run's warm-up, as pairs of a prompt and a completion.  BadInputError if the task has none.

    most: the first so many alone, to see whether there are any.
    """
    if not hasattr(task, "examples"):
        raise BadInputError(f"warmup_examples is {config.warmup_examples}, but this task has no examples; set it to 0")
    return task.examples(most or config.warmup_examples, seeded(config.seed, "examples"))  # ty: ignore[not-callable]


def learn_examples(
    run: Learner, stage: RunFolder, say: Callable[[str], None], consumers: list[Callable[[dict], None]]
) -> None:
    """Every example once, in batches; goes on after the newest checkpoint. Every process does the same."""
    config = run.config
    say(f"warm-up: making {config.warmup_examples} examples")
    examples = examples_of(run.task, config)
    size, updates = config.warmup_batch, math.ceil(len(examples) / config.warmup_batch)
    if state := stage.load_checkpoint():
        run.restore(state)
    stage.rewind("log.jsonl", run.records)
    for record, consume in itertools.product(run.records, consumers):
        consume(record)

    for update in range(len(run.records), updates):
        record = {"update": update, "lr": config.warmup_lr * (1 - 0.9 * update / updates)}
        record |= supervised_step(run, examples[update * size : (update + 1) * size], record["lr"])
        run.records.append(finite(record))
        stage.append("log.jsonl", run.records[-1])
        for consume in consumers:
            consume(run.records[-1])
        if update % SAID_EVERY == 0 or update + 1 == updates:
            say(f"warm-up: update {update + 1} of {updates}, {record['loss']:.2f} nats a token")
        if (update + 1) % config.checkpoint_every == 0 and update + 1 < updates:  # after the last comes the model
            stage.save_checkpoint(update + 1, run.state())


def supervised_step(run: Learner, examples: list[tuple[str, str]], lr: float) -> dict:
    """One update on a batch of (prompt, completion): its loss, in nats a token of the completions, stops included."""
    policy, config, loss = run.policy, run.config, 0.0
    texts = policy.tokenizer([text for _, text in examples], add_special_tokens=False)["input_ids"]
    rows = [torch.tensor([*ids, policy.tokenizer.eos_token_id]) for ids in texts]
    count = sum(map(len, rows))

    # One prompt after the other, computed once for its completions, each under the normaliser of the whole batch.
    for prompt, pairs in itertools.groupby(zip(examples, rows, strict=True), key=lambda pair: pair[0][0]):
        asked = request(policy.tokenizer, run.task.message, prompt, config.prompt_tokens)
        own = [row for _, row in pairs]
        tokens = pad_sequence(own, batch_first=True).to(run.device)
        mask = torch.arange(tokens.shape[1]) < torch.tensor([[len(row)] for row in own])
        with policy.autocast():
            logp, _ = completion_logprobs(
                policy.model, asked, tokens, mask.to(run.device), config.warmup_temperature, entropy="none"
            )
        part = -logp.sum() / count
        run.scaler.scale(part).backward()
        loss += part.item()

    for group in run.optimizer.param_groups:
        group["lr"] = lr
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(policy.trainable().values(), config.grad_clip).item()
    run.scaler.step(run.optimizer)  # skips what is not finite, in float16
    run.scaler.update()
    run.optimizer.zero_grad()
    return {"loss": loss, "grad_norm": norm}
