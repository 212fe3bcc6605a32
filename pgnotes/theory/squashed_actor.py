"""SAC's actor on a single state, exactly: paid for its entropy, as four programs count it (lesson 14)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_finite, check_positive
from pgnotes.theory.continuous import Squashed, log_slope
from pgnotes.theory.pathwise import Reward, quadrature, rewards_of

# What is taken off log N(u), in place of log(1 - tanh² u)
CORRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "right": log_slope,
    "none": torch.zeros_like,
    "sign": lambda u: -log_slope(u),
    "twice": lambda u: log_slope(u.tanh()),
}
MOST = 2.0  # the largest log σ, as many programs have it
LEAST = -5.0


class Actor(NamedTuple):
    """A squashed Gaussian's mean and std before tanh, and what it earns and says of itself.

    reward: E[r(tanh u)].  reported: the entropy that its program computes.  entropy: the true one.  Nats.
    """

    mean: float
    std: float
    reward: float
    reported: float
    entropy: float


def counted_entropy(mean: Tensor, std: Tensor, kind: str = "right") -> Tensor:
    """-E[log π] as a program of this kind, one of `CORRECTIONS`, computes it, by quadrature (lesson 14)."""
    check_choice("kind", kind, CORRECTIONS)
    z, weights = quadrature()
    return Squashed(mean, std).before.entropy() + weights @ CORRECTIONS[kind](mean + std * z)


def actor_ascent(
    reward: Reward, bonus: float, kind: str = "right", step_size: float = 0.1, mean: float = 0.0, std: float = 1.0
) -> Iterator[Actor]:
    """The actor before each step of exact path gradients of E[r(tanh u)] + α · entropy, in (μ, log σ) (lesson 14).

    Haarnoja et al. 2018, equation 12, with the critic known. log σ is kept within `LEAST` and `MOST`.
    reward: a function of actions [n] in (-1, 1) to rewards [n].  bonus: α, above 0.  kind: how the program counts
    entropy.  Without end; ValueError naming the argument.
    """
    bonus, step_size = check_positive("bonus", bonus), check_positive("step_size", step_size)
    place = torch.tensor([check_finite("mean", mean), math.log(check_positive("std", std))], dtype=torch.float64)
    z, weights = quadrature()
    while True:
        place = place.detach().requires_grad_()
        with torch.enable_grad():
            mu, sigma = place[0], place[1].exp()
            earned = weights @ rewards_of(reward, (mu + sigma * z).tanh())
            reported = counted_entropy(mu, sigma, kind)
            (slope,) = torch.autograd.grad(earned + bonus * reported, place)
        yield Actor(mu.item(), sigma.item(), earned.item(), reported.item(), Squashed(mu, sigma).entropy().item())
        place = place + step_size * slope
        place = torch.stack([place[0], place[1].clamp(LEAST, MOST)])
