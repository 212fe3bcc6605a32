"""Preferences: each formula against a listing, a brute-force optimum, or the same thing in plain Python."""

import itertools
import math
from itertools import islice

import pytest
import torch
from plain import CLOSE, WORLDS, finite_differences, numbers, random_policy, seeded

from pgnotes.theory.ascent import descent
from pgnotes.theory.estimators import token_estimates
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.preferences import (
    agreement,
    best_of,
    best_of_kl,
    bradley_terry_loss,
    dpo_loss,
    dpo_terms,
    fit_bradley_terry,
    has_finite_scores,
    kl_in_reward,
    kto_terms,
    preference,
    soft_values,
    tilted,
    tilted_policy,
    tilted_to,
)
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import TokenWorld, sum_world


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def chances_of(n, seed=0):
    return numbers(n, seed=seed).softmax(0)


def maximised(objective, n, steps=60):
    """The distribution over n answers that maximises an objective, by Newton's method on free logits."""
    theta = torch.zeros(n, dtype=torch.float64)
    for _ in range(steps):
        slope = torch.autograd.functional.jacobian(objective, theta)
        bend = torch.autograd.functional.hessian(objective, theta) - 1e-9 * torch.eye(n)
        ascent = torch.linalg.lstsq(bend, -slope).solution if (torch.linalg.eigvalsh(bend) < 1e-6).all() else slope
        theta = theta + ascent / max(1.0, ascent.abs().max().item())
    return theta.softmax(0)


@pytest.mark.parametrize("beta", [0.2, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_tilted_policy_is_the_optimum_that_brute_force_finds(beta, seed):
    chances, rewards = chances_of(5, seed), numbers(5, seed=seed + 10)

    def objective(theta):
        policy = theta.softmax(0)
        return policy @ rewards - beta * (policy * (policy / chances).log()).sum()

    torch.testing.assert_close(maximised(objective, 5), tilted(chances, rewards, beta), rtol=0, atol=1e-6)


def test_no_policy_nearby_is_better_than_the_tilted_one():
    chances, rewards, beta = chances_of(6), numbers(6, seed=1), 0.3
    best = tilted(chances, rewards, beta)

    def worth(policy):
        return (policy @ rewards - beta * (policy * (policy / chances).log()).sum()).item()

    z = math.fsum(p * math.exp(r / beta) for p, r in zip(chances.tolist(), rewards.tolist(), strict=True))
    assert worth(best) == pytest.approx(beta * math.log(z), abs=1e-12)
    for seed in range(200):
        moved = (best.log() + 0.1 * numbers(6, seed=seed)).softmax(0)
        assert worth(moved) < worth(best)


def test_rewards_a_thousand_times_beta_overflow_nothing():
    assert tilted([0.5, 0.5], [1000.0, 999.0], 1.0).tolist() == pytest.approx([sigmoid(1), sigmoid(-1)])


@pytest.mark.parametrize("kl", [0.0, 0.1, 0.45])
def test_the_tilt_at_a_kl_has_that_kl_and_no_other_policy_there_has_more_reward(kl):
    chances, rewards = chances_of(5), numbers(5, seed=3)
    policy = tilted_to(chances, rewards, kl)
    assert torch.xlogy(policy, policy / chances).sum().item() == pytest.approx(kl, abs=1e-9)
    for seed in range(100):
        other = (policy.log() + 0.1 * numbers(5, seed=seed)).softmax(0)
        if (other * (other / chances).log()).sum() <= kl:
            assert other @ rewards <= policy @ rewards + 1e-9


def test_beyond_its_end_the_tilt_is_the_reference_among_the_best():
    end = tilted_to([0.2, 0.1, 0.7], [1.0, 1.0, 0.0], 50.0)
    assert end.tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert tilted_to([0.2, 0.1, 0.7], [1.0, 1.0, 0.0], 1.2).tolist() != end.tolist()
    assert tilted_to([0.5, 0.5], [1.0, 1.0], 0.0).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("beta", [0.2, 1.0])
@pytest.mark.parametrize("size", [w for w in WORLDS if w[3] == 1], ids=str)
def test_symbol_by_symbol_it_is_the_tilted_distribution_of_whole_sequences(size, beta):
    vocab_size, horizon, eos, _ = size
    world = TokenWorld(vocab_size, horizon, lambda s, _: torch.sin(1.7 * s.double().cumsum(1) + 0.3), eos)
    reference = random_policy(world, 3)
    chances, returns = world.probabilities(reference)[0], world.returns()[0]
    policy = tilted_policy(world, reference, beta)
    torch.testing.assert_close(world.probabilities(policy)[0], tilted(chances, returns, beta), **CLOSE)
    root = soft_values(world, reference, beta)[0].item()
    z = math.fsum(p * math.exp(r / beta) for p, r in zip(chances.tolist(), returns.tolist(), strict=True))
    assert root == pytest.approx(beta * math.log(z), abs=1e-12)


def test_soft_values_are_conditional_expectations():
    world = sum_world()
    reference = random_policy(world, 1)
    chances, returns = world.probabilities(reference)[0], world.returns()[0]
    values = soft_values(world, reference, 0.2)
    for first in (1, 2, 3):
        on = world.sequences[:, 0] == first
        mean = (chances[on] * (returns[on] / 0.2).exp()).sum() / chances[on].sum()
        assert values[1 + first].item() == pytest.approx(0.2 * mean.log().item(), abs=1e-12)
    assert values[1] == 0  # after a stop nothing happens


def test_preferences_are_bradley_terry_s():
    rewards = [0.0, 1.0, 0.5]
    for i, j in itertools.product(range(3), repeat=2):
        assert preference(rewards, 0.25)[i, j].item() == pytest.approx(sigmoid((rewards[i] - rewards[j]) / 0.25))


def test_agreement_counts_every_pair():
    chances, scores, wins = [0.5, 0.3, 0.2], [1.0, 2.0, 2.0], preference([0.0, 1.0, 0.3], 0.5)
    total = 0.0
    for i, j in itertools.product(range(3), repeat=2):
        says = 0.5 if scores[i] == scores[j] else float(scores[i] > scores[j])
        total += chances[i] * chances[j] * (says * wins[i, j] + (1 - says) * wins[j, i]).item()
    assert agreement(chances, scores, wins) == pytest.approx(total, abs=1e-14)


@pytest.mark.parametrize("noise", [0.1, 0.5, 3.0])
def test_a_fit_to_all_comparisons_finds_the_rewards_over_the_noise(noise):
    rewards, chances = numbers(6, seed=4), chances_of(6, 5)
    wins = chances[:, None] * chances * preference(rewards, noise)
    scores = fit_bradley_terry(torch.eye(6, dtype=torch.float64), wins)
    torch.testing.assert_close(scores - scores[0], (rewards - rewards[0]) / noise, rtol=1e-6, atol=1e-7)


def test_the_fit_is_where_the_loss_has_no_slope():
    features, wins, ridge = numbers(5, 3), 7 * torch.rand(5, 5, generator=seeded(1), dtype=torch.float64), 0.3
    weights = fit_bradley_terry(features, wins, ridge)

    def loss(w):
        return bradley_terry_loss(features @ w, wins) + ridge / 2 * w.square().sum()

    assert finite_differences(loss, weights.clone()).abs().max() < 1e-7


def test_wins_without_a_finite_answer_are_refused_and_told_apart():
    chain = torch.tensor([[0.0, 3, 1], [0, 0, 2], [0, 0, 0]])
    circle = torch.tensor([[0.0, 3, 0], [0, 0, 2], [1, 0, 0]])
    assert not has_finite_scores(chain)
    assert has_finite_scores(circle)
    with pytest.raises(ValueError, match="wins has no finite"):
        fit_bradley_terry(torch.eye(3), chain)
    assert fit_bradley_terry(torch.eye(3), chain, ridge=0.1).isfinite().all()
    assert fit_bradley_terry(torch.eye(3), circle).isfinite().all()


def test_long_chains_of_wins_are_found():
    ring = torch.roll(torch.eye(9), 1, dims=1)
    assert has_finite_scores(ring)
    ring[8] = 0
    assert not has_finite_scores(ring)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_best_of_n_is_what_listing_all_draws_says(n):
    chances, scores = chances_of(5, 2), [0.0, 1.0, 1.0, 3.0, -2.0]  # two tie
    listed = torch.zeros(5, dtype=torch.float64)
    for draws in itertools.product(range(5), repeat=n):
        chance = math.prod(chances[i].item() for i in draws)
        top = max(scores[i] for i in draws)
        winners = [i for i in draws if scores[i] == top]
        for i in winners:
            listed[i] += chance / len(winners)
    torch.testing.assert_close(best_of(chances, scores, n), listed, **CLOSE)


def test_the_best_of_n_has_the_kl_of_the_formula_where_all_answers_are_rare_and_less_elsewhere():
    for answers, close in ((20_000, True), (3, False)):
        chances = torch.full((answers,), 1 / answers, dtype=torch.float64)
        best = best_of(chances, torch.arange(answers), 8)
        kl = torch.xlogy(best, best / chances).sum().item()
        assert kl <= best_of_kl(8) + 1e-9
        assert (abs(kl - best_of_kl(8)) < 1e-3) == close
    assert best_of_kl(1) == 0


def test_the_kl_is_paid_symbol_by_symbol_and_no_gradient_flows_through_it():
    logp, ref = numbers(3, 4).requires_grad_(), numbers(3, 4, seed=1)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]).bool()
    rewards = numbers(3, 4, seed=2)
    paid = kl_in_reward(rewards, logp, ref, mask, 0.3)
    assert not paid.requires_grad
    for i, t in itertools.product(range(3), range(4)):
        wanted = (rewards[i, t] - 0.3 * (logp[i, t] - ref[i, t])).item() if mask[i, t] else 0.0
        assert paid[i, t].item() == pytest.approx(wanted, abs=1e-14)
    dead = logp.detach().masked_fill(~mask, float("nan"))
    assert torch.equal(kl_in_reward(rewards, dead, ref, mask, 0.3), paid)


@pytest.mark.parametrize("to_go", [True, False])
def test_with_the_kl_in_the_reward_the_policy_gradient_climbs_the_return_less_the_kl(to_go):
    world, beta = sum_world(), 0.3
    policy, reference = random_policy(world, 1), random_policy(world, 2)

    def objective(logits):
        chances = world.probabilities(PrefixPolicy(logits))[0]
        kl = (chances * (chances.log() - world.probabilities(reference)[0].log())).sum()
        return chances @ world.returns()[0] - beta * kl

    exact = torch.autograd.functional.jacobian(objective, policy.logits)
    logp, ref = policy.log_prob(world.sequences), reference.log_prob(world.sequences)
    paid = kl_in_reward(world.rewards[0], logp, ref, world.mask, beta)
    weights = reward_to_go(paid) if to_go else paid.sum(1, keepdim=True).expand(paid.shape)
    estimates = token_estimates(world, policy, (weights * world.mask)[None])
    found = world.probabilities(policy)[0] @ estimates
    torch.testing.assert_close(found, exact.flatten(), rtol=0, atol=1e-12)


def test_dpo_and_its_gradient_are_the_formula_s():
    w, loser, ref_w, ref_l = (numbers(7, seed=seed).requires_grad_() for seed in range(4))
    terms = dpo_terms(w, loser, ref_w, ref_l, 0.4)
    for i in range(7):
        margin = 0.4 * ((w[i] - ref_w[i]) - (loser[i] - ref_l[i])).item()
        assert terms[i].item() == pytest.approx(-math.log(sigmoid(margin)), abs=1e-12)
    up, down, none, either = torch.autograd.grad(
        terms.sum(), (w, loser, ref_w, ref_l), allow_unused=True, materialize_grads=True
    )
    assert torch.equal(none, torch.zeros(7)) or none.abs().max() == 0
    assert either.abs().max() == 0
    margins = 0.4 * ((w - ref_w) - (loser - ref_l)).detach()
    torch.testing.assert_close(up, -0.4 * torch.sigmoid(-margins), **CLOSE)
    torch.testing.assert_close(down, -up, **CLOSE)


def test_over_all_pairs_dpo_s_lowest_point_is_the_tilted_policy():
    chances, rewards, beta, noise = chances_of(4, 1), numbers(4, seed=2), 0.7, 0.5
    wins = chances[:, None] * chances * preference(rewards, noise)
    ref = chances.log()

    def objective(theta):
        return -dpo_loss(torch.log_softmax(theta, 0), ref, wins, beta)

    torch.testing.assert_close(maximised(objective, 4), tilted(chances, rewards / noise, beta), rtol=0, atol=1e-6)


def test_dpo_s_mean_weighs_each_pair():
    logp, ref = numbers(3), numbers(3, seed=1)
    wins = torch.tensor([[0.0, 2, 0], [1, 0, 5], [0, 0, 0]], dtype=torch.float64)
    total = 0.0
    for i, j in itertools.product(range(3), repeat=2):
        margin = 0.2 * ((logp[i] - ref[i]) - (logp[j] - ref[j])).item()
        total += wins[i, j].item() * -math.log(sigmoid(margin))
    assert dpo_loss(logp, ref, wins, 0.2).item() == pytest.approx(total / 8, abs=1e-13)


def test_kto_is_the_formula_s_and_its_slope_vanishes_at_both_ends():
    logp = torch.tensor([-400.0, -2.0, 0.5, 400.0, -400.0, -2.0, 0.5, 400.0], dtype=torch.float64, requires_grad=True)
    good = torch.arange(8) < 4
    terms = kto_terms(logp, torch.zeros(8, dtype=torch.float64), good, 0.5, 0.3)
    for i in range(8):
        above = 0.5 * (logp[i].item() - 0.3)
        assert terms[i].item() == pytest.approx(1 - sigmoid(above if i < 4 else -above), abs=1e-12)
    (slope,) = torch.autograd.grad(terms.sum(), logp)
    assert (slope[[0, 3, 4, 7]].abs() < 1e-60).all()
    assert (slope[:4] <= 0).all()
    assert (slope[4:] >= 0).all()


def test_descent_takes_gradient_steps():
    world = sum_world()
    policy = random_policy(world, 1)
    steps = list(islice(descent(lambda q: -world.expected_return(q), policy, 0.7), 2))
    assert steps[0][1] == pytest.approx(-world.expected_return(policy).item())
    moved = policy.logits + 0.7 * world.exact_gradient(policy)
    torch.testing.assert_close(steps[1][0].logits, moved, **CLOSE)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: preference([0.0, 1.0], 0.0), "noise"),
        (lambda: agreement([0.5, 0.6], [0.0, 1.0], torch.ones(2, 2)), "chances"),
        (lambda: agreement([0.5, 0.5], [0.0, 1.0, 2.0], torch.ones(2, 2)), "scores"),
        (lambda: fit_bradley_terry(torch.eye(2), -torch.ones(2, 2)), "wins"),
        (lambda: fit_bradley_terry(torch.eye(2), torch.ones(3, 3)), "wins"),
        (lambda: fit_bradley_terry(torch.eye(2), torch.ones(2, 2), -1.0), "ridge"),
        (lambda: tilted([0.5, 0.5], [1.0, 0.0], 0.0), "beta"),
        (lambda: tilted([0.5, 0.5], [1.0], 1.0), "rewards"),
        (lambda: best_of([0.5, 0.5], [1.0, 0.0], 0), "n is"),
        (lambda: best_of([0.5, 0.5], [1.0], 2), "scores"),
        (
            lambda: kl_in_reward(torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2, 2), torch.ones(2, 2), 1.0),
            "rewards",
        ),
        (lambda: kl_in_reward(*[torch.zeros(2, 2)] * 3, torch.ones(2, 2), -1.0), "beta"),
        (lambda: dpo_terms(*[torch.zeros(2)] * 3, torch.zeros(3), 1.0), "ref_l"),
        (lambda: dpo_terms(*[torch.zeros(2)] * 4, 0.0), "beta"),
        (lambda: kto_terms(torch.zeros(2), torch.zeros(2), torch.zeros(2), 1.0, -1.0), "anchor"),
        (lambda: kto_terms(torch.zeros(2), torch.zeros(2), torch.zeros(3), 1.0, 0.0), "good"),
        (lambda: soft_values(sum_world(), random_policy(sum_world()), 0.0), "beta"),
    ],
)
def test_bad_input_is_named(call, name):
    with pytest.raises(ValueError, match=name):
        call()
