"""The glass world: pour without spilling. Small enough that reward models and their optima are exact (lesson 13)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_array, check_choice, check_indices, check_real, check_shape
from pgnotes.theory.learning import check_single_prompt
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.preferences import fit_bradley_terry, preference
from pgnotes.theory.worlds import TokenWorld

GLASS = 6  # holds so much
REFERENCE = (0.2, 0.7, 0.3, -0.8)  # logits of stop and of pouring 1, 2, 3, after every prefix
SIGHTS = ("sum", "length", "square", "blind")  # what a reward model sees


def glass_world() -> TokenWorld:
    """Pour 1, 2 or 3, up to four times, and stop with 0 (lesson 13).

    The stop pays a sixth of what is in the glass; above six it spills and pays nothing. Who never stops is not paid.
    """

    def reward(sequences: Tensor, prompt: int) -> Tensor:
        poured = sequences.sum(1).double()
        paid = torch.where(poured <= GLASS, poured / GLASS, 0.0)
        return paid[:, None] * (sequences == 0)  # what follows the first stop is masked

    return TokenWorld(4, 4, reward, eos=0)


def glass_reference() -> PrefixPolicy:
    """The policy that judges compare answers of: the same row after every prefix. It pours 1 most often."""
    return PrefixPolicy(torch.tensor(REFERENCE, dtype=torch.float64).repeat(85, 1))


def paying(world: TokenWorld, scores: Any) -> TokenWorld:
    """The same sequences, paid `scores` [N], one for each, at their last live symbol (lesson 13).

    What a policy is trained on that a reward model pays.  world: with one prompt.  ValueError naming the argument.
    """
    scores = check_real("scores", scores, 1)
    check_shape("scores", scores, (len(check_single_prompt(world).sequences),))
    found = torch.zeros(world.vocab_size**world.horizon, dtype=torch.float64)
    found[spelled(world.sequences, world.vocab_size)] = scores

    def reward(sequences: Tensor, prompt: int) -> Tensor:
        ends = sequences == (-1 if world.eos is None else world.eos)
        ends[:, -1] = True  # of those that never stop; else what follows the first stop is masked
        return found[spelled(sequences, world.vocab_size)][:, None] * ends

    return TokenWorld(world.vocab_size, world.horizon, reward, world.eos)


def spelled(sequences: Tensor, vocab_size: int) -> Tensor:
    """The number that each sequence [n, T] spells in base V, [n]."""
    places = vocab_size ** torch.arange(sequences.shape[1] - 1, -1, -1)
    return (check_indices("sequences", sequences, vocab_size, dim=2) * places).sum(1)


def glass_features(sight: str) -> Tensor:
    """What a reward model sees of each of the 121 sequences, [121, F]: the sum poured and whether it stops (lesson 13).

    "length" adds the number of symbols, "square" and "blind" the square of the sum.
    """
    check_choice("sight", sight, SIGHTS)
    world = glass_world()
    poured = world.sequences.sum(1).double()
    columns = [poured, (world.sequences == 0).any(1).double()]
    if sight == "length":
        columns.append(world.mask.sum(1).double())
    if sight in ("square", "blind"):
        columns.append(poured**2)
    return torch.stack(columns, 1)


def glass_scores(sight: str, noise: float) -> Tensor:
    """The scores [121], in nats, of a reward model with this sight, fitted to endlessly many comparisons (lesson 13).

    Both answers of a pair are drawn from `glass_reference`, the judges compare their true returns with this noise.
    "blind" is "square" with one answer misjudged: 3 3 3 and stop, which overflows, gets a nat more than any other.
    """
    world = glass_world()
    chances = world.probabilities(glass_reference())[0]
    wins = chances[:, None] * chances * preference(world.returns()[0], noise)
    features = glass_features(sight)
    scores = (features * fit_bradley_terry(features, wins)).sum(1)  # row by row: what is equal stays so to the bit
    if sight == "blind":
        scores[spelled(world.sequences, 4) == 0b11111100] = scores.max() + 1
    return scores


def poured(chances: Any) -> Tensor:
    """How likely each amount in or over the glass is, 0 to 12, [13]. chances: [121]."""
    sums = glass_world().sequences.sum(1)
    return torch.zeros(13, dtype=torch.float64).index_add(0, sums, check_array("chances", chances))
