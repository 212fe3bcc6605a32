"""Steps within a budget of KL, against plain searches over the triangle."""

import itertools
import math

import pytest
import torch
from plain import numbers, softmax

from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.trust_regions import allowed_rise, best_within, clip_band, kl_circle, ppo_rest, step_of_kl

OLD, PAYS = (0.05, 0.75, 0.20), (1.0, 0.6, 0.0)
ADVANTAGES = [0.5, 0.1, -0.5]


def nats(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("delta", [0.001, 0.01, 0.3, 3.0])
def test_a_step_has_its_kl_and_goes_along_its_direction(delta):
    for seed in range(5):
        direction = numbers(3, seed=seed)
        new = step_of_kl(OLD, direction, delta)
        assert nats(OLD, new.tolist()) == pytest.approx(delta, rel=1e-6)
        moved = new.log() - torch.tensor(OLD).double().log()
        moved, wanted = moved - moved.mean(), direction - direction.mean()
        assert torch.cosine_similarity(moved, wanted, 0).item() == pytest.approx(1, abs=1e-9)


def test_a_direction_that_changes_nothing_leads_nowhere():
    assert step_of_kl(OLD, [2.0, 2.0, 2.0], 0.1).tolist() == list(OLD)
    assert best_within(OLD, [2.0, 2.0, 2.0], 0.1).tolist() == list(OLD)


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.5])
def test_the_best_within_a_budget_by_going_round_its_edge(delta):
    best = best_within(OLD, PAYS, delta)
    assert nats(OLD, best.tolist()) == pytest.approx(delta, rel=1e-6)
    edge = kl_circle(OLD, delta, 20_000)
    around = (edge @ torch.tensor(PAYS).double()).max().item()
    worth = (best @ torch.tensor(PAYS).double()).item()
    assert worth >= around - 1e-12
    assert worth == pytest.approx(around, abs=1e-6)


@pytest.mark.parametrize("old", [OLD, (1 / 3, 1 / 3, 1 / 3), (0.2, 0.2, 0.6)])
def test_the_edge_of_the_ball_is_a_closed_curve_of_one_kl(old):
    edge = kl_circle(old, 0.05)
    assert [nats(old, p) for p in edge.tolist()] == pytest.approx([0.05] * 90, rel=1e-5)
    torch.testing.assert_close(edge.sum(1), torch.ones(90).double())
    away = edge - torch.tensor(old).double()
    angles = torch.atan2(away[:, 2] * 3**0.5, away[:, 1] - away[:, 0])
    turns = (angles.diff().remainder(2 * math.pi)).sum()
    assert abs(turns.item()) == pytest.approx(2 * math.pi * 89 / 90, abs=0.2) or turns.item() > 500  # either way round


@pytest.mark.parametrize(("old", "corners"), [(OLD, 4), ((1 / 3, 1 / 3, 1 / 3), 6), ((0.3, 0.3, 0.4), 6)])
def test_the_band_is_where_all_ratios_are_inside(old, corners):
    found = clip_band(old, 0.2)
    assert len(found) == corners
    for corner in found.tolist():
        ratios = [p / q for p, q in zip(corner, old, strict=True)]
        assert all(0.8 - 1e-9 <= ratio <= 1.2 + 1e-9 for ratio in ratios)
        assert sum(abs(abs(ratio - 1) - 0.2) < 1e-9 for ratio in ratios) >= 2
        assert sum(corner) == pytest.approx(1)
    # in order: all turns go the same way round
    x, y = found[:, 1] - found[:, 0], 3**0.5 * found[:, 2]
    turns = [
        (x[(i + 1) % corners] - x[i]) * (y[(i + 2) % corners] - y[i])
        - (y[(i + 1) % corners] - y[i]) * (x[(i + 2) % corners] - x[i])
        for i in range(corners)
    ]
    assert all(turn > 0 for turn in turns)


def plain_rest(old, pays, clip, size=0.1, most=20_000):
    """Gradient steps by autograd on the clipped objective, one after the other."""
    old = torch.tensor(old, dtype=torch.float64)
    pays = torch.tensor(pays, dtype=torch.float64)
    worth, theta = pays - old @ pays, old.log()
    for step in range(most):
        theta.requires_grad_()
        ratio = theta.softmax(0) / old
        objective = (old * torch.minimum(ratio * worth, ratio.clamp(1 - clip, 1 + clip) * worth)).sum()
        (slope,) = torch.autograd.grad(objective, theta)
        if slope.abs().max() < 1e-12:
            return theta.detach().softmax(0), step
        theta = (theta + size * slope).detach()
    return None


def test_ppo_rests_where_plain_gradient_steps_rest():
    found, rests = ppo_rest(OLD, PAYS, 0.2)
    expected, steps = plain_rest(OLD, PAYS, 0.2)
    assert rests
    assert steps == 1422
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    ratios = (expected / torch.tensor(OLD).double()).tolist()
    assert ratios == pytest.approx([1.2, 1.2, 0.199], abs=1e-3)
    assert nats(OLD, expected.tolist()) == pytest.approx(0.177, abs=1e-3)


@pytest.mark.parametrize("clip", [0.1, 0.2, 0.24, 0.26, 0.3, 0.5])
def test_ppo_rests_only_if_those_who_rise_have_room(clip):
    """A and B hold 80 %; at ε = 0.25 they would hold all."""
    policy, rests = ppo_rest(OLD, PAYS, clip)
    assert rests == (clip < 0.25)
    ratios = (policy / torch.tensor(OLD).double()).tolist()
    if rests:
        assert all(r >= 1 + clip for r in ratios[:2])
        assert ratios[2] <= 1 - clip
    else:
        assert ratios[2] < 0.1


def test_an_action_without_advantage_is_no_reason_to_move():
    policy, rests = ppo_rest((0.5, 0.5), (1.0, 1.0), 0.2)
    assert rests
    assert policy.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("prob", [1e-4, 0.01, 0.5, 0.9])
def test_how_far_one_action_may_rise(prob):
    risen = allowed_rise(prob, 0.01)
    assert risen > prob
    assert nats((prob, 1 - prob), (risen, 1 - risen)) == pytest.approx(0.01, rel=1e-6)


def test_the_steps_that_the_lesson_tells():
    policy = SoftmaxPolicy(torch.tensor(OLD).double().log())
    plain = step_of_kl(OLD, policy.probs * torch.tensor(ADVANTAGES), 0.01)
    assert plain[0].item() == pytest.approx(0.0482, abs=5e-5)
    assert step_of_kl(OLD, ADVANTAGES, 0.01)[0].item() == pytest.approx(0.0651, abs=5e-5)
    assert best_within(OLD, PAYS, 0.01)[0].item() == pytest.approx(0.0684, abs=5e-5)
    # by a search of one's own: along the line, in steps of a ten-thousandth
    sizes = itertools.count()
    size = next(
        s
        for s in sizes
        if nats(OLD, softmax([math.log(p) + s * 1e-4 * a for p, a in zip(OLD, ADVANTAGES, strict=True)])) > 0.01
    )
    new = softmax([math.log(p) + size * 1e-4 * a for p, a in zip(OLD, ADVANTAGES, strict=True)])
    assert new[0] == pytest.approx(0.0651, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: step_of_kl([0.5, 0.6], [1.0, 0.0], 0.1), "probs"),
        (lambda: step_of_kl([1.0, 0.0], [1.0, 0.0], 0.1), "probs"),
        (lambda: step_of_kl([0.5, 0.5], [1.0], 0.1), "direction"),
        (lambda: step_of_kl([0.5, 0.5], [1.0, 0.0], 0.0), "delta"),
        (lambda: best_within([0.5, 0.5], [1.0], 0.1), "rewards"),
        (lambda: best_within([0.5, 0.5], [1.0, 0.0], -1), "delta"),
        (lambda: kl_circle([0.5, 0.5], 0.1), "probs"),
        (lambda: kl_circle(OLD, 0.1, 2), "points"),
        (lambda: clip_band([0.5, 0.5], 0.1), "probs"),
        (lambda: clip_band(OLD, 0), "clip"),
        (lambda: ppo_rest(OLD, [1.0], 0.2), "rewards"),
        (lambda: ppo_rest(OLD, PAYS, -0.2), "clip"),
        (lambda: ppo_rest(OLD, PAYS, 0.2, length=0.0), "length"),
        (lambda: ppo_rest(OLD, PAYS, 0.2, most=0), "most"),
    ],
)
def test_bad_arguments_are_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()
