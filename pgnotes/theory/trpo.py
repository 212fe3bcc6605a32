"""TRPO on a world whose optimum is known, from many seeds at once (lesson 12; Schulman et al. 2015, 1502.05477)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count, check_positive
from pgnotes.theory.geometry import conjugate_gradients, fisher_product, trust_step
from pgnotes.theory.many import mean_gradient, rollouts
from pgnotes.theory.many_ppo import log_probs, rows_of
from pgnotes.theory.ppo import starting_point
from pgnotes.theory.worlds import Rollout, TokenWorld

# (logits [runs, rows, V], visits [runs, rows], v [runs, rows, V]) -> F v
Product = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TrustRegion:
    """How to train.

    ValueError, naming the field, for a value out of its range.
    """

    delta: float = 0.05  # nats that an iteration may move, measured on its batch: KL(old ‖ new) of a sequence
    batch: int = 64  # sequences an iteration
    products: int = 10  # with the Fisher matrix, in conjugate gradients
    damping: float = 0.1  # added to the Fisher matrix's diagonal
    halvings: int = 10  # of a step that is too long or gains nothing, before there is none

    def __post_init__(self) -> None:
        """Check each field."""
        check_positive("delta", self.delta)
        check_count("batch", self.batch, 2)
        check_count("products", self.products)
        check_between("damping", self.damping, 0.0, float("1e9"))
        check_count("halvings", self.halvings, 0)


class Iteration(NamedTuple):
    """What one iteration did in each of many runs."""

    old: Tensor  # logits before it, [runs, rows, V]
    now: Tensor  # and after it
    residuals: Tensor  # what conjugate gradients left of the gradient, as a share of its length, [products + 1, runs]
    kl: Tensor  # KL(old ‖ new) of a sequence, as the batch measures it, nats [runs]
    gain: Tensor  # what the surrogate promises, [runs]
    halved: Tensor  # how often the step was halved, [runs]; halvings + 1 where none was taken that was there


def trpo(
    world: TokenWorld,
    settings: TrustRegion,
    runs: int,
    seed: int,
    logits: Tensor | None = None,
    product: Product | None = None,
) -> Iterator[Iteration]:
    """What each iteration does in each of many runs, without end (lesson 12; TRPO, section 6 and appendix C).

    Advantages are returns less the batch's mean.  world: with one prompt.  logits: where all start, [rows, V]; zeros if
    not given.  product: takes the place of `fisher_product`.  All randomness comes from `seed`.
    ValueError naming the argument.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    theta = starting_point(world, logits)[0].detach().repeat(check_count("runs", runs), 1, 1)
    product = product or (lambda logits, visits, v: fisher_product(logits.softmax(-1), visits, v))

    while True:
        batch = rollouts(world, theta, settings.batch, generator)  # 1 roll out
        returns = batch.rewards.sum(-1)
        advantages = (returns - returns.mean(1, keepdim=True))[..., None].expand(batch.rewards.shape)
        rows = rows_of(batch.sequences, world.vocab_size)
        gradient = mean_gradient(theta, batch, rows, advantages, 0.0).flatten(1)  # 2 differentiate

        times = products_of(theta, batch_visits(theta, rows, batch.mask), product)
        damped = damped_by(settings.damping, times)
        iterates = list(conjugate_gradients(damped, gradient, settings.products))  # 3 solve Fx = g, roughly
        residuals = torch.stack([at.residual.norm(dim=1) for at in iterates]) / gradient.norm(dim=1).clamp(min=1e-300)
        step = trust_step(iterates[-1].x, damped, settings.delta).view(theta.shape)  # 4 as long as δ allows

        searched = line_search(theta, step, batch, rows, advantages, settings)  # 5 shorter, if it must be
        now = theta + searched.share[:, None, None] * step
        yield Iteration(theta, now, residuals, searched.kl, searched.gain, searched.halved)
        theta = now


def batch_visits(theta: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """How often a sequence of the batch passes each row, [runs, rows]. rows, mask: [runs, n, T]."""
    count = torch.zeros(theta.shape[:2], dtype=torch.float64)
    return count.scatter_add(1, rows.flatten(1), mask.flatten(1).double()) / mask.shape[1]


def products_of(theta: Tensor, visits: Tensor, product: Product) -> Callable[[Tensor], Tensor]:
    """v -> F v, both [runs, rows · V]."""
    return lambda v: product(theta, visits, v.view(theta.shape)).flatten(1)


def damped_by(damping: float, times: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """v -> (F + damping) v."""
    return lambda v: times(v) + damping * v


class Searched(NamedTuple):
    """What a line search found in each run: the share of the step, its KL and gain, and how often it halved, [runs]."""

    share: Tensor
    kl: Tensor
    gain: Tensor
    halved: Tensor


def line_search(
    theta: Tensor, step: Tensor, batch: Rollout, rows: Tensor, advantages: Tensor, settings: TrustRegion
) -> Searched:
    """The first of 1, ½, ¼, … of a step whose KL is at most δ and whose surrogate gains; 0 if none is (lesson 12).

    Both are measured on the batch; the KL of a visited row is over all its symbols, not the sampled ones alone.
    """
    before = log_probs(theta, batch.sequences)
    visits = batch_visits(theta, rows, batch.mask)
    found = Searched(*(torch.zeros(len(theta), dtype=torch.float64) for _ in range(3)), torch.zeros(len(theta)).long())
    open_ = step.flatten(1).any(1)  # where all returns are the same there is no step, and nothing to search

    for k in range(settings.halvings + 1):
        tried = theta + 0.5**k * step
        kl = (visits * row_divergence(theta, tried)).sum(1)
        ratios = torch.where(batch.mask, log_probs(tried, batch.sequences) - before, 0.0).exp()
        gain = ((ratios - 1) * advantages).sum(-1).mean(1)

        accepted = open_ & (kl <= settings.delta) & (gain > 0)
        open_ &= ~accepted
        new = Searched(torch.full_like(kl, 0.5**k), kl, gain, torch.full_like(found.halved, k))
        found = Searched(*(torch.where(accepted, a, b) for a, b in zip(new, found, strict=True)))
        if not open_.any():
            break
    return found._replace(halved=torch.where(open_, settings.halvings + 1, found.halved))


def row_divergence(old: Tensor, new: Tensor) -> Tensor:
    """KL(old ‖ new) of each row of logits, nats, [..., rows, V] -> [..., rows]."""
    before, after = old.log_softmax(-1), new.log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1)
