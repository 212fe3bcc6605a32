"""Attempts at lesson 02's exercises, as learners might write them: right ones in other words, wrong ones of all kinds.

RIGHT: exercise -> attempts.  WRONG: exercise -> (part of what it should hear, attempt).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

# 2.1, the objective over prompts


def objective_loop(probs, rewards):
    total = 0.0
    for p, r in zip(probs, rewards, strict=True):
        total += sum(float(a) * float(b) for a, b in zip(p, r, strict=True))
    return total / len(probs)


def objective_in_place(probs, rewards):
    probs *= rewards
    return probs.sum() / probs.shape[0]


def objective_forgotten(probs, rewards):
    print((probs * rewards).sum(1).mean().shape)


# 2.2, the estimate


def estimate_loop(logits, actions, rewards):
    probs, total = logits.softmax(0), torch.zeros(len(logits))
    for a, r in zip(actions, rewards, strict=True):
        score = -probs.clone()
        score[a] += 1
        total = total + r * score
    return total / len(actions)


def estimate_lists(logits, actions, rewards):
    sizes = [math.exp(x) for x in logits]
    probs, n = [size / sum(sizes) for size in sizes], len(actions)
    pairs = [(a, r) for a, r in zip(actions.tolist(), rewards.tolist(), strict=True)]
    return [sum(r * ((a == k) - probs[k]) for a, r in pairs) / n for k in range(len(probs))]


def estimate_autograd(logits, actions, rewards):
    leaf = logits.clone().requires_grad_()
    (rewards * leaf.log_softmax(0)[actions]).mean().backward()
    return leaf.grad


def estimate_by_counts(logits, actions, rewards):
    paid = torch.zeros_like(logits).index_add(0, actions, rewards)
    return (paid - rewards.sum() * logits.softmax(0)) / len(actions)


def estimate_numpy(logits, actions, rewards):
    x, r = logits.numpy(), rewards.numpy()
    probs = np.exp(x) / np.exp(x).sum()
    return (r[:, None] * (np.eye(len(x))[actions.numpy()] - probs)).mean(axis=0)


def estimate_forgotten(logits, actions, rewards):
    (rewards[:, None] * (torch.eye(len(logits))[actions] - logits.softmax(0))).mean(0)


def estimate_chosen_alone(logits, actions, rewards):
    probs, total = logits.softmax(0), torch.zeros_like(logits)
    for a, r in zip(actions, rewards, strict=True):
        total[a] += r * (1 - probs[a])
    return total / len(actions)


def estimate_of_numbers(logits, actions, rewards):
    scores = F.one_hot(actions, len(logits)) - logits.softmax(0)
    return sum(r * float(score.sum()) for r, score in zip(rewards, scores, strict=True)) / len(actions)


# 2.3, a sequence's score


def score_loop(logits, tokens):
    rows = []
    for x, token in zip(logits, tokens, strict=True):
        row = -x.softmax(0)
        row[token] += 1
        rows.append(row)
    return rows


def score_autograd(logits, tokens):
    leaf = logits.clone().requires_grad_()
    log_prob = leaf.log_softmax(1)[range(len(tokens)), tokens].sum()
    return torch.autograd.grad(log_prob, leaf)[0]


def score_cross_entropy(logits, tokens):
    leaf = logits.clone().requires_grad_()
    F.cross_entropy(leaf, tokens, reduction="sum").backward()
    return -leaf.grad


def score_in_place(logits, tokens):
    score = logits.softmax(1).neg_()
    score[torch.arange(len(tokens)), tokens] += 1
    return score


def score_numpy(logits, tokens):
    x = logits.numpy()
    e = np.exp(x - x.max(1, keepdims=True))
    return np.eye(x.shape[1])[tokens.numpy()] - e / e.sum(1, keepdims=True)


def score_mean_of_cross_entropy(logits, tokens):
    leaf = logits.clone().requires_grad_()
    F.cross_entropy(leaf, tokens).backward()
    return leaf.grad


def score_chosen_alone(logits, tokens):
    score = torch.zeros_like(logits)
    for t, token in enumerate(tokens):
        score[t, token] = 1 - logits[t].softmax(0)[token]
    return score


# 2.4, the surrogate loss


def surrogate_loop(log_probs, returns):
    loss = 0.0
    for log_prob, value in zip(log_probs, returns, strict=True):
        loss = loss - value * log_prob
    return loss / len(returns)


def surrogate_in_place(log_probs, returns):
    log_probs *= returns
    return -log_probs.mean()


# 2.5, a sequence's log-probability


def log_prob_loop(logits, ids):
    total = 0.0
    for t in range(len(ids) - 1):
        row = logits[t]
        total += row[ids[t + 1]] - torch.logsumexp(row, 0)
    return total


def log_prob_numpy(logits, ids):
    x, total = logits.numpy()[:-1], 0.0
    x = x - x.max(axis=1, keepdims=True)
    logp = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    for row, token in zip(logp, ids.numpy()[1:], strict=True):
        total += row[token]
    return float(total)


def log_prob_masked(logits, ids):
    hit = F.one_hot(ids[1:], logits.shape[1]).bool()
    return logits.log_softmax(-1)[:-1].masked_select(hit).sum()


def log_prob_gather_twice(logits, ids):
    logp = torch.log_softmax(logits, dim=-1)[:-1]
    return torch.gather(logp, 1, ids[1:].view(-1, 1)).squeeze(1).sum()


def log_prob_last_row_kept(logits, ids):
    return torch.stack([logits[t].log_softmax(0)[ids[min(t + 1, len(ids) - 1)]] for t in range(len(ids))]).sum()


def log_prob_without_gather(logits, ids):
    return logits[:-1].log_softmax(1).sum()


def log_prob_forgotten(logits, ids):
    logits[:-1].log_softmax(1).gather(1, ids[1:, None]).sum()


# 2.6, the theorem


def q_form_loop(visits, probs, q):
    gradient = torch.zeros_like(probs)
    for t in range(len(q)):
        for s in range(len(probs)):
            value = probs[s] @ q[t, s]
            gradient[s] += visits[t, s] * probs[s] * (q[t, s] - value)
    return gradient


def q_form_jacobian(visits, probs, q):
    turn = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]  # ∂π(b)/∂θ_a
    return torch.einsum("ts,sab,tsb->sa", visits, turn, q)


def q_form_weighted_first(visits, probs, q):
    worth = (visits[..., None] * q).sum(0)
    return probs * (worth - (probs * worth).sum(1, keepdim=True))


def q_form_autograd(visits, probs, q):
    theta = probs.log().requires_grad_()
    (visits[..., None] * theta.softmax(-1) * q).sum().backward()
    return theta.grad


def q_form_numpy(visits, probs, q):
    d, p, q = visits.numpy(), probs.numpy(), q.numpy()
    value = (p * q).sum(-1, keepdims=True)
    return np.einsum("ts,tsa->sa", d, p * (q - value))


def q_form_last_step(visits, probs, q):
    return visits[-1, :, None] * probs * (q[-1] - (probs * q[-1]).sum(-1, keepdim=True))


def q_form_value_over_states(visits, probs, q):
    return (visits[..., None] * probs * (q - (probs * q).sum(1, keepdim=True))).sum(0)


RIGHT = {
    "2.1": (
        objective_loop,
        objective_in_place,
        lambda p, r: np.mean(np.sum(p.numpy() * r.numpy(), axis=1)),
        lambda p, r: torch.einsum("pk,pk->", p, r) / len(p),
        lambda p, r: (p.float() * r.float()).sum(dim=1).mean(),
        lambda p, r: (p @ r.T).diagonal().mean(),
    ),
    "2.2": (
        estimate_loop,
        estimate_lists,
        estimate_autograd,
        estimate_by_counts,
        estimate_numpy,
        lambda x, a, r: r.float() @ (torch.eye(len(x))[a] - x.float().softmax(0)) / len(r),
    ),
    "2.3": (score_loop, score_autograd, score_cross_entropy, score_in_place, score_numpy),
    "2.4": (
        surrogate_loop,
        surrogate_in_place,
        lambda lp, r: -torch.dot(r, lp) / len(r),
        lambda lp, r: -(r * (lp - lp.detach()).exp()).mean(),
        lambda lp, r: -(r * (lp - lp.detach())).mean(),
        lambda lp, r: torch.mean(-lp * r).reshape(1),
        lambda lp, r: 5.0 - (lp * torch.tensor(r.tolist(), dtype=torch.float64)).mean(),
        lambda lp, r: -(r.float() * lp.float()).mean(),
    ),
    "2.5": (
        log_prob_loop,
        log_prob_numpy,
        log_prob_masked,
        log_prob_gather_twice,
        lambda x, ids: -F.cross_entropy(x[:-1], ids[1:], reduction="sum"),
        lambda x, ids: x.float().log_softmax(1)[range(len(ids) - 1), ids[1:]].sum(),
        lambda x, ids: torch.distributions.Categorical(logits=x[:-1]).log_prob(ids[1:]).sum(),
    ),
    "2.6": (q_form_loop, q_form_jacobian, q_form_weighted_first, q_form_autograd, q_form_numpy),
}

WRONG = {
    "2.1": (
        ("`return` missing", objective_forgotten),
        ("without calling it", torch.tensor(0.5)),
        ("it should be one number", lambda p, r: (p * r).sum(0)),
        ("it should be", lambda p, r: p.mean() * r.mean()),
        ("it should be", lambda p, r: r[range(len(r)), p.argmax(1)].mean()),
        ("it should be", lambda p, r: -(p * r).sum(1).mean()),
        ("raised RuntimeError", lambda p, r: (p @ r).sum(1).mean()),
        ("add the prompts up", lambda p, r: float((p.numpy() * r.numpy()).sum())),
    ),
    "2.2": (
        ("`return` missing", estimate_forgotten),
        ("shape [3]", lambda x, a, r: torch.eye(len(x))[a] - x.softmax(0)),
        ("mean reward: a good idea", lambda x, a, r: (r - r.mean()) @ (F.one_hot(a, 3) - x.softmax(0)) / len(r)),
        ("divide by π(a)", lambda x, a, r: ((r / x.softmax(0)[a])[:, None] * (F.one_hot(a, 3) - x.softmax(0))).mean(0)),
        ("by their mean", lambda x, a, r: r @ (F.one_hot(a, 3) - x.softmax(0))),
        ("wrong way round", lambda x, a, r: r @ (x.softmax(0) - F.one_hot(a, 3)) / len(r)),
        ("it should be", lambda x, a, r: (r[:, None] * (torch.eye(len(x))[a] - x)).mean(0)),
        ("loses its own π", estimate_chosen_alone),
        ("asked for is [K]", estimate_of_numbers),
        ("asked for is [K]", lambda x, a, r: (r[:, None] * (F.one_hot(a, 3) - x.softmax(0))).mean()),
        ("average over the actions", lambda x, a, r: (r[:, None] * (F.one_hot(a, 3) - x.softmax(0))).mean(-1)),
    ),
    "2.3": (
        ("should have", score_mean_of_cross_entropy),
        ("cross-entropy", lambda x, t: x.softmax(-1) - F.one_hot(t, x.shape[1])),
        ("shape [5, 3]", lambda x, t: (F.one_hot(t, x.shape[1]) - x.softmax(1)).sum(0)),
        ("over the places", lambda x, t: F.one_hot(t, x.shape[1]) - torch.softmax(x, 0)),
        ("logits themselves", lambda x, t: F.one_hot(t, x.shape[1]).float() - x),
        ("one number", lambda x, t: x.log_softmax(1)[range(len(t)), t].sum()),
        ("should have", lambda x, t: F.one_hot(t, x.shape[1]) - x.log_softmax(1)),
        ("loses its own π", score_chosen_alone),
        (
            "loses its own π",
            lambda x, t: torch.diag(1 - x.softmax(1)[range(len(t)), t]) @ F.one_hot(t, x.shape[1]).double(),
        ),
        ("`return` missing", lambda x, t: print(end="" if len(score_loop(x, t)) else "nothing")),
    ),
    "2.4": (
        ("No gradient flows", lambda lp, r: -(r * lp.detach()).mean()),
        ("No gradient flows", lambda lp, r: -(r * lp).mean().item()),
        ("No gradient flows", lambda lp, r: -np.mean(r.numpy() * lp.numpy())),
        ("No gradient flows", lambda lp, r: torch.tensor(-(r * lp).mean().item())),
        ("No gradient flows", lambda lp, r: -sum(float(x) * float(y) for x, y in zip(lp, r, strict=True)) / len(r)),
        ("a loss is one number", lambda lp, r: -r * lp),
        ("an optimiser goes downhill", lambda lp, r: torch.dot(r, lp) / len(r)),
        ("whatever they earned", lambda lp, r: -lp.sum() / len(r)),
        ("lesson 05's", lambda lp, r: ((r.mean() - r) * lp).mean()),
        ("the gradient of your loss is", lambda lp, r: -(r * lp).mean() / r.abs().sum()),
        ("the gradient of your loss is", lambda lp, r: (r - lp).square().mean()),
        ("`return` missing", lambda lp, r: (-(r * lp).mean()).backward()),
    ),
    "2.5": (
        ("cross-entropy, a loss", lambda x, ids: F.cross_entropy(x[:-1], ids[1:], reduction="sum")),
        ("just read", lambda x, ids: -F.cross_entropy(x, ids, reduction="sum")),
        ("the wrong way", lambda x, ids: x[1:].log_softmax(1)[range(len(ids) - 1), ids[:-1]].sum()),
        ("average over the tokens", lambda x, ids: -F.cross_entropy(x[:-1], ids[1:])),
        ("e to the −895", lambda x, ids: torch.log(x.softmax(1)[range(len(ids) - 1), ids[1:]]).sum()),
        ("every row for every token", lambda x, ids: x[:-1].log_softmax(1)[:, ids[1:]].sum()),
        ("one number for the sequence", lambda x, ids: [r.log_softmax(0)[t] for r, t in zip(x, ids[1:], strict=False)]),
        ("it should be", log_prob_without_gather),
        ("it should be", log_prob_last_row_kept),
        ("raised", lambda x, ids: x.log_softmax(1).gather(1, ids).sum()),
        ("`return` missing", log_prob_forgotten),
    ),
    "2.6": (
        ("wrong way round", lambda d, p, q: -q_form_loop(d, p, q)),
        ("shape [3, 2]", lambda d, p, q: d[..., None] * p * (q - (p * q).sum(-1, keepdim=True))),
        ("plain mean", lambda d, p, q: torch.einsum("ts,sa,tsa->sa", d, p, q - q.mean(2, keepdim=True))),
        ("weigh by d_t(s)", lambda d, p, q: q_form_loop(torch.ones_like(d), p, q)),
        ("sum over t", lambda d, p, q: q_form_loop(d, p, q) / len(q)),
        ("it should be", q_form_last_step),
        ("it should be", q_form_value_over_states),
        ("`return` missing", lambda d, p, q: print(end="" if len(q_form_loop(d, p, q)) else "nothing")),
    ),
}
