"""Numbers of lesson 14's sections 1 to 5 found again, by other ways than the lesson's."""

import itertools
import math

import pytest
from plain import average, normal


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


def steps_until_near(condition, size, how, std=2.0):
    """One axis of curvature 0.1 and one of 0.1 · condition, α = 0.2; from μ = 1."""
    axes = [[1.0, std**2, 0.1], [1.0, std**2, 0.1 * condition]]
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


@pytest.mark.parametrize(("condition", "plain", "covariance"), [(1, 4, 7), (10, 26, 8), (100, 229, 8), (1000, 2385, 9)])
def test_from_a_narrow_start_the_order_is_another(condition, plain, covariance):
    sizes = [10 ** (-4 + 5 * i / 59) for i in range(60)]
    assert min(steps_until_near(condition, size, "covariance", 0.03) for size in sizes if size > 0.5) == covariance
    assert min(steps_until_near(condition, size, "precision", 0.03) for size in sizes if size > 2) == 4
    stable = [size for size in sizes if 0.2 < size * condition < 10]
    assert min(steps_until_near(condition, size, "plain", 0.03) for size in stable) == plain


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


@pytest.mark.parametrize(("steps", "noise"), [(1, 0.57), (2, 2.36)])
def test_a_run_that_is_paid_if_all_went_right(steps, noise):
    """By a sum over a grid of all actions."""
    line = [(i + 0.5) / 50 for i in range(-350, 350)]
    chance = 0.5**steps
    first = second = 0.0
    for z in itertools.product(line, repeat=steps):
        estimate = ((min(z) > 0) - chance) * sum(z)
        weight = math.prod(map(normal, z)) / 50**steps
        first, second = first + weight * estimate, second + weight * estimate**2
    assert second / first**2 - 1 == pytest.approx(noise, abs=0.01)


def test_a_long_run_that_is_paid_if_all_went_right():
    """Conditioned on how many actions are above 0, of which only all of them is paid; ten steps."""
    mean, square, t = 2 * normal(0.0), 1.0, 10  # of |z|
    p = 0.5**t
    if_paid = t * square + t * (t - 1) * mean**2
    gradient = p * t * mean
    second = p * (1 - p) ** 2 * if_paid + p**2 * (t - p * if_paid)
    assert second / gradient**2 - 1 == pytest.approx(1079.49, abs=0.01)


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
