"""SAC's actor on one state: its gradients against differences, its ends against a grid, its programs against sums."""

import math
from itertools import islice

import pytest
import torch
from plain import seeded

from pgnotes.theory.continuous import Squashed
from pgnotes.theory.squashed_actor import CORRECTIONS, MOST, actor_ascent, counted_entropy


def pays(a):
    return -((a - 0.2) ** 2)


def drawn(mean, std, n=400_000):
    u = mean + std * torch.randn(n, dtype=torch.float64, generator=seeded())
    return u, u.tanh()


@pytest.mark.parametrize("kind", CORRECTIONS)
def test_what_a_program_counts_is_the_mean_over_samples(kind):
    mean, std = 0.4, 0.9
    u, a = drawn(mean, std)
    logs = -0.5 * ((u - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
    taken = {"right": 1 - a**2, "none": torch.ones_like(a), "sign": 1 / (1 - a**2), "twice": 1 - a.tanh() ** 2}[kind]
    surprise = -(logs - taken.log())
    found = counted_entropy(torch.tensor(mean).double(), torch.tensor(std).double(), kind)
    assert found.item() == pytest.approx(surprise.mean().item(), abs=5 * surprise.std().item() / len(u) ** 0.5)


@pytest.mark.parametrize("kind", CORRECTIONS)
def test_a_step_goes_up_what_the_program_believes(kind):
    """The slopes by differences of reward and counted entropy, both by samples with common noise."""
    start, h, size = (0.3, 0.8), 1e-4, 0.05
    z = torch.linspace(-9, 9, 6001, dtype=torch.float64)
    weights = (-0.5 * z * z).exp() / (-0.5 * z * z).exp().sum()

    def believed(mean, log_std):
        std = math.exp(log_std)
        u = mean + std * z
        slope = {
            "right": 1 - u.tanh() ** 2,
            "none": torch.ones_like(u),
            "sign": 1 / (1 - u.tanh() ** 2),
            "twice": 1 - u.tanh().tanh() ** 2,
        }[kind]
        entropy = log_std + 0.5 * math.log(2 * math.pi * math.e) + weights @ slope.log()
        return (weights @ pays(u.tanh()) + 0.4 * entropy).item()

    place = (start[0], math.log(start[1]))
    slopes = []
    for k in range(2):
        up, down = ([x + side * h * (i == k) for i, x in enumerate(place)] for side in (1, -1))
        slopes.append((believed(*up) - believed(*down)) / (2 * h))
    first, second = islice(actor_ascent(pays, 0.4, kind, size, *start), 2)
    assert (first.mean, first.std) == pytest.approx(start)
    assert second.mean - first.mean == pytest.approx(size * slopes[0], rel=1e-5)
    assert math.log(second.std / first.std) == pytest.approx(size * slopes[1], rel=1e-5)


def test_the_right_one_ends_at_the_best_of_a_grid():
    end = next(islice(actor_ascent(pays, 0.5, step_size=0.3), 150, None))
    best = end.reward + 0.5 * end.entropy
    u, a = drawn(end.mean, end.std)
    assert end.reward == pytest.approx(pays(a).mean().item(), abs=0.002)
    assert (
        end.reported == end.entropy == pytest.approx(-Squashed(end.mean, end.std).log_prob(u).mean().item(), abs=0.01)
    )
    for mean in (-0.2, 0.0, 0.1, 0.186, 0.3, 0.6):
        for std in (0.2, 0.4, 0.54, 0.7, 1.0, 2.0, 5.0):
            other = next(actor_ascent(pays, 0.5, mean=mean, std=std))
            assert other.reward + 0.5 * other.entropy <= best + 1e-6


def test_the_spread_stops_at_the_bound():
    end = next(islice(actor_ascent(pays, 0.5, "none", 0.5), 80, None))
    assert end.std == pytest.approx(math.exp(MOST))
    assert end.reported == pytest.approx(0.5 * math.log(2 * math.pi * math.e) + MOST)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("kind", lambda: next(actor_ascent(pays, 0.5, "wrong"))),
        ("bonus", lambda: next(actor_ascent(pays, 0.0))),
        ("step_size", lambda: next(actor_ascent(pays, 0.5, step_size=0.0))),
        ("mean", lambda: next(actor_ascent(pays, 0.5, mean=math.inf))),
        ("std", lambda: next(actor_ascent(pays, 0.5, std=0.0))),
        ("reward", lambda: next(actor_ascent(3, 0.5))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
