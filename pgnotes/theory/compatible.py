"""A critic that may replace Q: linear in the policy's own scores (lesson 11; Sutton et al. 2000, theorem 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_indices, check_real, check_shape
from pgnotes.theory.learning import prefix_totals, prefix_values, symbol_values
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld

# Where nothing else is said, a policy's parameters are the entries of its table. Features φ [rows, V, D] describe one
# with D parameters u, whose logits are the table's plus φ(prefix, symbol) · u: one and the same number for a symbol
# after all prefixes, say. What is computed is at u = 0.


def fit_compatible(world: TokenWorld, policy: PrefixPolicy, features: Any = None) -> tuple[Tensor, float]:
    """Weights [D] of the critic A_w = w · score that fits the advantages best, and the share of them it leaves over.

    Least squares over the prefixes and symbols that the policy meets, as often as it meets them; the share is one of
    A's mean square, 0 for a table.  Whatever is left over, E[score A_w] = ∇J: that is what the normal equations say.
    Of several best w it gives the shortest, F⁺∇J, the natural gradient (lessons 11 and 12).
    features: φ [rows, V, D].  world: with one prompt.  ValueError naming the argument.
    """
    seen = (chances_met(world, policy)[:, None] * policy.probs.detach()).flatten()  # of each prefix with each symbol
    scores = scores_of(policy, features).flatten(0, 1)
    advantages = (symbol_values(world, policy) - prefix_values(world, policy)[:, None]).flatten()

    fisher = (seen[:, None] * scores).T @ scores
    weights = torch.linalg.pinv(fisher, hermitian=True) @ (scores.T @ (seen * advantages))
    left = seen @ (advantages - scores @ weights).square()
    return weights, (left / (seen @ advantages.square())).item()


def compatible_worth(policy: PrefixPolicy, weights: Any, features: Any = None) -> Tensor:
    """A_w(prefix, symbol) = w · score, [rows, V], for weights [D]: what such a critic says (lesson 11)."""
    scores = scores_of(policy, features)
    return scores @ check_shape("weights", check_real("weights", weights, 1), scores.shape[-1:])


def mean_with_worth(world: TokenWorld, policy: PrefixPolicy, worth: Any, features: Any = None) -> Tensor:
    """E[Σ_t Q̂(prefix, symbol) score_t], [D]: the gradient that a critic's worth [rows, V] leads to (lesson 11).

    The true Q, or the true A, makes it ∇J in the parameters that `features` describes; the policy gradient theorem in Q
    form, lesson 02.
    """
    worth = check_shape("worth", check_real("worth", worth, 2), policy.logits.shape[-2:])
    weighted = chances_met(world, policy)[:, None] * policy.probs.detach() * worth
    return torch.einsum("rv,rvd->d", weighted, scores_of(policy, features))


def by_class(world: TokenWorld, policy: PrefixPolicy, classes: Any) -> Tensor:
    """The critic that knows no more of prefix and symbol than a class, [rows, V]: the mean Q of each class (lesson 11).

    Of all such critics it is nearest to Q in the mean square.
    classes: whole numbers from 0 to rows · V - 1, [rows, V].  world: with one prompt.  ValueError naming the argument.
    """
    classes = check_indices("classes", classes, policy.logits.numel(), dim=2)
    check_shape("classes", classes, policy.logits.shape[-2:])
    seen = chances_met(world, policy)[:, None] * policy.probs.detach()
    totals = torch.zeros(2, int(classes.max()) + 1, dtype=torch.float64)
    for total, of in zip(totals, (seen, seen * symbol_values(world, policy)), strict=True):
        total.index_add_(0, classes.flatten(), of.flatten())
    return (totals[1] / totals[0].clamp(min=1e-300))[classes]


def scores_of(policy: PrefixPolicy, features: Any) -> Tensor:
    """The score of each symbol after each prefix in the parameters, [rows, V, D]: φ less its mean under the policy."""
    probs = policy.probs.detach()
    rows, symbols = check_shape("policy's logits", probs, probs.shape[-2:]).shape
    if features is None:
        features = torch.eye(rows * symbols, dtype=torch.float64).view(rows, symbols, -1)
    features = check_real("features", features, 3)
    check_shape("features", features, (rows, symbols, features.shape[-1]))
    return features - (probs[..., None] * features).sum(1, keepdim=True)


def chances_met(world: TokenWorld, policy: PrefixPolicy) -> Tensor:
    """How likely a sequence is to choose a symbol after each prefix, [rows]."""
    return prefix_totals(world, policy, torch.ones(world.mask.shape, dtype=torch.float64))
