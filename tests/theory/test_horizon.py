"""The noise of long runs: against sampling, and against a sum over all products."""

import itertools

import pytest
import torch
from plain import seeded

from pgnotes.theory.horizon import Step, all_right_noise, gaussian_step, to_go_noise, whole_return_noise


def averages(chances, rewards, scores):
    """Of a decision with few outcomes."""
    return Step(*(sum(p * r**i * s**j for p, r, s in zip(chances, rewards, scores, strict=True))
                  for i, j in ((1, 0), (2, 0), (0, 2), (1, 1), (1, 2), (2, 2))))  # fmt: skip


CHANCES, REWARDS, SCORES = (0.5, 0.3, 0.2), (1.0, -0.5, 2.0), (0.6, -1.6, 0.9)  # the scores average to 0


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("baseline", [0.0, 0.75])
def test_both_noises_are_those_of_all_runs_listed(steps, baseline):
    mean = [0.0, 0.0]
    square = [0.0, 0.0]
    for run in itertools.product(range(3), repeat=steps):
        chance, rewards = 1.0, [REWARDS[i] - baseline for i in run]
        for i in run:
            chance *= CHANCES[i]
        whole = sum(rewards) * sum(SCORES[i] for i in run)
        to_go = sum(SCORES[i] * sum(rewards[t:]) for t, i in enumerate(run))
        for k, value in enumerate((whole, to_go)):
            mean[k] += chance * value
            square[k] += chance * value**2
    step = averages(CHANCES, REWARDS, SCORES).less(baseline)
    for k, noise in enumerate((whole_return_noise, to_go_noise)):
        assert mean[k] == pytest.approx(steps * step.gradient)
        assert noise(step, steps) == pytest.approx(square[k] / mean[k] ** 2 - 1)


def test_a_gaussian_step_is_what_samples_average_to():
    mean, std, n = 0.3, 0.6, 400_000
    z = torch.randn(n, dtype=torch.float64, generator=seeded())
    r, s = torch.sin(mean + std * z), z / std
    drawn = [r, r**2, s**2, r * s, r * s**2, r**2 * s**2]
    for value, sample in zip(gaussian_step(torch.sin, mean, std), drawn, strict=True):
        assert value == pytest.approx(sample.mean().item(), abs=5 * sample.std().item() / n**0.5)


def test_less_is_the_step_of_the_reward_less_a_number():
    apart = gaussian_step(lambda a: torch.sin(a) - 0.4, 0.3, 0.6)
    assert gaussian_step(torch.sin, 0.3, 0.6).less(0.4) == pytest.approx(apart)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_all_right_is_what_samples_say(steps):
    z = torch.randn(1_000_000, steps, dtype=torch.float64, generator=seeded())
    estimates = ((z > 0).all(1).double() - 0.5**steps) * z.sum(1)
    gradient = steps * 0.5 ** (steps - 1) / (2 * torch.pi) ** 0.5
    squares = estimates**2 / gradient**2 - 1
    assert all_right_noise(steps) == pytest.approx(squares.mean().item(), abs=5 * squares.std().item() / 1000)


def test_the_number_of_steps_is_checked():
    with pytest.raises(ValueError, match="^steps "):
        all_right_noise(0)
    step = averages(CHANCES, REWARDS, SCORES)
    for noise in (whole_return_noise, to_go_noise):
        with pytest.raises(ValueError, match="^steps "):
            noise(step, 0)
