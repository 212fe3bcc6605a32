"""The pocket model's little language: openings, continuations full of counted things, requests a little off."""

from __future__ import annotations

import random
from typing import NamedTuple

from pgnotes.lm.errors import BadInputError

WHEN = """On Monday|On Tuesday|On Friday|Last summer|Last winter|Early in May|Late in June|In the first week|
After the storm|Before the fair|At noon|At dawn|Just after lunch|Yesterday|This morning|All through March|
When the rain stopped|On market day|Near closing time|After the holidays"""
WHERE = """by the harbour|at the old mill|in the back room|near the bridge|on the hill|behind the school|
in the village|at the station|beside the river|in the north wing|under the clock tower|at the edge of town"""
TRADES: str = """baker: sold, baked, boxed, sliced: loaves, rolls, pies, tarts, buns
farmer: picked, packed, weighed, sold: apples, pears, melons, eggs, plums
librarian: shelved, lent, sorted, found: books, maps, atlases, letters, papers
gardener: planted, watered, moved, cut: roses, tulips, shrubs, ferns, bulbs
teacher: marked, read, kept, handed out: tests, essays, poems, drawings, notes
captain: loaded, counted, stored, shipped: crates, barrels, sacks, ropes, chests
nurse: rolled, used, opened, ordered: bandages, gloves, masks, bottles, boxes
carpenter: cut, sanded, glued, carried: boards, chairs, shelves, pegs, doors
postman: carried, sorted, stamped, lost: letters, cards, parcels, bills, notes
cook: peeled, boiled, served, chopped: carrots, onions, beets, eggs, leeks
tailor: sewed, mended, pressed, sold: coats, shirts, vests, scarves, caps
potter: fired, glazed, broke, sold: bowls, cups, vases, plates, jars
beekeeper: filled, opened, moved, sold: hives, jars, frames, combs, tins
clerk: filed, copied, signed, counted: forms, bills, letters, coins, stamps"""
OWNERS = "the|the old|the young|our|the new|my neighbour the"
SIZES = "small|large|blue|red|old|new|green|heavy|plain|good"
TAILS = """before lunch|by noon|in one day|for the fair|that week|in the rain|with a friend|for the school|
and went home|and sat down|before dark|in an hour|without a break|and then rested|for the first time|and was glad|
at the market|and kept the rest|with great care|as planned"""
PLAIN_TRIES = 5000  # before an ending takes a form with more words


class Words(NamedTuple):
    """The lists above, split once."""

    when: list[str]
    where: list[str]
    owners: list[str]
    sizes: list[str]
    tails: list[str]
    trades: dict[str, tuple[list[str], list[str]]]  # trade -> (verbs, things)


def split_words() -> Words:
    """The word lists as Python lists."""
    texts = (WHEN, WHERE, OWNERS, SIZES, TAILS)
    lists: list[list[str]] = [[word.strip() for word in text.split("|")] for text in texts]
    rows = [line.split(": ") for line in TRADES.splitlines()]
    return Words(*lists, trades={trade: (verbs.split(", "), things.split(", ")) for trade, verbs, things in rows})


WORDS = split_words()


def opening(rng: random.Random) -> tuple[str, str]:
    """The start of a sentence and the trade it speaks of: ('On Monday by the harbour the old baker', 'baker')."""
    trade = rng.choice(sorted(WORDS.trades))
    place = " " + rng.choice(WORDS.where) if rng.random() < 0.4 else ""
    return f"{rng.choice(WORDS.when)}{place} {rng.choice(WORDS.owners)} {trade}", trade


def number(rng: random.Random) -> int:
    """A count between 2 and 420, mostly of one or two digits."""
    return rng.randint(2, rng.choice([9, 30, 99, 99, 420]))


def continuation(rng: random.Random, trade: str) -> str:
    """The rest of the sentence: 'sold 12 loaves and 9 large rolls before lunch.'"""
    verbs, things = WORDS.trades[trade]
    counted = []
    for thing in rng.sample(things, rng.choice([1, 2, 2, 3])):
        size = rng.choice(WORDS.sizes) + " " if rng.random() < 0.35 else ""
        counted.append(f"{number(rng)} {size}{thing}")
    listed = counted[0] if len(counted) == 1 else ", ".join(counted[:-1]) + " and " + counted[-1]
    first, second = rng.sample(verbs, 2)
    if rng.random() < 0.3:
        listed += f", then {second} {number(rng)} more"
    tail = " " + rng.choice(WORDS.tails) if rng.random() < 0.75 else ""
    return f"{first} {listed}{tail}."


def off_by_a_little(rng: random.Random, exact: float) -> int:
    """How far a request is from the truth: 0 with probability `exact`, else -2 … 2, likely as 1 : 2 : 3 : 2 : 1."""
    return 0 if exact and rng.random() < exact else rng.randint(-1, 1) + rng.randint(-1, 1)


def example(rng: random.Random, held_out: frozenset[str], exact: float) -> tuple[int, int, str, str]:
    """One training example (length asked for, digit sum asked for, opening, continuation).

    The continuation has 36 to 60 characters and its digits add up to 3 to 24; the request is off by up to 2 in each,
    but for a share `exact`.  Openings in `held_out` never occur.
    """
    while True:
        start, trade = opening(rng)
        rest = continuation(rng, trade)
        total = sum(int(c) for c in rest if c in "0123456789")
        if start not in held_out and 36 <= len(rest) <= 60 and 3 <= total <= 24:
            return len(rest) + off_by_a_little(rng, exact), total + off_by_a_little(rng, exact), start, rest


def tally(rng: random.Random, trade: str, length: int) -> str:
    """The rest of a sentence, in its plainest form: 'sold 12 loaves and 9 rolls, then baked 40 more before lunch.'

    Its last words are chosen to give it so many characters; where none do, any.
    """
    verbs, things = WORDS.trades[trade]
    (first, second), (one, other) = rng.sample(verbs, 2), rng.sample(things, 2)
    counted = f"{first} {number(rng)} {one} and {number(rng)} {other}, then {second} {number(rng)} more"
    fitting = [tail for tail in WORDS.tails if len(f"{counted} {tail}.") == length]
    return f"{counted} {rng.choice(fitting or WORDS.tails)}."


def ending(rng: random.Random, start: str, length: int, digit_sum: int) -> str:
    """A continuation of an opening, of exactly so many characters, whose digits have exactly this sum.

    It is about the trade that the opening speaks of, if it is one of the corpus's, and in the plainest form, unless
    that has none for these targets: the fewer words to count, the sooner a model learns to count them.  BadInputError
    if none is found.
    """
    named = [trade for trade in WORDS.trades if trade in start]
    for tried in range(200_000):
        trade = named[0] if named else rng.choice(sorted(WORDS.trades))
        rest = tally(rng, trade, length) if tried < PLAIN_TRIES else continuation(rng, trade)
        if len(rest) == length and sum(int(c) for c in rest if c in "0123456789") == digit_sum:
            return rest
    raise BadInputError(
        f"warmup_examples: no example found of {length} characters and a digit sum of {digit_sum}; "
        "lengths from 30 to 80 and sums from 5 to 30 are mostly within reach; or set it to 0"
    )
