"""Sequences that another policy drew: weights by hand, bias and noise against every outcome, listed another way."""

import math

import pytest
import torch
from plain import random_policy, seeded

from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.mismatch import (
    SAMPLER_RULES,
    Mismatch,
    effective_share,
    hotter,
    rounded,
    sampler_weights,
)
from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import sum_world

WORLD = sum_world()
POLICY = random_policy(WORLD, seed=2)
SAMPLER = hotter(POLICY, 1.4)
RULES = [("none", 1.0, 0.0), ("token", 1.2, 0.0), ("token_mask", 1.3, 0.8), ("sequence", math.inf, 0.0)]
RULES += [("sequence", 1.2, 0.0), ("sequence_mask", 1.5, 0.7), ("geometric_mask", 1.1, 0.9)]


def by_hand(rule, ratios, cap, floor):
    """The weight of each live token of one sequence, of its ratios."""
    whole = math.prod(ratios)
    mean = whole ** (1 / len(ratios))
    return {
        "none": [1.0 for r in ratios],
        "token": [min(r, cap) for r in ratios],
        "token_mask": [r if floor <= r <= cap else 0.0 for r in ratios],
        "sequence": [min(whole, cap) for r in ratios],
        "sequence_mask": [whole if floor <= whole <= cap else 0.0 for r in ratios],
        "geometric_mask": [r if floor <= mean <= cap else 0.0 for r in ratios],
    }[rule]


@pytest.mark.parametrize("rule", SAMPLER_RULES)
def test_weights_by_hand(rule):
    logp = -torch.rand(40, 5, generator=seeded(1), dtype=torch.float64)
    other = logp - 0.3 * torch.randn(40, 5, generator=seeded(2), dtype=torch.float64)
    lengths = 1 + torch.arange(40) % 5
    mask = torch.arange(5) < lengths[:, None]
    found = sampler_weights(logp, other, mask, 1.25, rule, 0.8)
    assert (found[~mask] == 0).all()
    dropped = 0
    for row, (ours, theirs, n) in zip(found.tolist(), zip(logp, other, lengths.tolist(), strict=True), strict=True):
        wanted = by_hand(rule, (ours - theirs)[:n].exp().tolist(), 1.25, 0.8)
        assert row[:n] == pytest.approx(wanted, abs=1e-12)
        dropped += wanted.count(0.0)
    assert (dropped > 5) == ("mask" in rule)


def estimates_of(weights):
    """Σ_t w_t (R - J) s_t of each sequence, all entries of all rows."""
    advantages = WORLD.returns()[0] - WORLD.expected_return(POLICY).detach()
    return token_estimates(WORLD, POLICY, (weights * advantages[:, None] * WORLD.mask)[None])


@pytest.mark.parametrize(("rule", "cap", "floor"), RULES)
def test_bias_and_noise_are_those_of_every_sequence(rule, cap, floor):
    weights = torch.zeros(WORLD.mask.shape, dtype=torch.float64)
    gap = (POLICY.log_prob(WORLD.sequences) - SAMPLER.log_prob(WORLD.sequences)).exp()
    for n, (row, live) in enumerate(zip(gap, WORLD.mask, strict=True)):
        weights[n, live] = torch.tensor(by_hand(rule, row[live].tolist(), cap, floor), dtype=torch.float64)
    wanted = moments_of(WORLD.probabilities(SAMPLER)[0], estimates_of(weights))
    exact = WORLD.exact_gradient(POLICY).flatten()

    found = Mismatch(WORLD, POLICY).correction(SAMPLER, rule, cap, floor)
    assert found.bias == pytest.approx((wanted.bias(exact) / exact.norm()).item(), abs=1e-12)
    assert found.trace == pytest.approx(wanted.trace.item(), rel=1e-10)
    assert found.cosine == pytest.approx(torch.cosine_similarity(wanted.mean, exact, 0).item(), abs=1e-12)
    chances = WORLD.probabilities(SAMPLER)[0]
    share = chances @ (weights > 0).sum(1).double() / (chances @ WORLD.mask.sum(1).double())
    assert found.kept == pytest.approx(share.item(), abs=1e-12)
    assert 0 < found.effective <= 1 + 1e-12


def test_only_the_whole_sequence_s_weight_has_no_bias():
    listed = Mismatch(WORLD, POLICY)
    torch.testing.assert_close(listed.gradient, WORLD.exact_gradient(POLICY), rtol=0, atol=1e-14)
    bias = {(rule, cap): listed.correction(SAMPLER, rule, cap, floor).bias for rule, cap, floor in RULES}
    assert bias.pop(("sequence", math.inf)) < 1e-12
    assert min(bias.values()) > 1e-3


def test_a_sampler_that_is_the_policy_needs_no_rule():
    listed = Mismatch(WORLD, POLICY)
    plain = moments_of(outcomes(WORLD, POLICY).chances, estimates_of(WORLD.mask.double()))
    for rule, cap, floor in RULES:
        found = listed.correction(POLICY, rule, max(cap, 1.0), floor)
        assert found.bias < 1e-12
        assert found.trace == pytest.approx(plain.trace.item(), rel=1e-10)
        assert (found.kept, found.effective) == (pytest.approx(1.0), pytest.approx(1.0))


def test_rounded_logits_are_near_and_coarser_in_bfloat16():
    listed = Mismatch(WORLD, POLICY)
    full, half, brain = (listed.correction(rounded(POLICY, kind)).bias for kind in ("float32", "float16", "bfloat16"))
    assert full < 1e-6 < half < 1e-2
    assert 2 * half < brain < 1e-2


def test_a_hotter_policy_is_the_power_of_its_chances():
    tempered = POLICY.probs ** (1 / 1.4)
    torch.testing.assert_close(SAMPLER.probs, tempered / tempered.sum(1, keepdim=True))
    assert torch.equal(hotter(POLICY, 1.0).logits, POLICY.logits)


def test_a_gradient_from_another_s_samples_is_the_policy_s_own():
    """The engine's way: sampled sequences, weights on advantages, policy_loss."""
    theta = POLICY.logits.clone().requires_grad_()
    batch = WORLD.rollout(SAMPLER, 40_000, seeded(3))
    policy = PrefixPolicy(theta)
    logp = policy.log_prob(batch.sequences)
    weights = sampler_weights(logp, SAMPLER.log_prob(batch.sequences), batch.mask, math.inf, "sequence")
    advantages = batch.rewards.sum(1) - WORLD.expected_return(POLICY).detach()
    loss = policy_loss(logp, logp.detach(), advantages[:, None] * weights, batch.mask, "reinforce", aggregate="sum")
    found = -torch.autograd.grad(loss, theta)[0]
    listed = Mismatch(WORLD, POLICY)
    error = listed.correction(SAMPLER, "sequence").trace / 40_000
    assert (found - listed.gradient).square().sum() < 4 * error
    without = moments_of(WORLD.probabilities(SAMPLER)[0], estimates_of(WORLD.mask.double()))
    assert (without.mean - listed.gradient.flatten()).square().sum() > 20 * error


def test_what_is_left_of_a_batch_falls_exponentially_with_the_length():
    pi, mu = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.2, 0.2]], dtype=torch.float64)
    second = sum(mu[a] * mu[b] * (pi[a] * pi[b] / (mu[a] * mu[b])) ** 2 for a in range(3) for b in range(3))
    assert effective_share(pi, mu, 2) == pytest.approx(1 / second.item())
    assert effective_share(pi, mu, 200) == pytest.approx(effective_share(pi, mu, 1) ** 200)
    assert effective_share(pi, pi, 200) == pytest.approx(1.0)
    assert effective_share([1.0, 0.0], [0.5, 0.5], 1) == pytest.approx(0.5)


TABLE = torch.zeros(2, 3)
LIVE = torch.ones(2, 3, dtype=torch.bool)
BAD = [
    ("rule", lambda: sampler_weights(TABLE, TABLE, LIVE, 1.0, "mask")),
    ("floor", lambda: sampler_weights(TABLE, TABLE, LIVE, 1.0, "token_mask", 1.5)),
    ("floor", lambda: sampler_weights(TABLE, TABLE, LIVE, 1.0, "token_mask", -0.1)),
    ("temperature", lambda: hotter(POLICY, 0.0)),
    ("precision", lambda: rounded(POLICY, "float8")),
    ("world", lambda: Mismatch(None, POLICY)),
    ("policy", lambda: Mismatch(WORLD, PrefixPolicy(torch.zeros(5, 4)))),
    ("rule", lambda: Mismatch(WORLD, POLICY).correction(SAMPLER, "tis")),
    ("policy", lambda: Mismatch(WORLD, POLICY).correction(PrefixPolicy(torch.zeros(5, 4)))),
    ("sampler", lambda: effective_share([0.5, 0.5], [1.0, 0.0], 3)),
    ("sampler", lambda: effective_share([0.5, 0.5], [1.0], 3)),
    ("chances", lambda: effective_share([0.5, 0.4], [0.5, 0.5], 3)),
    ("length", lambda: effective_share([0.5, 0.5], [0.5, 0.5], 0)),
]


@pytest.mark.parametrize(("name", "call"), BAD)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()
