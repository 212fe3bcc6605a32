"""pass@k against every set of k samples, its gradient against autograd, and two prompts that share a strategy."""

import itertools
import math

import pytest
import torch

from pgnotes.theory.pass_at_k import climb, pass_at_k, pass_at_k_weight, pass_rate_of_k, shared_rates


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 1), (6, 3), (7, 7)])
def test_the_share_of_all_sets_of_k_that_hold_a_right_one(n, k):
    for right in range(n + 1):
        sets = list(itertools.combinations(range(n), k))
        wanted = sum(min(chosen) < right for chosen in sets) / len(sets)  # the first `right` samples are right
        assert pass_at_k(n, right, k).item() == pytest.approx(wanted, abs=1e-14)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_it_has_no_bias_and_the_rate_plugged_in_has(p):
    n, k = 8, 4
    chances = torch.tensor([math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)], dtype=torch.float64)
    counts = torch.arange(n + 1, dtype=torch.float64)
    truth = pass_rate_of_k(p, k).item()
    assert chances @ pass_at_k(n, counts, k) == pytest.approx(truth, abs=1e-14)
    assert chances @ (1 - (1 - counts / n) ** k) < truth - 1e-3


def test_large_numbers_do_not_overflow():
    found = pass_at_k(100_000, [[0, 1, 500], [50_000, 99_999, 100_000]], 1000)
    exact = 1 - math.comb(100_000 - 500, 1000) / math.comb(100_000, 1000)
    assert found[0].tolist() == pytest.approx([0.0, 0.01, exact])
    assert found[1].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("k", [1, 2, 16])
def test_the_weight_is_the_derivative(k):
    p = torch.tensor([0.0, 0.03, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((1 - (1 - p) ** k).sum(), p)
    torch.testing.assert_close(pass_at_k_weight(p, k), slope)


def test_two_prompts_share_one_strategy():
    """Claim C86: more of strategy A raises pass@1 and lowers pass@64."""
    before, after = shared_rates([0.5, 0.999])
    assert before.tolist() == pytest.approx([0.6, 0.15])
    assert after.mean() == pytest.approx(0.450, abs=5e-4)
    assert before.mean() == pytest.approx(0.375)
    assert pass_rate_of_k(before, 64).mean() == pytest.approx(1.0, abs=5e-4)
    assert pass_rate_of_k(after, 64).mean() == pytest.approx(0.51, abs=5e-3)


@pytest.mark.parametrize("k", [1, 4, 64])
def test_a_step_of_the_climb_is_autograd_s(k):
    first, second = itertools.islice(climb(k, 0.3, 0.7), 2)
    logit = torch.tensor(math.log(0.3 / 0.7), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pass_rate_of_k(shared_rates(logit.sigmoid()), k).mean(), logit)
    assert first.share == pytest.approx(0.3)
    assert second.share == pytest.approx((logit + 0.7 * slope).sigmoid().item(), abs=1e-14)
    assert torch.equal(second.rates, shared_rates(second.share))


def test_climbing_pass_at_1_loses_strategy_b_and_climbing_pass_at_4_keeps_it():
    one, four = (next(itertools.islice(climb(k), 3000, None)) for k in (1, 4))
    assert one.share > 0.99
    assert four.share < 0.2
    assert pass_rate_of_k(four.rates, 64).mean() > 0.999 > pass_rate_of_k(one.rates, 64).mean() + 0.4


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("n", lambda: pass_at_k(0, 0, 1)),
        ("k", lambda: pass_at_k(3, 0, 4)),
        ("k", lambda: pass_at_k(3, 0, 0)),
        ("right", lambda: pass_at_k(3, 4, 1)),
        ("right", lambda: pass_at_k(3, [0, -1], 1)),
        ("right", lambda: pass_at_k(3, 0.5, 1)),
        ("right", lambda: pass_at_k(3, "a", 1)),
        ("right", lambda: pass_at_k(3, math.nan, 1)),
        ("rate", lambda: pass_rate_of_k(1.1, 2)),
        ("rate", lambda: pass_at_k_weight(-0.1, 2)),
        ("k", lambda: pass_at_k_weight(0.1, 0)),
        ("share", lambda: shared_rates([0.5, 2.0])),
        ("share", lambda: next(climb(1, 1.0))),
        ("share", lambda: next(climb(1, "a"))),
        ("k", lambda: next(climb(0))),
        ("step_size", lambda: next(climb(1, 0.5, 0.0))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        call()
