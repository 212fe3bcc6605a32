"""Attempts at lesson 09's exercises, right and wrong, that its lists of slips don't hold."""

import math
import re
import statistics
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch


def forgotten(*arguments, **columns):
    print(arguments and "", end="")


# 9.1


def multiplied_one_by_one(p, group_size):
    all_pass = all_fail = 1.0
    for _ in range(group_size):
        all_pass *= p
        all_fail *= 1 - p
    return all_pass + all_fail


def all_but_the_mixed(p, group_size):
    mixed = 0.0
    for k in range(1, group_size):
        mixed += math.comb(group_size, k) * p**k * (1 - p) ** (group_size - k)
    return 1 - mixed


def agreeing_with_the_first(p, group_size):
    others = group_size - 1
    return p * p**others + (1 - p) * (1 - p) ** others


def exactly(p, group_size):
    p = Fraction(p)
    return float(p**group_size + (1 - p) ** group_size)


def listed_groups(p, group_size):
    """The chances of each number of passes, of which the ends are dead."""
    chances = torch.ones(1, dtype=torch.float64)
    for _ in range(group_size):
        chances = torch.nn.functional.pad(chances * (1 - p), (0, 1)) + torch.nn.functional.pad(chances * p, (1, 0))
    return chances[0] + chances[-1]


def dead_by_logarithms(p, group_size):
    return math.exp(group_size * math.log(p)) + math.exp(group_size * math.log(1 - p))


# 9.2


def looped_advantages(rewards):
    values = rewards.tolist()
    mean, spread = statistics.mean(values), statistics.stdev(values)
    return [(value - mean) / (spread + 1e-4) for value in values]


def advantages_in_place(rewards):
    rewards -= rewards.mean()
    rewards /= rewards.std() + 1e-8
    return rewards


def numpy_advantages(rewards):
    r = rewards.numpy()
    return (r - r.mean()) / (r.std(ddof=1) + 1e-6)


def zeros_for_a_dead_group(rewards):
    if rewards.max() == rewards.min():
        return torch.zeros_like(rewards)
    return (rewards - rewards.mean()) / rewards.std()


def small_number_under_the_root(rewards):
    centred = rewards - rewards.sum() / len(rewards)
    return centred / (centred.square().sum() / (len(rewards) - 1) + 1e-8).sqrt()


def clamped_spread(rewards):
    variance, mean = torch.var_mean(rewards)
    return (rewards - mean) / variance.sqrt().clamp(min=1e-6)


def spread_asked_first(rewards):
    spread = rewards.std()
    return torch.where(spread > 0, (rewards - rewards.mean()) / spread, 0.0)


def nothing_for_a_dead_group(rewards):
    if rewards.max() > rewards.min():
        return (rewards - rewards.mean()) / rewards.std()
    return None


def one_zero_for_a_dead_group(rewards):
    return (rewards - rewards.mean()) / rewards.std() if rewards.max() > rewards.min() else 0.0


# 9.3


def appended(completions, **columns):
    numbers = []
    for text in completions:
        if len(text.split()) == 12:
            numbers.append(1)
        else:
            numbers.append(0)
    return numbers


def runs_of_what_is_no_space(completions):
    return torch.tensor([len(re.findall(r"\S+", text)) == 12 for text in completions])


def split_by_hand(completions, **columns):
    numbers = []
    for text in completions:
        words, inside = 0, False
        for character in text:
            words += not inside and not character.isspace()
            inside = not character.isspace()
        numbers.append(float(words == 12))
    return tuple(numbers)


def with_a_letter(completions, **columns):
    """Strict: nobody is paid for twelve full stops."""
    return [float(sum(any(c.isalpha() for c in word) for word in text.split()) == 12) for text in completions]


def leaves_the_loop(completions, **columns):
    numbers = []
    for text in completions:
        numbers.append(float(len(text.split()) == 12))
        break
    return numbers


def only_the_good(completions, **columns):
    return [1.0 for text in completions if len(text.split()) == 12]


# 9.4


@lru_cache
def sieve():
    marks = [False, False] + [True] * 999_998
    for n in range(2, 1000):
        if marks[n]:
            marks[n * n :: n] = [False] * len(marks[n * n :: n])
    return marks


def tried_one_by_one(n):
    if n < 2:
        return False
    d = 2
    while d * d <= n:
        if n % d == 0:
            return False
        d += 1
    return True


def strong_probable_prime(n):
    """Strong probable primes to bases 2, 3, 5 and 7, of which below 10⁶ none is composite."""
    if n < 11 or n % 2 == 0:
        return n in (2, 3, 5, 7)
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    powers = ([pow(base, odd * 2**i, n) for i in range(twos)] for base in (2, 3, 5, 7))
    return all(n - 1 in row or row[0] == 1 for row in powers)


def sieved(completions, **columns):
    numbers = []
    for text in completions:
        runs = re.findall("[0-9]+", text)
        numbers.append(bool(runs) and len(runs[-1]) <= 6 and sieve()[int(runs[-1])])
    return numbers


def read_from_behind(completions, **columns):
    numbers = []
    for text in completions:
        run = ""
        for character in reversed(text):
            if character in "0123456789":
                run = character + run
            elif run:
                break
        numbers.append(1.0 if run and len(run) <= 6 and tried_one_by_one(int(run)) else 0.0)
    return torch.tensor(numbers)


def with_an_exception(completions, **columns):
    numbers = []
    for text in completions:
        try:
            n = int(re.findall("[0-9]+", text)[-1])
            numbers.append(float(n < 1_000_000 and tried_one_by_one(n)))
        except (IndexError, ValueError):
            numbers.append(0.0)
    return numbers


def searched(completions):
    found = [re.search(r"([0-9]+)[^0-9]*$", text) for text in completions]
    return np.array([bool(m) and len(m[1]) <= 6 and strong_probable_prime(int(m[1])) for m in found])


def split_at_what_is_no_digit(completions, **columns):
    runs = [[part for part in re.split(r"\D", text, flags=re.ASCII) if part] or ["0"] for text in completions]
    return [int(len(own[-1]) <= 6 and divisors(int(own[-1])) == 2) for own in runs]


def divisors(n):
    """How many numbers from 1 to n divide it."""
    below = sum(n % d == 0 for d in range(1, math.isqrt(n) + 1))
    return 2 * below - (n > 0 and math.isqrt(n) ** 2 == n)


def judged_by(rule, pattern="[0-9]+"):
    """A reward that finds runs by a pattern, and judges the list of them by a rule."""
    return lambda completions, **columns: [float(rule(re.findall(pattern, text))) for text in completions]


def is_prime(digits):
    return len(digits) <= 6 and sieve()[int(digits)]


def of_words(completions, **columns):
    """Takes a word of digits for a number."""
    numbers = [[word.strip(",.") for word in text.split() if word.strip(",.").isdecimal()] for text in completions]
    return [float(bool(own) and is_prime(own[-1])) for own in numbers]


RIGHT = {
    "9.1": (
        multiplied_one_by_one,
        all_but_the_mixed,
        agreeing_with_the_first,
        exactly,
        listed_groups,
        lambda p, group_size: np.power([p, 1 - p], group_size).sum(),
        lambda p, group_size: (torch.tensor([p, 1 - p]) ** group_size).sum(),
    ),
    "9.2": (
        looped_advantages,
        advantages_in_place,
        numpy_advantages,
        zeros_for_a_dead_group,
        small_number_under_the_root,
        clamped_spread,
        lambda rewards: [(r - rewards.mean()) / (rewards.std() + 1e-4) for r in rewards],
    ),
    "9.3": (
        appended,
        runs_of_what_is_no_space,
        split_by_hand,
        with_a_letter,
        lambda completions, **columns: np.array([len(text.split()) for text in completions]) == 12,
        lambda completions, **columns: (float(len(text.split()) == 12) for text in completions),
        lambda completions, **columns: [len(re.split(r"\s+", text.strip())) == 12 for text in completions],
    ),
    "9.4": (
        sieved,
        read_from_behind,
        with_an_exception,
        searched,
        split_at_what_is_no_digit,
        judged_by(lambda runs: bool(runs) and is_prime(runs[-1]), r"(?a:\d+)"),
    ),
}
WRONG = {
    "9.1": (
        ("`return` missing", forgotten),
        ("1 - p**group_size is the chance that at least one fails", lambda p, g: p**g + 1 - p**g),
        ("They exclude each other", lambda p, g: p**g + (1 - p) ** g - (p * (1 - p)) ** g),
        ("late in a run", lambda p, g: math.prod([1 - p] * g)),
        ("Subtract it from 1", lambda p, g: 1 - multiplied_one_by_one(p, g)),
        ("in percent", lambda p, g: multiplied_one_by_one(p, g) * 100.0),
        ("Your exponent is G − 1", lambda p, g: multiplied_one_by_one(p, g - 1)),
        ("gives 0.1668; it should be 0.1853", lambda p, g: multiplied_one_by_one(p, g + 1)),
        ("gives 0.19; it should be", lambda p, g: round(multiplied_one_by_one(p, g), 2)),
        ("an array of shape [2]; it should be one number", lambda p, g: (p**g, (1 - p) ** g)),
        ("which is no number", lambda p, g: f"{multiplied_one_by_one(p, g):.0%}"),
        ("For 0, 4 your function raised ValueError", dead_by_logarithms),
        ("raised TypeError: unsupported operand type(s) for ^", lambda p, g: p ^ g + (1 - p) ^ g),
    ),
    "9.2": (
        ("`return` missing", forgotten),
        ("divides by G. Trainers", lambda r: torch.nn.functional.layer_norm(r, r.shape, eps=1e-8)),
        ("Two things", lambda r: (r - r.mean()) / (r - r.mean()).square().mean().sqrt()),
        ("add a small number to the standard deviation", lambda r: (r - r.mean()) / r.std() + 1e-4),
        ("rounding leaves it at 1.4e-16", lambda r: torch.nan_to_num((r - r.mean()) / r.std())),
        ("rounding leaves it at 1.4e-16", spread_asked_first),
        ("That is RLOO", lambda r: (r - r.mean()) * len(r) / (len(r) - 1)),
        ("That is Dr. GRPO", lambda r: torch.stack([x - r.sum() / len(r) for x in r])),
        ("Division comes first", lambda r: r - r.mean() / r.std().clamp(min=1e-4)),
        ("which is dim=0", lambda r: (r - r.mean(1, keepdim=True)) / (r.std(1, keepdim=True) + 1e-4)),
        ("it should be [-0.4999, 1.5,", lambda r: (r.mean() - r) / (r.std() + 1e-4)),
        ("it should be [-0.4999, 1.5,", lambda r: (r - r.median()) / (r.std() + 1e-4)),
        ("it should be [-0.4999, 1.5,", lambda r: (r - r.mean()) / (r.std() + 1)),
        ("an array of shape [1, 4]", lambda r: ((r - r.mean()) / (r.std() + 1e-4))[None]),
        ("does every branch `return`?", nothing_for_a_dead_group),
        ("gives one number; it should be an array of shape [8]", one_zero_for_a_dead_group),
    ),
    "9.3": (
        ("`return` missing", forgotten),
        ("You count spaces", lambda completions, **columns: [float(t.strip().count(" ") == 11) for t in completions]),
        ("inside the loop", leaves_the_loop),
        ("isalpha says no", lambda completions: [sum(w.isalpha() for w in t.split()) == 12 for t in completions]),
        ("You count characters", lambda completions, **columns: [int(len(list(t)) == 12) for t in completions]),
        ("compare with 12", lambda completions, **columns: torch.tensor([len(t.split()) for t in completions])),
        ("You give one number", lambda completions: np.mean([len(t.split()) == 12 for t in completions])),
        ("You count different words", lambda completions: [len(dict.fromkeys(t.split())) == 12 for t in completions]),
        ("gives [1]; it should be [0]", lambda completions: [float(len(t.split()) <= 12) for t in completions]),
        ("gives [0]; it should be [1]", lambda completions: [float(len(t.split()) == 13) for t in completions]),
        (
            "gives [0]; it should be [1]",
            lambda completions: [len([w for w in t.split(" ") if w]) == 12 for t in completions],
        ),
        ("gives [-1]; it should be [0]", lambda completions: [2.0 * (len(t.split()) == 12) - 1 for t in completions]),
        (
            "gives [0.9167]; it should be [0]",
            lambda completions: [1 - abs(len(t.split()) - 12) / 12 for t in completions],
        ),
        ("'list' object has no attribute 'split'", lambda completions: [float(len(completions.split()) == 12)]),
        ("an array of shape [0]", only_the_good),
        ("an array of shape [1, 1]", lambda completions: [[float(len(t.split()) == 12)] for t in completions]),
        ("gives [None]", lambda completions: [1.0 if len(t.split()) == 12 else None for t in completions]),
    ),
    "9.4": (
        ("`return` missing", forgotten),
        ("A text without a number", judged_by(lambda runs: is_prime(runs.pop()))),
        ("A text without a number", judged_by(lambda runs: tried_one_by_one(int(runs[len(runs) - 1])))),
        ("You look at the first number", judged_by(lambda runs: bool(runs) and is_prime(next(iter(runs))))),
        ("You judge the last digit", judged_by(lambda runs: bool(runs) and runs[-1] in "2357", "[0-9]")),
        (
            "You count 1 as a prime",
            judged_by(lambda runs: bool(runs) and (int(runs[-1][:6]) == 1 or is_prime(runs[-1]))),
        ),
        ("You count 0 and 1", judged_by(lambda runs: bool(runs) and (is_prime(runs[-1]) or runs[-1] in "01"))),
        ("digits of other scripts", judged_by(lambda runs: bool(runs) and is_prime(runs[-1]), r"\d{1,9999}")),
        (
            "it has seven digits",
            judged_by(lambda runs: bool(runs) and len(runs[-1]) < 10 and tried_one_by_one(int(runs[-1]))),
        ),
        ("your function raised ValueError", judged_by(lambda runs: bool(runs) and sieve()[int(runs[-1][-4500:])])),
        ("['9999071'] your function gives [1]", judged_by(lambda runs: bool(runs) and is_prime(runs[-1][:6]))),
        (
            "['then 1000003'] your function gives [1]",
            judged_by(lambda runs: bool(runs) and is_prime(runs[-1]), "[0-9]{1,6}"),
        ),
        (
            "['it was -7 then'] your function gives [0]",
            judged_by(lambda runs: bool(runs) and is_prime(runs[-1].replace("-", "0000000")), "-?[0-9]+"),
        ),
        (
            "['1,009 bolts'] your function gives [1]",
            lambda completions: sieved([t.replace(",", "") for t in completions]),
        ),
        (
            "['9 and 2²'] your function gives [0]",
            judged_by(lambda runs: bool(runs) and is_prime(runs[-1]), r"\b[0-9]+\b"),
        ),
        ("your function gives [1]; it should be [0]", judged_by(lambda runs: any(map(is_prime, runs)))),
        (
            "169'] your function gives [1]",
            judged_by(lambda runs: bool(runs) and len(runs[-1]) < 7 and int(runs[-1]) % 2),
        ),
        (
            "999983'] your function gives [0]",
            judged_by(lambda runs: bool(runs) and len(runs[-1]) < 6 and is_prime(runs[-1])),
        ),
        ("[''] your function gives [1]", judged_by(lambda runs: not runs or is_prime(runs[-1]))),
        ("it should be", of_words),
        ("should be an array of shape [1]", lambda completions: sieved(completions[1:])),
        ("which is no number", lambda completions: [score or None for score in sieved(completions)]),
    ),
}
