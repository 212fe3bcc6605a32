"""Exact gradient ascent, against plain autograd."""

from itertools import islice

import pytest
import torch

from pgnotes.theory.ascent import exact_ascent
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

BANDIT, START = Bandit([0.5, 0.0, 1.0]), SoftmaxPolicy([1.8, 1.1, 0.0])


def test_it_is_plain_gradient_ascent():
    theta = START.logits.clone().requires_grad_()
    for policy in islice(exact_ascent(BANDIT, START, 0.7), 20):
        torch.testing.assert_close(policy.logits, theta.detach(), rtol=0, atol=1e-12)
        expected = theta.softmax(0) @ torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64)
        (gradient,) = torch.autograd.grad(expected, theta)
        theta = (theta + 0.7 * gradient).detach().requires_grad_()


def test_it_climbs_to_the_best_action():
    policies = list(islice(exact_ascent(BANDIT, START, 1.0), 1001))
    returns = [BANDIT.expected_return(policy).item() for policy in policies]
    assert policies[0] is START
    assert returns == sorted(returns)
    assert policies[-1].probs[2] > 0.99


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), "1", None])
def test_the_step_size_is_above_0(size):
    with pytest.raises(ValueError, match="^step_size "):
        next(exact_ascent(BANDIT, START, size))
