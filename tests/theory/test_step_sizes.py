"""Falling step sizes: the schedule's formula, one step by hand, and what Robbins and Monro promise."""

import pytest
import torch
from plain import CLOSE, numbers, seeded

from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.step_sizes import climb, distance, sizes, summit
from pgnotes.theory.worlds import Bandit

BANDIT, BONUS = Bandit([0.0, 0.5, 1.0]), 0.5
START = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)


def constant(size, steps, powers=1):
    return torch.full((steps, powers), size, dtype=torch.float64)


def test_the_schedule_is_the_formula():
    given = sizes(0.5, 20.0, torch.tensor([0.0, 0.5, 2.0]), 60)
    assert given.shape == (60, 3)
    for t, power in ((0, 0.0), (20, 0.5), (59, 2.0)):
        column = [0.0, 0.5, 2.0].index(power)
        assert given[t, column].item() == pytest.approx(0.5 / (1 + t / 20) ** power)


def test_the_summit_is_a_maximum():
    """Its gradient of J + cH is zero, and any other policy is worth less."""
    theta = (BANDIT.mean_rewards / BONUS).requires_grad_()

    def worth(policy):
        return BANDIT.expected_return(policy) + BONUS * policy.entropy()

    best = SoftmaxPolicy(theta)
    torch.testing.assert_close(best.probs, summit(BANDIT, BONUS), **CLOSE)
    (slope,) = torch.autograd.grad(worth(best), theta)
    assert slope.abs().max() < 1e-12
    for seed in range(20):
        assert worth(SoftmaxPolicy(numbers(3, seed=seed))) < worth(best)


def test_one_step_by_hand():
    first, second = climb(BANDIT, START, BONUS, constant(0.7, 1), 5, 3)
    uniforms = torch.rand(5, 1, dtype=torch.float64, generator=seeded(3))
    probs = START.softmax(0)
    torch.testing.assert_close(first[0], probs.expand(5, 3))
    for run in range(5):
        action = int((uniforms[run] > probs.cumsum(0)).sum())
        paid = BANDIT.mean_rewards[action] - BONUS * probs[action].log()
        score = torch.eye(3, dtype=torch.float64)[action] - probs
        torch.testing.assert_close(second[0, run], (START + 0.7 * paid * score).softmax(0))


def test_the_mean_step_is_the_gradient_of_the_whole_objective():
    """To first order, over a hundred thousand copies: reward, bonus and all."""
    tiny = 1e-4
    *_, after = climb(BANDIT, START, BONUS, constant(tiny, 1), 200_000, 0)
    logits = after[0].log() - after[0, :, :1].log() + START[0]  # up to a constant
    moved = (logits - START).mean(0) / tiny

    theta = START.clone().requires_grad_()
    policy = SoftmaxPolicy(theta)
    (wanted,) = torch.autograd.grad(BANDIT.expected_return(policy) + BONUS * policy.entropy(), theta)
    wanted = wanted - wanted[0]
    error = ((logits - START) / tiny).std(0) / 200_000**0.5
    assert ((moved - wanted).abs() < 4.5 * error + 1e-3).all()


def test_every_schedule_sees_the_same_random_numbers():
    *_, both = climb(BANDIT, START, BONUS, constant(0.3, 20, powers=2), 4, 0)
    assert torch.equal(both[0], both[1])
    *_, other = climb(BANDIT, START, BONUS, constant(0.3, 20), 4, 1)
    assert not torch.equal(both[0], other[0])


def test_distance_is_the_root_of_the_mean_square():
    probs = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert distance(probs, torch.tensor([1.0, 0.0])).tolist() == [pytest.approx(1.0)]


def test_one_shakes_one_arrives_and_one_stops():
    """After 1000 steps and 500 more: p = 0 still moves as much as before, p = 1 comes closer, p = 2 lies still."""
    schedule = sizes(0.5, 20.0, torch.tensor([0.0, 1.0, 2.0]), 1500)
    walk = list(climb(BANDIT, START, BONUS, schedule, 60, 0))
    goal = summit(BANDIT, BONUS)
    (shakes, arrives, stops), later = distance(walk[1000], goal), distance(walk[-1], goal)
    assert shakes > 0.3
    assert stops > 0.3
    assert later[1] < arrives < 0.1
    moved = (walk[-1] - walk[1000]).norm(dim=-1).mean(-1)
    assert moved[0] > 0.2
    assert moved[2] < 0.02


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("first", lambda: sizes(0.0, 1.0, torch.ones(1), 1)),
        ("half_after", lambda: sizes(1.0, -1.0, torch.ones(1), 1)),
        ("powers", lambda: sizes(1.0, 1.0, torch.tensor([-1.0]), 1)),
        ("steps", lambda: sizes(1.0, 1.0, torch.ones(1), 0)),
        ("bonus", lambda: summit(BANDIT, 0.0)),
        ("logits", lambda: next(climb(BANDIT, torch.zeros(2), BONUS, constant(1.0, 1), 1, 0))),
        ("step_sizes", lambda: next(climb(BANDIT, START, BONUS, torch.ones(3), 1, 0))),
        ("runs", lambda: next(climb(BANDIT, START, BONUS, constant(1.0, 1), 0, 0))),
        ("seed", lambda: next(climb(BANDIT, START, BONUS, constant(1.0, 1), 1, -1))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
