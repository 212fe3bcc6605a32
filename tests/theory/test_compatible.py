"""A critic linear in the scores: no bias, whatever it leaves over; against autograd and plain least squares."""

import pytest
import torch
from plain import CLOSE, numbers, random_logits, reward_fn

from pgnotes.theory.compatible import by_class, compatible_worth, fit_compatible, mean_with_worth
from pgnotes.theory.learning import bootstrapped, prefix_values, symbol_values, with_critic
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.worlds import TokenWorld

WORLD = TokenWorld(3, 3, reward_fn, eos=0)
POLICY = PrefixPolicy(random_logits(1, 3, 3)[0])
ONE_FOR_ALL = torch.eye(3, dtype=torch.float64).expand(13, 3, 3)  # the symbol, whatever came before
FEATURES = [ONE_FOR_ALL, numbers(13, 3, 1, seed=5), numbers(13, 3, 4, seed=6)]


def slopes(features):
    """∇J in parameters u with logits + φ · u, at u = 0."""
    u = torch.zeros(features.shape[-1], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(WORLD.expected_return(PrefixPolicy(POLICY.logits + features @ u)), u)[0]


@pytest.mark.parametrize("features", FEATURES)
def test_the_true_worth_gives_the_gradient_in_any_parameters(features):
    """Q or A; and the compatible critic, though it leaves over much of A."""
    q_values = symbol_values(WORLD, POLICY)
    exact = slopes(features)
    advantages = q_values - prefix_values(WORLD, POLICY)[:, None]
    for worth in (q_values, advantages):
        torch.testing.assert_close(mean_with_worth(WORLD, POLICY, worth, features), exact, **CLOSE)

    weights, left = fit_compatible(WORLD, POLICY, features)
    assert weights.shape == features.shape[-1:]
    assert 0.2 < left < 1
    worth = compatible_worth(POLICY, weights, features)
    assert (mean_with_worth(WORLD, POLICY, worth, features) - exact).norm() < 1e-14
    torch.testing.assert_close((POLICY.probs * worth).sum(1), torch.zeros(13, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("features", FEATURES)
def test_the_fit_is_least_squares_over_what_is_met(features):
    """Row by row: each symbol of each outcome with the outcome's chance, by torch's own least squares."""
    weights, left = fit_compatible(WORLD, POLICY, features)
    live = WORLD.mask
    rows, symbols = prefix_rows(WORLD.sequences, 3)[live], WORLD.sequences[live]
    often = WORLD.probabilities(POLICY)[0][:, None].expand(live.shape)[live].sqrt()
    scores = (features - (POLICY.probs[..., None] * features).sum(1, keepdim=True))[rows, symbols]
    advantages = (symbol_values(WORLD, POLICY) - prefix_values(WORLD, POLICY)[:, None])[rows, symbols]
    problem = often[:, None] * scores, (often * advantages)[:, None]
    wanted = torch.linalg.lstsq(*problem, driver="gelsd").solution[:, 0]
    torch.testing.assert_close(weights, wanted, rtol=1e-8, atol=1e-10)
    rest = often * (advantages - scores @ weights)
    assert left == pytest.approx((rest.square().sum() / (often * advantages).square().sum()).item())


def test_a_table_leaves_nothing_over_and_is_what_with_critic_has():
    weights, left = fit_compatible(WORLD, POLICY)
    assert left < 1e-20
    worth = compatible_worth(POLICY, weights)
    torch.testing.assert_close(mean_with_worth(WORLD, POLICY, worth).view(13, 3), WORLD.exact_gradient(POLICY), **CLOSE)

    rough = bootstrapped(WORLD, numbers(13))
    mean = with_critic(WORLD, POLICY, numbers(13, seed=1), rough, replacing=1.0).mean
    torch.testing.assert_close(mean_with_worth(WORLD, POLICY, rough), mean, **CLOSE)


def test_a_critic_by_classes_has_the_mean_of_each_and_biases():
    q_values = symbol_values(WORLD, POLICY)
    met = torch.zeros(13, 3, dtype=torch.bool)
    met[prefix_rows(WORLD.sequences, 3)[WORLD.mask], WORLD.sequences[WORLD.mask]] = True
    each = torch.arange(39).view(13, 3)
    torch.testing.assert_close(by_class(WORLD, POLICY, each)[met], q_values[met], **CLOSE)

    parity = torch.arange(3).expand(13, 3) % 2
    worth = by_class(WORLD, POLICY, parity)
    chances = WORLD.probabilities(POLICY)[0]
    rows = prefix_rows(WORLD.sequences, 3)
    for kind in (0, 1):
        here = (WORLD.sequences % 2 == kind) & WORLD.mask
        weights = chances[:, None] * here
        mean = (weights * q_values[rows, WORLD.sequences]).sum() / weights.sum()
        torch.testing.assert_close(worth[parity == kind].unique(), mean[None], **CLOSE)
    off = mean_with_worth(WORLD, POLICY, worth, ONE_FOR_ALL) - slopes(ONE_FOR_ALL)
    assert off.norm() > 0.1 * slopes(ONE_FOR_ALL).norm()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("features", lambda: fit_compatible(WORLD, POLICY, numbers(12, 3, 2))),
        ("features", lambda: fit_compatible(WORLD, POLICY, numbers(13, 3))),
        ("weights", lambda: compatible_worth(POLICY, numbers(3))),
        ("worth", lambda: mean_with_worth(WORLD, POLICY, numbers(12, 3))),
        ("classes", lambda: by_class(WORLD, POLICY, torch.zeros(12, 3, dtype=torch.long))),
        ("classes", lambda: by_class(WORLD, POLICY, torch.zeros(13, 3))),
        ("classes", lambda: by_class(WORLD, POLICY, torch.full((13, 3), -1))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
