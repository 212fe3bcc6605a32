"""Score and path: their moments against sampling, closed forms and another quadrature."""

import math

import pytest
import torch
from plain import CLOSE, seeded

from pgnotes.theory.pathwise import (
    distance_noise,
    gaussian_mean,
    path_moments,
    quadrature,
    score_moments,
    step_moments,
)

SMOOTH = [torch.sin, torch.sigmoid, lambda a: -((a - 1) ** 2), lambda a: torch.tanh(3 * a) + 0.2 * a]
POLICIES = [(0.5, 1.0), (-1.0, 0.3), (2.0, 1.7)]


def simpson(of, low=-9.0, high=9.0, pieces=20_000):
    """∫ of(z) φ(z) dz by Simpson's rule, which shares nothing with the trapezoidal one's weights."""
    z = torch.linspace(low, high, 2 * pieces + 1, dtype=torch.float64)
    weights = torch.ones_like(z)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    values = of(z) * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return (weights * values).sum().item() * (high - low) / (2 * pieces) / 3


def slope(reward, a):
    """By a central difference."""
    return (reward(a + 1e-5) - reward(a - 1e-5)) / 2e-5


def test_the_powers_of_a_normal_number_average_to_what_they_should():
    z, weights = quadrature()
    found = [(weights @ z**k).item() for k in range(9)]
    assert found == pytest.approx([1, 0, 1, 0, 3, 0, 15, 0, 105], abs=1e-12)
    assert (weights @ z.cos()).item() == pytest.approx(math.exp(-0.5), abs=1e-14)
    assert quadrature(2001)[0][1] - quadrature(2001)[0][0] == pytest.approx(0.01)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
@pytest.mark.parametrize("reward", SMOOTH)
def test_on_smooth_rewards_both_means_are_the_gradient(reward, mean, std):
    score, path = score_moments(reward, mean, std, 0.7), path_moments(reward, mean, std)
    torch.testing.assert_close(score.mean, path.mean, rtol=1e-10, atol=1e-10)
    h = 1e-4
    by_mean = (gaussian_mean(reward, mean + h, std) - gaussian_mean(reward, mean - h, std)) / (2 * h)
    by_log_std = (gaussian_mean(reward, mean, std * math.exp(h)) - gaussian_mean(reward, mean, std / math.exp(h))) / (
        2 * h
    )
    assert score.mean.tolist() == pytest.approx([by_mean, by_log_std], rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
@pytest.mark.parametrize("reward", SMOOTH)
def test_the_moments_are_simpson_s(reward, mean, std):
    baseline = 0.3
    score, path = score_moments(reward, mean, std, baseline), path_moments(reward, mean, std)
    estimates = {
        "score": [
            lambda z: (reward(mean + std * z) - baseline) * z / std,
            lambda z: (reward(mean + std * z) - baseline) * (z * z - 1),
        ],
        "path": [lambda z: slope(reward, mean + std * z), lambda z: slope(reward, mean + std * z) * std * z],
    }
    for moments, (first, second) in zip((score, path), estimates.values(), strict=True):
        means = [simpson(first), simpson(second)]
        assert moments.mean.tolist() == pytest.approx(means, rel=1e-8, abs=1e-8)
        for (i, a), (j, b) in (((0, first), (0, first)), ((0, first), (1, second)), ((1, second), (1, second))):
            wanted = simpson(lambda z, a=a, b=b: a(z) * b(z)) - means[i] * means[j]
            assert moments.covariance[i, j].item() == pytest.approx(wanted, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", ["score", "path"])
def test_the_moments_are_what_samples_have(kind):
    n, mean, std = 400_000, 0.5, 0.8
    z = torch.randn(n, dtype=torch.float64, generator=seeded())
    a = mean + std * z
    if kind == "score":
        drawn = (a.sigmoid() - 0.6)[:, None] * torch.stack([(a - mean) / std**2, (a - mean) ** 2 / std**2 - 1], 1)
        exact = score_moments(torch.sigmoid, mean, std, 0.6)
    else:
        slopes = a.sigmoid() * (1 - a.sigmoid())
        drawn = torch.stack([slopes, slopes * (a - mean)], 1)
        exact = path_moments(torch.sigmoid, mean, std)
    error = drawn.std(0) / n**0.5
    assert ((drawn.mean(0) - exact.mean).abs() < 4 * error).all()
    torch.testing.assert_close(torch.cov(drawn.T), exact.covariance, rtol=0.03, atol=2e-4)


@pytest.mark.parametrize("baseline", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_a_step_s_moments_are_those_of_samples(mean, std, baseline):
    n = 400_000
    z = torch.randn(n, dtype=torch.float64, generator=seeded(1))
    paid = (mean + std * z > 0).double() - baseline
    drawn = paid[:, None] * torch.stack([z / std, z * z - 1], 1)
    exact = step_moments(mean, std, baseline)
    assert ((drawn.mean(0) - exact.mean).abs() < 4 * drawn.std(0) / n**0.5 + 1e-9).all()
    torch.testing.assert_close(torch.cov(drawn.T), exact.covariance, rtol=0.03, atol=0.02)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_a_step_is_where_ever_steeper_rewards_lead(mean, std):
    """The score's moments converge; the path's mean converges to the same gradient, and its variance to nothing."""
    step = step_moments(mean, std, 0.3)
    soft = score_moments(lambda a: torch.sigmoid(a / 1e-3), mean, std, 0.3, n=200_001)
    torch.testing.assert_close(soft.mean, step.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(soft.covariance, step.covariance, rtol=1e-2, atol=2e-3)
    noises = [
        path_moments(lambda a, t=t: torch.sigmoid(a / t), mean, std, n=200_001).covariance[0, 0] for t in (0.01, 0.001)
    ]
    assert noises[1] > 9 * noises[0] * (noises[0] > 1e-3)


def test_the_path_sees_no_jump():
    found = path_moments(lambda a: (a > 0).double(), 0.5, 1.0)
    assert found.mean.tolist() == [0, 0]
    assert not found.covariance.any()
    with_slope = path_moments(lambda a: (a > 0).double() + 2 * a, 0.5, 1.0)
    torch.testing.assert_close(with_slope.mean[0], torch.tensor(2.0).double(), **CLOSE)


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_distance_s_noise_is_that_of_samples(dims):
    n, distance, std = 400_000, 1.5, 0.7
    z = torch.randn(n, dims, dtype=torch.float64, generator=seeded(2))
    rewards = -((std * z - distance) ** 2).sum(1)
    expected = -dims * (distance**2 + std**2)
    score = (rewards - expected) * z[:, 0] / std
    path = -2 * (std * z[:, 0] - distance)
    for drawn, exact in zip((score, path), distance_noise(dims, distance, std), strict=True):
        assert drawn.mean().item() == pytest.approx(2 * distance, abs=5 * drawn.std().item() / n**0.5)
        assert (drawn.var() / (2 * distance) ** 2).item() == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("n", lambda: quadrature(20)),
        ("mean", lambda: gaussian_mean(torch.sin, math.nan, 1.0)),
        ("std", lambda: score_moments(torch.sin, 0.0, 0.0)),
        ("baseline", lambda: score_moments(torch.sin, 0.0, 1.0, math.inf)),
        ("reward", lambda: path_moments(3, 0.0, 1.0)),
        ("reward's result", lambda: path_moments(lambda a: a.sum(), 0.0, 1.0)),
        ("reward's result", lambda: gaussian_mean(lambda a: a / 0, 0.0, 1.0)),
        ("std", lambda: step_moments(0.0, -1.0)),
        ("dims", lambda: distance_noise(0, 1.0, 1.0)),
        ("distance", lambda: distance_noise(1, 0.0, 1.0)),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
