"""Fisher matrices, natural gradients and trust-region steps against lists, autograd and direct solves."""

import itertools
import math

import pytest
import torch
from plain import CLOSE, WORLDS, numbers, outcomes, random_logits, random_policy, reward_fn, softmax

from pgnotes.theory.geometry import (
    conjugate_gradients,
    fisher,
    fisher_product,
    mirror_step,
    natural,
    trust_step,
    visits,
)
from pgnotes.theory.learning import prefix_values, symbol_values
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, prefix_rows
from pgnotes.theory.ppo import exact_kl
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
WORLD = pytest.mark.parametrize("shape", WORLDS, ids=str)


def case(shape):
    world = TokenWorld(shape[0], shape[1], reward_fn, shape[2], shape[3])
    return world, random_policy(world)


def pinv(matrix):
    return torch.linalg.pinv(matrix, hermitian=True, rtol=1e-11)


# the matrix


def test_fisher_of_a_softmax_by_adding_up_squares():
    logits = numbers(4, seed=3)
    probs = softmax(logits.tolist())
    expected = [[0.0] * 4 for _ in range(4)]
    for a, p in enumerate(probs):
        score = [(a == k) - probs[k] for k in range(4)]
        for i, j in itertools.product(range(4), repeat=2):
            expected[i][j] += p * score[i] * score[j]
    torch.testing.assert_close(fisher(SoftmaxPolicy(logits)), torch.tensor(expected, dtype=torch.float64), **CLOSE)


@WORLD
def test_fisher_is_the_hessian_of_both_kls(shape):
    world, policy = case(shape)

    def kl(forward):
        def of(logits):
            other = PrefixPolicy(logits)
            return exact_kl(world, policy, other) if forward else exact_kl(world, other, policy)

        return of

    size = policy.logits.numel()
    for forward in (True, False):
        hessian = torch.autograd.functional.hessian(kl(forward), policy.logits).reshape(size, size)
        torch.testing.assert_close(fisher(policy, world), hessian, **TIGHT)


@WORLD
def test_fisher_has_a_block_for_each_row_and_nothing_else(shape):
    """Σ_t E[s_t s_tᵀ], with the visits counted in plain Python."""
    world, policy = case(shape)
    vocab_size, horizon, eos, prompts = shape
    rows = policy.logits.shape[-2]
    blocks = torch.zeros(prompts, rows, vocab_size, prompts, rows, vocab_size, dtype=torch.float64)
    tables = policy.logits.view(prompts, rows, vocab_size)
    count = torch.zeros(prompts, rows, dtype=torch.float64)
    for prompt in range(prompts):
        for sequence in outcomes(vocab_size, horizon, eos):
            padded = (*sequence, *[0] * (horizon - len(sequence)))
            passed = prefix_rows(torch.tensor([padded]), vocab_size)[0].tolist()[: len(sequence)]
            likely = [softmax(tables[prompt, row].tolist()) for row in passed]
            chance = math.prod(row[symbol] for row, symbol in zip(likely, sequence, strict=True))
            count[prompt, passed] += chance / prompts
        for row in range(rows):
            p = tables[prompt, row].softmax(0)
            blocks[prompt, row, :, prompt, row] = count[prompt, row] * (p.diag() - torch.outer(p, p))

    size = policy.logits.numel()
    torch.testing.assert_close(visits(policy, world).view(prompts, rows), count, **CLOSE)
    torch.testing.assert_close(fisher(policy, world), blocks.view(size, size), **CLOSE)


@WORLD
def test_the_product_is_the_matrix_times_the_vector(shape):
    world, policy = case(shape)
    vector = numbers(*policy.logits.shape, seed=5)
    product = fisher_product(policy.probs, visits(policy, world), vector)
    torch.testing.assert_close(product.flatten(), fisher(policy, world) @ vector.flatten(), **CLOSE)


def test_the_product_by_autograd_twice():
    """The gradient of (∇KL)·v, as trainers take it."""
    world, policy = case(WORLDS[3])
    vector, logits = numbers(*policy.logits.shape, seed=5), policy.logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(exact_kl(world, policy, PrefixPolicy(logits)), logits, create_graph=True)
    (twice,) = torch.autograd.grad((slope * vector).sum(), logits)
    torch.testing.assert_close(fisher_product(policy.probs, visits(policy, world), vector), twice, **TIGHT)


# the natural gradient


@WORLD
def test_natural_solves_the_system(shape):
    world, policy = case(shape)
    gradient = numbers(*policy.logits.shape, seed=7)  # its rows do not add up to zero
    matrix = fisher(policy, world)
    torch.testing.assert_close(
        natural(policy, gradient, world=world).flatten(), pinv(matrix) @ gradient.flatten(), rtol=1e-8, atol=1e-8
    )
    for damping in (1e-6, 0.1, 10.0):
        damped = matrix + damping * torch.eye(len(matrix), dtype=torch.float64)
        solved = torch.linalg.solve(damped, gradient.flatten())
        found = natural(policy, gradient, damping, world).flatten()
        torch.testing.assert_close(found, solved, rtol=1e-8, atol=1e-10)


def test_natural_of_a_softmax():
    policy, gradient = SoftmaxPolicy(numbers(5)), numbers(5, seed=1)
    torch.testing.assert_close(natural(policy, gradient), pinv(fisher(policy)) @ gradient, **TIGHT)
    damped = fisher(policy) + 0.3 * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(natural(policy, gradient, 0.3), torch.linalg.solve(damped, gradient), **TIGHT)


def test_a_bandit_s_natural_gradient_is_its_rewards_up_to_a_constant():
    bandit, policy = Bandit(numbers(4, seed=2)), SoftmaxPolicy(3 * numbers(4))
    found = natural(policy, bandit.exact_gradient(policy))
    torch.testing.assert_close(found, bandit.mean_rewards - bandit.mean_rewards.mean(), **TIGHT)


@pytest.mark.parametrize("seed", range(5))
def test_a_table_s_natural_gradient_is_its_advantages(seed):
    world = sum_world()
    policy = PrefixPolicy(2 * random_logits(1, 4, 4, seed)[0])
    found = natural(policy, world.exact_gradient(policy), world=world)
    advantages = symbol_values(world, policy) - prefix_values(world, policy)[:, None]
    reached = visits(policy, world) > 0
    apart = (found - advantages)[reached]
    torch.testing.assert_close(apart, apart.mean(1, keepdim=True).expand(apart.shape), **TIGHT)
    assert (found[~reached] == 0).all()
    assert (~reached).any()


def test_rare_rows_and_rare_symbols_move_as_far_as_common_ones():
    """Where a pseudo-inverse with a cut-off would say 0."""
    world = sum_world()
    logits = random_logits(1, 4, 4)[0]
    logits[0, 0], logits[1] = 40.0, torch.tensor([0.0, -30.0, 3.0, 1.0])  # row 1 is behind a stop; others are rare
    policy = PrefixPolicy(logits)
    found = natural(policy, world.exact_gradient(policy), world=world)
    advantages = symbol_values(world, policy) - prefix_values(world, policy)[:, None]
    rare = visits(policy, world)
    rare = (rare > 0) & (rare < 1e-15)
    apart = (found - advantages)[rare]
    assert rare.sum() > 10
    torch.testing.assert_close(apart, apart.mean(1, keepdim=True).expand(apart.shape), rtol=1e-6, atol=1e-6)


def test_it_is_the_regression_of_returns_on_scores():
    """Least squares: the coefficients are F⁺∇J, the intercept is J (Peters & Schaal 2008)."""
    world, policy = case((3, 3, 0, 1))
    scores = policy.score(world.sequences, world.mask.double()).flatten(1)
    weight = world.probabilities(policy)[0].sqrt()
    design = torch.cat([scores, torch.ones(len(scores), 1, dtype=torch.float64)], 1)
    solved = torch.linalg.lstsq(weight[:, None] * design, weight * world.returns()[0], driver="gelsd").solution
    found = natural(policy, world.exact_gradient(policy), world=world).flatten()
    torch.testing.assert_close(solved[:-1], found, rtol=1e-8, atol=1e-8)
    assert solved[-1].item() == pytest.approx(world.expected_return(policy).item(), abs=1e-10)


# conjugate gradients


def system(size, seed=0, rank=None):
    root = numbers(size, rank or size, seed=seed)
    return root @ root.T


@pytest.mark.parametrize("seed", range(5))
def test_conjugate_gradients_against_a_direct_solve(seed):
    matrix, b = system(6, seed), numbers(6, seed=seed + 50)
    *_, last = conjugate_gradients(lambda v: matrix @ v, b, 12)
    torch.testing.assert_close(last.x, torch.linalg.solve(matrix, b), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_each_iterate_is_the_best_in_its_subspace(steps):
    """Of the combinations of b, Ab, …, the one with the smallest error in A's norm, by least squares."""
    matrix, b = system(6), numbers(6, seed=9)
    *_, last = conjugate_gradients(lambda v: matrix @ v, b, steps)
    powers = [b]
    for _ in range(steps - 1):
        powers.append(matrix @ powers[-1])
    basis = torch.linalg.qr(torch.stack(powers, 1)).Q
    best = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
    torch.testing.assert_close(last.x, best, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(last.residual, b - matrix @ last.x, rtol=1e-9, atol=1e-9)


def test_a_singular_matrix_gives_the_shortest_solution_and_no_more_steps_change_it():
    matrix = system(7, rank=3)
    b = matrix @ numbers(7, seed=4)
    iterates = list(conjugate_gradients(lambda v: matrix @ v, b, 30))
    assert len(iterates) == 31
    torch.testing.assert_close(iterates[-1].x, pinv(matrix) @ b, rtol=1e-8, atol=1e-8)
    assert torch.equal(iterates[-1].x, iterates[-2].x)


def test_rows_are_systems_of_their_own():
    matrices, b = torch.stack([system(4, s) for s in range(3)]), numbers(3, 4, seed=8)
    b[1] = 0  # solved before it begins
    together = list(conjugate_gradients(lambda v: (matrices @ v[..., None])[..., 0], b, 4))
    for i in range(3):
        alone = list(conjugate_gradients(lambda v, i=i: matrices[i] @ v, b[i], 4))
        for k in range(5):
            torch.testing.assert_close(together[k].x[i], alone[k].x, **TIGHT)
    assert (together[-1].x[1] == 0).all()


def test_a_zero_product_ends_at_once_and_damping_alone_gives_the_plain_gradient():
    b = numbers(4)
    assert all((x == 0).all() for x, _ in conjugate_gradients(lambda v: 0 * v, b, 3))
    iterates = list(conjugate_gradients(lambda v: 0.1 * v, b, 3))
    torch.testing.assert_close(iterates[1].x, 10 * b)
    assert iterates[1].residual.abs().max() < 1e-12
    assert torch.equal(iterates[1].x, iterates[3].x)


# steps


def test_a_trust_step_has_the_length_that_was_asked_for():
    world, policy = case((3, 3, 0, 1))
    matrix, direction = fisher(policy, world), world.exact_gradient(policy).flatten()
    for delta in (1e-4, 0.01, 2.0):
        step = trust_step(direction, lambda v: matrix @ v, delta)
        assert (step @ matrix @ step / 2).item() == pytest.approx(delta)
        assert torch.cosine_similarity(step, direction, 0).item() == pytest.approx(1)
    assert (trust_step(torch.ones(9).double(), lambda v: 0 * v, 0.1) == 0).all()


def test_the_true_kl_of_a_small_step_is_the_quadratic_one():
    """The error is of third order: a tenth of the step, about a hundredth of the relative error's square root."""
    world, policy = case((3, 3, 0, 1))
    matrix = fisher(policy, world)
    off = []
    for delta in (1e-4, 1e-6):
        step = trust_step(numbers(matrix.shape[0]), lambda v: matrix @ v, delta)
        moved = PrefixPolicy(policy.logits + step.view(policy.logits.shape))
        off.append(abs(exact_kl(world, policy, moved).item() / delta - 1))
    assert off[0] < 0.02
    assert 5 < off[0] / off[1] < 20


def test_the_natural_step_climbs_furthest_among_steps_of_its_length():
    world, policy = case((3, 3, 0, 1))
    matrix, gradient = fisher(policy, world), world.exact_gradient(policy).flatten()
    best = trust_step(natural(policy, world.exact_gradient(policy), world=world).flatten(), lambda v: matrix @ v, 0.01)
    for seed in range(50):
        other = trust_step(numbers(len(gradient), seed=seed), lambda v: matrix @ v, 0.01)
        assert gradient @ other < gradient @ best


def test_a_mirror_step_is_a_natural_step_of_a_table():
    bandit, policy = Bandit([1.0, 0.7, 0.0, -2.0]), SoftmaxPolicy(numbers(4))
    stepped = SoftmaxPolicy(policy.logits + 0.5 * natural(policy, bandit.exact_gradient(policy)))
    torch.testing.assert_close(mirror_step(policy.probs, bandit.mean_rewards, 0.5), stepped.probs, **TIGHT)


def test_a_mirror_step_one_number_at_a_time():
    probs, advantages = numbers(3, 4).softmax(-1), numbers(3, 4, seed=1)
    found = mirror_step(probs, advantages, 2.0)
    for row in range(3):
        grown = [p * math.exp(2 * a) for p, a in zip(probs[row].tolist(), advantages[row].tolist(), strict=True)]
        assert found[row].tolist() == pytest.approx([g / sum(grown) for g in grown])


def test_a_mirror_step_keeps_what_is_impossible_and_survives_large_steps():
    probs = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)
    assert mirror_step(probs, [5.0, 1.0, 0.0], 1e6).tolist() == [0.0, 1.0, 0.0]
    assert mirror_step(probs, [5.0, 1.0, 0.0], 0.0).tolist() == pytest.approx([0.0, 0.5, 0.5])


# arguments


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda p, w: fisher(None), "policy"),
        (lambda p, w: fisher(p), "world"),
        (lambda p, w: fisher(p, 1), "world"),
        (lambda p, w: fisher(SoftmaxPolicy([0.0, 1.0]), w), "world"),
        (lambda p, w: fisher(PrefixPolicy(torch.zeros(1, 2)), w), "policy"),
        (lambda p, w: natural(p, torch.zeros(3), world=w), "gradient"),
        (lambda p, w: natural(p, p.logits, -1.0, w), "damping"),
        (lambda p, w: natural(p, p.logits * math.nan, 0.0, w), "gradient"),
        (lambda p, w: list(conjugate_gradients(lambda v: v, [1.0], 0)), "steps"),
        (lambda p, w: list(conjugate_gradients(lambda v: v, "a", 1)), "b"),
        (lambda p, w: trust_step([1.0], lambda v: v, 0.0), "delta"),
        (lambda p, w: trust_step([], lambda v: v, 0.1), "direction"),
        (lambda p, w: mirror_step([0.5, 0.6], [1.0, 0.0], 1.0), "probs"),
        (lambda p, w: mirror_step([0.5, 0.5], [1.0], 1.0), "advantages"),
        (lambda p, w: mirror_step([0.5, 0.5], [1.0, 0.0], math.inf), "eta"),
    ],
)
def test_bad_arguments_are_named(call, name):
    world, policy = case((3, 3, 0, 1))
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call(policy, world)


def test_nothing_is_drawn_and_no_graph_is_left():
    world, policy = case((3, 3, 0, 1))
    state = torch.get_rng_state()
    found = natural(PrefixPolicy(policy.logits.clone().requires_grad_()), policy.logits, world=world)
    assert not found.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_natural_steps_into_a_corner_never_lose():
    """With exact advantages no step of a table does; a rare symbol's gradient is rounding, and is not magnified."""
    world = sum_world()
    policy = PrefixPolicy(random_logits(1, 4, 4)[0])
    earned = [world.expected_return(policy)]
    for _ in range(5):
        step = 30 * natural(policy, world.exact_gradient(policy), world=world)
        policy = PrefixPolicy(policy.logits + step)
        earned.append(world.expected_return(policy))
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(earned))
    assert earned[-1] > 0.8
