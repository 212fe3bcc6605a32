"""REINFORCE on a world whose optimum is known, plain or with the usual additions (lesson 03; Williams 1992)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.arguments import check_between, check_count, check_positive
from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import Rollout, TokenWorld


@dataclass(frozen=True)
class Recipe:
    """How to train. Plain REINFORCE is the default.

    ValueError, naming the field, for a value out of its range.
    """

    step_size: float = 1.0  # α, of step 0
    batch: int = 16  # sequences a step
    half_after: float = 0.0  # the step size is α / (1 + step / half_after), Robbins-Monro; 0 keeps it constant
    normalise: bool = False  # returns less the batch's mean, divided by its standard deviation
    entropy_bonus: float = 0.0  # nats of entropy at a visited prefix are worth so much reward
    clip_norm: float = 0.0  # the largest norm of a batch's gradient; 0 for no limit
    value_step: float = 0.0  # how far a prefix's value, subtracted from returns, moves to each; 0 for no values
    to_go: bool = False  # a symbol is weighed with what is paid from it on (lesson 06), not with the whole return

    def __post_init__(self) -> None:
        """Check each field."""
        check_positive("step_size", self.step_size)
        check_count("batch", self.batch, 2 if self.normalise else 1)
        for name in ("half_after", "entropy_bonus", "clip_norm"):
            check_between(name, getattr(self, name), 0.0, float("1e9"))
        check_between("value_step", self.value_step, 0.0, 1.0)
        if self.normalise and self.to_go:
            raise ValueError("to_go is True; it must be False where whole returns are normalised")

    def size_at(self, step: int) -> float:
        """The step size of a step, counted from 0."""
        return self.step_size / (1 + step / self.half_after) if self.half_after else self.step_size


def reinforce(world: TokenWorld, recipe: Recipe, seed: int, logits: Tensor | None = None) -> Iterator[PrefixPolicy]:
    """The policy before each step, without end: take as many as you want (lesson 03; Williams 1992).

    world: with one prompt.  logits: where to start, [rows, V]; zeros if not given.
    All randomness comes from `seed`.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = sum(world.vocab_size**t for t in range(world.horizon))
    start = torch.zeros(rows, world.vocab_size) if logits is None else logits
    theta = start.detach().double().clone().requires_grad_()
    values = torch.zeros(rows, dtype=torch.float64)

    for step in itertools.count():
        policy = PrefixPolicy(theta)
        yield policy
        batch = world.rollout(policy, recipe.batch, generator)  # 1 roll out
        rows = prefix_rows(batch.sequences, world.vocab_size)
        weights = symbol_weights(batch.rewards, rows, batch.mask, recipe, values)  # 2 weigh

        logp = policy.log_prob(batch.sequences)
        loss = policy_loss(logp, logp.detach(), weights, batch.mask, "reinforce", aggregate="sum")
        if recipe.entropy_bonus:
            loss = loss - recipe.entropy_bonus * mean_entropy(policy, batch)
        (gradient,) = torch.autograd.grad(loss, theta)  # 3 differentiate
        if recipe.clip_norm:
            gradient = gradient * min(1.0, recipe.clip_norm / max(gradient.norm().item(), 1e-12))

        theta = (theta - recipe.size_at(step) * gradient).detach().requires_grad_()  # 4 step


def symbol_weights(rewards: Tensor, rows: Tensor, mask: Tensor, recipe: Recipe, values: Tensor) -> Tensor:
    """What each symbol's score is multiplied with, [..., n, T]: the sequence's return, or what is paid from it on.

    Normalised, and less the prefix's value, if the recipe says so.
    rewards, mask: [..., n, T].  rows: of the prefixes, in the same shape.  values: [..., rows], a guess of the return
    from each prefix; it moves towards the returns of this batch, in place, after it was used.
    """
    returns = rewards.sum(-1)
    if recipe.normalise:
        returns = group_advantages(returns.reshape(-1, returns.shape[-1]), "grpo").reshape(returns.shape)
    weights = reward_to_go(rewards, mask=mask) if recipe.to_go else returns[..., None].expand(rewards.shape)
    if not recipe.value_step:
        return weights

    visited = rows.flatten(-2)  # [..., n · T]
    weights = weights - values.gather(-1, visited).view(rows.shape)
    # Each value moves by the mean of its errors in this batch
    visits = torch.zeros_like(values).scatter_add(-1, visited, mask.flatten(-2).to(values.dtype))
    errors = torch.zeros_like(values).scatter_add(-1, visited, (weights * mask).flatten(-2))
    values += recipe.value_step * errors / visits.clamp(min=1)
    return weights


def mean_entropy(policy: PrefixPolicy, batch: Rollout) -> Tensor:
    """Σ over live symbols of the entropy (nats) of the row that chose them, a sequence's on average.

    Its gradient is not the whole one of an expected entropy: it leaves out how early symbols decide which rows come.
    """
    rows = prefix_rows(batch.sequences, policy.vocab_size)[batch.mask]
    probs = policy.probs[rows]
    return -torch.xlogy(probs, probs).sum() / len(batch.mask)
