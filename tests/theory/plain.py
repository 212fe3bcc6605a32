"""What the tests of `theory` share: random numbers and worlds, and the mathematics in plain Python to compare with."""

import math

import torch

from pgnotes.theory.policies import StatePolicy
from pgnotes.theory.worlds import TabularMDP


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
    """A reward for place t, of any shape that differs by symbol, place, neighbour and prompt."""
    before = symbols[t - 1] if t else 0
    return math.sin(1 + 3 * symbols[t] + 2 * t + prompt) + 0.5 * before * (prompt + 1)


def reward_fn(sequences, prompt):
    return torch.tensor(
        [[reward(s, t, prompt) for t in range(len(s))] for s in sequences.tolist()], dtype=torch.float64
    )


def outcomes(vocab_size, horizon, eos=None, prefix=()):
    """Every sequence, grown symbol by symbol until `eos` or the horizon."""
    if len(prefix) == horizon or (prefix and prefix[-1] == eos):
        return [prefix]
    return [
        outcome for symbol in range(vocab_size) for outcome in outcomes(vocab_size, horizon, eos, (*prefix, symbol))
    ]
