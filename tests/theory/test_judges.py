"""Judges who err: the formula against drawn verdicts, and the 17 kinds of answer against all 121 answers."""

import itertools
import math

import pytest
import torch
from plain import seeded

from pgnotes.theory.estimators import draw_counts
from pgnotes.theory.glass import glass_reference, glass_world
from pgnotes.theory.judges import NOISE, RIDGE, answer_kinds, clean_verdicts, learned_scores, verdicts
from pgnotes.theory.preferences import fit_bradley_terry, judged, preference, tilted_to, verdicts_agree

REWARDS = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)


@pytest.mark.parametrize("flips", [0.0, 0.2, 0.5])
def test_judged_against_the_odds_written_out(flips):
    bias = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)
    found = judged(preference(REWARDS, 0.5), flips, bias)
    for i, j in itertools.product(range(3), repeat=2):
        odds = math.exp((REWARDS[i] - REWARDS[j]).item() / 0.5 + (bias[i] - bias[j]).item())
        says = odds / (1 + odds)
        assert found[i, j].item() == pytest.approx(says * (1 - flips) + (1 - says) * flips)
    assert torch.allclose(found + found.T, torch.ones(3, 3, dtype=torch.float64))


def test_no_error_is_the_same_judge_and_certainty_stays_certain():
    wins = preference(REWARDS, 0.5)
    assert torch.equal(judged(wins), wins)
    sure = torch.tensor([[0.5, 1.0], [0.0, 0.5]], dtype=torch.float64)
    assert judged(sure, 0.0, [5.0, -5.0]).tolist() == [[0.5, 1.0], [0.0, 0.5]]


def test_flips_keep_the_order():
    wins = preference(REWARDS, 0.5)
    assert ((judged(wins, 0.45) > 0.5) == (wins > 0.5)).all()


def test_verdicts_agree_as_often_as_drawn_ones():
    chances = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    one, other = preference(REWARDS, 0.5), judged(preference(REWARDS, 0.5), 0.3)
    first, second = torch.multinomial(chances, 400_000, True, generator=seeded(0)).view(2, -1)
    said = [torch.rand(200_000, generator=seeded(seed)) < wins[first, second] for seed, wins in ((1, one), (2, other))]
    assert verdicts_agree(chances, one, other) == pytest.approx((said[0] == said[1]).double().mean().item(), abs=0.005)


@pytest.mark.parametrize(("flips", "love"), [(0.0, 0.0), (0.4, 0.0), (0.0, 2.0), (0.2, 1.0)])
def test_the_kinds_stand_for_all_answers(flips, love):
    """The same fit on 121 answers, with a feature for each sum with a stop, one for no stop, and the length."""
    world = glass_world()
    chances, returns = world.probabilities(glass_reference())[0].detach(), world.returns()[0]
    sums, length = world.sequences.sum(1), world.mask.sum(1).double()
    stops = (world.sequences == 0).any(1)
    columns = [(stops & (sums == total)).double() for total in range(10)]
    features = torch.stack([*columns, (~stops).double(), length], 1)
    wins = judged(preference(returns, NOISE), flips, love * length)
    scores = features @ fit_bradley_terry(features, chances[:, None] * chances * wins)

    kinds = answer_kinds()
    assert len(kinds.chances) == 17
    assert kinds.chances.sum().item() == pytest.approx(1)
    mine = learned_scores(verdicts(flips, love), None)
    for kl in (0.5, 2.0):
        ours, theirs = tilted_to(kinds.chances, mine, kl), tilted_to(chances, scores, kl)
        assert (ours @ kinds.returns).item() == pytest.approx((theirs @ returns).item(), abs=1e-6)
        assert (ours @ kinds.lengths).item() == pytest.approx((theirs @ length).item(), abs=1e-5)
    agree = verdicts_agree(kinds.chances, clean_verdicts(), verdicts(flips, love))
    assert agree == pytest.approx(verdicts_agree(chances, preference(returns, NOISE), wins))


def test_a_finite_fit_is_the_lowest_point_of_its_loss():
    """Pairs drawn one by one here; the loss's slope at the fit is 0, and many pairs come near endlessly many."""
    kinds, wins = answer_kinds(), verdicts(0.0, 0.0)
    many = learned_scores(wins, 1_000_000, seed=3)
    endless = learned_scores(wins, None)
    ours, best = (tilted_to(kinds.chances, scores, 2.0) @ kinds.returns for scores in (many, endless))
    assert ours.item() == pytest.approx(best.item(), abs=5e-4)
    assert torch.equal(learned_scores(wins, 300, 5), learned_scores(wins, 300, 5))
    assert not torch.equal(learned_scores(wins, 300, 5), learned_scores(wins, 300, 6))
    assert RIDGE == 1.0


def test_a_finite_fit_balances_verdicts_and_ridge():
    """The slope of the penalised likelihood, pair by pair, over verdicts that are drawn and counted here."""
    kinds, wins = answer_kinds(), verdicts(0.2, 1.0)
    generator, size = seeded(9), len(kinds.chances)
    met = draw_counts((kinds.chances[:, None] * kinds.chances).flatten(), 500, generator).view(size, size)
    won = torch.binomial(met, wins.contiguous(), generator=generator)
    assert met.sum() == 500
    scores = learned_scores(wins, 500, seed=9)
    weights = torch.linalg.pinv(kinds.features) @ scores
    slope = -RIDGE * weights
    for i, j in itertools.product(range(size), repeat=2):
        apart, lead = kinds.features[i] - kinds.features[j], scores[i] - scores[j]
        slope += won[i, j] * torch.sigmoid(-lead) * apart - (met - won)[i, j] * torch.sigmoid(lead) * apart
    assert slope.abs().max() < 1e-6


def test_both_orders_of_a_pair_count():
    """A judge who always prefers the longer of two: no score falls with length by more than the ridge allows."""
    lengths = answer_kinds().lengths
    always = (lengths[:, None] > lengths).double() + (lengths[:, None] == lengths).double() / 2
    scores = learned_scores(always, 3000, seed=0)
    chances = answer_kinds().chances
    means = [(scores * chances)[lengths == n].sum() / chances[lengths == n].sum() for n in (1, 2, 3, 4)]
    assert means == sorted(means)


def test_bad_input_is_named():
    wins = preference(REWARDS, 0.5)
    for bad in (0.6, -0.1, "a", None):
        with pytest.raises(ValueError, match="^flips"):
            judged(wins, bad)
    with pytest.raises(ValueError, match="^bias"):
        judged(wins, 0.1, [1.0, 2.0])
    with pytest.raises(ValueError, match="^wins"):
        judged(2 * wins)
    with pytest.raises(ValueError, match="^wins"):
        judged(wins[:2])
    with pytest.raises(ValueError, match="^others"):
        verdicts_agree([0.5, 0.3, 0.2], wins, wins[:2, :2])
    with pytest.raises(ValueError, match="^love"):
        verdicts(0.1, float("nan"))
    with pytest.raises(ValueError, match="^pairs"):
        learned_scores(clean_verdicts(), 0)
    with pytest.raises(ValueError, match="^seed"):
        learned_scores(clean_verdicts(), 10, -1)
