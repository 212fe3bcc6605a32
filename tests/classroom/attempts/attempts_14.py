"""Lesson 14: answers that are right in another form, and wrong ones that no slip is made of."""

import math

import numpy as np
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


# 14.1


def score_by_solve(a, mean, covariance):
    pulled = torch.linalg.solve(covariance, a - mean)
    inverse = torch.linalg.solve(covariance, torch.eye(len(a), dtype=a.dtype))
    return torch.hstack([pulled, ((pulled[:, None] * pulled[None] - inverse) / 2).reshape(-1)])


def score_numpy(a, mean, covariance):
    inverse = np.linalg.inv(covariance.numpy())
    d = (a - mean).numpy()
    by_covariance = 0.5 * (inverse @ np.outer(d, d) @ inverse - inverse)
    return np.concatenate([inverse @ d, by_covariance.ravel()])


def score_by_autograd(a, mean, covariance):
    mean, covariance = mean.clone().requires_grad_(), covariance.clone().requires_grad_()
    d = a - mean
    logp = -0.5 * d @ torch.linalg.inv(covariance) @ d - 0.5 * torch.logdet(covariance)
    by_mean, by_covariance = torch.autograd.grad(logp, (mean, covariance))
    return torch.cat([by_mean, by_covariance.flatten()])


def score_by_loop(a, mean, covariance):
    inverse, size = torch.linalg.inv(covariance), len(a)
    pulled = [sum(inverse[i, j] * (a[j] - mean[j]) for j in range(size)) for i in range(size)]
    return [*pulled, *(0.5 * (pulled[i] * pulled[j] - inverse[i, j]) for i in range(size) for j in range(size))]


def score_by_eigenvectors(a, mean, covariance):
    sizes, turns = torch.linalg.eigh(covariance)
    z = turns.T @ (a - mean) / sizes
    pulled = turns @ z
    return torch.cat([pulled, (0.5 * (torch.outer(pulled, pulled) - turns @ (1 / sizes).diag() @ turns.T)).flatten()])


def score_in_place(a, mean, covariance):
    a -= mean
    inverse = torch.inverse(covariance)
    pulled = inverse.mv(a)
    inverse -= torch.outer(pulled, pulled)
    inverse *= -0.5
    return torch.cat((pulled, inverse.flatten()))


# 14.2


def path_by_loop(slopes, noise, std):
    by_mean = by_log_std = 0.0
    for slope, z in zip(slopes.tolist(), noise.tolist(), strict=True):
        by_mean += slope
        by_log_std += slope * std * z
    return [by_mean / len(slopes), by_log_std / len(slopes)]


def path_numpy(slopes, noise, std):
    return np.array([slopes.numpy().mean(), (slopes.numpy() * noise.numpy()).mean() * std])


def path_by_dot(slopes, noise, std):
    return torch.stack([slopes.sum(), std * (slopes @ noise)]) / len(slopes)


def path_by_matrix(slopes, noise, std):
    return slopes @ torch.stack([torch.ones_like(noise), std * noise], 1) / slopes.numel()


def path_by_autograd(slopes, noise, std):
    at = torch.tensor([0.0, math.log(std)], dtype=torch.float64, requires_grad=True)
    actions = at[0] + at[1].exp() * noise
    return torch.autograd.grad((slopes * actions).mean(), at)[0]


# 14.3


def squash_by_loop(u, mean, std):
    found = []
    for row, centre, spread in zip(u.tolist(), mean.tolist(), std.tolist(), strict=True):
        total = 0.0
        for x, m, s in zip(row, centre, spread, strict=True):
            total += -0.5 * ((x - m) / s) ** 2 - math.log(s * math.sqrt(2 * math.pi))
            total += 2 * (abs(x) + math.log1p(math.exp(-2 * abs(x))) - math.log(2))
        found.append(total)
    return found


def squash_by_transform(u, mean, std):
    """torch's own, which takes tanh's slope from u where u is in its cache."""
    transform = TanhTransform(cache_size=1)
    return (Normal(mean, std).log_prob(u) - transform.log_abs_det_jacobian(u, u.tanh())).sum(-1)


def squash_by_cosh(u, mean, std):
    return (Normal(mean, std).log_prob(u) + 2 * u.cosh().log()).sum(dim=1)


def squash_by_logsigmoid(u, mean, std):
    slope = math.log(4) + torch.nn.functional.logsigmoid(2 * u) + torch.nn.functional.logsigmoid(-2 * u)
    return (Normal(mean, std).log_prob(u) - slope).sum(1)


def squash_independent(u, mean, std):
    slope = 2 * (math.log(2) - torch.logaddexp(u, -u))
    return Independent(Normal(mean, std), 1).log_prob(u) - slope.sum(1)


def squash_multivariate(u, mean, std):
    before = MultivariateNormal(mean, scale_tril=torch.diag_embed(std)).log_prob(u)
    return before + 2 * (u + torch.nn.functional.softplus(-2 * u) - math.log(2)).sum(1)


# 14.4


def trace_by_matrix(scores, rewards, ended, beta):
    steps = len(rewards)
    episode = torch.cat([torch.zeros(1, dtype=torch.long), ended.long().cumsum(0)[:-1]])
    apart = torch.arange(steps)[:, None] - torch.arange(steps)
    weights = torch.where((apart >= 0) & (episode[:, None] == episode), float(beta) ** apart.clamp(min=0), 0.0)
    return rewards @ weights.double() @ scores


def trace_to_go(scores, rewards, ended, beta):
    ahead, total = 0.0, torch.zeros_like(scores[0])
    for t in reversed(range(len(rewards))):
        ahead = rewards[t] + (0.0 if ended[t] else beta * ahead)
        total = total + ahead * scores[t]
    return total


def trace_numpy(scores, rewards, ended, beta):
    z, total = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for s, r, e in zip(scores.numpy(), rewards.numpy(), ended.numpy(), strict=True):
        z = beta * z + s
        total += r * z
        z = z * (1 - e)
    return total


def trace_in_place(scores, rewards, ended, beta):
    z, total = torch.zeros_like(scores[0]), torch.zeros_like(scores[0])
    for t in range(len(rewards)):
        z.mul_(beta).add_(scores[t])
        total += rewards[t] * z
        if ended[t]:
            z.zero_()
    return total


def trace_reset_at_the_start(scores, rewards, ended, beta):
    z, total, fresh = 0.0, 0.0, True
    for t in range(len(rewards)):
        z = scores[t] if fresh else beta * z + scores[t]
        total = total + rewards[t] * z
        fresh = bool(ended[t])
    return total


def trace_list(scores, rewards, ended, beta):
    return trace_to_go(scores, rewards, ended, beta).tolist()


# 14.5


def action(actor, states):
    return torch.tanh(states @ actor)


def value(critic, states, actions):
    return (states @ critic[:-1]) * actions - critic[-1] * actions**2


def loss_by_formula(actor, critic, states):
    fixed, a = critic.detach(), torch.tanh(states @ actor)
    return (fixed[-1] * a**2 - (states @ fixed[:-1]) * a).mean()


def loss_by_slope(actor, critic, states):
    """The chain rule by hand: the critic's slope, held fixed, times the action."""
    a = action(actor, states)
    fixed = critic.detach()
    slope = (states @ fixed[:-1]) - 2 * fixed[-1] * a.detach()
    return -(slope * a).mean()


def loss_by_loop(actor, critic, states):
    total = 0.0
    for state in states:
        total = total - value(critic.data, state[None], action(actor, state[None]))[0]
    return total / len(states)


def loss_by_autograd(actor, critic, states):
    a = action(actor, states)
    leaf = a.detach().requires_grad_()
    (slope,) = torch.autograd.grad(value(critic.detach(), states, leaf).sum(), leaf)
    return -(slope * a).mean()


def loss_with_clone(actor, critic, states):
    frozen = critic.clone().detach()
    return value(frozen, states, action(actor, states)).neg().mean().reshape(1)


def loss_torch_mean(actor, critic, states):
    return torch.mean(-1 * value(critic.detach(), states, action(actor, states)), dim=0)


# 14.6


def over_actions(log_prob):
    """A midpoint rule over actions."""
    a = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 100_000 - 1
    return abs(log_prob(torch.atanh(a), 0.5, 0.7).exp().mean().item() * 2 - 1) < 1e-2


def by_importance(log_prob):
    """The mean of π(a) · slope / N(u) under N."""
    u = 0.7 + 1.1 * torch.linspace(-5, 5, 2001, dtype=torch.float64)
    before = Normal(torch.tensor(0.7).double(), 1.1).log_prob(u)
    ratio = (log_prob(u, 0.7, 1.1) + torch.log1p(-(u.tanh() ** 2)) - before).exp()
    return bool((ratio - 1).abs().max() < 1e-3)


def pointwise(log_prob):
    u = torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64)
    exact = TransformedDistribution(Normal(torch.tensor(0.3).double(), 0.9), [TanhTransform()]).log_prob(u.tanh())
    return torch.allclose(log_prob(u, 0.3, 0.9), exact, atol=1e-6)


def of_two_policies(log_prob):
    found = []
    for mean, std in ((-0.6, 0.5), (0.3, 1.2)):
        u = torch.linspace(-12, 12, 4001, dtype=torch.float64)
        found.append(torch.trapezoid(log_prob(u, mean, std).exp() / u.cosh() ** 2, u).item())
    return all(abs(mass - 1) < 1e-3 for mass in found)


def by_moments(log_prob):
    """Mass, mean and variance of atanh(a)."""
    u = torch.linspace(-29, 30, 8001, dtype=torch.float64)
    p = log_prob(u, 0.5, 3.0).exp() / u.cosh() ** 2
    mass, mean, square = (torch.trapezoid(p * u**k, u).item() for k in range(3))
    return abs(mass - 1) < 1e-3 and abs(mean - 0.5) < 1e-2 and abs(square - 9.25) < 0.1


def by_a_histogram(log_prob):
    """Sampled actions against the density, in forty parts of equal probability."""
    drawn = -3.0 + 4.0 * torch.randn(400_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edges = drawn.quantile(torch.linspace(0, 1, 41).double()[1:-1])
    u = torch.linspace(-43, 37, 40_001, dtype=torch.float64)
    p = log_prob(u, -3.0, 4.0).exp() / u.cosh() ** 2
    low = torch.bucketize(u, edges)
    masses = torch.stack([p[low == k].sum() for k in range(40)]) * (u[1] - u[0])
    return bool((masses - 1 / 40).abs().max() < 2e-3)


def by_taking_apart(log_prob):
    """What is left after the slope is taken off must be the Gaussian's."""
    u = torch.linspace(-9, 9, 19, dtype=torch.float64)
    left = log_prob(u, -1.0, 0.5) - 2 * torch.logaddexp(u, -u) + 2 * math.log(2)
    return np.allclose(left.numpy(), -0.5 * ((u + 1) / 0.5) ** 2 - math.log(0.5 * math.sqrt(2 * math.pi)))


RIGHT = {
    "14.1": (score_by_solve, score_numpy, score_by_autograd, score_by_loop, score_by_eigenvectors, score_in_place),
    "14.2": (path_by_loop, path_numpy, path_by_dot, path_by_matrix, path_by_autograd),
    "14.3": (
        squash_by_loop, squash_by_transform, squash_by_cosh, squash_by_logsigmoid, squash_independent,
        squash_multivariate,
    ),
    "14.4": (
        trace_by_matrix, trace_to_go, trace_numpy, trace_in_place, trace_reset_at_the_start, trace_list,
    ),
    "14.5": (loss_by_formula, loss_by_slope, loss_by_loop, loss_by_autograd, loss_with_clone, loss_torch_mean),
    "14.6": (by_moments, by_importance, pointwise, by_a_histogram, by_taking_apart),
}  # fmt: skip


def squash_float32(u, mean, std):
    """The naive slope in single precision."""
    return (Normal(mean, std).log_prob(u) - torch.log(1 - u.float().tanh() ** 2)).sum(1)


def mean_of_sums(log_prob):
    """A sum without the width of its steps."""
    u = torch.linspace(-10, 10, 8001, dtype=torch.float64)
    return abs((log_prob(u, 1.0, 0.9).exp() * (1 - u.tanh() ** 2)).sum().item() - 1) < 1e-3


def with_ends(log_prob):
    """Where atanh is infinite."""
    a = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    return abs(torch.trapezoid(log_prob(a.atanh(), 0.4, 0.8).exp(), a).item() - 1) < 1e-2


def pointwise_in(log_prob, mean, std, tolerance):
    """Against torch's own, for one policy, in the middle."""
    u = torch.tensor([-1.0, 0.2, 1.5], dtype=torch.float64)
    exact = TransformedDistribution(Normal(torch.tensor(mean).double(), std), [TanhTransform()]).log_prob(u.tanh())
    return torch.allclose(log_prob(u, mean, std), exact, atol=tolerance, rtol=0)


def score_of_the_factor(a, mean, covariance):
    """By autograd through the Cholesky factor."""
    mean, root = mean.clone().requires_grad_(), torch.linalg.cholesky(covariance).requires_grad_()
    logp = MultivariateNormal(mean, scale_tril=root).log_prob(a)
    by_mean, by_root = torch.autograd.grad(logp, (mean, root))
    return torch.cat([by_mean, by_root.tril().flatten()])


def trace_of_rewards(scores, rewards, ended, beta):
    """The rewards in the trace, the score outside."""
    z, total = 0.0, torch.zeros_like(scores[0])
    for t in range(len(rewards)):
        z = beta * z + rewards[t]
        total = total + z * scores[t]
        if ended[t]:
            z = 0.0
    return total


WRONG = {
    "14.1": (
        ("`return` missing", forgets(score_numpy)),
        ("your function gives", lambda a, m, c: score_by_solve(a, m, c) * 2),
        ("your function gives", lambda a, m, c: score_by_solve(a, m, torch.linalg.cholesky(c))),
        ("your function gives", lambda a, m, c: score_by_solve(m, a, c).flip(0)),
        ("an array of shape", lambda a, m, c: torch.stack([score_by_solve(a, m, c)] * 2)),
        ("by the factor L", score_of_the_factor),
        ("your function gives", lambda a, m, c: score_by_solve(a, m, c).exp()),
        ("raised", lambda a, m, c: torch.cat([c @ a, torch.outer(a, a)])),
    ),
    "14.2": (
        ("`return` missing", forgets(path_by_dot)),
        ("your function gives", lambda s, z, std: path_by_dot(s, z, std) * std),
        ("your function gives", lambda s, z, std: path_by_dot(s.abs(), z, std)),
        ("your function gives", lambda s, z, std: path_by_dot(s, z, math.log(std))),
        ("one number; it should be", lambda s, z, std: (s * std * z).mean()),
        ("your function gives", lambda s, z, std: -path_by_dot(s, z, std)),
    ),
    "14.3": (
        ("`return` missing", forgets(squash_by_loop)),
        ("your function gives", squash_float32),
        ("your function gives", lambda u, m, s: squash_by_cosh(u, m, s).exp()),
        ("your function gives", lambda u, m, s: squash_by_cosh(u, m, s.sqrt())),
        ("your function gives", lambda u, m, s: squash_by_cosh(u, m, s) + math.log(2)),
        ("one number; it should be", lambda u, m, s: squash_by_cosh(u, m, s).sum()),
        ("your function gives", lambda u, m, s: (Normal(m, s).log_prob(u) - (1 - u.tanh() ** 2)).sum(1)),
    ),
    "14.4": (
        ("`return` missing", forgets(trace_numpy)),
        ("your function gives", lambda s, r, e, b: trace_to_go(s, r, ~e, b)),
        ("your function gives", lambda s, r, e, b: trace_to_go(s, r, e, 1 - b)),
        ("your function gives", lambda s, r, e, b: -trace_to_go(s, r, e, b)),
        ("an array of shape", lambda s, r, e, b: r[:, None] * s),
        ("Backwards", trace_of_rewards),
        ("your function gives", lambda s, r, e, b: trace_to_go(s, r - r.mean(), e, b)),
        ("raised", lambda s, r, e, b: r @ s.T),
    ),
    "14.5": (
        ("`return` missing", forgets(loss_by_formula)),
        ("No gradient flows to the actor", lambda *a: loss_by_formula(*a).item()),
        ("a loss is one number", lambda actor, critic, s: -value(critic.detach(), s, action(actor, s))),
        ("the gradient of your loss", lambda actor, critic, s: -action(actor, s).mean()),
        ("the gradient of your loss", lambda actor, critic, s: -value(critic.detach(), s, s @ actor).mean()),
        ("No gradient flows to the actor", lambda actor, critic, s: loss_by_formula(actor.detach(), critic, s)),
        ("is no leaf", lambda actor, critic, s: -value(critic.requires_grad_(False), s, action(actor, s)).mean()),
        (
            "don't call `backward()`",
            lambda *a: (lambda loss: (loss.backward(retain_graph=False), loss)[1])(loss_by_formula(*a)),
        ),
    ),
    "14.6": (
        ("`return` missing", forgets(pointwise)),
        ("Nobody passes", mean_of_sums),
        ("Is a sum nan", with_ends),
        ("a sum does not see", over_actions),
        ("a sum does not see", of_two_policies),
        ("Suspect 8 passes your test. It has 1e-6", lambda log_prob: pointwise_in(log_prob, 1.2, 0.9, 1e-4)),
        ("Suspect 7 passes your test. Its mean is squashed", lambda log_prob: pointwise_in(log_prob, 0.0, 0.9, 1e-7)),
        ("Suspect 6 passes your test. It has σ² for σ", lambda log_prob: pointwise_in(log_prob, 0.5, 1.0, 1e-7)),
        ("from_numpy", lambda log_prob: bool(log_prob(np.zeros(3), 0.0, 1.0).mean() < 1)),
        ("raised", lambda log_prob: log_prob(torch.zeros(3))),
        ("return True or False", lambda log_prob: pointwise(log_prob) and "yes"),
        ("Everybody passes", lambda log_prob: bool(log_prob(torch.zeros(1).double(), 0.0, 1.0) < 0)),
        ("Upside down", lambda log_prob: not pointwise(log_prob)),
    ),
}
