"""Lesson 13's exercises: the comparison loss, the tilted policy, best of n, DPO, the KL in the reward, KTO."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.judged_answers import MASK, OTHER_MASK, REF_W, L, W, dpo, kto, masked
from pgnotes.theory.preferences import best_of, kl_in_reward, tilted


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


CHANCES, PAYS = vector(0.6, 0.3, 0.1), vector(0.2, 1.0, 0.5)

comparisons = Exercise(
    "13.1",
    "Write comparison_loss(better, worse)",
    lambda better, worse: -logsigmoid(better - worse).mean(),
    (
        (vector(1.0, 0.2, -1.0), vector(0.0, 0.5, -1.0)),
        (vector(3.0, 3.0), vector(-2.0, 2.5)),
        (vector(1.0, 800.0), vector(0.0, 0.0)),
        (vector(0.0, -800.0), vector(0.5, 0.0)),
    ),
    {
        "no logarithm": (
            lambda better, worse: -torch.sigmoid(better - worse).mean(),
            "You add up probabilities, not their logarithms: a soft count of right verdicts. The likelihood of all "
            "comparisons is a product, and its logarithm a sum of log σ. A pair that is badly wrong has no slope in "
            "your loss.",
        ),
        "difference": (
            lambda better, worse: -(better - worse).mean(),
            "You make the difference of the scores as large as it gets, and it has no end. Bradley–Terry asks how "
            "likely the verdict was: put the difference into log σ.",
        ),
        "turned": (
            lambda better, worse: -logsigmoid(worse - better).mean(),
            "The pair is turned round: as it is, the answers that lost get the higher scores.",
        ),
        "other outcome": (
            lambda better, worse: logsigmoid(worse - better).mean(),
            "That is log(1 − σ), made small: the probability of the verdict that was *not* given. It has the right "
            "sign, but its slope is largest where the scores are right already.",
        ),
        "each alone": (
            lambda better, worse: -(logsigmoid(better) + logsigmoid(-worse)).mean(),
            "You judge each answer by itself, as good or bad. Judges compared the two: only the difference of the "
            "scores may count.",
        ),
        "sum": (
            lambda better, worse: -logsigmoid(better - worse).sum(),
            "Right up to a factor: take the mean over pairs, not the sum, or the step size depends on the batch.",
        ),
        "overflow": (
            lambda better, worse: -torch.log(torch.sigmoid(better - worse)).mean(),
            "At a difference of −800 e^{800} is infinite in floating point, or σ is 0 and its logarithm minus "
            "infinity. `torch.nn.functional.logsigmoid` does neither.",
        ),
        "a small number inside": (
            lambda better, worse: -torch.log(torch.sigmoid(better - worse) + 1e-8).mean(),
            "A small number inside the logarithm, or a clamp, hides the overflow: the pair that is wrong by 800 has "
            "no slope, and is never learned. `torch.nn.functional.logsigmoid` needs neither.",
        ),
        "hinge": (
            lambda better, worse: torch.relu(1 - (better - worse)).mean(),
            "That is a hinge: it stops at a difference of 1. Bradley–Terry's likelihood never quite stops: −log σ.",
        ),
    },
    "A constant added to all scores changes nothing; the loss sees differences.",
    gradient_of=(0, 1),
)

best_policy = Exercise(
    "13.2",
    "Write best_policy(reference, rewards, beta)",
    tilted,
    ((CHANCES, PAYS, 0.5), (CHANCES, PAYS, 2.0), (vector(0.9, 0.1), vector(0.0, 1.0), 0.1), (CHANCES, 1e3 * PAYS, 0.5)),
    {
        "times beta": (
            lambda p, r, beta: torch.softmax(p.log() + beta * r, 0),
            "You multiply the rewards by β. A large β is a high price of KL and should keep the policy at home: "
            "divide by it.",
        ),
        "no reference": (
            lambda p, r, beta: torch.softmax(r / beta, 0),
            "The reference is missing: as it is, answers of equal reward become equally likely, however rare they "
            "were. Without a KL to a reference, but with an entropy bonus, this would be the optimum.",
        ),
        "overflow": (
            lambda p, r, beta: p * torch.exp(r / beta) / (p * torch.exp(r / beta)).sum(),
            "The formula is right, and e^{2000} is infinite in floating point. Subtract the largest exponent first, "
            "or give the logarithms to `torch.softmax`.",
        ),
        "not normalised": (
            lambda p, r, beta: p * torch.exp((r - r.max()) / beta),
            "It does not add up to 1: divide by the sum, Z.",
        ),
        "chances as logits": (
            lambda p, r, beta: torch.softmax(p + r / beta, 0),
            "In the exponent stands the *logarithm* of the reference: π_ref = e^{log π_ref}.",
        ),
        "the best alone": (
            lambda p, r, beta: torch.nn.functional.one_hot(r.argmax(), len(r)).double(),
            "That is the limit where KL costs nothing, β → 0. At a price the others keep a share.",
        ),
        "mixture": (
            lambda p, r, beta: (p * beta + torch.softmax(r, 0)) / (beta + 1),
            "That mixes two distributions. The optimum *multiplies* the reference by e^{R/β}.",
        ),
    },
    "log π* − log π_ref is the reward over β, up to the same constant for all: what DPO turns round.",
)

best_of_n = Exercise(
    "13.3",
    "Write best_of_n(chances, scores, n)",
    best_of,
    (
        (CHANCES, PAYS, 2),
        (CHANCES, PAYS, 16),
        (vector(0.4, 0.3, 0.2, 0.1), vector(1.0, 2.0, 2.0, 0.0), 3),
        (CHANCES, PAYS, 1),
    ),
    {
        "density": (
            lambda p, s, n: n * p * torch.stack([p[s <= x].sum() ** (n - 1) for x in s]),
            "n F^{n−1} π is the *density* of the largest of n continuous numbers. Answers have steps: the best is at "
            "most this level with chance Fⁿ; subtract the chance that it is below.",
        ),
        "up to": (
            lambda p, s, n: torch.stack([p[s <= x].sum() ** n for x in s]),
            "Fⁿ is the chance that the best is at *most* as good as this answer. Subtract the chance that it is worse.",
        ),
        "at least once": (
            lambda p, s, n: 1 - (1 - p) ** n,
            "That is the chance that an answer is among the n draws. It also has to be the best of them.",
        ),
        "worst": (
            lambda p, s, n: best_of(p, -s, n),
            "You take the worst of n. F counts what is *below*.",
        ),
        "ties to all": (
            lambda p, s, n: torch.stack([p[s <= x].sum() ** n - p[s < x].sum() ** n for x in s]),
            "Answers of the same score each get the whole chance of their level, and the sum exceeds 1. They share it, "
            "in proportion to their chances.",
        ),
        "ties alike": (
            lambda p, s, n: torch.stack([(p[s <= x].sum() ** n - p[s < x].sum() ** n) / (s == x).sum() for x in s]),
            "Answers of the same score share their level equally. The one that is drawn more often is the best more "
            "often: share by their chances.",
        ),
        "sorted": (
            lambda p, s, n: (p[s.argsort()].cumsum(0) ** n).diff(prepend=torch.zeros(1).double())[
                s.argsort().argsort()
            ],
            "You sort, so that of two answers with the same score one counts as better. They share their level in "
            "proportion to their chances.",
        ),
        "ordered by place": (
            lambda p, s, n: (p.cumsum(0) ** n).diff(prepend=torch.zeros(1).double()),
            "You add up in the order in which the answers stand. F adds up what has a score at most as high.",
        ),
    },
    "With n = 1 it is the policy itself. No β, no training, and n completions for each answer.",
)

REWARDED = (vector(1.0, 0.0, 0.5), W.clone().requires_grad_(), REF_W, MASK)


def at_last(rewards: Tensor, mask: Tensor) -> Tensor:
    """Each answer's reward at its last live token, [n, T]."""
    last = mask & (mask.long().cumsum(1) == mask.sum(1, keepdim=True))
    return rewards[:, None] * last


def paid_fault(case: tuple, value: Any) -> str | None:
    """A wrong number, or a gradient that flows."""
    wrong = penalised.difference(case, value)
    if wrong is None and isinstance(value, Tensor) and value.requires_grad:
        return "The numbers are right, but a gradient flows through them."
    return wrong


penalised = Exercise(
    "13.5",
    "Write penalised_rewards(rewards, logp, logp_ref, mask, beta)",
    lambda rewards, logp, ref, mask, beta: kl_in_reward(at_last(rewards, mask), logp, ref, mask, beta),
    ((*REWARDED, 0.1), (*REWARDED, 1.0), (vector(2.0, -1.0, 0.0), W.clone().requires_grad_(), L, OTHER_MASK, 0.3)),
    {
        "sign": (
            lambda r, logp, ref, mask, beta: at_last(r, mask) + beta * (logp - ref).detach() * mask,
            "The sign is turned: a token that the policy likes more than the reference does costs, and you pay for it.",
        ),
        "not detached": (
            lambda r, logp, ref, mask, beta: at_last(r, mask) - beta * (logp - ref) * mask,
            "The numbers are right, but a gradient flows through them. A reward is a number that was paid: "
            "`.detach()` it, or the loss also gets the gradient of an entropy bonus of β (claim C52).",
        ),
        "reward on every token": (
            lambda r, logp, ref, mask, beta: (r[:, None] - beta * (logp - ref).detach()) * mask,
            "You pay the answer's reward at every token: a long answer would earn it many times. Only its last live "
            "token is paid; the KL is what stands on every one.",
        ),
        "spread": (
            lambda r, logp, ref, mask, beta: ((r / mask.sum(1))[:, None] - beta * (logp - ref).detach()) * mask,
            "You spread the reward over the tokens (claim C23). It stays on the last live token; the KL is spread.",
        ),
        "last column": (
            lambda r, logp, ref, mask, beta: (
                r[:, None] * (torch.arange(mask.shape[1]) == mask.shape[1] - 1) - beta * (logp - ref).detach() * mask
            ),
            "You pay in the last *column*, which for a short answer is padding. Pay at the last live token.",
        ),
        "padding": (
            lambda r, logp, ref, mask, beta: at_last(r, mask) - beta * (logp - ref).detach(),
            "Tokens outside the mask pay a KL too. What follows the end is padding: 0.",
        ),
        "reward forgotten": (
            lambda r, logp, ref, mask, beta: -beta * (logp - ref).detach() * mask,
            "Only the KL is there. The reward belongs on each answer's last live token.",
        ),
        "whole penalty at the end": (
            lambda r, logp, ref, mask, beta: at_last(r - beta * masked((logp - ref).detach(), mask), mask),
            "You charge the whole KL at the end. The sum is right; but each token should pay for itself, so that the "
            "reward-to-go of later ones does not contain it.",
        ),
        "overwritten": (
            lambda r, logp, ref, mask, beta: torch.where(
                at_last(torch.ones_like(r), mask) > 0, r[:, None], -beta * (logp - ref).detach() * mask
            ),
            "The last token pays its KL too: add the reward to it (`+=`), don't overwrite it.",
        ),
        "beta times the reward": (
            lambda r, logp, ref, mask, beta: beta * (at_last(r, mask) - (logp - ref).detach() * mask),
            "You multiply the reward by β too. Only the KL has a price: r − β KL.",
        ),
    },
    "Added up over an answer it is R − β log(π/π_ref), whose mean is J − β KL.",
    fault=paid_fault,
)

EXERCISES = (comparisons, best_policy, best_of_n, dpo, penalised, kto)
