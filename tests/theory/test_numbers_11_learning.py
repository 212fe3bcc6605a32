"""Lesson 11's numbers about learning, found a second time by training in NumPy, with fewer runs than the lesson has."""

import itertools

import numpy as np
import plain_critics as plain
import plain_training as training
import pytest

from pgnotes.theory.actor_critic import Settings, actor_critic_many, after_reset, late_mask, right
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world

ESTIMATES = {"": right, "reset": after_reset, "late": late_mask}


def test_gradients_of_old_policies():
    recipe = Recipe(normalise=True)
    runs = [itertools.islice(reinforce(sum_world(), recipe, seed), 101) for seed in range(3)]
    slopes = [[training.gradient(policy.logits.detach().numpy()) for policy in run] for run in runs]
    for late, mean in ((1, 0.994), (4, 0.972), (16, 0.862)):
        angles = [plain.cosine(run[k], run[k - late]) for run in slopes for k in range(late, 101)]
        assert np.mean(angles) == pytest.approx(mean, abs=1.5e-3)
    assert min(angles) == pytest.approx(0.32, abs=5e-3)

    on_time, late = (training.expected(training.train_late(50, 40, wait)) for wait in (0, 32))
    assert on_time.mean() == pytest.approx(0.88, abs=4 * on_time.std() / 50**0.5)
    assert late.mean() == pytest.approx(0.53, abs=4 * late.std() / 50**0.5)


def adam(weight, max_norm=None, updates=120):
    """J after Adam on the sum of a policy's loss and `weight` times a critic's, each with parameters of its own."""
    rng, runs = np.random.default_rng(0), np.zeros((1, 1, 1), int)
    parameters = [np.zeros((1, 85, 4)), np.zeros((1, 85))]
    first, second = ([np.zeros_like(each) for each in parameters] for _ in range(2))
    for update in range(1, updates + 1):
        probs = plain.softmax_rows(parameters[0])
        rows, symbols, mask, rewards = training.draw(probs, 64, rng)
        misses = np.where(mask, rewards[..., ::-1].cumsum(-1)[..., ::-1] - parameters[1][runs, rows], 0.0)
        per_row = training.summed((1, 85), rows, None, misses)
        slopes = [
            per_row[..., None] * probs - training.summed((1, 85, 4), rows, symbols, misses),
            -2 * weight * per_row,
        ]
        norm = np.sqrt(sum((slope**2).sum() for slope in slopes)) / 64
        shrink = min(1.0, max_norm / norm) / 64 if max_norm else 1 / 64
        for j, slope in enumerate(slopes):
            first[j] = 0.9 * first[j] + 0.1 * slope * shrink
            second[j] = 0.999 * second[j] + 0.001 * (slope * shrink) ** 2
            scale = np.sqrt(second[j] / (1 - 0.999**update)) + 1e-8
            parameters[j] = parameters[j] - 0.05 * first[j] / (1 - 0.9**update) / scale
    return parameters[0]


def test_c40_what_the_critics_weight_does_under_adam():
    small, large = adam(0.5), adam(50.0)
    assert np.abs(small - large).max() < 1e-5
    clipped = [adam(weight, max_norm=0.5) for weight in (0.5, 50.0)]
    assert np.abs(clipped[0] - clipped[1]).max() > 0.1  # a norm that both share lets the weight back in


@pytest.mark.parametrize(
    ("bug", "lam", "low", "high"),
    [
        ("", 0.0, 0.95, 1.0),
        ("", 1.0, 0.95, 1.0),
        ("reset", 0.0, 0.49, 0.55),
        ("reset", 0.9, 0.9, 1.0),
        ("late", 0.9, 0.25, 0.29),
    ],
)
def test_what_the_bugs_do_to_training(bug, lam, low, high):
    logits, values = training.train(16, 200, lam, bug)
    assert low < training.expected(logits).mean() < high
    packaged = actor_critic_many(sum_world(), Settings(lam=lam), runs=16, seed=0, estimate=ESTIMATES[bug])
    theirs, _ = next(itertools.islice(packaged, 200, None))
    assert low < training.expected(theirs.numpy()).mean() < high

    worth = values[:, 0].mean()
    assert worth > 1.5 if bug == "reset" else worth < 1
    if (bug, lam) == ("reset", 0.0):
        assert np.median(values[:, 0]) == pytest.approx(7.7, abs=0.5)
        first = plain.softmax_rows(logits)[:, 0, 3]  # it writes 3, and stops
        assert np.median(first) == pytest.approx(0.99, abs=0.02)
