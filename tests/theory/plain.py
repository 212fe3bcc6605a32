"""The mathematics in plain Python, one number at a time: what the tests of `theory` compare with."""

import math

import torch


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
    return torch.tensor([[reward(s, t, prompt) for t in range(len(s))] for s in sequences.tolist()], dtype=torch.float64)


def outcomes(vocab_size, horizon, eos=None, prefix=()):
    """Every sequence, grown symbol by symbol until `eos` or the horizon."""
    if len(prefix) == horizon or (prefix and prefix[-1] == eos):
        return [prefix]
    return [outcome for symbol in range(vocab_size) for outcome in outcomes(vocab_size, horizon, eos, (*prefix, symbol))]
