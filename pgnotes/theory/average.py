"""A chain that never ends, paid by the average reward, and what a discount for its traces leaves of the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_count,
    check_distributions,
    check_finite,
    check_generator,
    check_real,
    check_shape,
)
from pgnotes.theory.policies import StatePolicy


class AverageChain:
    """States, actions, and no end: what counts is η, the reward a step in the long run (lesson 14).

    transitions: [S, A, S], the probability of each next state.  rewards: [S, A].  Every policy must be able to come
    from any state to any other.  Everything is solved for, in float64.  ValueError naming the argument.
    """

    def __init__(self, transitions: Any, rewards: Any):
        self.transitions = check_distributions("transitions", check_real("transitions", transitions, 3))
        states, actions, _ = self.transitions.shape
        check_shape("transitions", self.transitions, (states, actions, states))
        self.rewards = check_shape("rewards", check_real("rewards", rewards, 2), (states, actions))

    def moves(self, policy: StatePolicy) -> Tensor:
        """P_π, from state to state, [S, S]."""
        self._agree(policy)
        return torch.einsum("sa,san->sn", policy.probs, self.transitions)

    def visits(self, policy: StatePolicy) -> Tensor:
        """d(s), the share of the time that is spent in each state, [S]: d = d P_π, adding up to 1."""
        moves = self.moves(policy)
        ones = torch.ones_like(moves)
        return torch.linalg.solve(torch.eye(len(moves), dtype=torch.float64) - moves.T + ones, ones[0])

    def average_reward(self, policy: StatePolicy) -> Tensor:
        """η = Σ_s d(s) Σ_a π(a|s) r(s, a)."""
        return self.visits(policy) @ (policy.probs * self.rewards).sum(1)

    def exact_gradient(self, policy: StatePolicy) -> Tensor:
        """∇η, [S, A], by differentiating the solution."""
        self._agree(policy)
        with torch.enable_grad():
            logits = policy.logits.detach().requires_grad_()
            return torch.autograd.grad(self.average_reward(StatePolicy(logits)), logits)[0]

    def discounted_gradient(self, policy: StatePolicy, beta: float) -> Tensor:
        """∇_β η, what GPOMDP's estimate becomes in the long run, [S, A] (Baxter & Bartlett 2001, theorem 6).

        d(s) π(a|s) A_β(s, a), with the advantages of the returns that are discounted by β in [0, 1). It tends to ∇η
        as β → 1.
        """
        if check_between("beta", beta, 0.0, 1.0) == 1:
            raise ValueError("beta is 1; it must be below 1, or the discounted returns have no end")
        probs, moves = policy.probs.detach(), self.moves(policy).detach()
        left = torch.eye(len(moves), dtype=torch.float64) - beta * moves
        values = torch.linalg.solve(left, (probs * self.rewards).sum(1))
        advantages = self.rewards + beta * self.transitions @ values - values[:, None]
        return self.visits(policy).detach()[:, None] * probs * advantages

    def rollout(self, policy: StatePolicy, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One run from a state drawn by its visits: states, actions and rewards, each [steps]."""
        steps, generator = check_count("steps", steps), check_generator("generator", generator)
        # the same uniform numbers decide actions and moves, by the borders they fall between
        uniforms = torch.rand(steps, 2, dtype=torch.float64, generator=generator).tolist()
        choices = policy.probs.detach().cumsum(1).tolist()
        ways = self.transitions.cumsum(2).tolist()
        state = int(torch.multinomial(self.visits(policy).detach(), 1, generator=generator))
        states, actions = [], []
        for first, second in uniforms:
            action = fallen(choices[state], first)
            states.append(state)
            actions.append(action)
            state = fallen(ways[state][action], second)
        visited, taken = torch.tensor(states), torch.tensor(actions)
        return visited, taken, self.rewards[visited, taken]

    def _agree(self, policy: StatePolicy) -> None:
        if not isinstance(policy, StatePolicy) or policy.logits.shape != self.rewards.shape:
            raise ValueError(f"policy must be a StatePolicy with logits of shape {list(self.rewards.shape)}")


def fallen(borders: list[float], uniform: float) -> int:
    """On which of the pieces that end at these borders a number in [0, 1) falls."""
    return next((i for i, border in enumerate(borders) if uniform < border), len(borders) - 1)


def sticky_doors(opens: float = 0.02, effort: float = 0.1) -> AverageChain:
    """Two rooms and a door that sticks: a push opens it once in 1/`opens` tries, and costs `effort` (lesson 14).

    Being in room 1 pays 1 a step.  Actions: 0 waits, 1 pushes.  With the uniform policy a room is left with chance
    opens/2, so that the second eigenvalue of its moves is 1 - opens: the past is forgotten over 1/opens steps.
    """
    opens, effort = check_between("opens", opens, 0.0, 1.0), check_finite("effort", effort)
    stay, push = [[1.0, 0.0], [0.0, 1.0]], [[1 - opens, opens], [opens, 1 - opens]]
    moves = torch.tensor([[stay[room], push[room]] for room in range(2)], dtype=torch.float64)
    return AverageChain(moves, [[0.0, -effort], [1.0, 1.0 - effort]])
