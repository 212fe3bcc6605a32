"""A valley and its best widths: against autograd, natural gradients by hand, and step by step with matrices."""

import math

import pytest
import torch
from plain import CLOSE, numbers, seeded

from pgnotes.theory.continuous import MultivariateGaussian
from pgnotes.theory.valley import NEAR, START, Valley, arrival, narrow, valley

BENT = Valley([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.4]], [1.0, 0.0, -2.0], 0.3)


def objective(world, mean, covariance):
    """J + α · entropy, by the formulas of a Gaussian."""
    d = mean - world.centre
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * covariance)
    return -d @ world.hessian @ d - torch.trace(world.hessian @ covariance) + world.bonus * entropy


def test_the_expected_reward_is_that_of_samples():
    policy = MultivariateGaussian([0.5, 0.2, -1.0], [[0.5, 0, 0], [0.2, 0.3, 0], [-0.4, 0.1, 0.8]])
    drawn = BENT.rewards(policy.sample(200_000, seeded()))
    error = drawn.std() / 200_000**0.5
    assert BENT.expected_reward(policy).item() == pytest.approx(drawn.mean().item(), abs=4 * error.item())


def test_at_the_best_policy_nothing_is_to_gain():
    best = BENT.best()
    mean, covariance = best.mean.clone().requires_grad_(), best.covariance.clone().requires_grad_()
    slopes = torch.autograd.grad(objective(BENT, mean, covariance), (mean, covariance))
    assert all(slope.abs().max() < 1e-12 for slope in slopes)
    top = objective(BENT, best.mean, best.covariance)
    for seed in range(20):
        root = torch.linalg.cholesky(best.covariance) + 0.1 * numbers(3, 3, seed=seed).tril()
        assert objective(BENT, best.mean, root @ root.T) < top


def test_the_best_diagonal_is_the_best_of_diagonals_and_earns_as_much():
    world = valley()
    diagonal = world.best_diagonal()
    top = objective(world, diagonal.mean, diagonal.covariance)
    for factor in ([1.1, 1.0], [0.9, 1.0], [1.05, 1.05]):
        other = torch.tensor(factor).double().diag() @ diagonal.covariance
        assert objective(world, diagonal.mean, other) < top
    for policy in (world.best(), diagonal):
        assert world.expected_reward(policy).item() == pytest.approx(-world.bonus)  # α D / 2 with D = 2


def test_steps_in_both_coordinates_are_natural_gradients():
    """F⁻¹g by hand: the Fisher matrix of (μ, Σ) from its formula ½ tr(Σ⁻¹ A Σ⁻¹ B), and (Pμ, P) by the chain rule."""
    mean = torch.tensor([0.3, 0.5, -1.0], dtype=torch.float64)
    covariance = torch.tensor([[0.6, 0.1, 0.0], [0.1, 0.4, 0.2], [0.0, 0.2, 0.9]], dtype=torch.float64)
    eta = 1e-6
    by_mean = -2 * BENT.hessian @ (mean - BENT.centre)
    by_covariance = -BENT.hessian + 0.5 * BENT.bonus * torch.linalg.inv(covariance)
    natural = covariance @ by_mean, 2 * covariance @ by_covariance @ covariance

    to_mean, to_covariance = BENT.by_covariance(mean, covariance, eta)
    torch.testing.assert_close((to_mean - mean) / eta, natural[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close((to_covariance - covariance) / eta, natural[1], rtol=1e-8, atol=1e-8)

    # the same flow in the precision
    to_mean, precision = BENT.by_precision(mean, torch.linalg.inv(covariance), eta)
    torch.testing.assert_close((to_mean - mean) / eta, natural[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((torch.linalg.inv(precision) - covariance) / eta, natural[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("eta", [0.5, 2.0, 1 / 0.3])
def test_in_the_precision_everything_shrinks_by_the_same_factor(eta):
    mean, precision = torch.tensor([3.0, -1.0, 0.5]).double(), 0.2 * torch.eye(3).double()
    factor, target = 1 - eta * BENT.bonus, 2 * BENT.hessian / BENT.bonus
    to_mean, to_precision = BENT.by_precision(mean, precision, eta)
    torch.testing.assert_close(to_precision - target, factor * (precision - target), **CLOSE)
    torch.testing.assert_close(
        to_precision @ (to_mean - BENT.centre), factor * precision @ (mean - BENT.centre), rtol=1e-9, atol=1e-9
    )


def walked(condition, coordinates, step_size, most, std=START[1]):
    """`arrival` with one step size, by matrices and autograd."""
    world = narrow(condition)
    best = world.best()
    target = torch.distributions.MultivariateNormal(best.mean, best.covariance)
    mean, covariance = torch.full((2,), START[0]).double(), std**2 * torch.eye(2).double()
    for taken in range(most + 1):
        if (torch.linalg.eigvalsh(covariance) <= 0).any():
            return None
        now = torch.distributions.MultivariateNormal(mean, covariance)
        if torch.distributions.kl_divergence(now, target) < NEAR:
            return taken
        if coordinates == "plain":
            at, log_std = mean.clone().requires_grad_(), (0.5 * covariance.diagonal().log()).requires_grad_()
            slopes = torch.autograd.grad(objective(world, at, (2 * log_std).exp().diag()), (at, log_std))
            mean, covariance = (
                mean + step_size * slopes[0],
                (2 * (log_std + step_size * slopes[1])).exp().diag().detach(),
            )
        elif coordinates == "covariance":
            mean, covariance = world.by_covariance(mean, covariance, step_size)
        else:
            mean, precision = world.by_precision(mean, torch.linalg.inv(covariance), step_size)
            covariance = torch.linalg.inv(precision)
    return None


@pytest.mark.parametrize("coordinates", ["plain", "covariance", "precision"])
@pytest.mark.parametrize("condition", [1, 10])
@pytest.mark.parametrize(
    ("step_size", "std"), [(0.1, 2.0), (0.4, 2.0), (2.0, 2.0), (5.0, 2.0), (0.4, 0.03), (2.0, 0.3)]
)
def test_arrivals_are_those_of_matrices(coordinates, condition, step_size, std):
    found = arrival(condition, coordinates, [step_size], most=120, std=std)
    assert found.steps == walked(condition, coordinates, step_size, 120, std)


def test_a_step_size_that_made_a_variance_negative_stays_out():
    """At 8 the precision jumps from 1,111 below 0, and would come back."""
    assert walked(1, "precision", 8.0, 120, 0.03) is None
    assert arrival(1, "precision", [8.0, 0.01], most=120, std=0.03).steps is None


def test_of_many_step_sizes_the_best_counts():
    sizes = [0.02, 0.1, 0.3, 5.0]
    alone = [arrival(10, "plain", [size], most=500) for size in sizes]
    wanted = min((one for one in alone if one.steps is not None), key=lambda one: one.steps)
    assert arrival(10, "plain", sizes, most=500) == wanted


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("hessian", lambda: Valley([[1.0, 0.2], [0.0, 1.0]], [0.0, 0.0], 0.1)),
        ("hessian", lambda: Valley([[1.0, 2.0], [2.0, 1.0]], [0.0, 0.0], 0.1)),
        ("hessian", lambda: Valley([[1.0]], [0.0, 0.0], 0.1)),
        ("bonus", lambda: Valley([[1.0]], [0.0], 0.0)),
        ("condition", lambda: narrow(0.0)),
        ("coordinates", lambda: arrival(1, "polar", [1.0])),
        ("step_sizes", lambda: arrival(1, "plain", 1.0)),
        ("std", lambda: arrival(1, "plain", [1.0], std=0.0)),
        ("most", lambda: arrival(1, "plain", [1.0], most=0)),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
