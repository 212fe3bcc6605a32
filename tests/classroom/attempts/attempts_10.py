"""Attempts at lesson 10's exercises that are not among its slips: right ones, and wrong ones with what they hear."""

import math
from fractions import Fraction

import numpy as np
import torch


def weights_by_loops(ratios, advantage, clip):
    root = math.prod(ratios.tolist()) ** (1 / len(ratios))

    def held(r):
        silent = (advantage > 0 and r > 1 + clip) or (advantage < 0 and r < 1 - clip)
        return 0.0 if silent else r * advantage

    rows = [[held(r), min(r, 1 + clip) * advantage, held(root)] for r in ratios.tolist()]
    return list(zip(*rows, strict=True))


def weights_by_autograd(ratios, advantage, clip):
    logp = ratios.log().requires_grad_()
    r, s = logp.exp(), logp.mean().exp()
    rows = []
    for objective in (
        torch.minimum(r * advantage, r.clamp(1 - clip, 1 + clip) * advantage).sum(),
        (r.detach().clamp(max=1 + clip) * advantage * logp).sum(),
        len(r) * torch.minimum(s * advantage, s.clamp(1 - clip, 1 + clip) * advantage),
    ):
        rows.append(torch.autograd.grad(objective, logp, retain_graph=True)[0])
    return torch.stack(rows)


def weights_in_numpy(ratios, advantage, clip):
    r = ratios.numpy()
    s = np.full_like(r, np.exp(np.log(r).mean()))
    live = [np.sign(advantage) * (each - 1) <= clip for each in (r, s)]
    return np.stack([r * advantage * live[0], np.minimum(r, 1 + clip) * advantage, s * advantage * live[1]])


def weights_in_place(ratios, advantage, clip):
    rows = torch.zeros(3, len(ratios))
    for i, each in enumerate((ratios, ratios.prod() ** (1 / len(ratios)) + 0 * ratios)):
        rows[2 * i] = each * advantage
        rows[2 * i][(each - 1) * math.copysign(1, advantage) > clip] = 0
    rows[1] = advantage * torch.minimum(ratios, torch.tensor(1 + clip))
    return rows


def leash_by_autograd(logp, logp_ref):
    p = logp.requires_grad_()
    d = logp_ref - p
    return [torch.autograd.grad(k.sum(), p, retain_graph=True)[0] for k in (d * d / 2, d.exp() - 1 - d)]


def leash_in_place(logp, logp_ref):
    logp -= logp_ref
    return torch.stack([logp, 1 - torch.exp(-logp)])


def loss_by_loops(logp, drawn, worth, mask, cap):
    total, live = 0.0, 0
    for i in range(logp.shape[0]):
        for t in range(logp.shape[1]):
            if mask[i, t]:
                weight = min(math.exp(logp[i, t].item() - drawn[i, t].item()), cap)
                total, live = total + weight * worth[i, t] * logp[i, t], live + 1
    return -total / live


def loss_without_grad(logp, drawn, worth, mask, cap):
    with torch.no_grad():
        weight = torch.minimum(torch.exp(logp - drawn), torch.tensor(cap))
    return -(weight * worth * logp)[mask].mean()


def at_k_by_products(n, c, k):
    missed = 1.0
    for i in range(k):
        missed *= max(n - c - i, 0) / (n - i)
    return 1 - missed


def at_k_over_failures(n, c, k):
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


def at_k_by_logs(n, c, k):
    if n - c < k:
        return 1.0
    log = [math.lgamma(x + 1) for x in (n - c, n - c - k, n, n - k)]
    return torch.tensor(-math.expm1(log[0] - log[1] - log[2] + log[3]))


def at_k_in_fractions(n, c, k):
    return 1 - Fraction(math.comb(n - c, k), math.comb(n, k))


RIGHT = {
    "10.1": (
        weights_by_loops,
        weights_by_autograd,
        weights_in_numpy,
        weights_in_place,
        lambda r, a, e: torch.stack(
            [
                torch.where((r - 1) * a > e * abs(a), torch.zeros(()), r * a),
                r.clip(max=1 + e) * a,
                torch.where((r.log().mean().exp() - 1) * a > e * abs(a), torch.zeros(()), r.log().mean().exp() * a)
                * torch.ones_like(r),
            ]
        ).float(),
    ),
    "10.2": (
        leash_by_autograd,
        leash_in_place,
        lambda p, r: torch.stack([p - r, 1 - r.exp() / p.exp()]),
        lambda p, r: np.stack([(p - r).numpy(), -np.expm1((r - p).numpy())]),
        lambda p, r: (
            [[a - b, 1 - math.exp(b - a)] for a, b in zip(p.tolist(), r.tolist(), strict=True)]
            and torch.stack([p - r, 1 - torch.exp(r - p)]).float()
        ),
    ),
    "10.3": (
        loss_by_loops,
        loss_without_grad,
        lambda p, s, a, m, c: -(((p - s).exp().detach().clamp(max=c) * a * p) * m).sum() / m.sum(),
        lambda p, s, a, m, c: (-a[m] * (p - s)[m].detach().clamp(max=math.log(c)).exp() * p[m]).mean(),
        lambda p, s, a, m, c: (
            -(
                torch.where(m, torch.clip((p.detach() - s).exp(), max=c) * a, torch.zeros_like(a)) * (p - p.detach())
            ).sum()
            / m.float().sum()
        ),
    ),
    "10.4": (
        at_k_by_products,
        at_k_over_failures,
        at_k_by_logs,
        at_k_in_fractions,
        lambda n, c, k: 1 - math.prod(max(n - k - i, 0) / (n - i) for i in range(c)),
    ),
}


def no_return(*arguments):
    sum(1 for _ in arguments)


WRONG = {
    "10.1": (
        ("`return` missing", no_return),
        ("should be", lambda r, a, e: torch.stack([r * a, r * a, r * a])),
        ("shape [3]", lambda r, a, e: torch.stack([(r * a).sum(), (r.clamp(max=1 + e) * a).sum(), r.mean() * a])),
        ("T-th root", lambda r, a, e: weights_of_product(r, a, e)),
        ("stopped", lambda r, a, e: weights_through_the_cap(r, a, e)),
        ("is ambiguous", lambda r, a, e: r * a if r > 1 + e else 0.0),
        ("In this case PPO is right", lambda r, a, e: weights_in_numpy(r, a, e)[[0, 2, 1]]),
        ("GSPO's row is one number", lambda r, a, e: (*weights_in_place(r, a, e)[:2], (r.log().mean().exp() * a))),
        ("CISPO is right", lambda r, a, e: weights_of_two_slips(r, a, e)),
        ("above 1 + ε whatever the sign", lambda r, a, e: weights_below(r, a, e)),
        ("a value, not a slope", lambda r, a, e: weights_clamped(r, a, e)),
        ("speaks or is silent as a whole", lambda r, a, e: weights_by_the_token(r, a, e)),
        ("advantage is missing", lambda r, a, e: weights_in_numpy(r, a, e) / a),
        ("slope of the loss", lambda r, a, e: -weights_in_numpy(r, a, e)),
        ("T and 1/T cancel", lambda r, a, e: weights_in_numpy(r, a, e) / np.array([[1], [1], [len(r)]])),
    ),
    "10.2": (
        ("`return` missing", no_return),
        ("should be an array of shape [2, ", lambda p, r: p - r),
        ("In k3's the sign is turned", lambda p, r: torch.stack([p - r, r.exp() / p.exp() - 1])),
        ("estimates themselves", lambda p, r: torch.stack([(p - r) ** 2 / 2, (r - p).exp() - 1 - (r - p)])),
        ("In k2's the sign is turned", lambda p, r: torch.stack([r - p, 1 - r.exp() / p.exp()])),
        ("swapped", lambda p, r: torch.stack([1 - (r - p).exp(), p - r])),
        ("should be", lambda p, r: torch.stack([torch.ones_like(p), 1 - (r - p).exp()])),
    ),
    "10.3": (
        ("`return` missing", no_return),
        ("No gradient flows", lambda p, s, a, m, c: -((p - s).exp().clamp(max=c) * a * p)[m].mean().item()),
        ("one number", lambda p, s, a, m, c: -((p - s).exp().detach().clamp(max=c) * a * p)),
        ("depends on log π", lambda p, s, a, m, c: -(torch.minimum(p.exp() / s.exp(), p * 0 + c) * a * p)[m].mean()),
        ("floor", lambda p, s, a, m, c: -(torch.clamp((p - s).exp().detach(), c) * a * p)[m].mean()),
        ("truncated ratio itself is differentiated", lambda p, s, a, m, c: -((p - s).exp().clamp(max=c) * a)[m].mean()),
        ("the gradient of your loss is", lambda p, s, a, m, c: -((s - p).detach().exp().clamp(max=c) * p)[m].mean()),
        ("w.clamp(max=c)", lambda p, s, a, m, c: -(torch.minimum((p - s).exp().detach(), c) * a * p)[m].mean()),
        ("w.clamp(max=c)", lambda p, s, a, m, c: -(torch.min((p - s).exp().detach(), c) * a * p)[m].mean()),
        ("whole sequence's weight", lambda p, s, a, m, c: loss_of_sequences(p, s, a, m, c)),
        ("by its own length", lambda p, s, a, m, c: loss_by_completion(p, s, a, m, c)),
        ("don't call `backward()`", lambda p, s, a, m, c: backward_on(p, s, a, m, c)),
    ),
    "10.4": (
        ("`return` missing", no_return),
        ("right if c/n were the pass rate", lambda n, c, k: 1 - ((n - c) / n) ** k),
        ("ZeroDivisionError", lambda n, c, k: 1 - math.comb(n, k) / math.comb(n - c, k)),
        ("should be", lambda n, c, k: 1 - math.comb(n, k - c) / math.comb(n, k) if k >= c else 0.5),
        ("no logarithm", lambda n, c, k: -math.expm1(math.lgamma(n - c + 1) - math.lgamma(n - c - k + 1))),
        ("no factorial", lambda n, c, k: 1 - math.factorial(n - c - k) / math.factorial(n - k)),
        ("too large for a float", lambda n, c, k: 1 - np.float64(math.comb(n - c, k)) / float(math.comb(n, k))),
    ),
}


def weights_of_product(ratios, advantage, clip):
    rows = torch.as_tensor(weights_in_numpy(ratios, advantage, clip))
    product = ratios.cumprod(0)[-1]
    rows[2] = 0.0 if (product - 1) * np.sign(advantage) > clip else product * advantage
    return rows


def weights_below(ratios, advantage, clip):
    rows = torch.stack([ratios, ratios.clamp(max=1 + clip), ratios.log().mean().exp() + 0 * ratios]) * advantage
    rows[0][ratios > 1 + clip] = 0
    return rows if rows[2][0] / advantage <= 1 + clip else torch.stack([*rows[:2], 0 * ratios])


def weights_clamped(ratios, advantage, clip):
    root = ratios.prod() ** (1 / len(ratios)) + 0 * ratios
    both = [each.clamp(1 - clip, 1 + clip) * advantage for each in (ratios, root)]
    return torch.stack([both[0], ratios.clamp(max=1 + clip) * advantage, both[1]])


def weights_by_the_token(ratios, advantage, clip):
    rows = torch.as_tensor(weights_in_numpy(ratios, advantage, clip))
    rows[2] = torch.where(rows[0] == 0, 0.0, ratios.prod() ** (1 / len(ratios)) * advantage)
    return rows


def weights_of_two_slips(ratios, advantage, clip):
    rows = torch.as_tensor(weights_in_numpy(ratios, advantage, clip))
    rows[0] = torch.where((ratios - 1).abs() > clip, 0.0, ratios * advantage)
    rows[2] = ratios.prod() * advantage
    return rows


def loss_of_sequences(logp, drawn, worth, mask, cap):
    weight = ((logp - drawn).detach() * mask).sum(1).exp().clamp(max=cap)
    return -(weight[:, None] * worth * logp * mask).sum() / mask.sum()


def loss_by_completion(logp, drawn, worth, mask, cap):
    each = (logp - drawn).detach().exp().clamp(max=cap) * worth * logp
    return -torch.stack([row[live].mean() for row, live in zip(each, mask, strict=True)]).mean()


def weights_through_the_cap(ratios, advantage, clip):
    rows = torch.as_tensor(weights_in_numpy(ratios, advantage, clip))
    rows[1][ratios > 1 + clip] = 0
    return rows


def backward_on(logp, drawn, worth, mask, cap):
    loss = -((logp - drawn).exp().detach().clamp(max=cap) * worth * logp)[mask].mean()
    loss.backward()
    return loss
