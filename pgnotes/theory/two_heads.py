"""One loss for actor and critic: what the weight of the critic's part does, shared parameters or not (lesson 11)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_count, check_positive
from pgnotes.theory.critics import gae
from pgnotes.theory.learning import check_single_prompt
from pgnotes.theory.many import rollouts
from pgnotes.theory.many_ppo import log_probs, pick, rows_of
from pgnotes.theory.worlds import TokenWorld

HIDDEN = 8  # numbers that describe a prefix, where both heads read the same ones
OPTIMISERS: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def train_with_weight(
    world: TokenWorld,
    weight: float,
    shared: bool,
    optimiser: str,
    lr: float,
    runs: int,
    seed: int,
    steps: int = 200,
    batch: int = 16,
    lam: float = 0.95,
    clip: float | None = None,
) -> Tensor:
    """The logits of many runs after training, [runs, rows, V], by the loss -Σ Â log π + c₁ Σ (V - Â - V_old)².

    Both sums are a sequence's, averaged over the batch (lesson 11, claim C40; Mnih et al. 2016, arXiv 1602.01783).
    weight: c₁, above 0.  shared: logits and value of a prefix are linear in the same `HIDDEN` trained numbers; else
    each has a table of its own.  optimiser: one of `OPTIMISERS`, with step size lr.  clip: the longest that a run's
    gradient may be, actor and critic taken together.  The start and the random numbers depend on runs, batch and seed
    alone.  ValueError naming the argument.
    """
    clip = None if clip is None else check_positive("clip", clip)
    weight, lr = check_positive("weight", weight), check_positive("lr", lr)
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    parameters = start_of(check_single_prompt(world), check_count("runs", runs), shared, generator)
    optimise = OPTIMISERS[check_choice("optimiser", optimiser, OPTIMISERS)](parameters, lr)

    for _ in range(check_count("steps", steps)):
        logits, values = heads(parameters)
        rollout = rollouts(world, logits.detach(), batch, generator)
        rows = rows_of(rollout.sequences, world.vocab_size)
        expected = pick(values, rows)
        advantages = gae(rollout.rewards, expected.detach(), rollout.mask, lam=lam)

        actor = -(advantages * log_probs(logits, rollout.sequences) * rollout.mask).sum()
        critic = ((expected - (advantages + expected).detach()).square() * rollout.mask).sum()
        optimise.zero_grad()
        ((actor + weight * critic) / batch).backward()  # a sum over runs, so that each has its own gradient
        if clip is not None:
            shorten(parameters, clip)
        optimise.step()
    return heads(parameters)[0].detach()


def shorten(parameters: list[Tensor], clip: float) -> None:
    """Cut each run's gradient, all its parameters [runs, …] together, down to the length `clip`, in place."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    length = torch.stack([each.flatten(1).square().sum(1) for each in gradients]).sum(0).sqrt()
    factor = (clip / length.clamp(min=clip))[:, None, None]
    for each in gradients:
        each.mul_(factor)


def start_of(world: TokenWorld, runs: int, shared: bool, generator: torch.Generator) -> list[Tensor]:
    """What is trained in each run: two tables, or what describes a prefix and two heads. First uniform, with V = 0."""
    rows = sum(world.vocab_size**t for t in range(world.horizon))
    described = torch.randn(runs, rows, HIDDEN, dtype=torch.float64, generator=generator) / HIDDEN**0.5
    sizes = ((HIDDEN, world.vocab_size), (HIDDEN, 1)) if shared else ((rows, world.vocab_size), (rows, 1))
    zeros = [torch.zeros(runs, *size, dtype=torch.float64) for size in sizes]
    return [each.requires_grad_() for each in ([described, *zeros] if shared else zeros)]


def heads(parameters: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits [runs, rows, V] and values [runs, rows]."""
    *described, policy, value = parameters
    logits, values = (described[0] @ policy, described[0] @ value) if described else (policy, value)
    return logits, values[..., 0]
