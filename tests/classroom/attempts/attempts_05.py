"""Lesson 05: answers that are right in another form, and wrong ones that no slip is made of."""

import numpy as np
import torch


def advantages_loop(probs, worth):
    value = 0.0
    for p, q in zip(probs, worth, strict=True):
        value += p * q
    return [q - value for q in worth]


def advantages_in_place(probs, worth):
    worth -= (probs * worth).sum()
    return worth


def advantages_of_differences(probs, worth):
    """A(a) = Σ_b π(b) (q(a) - q(b))."""
    return ((worth[:, None] - worth[None]) * probs).sum(1)


def best_by_loop(probs, rewards):
    top = bottom = 0.0
    for a in range(len(probs)):
        score = -probs.clone()
        score[a] += 1
        weight = probs[a] * score.norm() ** 2
        top, bottom = top + weight * rewards[a], bottom + weight
    return top / bottom


def best_by_autograd(probs, rewards):
    """The lowest point of the parabola from its slopes at 0 and 1."""
    sizes = 1 - 2 * probs + (probs**2).sum()

    def slope(at):
        b = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (derivative,) = torch.autograd.grad((probs * (rewards - b) ** 2 * sizes).sum(), b)
        return derivative

    return slope(0.0) / (slope(0.0) - slope(1.0))


def best_numpy(probs, rewards):
    p, r = probs.numpy(), rewards.numpy()
    scores = np.eye(len(p)) - p
    return np.average(r, weights=p * np.sum(scores**2, axis=1))


def others_loop(rewards):
    found = []
    for i in range(len(rewards)):
        others = torch.cat([rewards[:i], rewards[i + 1 :]])
        found.append(rewards[i] - others.mean())
    return found


def others_matrix(rewards):
    n = len(rewards)
    return (torch.eye(n, dtype=torch.float64) - (1 - torch.eye(n, dtype=torch.float64)) / (n - 1)) @ rewards


def value_by_loop(prefix, sequences, chances, returns):
    total = weight = 0.0
    for text, chance, earned in zip(sequences.tolist(), chances.tolist(), returns.tolist(), strict=True):
        if text[: len(prefix)] == prefix.tolist():
            total, weight = total + chance * earned, weight + chance
    return total / weight


def value_masked(prefix, sequences, chances, returns):
    left = chances.clone()
    for place, symbol in enumerate(prefix):
        left[sequences[:, place] != symbol] = 0
    return (left @ returns) / left.sum()


def value_numpy(prefix, sequences, chances, returns):
    k = len(prefix)
    on = (sequences.numpy()[:, :k] == prefix.numpy()).all(axis=1)
    return np.average(returns.numpy()[on], weights=chances.numpy()[on])


def missing_by_loop(probs, b):
    total = torch.zeros_like(probs)
    for a in range(len(probs)):
        score = -probs.clone()
        score[a] += 1
        total += probs[a] * b[a] * score
    return total


def missing_by_autograd(probs, b):
    """The gradient of E[b]."""
    logits = probs.log().requires_grad_()
    return torch.autograd.grad(logits.softmax(0) @ b, logits)[0]


def missing_by_jacobian(probs, b):
    return (torch.diag(probs) - torch.outer(probs, probs)) @ b


RIGHT = {
    "5.1": (
        advantages_loop,
        advantages_in_place,
        advantages_of_differences,
        lambda probs, worth: worth.numpy() - np.dot(probs.numpy(), worth.numpy()),
        lambda probs, worth: worth.float() - (probs.float() * worth.float()).sum(),
    ),
    "5.2": (
        best_by_loop,
        best_by_autograd,
        best_numpy,
        lambda probs, rewards: best_numpy(probs, rewards).item(),
        lambda p, r: ((p * (1 - 2 * p + p @ p)) @ r / (p * (1 - 2 * p + p @ p)).sum()).reshape(1),
    ),
    "5.3": (
        others_loop,
        others_matrix,
        lambda rewards: (rewards - rewards.mean()) * len(rewards) / (len(rewards) - 1),
        lambda rewards: [r - (sum(rewards.tolist()) - r) / (len(rewards) - 1) for r in rewards.tolist()],
        lambda rewards: rewards.numpy() - (rewards.numpy().sum() - rewards.numpy()) / (len(rewards) - 1),
        lambda rewards: rewards.float() - (rewards.float().sum() - rewards.float()) / (len(rewards) - 1),
    ),
    "5.4": (
        value_by_loop,
        value_masked,
        value_numpy,
        lambda x, s, p, r: (p * r * (s[:, : len(x)] == x).all(1)).sum() / (p * (s[:, : len(x)] == x).all(1)).sum(),
        lambda x, s, p, r: torch.tensor([value_by_loop(x, s, p, r)]),
    ),
    "5.5": (
        missing_by_loop,
        missing_by_autograd,
        missing_by_jacobian,
        lambda probs, b: (probs * b) @ (torch.eye(len(probs)).double() - probs),
        lambda probs, b: (probs.numpy() * (b.numpy() - probs.numpy() @ b.numpy())).tolist(),
        lambda probs, b: probs.float() * (b.float() - (probs.float() * b.float()).sum()),
    ),
}


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


def value_without_all(prefix, sequences, chances, returns):
    passing = sequences[:, : len(prefix)] == prefix  # [N, k]
    return (chances * returns)[passing].sum() / chances[passing].sum()


def value_at_the_end(prefix, sequences, chances, returns):
    passing = (sequences[:, len(sequences[0]) - len(prefix) :] == prefix).all(1)
    return (chances * returns)[passing].sum() / chances[passing].sum()


def value_of_a_set(prefix, sequences, chances, returns):
    k, wanted = len(prefix), set(prefix.tolist())
    passing = torch.tensor([set(text[:k]) <= wanted for text in sequences.tolist()])
    return (chances * returns)[passing].sum() / chances[passing].sum()


def advantages_over_others(probs, worth):
    found = []
    for a in range(len(probs)):
        others = [b for b in range(len(probs)) if b != a]
        found.append(worth[a] - probs[others] @ worth[others] / probs[others].sum())
    return torch.stack(found)


def best_of_columns(probs, rewards):
    weights = probs * ((torch.eye(len(probs)).double() - probs) ** 2).sum(0)
    return weights @ rewards / weights.sum()


def all_squares(probs, rewards):
    squares = (torch.eye(len(probs)).double() - probs) ** 2
    return (squares * rewards).sum() / squares.sum()


WRONG = {
    "5.1": (
        ("`return` missing", forgets(advantages_loop)),
        ("it should be an array of shape [3]", lambda p, q: (q - p @ q).sum()),
        ("it should be [-0.27, 0.53, 0.03]", lambda p, q: q - q.min()),
        ("it should be [-0.27, 0.53, 0.03]", lambda p, q: q - q.median()),
        ("raised", lambda p, q: q - q @ p[:, None, None]),
        ("an array of shape [3, 3]; it should be", lambda p, q: q[:, None] - p * q),
        ("it should be [-0.27, 0.53, 0.03]", lambda p, q: q - (p**2) @ q),
        ("leave the action itself out", advantages_over_others),
    ),
    "5.2": (
        ("`return` missing", forgets(best_numpy)),
        ("it should be one number", lambda p, r: r * p),
        ("it should be 0.6522", lambda p, r: r.mean()),
        ("it should be 0.6522", lambda p, r: ((1 - p) * r).sum() / (1 - p).sum()),
        ("You weight by π².", lambda p, r: np.average(r.numpy(), weights=p.numpy() ** 2)),
        ("You add up columns", lambda p, r: best_of_columns(p, r)),
        ("counts once", lambda p, r: np.average(r, weights=p**2 * (1 - 2 * p + p @ p))),
        ("forget how often each action is taken", all_squares),
        ("it should be 0.6522", lambda p, r: -best_numpy(p, r)),
    ),
    "5.3": (
        ("`return` missing", forgets(others_loop)),
        ("it should be an array of shape [5]", lambda r: r[0] - r[1:].mean()),
        ("it should be [0.625", lambda r: r - r.sum()),
        ("it should be [0.625", lambda r: r - (r.sum() - r) / len(r) ** 0.5),
        ("it should be [0.625", lambda r: r - r.median()),
        ("an array of shape [5, 5]", lambda r: r[:, None] - r),
    ),
    "5.4": (
        ("`return` missing", forgets(value_by_loop)),
        ("raised", value_without_all),
        ("the *last* symbols", value_at_the_end),
        ("in any order", value_of_a_set),
        ("cases[0]", lambda x, s, p, r: p[(s[:, : len(x)] == x).all(1)].sum()),
        ("it should be one number", lambda x, s, p, r: r[(s[:, : len(x)] == x).all(1)]),
        ("cases[0]", lambda x, s, p, r: (p * r).sum() / (p * (s[:, : len(x)] == x).all(1)).sum()),
    ),
    "5.5": (
        ("`return` missing", forgets(missing_by_loop)),
        ("it should be an array of shape [3]", lambda p, b: 0.0),
        ("it should be an array of shape [3]", lambda p, b: (p * b)[:, None] * (torch.eye(len(p)).double() - p)),
        ("it should be [-0.162, 0.159, 0.003]", lambda p, b: p * (b - b.mean())),
        ("it should be [-0.162, 0.159, 0.003]", lambda p, b: p * (b - p * b) ** 2),
        ("it should be [-0.162, 0.159, 0.003]", lambda p, b: b * (1 - p)),
        ("Add over the actions", lambda p, b: ((p * b)[:, None] * (torch.eye(len(p)).double() - p)).sum(1)),
    ),
}
