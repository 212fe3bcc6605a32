"""Lesson 14's numbers found again, by other ways than the lesson's."""

import itertools
import math
from functools import cache

import pytest
import torch
from plain import softmax

from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world


def normal(x, mean=0.0, std=1.0):
    return math.exp(-0.5 * ((x - mean) / std) ** 2) / std / math.sqrt(2 * math.pi)


def average(of, step=0.01):
    """E[of(z)] for a normal z, by a plain sum."""
    count = round(9 / step)
    return sum(of(i * step) * normal(i * step) for i in range(-count, count + 1)) * step


def spread(of, step=0.01):
    """The mean and standard deviation of of(z)."""
    mean = average(of, step)
    return mean, math.sqrt(average(lambda z: of(z) ** 2, step) - mean**2)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


# 1 and 2: score and path


@pytest.mark.parametrize(
    ("tau", "score", "path", "exact"),
    [(0.75, 0.28, 0.09, 0.236), (3 / 32, 0.39, 0.71, 0.348), (3 / 256, 0.39, 2.2, 0.352)],
)
def test_the_softened_step(tau, score, path, exact):
    step = min(0.01, tau / 4)
    j = average(lambda z: sigmoid((0.5 + z) / tau), step)
    mean, noise = spread(lambda z: (sigmoid((0.5 + z) / tau) - j) * z, step)
    assert mean == pytest.approx(exact, abs=6e-4)
    assert noise == pytest.approx(score, abs=0.006)

    def slope(z):
        p = sigmoid((0.5 + z) / tau)
        return p * (1 - p) / tau

    mean, noise = spread(slope, step)
    assert mean == pytest.approx(exact, abs=6e-4)
    assert noise == pytest.approx(path, abs=0.05 if path > 1 else 0.006)


def test_the_step_itself():
    """0.352 is the density at the jump; the score's noise is 0.40."""
    assert normal(0.0, 0.5, 1.0) == pytest.approx(0.352, abs=5e-4)
    above = 0.5 * math.erfc(-0.5 / math.sqrt(2))
    fine = [(i + 0.5) * 1e-3 for i in range(-9000, 9000)]
    second = sum(((0.5 + z > 0) - above) ** 2 * z * z * normal(z) for z in fine) * 1e-3
    assert math.sqrt(second - normal(0.5) ** 2) == pytest.approx(0.40, abs=0.005)


def test_the_noises_cross_at_a_quarter_of_the_spread():
    def apart(tau):
        j = average(lambda z: sigmoid((0.5 + z) / tau))
        score = spread(lambda z: (sigmoid((0.5 + z) / tau) - j) * z)[1]
        return score - spread(lambda z: sigmoid((0.5 + z) / tau) * (1 - sigmoid((0.5 + z) / tau)) / tau)[1]

    assert apart(0.245) > 0 > apart(0.225)


@pytest.mark.parametrize(
    ("k", "path", "score"),
    [(1, 0.200, 0.335), (1.3, 0.562, 0.286), (2, 1.927, 0.429), (3, 4.499, 0.499), (10, 50.0, 0.5)],
)
def test_waves_in_closed_form(k, path, score):
    """E cos 2kz = e^(-2k²); E z² cos 2kz = (1 - 4k²) e^(-2k²); J = 0 and the gradient k e^(-k²/2)."""
    gradient = k * math.exp(-(k**2) / 2)
    assert k**2 / 2 * (1 + math.exp(-2 * k**2)) - gradient**2 == pytest.approx(path, abs=6e-4)
    assert (1 - (1 - 4 * k**2) * math.exp(-2 * k**2)) / 2 - gradient**2 == pytest.approx(score, abs=6e-4)


def test_waves_break_even_a_little_above_one():
    def apart(k):
        x = math.exp(-2 * k**2)
        return k**2 * (1 + x) - 1 + (1 - 4 * k**2) * x

    assert apart(1.08) < 0 < apart(1.15)
    assert 2 * math.pi / 1.11 == pytest.approx(6, abs=0.5)  # σ long


@pytest.mark.parametrize(("dims", "score"), [(1, 2.6), (10, 12.8), (100, 114.0), (1000, 1126.5)])
def test_many_coordinates(dims, score):
    """From the moments of one coordinate's x = r - E r = 2σz - σ²(z² - 1), at distance 1, σ = ½."""

    def x(z):
        return 2 * 0.5 * z - 0.25 * (z * z - 1)

    others, own = average(lambda z: x(z) ** 2), average(lambda z: x(z) ** 2 * z * z)
    second = ((dims - 1) * others + own) / 0.25
    assert second / 4 - 1 == pytest.approx(score, abs=0.06)
    mean, noise = spread(lambda z: -2 * (0.5 * z - 1))  # the path's
    assert (noise / mean) ** 2 == pytest.approx(0.25)


# 3: widths


@pytest.mark.parametrize(("std", "with_j", "without"), [(1.0, 18.0, 30.0), (0.1, 9.1, 115.1), (0.01, 108.0, 10114.0)])
def test_noise_is_blown_up(std, with_j, without):
    def estimate(z, baseline):
        return (-((std * z - 1) ** 2) - baseline) * z / std

    for baseline, wanted in ((-(1 + std**2), with_j), (0.0, without)):
        found = spread(lambda z, b=baseline: estimate(z, b))[1] ** 2 + 0.01 / std**2
        assert found == pytest.approx(wanted, rel=3e-3)


def test_the_bowl_s_two_slopes():
    """The path's: -2(z - 1) and -2(z - 1)z on average; J = -(μ-1)² - σ²."""
    found = average(lambda z: -2 * (z - 1)), average(lambda z: -2 * (z - 1) * z)
    assert found == pytest.approx((2.0, -2.0))
    assert found[0] / math.hypot(*found) == pytest.approx(0.71, abs=0.005)


def test_a_peak_s_spread_shrinks():
    mean, log_std, seen = 0.0, 0.0, {}
    for step in range(10_001):
        seen[step] = math.exp(log_std)
        wide, apart = 1 + math.exp(2 * log_std), mean - 2
        value = math.exp(-0.5 * apart**2 / wide) / math.sqrt(wide)
        slopes = -value * apart / wide, value * math.exp(2 * log_std) / wide * (apart**2 / wide - 1)
        mean, log_std = mean + 0.5 * slopes[0], log_std + 0.5 * slopes[1]
    assert [round(seen[n], 4) for n in (100, 1000, 10_000)] == [0.1082, 0.0319, 0.01]


def test_the_valley_s_best_widths():
    """In the turned axes H has 2(1 ∓ 0.95); σ² = α/2h there, α/2H_ii for the diagonal one."""
    along, across = 0.1 / (2 * 0.05), 0.1 / (2 * 1.95)
    assert (math.sqrt(along), round(math.sqrt(across), 2)) == (pytest.approx(1.0), 0.16)
    flat = 0.1 / 2
    assert math.sqrt(flat) == pytest.approx(0.22, abs=0.004)
    entropies = [math.log(2 * math.pi * math.e) + 0.5 * math.log(area) for area in (along * across, flat * flat)]
    assert entropies == pytest.approx([1.01, -0.16], abs=0.005)
    assert -(2 * 0.05 * along + 2 * 1.95 * across) == pytest.approx(-0.2)
    assert -(2 * flat + 2 * flat) == pytest.approx(-0.2)


def steps_until_near(condition, size, how):
    """One axis of curvature 0.1 and one of 0.1 · condition, α = 0.2; from μ = 1, σ = 2."""
    axes = [[1.0, 4.0, 0.1], [1.0, 4.0, 0.1 * condition]]
    for taken in range(12_000):
        nats = 0.0
        for mean, variance, h in axes:
            if variance <= 0:
                return math.inf
            ratio = variance * h / 0.1
            nats += 0.5 * (ratio - 1 - math.log(ratio)) + 0.5 * mean**2 * h / 0.1
        if nats < 0.01:
            return taken
        for axis in axes:
            mean, variance, h = axis
            if how == "plain":
                log_std = 0.5 * math.log(variance) + size * (0.2 - 2 * h * variance)
                axis[:2] = mean - size * 2 * h * mean, math.exp(2 * log_std)
            elif how == "covariance":
                axis[:2] = (
                    mean - size * variance * 2 * h * mean,
                    variance + size * (0.2 * variance - 2 * h * variance**2),
                )
            else:
                precision = (1 - 0.2 * size) / variance + 2 * size * h
                axis[:2] = mean - size * 2 * h * mean / precision, 1 / precision
    return math.inf


@pytest.mark.parametrize(
    ("condition", "plain", "covariance"), [(1, (4, 3.1012), (3, 1.1690)), (10, (28, 0.4406), (81, 0.1124)),
                                           (100, (207, 0.0515), (900, 0.0108)), (1000, (1654, 0.0060), (9433, 0.0010))]
)  # fmt: skip
def test_how_long_it_takes(condition, plain, covariance):
    grid = [10 ** (-4 + 5 * i / 59) for i in range(60)]
    for how, (steps, size) in (("plain", plain), ("covariance", covariance)):
        best = min(grid, key=lambda x: abs(x - size))
        assert steps_until_near(condition, best, how) == steps
        longer, shorter = grid[grid.index(best) + 1], grid[grid.index(best) - 1]  # its neighbours are no better
        assert min(steps_until_near(condition, longer, how), steps_until_near(condition, shorter, how)) >= steps
    assert [steps_until_near(condition, size, "precision") for size in (0.5, 1, 2, 4, 5)] == (
        [18, 9, 4, 2, 1] if condition == 1 else [19, 9, 4, 2, 1]
    )


# 4: long runs


def test_longer_runs_by_sampling_sums():
    """Of the bowl: r has mean -1.25; x = r + 1.25 = z - (z² - 1)/4; s = 2z; the gradient of a step is 2."""
    square, weighted, fourth = (
        average(of)
        for of in (
            lambda z: (z - (z * z - 1) / 4) ** 2,
            lambda z: (z - (z * z - 1) / 4) * 4 * z * z,
            lambda z: (z - (z * z - 1) / 4) ** 2 * 4 * z * z,
        )
    )

    def to_go(steps, mean):
        """Step by step: r + later rewards has a second moment with s², and subtracts g²."""
        total = 0.0
        for later in range(steps):
            shift = mean * (later + 1)  # of all rewards from here on
            total += fourth + 2 * shift * weighted + 4 * (shift**2 + later * square) - 4
        return total / (2 * steps) ** 2

    assert [round(to_go(t, 0.0), 2) for t in (1, 2, 5, 10, 20, 1000)] == [2.62, 1.59, 0.97, 0.77, 0.67, 0.56]
    assert [to_go(t, -1.25) for t in (1, 2, 5, 10, 20)] == pytest.approx([5.4, 4.5, 5.2, 7.5, 12.5], abs=0.05)
    assert square * 4 / 8 == pytest.approx(0.56, abs=0.005)  # the limit: half of the later rewards shake each score


@pytest.mark.parametrize(
    ("beta", "length", "cosine", "push"),
    [(0.5, 0.197, 0.291, -0.0225), (0.9, 0.247, 0.751, -0.0059), (0.99, 0.680, 0.995, 0.0581),
     (0.999, 0.954, 1.000, 0.0940), (0.9999, 0.995, 1.000, 0.0994)],
)  # fmt: skip
def test_the_sticky_door_by_hand(beta, length, cosine, push):
    """The rooms' values differ by 1/(1 - 0.98β); a push gains ±0.02 β of that and costs 0.2."""

    def gradient(gap):
        first, second = 0.02 * gap - 0.2, -0.02 * gap - 0.2  # a push's gain over waiting
        return [x / 8 for x in (-first, first, -second, second)]  # d = ½, π (1 - π) = ¼

    found, exact = gradient(beta / (1 - 0.98 * beta)), gradient(50.0)
    norm = math.dist(exact, [0] * 4), math.dist(found, [0] * 4)
    assert norm[1] / norm[0] == pytest.approx(length, abs=6e-4)
    assert sum(map(lambda a, b: a * b, found, exact)) / norm[0] / norm[1] == pytest.approx(cosine, abs=6e-4)
    assert found[1] == pytest.approx(push, abs=6e-5)
    assert exact[1] == pytest.approx(0.1)
    if beta == 0.999:  # "in proportion to it times the memory"
        assert math.dist(found, exact) / norm[0] == pytest.approx(50 * 0.001, rel=0.1)


# 5: without spread


def test_the_slope_of_a_sine_by_its_fourier_factor():
    found = [1.5 * math.cos(0.5) * math.exp(-(std**2) / 2) for std in (1.0, 0.3, 0.1, 0.01, 0.0)]
    assert found == pytest.approx([0.7984, 1.2585, 1.3098, 1.3163, 1.3164], abs=6e-5)


def test_a_ripple_leads_astray():
    """Climbing in steps of a ten-thousandth, from every hundredth."""

    def slope(a):
        return -2 * (a - 0.5) + 2 * math.cos(100 * a)

    missed = []
    for i in range(401):
        a = -2 + i / 100
        way = 1 if slope(a) > 0 else -1
        while slope(a) * way > 0:
            a += way * 1e-4
        missed.append(abs(a - 0.5))
    assert sum(x > 0.1 for x in missed) / 401 == pytest.approx(0.95, abs=0.01)
    assert sum(missed) / 401 == pytest.approx(0.73, abs=0.01)
    grid = [-2 + i * 1e-4 for i in range(40_001)]
    signs = [slope(a) > 0 for a in grid]
    assert sum(a and not b for a, b in itertools.pairwise(signs)) == 32
    assert sum((up == (a > 0.5)) for up, a in zip(signs, grid, strict=True)) / len(grid) == pytest.approx(
        0.16, abs=2e-3
    )
    truth = [-((a - 0.5) ** 2) for a in grid]
    mean = sum(truth) / len(truth)
    variance = sum((x - mean) ** 2 for x in truth) / len(truth)
    assert 1 - 0.0002 / variance == pytest.approx(0.99993, abs=6e-6)
    assert 2 * math.exp(-0.5 * 5**2) < 1e-5  # what is left of the ripple's slope under σ = 0.05


# 6: squashed


def squashed_entropy(std, mean=0.0):
    """Gaussian's plus E[log(1 - a²)], as 2 log 2 - 2 log(e^u + e^-u)."""
    step = min(0.01, 0.2 / std)
    expected = average(
        lambda z: math.log(4) - 2 * (abs(mean + std * z) + math.log1p(math.exp(-2 * abs(mean + std * z)))), step
    )
    return 0.5 * math.log(2 * math.pi * math.e) + math.log(std) + expected


def test_entropies_under_tanh():
    found = {std: squashed_entropy(std) for std in (0.5, 0.7, 0.87, 0.8745, 0.88, 1.0, 2.0, 3.0, 0.090, 2.92)}
    wanted = {0.5: 0.5, 0.7: 0.6505, 0.8745: 0.6836, 1.0: 0.6698, 2.0: -0.0012, 3.0: -1.0957}
    for std, nats in wanted.items():
        assert found[std] == pytest.approx(nats, abs=6e-5)
    assert max(found, key=found.get) == 0.8745
    assert found[0.090] == pytest.approx(-1, abs=0.01)
    assert found[2.92] == pytest.approx(-1, abs=0.001)


@pytest.mark.parametrize(("std", "share"), [(3.0, 0.62), (2.92, 0.61)])
def test_how_many_lie_at_the_ends(std, share):
    assert math.erfc(math.atanh(0.9) / std / math.sqrt(2)) == pytest.approx(share, abs=0.005)


def test_two_humps_begin_at_the_root_of_a_half():
    """log π(tanh u) = -u²/2σ² + 2 log cosh u + …: at u = 0 it bends by -1/σ² + 2."""
    assert -1 / 0.707**2 + 2 < 0 < -1 / 0.708**2 + 2


def text_list():
    """Symbols up to a stop, at most four, in the sum world: (text, pay)."""
    listed = []
    for length in range(5):
        for body in itertools.product((1, 2, 3), repeat=length):
            text = (*body, 0) if length < 4 else body
            listed.append((text, max(0.0, 1 - abs(sum(text) - 6) / 6) if text[-1] == 0 else 0.0))
    return listed


def entropy(chances):
    return -sum(p * math.log(p) for p in chances if p)


@pytest.mark.parametrize(
    ("alpha", "soft", "bonus"),
    [(0.05, (0.990, 2.346), (0.990, 2.332)), (0.2, (0.857, 3.536), (0.853, 3.524)),
     (0.5, (0.567, 4.459), (0.522, 4.067)), (1.0, (0.395, 4.715), (0.366, 3.947))],
)  # fmt: skip
def test_where_soft_goal_and_bonus_come_to_rest(alpha, soft, bonus):
    texts = text_list()
    assert len(texts) == 121
    weights = [math.exp(pay / alpha) for _, pay in texts]
    chances = [w / sum(weights) for w in weights]
    assert sum(p * pay for p, (_, pay) in zip(chances, texts, strict=True)) == pytest.approx(soft[0], abs=6e-4)
    assert entropy(chances) == pytest.approx(soft[1], abs=6e-4)

    pays = dict(texts)

    @cache
    def value(prefix):
        """(J, entropy) of the rest, where rows are soft in rewards alone."""
        if prefix in pays:
            return pays[prefix], 0.0
        after = [value((*prefix, symbol)) for symbol in range(4)]
        row = softmax([q / alpha for q, _ in after])
        return sum(p * q for p, (q, _) in zip(row, after, strict=True)), entropy(row) + sum(
            p * h for p, (_, h) in zip(row, after, strict=True)
        )

    assert value(()) == pytest.approx(bonus, abs=6e-4)


@pytest.mark.parametrize(("alpha", "cosine"), [(0.05, 0.947), (0.2, 0.448), (0.5, 0.536), (1.0, 0.609)])
def test_the_bonus_points_elsewhere(alpha, cosine):
    """Scores with R - α log π of the text, and with R plus the rows' own slopes."""
    *_, policy = itertools.islice(reinforce(sum_world(), Recipe(normalise=True), seed=0), 11)
    prefixes = [p for length in range(4) for p in itertools.product(range(4), repeat=length)]
    row = {prefix: i for i, prefix in enumerate(prefixes)}
    probs = [softmax(logits) for logits in policy.logits.tolist()]
    soft, bonus = torch.zeros(85, 4).double(), torch.zeros(85, 4).double()
    passed = dict.fromkeys(prefixes, 0.0)
    for text, pay in text_list():
        chance = math.prod(probs[row[text[:t]]][s] for t, s in enumerate(text))
        for t, symbol in enumerate(text):
            passed[text[:t]] += chance
            score = -torch.tensor(probs[row[text[:t]]]).double()
            score[symbol] += 1
            soft[row[text[:t]]] += chance * (pay - alpha * math.log(chance)) * score
            bonus[row[text[:t]]] += chance * pay * score
    for prefix, share in passed.items():
        p = torch.tensor(probs[row[prefix]]).double()
        bonus[row[prefix]] += alpha * share * -p * (p.log() - (p * p.log()).sum())
    found = (soft * bonus).sum() / soft.norm() / bonus.norm()
    assert found.item() == pytest.approx(cosine, abs=6e-4)


def test_the_icy_path():
    """All trajectories, weighed by e^(R/0.3); and both policies carried out."""
    alpha, moves = 0.3, {}
    for s, a in itertools.product(range(3), range(2)):
        left, right = max(s - 1, 0), min(s + 1, 2)
        meant, other = (right, left) if a else (left, right)
        moves[s, a] = {meant: 0.7, other: 0.3}

    @cache
    def soft(t, s):
        """V with four steps, by Bellman."""
        return alpha * math.log(sum(math.exp(q(t, s, a) / alpha) for a in range(2)))

    def q(t, s, a):
        return float(s == 2) + (0.0 if t == 3 else sum(p * soft(t + 1, n) for n, p in moves[s, a].items()))

    @cache
    def mass(t, s, a):
        """Σ over what follows of chance · e^(R/α), every action counted once."""
        pay = math.exp(float(s == 2) / alpha)
        if t == 3:
            return pay
        return pay * sum(p * (mass(t + 1, n, 0) + mass(t + 1, n, 1)) for n, p in moves[s, a].items())

    def plan(t, s, kind):
        weights = [math.exp(q(t, s, a) / alpha) if kind == "soft" else mass(t, s, a) for a in range(2)]
        return [w / sum(weights) for w in weights]

    def gets(kind, t=0, s=0):
        row = plan(t, s, kind)
        earned, nats = float(s == 2), entropy(row)
        if t < 3:
            for a, n in itertools.product(range(2), (0, 1, 2)):
                chance = row[a] * moves[s, a].get(n, 0.0)
                if chance:
                    more = gets(kind, t + 1, n)
                    earned, nats = earned + chance * more[0], nats + chance * more[1]
        return earned, nats

    assert gets("soft") == pytest.approx((0.76, 2.35), abs=0.005)
    assert gets("posterior") == pytest.approx((0.66, 2.59), abs=0.005)
    assert [sum(w * x for w, x in zip((1, alpha), gets(kind), strict=True)) for kind in ("posterior", "soft")] == (
        pytest.approx([1.440, 1.468], abs=6e-4)
    )
    assert plan(1, 1, "soft")[0] == pytest.approx(0.11, abs=0.005)
    assert plan(1, 1, "posterior")[0] == pytest.approx(0.30, abs=0.005)

    total = expected = right = slipped = 0.0
    for path in itertools.product(range(3), repeat=3):
        states = (0, *path)
        for actions in itertools.product(range(2), repeat=4):
            chance = math.prod(moves[states[t], actions[t]].get(states[t + 1], 0.0) for t in range(3))
            pay = sum(s == 2 for s in states)
            weight = chance * math.exp(pay / alpha)
            total, expected = total + weight, expected + weight * pay
            for t in range(3):
                right += weight * actions[t]
                slipped += weight * actions[t] * (states[t + 1] == max(states[t] - 1, 0))
    assert expected / total == pytest.approx(1.92, abs=0.005)
    assert slipped / right == pytest.approx(0.011, abs=5e-4)


# 7 and 8


def test_scores_of_clipped_actions():
    def clipped(z):
        return max(-1.0, min(1.0, 0.8 + 0.5 * z))

    j, fine = average(clipped, 1e-3), 1e-3
    assert average(lambda z: clipped(z) * z / 0.5, fine) == pytest.approx(0.655, abs=6e-4)
    assert average(lambda z: (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(-0.461, abs=6e-4)
    assert average(lambda z: clipped(z) * (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(0.194, abs=6e-4)
    assert average(lambda z: (clipped(z) - j) * (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(0.510, abs=6e-4)
    inside = 0.5 * (math.erf(0.4 / math.sqrt(2)) + math.erf(3.6 / math.sqrt(2)))
    assert inside == pytest.approx(0.655, abs=6e-4)  # the gradient: how often the action is not clipped


def trained(alpha, kind, steps=200):
    """SAC's actor by differences of what the program believes, on a grid of its own."""
    z = torch.linspace(-8, 8, 3201, dtype=torch.float64)
    weights = (-z * z / 2).exp()
    weights = weights / weights.sum()

    def slope(u):
        a = u.tanh()
        log_slope = math.log(4) - 2 * (u.abs() + torch.log1p((-2 * u.abs()).exp()))
        return {"right": log_slope, "none": 0 * u, "sign": -log_slope, "twice": torch.log(1 - a.tanh() ** 2)}[kind]

    place = torch.zeros(2, dtype=torch.float64)
    for _ in range(steps):
        leaf = place.clone().requires_grad_()
        u = leaf[0] + leaf[1].exp() * z
        believed = weights @ (-((u.tanh() - 0.2) ** 2)) + alpha * (leaf[1] + weights @ slope(u))
        believed.backward()
        place = place + 0.2 * leaf.grad
        place[1] = place[1].clamp(-5, 2)
    u = place[0] + place[1].exp() * z
    reward = (weights @ (-((u.tanh() - 0.2) ** 2))).item()
    reported = 0.5 * math.log(2 * math.pi * math.e) + place[1].item() + (weights @ slope(u)).item()
    return place[0].item(), place[1].exp().item(), reward, reported


@pytest.mark.parametrize(
    ("alpha", "kind", "wanted"),
    [
        (0.5, "right", (0.19, 0.54, -0.19, 0.51)),
        (0.5, "none", (2.21, 7.39, -0.84, 3.42)),
        (0.5, "twice", (1.07, 2.65, -0.66, 1.75)),
        (0.3, "right", (0.21, 0.43, -0.13, 0.36)),
        (0.3, "none", (0.50, 0.77, -0.28, 1.16)),
        (0.3, "twice", (0.26, 0.50, -0.16, 0.53)),
    ],
)
def test_the_four_programs(alpha, kind, wanted):
    assert trained(alpha, kind) == pytest.approx(wanted, abs=0.006)


def test_the_one_with_the_wrong_sign_runs_away():
    assert trained(0.5, "sign", 10)[1] == pytest.approx(math.exp(2))  # at the bound within ten steps
    assert trained(0.5, "sign")[3] > 40


def test_at_the_ends_without_the_determinant():
    mean, std = 2.21, 7.389
    share = 0.5 * sum(math.erfc((math.atanh(0.9) - side * mean) / std / math.sqrt(2)) for side in (1, -1))
    assert share == pytest.approx(0.85, abs=0.005)


def test_small_things():
    assert math.log(1 - math.tanh(1) ** 2) == pytest.approx(-0.87, abs=0.005)  # tanh twice never takes more
    assert math.log(2) == pytest.approx(0.693, abs=5e-4)
    assert math.log(1e-6) == pytest.approx(-13.8155, abs=6e-5)
    assert math.log(4) - 2 * 10 - 2 * math.log1p(math.exp(-20)) == pytest.approx(-18.6137, abs=6e-5)
