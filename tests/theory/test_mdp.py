"""Markov decision processes against trajectories listed in plain Python, finite differences, and samples."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import CLOSE, finite_differences, numbers, random_mdp, seeded, softmax

from pgnotes.theory.policies import StatePolicy
from pgnotes.theory.worlds import icy_path

SIZES = [(1, 2, 2), (2, 1, 3), (2, 2, 1), (3, 2, 3), (2, 3, 3), (4, 2, 2), (2, 2, 4)]  # states, actions, steps
SIZED = pytest.mark.parametrize("size", SIZES, ids=str)
SLIPS = [0.0, 0.1, 0.5, 0.8, 1.0]


def by_hand(mdp, policy):
    """Every trajectory: [(chance, [(state, action), …], [reward, …]), …], one number at a time."""
    moves, earned, start = mdp.transitions.tolist(), mdp.rewards.tolist(), mdp.start.tolist()
    probs = [softmax(row) for row in policy.logits.tolist()]
    pairs = list(itertools.product(range(len(start)), range(len(probs[0]))))
    listed = []
    for steps in itertools.product(pairs, repeat=mdp.horizon):
        chance = start[steps[0][0]] * math.prod(probs[s][a] for s, a in steps)
        chance *= math.prod(moves[s][a][after] for (s, a), (after, _) in itertools.pairwise(steps))
        listed.append((chance, list(steps), [earned[s][a] for s, a in steps]))
    return listed


# trajectories


@SIZED
def test_every_trajectory_is_listed_once_with_its_probability_and_rewards(size):
    mdp, policy = random_mdp(size)
    chances = mdp.probabilities(policy)
    assert chances.sum().item() == pytest.approx(1, abs=1e-12)
    pairs = torch.stack([mdp.states, mdp.actions], -1).tolist()
    place = {tuple(map(tuple, steps)): i for i, steps in enumerate(pairs)}
    expected = by_hand(mdp, policy)
    assert len(place) == len(pairs) == len(expected)
    for chance, steps, rewards in expected:
        i = place[tuple(steps)]
        assert chances[i].item() == pytest.approx(chance, rel=1e-10)
        assert mdp.rewards_of_trajectories[i].tolist() == rewards


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 100_000))
def test_the_forward_recursion_gives_the_mean_over_all_trajectories(size, seed):
    mdp, policy = random_mdp(size, seed)
    listed = (mdp.probabilities(policy) * mdp.rewards_of_trajectories.sum(1)).sum().item()
    assert mdp.expected_return(policy).item() == pytest.approx(listed, abs=1e-12)
    assert listed == pytest.approx(sum(chance * sum(rewards) for chance, _, rewards in by_hand(mdp, policy)), abs=1e-12)


# gradients


@SIZED
def test_the_gradient_by_finite_differences(size):
    mdp, policy = random_mdp(size)
    differences = finite_differences(lambda x: mdp.expected_return(StatePolicy(x)), policy.logits)
    torch.testing.assert_close(mdp.exact_gradient(policy), differences, rtol=0, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 100_000))
def test_the_gradient_needs_the_scores_of_the_policy_and_none_of_the_dynamics(size, seed):
    """Σ_τ p(τ) R(τ) Σ_t ∇ log π(a_t | s_t)."""
    mdp, policy = random_mdp(size, seed)
    weights = mdp.probabilities(policy) * mdp.rewards_of_trajectories.sum(1)
    summed = (weights[:, None, None] * policy.score(mdp.states, mdp.actions)).sum(0)
    torch.testing.assert_close(mdp.exact_gradient(policy), summed, **CLOSE)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SIZES), st.integers(0, 100_000))
def test_the_policy_gradient_theorem(size, seed):
    """Σ_t Σ_s d_t(s) Σ_a ∇π(a|s) Q_t(s, a), with ∂π(a|s)/∂θ_sk = π(a|s) (1[a = k] - π(k|s))."""
    mdp, policy = random_mdp(size, seed)
    probs = policy.probs
    derivatives = torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]  # [S, A, K]
    theorem = torch.einsum("ts,sak,tsa->sk", mdp.visits(policy), derivatives, mdp.action_values(policy))
    torch.testing.assert_close(theorem, mdp.exact_gradient(policy), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(3, 2, 3), (2, 2, 4)], ids=str)
def test_earlier_rewards_times_a_later_score_average_to_zero_and_no_others_do(size):
    """Lesson 02's reason for the theorem's second line: E[r_k ∇ log π(a_t|s_t)] is 0 for k < t alone."""
    mdp, policy = random_mdp(size, seed=5)
    probs, listed = [softmax(row) for row in policy.logits.tolist()], by_hand(mdp, policy)
    for k, t in itertools.product(range(mdp.horizon), repeat=2):
        means = [0.0] * len(probs)  # the score's entry "action 0" in each state
        for chance, steps, paid in listed:
            state, action = steps[t]
            means[state] += chance * paid[k] * ((action == 0) - probs[state][0])
        assert (max(map(abs, means)) < 1e-12) == (k < t), (k, t, means)


def test_the_gradient_has_no_graph_and_leaves_the_logits_as_they_were():
    mdp, _ = random_mdp((3, 2, 3))
    leaf = numbers(3, 2).requires_grad_()
    with torch.no_grad():
        gradient = mdp.exact_gradient(StatePolicy(leaf))
    assert leaf.grad is None
    mdp.expected_return(StatePolicy(leaf)).backward()
    torch.testing.assert_close(leaf.grad, gradient)


# values and visits


@SIZED
def test_visits_by_adding_up_trajectories(size):
    mdp, policy = random_mdp(size)
    visits = mdp.visits(policy)
    expected = torch.zeros(mdp.horizon, len(mdp.start), dtype=torch.float64)
    for chance, steps, _ in by_hand(mdp, policy):
        for t, (state, _) in enumerate(steps):
            expected[t, state] += chance
    torch.testing.assert_close(visits, expected, **CLOSE)
    torch.testing.assert_close(visits.sum(1), torch.ones(mdp.horizon, dtype=torch.float64), **CLOSE)


@SIZED
def test_action_values_are_what_trajectories_through_them_earn_from_there_on(size):
    mdp, policy = random_mdp(size)
    shape = (mdp.horizon, *mdp.rewards.shape)
    earned, chances = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for chance, steps, rewards in by_hand(mdp, policy):
        for t, (state, action) in enumerate(steps):
            earned[t, state, action] += chance * sum(rewards[t:])
            chances[t, state, action] += chance
    torch.testing.assert_close(mdp.action_values(policy), earned / chances, rtol=1e-10, atol=1e-10)


# samples


@SIZED
def test_rollouts_come_as_often_as_the_list_says(size):
    (mdp, policy), n = random_mdp(size), 20_000
    states, actions, rewards = mdp.rollout(policy, n, seeded())
    assert states.shape == actions.shape == rewards.shape == (n, mdp.horizon)
    assert torch.equal(rewards, mdp.rewards[states, actions])
    digits = (len(mdp.rewards.flatten()) ** torch.arange(mdp.horizon)).flip(0)
    n_actions = mdp.rewards.shape[1]
    number = (states * n_actions + actions) @ digits
    listed = (mdp.states * n_actions + mdp.actions) @ digits
    chances = mdp.probabilities(policy)[listed.argsort()]
    shares = number.bincount(minlength=len(listed)) / n
    # A share of fewer is not normal enough for four standard errors; those are looked at together
    common = chances > 20 / n
    chances, shares = (torch.cat([x[common], x[~common].sum()[None]]) for x in (chances, shares))
    assert ((shares - chances).abs() <= 4 * (chances * (1 - chances) / n).sqrt() + 1e-12).all()
    assert len(chances) > 2


def test_the_same_seed_gives_the_same_rollout():
    mdp, policy = random_mdp((3, 2, 3))
    first, again, other = (torch.stack(mdp.rollout(policy, 50, seeded(seed))) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# the icy path


def walker(right):
    """Goes right with this probability, wherever it is."""
    return StatePolicy(torch.tensor([[1 - right, right]] * 3, dtype=torch.float64).log().clamp(min=-1000))


@pytest.mark.parametrize("slip", SLIPS)
def test_where_the_icy_path_leads(slip):
    stay, go = slip, 1 - slip  # what "right" does at the left end
    expected = [[[go, stay, 0], [stay, go, 0]], [[go, 0, stay], [stay, 0, go]], [[0, go, stay], [0, stay, go]]]
    torch.testing.assert_close(icy_path(slip).transitions, torch.tensor(expected, dtype=torch.float64))
    assert icy_path(slip).start.tolist() == [1, 0, 0]
    assert icy_path(slip).rewards.tolist() == [[0, 0], [0, 0], [1, 1]]
    assert icy_path(slip).horizon == 4


@pytest.mark.parametrize("slip", SLIPS)
def test_the_icy_path_by_enumeration(slip):
    mdp, policy = icy_path(slip), StatePolicy(numbers(3, 2))
    listed = by_hand(mdp, policy)
    assert mdp.probabilities(policy).sum().item() == pytest.approx(1, abs=1e-12)
    mean = sum(chance * sum(rewards) for chance, _, rewards in listed)
    assert mdp.expected_return(policy).item() == pytest.approx(mean, abs=1e-12)
    differences = finite_differences(lambda x: mdp.expected_return(StatePolicy(x)), policy.logits)
    torch.testing.assert_close(mdp.exact_gradient(policy), differences, rtol=0, atol=1e-8)


def test_without_slipping_the_path_is_certain_and_its_ends_hold():
    for right, states, total in ((1.0, [0, 1, 2, 2], 2), (0.0, [0, 0, 0, 0], 0)):
        drawn, actions, rewards = icy_path(0).rollout(walker(right), 20, seeded())
        assert drawn.tolist() == [states] * 20
        assert actions.tolist() == [[right] * 4] * 20
        assert rewards.sum(1).tolist() == [total] * 20
        assert icy_path(0).expected_return(walker(right)) == total
    assert set(icy_path(0).transitions.flatten().tolist()) == {0.0, 1.0}


def test_on_sheer_ice_actions_change_nothing():
    """Either step is a coin toss: at the right end one time in four, at the third step and at the fourth."""
    for seed in range(5):
        policy = StatePolicy(numbers(3, 2, seed=seed))
        assert icy_path(0.5).expected_return(policy).item() == pytest.approx(0.5)
        assert icy_path(0.5).exact_gradient(policy).abs().max() <= 1e-15
        assert icy_path(0.4).exact_gradient(policy).abs().max() > 1e-3


def test_a_certain_slip_turns_the_actions_round():
    for right in (0.0, 0.3, 1.0):
        turned = icy_path(0.8).expected_return(walker(1 - right)).item()
        assert icy_path(0.2).expected_return(walker(right)).item() == pytest.approx(turned)
