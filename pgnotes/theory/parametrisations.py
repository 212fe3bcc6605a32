"""One policy written in several ways, and what plain, natural and Adam's steps make of it (lesson 12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_choice,
    check_count,
    check_distributions,
    check_finite,
    check_real,
    check_shape,
)
from pgnotes.theory.many import probabilities
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

HOWS = ("plain", "natural", "adam")


@dataclass(frozen=True)
class Parametrisation:
    """How parameters φ [..., K] make a softmax's logits θ [..., K], one-to-one.

    logits: φ -> θ.  parameters: a policy's log-probabilities -> φ.  jacobian: φ -> ∂θ/∂φ, [..., K, K].
    """

    logits: Callable[[Tensor], Tensor]
    parameters: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]


def linear(matrix: Callable[[int], Tensor]) -> Parametrisation:
    """θ = M φ, with M of K actions given by `matrix(K)`."""

    def of(phi: Tensor) -> Tensor:
        return matrix(phi.shape[-1])

    return Parametrisation(
        lambda phi: phi @ of(phi).T,
        lambda theta: torch.linalg.solve(of(theta), theta[..., None])[..., 0],
        lambda phi: of(phi).expand(*phi.shape, phi.shape[-1]),
    )


def eye(size: int) -> Tensor:
    """The unit matrix."""
    return torch.eye(size, dtype=torch.float64)


def cubes(added: float) -> Parametrisation:
    """θ = φ³, from log-probabilities to which `added` is added: a softmax ignores it, and where φ starts depends on it.

    Where a φ passes 0 its slope 3φ² is 0 (lesson 12).  ValueError naming the argument.
    """
    check_finite("added", added)
    return Parametrisation(
        lambda phi: phi**3,
        lambda theta: (theta + added).sign() * (theta + added).abs() ** (1 / 3),
        lambda phi: torch.diag_embed(3 * phi**2),
    )


SQUARES = Parametrisation(  # π ∝ φ²
    lambda phi: 2 * phi.abs().log(),
    lambda theta: (theta / 2).exp(),
    lambda phi: torch.diag_embed(2 / phi),
)
FIVE = {
    "logits": linear(eye),
    "scaled": linear(lambda size: 5 * eye(size)),
    "sums": linear(lambda size: torch.ones(size, size, dtype=torch.float64).tril()),
    "cubes": cubes(3),
    "squares": SQUARES,
}


def natural_direction(kind: Parametrisation, phi: Tensor, rewards: Tensor) -> Tensor:
    """(JᵀFJ)⁺ Jᵀ∇J of a bandit, J = ∂θ/∂φ: the natural gradient in the parameters φ, [..., K] (lesson 12).

    The logits' natural direction is the rewards, up to a constant; J⁻¹ takes it to φ. Of all constants it takes the one
    that makes the direction shortest, as a pseudo-inverse does.
    """
    ends = torch.stack([rewards.expand(phi.shape), torch.ones_like(phi)], -1)
    solved, ones = torch.linalg.solve(kind.jacobian(phi), ends).unbind(-1)
    return solved - ones * ((ones * solved).sum(-1, keepdim=True) / ones.square().sum(-1, keepdim=True))


def plain_direction(kind: Parametrisation, phi: Tensor, rewards: Tensor) -> Tensor:
    """Jᵀ∇J of a bandit: the gradient in the parameters φ, [..., K]."""
    probs = probabilities(kind.logits(phi))
    gradient = probs * (rewards - (probs * rewards).sum(-1, keepdim=True))
    return (kind.jacobian(phi) * gradient[..., None]).sum(-2)


def climb(bandit: Bandit, probs: Any, form: str | Parametrisation, how: str, sizes: Any, steps: int) -> Tensor:
    """π before each step and after the last, [sizes, steps + 1, K]: exact ascent in some parameters (lesson 12).

    probs: [K], where to start.  form: one of the `FIVE`, or a Parametrisation of your own.  how: "plain" · "natural" ·
    "adam", with its usual 0.9, 0.999 and 1e-8 (Kingma & Ba 2015).  sizes: of a step, [sizes].  steps: how many.
    ValueError naming the argument.
    """
    kind = form if isinstance(form, Parametrisation) else FIVE[check_choice("form", form, FIVE)]
    start = check_distributions("probs", check_shape("probs", check_real("probs", probs, 1), bandit.mean_rewards.shape))
    sizes, rewards = check_real("sizes", sizes, 1)[:, None], bandit.mean_rewards
    direction_of = natural_direction if check_choice("how", how, HOWS) == "natural" else plain_direction

    phi = kind.parameters(start.log()).repeat(len(sizes), 1)
    mean, square, path = torch.zeros_like(phi), torch.zeros_like(phi), []
    for step in range(1, check_count("steps", steps) + 1):
        path.append(probabilities(kind.logits(phi)))
        direction = direction_of(kind, phi, rewards)
        if how == "adam":
            mean = 0.9 * mean + 0.1 * direction
            square = 0.999 * square + 0.001 * direction.square()
            direction = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        phi = phi + sizes * direction
    return torch.stack([*path, probabilities(kind.logits(phi))], 1)


def steps_until(path: Tensor, action: int, share: float) -> Tensor:
    """After how many steps an action's probability is above `share` for the first time, [...]; -1 if it never is.

    path: [..., steps + 1, K].
    """
    above = path[..., action] > share
    return torch.where(above.any(-1), above.double().argmax(-1), -1)


def predicted_steps(rare: float, size: float, gap: float) -> float:
    """How many natural steps lead from (ε, 1 - 2ε, ε) to 99 % of the first action, all but exactly (lesson 12).

    Each adds size · gap to log π(first)/π(second), which has to go from log ε/(1 - 2ε) to log 99.
    rare: ε.  size: η.  gap: how much more the first pays than the second.
    """
    policy = SoftmaxPolicy(torch.tensor([rare, 1 - 2 * rare], dtype=torch.float64).log())
    apart = policy.logits[1] - policy.logits[0]
    return ((torch.tensor(99.0).double().log() + apart) / (size * gap)).item()
