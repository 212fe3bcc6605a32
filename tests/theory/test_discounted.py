"""Discounted decision processes against sums of many terms, finite differences, and samples of their theorems."""

import pytest
import torch
from plain import CLOSE, finite_differences, numbers, random_mdp

from pgnotes.theory.discounted import (
    DiscountedMDP,
    greedy,
    improvement_bound,
    mixture_promise,
    random_discounted,
    surrogate_gain,
)


def mdp_of(seed=0, gamma=0.9, size=(4, 3)):
    listed, policy = random_mdp((*size, 1), seed)
    return DiscountedMDP(listed.transitions, listed.rewards, listed.start, gamma), policy.probs


def by_steps(mdp, probs, gamma=None):
    """Returns from each state and visits, step by step until what is left is nothing."""
    gamma = mdp.gamma if gamma is None else gamma
    moves = torch.einsum("sa,san->sn", probs, mdp.transitions)
    paid, at, weight = (probs * mdp.rewards).sum(1), torch.eye(len(mdp.start), dtype=torch.float64), 1.0
    values, seen = torch.zeros_like(paid), torch.zeros_like(mdp.start)
    while weight > 1e-16:
        values, seen = values + weight * at @ paid, seen + weight * mdp.start @ at
        at, weight = at @ moves, weight * gamma
    return values, seen


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_values_and_visits_by_adding_up_steps(seed, gamma):
    mdp, probs = mdp_of(seed, gamma)
    values, seen = by_steps(mdp, probs)
    torch.testing.assert_close(mdp.values(probs), values, **CLOSE)
    torch.testing.assert_close(mdp.visits(probs), seen, **CLOSE)
    assert mdp.visits(probs).sum().item() == pytest.approx(1 / (1 - gamma))
    assert mdp.expected_return(probs).item() == pytest.approx((mdp.start @ values).item())


def test_advantages_are_one_step_s_surprise_and_average_to_zero():
    mdp, probs = mdp_of()
    values, _ = by_steps(mdp, probs)
    for s in range(4):
        for a in range(3):
            worth = mdp.rewards[s, a] + 0.9 * sum(mdp.transitions[s, a, n] * values[n] for n in range(4))
            assert mdp.advantages(probs)[s, a].item() == pytest.approx((worth - values[s]).item())
    torch.testing.assert_close((probs * mdp.advantages(probs)).sum(1), torch.zeros(4).double(), **CLOSE)


def test_the_policy_gradient_theorem():
    mdp, _ = mdp_of()
    logits = numbers(4, 3)
    probs = logits.softmax(1)
    theorem = mdp.visits(probs)[:, None] * probs * mdp.advantages(probs)
    differences = finite_differences(lambda x: mdp.expected_return(x.softmax(1)), logits)
    torch.testing.assert_close(theorem, differences, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_performance_difference(seed):
    mdp, old = mdp_of(seed)
    new = numbers(4, 3, seed=seed + 100).softmax(1)
    gained = mdp.expected_return(new) - mdp.expected_return(old)
    torch.testing.assert_close((mdp.visits(new)[:, None] * new * mdp.advantages(old)).sum(), gained, **CLOSE)


def test_the_bound_is_below_the_gain_on_two_hundred_pairs_and_near_it_for_a_small_step():
    for seed in range(200):
        gamma = (0.5, 0.9, 0.99)[seed % 3]
        mdp = random_discounted(5, 3, gamma, seed)
        old = numbers(5, 3, seed=seed).softmax(1)
        new = (old.log() + (0.01, 0.3, 3.0)[seed % 3] * numbers(5, 3, seed=seed + 1000)).softmax(1)
        gained = (mdp.expected_return(new) - mdp.expected_return(old)).item()
        promise = improvement_bound(mdp, old, new)
        assert promise.penalty > 0
        assert promise.guaranteed.item() <= gained + 1e-10
        assert promise.surrogate.item() == pytest.approx(surrogate_gain(mdp, old, new).item())


def test_the_bound_s_terms_one_by_one():
    mdp, old = mdp_of()
    new = numbers(4, 3, seed=5).softmax(1)
    advantages, seen = mdp.advantages(old), mdp.visits(old)
    gain = sum(seen[s] * new[s, a] * advantages[s, a] for s in range(4) for a in range(3)).item()
    furthest = max(sum(old[s, a] * (old[s, a] / new[s, a]).log() for a in range(3)).item() for s in range(4))
    promise = improvement_bound(mdp, old, new)
    assert promise.surrogate.item() == pytest.approx(gain)
    assert promise.penalty.item() == pytest.approx(4 * advantages.abs().max().item() * 0.9 / 0.1**2 * furthest)


def test_a_mixture_gains_what_it_is_promised_and_no_other_share_is_promised_more():
    for seed in range(20):
        mdp = random_discounted(5, 3, 0.9, seed)
        old = torch.full((5, 3), 1 / 3, dtype=torch.float64)
        new = greedy(mdp, old)
        share, promised = mixture_promise(mdp, old, new)
        mixed = (1 - share) * old + share * new
        assert 0 < promised <= (mdp.expected_return(mixed) - mdp.expected_return(old)).item()
        gain = (mdp.visits(old) @ (new * mdp.advantages(old)).sum(1)).item()
        largest = (new * mdp.advantages(old)).sum(1).abs().max().item()
        shares = [i / 1000 for i in range(1001)]
        best = max(a * gain - 2 * largest * 0.9 / 0.01 * a * a for a in shares)
        assert promised == pytest.approx(best, rel=0.05)
        assert promised >= best - 1e-12


def test_no_mixture_with_what_is_no_better():
    mdp = random_discounted(5, 3, 0.9, 0)
    best = torch.full((5, 3), 1 / 3, dtype=torch.float64)
    for _ in range(10):
        best = greedy(mdp, best)  # policy iteration
    worse = torch.full((5, 3), 1 / 3, dtype=torch.float64)
    assert mixture_promise(mdp, best, worse) == (0.0, 0.0)
    assert (mdp.advantages(best) < 1e-9).all()


def test_greedy_takes_the_best_action_surely():
    mdp, probs = mdp_of()
    chosen = greedy(mdp, probs)
    assert torch.equal(chosen.sum(1), torch.ones(4).double())
    torch.testing.assert_close((chosen * mdp.advantages(probs)).sum(1), mdp.advantages(probs).max(1).values)
    assert mdp.expected_return(chosen) > mdp.expected_return(probs)


def test_random_worlds_depend_on_their_seed_and_are_what_they_say():
    first, again, other = (random_discounted(5, 3, 0.9, seed) for seed in (0, 0, 1))
    assert torch.equal(first.transitions, again.transitions)
    assert torch.equal(first.rewards, again.rewards)
    assert not torch.equal(first.transitions, other.transitions)
    rows = torch.cat([random_discounted(5, 3, 0.9, seed).transitions.flatten(0, 1) for seed in range(200)])
    # Dirichlet(½) over 5: mean 1/5, variance (1/5)(4/5) / (5/2 + 1)
    assert rows.mean().item() == pytest.approx(0.2)
    assert rows.var().item() == pytest.approx(0.16 / 3.5, rel=0.05)
    rewards = torch.cat([random_discounted(5, 3, 0.9, seed).rewards.flatten() for seed in range(200)])
    assert rewards.min() >= 0
    assert rewards.max() < 1
    assert rewards.mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"transitions": [[0.5, 0.5]]}, "transitions"),
        ({"transitions": [[[0.5, 0.6]] * 2] * 2}, "transitions"),
        ({"transitions": [[[1.0]] * 2] * 2}, "transitions"),
        ({"rewards": [[0.0]]}, "rewards"),
        ({"start": [1.0]}, "start"),
        ({"start": [0.5, 0.6]}, "start"),
        ({"gamma": 1.0}, "gamma"),
        ({"gamma": -0.1}, "gamma"),
    ],
)
def test_bad_arguments_are_named(change, name):
    good = {"transitions": [[[0.5, 0.5]] * 2] * 2, "rewards": [[0.0, 1.0]] * 2, "start": [1.0, 0.0], "gamma": 0.9}
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        DiscountedMDP(**good | change)


@pytest.mark.parametrize("policy", [None, [0.5, 0.5], [[0.5, 0.6]] * 4, torch.full((4, 2), 0.5)])
def test_policies_that_do_not_fit_are_refused(policy):
    mdp, probs = mdp_of()
    for call in (mdp.values, mdp.advantages, mdp.visits, mdp.expected_return):
        with pytest.raises(ValueError, match=r"^policy\b"):
            call(policy)
    for call, name in ((surrogate_gain, "new"), (improvement_bound, "new")):
        with pytest.raises(ValueError, match=rf"^{name}\b"):
            call(mdp, probs, policy)
