"""Critics, by listing: every sequence of a small world, its chances, values, credits and moments, in plain NumPy.

Nothing here comes from `pgnotes`. A table of values has an entry for each prefix, breadth first, as `plain.prefixes`.
"""

from typing import NamedTuple

import numpy as np

from tests.theory.plain import outcomes, prefixes


class Tree(NamedTuple):
    """Every sequence of a world: its symbols, the row of the prefix before each, which count, what each earns."""

    symbols: np.ndarray  # [N, T]
    rows: np.ndarray  # [N, T]
    mask: np.ndarray  # [N, T] bool
    rewards: np.ndarray  # [N, T]
    n_rows: int
    vocab_size: int


def tree(vocab_size, horizon, pays, eos=None):
    """pays(text, t): the reward of the symbol at place t of a tuple of symbols."""
    row_of = {prefix: i for i, prefix in enumerate(prefixes(vocab_size, horizon))}
    texts = outcomes(vocab_size, horizon, eos)
    shape = (len(texts), horizon)
    symbols, rows = np.zeros(shape, int), np.zeros(shape, int)
    mask, rewards = np.zeros(shape, bool), np.zeros(shape)
    for i, text in enumerate(texts):
        for t, symbol in enumerate(text):
            symbols[i, t], rows[i, t], mask[i, t] = symbol, row_of[text[:t]], True
            rewards[i, t] = pays(text, t)
    return Tree(symbols, rows, mask, rewards, len(row_of), vocab_size)


def sum_pays(text, t, target=6):
    """The sum world's reward: at the stop, less in proportion to the error."""
    return max(0.0, 1 - abs(sum(text) - target) / target) if text[t] == 0 else 0.0


def sum_tree():
    return tree(4, 4, sum_pays, eos=0)


def softmax_rows(logits):
    exps = np.exp(logits - logits.max(1, keepdims=True))
    return exps / exps.sum(1, keepdims=True)


def chances_of(world, logits):
    """[N], the product of the chosen symbols' probabilities."""
    each = softmax_rows(logits)[world.rows, world.symbols]
    return np.where(world.mask, each, 1.0).prod(1)


def to_go(world):
    """[N, T], what is paid from each symbol on; a plain double loop."""
    totals = np.zeros_like(world.rewards)
    for t in range(totals.shape[1]):
        for k in range(t, totals.shape[1]):
            totals[:, t] += world.rewards[:, k]
    return np.where(world.mask, totals, 0.0)


def values_of(world, logits):
    """[rows]: the mean of what is still to be paid over all sequences that pass a prefix; 0 where none does."""
    p, still = chances_of(world, logits), to_go(world)
    passed, paid = np.zeros(world.n_rows), np.zeros(world.n_rows)
    for i, t in zip(*np.nonzero(world.mask), strict=True):
        passed[world.rows[i, t]] += p[i]
        paid[world.rows[i, t]] += p[i] * still[i, t]
    return np.divide(paid, passed, out=np.zeros_like(paid), where=passed > 0)


def deltas(world, table, after_end=0.0):
    """[N, T]: r + V(next) - V(this); the value after the last live symbol is `after_end`."""
    found = np.zeros_like(world.rewards)
    for i, t in zip(*np.nonzero(world.mask), strict=True):
        goes_on = t + 1 < world.mask.shape[1] and world.mask[i, t + 1]
        later = table[world.rows[i, t + 1]] if goes_on else after_end
        found[i, t] = world.rewards[i, t] + later - table[world.rows[i, t]]
    return found


def credit_of(world, table, lam, after_end=0.0):
    """[N, T]: Σ_l λ^l δ_{t+l}, as the definition has it; 0 ** 0 is 1."""
    return discounted_tail(deltas(world, table, after_end), lam)


def discounted_tail(steps, lam):
    """[N, T]: Σ_l λ^l x_{t+l}, each sum by itself."""
    total = np.zeros_like(steps)
    for t in range(steps.shape[1]):
        for k in range(t, steps.shape[1]):
            total[:, t] += lam ** (k - t) * steps[:, k]
    return total


def n_step_credit(world, table, n):
    """[N, T]: n rewards, then the table's word for what follows, less its word for here."""
    found = np.zeros_like(world.rewards)
    for i, t in zip(*np.nonzero(world.mask), strict=True):
        live = int(world.mask[i].sum())
        found[i, t] = world.rewards[i, t : t + n].sum() - table[world.rows[i, t]]
        if t + n < live:
            found[i, t] += table[world.rows[i, t + n]]
    return found


def scores_of(world, logits):
    """[N, T, rows, V]: the derivative of each live symbol's log-probability by every logit."""
    probs = softmax_rows(logits)
    found = np.zeros((*world.symbols.shape, *logits.shape))
    for i, t in zip(*np.nonzero(world.mask), strict=True):
        row, symbol = world.rows[i, t], world.symbols[i, t]
        found[i, t, row] = -probs[row]
        found[i, t, row, symbol] += 1
    return found


class Spread(NamedTuple):
    """The mean [D] of an estimate, and its variance, all entries added up."""

    mean: np.ndarray
    trace: float


def spread_of(world, logits, weights):
    """Of Σ_t w_t ∇ log π, from all sequences; weights [N, T]."""
    p = chances_of(world, logits)
    each = np.einsum("nt,ntrv->nrv", weights * world.mask, scores_of(world, logits)).reshape(len(p), -1)
    mean = p @ each
    return Spread(mean, float(p @ (each**2).sum(1) - mean @ mean))


def gradient_of(world, logits, step=1e-5):
    """∇J by central differences of J itself."""
    total = world.rewards.sum(1)
    found = np.zeros(logits.size)
    for k in range(logits.size):
        up, down = logits.copy(), logits.copy()
        up.flat[k] += step
        down.flat[k] -= step
        found[k] = (chances_of(world, up) @ total - chances_of(world, down) @ total) / (2 * step)
    return found


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def length(a, b):
    """How long a is along b, in units of b's length: 1 for b itself."""
    return float(np.linalg.norm(a) / np.linalg.norm(b))
