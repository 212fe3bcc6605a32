"""The regulator's exact numbers, by simulation, by finite differences and by the recursion of its variance."""

import math

import pytest
import torch

from pgnotes.theory.regulator import HOW, Regulator

WORLDS = [Regulator(), Regulator(noise=0.3, effort=2.0), Regulator(noise=1e-4, effort=0.05)]
POLICIES = [(0.3, 1.0), (0.8, 0.1), (1.4, 0.5)]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("gain", "std"), POLICIES)
def test_reward_and_gradient_against_the_variance_step_by_step(world, gain, std):
    def by_steps(gain, std):
        x2 = 0.0
        for _ in range(2000):
            x2 = (1 - gain) ** 2 * x2 + std**2 + world.noise
        return -x2 - world.effort * (gain**2 * x2 + std**2)

    assert world.mean_reward(gain, std) == pytest.approx(by_steps(gain, std), rel=1e-9)
    small = 1e-5
    by_gain = (by_steps(gain + small, std) - by_steps(gain - small, std)) / (2 * small)
    by_std = (by_steps(gain, std + small) - by_steps(gain, std - small)) / (2 * small)
    assert world.gradient(gain, std) == pytest.approx((by_gain, by_std), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("gain", "std"), POLICIES)
def test_spread_fisher_and_reward_against_a_simulation(gain, std):
    world, generator = WORLDS[1], torch.Generator().manual_seed(0)
    x = torch.zeros(200_000, dtype=torch.float64)
    for _ in range(60):
        z, e = torch.randn(2, len(x), generator=generator, dtype=torch.float64)
        action = -gain * x + std * z
        before, x = x, x + action + math.sqrt(world.noise) * e
    assert before.square().mean().item() == pytest.approx(world.spread(gain, std), rel=0.02)
    paid = -(before**2) - world.effort * action**2
    assert paid.mean().item() == pytest.approx(world.mean_reward(gain, std), rel=0.02)

    scores = torch.stack([-before * z / std, (z**2 - 1) / std])
    information = scores @ scores.T / len(x)
    assert information.diagonal().tolist() == pytest.approx(world.fisher(gain, std), rel=0.03)
    assert abs(information[0, 1].item()) < 0.02 * max(world.fisher(gain, std))


@pytest.mark.parametrize("world", WORLDS)
def test_the_best_gain_has_no_slope_and_is_the_best_of_a_grid(world):
    best = world.best_gain()
    assert world.gradient(best, 1e-3)[0] == pytest.approx(0, abs=1e-9)
    assert all(world.mean_reward(best, 0.1) >= world.mean_reward(i / 100, 0.1) for i in range(1, 200))


def test_the_natural_path_knows_neither_the_world_s_noise_nor_its_own_start():
    ends = [
        list(world.path("natural", 0.3, std, 0.8))[-1]
        for world in (Regulator(), Regulator(noise=5.0))
        for std in (1.0, 0.2)
    ]
    shares = [std / start for (_, std), start in zip(ends, (1.0, 0.2, 1.0, 0.2), strict=True)]
    assert shares == pytest.approx([shares[0]] * 4, rel=1e-9)


def test_lesson_14_s_table():
    """By another way: σ as a function of the gain, integrated over the gain."""
    best = Regulator().best_gain()
    assert best == pytest.approx(0.828, abs=5e-4)
    for how, expected in (("log std", 0.121), ("natural", 0.243)):
        log_std, grid = 0.0, 50_000
        for i in range(grid):
            by_gain, by_std = Regulator().direction(gain := 0.3 + 0.5 * (i + 0.5) / grid, std := math.exp(log_std), how)
            log_std += by_std / std / by_gain * 0.5 / grid
            assert gain < best
        assert math.exp(log_std) == pytest.approx(expected, abs=6e-4)
        assert list(Regulator().path(how, 0.3, 1.0, 0.8))[-1][1] == pytest.approx(expected, abs=1.2e-3)
    lost = list(Regulator().path("plain", 0.3, 1.0, 0.8))[-1]
    assert lost[1] < 1e-4
    assert lost[0] == pytest.approx(0.61, abs=0.005)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Regulator(noise=0.0), "noise"),
        (lambda: Regulator(effort=-1.0), "effort"),
        (lambda: Regulator().spread(2.0, 1.0), "gain"),
        (lambda: Regulator().spread(0.5, 0.0), "std"),
        (lambda: Regulator().direction(0.5, 1.0, "fast"), "how"),
    ],
)
def test_bad_input(call, word):
    with pytest.raises(ValueError, match=word):
        call()
    assert HOW == ("plain", "log std", "natural")
