"""Noise measured from two halves of a batch: right on average, whatever the halves' size."""

import math

import pytest
import torch

from pgnotes.theory.estimators import draw_counts, outcomes, with_baseline
from pgnotes.theory.noise import from_halves
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

BANDIT, POLICY = Bandit([0.0, 0.5, 1.0]), SoftmaxPolicy([0.5, 0.2, 0.0])
LISTED = outcomes(BANDIT, POLICY)
SAYS = LISTED.returns[:, None] * LISTED.scores


def test_every_pair_of_halves_listed_both_are_exact():
    """Halves of one sample each: nine pairs, each with its chance."""
    k = len(SAYS)
    first, second = SAYS.repeat_interleave(k, 0), SAYS.repeat(k, 1)
    chances = LISTED.chances.repeat_interleave(k) * LISTED.chances.repeat(k)
    found = from_halves(first, second, 1)
    gradient = BANDIT.exact_gradient(POLICY)
    assert (chances @ found.signal).item() == pytest.approx((gradient @ gradient).item(), abs=1e-14)
    assert (chances @ found.trace).item() == pytest.approx(with_baseline(LISTED, 0.0).trace.item(), abs=1e-14)


def test_halves_of_sixteen_agree_with_the_exact_scale():
    generator, n = torch.Generator().manual_seed(0), 4000
    halves = torch.stack([draw_counts(LISTED.chances, 16, generator) for _ in range(2 * n)]) / 16 @ SAYS
    found = from_halves(halves[:n], halves[n:], 16)
    exact = with_baseline(LISTED, 0.0)
    for measured, wanted in ((found.signal, exact.mean @ exact.mean), (found.trace, exact.trace)):
        error = measured.std() / n**0.5
        assert abs(measured.mean() - wanted) < 4 * error < 0.1 * wanted
    assert 100 * found.scale == pytest.approx(exact.samples_needed(exact.mean, 0.1), rel=0.1)


def test_it_is_the_paper_s_formula_for_two_batch_sizes():
    """|G|² = (B |G_B|² - b |G_b|²) / (B - b), S = (|G_b|² - |G_B|²) / (1/b - 1/B), with |G_b|² of both halves."""
    first, second = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    small, large = 16, 32
    of_small = (first @ first + second @ second) / 2
    of_large = ((first + second) / 2).square().sum()
    found = from_halves(first, second, small)
    assert found.signal.item() == pytest.approx(((large * of_large - small * of_small) / (large - small)).item())
    assert found.trace.item() == pytest.approx(((of_small - of_large) / (1 / small - 1 / large)).item())


def test_without_a_signal_the_scale_is_infinite():
    assert from_halves([1.0, 0.0], [-1.0, 0.0], 8).scale == math.inf


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="^second"):
        from_halves([1.0, 0.0], [1.0], 8)
    with pytest.raises(ValueError, match="^half"):
        from_halves([1.0], [1.0], 0)
