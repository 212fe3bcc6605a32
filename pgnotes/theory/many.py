"""REINFORCE from many seeds at once: what it does on the whole, not in the run that one happens to look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_real
from pgnotes.theory.learning import check_single_prompt
from pgnotes.theory.policies import prefix_rows
from pgnotes.theory.reinforce import Recipe, symbol_weights
from pgnotes.theory.worlds import Rollout, TokenWorld, ended_before


def reinforce_many(
    world: TokenWorld, recipe: Recipe, runs: int, seed: int, logits: Tensor | None = None
) -> Iterator[Tensor]:
    """The logits of many runs before each step, [runs, rows, V], without end (lesson 03; Williams 1992).

    Each run is what `reinforce` does, with random numbers of its own, which depend on `runs`, the recipe's batch and
    `seed` alone; the gradient is written out here instead of left to autograd, which makes a hundred runs as fast as
    one. world: with one prompt.  logits: where all start, [rows, V]; zeros if not given.
    ValueError naming the argument.
    """
    rows = sum(check_single_prompt(world).vocab_size ** t for t in range(world.horizon))
    start = torch.zeros(rows, world.vocab_size) if logits is None else check_real("logits", logits, 2)
    theta = start.detach().double().repeat(check_count("runs", runs), 1, 1)
    values = torch.zeros(runs, rows, dtype=torch.float64)
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))

    for step in itertools.count():
        yield theta
        batch = rollouts(world, theta, recipe.batch, generator)  # 1 roll out
        passed = prefix_rows(batch.sequences.flatten(0, 1), world.vocab_size).view(batch.sequences.shape)
        weights = symbol_weights(batch.rewards, passed, batch.mask, recipe, values)  # 2 weigh

        gradient = mean_gradient(theta, batch, passed, weights, recipe.entropy_bonus)  # 3 differentiate
        if recipe.clip_norm:
            norms = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
            gradient = gradient * (recipe.clip_norm / norms).clamp(max=1.0)[:, None, None]

        theta = theta + recipe.size_at(step) * gradient  # 4 step


def rollouts(world: TokenWorld, logits: Tensor, n: int, generator: torch.Generator) -> Rollout:
    """n sequences of each run's policy and what they earned: sequences, mask and rewards, each [runs, n, T].

    logits: [runs, rows, V].
    """
    runs, _, symbols = logits.shape
    cumulative = probabilities(logits).cumsum(-1)
    row = torch.zeros(runs, n, dtype=torch.long)
    drawn = []
    for _ in range(world.horizon):
        # each symbol where a uniform number falls among the cumulative probabilities
        bounds = cumulative.gather(1, row[..., None].expand(runs, n, symbols))
        uniforms = torch.rand(runs, n, 1, dtype=torch.float64, generator=generator)
        drawn.append((uniforms > bounds).sum(-1).clamp(max=symbols - 1))
        row = row * symbols + 1 + drawn[-1]

    sequences = torch.stack(drawn, -1).flatten(0, 1)
    mask = ~ended_before(sequences, world.eos)
    if world.eos is not None:
        sequences = sequences.masked_fill(~mask, world.eos)
    earned = world.rewards_of(sequences, 0)
    return Rollout(*(each.view(runs, n, world.horizon) for each in (sequences, mask, earned)))


def mean_gradient(logits: Tensor, batch: Rollout, rows: Tensor, weights: Tensor, bonus: float) -> Tensor:
    """Mean over each run's batch of Σ_t w_t ∇ log π(symbol_t) + bonus · ∇H(row_t), [runs, rows, V].

    H is the entropy in nats of the row that chose the symbol. rows, weights: [runs, n, T].
    """
    symbols = logits.shape[-1]
    index = rows.flatten(1)[..., None].expand(-1, -1, symbols)  # [runs, n · T, V]
    probs = probabilities(logits).gather(1, index)

    weighted = (weights * batch.mask).flatten(1)[..., None]
    gradient = weighted * (torch.nn.functional.one_hot(batch.sequences.flatten(1), symbols) - probs)
    if bonus:
        log_probs = logits.gather(1, index).log_softmax(-1)
        entropy = -(probs * log_probs).sum(-1, keepdim=True)
        gradient = gradient - bonus * batch.mask.flatten(1)[..., None] * probs * (log_probs + entropy)
    return torch.zeros_like(logits).scatter_add(1, index, gradient) / batch.mask.shape[1]


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the last dimension, [..., V]: what torch's own gives, in a fifth of its time where V is small."""
    powers = (logits - logits.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def expected_returns(world: TokenWorld, logits: Tensor) -> Tensor:
    """J of each run's policy, every sequence listed: logits [runs, rows, V] -> [runs]."""
    return chances(world, logits) @ world.returns()[0]


def exact_gradients(world: TokenWorld, logits: Tensor) -> Tensor:
    """∇J of each run's policy, every sequence listed: logits [runs, rows, V] -> the same shape (lesson 11)."""
    with torch.enable_grad():
        theta = logits.detach().requires_grad_()
        return torch.autograd.grad(expected_returns(world, theta).sum(), theta)[0]


def chances(world: TokenWorld, logits: Tensor) -> Tensor:
    """How likely each sequence of the world is under each run's policy: logits [runs, rows, V] -> [runs, N]."""
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)  # [N, T]
    of_symbols = probabilities(logits)[:, rows, world.sequences]  # [runs, N, T]
    return of_symbols.where(world.mask, 1.0).prod(-1)


def stuck(world: TokenWorld, logits: Tensor) -> Tensor:
    """Whether each run writes one answer more than half of the time, and one that is not the best, [runs] bool.

    logits: [runs, rows, V] (lesson 03). A run that is on its way, or content with several answers, is not stuck.
    """
    return wrong_habit(world, chances(world, logits))


def wrong_habit(world: TokenWorld, likely: Tensor) -> Tensor:
    """What `stuck` says, of the chances of all sequences: [runs, N] -> [runs]."""
    earned = world.returns()[0]
    chance, answer = likely.max(-1)
    return (chance > 0.5) & (earned[answer] < earned.max() - 1e-9)


def learning_curves(
    world: TokenWorld, recipe: Recipe, runs: int, steps: int, seed: int = 0, every: int = 4
) -> tuple[Tensor, Tensor]:
    """J of each run, and whether it is `stuck`, before steps 0, `every`, 2 `every`, … and after the last (lesson 03).

    Both [runs, marks].  steps: how many, a multiple of `every`.  ValueError naming the argument.
    """
    if check_count("steps", steps) % check_count("every", every):
        raise ValueError(f"steps is {steps}; it must be a multiple of every, {every}")
    earned, seen = world.returns()[0], []
    for logits in islice(reinforce_many(world, recipe, runs, seed), 0, steps + 1, every):
        likely = chances(world, logits)
        seen.append((likely @ earned, wrong_habit(world, likely)))
    curves, habits = zip(*seen, strict=True)
    return torch.stack(curves, 1), torch.stack(habits, 1)


def sequences_until(world: TokenWorld, states: Iterable[Tensor], batch: int, target: float, most: int) -> Tensor:
    """How many sequences each run has drawn when its J first reaches `target`, [runs]; infinity if not within `most`.

    states: logits [runs, rows, V] before each step, as from `reinforce_many`; a step draws `batch` sequences.  J is
    exact, every sequence listed (lesson 15).  ValueError naming the argument.
    """
    batch, most = check_count("batch", batch), check_count("most", most)
    reached = None
    for step, logits in enumerate(states):
        if step * batch > most:
            break
        there = expected_returns(world, logits) >= target
        if reached is None:
            reached = torch.full((len(there),), float("inf"), dtype=torch.float64)
        reached[there & reached.isinf()] = step * batch
        if reached.isfinite().all():
            break
    if reached is None:
        raise ValueError("states is empty; it must give the logits before each step")
    return reached


def share(flags: Tensor) -> tuple[float, float]:
    """The share of runs for which something holds, [runs] bool, and its standard error √(p(1 − p) / runs)."""
    p = flags.double().mean().item()
    return p, (p * (1 - p) / len(flags)) ** 0.5
