"""Attempts at lesson 04's exercises that are not in its lists: right ones written differently, and wrong ones."""

import math

import numpy as np
import torch

# 4.1, the trace of one sample's covariance


def by_loops(probs, rewards):
    p, r = probs.tolist(), rewards.tolist()
    mean = sum(a * b for a, b in zip(p, r, strict=True))
    total = 0.0
    for a in range(len(p)):
        for k in range(len(p)):
            total += p[a] * (r[a] * ((a == k) - p[k]) - p[k] * (r[k] - mean)) ** 2
    return total


def in_numpy(probs, rewards):
    p, r = probs.numpy(), rewards.numpy()
    says = r[:, None] * (np.eye(len(p)) - p)
    return np.trace(np.cov(says.T, aweights=p, ddof=0))


def by_formula(probs, rewards):
    sizes = 1 - 2 * probs + probs.square().sum()  # ‖s‖² of each action
    gradient = probs * (rewards - probs @ rewards)
    return (probs * rewards**2 * sizes).sum() - gradient.square().sum()


def in_place(probs, rewards):
    says = torch.eye(len(probs), dtype=probs.dtype)
    says -= probs
    says *= rewards[:, None]
    says -= probs @ says
    return [(probs @ says.square().sum(1)).item()]


def in_float32(probs, rewards):
    probs, rewards = probs.float(), rewards.float()
    says = rewards[:, None] * (torch.eye(len(probs)) - probs)
    return probs @ (says - probs @ says).square().sum(1)


# 4.2, the batch


def counted_up(variance, gradient, relative):
    n = 1
    while math.sqrt(variance / n) > relative * gradient.norm():
        n += 1
    return n


def scaled_first(variance, gradient, relative):
    return torch.ceil(variance / gradient.square().sum() / relative**2).int()


# 4.3, the order


def with_sorted(probs, rewards):
    return sorted(range(len(rewards)), key=lambda m: by_loops(probs, rewards[m]) / slope(probs, rewards[m]))


def slope(probs, rewards):
    return (probs * (rewards - probs @ rewards)).square().sum().item()


def all_at_once(probs, rewards):
    gradient = probs * (rewards - (rewards @ probs)[:, None])
    sizes = 1 - 2 * probs + probs.square().sum()
    return (rewards.square() @ (probs * sizes) / gradient.square().sum(1)).argsort()


def by_root(probs, rewards):
    cost = [math.sqrt(by_loops(probs, row)) / math.sqrt(slope(probs, row)) for row in rewards]
    return np.argsort(cost)


def picked_one_by_one(probs, rewards):
    cost = {m: by_formula(probs, row) / slope(probs, row) for m, row in enumerate(rewards)}
    order = []
    while cost:
        order.append(min(cost, key=cost.get))
        del cost[order[-1]]
    return order


def whole_samples(probs, rewards):
    need = [math.ceil(100 * by_loops(probs, row) / slope(probs, row)) for row in rewards]
    return tuple(int(m) for m in np.argsort(need))


# 4.5, two halves


def by_sizes(first, second, half):
    """McCandlish et al.'s formulas, with the batch sizes half and 2 half."""
    small = (first @ first + second @ second) / 2
    large = ((first + second) / 2).square().sum()
    return [(2 * half * large - half * small) / half, (small - large) / (1 / half - 1 / (2 * half))]


def in_lists(first, second, half):
    a, b = first.tolist(), second.tolist()
    signal = sum(x * y for x, y in zip(a, b, strict=True))
    return signal, half * sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / 2


def numpy_halves(first, second, half):
    a, b = first.numpy(), second.numpy()
    return np.array([np.dot(a, b), half * np.stack([a, b]).var(0, ddof=1).sum()])


def from_lengths(first, second, half):
    product = first @ second
    return torch.stack([product, half * ((first @ first + second @ second) / 2 - product)])


def halves_in_place(first, second, half):
    product = (first * second).sum()
    first -= second
    first *= first
    return torch.tensor([product, first.sum() * half / 2])


RIGHT = {
    "4.1": (by_loops, in_numpy, by_formula, in_place, in_float32),
    "4.2": (
        counted_up,
        scaled_first,
        lambda v, g, q: -int(-v // (q * float(g.norm())) ** 2),
        lambda v, g, q: math.ceil(v / (q**2 * sum(x * x for x in g.tolist()))),
        lambda v, g, q: int(np.ceil(v / (q * np.linalg.norm(g.numpy())) ** 2)),
    ),
    "4.3": (with_sorted, all_at_once, by_root, picked_one_by_one, whole_samples),
    "4.4": (
        lambda m, v, t: [(t - 1) * m, (t - 1) * v],
        lambda m, v, t: np.array([m, v]) * (t - 1),
        lambda m, v, t: (t - 1) * torch.tensor([m, v]),
        lambda m, v, t: (sum([m] * (t - 1)), sum([v] * (t - 1))),
        lambda m, v, t: torch.stack([torch.tensor(t * m - m), torch.tensor(t * v - v)]),
    ),
    "4.5": (by_sizes, in_lists, numpy_halves, from_lengths, halves_in_place),
}


def forgotten(*arguments):
    arguments[0]


def score_only(probs, rewards):
    says = torch.eye(len(probs)) - probs
    return probs @ says.square().sum(1) - slope(probs, rewards)


def reward_once(probs, rewards):
    says = torch.eye(len(probs)) - probs
    return probs @ (rewards * says.square().sum(1)) - slope(probs, rewards)


def added(probs, rewards):
    return by_formula(probs, rewards) + 2 * slope(probs, rewards)


def by_entry(probs, rewards):
    says = (rewards[:, None] * (torch.eye(len(probs)) - probs)).numpy()
    return [np.cov(column, aweights=probs.numpy(), ddof=0).item() for column in says.T]


def without_policy(probs, rewards):
    says = rewards[:, None] * torch.eye(len(probs))
    return probs @ says.square().sum(1) - (probs @ says).square().sum()


def says_along_columns(probs, rewards):
    return rewards * (torch.eye(len(probs)) - probs)


def columns(probs, rewards):
    says = says_along_columns(probs, rewards)
    return probs @ says.square().sum(1) - (probs @ says).square().sum()


def ranked_by_columns(probs, rewards):
    return np.argsort([columns(probs, row).item() / slope(probs, row) for row in rewards])


def solution_without_the_axis(probs, rewards):
    cost = []
    for row in rewards:
        says = says_along_columns(probs, row)
        gradient = probs @ says
        cost.append(probs @ says.square().sum(1) / (gradient @ gradient) - 1)
    return torch.argsort(torch.stack(cost)).tolist()


def not_counting(probs, rewards):
    return [m + 1 for m in with_sorted(probs, rewards)]


WRONG = {
    "4.1": (
        ("`return` missing", forgotten),
        ("no reward in it", score_only),
        ("square the product", reward_once),
        ("it should be", added),
        ("one-hot − π", without_policy),
        ("wrong axis", columns),
        ("That is the standard deviation", lambda p, r: by_loops(p, r) ** 0.5),
        ("Their sum, the trace", by_entry),
    ),
    "4.2": (
        ("`return` missing", forgotten),
        ("Upside down", lambda v, g, q: math.ceil(q**2 * g.square().sum() / v)),
        ("shape [3]; it should be one number", lambda v, g, q: torch.ceil(v / (q * g) ** 2)),
        ("Round up, with", lambda v, g, q: v / q**2 / g.square().sum()),
        ("root of the sum of their squares", lambda v, g, q: int(np.ceil(v / (q * np.abs(g.numpy()).sum()) ** 2))),
        ("it should be 23", lambda v, g, q: 100 * math.ceil(v / g.square().sum())),
    ),
    "4.3": (
        ("`return` missing", forgotten),
        ("from the most samples to the fewest", lambda p, r: with_sorted(p, r)[::-1]),
        ("counted from 0", not_counting),
        ("multiply the columns", ranked_by_columns),
        ("multiply the columns", solution_without_the_axis),
        ("all of them", lambda p, r: with_sorted(p, r)[0]),
        ("does not see an offset", lambda p, r: np.argsort([np.average((x - p @ x) ** 2, weights=p) for x in r])),
        ("divide by the squared length", lambda p, r: np.argsort([by_loops(p, x) for x in r])),
        ("These are the costs", lambda p, r: [by_loops(p, x) / slope(p, x) for x in r]),
    ),
    "4.4": (
        ("`return` missing", forgotten),
        ("add up as well", lambda m, v, t: [(t - 1) * m, v]),
        ("it should be", lambda m, v, t: [m, (t - 1) * v]),
        ("it should be", lambda m, v, t: [(t + 1) * m, (t + 1) * v]),
        ("in the wrong order", lambda m, v, t: np.array([v, m]) * (t - 1)),
        ("count the step itself", lambda m, v, t: t * np.array([m, v])),
        ("two numbers", lambda m, v, t: torch.tensor((t - 1) * m)),
    ),
    "4.5": (
        ("`return` missing", forgotten),
        ("in the wrong order", lambda a, b, n: from_lengths(a, b, n).tolist()[::-1]),
        ("sum of the halves", lambda a, b, n: [a @ b, n * (a + b).square().sum() / 2]),
        ("scalar product", lambda a, b, n: [a.norm() * b.norm(), n * (a - b).square().sum() / 2]),
        ("one half's length only", lambda a, b, n: [a @ b, n * (a @ (a - b))]),
        ("`unbiased=False`", lambda a, b, n: [a @ b, n * torch.stack([a, b]).var(0, unbiased=False).sum()]),
        ("Twice too much", lambda a, b, n: [a.numpy() @ b.numpy(), n * np.sum((a - b).numpy() ** 2)]),
        ("so multiply to get", lambda a, b, n: [a @ b, torch.stack([a, b]).var(0).sum() / n]),
        ("it should be an array of shape [2]", lambda a, b, n: a @ b),
    ),
}
