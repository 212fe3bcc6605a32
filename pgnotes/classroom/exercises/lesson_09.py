"""Exercises of lesson 09: dead groups, a group's advantages, two rewards of one's own."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.advantages import EPSILON, group_advantages

ONE_PASS = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
SHADES = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)
EQUAL = torch.full((8,), 0.1, dtype=torch.float64)
TWELVE = "one two three four five six seven eight nine ten eleven twelve"
TEXTS = (
    TWELVE,
    TWELVE + ".",
    "  " + TWELVE.replace(" ", "  ") + "\n",
    TWELVE.replace(" ", "\n", 3),
    TWELVE.rsplit(" ", 1)[0],
    TWELVE + " thirteen",
    "",
    "a, b, c, d, e, f, g, h, i, j, k, l",
)


def bare(rewards: Tensor) -> Tensor:
    """Centred rewards over their standard deviation, with nothing to keep it from 0."""
    return (rewards - rewards.mean()) / rewards.std()


def passes(words: list[int]) -> list[float]:
    """1 for each count that is twelve."""
    return [float(n == 12) for n in words]


dead_share = Exercise(
    "9.1",
    "Write dead_share(p, group_size)",
    lambda p, group_size: p**group_size + (1 - p) ** group_size,
    ((0.1, 16), (0.5, 2), (0.9, 8), (0.0, 4), (1.0, 4)),
    {
        "all fail only": (
            lambda p, g: (1 - p) ** g,
            "You count the groups in which all fail. A group in which all pass teaches as little: late in a run it is "
            "most of them.",
        ),
        "all pass only": (
            lambda p, g: p**g,
            "You count the groups in which all pass. Early in a run nearly all dead groups are the other kind: all "
            "fail.",
        ),
        "alive": (
            lambda p, g: 1 - p**g - (1 - p) ** g,
            "That is the share of groups that still teach something. Subtract it from 1.",
        ),
        "multiplied": (
            lambda p, g: p**g * (1 - p) ** g,
            "You multiply the two chances. A group can't both all pass and all fail: the two add.",
        ),
    },
    "At p = 0.1 and 16 completions it is 19 %, as the preflight says.",
)

advantages = Exercise(
    "9.2",
    "Write advantages(rewards) for one group",
    lambda rewards: group_advantages(rewards[None], "grpo")[0],
    ((ONE_PASS,), (SHADES,), (EQUAL,)),
    {
        "no epsilon": (
            bare,
            "Right for groups with a spread. If all rewards are equal you divide 0, or what rounding left of it, by "
            "0: add a small number to the standard deviation.",
        ),
        "not divided": (
            lambda r: r - r.mean(),
            "You subtract the mean and stop. That is Dr. GRPO, a fair choice (lesson 08); the GRPO paper also divides "
            "by the standard deviation.",
        ),
        "biased spread": (
            lambda r: (r - r.mean()) / (r.std(correction=0) + EPSILON),
            "Your standard deviation divides by G. Trainers use the unbiased one, G − 1, which is torch's default.",
        ),
        "variance": (lambda r: (r - r.mean()) / (r.var() + EPSILON), "You divide by the variance. Take its root."),
        "not centred": (
            lambda r: r / (r.std() + EPSILON),
            "You divide by the spread but don't subtract the mean: then every completion with a reward above 0 is "
            "pushed up.",
        ),
    },
    "Compared within its group, a single pass among four is worth +1.5, and a group without a spread exactly 0.",
    tolerance=1e-3,
)

twelve_words = Exercise(
    "9.3",
    "Write twelve_words(completions)",
    lambda completions, **columns: passes([len(text.split()) for text in completions]),
    ((list(TEXTS),), (list(TEXTS[:1]),)),
    {
        "single spaces": (
            lambda completions, **columns: passes([len(text.split(" ")) for text in completions]),
            "You count spaces: then the nothing between two of them is a word, and a line break separates none. "
            "split() without an argument does what you mean. "
            "A policy that finds such a hole will write in it.",
        ),
        "at least": (
            lambda completions, **columns: [float(len(text.split()) >= 12) for text in completions],
            "Thirteen words pass too. Exactly twelve: a policy told 'at least' learns to talk on.",
        ),
        "letters": (
            lambda completions, **columns: passes([len(re.findall(r"\w{2,}", text)) for text in completions]),
            "Words of one letter are words too.",
        ),
        "one number": (
            lambda completions, **columns: float(len(completions[0].split()) == 12),
            "You give one number. A reward function gets a whole list of completions and returns a list of equal "
            "length.",
        ),
    },
    "It can be handed to the trainer as it is: a list of texts in, a list of numbers out.",
)

ENDINGS = (
    "3 jars, then 4",
    "4 jars, then 13 more",
    "a 7 and an 8, then 91",
    "the 2",
    "room 1",
    "0",
    "pier 97, gate 102",
    "3.14, or 3.17",
)
SQUARES = ("13 times 13 is 169", "997 times 997 is 994009", "the largest of six digits is 999983")
TRAPS = ("", "no number at all", "7 and 2²", "8 and ٣", "13 and " + "9" * 5000, "then 1000003")


def prime(n: int) -> bool:
    """True for 2, 3, 5, 7, 11 …"""
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def primes(numbers: list[str]) -> list[float]:
    """1 for each text of at most six digits that is a prime number."""
    return [float(0 < len(n) <= 6 and prime(int(n))) for n in numbers]


def last(text: str) -> str:
    """The last unbroken run of the digits 0 to 9, or nothing."""
    return (re.findall("[0-9]+", text) or [""])[-1]


prime_ending = Exercise(
    "9.4",
    "Write prime_ending(completions)",
    lambda completions, **columns: primes([last(text) for text in completions]),
    ((list(ENDINGS),), (list(SQUARES),), (list(TRAPS),), (list(TRAPS[:2]),), (list(TRAPS[2:4]),), (list(TRAPS[4:]),)),
    {
        "first number": (
            lambda completions, **columns: primes([(re.findall("[0-9]+", text) or [""])[0] for text in completions]),
            "You look at the first number. The rule is about the last one: a policy has to carry it through the whole "
            "text.",
        ),
        "last digit": (
            lambda completions, **columns: primes([(re.findall("[0-9]", text) or [""])[-1] for text in completions]),
            "You judge the last digit, not the last number: 13 ends in 3, but so does 33.",
        ),
        "one is prime": (
            lambda completions, **columns: [
                float(0 < len(n) <= 6 and (n.lstrip("0") == "1" or prime(int(n)))) for n in map(last, completions)
            ],
            "You count 1 as a prime. A policy will find the shortest way to a reward, and that is it.",
        ),
        "any text": (
            lambda completions, **columns: [float(prime(int(re.findall("[0-9]+", text)[-1]))) for text in completions],
            "A text without a number stops your function with an error, and the run with it. A policy writes such "
            "texts, sooner or later.",
        ),
        "other digits": (
            lambda completions, **columns: primes([(re.findall(r"\d+", text) or [""])[-1] for text in completions]),
            r"\d also finds digits of other scripts, such as ٣, and int reads them. The rule says 0 to 9: write [0-9].",
        ),
        "superscripts": (
            lambda completions, **columns: primes(
                [("".join(c if c.isdigit() else " " for c in text).split() or [""])[-1] for text in completions]
            ),
            "str.isdigit says yes to ² and ٣. int then refuses the first, which stops the run, and reads the second.",
        ),
        "too long": (
            lambda completions, **columns: [float(n != "" and prime(int(n))) for n in map(last, completions)],
            "Python refuses to read a number of 5,000 digits, and dividing by every smaller number never ends. More "
            "than six digits: not prime, by the rule.",
        ),
        "one number": (
            lambda completions, **columns: primes([last(completions[0])])[0],
            "You give one number. A reward function gets a whole list of completions and returns a list of equal "
            "length.",
        ),
    },
    "It survives an empty text, other scripts and five thousand nines. That is what a reward has to be able to do.",
)

EXERCISES = (dead_share, advantages, twelve_words, prime_ending)
