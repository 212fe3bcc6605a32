"""Actor and critic trained on the sum world, many runs at once, in plain NumPy; nothing here comes from `pgnotes`."""

import numpy as np
from plain_critics import chances_of, softmax_rows, sum_tree

WORLD = sum_tree()
PAYS = np.zeros((WORLD.n_rows, 4))  # of each symbol after each prefix
PAYS[WORLD.rows[WORLD.mask], WORLD.symbols[WORLD.mask]] = WORLD.rewards[WORLD.mask]


def expected(logits):
    """J of each run, by listing; logits [runs, rows, V]."""
    return np.array([chances_of(WORLD, each) @ WORLD.rewards.sum(1) for each in logits])


def gradient(logits):
    """∇J of one policy [rows, V]: each symbol's share of what its sequences earn, less what its row expects."""
    earned = np.zeros_like(logits)
    p, total = chances_of(WORLD, logits), WORLD.rewards.sum(1)
    for i, t in WORLD.live():
        earned[WORLD.rows[i, t], WORLD.symbols[i, t]] += p[i] * total[i]
    return earned - earned.sum(1, keepdims=True) * softmax_rows(logits)


def draw(probs, batch, rng):
    """rows, symbols, mask, rewards, each [runs, batch, 4], of policies [runs, rows, V]."""
    runs = np.arange(len(probs))[:, None]
    row, alive = np.zeros((len(probs), batch), int), np.ones((len(probs), batch), bool)
    steps = []
    for _ in range(4):
        borders = probs[runs, row].cumsum(-1)[..., :-1]
        symbol = (rng.random((*row.shape, 1)) > borders).sum(-1)
        steps.append((row, symbol, alive, np.where(alive, PAYS[row, symbol], 0.0)))
        row = np.where(alive & (symbol > 0), np.minimum(row * 4 + 1 + symbol, WORLD.n_rows - 1), 0)
        alive = alive & (symbol > 0)
    return (np.stack(each, -1) for each in zip(*steps, strict=True))


def credit(rewards, values, mask, lam, bug=""):
    """GAE from the back. bug: "reset", the last live step looks at V(start) · "late", and the one before it at none."""
    after, total, found = np.zeros(mask.shape[:2]), np.zeros(mask.shape[:2]), np.zeros(mask.shape)
    live = mask.sum(-1)
    for t in reversed(range(4)):
        looks_at = after
        if bug:
            looks_at = np.where(live == t + 1, values[..., 0], looks_at)
        if bug == "late":
            looks_at = np.where(live == t + 2, 0.0, looks_at)
        total = np.where(mask[..., t], rewards[..., t] + looks_at - values[..., t] + lam * total, 0.0)
        found[..., t], after = total, np.where(mask[..., t], values[..., t], 0.0)
    return found


def summed(shape, rows, symbols, weights):
    """Weights [runs, batch, 4] added up for each run, row and, where there are symbols, symbol."""
    total = np.zeros(shape)
    runs = np.broadcast_to(np.arange(shape[0])[:, None, None], rows.shape)
    np.add.at(total, (runs, rows) if symbols is None else (runs, rows, symbols), weights)
    return total


def train(runs, updates, lam, bug="", step_size=1.0, value_step=0.2, batch=16, seed=0):
    """Logits [runs, rows, V] and values [runs, rows] after so many updates from zeros."""
    rng = np.random.default_rng(seed)
    logits, values = np.zeros((runs, WORLD.n_rows, 4)), np.zeros((runs, WORLD.n_rows))
    for _ in range(updates):
        probs = softmax_rows(logits)
        rows, symbols, mask, rewards = draw(probs, batch, rng)
        weights = credit(rewards, values[np.arange(runs)[:, None, None], rows], mask, lam, bug)
        per_row = summed(values.shape, rows, None, weights)
        visits = summed(values.shape, rows, None, mask * 1.0)
        logits = logits + step_size / batch * (
            summed(logits.shape, rows, symbols, weights) - per_row[..., None] * probs
        )
        values = values + value_step * per_row / np.maximum(visits, 1)
    return logits, values


def train_late(runs, updates, late, step_size=1.0, batch=16, seed=0):
    """Logits after so many updates of REINFORCE with normalised returns, each gradient one of `late` updates ago."""
    rng = np.random.default_rng(seed)
    past = [np.zeros((runs, WORLD.n_rows, 4))]
    for update in range(updates):
        probs = softmax_rows(past[max(0, update - late)])
        rows, symbols, mask, rewards = draw(probs, batch, rng)
        returns = rewards.sum(-1)
        spread = returns.std(1, ddof=1, keepdims=True) + 1e-4
        weights = ((returns - returns.mean(1, keepdims=True)) / spread)[..., None] * mask
        per_row = summed(probs.shape[:2], rows, None, weights)
        moved = summed(probs.shape, rows, symbols, weights) - per_row[..., None] * probs
        past.append(past[-1] + step_size / batch * moved)
    return past[-1]
