"""Attempts at lesson 01's exercises, right and wrong, that its lists of slips don't hold."""

import math

import numpy as np
import torch


def looped_softmax(logits):
    largest = max(float(x) for x in logits)
    sizes = [math.exp(float(x) - largest) for x in logits]
    return [size / sum(sizes) for size in sizes]


def overflowing(logits):
    sizes = [math.e ** float(x) for x in logits]
    return torch.tensor(sizes) / sum(sizes)


def softmax_in_place(logits):
    logits -= logits.max()
    logits.exp_()
    logits /= logits.sum()
    return logits


def numpy_softmax(logits):
    x = logits.numpy()
    e = np.exp(x - x.max())
    return e / e.sum()


def forgotten(*arguments):
    print(arguments, end="")


def score_in_place(logits, action):
    score = -logits.softmax(0)
    score[action] += 1
    return score


def score_by_autograd(logits, action):
    x = logits.clone().requires_grad_()
    x.log_softmax(0)[action].backward()
    return x.grad


def looped_score(logits, action):
    probs = looped_softmax(logits)
    return [(1.0 if k == action else 0.0) - p for k, p in enumerate(probs)]


def general_by_autograd(features, weights, action):
    w = weights.clone().requires_grad_()
    return torch.autograd.grad((features @ w).log_softmax(0)[action], w)[0]


def general_looped(features, weights, action):
    probs, total = (features @ weights).softmax(0), features[action].clone()
    for p, row in zip(probs, features, strict=True):
        total -= p * row
    return total


def gaussian_by_autograd(action, mean, std):
    mu, log_std = torch.tensor(float(mean), requires_grad=True), torch.tensor(math.log(std), requires_grad=True)
    torch.distributions.Normal(mu, log_std.exp()).log_prob(torch.tensor(float(action))).backward()
    return torch.stack([mu.grad, log_std.grad])


def gaussian_by_differences(action, mean, std):
    def logp(m, s):
        return -((action - m) ** 2) / (2 * s**2) - math.log(s)

    h = 1e-6
    by_mean = (logp(mean + h, std) - logp(mean - h, std)) / (2 * h)
    return by_mean, (logp(mean, std * math.exp(h)) - logp(mean, std * math.exp(-h))) / (2 * h)


def kl_looped(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0)


def kl_with_zeros(p, q):
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        total += a * (math.log(a) - math.log(b))
    return total


def kl_masked(p, q):
    live = p > 0
    return (p[live] * (p[live].log() - q[live].log())).sum(0, keepdim=True)


RIGHT = {
    "1.1": (
        looped_softmax,
        softmax_in_place,
        numpy_softmax,
        lambda x: torch.nn.functional.softmax(x.float(), dim=-1),
        lambda x: (x - torch.logsumexp(x, 0)).exp(),
        lambda x: 1 / (x[None, :] - x[:, None]).exp().sum(1),
    ),
    "1.2": (
        score_in_place,
        score_by_autograd,
        looped_score,
        lambda x, a: np.eye(len(x))[a] - numpy_softmax(x),
        lambda x, a: torch.nn.functional.one_hot(torch.tensor(a), len(x)) - x.softmax(0),
        lambda x, a: (torch.arange(len(x)) == a).float() - x.float().softmax(0),
    ),
    "1.3": (
        general_by_autograd,
        general_looped,
        lambda f, w, a: (f[a] - f).T @ (f @ w).softmax(0),
        lambda f, w, a: f.T @ score_in_place(f @ w, a),
        lambda f, w, a: (f[a] - ((f @ w).softmax(0)[:, None] * f).sum(0)).tolist(),
    ),
    "1.4": (
        gaussian_by_autograd,
        gaussian_by_differences,
        lambda a, m, s: [(a - m) / s**2, ((a - m) ** 2 - s**2) / s**2],
        lambda a, m, s: np.array([(a - m) / s**2, (a - m) ** 2 / s**2 - 1]),
        lambda a, m, s: ((a - m) / s / s, ((a - m) / s + 1) * ((a - m) / s - 1)),
    ),
    "1.5": (
        kl_looped,
        kl_masked,
        lambda p, q: torch.nn.functional.kl_div(q.log(), p, reduction="sum"),
        lambda p, q: (torch.special.xlogy(p, p) - torch.xlogy(p, q)).sum().item(),
        lambda p, q: -torch.special.entr(p).sum() - (p * q.log()).sum(),
    ),
}
WRONG = {
    "1.1": (
        ("`return` missing", forgotten),
        (
            "[1000, 0, 0, 0]",
            lambda x: (x - x.sum() / len(x)).exp() / (x - x.sum() / len(x)).exp().sum(),
        ),
        ("Subtract the largest logit first", overflowing),
        ("should be [0.6017, 0.2988, 0.09946]", lambda x: x.square() / x.square().sum()),
        ("should be [0.6017, 0.2988, 0.09946]", lambda x: (-x).softmax(0)),
        ("shape [1, 3]; it should be an array of shape [3]", lambda x: x.softmax(0)[None]),
        ("one number; it should be an array of shape [3]", lambda x: x.softmax(0).max()),
    ),
    "1.2": (
        ("`return` missing", forgotten),
        ("Subtract the probabilities", lambda x, a: np.eye(len(x))[a] - x.numpy()),
        ("should be [0.3983, -0.2988, -0.09946]", lambda x, a: torch.eye(len(x))[a] - x.log_softmax(0)),
        ("a factor π(a) too much", lambda x, a: torch.autograd.functional.jacobian(lambda y: y.softmax(0)[a], x)),
        ("shape [3, 3]; it should be an array of shape [3]", lambda x, a: torch.eye(len(x)) - x.softmax(0)),
        ("raised TypeError", lambda x, a: torch.nn.functional.one_hot(a, len(x)) - x.softmax(0)),
    ),
    "1.3": (
        ("`return` missing", forgotten),
        ("sum of all features", lambda f, w, a: f[a] - torch.ones(len(f)).double() @ f),
        ("should be", lambda f, w, a: f[a] - (f @ w) @ f),
        ("the chain rule multiplies by the features", lambda f, w, a: np.eye(3)[a] - (f @ w).softmax(0).numpy()),
        ("shape [3, 2]; it should be an array of shape [2]", lambda f, w, a: f - (f @ w).softmax(0) @ f),
        ("raised RuntimeError", lambda f, w, a: f[a] - (w @ f).softmax(0) @ f),
    ),
    "1.4": (
        ("`return` missing", forgotten),
        ("derivative by the variance", lambda a, m, s: [(a - m) / s**2, (a - m) ** 2 / (2 * s**4) - 1 / (2 * s**2)]),
        ("(a − μ)/σ; it should have σ²", lambda a, m, s: ((a - m) / s, (a - m) ** 2 / s / s - 1)),
        ("should be [-0.125, -0.9375]", lambda a, m, s: [(a - m) / s**2, (a - m) ** 2 / s - 1]),
        ("one number; it should be an array of shape [2]", lambda a, m, s: (a - m) / s**2),
        ("should be [-0.125, -0.9375]", lambda a, m, s: [(a - m) / s**2, abs(a - m) / s - 2]),
    ),
    "1.5": (
        ("`return` missing", forgotten),
        ("leave the zeros out", kl_with_zeros),
        ("divides by K", lambda p, q: kl_looped(p, q) / len(p)),
        ("KL(q ‖ p)", lambda p, q: torch.xlogy(q, q / p.clamp(min=0)).sum()),
        ("should be", lambda p, q: torch.xlogy(p, p / q).sum().abs() + 1e-4),
        ("an array of shape [3]; it should be one number", lambda p, q: torch.xlogy(p, p / q)),
        ("should be", lambda p, q: 0.5 * (p - q).abs().sum()),
    ),
}
