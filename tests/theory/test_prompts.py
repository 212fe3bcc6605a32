"""A baseline for each prompt: against each prompt's own bandit, and against what the parabola says."""

import pytest
import torch
from plain import numbers

from pgnotes.theory.estimators import mean_return, optimal_baseline, outcomes, with_baseline
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.prompts import prompt_means, prompt_optima, with_prompt_baselines
from pgnotes.theory.worlds import Bandit, TokenWorld

PAYS = numbers(2, 3, seed=1)
LOGITS = numbers(2, 1, 3, seed=2)
WORLD, POLICY = TokenWorld(3, 1, lambda s, prompt: PAYS[prompt][s], prompts=2), PrefixPolicy(LOGITS)
LISTED = outcomes(WORLD, POLICY)
ALONE = [outcomes(Bandit(PAYS[p]), SoftmaxPolicy(LOGITS[p, 0])) for p in range(2)]


def test_each_prompt_has_the_numbers_of_its_own_bandit():
    assert prompt_means(LISTED, 2).tolist() == pytest.approx([mean_return(each) for each in ALONE])
    assert prompt_optima(LISTED, 2).tolist() == pytest.approx([optimal_baseline(each) for each in ALONE])
    assert prompt_means(LISTED, 1).item() == pytest.approx(mean_return(LISTED))


@pytest.mark.parametrize("table", [[0.0, 0.0], [0.3, -1.2]])
def test_the_moments_are_those_of_a_prompt_drawn_and_then_its_action(table):
    """Mean square of a mixture: half of each bandit's, less the square of the common mean, in rows of their own."""
    found = with_prompt_baselines(LISTED, table)
    parts = [with_baseline(listed, b) for listed, b in zip(ALONE, table, strict=True)]
    squares = sum((part.trace + part.mean.square().sum()) / 2 for part in parts)
    mean = torch.cat([part.mean for part in parts]) / 2
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.trace, squares - mean.square().sum())
    assert found.bias(WORLD.exact_gradient(POLICY)) < 1e-12


def test_the_best_numbers_are_the_lowest_point_in_each_direction():
    best = prompt_optima(LISTED, 2)
    least = with_prompt_baselines(LISTED, best).trace
    sizes = torch.stack([each.chances @ each.scores.square().sum(1) for each in ALONE])
    for shift in ([0.1, 0.0], [0.0, -0.1], [0.2, 0.3]):
        cost = (sizes * torch.tensor(shift).square()).sum() / 2
        torch.testing.assert_close(with_prompt_baselines(LISTED, best + torch.tensor(shift)).trace, least + cost)


@pytest.mark.parametrize(
    ("probs", "right", "samples"),
    [
        ([[0.9, 0.1], [0.1, 0.9]], (1, 1), {"none": 1011, "half": 456, "own": 1522, "best": 100}),
        ([[0.1] * 10] * 2, (9, 1), {"none": 9900, "half": 4900, "own": 1700, "best": 1700}),
    ],
)
def test_which_baseline_wins_depends_on_whose_scores_are_long(probs, right, samples):
    """The lesson's two tables, by hand: trace and gradient from sums over prompts and answers."""
    probs = torch.tensor(probs, dtype=torch.float64)
    k = probs.shape[1]
    pays = torch.stack([(torch.arange(k) < n).double() for n in right])
    world = TokenWorld(k, 1, lambda s, prompt: pays[prompt][s], prompts=2)
    listed = outcomes(world, PrefixPolicy(probs.log()[:, None]))
    tables = {"none": [0.0, 0.0], "half": [0.5, 0.5], "own": prompt_means(listed, 2), "best": prompt_optima(listed, 2)}

    sizes = 1 - 2 * probs + probs.square().sum(1, keepdim=True)  # ‖s‖²
    means = (probs * pays).sum(1, keepdim=True)
    gradient = (probs * (pays - means) / 2).square().sum()
    for name, table in tables.items():
        squares = (probs / 2 * (pays - torch.as_tensor(table).double()[:, None]).square() * sizes).sum()
        by_hand = (squares - gradient) / (0.01 * gradient)
        needed = with_prompt_baselines(listed, table).samples_needed(
            world.exact_gradient(PrefixPolicy(probs.log()[:, None]))
        )
        assert needed == pytest.approx(by_hand.item())
        assert round(needed) == samples[name]


def test_faults_are_named():
    with pytest.raises(ValueError, match="^prompts "):
        prompt_means(LISTED, 4)
    with pytest.raises(ValueError, match="^prompts "):
        prompt_optima(LISTED, 0)
    with pytest.raises(ValueError, match="^baselines "):
        with_prompt_baselines(LISTED, [0.0] * 5)
    with pytest.raises(ValueError, match="^baselines "):
        with_prompt_baselines(LISTED, 0.0)
