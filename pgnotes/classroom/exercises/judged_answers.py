"""Lesson 13's losses on judged answers, from log-probabilities of tokens: DPO (13.4) and KTO (13.6)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.preferences import dpo_terms, kto_terms


def rows(*values: list[float]) -> Tensor:
    """A float64 tensor with a row for each list."""
    return torch.tensor(values, dtype=torch.float64)


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
        "one mask": (
            lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: (
                -logsigmoid(beta * (masked(w - ref_w, mask_w) - masked(loser - ref_l, mask_w))).mean()
            ),
            "You use the winners' mask for the losers too. They are other texts, and end elsewhere: `mask_l`.",
        ),
        "masks exchanged": (
            lambda w, loser, ref_w, ref_l, mask_w, mask_l, beta: (
                -logsigmoid(beta * (masked(w - ref_w, mask_l) - masked(loser - ref_l, mask_w))).mean()
            ),
            "The masks are exchanged: `mask_w` says which tokens of the *winners* are live.",
        ),
        "beta forgotten": (
            lambda *a: -logsigmoid(margin(*a[:6])).mean(),
            "β is missing, as if it were 1. It multiplies the margin inside σ, and says at which margin the loss is "
            "content.",
        ),
        "one margin for all": (
            lambda *a: -logsigmoid(a[6] * margin(*a[:6]).sum()),
            "You add the margins of all pairs and take one σ. Each pair was compared by itself: one σ for each (sum "
            "over tokens, `.sum(1)`), then the mean over pairs.",
        ),
    },
    "A pair's gradient is β σ(−margin) (s_l − s_w): of a pair that is right by far, hardly anything is learned.",
    gradient_of=(0, 1),
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
        "sum over answers": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * above(logp, ref, mask, beta, anchor)
            ).sum(),
            "Right up to a factor: take the mean over answers.",
        ),
        "no reference": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * above(logp, 0 * ref, mask, beta, anchor)
            ).mean(),
            "The reference is missing: what is compared with z is log π/π_ref, not log π.",
        ),
        "anchor added": (
            lambda logp, ref, mask, good, beta, anchor: torch.sigmoid(
                torch.where(good, -1.0, 1.0) * above(logp, ref, mask, beta, -anchor)
            ).mean(),
            "The anchor z is added. It is what the log-ratio is measured *from*: subtract it.",
        ),
        "a mean for each thumb": (
            lambda logp, ref, mask, good, beta, anchor: (
                torch.sigmoid(-above(logp, ref, mask, beta, anchor))[good].mean()
                + torch.sigmoid(above(logp, ref, mask, beta, anchor))[~good].mean()
            ),
            "You take a mean over the liked and one over the others, and add them: then an answer weighs more where "
            "its kind is rarer. Here it is one mean over all answers. (To weigh the kinds is an option of KTO's.)",
        ),
    },
    "The slope is β σ(1 − σ): least where an answer is far above or far below the anchor.",
    gradient_of=(0,),
)
