"""Exact returns and gradients against an enumeration in plain Python, the score-function sum, finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import (
    CLOSE,
    WORLDS,
    finite_differences,
    numbers,
    outcomes,
    prefixes,
    random_logits,
    reward,
    reward_fn,
    seeded,
    softmax,
)

from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world

EACH_WORLD = pytest.mark.parametrize(("vocab_size", "horizon", "eos", "prompts"), WORLDS)

# one decision


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-10, 10)), min_size=1, max_size=6), st.floats(0, 1))
def test_bandit_by_the_score_function_sum(pairs, gamma):
    """J = Σ π(a) r(a) and ∇J = Σ π(a) r(a) (one-hot(a) - π), one number at a time.

    There is nothing to discount in a single step.
    """
    logits, rewards = zip(*pairs, strict=True)
    probs, actions = softmax(logits), range(len(logits))
    value = sum(p * r for p, r in zip(probs, rewards, strict=True))
    gradient = [sum(probs[a] * rewards[a] * ((a == k) - probs[k]) for a in actions) for k in actions]
    bandit, policy = Bandit(rewards), SoftmaxPolicy(logits)
    assert bandit.expected_return(policy, gamma).item() == pytest.approx(value, abs=1e-10)
    assert bandit.exact_gradient(policy, gamma).tolist() == pytest.approx(gradient, rel=1e-9, abs=1e-10)


def test_bandit_gradient_by_autograd_and_finite_differences():
    logits, bandit = numbers(5).requires_grad_(), Bandit([1.0, -2.0, 0.5, 0.0, 3.0])
    exact = bandit.exact_gradient(SoftmaxPolicy(logits.detach()))
    (gradient,) = torch.autograd.grad(bandit.expected_return(SoftmaxPolicy(logits)), logits)
    torch.testing.assert_close(exact, gradient, **CLOSE)
    differences = finite_differences(lambda x: bandit.expected_return(SoftmaxPolicy(x)), logits.detach())
    torch.testing.assert_close(exact, differences, rtol=0, atol=1e-8)


def test_a_constant_reward_gives_no_gradient():
    assert Bandit([2.0] * 4).exact_gradient(SoftmaxPolicy(numbers(4))).abs().max() <= 1e-15


# sequences


def by_enumeration(logits, horizon, eos, gamma):
    """(J, ∇J, total probability of each prompt) from Σ π(τ) R(τ) ∇log π(τ), the scores written by hand.

    logits: [P, rows, V] lists.
    """
    prompts, vocab_size = len(logits), len(logits[0][0])
    row = {prefix: i for i, prefix in enumerate(prefixes(vocab_size, horizon))}
    value, totals = 0.0, []
    gradient = torch.zeros(prompts, len(row), vocab_size, dtype=torch.float64)
    for prompt in range(prompts):
        totals.append(0.0)
        for outcome in outcomes(vocab_size, horizon, eos):
            steps = [(row[outcome[:t]], symbol) for t, symbol in enumerate(outcome)]
            likely = math.prod(softmax(logits[prompt][r])[symbol] for r, symbol in steps)
            gain = likely * sum(gamma**t * reward(outcome, t, prompt) for t in range(len(outcome)))
            totals[-1] += likely
            value += gain / prompts

            for r, symbol in steps:
                for k, p in enumerate(softmax(logits[prompt][r])):
                    gradient[prompt, r, k] += gain * ((k == symbol) - p) / prompts
    return value, gradient, totals


@pytest.mark.parametrize("gamma", [1.0, 0.6, 0.0])
@EACH_WORLD
def test_return_and_gradient_by_enumeration_and_by_finite_differences(vocab_size, horizon, eos, prompts, gamma):
    world = TokenWorld(vocab_size, horizon, reward_fn, eos=eos, prompts=prompts)
    logits = random_logits(prompts, vocab_size, horizon)
    policy = PrefixPolicy(logits)
    value, gradient, totals = by_enumeration(logits.tolist(), horizon, eos, gamma)
    assert totals == pytest.approx([1.0] * prompts)
    assert world.probabilities(policy).sum(1).tolist() == pytest.approx([1.0] * prompts)
    assert world.expected_return(policy, gamma).item() == pytest.approx(value, abs=1e-12)

    exact = world.exact_gradient(policy, gamma)
    torch.testing.assert_close(exact, gradient, **CLOSE)
    differences = finite_differences(lambda x: world.expected_return(PrefixPolicy(x), gamma), logits)
    torch.testing.assert_close(exact, differences, rtol=0, atol=1e-8)


@EACH_WORLD
def test_every_outcome_is_listed_once(vocab_size, horizon, eos, prompts):
    world = TokenWorld(vocab_size, horizon, reward_fn, eos=eos, prompts=prompts)
    live = [tuple(s[m].tolist()) for s, m in zip(world.sequences, world.mask, strict=True)]
    assert sorted(live) == sorted(outcomes(vocab_size, horizon, eos))
    assert len(set(map(tuple, world.sequences.tolist()))) == len(live), "filled up, they still differ"
    assert (world.sequences[~world.mask] == (-1 if eos is None else eos)).all()
    if eos is None:
        assert len(live) == vocab_size**horizon
        assert world.mask.all()


def test_the_eos_counts_and_nothing_after_it():
    world = TokenWorld(3, 3, lambda s, prompt: torch.ones(s.shape), eos=0)
    listed = world.sequences.tolist()
    for sequence, length in (([0, 0, 0], 1), ([2, 0, 0], 2), ([2, 1, 0], 3)):
        i = listed.index(sequence)
        assert world.mask[i].tolist() == [t < length for t in range(3)]
        assert world.rewards[0, i].tolist() == [1.0 if t < length else 0.0 for t in range(3)]
    assert [1, 0, 2] not in listed
    assert len(listed) == 1 + 2 + 4 * 3


def test_what_the_reward_says_of_masked_symbols_is_ignored():
    def wild(sequences, prompt):
        stops = (sequences == 0).long()
        return torch.where(stops.cumsum(1) - stops > 0, math.nan, 1.0)

    plain = TokenWorld(3, 3, lambda s, prompt: torch.ones(s.shape), eos=0)
    assert torch.equal(TokenWorld(3, 3, wild, eos=0).rewards, plain.rewards)


def test_a_reward_function_may_write_into_what_it_is_given():
    world = TokenWorld(2, 2, lambda s, prompt: s.mul_(10), prompts=2)
    assert world.sequences.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert world.returns().tolist() == [[0.0, 10.0, 10.0, 20.0]] * 2


def test_returns_are_discounted_from_the_first_symbol_on():
    world = TokenWorld(2, 3, lambda s, prompt: s * torch.tensor([1.0, 10.0, 100.0]))
    assert world.returns(0.5)[0, -1].item() == 1 + 5 + 25
    assert world.returns(0.0)[0, -1].item() == 1


def test_rewards_of_sampled_sequences_are_those_of_the_list():
    world, policy = TokenWorld(3, 3, reward_fn, eos=1, prompts=2), PrefixPolicy(numbers(2, 13, 3))
    place = {tuple(s[m].tolist()): i for i, (s, m) in enumerate(zip(world.sequences, world.mask, strict=True))}
    for prompt in range(2):
        draws = policy.sample(50, seeded(1), prompt)
        for draw, rewards in zip(draws.tolist(), world.rewards_of(draws, prompt), strict=True):
            end = draw.index(1) + 1 if 1 in draw else 3  # what was drawn after the end is masked
            torch.testing.assert_close(rewards, world.rewards[prompt, place[tuple(draw[:end])]])


def test_rows_that_no_sequence_reaches_get_no_gradient():
    """With eos 0 the prefixes 0, 00, 01, 02, 10 and 20 are over before a next symbol; the others are pushed."""
    gradient = TokenWorld(3, 3, reward_fn, eos=0).exact_gradient(PrefixPolicy(numbers(13, 3)))
    for prefix, row in zip(prefixes(3, 3), gradient, strict=True):
        assert (row == 0).all() if 0 in prefix else (row != 0).all()


def test_each_row_of_the_gradient_adds_up_to_zero():
    """Adding a constant to a row of logits changes no probability."""
    gradient = TokenWorld(3, 3, reward_fn, prompts=2).exact_gradient(PrefixPolicy(numbers(2, 13, 3)))
    torch.testing.assert_close(gradient.sum(-1), torch.zeros(2, 13, dtype=torch.float64), rtol=0, atol=1e-14)


def test_prompts_are_equally_likely_and_do_not_share_rows():
    logits = numbers(2, 4, 3)
    both = TokenWorld(3, 2, reward_fn, prompts=2)
    alone = [TokenWorld(3, 2, lambda s, _, p=p: reward_fn(s, p)) for p in range(2)]
    values = [world.expected_return(PrefixPolicy(logits[p])) for p, world in enumerate(alone)]
    torch.testing.assert_close(both.expected_return(PrefixPolicy(logits)), sum(values) / 2)
    gradients = torch.stack([world.exact_gradient(PrefixPolicy(logits[p])) for p, world in enumerate(alone)])
    torch.testing.assert_close(both.exact_gradient(PrefixPolicy(logits)), gradients / 2)


def test_a_world_of_horizon_one_is_a_bandit():
    rewards, logits = [1.0, -2.0, 0.5], numbers(3)
    world = TokenWorld(3, 1, lambda s, prompt: torch.tensor(rewards)[s])
    gradient = world.exact_gradient(PrefixPolicy(logits[None]))[0]
    torch.testing.assert_close(gradient, Bandit(rewards).exact_gradient(SoftmaxPolicy(logits)), **CLOSE)


def test_the_gradient_has_the_logits_shape_and_leaves_them_as_they_were():
    leaf = numbers(4, 3).float().requires_grad_()
    world = TokenWorld(3, 2, reward_fn)
    with torch.no_grad():
        gradient = world.exact_gradient(PrefixPolicy(leaf))
    assert gradient.shape == leaf.shape
    assert gradient.dtype == torch.float64
    assert leaf.grad is None
    world.expected_return(PrefixPolicy(leaf)).backward()
    torch.testing.assert_close(leaf.grad, gradient.float())


# the task of lesson 03


@pytest.mark.parametrize("target", [1, 4, 6])
def test_sum_world_pays_at_the_stop_for_the_sum(target):
    world = sum_world(target)
    assert len(world.sequences) == 1 + 3 + 9 + 27 + 81
    for sequence, rewards in zip(world.sequences.tolist(), world.rewards[0].tolist(), strict=True):
        if 0 not in sequence:
            assert rewards == [0.0] * 4
            continue
        stop = sequence.index(0)
        closeness = max(0.0, 1 - abs(sum(sequence[:stop]) - target) / target)
        assert rewards == [pytest.approx(closeness if t == stop else 0.0) for t in range(4)]


def test_sum_world_names_a_bad_target():
    with pytest.raises(ValueError, match="^target is 0"):
        sum_world(0)
