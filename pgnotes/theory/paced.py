"""Steps in nats whose length follows how sure the batch is: a test of a "reward-aware KL" (lesson 15, claim C74)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_positive
from pgnotes.theory.geometry import conjugate_gradients, fisher_product, trust_step
from pgnotes.theory.many import mean_gradient, rollouts
from pgnotes.theory.many_ppo import rows_of
from pgnotes.theory.ppo import starting_point
from pgnotes.theory.trpo import batch_visits, damped_by, products_of
from pgnotes.theory.worlds import Rollout, TokenWorld

SLOWEST, FASTEST = 0.25, 4.0  # how much shorter or longer than δ a paced step may be, in nats
PRODUCTS, DAMPING = 10, 0.1  # as in lesson 12's TRPO


def natural_steps(
    world: TokenWorld, delta: float, batch: int, runs: int, seed: int, paced: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits before each step, [runs, rows, V], and what δ is multiplied with in that step, [runs] (lesson 15).

    Natural steps of a quadratic KL of δ, from batches whose returns are compared with the mean of the others. paced: δ
    times `confidence`, else times 1.  world: with one prompt.  delta: nats.  ValueError naming the argument.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    theta = starting_point(world, None)[0].detach().repeat(check_count("runs", runs), 1, 1)
    delta, size = check_positive("delta", delta), check_count("batch", batch, 2)

    while True:
        drawn = rollouts(world, theta, size, generator)
        returns = drawn.rewards.sum(-1)
        advantages = (returns - returns.mean(1, keepdim=True)) * size / (size - 1)
        rows = rows_of(drawn.sequences, world.vocab_size)
        gradients = one_by_one(theta, drawn, rows, advantages)
        pace = confidence(gradients) if paced else torch.ones(runs, dtype=torch.float64)
        yield theta, pace

        times = products_of(
            theta, batch_visits(theta, rows, drawn.mask), lambda t, d, v: fisher_product(t.softmax(-1), d, v)
        )
        damped = damped_by(DAMPING, times)
        (*_, last) = conjugate_gradients(damped, gradients.mean(1), PRODUCTS)
        step = trust_step(last.x, damped, delta) * pace.sqrt()[:, None]  # a KL is a square
        theta = theta + step.view(theta.shape)


def one_by_one(theta: Tensor, drawn: Rollout, rows: Tensor, advantages: Tensor) -> Tensor:
    """What each sequence says the gradient is, [runs, n, D]; their mean is the batch's. advantages: [runs, n]."""
    runs, n, _ = drawn.mask.shape
    alone = Rollout(*(each.flatten(0, 1)[:, None] for each in drawn))
    weights = advantages.flatten()[:, None, None].expand(alone.rewards.shape)
    repeated = theta.repeat_interleave(n, 0)
    return mean_gradient(repeated, alone, rows.flatten(0, 1)[:, None], weights, 0.0).view(runs, n, -1)


def confidence(gradients: Tensor) -> Tensor:
    """Signal over noise of a batch's gradient, squared, held between ¼ and 4, [runs] (lesson 15).

    Noise: the squared standard error of the mean, Σ‖g_i - ḡ‖² / (n (n-1)). Signal: ‖ḡ‖² less the noise in it.
    gradients: [runs, n, D], one for each sequence.  Where there is neither, 1.
    """
    n = gradients.shape[1]
    mean = gradients.mean(1)
    noise = (gradients - mean[:, None]).square().sum((1, 2)) / (n * (n - 1))
    signal = mean.square().sum(1) - noise
    return torch.where(noise > 0, signal / noise.clamp(min=1e-300), 1.0).clamp(SLOWEST, FASTEST)
