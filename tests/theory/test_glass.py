"""The glass world, and the reward models fitted to it."""

import math
from itertools import islice, product

import pytest
import torch
from plain import CLOSE, random_policy

from pgnotes.theory.glass import (
    SIGHTS,
    glass_features,
    glass_reference,
    glass_scores,
    glass_world,
    paying,
    poured,
)
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.ppo import Settings, exact_kl, ppo, returns_of
from pgnotes.theory.preferences import agreement, best_of, preference, tilted, tilted_policy


def listed():
    """Every sequence with its chance under the reference and its return, in plain Python."""
    exps = [math.exp(x) for x in (0.2, 0.7, 0.3, -0.8)]
    row = [e / sum(exps) for e in exps]
    found = {}
    for length in range(4):
        for pours in product((1, 2, 3), repeat=length):
            chance = math.prod(row[i] for i in pours) * row[0]
            total = sum(pours)
            found[(*pours, *[0] * (4 - length))] = (chance, total / 6 if total <= 6 else 0.0)
    for pours in product((1, 2, 3), repeat=4):
        found[pours] = (math.prod(row[i] for i in pours), 0.0)
    return found


def chances():
    return glass_world().probabilities(glass_reference())[0]


def test_chances_and_returns_are_those_counted_by_hand():
    world, found = glass_world(), listed()
    assert len(found) == len(world.sequences) == 121
    for sequence, chance, paid in zip(world.sequences.tolist(), chances(), world.returns()[0], strict=True):
        assert (chance.item(), paid.item()) == pytest.approx(found[tuple(sequence)], abs=1e-14)
    assert world.expected_return(glass_reference()).item() == pytest.approx(0.1957, abs=5e-5)


def test_the_same_sequences_paid_otherwise():
    world, scores = glass_world(), torch.arange(121).double() - 7
    other = paying(world, scores)
    assert torch.equal(other.returns()[0], scores)
    assert torch.equal((other.rewards[0] != 0).sum(1), (scores != 0).long())  # all at one symbol
    last = world.mask.sum(1) - 1
    assert torch.equal(other.rewards[0][torch.arange(121), last], scores)
    assert other.eos == 0


@pytest.mark.parametrize("sight", SIGHTS)
def test_a_reward_model_s_optimum_pours_as_its_score_is_highest(sight):
    world, p = glass_world(), chances()
    scores = glass_scores(sight, 0.1)
    top = scores == scores.max()
    end = (p[top] @ world.returns()[0][top] / p[top].sum()).item()
    assert end == pytest.approx(1.0 if sight == "square" else 0.0, abs=1e-15)  # but for the division's rounding
    nearly = tilted(p, scores, 1e-4)
    assert (nearly @ world.returns()[0]).item() == pytest.approx(end, abs=1e-12)


def test_two_models_differ_in_one_answer_and_agree_with_the_judges_alike():
    p, wins = chances(), preference(glass_world().returns()[0], 0.1)
    square, blind = (glass_scores(sight, 0.1) for sight in ("square", "blind"))
    (odd,) = (square != blind).nonzero().flatten().tolist()
    assert glass_world().sequences[odd].tolist() == [3, 3, 3, 0]
    assert f"{agreement(p, square, wins):.1%}" == f"{agreement(p, blind, wins):.1%}" == "77.4%"
    without = torch.arange(121) != odd
    q = p[without] / p[without].sum()
    same = [agreement(q, s[without], wins[without][:, without]) for s in (square, blind)]
    assert same[0] == same[1]


def test_the_agreements_of_the_lesson():
    p, wins = chances(), preference(glass_world().returns()[0], 0.1)
    found = [agreement(p, glass_scores(sight, 0.1), wins) for sight in ("sum", "length", "square")]
    best = agreement(p, glass_world().returns()[0], wins)
    assert [round(a, 3) for a in (*found, best)] == [0.770, 0.771, 0.774, 0.781]


def test_features_are_sum_and_stop_first():
    for sight in SIGHTS:
        features = glass_features(sight)
        row = glass_world().sequences.tolist().index([3, 3, 1, 0])
        assert features[row, :2].tolist() == [7.0, 1.0]
    assert glass_features("square")[row, 2] == 49
    assert glass_features("length")[row, 2] == 4


def test_what_is_poured_adds_up():
    amounts = poured(chances())
    assert amounts.sum().item() == pytest.approx(1.0)
    assert amounts[7:].sum().item() == pytest.approx(sum(p for s, (p, _) in listed().items() if sum(s) > 6))


def test_tilting_symbol_by_symbol_pays_the_scores():
    scores = glass_scores("sum", 0.1)
    world = paying(glass_world(), scores)
    policy = tilted_policy(world, glass_reference(), 1.0)
    torch.testing.assert_close(world.probabilities(policy)[0], tilted(chances(), scores, 1.0), **CLOSE)


def test_gao_s_hump_and_the_best_of_sixteen():
    """The figures of claims C50 and C54."""
    p, paid = chances(), glass_world().returns()[0]
    scores = glass_scores("sum", 0.1)
    along = [(tilted(p, scores, beta) @ paid).item() for beta in torch.logspace(-1.3, 1.5, 600).tolist()]
    assert max(along) == pytest.approx(0.534, abs=5e-4)
    best = best_of(p, scores, 16)
    assert (best @ paid).item() == pytest.approx(0.696, abs=5e-4)
    assert (best @ scores).item() == pytest.approx(7.09, abs=5e-3)


def test_ppo_by_symbol_has_the_whole_return_s_mean_at_the_start_of_a_sequence():
    world, policy = glass_world(), random_policy(glass_world(), 1)
    batch = world.rollout(policy, 20, torch.Generator().manual_seed(0))
    settings = Settings(reference_weight=0.3)
    whole = returns_of(batch, policy, glass_reference(), settings)
    to_go = returns_of(batch, policy, glass_reference(), Settings(reference_weight=0.3, by_symbol=True))
    assert torch.equal(whole, whole[:, :1].expand(whole.shape))
    torch.testing.assert_close(to_go[:, 0], whole[:, 0], **CLOSE)
    assert not torch.equal(to_go, whole)


def test_ppo_with_the_kl_in_the_reward_arrives_at_the_tilted_policy():
    """On the true reward with β = 0.2; its distance to the optimum falls below a tenth of what it was."""
    world, start, beta = glass_world(), glass_reference(), 0.2
    optimum = tilted_policy(world, start, beta)

    def short(policy):
        gap = exact_kl(world, policy, optimum)  # β KL(π ‖ π*) is what the objective lacks
        return beta * gap.item()

    settings = Settings(step_size=10.0, batch=128, epochs=2, value_weight=0.05, reference_weight=beta, by_symbol=True)
    run = list(islice(ppo(world, settings, seed=0, logits=start.logits), 0, 3 * 80, 3))
    assert short(run[-1].policy) < 0.1 * short(start)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sight"):
        glass_scores("everything", 0.1)
    with pytest.raises(ValueError, match="noise"):
        glass_scores("sum", 0.0)
    with pytest.raises(ValueError, match="scores"):
        paying(glass_world(), torch.zeros(5))
    assert isinstance(glass_reference(), PrefixPolicy)
