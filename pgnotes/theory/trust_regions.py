"""One decision and a budget: steps of a given KL, the best policy within it, the clip's band, where PPO rests.

A few plain numbers, bisected: so a picture can follow a slider.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_distributions, check_positive, check_real, check_shape

HALVINGS = 60  # of an interval, after which a float64 can tell no more


def step_of_kl(probs: Any, direction: Any, delta: float) -> Tensor:
    """The policy [K] that a step along `direction` in the logits leads to when its KL(old ‖ new) is δ (lesson 12).

    probs: [K], all above 0.  direction: [K].  delta: nats.  The old policy where a direction moves nothing.
    ValueError naming the argument.
    """
    policy = check_policy(probs)
    direction = check_shape("direction", check_real("direction", direction, 1), policy.shape)
    delta, old = check_positive("delta", delta), policy.tolist()
    along = (direction - direction.mean()).tolist()
    if max(map(abs, along)) < 1e-12:
        return policy

    def new(size: float) -> list[float]:
        return softened([math.log(p) + size * x for p, x in zip(old, along, strict=True)])

    high = 1.0
    while nats(old, new(high)) < delta:
        high *= 2
    return torch.tensor(new(bisected(0.0, high, lambda size: nats(old, new(size)) < delta)), dtype=torch.float64)


def best_within(probs: Any, rewards: Any, delta: float) -> Tensor:
    """The policy [K] with the highest mean reward of all with KL(old ‖ new) <= δ (lesson 12).

    Lagrange: new(a) ∝ old(a) / (ν - r(a)), with ν above the largest reward and the KL equal to δ.
    probs: [K], all above 0.  rewards: [K].  delta: nats.  The old policy where all pay the same.
    ValueError naming the argument.
    """
    policy = check_policy(probs)
    paid = check_shape("rewards", check_real("rewards", rewards, 1), policy.shape)
    delta, old, below = check_positive("delta", delta), policy.tolist(), (paid.max() - paid).tolist()
    if max(below) == 0:
        return policy

    def new(log_excess: float) -> list[float]:
        excess = max(below) * math.exp(log_excess)  # ν less the largest reward
        weights = [p / (excess + less) for p, less in zip(old, below, strict=True)]
        return [weight / sum(weights) for weight in weights]

    # the larger ν, the nearer to the old policy
    found = bisected(30.0, -300.0, lambda log_excess: nats(old, new(log_excess)) < delta)
    return torch.tensor(new(found), dtype=torch.float64)


def kl_circle(probs: Any, delta: float, points: int = 90) -> Tensor:
    """The edge of the policies over three actions with KL(old ‖ new) <= δ, [points, 3], around the old one (lesson 12).

    ValueError naming the argument.
    """
    old, delta = check_shape("probs", check_policy(probs), (3,)), check_positive("delta", delta)
    angles = torch.linspace(0, 2 * math.pi, check_count("points", points, 3) + 1, dtype=torch.float64)[:-1]
    rays = (angles[:, None] - torch.tensor([0.0, 2, 4], dtype=torch.float64) * math.pi / 3).cos()  # each adds up to 0

    # along each ray from the old policy to the edge of the triangle, where the KL has no end
    far = torch.where(rays < 0, old / -rays, math.inf).amin(1)
    low, high = torch.zeros_like(far), far
    for _ in range(HALVINGS // 2):
        middle = (low + high) / 2
        inside = (old * (old / (old + middle[:, None] * rays)).log()).sum(1) < delta
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return old + low[:, None] * rays


def clip_band(probs: Any, clip: float) -> Tensor:
    """The corners, in order, of the policies over three actions whose ratios lie in [1 - ε, 1 + ε], [n, 3] (lesson 12).

    Up to six.  ValueError naming the argument.
    """
    old, clip = check_shape("probs", check_policy(probs), (3,)), check_positive("clip", clip)
    # a probability lies between 0 and 1, whatever the band
    edges = [(max(0.0, p * (1 - clip)), min(1.0, p * (1 + clip))) for p in old.tolist()]
    corners = []
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        for first, second in itertools.product(edges[a], edges[b]):
            third = 1 - first - second
            if edges[c][0] - 1e-12 <= third <= edges[c][1] + 1e-12:
                at = {a: first, b: second, c: third}
                corners.append([at[0], at[1], at[2]])

    def angle(corner: list[float]) -> float:
        x, y, z = ((new - p) for new, p in zip(corner, old.tolist(), strict=True))
        return math.atan2(z * 3**0.5, y - x)

    return torch.tensor(sorted(corners, key=angle), dtype=torch.float64)


def ppo_rest(probs: Any, rewards: Any, clip: float, length: float = 0.004, most: int = 4000) -> tuple[Tensor, bool]:
    """Where PPO's exact clipped objective leads a policy [K] in small steps, and whether it rests there (lesson 12).

    Steps along the gradient of E_old[min(rA, clip(r) A)] in the logits, every action listed and the old policy kept, as
    if one batch of endlessly many samples were gone through again and again.  Each step is `length` long: then the
    path is that of tiny gradient steps, in fewer of them.
    A policy rests once every action has left the band on the side that its advantage asks for. Where those with
    positive advantage hold more than 1/(1 + ε) together they can't all leave it, and the others sink for ever: False,
    and where one of them is down to a fiftieth.  After `most` steps it gives up: False.
    probs: [K], all above 0.  rewards: [K].  clip: ε.  ValueError naming the argument.
    """
    policy = check_policy(probs)
    paid = check_shape("rewards", check_real("rewards", rewards, 1), policy.shape)
    clip, length = check_positive("clip", clip), check_positive("length", length)
    old, worth = policy.tolist(), (paid - policy @ paid).tolist()
    now, logits = list(old), [math.log(p) for p in old]
    sinks = (1 + clip) * sum(p for p, a in zip(old, worth, strict=True) if a > 0) >= 1
    length = 5 * length if sinks else length  # it has far to go

    for _ in range(check_count("most", most)):
        pushes = [
            0.0 if a == 0 or (p / q > 1 + clip if a > 0 else p / q < 1 - clip) else p * a
            for p, q, a in zip(now, old, worth, strict=True)
        ]
        whole = sum(pushes)
        gradient = [push - p * whole for push, p in zip(pushes, now, strict=True)]
        size = math.sqrt(sum(g * g for g in gradient))
        if size < 1e-15:
            return torch.tensor(now, dtype=torch.float64), True
        logits = [x + length * g / size for x, g in zip(logits, gradient, strict=True)]
        now = softened(logits)
        if sinks and min(p / q for p, q in zip(now, old, strict=True)) < 0.02:
            break
    return torch.tensor(now, dtype=torch.float64), False


# plain numbers


def softened(logits: list[float]) -> list[float]:
    """Their softmax."""
    top = max(logits)
    powers = [math.exp(x - top) for x in logits]
    whole = sum(powers)
    return [power / whole for power in powers]


def nats(old: list[float], new: list[float]) -> float:
    """KL(old ‖ new), infinite where the new one rules out what the old one does."""
    return math.inf if min(new) <= 0 else sum(p * math.log(p / q) for p, q in zip(old, new, strict=True))


def bisected(inside: float, outside: float, is_inside: Callable[[float], bool]) -> float:
    """The last point that is inside, between one that is and one that is not."""
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside


def check_policy(probs: Any) -> Tensor:
    """`probs` as a float64 distribution [K] without a zero.

    ValueError naming it otherwise.
    """
    old = check_distributions("probs", check_real("probs", probs, 1))
    if (old <= 0).any():
        raise ValueError("probs must not hold a 0: from there a softmax never comes back")
    return old


def allowed_rise(prob: float, delta: float) -> float:
    """How likely an action of this probability may become within KL(old ‖ new) <= δ, others keeping their proportions.

    Of two numbers, then: KL((p, 1 - p) ‖ (q, 1 - q)) = δ (lesson 12, claim C48).
    """
    return step_of_kl([prob, 1 - prob], [1.0, 0.0], delta)[0].item()
