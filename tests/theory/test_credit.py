"""Credit rules against their sums written out, the exact gradient, and the covariance that lists everything."""

import itertools

import pytest
import torch
from plain import numbers, random_policy, seeded

from pgnotes.theory.credit import RULES, credit, spread, token_weights, values_to_go, variance_by_step
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.learning import prefix_values
from pgnotes.theory.policies import prefix_rows
from pgnotes.theory.random_worlds import random_world
from pgnotes.theory.worlds import TokenWorld, sum_world

RANDOM = seeded(0)


def dense_world(prompts=1, eos=None):
    """Every symbol earns a number that depends on all so far, and on nothing later."""
    table = numbers(prompts, 13, 3, seed=1)
    return TokenWorld(3, 3, lambda s, prompt: table[prompt][prefix_rows(s, 3), s], eos, prompts)


EACH_WORLD = pytest.mark.parametrize(
    "world", [dense_world(), dense_world(2), dense_world(2, eos=0), sum_world()], ids=["dense", "prompts", "eos", "sum"]
)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_matrices_entry_by_entry(gamma, horizon):
    for t, k in itertools.product(range(horizon), repeat=2):
        assert credit("whole", horizon, gamma)[t, k].item() == pytest.approx(gamma**k)
        assert credit("to_go", horizon, gamma)[t, k].item() == pytest.approx(gamma**k if k >= t else 0.0)
        assert credit("usual", horizon, gamma)[t, k].item() == pytest.approx(gamma ** (k - t) if k >= t else 0.0)


def plain_weights(rewards, rule, gamma, mask):
    """Two loops over one sequence's tokens, in plain Python."""
    weights = [0.0] * len(rewards)
    for t, k in itertools.product(range(len(rewards)), repeat=2):
        if mask[t] and mask[k] and (k >= t or rule == "whole"):
            weights[t] += gamma ** (k - t if rule == "usual" else k) * rewards[k]
    return weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("rule", RULES)
def test_the_weights_in_plain_loops(rule, gamma, dtype):
    rewards = torch.randn(10, 4, generator=RANDOM).to(dtype)
    mask = torch.rand(10, 4, generator=RANDOM) > 0.3
    by_hand = [plain_weights(row, rule, gamma, live) for row, live in zip(rewards.tolist(), mask.tolist(), strict=True)]
    by_hand = torch.tensor(by_hand, dtype=dtype).view(2, 5, 4)
    weights = token_weights(rewards.view(2, 5, 4), rule, gamma, mask.view(2, 5, 4))
    torch.testing.assert_close(weights, by_hand, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.6])
@EACH_WORLD
def test_whole_and_to_go_are_unbiased_and_usual_is_not(world, gamma):
    policy = random_policy(world)
    exact, chances = world.exact_gradient(policy, gamma), outcomes(world, policy).chances
    for rule in RULES:
        weights = token_weights(world.rewards, rule, gamma, world.mask.expand(world.rewards.shape))
        bias = moments_of(chances, token_estimates(world, policy, weights)).bias(exact) / exact.norm()
        assert (bias < 1e-12) == (rule != "usual" or gamma == 1.0)


def test_spread_keeps_the_total_and_weighs_tokens_by_what_is_left():
    world = sum_world()
    mask = world.mask.expand(world.rewards.shape)
    parts = spread(world.rewards, mask)
    assert torch.allclose(parts.sum(-1), world.returns())
    assert parts[~mask].abs().max() == 0
    length = world.mask.sum(-1, keepdim=True)
    left = (length - torch.arange(4)).clamp(min=0) / length
    assert torch.allclose(token_weights(parts, "to_go", mask=mask), world.returns()[..., None] * left)
    dead = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(spread(torch.zeros(2, 3), dead), torch.zeros(2, 3)), "no live token, nothing to spread on"


def value_by_hand(world, policy, prefix):
    """What is still to come after a prefix, symbol by symbol, in plain Python; the reward depends on the past alone."""
    if len(prefix) == world.horizon or (prefix and prefix[-1] == world.eos):
        return 0.0
    row = prefix_rows(torch.tensor([[*prefix, *[0] * (world.horizon - len(prefix))]]), world.vocab_size)[0, len(prefix)]
    value = 0.0
    for symbol, chance in enumerate(policy.probs[row].tolist()):
        longer = [*prefix, symbol]
        filled = torch.tensor([longer + [0] * (world.horizon - len(longer))])
        value += chance * (world.rewards_of(filled, 0)[0, len(prefix)].item() + value_by_hand(world, policy, longer))
    return value


@pytest.mark.parametrize("world", [dense_world(), dense_world(eos=0), sum_world()], ids=["dense", "eos", "sum"])
def test_the_value_of_what_is_to_come_symbol_by_symbol(world):
    policy = random_policy(world)
    values = values_to_go(world, policy)
    rows = prefix_rows(world.sequences, world.vocab_size)
    for n, t in itertools.product(range(len(rows)), range(world.horizon)):
        if world.mask[n, t]:
            by_hand = value_by_hand(world, policy, world.sequences[n, :t].tolist())
            assert values[rows[n, t]].item() == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("kind", ["own", "ones", "hints"])
def test_with_a_value_the_past_cancels_in_every_sample(kind):
    world, policy = random_world(kind, 2, 5, seed=1)
    rows = prefix_rows(world.sequences, 2)
    whole, to_go = (token_weights(world.rewards[0], rule) for rule in ("whole", "to_go"))
    with_past = whole - prefix_values(world, policy)[rows]
    torch.testing.assert_close(with_past, to_go - values_to_go(world, policy)[rows], rtol=0, atol=1e-12)
    assert (whole - to_go).abs().max() > 0.1, "there is a past that can cancel"


@EACH_WORLD
@pytest.mark.parametrize("rule", RULES)
def test_the_steps_variances_add_up_to_the_trace(world, rule):
    policy = random_policy(world, 3)
    weights = token_weights(world.rewards, rule, 0.7, world.mask.expand(world.rewards.shape))
    steps = variance_by_step(world, policy, weights)
    moments = moments_of(outcomes(world, policy).chances, token_estimates(world, policy, weights))
    assert steps.sum().item() == pytest.approx(moments.trace.item(), rel=1e-12)

    alone = torch.zeros_like(weights)  # only the second place counts: its own variance remains
    alone[..., 1] = weights[..., 1]
    trace = moments_of(outcomes(world, policy).chances, token_estimates(world, policy, alone)).trace
    assert steps[1].item() == pytest.approx(trace.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: credit("half", 3), "rule"),
        (lambda: credit("whole", 0), "horizon"),
        (lambda: credit("whole", 3, 1.5), "gamma"),
        (lambda: token_weights(torch.zeros(3), "half"), "rule"),
        (lambda: token_weights(torch.zeros(3, dtype=torch.long), "whole"), "rewards"),
        (lambda: token_weights(torch.zeros(3), "whole", 1.0, torch.ones(2)), "mask"),
        (lambda: spread(torch.zeros(3), torch.full((3,), 0.5)), "mask"),
        (lambda: spread([1.0], torch.ones(1)), "rewards"),
        (lambda: values_to_go(dense_world(2), random_policy(dense_world(2))), "world"),
        (lambda: values_to_go(sum_world(), random_policy(dense_world())), "policy"),
        (lambda: variance_by_step(3, random_policy(sum_world()), torch.zeros(1, 121, 4)), "world"),
        (lambda: variance_by_step(sum_world(), random_policy(dense_world()), torch.zeros(1, 121, 4)), "policy"),
        (lambda: variance_by_step(sum_world(), random_policy(sum_world()), torch.zeros(1, 120, 4)), "weights"),
    ],
)
def test_faults_name_the_argument(call, word):
    with pytest.raises(ValueError, match=f"^{word}\\b"):
        call()
