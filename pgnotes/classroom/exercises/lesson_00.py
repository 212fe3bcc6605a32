"""Exercises of lesson 00: an expectation, a return, a sequence's log-probability, a count, shapes, a training step."""

from __future__ import annotations

import math
from itertools import islice

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.ascent import exact_ascent
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.returns import discounted_return as exact_return
from pgnotes.theory.worlds import Bandit

PAYS, POLICY = torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
LOSSES, EVEN = torch.tensor([-2.0, 3.0, 1.0, 6.0], dtype=torch.float64), torch.full((4,), 0.25, dtype=torch.float64)
REWARDS = torch.tensor([1.0, 0.0, 2.0, 4.0], dtype=torch.float64)
STEPS = torch.tensor([0.5, 0.2, 0.9], dtype=torch.float64)
RARE = torch.full((12,), 1e-30, dtype=torch.float64)  # their product is below the smallest float64
UNDERFLOW = (
    "Right for short sequences. A long one has a product so small that the computer rounds it to 0, and 0 has no "
    "logarithm: 400 tokens at 15 % each are enough. Take the logs first, then add."
)
FLOORED = (
    "There is a floor under your probabilities, which makes a sequence all but impossible likelier than it is. None is "
    "needed: a single probability is far from too small for a logarithm, only the product of many is."
)
GROUPS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
SQUARE = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
NO_COLUMN = (
    "The means of the rows have shape [P], and shapes are lined up from the right: [P, G] minus [P] does not fit, or, "
    "where P = G, takes the mean of the wrong row. `keepdim=True` makes them a column [P, 1]."
)
START = torch.tensor([1.8, 1.1, 0.0], dtype=torch.float64)
LOGITS = torch.tensor([0.3, -0.4, 1.2, 0.0], dtype=torch.float64)


average = Exercise(
    "0.1",
    "Write average(values, weights)",
    lambda values, weights: values @ weights,
    ((PAYS, POLICY), (LOSSES, EVEN), (LOSSES, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))),
    {
        "plain mean": (
            lambda v, w: v.mean(),
            "That is the plain mean: it treats all values as equally likely. Weigh each by its probability.",
        ),
        "mean of the products": (
            lambda v, w: (v * w).mean(),
            "You divide by the number of values as well. The probabilities already add up to 1: sum the products, and "
            "divide by nothing.",
        ),
        "not added up": (
            lambda v, w: v * w,
            "These are the products, one for each value. The expectation is their sum, a single number.",
        ),
        "likeliest": (
            lambda v, w: v[w.argmax()],
            "That is the value of the likeliest outcome. The others happen too, each in proportion to its probability.",
        ),
    },
    "Values times probabilities, added up. Every expected reward of this course is computed so wherever the outcomes "
    "can be listed.",
)

discounted_return = Exercise(
    "0.2",
    "Write discounted_return(rewards, gamma)",
    lambda rewards, gamma: exact_return(rewards, gamma),
    ((REWARDS, 0.9), (REWARDS, 0.5), (REWARDS, 1.0), (REWARDS[:2], 0.0)),
    {
        "one power too many": (
            lambda r, g: (r * g ** torch.arange(1, len(r) + 1)).sum(),
            "Your first reward is already multiplied by γ. Steps are counted from 0 here, and γ to the power 0 is 1.",
        ),
        "first reward": (
            lambda r, g: r[0],
            "That is the first reward alone. Does your `return` stand inside the loop, where it ends it at once?",
        ),
        "last reward": (
            lambda r, g: r[-1] * g ** (len(r) - 1),
            "Only the last reward is left. Does your loop assign (`=`) where it should add (`+=`)?",
        ),
        "no discount": (
            lambda r, g: r.sum(),
            "That is the plain sum. Multiply the reward of step t by γ to the power t.",
        ),
        "from the end": (
            lambda r, g: (r * g ** torch.arange(len(r) - 1, -1, -1)).sum(),
            "You discount the first rewards most. It is the other way round: the first counts in full, the last least.",
        ),
        "mean": (
            lambda r, g: (r * g ** torch.arange(len(r))).mean(),
            "The discounts are right, but a return is a sum. You took the mean: a longer episode would earn less for "
            "the same rewards.",
        ),
        "discounted once": (
            lambda r, g: r[0] + g * r[1:].sum(),
            "All rewards after the first have the same factor γ in your sum. A reward two steps away is discounted "
            "twice, by γ².",
        ),
    },
    "It agrees with the package's discounted_return, for γ from 0 to 1.",
)

sequence_log_prob = Exercise(
    "0.3",
    "Write sequence_log_prob(probs)",
    lambda probs: probs.log().sum(),
    ((STEPS,), (torch.tensor([1.0, 0.25], dtype=torch.float64),), (RARE,)),
    {
        "underflow": (lambda p: p.prod().log(), UNDERFLOW),
        "underflow in plain Python": (lambda p: math.log(math.prod(p.tolist())), UNDERFLOW),
        "underflow with a floor": (
            lambda p: p.prod().clamp(min=1e-300).log(),
            "A floor under the product hides the underflow, and gives every long sequence the same log-probability. "
            "Take the logs first, then add.",
        ),
        "floor": (lambda p: p.clamp(min=1e-12).log().sum(), FLOORED),
        "higher floor": (lambda p: p.clamp(min=1e-8).log().sum(), FLOORED),
        "product": (lambda p: p.prod(), "That is the probability itself. Asked for is its logarithm, which is a sum."),
        "log of the mean": (
            lambda p: p.mean().log(),
            "You averaged the probabilities. All steps must happen, so they multiply; in logs, they add.",
        ),
        "mean of logs": (
            lambda p: p.log().mean(),
            "That is the log-probability per token. It is useful, but it belongs to no sequence: without the division "
            "you get the whole one's.",
        ),
        "log10": (
            lambda p: p.log10().sum(),
            "The sum is right, but with base-10 logarithms. This course uses natural ones: torch.log.",
        ),
        "log2": (
            lambda p: p.log2().sum(),
            "The sum is right, but with base-2 logarithms: that is in bits. This course uses natural ones: torch.log.",
        ),
        "sign": (
            lambda p: -p.log().sum(),
            "The sign is turned round. A probability is at most 1, so its logarithm is at most 0.",
        ),
    },
    "Logs first, then the sum: right for long sequences too.",
)

count_sequences = Exercise(
    "0.4",
    "Write count_sequences(vocab_size, horizon)",
    lambda vocab_size, horizon: vocab_size**horizon,
    ((4, 4), (3, 2), (2, 5), (10, 3)),
    {
        "power turned round": (
            lambda v, t: t**v,
            "Base and exponent are swapped. Each of the T places multiplies the number of sequences by V.",
        ),
        "product": (
            lambda v, t: v * t,
            "You multiply once. The first place has V symbols, and each of them can be followed by V others.",
        ),
        "shorter ones too": (
            lambda v, t: sum(v**k for k in range(1, t + 1)),
            "You count the shorter sequences as well. Without an end-of-sequence symbol all of them have the full "
            "length.",
        ),
        "shorter ones and the empty one": (
            lambda v, t: sum(v**k for k in range(t + 1)),
            "You count all that is no longer than the horizon, even the empty sequence. Asked for are those of exactly "
            "that length: the last term of your sum.",
        ),
        "one place too few": (
            lambda v, t: v ** (t - 1),
            "One place is missing: the first symbol, too, can be any of the V.",
        ),
        "hat for a power": (
            lambda v, t: v ^ t,
            "In Python `^` is no power but a bitwise operation (exclusive or). A power is written `**`.",
        ),
        "no repeats": (
            lambda v, t: math.perm(v, t),
            "Your symbols never repeat. In a text they may: every place has all V to choose from.",
        ),
    },
    "4 symbols and 4 steps make 256 sequences, few enough to list. A vocabulary of 150,000 needs only two steps to "
    "pass twenty thousand million.",
)

minus_row_mean = Exercise(
    "0.5",
    "Write minus_row_mean(rewards)",
    lambda rewards: rewards - rewards.mean(1, keepdim=True),
    ((GROUPS,), (SQUARE,), (GROUPS[:1],)),
    {
        "no column": (lambda r: r - r.mean(1), NO_COLUMN),
        "no column in NumPy": (lambda r: r.numpy() - r.numpy().mean(1), NO_COLUMN),
        "other dimension": (
            lambda r: r - r.mean(0),
            "`mean(0)` averages down the columns, over the prompts. Each row is to be compared with its own mean: that "
            "is dimension 1, which the mean makes disappear.",
        ),
        "one mean for all": (
            lambda r: r - r.mean(),
            "`mean()` without a dimension is one number for the whole table. Each row has a mean of its own.",
        ),
        "the means": (
            lambda r: r.mean(1, keepdim=True),
            "These are the means of the rows. Subtract them from the rewards.",
        ),
        "unchanged": (
            lambda r: r,
            "You give the rewards back as they came. `row = row - …` makes a new row and leaves the table alone; "
            "`row -= …` would change it.",
        ),
        "turned round": (
            lambda r: r.mean(1, keepdim=True) - r,
            "The sign is turned round: a reward above its row's mean should come out positive.",
        ),
    },
    "Each reward against the mean of its row. In lesson 08 a row holds the completions of one prompt, and this line is "
    "the heart of GRPO.",
)


def shares(logits: Tensor) -> Tensor:
    """The softmax, for the slips below."""
    return logits.softmax(0)


def gaps(logits: Tensor, pays: Tensor) -> Tensor:
    """What each button pays more than the policy earns on average, for the slips below."""
    return pays - shares(logits) @ pays


one_step = Exercise(
    "0.6",
    "Write one_step(logits, pays, step_size)",
    lambda logits, pays, size: [*islice(exact_ascent(Bandit(pays), SoftmaxPolicy(logits), size), 2)][1].probs,
    (
        (START, torch.tensor([0.9, 0.0, 1.0], dtype=torch.float64), 1.0),
        (START, PAYS, 0.5),
        (LOGITS, torch.tensor([2.0, -1.0, 0.5, 0.0], dtype=torch.float64), 2.0),
    ),
    {
        "no average": (
            lambda x, r, a: shares(x + a * shares(x) * r),
            "You push by what a button pays. Subtract the average reward first: what pays less than you earn is "
            "pushed down, even if it pays something.",
        ),
        "no probability": (
            lambda x, r, a: shares(x + a * gaps(x, r)),
            "The factor π is missing in your push. What is rarely pressed is hardly pushed.",
        ),
        "plain mean": (
            lambda x, r, a: shares(x + a * shares(x) * (r - r.mean())),
            "You compare with the plain mean of the pays. Compare with what you earn on average, given how often you "
            "press each button: the expectation of exercise 0.1.",
        ),
        "mean of the products": (
            lambda x, r, a: shares(x + a * shares(x) * (r - (shares(x) * r).mean())),
            "Your average reward is divided by the number of buttons as well. The probabilities add up to 1 already: "
            "it is a sum, as in exercise 0.1.",
        ),
        "not divided": (
            lambda x, r, a: (x + a * shares(x) * gaps(x, r)).exp(),
            "Your numbers do not add up to 1. The new logits are right; a softmax divides their exponentials by the "
            "sum of them.",
        ),
        "probabilities pushed": (
            lambda x, r, a: shares(x) + a * shares(x) * gaps(x, r),
            "You add the push to the probabilities. It belongs to the logits; the softmax of the new logits gives the "
            "new probabilities.",
        ),
        "logits given back": (
            lambda x, r, a: x + a * shares(x) * gaps(x, r),
            "These are the new logits, and they are right. Asked for are the probabilities: their softmax.",
        ),
        "descent": (
            lambda x, r, a: shares(x - a * shares(x) * gaps(x, r)),
            "The average reward falls: you step against its slope. Add the push.",
        ),
        "no step size": (
            lambda x, r, a: shares(x + shares(x) * gaps(x, r)),
            "Right for step size 1. Multiply the push by step_size.",
        ),
        "no step": (
            lambda x, r, a: shares(x),
            "These are the probabilities before the step. Add step_size times the push to the logits, and take the "
            "softmax then.",
        ),
    },
    "One step of the slider. With A paying 0.9 it takes C from 9.9 % to 9.8 %, although C's logit rises by 0.04.",
)

EXERCISES = (average, discounted_return, sequence_log_prob, count_sequences, minus_row_mean, one_step)
