"""Truncated importance weights of what another distribution drew, against sums over all outcomes."""

import math

import pytest
import torch

from pgnotes.theory.mismatch import sampler_weights
from pgnotes.theory.objectives import policy_loss

MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_the_weight_of_a_token_is_the_ratio_up_to_the_cap():
    logp = torch.log(torch.tensor([[0.5, 0.2, 0.9], [0.3, 0.5, 0.5]]))
    other = torch.log(torch.tensor([[0.25, 0.4, 0.1], [0.3, 0.1, 0.1]]))
    expected = torch.tensor([[2.0, 0.5, 3.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(sampler_weights(logp, other, MASK, 3.0), expected)


def test_without_a_cap_in_reach_the_mean_is_the_policy_s_own_and_with_one_it_is_bounded():
    """Σ μ(a) w(a) r(a) ∇ log π(a) over all actions is Σ π(a) r(a) ∇ log π(a): every outcome, in float64."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    sampler = torch.randn(7, generator=generator, dtype=torch.float64)
    rewards = torch.randn(7, generator=generator, dtype=torch.float64)
    mu, everything = sampler.softmax(0), torch.ones(7, 1, dtype=torch.bool)
    (exact,) = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits)

    def mean_gradient(cap):
        logp = logits.log_softmax(0)[:, None]
        weights = sampler_weights(logp, sampler.log_softmax(0)[:, None], everything, cap)
        advantages = (mu * rewards)[:, None] * weights
        loss = policy_loss(logp, logp.detach(), advantages, everything, "reinforce", normaliser=1.0)
        return -torch.autograd.grad(loss, logits)[0], weights

    found, weights = mean_gradient(1e6)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)
    assert weights.max() > 2
    capped, weights = mean_gradient(1.5)
    assert weights.max() == pytest.approx(1.5)
    assert (capped - exact).abs().max() > 1e-2, "a cap in reach is a bias"


def test_weights_carry_no_gradient_and_dead_tokens_none_of_their_numbers():
    logp = torch.zeros(2, 3, requires_grad=True)
    other = torch.zeros(2, 3)
    other[1, 2] = math.nan
    weights = sampler_weights(logp, other, MASK, 2.0)
    assert not weights.requires_grad
    assert weights.tolist() == MASK.float().tolist()
    assert sampler_weights(logp + 300, other, MASK, 2.0).max() == 2.0, "no overflow on the way to the cap"


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan, "a", None])
def test_a_cap_that_is_none_is_refused(cap):
    with pytest.raises(ValueError, match="^cap is"):
        sampler_weights(torch.zeros(2, 3), torch.zeros(2, 3), MASK, cap)


def test_other_shapes_and_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="^logp_sampler"):
        sampler_weights(torch.zeros(2, 3), torch.zeros(3, 2), MASK, 1.0)
    with pytest.raises(ValueError, match="^logp_sampler holds a number that is not finite"):
        sampler_weights(torch.zeros(2, 3), torch.full((2, 3), math.nan), MASK, 1.0)
