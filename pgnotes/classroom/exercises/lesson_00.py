"""Exercises of lesson 00, warm-ups: an expectation, a discounted return, a sequence's log-probability, a count."""

from __future__ import annotations

import math

import torch

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.returns import discounted_return as exact_return

PAYS, POLICY = torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
LOSSES, EVEN = torch.tensor([-2.0, 3.0, 1.0, 6.0], dtype=torch.float64), torch.full((4,), 0.25, dtype=torch.float64)
REWARDS = torch.tensor([1.0, 0.0, 2.0, 4.0], dtype=torch.float64)
STEPS = torch.tensor([0.5, 0.2, 0.9], dtype=torch.float64)
RARE = torch.full((12,), 1e-30, dtype=torch.float64)  # their product is below the smallest float64


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
        "underflow": (
            lambda p: p.prod().log(),
            "Right for short sequences. A long one has a product so small that the computer rounds it to 0, and the "
            "log of 0 is −∞: 400 tokens at 15 % each are "
            "enough. Take the logs first, then add.",
        ),
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
        "no repeats": (
            lambda v, t: math.perm(v, t),
            "Your symbols never repeat. In a text they may: every place has all V to choose from.",
        ),
    },
    "4 symbols and 4 steps make 256 sequences, few enough to list. A vocabulary of 150,000 needs only two steps to "
    "pass twenty thousand million.",
)

EXERCISES = (average, discounted_return, sequence_log_prob, count_sequences)
