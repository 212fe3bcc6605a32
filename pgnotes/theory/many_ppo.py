"""PPO from many seeds at once: what a clip does on the whole, not in the run that one happens to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count
from pgnotes.theory.many import chances, rollouts
from pgnotes.theory.policies import prefix_rows
from pgnotes.theory.ppo import Loss, Settings, clipped_surrogate, divergence, parts_of, starting_point
from pgnotes.theory.worlds import Rollout, TokenWorld

Sampler = Callable[[Tensor], Tensor]  # from a policy's logits to those that a batch is drawn from
Old = Callable[[Tensor, Tensor], Tensor]  # (log-probabilities by the trainer, by the sampler) -> those under the ratio


class Iteration(NamedTuple):
    """What one iteration did in each of many runs: the logits before and after it, [runs, rows, V], and its batch."""

    old: Tensor
    now: Tensor
    batch: Rollout  # [runs, n, T] each
    advantages: Tensor  # [runs, n, T]

    @property
    def ratios(self) -> Tensor:
        """Of the batch's symbols at the end, [runs, n, T]; 1 on masked ones."""
        change = log_probs(self.now, self.batch.sequences) - log_probs(self.old, self.batch.sequences)
        return torch.where(self.batch.mask, change, 0.0).exp()

    @property
    def promised(self) -> Tensor:
        """What the batch says was gained, by the bare surrogate, [runs]."""
        return ((self.ratios - 1) * self.advantages * self.batch.mask).sum(-1).mean(1)


def ppo_many(
    world: TokenWorld,
    settings: Settings,
    runs: int,
    seed: int,
    logits: Tensor | None = None,
    loss: Loss | None = None,
    sampler: Sampler | None = None,
    old_of: Old | None = None,
) -> Iterator[Iteration]:
    """Where many runs stand after each iteration, without end (lesson 07; Schulman et al. 2017).

    Each run does what `ppo` does, with samples of its own; all are cut into minibatches alike. One loss adds up those
    of all runs, so that a hundred take as long as a few.
    world: with one prompt.  logits: where all start, [rows, V]; zeros if not given.  loss: as for `ppo`.
    sampler: what draws the batches, if not the policy itself, as a faster engine does (lesson 10).  old_of: which
    log-probabilities go under the ratio; the trainer's, if not given.
    ValueError naming the argument.
    """
    surrogate = loss or clipped_surrogate(settings)
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    first, worth = starting_point(world, logits)
    start = first.detach().repeat(check_count("runs", runs), 1, 1)
    theta, values = start.clone().requires_grad_(), worth.detach().repeat(runs, 1).requires_grad_()
    parameters = (theta, values) if settings.value_weight else (theta,)

    while True:
        old = theta.detach().clone()
        drawn_from = sampler(old) if sampler else old
        batch = rollouts(world, drawn_from, settings.batch, generator)  # 1 roll out
        logp_old = by_trainer = log_probs(old, batch.sequences)
        if old_of:
            logp_old = old_of(by_trainer, log_probs(drawn_from, batch.sequences))
        rows = rows_of(batch.sequences, world.vocab_size)

        returns = batch.rewards.sum(-1)  # [runs, n]
        if settings.reference_weight:
            excess = (by_trainer - log_probs(start, batch.sequences)) * batch.mask
            returns = returns - settings.reference_weight * excess.sum(-1)
        expected = returns.mean(1)[:, None, None]
        if settings.value_weight:
            expected = pick(values.detach(), rows)
        advantages = (returns[..., None] - expected).expand(rows.shape)  # 2 compare with what was expected

        for _ in range(settings.epochs):  # 3 several passes over the same batch
            for part in parts_of(settings, generator):
                some = Rollout(*(each[:, part] for each in batch))
                logp = log_probs(theta, some.sequences)
                terms = (logp, logp_old[:, part], advantages[:, part], some.mask)

                # the loss is a mean over sequences: of all runs here, to be one of each run's own
                total = runs * surrogate(*(each.flatten(0, 1) for each in terms))
                size = some.mask.shape[1]
                if settings.value_weight:
                    errors = returns[:, part, None] - pick(values, rows[:, part])
                    total = total + settings.value_weight * (errors.square() * some.mask).sum() / size
                if settings.entropy_bonus:
                    total = total - settings.entropy_bonus * live_entropy(theta, rows[:, part], some.mask) / size

                gradients = torch.autograd.grad(total, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter -= settings.step_size * gradient

        yield Iteration(old, theta.detach().clone(), batch, advantages)


def rows_of(sequences: Tensor, symbols: int) -> Tensor:
    """The row that chose each symbol, for sequences [runs, n, T] of that many symbols."""
    return prefix_rows(sequences.flatten(0, 1), symbols).view(sequences.shape)


def pick(table: Tensor, places: Tensor) -> Tensor:
    """Each run's own entries: table [runs, entries], places [runs, n, T] -> [runs, n, T]."""
    return table.gather(1, places.flatten(1)).view(places.shape)


def log_probs(logits: Tensor, sequences: Tensor) -> Tensor:
    """log π of each symbol given those before it: logits [runs, rows, V], sequences [runs, n, T] -> [runs, n, T]."""
    symbols = logits.shape[-1]
    return pick(logits.log_softmax(-1).flatten(1), rows_of(sequences, symbols) * symbols + sequences)


def live_entropy(logits: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """Entropy in nats of the row that chose each live symbol, added up over symbols and runs."""
    log_p = logits.log_softmax(-1)
    return (pick(-(log_p.exp() * log_p).sum(-1), rows) * mask).sum()


def step_sizes(world: TokenWorld, old: Tensor, now: Tensor) -> Tensor:
    """KL(old ‖ now) of whole sequences in nats, every sequence listed, of each run: logits -> [runs]."""
    return divergence(chances(world, old), chances(world, now))
