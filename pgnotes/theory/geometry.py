"""How far a step goes, measured by what the policy does: Fisher matrix, natural gradient, trust-region step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_count,
    check_distributions,
    check_finite,
    check_positive,
    check_real,
    check_shape,
)
from pgnotes.theory.estimators import outcomes
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, prefix_rows
from pgnotes.theory.worlds import TokenWorld, check_token_world

Policy = SoftmaxPolicy | PrefixPolicy
RAREST = 1e-12  # a symbol that is rarer in its row has a gradient that is float64's rounding of the others'

# the matrix


def fisher(policy: Policy, world: TokenWorld | None = None) -> Tensor:
    """F = E[s sᵀ], the mean square of the score, every outcome listed, [D, D] (lesson 12; Amari 1998; Kakade 2001).

    It measures a small step Δ of the logits by what it does to the policy: KL(θ ‖ θ + Δ) = ½ ΔᵀFΔ + O(Δ³), in nats.
    policy: a SoftmaxPolicy, F = diag π - ππᵀ; or a PrefixPolicy on its `world`, with s the score of a whole sequence
    and the logits flattened.  ValueError naming the argument.
    """
    if check_policy(policy, world) is None:
        probs = policy.probs.detach()
        return probs.diag() - probs[:, None] * probs
    listed = outcomes(cast(TokenWorld, world), policy)
    return (listed.chances[:, None] * listed.scores).T @ listed.scores


def visits(policy: PrefixPolicy, world: TokenWorld) -> Tensor:
    """How likely each prefix is to be passed, d(prefix), in the shape of the logits without their last axis.

    With several prompts each has its share: the first rows of all prompts add up to 1 (lesson 12).
    """
    chances = world.probabilities(policy).detach() / world.prompts  # [P, N]; checks that they fit
    rows = prefix_rows(world.sequences, world.vocab_size)
    passed = chances[..., None] * world.mask  # [P, N, T]
    count = policy.logits.shape[-2]
    total = torch.zeros(world.prompts, count, dtype=torch.float64).index_add(1, rows.flatten(), passed.flatten(1))
    return total.view(policy.logits.shape[:-1])


def fisher_product(probs: Tensor, visits: Any, vector: Tensor) -> Tensor:
    """F v of a table of softmax rows without the matrix, d(s) π(·|s) ∘ (v - π·v) in each row (lesson 12).

    Sequences add no more: given what came before, a later score averages to zero, so that products of the scores of
    different steps vanish, and F has a block d(s) (diag π - ππᵀ) for each row.
    probs, vector: [..., V].  visits: d, [...], or 1.  Returns [..., V].
    """
    visits = torch.as_tensor(visits, dtype=torch.float64)[..., None]
    return visits * probs * (vector - (probs * vector).sum(-1, keepdim=True))


def natural(policy: Policy, gradient: Any, damping: float = 0.0, world: TokenWorld | None = None) -> Tensor:
    """F⁺g, or (F + damping · I)⁻¹g, in the gradient's shape (lesson 12; Kakade 2001).

    Row by row, in closed form: (diag π - ππᵀ)⁺ = P diag(1/π) P, where P takes a row's mean away; with damping it is the
    Sherman-Morrison formula.  A row that is never reached has F = 0: without damping its entries are 0.  So are
    those of symbols that a row takes less than once in 10¹² times, where g ÷ (d π) would be nothing but rounding.
    gradient: in the shape of the logits.  damping: 0 or more.  world: for a PrefixPolicy.  ValueError naming the
    argument.
    """
    known = check_policy(policy, world)
    d = torch.ones((), dtype=torch.float64) if known is None else visits(cast(PrefixPolicy, policy), known)
    probs, d = policy.probs.detach(), d[..., None]
    gradient = check_shape("gradient", check_array_like("gradient", gradient), policy.logits.shape)

    if damping := check_between("damping", damping, 0.0, float("1e9")):
        slack = d * probs + damping  # F + damping = diag(slack) - d ππᵀ in each row
        solved, ones = gradient / slack, probs / slack
        left = (probs * damping / slack).sum(-1, keepdim=True)  # 1 - d π·(π/slack), without a difference
        return solved + d * ones * (probs * solved).sum(-1, keepdim=True) / left
    solved = (gradient - gradient.mean(-1, keepdim=True)) / (d * probs)
    solved = solved.where((d > 0) & (probs > RAREST), 0.0)
    return solved - solved.mean(-1, keepdim=True)


# a system that is solved with products alone


class Iterate(NamedTuple):
    """Where conjugate gradients stand: the solution so far, x [..., D], and what is left, b - Ax [..., D]."""

    x: Tensor
    residual: Tensor


def conjugate_gradients(product: Callable[[Tensor], Tensor], b: Any, steps: int) -> Iterator[Iterate]:
    """x = 0, and x after each of `steps` products with a matrix A: towards Ax = b, A never formed (lesson 12).

    product(v [..., D]) -> [..., D]: A v, with A symmetric and without negative eigenvalues; where A is singular, b
    must lie in its range, and x goes to A⁺b.  b: [..., D]; each row is a system of its own.
    After k steps x is the best that k products can tell: it has the smallest error in A's own norm among the
    combinations of b, Ab, …, A^(k-1)b.  Where a system is solved it stays as it is.  Hestenes & Stiefel 1952.
    """
    residual = check_array_like("b", b).clone()
    x, direction = torch.zeros_like(residual), residual
    size = residual.square().sum(-1, keepdim=True)
    floor = 1e-30 * size  # a residual that is a 10⁻¹⁵th of b is all that is left of rounding
    yield Iterate(x, residual)

    for _ in range(check_count("steps", steps)):
        image = product(direction)
        curvature = (direction * image).sum(-1, keepdim=True)
        going = (size > floor) & (curvature > 0)
        length = torch.where(going, size / curvature, 0.0)
        x, residual = x + length * direction, residual - length * image

        left = residual.square().sum(-1, keepdim=True)
        direction = torch.where(going, residual + left / size * direction, direction)
        size = torch.where(going, left, size)
        yield Iterate(x, residual)


# steps


def trust_step(direction: Any, product: Callable[[Tensor], Tensor], delta: float) -> Tensor:
    """The step along a direction whose quadratic KL is δ: √(2δ / xᵀFx) x, [..., D] (lesson 12; TRPO, appendix C).

    direction: x, [..., D].  product: v -> F v.  delta: δ > 0, in nats.  0 where a direction has no length in F.
    ValueError naming the argument.
    """
    x = check_array_like("direction", direction)
    length = (x * product(x)).sum(-1, keepdim=True)
    return torch.where(length > 0, (2 * check_positive("delta", delta) / length).sqrt(), 0.0) * x


def mirror_step(probs: Any, advantages: Any, eta: float) -> Tensor:
    """π′(a) ∝ π(a) exp(η A(a)) in each row, [..., V] (lesson 12; Agarwal et al. 2021, lemma 5.1).

    A table's natural step of size η, as probabilities: mirror descent with the entropy, multiplicative weights.
    probs: [..., V], each row a distribution.  advantages: in the same shape; a constant added to a row changes nothing.
    eta: any number.  ValueError naming the argument.
    """
    probs = check_array_like("probs", probs)
    check_distributions("probs", probs)
    advantages = check_shape("advantages", check_array_like("advantages", advantages), probs.shape)
    return torch.softmax(probs.log() + check_finite("eta", eta) * advantages, -1)


# arguments


def check_policy(policy: Any, world: Any) -> TokenWorld | None:
    """`world`, if a policy has logits in rows and needs one; None for one decision.

    ValueError naming what does not fit.
    """
    if isinstance(policy, SoftmaxPolicy):
        if world is not None:
            raise ValueError(f"world is a {type(world).__name__}; a SoftmaxPolicy is one decision, and needs none")
        return None
    if not isinstance(policy, PrefixPolicy):
        raise ValueError(f"policy is a {type(policy).__name__}; it must be a SoftmaxPolicy or a PrefixPolicy")
    check_token_world(world).probabilities(policy)  # checks that they fit
    return world


def check_array_like(name: str, value: Any) -> Tensor:
    """`value` as float64 with one axis or more, not empty, all finite.

    ValueError naming `name` otherwise.
    """
    return check_real(name, value, 1, 2, 3, 4)
