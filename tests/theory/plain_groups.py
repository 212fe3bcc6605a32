"""Groups of completions and divergences, by listing, in plain NumPy; nothing here comes from `pgnotes`."""

import itertools
from typing import NamedTuple

import numpy as np

STOPS = np.array([[0.2, 0.7, 0.5, 0.5], [0.3, 0.5, 0.6, 0.5]])  # how likely it stops after 0, 1, 2, 3 knocks
ASKED = (1, 3)


class Answers(NamedTuple):
    """What a completion of one prompt of the knocking world can be: 0 to 4 knocks, the last without a stop."""

    chances: np.ndarray  # [5]
    returns: np.ndarray  # [5]
    scores: np.ndarray  # [5, 4, 2], by the logits of (stop, knock) after 0 to 3 knocks
    lengths: np.ndarray  # [5]


def answers(stops, asked, partial):
    chances, returns, scores = np.ones(5), np.zeros(5), np.zeros((5, 4, 2))
    for knocks in range(5):
        for t in range(min(knocks, 4)):
            chances[knocks] *= 1 - stops[t]
            scores[knocks, t] = (-stops[t], stops[t])
        if knocks < 4:
            chances[knocks] *= stops[knocks]
            scores[knocks, knocks] = (1 - stops[knocks], stops[knocks] - 1)
            error = abs(knocks - asked) / asked
            returns[knocks] = max(0.0, 1 - error) if partial else float(error == 0)
    return Answers(chances, returns, scores, np.minimum(np.arange(5) + 1, 4))


def over(differences, spread):
    return differences / (spread + 1e-4)


def per_success(r):
    means = r.mean(-1, keepdims=True)
    return np.where(means > 0, (r - means) / np.where(means > 0, means, 1.0), 0.0)


def grouped(r):
    return r - r.mean(-1, keepdims=True)


BOTH = {"axis": (-2, -1), "keepdims": True}
RULES = {  # rewards [..., prompts, G] -> advantages
    "none": lambda r: r,
    "dr_grpo": grouped,
    "rloo": lambda r: grouped(r) * r.shape[-1] / (r.shape[-1] - 1),
    "grpo": lambda r: over(grouped(r), r.std(-1, ddof=1, keepdims=True)),
    "batch_mean": lambda r: r - r.mean(**BOTH),
    "reinforce_pp": lambda r: over(r - r.mean(**BOTH), r.std(ddof=1, **BOTH)),
    "group_mean_batch_std": lambda r: over(grouped(r), grouped(r).std(ddof=1, **BOTH)),
    "lite_ppo": lambda r: over(grouped(r), r.std(ddof=1, **BOTH)),
    "maxrl": per_success,
}


class Row(NamedTuple):
    """A method's line in the lesson's tables, and the mean that it comes from."""

    bias: float
    easy: float
    hard: float
    cosine: float
    noise: float
    mean: np.ndarray  # [2, 4, 2]


def step_row(prompts, rule, average, size=4):
    """Two prompts, every pair of groups listed; a group's order is forgotten, its chance is that of all its orders."""
    orders = np.array(list(itertools.product(range(5), repeat=size)))
    groups, which = np.unique(np.sort(orders, 1), axis=0, return_inverse=True)
    chances = [np.bincount(which.ravel(), weights=each.chances[orders].prod(1)) for each in prompts]
    first, second = (index.ravel() for index in np.indices((len(groups), len(groups))))
    members = np.stack([groups[first], groups[second]], 1)  # [steps, 2, G]
    likely = chances[0][first] * chances[1][second]

    both = np.arange(2)[:, None]
    rewards = np.stack([each.returns for each in prompts])[both, members]
    lengths = np.stack([each.lengths for each in prompts])[both, members]
    divisor = {"sum": 2 * size, "dr_grpo": 8 * size, "sequence": 2 * size * lengths}
    divisor["token"] = lengths.sum((1, 2), keepdims=True)
    weights = RULES[rule](rewards) / divisor[average]

    counts = np.zeros((len(likely), 2, 5))  # each completion's weights added up
    for knocks in range(5):
        counts[..., knocks] = (weights * (members == knocks)).sum(-1)
    says = np.einsum("spk,pkab->spab", counts, np.stack([each.scores for each in prompts]))
    mean = np.einsum("s,spab->pab", likely, says)
    exact = np.stack([np.einsum("k,k,kab->ab", each.chances, each.returns, each.scores) / 2 for each in prompts])

    def norm(x):
        return float(np.linalg.norm(x))

    trace = float(likely @ (says**2).sum((1, 2, 3)) - (mean**2).sum())
    cosine = float((mean * exact).sum()) / norm(mean) / norm(exact)
    shares = [norm(mean[i]) / norm(exact[i]) for i in range(2)]
    return Row(norm(mean - exact) / norm(exact), *shares, cosine, trace**0.5 / norm(mean), mean)


# divergences


def kl(p, q):
    return float((p * np.log(p / q)).sum())


KINDS = {"k1": lambda d: -d, "k2": lambda d: d**2 / 2, "k3": lambda d: np.exp(d) - 1 - d}


def log_probs(world, logits):
    """[N, T] of a `plain_critics.Tree`, 0 on masked symbols."""
    rows = logits - logits.max(1, keepdims=True)
    logs = rows - np.log(np.exp(rows).sum(1, keepdims=True))
    return np.where(world.mask, logs[world.rows, world.symbols], 0.0)
