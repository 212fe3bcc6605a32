"""What each objective multiplies a score with, against the closed forms of the papers."""

import math

import pytest
import torch
from plain import numbers

from pgnotes.theory.terms import KINDS, gate_range
from pgnotes.theory.token_weights import loss_weights, token_weight

RATIOS = torch.tensor([0.05, 0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 1.3, 1.5, 4.0], dtype=torch.float64)
LOW, HIGH = 0.2, 0.25


def closed_form(kind, r, a, chance):
    """∂J/∂log π of one token, in plain Python."""
    if kind == "reinforce":
        return a
    if kind == "cispo":
        return min(r, 1 + HIGH) * a
    if kind == "sapo":
        tau = 1.0 if a > 0 else 1.05
        return r * a / math.cosh(tau * (r - 1) / 2) ** 2  # 4 σ (1 - σ) = 1 / cosh²
    moved = {"ppo": r - 1, "gspo": r - 1, "gmpo": math.log(r), "dppo": chance * (r - 1)}[kind]
    stopped = moved > HIGH if a > 0 else moved < -LOW
    return 0.0 if stopped else r * a


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("advantage", [2.0, -0.5])
@pytest.mark.parametrize("chance", [0.02, 0.25])
def test_the_weight_of_a_token_in_closed_form(kind, advantage, chance):
    found = token_weight(RATIOS, advantage, kind, (LOW, HIGH), chance=chance)
    wanted = [closed_form(kind, r, advantage, chance) for r in RATIOS.tolist()]
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_at_ratio_one_every_kind_is_reinforce_s_also_where_tokens_share_a_ratio(kind):
    logp, advantages = -numbers(3, 4).abs(), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor([[4], [1], [2]])
    found = loss_weights(logp, logp, advantages, mask, kind)
    torch.testing.assert_close(found, torch.where(mask, advantages[:, None], 0.0))


def test_two_tokens_of_one_sequence_share_gspo_s_ratio_and_under_gmpo_the_one_that_is_cut_is_silent():
    old = torch.full((1, 2), -3.0, dtype=torch.float64)
    logp = old + torch.tensor([[0.6, -0.2]])
    everything, praised = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, dtype=torch.float64)
    shared = math.exp((0.6 - 0.2) / 2)
    gspo = loss_weights(logp, old, praised, everything, "gspo", (0.2, 0.3))
    assert gspo.tolist()[0] == pytest.approx([shared] * 2)
    assert not loss_weights(logp, old, praised, everything, "gspo", (0.2, 0.2)).any()
    cut = math.exp((0.4 - 0.2) / 2)
    gmpo = loss_weights(logp, old, praised, everything, "gmpo", (0.4, 0.4))
    assert gmpo.tolist()[0] == pytest.approx([0.0, cut])


@pytest.mark.parametrize(("chance", "silenced"), [(0.01, False), (0.9, True)])
def test_a_ratio_of_four_fifths_is_a_large_step_of_a_likely_token_only(chance, silenced):
    """Total variation .002 and .18: PPO silences both beyond 0.8, a band of 0.1 for the probability the second."""
    assert token_weight(0.79, -1.0, "ppo", 0.2, chance=chance) == 0
    assert (token_weight(0.79, -1.0, "dppo", 0.1, chance=chance) == 0) == silenced


def test_where_no_probability_can_go_there_is_no_weight():
    found = token_weight([1.0, 1.1, 1.2], 1.0, "ppo", chance=0.9)
    assert found.isnan().tolist() == [False, False, True]
    assert token_weight([[1.0, 2.0]], 1.0, "ppo", chance=0.5).isnan().tolist() == [[False, False]]


@pytest.mark.parametrize(
    ("name", "change"),
    [("ratio", {"ratio": bad}) for bad in ([], [0.0], [-1.0], [math.inf], [math.nan], "a", None)]
    + [("chance", {"chance": bad}) for bad in (0.0, 1.1, -1, math.nan, "a", None)]
    + [("advantage", {"advantage": bad}) for bad in (math.nan, "a", None)]
    + [("kind", {"kind": "a2c"}), ("clip", {"clip": -1.0})]
    + [("gate", {"gate": bad}) for bad in (None, 1.0, (1.0,), (0.0, 1.0), (1.0, math.inf), ("a", 1.0))],
)
def test_bad_arguments_are_named(name, change):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        token_weight(**{"ratio": [1.0], "advantage": 1.0, "kind": "ppo"} | change)


def test_a_gate_may_be_a_list():
    assert gate_range([1, 2.0]) == (1, 2.0)
