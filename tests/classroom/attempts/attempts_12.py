"""Lesson 12: answers that are right in another form, and wrong ones that no slip is made of."""

import numpy as np
import torch

# right


def fisher_by_loop(probs):
    total = torch.zeros(len(probs), len(probs), dtype=probs.dtype)
    for a in range(len(probs)):
        score = -probs.clone()
        score[a] += 1
        total += probs[a] * torch.outer(score, score)
    return total


def fisher_by_hessian(probs):
    """Of the KL, at the same policy."""
    logits = probs.log()

    def kl(theta):
        return (probs * (probs.log() - theta.log_softmax(0))).sum()

    return torch.autograd.functional.hessian(kl, logits)


def fisher_in_place(probs):
    found = -torch.outer(probs, probs)
    found.diagonal().add_(probs)
    return found


def product_by_matrices(probs, visits, v):
    rows = []
    for p, d, x in zip(probs, visits, v, strict=True):
        rows.append(d * (torch.diag(p) - torch.outer(p, p)) @ x)
    return torch.stack(rows)


def product_numpy(probs, visits, v):
    p, d, x = probs.numpy(), visits.numpy(), v.numpy()
    return d[:, None] * p * (x - (p * x).sum(axis=1, keepdims=True))


def product_by_autograd(probs, visits, v):
    logits = probs.log().requires_grad_()
    kl = (visits[:, None] * probs * (probs.log() - logits.log_softmax(1))).sum()
    (slope,) = torch.autograd.grad(kl, logits, create_graph=True)
    return torch.autograd.grad((slope * v).sum(), logits)[0]


def product_einsum(probs, visits, v):
    return torch.einsum("s,sa,sa->sa", visits, probs, v - torch.einsum("sa,sa->s", probs, v)[:, None])


def scale_by_bisection(x, fx, delta):
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle**2 * (x @ fx) / 2 < delta else (low, middle)
    return low


def mirror_loop(probs, advantages, eta):
    grown = [p * torch.exp(eta * a) for p, a in zip(probs, advantages, strict=True)]
    return [g / sum(grown) for g in grown]


def mirror_in_logits(probs, advantages, eta):
    theta = probs.log()
    theta += eta * (advantages - probs @ advantages)  # a constant changes nothing
    return theta.softmax(0)


def search_loop(theta, step, visits, advantages, delta):
    old = theta.softmax(1)
    share = 1.0
    for _ in range(11):
        new = (theta + share * step).softmax(1)
        kl = (visits[:, None] * old * (old.log() - new.log())).sum()
        gain = (visits[:, None] * new * advantages).sum()
        if kl <= delta and gain > 0:
            return share
        share /= 2
    return 0.0


def search_ratios(theta, step, visits, advantages, delta):
    old = theta.softmax(1)
    for k in range(11):
        logp = (theta + step / 2**k).log_softmax(1)
        ratio = (logp - theta.log_softmax(1)).exp()
        kl = visits @ torch.nn.functional.kl_div(logp, old, reduction="none").sum(1)
        if kl > delta or visits @ ((ratio - 1) * old * advantages).sum(1) <= 0:
            continue
        return torch.tensor(1 / 2**k)
    return torch.tensor(0.0)


def search_numpy(theta, step, visits, advantages, delta):
    def soft(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    t, s, d, a = (each.numpy() for each in (theta, step, visits, advantages))
    shares = [0.5**k for k in range(11)]
    new = [soft(t + c * s) for c in shares]
    fits = [(d @ (soft(t) * np.log(soft(t) / n)).sum(1) <= delta) and (d @ (n * a).sum(1) > 0) for n in new]
    return shares[fits.index(True)] if any(fits) else 0.0


def search_recursive(theta, step, visits, advantages, delta, share=1.0):
    if share < 0.5**10:
        return 0
    new, old = (theta + share * step).softmax(1), theta.softmax(1)
    good = visits @ (old * (old / new).log()).sum(1) <= delta and visits @ (new * advantages).sum(1) > 0
    return share if good else search_recursive(theta, step, visits, advantages, delta, share / 2)


def search_all(theta, step, visits, advantages, delta):
    shares = 0.5 ** torch.arange(11).double()
    old, new = theta.softmax(1), (theta + shares[:, None, None] * step).softmax(2)
    kl = (old * (old / new).log()).sum(2) @ visits
    good = (kl <= delta) & ((new * advantages).sum(2) @ visits > 0)
    return (shares * good).max()


def broken_by_matrix(product, size, damping):
    matrix = torch.stack([product(v) for v in torch.eye(size, dtype=torch.float64)])
    return 1.0 if (matrix - damping * torch.eye(size)).abs().max() < 1e-8 else 0.0


def broken_by_one_hot(product, size, damping):
    v = torch.zeros(size, dtype=torch.float64)
    v[0] = 1
    return torch.allclose(product(v), damping * v)


def broken_at_random(product, size, damping):
    v = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return int((product(v) - damping * v).norm() < 1e-9)


def broken_off_diagonal(product, size, damping):
    v = [1.0] + [0.0] * (size - 1)
    return float(all(abs(x) < 1e-12 for x in product(v)[1:].tolist()))


def broken_by_curvature(product, size, damping):
    v = torch.arange(size, dtype=torch.float64)
    return np.isclose(float(v @ product(v)), damping * float(v @ v))


def broken_in_single_precision(product, size, damping):
    v = torch.eye(size)[0]
    return torch.allclose(product(v), damping * v)


def broken_on_whole_numbers(product, size, damping):
    v = torch.arange(size)
    return float((product(v) - damping * v).abs().max() < 1e-9)


RIGHT = {
    "12.1": (
        fisher_by_loop,
        fisher_by_hessian,
        fisher_in_place,
        lambda p: np.diag(p.numpy()) - np.outer(p.numpy(), p.numpy()),
        lambda p: p[:, None] * (torch.eye(len(p), dtype=p.dtype) - p),
    ),
    "12.2": (
        product_by_matrices,
        product_numpy,
        product_by_autograd,
        product_einsum,
        lambda p, d, v: (d[:, None] * (p * v - p * (p * v).sum(1)[:, None])).float(),
    ),
    "12.3": (
        scale_by_bisection,
        lambda x, fx, delta: (delta / (0.5 * (x * fx).sum())) ** 0.5,
        lambda x, fx, delta: np.sqrt(2 * delta / np.dot(x.numpy(), fx.numpy())),
        lambda x, fx, delta: torch.exp(0.5 * torch.log(2 * delta / torch.dot(x, fx))).reshape(1),
        lambda x, fx, delta: (
            (2 * delta) ** 0.5 / sum(a * b for a, b in zip(x.tolist(), fx.tolist(), strict=True)) ** 0.5
        ),
    ),
    "12.4": (
        mirror_loop,
        mirror_in_logits,
        lambda p, a, eta: torch.softmax(p.log() + eta * a, 0),
        lambda p, a, eta: p.numpy() * np.exp(eta * a.numpy()) / (p.numpy() @ np.exp(eta * a.numpy())),
        lambda p, a, eta: p / (p @ torch.exp(eta * (a[None] - a[:, None])).T),
    ),
    "12.5": (search_loop, search_ratios, search_numpy, search_recursive, search_all),
    "12.6": (
        broken_by_matrix,
        broken_by_one_hot,
        broken_at_random,
        broken_off_diagonal,
        broken_by_curvature,
        broken_in_single_precision,
        broken_on_whole_numbers,
    ),
}


# wrong


EYE = {size: torch.eye(size, dtype=torch.float64) for size in (2, 3, 4)}


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


def search_last(theta, step, visits, advantages, delta):
    found = 0.0
    for k in range(11):
        new, old = (theta + 0.5**k * step).softmax(1), theta.softmax(1)
        if visits @ (old * (old / new).log()).sum(1) <= delta and visits @ (new * advantages).sum(1) > 0:
            found = 0.5**k
    return found


def search_count(theta, step, visits, advantages, delta):
    share = search_loop(theta, step, visits, advantages, delta)
    return -np.log2(share) if share else -1


def search_by_chi_square(theta, step, visits, advantages, delta):
    """Pearson's distance to second order, once it is accepted the surrogate is looked at."""
    old, share = theta.softmax(1), 1.0
    while share >= 1 / 1024:
        new = (theta + share * step).softmax(1)
        if (visits[:, None] * (new**2 / old - old)).sum() / 2 <= delta and visits @ (new * advantages).sum(1) > 0:
            return share
        share /= 2
    return 0.0


def search_importance(theta, step, visits, advantages, delta):
    """The objective of samples, on a list."""
    for k in range(11):
        logp, before = (theta + step / 2**k).log_softmax(1), theta.log_softmax(1)
        kl = visits @ (before.exp() * (before - logp)).sum(1)
        if kl <= delta and (visits[:, None] * ((logp - before).exp() - 1) * advantages).sum() > 0:
            return 2.0**-k
    return 0.0


def search_stops_early(theta, step, visits, advantages, delta):
    share = search_loop(theta, step, visits, advantages, delta)
    return share if share > 0.001 else 0.0


WRONG = {
    "12.1": (
        ("`return` missing", forgets(fisher_by_loop)),
        ("it should be an array of shape [3, 3]", lambda p: p * (1 - p)),
        ("it should be [[0.24", lambda p: p.diag() - torch.outer(p, p) / 2),
        ("it should be [[0.24", lambda p: torch.linalg.pinv(p.diag() - torch.outer(p, p))),
        ("it should be [[0.24", lambda p: torch.cov(p.diag())),
        ("raised", lambda p: p.diag() - torch.eye(len(p) + 1)),
    ),
    "12.2": (
        ("`return` missing", forgets(product_by_matrices)),
        ("keepdim=True", lambda p, d, v: d * p * v),
        ("keepdim=True", lambda p, d, v: d[:, None] * p * (v - (p * v).sum(1))),
        ("cases[0]", lambda p, d, v: d[:, None].sqrt() * p * (v - (p * v).sum(1, keepdim=True))),
        ("it should be an array of shape [2, 3]", lambda p, d, v: product_einsum(p, d, v).flatten()),
        ("cases[0]", lambda p, d, v: d[:, None] * (p * v - p**2 * v)),
        ("cases[0]", lambda p, d, v: -product_einsum(p, d, v)),
    ),
    "12.3": (
        ("`return` missing", forgets(scale_by_bisection)),
        ("it should be", lambda x, fx, delta: delta / (x @ fx)),
        ("it should be", lambda x, fx, delta: (2 * delta) ** 0.5 / (x @ fx)),
        ("it should be one number", lambda x, fx, delta: (2 * delta / (x * fx)).abs().sqrt()),
        ("it should be", lambda x, fx, delta: (2 * delta / x.abs().sum()).sqrt()),
    ),
    "12.4": (
        ("`return` missing", forgets(mirror_loop)),
        ("it should be", lambda p, a, eta: torch.softmax(p + eta * a, 0)),
        ("it should be", lambda p, a, eta: torch.softmax(p.log() - eta * a, 0)),
        ("it should be", lambda p, a, eta: p * a.exp() ** eta / a.exp().sum()),
        ("raised", lambda p, a, eta: p.exp() @ a[:, None, None]),
        ("it should be", lambda p, a, eta: p.log() + eta * a),
    ),
    "12.5": (
        ("`return` missing", forgets(search_loop)),
        ("it should be", search_last),
        ("it should be", search_count),
        ("a model of second order", search_by_chi_square),
        ("You add up the ratios", search_importance),
        ("the last is 1/1024", search_stops_early),
        ("Σ d KL", lambda t, s, d, a, delta: search_loop(t, s, d / d.sum(), a * d.sum(), delta)),
        ("Σ d π_new A", lambda t, s, d, a, delta: search_loop(t, s, d, a / d[:, None], delta)),
        ("it should be", lambda t, s, d, a, delta: 1.0),
        ("it should be", lambda t, s, d, a, delta: search_loop(t, s, d, a, delta) * s),
        ("it should be", lambda t, s, d, a, delta: search_loop(t, s, d, -a, delta)),
    ),
    "12.6": (
        ("`return` missing", forgets(broken_by_matrix)),
        ("Try one-hot", lambda product, size, damping: float((product(torch.zeros(size)) == 0).all())),
        (
            "Try one-hot",
            lambda product, size, damping: torch.allclose(2 * product(EYE[size][0]), product(2 * EYE[size][0])),
        ),
        (
            "one vector at a time",
            lambda product, size, damping: torch.allclose(product(EYE[size]), damping * EYE[size]),
        ),
        ("it should be", lambda product, size, damping: float(product(torch.ones(size).double())[0] < 0.05)),
        ("raised", lambda product, size, damping: product(torch.ones(size + 1).double())[0]),
        ("it should be", lambda product, size, damping: float(size == 4)),
        ("no number", lambda product, size, damping: "broken"),
    ),
}
