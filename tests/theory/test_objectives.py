"""Losses against gradients worked out one token at a time, and the KL estimators against an exact KL."""

import itertools
import math

import pytest
import torch
from plain import seeded

from pgnotes.theory.objectives import (
    AGGREGATES,
    KINDS,
    KL_KINDS,
    aggregate,
    denominator,
    entropy_weight,
    kl_estimate,
    policy_loss,
)
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import sum_world

LENGTHS = [5, 1, 3, 4]
LOW, HIGH = 0.2, 0.28


def batch(seed=0):
    g = seeded(seed)
    mask = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    old = -2 * torch.rand(4, 5, generator=g, dtype=torch.float64)
    logp = (old + 0.6 * torch.randn(4, 5, generator=g, dtype=torch.float64)).requires_grad_()
    return logp, old, torch.tensor([1.0, -1.0, 0.5, -2.0], dtype=torch.float64), mask


def weights(how):
    """What each live token's term is multiplied by: 1/(all tokens), 1/(own length · B), 1/B, 1/(B · T)."""
    same_for_all = {"token": 1 / sum(LENGTHS), "sum": 1 / 4, "dr_grpo": 1 / 20}
    return [1 / (4 * n) if how == "sequence" else same_for_all[how] for n in LENGTHS]


def one_sided(log_ratio, advantage):
    """A log-ratio, cut where the advantage would push it further."""
    return min(log_ratio, HIGH) if advantage > 0 else max(log_ratio, -LOW)


def expected(kind, how, logp, old, advantages):
    """(loss, gradient) in plain Python, straight from the papers' formulas."""
    loss, grad = 0.0, torch.zeros(4, 5, dtype=torch.float64)
    for b, n in enumerate(LENGTHS):
        a, w = advantages[b].item(), weights(how)[b]
        mean_ratio = math.exp(sum((logp[b, t] - old[b, t]).item() for t in range(n)) / n)
        for t in range(n):
            lp, r = logp[b, t].item(), math.exp((logp[b, t] - old[b, t]).item())

            if kind == "reinforce":
                term, slope = -a * lp, -a
            elif kind == "cispo":
                term, slope = -min(r, 1 + HIGH) * a * lp, -min(r, 1 + HIGH) * a
            elif kind == "sapo":
                tau = 1.0 if a > 0 else 1.05
                gate = 1 / (1 + math.exp(-tau * (r - 1)))
                term, slope = -4 / tau * gate * a, -4 * gate * (1 - gate) * r * a
            elif kind == "dppo":
                moved = math.exp(lp) - math.exp(old[b, t].item())
                stopped = moved > HIGH if a > 0 else moved < -LOW
                term = slope = 0.0 if stopped else -r * a
            elif kind == "gmpo":
                ratio = math.exp(sum(one_sided((logp[b, j] - old[b, j]).item(), a) for j in range(n)) / n)
                log_ratio = math.log(r)
                stopped = one_sided(log_ratio, a) != log_ratio
                term, slope = -ratio * a, 0.0 if stopped else -ratio * a
            else:
                ratio = mean_ratio if kind == "gspo" else r
                clipped = min(max(ratio, 1 - LOW), 1 + HIGH)
                stopped = (a > 0 and ratio > 1 + HIGH) or (a < 0 and ratio < 1 - LOW)
                term, slope = -min(ratio * a, clipped * a), 0.0 if stopped else -ratio * a

            loss += w * term
            if kind == "gspo":  # every token of the sequence moves the one ratio by 1/n
                grad[b, :n] += w * slope / n
            else:  # of gmpo n equal terms, which a token that is not cut moves by 1/n each
                grad[b, t] = w * slope
    return loss, grad


@pytest.mark.parametrize(("kind", "how"), list(itertools.product(KINDS, AGGREGATES)))
@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_from_the_formula(kind, how, seed):
    logp, old, advantages, mask = batch(seed)
    loss = policy_loss(logp, old, advantages, mask, kind, clip=(LOW, HIGH), aggregate=how)
    loss.backward()
    value, gradient = expected(kind, how, logp.detach(), old, advantages)
    assert loss.item() == pytest.approx(value, abs=1e-12)
    torch.testing.assert_close(logp.grad, gradient, rtol=0, atol=1e-12)


def test_four_ways_out_of_the_band_and_two_zeros():
    """Claim C4: the clip is one-sided."""
    old, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    for advantage, ratio, slope in [(1.0, 0.5, 0.5), (1.0, 1.5, 0.0), (-1.0, 0.5, 0.0), (-1.0, 1.5, -1.5)]:
        logp = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
        policy_loss(logp, old, torch.tensor([advantage]), mask, "ppo").backward()
        assert -logp.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize("kind", ["reinforce", "ppo", "cispo", "sapo", "dppo"])
def test_at_ratio_one_they_all_have_reinforces_gradient(kind):
    logp, _, advantages, mask = batch()
    policy_loss(logp, logp.detach(), advantages, mask, kind, aggregate="sum").backward()
    torch.testing.assert_close(logp.grad, torch.where(mask, -advantages[:, None] / 4, 0.0).expand(4, 5))


@pytest.mark.parametrize("how", AGGREGATES)
def test_micro_batches_under_one_normaliser_give_the_whole_gradient(how):
    logp, old, advantages, mask = batch()
    policy_loss(logp, old, advantages, mask, "ppo", aggregate=how).backward()
    whole, logp.grad = logp.grad.clone(), None
    for part in (slice(0, 1), slice(1, 4)):
        rows = (logp[part], old[part], advantages[part], mask[part])
        policy_loss(*rows, "ppo", aggregate=how, normaliser=denominator(mask, how)).backward()
    torch.testing.assert_close(logp.grad, whole, rtol=0, atol=1e-14)


def test_a_mask_may_be_of_ones_and_zeros():
    logp, old, advantages, mask = batch()
    for kind in KINDS:
        exact = policy_loss(logp, old, advantages, mask, kind).item()
        for numbers in (mask.double(), mask.long()):
            assert policy_loss(logp, old, advantages, numbers, kind).item() == exact


def test_values_under_the_mask_do_not_matter():
    logp, old, advantages, mask = batch()
    loss = policy_loss(logp, old, advantages, mask, "ppo")
    wild = torch.where(mask, logp, float("-inf"))
    assert policy_loss(wild, old, advantages, mask, "ppo").item() == loss.item()


def test_dr_grpo_takes_a_length():
    logp, old, advantages, mask = batch()
    usual, longer = (
        policy_loss(logp, old, advantages, mask, "ppo", aggregate="dr_grpo", length=length) for length in (None, 10)
    )
    assert longer.item() == pytest.approx(usual.item() / 2)


def test_kl_estimators_by_enumeration():
    """k1 and k3 average to the KL exactly, k2 does not, k2 and k3 are never negative: all outcomes of three listed."""
    p, q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    kl = (p * (p / q).log()).sum().item()
    estimates = {kind: kl_estimate(p.log(), q.log(), kind) for kind in ("k1", "k2", "k3")}
    means = {kind: (p @ values).item() for kind, values in estimates.items()}
    assert means["k1"] == pytest.approx(kl, abs=1e-12)
    assert means["k3"] == pytest.approx(kl, abs=1e-12)
    assert abs(means["k2"] - kl) > 1e-3
    assert (estimates["k2"] >= 0).all()
    assert (estimates["k3"] >= 0).all()
    assert estimates["k1"][2].item() == pytest.approx(math.log(0.2 / 0.6)), "the sign: log π - log reference"


@pytest.mark.parametrize("kind", ["ppo", "cispo", "sapo", "dppo", "gspo", "gmpo"])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_an_absurd_ratio_stays_finite(kind, advantage):
    """200 nats apart in float32, where the ratio itself would be infinite; a token 2 nats apart is not touched."""
    old = torch.tensor([[-300.0, -3.0]])
    logp = torch.tensor([[-100.0, -1.0]], requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    loss = policy_loss(logp, old, torch.tensor([advantage]), mask, kind, aggregate="sum")
    loss.backward()
    assert loss.isfinite()
    assert logp.grad.isfinite().all()
    if kind == "ppo" and advantage < 0:
        assert logp.grad[0, 0] == 0
        assert logp.grad[0, 1] == pytest.approx(math.exp(2), rel=1e-5)


@pytest.mark.parametrize("kind", KL_KINDS)
@pytest.mark.parametrize("far", [118.0, -118.0, 1e6, math.inf, -math.inf])
def test_a_dead_place_has_no_gradient_however_far_it_is_from_the_reference(kind, far):
    """e¹¹⁸ overflows in float32, and 0 times infinity is NaN."""
    logp = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    reference, mask = torch.tensor([[-1.5, -1.0, far]]), torch.tensor([[True, True, False]])
    aggregate(kl_estimate(logp, reference, kind), mask, "token").backward()
    d = torch.tensor([-0.5, 1.0])
    slope = {"k1": torch.ones(2), "k2": -d, "k3": 1 - d.exp()}[kind]
    torch.testing.assert_close(logp.grad, torch.cat([slope / 2, torch.zeros(1)])[None])


def test_far_away_the_estimates_go_on_along_their_tangents():
    """Never negative, never NaN, and still pulling: in float32 from 87.7 nats on."""
    d = torch.tensor([80.0, 87.0, 88.0, 95.0, math.inf])
    values = kl_estimate(torch.zeros(5), d, "k3")
    assert values[:2].tolist() == pytest.approx((d[:2].exp() - 1 - d[:2]).tolist())
    assert (values.diff() > 0)[:3].all()
    assert not values.isnan().any()
    assert kl_estimate(torch.zeros(1), torch.tensor([-math.inf]), "k3").item() == math.inf


@pytest.mark.parametrize(
    ("passing", "times"),
    [(8, (1.0, 1.0)), (4, (4 / 3, 0.75)), (1, (4.0, 0.25)), (0, (4.0, 0.25)), (16, (4.0, 0.25))],
)
def test_the_entropy_bonus_is_scaled_by_the_variance_or_its_inverse_within_limits(passing, times):
    """p(1 - p) in quarters: 1, 3/4, and at one in sixteen 0.234, just beyond the clamp, as at none and all."""
    rewards = (torch.arange(16) < passing).float().view(4, 4)
    for scale, expected in zip(("inverse_variance", "variance"), times, strict=True):
        assert entropy_weight(rewards, 0.01, scale) == pytest.approx(0.01 * expected)
        assert entropy_weight(rewards, -0.01, scale) == pytest.approx(-0.01 * expected)
    assert entropy_weight(rewards, 0.01) == 0.01
    with pytest.raises(ValueError, match="scale is 'none'"):
        entropy_weight(rewards, 0.01, "none")
    with pytest.raises(ValueError, match="bonus is nan"):
        entropy_weight(rewards, math.nan)


@pytest.mark.parametrize("seed", range(3))
def test_as_losses_k1_descends_nothing_k2_the_kl_and_k3_the_other_one(seed):
    """Claim C14, for one decision: every outcome of five, by autograd."""
    g = seeded(seed)
    theta = torch.randn(5, generator=g, dtype=torch.float64).requires_grad_()
    logp, reference = theta.log_softmax(0), torch.randn(5, generator=g, dtype=torch.float64).log_softmax(0)
    to_reference = (logp.exp() * (logp - reference)).sum()
    from_reference = (reference.exp() * (reference - logp)).sum()
    slopes = {"k1": torch.zeros(5, dtype=torch.float64)}
    slopes["k2"], slopes["k3"] = (
        torch.autograd.grad(kl, theta, retain_graph=True)[0] for kl in (to_reference, from_reference)
    )
    for kind, wanted in slopes.items():
        mean = logp.exp().detach() @ kl_estimate(logp, reference, kind)
        (found,) = torch.autograd.grad(mean, theta, retain_graph=True)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("drift", "k2", "k3"), [(0.25, 0.065, 0.078), (1.0, 0.218, 0.329)])
def test_summed_over_tokens_k2_and_k3_are_off_and_of_whole_sequences_exact(drift, k2, k3):
    """Claim C14 on the sum world: how far from the gradient of its KL each one's mean gradient is."""
    world, g = sum_world(), seeded(0)
    reference, direction = (torch.randn(85, 4, generator=g).double() for _ in range(2))
    theta = (reference + drift * direction).requires_grad_()
    policy, start = PrefixPolicy(theta), PrefixPolicy(reference)
    p, q = world.probabilities(policy)[0], world.probabilities(start)[0]
    exact = {"k2": (p * (p.log() - q.log())).sum(), "k3": (q * (q.log() - p.log())).sum()}
    logp, logp_ref = (each.log_prob(world.sequences) * world.mask for each in (policy, start))
    for kind, off in (("k2", k2), ("k3", k3)):
        (wanted,) = torch.autograd.grad(exact[kind], theta, retain_graph=True)
        by_token = kl_estimate(logp, logp_ref, kind).sum(1)
        whole = kl_estimate(logp.sum(1), logp_ref.sum(1), kind)
        errors = []
        for each in (by_token, whole):
            (found,) = torch.autograd.grad(p.detach() @ each, theta, retain_graph=True)
            errors.append(((found - wanted).norm() / wanted.norm()).item())
        assert errors[0] == pytest.approx(off, abs=5e-4)
        assert errors[1] < 1e-12
