"""Bandits side by side against single ones stepped by hand; values and tables against enumeration prefix by prefix."""

from itertools import islice

import pytest
import torch
from plain import numbers, prefixes, seeded

from pgnotes.theory.estimators import mean_return, moments_of, optimal_baseline, outcomes, with_baseline
from pgnotes.theory.learning import (
    BASELINES,
    best_of_each,
    bootstrapped,
    cost_of_error,
    learn_values,
    prefix_optimum,
    prefix_totals,
    prefix_values,
    score_sizes,
    symbol_scores,
    symbol_values,
    train_bandits,
    with_critic,
    with_table,
)
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy, prefix_rows
from pgnotes.theory.worlds import Bandit, TokenWorld, sum_world

WORLD = sum_world(target=3, vocab_size=3, horizon=3)
POLICY = PrefixPolicy(numbers(13, 3, seed=1))
BANDIT, START = Bandit([1.0, 0.7, 0.0]), [0.0, 2.0, 0.0]


REACHED = {row: prefix for row, prefix in enumerate(prefixes(3, 3)) if 0 not in prefix}


def through(prefix):
    """Which outcomes pass a prefix and choose a symbol there."""
    n = len(prefix)
    begins_so = (WORLD.sequences[:, :n] == torch.tensor(prefix, dtype=torch.long)).all(1)
    return begins_so & WORLD.mask[:, n]


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("batch", [1, 3])
def test_each_copy_takes_the_step_of_reinforce(baseline, batch):
    runs, size, seed, shift = 4, 0.5, 7, 0.1
    steps = list(islice(train_bandits(BANDIT, START, baseline, size, runs, seed, batch, shift), 3))
    generator = seeded(seed)
    theta, average = torch.tensor([START] * runs, dtype=torch.float64), [0.0] * runs
    for k in range(2):
        uniforms = torch.rand(runs, batch, dtype=torch.float64, generator=generator)
        for i in range(runs):
            policy = SoftmaxPolicy(theta[i].clone())
            actions = [int((u > policy.probs.cumsum(0)).sum()) for u in uniforms[i]]
            paid = [BANDIT.mean_rewards[a].item() for a in actions]
            listed = outcomes(BANDIT, policy)
            baselines = {
                "none": 0.0,
                "mean": mean_return(listed),
                "batch mean": sum(paid) / batch,
                "running average": average[i],
                "optimal": optimal_baseline(listed),
            }
            b = baselines[baseline] + shift
            theta[i] += size * sum((r - b) * policy.score([a])[0] for r, a in zip(paid, actions, strict=True)) / batch
            average[i] += (sum(paid) / batch - average[i]) / 10
        torch.testing.assert_close(steps[k + 1], theta.softmax(1))


def test_the_best_baseline_of_each_policy_is_that_of_the_estimators():
    probs = torch.rand(5, 3, dtype=torch.float64, generator=seeded(0)) + 0.01
    probs = probs / probs.sum(1, keepdim=True)
    one_by_one = [optimal_baseline(outcomes(BANDIT, SoftmaxPolicy(row.log()))) for row in probs]
    assert best_of_each(probs, BANDIT.mean_rewards).tolist() == pytest.approx(one_by_one)
    listed = outcomes(BANDIT, SoftmaxPolicy(probs[0].log()))
    either_side = [with_baseline(listed, one_by_one[0] + shift).trace.item() for shift in (-0.5, 0.5)]
    assert either_side[0] == pytest.approx(either_side[1]), "as far below b* as above it, the trace is the same"


def test_values_are_the_mean_returns_of_what_goes_through():
    chances, returns = WORLD.probabilities(POLICY)[0], WORLD.returns()[0]
    values, optimum = prefix_values(WORLD, POLICY), prefix_optimum(WORLD, POLICY)
    visits = prefix_totals(WORLD, POLICY, torch.ones(WORLD.mask.shape))
    for row, prefix in REACHED.items():
        on = through(prefix)
        symbols = WORLD.sequences[on, len(prefix)]
        sizes = SoftmaxPolicy(POLICY.logits[row]).score(symbols).square().sum(1)
        assert visits[row] == pytest.approx(chances[on].sum().item())
        assert values[row] == pytest.approx((chances[on] @ returns[on] / chances[on].sum()).item())
        assert optimum[row] == pytest.approx(((chances[on] * sizes) @ returns[on] / (chances[on] @ sizes)).item())

        q_values = symbol_values(WORLD, POLICY)[row]
        assert POLICY.probs[row] @ q_values == pytest.approx(values[row].item()), "the advantages average to zero"
        assert q_values[0] == pytest.approx(returns[on][symbols == 0].item()), "a stop leads to one outcome"
    assert values[0] == pytest.approx(WORLD.expected_return(POLICY).item())
    never = sorted(set(range(13)) - set(REACHED))
    assert values[never].tolist() == optimum[never].tolist() == [0.0] * len(never)


def test_symbol_scores_add_up_to_the_score():
    scores = symbol_scores(WORLD, POLICY)
    torch.testing.assert_close(scores.sum(1), POLICY.score(WORLD.sequences, WORLD.mask.double()))
    torch.testing.assert_close(scores.square().sum((2, 3)), score_sizes(WORLD, POLICY) * WORLD.mask)


def test_any_table_is_unbiased_and_its_error_costs_what_the_parabola_says():
    exact, best = WORLD.exact_gradient(POLICY), with_table(WORLD, POLICY, prefix_optimum(WORLD, POLICY))
    for seed in range(5):
        table = numbers(13, seed=seed)
        moments = with_table(WORLD, POLICY, table)
        assert moments.bias(exact) < 1e-12
        assert moments.trace - best.trace == pytest.approx(cost_of_error(WORLD, POLICY, table).item())

    advantages = WORLD.returns()[0, :, None] - table[prefix_rows(WORLD.sequences, 3)]
    estimates = (advantages[..., None, None] * symbol_scores(WORLD, POLICY)).sum(1).flatten(1)
    covariance = moments_of(outcomes(WORLD, POLICY).chances, estimates).covariance
    torch.testing.assert_close(moments.covariance, covariance)


def test_values_make_what_a_symbol_is_worth():
    exact = bootstrapped(WORLD, prefix_values(WORLD, POLICY))
    reached = sorted(REACHED)
    torch.testing.assert_close(exact[reached], symbol_values(WORLD, POLICY)[reached])

    values = numbers(13, seed=3)
    found = bootstrapped(WORLD, values)
    assert found[0, 1] == values[1 + 1], "of a symbol that goes on, the value of what is then written"
    assert found[0, 0] == WORLD.returns()[0][(WORLD.sequences == 0).all(1)], "of a stop, what it pays"
    last = next(row for row, prefix in REACHED.items() if prefix == (1, 2))
    ends = (WORLD.sequences == torch.tensor([1, 2, 2])).all(1)
    assert found[last, 2] == WORLD.returns()[0][ends], "of the last symbol, too"


def test_luck_and_worth_are_uncorrelated_and_their_traces_add():
    """R - V = (R - Q) + (Q - V), each part listed by itself."""
    values, worth = prefix_values(WORLD, POLICY), symbol_values(WORLD, POLICY)
    rows, returns = prefix_rows(WORLD.sequences, 3), WORLD.returns()[0]
    scores, chances = symbol_scores(WORLD, POLICY), WORLD.probabilities(POLICY)[0]
    q, v = worth[rows, WORLD.sequences], values[rows]
    parts = {"luck": returns[:, None] - q, "worth": q - v}
    luck, advantage = ((w[..., None, None] * scores).sum(1).flatten(1) for w in parts.values())
    exact = WORLD.exact_gradient(POLICY)

    torch.testing.assert_close(chances @ luck, torch.zeros(39, dtype=torch.float64))
    torch.testing.assert_close(chances @ advantage, exact.flatten())
    assert chances @ (luck * advantage).sum(1) == pytest.approx(0.0, abs=1e-12)

    whole = with_table(WORLD, POLICY, values)
    noise, signal = (with_critic(WORLD, POLICY, values, worth, *shares) for shares in ((1.0, 0.0), (0.0, 1.0)))
    torch.testing.assert_close(noise.covariance, moments_of(chances, luck).covariance)
    torch.testing.assert_close(signal.covariance, moments_of(chances, advantage).covariance)
    torch.testing.assert_close(noise.trace + signal.trace, whole.trace)
    for m in (0.0, 0.3, 1.0):
        mixed = with_critic(WORLD, POLICY, values, worth, subtracted=m)
        torch.testing.assert_close(mixed.mean, (1 - m) * exact.flatten())
        torch.testing.assert_close(mixed.trace, noise.trace + (1 - m) ** 2 * signal.trace)
        replaced = with_critic(WORLD, POLICY, values, worth, replacing=m)
        assert replaced.bias(exact) < 1e-12
        torch.testing.assert_close(replaced.trace, (1 - m) ** 2 * noise.trace + signal.trace)


def test_a_wrong_critic_in_the_return_s_place_biases_by_what_it_is_wrong_about():
    worth, error = symbol_values(WORLD, POLICY), numbers(13, 3, seed=4)
    exact = WORLD.exact_gradient(POLICY).flatten()
    found = with_critic(WORLD, POLICY, numbers(13, seed=5), worth + error, replacing=0.5)
    rows = prefix_rows(WORLD.sequences, 3)
    missed = (error[rows, WORLD.sequences][..., None, None] * symbol_scores(WORLD, POLICY)).sum(1).flatten(1)
    torch.testing.assert_close(found.mean - exact, 0.5 * WORLD.probabilities(POLICY)[0] @ missed)


def test_learned_values_come_near_and_are_the_loop_s():
    tables = list(islice(learn_values(WORLD, POLICY, 64, 0.2, 0), 101))
    values, visits = prefix_values(WORLD, POLICY), prefix_totals(WORLD, POLICY, torch.ones(WORLD.mask.shape))
    assert tables[0].abs().max() == 0
    assert (visits * (tables[-1] - values).square()).sum() < 0.05 * (visits * values.square()).sum()
    batch = WORLD.rollout(POLICY, 64, seeded(0))
    assert tables[1][0] == pytest.approx(0.2 * batch.rewards.sum(1).mean().item())


def test_faults_are_named():
    wrong = {
        "logits": [0.0],
        "baseline": "some",
        "step_size": 0.0,
        "runs": 0,
        "batch": 0,
        "seed": -1,
        "shift": float("nan"),
    }
    good = {"bandit": BANDIT, "logits": START, "baseline": "none", "step_size": 0.5, "runs": 2, "seed": 0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"^{name} "):
            next(train_bandits(**good | {name: value}))

    two = TokenWorld(3, 3, lambda s, prompt: torch.zeros(s.shape), prompts=2)
    for call in (prefix_values, prefix_optimum, symbol_scores):
        with pytest.raises(ValueError, match="^world "):
            call(two, POLICY)
    with pytest.raises(ValueError, match="^table "):
        with_table(WORLD, POLICY, torch.zeros(12))
    with pytest.raises(ValueError, match="^worth "):
        with_critic(WORLD, POLICY, torch.zeros(13), torch.zeros(13))
    for name in ("subtracted", "replacing"):
        with pytest.raises(ValueError, match=f"^{name} "):
            with_critic(WORLD, POLICY, torch.zeros(13), torch.zeros(13, 3), **{name: 1.5})
    with pytest.raises(ValueError, match="^values "):
        bootstrapped(WORLD, torch.zeros(12))
    with pytest.raises(ValueError, match="^values "):
        with_critic(WORLD, POLICY, torch.zeros(12), torch.zeros(13, 3))
    with pytest.raises(ValueError, match="^step "):
        next(learn_values(WORLD, POLICY, 4, 0.0, 0))
