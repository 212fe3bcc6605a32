"""Exercises of lesson 09: dead groups, a group's advantages, two rewards of one's own."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.advantages import EPSILON, group_advantages, leave_one_out

ONE_PASS = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
SHADES = torch.tensor([0.2, 0.9, 0.4], dtype=torch.float64)
EQUAL = torch.full((8,), 0.1, dtype=torch.float64)
ROUNDED = torch.full((3,), 0.7, dtype=torch.float64)  # equal, and yet their standard deviation comes out as 1.4e-16
TWELVE = "one two three four five six seven eight nine ten eleven twelve"
TEXTS = (
    TWELVE,
    TWELVE + ".",
    "  " + TWELVE.replace(" ", "  ") + "\n",
    TWELVE.replace(" ", "\n", 3).replace(" ", "\t", 2),
    TWELVE.rsplit(" ", 1)[0],
    TWELVE + " thirteen",
    "",
    "a, b, c, d, e, f, g, h, i, j, k, l",
    "twelve chars",
    "the old cat saw the young cat, and the young cat ran",
)
ONE_NUMBER = (
    "You give one number. A reward function gets a whole list of completions and returns a list of equal length."
)


def standardise(rewards: Tensor, correction: int = 1, epsilon: float = EPSILON) -> Tensor:
    """Centred rewards over their standard deviation and a small number."""
    return (rewards - rewards.mean()) / (rewards.std(correction=correction) + epsilon)


def unless_exactly_zero(rewards: Tensor) -> Tensor:
    """Zeros where the standard deviation is 0 to the last bit."""
    return torch.zeros_like(rewards) if rewards.std() == 0 else standardise(rewards, epsilon=0.0)


def passes(words: list[int]) -> list[float]:
    """1 for each count that is twelve."""
    return [float(n == 12) for n in words]


def one_by_one(*texts: str) -> tuple[tuple[list[str]], ...]:
    """A case for each text, so that a sentence can say which one, and then three of them together."""
    return *(([text],) for text in texts), (list(texts[-3:]),)


dead_share = Exercise(
    "9.1",
    "Write dead_share(p, group_size)",
    lambda p, group_size: p**group_size + (1 - p) ** group_size,
    ((0.1, 16), (0.5, 2), (0.9, 8), (0.0, 4), (1.0, 4)),
    {
        "all fail only": (
            lambda p, g: (1 - p) ** g,
            "You count the groups in which all fail. A group in which all pass teaches as little: late in a run most "
            "dead groups are of that kind.",
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
        "brackets": (
            lambda p, g: p**g + (1 - p**g),
            "What you write is 1 for every p: 1 - p**group_size is the chance that at least one fails. That all of "
            "them fail is (1 - p)**group_size, with the power outside the bracket.",
        ),
        "overlap": (
            lambda p, g: 1 - (1 - p**g) * (1 - (1 - p) ** g),
            "You treat the two as independent, and take off the chance that both happen. They exclude each other: add "
            "them, and take nothing off.",
        ),
        "one fewer": (
            lambda p, g: p ** (g - 1) + (1 - p) ** (g - 1),
            "Your exponent is G − 1, as if the first were given. It is drawn, too: it passes with chance p, and then "
            "G − 1 others have to.",
        ),
        "percent": (
            lambda p, g: 100 * (p**g + (1 - p) ** g),
            "That is the number in percent. Return the share itself, between 0 and 1.",
        ),
    },
    "At p = 0.1 and 16 completions it is 19 %, as the preflight says.",
)

advantages = Exercise(
    "9.2",
    "Write advantages(rewards) for one group",
    lambda rewards: group_advantages(rewards[None], "grpo")[0],
    ((ONE_PASS,), (SHADES,), (EQUAL,), (ROUNDED,)),
    {
        "no epsilon": (
            lambda r: standardise(r, epsilon=0.0),
            "Right for groups with a spread. If all rewards are equal you divide 0, or what rounding left of it, by "
            "0: add a small number to the standard deviation.",
        ),
        "exactly zero": (
            unless_exactly_zero,
            "Your zeros come only where the standard deviation is 0 to the last bit. Of three rewards of 0.7 rounding "
            "leaves it at 1.4e-16, and you divide by that: add a small number to it, or compare the largest reward "
            "with the smallest.",
        ),
        "not divided": (
            lambda r: r - r.mean(),
            "You subtract the mean and stop. That is Dr. GRPO, a fair choice (lesson 08); the GRPO paper also divides "
            "by the standard deviation.",
        ),
        "biased spread": (
            lambda r: standardise(r, correction=0),
            "Your standard deviation divides by G. Trainers use the unbiased one, G − 1, which is torch's default.",
        ),
        "biased, no epsilon": (
            lambda r: standardise(r, correction=0, epsilon=0.0),
            "Two things: your standard deviation divides by G, where torch's own divides by G − 1, and a group whose "
            "rewards are all equal divides by 0, or by what rounding left of it.",
        ),
        "variance": (lambda r: (r - r.mean()) / (r.var() + EPSILON), "You divide by the variance. Take its root."),
        "the others' mean": (
            lambda r: leave_one_out(r[None])[0],
            "You compare with the mean of the others and don't divide. That is RLOO (lesson 08); the GRPO paper "
            "subtracts the mean of all, its own reward included, and divides by the standard deviation.",
        ),
        "brackets": (
            lambda r: r - r.mean() / (r.std() + EPSILON),
            "Division comes first: you divide the mean alone, and then subtract it. Put the difference in brackets.",
        ),
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
    one_by_one(*TEXTS),
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
        "nothing but letters": (
            lambda completions, **columns: passes([sum(map(str.isalpha, text.split())) for text in completions]),
            "isalpha says no to a word with a full stop or a comma on it: your policy would learn to do without.",
        ),
        "different words": (
            lambda completions, **columns: passes([len(set(text.split())) for text in completions]),
            "You count different words. One that comes twice is two words.",
        ),
        "how many": (
            lambda completions, **columns: [float(len(text.split())) for text in completions],
            "You return how many words there are. Asked for is 1 where they are twelve, else 0: compare with 12.",
        ),
        "characters": (
            lambda completions, **columns: passes([len(text) for text in completions]),
            "You count characters. split() makes a list of words, whose length is how many there are.",
        ),
        "first alone": (
            lambda completions, **columns: passes([len(completions[0].split())]),
            "You return after the first text: a `return` inside the loop ends the function. Collect the numbers in a "
            "list, and return it after the loop.",
        ),
        "one number": (lambda completions, **columns: float(len(completions[0].split()) == 12), ONE_NUMBER),
        "their sum": (
            lambda completions, **columns: sum(passes([len(text.split()) for text in completions])),
            ONE_NUMBER,
        ),
        "their mean": (
            lambda completions, **columns: sum(passes([len(t.split()) for t in completions])) / len(completions),
            ONE_NUMBER,
        ),
    },
    "It can be handed to the trainer as it is: a list of texts in, a list of numbers out.",
)

ENDINGS = (
    "3 jars, then 4",
    "4 jars, then 13 more",
    "from 13 to 33",
    "a 7 and an 8, then 91",
    "the 2",
    "room 1",
    "0",
    "it was -7 then",
    "5 or\n6",
    "pier 98, seat17c",
    "1,009 bolts",
    "pier 97, gate 341",
    "3.14, or 3.17",
)
SQUARES = ("13 times 13 is 169", "997 times 997 is 994009", "the largest of six digits is 999983")
NO_NUMBER = (
    "A text without a number stops your function with an error, and the run with it. A policy writes such texts, "
    "sooner or later."
)
TRAPS = ("", "no number at all", "9 and 2²", "8 and ٣", "13 and " + "9" * 5000, "then 1000003", "9999071")


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
    one_by_one(*SQUARES, *TRAPS, *ENDINGS),
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
        "nothing below 2": (
            lambda completions, **columns: [
                float(0 < len(n) <= 6 and (int(n) < 2 or prime(int(n)))) for n in map(last, completions)
            ],
            "You count 0 and 1 as primes: below 2 there is no divisor to try, and `all` of nothing is True.",
        ),
        "any text": (
            lambda completions, **columns: [float(prime(int(re.findall("[0-9]+", text)[-1]))) for text in completions],
            NO_NUMBER,
        ),
        "any text, else right": (
            lambda completions, **columns: primes([re.findall("[0-9]+", text)[-1] for text in completions]),
            NO_NUMBER,
        ),
        "other digits": (
            lambda completions, **columns: primes([(re.findall(r"\d+", text) or [""])[-1] for text in completions]),
            r"\d, like str.isdecimal, also finds digits of other scripts, such as ٣, and int reads them. The rule says "
            "0 to 9: write [0-9].",
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
        "as long as Python reads": (
            lambda completions, **columns: [
                float(len(n) < 4300 and prime(int(n or "0"))) for n in map(last, completions)
            ],
            "1000003 is prime, and it has seven digits: not prime, by the rule. (Without it a policy decides how long "
            "your loop over divisors takes.)",
        ),
        "one number": (lambda completions, **columns: primes([last(completions[0])])[0], ONE_NUMBER),
    },
    "It survives an empty text, other scripts and five thousand nines. That is what a reward has to be able to do.",
)

EXERCISES = (dead_share, advantages, twelve_words, prime_ending)
