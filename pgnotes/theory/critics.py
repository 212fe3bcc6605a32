"""A critic, and its two uses: TD errors, GAE and λ-returns, and exactly what a wrong table does to the gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_booleans,
    check_count,
    check_numbers,
    check_real,
    check_shape,
)
from pgnotes.theory.credit import depths
from pgnotes.theory.estimators import Moments, moments_of, outcomes, token_estimates
from pgnotes.theory.learning import check_single_prompt, check_table, prefix_totals
from pgnotes.theory.objectives import live_only
from pgnotes.theory.policies import PrefixPolicy, StatePolicy, prefix_rows
from pgnotes.theory.returns import live_rewards
from pgnotes.theory.worlds import TabularMDP, TokenWorld

# on a batch


def td_errors(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, last: Tensor | None = None) -> Tensor:
    """δ_t = r_t + γ V(s_{t+1}) - V(s_t), how much better it got than the table expected (lesson 11).

    rewards: [..., T] floats in any unit.  values: [..., T], V(s_t) in the same unit.  mask: [..., T] bool, True on live
    steps; others are skipped, wherever they lie and whatever they hold.  gamma in [0, 1], for each live step.
    last: [...], the value after the last live step, where something cut the sequence; None, or 0, where it ended.
    Returns [..., T], 0 where the mask is False; gradients flow through.  ValueError naming the argument.
    Schulman et al. 2015 (arXiv 1506.02438), section 3.
    """
    gamma = check_between("gamma", gamma, 0.0, 1.0)
    rewards, values, mask, following = batch_of(rewards, values, mask, last)

    errors = []
    for t in reversed(range(mask.shape[-1])):
        errors.append(rewards[..., t] + gamma * following - values[..., t])
        following = torch.where(mask[..., t], values[..., t], following)  # what the step before looks at
    return torch.stack(errors[::-1], -1).masked_fill(~mask, 0.0)


def gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    lam: float = 0.95,
    last: Tensor | None = None,
) -> Tensor:
    """Â_t = δ_t + γλ Â_{t+1} = Σ_l (γλ)^l δ_{t+l}, generalised advantage estimation (lesson 11).

    λ = 0 gives the TD errors, λ = 1 the reward-to-go less V(s_t).  lam in [0, 1]; all else as in `td_errors`.
    Schulman et al. 2015 (arXiv 1506.02438), equation 16.
    """
    decay = check_between("gamma", gamma, 0.0, 1.0) * check_between("lam", lam, 0.0, 1.0)
    return summed_ahead(td_errors(rewards, values, mask, gamma, last), check_booleans("mask", mask), decay)


def lambda_returns(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    lam: float = 0.95,
    last: Tensor | None = None,
) -> Tensor:
    """Â_t + V(s_t), what the critic is moved to: (1-λ) Σ_n λ^{n-1} of all n-step returns (lesson 11).

    Arguments as in `gae`.  [..., T], 0 where the mask is False.  Sutton & Barto 2018, equation 12.2.
    """
    advantages = gae(rewards, values, mask, gamma, lam, last)
    return advantages + torch.where(check_booleans("mask", mask), values, 0.0)


def n_step(
    rewards: Tensor, values: Tensor, mask: Tensor, n: int, gamma: float = 1.0, last: Tensor | None = None
) -> Tensor:
    """r_t + γ r_{t+1} + … + γ^n V(s_{t+n}): n rewards, then the critic (lesson 11; Sutton & Barto 2018, eq. 7.1).

    n: at least 1; past the end of a sequence it is the rest of it.  Less V(s_t) it is a sum of n TD errors, Σ_{l<n} γ^l
    δ_{t+l}.  All else as in `td_errors`.  [..., T], 0 where the mask is False.
    """
    left = check_count("n", n)
    gamma = check_between("gamma", gamma, 0.0, 1.0)
    rewards, values, mask, ahead = batch_of(rewards, values, mask, last)

    # the return with n - 1, n - 2, … steps left, of the live step that follows; with none left, its value
    waiting = [ahead] * min(left + 1, mask.shape[-1] + 1)
    found = []
    for t in reversed(range(mask.shape[-1])):
        longer = [rewards[..., t] + gamma * after for after in waiting]
        steps = [values[..., t], *longer[:-1]]
        waiting = [torch.where(mask[..., t], new, old) for new, old in zip(steps, waiting, strict=True)]
        found.append(waiting[-1])
    return torch.stack(found[::-1], -1).masked_fill(~mask, 0.0)


def summed_ahead(terms: Tensor, mask: Tensor, decay: float) -> Tensor:
    """x_t = terms_t + decay · x_{next live step}, from the back: [..., T], 0 where the mask is False."""
    total, sums = torch.zeros_like(terms[..., 0]), []
    for t in reversed(range(mask.shape[-1])):
        total = torch.where(mask[..., t], terms[..., t] + decay * total, total)
        sums.append(total)
    return torch.stack(sums[::-1], -1).masked_fill(~mask, 0.0)


def batch_of(
    rewards: Tensor, values: Tensor, mask: Tensor, last: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, values and mask of one shape, 0 where they do not count, and `last`.  ValueError naming the argument."""
    rewards = live_rewards(rewards, mask)
    mask = check_booleans("mask", mask, rewards.shape)
    values = live_only("values", check_numbers("values", values, rewards.shape), mask)
    if last is None:
        return rewards, values, mask, torch.zeros_like(values[..., 0])
    last = check_numbers("last", last, rewards.shape[:-1])
    if not last.isfinite().all():
        raise ValueError("last holds a number that is not finite")
    return rewards, values, mask, last.to(values.dtype)


# on a world, exactly


class Pieces(NamedTuple):
    """What the TD errors l steps ahead say of the gradient: E_l = Σ_t δ_{t+l} ∇ log π(symbol_t), l = 0 … T-1.

    GAE is Σ_l λ^l E_l, and an n-step advantage E_0 + … + E_{n-1}: whatever the weights, mean and trace follow.
    """

    means: Tensor  # [T, D]
    traces: Tensor  # [T, T], tr Cov(E_k, E_l)

    def mean(self, weights: Tensor) -> Tensor:
        """The mean of Σ_l weights_l E_l: weights [..., T] -> [..., D]."""
        return weights @ self.means

    def trace(self, weights: Tensor) -> Tensor:
        """The trace of its covariance: weights [..., T] -> [...]."""
        return ((weights @ self.traces) * weights).sum(-1)


def pieces(world: TokenWorld, policy: PrefixPolicy, table: Any) -> Pieces:
    """The moments of GAE with a table for every λ, and of n-step advantages for every n, at one price (lesson 11).

    table: V̂ of what is still to come, with an entry for each prefix, [rows].  world: with one prompt.  ValueError
    naming the argument.
    """
    deltas = listed_td_errors(world, policy, table)
    chances = outcomes(world, policy).chances
    ahead = []
    for lead in range(world.horizon):
        shifted = torch.zeros_like(deltas)
        shifted[:, : world.horizon - lead] = deltas[:, lead:]
        ahead.append(token_estimates(world, policy, (shifted * world.mask)[None]))
    estimates = torch.stack(ahead)  # [T, N, D]

    means = torch.einsum("n,tnd->td", chances, estimates)
    centred = ((estimates - means[:, None]) * chances.sqrt()[:, None]).flatten(1)
    return Pieces(means, centred @ centred.T)


def listed_td_errors(world: TokenWorld, policy: PrefixPolicy, table: Any) -> Tensor:
    """The TD error of each symbol of each outcome, undiscounted, [N, T]; table: [rows]."""
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    return td_errors(world.rewards[0], check_table(table, policy)[rows], world.mask)


def powers(lam: Any, horizon: int) -> Tensor:
    """1, λ, λ², …: lam [...] -> [..., T], what GAE weighs the TD errors ahead with."""
    lam = check_real("lam", lam, 0, 1)
    return lam[..., None] ** torch.arange(check_count("horizon", horizon), dtype=torch.float64)


def with_gae(world: TokenWorld, policy: PrefixPolicy, table: Any, lam: float) -> Moments:
    """Moments of Σ_t Â_t ∇ log π(symbol_t) from one sequence, Â by GAE with a table [rows], γ = 1 (lesson 11).

    table: V̂ of what is still to come, as `values_to_go` gives the exact one.  world: with one prompt.  ValueError
    naming the argument.
    """
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    advantages = gae(world.rewards[0], check_table(table, policy)[rows], world.mask, lam=lam)
    return moments_of(outcomes(world, policy).chances, token_estimates(world, policy, advantages[None]))


def bias_of_gae(world: TokenWorld, policy: PrefixPolicy, error: Any, lam: float) -> Tensor:
    """(1-λ) Σ_t Σ_{l≥1} λ^{l-1} E[e(s_{t+l}) ∇ log π(symbol_t)], what a table that is off by e adds to ∇J (lesson 11).

    error: e = V̂ - V, with an entry for each prefix, [rows].  Returns [D].  The error where a symbol is chosen does not
    count, only those after the choice, and at λ = 1 none.  world: with one prompt.  ValueError naming the argument.
    """
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    lam = check_between("lam", lam, 0.0, 1.0)
    errors = torch.where(world.mask, check_table(error, policy)[rows], 0.0)
    ahead = torch.zeros_like(errors)
    ahead[:, :-1] = summed_ahead(errors, world.mask, lam)[:, 1:]  # Σ_{l≥1} λ^{l-1} e_{t+l}
    weights = (1 - lam) * ahead * world.mask
    return outcomes(world, policy).chances @ token_estimates(world, policy, weights[None])


def fitted_first(world: TokenWorld, policy: PrefixPolicy, batch: int) -> Tensor:
    """The mean of Σ_t (R - V̂) ∇ log π(symbol_t), a sequence's, if V̂ was first fitted to its batch, [D] (lesson 11).

    V̂ of a prefix is the mean return of those of the batch that pass it, their own included. k of them keep (k-1)/k of
    what they say, and one alone says nothing: of its row of ∇J a prefix keeps 1 - P(passed at all) / E[times passed].
    world: with one prompt.  batch: sequences, at least 1.  ValueError naming the argument.
    """
    passed = prefix_totals(world, policy, torch.ones(world.mask.shape, dtype=torch.float64))  # chances, [rows]
    size = check_count("batch", batch)
    at_all = -torch.expm1(size * torch.log1p(-passed.clamp(max=1.0)))
    kept = 1 - at_all / (size * passed).clamp(min=1e-300)
    return (world.exact_gradient(policy) * kept[:, None]).flatten()


def by_place(world: TokenWorld, direction: Any, gradient: Any) -> Tensor:
    """How much of ∇J each place of a sequence gets, [T] or [n, T]: along its own part of ∇J, ÷ ‖∇J‖ (lesson 11).

    direction: [D] or [n, D], such as an estimator's mean.  gradient: ∇J, with D entries in any shape.  A table's scores
    at different places lie in different rows; of the gradient itself the squares add up to 1.
    """
    rows = prefix_rows(check_single_prompt(world).sequences, world.vocab_size)
    gradient = check_real("gradient", gradient, 1, 2).flatten()
    direction = check_real("direction", direction, 1, 2)
    check_shape("direction", direction, (*direction.shape[:-1], len(gradient)))

    one_hot = torch.nn.functional.one_hot(depths(rows), world.horizon).double()  # [rows, T]
    places = one_hot.repeat_interleave(world.vocab_size, 0)  # [D, T]
    lengths = (gradient.square() @ places).sqrt()
    return (direction * gradient) @ places / lengths.clamp(min=1e-300) / gradient.norm()


# where the next state is not known once the action is chosen


def surprises(mdp: TabularMDP, policy: StatePolicy) -> tuple[Tensor, Tensor]:
    """δ_t and A(s_t, a_t) of each step of each trajectory, with the true values, [N, T] both (lesson 11, claim C36).

    The advantage is what δ is on average, given state and action. They are the same where no luck is left after the
    choice.  ValueError naming the argument.
    """
    q_values = mdp.action_values(policy)  # [T, S, A]
    time = torch.arange(mdp.horizon)
    values = (policy.probs * q_values).sum(-1)[time, mdp.states]  # [N, T]
    deltas = td_errors(mdp.rewards_of_trajectories, values, torch.ones(values.shape, dtype=torch.bool))
    return deltas.detach(), (q_values[time, mdp.states, mdp.actions] - values).detach()
