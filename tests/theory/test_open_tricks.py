"""Target networks, first weights, paced steps, process rewards, AUC: lesson 15's small modules, each another way."""

import itertools
from itertools import islice

import pytest
import torch
from plain import seeded

from pgnotes.theory.deep_start import KINDS, end_values, extremes, first_entropy, first_weights, layer_slopes, through
from pgnotes.theory.many import expected_returns, reinforce_many, rollouts, sequences_until
from pgnotes.theory.many_ppo import rows_of
from pgnotes.theory.paced import FASTEST, SLOWEST, confidence, natural_steps, one_by_one
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.process import process_returns, step_values
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.separation import auc
from pgnotes.theory.target_networks import LinearTD, random_td, runs_away
from pgnotes.theory.trpo import TrustRegion, trpo
from pgnotes.theory.worlds import sum_world

WORLD = sum_world()

# target networks


@pytest.mark.parametrize("every", [1, 10, 200])
def test_runs_away_is_what_iterating_shows(every):
    """The recursion itself, without rewards, from a random start, against the spectral radius."""
    td = random_td(60, 6, 3, 0.99, seed=5)
    said = runs_away(td, every)
    alpha = 0.1 / torch.linalg.eigvalsh(td.own).amax(-1)[:, None, None]
    w = torch.randn(60, 3, 1, dtype=torch.float64, generator=seeded(0))
    copy, sizes = w, []
    for step in range(20_000):
        if step % every == 0:
            copy = w
            sizes.append(w.norm(dim=(1, 2)))
        w = w + alpha * (td.bootstrapped @ copy - td.own @ w)
        if step % 1000 == 0:  # only the direction matters
            scale = w.norm(dim=(1, 2), keepdim=True).clamp(min=1e-200)
            sizes, w, copy = [], w / scale, copy / scale
    grew = sizes[-1] > sizes[len(sizes) // 2]
    assert 0 < said.sum() < 60
    assert (grew == said).double().mean() > 0.96  # those on the edge take longer than this


def test_waiting_for_the_regression_is_iterated_projection():
    td = random_td(50, 6, 3, 0.99, seed=6)
    w = torch.randn(50, 3, 1, dtype=torch.float64, generator=seeded(1))
    for _ in range(400):
        w = torch.linalg.solve(td.own, td.bootstrapped @ w)
        last = w.norm(dim=(1, 2))
        w = w / last[:, None, None]
    assert torch.equal(last > 1, runs_away(td, None)) or (last > 1).ne(runs_away(td, None)).sum() <= 1


def test_on_its_own_data_nothing_runs_away():
    td = random_td(500, 6, 3, 0.99, seed=7, on_policy=True)
    assert not any(runs_away(td, every).any() for every in (1, 10, 1000, None))


def test_a_known_case_runs_away():
    """Two states, values w and 2w; all data from the first, which leads to the second (Tsitsiklis & Van Roy 1997)."""
    own = torch.tensor([[[1.0]]], dtype=torch.float64)
    for gamma, away in ((0.4, False), (0.6, True)):
        td = LinearTD(own, 2 * gamma * own)
        assert [runs_away(td, every).item() for every in (1, 10, None)] == [away] * 3


# first weights


def test_rotations_keep_lengths_and_normal_weights_do_on_average():
    weights = first_weights("orthogonal", 3, 8, seeded(0))
    assert torch.allclose(weights @ weights.mT, torch.eye(8, dtype=torch.float64).expand(3, 8, 8), atol=1e-12)
    normal = first_weights("normal", 200, 8, seeded(0))
    assert (normal.square().sum(1).mean() - 1).abs() < 0.03


@pytest.mark.parametrize("squash", [False, True])
def test_the_derivative_is_autograd_s(squash):
    weights, start = first_weights("normal", 4, 5, seeded(1)), torch.randn(5, dtype=torch.float64, generator=seeded(2))

    def net(x):
        for layer in weights:
            x = layer @ x
            x = torch.tanh(x) if squash else x
        return x

    signal, slope = through(weights, start, squash)
    assert torch.allclose(signal, net(start))
    assert torch.allclose(slope, torch.autograd.functional.jacobian(net, start), atol=1e-12)


@pytest.mark.parametrize("squash", [False, True])
def test_both_ends_by_the_determinant(squash):
    """Two dimensions: what the smaller singular value is, where rounding hides it, is |det| / the larger."""
    start = torch.randn(2, dtype=torch.float64, generator=seeded(4))
    _, slopes = layer_slopes(first_weights("normal", 80, 2, seeded(3)), start, squash)
    low, high = end_values(slopes)
    assert low < 1e-18 * high
    assert low * high == pytest.approx(torch.linalg.det(slopes).abs().prod().item(), rel=1e-6)


def test_extremes_and_first_entropy():
    assert extremes("orthogonal", False, 2, seeded(0)) == pytest.approx((1, 1), abs=1e-12)
    low, high = extremes("normal", False, 2, seeded(0))
    assert low < 1e-12
    assert high > 2
    assert first_entropy(0.0, 3, seeded(0)) == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-6)
    assert first_entropy(1.0, 50, seeded(0)) < first_entropy(0.01, 50, seeded(0))


# paced steps


def test_confidence_by_hand():
    gradients = torch.tensor(
        [[[1.0, 0.0], [3.0, 0.0], [2.0, 1.0]], [[1.0, 0], [1, 0], [1, 0]], [[1.0, 0], [-1, 0], [0, 0]]]
    )
    mean, n = gradients[0].mean(0), 3
    noise = sum(((g - mean) ** 2).sum() for g in gradients[0]) / (n * (n - 1))
    by_hand = ((mean**2).sum() - noise) / noise
    found = confidence(gradients.double())
    assert found[0].item() == pytest.approx(min(by_hand.item(), FASTEST))
    assert found[1].item() == 1.0  # no noise at all
    assert found[2].item() == SLOWEST  # no signal


def test_the_gradients_one_by_one_are_scores_times_advantages():
    theta = torch.randn(2, 85, 4, dtype=torch.float64, generator=seeded(3))
    drawn = rollouts(WORLD, theta, 5, seeded(4))
    advantages = torch.randn(2, 5, dtype=torch.float64, generator=seeded(5))
    found = one_by_one(theta, drawn, rows_of(drawn.sequences, 4), advantages)
    for run, i in itertools.product(range(2), range(5)):
        logits = theta[run].clone().requires_grad_()
        logp = (PrefixPolicy(logits).log_prob(drawn.sequences[run, i : i + 1]) * drawn.mask[run, i]).sum()
        (score,) = torch.autograd.grad(logp, logits)
        assert torch.allclose(found[run, i].view(85, 4), advantages[run, i] * score, atol=1e-12)


def test_fixed_steps_are_trpo_s_without_a_line_search():
    """The same batches, and a step that lesson 12's TRPO takes whole."""
    ours = list(islice(natural_steps(WORLD, 0.01, 64, 3, seed=2), 2))
    theirs = next(iter(trpo(WORLD, TrustRegion(delta=0.01, batch=64), 3, 2)))
    whole = theirs.halved == 0
    step, wanted = ours[1][0] - ours[0][0], theirs.now - theirs.old
    assert torch.equal(ours[0][0], theirs.old)
    for run in range(3):
        share = wanted[run].norm() / step[run].norm()
        assert torch.allclose(step[run] * share, wanted[run], atol=1e-9)
        assert not whole[run] or share.item() == pytest.approx(1, abs=1e-9)


def test_a_pace_of_four_doubles_the_step():
    fixed = list(islice(natural_steps(WORLD, 0.02, 8, 20, seed=0), 2))
    paced = list(islice(natural_steps(WORLD, 0.02, 8, 20, seed=0, paced=True), 2))
    pace = paced[0][1]
    assert torch.allclose(paced[1][0], fixed[1][0] * pace.sqrt()[:, None, None], atol=1e-12)
    assert pace.min() == SLOWEST


# when a run arrives


def test_sequences_until_counts_by_hand():
    states = list(islice(reinforce_many(WORLD, Recipe(step_size=5.0, normalise=True), 12, 0), 61))
    curves = torch.stack([expected_returns(WORLD, logits) for logits in states])
    found = sequences_until(WORLD, iter(states), 16, 0.9, 60 * 16)
    for run in range(12):
        there = (curves[:, run] >= 0.9).nonzero()
        assert found[run].item() == (16 * there[0].item() if len(there) else float("inf"))
    assert sequences_until(WORLD, iter(states), 16, 0.9, 15).isinf().all()
    with pytest.raises(ValueError, match="^states"):
        sequences_until(WORLD, iter(()), 16, 0.9, 15)


# rewards for steps


def test_step_values_by_listing():
    logits = torch.randn(85, 4, dtype=torch.float64, generator=seeded(6))
    policy = PrefixPolicy(logits)
    chances, returns = WORLD.probabilities(policy)[0], WORLD.returns()[0]
    before, after = step_values(WORLD, policy)
    sequences = WORLD.sequences
    for n, t in itertools.product(range(0, len(sequences), 7), range(4)):
        if not WORLD.mask[n, t]:
            assert before[n, t] == after[n, t] == 0
            continue
        for length, found in ((t, before[n, t]), (t + 1, after[n, t])):
            over = length > t and (sequences[n, t] == 0 or t == 3)
            here = (sequences[:, :length] == sequences[n, :length]).all(1)
            wanted = returns[n] if over else (chances[here] @ returns[here]) / chances[here].sum()
            assert found.item() == pytest.approx(wanted.item(), abs=1e-12)


def test_differences_are_the_outcome_less_a_constant_and_others_are_not():
    policy = PrefixPolicy(torch.randn(85, 4, dtype=torch.float64, generator=seeded(7)))
    paid = process_returns(WORLD, policy)
    start = WORLD.expected_return(policy).detach()
    assert torch.allclose(paid["differences of V"], paid["the outcome"] - start, atol=1e-11)
    _, after = step_values(WORLD, policy)
    for n in (0, 50, 120):
        live = after[n][WORLD.mask[n]].tolist()
        assert paid["sum of V"][n].item() == pytest.approx(sum(live))
        assert paid["mean of V"][n].item() == pytest.approx(sum(live) / len(live))
        assert paid["smallest V"][n].item() == pytest.approx(min(live))


# which of two has the higher value


def test_auc_counts_pairs():
    values = torch.tensor([3.0, 1.0, 2.0, 2.0, 5.0])
    passed = torch.tensor([True, False, True, False, False])
    share, error = auc(values, passed)
    pairs = [(a > b) + 0.5 * (a == b) for a in (3, 2) for b in (1, 2, 5)]
    assert share == pytest.approx(sum(pairs) / 6)
    assert error > 0
    assert auc(-values, passed)[0] == pytest.approx(1 - share)


def test_the_error_of_auc_is_the_spread_over_samples():
    """Two normal laws, a hundred and twenty values, four hundred times."""
    passed, found = torch.arange(120) < 40, []
    for seed in range(400):
        found.append(auc(torch.randn(120, dtype=torch.float64, generator=seeded(seed)) + 0.5 * passed, passed))
    shares, errors = torch.tensor(found).T
    assert errors.mean().item() == pytest.approx(shares.std().item(), rel=0.08)
    assert shares.mean().item() == pytest.approx(0.5 * (1 + torch.erf(torch.tensor(0.25)).item()), abs=0.01)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: auc([1.0, 2.0, 3.0], [True, False, False]), "positive"),
        (lambda: auc("a", [True]), "values"),
        (lambda: random_td(0, 6, 3, 0.9, 0), "cases"),
        (lambda: random_td(5, 6, 3, 1.9, 0), "gamma"),
        (lambda: runs_away(random_td(2, 6, 3, 0.9, 0), 0), "every"),
        (lambda: first_weights("xavier", 2, 3, seeded(0)), "kind"),
        (lambda: first_weights(KINDS[0], 2, 3, None), "generator"),
        (lambda: extremes("normal", True, 0, seeded(0)), "nets"),
        (lambda: next(natural_steps(WORLD, 0.0, 8, 2, 0)), "delta"),
        (lambda: next(natural_steps(WORLD, 0.1, 1, 2, 0)), "batch"),
        (lambda: sequences_until(WORLD, iter(()), 0, 0.9, 15), "batch"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(ValueError, match=f"^{word}"):
        call()
