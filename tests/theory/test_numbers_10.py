"""Lesson 10's numbers found a second time, by listing in NumPy; and the package's functions beside them."""

import itertools
import math
from functools import partial

import numpy as np
import plain_critics as plain
import plain_groups as groups
import pytest
import torch

from pgnotes.theory.advantages import gdpo_advantages, group_advantages
from pgnotes.theory.entropy import entropy_slope
from pgnotes.theory.groups import completions, knock_world, knocker, step_moments
from pgnotes.theory.mismatch import Mismatch, effective_share, hotter
from pgnotes.theory.objectives import kl_estimate
from pgnotes.theory.pass_at_k import climb, pass_at_k, pass_at_k_weight, pass_rate_of_k, shared_rates
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.right_or_wrong import pull
from pgnotes.theory.several_rewards import distinct, every_group, normalised_first, summed_first
from pgnotes.theory.token_baseline import place_baselines, with_places
from pgnotes.theory.token_weights import token_weight
from pgnotes.theory.worlds import sum_world

WORLD, PACKAGED = plain.sum_tree(), sum_world()
POLICY = next(itertools.islice(reinforce(PACKAGED, Recipe(normalise=True), seed=0), 20, None))
HALF = POLICY.logits.detach().numpy()


# the weight of a token


def slope_by_log_prob(objective, ratio, old=0.1, step=1e-6):
    """dJ/d log π at a ratio, by a central difference of a function of (ratio, probability)."""
    up, down = (ratio * math.exp(s) for s in (step, -step))
    return (objective(up, old * up) - objective(down, old * down)) / (2 * step)


def clipped(ratio, now, advantage, low, high):
    return min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def gated(ratio, now, advantage):
    temperature = 1.0 if advantage > 0 else 1.05
    return 4 / temperature / (1 + math.exp(-temperature * (ratio - 1))) * advantage


def in_logarithms(ratio, now, advantage, bound):
    log = math.log(ratio)
    return math.exp(min(log, bound) if advantage > 0 else max(log, -bound)) * advantage


@pytest.mark.parametrize("advantage", [1.0, -0.7])
def test_the_weights_by_differences(advantage):
    ratios = (0.3, 0.65, 0.9, 1.0, 1.1, 1.25, 1.6, 4.0)
    objectives = {
        "ppo": (partial(clipped, advantage=advantage, low=0.2, high=0.28), (0.2, 0.28)),
        "gspo": (partial(clipped, advantage=advantage, low=0.2, high=0.28), (0.2, 0.28)),
        "sapo": (partial(gated, advantage=advantage), 0.2),
        "gmpo": (partial(in_logarithms, advantage=advantage, bound=0.4), 0.4),
    }
    for kind, (objective, clip) in objectives.items():
        mine = [slope_by_log_prob(objective, ratio) for ratio in ratios]
        theirs = token_weight(ratios, advantage, kind, clip).tolist()
        assert theirs == pytest.approx(mine, abs=1e-7), kind


def test_c10_a_cap_on_the_raw_ratio_only():
    ratios = [0.5, 0.9, 1.1, 1.5, 4.0]
    for sign in (1.0, -1.0):
        unclipped = [slope_by_log_prob(lambda r, now, a=sign: r * a, ratio) for ratio in ratios]
        raw = token_weight(ratios, sign, "cispo", (1.0, math.inf)).tolist()
        assert raw == pytest.approx(unclipped, abs=1e-7)
        capped = token_weight(ratios, sign, "cispo", 0.2).tolist()
        assert capped == pytest.approx([sign * r for r in (0.5, 0.9, 1.1, 1.2, 1.2)])


def test_what_a_band_of_ratios_and_one_of_probabilities_silence():
    # both at ratio 1.48: moved by .0048 and by .24
    for p, silenced in ((0.01, False), (0.5, True)):
        assert token_weight([1.48], 1.0, "ppo", 0.2, chance=p).item() == 0
        assert (token_weight([1.48], 1.0, "dppo", 0.2, chance=p).item() == 0) is silenced
    # .8 at ratio 1.24 has moved by .192: out of a band of .1, inside one of .2, whose end is probability 1
    for band, silenced in ((0.1, True), (0.2, False)):
        assert (token_weight([1.24], 1.0, "dppo", band, chance=0.8).item() == 0) is silenced
    # fallen to ratio .8, .01 and .9 have moved by .002 and .18
    assert [p * 0.2 for p in (0.01, 0.9)] == pytest.approx([0.002, 0.18])
    # of .9, no ratio above 1.11 is a probability
    assert token_weight([1.11, 1.112], 1.0, "ppo", 0.2, chance=0.9).isnan().tolist() == [False, True]
    for clip, end in ((0.2, 0.012), ((0.2, 0.28), 0.0128)):
        just = [end / 0.01 * (1 - 1e-9), end / 0.01 * (1 + 1e-9)]
        assert (token_weight(just, 1.0, "ppo", clip, chance=0.01) > 0).tolist() == [True, False]


# the family


PROMPTS = [groups.answers(stops, asked, True) for stops, asked in zip(groups.STOPS, groups.ASKED, strict=True)]


@pytest.mark.parametrize(
    ("rule", "average", "line"),
    [
        ("none", "sum", (0.000, 1.0000, 1.0000, 1.000, 0.82)),
        ("rloo", "sum", (0.000, 1.0000, 1.0000, 1.000, 0.97)),
        ("rloo", "token", (0.531, 0.4704, 0.4710, 0.999, 0.97)),
        ("rloo", "sequence", (0.490, 0.6161, 0.6955, 0.915, 0.87)),
        ("dr_grpo", "dr_grpo", (0.812, 0.1875, 0.1875, 1.000, 0.97)),
        ("grpo", "sum", (0.765, 1.4007, 2.3615, 0.966, 1.03)),
        ("grpo", "sequence", (0.571, 0.8630, 1.7211, 0.864, 0.85)),
        ("grpo", "token", (0.322, 0.6590, 1.1378, 0.960, 1.03)),
        ("batch_mean", "sum", (0.125, 0.8750, 0.8750, 1.000, 0.78)),
        ("reinforce_pp", "sum", (1.022, 2.0345, 1.9799, 1.000, 0.77)),
        ("reinforce_pp", "token", (0.061, 0.9575, 0.9603, 0.999, 0.76)),
        ("group_mean_batch_std", "token", (0.123, 0.8838, 0.9707, 0.997, 1.02)),
        ("lite_ppo", "token", None),
        ("maxrl", "sum", None),
        ("maxrl", "token", None),
    ],
)
def test_a_step_of_every_method(rule, average, line):
    row = groups.step_row(PROMPTS, rule, average)
    if line:
        assert row[:4] == pytest.approx(line[:4], abs=6e-4)
        assert row.noise == pytest.approx(line[4], abs=6e-3)

    listed = completions(knock_world(partial=True), knocker(groups.STOPS))
    moments = step_moments(listed, rule, 4, average)
    mean = moments.mean.view(2, 15, 2)[:, [0, 2, 6, 14]].numpy()
    np.testing.assert_allclose(mean, row.mean, atol=1e-10)
    assert (moments.trace.sqrt() / moments.mean.norm()).item() == pytest.approx(row.noise, rel=1e-10)


def test_c84_maxrl_climbs_one_order_less():
    for size, p in itertools.product((2, 3, 5), (0.1, 0.5, 0.7)):
        score = {1: 1 / p, 0: -1 / (1 - p)}  # the mean score of right and wrong answers, in units of ∇p
        silent = blamed = whole = 0.0
        for rewards in itertools.product((0, 1), repeat=size):
            chance, mean = math.prod(p if r else 1 - p for r in rewards), sum(rewards) / size
            centred = sum((r - mean) / mean * score[r] for r in rewards) / size if mean else 0.0
            silent += chance * centred
            blamed += chance * (centred if mean else -score[0])
            whole += chance * (sum(r / mean * score[r] for r in rewards) / size if mean else 0.0)
        orders = [sum((1 - p) ** k for k in range(n)) for n in (size - 1, size)]
        assert silent == pytest.approx(orders[0], abs=1e-12)
        assert (blamed, whole) == pytest.approx((orders[1], orders[1]), abs=1e-12)
        assert pull(p, size, "maxrl").item() == pytest.approx(silent, rel=1e-10)


def standardised(values):
    values = np.asarray(values, float)
    differences = values - values.mean()
    return differences / values.std(ddof=1) if np.ptp(values) > 1e-9 else 0 * differences


def test_c85_normalised_alone_or_together():
    together, alone, again = set(), set(), set()
    listed = every_group(2, 4)
    assert (distinct(summed_first(listed)), distinct(normalised_first(listed))) == (51, 107)
    for first, second in itertools.product(itertools.product((0, 1), repeat=4), repeat=2):
        added = standardised(first) + standardised(second)
        for vectors, vector in ((together, standardised(np.add(first, second))), (alone, added)):
            vectors.add(tuple(vector.round(6) + 0.0))

        # the package adds 1e-4 to each spread; and GDPO's last division, over this prompt alone, makes some alike
        again.add(tuple(standardised(added).round(6) + 0.0))
        rewards = torch.tensor([[first], [second]], dtype=torch.float64)
        theirs = sum(group_advantages(each, "grpo") for each in rewards)[0]
        np.testing.assert_allclose(theirs.numpy(), added, atol=1e-3)
        np.testing.assert_allclose(gdpo_advantages(rewards)[0].numpy(), standardised(added), atol=1e-3)
    assert (len(together), len(alone), len(again)) == (51, 107, 75)


# the leash


THETA = np.array([1.0, 0.0, -0.5])
REFERENCE, OLD = (plain.softmax_rows(np.array(x)) for x in ([-0.5, 0.5, 0.0], [0.2, 0.5, 0.0]))
FORWARD, REVERSE = [0.4670, -0.2907, -0.1763], [0.4422, -0.2753, -0.1670]


def mean_slope(kind, weight):
    """The slope of Σ weight(π) · estimate, by central differences."""

    def total(theta):
        policy = plain.softmax_rows(theta)
        return float((weight(policy) * groups.KINDS[kind](np.log(REFERENCE / policy))).sum())

    return plain.slope_of(total, THETA)


def test_c14_one_decision():
    policy = plain.softmax_rows(THETA)
    assert groups.kl(policy, REFERENCE) == pytest.approx(0.4730, abs=5e-5)
    assert groups.kl(REFERENCE, policy) == pytest.approx(0.4115, abs=5e-5)
    forward = plain.slope_of(lambda theta: groups.kl(plain.softmax_rows(theta), REFERENCE), THETA)
    reverse = plain.slope_of(lambda theta: groups.kl(REFERENCE, plain.softmax_rows(theta)), THETA)
    assert forward == pytest.approx(FORWARD, abs=5e-5)
    assert reverse == pytest.approx(REVERSE, abs=5e-5)

    for kind, found in (("k1", [0, 0, 0]), ("k2", FORWARD), ("k3", REVERSE)):
        assert mean_slope(kind, lambda now: policy) == pytest.approx(found, abs=5e-5)
    # the ratio to what drew the samples, its gradient and all: π_old · (π / π_old) = π
    for kind, exact in (("k1", True), ("k2", False), ("k3", True)):
        weighed = mean_slope(kind, lambda now: OLD * (now / OLD))
        assert np.allclose(weighed, forward, atol=1e-8) is exact

        logits = torch.tensor(THETA, requires_grad=True)
        logs = logits.log_softmax(0), torch.tensor(np.log(REFERENCE)), torch.tensor(np.log(OLD))
        loss = torch.tensor(OLD) @ kl_estimate(logs[0], logs[1], kind, logp_old=logs[2])
        np.testing.assert_allclose(torch.autograd.grad(loss, logits)[0].numpy(), weighed, atol=1e-8)


@pytest.mark.parametrize(("drift", "by_token"), [(0.25, (0.065, 0.078)), (1.0, (0.218, 0.329))])
def test_c14_sequences(drift, by_token):
    generator = torch.Generator().manual_seed(0)
    start, direction = (torch.randn(85, 4, generator=generator).double().numpy() for _ in range(2))
    at, reference = start + drift * direction, groups.log_probs(WORLD, start)
    chances = np.exp(groups.log_probs(WORLD, at).sum(1))

    def divergence(logits, turned):
        both = np.exp(groups.log_probs(WORLD, logits).sum(1)), np.exp(reference.sum(1))
        return groups.kl(*(both[::-1] if turned else both))

    def apart(estimate, aim):
        return np.linalg.norm(plain.slope_of(estimate, at) - aim) / np.linalg.norm(aim)

    aims = [plain.slope_of(partial(divergence, turned=turned), at) for turned in (False, True)]
    for kind, aim, found in zip(("k2", "k3"), aims, by_token, strict=True):

        def estimate(logits, whole, kind=kind):
            d = reference - groups.log_probs(WORLD, logits)
            each = groups.KINDS[kind](d.sum(1)) if whole else (groups.KINDS[kind](d) * WORLD.mask).sum(1)
            return chances @ each

        assert apart(partial(estimate, whole=True), aim) < 1e-7
        assert apart(partial(estimate, whole=False), aim) == pytest.approx(found, abs=5e-4)

    def weighed(logits):  # each token's k3 with its ratio, samples fresh: as far off as k2
        now = groups.log_probs(WORLD, logits)
        each = np.exp(now - groups.log_probs(WORLD, at)) * groups.KINDS["k3"](reference - now) * WORLD.mask
        return chances @ each.sum(1)

    assert apart(weighed, aims[0]) == pytest.approx(by_token[0], abs=5e-4)


def test_c27_two_divergences():
    pays, start = np.array([0.0, 0.5, 1.0]), np.full(3, 1 / 3)

    def climbed(step_size, beta, steps):
        theta, largest = np.zeros(3), 0.0
        for _ in range(steps):
            p = plain.softmax_rows(theta)
            worth = pays - beta * np.log(p / start)
            theta = theta + step_size * p * (worth - p @ worth)
            largest = max(largest, groups.kl(p, plain.softmax_rows(theta)))
        return largest, groups.kl(plain.softmax_rows(theta), start)

    assert climbed(0.5, 0.0, 2000) == pytest.approx((0.0023, 1.0900), abs=5e-5)
    assert climbed(0.5, 0.5, 2000) == pytest.approx((0.0023, 0.2662), abs=5e-5)
    assert climbed(20.0, 0.5, 1) == pytest.approx((2.2710, 0.9395), abs=5e-5)


# the sampler, one try and many, entropy


def corrected(rule, sampler, floor, cap):
    """Bias in lengths of ∇J, trace and cosine of Σ w (R - J) s, sequences drawn from `sampler`."""
    scores, total = plain.scores_of(WORLD, HALF), WORLD.rewards.sum(1)
    chances, drawn = plain.chances_of(WORLD, HALF), plain.chances_of(WORLD, sampler)
    gaps = groups.log_probs(WORLD, HALF) - groups.log_probs(WORLD, sampler)
    token, lengths = np.exp(gaps), WORLD.mask.sum(1)
    whole = np.exp(gaps.sum(1))[:, None] + 0 * gaps
    mean = np.exp(gaps.sum(1) / lengths)[:, None] + 0 * gaps
    weights = {
        "none": np.ones_like(token),
        "token": np.minimum(token, cap),
        "token_mask": token * ((token >= floor) & (token <= cap)),
        "sequence": np.minimum(whole, cap),
        "sequence_mask": whole * ((whole >= floor) & (whole <= cap)),
        "geometric_mask": token * ((mean >= floor) & (mean <= cap)),
    }
    centred = (total - chances @ total)[:, None]
    found = plain.spread_of(drawn, scores, weights[rule] * centred)
    exact = plain.gradient_of(WORLD, HALF)
    return np.linalg.norm(found.mean - exact) / np.linalg.norm(exact), found.trace, plain.cosine(found.mean, exact)


@pytest.mark.parametrize(
    ("rule", "temperature", "floor", "cap", "found"),
    [
        ("none", 1.1, 0.0, math.inf, (0.1058, 0.2975)),
        ("token", 1.1, 0.0, 2.0, (0.0725, 0.2621)),
        ("token", 1.5, 0.0, 1.05, None),
        ("token_mask", 1.1, 0.5, 1.05, (0.4815, 0.2384)),
        ("sequence", 1.1, 0.0, math.inf, (0.0, 0.2448)),
        ("sequence", 1.5, 0.0, 1.2, None),
        ("sequence_mask", 1.5, 0.5, 1.5, None),
        ("geometric_mask", 1.1, 0.95, 1.05, (0.3337, 0.2080)),
    ],
)
def test_a_sampler_at_another_temperature(rule, temperature, floor, cap, found):
    mine = corrected(rule, HALF / temperature, floor, cap)
    if found:
        assert mine[:2] == pytest.approx(found, abs=6e-5)
    theirs = Mismatch(PACKAGED, POLICY).correction(hotter(POLICY, temperature), rule, cap, floor)
    assert (theirs.bias, theirs.trace, theirs.cosine) == pytest.approx(mine, abs=1e-8)


def test_what_whole_weights_leave_at_length():
    chances, sampler = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    weights = chances / sampler
    for length in (1, 3, 6):
        square = sum(
            math.prod(sampler[list(text)]) * math.prod(weights[list(text)]) ** 2
            for text in itertools.product(range(3), repeat=length)
        )
        assert effective_share(chances, sampler, length) == pytest.approx(1 / square, rel=1e-10)


def test_c86_one_try_and_many():
    def mean(share, k):
        rates = (0.9 * share + 0.3 * (1 - share), 0.3 * (1 - share))
        return sum(1 - (1 - rate) ** k for rate in rates) / 2

    for k, before, after in ((1, 0.375, 0.450), (2, 0.559, 0.495), (64, 1.00, 0.51)):
        assert (mean(0.5, k), mean(0.999, k)) == pytest.approx((before, after), abs=5e-3)
        theirs = pass_rate_of_k(shared_rates([0.5, 0.999]), k).mean(-1).tolist()
        assert theirs == pytest.approx([mean(0.5, k), mean(0.999, k)], rel=1e-10)

    for k, best in ((1, 1.0), (2, 0.467), (4, 0.172)):  # climbing pass@k keeps B from k = 2 on
        shares = np.linspace(0, 1, 10_001)
        assert shares[np.argmax(mean(shares, k))] == pytest.approx(best, abs=1e-3)
        end = next(itertools.islice(climb(k, step_size=20.0), 2000, None)).share
        assert end == pytest.approx(best, abs=5e-3)

    slope = (1 - (1 - 0.3001) ** 8 - 1 + (1 - 0.2999) ** 8) / 2e-4
    assert pass_at_k_weight(0.3, 8).item() == pytest.approx(slope, rel=1e-6)


def test_pass_at_k_by_every_set():
    for n, right, k in ((6, 2, 3), (5, 0, 2), (5, 4, 2), (7, 3, 7)):
        drawn = list(itertools.combinations(range(n), k))
        share = sum(min(each) < right for each in drawn) / len(drawn)  # the first `right` samples are right
        assert pass_at_k(n, right, k).item() == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_c88_what_a_step_does_to_the_entropy(seed):
    rng = np.random.default_rng(seed)
    theta, pays = 2 * rng.normal(size=5), rng.normal(size=5)
    p = plain.softmax_rows(theta)
    advantages = pays - p @ pays

    def entropy(logits):
        q = plain.softmax_rows(logits)
        return -float((q * np.log(q)).sum())

    for name, step in (("gradient", p * advantages), ("natural", advantages)):
        rate = (entropy(theta + 1e-6 * step) - entropy(theta - 1e-6 * step)) / 2e-6
        covariance = p @ (np.log(p) * step) - (p @ np.log(p)) * (p @ step)
        assert rate == pytest.approx(-covariance, abs=1e-8)
        assert entropy_slope(p, pays, name).item() == pytest.approx(-covariance, rel=1e-10)


@pytest.mark.parametrize("shared", [False, True])
def test_c90_a_baseline_for_every_place(shared):
    p, total, scores = plain.chances_of(WORLD, HALF), WORLD.rewards.sum(1), plain.scores_of(WORLD, HALF)
    own = (scores**2).sum(2)
    if shared:  # all rows move together
        scores = scores.reshape(*WORLD.mask.shape, 85, 4).sum(2)
    unit = (0.1 * np.linalg.norm(plain.gradient_of(WORLD, HALF))) ** 2

    def trace(baselines):
        return plain.spread_of(p, scores, np.where(WORLD.mask, total[:, None] - baselines, 0.0)).trace

    found = {}
    weights = {"mean": WORLD.mask * 1.0, "cumulative": own.cumsum(1) * WORLD.mask, "own": own}
    for rule, counted in weights.items():
        baselines = (p * total) @ counted / (p @ counted)
        found[rule] = trace(baselines)
        theirs = place_baselines(PACKAGED, POLICY, rule, shared)
        np.testing.assert_allclose(theirs.numpy(), baselines, atol=1e-12)
        moments = with_places(PACKAGED, POLICY, theirs, shared)
        assert moments.trace.item() == pytest.approx(found[rule], rel=1e-10)

    # the trace is a parabola in the four numbers: where its slope is 0 it is least
    best = place_baselines(PACKAGED, POLICY, "best", shared).numpy()
    assert np.abs(plain.slope_of(trace, best)).max() < 1e-8
    assert trace(best) <= min(found.values()) + 1e-12
    if not shared:
        needed = {rule: round(found[rule] / unit) for rule in weights}
        assert needed == {"mean": 3046, "cumulative": 2651, "own": 2602}
        assert trace(best) == pytest.approx(found["own"])
