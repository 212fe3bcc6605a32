"""Dead groups, the pull on a prompt and what an error costs, against every group of a listed world."""

import pytest
import torch

from pgnotes.theory.estimators import outcomes, with_leave_one_out
from pgnotes.theory.groups import completions, groups, step_moments
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.right_or_wrong import completions_needed, dead_share, pull
from pgnotes.theory.worlds import TokenWorld

KINDS = ("rloo", "dr_grpo", "grpo")


def two_arms(p):
    """Right or wrong, one logit decides."""
    world = TokenWorld(2, 1, lambda s, prompt: s.double())
    return world, PrefixPolicy([[0.0, torch.logit(torch.tensor(p, dtype=torch.float64)).item()]])


@pytest.mark.parametrize("size", [2, 5])
def test_dead_groups_and_the_pull_on_two_arms(size):
    for p in (0.05, 0.5, 0.9):
        world, policy = two_arms(p)
        members, chance = groups(completions(world, policy)[0].chances, size)
        assert dead_share(p, size).item() == pytest.approx(chance[members[:, 0] == members[:, -1]].sum().item())
        exact = world.exact_gradient(policy).flatten()
        for kind in KINDS:
            found = step_moments(completions(world, policy), kind, size).mean
            assert torch.allclose(found, pull(p, size, kind) * exact, atol=1e-12)


def test_the_pull_is_1_for_leave_one_out_at_every_rate():
    p = torch.linspace(0.01, 0.99, 7)
    assert pull(p, 8, "rloo").tolist() == pytest.approx([1.0] * 7)
    assert pull(p, 8, "dr_grpo").tolist() == pytest.approx([7 / 8] * 7)
    constant = [0.5**0.5] * 7  # with two a group, dividing by the spread is a constant
    assert pull(p, 2, "grpo").tolist() == pytest.approx(constant, rel=1e-3)


def test_dead_groups_at_the_mean_rate_are_fewer_than_on_average():
    """Jensen: a forecast from the mean pass rate is too low where prompts differ."""
    rates = torch.tensor([0.56, 0.07], dtype=torch.float64)
    assert dead_share(rates.mean(), 4) < 0.6 * dead_share(rates, 4).mean()


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_what_an_error_costs_is_what_listing_every_group_says(size, kind):
    """Five answers of which two are right, with scores that differ on either side."""
    world = TokenWorld(5, 1, lambda s, prompt: (s < 2).double())
    policy = PrefixPolicy(torch.tensor([[0.3, -0.8, 0.9, 0.1, -0.4]], dtype=torch.float64))
    (listed,) = completions(world, policy)
    scores, right = listed.scores.sum(1), listed.returns > 0

    means, among = [], []
    for side in (right, ~right):
        chances = listed.chances[side] / listed.chances[side].sum()
        means.append(chances @ scores[side])
        among.append(chances @ (scores[side] - means[-1]).square().sum(1))
    unit = (means[0] - means[1]).square().sum()
    among = [(x / unit).item() for x in among]
    assert min(among) > 0.1, "both sides count"

    moments = step_moments([listed], kind, size)
    wanted = size * moments.samples_needed(moments.mean, 0.05)
    found = completions_needed(listed.chances[right].sum(), size, kind, *among, error=0.05)
    assert found.item() == pytest.approx(float(wanted), rel=1e-9)


def test_on_two_arms_it_is_what_leave_one_out_needs():
    for p, size in ((0.05, 2), (0.05, 16), (0.3, 8)):
        moments = with_leave_one_out(outcomes(*two_arms(p)), size)
        needed = size * moments.samples_needed(moments.mean)
        assert completions_needed(p, size, "rloo").item() == pytest.approx(float(needed), rel=1e-9)


def test_in_pairs_and_triples_the_division_is_a_constant_and_from_four_on_it_is_not():
    rates = torch.linspace(0.01, 0.99, 30, dtype=torch.float64)
    for size, same in ((2, True), (3, True), (4, False), (8, False)):
        relative = pull(rates, size, "grpo") / pull(rates, size, "dr_grpo")
        assert (relative.max() / relative.min() < 1.001) == same


def test_where_right_answers_are_more_alike_small_groups_cost_more():
    """Lesson 08's last case: rare right answers, more alike than wrong ones; alike wrong ones make it cheaper."""
    for size in (2, 4, 8, 16):
        prices = [
            (completions_needed(0.05, size, "rloo", *among) / completions_needed(0.05, 1000, "rloo", *among)).item()
            for among in ((300, 1000), (1000, 1000), (1000, 300))
        ]
        assert prices[0] > prices[1] == pytest.approx(size / (size - 1), rel=0.005)
        assert prices[1] > prices[2]


@pytest.mark.parametrize("kind", ["rloo", "dr_grpo"])
def test_with_scores_of_equal_length_it_is_the_price_of_the_own_baseline(kind):
    """G / (G-1) times what the exact pass rate as baseline would need, at every pass rate."""
    rates = torch.tensor([0.05, 0.3, 0.9])
    perfect = completions_needed(rates, 1000, kind, 1e6, 1e6)
    for size in (2, 8, 16):
        times = completions_needed(rates, size, kind, 1e6, 1e6) / perfect
        assert times.tolist() == pytest.approx([size / (size - 1)] * 3, rel=2e-3)


BAD = [
    ("pass_rate", dead_share, (1.5, 2)),
    ("pass_rate", dead_share, ("a", 2)),
    ("size", dead_share, (0.5, 0)),
    ("pass_rate", pull, (0.0, 2, "rloo")),
    ("size", pull, (0.5, 1, "rloo")),
    ("kind", pull, (0.5, 2, "reinforce_pp")),
    ("pass_rate", completions_needed, (1.0, 2, "rloo")),
    ("size", completions_needed, (0.5, 1, "rloo")),
    ("kind", completions_needed, (0.5, 2, "none")),
    ("among_right", completions_needed, (0.5, 2, "rloo", -1.0)),
    ("among_wrong", completions_needed, (0.5, 2, "rloo", 0.0, -1.0)),
    ("error", completions_needed, (0.5, 2, "rloo", 0.0, 0.0, 0.0)),
]


@pytest.mark.parametrize(("name", "function", "arguments"), BAD)
def test_bad_arguments_are_named(name, function, arguments):
    with pytest.raises(ValueError, match=rf"^{name} "):
        function(*arguments)
