"""A reward with a peak: its expectation against quadrature, its slopes against autograd and the score."""

import math
from itertools import islice

import pytest
import torch
from plain import CLOSE

from pgnotes.theory.continuous import Peak, gaussian_ascent
from pgnotes.theory.policies import GaussianPolicy

WORLD = Peak(centre=0.7, width=0.8)
POLICIES = [(0.0, 1.0), (0.7, 0.3), (2.5, 2.0), (-1.0, 0.1)]


def quadrature(mean, std, of):
    """E[of(a)] under a Gaussian, on a fine grid."""
    a = torch.linspace(mean - 12 * std, mean + 12 * std, 200_001, dtype=torch.float64)
    density = (-0.5 * ((a - mean) / std) ** 2).exp() / (std * math.sqrt(2 * math.pi))
    return torch.trapezoid(density * of(a), a)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_the_expected_reward_is_the_integral_s(mean, std):
    wanted = quadrature(mean, std, lambda a: torch.exp(-((a - 0.7) ** 2) / (2 * 0.64)))
    torch.testing.assert_close(WORLD.expected_return(GaussianPolicy(mean, std)), wanted, **CLOSE)


@pytest.mark.parametrize(("mean", "std"), POLICIES)
def test_the_slopes_are_autograd_s_and_reward_times_score_s(mean, std):
    mu, log_std = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (mean, math.log(std)))
    by_autograd = torch.autograd.grad(WORLD.expected_return(GaussianPolicy(mu, log_std.exp())), (mu, log_std))
    policy = GaussianPolicy(mean, std)
    for i, slope in enumerate(WORLD.slopes(mean, std)):
        assert slope == pytest.approx(by_autograd[i].item(), rel=1e-10, abs=1e-12)
        scored = quadrature(mean, std, lambda a, i=i: WORLD.rewards(a) * policy.score(a)[:, i])
        assert slope == pytest.approx(scored.item(), rel=1e-8, abs=1e-10)


def test_around_its_peak_the_spread_shrinks_to_nothing():
    """At every spread, and to any: of a mean that has arrived."""
    assert all(WORLD.slopes(0.7, std)[1] < 0 for std in (1e-3, 0.1, 1.0, 10.0))
    spreads = [std for _, std in islice(gaussian_ascent(WORLD, GaussianPolicy(0.7, 1.0), 1.0), 2000)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.03


def test_away_from_the_peak_it_grows_first():
    spreads = [std for _, std in islice(gaussian_ascent(Peak(3.0), GaussianPolicy(0.0, 0.5), 1.0), 300)]
    assert max(spreads) > 1.0
    assert spreads[-1] < 0.2


@pytest.mark.parametrize("bonus", [0.01, 0.1])
def test_a_bonus_keeps_a_spread(bonus):
    """Where σ² / (1 + σ²)^1.5 = bonus, the slope of J by log σ and the bonus cancel."""
    mean, std = next(islice(gaussian_ascent(Peak(), GaussianPolicy(0.0, 1.0), 0.5, bonus), 5000, None))
    assert mean == 0
    assert std**2 / (1 + std**2) ** 1.5 == pytest.approx(bonus, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("centre", lambda: Peak(centre=math.nan)),
        ("width", lambda: Peak(width=0)),
        ("step_size", lambda: next(gaussian_ascent(Peak(), GaussianPolicy(0, 1), 0.0))),
        ("bonus", lambda: next(gaussian_ascent(Peak(), GaussianPolicy(0, 1), 1.0, -1.0))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
