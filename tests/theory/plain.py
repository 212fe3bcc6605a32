"""What the tests of `theory` share: random numbers and worlds, and the mathematics in plain Python to compare with."""

import itertools
import math

import torch

from pgnotes.theory.policies import PrefixPolicy, StatePolicy
from pgnotes.theory.worlds import TabularMDP, TokenWorld

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
WORLDS = [  # V, T, eos, prompts
    (2, 1, None, 1),
    (3, 3, None, 1),
    (2, 4, None, 2),
    (3, 3, 0, 1),
    (3, 3, 2, 2),
    (2, 4, 1, 3),
    (4, 1, 2, 1),
]

# random numbers and worlds


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def random_mdp(size: tuple[int, int, int], seed: int = 0) -> tuple[TabularMDP, StatePolicy]:
    """Of so many states, actions and steps, and a policy; every move is possible."""
    n_states, n_actions, horizon = size
    transitions = numbers(n_states, n_actions, n_states, seed=seed).softmax(-1)
    start = numbers(n_states, seed=seed + 1).softmax(-1)
    mdp = TabularMDP(transitions, numbers(n_states, n_actions, seed=seed + 2), start, horizon)
    return mdp, StatePolicy(numbers(n_states, n_actions, seed=seed + 3))


def random_logits(prompts: int, vocab_size: int, horizon: int, seed: int = 0) -> torch.Tensor:
    """[P, rows, V], a row for each prefix."""
    return numbers(prompts, len(prefixes(vocab_size, horizon)), vocab_size, seed=seed)


def random_policy(world: TokenWorld, seed: int = 0) -> PrefixPolicy:
    """A policy of the world's size; without the axis of prompts where there is one."""
    logits = random_logits(world.prompts, world.vocab_size, world.horizon, seed)
    return PrefixPolicy(logits if world.prompts > 1 else logits[0])


# what many tests ask


def as_often_as(counts: torch.Tensor, probs: torch.Tensor) -> bool:
    """Whether the shares of counts lie within four standard errors of their probabilities."""
    n = counts.sum()
    return bool(((counts / n - probs).abs() <= 4 * (probs * (1 - probs) / n).sqrt()).all())


# one number at a time


def softmax(logits):
    exps = [math.exp(x - max(logits)) for x in logits]
    return [e / sum(exps) for e in exps]


def finite_differences(function, logits, step=1e-5):
    """Central differences of a scalar, one entry at a time."""
    gradient = torch.zeros_like(logits)
    for i in range(logits.numel()):
        up, down = logits.clone(), logits.clone()
        up.view(-1)[i] += step
        down.view(-1)[i] -= step
        gradient.view(-1)[i] = (function(up) - function(down)) / (2 * step)
    return gradient


def reward(symbols, t, prompt):
    """A reward for place t that differs by symbol, place, neighbour and prompt."""
    before = symbols[t - 1] if t else 0
    return math.sin(1 + 3 * symbols[t] + 2 * t + prompt) + 0.5 * before * (prompt + 1)


def reward_fn(sequences, prompt):
    rewards = [[reward(s, t, prompt) for t in range(len(s))] for s in sequences.tolist()]
    return torch.tensor(rewards, dtype=torch.float64)


def entropy_slope(row):
    """dH/dθ of a softmax row of logits: -π (log π + H)."""
    p = row.softmax(0)
    entropy = -(p * p.log()).sum()
    return -p * (p.log() + entropy)


def sequences_of(vocab_size, length):
    """Every sequence of so many symbols, as tuples."""
    return list(itertools.product(range(vocab_size), repeat=length))


def prefixes(vocab_size, horizon):
    """Every prefix that a symbol follows, breadth first, as a policy's rows are."""
    return [prefix for length in range(horizon) for prefix in sequences_of(vocab_size, length)]


def outcomes(vocab_size, horizon, eos=None, prefix=()):
    """Every sequence, grown symbol by symbol until `eos` or the horizon."""
    if len(prefix) == horizon or (prefix and prefix[-1] == eos):
        return [prefix]
    longer = [outcomes(vocab_size, horizon, eos, (*prefix, symbol)) for symbol in range(vocab_size)]
    return list(itertools.chain(*longer))


# averages over a normal number


def normal(x, mean=0.0, std=1.0):
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / std / math.sqrt(2 * math.pi)


def average(of, step=0.01):
    """E[of(z)] for a normal z, by a plain sum."""
    count = round(9 / step)
    return sum(of(i * step) * normal(i * step) for i in range(-count, count + 1)) * step
