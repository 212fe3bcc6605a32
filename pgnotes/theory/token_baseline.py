"""One baseline for each *place* of a sequence: the "optimal token baseline", and what is optimal (lesson 10, C90)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_real, check_shape
from pgnotes.theory.estimators import Moments, moments_of, outcomes
from pgnotes.theory.learning import check_single_prompt, score_sizes, symbol_scores
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld

PLACE_RULES = ("mean", "cumulative", "own", "best")


def place_scores(world: TokenWorld, policy: PrefixPolicy, shared: bool) -> Tensor:
    """Each token's score, [N, T, D]: in a row of its own for each prefix, or all rows one and the same (`shared`)."""
    scores = symbol_scores(world, policy)
    return scores.sum(2) if shared else scores.flatten(2)


def place_baselines(world: TokenWorld, policy: PrefixPolicy, rule: str, shared: bool = False) -> Tensor:
    """A number for each place, E[w_t R] / E[w_t] over sequences that reach it, [T] (lesson 10; 2602.07078).

    rule: "mean", w = 1 · "cumulative", the sum over the places up to t of ‖s‖² = 1 - 2π + Σπ², the paper's "optimal
    token baseline" · "own", the place's own ‖s‖² · "best", no mean but the numbers with the smallest trace, a linear
    system; without shared rows it is "own", because scores at different prefixes then lie in different entries.
    world: with one prompt, paid at the end alone, where what is still to come is the return.  ValueError naming the
    argument.
    """
    check_choice("rule", rule, PLACE_RULES)
    listed, returns = outcomes(check_single_prompt(world), policy), world.returns()[0]
    if rule == "best":
        scores = place_scores(world, policy, shared)
        products = torch.einsum("n,ntd,nkd->ntk", listed.chances, scores, scores)
        target = (products * returns[:, None, None]).sum((0, 2))
        return torch.linalg.lstsq(products.sum(0), target[:, None]).solution[:, 0]

    energy = score_sizes(world, policy) * world.mask
    weights = {"mean": torch.ones_like(energy), "cumulative": energy.cumsum(1), "own": energy}[rule]
    weights = weights * world.mask * listed.chances[:, None]
    return returns @ weights / weights.sum(0)


def with_places(world: TokenWorld, policy: PrefixPolicy, baselines: Any, shared: bool = False) -> Moments:
    """Moments of Σ_t (R - b_t) ∇ log π(token_t) from one sequence (lesson 10): unbiased, a place is no choice.

    baselines: b, [T].  shared: whether all prefixes share one row of logits, with D = V entries.  ValueError naming the
    argument.
    """
    table = check_shape("baselines", check_real("baselines", baselines, 1), (world.horizon,))
    weights = (world.returns()[0, :, None] - table) * world.mask
    estimates = (weights[..., None] * place_scores(world, policy, shared)).sum(1)
    return moments_of(outcomes(world, policy).chances, estimates)
