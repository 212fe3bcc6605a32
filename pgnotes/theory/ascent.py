"""Gradient steps with the gradient itself, which every estimate of it tries to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_positive
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.worlds import Bandit


def exact_ascent(bandit: Bandit, policy: SoftmaxPolicy, step_size: float) -> Iterator[SoftmaxPolicy]:
    """The policy before each step θ ← θ + α ∇J, without end: every action is listed, none sampled (lesson 00).

    policy: where to start.  step_size: α, above 0.  ValueError naming the argument.
    Sutton & Barto 2018, equation 13.1, with ∇J in place of its estimate.
    """
    size = check_positive("step_size", step_size)
    while True:
        yield policy
        policy = SoftmaxPolicy(policy.logits + size * bandit.exact_gradient(policy))


def descent(
    loss: Callable[[PrefixPolicy], Tensor], policy: PrefixPolicy, step_size: float
) -> Iterator[tuple[PrefixPolicy, float]]:
    """The policy and its loss before each step θ ← θ - α ∇loss, without end (lesson 13).

    loss: of a policy, one number with a gradient.  policy: where to start.  step_size: α, above 0.  ValueError naming
    the argument.
    """
    size, logits = check_positive("step_size", step_size), policy.logits.detach().clone()
    while True:
        with torch.enable_grad():
            now = PrefixPolicy(logits.requires_grad_())
            value = loss(now)
            (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits - size * gradient).detach()
        yield PrefixPolicy(now.logits.detach()), value.item()
