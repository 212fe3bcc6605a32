"""Importance weights against listed sequences, and the loop of lesson 07 against steps made by hand and its goal."""

import math
from itertools import islice, pairwise

import pytest
import torch
from plain import entropy_slope, numbers, seeded

from pgnotes.theory.objectives import policy_loss
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.ppo import (
    Settings,
    clip_fraction,
    effective_sample_size,
    exact_kl,
    exact_surrogate,
    outside,
    ppo,
    sequence_weights,
    silenced,
    token_ratios,
)
from pgnotes.theory.worlds import TokenWorld, sum_world

WORLD = sum_world()


def table(seed, scale=1.0):
    return scale * numbers(85, 4, seed=seed)


OLD, NEW = PrefixPolicy(table(1)), PrefixPolicy(table(1) + table(2, 0.4))


def run(settings, count, seed=0, **options):
    """The first states, each with its logits as they were."""
    return [(at, at.policy.logits.detach().clone()) for at in islice(ppo(WORLD, settings, seed, **options), count)]


# importance weights


def test_sequence_weights_are_the_ratio_of_the_listed_probabilities():
    weights = sequence_weights(NEW.log_prob(WORLD.sequences), OLD.log_prob(WORLD.sequences), WORLD.mask)
    old, new = WORLD.probabilities(OLD)[0], WORLD.probabilities(NEW)[0]
    torch.testing.assert_close(weights, new / old)
    assert old @ weights == pytest.approx(1.0)
    assert (old * weights) @ WORLD.returns()[0] == pytest.approx(WORLD.expected_return(NEW).item())


def test_token_ratios_one_by_one():
    logp, old = torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[-1.5, -1.0, float("nan")]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(token_ratios(logp, old, mask), torch.tensor([[math.exp(0.5), math.exp(-1.0), 1.0]]))
    torch.testing.assert_close(sequence_weights(logp, old, mask), torch.tensor([math.exp(-0.5)]))


@pytest.mark.parametrize(
    ("name", "change"), [("logp_old", {"logp_old": torch.zeros(1, 2)}), ("mask", {"mask": torch.full((1, 3), 2)})]
)
def test_bad_ratios_are_named(name, change):
    given = {"logp": torch.zeros(1, 3), "logp_old": torch.zeros(1, 3), "mask": torch.ones(1, 3)} | change
    with pytest.raises(ValueError, match=f"^{name} "):
        token_ratios(**given)


def test_a_live_nan_is_named():
    with pytest.raises(ValueError, match="^logp "):
        token_ratios(torch.full((1, 2), math.nan), torch.zeros(1, 2), torch.ones(1, 2))


def test_effective_sample_size():
    assert effective_sample_size([2.0] * 7) == pytest.approx(7)
    assert effective_sample_size([0.0, 0.0, 3.0]) == pytest.approx(1)
    assert effective_sample_size([1.0, 3.0]) == pytest.approx(16 / 10)
    for bad in ([-1.0, 2.0], [0.0, 0.0], []):
        with pytest.raises(ValueError, match="^weights "):
            effective_sample_size(bad)


def test_the_effective_size_of_many_samples_is_n_over_the_mean_square():
    old, new = WORLD.probabilities(OLD)[0], WORLD.probabilities(NEW)[0]
    drawn = torch.multinomial(old, 200_000, replacement=True, generator=seeded(0))
    expected = 200_000 / (new**2 / old).sum()
    assert effective_sample_size((new / old)[drawn]) == pytest.approx(expected.item(), rel=0.05)


def test_the_effective_size_is_not_what_a_batch_is_worth_for_a_return_that_goes_with_the_weights():
    """Lesson 07's three arms: variances of a reward and of a weighted one, by listing and from samples."""
    rewards = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    old = torch.tensor([0.5, 0.2, 0.0], dtype=torch.float64).softmax(0)
    new = torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64).softmax(0)

    def worth(drawn_by, of):
        weighted = of / drawn_by * rewards
        own = of @ (rewards - of @ rewards) ** 2
        return 1000 * own / (drawn_by @ (weighted - of @ rewards) ** 2)

    assert round(worth(old, new).item()) == 206
    assert round(worth(new, old).item()) == 3361
    drawn = torch.multinomial(old, 400_000, replacement=True, generator=seeded(0))
    other = torch.multinomial(new, 400_000, replacement=True, generator=seeded(1))
    sampled = 1000 * rewards[other].var() / (new / old * rewards)[drawn].var()
    assert sampled.item() == pytest.approx(206, abs=3)
    assert effective_sample_size((new / old)[drawn[:1000]]) > 3 * sampled


@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
@pytest.mark.parametrize("ratio", [0.3, 0.75, 0.85, 1.0, 1.25, 1.35, 3.0])
def test_silenced_is_where_autograd_finds_no_gradient(advantage, ratio):
    clip, old, mask = (0.2, 0.3), torch.zeros(1, 1), torch.ones(1, 1)
    logp = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    policy_loss(logp, old, torch.tensor([advantage]), mask, "ppo", clip).backward()
    assert bool(silenced(ratio, advantage, clip)) == (logp.grad.item() == 0)
    assert bool(outside(ratio, clip)) == (not 0.8 <= ratio <= 1.3)


def test_the_clip_fraction_is_the_share_of_live_tokens_whose_gradient_it_has_taken():
    generator, shape = seeded(3), (6, 5)
    ratios = torch.exp(torch.randn(shape, dtype=torch.float64, generator=generator) / 2)
    advantages = torch.randn(shape, dtype=torch.float64, generator=generator)
    advantages[0] = 0.0
    mask = torch.rand(shape, generator=generator) < 0.6

    logp = ratios.log().requires_grad_()
    policy_loss(logp, torch.zeros(shape), advantages, mask, "ppo", (0.1, 0.3)).backward()
    taken = (logp.grad == 0) & (advantages != 0) & mask
    assert 0 < taken.sum() < outside(ratios[mask], (0.1, 0.3)).sum()
    assert clip_fraction(ratios, advantages, mask, (0.1, 0.3)) == pytest.approx((taken.sum() / mask.sum()).item())
    assert clip_fraction(ratios, torch.ones(6, 1), mask, 0.2) == pytest.approx(((ratios > 1.2)[mask]).double().mean())
    assert clip_fraction(ratios, advantages, torch.zeros(shape, dtype=torch.bool), 0.2) == 0


# exact answers


def test_exact_kl_sums_the_rows_that_are_visited():
    """The chain rule: KL of sequences is the sum over prefixes of the chance to get there times the row's KL."""
    rows = prefix_rows(WORLD.sequences, 4)
    per_row = (OLD.probs * (OLD.probs.log() - NEW.probs.log())).sum(1)
    chain = WORLD.probabilities(OLD)[0] @ torch.where(WORLD.mask, per_row[rows], 0.0).sum(1)
    assert exact_kl(WORLD, OLD, NEW) == pytest.approx(chain.item())
    assert exact_kl(WORLD, OLD, OLD) == pytest.approx(0, abs=1e-12)


def test_the_surrogate_is_zero_at_home_and_has_the_gradient_there():
    theta = OLD.logits.clone().requires_grad_()
    for clip, by in ((None, "return"), (0.2, "return"), (None, "advantage"), (0.2, "advantage")):
        value = exact_surrogate(WORLD, PrefixPolicy(theta), OLD, clip, by)
        (gradient,) = torch.autograd.grad(value, theta)
        torch.testing.assert_close(gradient, WORLD.exact_gradient(OLD))
        assert value.item() == pytest.approx(0, abs=1e-12)


def test_the_clipped_surrogate_is_never_above_the_other():
    for seed in range(20):
        new = PrefixPolicy(OLD.logits + table(seed, 0.5))
        assert exact_surrogate(WORLD, new, OLD, 0.2) < exact_surrogate(WORLD, new, OLD)


def test_the_surrogate_sums_over_every_live_token():
    chances, returns = WORLD.probabilities(OLD)[0], WORLD.returns()[0]
    ratios = (NEW.log_prob(WORLD.sequences) - OLD.log_prob(WORLD.sequences)).exp()
    mean, by_hand = (chances @ returns).item(), 0.0
    for i, chance in enumerate(chances.tolist()):
        excess = sum(ratio - 1 for ratio in ratios[i, WORLD.mask[i]].tolist())
        by_hand += chance * (returns[i].item() - mean) * excess
    assert exact_surrogate(WORLD, NEW, OLD) == pytest.approx(by_hand)


def by_hand_surrogate(new, clip, from_return):
    """Sequence by sequence: V and Q are averages over the sequences that go on alike."""
    chances, returns = WORLD.probabilities(OLD)[0].tolist(), WORLD.returns()[0].tolist()
    listed, total = [tuple(row) for row in WORLD.sequences.tolist()], 0.0
    ratios = (new.log_prob(WORLD.sequences) - OLD.log_prob(WORLD.sequences)).exp().tolist()

    def mean_after(prefix):
        alike = [i for i, row in enumerate(listed) if row[: len(prefix)] == prefix]
        return sum(chances[i] * returns[i] for i in alike) / sum(chances[i] for i in alike)

    for i, row in enumerate(listed):
        for t in range(int(WORLD.mask[i].sum())):
            worth = (returns[i] if from_return else mean_after(row[: t + 1])) - mean_after(row[:t])
            held = ratios[i][t] if clip is None else min(max(ratios[i][t], 1 - clip), 1 + clip)
            total += chances[i] * (min(ratios[i][t] * worth, held * worth) - worth)
    return total


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize("by", ["return", "advantage"])
def test_both_surrogates_by_hand(by, clip):
    expected = by_hand_surrogate(NEW, clip, by == "return")
    assert exact_surrogate(WORLD, NEW, OLD, clip, by).item() == pytest.approx(expected)


def test_noise_in_the_advantage_lowers_the_clipped_surrogate_alone():
    """Far up the gradient one falls again, the other has levelled off; without a clip they are the same number."""
    home, gains = PrefixPolicy(numbers(85, 4, seed=0)), {}
    uphill = WORLD.exact_gradient(home) / WORLD.exact_gradient(home).norm()
    near, far = (PrefixPolicy(home.logits + distance * uphill) for distance in (1.0, 6.0))
    for by in ("return", "advantage"):
        gains[by] = [exact_surrogate(WORLD, there, home, 0.2, by).item() for there in (near, far)]
    assert gains["return"][1] < 0.3 * gains["return"][0]
    assert gains["advantage"][1] > 0.9 * gains["advantage"][0]
    bare = [exact_surrogate(WORLD, far, home, None, by).item() for by in ("return", "advantage")]
    assert bare[0] == pytest.approx(bare[1])


def test_an_unknown_advantage_is_named():
    with pytest.raises(ValueError, match="^by "):
        exact_surrogate(WORLD, NEW, OLD, by="value")


# the loop


def test_a_first_epoch_is_a_step_of_reinforce_with_the_mean_subtracted():
    start, settings = table(5), Settings(step_size=0.7, batch=16, epochs=1)
    (_, before), (_, after) = run(settings, 2, seed=3, logits=start)
    batch = WORLD.rollout(PrefixPolicy(start), 16, seeded(3))
    returns = batch.rewards.sum(1)
    scores = PrefixPolicy(start).score(batch.sequences, (returns - returns.mean())[:, None] * batch.mask)
    torch.testing.assert_close(after - before, 0.7 * scores.mean(0))


def by_formula(logits, at, clip, step_size):
    """One epoch symbol by symbol, straight from the four quadrants."""
    probs, step = logits.softmax(1), torch.zeros_like(logits)
    rows = prefix_rows(at.batch.sequences, 4)
    for i, t in at.batch.mask.nonzero().tolist():
        row, symbol = rows[i, t], at.batch.sequences[i, t]
        ratio, advantage = (probs[row, symbol] / at.old.probs[row, symbol]).item(), at.advantages[i, t].item()
        off = clip is not None and (ratio > 1 + clip if advantage > 0 else ratio < 1 - clip)
        weight = 0.0 if off else ratio * advantage
        step[row] -= weight * probs[row]
        step[row, symbol] += weight
    return logits + step_size * step / len(rows)


@pytest.mark.parametrize("clip", [0.2, None])
def test_later_epochs_by_formula(clip):
    states = run(Settings(step_size=6.0, batch=24, epochs=3, clip=clip), 4)
    for (at, before), (_, after) in pairwise(states):
        torch.testing.assert_close(after, by_formula(before, at, clip, 6.0))
    assert outside(states[3][0].ratios, 0.2).any()


def test_a_minibatch_has_a_step_of_its_own():
    """In every epoch the batch is cut anew, and each part's step is the formula's, from where the last one ended."""
    settings, seen = Settings(step_size=3.0, batch=10, epochs=2, minibatches=3), []

    def watched(logp, logp_old, advantages, mask):
        seen.append((logp_old.detach().clone(), advantages.clone()))
        return policy_loss(logp, logp_old, advantages, mask, "ppo", 0.2, "sum")

    states = run(settings, 3, seed=4, loss=watched, logits=table(5))
    assert [len(part) for part, _ in seen] == [4, 3, 3] * 2
    (at, logits), logp_old = states[0], states[0][0].old.log_prob(states[0][0].batch.sequences)
    for epoch in range(2):
        cut = [part for part, _ in seen[3 * epoch : 3 * epoch + 3]]
        torch.testing.assert_close(torch.cat(cut).sum(0), logp_old.sum(0), msg="each sequence once")
        for part in [[logp_old.tolist().index(row) for row in rows.tolist()] for rows in cut]:
            piece = at._replace(batch=type(at.batch)(*(x[part] for x in at.batch)), advantages=at.advantages[part])
            logits = by_formula(logits, piece, 0.2, 3.0)
        torch.testing.assert_close(logits, states[epoch + 1][1])
    assert seen[0][0].tolist() != seen[3][0].tolist(), "cut anew"


def test_epochs_count_and_every_iteration_starts_at_ratio_one():
    states = run(Settings(epochs=3, batch=8), 9)
    assert [(at.iteration, at.epoch) for at, _ in states] == [(i, e) for i in range(2) for e in range(4)] + [(2, 0)]
    for at, _ in states:
        if at.epoch == 0:
            torch.testing.assert_close(at.ratios, torch.ones(8, 4, dtype=torch.float64))
    torch.testing.assert_close(states[3][1], states[4][1])
    assert not torch.equal(states[3][0].batch.sequences, states[4][0].batch.sequences)


@pytest.mark.parametrize(
    "settings",
    [Settings(step_size=4.0), Settings(step_size=4.0, value_weight=0.1), Settings(step_size=4.0, entropy_bonus=0.005)],
)
def test_it_reaches_95_percent_of_the_optimum(settings):
    *_, (last, _) = run(settings, 60 * 5, seed=1)
    assert WORLD.expected_return(last.policy) > 0.95


def test_values_move_by_the_gradient_of_their_squared_error():
    """A world of one symbol that pays 1 or 0: the table's one entry goes v <- v + 2 α c (mean - v) at every epoch."""
    world = TokenWorld(2, 1, lambda sequences, prompt: sequences.double())
    states = islice(ppo(world, Settings(step_size=0.5, batch=10, epochs=3, value_weight=0.4), 0), 9)
    value, seen = 0.0, 0
    for at in states:
        returns = at.batch.rewards.sum(1)
        if at.epoch == 0:
            torch.testing.assert_close(at.advantages[:, 0], returns - value)
            for _ in range(3):
                value += 2 * 0.5 * 0.4 * (returns.mean().item() - value)
            seen += 1
    assert seen == 3


def test_the_bonus_adds_the_entropy_s_own_gradient():
    start = table(5)
    plain, bonus = (run(Settings(entropy_bonus=c, batch=16), 2, logits=start)[1] for c in (0.0, 0.3))
    batch, expected = plain[0].batch, torch.zeros_like(start)
    for row in prefix_rows(batch.sequences, 4)[batch.mask].tolist():
        expected[row] += entropy_slope(start[row]) / 16
    torch.testing.assert_close(bonus[1] - plain[1], 0.3 * expected)


def test_the_reference_penalty_is_paid_by_the_sequence():
    settings = Settings(step_size=2.0, batch=16, epochs=1, reference_weight=0.1)
    at, _ = run(settings, 3, logits=OLD.logits)[2]  # the second iteration's first state
    assert (at.iteration, at.epoch) == (1, 0)
    excess = ((at.old.log_prob(at.batch.sequences) - OLD.log_prob(at.batch.sequences)) * at.batch.mask).sum(1)
    paid = at.batch.rewards.sum(1) - 0.1 * excess
    torch.testing.assert_close(at.advantages[:, 0], paid - paid.mean())
    assert (excess.abs() > 0).any()


def test_another_loss_takes_the_clip_s_place():
    def reinforce(logp, logp_old, advantages, mask):
        return policy_loss(logp, logp_old, advantages, mask, "reinforce", aggregate="sum")

    one, other = (run(Settings(epochs=1, batch=8), 2, loss=loss)[1][1] for loss in (None, reinforce))
    torch.testing.assert_close(one, other)  # at ratio 1 both have the same gradient
    one, other = (run(Settings(epochs=2, batch=8), 3, loss=loss)[2][1] for loss in (None, reinforce))
    assert not torch.allclose(one, other)


def test_the_seed_decides_everything():
    torch.manual_seed(1)
    first = run(Settings(batch=8), 7, seed=7)
    torch.manual_seed(2)
    again, other = run(Settings(batch=8), 7, seed=7), run(Settings(batch=8), 7, seed=8)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert not torch.equal(first[-1][1], other[-1][1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step_size", 0),
        ("batch", 1),
        ("epochs", 0),
        ("minibatches", 0),
        ("minibatches", 65),
        ("clip", -0.1),
        ("clip", "a"),
        ("value_weight", -1),
        ("entropy_bonus", math.nan),
        ("reference_weight", "b"),
    ],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        Settings(**{name: value})
