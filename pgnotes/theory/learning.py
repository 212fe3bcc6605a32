"""What baselines do to learning: many bandits trained at once, and what a prefix is worth, exactly and learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_choice,
    check_count,
    check_finite,
    check_positive,
    check_real,
    check_shape,
)
from pgnotes.theory.estimators import Moments, moments_of, outcomes, token_estimates
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, symbol_weights
from pgnotes.theory.worlds import Bandit, TokenWorld

# many bandits at once


def best_of_each(probs: Tensor, rewards: Tensor) -> Tensor:
    """b* = E[‖s‖² R] / E[‖s‖²] of each policy (lesson 05).

    probs [runs, K], rewards [K] -> [runs]; ‖s‖² of an action is 1 - 2π(a) + Σπ².
    """
    sizes = probs * (1 - 2 * probs + probs.square().sum(1, keepdim=True))
    return sizes @ rewards / sizes.sum(1)


# (probs, mean rewards, rewards of the batch, running average) -> [runs]
BASELINES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "none": lambda probs, rewards, batch, average: torch.zeros_like(average),
    "mean": lambda probs, rewards, batch, average: probs @ rewards,
    "batch mean": lambda probs, rewards, batch, average: batch.mean(1),
    "running average": lambda probs, rewards, batch, average: average,
    "optimal": lambda probs, rewards, batch, average: best_of_each(probs, rewards),
}
REMEMBERS = 10  # the running average moves a tenth of the way to each step's mean reward, from 0


def train_bandits(
    bandit: Bandit,
    logits: Any,
    baseline: str,
    step_size: float,
    runs: int,
    seed: int,
    batch: int = 1,
    shift: float = 0.0,
) -> Iterator[Tensor]:
    """REINFORCE on many copies of a bandit: π before each step, [runs, K], without end (lesson 05; Chung et al. 2020).

    logits: [K], where all copies start.  baseline: one of `BASELINES`, for each copy its own; `shift` is added to it.
    batch: actions a step.  The random numbers depend on runs, batch and seed alone.  ValueError naming the argument.
    """
    start = check_shape("logits", check_real("logits", logits, 1), bandit.mean_rewards.shape).detach()
    baseline_of = BASELINES[check_choice("baseline", baseline, BASELINES)]
    step_size, shift = check_positive("step_size", step_size), check_finite("shift", shift)
    runs, batch = check_count("runs", runs), check_count("batch", batch)
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))

    theta, average = start.repeat(runs, 1), torch.zeros(runs, dtype=torch.float64)
    while True:
        probs = theta.softmax(1)
        yield probs

        # Each action where a uniform number falls among the cumulative probabilities
        uniforms = torch.rand(runs, batch, dtype=torch.float64, generator=generator)
        actions = torch.searchsorted(probs.cumsum(1), uniforms).clamp(max=len(start) - 1)
        rewards = bandit.mean_rewards[actions]
        baselines = baseline_of(probs, bandit.mean_rewards, rewards, average) + shift
        advantages = rewards - baselines[:, None]

        # Σ (R - b) score, with score = one-hot - π
        gradient = torch.zeros_like(theta).scatter_add(1, actions, advantages)
        gradient = gradient - advantages.sum(1, keepdim=True) * probs
        theta = theta + step_size * gradient / batch
        average = average + (rewards.mean(1) - average) / REMEMBERS


# what a prefix is worth


def symbol_scores(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """The score of each symbol of each outcome by itself, [N, T, rows, V], 0 where masked (lesson 05).

    Added up over T it is the sequence's score; added up over the rows, the score if all rows were one and the same.
    """
    check_single_prompt(world)
    scores = []
    for t in range(world.horizon):
        alone = world.mask & (torch.arange(world.horizon) == t)
        scores.append(token_estimates(world, policy, alone.double()[None]))
    return torch.stack(scores, 1).view(*world.mask.shape, *policy.logits.shape[-2:])


def prefix_totals(world: TokenWorld, policy: PrefixPolicy, of: Tensor) -> Tensor:
    """E[what the symbol chosen after each prefix carries], [rows]; of: [N, T].

    With ones: how often each prefix is passed (lesson 05).
    """
    chances = outcomes(check_single_prompt(world), policy).chances
    of = check_shape("of", check_real("of", of, 2), world.mask.shape)
    carried = of * world.mask * chances[:, None]

    rows = prefix_rows(world.sequences, world.vocab_size)
    return torch.zeros(policy.logits.shape[-2], dtype=torch.float64).index_add(0, rows.flatten(), carried.flatten())


def score_sizes(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """‖∇ log π(symbol | prefix)‖² of each symbol of each outcome, [N, T]: 1 - 2π(symbol) + Σπ²."""
    rows = prefix_rows(world.sequences, world.vocab_size)
    chosen = policy.log_prob(world.sequences).detach().exp()  # π(symbol)
    squares = policy.probs.detach().view(-1, policy.vocab_size).square().sum(1)  # Σπ² of each row
    return 1 - 2 * chosen + squares[rows]


def prefix_values(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """V(prefix) = E[R | prefix], the whole return that a prefix leads to on average, [rows] (lesson 05).

    0 for prefixes that never happen.  world: with one prompt.  ValueError otherwise, or if the policy is not of its
    size.
    """
    return averaged(world, policy, torch.ones(world.mask.shape, dtype=torch.float64))


def symbol_values(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """Q(prefix, symbol) = E[R | prefix, symbol], [rows, V]; less V(prefix) it is the symbol's advantage (lesson 05).

    0 where nothing ever happens.
    """
    chosen = torch.nn.functional.one_hot(check_single_prompt(world).sequences, world.vocab_size).double()  # [N, T, V]
    return torch.stack([averaged(world, policy, symbol) for symbol in chosen.unbind(-1)], 1)


def prefix_optimum(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """b*(prefix) = E[‖s‖² R | prefix] / E[‖s‖² | prefix], [rows] (lesson 05; Greensmith et al. 2004).

    s is the next symbol's score. The table with the smallest trace, as long as each prefix has logits of its own.
    """
    return averaged(world, policy, score_sizes(world, policy))


def averaged(world: TokenWorld, policy: PrefixPolicy, weights: Tensor) -> Tensor:
    """The returns of what goes through each prefix, averaged with weights [N, T]."""
    totals = prefix_totals(world, policy, weights)
    weighted_returns = prefix_totals(world, policy, weights * world.returns()[0, :, None])
    return weighted_returns / totals.masked_fill(totals == 0, 1.0)


def with_table(world: TokenWorld, policy: PrefixPolicy, table: Any) -> Moments:
    """Moments of Σ_t (R - b(prefix_t)) ∇ log π(symbol_t) from one sequence (lesson 05).

    table: b, with an entry for each prefix, [rows].  ValueError naming the argument.
    """
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    baselines = check_table(table, policy)[rows]  # [N, T]
    advantages = (world.returns()[0, :, None] - baselines) * world.mask
    return moments_of(outcomes(world, policy).chances, token_estimates(world, policy, advantages[None]))


def bootstrapped(world: TokenWorld, values: Any) -> Tensor:
    """Q̂(prefix, symbol) = V̂(prefix + symbol), or the return itself where the symbol ends the sequence, [rows, V].

    What a critic says of a symbol when it knows no more than values [rows] (lesson 05); of the true values it makes the
    true Q. 0 where nothing ever happens.
    """
    sequences, mask = check_single_prompt(world).sequences, world.mask
    rows = prefix_rows(sequences, world.vocab_size)
    n_rows = sum(world.vocab_size**t for t in range(world.horizon))
    values = check_shape("values", check_real("values", values, 1), (n_rows,))

    goes_on = torch.zeros_like(mask)
    goes_on[:, :-1] = mask[:, 1:]
    known = torch.where(goes_on, values[rows.roll(-1, 1)], world.returns()[0, :, None])
    table = torch.zeros(n_rows, world.vocab_size, dtype=torch.float64)
    table[rows[mask], sequences[mask]] = known[mask]
    return table


def with_critic(
    world: TokenWorld, policy: PrefixPolicy, values: Any, worth: Any, subtracted: float = 0.0, replacing: float = 0.0
) -> Moments:
    """Moments of Σ_t ((1 - ρ) R + ρ Q̂ - (1 - m) V̂ - m Q̂) ∇ log π(symbol_t) from one sequence (lesson 05).

    values: V̂, [rows].  worth: Q̂ of each symbol, [rows, V].  subtracted: m in [0, 1], the share of Q̂ in the baseline,
    which may not know the symbol: of the mean 1 - m is left if both are exact.  replacing: ρ in [0, 1], the share of Q̂
    in the return's place; with 1 it is an actor–critic's gradient, and unbiased if Q̂ is exact.
    """
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    baselines = check_shape("values", check_real("values", values, 1), policy.logits.shape[-2:-1])[rows]
    worth = check_shape("worth", check_real("worth", worth, 2), policy.logits.shape[-2:])[rows, world.sequences]
    m, share = check_between("subtracted", subtracted, 0.0, 1.0), check_between("replacing", replacing, 0.0, 1.0)

    target = (1 - share) * world.returns()[0, :, None] + share * worth
    weights = (target - (1 - m) * baselines - m * worth) * world.mask
    return moments_of(outcomes(world, policy).chances, token_estimates(world, policy, weights[None]))


def cost_of_error(world: TokenWorld, policy: PrefixPolicy, table: Any) -> Tensor:
    """By how much the trace with this table exceeds the smallest possible (lesson 05).

    Σ_rows E[‖s‖²; passed] (b - b*)², a parabola in each entry of the table [rows].
    """
    error = check_table(table, policy) - prefix_optimum(world, policy)
    return (prefix_totals(world, policy, score_sizes(world, policy)) * error.square()).sum()


def learn_values(
    world: TokenWorld, policy: PrefixPolicy, batch: int, step: float, seed: int, start: float = 0.0
) -> Iterator[Tensor]:
    """The table of values [rows] before each batch of sequences, without end (lesson 05).

    Each entry moves by the share `step` to the returns that passed it. All start at `start`; the policy stays as it is.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    recipe = Recipe(batch=batch, value_step=check_positive("step", step))
    check_single_prompt(world)

    values = torch.full(policy.logits.shape[-2:-1], check_finite("start", start), dtype=torch.float64)
    while True:
        yield values.clone()
        rollout = world.rollout(policy, recipe.batch, generator)
        rows = prefix_rows(rollout.sequences, world.vocab_size)
        symbol_weights(rollout.rewards, rows, rollout.mask, recipe, values)  # moves the values, in place


def check_table(table: Any, policy: PrefixPolicy) -> Tensor:
    """`table` as a float64 tensor, if it has an entry for each of the policy's prefixes, [rows].

    ValueError naming it otherwise.
    """
    return check_shape("table", check_real("table", table, 1), policy.logits.shape[-2:-1])


def check_single_prompt(world: TokenWorld) -> TokenWorld:
    """`world`, if it is one with a single prompt.

    ValueError naming it otherwise.
    """
    if not isinstance(world, TokenWorld) or world.prompts != 1:
        raise ValueError(f"world is {world!r}; it must be a TokenWorld with one prompt")
    return world
