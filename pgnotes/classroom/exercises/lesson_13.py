"""Lesson 13's exercises: the comparison loss, the tilted policy, best of n, DPO, the KL in the reward, KTO."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.preferences import best_of, dpo_terms, kl_in_reward, kto_terms, tilted


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def rows(*values: list[float]) -> Tensor:
    """A float64 tensor with a row for each list."""
    return torch.tensor(values, dtype=torch.float64)


CHANCES, PAYS = vector(0.6, 0.3, 0.1), vector(0.2, 1.0, 0.5)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]).bool()
OTHER_MASK = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]]).bool()
W, L = (
    rows([-1.0, -0.5, -2.0], [-0.7, -1.0, -1.0], [-0.2, -1.5, -1.0]),
    rows([-2.0, -1, -1], [-1, -3, -1], [-1, -1, -1]),
)
REF_W = rows([-1.5, -0.5, -1.0], [-0.5, -2.0, -1.0], [-0.9, -1.0, -3.0])
REF_L = rows([-1.0, -1.5, -2.0], [-1.2, -2.0, -0.5], [-0.3, -0.6, -1.0])
PAIRS = (W, L, REF_W, REF_L, MASK, OTHER_MASK)


def masked(logp: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities of whole answers, [n]."""
    return (logp * mask).sum(1)


def margin(w: Tensor, loser: Tensor, ref_w: Tensor, ref_l: Tensor, mask_w: Tensor, mask_l: Tensor) -> Tensor:
    """What DPO's loss looks at, before β."""
    return masked(w - ref_w, mask_w) - masked(loser - ref_l, mask_l)


def average(values: Tensor, mask: Tensor) -> Tensor:
    """A mean over live tokens, [n]."""
    return masked(values, mask) / mask.sum(1)


def per_token(w: Tensor, loser: Tensor, ref_w: Tensor, ref_l: Tensor, mask_w: Tensor, mask_l: Tensor) -> Tensor:
    """The margin of means over tokens."""
    return average(w - ref_w, mask_w) - average(loser - ref_l, mask_l)


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
            "Where the difference is −800, σ is 0 in floating point and its logarithm minus infinity. "
            "`torch.nn.functional.logsigmoid` never computes σ itself.",
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

dpo = Exercise(
    "13.4",
    "Write dpo_from_tokens(logp_w, logp_l, ref_w, ref_l, mask_w, mask_l, beta)",
    lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: dpo_terms(
        masked(w, mask_w), masked(loser, mask_l), masked(ref_w, mask_w), masked(ref_l, mask_l), beta
    ).mean(),
    ((*PAIRS, 0.5), (*PAIRS, 1.0), (L, W, REF_L, REF_W, OTHER_MASK, MASK, 0.1)),
    {
        "swapped": (
            lambda *a: -logsigmoid(-a[6] * margin(*a[:6])).mean(),
            "The pair is swapped. The loss will fall as nicely as the right one, and the policy learns what people "
            "did not want: no curve of this loss shows it.",
        ),
        "no reference": (
            lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: (
                -logsigmoid(beta * (masked(w, mask_w) - masked(loser, mask_l))).mean()
            ),
            "The reference is missing: the margin is of log π/π_ref. Without it a winner that was rare is pulled "
            "harder, and one that was likely hardly: the goal is e^{R/β} beside equal chances, and not beside the "
            "reference.",
        ),
        "mean over tokens": (
            lambda *a: -logsigmoid(a[6] * per_token(*a[:6])).mean(),
            "You average over tokens. The derivation is about log π of whole answers, a *sum*; with a mean a token of "
            "a long answer weighs less. (SimPO and others do so on purpose, with another β.)",
        ),
        "beta outside": (
            lambda *a: -a[6] * logsigmoid(margin(*a[:6])).mean(),
            "β stands outside of σ, where it only changes the step size. Inside it says at which margin the loss is "
            "content.",
        ),
        "divided by beta": (
            lambda *a: -logsigmoid(margin(*a[:6]) / a[6]).mean(),
            "You divide by β. R = β log(π/π_ref): the margin in rewards is β times the difference of log-ratios.",
        ),
        "padding": (
            lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: (
                -logsigmoid(beta * ((w - ref_w).sum(1) - (loser - ref_l).sum(1))).mean()
            ),
            "Tokens outside the mask are counted: what follows the end is padding.",
        ),
        "sum over pairs": (
            lambda *a: -logsigmoid(a[6] * margin(*a[:6])).sum(),
            "Right up to a factor: take the mean over pairs.",
        ),
        "no logarithm": (
            lambda *a: -torch.sigmoid(a[6] * margin(*a[:6])).mean(),
            "The logarithm is missing: −log σ. Without it a pair that is badly wrong has no slope.",
        ),
        "token against token": (
            lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: (
                -logsigmoid(beta * ((w - ref_w) * mask_w - (loser - ref_l) * mask_l)).mean()
            ),
            "You compare token by token. People compared whole answers: add up first, then one σ for each pair.",
        ),
    },
    "A pair's gradient is β σ(−margin) (s_l − s_w): of a pair that is right by far, hardly anything is learned.",
    gradient_of=(0, 1),
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
    },
    "Added up over an answer it is R − β log(π/π_ref), whose mean is J − β KL.",
    fault=paid_fault,
)

GOOD = torch.tensor([True, False, True])
JUDGED = (W, REF_W, MASK, GOOD)


def above(logp: Tensor, ref: Tensor, mask: Tensor, beta: float, anchor: float) -> Tensor:
    """β (log π/π_ref - z), [n]."""
    return beta * (masked(logp - ref, mask) - anchor)


kto = Exercise(
    "13.6",
    "Write kto_from_tokens(logp, ref, mask, good, beta, anchor)",
    lambda logp, ref, mask, good, beta, anchor: kto_terms(
        masked(logp, mask), masked(ref, mask), good, beta, anchor
    ).mean(),
    ((*JUDGED, 0.5, 0.3), (*JUDGED, 1.0, 0.0), (L, REF_L, OTHER_MASK, ~GOOD, 0.5, 1.0)),
    {
        "all tokens": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * beta * ((logp - ref).sum(1) - anchor)
            ).mean(),
            "Tokens outside the mask are counted. In DPO a prompt that both answers share would cancel, and no test "
            "would notice; here nothing cancels.",
        ),
        "turned": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, 1.0, -1.0) * above(logp, ref, mask, beta, anchor)
            ).mean(),
            "Good and bad are exchanged: as it is, liked answers become rarer.",
        ),
        "no labels": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(-above(logp, ref, mask, beta, anchor)).mean(),
            "All answers are treated as liked. For the others the sign of what stands in σ is turned.",
        ),
        "liked ones alone": (
            lambda logp, ref, mask, good, beta, anchor: (
                torch.sigmoid(-above(logp, ref, mask, beta, anchor)) * good
            ).mean(),
            "Answers that were not liked add nothing. They push too: σ of +β(log π/π_ref − z), to be made small.",
        ),
        "anchor forgotten": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * above(logp, ref, mask, beta, 0.0)
            ).mean(),
            "The anchor z is missing: an answer is measured from the policy's average log-ratio, not from 0.",
        ),
        "anchor outside beta": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * (beta * masked(logp - ref, mask) - anchor)
            ).mean(),
            "β multiplies the whole difference, log-ratio less z; both are in nats.",
        ),
        "logarithm": (
            lambda logp, ref, mask, good, beta, anchor: (
                -logsigmoid(torch.where(good, 1.0, -1.0) * above(logp, ref, mask, beta, anchor)).mean()
            ),
            "−log σ is DPO's shape. KTO has 1 − σ, whose slope also vanishes where an answer is hopeless.",
        ),
        "mean over tokens": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * beta * (average(logp - ref, mask) - anchor)
            ).mean(),
            "You average over tokens; log π of an answer is a sum.",
        ),
    },
    "The slope is β σ(1 − σ): least where an answer is far above or far below the anchor.",
    gradient_of=(0,),
)

EXERCISES = (comparisons, best_policy, best_of_n, dpo, penalised, kto)
