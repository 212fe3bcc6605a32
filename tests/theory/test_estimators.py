"""Scores and estimates against autograd, every outcome listed in plain Python, and samples of random worlds."""

import math
import random

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import (
    CLOSE,
    WORLDS,
    as_often_as,
    numbers,
    prefixes,
    random_logits,
    random_mdp,
    reward,
    reward_fn,
    seeded,
    softmax,
)
from plain import outcomes as plain_outcomes

from pgnotes.theory.estimators import Moments, mean_and_error, moments_of, outcomes, token_estimates
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, StatePolicy
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import Bandit, TokenWorld

SEEDS = st.integers(0, 100_000)
EACH_WORLD = pytest.mark.parametrize(("vocab_size", "horizon", "eos", "prompts"), WORLDS)


def whole_return(rewards, mask):
    """Each live symbol is worth all of its sequence's rewards."""
    return rewards.sum(-1, keepdim=True) * mask


def to_go(rewards, mask):
    """Each live symbol is worth what it and those after it earn."""
    return reward_to_go(rewards, 1.0, mask.expand(rewards.shape))


# scores


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(
    ("shape", "prompt"), [((1, 4), 0), ((7, 2), 0), ((13, 3), 0), ((1, 4, 3), 0), ((3, 7, 2), 0), ((3, 7, 2), 2)]
)
def test_the_score_of_a_sequence_is_the_gradient_of_its_weighted_log_probability(shape, prompt, weighted):
    policy = PrefixPolicy(numbers(*shape))
    sequences = policy.sample(9, seeded(), prompt)
    weights = numbers(9, policy.horizon, seed=1) if weighted else None

    def weighted_log_prob(logits):
        log_probs = PrefixPolicy(logits).log_prob(sequences, prompt)
        return (log_probs * weights if weighted else log_probs).sum(1)

    derivatives = torch.autograd.functional.jacobian(weighted_log_prob, policy.logits)
    score = policy.score(sequences, weights, prompt)
    assert score.shape == (9, *shape)
    torch.testing.assert_close(score, derivatives, **CLOSE)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (2, 2), (4, 3)])
def test_the_score_of_a_trajectory_is_the_gradient_of_its_weighted_log_probability(shape, weighted):
    """Six steps through at most four states: some state comes twice, and both scores count."""
    states, actions = (torch.randint(stop, (9, 6), generator=seeded()) for stop in shape)
    logits, weights = numbers(*shape), numbers(9, 6, seed=1) if weighted else None

    def weighted_log_prob(x):
        log_probs = StatePolicy(x).log_prob(states, actions)
        return (log_probs * weights if weighted else log_probs).sum(1)

    derivatives = torch.autograd.functional.jacobian(weighted_log_prob, logits)
    torch.testing.assert_close(StatePolicy(logits).score(states, actions, weights), derivatives, **CLOSE)


def test_state_policy_against_torch():
    logits, states, actions = numbers(3, 4), [[0, 2, 2], [1, 1, 0]], [[3, 0, 1], [2, 2, 0]]
    policy, probs = StatePolicy(logits), torch.distributions.Categorical(logits=logits).probs
    torch.testing.assert_close(policy.probs, probs, **CLOSE)
    for i, t in numpy.ndindex(2, 3):
        log_prob = policy.log_prob(states, actions)[i, t]
        torch.testing.assert_close(log_prob, probs[states[i][t], actions[i][t]].log(), **CLOSE)


def assert_scores_average_to_zero(chances, scores):
    mean = torch.tensordot(chances, scores, dims=1)
    assert mean.abs().max() <= 1e-12
    assert scores.abs().max() > 1e-3, "zeros would average to zero, too"


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(2, 6))
def test_scores_of_actions_average_to_zero(seed, n_actions):
    policy = SoftmaxPolicy(2 * numbers(n_actions, seed=seed))
    assert_scores_average_to_zero(policy.probs, policy.score(torch.arange(n_actions)))


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.sampled_from(WORLDS))
def test_scores_of_sequences_average_to_zero_until_their_end(seed, shape):
    vocab_size, horizon, eos, prompts = shape
    world = TokenWorld(vocab_size, horizon, lambda s, prompt: s, eos, prompts)
    policy = PrefixPolicy(2 * random_logits(prompts, vocab_size, horizon, seed))
    for prompt, chances in enumerate(world.probabilities(policy)):
        assert_scores_average_to_zero(chances, policy.score(world.sequences, world.mask.double(), prompt))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_scores_of_trajectories_average_to_zero(seed):
    mdp, policy = random_mdp(mdp_size(seed), seed)
    assert_scores_average_to_zero(mdp.probabilities(policy), policy.score(mdp.states, mdp.actions))


# exact moments, in plain Python


def one_estimate(rows, outcome, prompt, weigh):
    """(chance, Σ_t w_t ∇ log π) of one outcome. rows: {prefix: its logits}; weigh: rewards -> each symbol's weight."""
    chance, estimate = 1.0, {prefix: numpy.zeros(len(logits)) for prefix, logits in rows.items()}
    weights = weigh([reward(outcome, t, prompt) for t in range(len(outcome))])
    for t, symbol in enumerate(outcome):
        probs = softmax(rows[outcome[:t]])
        chance *= probs[symbol]
        estimate[outcome[:t]] += weights[t] * (numpy.eye(len(probs))[symbol] - probs)
    return chance, numpy.stack(list(estimate.values()))


def moments_by_hand(logits, horizon, eos, weigh):
    """Mean, and mean square less the mean's square. logits: [P, rows, V]."""
    prompts, _, vocab_size = logits.shape
    mean, square = numpy.zeros(logits.shape), numpy.zeros(logits.shape)
    for prompt in range(prompts):
        rows = dict(zip(prefixes(vocab_size, horizon), logits[prompt].tolist(), strict=True))
        for outcome in plain_outcomes(vocab_size, horizon, eos):
            chance, estimate = one_estimate(rows, outcome, prompt, weigh)
            mean[prompt] += chance / prompts * estimate
            square[prompt] += chance / prompts * estimate**2
    return torch.from_numpy(mean), torch.from_numpy(square - mean**2)


def exactly(world, policy, weights) -> Moments:
    return moments_of(outcomes(world, policy).chances, token_estimates(world, policy, weights))


def plain_whole(rewards):
    return [sum(rewards)] * len(rewards)


def plain_to_go(rewards):
    return [sum(rewards[t:]) for t in range(len(rewards))]


@pytest.mark.parametrize(("weigh", "plainly"), [(whole_return, plain_whole), (to_go, plain_to_go)])
@EACH_WORLD
def test_moments_by_enumeration(vocab_size, horizon, eos, prompts, weigh, plainly):
    world = TokenWorld(vocab_size, horizon, reward_fn, eos, prompts)
    logits = random_logits(prompts, vocab_size, horizon)
    policy = PrefixPolicy(logits)
    moments = exactly(world, policy, weigh(world.rewards, world.mask))
    mean, variance = moments.mean.view(logits.shape), moments.covariance.diagonal().view(logits.shape)
    torch.testing.assert_close(mean, world.exact_gradient(policy), rtol=0, atol=1e-10)
    mean_by_hand, variance_by_hand = moments_by_hand(logits, horizon, eos, plainly)
    torch.testing.assert_close(mean, mean_by_hand, rtol=0, atol=1e-10)
    torch.testing.assert_close(variance, variance_by_hand, rtol=0, atol=1e-10)
    assert (variance >= 0).all()


def test_moments_have_an_entry_for_each_logit_and_carry_no_graph():
    for shape in [(4, 3), (1, 4, 3), (2, 4, 3)]:
        world = TokenWorld(3, 2, reward_fn, prompts=shape[0] if len(shape) == 3 else 1)
        moments = exactly(world, PrefixPolicy(numbers(*shape).requires_grad_()), world.rewards)
        assert [m.shape for m in moments] == [(math.prod(shape),), (math.prod(shape),) * 2]
        assert not any(m.requires_grad for m in moments)


def test_an_estimate_that_leaves_out_later_rewards_is_biased():
    """If a symbol is worth its own reward alone, what it does to those after it is lost."""
    world, policy = TokenWorld(3, 3, reward_fn), PrefixPolicy(numbers(13, 3))
    assert exactly(world, policy, world.rewards).bias(world.exact_gradient(policy)) > 0.01


# samples


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 20), st.sampled_from([(), (1,), (3,), (2, 3)]))
def test_mean_and_error_against_numpy(seed, n, shape):
    estimates = 1 + 3 * numbers(n, *shape, seed=seed)
    mean, error = mean_and_error(estimates)
    numpy.testing.assert_allclose(mean, estimates.numpy().mean(axis=0), rtol=1e-10, atol=1e-12)
    numpy.testing.assert_allclose(error, estimates.numpy().std(axis=0, ddof=1) / math.sqrt(n), rtol=1e-10, atol=1e-12)
    assert mean.shape == error.shape == shape


def test_mean_and_error_by_hand():
    mean, error = mean_and_error([[1, 5], [3, 5]])
    assert mean.tolist() == [2, 5]
    assert error.tolist() == pytest.approx([1, 0])
    assert mean.dtype == error.dtype == mean_and_error(torch.ones(3, dtype=torch.float32))[1].dtype == torch.float64


@EACH_WORLD
def test_a_rollout_ends_where_its_sequence_does(vocab_size, horizon, eos, prompts):
    world = TokenWorld(vocab_size, horizon, reward_fn, eos, prompts)
    policy = PrefixPolicy(random_logits(prompts, vocab_size, horizon))
    for prompt in range(prompts):
        sequences, mask, rewards = world.rollout(policy, 200, seeded(), prompt)
        assert torch.equal(rewards, world.rewards_of(sequences, prompt))
        for draw, live, row in zip(sequences.tolist(), mask.tolist(), rewards.tolist(), strict=True):
            end = draw.index(eos) + 1 if eos in draw else horizon
            assert live == [t < end for t in range(horizon)]
            assert draw[end:] == [eos] * (horizon - end)
            assert row == [reward(draw, t, prompt) if t < end else 0 for t in range(horizon)]


@EACH_WORLD
def test_rollouts_come_as_often_as_the_list_says(vocab_size, horizon, eos, prompts):
    world, n = TokenWorld(vocab_size, horizon, reward_fn, eos, prompts), 10_000
    policy = PrefixPolicy(random_logits(prompts, vocab_size, horizon))
    for prompt, chances in enumerate(world.probabilities(policy)):
        drawn = world.rollout(policy, n, seeded(prompt), prompt).sequences
        counts = (drawn[:, None] == world.sequences).all(-1).sum(0)
        assert counts.sum() == n
        assert as_often_as(counts, chances)


def test_the_same_seed_gives_the_same_rollout():
    world, policy = TokenWorld(3, 3, reward_fn, eos=0), PrefixPolicy(numbers(13, 3))
    first, again, other = (world.rollout(policy, 50, seeded(seed)).sequences for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# samples against the exact gradient: each case gives the exact gradient, the outcomes' chances, the estimate from each
# outcome, and N estimates

N = 4000


def bandit_case(seed):
    n_actions = 2 + seed % 4
    bandit, policy = Bandit(numbers(n_actions, seed=seed)), SoftmaxPolicy(numbers(n_actions, seed=seed + 1000))
    actions, drawn = torch.arange(n_actions), policy.sample(N, seeded(seed))
    listed, sampled = (bandit.mean_rewards[a][:, None] * policy.score(a) for a in (actions, drawn))
    return bandit.exact_gradient(policy), policy.probs, listed, sampled


def mdp_size(seed):
    """Two or three states, two actions, one to three steps."""
    return 2 + seed % 2, 2, 1 + seed % 3


def mdp_case(seed):
    (mdp, policy), weigh = random_mdp(mdp_size(seed), seed), (whole_return, to_go)[seed % 2]
    everything = torch.ones(1, mdp.horizon, dtype=torch.bool)
    listed = policy.score(mdp.states, mdp.actions, weigh(mdp.rewards_of_trajectories, everything))
    states, actions, rewards = mdp.rollout(policy, N, seeded(seed))
    sampled = policy.score(states, actions, weigh(rewards, everything))
    return mdp.exact_gradient(policy), mdp.probabilities(policy), listed, sampled


def random_world(seed):
    """Rewards by place, symbol and neighbour, drawn at random; paid at each symbol, or all at the end."""
    choose = random.Random(seed)
    vocab_size, horizon, prompts = choose.randint(2, 4), choose.randint(1, 4), choose.randint(1, 2)
    terminal = choose.random() < 0.5
    eos = choose.choice([None, choose.randrange(vocab_size)])
    places, pairs = numbers(prompts, horizon, vocab_size, seed=seed), numbers(vocab_size, vocab_size, seed=seed)

    def earned(sequences, prompt):
        dense = places[prompt, torch.arange(horizon), sequences]
        dense[:, 1:] += pairs[sequences[:, :-1], sequences[:, 1:]]
        if not terminal:
            return dense
        at_the_horizon = torch.arange(horizon) == horizon - 1
        last = at_the_horizon if eos is None else at_the_horizon | (sequences == eos)
        return dense.cumsum(1) * last

    world = TokenWorld(vocab_size, horizon, earned, eos, prompts)
    return world, PrefixPolicy(random_logits(prompts, vocab_size, horizon, seed + 1000))


def token_case(seed):
    """Each sample belongs to a prompt drawn at random."""
    (world, policy), weigh = random_world(seed), (whole_return, to_go)[seed % 2]
    drawn = torch.randint(world.prompts, (N,), generator=seeded(seed)).bincount(minlength=world.prompts)
    listed, sampled = [], []
    for prompt, n in enumerate(drawn.tolist()):
        listed.append(policy.score(world.sequences, weigh(world.rewards[prompt], world.mask), prompt))
        sequences, mask, rewards = world.rollout(policy, n, seeded(seed + 1000 * prompt), prompt)
        sampled.append(policy.score(sequences, weigh(rewards, mask), prompt))
    chances = world.probabilities(policy).flatten() / world.prompts
    return world.exact_gradient(policy), chances, torch.cat(listed), torch.cat(sampled)


@pytest.mark.parametrize("seed", range(50))
def test_samples_agree_with_the_exact_gradient_within_four_standard_errors(seed):
    """Along one random direction: of thousands of entries, some would be off by more.

    The error is the exact one, from all outcomes.
    """
    case = bandit_case if seed < 5 else mdp_case if seed < 10 else token_case
    exact, chances, listed, sampled = case(seed)
    fixed = (listed == listed[0]).all(0)  # rows that no sequence reaches
    assert (sampled[:, fixed] == exact[fixed]).all()

    direction = numbers(*exact.shape, seed=seed + 2000)
    direction = (direction / direction.norm()).flatten()
    exact, listed, sampled = exact.flatten() @ direction, listed.flatten(1) @ direction, sampled.flatten(1) @ direction
    error = (chances @ (listed - exact) ** 2 / N).sqrt()
    mean, sample_error = mean_and_error(sampled)
    assert len(sampled) == N
    assert (mean - exact).abs() <= 4 * error + 1e-12
    assert 0.8 * error <= sample_error <= 1.25 * error
