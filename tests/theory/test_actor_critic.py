"""One run against plain arithmetic, many runs against one; the two planted ends against a stream cut by hand."""

from itertools import islice, pairwise

import pytest
import torch
from plain import CLOSE, numbers

from pgnotes.theory import actor_critic as module
from pgnotes.theory.actor_critic import (
    Settings,
    actor_critic,
    actor_critic_many,
    after_reset,
    curves,
    late_mask,
    mean_error,
    right,
    staleness,
)
from pgnotes.theory.credit import values_to_go
from pgnotes.theory.critics import gae, lambda_returns
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.many import exact_gradients, expected_returns
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import Rollout, sum_world

ESTIMATES = [right, after_reset, late_mask]


@pytest.fixture(scope="module")
def world():
    return sum_world()


def test_one_update_is_a_policy_gradient_and_a_step_of_the_values(world):
    """By the score and by a loop over the rows, from a start that is not uniform."""
    settings, start = Settings(lam=0.6, step_size=2.0, value_step=0.3, batch=8), numbers(85, 4)
    states = list(islice(actor_critic(world, settings, 3, start), 4))
    torch.testing.assert_close(states[0].policy.logits, start)
    assert states[0].values.abs().max() == 0
    for now, after in pairwise(states):
        rows, (sequences, mask, rewards) = prefix_rows(now.batch.sequences, 4), now.batch
        advantages = gae(rewards, now.values[rows], mask, lam=0.6)
        torch.testing.assert_close(now.advantages, advantages, **CLOSE)
        gradient = now.policy.score(sequences, advantages).mean(0)
        torch.testing.assert_close(after.policy.logits, now.policy.logits + 2.0 * gradient, **CLOSE)

        targets = lambda_returns(rewards, now.values[rows], mask, lam=0.6)
        for row in range(85):
            here = targets[(rows == row) & mask]
            wanted = now.values[row] + (0.3 * (here.mean() - now.values[row]) if len(here) else 0.0)
            torch.testing.assert_close(after.values[row], wanted, **CLOSE)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_each_of_many_runs_is_one(world, estimate, monkeypatch):
    settings, start, batches = Settings(0.8, 3.0, 0.3, 6), numbers(85, 4, seed=3), []
    draw = module.rollouts

    def recorded(*given):
        batches.append(draw(*given))
        return batches[-1]

    monkeypatch.setattr(module, "rollouts", recorded)
    many = list(islice(actor_critic_many(world, settings, 3, 0, start, estimate), 5))
    for run in range(3):
        given = iter([Rollout(*(each[run] for each in batch)) for batch in batches])
        monkeypatch.setattr(world, "rollout", lambda *_, given=given: next(given))
        one = islice(actor_critic(world, settings, 0, start, estimate), 4)
        for (theta, values), update in zip(many, one, strict=False):
            torch.testing.assert_close(theta[run], update.policy.logits, **CLOSE)
            torch.testing.assert_close(values[run], update.values, **CLOSE)
    assert not torch.allclose(many[-1][0][0], many[-1][0][1]), "each run has samples of its own"
    assert not torch.allclose(many[-1][1][0], many[0][1][0])


def test_a_late_batch_is_that_of_an_earlier_policy(world, monkeypatch):
    """In update k all is as it was before update k - 2, or at first: samples, critic, and where scores are taken."""
    seen, draw, settings = [], module.rollouts, Settings(0.5, 9.0, 0.9, 4)

    def recorded(world, logits, *given):
        seen.append((logits, draw(world, logits, *given)))
        return seen[-1][1]

    monkeypatch.setattr(module, "rollouts", recorded)
    states = list(islice(actor_critic_many(world, settings, 2, 0, late=2), 6))
    for k, (drawn_from, batch) in enumerate(seen):
        theta, values = states[max(0, k - 2)]
        assert drawn_from is theta
        for run in range(2):
            sequences, mask, rewards = (each[run] for each in batch)
            rows = prefix_rows(sequences, 4)
            advantages = gae(rewards, values[run][rows], mask, lam=0.5)
            gradient = PrefixPolicy(theta[run]).score(sequences, advantages).mean(0)
            torch.testing.assert_close(states[k + 1][0][run], states[k][0][run] + 9.0 * gradient, **CLOSE)
            moved = 0.9 * mean_error(values[run], rows, advantages, mask)
            torch.testing.assert_close(states[k + 1][1][run], states[k][1][run] + moved, **CLOSE)


@pytest.mark.parametrize("late", [(2, 0), (0, 2)])
def test_actor_and_critic_may_be_late_apart(world, late, monkeypatch):
    """Each has a batch of its own, the actor's first; who is late takes policy and table of two updates ago."""
    seen, draw, settings = [], module.rollouts, Settings(0.5, 9.0, 0.9, 4)

    def recorded(world, logits, *given):
        seen.append(draw(world, logits, *given))
        return seen[-1]

    monkeypatch.setattr(module, "rollouts", recorded)
    states = list(islice(actor_critic_many(world, settings, 1, 0, late=late), 6))
    for k in range(5):
        for batch, delay, actor in zip(seen[2 * k : 2 * k + 2], late, (True, False), strict=True):
            theta, values = (each[0] for each in states[max(0, k - delay)])
            sequences, mask, rewards = (each[0] for each in batch)
            rows = prefix_rows(sequences, 4)
            advantages = gae(rewards, values[rows], mask, lam=0.5)
            if actor:
                moved = 9.0 * PrefixPolicy(theta).score(sequences, advantages).mean(0)
                torch.testing.assert_close(states[k + 1][0][0], states[k][0][0] + moved, **CLOSE)
            else:
                moved = 0.9 * mean_error(values, rows, advantages, mask)
                torch.testing.assert_close(states[k + 1][1][0], states[k][1][0] + moved, **CLOSE)


def test_a_late_critic_is_what_goes_astray(world):
    """Sixteen updates late, with a step of 0.2: a table that says much more than a return can be."""
    late = {each: curves(world, Settings(), 10, 200, every=200, late=each) for each in ((16, 0), (0, 16))}
    assert late[16, 0].start_value[:, -1].mean() < 1.1
    assert late[0, 16].start_value[:, -1].mean() > 20
    assert late[16, 0].earned[:, -1].mean() > late[0, 16].earned[:, -1].mean() + 0.1


def test_the_seed_decides_everything(world):
    def last(run, seed):
        torch.manual_seed(seed + 10)
        return list(islice(run(seed), 3))[-1]

    one, many = (
        lambda seed: actor_critic(world, Settings(), seed),
        lambda seed: actor_critic_many(world, Settings(), 2, seed),
    )
    assert torch.equal(last(one, 5).policy.logits, last(one, 5).policy.logits)
    assert not torch.equal(last(one, 5).policy.logits, last(one, 6).policy.logits)
    assert torch.equal(last(many, 5)[0], last(many, 5)[0])
    assert not torch.equal(last(many, 5)[0], last(many, 6)[0])


# the planted ends


def stream(rewards, values, mask, lam, ends_at):
    """GAE over all sequences of a batch in one row, as an environment that resets itself gives them.

    ends_at(step's own flag, the next step's flag): which one is read. The sums always stop at the true end.
    """
    live = mask.nonzero().tolist()
    is_end = [t == int(mask[i].sum()) - 1 for i, t in live]
    found, total = torch.zeros_like(rewards), 0.0
    for k in reversed(range(len(live))):
        i, t = live[k]
        following = values[live[k + 1][0], live[k + 1][1]] if k + 1 < len(live) else values[0, 0]
        flag = ends_at(is_end[k], is_end[k + 1] if k + 1 < len(live) else False)
        delta = rewards[i, t] + (0.0 if flag else following) - values[i, t]
        total = delta + (0.0 if is_end[k] else lam * total)
        found[i, t] = total
    return found


FLAGS = {right: lambda own, after: own, after_reset: lambda own, after: False, late_mask: lambda own, after: after}


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_an_estimate_is_what_a_stream_with_such_flags_gives(world, estimate):
    """All sequences start in the same state; those of one symbol are left out, whose next step is another's end."""
    batch = world.rollout(PrefixPolicy(torch.zeros(85, 4)), 60, torch.Generator().manual_seed(0))
    longer = batch.mask.sum(1) > 1
    rewards, mask = batch.rewards[longer], batch.mask[longer]
    values = numbers(85)[prefix_rows(batch.sequences[longer], 4)]
    for lam in (0.0, 0.7, 1.0):
        wanted = stream(rewards, values, mask, lam, FLAGS[estimate])
        torch.testing.assert_close(estimate(rewards, values, mask, lam), wanted, **CLOSE)


def moments(world, policy, estimate, lam):
    values = values_to_go(world, policy)[prefix_rows(world.sequences, 4)]
    weights = estimate(world.rewards[0], values, world.mask, lam)
    return moments_of(outcomes(world, policy).chances, token_estimates(world, policy, weights[None]))


def test_what_the_planted_ends_do_to_the_gradient(world):
    """Bias in lengths of ∇J and trace, with exact values: the lesson's table. At λ = 1 the first one hides."""
    policy = PrefixPolicy(next(islice(reinforce(world, Recipe(normalise=True), seed=0), 20, None)).logits.detach())
    gradient = world.exact_gradient(policy)
    for estimate, lam, bias, trace in (
        (right, 0.0, 0.0, 0.097),
        (right, 1.0, 0.0, 0.241),
        (after_reset, 0.0, 1.338, 0.228),
        (after_reset, 1.0, 0.0, 0.555),
        (late_mask, 0.0, 2.366, 0.400),
        (late_mask, 1.0, 1.271, 0.309),
    ):
        found = moments(world, policy, estimate, lam)
        assert (found.bias(gradient) / gradient.norm()).item() == pytest.approx(bias, abs=6e-4)
        assert found.trace.item() == pytest.approx(trace, abs=6e-4)


def test_what_the_planted_ends_do_to_learning(world):
    """J after 200 updates and what the table says of the start, which only the right one gets right."""
    ends = {}
    for estimate, lam in ((right, 0.0), (after_reset, 0.0), (after_reset, 0.9), (late_mask, 0.9)):
        found = curves(world, Settings(lam), 20, 200, estimate=estimate)
        ends[estimate, lam] = found.earned[:, -1].mean().item(), found.start_value[:, -1].mean().item()
    earned, said = ends[right, 0.0]
    assert earned > 0.95
    assert said == pytest.approx(earned, abs=0.03)
    earned, said = ends[after_reset, 0.0]
    assert 0.45 < earned < 0.6
    assert said > 5
    earned, said = ends[after_reset, 0.9]
    assert earned > 0.9
    assert said > 15
    assert ends[late_mask, 0.9][0] < 0.35


# what is read off many runs


def test_curves_are_read_off_the_runs(world):
    settings = Settings(0.5, 2.0, 0.3, 4)
    found = curves(world, settings, 3, 6, seed=2, every=3, estimate=after_reset, late=1)
    states = list(islice(actor_critic_many(world, settings, 3, 2, estimate=after_reset, late=1), 7))
    assert found.earned.shape == found.start_value.shape == (3, 3)
    for mark, step in enumerate((0, 3, 6)):
        torch.testing.assert_close(found.earned[:, mark], expected_returns(world, states[step][0]))
        torch.testing.assert_close(found.start_value[:, mark], states[step][1][:, 0])


def test_staleness_compares_a_gradient_with_an_earlier_one(world):
    settings = Settings(step_size=6.0)
    found = staleness(world, settings, runs=2, steps=4, late=3, seed=1)
    assert found.shape == (2, 2)
    states = [theta for theta, _ in islice(actor_critic_many(world, settings, 2, 1), 5)]
    for run in range(2):
        exact = [world.exact_gradient(PrefixPolicy(theta[run])).flatten() for theta in states]
        torch.testing.assert_close(exact_gradients(world, states[2])[run].flatten(), exact[2])
        for after in range(2):
            wanted = torch.cosine_similarity(exact[after + 3], exact[after], 0)
            torch.testing.assert_close(found[run, after], wanted)
    assert found.max() < 0.999


def test_a_table_s_mean_error_counts_visits():
    values, rows = torch.zeros(3), torch.tensor([[0, 1], [0, 1], [0, 1]])
    errors, mask = torch.tensor([[1.0, 5.0], [2.0, 7.0], [6.0, 9.0]]), torch.tensor([[1, 1], [1, 0], [1, 1]]).bool()
    assert mean_error(values, rows, errors, mask).tolist() == [3.0, 7.0, 0.0]


@pytest.mark.parametrize(
    ("name", "value"), [("lam", 1.5), ("step_size", 0), ("value_step", 1.2), ("batch", 0), ("batch", 2.5)]
)
def test_settings_are_checked(name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        Settings(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("runs", 0), ("seed", -1), ("steps", 0), ("steps", 5), ("late", -1)])
def test_bad_arguments_are_named(world, name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        curves(world, Settings(), **({"runs": 2, "steps": 8, "seed": 0} | {name: value}))


def test_staleness_checks_its_arguments_before_anything_runs(world):
    for late in (0, 6):
        with pytest.raises(ValueError, match=r"^late "):
            staleness(world, Settings(), 2, 5, late)
