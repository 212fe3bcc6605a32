"""Paid for entropy: the soft optimum by Bellman's equation, and two neighbours that are taken for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_positive, check_shape
from pgnotes.theory.geometry import visits
from pgnotes.theory.learning import bootstrapped, check_single_prompt
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TabularMDP, TokenWorld

# sequences of symbols


def soft_optimum(world: TokenWorld, alpha: float) -> PrefixPolicy:
    """The policy with the largest J + α · entropy of whole sequences, by Bellman's equation (lesson 14).

    V = α log Σ_a e^{Q/α} and π = e^{(Q - V)/α}, from the last symbol backwards (Haarnoja et al. 2018). Of whole
    sequences it is e^{R/α}/Z.
    world: with one prompt.  alpha: reward for a nat, above 0.  ValueError naming the argument.
    """
    alpha = check_positive("alpha", alpha)
    return PrefixPolicy(q_table(world, lambda q: alpha * torch.logsumexp(q / alpha, 1)) / alpha)


def bonus_optimum(world: TokenWorld, alpha: float) -> PrefixPolicy:
    """Where a bonus of α for the entropy at the prefixes that are visited comes to rest (lesson 14, claim C69).

    π = e^{Q/α}/Z in each row, as in `soft_optimum`, but Q is of rewards alone: V = Σ π Q. Entropy that a symbol leads
    to is not counted for it.  Arguments as in `soft_optimum`.
    """
    alpha = check_positive("alpha", alpha)
    return PrefixPolicy(q_table(world, lambda q: (torch.softmax(q / alpha, 1) * q).sum(1)) / alpha)


def q_table(world: TokenWorld, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Q of each prefix and symbol, [rows, V], where a prefix is worth value(Q) of its row."""
    check_single_prompt(world)
    rows = sum(world.vocab_size**t for t in range(world.horizon))
    q = torch.zeros(rows, world.vocab_size, dtype=torch.float64)
    for _ in range(world.horizon):  # each round is right one symbol earlier
        q = bootstrapped(world, value(q))
    return q


def sequence_entropy(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """-Σ_τ π(τ) log π(τ) of whole sequences in nats, averaged over the prompts; gradients flow through."""
    chances = world.probabilities(policy)
    return -torch.special.xlogy(chances, chances).sum(1).mean()


def soft_gradient(world: TokenWorld, policy: PrefixPolicy, alpha: float) -> Tensor:
    """∇(J + α · entropy of sequences), exactly, in the logits' shape: SAC's goal (lesson 14)."""
    return gradient_of(policy, lambda now: world.expected_return(now) + alpha * sequence_entropy(world, now))


def bonus_gradient(world: TokenWorld, policy: PrefixPolicy, alpha: float) -> Tensor:
    """∇J + α Σ_s d(s) ∇H(π(·|s)), with the visits d held fixed: what a bonus in the loss adds (lesson 14)."""
    fixed = visits(policy, world).detach()

    def objective(now: PrefixPolicy) -> Tensor:
        entropies = -torch.special.xlogy(now.probs, now.probs).sum(-1)
        return world.expected_return(now) + alpha * (fixed * entropies).sum()

    return gradient_of(policy, objective)


def gradient_of(policy: PrefixPolicy, objective: Callable[[PrefixPolicy], Tensor]) -> Tensor:
    """The gradient of objective(policy) by the logits."""
    with torch.enable_grad():
        logits = policy.logits.detach().requires_grad_()
        return torch.autograd.grad(objective(PrefixPolicy(logits)), logits)[0]


# states, and moves by chance


class Plan(NamedTuple):
    """What to do at each step, [T, S, A] probabilities, and what it believes that moves then do, [T-1, S, A, S]."""

    policy: Tensor
    beliefs: Tensor


def soft_plan(mdp: TabularMDP, alpha: float, optimistic: bool = False) -> Plan:
    """The policy with the largest J + α · entropy of its choices, by Bellman's equation, step by step (lesson 14).

    optimistic: in place of it the conditional law of actions when whole trajectories are weighed by e^{R/α}. It values
    a move by α log E[e^{V/α}], not by E[V], as if the dynamics would do it favours: `beliefs` are the true moves,
    tilted by e^{V/α} (Levine 2018, 1805.00909, section 2.4).
    """
    alpha = check_positive("alpha", alpha)
    policies, beliefs, q = [], [], mdp.rewards
    for _ in range(mdp.horizon - 1):
        policies.append(torch.softmax(q / alpha, 1))
        values = alpha * torch.logsumexp(q / alpha, 1)
        if optimistic:
            tilted = mdp.transitions * ((values - values.max()) / alpha).exp()
            ahead = alpha * tilted.sum(-1).log() + values.max()
            beliefs.append(tilted / tilted.sum(-1, keepdim=True))
        else:
            ahead = mdp.transitions @ values
            beliefs.append(mdp.transitions)
        q = mdp.rewards + ahead
    policies.append(torch.softmax(q / alpha, 1))
    return Plan(torch.stack(policies[::-1]), torch.stack(beliefs[::-1]))


class Outcome(NamedTuple):
    """What a plan earns on average, the entropy of its choices in nats, and how likely it passes each state, [T, S]."""

    reward: float
    entropy: float
    visits: Tensor


def carried_out(mdp: TabularMDP, policy: Tensor, moves: Tensor | None = None) -> Outcome:
    """What a policy [T, S, A] does under the world's moves, or under others [T-1, S, A, S] that it believes in."""
    steps, states, actions = mdp.horizon, *mdp.rewards.shape
    check_shape("policy", policy, (steps, states, actions))
    if moves is None:
        moves = mdp.transitions.expand(steps - 1, states, actions, states)
    at, seen, earned, nats = mdp.start, [], 0.0, 0.0
    for t in range(steps):
        seen.append(at)
        both = at[:, None] * policy[t]
        earned += (both * mdp.rewards).sum().item()
        nats -= (at @ torch.special.xlogy(policy[t], policy[t]).sum(1)).item()
        if t < steps - 1:
            at = torch.einsum("sa,san->n", both, moves[t])
    return Outcome(earned, nats, torch.stack(seen))


def slips_believed(mdp: TabularMDP, plan: Plan, slip: float, action: int) -> float:
    """How likely a move after this action slips, as the plan believes, averaged over its visits; for `icy_path(slip)`.

    A slip is what the true moves give the chance `slip`, which must not be ½.
    """
    slipped = mdp.transitions == check_between("slip", slip, 0.0, 1.0)
    at, weight, total = mdp.start, 0.0, 0.0
    for policy, moves in zip(plan.policy[:-1], plan.beliefs, strict=True):
        both = at[:, None] * policy
        weight += both[:, action].sum().item()
        total += (both[:, action, None] * moves[:, action] * slipped[:, action]).sum().item()
        at = torch.einsum("sa,san->n", both, moves)
    return total / weight
