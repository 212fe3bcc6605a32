"""TRPO's iteration against one written out for a single run, by autograd, and its limits."""

from itertools import islice

import pytest
import torch
from plain import numbers, seeded

from pgnotes.classroom.exercises.curvature import SUSPECTS
from pgnotes.theory.geometry import fisher_product
from pgnotes.theory.many import expected_returns, mean_gradient, rollouts
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.trpo import TrustRegion, line_search, row_divergence, trpo
from pgnotes.theory.worlds import sum_world

WORLD = sum_world()


def first(settings, runs=3, seed=0, logits=None, product=None):
    return next(trpo(WORLD, settings, runs, seed, logits, product))


def by_autograd(logits, batch, settings):
    """One run's iteration, with a Hessian in full and a direct solve."""
    sequences, mask, rewards = batch
    returns = rewards.sum(1)
    worth = (returns - returns.mean())[:, None]
    rows = prefix_rows(sequences, 4)
    seen = torch.zeros(85, dtype=torch.float64).index_add(0, rows[mask], torch.ones(int(mask.sum())).double())
    seen = seen / len(returns)
    old = PrefixPolicy(logits).log_prob(sequences)

    def surrogate(theta):
        ratio = (PrefixPolicy(theta).log_prob(sequences) - old).exp()
        return ((ratio - 1) * worth * mask).sum() / len(returns)

    def kl(theta):
        before = logits.log_softmax(1)
        return (seen[:, None] * before.exp() * (before - theta.log_softmax(1))).sum()

    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate(leaf), leaf)
    matrix = torch.autograd.functional.hessian(kl, logits).view(340, 340)
    matrix = matrix + settings.damping * torch.eye(340, dtype=torch.float64)
    x = torch.linalg.solve(matrix, gradient.flatten())
    step = (2 * settings.delta / (x @ matrix @ x)).sqrt() * x
    for k in range(11):
        tried = logits + 0.5**k * step.view(85, 4)
        if kl(tried) <= settings.delta and surrogate(tried) > 0:
            return tried, kl(tried), surrogate(tried), k
    return logits, 0.0, 0.0, 11


@pytest.mark.parametrize("delta", [0.05, 2.0])
def test_an_iteration_written_out(delta):
    settings, start = TrustRegion(delta, products=60), numbers(85, 4)
    got = first(settings, runs=3, seed=4, logits=start)
    batch = rollouts(WORLD, start.repeat(3, 1, 1), 64, seeded(4))
    for run in range(3):
        now, kl, gain, halved = by_autograd(start, [each[run] for each in batch], settings)
        torch.testing.assert_close(got.now[run], now, rtol=1e-6, atol=1e-7)
        assert got.kl[run].item() == pytest.approx(float(kl), rel=1e-6)
        assert got.gain[run].item() == pytest.approx(float(gain), rel=1e-6)
        assert got.halved[run] == halved


def test_steps_obey_both_of_their_limits():
    for settings in (TrustRegion(0.05), TrustRegion(3.0, damping=0.0), TrustRegion(0.5, batch=8)):
        for at in islice(trpo(WORLD, settings, 20, 0), 8):
            moved = (at.now != at.old).any(2).any(1)
            assert (at.kl <= settings.delta).all()
            assert (at.gain[moved] > 0).all()
            assert (at.halved[~moved] != settings.halvings + 1).logical_or(at.gain[~moved] == 0).all()


def test_a_line_search_that_must_halve_does():
    """X's steps are often too long: they do not know the policy's curvature."""
    halved = torch.stack([at.halved for at in islice(trpo(WORLD, TrustRegion(), 20, 0, product=SUSPECTS["X"]), 8)])
    assert (halved > 0).any()
    assert (halved <= 10).all()


def test_without_halvings_what_is_too_long_is_not_taken():
    *_, at = islice(trpo(WORLD, TrustRegion(halvings=0), 50, 0, product=SUSPECTS["X"]), 8)
    refused = at.halved == 1
    assert refused.any()
    assert torch.equal(at.now[refused], at.old[refused])
    assert (at.kl[refused] == 0).all()


def test_a_step_downhill_is_refused_however_short():
    theta = numbers(85, 4).repeat(2, 1, 1)
    batch = rollouts(WORLD, theta, 64, seeded())
    returns = batch.rewards.sum(-1)
    worth = (returns - returns.mean(1, keepdim=True))[..., None].expand(batch.rewards.shape)
    rows = prefix_rows(batch.sequences.flatten(0, 1), 4).view(batch.sequences.shape)
    uphill = mean_gradient(theta, batch, rows, worth, 0.0)
    step = torch.stack([-uphill[0], uphill[1]])
    found = line_search(theta, step, batch, rows, worth, TrustRegion())
    assert found.share.tolist() == [0.0, 1.0]
    assert found.halved.tolist() == [11, 0]


def test_equal_returns_give_no_step_and_no_search():
    start = torch.zeros(85, 4).double()
    start[:, 0] = 50.0  # stops at once, always
    at = first(TrustRegion(), 2, logits=start)
    assert torch.equal(at.now, at.old)
    assert at.halved.tolist() == [0, 0]


def test_the_same_seed_gives_the_same_run_and_another_another():
    one, again, other = (torch.stack([at.now for at in islice(trpo(WORLD, TrustRegion(), 2, s), 3)]) for s in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_row_divergence_is_the_kl_of_each_row():
    old, new = numbers(5, 4), numbers(5, 4, seed=1)
    expected = torch.nn.functional.kl_div(new.log_softmax(1), old.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(row_divergence(old, new), expected)


# the planted bug


def test_y_is_the_fisher_product_and_x_is_nothing():
    logits, v = numbers(2, 85, 4), numbers(2, 85, 4, seed=1)
    visits = numbers(2, 85, seed=2).abs()
    torch.testing.assert_close(SUSPECTS["Y"](logits, visits, v), fisher_product(logits.softmax(-1), visits, v))
    assert SUSPECTS["X"](logits, visits, v).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["X", "Y"])
def test_either_kl_is_flat_at_the_policy_itself(name):
    logits, visits = numbers(2, 85, 4), numbers(2, 85, seed=2).abs()
    kl, slope = SUSPECTS[name].kl(logits, visits)
    assert kl.abs() < 1e-12
    assert slope.shape == logits.shape
    assert slope.abs().max() < 1e-12


def test_x_is_solved_in_one_product_and_takes_the_plain_direction():
    at = first(TrustRegion(), 3, product=SUSPECTS["X"])
    assert (at.residuals[0] == 1).all()
    assert (at.residuals[1] < 1e-12).all()
    sound = first(TrustRegion(), 3, product=SUSPECTS["Y"])
    assert (sound.residuals[1] > 0.1).all()
    own = first(TrustRegion(), 3)
    torch.testing.assert_close(sound.now, own.now)
    # the whole step is √(2 δ / damping) = 1 long, whatever the policy
    lengths = (at.now - at.old).flatten(1).norm(dim=1) * 2.0**at.halved
    torch.testing.assert_close(lengths, torch.ones(3).double())


def test_it_learns():
    *_, last = islice(trpo(WORLD, TrustRegion(0.5, damping=0.0), 10, 0), 15)
    assert (expected_returns(WORLD, last.now) > 0.95).all()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"delta": 0.0}, "delta"),
        ({"batch": 1}, "batch"),
        ({"products": 0}, "products"),
        ({"damping": -1.0}, "damping"),
        ({"halvings": -1}, "halvings"),
    ],
)
def test_bad_settings_are_named(change, name):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        TrustRegion(**change)
    for runs, seed in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match=r"^(runs|seed)\b"):
            next(trpo(WORLD, TrustRegion(), runs, seed))
