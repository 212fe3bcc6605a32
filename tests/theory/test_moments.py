"""Exact moments of whole batches against all batches listed, and Monte Carlo against exact moments."""

import pytest
import torch
from plain import numbers, random_policy, seeded, sequences_of

from pgnotes.theory.estimators import (
    draw_counts,
    mean_return,
    moments_of,
    monte_carlo,
    monte_carlo_sequences,
    of_steps,
    optimal_baseline,
    outcomes,
    token_estimates,
    with_baseline,
    with_batch_mean,
    with_leave_one_out,
    with_running_average,
)
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world

# estimators of batches, against all batches listed


def random_bandit(seed, k=4):
    generator = seeded(seed)
    rewards, logits = (torch.randn(k, dtype=torch.float64, generator=generator) for _ in range(2))
    return Bandit(rewards), SoftmaxPolicy(logits)


def small_world(seed):
    """Three symbols, three steps, rewards at random; with an end token or without, one to three prompts."""
    generator, prompts = seeded(seed), 1 + seed % 3
    eos = 0 if seed % 4 == 1 else None
    table = torch.randn(4, 3, 3, dtype=torch.float64, generator=generator)
    world = TokenWorld(3, 3, lambda s, prompt: table[s, torch.arange(3), prompt], eos, prompts)
    return world, random_policy(world, seed + 1000)


def all_batches(listed, n):
    """Chances [M^n], returns [M^n, n] and scores [M^n, n, D] of every batch of n."""
    index = torch.tensor(sequences_of(len(listed.chances), n))
    return listed.chances[index].prod(1), listed.returns[index], listed.scores[index]


def check(moments, chances, estimates):
    mean = (chances[:, None] * estimates).sum(0)
    covariance = sum(c * torch.outer(e - mean, e - mean) for c, e in zip(chances, estimates, strict=True))
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(moments.covariance, covariance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_steps_that_share_their_logits_by_listing_every_sequence(k, steps):
    """The return times the sum of all scores, each sequence by itself; and the gradient is that of `steps` times J."""
    bandit, policy = random_bandit(k, k)
    listed = outcomes(bandit, policy)
    chances, paid, scores = all_batches(listed, steps)
    counted = of_steps(listed, steps)
    for baseline in (0.0, 0.7):
        check(with_baseline(counted, baseline), chances, (paid.sum(1) - baseline)[:, None] * scores.sum(1))
    torch.testing.assert_close(with_baseline(counted, 0.0).mean, steps * bandit.exact_gradient(policy))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 3, 4])
def test_baselines_from_the_batch_by_listing_every_batch(seed, n):
    listed = outcomes(*random_bandit(seed))
    chances, paid, scores = all_batches(listed, n)
    others = (paid.sum(1, keepdim=True) - paid) / (n - 1)
    check(with_leave_one_out(listed, n), chances, ((paid - others)[..., None] * scores).mean(1))
    check(with_batch_mean(listed, n), chances, ((paid - paid.mean(1, keepdim=True))[..., None] * scores).mean(1))
    check(with_baseline(listed, 0.7).of_batch(n), chances, ((paid - 0.7)[..., None] * scores).mean(1))


@pytest.mark.parametrize("window", [1, 2])
def test_a_running_average_by_listing_it_too(window):
    listed = outcomes(*random_bandit(1, k=3))
    chances, paid, scores = all_batches(listed, 2)
    earlier, before, _ = all_batches(listed, window)
    estimates = torch.cat([((paid - b)[..., None] * scores).mean(1) for b in before.mean(1)])
    check(with_running_average(listed, window, 2), torch.cat([chance * chances for chance in earlier]), estimates)


@pytest.mark.parametrize("seed", range(50))
def test_unbiased_where_it_should_be_and_biased_as_predicted(seed):
    """Bandits and TokenWorlds in turn, with and without an end token and prompts.

    The bias is below 1e-12, or exactly 1/n of the gradient.
    """
    world, policy = small_world(seed) if seed % 2 else random_bandit(seed)
    gradient, listed = world.exact_gradient(policy), outcomes(world, policy)
    assert listed.chances.sum() == pytest.approx(1)
    unbiased = [with_baseline(listed, b) for b in (0.0, 3.0, mean_return(listed), optimal_baseline(listed))]
    for moments in [*unbiased, with_running_average(listed, 5, 4), with_leave_one_out(listed, 4)]:
        assert moments.bias(gradient) < 1e-12
    assert with_batch_mean(listed, 4).bias(gradient) == pytest.approx(gradient.norm().item() / 4, abs=1e-12)
    best = with_baseline(listed, optimal_baseline(listed)).trace
    assert all(best <= with_baseline(listed, optimal_baseline(listed) + d).trace for d in (-0.5, -0.01, 0.01, 0.5))
    assert best <= unbiased[0].trace


def test_token_weights_are_the_whole_return_s_when_all_are_equal():
    world, policy = sum_world(), PrefixPolicy(numbers(85, 4))
    listed = outcomes(world, policy)
    whole = moments_of(listed.chances, token_estimates(world, policy, world.returns()[..., None] * world.mask))
    torch.testing.assert_close(whole.covariance, with_baseline(listed, 0.0).covariance)
    assert whole.bias(world.exact_gradient(policy)) < 1e-12


def test_samples_needed_is_what_the_trace_says():
    bandit, policy = random_bandit(2)
    moments, gradient = with_baseline(outcomes(bandit, policy), 0.0), bandit.exact_gradient(policy)
    n = moments.samples_needed(gradient, relative=0.1)
    assert moments.of_batch(round(n)).trace.sqrt() == pytest.approx(0.1 * gradient.norm().item(), rel=1e-2)


# Monte Carlo


@pytest.mark.parametrize("seed", range(10))
def test_counts_are_a_multinomial(seed):
    chances = torch.tensor([0.5, 0.3, 0.0, 0.2], dtype=torch.float64)
    n = 100_000
    counts = draw_counts(chances, n, seeded(seed))
    assert counts.sum() == n
    assert counts[2] == 0
    assert ((counts - n * chances).abs() <= 4.5 * (n * chances * (1 - chances)).sqrt()).all()
    pairs = torch.stack([draw_counts(chances, 10, seeded(1000 * seed + i)) for i in range(500)])
    expected = 10 * (chances.diag() - torch.outer(chances, chances))
    assert (pairs.T.cov() - expected).abs().max() < 0.8


@pytest.mark.parametrize("seed", range(10))
def test_measured_moments_of_a_bandit_meet_the_exact_ones(seed):
    (bandit, policy), n = random_bandit(seed, k=10), 200_000
    exact = with_baseline(outcomes(bandit, policy), 0.4)
    measured = monte_carlo(bandit, policy, n, seeded(seed), baseline=0.4)
    assert ((measured.mean - exact.mean).abs() <= 4.5 * (exact.covariance.diagonal() / n).sqrt() + 1e-12).all()
    assert measured.trace == pytest.approx(exact.trace.item(), rel=0.05)


@pytest.mark.parametrize("block", [7, 1000, 2**16])
def test_measured_moments_of_sequences_meet_listed_ones(block):
    """Three steps of three symbols, every sequence listed; blocks only divide the work."""
    logits = numbers(3, 3, seed=3)

    def paid(sequences):
        return (sequences == 2).double() * torch.tensor([1.0, 2.0, -1.0])

    sequences = torch.tensor(sequences_of(3, 3))
    probs = logits.softmax(1)
    chances = probs[torch.arange(3), sequences].prod(1)
    estimates = reward_to_go(paid(sequences))[..., None] * (torch.nn.functional.one_hot(sequences, 3) - probs)
    mean = (chances[:, None, None] * estimates).sum(0)
    variance = (chances[:, None, None] * (estimates - mean) ** 2).sum(0)
    n = 3001 if block == 7 else 200_000
    measured, spread = monte_carlo_sequences(logits, paid, reward_to_go, n, seeded(0), block)
    assert ((measured - mean).abs() <= 4.5 * (variance / n).sqrt()).all()
    torch.testing.assert_close(spread, variance, rtol=0.25 if block == 7 else 0.04, atol=1e-3)


@pytest.mark.parametrize("seed", range(50))
def test_exact_variances_meet_sampled_ones(seed):
    """The mean squared distance of sampled estimates from the exact mean is the trace.

    Within 4.5 of its own exact standard errors.
    """
    generator, n, baseline = seeded(seed), 4000, 0.3
    world, policy = small_world(seed) if seed % 2 else random_bandit(seed)
    listed = outcomes(world, policy)
    exact = with_baseline(listed, baseline)

    if isinstance(world, Bandit):
        drawn = policy.sample(n, generator)
        estimates = (world.mean_rewards[drawn] - baseline)[:, None] * policy.score(drawn)
    else:
        scores = []
        for prompt in range(world.prompts):
            sequences, mask, rewards = world.rollout(policy, n // world.prompts, generator, prompt)
            weights = (rewards.sum(1, keepdim=True) - baseline) * mask
            scores.append(policy.score(sequences, weights, prompt).flatten(1))
        estimates = torch.cat(scores)

    distances = (estimates - exact.mean).square().sum(1)
    listed_distances = ((listed.returns - baseline)[:, None] * listed.scores - exact.mean).square().sum(1)
    spread = (listed.chances @ (listed_distances - exact.trace).square() / len(distances)).sqrt()
    assert (distances.mean() - exact.trace).abs() <= 4.5 * spread + 1e-12
