"""Credit: which reward counts for which token, as a matrix, and how much noise each token's share brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_booleans, check_choice, check_count, check_real, check_shape
from pgnotes.theory.learning import prefix_totals
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.returns import discounted_return, live_rewards, reward_to_go
from pgnotes.theory.worlds import TokenWorld, check_token_world


def credit(rule: str, horizon: int, gamma: float = 1.0) -> Tensor:
    """[T, T]: entry (t, k) is what a reward at token k counts for token t; both from 0 (lesson 06).

    "whole": γ^k, the whole discounted return · "to_go": γ^k from t on, its past dropped, which is γ^t times the
    discounted reward-to-go · "usual": γ^(k-t) from t on, the discounted reward-to-go without the factor γ^t, as most
    code has it (Thomas 2014).
    rule: one of `RULES`.  gamma in [0, 1].  ValueError naming the argument.
    """
    # Row k: a reward of 1 at token k, and no other
    alone = torch.eye(check_count("horizon", horizon), dtype=torch.float64)
    return RULES[check_choice("rule", rule, RULES)](alone, gamma)


RULES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "whole": lambda alone, gamma: discounted_return(alone, gamma).expand_as(alone),
    "to_go": lambda alone, gamma: discounted_return(alone, gamma)[:, None] * reward_to_go(alone, gamma).T,
    "usual": lambda alone, gamma: reward_to_go(alone, gamma).T,
}


def token_weights(rewards: Tensor, rule: str, gamma: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """What each token's score is multiplied by: `credit(rule, T, gamma)` @ rewards (lesson 06; Sutton et al. 2000).

    rewards: [..., T] floats in any unit.  mask: [..., T] bool; rewards where it is False do not count, and those tokens
    get 0.  Returns [..., T] in the rewards' unit and dtype.  ValueError naming the argument.
    """
    live = live_rewards(rewards, mask)
    weights = live @ credit(rule, live.shape[-1], gamma).to(live).T
    return weights if mask is None else weights.masked_fill(~check_booleans("mask", mask), 0.0)


def spread(rewards: Tensor, mask: Tensor) -> Tensor:
    """The same total, in equal parts for all live tokens: R/length on each (lesson 06, claim C23).

    What this does to the gradient is shown there.
    rewards: [..., T] floats.  mask: [..., T] bool.  Returns [..., T].  ValueError naming the argument.
    """
    total = live_rewards(rewards, mask).sum(-1, keepdim=True)
    live = check_booleans("mask", mask).to(rewards.dtype)
    length = live.sum(-1, keepdim=True).clamp(min=1)
    return total * live / length


def values_to_go(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """V(prefix) = E[G_t | prefix], what is still to come from a prefix on average, [rows] (lesson 06).

    Undiscounted. With what has been paid on the way it is lesson 05's E[R | prefix], so that R - E[R | prefix] and
    G_t - V(prefix) are the same number in every sample.
    0 for prefixes that never happen.  world: with one prompt.  ValueError naming the argument.
    """
    passed = prefix_totals(world, policy, torch.ones(world.mask.shape, dtype=torch.float64))
    still_paid = prefix_totals(world, policy, reward_to_go(world.rewards[0], mask=world.mask))
    return still_paid / passed.masked_fill(passed == 0, 1.0)


def variance_by_step(world: TokenWorld, policy: PrefixPolicy, weights: Any) -> Tensor:
    """How much each place of a sequence adds to the trace of the covariance of Σ_t w_t ∇ log π, [T] (lesson 06).

    A table's scores at different places lie in different rows, so their squares add up: E[w_t² ‖s_t‖²] less the squared
    length of the mean.
    weights: [P, N, T] real, 0 on masked symbols.  The sum over T is `moments_of(...).trace`.  ValueError naming the
    argument.
    """
    check_token_world(world)
    weights = check_shape("weights", check_real("weights", weights, 3), world.rewards.shape)
    chances = (world.probabilities(policy) / world.prompts).detach()[..., None]  # [P, N, 1]

    # The score of each symbol, as an entry of the row that belongs to its prefix
    rows = prefix_rows(world.sequences, world.vocab_size)  # [N, T]
    probs = policy.probs.detach().view(world.prompts, -1, world.vocab_size)[:, rows]  # [P, N, T, V]
    scores = torch.nn.functional.one_hot(world.sequences, world.vocab_size) - probs

    # E[w_t² ‖s_t‖²] of each place
    mean_squares = (chances * weights.square() * scores.square().sum(-1)).sum((0, 1))  # [T]

    # The mean of the estimate, row by row; the square of each row counts for the place it belongs to
    mean = torch.zeros(world.prompts, int(rows.max()) + 1, world.vocab_size, dtype=torch.float64)
    mean.index_add_(1, rows.flatten(), ((chances * weights)[..., None] * scores).flatten(1, 2))
    squared_means = torch.zeros_like(mean_squares).index_add(0, depths(rows), mean.square().sum((0, 2)))
    return mean_squares - squared_means


def depths(rows: Tensor) -> Tensor:
    """The place t of each row of a policy's table, from `prefix_rows` [N, T]; rows that nothing passes get 0."""
    places = torch.zeros(int(rows.max()) + 1, dtype=torch.long)
    for t in range(rows.shape[1]):
        places[rows[:, t]] = t
    return places
