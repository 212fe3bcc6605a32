"""Worlds so small that every outcome can be listed: expected returns and gradients are computed, not estimated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import array, between, count, indices, real, shaped
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy


class Bandit:
    """K actions, one decision, a mean reward for each (lesson 01).

    mean_rewards: [K] real, any unit.  ValueError for another shape or a number that is not finite.
    """

    def __init__(self, mean_rewards: Any):
        self.mean_rewards = real("mean_rewards", mean_rewards, 1)

    def expected_return(self, policy: SoftmaxPolicy, gamma: float = 1.0) -> Tensor:
        """J = Σ_a π(a) r(a); gamma, in [0, 1], has nothing to discount in a single step."""
        self._agree(policy, gamma)
        return policy.probs @ self.mean_rewards

    def exact_gradient(self, policy: SoftmaxPolicy, gamma: float = 1.0) -> Tensor:
        """∂J/∂θ_a = π(a) (r(a) - J), [K]: Σ_b π(b) r(b) score(b), every action listed (lesson 02; Williams 1992)."""
        expected = self.expected_return(policy, gamma)
        return policy.probs * (self.mean_rewards - expected)

    def _agree(self, policy: SoftmaxPolicy, gamma: float) -> None:
        between("gamma", gamma, 0.0, 1.0)
        if not isinstance(policy, SoftmaxPolicy) or policy.logits.shape != self.mean_rewards.shape:
            raise ValueError(f"policy must be a SoftmaxPolicy over {len(self.mean_rewards)} actions, as many as this bandit has")


class TokenWorld:
    """Sequences of up to T symbols out of V, each outcome listed: a language model small enough to check (lesson 02).

    vocab_size: V >= 2.  horizon: T >= 1.  reward_fn(sequences [N, T], prompt) -> [N, T]: a reward for each symbol; what it says of masked
    ones is ignored.  eos: the symbol after which a sequence is over, or None.  prompts: how many, each with rewards of its own, all equally
    likely.  `sequences` [N, T] and `mask` [N, T] list the outcomes; N = V**T without `eos`. After `eos`, sequences are filled with it, and masked.
    """

    def __init__(self, vocab_size: int, horizon: int, reward_fn: Callable[[Tensor, int], Tensor], eos: int | None = None, prompts: int = 1):
        self.vocab_size, self.horizon, self.prompts = count("vocab_size", vocab_size, 2), count("horizon", horizon), count("prompts", prompts)
        if eos is not None and count("eos", eos, 0) >= vocab_size:
            raise ValueError(f"eos is {eos}; it must be a symbol below {vocab_size}, or None")
        if not callable(reward_fn):
            raise ValueError(f"reward_fn is {reward_fn!r}; it must be a function of (sequences, prompt)")
        self.eos, self.reward_fn = eos, reward_fn
        everything = torch.tensor(list(itertools.product(range(vocab_size), repeat=horizon)))
        over = ended_before(everything, eos)
        self.sequences = everything[(~over | (everything == eos)).all(1)] if eos is not None else everything
        self.mask = ~ended_before(self.sequences, eos)
        self.rewards = torch.stack([self.rewards_of(self.sequences, prompt) for prompt in range(self.prompts)])  # [P, N, T]

    def rewards_of(self, sequences: Any, prompt: int) -> Tensor:
        """The reward of each live symbol of these sequences [n, T], [n, T]; 0 on masked ones.  ValueError if reward_fn gives another shape."""
        sequences = indices("sequences", sequences, self.vocab_size, dim=2)
        if sequences.shape[1] != self.horizon:
            raise ValueError(f"sequences has shape {list(sequences.shape)}; it must be [n, {self.horizon}]")
        if count("prompt", prompt, 0) >= self.prompts:
            raise ValueError(f"prompt is {prompt}; it must be below {self.prompts}")
        result = array("reward_fn's result", self.reward_fn(sequences.clone(), prompt))  # a clone: the function may write into it
        live = shaped("reward_fn's result", result, sequences.shape).masked_fill(ended_before(sequences, self.eos), 0.0)
        return real("reward_fn's result", live, 2)

    def returns(self, gamma: float = 1.0) -> Tensor:
        """Σ_t γ^t r_t of each outcome for each prompt, [P, N]; t counts from 0."""
        return self.rewards @ between("gamma", gamma, 0.0, 1.0) ** torch.arange(self.horizon, dtype=torch.float64)

    def probabilities(self, policy: PrefixPolicy) -> Tensor:
        """How likely each outcome is under each prompt, [P, N]; each row adds up to 1.  ValueError if the policy is not of this world's size."""
        self._agree(policy)
        logps = [policy.log_prob(self.sequences, prompt).masked_fill(~self.mask, 0.0).sum(1) for prompt in range(self.prompts)]
        return torch.stack(logps).exp()

    def expected_return(self, policy: PrefixPolicy, gamma: float = 1.0) -> Tensor:
        """J = Σ_τ π(τ) Σ_t γ^t r_t, every sequence τ listed, averaged over the prompts."""
        return (self.probabilities(policy) * self.returns(gamma)).sum(1).mean()

    def exact_gradient(self, policy: PrefixPolicy, gamma: float = 1.0) -> Tensor:
        """∇J, in the logits' shape, by differentiating the sum over all outcomes; rows that no sequence reaches get 0."""
        self._agree(policy)
        with torch.enable_grad():
            logits = policy.logits.detach().requires_grad_()
            return torch.autograd.grad(self.expected_return(PrefixPolicy(logits), gamma), logits)[0]

    def _agree(self, policy: PrefixPolicy) -> None:
        mine = (self.prompts, self.vocab_size, self.horizon)
        if not isinstance(policy, PrefixPolicy):
            raise ValueError(f"policy is a {type(policy).__name__}; it must be a PrefixPolicy")
        if (policy.prompts, policy.vocab_size, policy.horizon) != mine:
            theirs = f"{policy.prompts} prompts, {policy.vocab_size} symbols, horizon {policy.horizon}"
            raise ValueError("policy has {}; this world has {} prompts, {} symbols, horizon {}".format(theirs, *mine))


def ended_before(sequences: Tensor, eos: int | None) -> Tensor:
    """True where an earlier symbol was `eos`. sequences [n, T] -> [n, T]; the `eos` itself is False."""
    if eos is None:
        return torch.zeros_like(sequences, dtype=torch.bool)
    seen = (sequences == eos).cumsum(1)
    return seen - (sequences == eos).long() > 0
