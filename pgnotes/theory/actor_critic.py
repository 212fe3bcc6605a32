"""Learning both, from the same batches: a policy, and the table of values that judges it (lesson 11).

Two ways to get an end wrong are kept here too, to be looked for in curves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count, check_positive
from pgnotes.theory.critics import gae, summed_ahead
from pgnotes.theory.learning import check_single_prompt
from pgnotes.theory.many import exact_gradients, expected_returns, mean_gradient, rollouts
from pgnotes.theory.many_ppo import pick, rows_of
from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.ppo import starting_point
from pgnotes.theory.worlds import Rollout, TokenWorld

# (rewards, values, mask, λ) -> advantages, all [..., n, T]
Estimator = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Settings:
    """How to train.

    ValueError, naming the field, for a value out of its range.
    """

    lam: float = 0.95  # λ of GAE
    step_size: float = 1.0  # of the actor's gradient step
    value_step: float = 0.2  # how far a prefix's value moves to the mean of its λ-returns in the batch
    batch: int = 16  # sequences a step

    def __post_init__(self) -> None:
        """Check each field."""
        check_between("lam", self.lam, 0.0, 1.0)
        check_positive("step_size", self.step_size)
        check_between("value_step", self.value_step, 0.0, 1.0)
        check_count("batch", self.batch)


class Update(NamedTuple):
    """Where training stands before an update, and the batch that the update is made from."""

    policy: PrefixPolicy
    values: Tensor  # [rows], the critic
    batch: Rollout
    advantages: Tensor  # [n, T]


# the estimator, and two with a planted bug


def right(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """GAE, undiscounted: where a sequence ends nothing more is expected."""
    return gae(rewards, values, mask, lam=lam)


def after_reset(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """A bug: the last live step bootstraps from V(start), as if the next sequence belonged to this one (lesson 11).

    So does code that asks for the next observation of an environment that has already been reset.
    """
    return gae(rewards, values, mask, lam=lam, last=values[..., 0])


def late_mask(rewards: Tensor, values: Tensor, mask: Tensor, lam: float) -> Tensor:
    """A bug: whether a step ended its sequence is read off the step after it (lesson 11).

    The last live step but one looks like the end and does not bootstrap; the last does, from V(start). The sums over
    later errors stop where they should; in a loop that reads one flag for both they do not either.
    """
    wrong = after_reset(rewards, values, mask, lam=0.0)
    last_but_one = mask & shifted(mask) & ~shifted(shifted(mask))
    wrong = wrong - torch.where(last_but_one, shifted(values), 0.0)
    return summed_ahead(wrong, mask, lam)


def shifted(steps: Tensor) -> Tensor:
    """What stands a step later, [..., T]; 0 or False at the end."""
    return torch.cat([steps[..., 1:], torch.zeros_like(steps[..., :1])], -1)


# the algorithm


def actor_critic(
    world: TokenWorld,
    settings: Settings,
    seed: int,
    logits: Tensor | None = None,
    estimate: Estimator = right,
) -> Iterator[Update]:
    """Where training stands before each update, without end (lesson 11; Sutton & Barto 2018, sections 13.5 and 12.1).

    world: with one prompt.  logits: where to start, [rows, V]; zeros if not given. The values start at 0.
    estimate: takes the place of GAE, for actor and critic.  All randomness comes from `seed`.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    theta, values = starting_point(check_single_prompt(world), logits)
    values = values.detach()

    while True:
        policy = PrefixPolicy(theta.detach())
        batch = world.rollout(policy, settings.batch, generator)  # 1 roll out
        rows = prefix_rows(batch.sequences, world.vocab_size)
        advantages = estimate(batch.rewards, values[rows], batch.mask, settings.lam)  # 2 compare with the critic
        yield Update(policy, values, batch, advantages)

        logp = PrefixPolicy(theta).log_prob(batch.sequences)
        loss = policy_loss(logp, logp.detach(), advantages, batch.mask, "reinforce", aggregate="sum")
        (gradient,) = torch.autograd.grad(loss, theta)
        theta = (theta - settings.step_size * gradient).detach().requires_grad_()  # 3 the actor's step

        values = values + settings.value_step * mean_error(values, rows, advantages, batch.mask)  # 4 the critic's


def mean_error(values: Tensor, rows: Tensor, errors: Tensor, mask: Tensor) -> Tensor:
    """The mean of a batch's errors at each entry of a table, 0 where it was not visited: values [..., rows].

    rows, errors, mask: [..., n, T].  With Â for errors, a step towards A + V.
    """
    visited = rows.flatten(-2)
    visits = torch.zeros_like(values).scatter_add(-1, visited, mask.flatten(-2).to(values.dtype))
    return torch.zeros_like(values).scatter_add(-1, visited, (errors * mask).flatten(-2)) / visits.clamp(min=1)


def actor_critic_many(
    world: TokenWorld,
    settings: Settings,
    runs: int,
    seed: int,
    logits: Tensor | None = None,
    estimate: Estimator = right,
    late: int | tuple[int, int] = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [runs, rows, V] and values [runs, rows] of many runs before each update, without end (lesson 11).

    Each run does what `actor_critic` does, with samples of its own.  late: the batch of an update is that of a policy
    and a critic so many updates ago (in the first updates, of the first), which is what a worker of A3C may bring (Mnih
    et al. 2016, arXiv 1602.01783); both gradients are taken there, and applied to those of today. Two numbers: the
    delay of the actor's step and that of the critic's; where they differ, each has a batch of its own.
    ValueError naming the argument.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    first, worth = starting_point(check_single_prompt(world), logits)
    theta = first.detach().repeat(check_count("runs", runs), 1, 1)
    values = worth.detach().repeat(runs, 1)
    delays = [check_count("late", each, 0) for each in (late if isinstance(late, tuple) else (late, late))]
    past = deque([(theta, values)] * (1 + max(delays)), maxlen=1 + max(delays))

    def judged(logits: Tensor, critic: Tensor) -> tuple[Rollout, Tensor, Tensor]:
        """A batch of a policy, its rows, and what a critic makes of it."""
        batch = rollouts(world, logits, settings.batch, generator)
        rows = rows_of(batch.sequences, world.vocab_size)
        return batch, rows, estimate(batch.rewards, pick(critic, rows), batch.mask, settings.lam)

    while True:
        yield theta, values
        past.append((theta, values))
        (old, its_critic), (its_policy, critic) = (past[-1 - delay] for delay in delays)

        batch, rows, advantages = judged(old, its_critic)
        theta = theta + settings.step_size * mean_gradient(old, batch, rows, advantages, bonus=0.0)

        if delays[0] != delays[1]:
            batch, rows, advantages = judged(its_policy, critic)
        values = values + settings.value_step * mean_error(critic, rows, advantages, batch.mask)


# what to look at


class Curves(NamedTuple):
    """Of each run at each mark, [runs, marks]: J, exactly, and what its critic says of the start, which is to be J."""

    earned: Tensor
    start_value: Tensor


def curves(
    world: TokenWorld,
    settings: Settings,
    runs: int,
    steps: int,
    seed: int = 0,
    every: int = 4,
    estimate: Estimator = right,
    late: int | tuple[int, int] = 0,
) -> Curves:
    """Many runs before updates 0, `every`, 2 `every`, … and after the last of `steps`, a multiple of it (lesson 11).

    All else as in `actor_critic_many`.
    """
    if check_count("steps", steps) % check_count("every", every):
        raise ValueError(f"steps is {steps}; it must be a multiple of every, {every}")
    states = actor_critic_many(world, settings, runs, seed, estimate=estimate, late=late)
    seen = [(expected_returns(world, theta), values[:, 0]) for theta, values in islice(states, 0, steps + 1, every)]
    return Curves(*(torch.stack(column, 1) for column in zip(*seen, strict=True)))


def staleness(world: TokenWorld, settings: Settings, runs: int, steps: int, late: int, seed: int = 0) -> Tensor:
    """The cosine between ∇J now and ∇J so many updates ago, exactly, after each update, [runs, steps + 1 - late].

    Along the training of many runs (lesson 11). It is what the mean of a late worker's gradients is worth, where its
    critic does not bias it.  ValueError naming the argument.
    """
    if check_count("late", late) > check_count("steps", steps):
        raise ValueError(f"late is {late}; it must be at most steps, {steps}")
    states = islice(actor_critic_many(world, settings, runs, seed), steps + 1)
    gradients = torch.stack([exact_gradients(world, theta).flatten(1) for theta, _ in states], 1)  # [runs, marks, D]
    return torch.cosine_similarity(gradients[:, late:], gradients[:, :-late], dim=-1)
