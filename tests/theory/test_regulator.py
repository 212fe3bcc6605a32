"""The regulator's exact numbers, by simulation, by finite differences and by the recursion of its variance."""

import math

import pytest
import torch

from pgnotes.theory.regulator import Regulator

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


def width_at(world, how, start, goal):
    """σ as a function of the gain, integrated over the gain: another way to it than small steps."""
    log_std, grid = math.log(start), 20_000
    for i in range(grid):
        std = math.exp(log_std)
        by_gain, by_std = world.direction(0.3 + (goal - 0.3) * (i + 0.5) / grid, std, how)
        log_std += by_std / std / by_gain * (goal - 0.3) / grid
        if log_std < math.log(1e-4 * start):
            return 0.0
    return math.exp(log_std)


NATURAL = (0.8036, 0.6764, 0.5119, 0.2430)
LOUD = (0.9752, 0.9526, 0.9158, 0.8295)


@pytest.mark.parametrize(
    ("noise", "start", "how", "shares"),
    [
        (0.01, 1.0, "plain", (0.6650, 0.0029, 0, 0)),
        (0.01, 1.0, "log std", (0.7564, 0.5779, 0.3620, 0.1206)),
        (0.01, 1.0, "natural", NATURAL),
        (0.1, 0.3, "plain", (0.0922, 0.0059, 0, 0)),
        (0.1, 0.3, "log std", (0.8824, 0.7934, 0.6765, 0.4915)),
        (0.1, 0.3, "natural", NATURAL),
        (10.0, 1.0, "plain", (0.9745, 0.9503, 0.9083, 0.7968)),
        (10.0, 1.0, "log std", LOUD),
        (10.0, 1.0, "natural", NATURAL),
        (0.01, 10**-1.5, "plain", (0, 0, 0, 0)),
        (0.01, 10**-1.5, "log std", LOUD),
        (0.01, 10**-1.5, "natural", NATURAL),
    ],
)
def test_lesson_14_s_table(noise, start, how, shares):
    """The last world is the one before it, in a unit of length √1000 times as long."""
    goals = (0.5, 0.6, 0.7, 0.8)
    by_gain = [width_at(Regulator(noise), how, start, goal) / start for goal in goals]
    assert by_gain == pytest.approx(shares, abs=1e-4)
    walked = [width / start for width in Regulator(noise).widths(how, 0.3, start, goals)]
    assert walked == pytest.approx(by_gain, abs=6e-4)


@pytest.mark.parametrize(("gain", "std"), [(0.3, 1.0), (0.7, 0.2)])
def test_lesson_14_s_two_functions_of_the_gain(gain, std):
    """f and g for an effort of 1/4, and what they make of the natural path: σ² ∝ 1 - k - k²/4."""
    world = Regulator(0.1)
    f = 2 * (1 - gain - gain**2 / 4) / (gain * (2 - gain))
    g = (2 + gain) / (gain * (2 - gain))
    assert world.gradient(gain, std) == pytest.approx((world.spread(gain, std) * f, -std * g))
    assert world.direction(gain, std, "natural") == pytest.approx((std**2 * f, -(std**3) * g / 2))
    (width,) = world.widths("natural", 0.3, std, (0.8,))
    assert width / std == pytest.approx(math.sqrt((1 - 0.8 - 0.16) / (1 - 0.3 - 0.0225)), abs=1e-3)


@pytest.mark.parametrize(("noise", "std"), [(0.01, 1.0), (0.1, 0.3), (10.0, 1.0), (0.01, 0.0316)])
def test_per_step_of_gain_the_natural_gradient_keeps_more_than_log_std_where_the_states_are_near(noise, std):
    world, seen = Regulator(noise), []
    for gain, width in world.path("log std", 0.3, std, 0.8):
        lost = {}
        for how in ("log std", "natural"):
            by_gain, by_std = world.direction(gain, width, how)
            lost[how] = -by_std / width / by_gain
        seen.append(lost["natural"] < lost["log std"])
        assert seen[-1] == (world.spread(gain, width) < 2 * width**2)
    assert set(seen) == {(noise, std) == (0.01, 1.0)}


def test_a_narrow_policy_s_estimates_are_noisy_as_the_world_s_noise_over_its_width():
    """One step's estimate of ∂J/∂gain with the exact critic, its noise over the gradient: as √w/σ."""
    generator, gain = torch.Generator().manual_seed(0), 0.6
    z, e, x = torch.randn(3, 200_000, generator=generator, dtype=torch.float64)

    def noise_over_signal(noise, std):
        world = Regulator(noise)
        before = x * math.sqrt(world.spread(gain, std))
        action = -gain * before + std * z
        after = before + action + math.sqrt(noise) * e
        price = (1 + world.effort * gain**2) / (1 - (1 - gain) ** 2)  # of a squared state, in all that follows
        paid = -(before**2) - world.effort * action**2 - world.mean_reward(gain, std)
        estimate = -before * z / std * (paid - price * after**2 + price * before**2)
        assert abs(estimate.mean() - world.gradient(gain, std)[0]) < 5 * estimate.std() / math.sqrt(len(x))
        return (estimate.std() / world.gradient(gain, std)[0]).item()

    found = {(w, std): noise_over_signal(w, std) for w in (0.1, 10.0) for std in (0.01, 0.001)}
    shares = [value * std / math.sqrt(w) for (w, std), value in found.items()]
    assert shares == pytest.approx([shares[0]] * 4, rel=0.03)


def test_where_the_width_is_gone():
    ends = [
        list(Regulator(noise).path("plain", 0.3, start, 0.8))[-1] for noise, start in ((0.01, 1), (0.1, 1), (0.1, 0.3))
    ]
    assert all(std < 1e-4 * start for (_, std), start in zip(ends, (1, 1, 0.3), strict=True))
    assert [gain for gain, _ in ends] == pytest.approx([0.609, 0.743, 0.687], abs=0.001)
    assert Regulator().best_gain() == pytest.approx(0.828, abs=5e-4)


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
