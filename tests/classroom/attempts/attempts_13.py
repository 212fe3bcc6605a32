"""Lesson 13: answers that are right in another form, and wrong ones that no slip is made of."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


# 13.1


def loss_by_loop(better, worse):
    total = 0.0
    for b, w in zip(better, worse, strict=True):
        total = total + F.softplus(w - b)
    return total / len(better)


def loss_by_cross_entropy(better, worse):
    return F.cross_entropy(torch.stack([worse, better], 1), torch.ones(len(better), dtype=torch.long))


def loss_by_softmax(better, worse):
    return -torch.stack([better, worse]).log_softmax(0)[0].mean()


def loss_by_bce(better, worse):
    return F.binary_cross_entropy_with_logits(better - worse, torch.ones_like(better))


def loss_in_place(better, worse):
    better -= worse
    return torch.logaddexp(torch.zeros_like(better), -better).sum() / len(better)


# 13.2


def tilted_by_loop(reference, rewards, beta):
    top = max(r / beta + math.log(p) for p, r in zip(reference.tolist(), rewards.tolist(), strict=True))
    weights = [
        math.exp(r / beta + math.log(p) - top) for p, r in zip(reference.tolist(), rewards.tolist(), strict=True)
    ]
    return [w / sum(weights) for w in weights]


def tilted_shifted(reference, rewards, beta):
    rewards -= rewards.max()
    weights = reference * torch.exp(rewards / beta)
    return weights / weights.sum()


def tilted_numpy(reference, rewards, beta):
    logits = np.log(reference.numpy()) + rewards.numpy() / beta
    return np.exp(logits - np.logaddexp.reduce(logits))


def tilted_lse(reference, rewards, beta):
    scaled = rewards / beta + reference.log()
    return (scaled - scaled.logsumexp(0)).exp()


# 13.3


def best_by_matrix(chances, scores, n):
    up_to = (scores[None] <= scores[:, None]).double() @ chances
    below = (scores[None] < scores[:, None]).double() @ chances
    return chances * (up_to**n - below**n) / (up_to - below)


def best_by_levels(chances, scores, n):
    found, below = torch.zeros_like(chances), 0.0
    for level in sorted(set(scores.tolist())):
        on = scores == level
        mass = chances[on].sum().item()
        found[on] = chances[on] / mass * ((below + mass) ** n - below**n)
        below += mass
    return found


def best_numpy(chances, scores, n):
    p, s = chances.numpy(), scores.numpy()
    return np.array(
        [p[i] * (p[s <= s[i]].sum() ** n - p[s < s[i]].sum() ** n) / p[s == s[i]].sum() for i in range(len(p))]
    )


def best_as_geometric_sum(chances, scores, n):
    """(aⁿ - bⁿ)/(a - b) is a sum of powers."""
    found = []
    for p, s in zip(chances, scores, strict=True):
        a, b = chances[scores <= s].sum(), chances[scores < s].sum()
        found.append(p * sum(a**k * b ** (n - 1 - k) for k in range(n)))
    return found


# 13.4 and 13.6


def sums(logp, mask):
    return torch.where(mask, logp, 0.0).sum(1)


def dpo_in_order(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    policy = sums(w, mask_w) - sums(loser, mask_l)
    reference = sums(ref_w, mask_w) - sums(ref_l, mask_l)
    return F.softplus(-beta * (policy - reference)).mean()


def dpo_by_loop(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    losses = []
    for i in range(len(w)):
        up = (w[i] - ref_w[i])[mask_w[i]].sum()
        down = (loser[i] - ref_l[i])[mask_l[i]].sum()
        losses.append(-F.logsigmoid(beta * up - beta * down))
    return sum(losses) / len(losses)


def dpo_by_einsum(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    up = torch.einsum("nt,nt->n", w - ref_w, mask_w.double())
    down = torch.einsum("nt,nt->n", loser - ref_l, mask_l.double())
    return -torch.sigmoid(beta * (up - down)).log().mean()


def dpo_as_a_comparison(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    rewards = [beta * sums(a - b.detach(), m) for a, b, m in ((w, ref_w, mask_w), (loser, ref_l, mask_l))]
    return loss_by_cross_entropy(*rewards)


def dpo_in_place(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    w -= ref_w
    loser -= ref_l
    w *= mask_w
    loser *= mask_l
    return -F.logsigmoid(beta * (w.sum(-1) - loser.sum(-1))).mean()


def kto_signed(logp, ref, mask, good, beta, anchor):
    sign = 2 * good.double() - 1
    return (1 - torch.sigmoid(sign * beta * (sums(logp - ref, mask) - anchor))).mean()


def kto_by_loop(logp, ref, mask, good, beta, anchor):
    total = 0.0
    for i in range(len(logp)):
        above = beta * ((logp[i] - ref[i])[mask[i]].sum() - anchor)
        total = total + (1 - torch.sigmoid(above) if good[i] else torch.sigmoid(above))
    return total / len(logp)


def kto_in_two_parts(logp, ref, mask, good, beta, anchor):
    above = beta * (sums(logp - ref, mask) - anchor)
    return (torch.sigmoid(-above[good]).sum() + torch.sigmoid(above[~good]).sum()) / len(good)


def kto_by_value(logp, ref, mask, good, beta, anchor):
    """λ - v, as the paper writes it; the constant has no gradient."""
    ratio = sums(logp, mask) - sums(ref, mask)
    value = torch.where(good, torch.sigmoid(beta * (ratio - anchor)), torch.sigmoid(beta * (anchor - ratio)))
    return 1 - value.mean()


def kto_by_tanh(logp, ref, mask, good, beta, anchor):
    above = beta * (sums(logp - ref, mask) - anchor) * torch.where(good, 1.0, -1.0)
    return 0.5 - 0.5 * torch.tanh(above / 2).mean()


# 13.5


def paid_by_index(rewards, logp, ref, mask, beta):
    paid = torch.zeros_like(logp.detach())
    for i, length in enumerate(mask.sum(1).tolist()):
        paid[i, :length] = -beta * (logp[i, :length] - ref[i, :length]).detach()
        paid[i, length - 1] += rewards[i]
    return paid


def paid_numpy(rewards, logp, ref, mask, beta):
    paid = -beta * (logp.detach().numpy() - ref.numpy()) * mask.numpy()
    paid[np.arange(len(paid)), mask.numpy().sum(1) - 1] += rewards.numpy()
    return paid


def paid_scatter(rewards, logp, ref, mask, beta):
    with torch.no_grad():
        kl = (beta * (ref - logp)).masked_fill(~mask, 0.0)
        return kl.scatter_add(1, mask.sum(1, keepdim=True) - 1, rewards[:, None])


def paid_list(rewards, logp, ref, mask, beta):
    return paid_by_index(rewards, logp, ref, mask, beta).tolist()


def paid_next(rewards, logp, ref, mask, beta):
    after = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1)
    last = mask & ~after
    return rewards[:, None] * last - beta * torch.where(mask, logp.detach() - ref, 0.0)


RIGHT = {
    "13.1": (loss_by_loop, loss_by_cross_entropy, loss_by_softmax, loss_by_bce, loss_in_place),
    "13.2": (
        tilted_by_loop,
        tilted_shifted,
        tilted_numpy,
        tilted_lse,
        lambda reference, rewards, beta: F.softmax(torch.log(reference) + rewards / beta, dim=-1).float(),
    ),
    "13.3": (
        best_by_matrix,
        best_by_levels,
        best_numpy,
        best_as_geometric_sum,
        lambda chances, scores, n: best_by_matrix(chances, scores, n).tolist(),
    ),
    "13.4": (dpo_in_order, dpo_by_loop, dpo_by_einsum, dpo_as_a_comparison, dpo_in_place),
    "13.5": (paid_by_index, paid_numpy, paid_scatter, paid_list, paid_next),
    "13.6": (kto_signed, kto_by_loop, kto_in_two_parts, kto_by_value, kto_by_tanh),
}


def worst_by_listing(chances, scores, n):
    """The best of n *different* answers: without replacement."""
    found = torch.zeros_like(chances)
    for draws in itertools.permutations(range(len(chances)), min(n, len(chances))):
        chance = math.prod(chances[i].item() for i in draws)
        found[max(draws, key=lambda i: scores[i].item())] += chance
    return found / found.sum()


def dpo_either_mask(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    return -F.logsigmoid(beta * (sums(w - ref_w, mask_w | mask_l) - sums(loser - ref_l, mask_l))).mean()


def dpo_moving_losers(w, loser, ref_w, ref_l, mask_w, mask_l, beta):
    return -F.logsigmoid(beta * (sums(w - ref_w, mask_w) - sums(loser.detach() - ref_l, mask_l))).mean()


def paid_at_all_last(rewards, logp, ref, mask, beta):
    paid = -beta * (logp.detach() - ref) * mask
    paid[:, mask.sum(1) - 1] += rewards
    return paid


WRONG = {
    "13.1": (
        ("`return` missing", forgets(loss_by_loop)),
        ("No gradient", lambda better, worse: (better > worse).double().mean()),
        ("No gradient", lambda better, worse: -F.logsigmoid(better - worse).mean().detach()),
        ("a loss is one number", lambda better, worse: -F.logsigmoid(better - worse)),
        ("in better and worse, end to end, is", lambda better, worse: (better - worse - 1).square().mean()),
        ("hides the overflow", lambda better, worse: -torch.sigmoid(better - worse).clamp(min=1e-12).log().mean()),
        ("e^{800} is infinite", lambda better, worse: (worse - better).exp().log1p().mean()),
        ("the gradient of your loss", lambda better, worse: -F.logsigmoid((better - worse).mean())),
    ),
    "13.2": (
        ("`return` missing", forgets(tilted_numpy)),
        ("your function gives", lambda p, r, beta: p * (1 + r / beta) / (p * (1 + r / beta)).sum()),
        ("your function gives", lambda p, r, beta: torch.softmax(beta * p.log() + r, 0)),
        ("your function gives", lambda p, r, beta: torch.softmax((p.log() + r) / beta, 0)),
        ("your function gives", lambda p, r, beta: torch.softmax(r / beta - p.log(), 0)),
        ("raised", lambda p, r, beta: torch.softmax(p.log() + r / beta, 1)),
    ),
    "13.3": (
        ("`return` missing", forgets(best_by_levels)),
        ("your function gives", worst_by_listing),
        ("your function gives", lambda p, s, n: p**n / (p**n).sum()),
        ("your function gives", lambda p, s, n: torch.softmax(p.log() + n * s, 0)),
        ("one number; it should be", lambda p, s, n: best_by_matrix(p, s, n) @ s),
        ("your function gives", lambda p, s, n: best_by_matrix(p, s, n - 1) if n > 1 else p * 0),
    ),
    "13.4": (
        ("`return` missing", forgets(dpo_in_order)),
        ("No gradient", lambda *a: dpo_in_order(*a).item()),
        ("a loss is one number", lambda *a: torch.stack([dpo_in_order(*a)] * 3)),
        ("the first in logp_w at [1, 0]", dpo_either_mask),
        ("the first in logp_l at [0, 0]", dpo_moving_losers),
        ("the gradient of your loss", lambda w, _, rw, rl, mw, ml, b: -F.logsigmoid(b * sums(w - rw, mw)).mean()),
        (
            "don't call `backward()`",
            lambda *a: (lambda loss: (loss.backward(retain_graph=False), loss)[1])(dpo_in_order(*a)),
        ),
    ),
    "13.5": (
        ("`return` missing", forgets(paid_numpy)),
        ("your function gives", lambda r, logp, ref, mask, beta: r - beta * sums(logp.detach() - ref, mask)),
        ("your function gives", lambda r, *rest: -paid_by_index(r, *rest)),
        ("your function gives", lambda r, logp, ref, mask, beta: paid_by_index(r, logp.exp(), ref.exp(), mask, beta)),
        ("your function gives", lambda r, logp, ref, mask, beta: paid_by_index(r, logp, ref, mask, 1.0)),
        ("raised", lambda r, logp, ref, mask, beta: logp.numpy()),
        ("your function gives", paid_at_all_last),
        ("Places are counted from 0", lambda r, logp, ref, mask, beta: logp[[0, 1, 2], mask.sum(1)] + r),
    ),
    "13.6": (
        ("`return` missing", forgets(kto_signed)),
        ("No gradient", lambda *a: kto_signed(*a).item()),
        ("the gradient of your loss", lambda *a: kto_signed(*a[:5], -a[5] - 0.1)),
        ("the gradient of your loss", lambda *a: kto_signed(*a) * 2),
        ("the gradient of your loss", lambda *a: kto_signed(*a) ** 2),
        ("torch.where(mask, 1.0, -1.0)", lambda lp, ref, m, g, b, z: torch.sigmoid(-g * b * (sums(lp - ref, m) - z))),
    ),
}
