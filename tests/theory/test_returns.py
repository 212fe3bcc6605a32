"""Returns against a double loop in plain Python."""

import itertools
import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import numbers, seeded

from pgnotes.theory.returns import discounted_return, reward_to_go

GAMMAS = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
STEPS = st.lists(st.tuples(st.floats(-10, 10), st.booleans()), min_size=1, max_size=8)
BOTH = [discounted_return, reward_to_go]


def masks(*shape, seed=0):
    return torch.rand(*shape, generator=seeded(seed)) < 0.6


def loop(rewards, gamma, live=None):
    """Σ_{k ≥ t} γ^{k-t} r_k for each live t, over the live k; 0 for the others."""
    live = [True] * len(rewards) if live is None else live
    steps, to_go = range(len(rewards)), [0.0] * len(rewards)
    for t in steps:
        if live[t]:
            to_go[t] = sum(gamma ** (k - t) * rewards[k] for k in steps[t:] if live[k])
    return to_go


def whole(rewards, gamma, live):
    return sum(gamma**t * r for t, r in enumerate(rewards) if live[t])


# against the loop


@settings(max_examples=100, deadline=None)
@given(STEPS, GAMMAS)
def test_without_a_mask_every_reward_counts(steps, gamma):
    rewards = [r for r, _ in steps]
    tensor = torch.tensor(rewards, dtype=torch.float64)
    assert reward_to_go(tensor, gamma).tolist() == pytest.approx(loop(rewards, gamma), rel=1e-10, abs=1e-10)
    assert discounted_return(tensor, gamma).item() == pytest.approx(loop(rewards, gamma)[0], rel=1e-10, abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(STEPS, GAMMAS, st.sampled_from([torch.bool, torch.long, torch.float32]))
def test_with_a_mask_its_rewards_do_not_count_but_time_goes_on(steps, gamma, dtype):
    rewards, live = zip(*steps, strict=True)
    tensor, mask = torch.tensor(rewards, dtype=torch.float64), torch.tensor(live).to(dtype)
    to_go, total = reward_to_go(tensor, gamma, mask).tolist(), discounted_return(tensor, gamma, mask).item()
    assert to_go == pytest.approx(loop(rewards, gamma, live), rel=1e-10, abs=1e-10)
    assert total == pytest.approx(whole(rewards, gamma, live), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("shape", [(4,), (1, 1), (3, 5), (2, 3, 5), (2, 1, 3, 4)])
@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_each_row_of_several_axes_by_itself(shape, gamma):
    rewards, mask = numbers(*shape), masks(*shape)
    to_go, returns = reward_to_go(rewards, gamma, mask), discounted_return(rewards, gamma, mask)
    assert to_go.shape == shape
    assert returns.shape == shape[:-1]
    for index in numpy.ndindex(shape[:-1]):
        row, live = rewards[index].tolist(), mask[index].tolist()
        assert to_go[index].tolist() == pytest.approx(loop(row, gamma, live), rel=1e-10, abs=1e-12)
        assert returns[index].item() == pytest.approx(whole(row, gamma, live), rel=1e-10, abs=1e-12)


def test_returns_by_hand():
    rewards = torch.tensor([1.0, 10.0, 100.0])
    assert discounted_return(rewards).item() == 111
    assert discounted_return(rewards, 0.5).item() == 1 + 5 + 25
    assert discounted_return(rewards, 0).item() == 1, "0 to the power of 0 is 1: the first reward is not discounted"
    assert reward_to_go(rewards).tolist() == [111, 110, 100]
    assert reward_to_go(rewards, 0.5).tolist() == [31, 60, 100]
    assert reward_to_go(rewards, 0).tolist() == rewards.tolist()


# what ties them to each other


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), GAMMAS)
def test_each_step_is_its_reward_and_the_discounted_next_step(seed, horizon, gamma):
    """G_t = r_t + γ G_{t+1}, and G_0 is the discounted return; so too if the mask ends the row early."""
    rewards = numbers(2, horizon, seed=seed)
    mask = torch.arange(horizon) < torch.tensor([[horizon], [1 + seed % horizon]])
    for given_mask, live in ((None, rewards), (mask, rewards * mask)):
        to_go = reward_to_go(rewards, gamma, given_mask)
        after = torch.cat([to_go[:, 1:], torch.zeros(2, 1, dtype=torch.float64)], dim=1)
        torch.testing.assert_close(to_go, live + gamma * after, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(to_go[:, 0], discounted_return(rewards, gamma, given_mask), rtol=1e-12, atol=1e-12)


# types, gradients, and what lies under the mask


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [True, False])
def test_the_dtype_stays(function, dtype, masked):
    rewards, mask = numbers(2, 5, dtype=dtype), masks(2, 5) if masked else None
    result = function(rewards, 0.9, mask)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), function(rewards.double(), 0.9, mask), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_gradients_flow_to_the_rewards_that_count(gamma):
    mask, steps = torch.tensor([True, True, False, True]), range(4)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    for t, k in itertools.combinations_with_replacement(steps, 2):
        expected[t, k] = gamma ** (k - t) if mask[t] and mask[k] else 0.0
    to_go = torch.autograd.functional.jacobian(lambda x: reward_to_go(x, gamma, mask), numbers(4))
    torch.testing.assert_close(to_go, expected)

    returns = torch.autograd.functional.jacobian(lambda x: discounted_return(x, gamma, mask), numbers(4))
    torch.testing.assert_close(returns, torch.tensor([gamma**t * bool(mask[t]) for t in steps], dtype=torch.float64))


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("dead", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("gamma", [0.0, 0.7, 1.0])
def test_what_lies_under_the_mask_reaches_neither_result_nor_gradient(function, dead, gamma):
    mask, results = torch.tensor([[False, True, True, False], [True, False, True, True]]), []
    for filler in (0.0, dead):
        rewards = torch.where(mask, numbers(2, 4), filler).requires_grad_()
        result = function(rewards, gamma, mask)
        results.append((result.detach(), *torch.autograd.grad(result.sum(), rewards)))
    (clean, clean_gradient), (wild, wild_gradient) = results
    assert torch.equal(wild, clean)
    assert torch.equal(wild_gradient, clean_gradient)
    assert (wild_gradient[~mask] == 0).all()
    assert clean_gradient.any()


def test_what_is_given_stays_as_it_was():
    rewards, mask = numbers(2, 5), masks(2, 5)
    for function in BOTH:
        function(rewards, 0.5, mask)
    assert torch.equal(rewards, numbers(2, 5))
    assert torch.equal(mask, masks(2, 5))
