"""Judges of the glass world who err, by chance or by taste, and the best policy by what is learned from them.

All of it on 17 kinds of answer in place of 121 answers: what judges and reward model see of an answer is its sum,
whether it stops, and its length (lesson 15, claim C79).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count
from pgnotes.theory.estimators import draw_counts
from pgnotes.theory.glass import glass_reference, glass_world
from pgnotes.theory.preferences import fit_bradley_terry, judged, preference

NOISE = 0.3  # of the clean judge, in units of the return
RIDGE = 1.0  # as if each weight came from a normal distribution of standard deviation 1 nat


class Kinds(NamedTuple):
    """Answers of the glass world that judges and reward models can not tell apart, C of them."""

    chances: Tensor  # [C], under the reference
    returns: Tensor  # [C]
    lengths: Tensor  # [C], in symbols, the stop included
    features: Tensor  # [C, F]: an indicator for each sum with a stop, one for no stop, and the length


@cache
def answer_kinds() -> Kinds:
    """The kinds, and what is seen of each (lesson 15)."""
    world = glass_world()
    chances, returns = world.probabilities(glass_reference())[0].detach(), world.returns()[0]
    sums, lengths = world.sequences.sum(1), world.mask.sum(1)
    seen = torch.where((world.sequences == 0).any(1), sums, -1)  # of those that never stop, only that
    kinds, kind = torch.unique(torch.stack([seen, lengths], 1), dim=0, return_inverse=True)

    mass = torch.zeros(len(kinds), dtype=torch.float64).index_add(0, kind, chances)
    paid = torch.zeros(len(kinds), dtype=torch.float64).index_copy(0, kind, returns)  # the same for all of a kind
    levels = torch.unique(kinds[:, 0])
    indicators = (kinds[:, :1] == levels).double()
    return Kinds(mass, paid, kinds[:, 1].double(), torch.cat([indicators, kinds[:, 1:].double()], 1))


def clean_verdicts() -> Tensor:
    """P(i over j) of a judge who looks at the returns alone, with noise, [C, C] (lesson 15)."""
    return preference(answer_kinds().returns, NOISE)


def verdicts(flips: float, love: float) -> Tensor:
    """The same judge, who turns a share of verdicts at random, and likes each symbol of length by `love` nats, [C, C].

    ValueError naming the argument.
    """
    lengths = answer_kinds().lengths
    return judged(clean_verdicts(), flips, check_between("love", love, -10.0, 10.0) * lengths)


def learned_scores(wins: Tensor, pairs: int | None, seed: int = 0) -> Tensor:
    """The scores [C], in nats, of a reward model that is fitted to so many verdicts (lesson 15).

    wins: [C, C], from `verdicts`.  pairs: of answers drawn from the reference, each compared once; None for endlessly
    many.  seed: decides pairs and verdicts; judges who differ get the same pairs.  ValueError naming the argument.
    """
    kinds = answer_kinds()
    if pairs is None:
        weights = kinds.chances[:, None] * kinds.chances * wins
        return kinds.features @ fit_bradley_terry(kinds.features, weights)

    generator, count = torch.Generator().manual_seed(check_count("seed", seed, 0)), check_count("pairs", pairs)
    met = draw_counts((kinds.chances[:, None] * kinds.chances).flatten(), count, generator).view(wins.shape)
    won = torch.binomial(met, wins.contiguous(), generator=generator)
    counts = won + (met - won).T  # i beat j as the first of a pair, and as the second
    return kinds.features @ fit_bradley_terry(kinds.features, counts, RIDGE)
