"""Worlds so small that every outcome can be listed: expected returns and gradients are computed, not estimated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_array,
    check_between,
    check_count,
    check_distributions,
    check_generator,
    check_indices,
    check_real,
    check_shape,
)
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, StatePolicy
from pgnotes.theory.returns import discounted_return


class Rollout(NamedTuple):
    """Sampled sequences, which of their symbols count, and what each symbol earned; all [n, T]."""

    sequences: Tensor
    mask: Tensor
    rewards: Tensor


class Bandit:
    """K actions, one decision, a mean reward for each (lesson 01).

    mean_rewards: [K] real, any unit.  ValueError for another shape or a number that is not finite.
    """

    def __init__(self, mean_rewards: Any):
        self.mean_rewards = check_real("mean_rewards", mean_rewards, 1)

    def expected_return(self, policy: SoftmaxPolicy, gamma: float = 1.0) -> Tensor:
        """J = Σ_a π(a) r(a); gamma, in [0, 1], has nothing to discount in a single step."""
        self._agree(policy, gamma)
        return policy.probs @ self.mean_rewards

    def exact_gradient(self, policy: SoftmaxPolicy, gamma: float = 1.0) -> Tensor:
        """∂J/∂θ_a = π(a) (r(a) - J), [K]: Σ_b π(b) r(b) score(b), every action listed (lesson 02; Williams 1992)."""
        expected = self.expected_return(policy, gamma)
        return policy.probs * (self.mean_rewards - expected)

    def _agree(self, policy: SoftmaxPolicy, gamma: float) -> None:
        check_between("gamma", gamma, 0.0, 1.0)
        if not isinstance(policy, SoftmaxPolicy) or policy.logits.shape != self.mean_rewards.shape:
            raise ValueError(
                f"policy must be a SoftmaxPolicy over {len(self.mean_rewards)} actions, as many as this bandit has"
            )


class TokenWorld:
    """Sequences of up to T symbols out of V, each outcome listed: a language model small enough to check (lesson 02).

    vocab_size: V >= 2.  horizon: T >= 1.  reward_fn(sequences [N, T], prompt) -> [N, T]: a reward for each symbol; what
    it says of masked ones is ignored.  eos: the symbol after which a sequence is over, or None.  prompts: how many,
    each with rewards of its own, all equally likely.  `sequences` [N, T] and `mask` [N, T] list the outcomes; N = V**T
    without `eos`. After `eos`, sequences are filled with it, and masked.
    """

    def __init__(
        self,
        vocab_size: int,
        horizon: int,
        reward_fn: Callable[[Tensor, int], Tensor],
        eos: int | None = None,
        prompts: int = 1,
    ):
        self.vocab_size = check_count("vocab_size", vocab_size, 2)
        self.horizon = check_count("horizon", horizon)
        self.prompts = check_count("prompts", prompts)
        if eos is not None and check_count("eos", eos, 0) >= vocab_size:
            raise ValueError(f"eos is {eos}; it must be a symbol below {vocab_size}, or None")
        if not callable(reward_fn):
            raise ValueError(f"reward_fn is {reward_fn!r}; it must be a function of (sequences, prompt)")
        self.eos, self.reward_fn = eos, reward_fn

        self.sequences = torch.tensor(list(itertools.product(range(vocab_size), repeat=horizon)))
        if eos is not None:
            # Of those that differ only after their end, the one that is filled with `eos`
            live = ~ended_before(self.sequences, eos)
            self.sequences = self.sequences[(live | (self.sequences == eos)).all(1)]
        self.mask = ~ended_before(self.sequences, eos)

        rewards = [self.rewards_of(self.sequences, prompt) for prompt in range(self.prompts)]
        self.rewards = torch.stack(rewards)  # [P, N, T]

    def rewards_of(self, sequences: Any, prompt: int) -> Tensor:
        """The reward of each live symbol of these sequences [n, T], [n, T]; 0 on masked ones.

        ValueError if reward_fn gives another shape.
        """
        sequences = check_indices("sequences", sequences, self.vocab_size, dim=2)
        if sequences.shape[1] != self.horizon:
            raise ValueError(f"sequences has shape {list(sequences.shape)}; it must be [n, {self.horizon}]")
        if check_count("prompt", prompt, 0) >= self.prompts:
            raise ValueError(f"prompt is {prompt}; it must be below {self.prompts}")

        rewards = self.reward_fn(sequences.clone(), prompt)  # a clone: the function may write into it
        rewards = check_array("reward_fn's result", rewards)
        check_shape("reward_fn's result", rewards, sequences.shape)
        # Only those that count have to be finite
        live = rewards.masked_fill(ended_before(sequences, self.eos), 0.0)
        return check_real("reward_fn's result", live, 2)

    def rollout(self, policy: PrefixPolicy, n: int, generator: torch.Generator, prompt: int = 0) -> Rollout:
        """n sequences of the policy and what they earned: sequences, mask and rewards, each [n, T]."""
        self._agree(policy)
        drawn = policy.sample(n, generator, prompt)
        mask = ~ended_before(drawn, self.eos)
        sequences = drawn if self.eos is None else drawn.masked_fill(~mask, self.eos)
        return Rollout(sequences, mask, self.rewards_of(sequences, prompt))

    def returns(self, gamma: float = 1.0) -> Tensor:
        """Σ_t γ^t r_t of each outcome for each prompt, [P, N]; t counts from 0."""
        return discounted_return(self.rewards, gamma)

    def probabilities(self, policy: PrefixPolicy) -> Tensor:
        """How likely each outcome is under each prompt, [P, N]; each row adds up to 1.

        ValueError if the policy is not of this world's size.
        """
        self._agree(policy)
        logps = torch.stack([policy.log_prob(self.sequences, prompt) for prompt in range(self.prompts)])  # [P, N, T]
        return logps.masked_fill(~self.mask, 0.0).sum(2).exp()

    def expected_return(self, policy: PrefixPolicy, gamma: float = 1.0) -> Tensor:
        """J = Σ_τ π(τ) Σ_t γ^t r_t, every sequence τ listed, averaged over the prompts."""
        return (self.probabilities(policy) * self.returns(gamma)).sum(1).mean()

    def exact_gradient(self, policy: PrefixPolicy, gamma: float = 1.0) -> Tensor:
        """∇J, in the logits' shape, by differentiating the sum over all outcomes; rows never reached get 0."""
        self._agree(policy)
        with torch.enable_grad():
            logits = policy.logits.detach().requires_grad_()
            return torch.autograd.grad(self.expected_return(PrefixPolicy(logits), gamma), logits)[0]

    def _agree(self, policy: PrefixPolicy) -> None:
        mine = (self.prompts, self.vocab_size, self.horizon)
        if not isinstance(policy, PrefixPolicy):
            raise ValueError(f"policy is a {type(policy).__name__}; it must be a PrefixPolicy")
        theirs = (policy.prompts, policy.vocab_size, policy.horizon)
        if theirs != mine:
            size = "{} prompts, {} symbols, horizon {}"
            raise ValueError(f"policy has {size.format(*theirs)}; this world has {size.format(*mine)}")


def sum_world(target: int = 6, vocab_size: int = 4, horizon: int = 4) -> TokenWorld:
    """Write numbers from 1 to V-1 that add up to `target`, then stop by writing 0 (lesson 03).

    It is lesson 09's task, small enough to list. The reward comes at the stop: 1 if the sum is right, less in
    proportion to the error, 0 at twice the target and without a stop.
    """
    target = check_count("target", target)

    def reward(sequences: Tensor, prompt: int) -> Tensor:
        error = (sequences.sum(1) - target).abs().double() / target
        closeness = (1 - error).clamp(min=0.0)
        return closeness[:, None] * (sequences == 0)  # what follows the first stop is masked

    return TokenWorld(vocab_size, horizon, reward, eos=0)


def check_token_world(world: Any) -> TokenWorld:
    """`world`, if it is a TokenWorld.

    ValueError naming it otherwise.
    """
    if not isinstance(world, TokenWorld):
        raise ValueError(f"world is a {type(world).__name__}; it must be a TokenWorld")
    return world


class TabularMDP:
    """A Markov decision process whose trajectories are all listed (lesson 02; Sutton et al. 2000).

    transitions: [S, A, S], the probability of each next state.  rewards: [S, A], for taking an action in a state.
    start: [S] probabilities.  horizon: T steps.
    `states` and `actions` [N, T] list all N = (S·A)^T trajectories; `dynamics` [N] is each one's probability but for
    the policy's part, start times transitions; `rewards_of_trajectories` [N, T].
    ValueError for shapes that do not fit or rows that are no distributions.
    """

    def __init__(self, transitions: Any, rewards: Any, start: Any, horizon: int):
        self.transitions = check_distributions("transitions", check_real("transitions", transitions, 3).clone())
        self.horizon = check_count("horizon", horizon)
        n_states, n_actions, _ = self.transitions.shape
        check_shape("transitions", self.transitions, (n_states, n_actions, n_states))
        self.rewards = check_shape("rewards", check_real("rewards", rewards, 2), (n_states, n_actions))
        self.start = check_shape("start", check_real("start", start, 1), (n_states,))
        check_distributions("start", self.start)

        # A step is one of S·A pairs of state and action
        steps = torch.tensor(list(itertools.product(range(n_states * n_actions), repeat=horizon)))
        self.states, self.actions = steps // n_actions, steps % n_actions
        moves = self.transitions[self.states[:, :-1], self.actions[:, :-1], self.states[:, 1:]]
        self.dynamics = self.start[self.states[:, 0]] * moves.prod(1)
        self.rewards_of_trajectories = self.rewards[self.states, self.actions]

    def probabilities(self, policy: StatePolicy) -> Tensor:
        """How likely each trajectory is, [N]: the dynamics' part times the policy's."""
        self._agree(policy)
        return self.dynamics * policy.log_prob(self.states, self.actions).sum(1).exp()

    def visits(self, policy: StatePolicy) -> Tensor:
        """d_t(s), how likely the process is in each state at each step, [T, S]."""
        self._agree(policy)
        moves = torch.einsum("sa,san->sn", policy.probs, self.transitions)  # from state to state, [S, S]
        visits = [self.start]
        for _ in range(self.horizon - 1):
            visits.append(visits[-1] @ moves)
        return torch.stack(visits)

    def action_values(self, policy: StatePolicy) -> Tensor:
        """Q_t(s, a), what an action and all after it earn on average, [T, S, A].

        Backwards from the last step, by Bellman's equation.
        """
        self._agree(policy)
        q_values = [self.rewards]  # of the last step
        for _ in range(self.horizon - 1):
            next_values = (policy.probs * q_values[-1]).sum(1)  # V of each state, a step later
            q_values.append(self.rewards + self.transitions @ next_values)
        return torch.stack(q_values[::-1])

    def expected_return(self, policy: StatePolicy) -> Tensor:
        """J = Σ_t Σ_s d_t(s) Σ_a π(a|s) r(s, a): forwards through the states, no trajectory listed."""
        visits = self.visits(policy)
        mean_rewards = (policy.probs * self.rewards).sum(1)  # of each state
        return (visits @ mean_rewards).sum()

    def exact_gradient(self, policy: StatePolicy) -> Tensor:
        """∇J, [S, A], by differentiating `expected_return`, dynamics and all."""
        self._agree(policy)
        with torch.enable_grad():
            logits = policy.logits.detach().requires_grad_()
            return torch.autograd.grad(self.expected_return(StatePolicy(logits)), logits)[0]

    def rollout(self, policy: StatePolicy, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """n trajectories: states, actions and rewards, each [n, T]."""
        self._agree(policy)
        n, generator = check_count("n", n), check_generator("generator", generator)
        states, actions = [], []
        state = torch.multinomial(self.start, n, replacement=True, generator=generator)
        for _ in range(self.horizon):
            action = torch.multinomial(policy.probs.detach()[state], 1, generator=generator)[:, 0]
            states.append(state)
            actions.append(action)
            state = torch.multinomial(self.transitions[state, action], 1, generator=generator)[:, 0]
        states, actions = torch.stack(states, 1), torch.stack(actions, 1)
        return states, actions, self.rewards[states, actions]

    def _agree(self, policy: StatePolicy) -> None:
        if not isinstance(policy, StatePolicy) or policy.logits.shape != self.rewards.shape:
            raise ValueError(f"policy must be a StatePolicy with logits of shape {list(self.rewards.shape)}")


def icy_path(slip: float) -> TabularMDP:
    """Three places in a row, left or right, four steps, from the left end (lesson 02).

    Being at the right end pays 1 a step.
    slip: the chance in [0, 1] that a step goes the other way; a step over an end stays.  Actions: 0 left, 1 right.
    """
    slip = check_between("slip", slip, 0.0, 1.0)
    transitions = torch.zeros(3, 2, 3, dtype=torch.float64)
    for place, action in itertools.product(range(3), range(2)):
        left, right = max(place - 1, 0), min(place + 1, 2)
        meant, slipped = (right, left) if action == 1 else (left, right)
        transitions[place, action, meant] += 1 - slip
        transitions[place, action, slipped] += slip
    return TabularMDP(transitions, [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]], [1.0, 0.0, 0.0], horizon=4)


def ended_before(sequences: Tensor, eos: int | None) -> Tensor:
    """True where an earlier symbol was `eos`. sequences [n, T] -> [n, T]; the `eos` itself is False."""
    if eos is None:
        return torch.zeros_like(sequences, dtype=torch.bool)
    is_eos = sequences == eos
    return is_eos.cumsum(1) - is_eos.long() > 0
