"""Using a batch more than once: importance weights, and PPO (lesson 07; Schulman et al. 2017)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_choice,
    check_count,
    check_numbers,
    check_positive,
    check_real,
)
from pgnotes.theory.learning import prefix_values, symbol_values
from pgnotes.theory.objectives import Clip, check_mask, clip_range, live_only, policy_loss
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.preferences import kl_in_reward
from pgnotes.theory.reinforce import mean_entropy
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import Rollout, TokenWorld

# (logp, logp_old, advantages, mask) -> a scalar to be minimised
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

# importance weights


def token_ratios(logp: Tensor, logp_old: Tensor, mask: Tensor) -> Tensor:
    """π(symbol | prefix) / π_old(symbol | prefix) of each symbol, [n, T]; 1 where the mask is False (lesson 07).

    logp, logp_old: [n, T] nats.  ValueError, naming the argument, for shapes that differ, another kind of mask, a live
    number that is not finite.
    """
    mask = check_mask("logp", logp, mask)
    check_numbers("logp_old", logp_old, logp.shape)
    return torch.exp(live_only("logp", logp, mask) - live_only("logp_old", logp_old, mask))


def sequence_weights(logp: Tensor, logp_old: Tensor, mask: Tensor) -> Tensor:
    """π(τ) / π_old(τ) of each sequence, [n]: the product of its live symbols' ratios (lesson 07).

    Arguments and errors as in `token_ratios`.
    """
    return token_ratios(logp, logp_old, mask).prod(1)


def effective_sample_size(weights: Any) -> Tensor:
    """(Σw)² / Σw², a rule of thumb for how much of a weighted batch is left (lesson 07; Kish 1965).

    It looks at the weights alone: where they go with what is averaged, the truth can be far below, or above n.
    weights: [n] real, none below 0, not all 0.  Between 1 and n, and n only if all are equal.
    """
    weights = check_real("weights", weights, 1)
    if (weights < 0).any() or not (weights > 0).any():
        raise ValueError("weights must not be below 0, and not all 0")
    return weights.sum() ** 2 / weights.square().sum()


def outside(ratios: Any, clip: Clip) -> Tensor:
    """True where a ratio (any shape) lies outside [1 - low, 1 + high], whatever its advantage (lesson 07, claim C21).

    Their share is what some trainers (Stable-Baselines3, CleanRL) plot as "clip fraction". On two of the four sides
    such a token still has its full gradient: see `clip_fraction`.
    """
    low, high = clip_range(clip)
    ratios = torch.as_tensor(ratios)
    return (ratios < 1 - low) | (ratios > 1 + high)


def silenced(ratios: Any, advantages: Any, clip: Clip) -> Tensor:
    """True where PPO's gradient is zero: beyond the band on the side that the advantage asks for (lesson 07, claim C4).

    Same shapes.
    """
    low, high = clip_range(clip)
    ratios, advantages = torch.as_tensor(ratios), torch.as_tensor(advantages)
    above = (advantages > 0) & (ratios > 1 + high)
    below = (advantages < 0) & (ratios < 1 - low)
    return above | below | (advantages == 0)


def clip_fraction(ratios: Any, advantages: Any, mask: Tensor, clip: Clip) -> Tensor:
    """The share of live tokens whose gradient the clip has taken away, one number (lesson 07).

    This is what TRL and verl log. A token without an advantage has no gradient either, but not because of the clip: it
    is not counted.
    ratios, mask: [n, T].  advantages: [n, T], or [n, 1] where all tokens of a sequence have the same.  0 if none live.
    """
    advantages = torch.as_tensor(advantages)
    silent = silenced(ratios, advantages, clip) & (advantages != 0) & mask
    return silent.sum() / mask.sum().clamp(min=1)


# exact answers on a world


def exact_kl(world: TokenWorld, policy: PrefixPolicy, other: PrefixPolicy) -> Tensor:
    """KL(policy ‖ other) of whole sequences in nats, every sequence listed, averaged over prompts (lesson 07)."""
    return divergence(world.probabilities(policy), world.probabilities(other)).mean()


def divergence(chances: Tensor, others: Tensor) -> Tensor:
    """Σ p log(p/q) in nats along the last axis, for probabilities p and q of the same listed outcomes.

    Where p is 0 it adds nothing.
    """
    terms = chances * (chances.log() - others.log())
    return torch.where(chances > 0, terms, 0.0).sum(-1)


def exact_surrogate(
    world: TokenWorld, policy: PrefixPolicy, old: PrefixPolicy, clip: Clip | None = None, by: str = "return"
) -> Tensor:
    """E_old Σ_t min(r A, clip(r) A) - A, every sequence listed: what PPO thinks it gains (lesson 07).

    by: what A is. "advantage": A_old(prefix, symbol), the mean over all that may follow · "return": one sequence's
    return less V_old(prefix), as a batch has it. Its mean is the same, but a symbol comes with both signs of it.
    Without a clip both give the same number, whose value, 0, and gradient are those of J(policy) - J(old) at policy =
    old (Kakade & Langford 2002). With a clip "return" gives less: the min is concave in A, and each sign of A is flat
    on one side only.
    world: with one prompt.  ValueError for another `by`.
    """
    rows = prefix_rows(world.sequences, world.vocab_size)
    paid = {
        "return": lambda: world.returns()[0, :, None],
        "advantage": lambda: symbol_values(world, old)[rows, world.sequences],
    }
    advantages = paid[check_choice("by", by, paid)]() - prefix_values(world, old)[rows]

    chances = world.probabilities(old)[0].detach()
    weighted = len(chances) * chances[:, None] * advantages  # a chance is never negative, so it changes no min
    logp_old = old.log_prob(world.sequences).detach()

    def loss(logp: Tensor) -> Tensor:
        return policy_loss(logp, logp_old, weighted, world.mask, "ppo", unclipped(clip), aggregate="sum")

    return loss(logp_old) - loss(policy.log_prob(world.sequences))


def unclipped(clip: Clip | None) -> Clip:
    """A clip, or for None a band that no ratio can leave."""
    return (1.0, float("inf")) if clip is None else clip


# the algorithm


@dataclass(frozen=True)
class Settings:
    """How to train.

    ValueError, naming the field, for a value out of its range.
    """

    step_size: float = 1.0  # of one epoch's gradient step
    batch: int = 64  # sequences an iteration
    epochs: int = 4  # K in PPO's paper, μ in GRPO's: how often each batch is gone through
    minibatches: int = 1  # parts of a batch with a gradient step each, drawn anew in each epoch
    clip: Clip | None = 0.2  # ε, or (low, high), or None for the bare surrogate
    # c₁: weight of the squared error of a table of values, one a prefix; 0 subtracts the batch's mean return instead
    value_weight: float = 0.0
    entropy_bonus: float = 0.0  # c₂: nats of entropy at a visited prefix are worth so much reward
    reference_weight: float = 0.0  # β: nats of log(π/π_start) of a sequence cost so much reward
    # what a symbol answers for: its own nats, later ones and what is still paid (lesson 13), or the whole sequence
    by_symbol: bool = False

    def __post_init__(self) -> None:
        """Check each field."""
        check_positive("step_size", self.step_size)
        check_count("batch", self.batch, 2)
        check_count("epochs", self.epochs)
        if check_count("minibatches", self.minibatches) > self.batch:
            raise ValueError(f"minibatches is {self.minibatches}; a batch of {self.batch} has at most that many parts")
        clip_range(unclipped(self.clip))
        for name in ("value_weight", "entropy_bonus", "reference_weight"):
            check_between(name, getattr(self, name), 0.0, float("1e9"))


class Epoch(NamedTuple):
    """Where training stands: the policy after so many epochs on this iteration's batch, and what the batch holds."""

    iteration: int
    epoch: int  # 0 before the first gradient step on the batch, when policy and old are the same
    policy: PrefixPolicy
    old: PrefixPolicy
    batch: Rollout
    advantages: Tensor  # [n, T]

    @property
    def ratios(self) -> Tensor:
        """Of the batch's symbols, [n, T], 1 on masked ones; costs a forward pass."""
        logp = self.policy.log_prob(self.batch.sequences)
        logp_old = self.old.log_prob(self.batch.sequences)
        return token_ratios(logp, logp_old, self.batch.mask).detach()


def ppo(
    world: TokenWorld,
    settings: Settings,
    seed: int,
    logits: Tensor | None = None,
    loss: Loss | None = None,
) -> Iterator[Epoch]:
    """Where training stands before each batch's first epoch and after each epoch, without end (lesson 07).

    world: with one prompt.  logits: where to start, [rows, V]; zeros if not given.
    loss: takes the place of the clipped surrogate.  All randomness comes from `seed`.
    """
    surrogate = loss or clipped_surrogate(settings)
    generator = torch.Generator().manual_seed(seed)
    theta, values = starting_point(world, logits)
    parameters = (theta, values) if settings.value_weight else (theta,)
    start = PrefixPolicy(theta.detach().clone())

    for iteration in itertools.count():
        old = PrefixPolicy(theta.detach().clone())
        batch = world.rollout(old, settings.batch, generator)  # 1 roll out
        logp_old = old.log_prob(batch.sequences)  # the ratios' denominator, once
        rows = prefix_rows(batch.sequences, world.vocab_size)
        returns = returns_of(batch, old, start, settings)
        advantages = advantages_of(returns, values[rows], settings)  # 2 compare with what was expected

        for epoch in range(settings.epochs):  # 3 several passes over the same batch
            yield Epoch(iteration, epoch, PrefixPolicy(theta), old, batch, advantages)
            for part in parts_of(settings, generator):  # in each a step for every minibatch
                policy, some = PrefixPolicy(theta), Rollout(*(each[part] for each in batch))
                logp = policy.log_prob(some.sequences)  # the forward pass that every step needs

                total = surrogate(logp, logp_old[part], advantages[part], some.mask)
                if settings.value_weight:
                    error = squared_error(returns[part], values[rows[part]], some.mask)
                    total = total + settings.value_weight * error
                if settings.entropy_bonus:
                    total = total - settings.entropy_bonus * mean_entropy(policy, some)

                gradients = torch.autograd.grad(total, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter -= settings.step_size * gradient

        yield Epoch(iteration, settings.epochs, PrefixPolicy(theta), old, batch, advantages)


def clipped_surrogate(settings: Settings) -> Loss:
    """PPO's loss, or the bare surrogate's where there is no clip; a sequence's sum, averaged over sequences."""
    return partial(policy_loss, kind="ppo", clip=unclipped(settings.clip), aggregate="sum")


def parts_of(settings: Settings, generator: torch.Generator) -> list[Any]:
    """Indices of the sequences in each minibatch of one epoch; each sequence is in one of them."""
    if settings.minibatches == 1:
        return [slice(None)]
    return list(torch.randperm(settings.batch, generator=generator).tensor_split(settings.minibatches))


def starting_point(world: TokenWorld, logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits [rows, V], zeros if not given, and a value of 0 for each prefix [rows]; both to be trained."""
    rows = sum(world.vocab_size**t for t in range(world.horizon))
    start = torch.zeros(rows, world.vocab_size) if logits is None else logits
    theta = start.detach().double().clone().requires_grad_()
    return theta, torch.zeros(rows, dtype=torch.float64, requires_grad=True)


def advantages_of(returns: Tensor, values: Tensor, settings: Settings) -> Tensor:
    """Return [n, T] less the prefix's value [n, T] or, without values, less the batch's mean at each place: [n, T]."""
    return returns - (values.detach() if settings.value_weight else returns.mean(0))


def squared_error(returns: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """(return - value)² over live symbols, a sequence's on average. All [n, T]."""
    return torch.where(mask, returns - values, 0.0).square().sum() / len(returns)


def returns_of(batch: Rollout, policy: PrefixPolicy, reference: PrefixPolicy, settings: Settings) -> Tensor:
    """What each symbol answers for, [n, T]: all that its sequence earned, or what is paid from it on.

    Each symbol's reward is less β times its log-probability over the reference's.
    """
    rewards = batch.rewards
    if settings.reference_weight:
        logp, logp_ref = policy.log_prob(batch.sequences), reference.log_prob(batch.sequences)
        rewards = kl_in_reward(rewards, logp, logp_ref, batch.mask, settings.reference_weight)
    if settings.by_symbol:
        return reward_to_go(rewards, mask=batch.mask)
    return rewards.sum(1, keepdim=True).expand(rewards.shape)
