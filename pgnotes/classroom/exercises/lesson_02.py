"""Lesson 02's exercises.

The objective, the estimate, a sequence's score, the surrogate loss, a sequence's log-probability from a model's logits,
the theorem in Q form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.policies import SoftmaxPolicy, StatePolicy
from pgnotes.theory.worlds import icy_path


def numbers(*shape: int, seed: int) -> Tensor:
    """Fixed random numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


PENCIL = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log(), torch.tensor([1]), torch.tensor([2.0]).double()
LOGITS = torch.tensor([1.8, 1.1, 0.0], dtype=torch.float64)
ACTIONS = torch.tensor([0, 2, 1, 0, 0, 1])
REWARDS = torch.tensor([0.5, 1.0, -0.2, 0.7, 0.0, 2.0], dtype=torch.float64)
PROBS = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)
PAID = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.3, 0.2]], dtype=torch.float64)
ROWS, TOKENS = numbers(5, 3, seed=1), torch.tensor([2, 0, 0, 1, 2])
LOGP, RETURNS = -numbers(5, seed=2).abs(), numbers(5, seed=3)
ICE, WALKER = icy_path(0.2), StatePolicy(numbers(3, 2, seed=4))
VISITS, VALUES = ICE.visits(WALKER), ICE.action_values(WALKER)
CHANGED = VALUES + numbers(4, 3, 2, seed=5)
MODEL, IDS = 2 * numbers(5, 4, seed=6), torch.tensor([3, 0, 2, 2, 1])  # the first id is given, the last row unused
STEEP = torch.tensor([[0.0, 900.0, 5.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]], dtype=torch.float64)


def one_hot(actions: Tensor, k: int) -> Tensor:
    """1 at each action, 0 elsewhere, [n, K]."""
    return torch.nn.functional.one_hot(actions, k).double()


objective = Exercise(
    "2.1",
    "Write objective(probs, rewards)",
    lambda probs, rewards: (probs * rewards).sum(1).mean(),
    ((PROBS, PAID), (PROBS.flip(0), PAID), (PROBS[:1], PAID[:1])),
    {
        "no mean over prompts": (
            lambda p, r: (p * r).sum(),
            "You add the prompts up. J is an average over prompts: with twice as many prompts like these, your J "
            "would double.",
        ),
        "one for each prompt": (
            lambda p, r: (p * r).sum(1),
            "These are the expected rewards of each prompt. J is one number: average them, as all prompts are equally "
            "likely.",
        ),
        "unweighted": (
            lambda p, r: r.mean(),
            "You average the rewards as if every answer were equally likely. Weigh each by its probability under the "
            "policy.",
        ),
        "mean over answers": (
            lambda p, r: (p * r).mean(),
            "You divide by the number of answers too. The probabilities already add up to 1 in each row: sum over "
            "answers, then average over prompts.",
        ),
    },
    "An expectation inside an expectation: over prompts, and for each over the policy's answers.",
)

estimate = Exercise(
    "2.2",
    "Write estimate(logits, actions, rewards)",
    lambda logits, actions, rewards: (rewards[:, None] * SoftmaxPolicy(logits).score(actions)).mean(0),
    (PENCIL, (LOGITS, ACTIONS, REWARDS), (-LOGITS, ACTIONS, REWARDS), (LOGITS, ACTIONS[:1], REWARDS[:1])),
    {
        "sum": (
            lambda x, a, r: (r[:, None] * SoftmaxPolicy(x).score(a)).sum(0),
            "You sum over the samples. The expectation is estimated by their mean; a sum grows with N, and your step "
            "size with it.",
        ),
        "without pi": (
            lambda x, a, r: (r[:, None] * one_hot(a, len(x))).mean(0),
            "You weigh one-hot rows. The score is one-hot − π: without the −π, every action that was paid anything "
            "rises.",
        ),
        "apart": (
            lambda x, a, r: r.mean() * SoftmaxPolicy(x).score(a).mean(0),
            "You average rewards and scores apart and multiply the means. What counts is which reward came with which "
            "action: multiply first.",
        ),
        "sign": (
            lambda x, a, r: -(r[:, None] * SoftmaxPolicy(x).score(a)).mean(0),
            "Every sign is the wrong way round: this is what a loss's gradient would be. The estimate points uphill.",
        ),
        "of the probability": (
            lambda x, a, r: (r[:, None] * SoftmaxPolicy(x).probs[a][:, None] * SoftmaxPolicy(x).score(a)).mean(0),
            "You use ∇π(a) where ∇log π(a) belongs. That the actions were drawn from π has already weighted them by "
            "π(a); you do it twice.",
        ),
        "less the mean": (
            lambda x, a, r: ((r - r.mean())[:, None] * SoftmaxPolicy(x).score(a)).mean(0),
            "You subtract the batch's mean reward: a good idea, and lesson 05's estimator. Here without it: section 3 "
            "shows that it shortens the average by (N − 1)/N.",
        ),
        "weighed by 1/pi": (
            lambda x, a, r: ((r / SoftmaxPolicy(x).probs[a])[:, None] * SoftmaxPolicy(x).score(a)).mean(0),
            "You divide by π(a). The score has done that already: ∇π/π is ∇log π, which is one-hot − π.",
        ),
        "over actions": (
            lambda x, a, r: (r[:, None] * SoftmaxPolicy(x).score(a)).mean(1),
            "You average over the actions, axis 1, which gives a number for each sample. Average over the samples, "
            "axis 0: one entry for each logit is left.",
        ),
        "chosen entry only": (
            lambda x, a, r: ((r * (1 - SoftmaxPolicy(x).probs[a]))[:, None] * one_hot(a, len(x))).mean(0),
            "Only the chosen entry of each score is filled. The others move too: each loses its own π, so that a "
            "score adds up to 0.",
        ),
        "one number": (
            lambda x, a, r: (r * SoftmaxPolicy(x).score(a).sum(1)).mean(),
            "One number is left, and it is 0 whatever was paid, as a score adds up to 0 over the actions. Average "
            "over the samples alone, axis 0: asked for is [K], one entry for each logit.",
        ),
    },
    "Reward times score, averaged: it never looked at the reward function, only at rewards.",
)

sequence_score = Exercise(
    "2.3",
    "Write sequence_score(logits, tokens)",
    lambda logits, tokens: one_hot(tokens, logits.shape[1]) - logits.softmax(1),
    ((ROWS, TOKENS), (2 * ROWS, TOKENS), (ROWS[:2], TOKENS[:2])),
    {
        "last token only": (
            lambda x, t: (one_hot(t, x.shape[1]) - x.softmax(1)) * (torch.arange(len(t)) == len(t) - 1)[:, None],
            "Only the last token's row has a gradient in your version. log π of the sequence is a sum over all "
            "tokens, and each has its own row.",
        ),
        "of the probability": (
            lambda x, t: (one_hot(t, x.shape[1]) - x.softmax(1)) * x.softmax(1).gather(1, t[:, None]).prod(),
            "That is the gradient of the sequence's probability. The gradient of its logarithm lacks one factor: the "
            "probability itself.",
        ),
        "averaged": (
            lambda x, t: (one_hot(t, x.shape[1]) - x.softmax(1)) / len(t),
            "You divide by the number of tokens. The log-probability of a sequence is the sum of its tokens', not "
            "their mean.",
        ),
        "without pi": (
            lambda x, t: one_hot(t, x.shape[1]),
            "A one-hot for each token; each row also loses π. Softmax of the row is missing.",
        ),
        "sign": (
            lambda x, t: x.softmax(1) - one_hot(t, x.shape[1]),
            "Every sign is the wrong way round: π − one-hot is the gradient of −log π, the cross-entropy that a loss "
            "would be. The score points to where the sequence becomes likelier.",
        ),
        "softmax over places": (
            lambda x, t: one_hot(t, x.shape[1]) - x.softmax(0),
            "Your softmax runs over the places, dim 0. Each place chooses among its own V symbols: each row adds up "
            "to 1, dim 1.",
        ),
        "logits for pi": (
            lambda x, t: one_hot(t, x.shape[1]) - x,
            "You subtract the logits themselves. The score subtracts the probabilities: softmax of each row.",
        ),
        "chosen entry only": (
            lambda x, t: one_hot(t, x.shape[1]) * (1 - x.softmax(1)),
            "Only the chosen entry of each row is filled. The others move too: each loses its own π, so that a "
            "score adds up to 0.",
        ),
    },
    "One row for each token, each one-hot − π: a sum of log-probabilities has a sum of scores.",
)

surrogate = Exercise(
    "2.4",
    "Write surrogate(log_probs, returns)",
    lambda log_probs, returns: -(returns * log_probs).mean(),
    ((LOGP, RETURNS), (LOGP, RETURNS.abs()), (LOGP[:2], RETURNS[:2])),
    {
        "sign": (
            lambda lp, r: (r * lp).mean(),
            "The sign: an optimiser goes downhill. As it stands it would make what was paid rarer.",
        ),
        "sum": (lambda lp, r: -(r * lp).sum(), "You sum over the samples; the estimate is their mean."),
        "less the mean": (
            lambda lp, r: -((r - r.mean()) * lp).mean(),
            "You subtract the mean return: a good idea, and lesson 05's. Here the returns as they are.",
        ),
        "without the returns": (
            lambda lp, r: -lp.mean(),
            "That is cross-entropy on the samples, whatever they earned. Weigh each by its return.",
        ),
        "probabilities": (
            lambda lp, r: -(r * lp.exp()).mean(),
            "You weigh probabilities. Their gradient is π·∇log π, and sampling has already put the factor π in: keep "
            "the logarithm.",
        ),
        "apart": (
            lambda lp, r: -r.mean() * lp.mean(),
            "You multiply two means. Each sequence's log-probability belongs with its own return: multiply first, "
            "then average.",
        ),
    },
    "Its gradient is minus the estimate. Its value means nothing.",
    gradient_of=(0,),
)


def log_prob_of(logits: Tensor, ids: Tensor) -> Tensor:
    """Sum of log π(ids[t + 1] | ids[: t + 1]), which row t of the logits tells."""
    return logits[:-1].log_softmax(1).gather(1, ids[1:, None]).sum()


log_prob = Exercise(
    "2.5",
    "Write log_prob(logits, ids)",
    log_prob_of,
    ((MODEL, IDS), (MODEL[:3], IDS[:3]), (STEEP, torch.tensor([0, 2, 1]))),
    {
        "no shift": (
            lambda x, ids: x.log_softmax(1).gather(1, ids[:, None]).sum(),
            "You ask row t for token t, which the model has just read. Row t speaks about the token after it: rows "
            "0 … T − 1 go with ids 1 … T.",
        ),
        "no shift, first left out": (
            lambda x, ids: x[1:].log_softmax(1).gather(1, ids[1:, None]).sum(),
            "You drop the first id and the first row. The first id is given, but the first row tells how likely the "
            "second id is: drop the last row instead.",
        ),
        "no shift, last left out": (
            lambda x, ids: x[:-1].log_softmax(1).gather(1, ids[:-1, None]).sum(),
            "You drop the last row and the last id. The last row speaks of a token not yet written, but the last id "
            "was written: drop the first id instead, which is given.",
        ),
        "shifted backwards": (
            lambda x, ids: x[1:].log_softmax(1).gather(1, ids[:-1, None]).sum(),
            "You shifted the wrong way: row t + 1 is asked for token t. Row t speaks about token t + 1.",
        ),
        "raw logits": (
            lambda x, ids: x[:-1].gather(1, ids[1:, None]).sum(),
            "You add logits. A logit is a log-probability only up to a number that is the same for its row: "
            "log_softmax first.",
        ),
        "probabilities added": (
            lambda x, ids: x[:-1].softmax(1).gather(1, ids[1:, None]).sum(),
            "You add probabilities. They multiply; it is their logarithms that add.",
        ),
        "the probability": (
            lambda x, ids: x[:-1].softmax(1).gather(1, ids[1:, None]).prod(),
            "That is the sequence's probability. Its logarithm is asked for: a sum of logarithms.",
        ),
        "log of softmax": (
            lambda x, ids: x[:-1].softmax(1).gather(1, ids[1:, None]).log().sum(),
            "You take the logarithm of a softmax. Right on paper, but a probability of e to the −895 is 0 in a "
            "computer, and its logarithm −∞. log_softmax does both in one, safely.",
        ),
        "mean": (
            lambda x, ids: x[:-1].log_softmax(1).gather(1, ids[1:, None]).mean(),
            "You average over the tokens. A sequence's log-probability is their sum.",
        ),
        "one for each token": (
            lambda x, ids: x[:-1].log_softmax(1).gather(1, ids[1:, None])[:, 0],
            "These are the tokens' log-probabilities, and they are right. Add them up: one number for the sequence.",
        ),
        "sign": (
            lambda x, ids: -log_prob_of(x, ids),
            "The sign: this is cross-entropy, a loss. A log-probability is never above 0.",
        ),
        "softmax over places": (
            lambda x, ids: x[:-1].log_softmax(0).gather(1, ids[1:, None]).sum(),
            "Your softmax runs over the places, dim 0. Each row chooses among V tokens: dim 1.",
        ),
        "every pair": (
            lambda x, ids: x[:-1].log_softmax(1)[:, ids[1:]].sum(),
            "Your index asks every row for every token. Pair them: row t with the one token ids[t + 1], by gather or "
            "by [arange, ids].",
        ),
    },
    "log_softmax, gather, shift by one: what every training loop of a language model computes.",
)

q_form = Exercise(
    "2.6",
    "Write q_form(visits, probs, q)",
    lambda visits, probs, q: (visits[..., None] * probs * (q - (probs * q).sum(-1, keepdim=True))).sum(0),
    ((VISITS, WALKER.probs, VALUES), (VISITS, WALKER.probs.flip(0), CHANGED)),
    {
        "without the value": (
            lambda d, p, q: (d[..., None] * p * q).sum(0),
            "You have d·π·Q. The derivative of π(a) by its own row's logits also has the −π(b) part; summed over "
            "actions it subtracts V = Σ_b π(b) Q(b).",
        ),
        "without pi": (
            lambda d, p, q: (d[..., None] * (q - (p * q).sum(-1, keepdim=True))).sum(0),
            "A factor π(a|s) is missing: Σ_a ∇π(a|s) Q(s,a) = Σ_a π(a|s) ∇log π(a|s) Q(s,a).",
        ),
        "without visits": (
            lambda d, p, q: (p * (q - (p * q).sum(-1, keepdim=True))).sum(0),
            "Every state counts the same in your sum. A state matters as much as it is visited: weigh by d_t(s).",
        ),
        "mean over time": (
            lambda d, p, q: (d[..., None] * p * (q - (p * q).sum(-1, keepdim=True))).mean(0),
            "You average over the steps. J adds the rewards of all steps up, so its gradient is a sum over t.",
        ),
        "first step": (
            lambda d, p, q: d[0, :, None] * p * (q[0] - (p * q[0]).sum(-1, keepdim=True)),
            "Only the first step's states are in your sum. Later visits count as well: sum over t.",
        ),
        "sign": (
            lambda d, p, q: -(d[..., None] * p * (q - (p * q).sum(-1, keepdim=True))).sum(0),
            "Every sign is the wrong way round: it is Q − V, what an action is worth beyond its state.",
        ),
        "plain mean": (
            lambda d, p, q: (d[..., None] * p * (q - q.mean(-1, keepdim=True))).sum(0),
            "You subtract the plain mean of Q over the actions. V weighs each action by how likely it is: "
            "V = Σ_b π(b) Q(b).",
        ),
        "means multiplied": (
            lambda d, p, q: d.mean(0)[:, None] * p * (q.mean(0) - (p * q.mean(0)).sum(-1, keepdim=True)) * len(d),
            "You average visits and values over the steps and multiply the means. A visit at step t goes with the "
            "values of step t: multiply first, then sum.",
        ),
    },
    "The policy gradient theorem: where you are, times how the policy can turn there, times what that is worth.",
)

EXERCISES = (objective, estimate, sequence_score, surrogate, log_prob, q_form)
