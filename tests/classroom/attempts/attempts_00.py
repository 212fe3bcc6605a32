"""Attempts at the exercises of lesson 00: right ones written in many ways, wrong ones with what is to be heard."""

import itertools
import math

import numpy as np
import torch


def looped_average(values, weights):
    total = 0.0
    for value, weight in zip(values, weights, strict=True):
        total += value.item() * weight.item()
    return total


def average_in_place(values, weights):
    values *= weights
    return values.sum()


def printed(values, weights):
    print((values * weights).sum())


def looped_return(rewards, gamma):
    total, factor = 0.0, 1.0
    for reward in rewards:
        total = total + factor * reward
        factor *= gamma
    return total


def return_from_behind(rewards, gamma):
    ahead = 0.0
    for reward in rewards.tolist()[::-1]:
        ahead = reward + gamma * ahead
    return ahead


def return_forward_recursion(rewards, gamma):
    ahead = 0.0
    for reward in rewards.tolist():
        ahead = reward + gamma * ahead
    return ahead


def factor_after(rewards, gamma):
    total, factor = 0.0, 1.0
    for reward in rewards.tolist():
        factor *= gamma
        total += factor * reward
    return total


def assigned(rewards, gamma):
    total = 0.0
    for t, reward in enumerate(rewards.tolist()):
        total = gamma**t * reward
    return total


def looped_logs(probs):
    total = torch.zeros(())
    for prob in probs:
        total = total + torch.log(prob)
    return total


def logs_in_place(probs):
    return probs.log_().sum()


def counted(vocab_size, horizon):
    count = 1
    for _ in range(horizon):
        count *= vocab_size
    return count


def counted_once_too_often(vocab_size, horizon):
    count = vocab_size
    for _ in range(horizon):
        count *= vocab_size
    return count


def rows_left_alone(rewards):
    for row in rewards:
        row = row - row.mean()
    return rewards


def rows_in_a_loop(rewards):
    return torch.stack([row - row.mean() for row in rewards])


def rows_in_place(rewards):
    for i in range(len(rewards)):
        rewards[i] -= rewards[i].mean()
    return rewards


def rows_without_return(rewards):
    rewards -= rewards.mean(1, keepdim=True)


def listed(rewards):
    return [[r - sum(row) / len(row) for r in row] for row in rewards.tolist()]


def with_autograd(logits, pays, step_size):
    theta = logits.clone().requires_grad_()
    (theta.softmax(0) @ pays).backward()
    return (theta + step_size * theta.grad).softmax(0)


def in_plain_python(logits, pays, step_size):
    def softmax(values):
        weights = [math.exp(v) for v in values]
        return [w / sum(weights) for w in weights]

    probs = softmax(logits.tolist())
    average = sum(p * r for p, r in zip(probs, pays.tolist(), strict=True))
    pushes = [p * (r - average) for p, r in zip(probs, pays.tolist(), strict=True)]
    return softmax([x + step_size * push for x, push in zip(logits.tolist(), pushes, strict=True)])


def step_in_place(logits, pays, step_size):
    probs = torch.softmax(logits, dim=0)
    logits += step_size * probs * (pays - (probs * pays).sum())
    return torch.softmax(logits, dim=-1)


def by_scores(logits, pays, step_size):
    probs = logits.softmax(0)
    scores = torch.eye(len(probs), dtype=probs.dtype) - probs  # a row for each action
    return (logits + step_size * (probs * pays) @ scores).softmax(0)


def in_numpy(logits, pays, step_size):
    def softmax(values):
        weights = np.exp(values - values.max())
        return weights / weights.sum()

    x, r = logits.numpy(), pays.numpy()
    probs = softmax(x)
    return softmax(x + step_size * probs * (r - probs @ r))


def squared(logits, pays, step_size):
    probs = logits.softmax(0)
    return (logits + step_size * probs**2 * (pays - probs @ pays)).softmax(0)


def unnormalised(logits, pays, step_size):
    probs = logits.softmax(0)
    return (logits + step_size * probs * (pays - probs @ pays)).exp()


def mean_of_products(logits, pays, step_size):
    probs = logits.softmax(0)
    return (logits + step_size * probs * (pays - (probs * pays).mean())).softmax(0)


RIGHT = {
    "0.1": (
        lambda v, w: v @ w,
        lambda v, w: torch.dot(w.float(), v.float()),
        lambda v, w: np.average(v.numpy(), weights=w.numpy()),
        lambda v, w: torch.einsum("k,k->", v, w),
        looped_average,
        average_in_place,
    ),
    "0.2": (
        looped_return,
        return_from_behind,
        lambda r, g: sum(g**t * reward for t, reward in enumerate(r.tolist())),
        lambda r, g: r.float() @ torch.tensor([g**t for t in range(len(r))]),
        lambda r, g: np.polyval(r.numpy()[::-1], g),
        lambda r, g: (r * torch.cat([torch.ones(1), torch.full((len(r) - 1,), g).cumprod(0)])).sum(),
    ),
    "0.3": (
        looped_logs,
        logs_in_place,
        lambda p: sum(math.log(x) for x in p.tolist()),
        lambda p: np.log(p.numpy()).sum(),
        lambda p: p.log10().sum() * math.log(10),
        lambda p: -(1 / p).log().sum(),
    ),
    "0.4": (
        counted,
        lambda v, t: pow(v, t),
        lambda v, t: len(list(itertools.product(range(v), repeat=t))),
        lambda v, t: torch.tensor(v) ** t,
        lambda v, t: float(np.prod([v] * t)),
        lambda v, t: round(math.exp(t * math.log(v))),
    ),
    "0.5": (
        rows_in_a_loop,
        rows_in_place,
        listed,
        lambda x: x - x.mean(dim=-1)[:, None],
        lambda x: (x.float().T - x.float().mean(1)).T,
        lambda x: x.numpy() - x.numpy().mean(axis=1, keepdims=True),
        lambda x: x @ (torch.eye(x.shape[1]) - 1 / x.shape[1]).double(),
    ),
    "0.6": (with_autograd, in_plain_python, step_in_place, by_scores, in_numpy),
}

WRONG = {
    "0.1": (
        ("`return` missing", printed),
        ("it should be 0.4", lambda v, w: v.median()),
        ("it should be 0.4", lambda v, w: v.sum() * w.sum()),
        ("it should be 0.4", lambda v, w: (v * w.softmax(0)).sum()),
        ("it should be one number", lambda v, w: v[:, None] * w),
        ("sum the products", lambda v, w: np.mean(v.numpy() * w.numpy())),
        ("their sum, a single number", lambda v, w: [x * y for x, y in zip(v.tolist(), w.tolist(), strict=True)]),
        ("raised TypeError", lambda v: v.mean()),
    ),
    "0.2": (
        ("already multiplied by γ", factor_after),
        ("You discount the first rewards most", return_forward_recursion),
        ("inside the loop", lambda r, g: next(g**t * x for t, x in enumerate(r.tolist()))),
        ("it should be 5.536", lambda r, g: sum(g * t * x for t, x in enumerate(r.tolist()))),
        ("it should be 5.536", lambda r, g: (r * g ** torch.arange(len(r))).sum() / (g ** torch.arange(len(r))).sum()),
        ("it should be one number", lambda r, g: r * g ** torch.arange(len(r))),
        ("assign (`=`) where it should add", assigned),
        ("plain sum", lambda r, g: np.sum(r.numpy())),
        ("`return` missing", lambda r, g: print(r.sum())),
    ),
    "0.3": (
        ("Take the logs first", lambda p: np.log(float(p.prod())) if p.prod() > 0 else math.log(0.0)),
        ("Take the logs first", lambda p: torch.log(torch.prod(p))),
        ("only the product of many is", lambda p: sum(math.log(x + 1e-12) for x in p.tolist())),
        ("it should be -828.9", lambda p: p.clamp(min=1e-20).log().sum()),
        ("base-2", lambda p: sum(math.log2(x) for x in p.tolist())),
        ("it should be one number", lambda p: p.log().cumsum(0)),
        ("The sign is turned round", lambda p: sum(-math.log(x) for x in p.tolist())),
        ("log-probability per token", lambda p: np.log(p.numpy()).mean()),
        ("it should be -2.408", lambda p: p.sum().log()),
    ),
    "0.4": (
        ("bitwise", lambda v, t: int(v).__xor__(t)),
        ("For 4, 4 your function gives 1024; it should be 256", counted_once_too_often),
        ("One place is missing", lambda v, t: round(math.exp((t - 1) * math.log(v)))),
        ("never repeat", lambda v, t: len(list(itertools.permutations(range(v), t)))),
        ("it should be 256", lambda v, t: math.comb(v + t - 1, t)),
        ("it should be 256", lambda v, t: v**t - 1),
        ("even the empty sequence", lambda v, t: (v ** (t + 1) - 1) // (v - 1)),
    ),
    "0.5": (
        ("`keepdim=True` makes them a column", lambda x: x - torch.mean(x, dim=-1)),
        ("`keepdim=True` makes them a column", lambda x: np.subtract(x.numpy(), x.numpy().mean(axis=1))),
        ("These are the means", lambda x: x.mean(1, keepdim=True).numpy()),
        ("an array of shape [2]", lambda x: x.mean(1)),
        ("leaves the table alone", rows_left_alone),
        ("over the prompts", lambda x: x - x.mean(0, keepdim=True)),
        ("Each row has a mean of its own", lambda x: x.numpy() - np.mean(x.numpy())),
        ("should be [[0.6667", lambda x: x - x.median(1, keepdim=True).values),
        ("an array of shape [6]; it should be an array of shape [2, 3]", lambda x: rows_in_a_loop(x).flatten()),
        ("`return` missing", rows_without_return),
    ),
    "0.6": (
        ("it should be [0.6678", squared),
        ("do not add up to 1", unnormalised),
        ("divided by the number of buttons", mean_of_products),
        ("they are right", lambda x, r, a: x + a * x.softmax(0) * (r - x.softmax(0).dot(r))),
        ("The factor π is missing", lambda x, r, a: (x + a * (r - (x.softmax(0) * r).sum())).softmax(-1)),
        ("raised IndexError", lambda x, r, a: (x + a * x.softmax(0) * (r - x.softmax(1) @ r)).softmax(0)),
        ("an array of shape [1, 3]", lambda x, r, a: (x[None] + a * r).softmax(1)),
        ("You push by what a button pays", lambda x, r, a: torch.softmax(x + a * r * torch.softmax(x, 0), 0)),
        ("`return` missing", lambda x, r, a: print(step_in_place(x, r, a))),
    ),
}
