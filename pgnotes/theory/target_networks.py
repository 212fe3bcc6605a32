"""Linear TD with a target that is copied now and then: does it stay put where plain TD runs away? (lesson 15, C80)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count

MIXING = 64  # squarings of the transitions, enough for any chain drawn here


class LinearTD(NamedTuple):
    """Expected TD of n random chains with linear values φ·w: its step is w + α (E w + b - C w), all [n, F, F].

    C = Σ_s d(s) φφᵀ.  E = γ Σ_s d(s) φ E[φ′]ᵀ.  What the rewards add, b, moves the fixed point and nothing else.
    """

    own: Tensor  # C
    bootstrapped: Tensor  # E


def random_td(cases: int, states: int, features: int, gamma: float, seed: int, on_policy: bool = False) -> LinearTD:
    """Random chains with random features (lesson 15).

    Transitions are Dirichlet(½), features normal.  States are weighted by a random distribution, as data of another
    policy may be, or, on_policy, as often as the chain itself visits them.  ValueError naming the argument.
    """
    noise = torch.Generator().manual_seed(check_count("seed", seed, 0))
    n, gamma = check_count("cases", cases), check_between("gamma", gamma, 0.0, 1.0)
    states, features = check_count("states", states, 2), check_count("features", features)

    def distributions(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, dtype=torch.float64, generator=noise).square()
        return drawn / drawn.sum(-1, keepdim=True)

    moves, weights = distributions(n, states, states), distributions(n, states)
    phi = torch.randn(n, states, features, dtype=torch.float64, generator=noise)
    if on_policy:
        often = moves
        for _ in range(MIXING):
            often = often @ often
            often = often / often.sum(-1, keepdim=True)
        weights = often[:, 0]
    weighted = (phi * weights[..., None]).mT
    return LinearTD(weighted @ phi, gamma * weighted @ moves @ phi)


def runs_away(td: LinearTD, every: int | None = 1) -> Tensor:
    """Whether w grows without end, [n] bool: a spectral radius above 1 (lesson 15).

    every: steps between two copies of the target; 1 is plain TD, None copies once the regression on the target is done.
    The step α is a tenth of 1 / (C's largest eigenvalue).
    """
    if every is None:
        return radius(torch.linalg.solve(td.own, td.bootstrapped)) > 1
    alpha = 0.1 / torch.linalg.eigvalsh(td.own).amax(-1)[:, None, None]
    identity = torch.eye(td.own.shape[-1], dtype=torch.float64)
    left = torch.linalg.matrix_power(identity - alpha * td.own, check_count("every", every))  # of the old weights
    return radius(left + (identity - left) @ torch.linalg.solve(td.own, td.bootstrapped)) > 1


def radius(matrices: Tensor) -> Tensor:
    """The largest absolute eigenvalue of each, [..., F, F] -> [...]."""
    return torch.linalg.eigvals(matrices).abs().amax(-1)
