"""Two ways to differentiate an average over a Gaussian, by its score and along its path, with their exact noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_array, check_count, check_finite, check_positive, check_real, check_shape
from pgnotes.theory.estimators import Moments, moments_of

Reward = Callable[[Tensor], Tensor]
FURTHEST = 10.0  # standard deviations, beyond which a Gaussian has 1e-23
NODES = 4001


def quadrature(n: int = NODES) -> tuple[Tensor, Tensor]:
    """Nodes and weights [n] for averages over a standard normal number z: Σ w f(z) is E[f(z)] (lesson 14).

    The trapezoidal rule on ±10, which for smooth f is exact to rounding once its step is a fraction of what f bends
    over (Trefethen & Weideman 2014); at a jump it is off by up to a step. 4,001 nodes are 0.005 apart.
    n: at least 21.
    """
    z = torch.linspace(-FURTHEST, FURTHEST, check_count("n", n, 21), dtype=torch.float64)
    weights = (-0.5 * z**2).exp()
    return z, weights / weights.sum()


def gaussian_mean(reward: Reward, mean: float, std: float, n: int = NODES) -> float:
    """J = E[reward(a)], a = mean + std z, by quadrature (lesson 14).

    reward: a function of actions [n] to rewards [n].
    """
    z, weights = quadrature(n)
    return (weights @ rewards_of(reward, placed(z, mean, std))).item()


def score_moments(reward: Reward, mean: float, std: float, baseline: float = 0.0, n: int = NODES) -> Moments:
    """Mean [2] and covariance of (r(a) - b) ∇ log π(a), by the mean and by log σ, from one action (lesson 14).

    reward: a function of actions [n] to rewards [n], smooth on the scale of the nodes.  baseline: b, a number.
    """
    z, weights = quadrature(n)
    rewards = rewards_of(reward, placed(z, mean, std)) - check_finite("baseline", baseline)
    scores = torch.stack([z / std, z**2 - 1], 1)  # as GaussianPolicy.score has them
    return moments_of(weights, rewards[:, None] * scores)


def path_moments(reward: Reward, mean: float, std: float, n: int = NODES) -> Moments:
    """Mean [2] and covariance of r'(a) ∂a/∂θ, (r', r' σ z), by the mean and by log σ, from one action (lesson 14).

    The slope is autograd's (Kingma & Welling 2014; Mohamed et al. 2020, section 5).  Arguments as in `score_moments`.
    The mean is the gradient of J if r is Lipschitz; autograd does not see a jump.
    """
    z, weights = quadrature(n)
    slopes = slope_of(reward, placed(z, mean, std))
    return moments_of(weights, torch.stack([slopes, slopes * std * z], 1))


def step_moments(mean: float, std: float, baseline: float = 0.0) -> Moments:
    """What `score_moments` is for a step, a reward of 1 where a > 0 and 0 elsewhere, in closed form (lesson 14).

    Over the upper tail, beyond z0, the powers of z average to: Q, φ, Q + z0 φ, … with Q = P(z > z0) and φ the density
    there. The path's estimate of the same gradient is 0, without noise: the slope is 0 wherever there is one.
    """
    z0 = -check_finite("mean", mean) / check_positive("std", std)
    b = check_finite("baseline", baseline)
    density = math.exp(-0.5 * z0**2) / math.sqrt(2 * math.pi)
    tail = [0.5 * math.erfc(z0 / math.sqrt(2)), density]  # E[z^k; z > z0] for k = 0, 1, and by parts for k = 2 … 4
    for k in range(2, 5):
        tail.append(z0 ** (k - 1) * density + (k - 1) * tail[k - 2])

    # (1 - b)² above and b² below, where all is 1, 0, 1, 0, 3
    above = (1 - b) ** 2 - b**2
    second = [above * part + b**2 * whole for part, whole in zip(tail, (1, 0, 1, 0, 3), strict=True)]
    squared = torch.tensor([
        [second[2] / std**2, (second[3] - second[1]) / std],
        [(second[3] - second[1]) / std, second[4] - 2 * second[2] + second[0]],
    ], dtype=torch.float64)  # fmt: skip
    gradient = torch.tensor([density / std, z0 * density], dtype=torch.float64)
    return Moments(gradient, squared - torch.outer(gradient, gradient))


def distance_noise(dims: int, distance: float, std: float) -> tuple[float, float]:
    """(score, path): one coordinate's variance over its squared gradient, for r = -‖a - c‖² (lesson 14).

    The policy is a Gaussian with `std` in each of `dims` directions, `distance` from c in each; the score has the
    baseline J. The path looks at its own coordinate alone; the score at a reward that all others shake.
    """
    dims, d = check_count("dims", dims), check_positive("distance", distance)
    spread = check_positive("std", std) ** 2
    others = (dims - 1) * (4 * d**2 + 2 * spread)  # E[(r_i - J_i)²] of each other coordinate, times E[z²]
    own = 12 * d**2 + 10 * spread
    return (others + own) / (4 * d**2) - 1, spread / d**2


# the parts


def placed(z: Tensor, mean: float, std: float) -> Tensor:
    """The actions mean + std z."""
    return check_finite("mean", mean) + check_positive("std", std) * z


def rewards_of(reward: Any, actions: Tensor) -> Tensor:
    """What a reward function says of actions [n], [n].  ValueError naming it for another shape."""
    if not callable(reward):
        raise ValueError(f"reward is {reward!r}; it must be a function of actions")
    values = check_array("reward's result", reward(actions))
    return check_real("reward's result", check_shape("reward's result", values, actions.shape), 1)


def slope_of(reward: Reward, actions: Tensor) -> Tensor:
    """r'(a) by autograd, [n]; 0 where the reward does not depend on the action."""
    with torch.enable_grad():
        leaf = actions.detach().requires_grad_()
        total = rewards_of(reward, leaf).sum()
        if not total.requires_grad:
            return torch.zeros_like(actions)
        return torch.autograd.grad(total, leaf)[0]
