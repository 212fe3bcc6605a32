"""Critics, by listing: every sequence of a small world, its chances, values, credits and moments, in plain NumPy.

Nothing here comes from `pgnotes`. A table of values has an entry for each prefix, breadth first, as `plain.prefixes`.
"""

import itertools
from typing import NamedTuple

import numpy as np
from plain import outcomes, prefixes


class Tree(NamedTuple):
    """Every sequence of a world: its symbols, the row of the prefix before each, which count, what each earns."""

    symbols: np.ndarray  # [N, T]
    rows: np.ndarray  # [N, T]
    mask: np.ndarray  # [N, T] bool
    rewards: np.ndarray  # [N, T]
    n_rows: int

    def live(self):
        """Pairs (sequence, place) of all symbols that count."""
        return zip(*np.nonzero(self.mask), strict=True)


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
    return Tree(symbols, rows, mask, rewards, len(row_of))


def sum_pays(text, t, target=6):
    """The sum world's reward: at the stop, less in proportion to the error."""
    return max(0.0, 1 - abs(sum(text) - target) / target) if text[t] == 0 else 0.0


def sum_tree():
    return tree(4, 4, sum_pays, eos=0)


def random_tree(seed):
    """A world whose every symbol pays a normal number, of 2 to 4 symbols, and the logits of a policy for it."""
    rng = np.random.default_rng(seed)
    vocab_size, horizon = [(2, 4), (2, 5), (3, 3), (4, 3)][seed % 4]
    row_of = {prefix: i for i, prefix in enumerate(prefixes(vocab_size, horizon))}
    pays = rng.normal(size=(len(row_of), vocab_size)) + 1
    world = tree(vocab_size, horizon, lambda text, t: pays[row_of[text[:t]], text[t]], eos=[None, 0][seed % 2])
    return world, rng.normal(size=pays.shape)


def softmax_rows(logits):
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def chances_of(world, logits):
    """[N], the product of the chosen symbols' probabilities."""
    each = softmax_rows(logits)[world.rows, world.symbols]
    return np.where(world.mask, each, 1.0).prod(1)


def to_go(world):
    """[N, T], what is paid from each symbol on."""
    return np.where(world.mask, discounted_tail(world.rewards, 1.0), 0.0)


def discounted_tail(steps, lam):
    """[N, T]: Σ_l λ^l x_{t+l}, each sum by itself; 0 ** 0 is 1."""
    total = np.zeros_like(steps)
    for t in range(steps.shape[1]):
        for k in range(t, steps.shape[1]):
            total[:, t] += lam ** (k - t) * steps[:, k]
    return total


def values_of(world, logits):
    """[rows]: the mean of what is still to be paid over all sequences that pass a prefix; 0 where none does."""
    p, still = chances_of(world, logits), to_go(world)
    passed, paid = np.zeros(world.n_rows), np.zeros(world.n_rows)
    for i, t in world.live():
        passed[world.rows[i, t]] += p[i]
        paid[world.rows[i, t]] += p[i] * still[i, t]
    return np.divide(paid, passed, out=np.zeros_like(paid), where=passed > 0)


def deltas(world, table, after_end=0.0, wrong_end=None):
    """[N, T]: r + V(next) - V(this); the value after the last live symbol is `after_end`.

    wrong_end: a symbol so many places before the last does not look at what follows it.
    """
    found = np.zeros_like(world.rewards)
    for i, t in world.live():
        live = int(world.mask[i].sum())
        later = table[world.rows[i, t + 1]] if t + 1 < live else after_end
        if wrong_end is not None and t == live - 1 - wrong_end:
            later = 0.0
        found[i, t] = world.rewards[i, t] + later - table[world.rows[i, t]]
    return found


def credit_of(world, table, lam, **ends):
    """[N, T]: Σ_l λ^l δ_{t+l}, as the definition has it."""
    return discounted_tail(deltas(world, table, **ends), lam)


def n_step_credit(world, table, n):
    """[N, T]: n rewards, then the table's word for what follows, less its word for here."""
    found = np.zeros_like(world.rewards)
    for i, t in world.live():
        found[i, t] = world.rewards[i, t : t + n].sum() - table[world.rows[i, t]]
        if t + n < int(world.mask[i].sum()):
            found[i, t] += table[world.rows[i, t + n]]
    return found


def scores_of(world, logits):
    """[N, T, D]: the derivative of each live symbol's log-probability by every logit."""
    probs = softmax_rows(logits)
    found = np.zeros((*world.symbols.shape, *logits.shape))
    for i, t in world.live():
        row = world.rows[i, t]
        found[i, t, row] = -probs[row]
        found[i, t, row, world.symbols[i, t]] += 1
    return found.reshape(*world.symbols.shape, -1)


class Spread(NamedTuple):
    """The mean [D] of an estimate, its variance, and its mean square, all entries added up."""

    mean: np.ndarray
    trace: float
    square: float


def spread_of(chances, scores, weights):
    """Of Σ_t w_t ∇ log π, from all sequences. chances [N], scores [N, T, D], weights [N, T]."""
    each = np.einsum("nt,ntd->nd", weights, scores)
    mean = chances @ each
    square = float(chances @ (each**2).sum(1))
    return Spread(mean, square - float(mean @ mean), square)


def slope_of(function, at, step=1e-5):
    """Central differences of a number by every entry of an array, flat."""
    found = np.zeros(at.size)
    for k in range(at.size):
        up, down = at.copy(), at.copy()
        up.flat[k] += step
        down.flat[k] -= step
        found[k] = (function(up) - function(down)) / (2 * step)
    return found


def gradient_of(world, logits):
    """∇J by central differences of J itself."""
    total = world.rewards.sum(1)
    return slope_of(lambda moved: chances_of(world, moved) @ total, logits)


def cosine(a, b):
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


def length(a, b):
    """How long a is, in units of b's length."""
    return float(np.linalg.norm(a) / np.linalg.norm(b))


def on_ice(slip, right, n_steps=4):
    """Three places, the right end pays 1 a step; π(right) is one number. All that a walk can be, one walk at a time.

    Q of each step, place and action; of each walk its chance, δ - A at each step, and Σ δ s and Σ A s [2, 6].
    """
    pi, moves = np.array([1 - right, right]), np.zeros((3, 2, 3))
    for place, action in itertools.product(range(3), range(2)):
        step = 1 if action else -1
        moves[place, action, min(max(place + step, 0), 2)] += 1 - slip
        moves[place, action, min(max(place - step, 0), 2)] += slip
    worth, values = np.zeros((n_steps, 3, 2)), np.zeros((n_steps + 1, 3))
    for t in reversed(range(n_steps)):
        worth[t] = np.array([0.0, 0.0, 1.0])[:, None] + moves @ values[t + 1]
        values[t] = worth[t] @ pi

    walks = [(1.0, 0, (), np.zeros((2, 3, 2)))]  # chance, place, δ - A so far, the two estimates so far
    for t in range(n_steps):
        longer = []
        for (chance, place, gaps, sums), action, after in itertools.product(walks, range(2), range(3)):
            delta = (place == 2) + values[t + 1, after] - values[t, place]
            advantage = worth[t, place, action] - values[t, place]
            more = sums.copy()
            more[:, place] += np.outer([delta, advantage], np.eye(2)[action] - pi)
            likely = chance * pi[action] * moves[place, action, after]
            longer.append((likely, after, (*gaps, delta - advantage), more))
        walks = [walk for walk in longer if walk[0] > 0]
    chances, _, gaps, estimates = (np.array(each) for each in zip(*walks, strict=True))
    return worth, chances, gaps, estimates.reshape(len(chances), 2, -1)
