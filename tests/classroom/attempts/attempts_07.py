"""Attempts at lesson 07's exercises that are not among its slips: right ones, and wrong ones with what they hear."""

import math

import numpy as np
import torch


def weight_by_loops(logp, logp_old, mask):
    weights = []
    for new, old, live in zip(logp.tolist(), logp_old.tolist(), mask.tolist(), strict=True):
        weight = 1.0
        for a, b, counts in zip(new, old, live, strict=True):
            if counts:
                weight *= math.exp(a) / math.exp(b)
        weights.append(weight)
    return weights


def weight_in_place(logp, logp_old, mask):
    logp -= logp_old
    logp[~mask] = 0.0
    return torch.exp(logp.sum(dim=-1))


def objective_by_cases(ratio, advantage, clip):
    held = torch.where(advantage > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
    return held * advantage


def objective_by_loops(ratio, advantage, clip):
    return [min(r * a, min(max(r, 1 - clip), 1 + clip) * a) for r, a in zip(ratio, advantage, strict=True)]


def objective_in_float32(ratio, advantage, clip):
    r, a = ratio.float(), advantage.float()
    return torch.stack([r * a, r.clamp(1 - clip, 1 + clip) * a]).amin(0)


def slope_by_autograd(ratio, advantage, clip):
    r = ratio.clone().requires_grad_()
    value = torch.minimum(r * advantage, r.clamp(1 - clip, 1 + clip) * advantage)
    return torch.autograd.grad(value.sum(), r)[0]


def slope_in_place(ratio, advantage, clip):
    advantage[(advantage > 0) & (ratio > 1 + clip)] = 0
    advantage[(advantage < 0) & (ratio < 1 - clip)] = 0
    return advantage


def slope_by_products(ratio, advantage, clip):
    moved = ratio * advantage > ratio.clamp(1 - clip, 1 + clip) * advantage
    return advantage * ~moved


def fraction_by_loops(ratio, advantage, mask, clip):
    silent = live = 0
    for r, a, m in zip(ratio.flatten(), advantage.flatten(), mask.flatten(), strict=True):
        if m:
            live += 1
            silent += (a > 0 and r > 1 + clip) or (a < 0 and r < 1 - clip)
    return float(silent) / live


def fraction_as_verl(ratio, advantage, mask, clip):
    free, held = -advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)
    return ((held > free).float() * mask).sum() / mask.sum()


def fraction_in_numpy(ratio, advantage, mask, clip):
    r, a, m = ratio.numpy(), advantage.numpy(), mask.numpy()
    beyond = np.sign(a) * (r - 1) > clip
    return beyond[m & (a != 0)].sum() / m.sum()


def size_by_loop(weights):
    total = squares = 0.0
    for weight in weights.tolist():
        total += weight
        squares += weight * weight
    return total**2 / squares


RIGHT = {
    "7.1": (
        weight_by_loops,
        weight_in_place,
        lambda a, b, m: torch.where(m, a - b, torch.zeros_like(a)).sum(1).exp(),
        lambda a, b, m: torch.where(m, (a - b).exp(), 1.0).prod(-1),
        lambda a, b, m: np.exp(np.where(m.numpy(), (a - b).numpy(), 0).sum(1)),
        lambda a, b, m: (a * m).float().sum(1).exp() / (b * m).float().sum(1).exp(),
    ),
    "7.2": (
        objective_by_cases,
        objective_by_loops,
        objective_in_float32,
        lambda r, a, e: np.minimum(r.numpy() * a.numpy(), np.clip(r.numpy(), 1 - e, 1 + e) * a.numpy()),
        lambda r, a, e: -torch.max(-r * a, -torch.clip(r, 1 - e, 1 + e) * a),
        lambda r, a, e: torch.where(a >= 0, torch.minimum(r, r * 0 + 1 + e), torch.maximum(r, r * 0 + 1 - e)) * a,
    ),
    "7.3": (
        slope_by_autograd,
        slope_in_place,
        slope_by_products,
        lambda r, a, e: [
            0.0 if (r_ - 1) * math.copysign(1, a_) > e else a_ for r_, a_ in zip(r, a.tolist(), strict=True)
        ],
        lambda r, a, e: np.where(np.sign(a.numpy()) * (r.numpy() - 1) > e, 0, a.numpy()),
        lambda r, a, e: (a * ((r - 1) * a.sign() <= e)).float(),
    ),
    "7.4": (
        fraction_by_loops,
        fraction_as_verl,
        fraction_in_numpy,
        lambda r, a, m, e: ((r[m] - 1) * a[m].sign() > e).double().mean(),
        lambda r, a, m, e: torch.tensor([(((a > 0) & (r > 1 + e) | (a < 0) & (r < 1 - e)) & m).sum() / m.sum()]),
        lambda r, a, m, e: ((a > 0) & (r > 1 + e))[m].float().mean() + ((a < 0) & (r < 1 - e))[m].float().mean(),
    ),
    "7.5": (
        size_by_loop,
        lambda w: 1 / ((w / w.sum()) ** 2).sum(),
        lambda w: len(w) / (1 + w.var(correction=0) / w.mean() ** 2),
        lambda w: np.sum(w.numpy()) ** 2 / np.sum(w.numpy() ** 2),
        lambda w: (w.float().sum() ** 2 / (w.float() @ w.float())).item(),
    ),
}


def no_return(*arguments):
    sum(argument.sum() for argument in arguments if isinstance(argument, torch.Tensor))


WRONG = {
    "7.1": (
        ("`return` missing", no_return),
        ("new over old", lambda a, b, m: torch.where(m, b.exp() / a.exp(), 1.0).prod(1)),
        ("should be an array of shape [1]", lambda a, b, m: ((a - b) * m).sum(1, keepdim=True).exp()),
        ("raised IndexError", lambda a, b, m: ((a - b) * m).sum(2).exp()),
        ("Mask the log-ratios instead", lambda a, b, m: torch.where(m, (a - b).exp(), 0.0).prod(1)),
        ("should be", lambda a, b, m: ((a - b) * m).sum(1).exp() - 1),
        ("Each has a weight", lambda a, b, m: torch.where(m, (a - b).exp(), 1.0).prod()),
        ("*difference* of logarithms", lambda a, b, m: torch.where(m, a / b, 1.0).prod(-1)),
        ("one a token", lambda a, b, m: torch.where(m, (a - b).exp(), 1.0)),
        ("your function gives", lambda a, b, m: ((a - b) * m).cumsum(1).exp()[:, 0]),
    ),
    "7.2": (
        ("`return` missing", no_return),
        ("min of r and clip(r) before multiplying", lambda r, a, e: torch.minimum(r, r.clamp(1 - e, 1 + e)) * a),
        ("band is around 0", lambda r, a, e: torch.minimum(r * a, torch.clip(r, -e, e) * a)),
        ("lacks its A", lambda r, a, e: torch.minimum(r * a, r.clamp(1 - e, 1 + e))),
        ("sign of A is lost", lambda r, a, e: torch.minimum(r, r.clamp(1 - e, 1 + e)) * a.abs()),
        ("slope is zero on all four sides", lambda r, a, e: a * torch.clip(r, 1 - e, 1 + e)),
        ("one number for each token", lambda r, a, e: torch.minimum(r * a, r.clamp(1 - e, 1 + e) * a).mean()),
        ("should be an array of shape [9]", lambda r, a, e: torch.minimum(r * a, r.clamp(1 - e, 1 + e) * a).sum()),
        ("The sign", lambda r, a, e: torch.maximum(-r * a, -r.clamp(1 - e, 1 + e) * a)),
        ("raised TypeError", lambda r, a, e: torch.minimum(r * a, r.clamp(1 - e, 1 + e))(a)),
        ("lower one", lambda r, a, e: torch.where(r > 1 + e, torch.minimum(r * a, (1 + e) * a), r * a)),
        ("your function gives", lambda r, a, e: torch.minimum(r * a, r.clamp(0.8, 1.2) * a)),
    ),
    "7.3": (
        ("`return` missing", no_return),
        ("claim C4", lambda r, a, e: a * ((r - 1).abs() <= e)),
        ("of the loss", lambda r, a, e: torch.where((r - 1) * a.sign() > e, 0.0, -a)),
        ("how large it is", lambda r, a, e: ((r - 1) * a.sign() <= e).double() + 0.0),
        ("zero inside the band", lambda r, a, e: a * ((r - 1).abs() > e)),
        ("sign of A is lost", lambda r, a, e: a.abs() * ((r - 1) * a.sign() <= e)),
        ("its derivative in r", lambda r, a, e: torch.minimum(r * a, r.clamp(1 - e, 1 + e) * a)),
        ("factor r", lambda r, a, e: torch.where((r - 1) * a.sign() > e, 0.0, r * a)),
        ("lower one is missing", lambda r, a, e: a * ~((r > 1 + e) & (a > 0))),
        ("should be", lambda r, a, e: torch.where((r - 1) * a.sign() > e, 0.0, r)),
        ("should be an array of shape [9]", lambda r, a, e: a.sum()),
    ),
    "7.4": (
        ("`return` missing", no_return),
        ("Stable-Baselines3", lambda r, a, m, e: ((r - 1).abs() > e)[m].float().mean()),
        ("masked places", lambda r, a, m, e: ((r - 1) * a.sign() > e).float().mean()),
        ("Padding", lambda r, a, m, e: (((r - 1) * a.sign() > e) & m).float().mean()),
        ("own fractions", lambda r, a, m, e: ((((r - 1) * a.sign() > e) & m).sum(1) / m.sum(1)).mean()),
        ("sides swapped", lambda r, a, m, e: ((1 - r) * a.sign() > e)[m].float().mean()),
        ("should be one number", lambda r, a, m, e: ((r - 1) * a.sign() > e)[m]),
        ("Divide by the number", lambda r, a, m, e: int((((r - 1) * a.sign() > e) & m).sum())),
        ("advantage is 0", lambda r, a, m, e: 1 - ((r - 1) * a.sign() <= e)[m & (a != 0)].sum() / m.sum()),
        ("should be", lambda r, a, m, e: (r[m] * a[m] > 1 + e).float().mean()),
        ("that have an advantage", lambda r, a, m, e: ((r - 1) * a.sign() > e)[m & (a != 0)].float().mean()),
        ("outside the band", lambda r, a, m, e: ((r - 1) * a.sign() > e)[m & ((r - 1).abs() > e)].float().mean()),
    ),
    "7.5": (
        ("`return` missing", no_return),
        ("correction=0", lambda w: len(w) / (1 + (w / w.mean()).var())),
        ("should be", lambda w: w.sum() / w.square().mean()),
        ("share of n", lambda w: w.sum() ** 2 / (w.square().sum() * len(w))),
        ("on top is not squared", lambda w: w.sum() / (w @ w)),
        ("should be", lambda w: w.sum() ** 2 / w.sum() ** 2),
        ("one number", lambda w: w**2 / w.square().sum()),
        ("should be", lambda w: len(w)),
        ("square root", lambda w: w.sum() / w.norm()),
    ),
}
