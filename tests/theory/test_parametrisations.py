"""One policy in five forms, against autograd and pseudo-inverses."""

import pytest
import torch
from plain import numbers

from pgnotes.theory.geometry import fisher
from pgnotes.theory.parametrisations import (
    FIVE,
    HOWS,
    climb,
    cubes,
    natural_direction,
    plain_direction,
    predicted_steps,
    steps_until,
)
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

START, REWARDS = [0.1, 0.8, 0.1], [1.0, 0.7, 0.0]
BANDIT = Bandit(REWARDS)
FORM = pytest.mark.parametrize("name", FIVE)


def steps(name, how, size, most=1000):
    return steps_until(climb(BANDIT, START, name, how, [size], most), 0, 0.99).item()


@FORM
def test_parameters_make_the_policy_they_come_from(name):
    kind, probs = FIVE[name], numbers(4, 3).softmax(-1)
    torch.testing.assert_close(kind.logits(kind.parameters(probs.log())).softmax(-1), probs)


@FORM
def test_jacobians_and_directions_by_autograd(name):
    kind, rewards = FIVE[name], torch.tensor(REWARDS, dtype=torch.float64)
    phi = kind.parameters(torch.tensor(START, dtype=torch.float64).log())
    jacobian = torch.autograd.functional.jacobian(kind.logits, phi)
    torch.testing.assert_close(kind.jacobian(phi), jacobian)

    leaf = phi.clone().requires_grad_()
    (slope,) = torch.autograd.grad(kind.logits(leaf).softmax(0) @ rewards, leaf)
    torch.testing.assert_close(plain_direction(kind, phi, rewards), slope)
    own = jacobian.T @ fisher(SoftmaxPolicy(kind.logits(phi))) @ jacobian
    solved = torch.linalg.pinv(own, hermitian=True, rtol=1e-10) @ slope
    torch.testing.assert_close(natural_direction(kind, phi, rewards), solved, rtol=1e-8, atol=1e-8)


@FORM
def test_adam_is_torch_s(name):
    phi = FIVE[name].parameters(torch.tensor(START, dtype=torch.float64).log()).requires_grad_()
    adam = torch.optim.Adam([phi], lr=0.05, maximize=True)
    for _ in range(30):
        adam.zero_grad()
        (FIVE[name].logits(phi).softmax(0) @ BANDIT.mean_rewards).backward()
        adam.step()
    found = climb(BANDIT, START, name, "adam", [0.05], 30)[0, -1]
    torch.testing.assert_close(found, FIVE[name].logits(phi.detach()).softmax(0), rtol=1e-6, atol=1e-8)


def test_the_steps_that_the_lesson_tells():
    assert [steps(name, "plain", 0.5) for name in FIVE] == [405, 16, 754, 19, 13]
    assert [steps(name, "natural", 0.5, 60) for name in FIVE] == [45, 45, 45, 43, 44]
    assert [steps(name, "adam", 0.05, 400) for name in FIVE] == [129, 20, 303, 20, 23]
    falls = climb(BANDIT, START, "cubes", "plain", [0.5], 20)[0, :, 0]
    assert falls.min().item() == pytest.approx(0.0412, abs=5e-5)


@pytest.mark.parametrize(
    ("added", "plain", "low", "natural"),
    [(0, 25, 0.1, 45), (1, -1, 0.1, 38), (2, -1, 0.0199, 17), (3, 19, 0.0412, 43), (4, 8, 0.0635, 44)],
)
def test_a_constant_on_the_cubes_changes_the_way(added, plain, low, natural):
    path = climb(BANDIT, START, cubes(added), "plain", [0.5], 1000)
    assert steps_until(path, 0, 0.99).item() == plain
    assert path[0, :, 0].min().item() == pytest.approx(low, abs=5e-5)
    assert steps(cubes(added), "natural", 0.5, 60) == natural
    tiny = climb(BANDIT, START, cubes(added), "natural", [0.01], 200)
    assert tiny[0, -1, 0].item() == pytest.approx(0.181, abs=4e-4)


def test_bad_constants_are_named():
    with pytest.raises(ValueError, match="^added"):
        cubes(float("nan"))


def test_natural_steps_are_the_same_in_linear_forms_and_in_all_if_tiny():
    few = [climb(BANDIT, START, name, "natural", [1.0], 2)[0, -1, 0].item() for name in FIVE]
    many = [climb(BANDIT, START, name, "natural", [0.01], 200)[0, -1, 0].item() for name in FIVE]
    assert few[:3] == pytest.approx([few[0]] * 3, abs=1e-12)
    assert few == pytest.approx([0.1810, 0.1810, 0.1810, 0.2260, 0.1756], abs=5e-5)
    assert many == pytest.approx([0.181] * 5, abs=4e-4)


@pytest.mark.parametrize(("rare", "taken"), [(0.1, 45), (0.01, 62), (0.001, 77), (0.0001, 93)])
def test_how_many_natural_steps_a_rare_action_takes(rare, taken):
    path = climb(BANDIT, [rare, 1 - 2 * rare, rare], "logits", "natural", [0.5], 120)
    assert steps_until(path, 0, 0.99).item() == taken
    assert taken - 1 < predicted_steps(rare, 0.5, 0.3) < taken


def test_sizes_are_runs_of_their_own():
    both = climb(BANDIT, START, "cubes", "adam", [0.05, 0.1], 10)
    assert both.shape == (2, 11, 3)
    for i, size in enumerate((0.05, 0.1)):
        torch.testing.assert_close(both[i], climb(BANDIT, START, "cubes", "adam", [size], 10)[0])


def test_never_is_minus_one():
    path = torch.tensor([[[0.1, 0.9], [0.6, 0.4]], [[0.1, 0.9], [0.2, 0.8]]])
    assert steps_until(path, 0, 0.5).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"form": "angles"}, "form"),
        ({"how": "sgd"}, "how"),
        ({"probs": [0.5, 0.5]}, "probs"),
        ({"probs": [0.5, 0.6, 0.1]}, "probs"),
        ({"sizes": 1.0}, "sizes"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_arguments_are_named(change, name):
    good = {"bandit": BANDIT, "probs": START, "form": "logits", "how": HOWS[0], "sizes": [1.0], "steps": 1}
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        climb(**good | change)
