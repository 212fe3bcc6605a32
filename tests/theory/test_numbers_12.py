"""Lesson 12's numbers found again, by other ways than the lesson's."""

import itertools
import math
from functools import cache
from itertools import islice

import pytest
import torch
from plain import outcomes, softmax

from pgnotes.theory.discounted import greedy, mixture_promise, random_discounted, shared_update
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world

PREFIXES = [prefix for length in range(4) for prefix in itertools.product(range(4), repeat=length)]
ROW = {prefix: i for i, prefix in enumerate(PREFIXES)}


@cache
def half():
    """The logits of the policy half way through training."""
    return next(islice(reinforce(sum_world(), Recipe(normalise=True), seed=0), 20, None)).logits.detach()


def paid(text):
    return max(0.0, 1 - abs(sum(text) - 6) / 6) if text[-1] == 0 else 0.0


def listed(logits):
    """Chances, returns and scores of all texts, grown symbol by symbol."""
    probs = [softmax(row) for row in logits.tolist()]
    chances, returns, scores = [], [], []
    for text in outcomes(4, 4, 0):
        score, chance = torch.zeros(85, 4, dtype=torch.float64), 1.0
        for t, symbol in enumerate(text):
            row = ROW[text[:t]]
            chance *= probs[row][symbol]
            score[row] -= torch.tensor(probs[row], dtype=torch.float64)
            score[row, symbol] += 1
        chances.append(chance)
        returns.append(paid(text))
        scores.append(score.flatten())
    return torch.tensor(chances).double(), torch.tensor(returns).double(), torch.stack(scores)


@cache
def solved():
    """F, ∇J, F⁺ and J from the list."""
    chances, returns, scores = listed(half())
    matrix = torch.einsum("n,ni,nj->ij", chances, scores, scores)
    values, vectors = torch.linalg.eigh(matrix)
    inverse = (vectors * torch.where(values > 1e-9, 1 / values, 0.0)) @ vectors.T
    return matrix, (chances * returns) @ scores, inverse, (chances @ returns).item()


def cosine(a, b, ruler=None):
    ruler = torch.eye(len(a), dtype=torch.float64) if ruler is None else ruler
    return (a @ ruler @ b / ((a @ ruler @ a) * (b @ ruler @ b)).sqrt()).item()


def test_the_half_trained_policy_and_its_fisher_matrix():
    matrix, gradient, _, earned = solved()
    sizes = torch.linalg.eigvalsh(matrix)
    sizes = sizes[sizes > 1e-9]
    assert earned == pytest.approx(0.5859, abs=5e-5)
    assert gradient.norm().item() == pytest.approx(0.0892, abs=5e-5)
    assert len(sizes) == 120 == 3 * sum(0 not in prefix for prefix in PREFIXES)
    assert sizes.min().item() == pytest.approx(3.1e-4, rel=0.02)
    assert sizes.max().item() == pytest.approx(0.307, abs=5e-4)


def test_what_a_hundredth_of_a_nat_gains():
    matrix, gradient, inverse, earned = solved()
    damped = torch.linalg.solve(matrix + 0.1 * torch.eye(340).double(), gradient)
    wanted = ((gradient, 0.0338, 0.0098), (inverse @ gradient, 0.0482, 0.0099), (damped, 0.0400, 0.0097))
    before = listed(half())[0]
    for direction, gain, nats in wanted:
        step = (0.02 / (direction @ matrix @ direction)).sqrt() * direction
        after, returns, _ = listed(half() + step.view(85, 4))
        assert (after @ returns).item() - earned == pytest.approx(gain, abs=5e-5)
        assert (before @ (before / after).log()).item() == pytest.approx(nats, abs=5e-5)
    assert cosine(damped, gradient) == pytest.approx(0.940, abs=5e-4)
    assert cosine(damped, inverse @ gradient) == pytest.approx(0.483, abs=5e-4)
    assert cosine(damped, inverse @ gradient, matrix) == pytest.approx(0.821, abs=5e-4)
    assert cosine(damped, gradient, matrix) == pytest.approx(0.943, abs=5e-4)


@pytest.mark.parametrize(("products", "expected"), [(1, 0.678), (2, 0.801), (5, 0.965), (10, 0.987)])
def test_how_near_so_many_products_come(products, expected):
    """The best in the space of g, Fg, … in F's norm, by a basis and a small solve."""
    matrix, gradient, inverse, _ = solved()
    basis = gradient[:, None] / gradient.norm()
    for _ in range(products - 1):
        new = matrix @ basis[:, -1]
        for _ in range(2):
            new = new - basis @ (basis.T @ new)
        basis = torch.cat([basis, (new / new.norm())[:, None]], 1)
    x = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ gradient)
    assert cosine(x, inverse @ gradient, matrix) == pytest.approx(expected, abs=6e-4)


def test_what_dividing_by_fisher_costs_in_noise():
    chances, returns, scores = listed(half())
    matrix, _, inverse, earned = solved()
    estimates = (returns - earned)[:, None] * scores
    found = []
    for turn in (torch.eye(340).double(), inverse):
        turned = estimates @ turn
        mean = chances @ turned
        away = turned - mean
        for ruler in (torch.eye(340).double(), matrix):
            noise = chances @ torch.einsum("ni,ij,nj->n", away, ruler, away)
            found.append((noise / (mean @ ruler @ mean)).item())
    assert found == pytest.approx([33.7, 22.5, 2248.6, 241.6], rel=2e-3)


def bandit_noise(probs, rewards):
    """Noise ÷ signal of one draw's estimate, plainly and with F's ruler: of the gradient, and of the natural one."""
    worth = [r - sum(p * r for p, r in zip(probs, rewards, strict=True)) for r in rewards]
    size, places = len(probs), range(len(probs))
    # F x = e_a - π is solved by e_a / π_a and a constant; the shortest solution has mean 0
    plain = [[worth[a] * ((a == b) - probs[b]) for b in places] for a in places]
    steep = [[worth[a] / probs[a] * ((a == b) - 1 / size) for b in places] for a in places]

    def length(x):
        mean = sum(p * value for p, value in zip(probs, x, strict=True))
        return sum(v * v for v in x), sum(p * (v - mean) ** 2 for p, v in zip(probs, x, strict=True))

    found = []
    for drawn in (plain, steep):
        mean = [sum(probs[a] * drawn[a][b] for a in places) for b in places]
        for ruler in (0, 1):
            square = sum(probs[a] * length(drawn[a])[ruler] for a in places)
            found.append(square / length(mean)[ruler] - 1)
    return found


def test_where_dividing_by_fisher_saves_noise():
    assert bandit_noise([0.1, 0.8, 0.1], [1.0, 0.7, 0.0]) == pytest.approx([11.3, 16.8, 6.0, 7.8], abs=0.05)
    # two actions, or equally likely ones: the same either way
    for probs, rewards in (([0.9, 0.1], [0.3, 1.0]), ([0.25] * 4, [1.0, 0.2, 0.0, 0.7])):
        plain, _, steep, _ = bandit_noise(probs, rewards)
        assert steep == pytest.approx(plain)


def test_how_often_dividing_by_fisher_saves_noise():
    generator, less = torch.Generator().manual_seed(0), 0
    for _ in range(500):
        logits = 1.5 * torch.randn(3, dtype=torch.float64, generator=generator)
        rewards = torch.rand(3, dtype=torch.float64, generator=generator).tolist()
        plain, _, steep, _ = bandit_noise(softmax(logits.tolist()), rewards)
        less += steep < plain
    assert less == 81


def test_the_largest_step_ends_at_a_near_miss_and_stays():
    _, gradient, inverse, _ = solved()
    far = half() + 1e5 * (inverse @ gradient).view(85, 4)
    chances, returns, scores = listed(far)
    assert (chances @ returns).item() == pytest.approx(5 / 6, abs=1e-6)
    assert ((chances * returns) @ scores).norm() < 1e-12


def test_the_world_in_which_an_exact_step_falls():
    """World 36 at γ = 0.99, its returns added up step by step."""
    mdp = random_discounted(6, 3, 0.99, 36)
    features = torch.randn(6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(10_036))
    update = shared_update(mdp, features, torch.zeros(2), 0.01)
    torch.testing.assert_close(torch.softmax(features @ update.weights, 1), update.new)

    def earned(probs):
        at, total = mdp.start.clone(), 0.0
        for t in range(4000):
            total += 0.99**t * (at[:, None] * probs * mdp.rewards).sum().item()
            at = torch.einsum("s,sa,san->n", at, probs, mdp.transitions)
        return total

    even = torch.full((6, 3), 1 / 3, dtype=torch.float64)
    assert earned(update.new) - earned(even) == pytest.approx(-0.0534, abs=5e-5)
    assert update.surrogate.item() == pytest.approx(0.0387, abs=5e-5)
    assert update.kl.item() <= 0.01


def test_the_shared_step_climbs_along_autograd_s_gradient():
    mdp = random_discounted(6, 3, 0.9, 3)
    features = torch.randn(6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([0.3, -0.2]).double().requires_grad_()
    old = (features @ weights).softmax(1)
    (slope,) = torch.autograd.grad(mdp.expected_return(old), weights)
    share = (mdp.visits(old) / mdp.visits(old).sum()).detach()

    def kl(w):
        before = old.detach()
        return share @ (before * (before.log() - (features @ w).log_softmax(1))).sum(1)

    curve = torch.autograd.functional.hessian(kl, weights.detach())
    x = torch.linalg.solve(curve, slope)
    step = (2e-6 / (x @ curve @ x)).sqrt() * x
    update = shared_update(mdp, features, weights.detach(), 1e-6)
    whole, halved = ((features @ (weights.detach() + s * step)).softmax(1) for s in (1, 0.5))
    assert min((update.new - new).abs().max().item() for new in (whole, halved)) < 1e-9
    assert update.gain > 0


def test_what_conservative_policy_iteration_grants():
    """Medians of a hundred worlds, γ = 0.9."""
    even, found = torch.full((5, 3), 1 / 3, dtype=torch.float64), []
    for seed in range(100):
        mdp = random_discounted(5, 3, 0.9, seed)
        best = greedy(mdp, even)
        share, granted = mixture_promise(mdp, even, best)
        before = mdp.expected_return(even).item()
        mixed, whole = (mdp.expected_return(p).item() - before for p in ((1 - share) * even + share * best, best))
        found.append((share, granted, mixed, whole))
    medians = torch.tensor(found).median(0).values.tolist()
    assert medians == pytest.approx([0.0170, 0.0213, 0.0425, 2.453], rel=0.01)


def test_the_size_of_a_matrix_that_nobody_forms():
    assert math.isclose(494e6**2 * 4 / 1e15, 976, rel_tol=1e-3)
