"""Full covariances, squashed Gaussians and traces: against torch.distributions, exact decimals, sums and autograd."""

import math
from decimal import Decimal, getcontext

import pytest
import torch
from plain import CLOSE, numbers, seeded
from torch.distributions import MultivariateNormal, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from pgnotes.theory.continuous import MultivariateGaussian, Squashed, gpomdp, log_slope
from pgnotes.theory.pathwise import quadrature
from pgnotes.theory.returns import reward_to_go

ROOTS = [
    torch.tensor([[0.7]], dtype=torch.float64),
    torch.tensor([[0.8, 0.0], [-0.3, 0.5]], dtype=torch.float64),
    torch.tensor([[1.0, 0, 0], [0.5, 2.0, 0], [-1.0, 0.3, 0.4]], dtype=torch.float64),
]


# a full covariance


@pytest.mark.parametrize("root", ROOTS, ids=len)
def test_density_and_entropy_are_those_of_torch(root):
    mean = numbers(len(root))
    mine, other = MultivariateGaussian(mean, root), MultivariateNormal(mean, scale_tril=root)
    a = numbers(20, len(root), seed=1)
    torch.testing.assert_close(mine.log_prob(a), other.log_prob(a), **CLOSE)
    torch.testing.assert_close(mine.entropy(), other.entropy(), **CLOSE)
    torch.testing.assert_close(mine.covariance, other.covariance_matrix, **CLOSE)


def test_the_density_adds_up_to_one():
    policy = MultivariateGaussian([0.5, -1.0], ROOTS[1])
    side = torch.linspace(-8, 8, 401, dtype=torch.float64)
    points = torch.cartesian_prod(side + 0.5, side - 1)
    assert policy.log_prob(points).exp().sum().item() * (16 / 400) ** 2 == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("root", ROOTS, ids=len)
def test_the_score_is_autograd_s_of_torch_s_density(root):
    size = len(root)
    mean, free = numbers(size).requires_grad_(), root.clone().requires_grad_()
    rows, columns = torch.tril_indices(size, size)
    for a in numbers(5, size, seed=2):
        logp = MultivariateNormal(mean, scale_tril=free.tril()).log_prob(a)
        by_mean, by_root = torch.autograd.grad(logp, (mean, free))
        wanted = torch.cat([by_mean, by_root[rows, columns]])
        found = MultivariateGaussian(mean.detach(), root).score(a[None])[0]
        torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize("root", ROOTS, ids=len)
def test_scores_average_to_zero_and_samples_have_the_covariance(root):
    mean, n = numbers(len(root)), 200_000
    policy = MultivariateGaussian(mean, root)
    drawn = policy.sample(n, seeded())
    assert (policy.score(drawn).mean(0).abs() < 5 * policy.score(drawn).std(0) / n**0.5).all()
    torch.testing.assert_close(drawn.T.cov().view(len(root), -1), root @ root.T, rtol=0.02, atol=0.02)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.03)


# squashed


def exact_log_slope(u):
    """log(1 - tanh² u) = log 4 - 2 log(eᵘ + e⁻ᵘ) with 60 digits."""
    getcontext().prec = 60
    x = Decimal(u)
    return float(Decimal(4).ln() - 2 * (x.exp() + (-x).exp()).ln())


@pytest.mark.parametrize("u", [0.0, 1e-9, -0.3, 1.0, 5.0, -9.9, 14.0, -20.0, 20.0, 300.0])
def test_the_log_determinant_is_right_to_the_last_digits(u):
    assert log_slope(torch.tensor(u, dtype=torch.float64)).item() == pytest.approx(
        exact_log_slope(u), rel=1e-14, abs=1e-15
    )
    assert log_slope(torch.tensor(u)).item() == pytest.approx(exact_log_slope(u), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-2.0, 3.0), (15.0, 2.0)])
def test_the_density_is_torch_s_where_that_one_is_accurate_and_finite_beyond(mean, std):
    u = torch.linspace(-20, 20, 81, dtype=torch.float64)
    found = Squashed(mean, std).log_prob(u)
    assert found.isfinite().all()
    wanted = [
        -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi) - exact_log_slope(x)
        for x in u.tolist()
    ]
    assert found.tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-6)

    near = u[u.abs() <= 5]  # where a = tanh u can be turned back
    other = TransformedDistribution(Normal(torch.tensor(mean).double(), std), [TanhTransform()])
    torch.testing.assert_close(Squashed(mean, std).log_prob(near), other.log_prob(near.tanh()), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.4, 0.8745), (-0.5, 1.2)])
def test_the_density_adds_up_to_one_over_actions(mean, std):
    """A midpoint rule in a, which knows nothing of u's measure."""
    a = (torch.arange(2_000_000, dtype=torch.float64) + 0.5) / 1_000_000 - 1
    density = Squashed(mean, std).log_prob(torch.atanh(a)).exp()
    assert density.mean().item() * 2 == pytest.approx(1, abs=2e-5)
    entropy = -torch.xlogy(density, density).mean().item() * 2
    assert Squashed(mean, std).entropy().item() == pytest.approx(entropy, abs=1e-3)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.5), (0.3, 3.0), (-1.0, 0.05)])
def test_the_entropy_is_what_samples_say(mean, std):
    policy, n = Squashed(mean, std), 200_000
    a, u = policy.sample(n, seeded())
    torch.testing.assert_close(a, u.tanh())
    surprise = -policy.log_prob(u)
    assert policy.entropy().item() == pytest.approx(surprise.mean().item(), abs=5 * surprise.std().item() / n**0.5)
    assert policy.entropy() <= math.log(2)


def test_gradients_flow_through_the_entropy():
    std = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Squashed(0.2, std).entropy(), std)
    apart = (Squashed(0.2, 0.5001).entropy() - Squashed(0.2, 0.4999).entropy()) / 2e-4
    assert slope.item() == pytest.approx(apart.item(), rel=1e-6)


# traces


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 1.0])
def test_a_trace_is_reward_to_go_in_another_order(beta):
    scores, rewards = numbers(30, 4), numbers(30, seed=1)
    by_sums = sum(beta ** (k - t) * rewards[k] * scores[t] for t in range(30) for k in range(t, 30) if beta or k == t)
    found = gpomdp(scores, rewards, beta)
    torch.testing.assert_close(found, by_sums, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, reward_to_go(rewards, beta) @ scores, rtol=1e-12, atol=1e-12)


def test_the_quadrature_is_the_one_of_the_averages():
    z, weights = quadrature()
    assert Squashed(0.0, 0.5).entropy().item() == pytest.approx(
        (weights @ -Squashed(0.0, 0.5).log_prob(0.5 * z)).item(), abs=1e-12
    )


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("mean", lambda: MultivariateGaussian([[0.0]], [[1.0]])),
        ("scale_tril", lambda: MultivariateGaussian([0.0, 0.0], [[1.0]])),
        ("scale_tril", lambda: MultivariateGaussian([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]])),
        ("scale_tril", lambda: MultivariateGaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])),
        ("a", lambda: MultivariateGaussian([0.0], [[1.0]]).log_prob([0.0])),
        ("n", lambda: MultivariateGaussian([0.0], [[1.0]]).sample(0, seeded())),
        ("std", lambda: Squashed(0.0, 0.0)),
        ("generator", lambda: Squashed(0.0, 1.0).sample(3, 0)),
        ("scores", lambda: gpomdp([1.0], [1.0], 0.5)),
        ("rewards", lambda: gpomdp([[1.0]], [1.0, 2.0], 0.5)),
        ("beta", lambda: gpomdp([[1.0]], [1.0], 1.5)),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
