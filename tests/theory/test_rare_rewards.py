"""What lesson 04 says of rewards that come once: (1 - p)/p, its bound, and what grows towards the end."""

from itertools import islice

import pytest
import torch

from pgnotes.theory.estimators import outcomes, with_baseline
from pgnotes.theory.many import expected_returns, reinforce_many
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world


def relative_noise(world, policy):
    """Variance of one sample over the squared gradient."""
    moments, gradient = with_baseline(outcomes(world, policy), 0.0), world.exact_gradient(policy)
    return (moments.trace / gradient.square().sum()).item()


def by_hand(probs, pays):
    """The same for a bandit, from sums over actions alone."""
    mean = sum(p * r for p, r in zip(probs, pays, strict=True))
    signal = sum((p * (r - mean)) ** 2 for p, r in zip(probs, pays, strict=True))
    squares = 0.0
    for a, (p, r) in enumerate(zip(probs, pays, strict=True)):
        squares += p * r**2 * sum(((a == k) - q) ** 2 for k, q in enumerate(probs))
    return squares / signal - 1


def world_of(right, horizon=3, vocab=3):
    def reward(sequences, prompt):
        good = torch.stack([(sequences == torch.tensor(string)).all(1) for string in right]).any(0)
        return torch.cat([torch.zeros(len(sequences), horizon - 1), good[:, None].double()], 1)

    return TokenWorld(vocab, horizon, reward)


def right_or_wrong(world):
    return TokenWorld(4, 4, lambda s, prompt: (world.rewards_of(s, prompt) == 1).double(), eos=0)


def random_policy(seed, horizon=3, vocab=3):
    rows = sum(vocab**t for t in range(horizon))
    noise = torch.Generator().manual_seed(seed)
    return PrefixPolicy(2 * torch.randn(rows, vocab, dtype=torch.float64, generator=noise))


@pytest.mark.parametrize("seed", range(5))
def test_one_right_string_costs_one_less_p_over_p_under_any_policy(seed):
    world, policy = world_of([[2, 0, 1]]), random_policy(seed)
    p = world.expected_return(policy).item()
    assert relative_noise(world, policy) == pytest.approx((1 - p) / p, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_with_one_right_string_all_of_the_noise_lies_along_the_gradient(seed):
    for right, whole in (([[2, 0, 1]], True), ([[2, 0, 1], [0, 0, 0]], False)):
        world, policy = world_of(right), random_policy(seed)
        moments = with_baseline(outcomes(world, policy), 0.0)
        way = moments.mean / moments.mean.norm()
        assert ((way @ moments.covariance @ way).item() == pytest.approx(moments.trace.item(), rel=1e-9)) == whole


@pytest.mark.parametrize("seed", range(5))
def test_several_right_strings_cost_more_than_that(seed):
    world, policy = world_of([[2, 0, 1], [0, 0, 0], [2, 1, 1]]), random_policy(seed)
    p = world.expected_return(policy).item()
    assert relative_noise(world, policy) > 1.05 * (1 - p) / p


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_a_string_twice_as_long_costs_the_square(steps):
    world = world_of([[1] * steps], steps, 2)
    policy = PrefixPolicy(torch.zeros(2**steps - 1, 2, dtype=torch.float64))
    assert relative_noise(world, policy) == pytest.approx(2**steps - 1, rel=1e-9)


@pytest.mark.parametrize(
    ("pays", "wanted"),
    [
        ((1.0, 0.0, 0.0), {0.01: 9900, 0.5: 100, 0.9: 11, 0.99: 1}),
        ((1.0, -1.0, -1.0), {0.01: 86_600, 0.5: 67, 0.9: 281, 0.99: 3276, 0.999: 33_275}),
        ((1.0, 0.5, 0.0), {0.01: 149, 0.5: 300, 0.9: 389, 0.99: 2943, 0.999: 28_655}),
        ((1.0, 1.0, 0.0), {0.01: 13_301, 0.5: 367, 0.9: 3715, 0.99: 336_701}),
    ],
)
def test_samples_needed_as_the_policy_becomes_sure(pays, wanted):
    for p, samples in wanted.items():
        probs = (p / 2, p / 2, 1 - p) if pays[1] == 1 else (p, (1 - p) / 2, (1 - p) / 2)
        found = relative_noise(Bandit(pays), SoftmaxPolicy(torch.tensor(probs, dtype=torch.float64).log()))
        assert round(100 * found) == round(100 * by_hand(probs, pays)) == samples


@pytest.mark.parametrize(("target", "near_miss"), [(6, 5 / 6), (9, 8 / 9)])
def test_the_noisier_reward_brings_more_policies_to_a_right_string(target, near_miss):
    """Another hundred runs than the lesson's; a policy that partial credit loses is sure of a sum that is wrong."""
    partial = sum_world(target)
    strict = right_or_wrong(partial)
    ends = [next(islice(reinforce_many(world, Recipe(step_size=4.0), 100, 1), 60, None)) for world in (partial, strict)]
    right = [expected_returns(strict, end) for end in ends]
    shares = [(p > 0.9).double().mean().item() for p in right]
    error = sum(share * (1 - share) / 100 for share in shares) ** 0.5
    assert shares[1] - shares[0] > 4 * error

    start = PrefixPolicy(torch.zeros(85, 4, dtype=torch.float64))
    assert relative_noise(strict, start) > 2 * relative_noise(partial, start)

    lost = right[0] < 0.1
    assert expected_returns(partial, ends[0])[lost].max() < near_miss
    assert expected_returns(partial, ends[0])[lost].median() > 0.6


@pytest.mark.parametrize("target", [6, 9])
def test_at_the_start_no_string_that_is_right_or_wrong_says_downhill(target):
    """A right one says uphill, a wrong one says nothing; with partial credit some strings say downhill."""
    partial = sum_world(target)
    start = PrefixPolicy(torch.zeros(85, 4, dtype=torch.float64))
    says = {}
    for world in (partial, right_or_wrong(partial)):
        listed = outcomes(world, start)
        says[world] = listed.returns * (listed.scores @ world.exact_gradient(start).flatten())
    graded, strict = says.values()
    right = partial.returns()[0] == 1
    assert (strict[right] > 1e-9).all()
    assert (strict[~right] == 0).all()
    assert (graded < -1e-9).any()


@pytest.mark.parametrize(("target", "early"), [(6, 0.98), (9, 0.05)])
def test_without_noise_partial_credit_leads_to_a_right_string(target, early):
    """Sooner for 6, with eight right strings, than for 9, with one."""
    partial, logits, right = sum_world(target), torch.zeros(85, 4, dtype=torch.float64), {}
    strict = right_or_wrong(partial)
    for step in range(121):
        right[step] = strict.expected_return(PrefixPolicy(logits)).item()
        logits = logits + 4.0 * partial.exact_gradient(PrefixPolicy(logits))
    assert right[60] == pytest.approx(early, abs=0.005)
    assert right[120] > 0.97


def test_with_less_noise_partial_credit_leads_nearly_all_to_a_right_string():
    world = sum_world(6)
    shares = []
    for batch in (16, 256):
        end = next(islice(reinforce_many(world, Recipe(step_size=4.0, batch=batch), 50, 1), 60, None))
        shares.append((expected_returns(right_or_wrong(world), end) > 0.9).double().mean().item())
    assert shares[0] < 0.8
    assert shares[1] > 0.9
