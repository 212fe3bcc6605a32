"""A Markov decision process that never ends, solved: values, visits, and what is promised of a new policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count, check_distributions, check_real, check_shape
from pgnotes.theory.geometry import trust_step
from pgnotes.theory.ppo import divergence


class DiscountedMDP:
    """States, actions, and rewards that are worth γ less with every step, without end (lesson 12).

    transitions: [S, A, S], the probability of each next state.  rewards: [S, A].  start: [S] probabilities.
    gamma: γ in [0, 1).  Policies are tables of probabilities [S, A], such as a StatePolicy's `probs`; a deterministic
    one will do.  All that is computed comes from one linear solve, in float64, and gradients flow through.
    ValueError, naming the argument, for shapes that do not fit or rows that are no distributions.
    """

    def __init__(self, transitions: Any, rewards: Any, start: Any, gamma: float):
        self.transitions = check_distributions("transitions", check_real("transitions", transitions, 3).clone())
        states, actions, _ = self.transitions.shape
        check_shape("transitions", self.transitions, (states, actions, states))
        self.rewards = check_shape("rewards", check_real("rewards", rewards, 2), (states, actions))
        self.start = check_distributions("start", check_shape("start", check_real("start", start, 1), (states,)))
        self.gamma = check_between("gamma", gamma, 0.0, 1.0)
        if self.gamma == 1:
            raise ValueError("gamma is 1; it must be below 1, or returns have no end")

    def values(self, policy: Any) -> Tensor:
        """V(s), the discounted return from each state, [S]: V = r_π + γ P_π V, solved."""
        probs = self._table("policy", policy)
        return torch.linalg.solve(self._left(probs), (probs * self.rewards).sum(1))

    def advantages(self, policy: Any) -> Tensor:
        """A(s, a) = r(s, a) + γ E[V(s')] - V(s), [S, A]; under the policy each row averages to zero."""
        values = self.values(policy)
        return self.rewards + self.gamma * self.transitions @ values - values[:, None]

    def visits(self, policy: Any) -> Tensor:
        """d(s) = Σ_t γ^t P(s_t = s), how often each state is met, [S]; they add up to 1/(1 - γ)."""
        return torch.linalg.solve(self._left(self._table("policy", policy)).T, self.start)

    def expected_return(self, policy: Any) -> Tensor:
        """J = E[Σ_t γ^t r_t]: the values, averaged over the start."""
        return self.start @ self.values(policy)

    def _left(self, probs: Tensor) -> Tensor:
        """I - γ P_π, [S, S]."""
        moves = torch.einsum("sa,san->sn", probs, self.transitions)
        return torch.eye(len(self.start), dtype=torch.float64) - self.gamma * moves

    def _table(self, name: str, policy: Any) -> Tensor:
        return check_distributions(name, check_shape(name, check_real(name, policy, 2), self.rewards.shape))


def random_discounted(states: int, actions: int, gamma: float, seed: int) -> DiscountedMDP:
    """A process drawn at random, with a uniform start: most moves lead to few states (lesson 12).

    Transitions are Dirichlet(½), rewards uniform in [0, 1).  A Dirichlet(½) row is made of squared normal numbers,
    divided by their sum.
    """
    noise = torch.Generator().manual_seed(check_count("seed", seed, 0))
    shape = check_count("states", states), check_count("actions", actions)
    moves = torch.randn(*shape, states, dtype=torch.float64, generator=noise).square()
    rewards = torch.rand(*shape, dtype=torch.float64, generator=noise)
    return DiscountedMDP(
        moves / moves.sum(-1, keepdim=True), rewards, torch.full((states,), 1 / states, dtype=torch.float64), gamma
    )


# what is promised of a new policy


def surrogate_gain(mdp: DiscountedMDP, old: Any, new: Any) -> Tensor:
    """Σ_s d_old(s) Σ_a π_new(a|s) A_old(s, a), what the new policy gains if the states come as before (lesson 12).

    L(new) - J(old) of Kakade & Langford 2002 and of TRPO, equation 3. With d_new for d_old it would be J(new) - J(old).
    """
    return mdp.visits(old) @ (mdp._table("new", new) * mdp.advantages(old)).sum(1)


class Promise(NamedTuple):
    """A surrogate's gain, and what a theorem takes off it for the states that come otherwise."""

    surrogate: Tensor
    penalty: Tensor

    @property
    def guaranteed(self) -> Tensor:
        """J(new) - J(old) is at least this."""
        return self.surrogate - self.penalty


def improvement_bound(mdp: DiscountedMDP, old: Any, new: Any) -> Promise:
    """J(new) - J(old) >= surrogate - 4εγ/(1 - γ)² · max_s KL(old ‖ new), ε = max |A_old| (lesson 12).

    Schulman et al. 2015 (TRPO, 1502.05477), theorem 1 with equation 9.
    """
    advantages = mdp.advantages(old)
    furthest = divergence(mdp._table("old", old), mdp._table("new", new)).max()
    penalty = penalty_weight(advantages.abs().max(), mdp.gamma) * furthest
    return Promise(surrogate_gain(mdp, old, new), penalty)


def penalty_weight(largest: Tensor, gamma: float) -> Tensor:
    """C = 4εγ/(1 - γ)², the price of a nat in return, for the largest |A|, ε (TRPO, theorem 1)."""
    return 4 * largest * gamma / (1 - gamma) ** 2


def mixture_promise(mdp: DiscountedMDP, old: Any, other: Any) -> tuple[float, float]:
    """(α*, what it guarantees) for π = (1 - α) old + α other: conservative policy iteration (lesson 12).

    J(π) - J(old) >= αG - 2εγ/(1 - γ)² α², with G the other policy's surrogate gain and ε = max_s |Σ_a other A_old|
    (Kakade & Langford 2002; TRPO, equation 6). α* maximises it, and is at most 1; 0 where nothing is to gain.
    """
    gain = surrogate_gain(mdp, old, other)
    largest = (mdp._table("other", other) * mdp.advantages(old)).sum(1).abs().max()
    bend = 2 * largest * mdp.gamma / (1 - mdp.gamma) ** 2
    if gain <= 0:
        return 0.0, 0.0
    share = (gain / (2 * bend)).clamp(max=1.0) if bend > 0 else torch.ones(())
    return share.item(), (share * gain - bend * share**2).item()


class Update(NamedTuple):
    """What a trust-region step makes of a policy: weights [D] and probabilities [S, A], how far, what for.

    kl: averaged over the old visits, nats.  surrogate, gain: what was promised, and what J gains.
    """

    weights: Tensor
    new: Tensor
    kl: Tensor
    surrogate: Tensor
    gain: Tensor


def shared_update(mdp: DiscountedMDP, features: Any, weights: Any, delta: float) -> Update:
    """TRPO's step with nothing estimated, where states share parameters: π = softmax(features · weights) (lesson 12).

    F and ∇J by solving, the natural direction, scaled to a quadratic KL of δ, then halved until the KL, averaged over
    the discounted visits, is at most δ and the surrogate gains.
    features: φ [S, A, D].  weights: [D].  delta: nats.  ValueError naming the argument.
    """
    features, weights = check_real("features", features, 3), check_real("weights", weights, 1)
    check_shape("features", features, (*mdp.rewards.shape, len(weights)))
    old = torch.softmax(features @ weights, 1)
    seen, advantages = mdp.visits(old), mdp.advantages(old)
    share = seen / seen.sum()

    scores = features - (old[..., None] * features).sum(1, keepdim=True)  # of each action, [S, A, D]
    fisher = torch.einsum("s,sa,sai,saj->ij", share, old, scores, scores)
    gradient = torch.einsum("s,sa,sai->i", seen, old * advantages, scores)
    inverse = torch.linalg.pinv(fisher, atol=1e-12, hermitian=True)  # of a policy that is all but sure: 0, no step
    step = trust_step(inverse @ gradient, lambda v: fisher @ v, delta)

    for _ in range(50):
        new = torch.softmax(features @ (weights + step), 1)
        kl, surrogate = share @ divergence(old, new), surrogate_gain(mdp, old, new)
        if kl <= delta and surrogate > 0:
            break
        step = step / 2
    return Update(weights + step, new, kl, surrogate, mdp.expected_return(new) - mdp.expected_return(old))


def greedy(mdp: DiscountedMDP, policy: Any) -> Tensor:
    """The policy that takes the action with the largest advantage, surely, [S, A]: policy iteration's (lesson 12)."""
    best = mdp.advantages(policy).argmax(1)
    return torch.nn.functional.one_hot(best, mdp.rewards.shape[1]).double()
