"""Lesson 03's exercises: live tokens, masked log-probabilities, reward-to-go, loss, the loop."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.whole_loop import loop, watch
from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.returns import discounted_return, reward_to_go
from pgnotes.theory.worlds import ended_before

__all__ = ["EXERCISES", "loop", "loss", "mask", "masked_log_prob", "to_go", "watch"]

# What follows a first 0 is arbitrary.
WRITTEN = torch.tensor([[3, 3, 0, 0, 0], [1, 2, 3, 0, 2], [0, 1, 0, 0, 0], [2, 2, 2, 2, 1]])
LOGP = -torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.1
MASK = ~ended_before(WRITTEN, 0)
RETURNS = torch.tensor([1.0, 0.8, -0.5, 0.2], dtype=torch.float64)
PAID = torch.tensor([0.0, -0.2, 0.5, 1.0], dtype=torch.float64)


def from_the_end(sequences: Tensor, eos: int) -> Tensor:
    """The complement: True where nothing counts."""
    return ended_before(sequences, eos)


def until_argmax(sequences: Tensor, eos: int) -> Tensor:
    """Up to the place that argmax gives, which is 0 where there is no end."""
    ends = (sequences == eos).long().argmax(1, keepdim=True)
    return torch.arange(sequences.shape[1]) <= ends


def up_to_the_second(sequences: Tensor, eos: int) -> Tensor:
    """True as long as no more than one end token was seen, itself included."""
    return (sequences == eos).cumsum(1) <= 1


def up_to_the_last(sequences: Tensor, eos: int) -> Tensor:
    """True up to the last end token instead of the first."""
    return (sequences == eos).flip(1).cumsum(1).flip(1) > 0


mask = Exercise(
    "3.1",
    "Write mask_of(sequences, eos)",
    lambda sequences, eos: ~ended_before(sequences, eos),
    ((WRITTEN, 0), (WRITTEN, 3), (WRITTEN[3:], 0)),
    {
        "without the end": (
            lambda s, eos: (s == eos).cumsum(1) == 0,
            "Your mask leaves the end token out. The policy chose it, and it must be credited or blamed for stopping "
            "there: include the first one.",
        ),
        "every other token": (
            lambda s, eos: s != eos,
            "You mask the end tokens themselves, wherever they are, and keep what comes after the first. Count the "
            "end tokens before each place instead.",
        ),
        "all": (
            lambda s, eos: torch.ones_like(s, dtype=torch.bool),
            "Every place counts in your mask. What stands after the end was never chosen.",
        ),
        "up to the last": (up_to_the_last, "You go up to the last end token. A sequence is over at its first one."),
        "up to the second": (
            up_to_the_second,
            "You keep what follows the first end token until a second one comes. Count the end tokens *before* each "
            "place: `cumsum` counts the place itself too, so take it off again.",
        ),
        "inverted": (
            from_the_end,
            "Upside down: True should stand where a token counts, and yours stands where it does not.",
        ),
        "argmax": (
            until_argmax,
            "Right where there is an end token. `argmax` gives 0 where there is none, and of such a sequence every "
            "place counts.",
        ),
    },
    "Up to and including the first end token; everything, where there is none.",
)

masked_log_prob = Exercise(
    "3.2",
    "Write sequence_log_prob(logp, mask)",
    lambda logp, mask: logp.where(mask, 0.0).sum(1),
    ((LOGP, MASK), (LOGP[:2], MASK[:2]), (LOGP.masked_fill(~MASK, -torch.inf), MASK)),
    {
        "no mask": (
            lambda lp, m: lp.sum(1),
            "You add up all places. Those after the end token hold log-probabilities of tokens that nobody chose; "
            "with them, the outcomes' "
            "probabilities no longer add up to 1.",
        ),
        "mean": (
            lambda lp, m: lp.where(m, 0.0).sum(1) / m.sum(1),
            "You divide by the length. That is the mean log-probability of a token (a fluency measure); the "
            "sequence's is the sum.",
        ),
        "a product": (
            lambda lp, m: (lp * m).sum(1),
            "Right, as long as the log-probabilities are finite. A token that can never be written has −inf, and −inf "
            "times 0 is NaN: choose with `torch.where` or `masked_fill` instead of multiplying.",
        ),
        "probability": (
            lambda lp, m: lp.where(m, 0.0).sum(1).exp(),
            "That is the probability. Leave out the exp.",
        ),
        "over sequences": (
            lambda lp, m: lp.where(m, 0.0).sum(0),
            "You add over the sequences, a sum for each place. Add along the other axis, over the places of each "
            "sequence.",
        ),
        "one number": (
            lambda lp, m: lp.where(m, 0.0).sum(),
            "You add over sequences too. One number for each: sum along the time axis only.",
        ),
    },
    "Only chosen tokens count, and the end token is one of them.",
)

to_go = Exercise(
    "3.3",
    "Write reward_to_go(rewards, gamma)",
    lambda rewards, gamma: reward_to_go(rewards, gamma),
    ((PAID, 1.0), (PAID, 0.9), (PAID.flip(0), 0.5)),
    {
        "backwards": (
            lambda r, g: torch.stack([sum(g ** (t - k) * r[k] for k in range(t + 1)) for t in range(len(r))]),
            "You add up what came before each step. Reward-to-go is what comes from it on: run the sum from the last "
            "step to the first.",
        ),
        "from the start": (
            lambda r, g: torch.stack([sum(g**k * r[k] for k in range(t, len(r))) for t in range(len(r))]),
            "You discount by γ to the power of the time since the start. Seen from step t, the reward of step k is k "
            "− t steps away.",
        ),
        "without gamma": (
            lambda r, g: reward_to_go(r),
            "The sum is right, and γ is nowhere in it: it agrees for γ = 1 only.",
        ),
        "whole return": (
            lambda r, g: discounted_return(r, g).expand(len(r)),
            "Every step gets the whole return in your version. Leave out what was earned before the step.",
        ),
        "turned round": (
            lambda r, g: reward_to_go(r, g).flip(0),
            "The right numbers in the wrong order: the first entry belongs to the first step. Turn the result round.",
        ),
        "one gamma": (
            lambda r, g: torch.stack([r[t] + g * r[t + 1 :].sum() for t in range(len(r))]),
            "You discount all later rewards by γ once. A reward k steps away counts γ to the power of k: carry the "
            "discounted sum along.",
        ),
        "a step too early": (
            lambda r, g: g * reward_to_go(r, g),
            "You discount the reward of the step itself too. From step t it is no step away: it counts in full.",
        ),
        "next only": (
            lambda r, g: r + g * torch.cat([r[1:], torch.zeros(1, dtype=torch.float64)]),
            "You add the next reward alone. What is still to come from the next step is itself a reward-to-go: walk "
            "from the end, and carry it along.",
        ),
        "one step too late": (
            lambda r, g: torch.cat([reward_to_go(r, g)[1:], torch.zeros(1, dtype=torch.float64)]),
            "Your sum begins at the step after. The reward of step t itself is a consequence of the action at t: "
            "include it.",
        ),
    },
    "With a single reward at the end and γ = 1, every entry is that reward.",
)

loss = Exercise(
    "3.4",
    "Write reinforce_loss(logp, mask, returns)",
    lambda logp, mask, returns: policy_loss(logp, logp, returns, mask, "reinforce", aggregate="sum"),
    ((LOGP, MASK, RETURNS), (LOGP[:3], MASK[:3], RETURNS[:3])),
    {
        "no returns": (
            lambda lp, m, r: -(lp * m).sum(1).mean(),
            "Your loss leaves the returns out: it makes whatever was written likelier, good or bad. Multiply each "
            "sequence's log-probability with its return.",
        ),
        "mean over places": (
            lambda lp, m, r: -(r[:, None] * lp * m).mean(),
            "You average over the places too, padding included. A sequence's log-probability is the sum of its "
            "tokens'; the mean is over sequences alone.",
        ),
        "mean return": (
            lambda lp, m, r: -r.mean() * (lp * m).sum(1).mean(),
            "Each sequence has to meet its own return, and then comes the mean. Yours is the product of two means: "
            "written so, or by shapes that do not agree ([B, 1] times [B] is [B, B]).",
        ),
        "centred": (
            lambda lp, m, r: -((r - r.mean()) * (lp * m).sum(1)).mean(),
            "You subtract the batch's mean return. That is a good idea, and lesson 05's; here without it.",
        ),
        "probability": (
            lambda lp, m, r: -(r * (lp * m).sum(1).exp()).mean(),
            "You weigh probabilities with returns. The score is the gradient of the *log*-probability: leave out the "
            "exp.",
        ),
        "sign": (
            lambda lp, m, r: (r * (lp * m).sum(1)).mean(),
            "The sign: an optimiser walks downhill, and this would make what was paid rarer.",
        ),
        "no mask": (
            lambda lp, m, r: -(r * lp.sum(1)).mean(),
            "You did not mask. Tokens after the end would be trained as if the policy had chosen them.",
        ),
        "over tokens": (
            lambda lp, m, r: -(r[:, None] * lp * m).sum() / m.sum(),
            "You divide by the number of live tokens. REINFORCE averages over sequences; this one points elsewhere as "
            "soon as lengths depend on the policy (lesson 08).",
        ),
        "length": (
            lambda lp, m, r: -(r * (lp * m).sum(1) / m.sum(1)).mean(),
            "You divide each sequence by its length. Its score is a sum over tokens; with the division, long "
            "sequences lose weight (lesson 08, claim C18).",
        ),
        "summed": (
            lambda lp, m, r: -(r * (lp * m).sum(1)).sum(),
            "You sum over the batch. The estimate is a mean over sequences: otherwise the step grows with the batch.",
        ),
    },
    "Its gradient is minus the estimate of lesson 02. Its value means nothing: compared is the gradient alone.",
    gradient_of=(0,),
)

EXERCISES = (mask, masked_log_prob, to_go, loss, loop)
