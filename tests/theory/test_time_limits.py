"""The survival world against Bellman's equation and its own samples; what three readings of an end teach."""

from itertools import islice

import pytest
import torch
from plain import as_often_as, seeded

from pgnotes.theory.time_limits import ENDS, Survival, live_and_learn, survival_world, value_at_the_end

SHARES = torch.linspace(0, 1, 11, dtype=torch.float64)


def test_values_solve_bellman_s_equation():
    world = survival_world(0.01)
    values = world.value(SHARES)
    assert values[[0, -1]].tolist() == pytest.approx([90.0, 50.2512563])
    kept = 0.99 * (1 - 0.01 * SHARES)
    torch.testing.assert_close(values, 0.9 + 0.1 * SHARES + kept * values)
    assert world.value(0.5, left=0) == 0
    torch.testing.assert_close(world.value(SHARES, left=7), 0.9 + 0.1 * SHARES + kept * world.value(SHARES, left=6))
    torch.testing.assert_close(world.value(SHARES, left=10_000), values)


def test_a_bold_step_is_worse_and_looks_better_where_a_limit_is_taken_for_death():
    """The sign turns between limits of 24 and 26 steps, nearly at the same place for all policies."""
    world = survival_world(0.01)
    bold, careful = 1.0 + 0.99 * 0.99 * world.value(SHARES), 0.9 + 0.99 * world.value(SHARES)
    torch.testing.assert_close(world.preference(SHARES), bold - careful)
    assert (world.preference(SHARES) < -0.39).all()
    found = world.preference(SHARES, limit=20)
    assert 0.0135 < found.min() < found.max() < 0.0203
    assert (world.preference(SHARES, limit=22) > 0).all()
    assert (world.preference(SHARES, limit=26) < 0).all()


def test_the_preference_is_an_average_over_the_steps_lived():
    """With three steps, by hand: 2, 1 and 0 steps are left after each."""
    world, p = Survival(risk=0.2, gamma=0.9), 0.5
    later = [world.value(p, left=left).item() for left in (2, 1, 0)]
    lived = [1.0, 0.9, 0.81]
    wanted = sum(w * (0.1 - 0.9 * 0.2 * v) for w, v in zip(lived, later, strict=True)) / sum(lived)
    assert world.preference(p, limit=3).item() == pytest.approx(wanted)


def test_a_critic_s_word_at_the_cut_counts_whole():
    """With the exact value nothing is lost; a table of zeros is the cut taken for death."""
    world = survival_world(0.01)
    torch.testing.assert_close(world.preference(SHARES, 20, at_cut=0.0), world.preference(SHARES, 20))
    for p in SHARES.tolist():
        true = world.value(p).item()
        torch.testing.assert_close(world.preference(p, 20, at_cut=true), world.preference(p))
    assert world.preference(0.5, 20, at_cut=20.0).item() == pytest.approx(-0.155, abs=5e-4)

    # by the returns of lives: r, then what the table says at the cut
    lives = world.rollout(torch.tensor([0.5]).double(), 200_000, 3, seeded())
    kept = 0.99 ** torch.arange(3).double()
    found = (lives.rewards[0] * kept).sum(1) + 0.99**3 * 7.0 * lives.alive[0]
    after = [world.value(0.5, left) + (0.99 * 0.995) ** left * 7.0 for left in (2, 1, 0)]
    bold_first, lived = lives.actions[0, :, 0] == 1, 0.995 ** torch.arange(3).double()
    gap = found[bold_first].mean() - found[~bold_first].mean()
    assert gap.item() == pytest.approx((0.1 - 0.0099 * after[0]).item(), abs=0.01)
    wanted = (lived * torch.stack([0.1 - 0.0099 * each for each in after])).sum() / lived.sum()
    torch.testing.assert_close(world.preference(0.5, 3, at_cut=7.0), wanted)


def test_lives_end_where_a_bold_step_kills_and_at_the_limit():
    world, bold = Survival(risk=0.3), torch.tensor([0.0, 0.6], dtype=torch.float64)
    lives = world.rollout(bold, 4000, 3, seeded())
    assert lives.mask.shape == (2, 4000, 3)
    assert lives.alive[0].all()
    assert (lives.rewards[0] == 0.9).all()
    actions, mask, rewards, alive = (each[1] for each in lives)
    assert (rewards == torch.where(mask, 0.9 + 0.1 * actions.double(), 0.0)).all()
    assert (mask[:, 0]).all()
    assert (mask[:, 1:] <= mask[:, :-1]).all()
    died = ~mask[:, 1:] & mask[:, :-1]
    assert (actions[:, :-1][died] == 1).all(), "only bold steps kill"
    assert mask[alive].all()

    per_step = 1 - 0.3 * 0.6
    chances = torch.tensor([1 - per_step, per_step * (1 - per_step), per_step**2])
    assert as_often_as(mask.sum(1).bincount(minlength=4)[1:], chances)
    assert as_often_as(alive.long().bincount(), torch.tensor([1 - per_step**3, per_step**3]))
    assert as_often_as(actions[:, 0].bincount(), torch.tensor([0.4, 0.6]))


def test_what_stands_at_the_end():
    values, alive = torch.tensor([5.0, 7.0]), torch.tensor([True, False])
    found = {ends: value_at_the_end(ends, values, alive).tolist() for ends in ENDS}
    assert found == {"right": [5.0, 0.0], "as death": [0.0, 0.0], "never": [5.0, 7.0]}


def test_three_readings_of_an_end_teach_three_things():
    """The right one is careful and knows what that is worth; with death for a limit, or no death, they are bold."""
    world, ends = survival_world(0.01), {}
    for kind in ENDS:
        bold, value = list(islice(live_and_learn(world, 10, kind, 20, 0), 301))[-1]
        ends[kind] = (bold > 0.5).double().mean().item(), value.mean().item()
    assert ends["right"][0] == 0
    assert ends["right"][1] == pytest.approx(90, abs=1.5)
    assert ends["as death"][0] > 0.9
    assert ends["as death"][1] < 6
    assert ends["never"][0] == 1
    assert ends["never"][1] > 97, "as if nobody ever died: 1 / (1 - γ)"


def test_an_update_is_the_advantages_times_the_scores(monkeypatch):
    """By hand, for two lives of two steps and λ = 1, from a value of 0: then Â is what is paid until the end."""
    world, seen = Survival(risk=0.5, gamma=0.5), []
    draw = Survival.rollout
    monkeypatch.setattr(Survival, "rollout", lambda *given: seen.append(draw(*given)) or seen[-1])
    runs = live_and_learn(world, 2, "as death", 1, 3, lam=1.0, step_size=0.7, value_step=0.2, batch=2)
    (first, _), (after, value) = islice(runs, 2)
    assert first.item() == 0.5
    actions, mask, rewards, _ = (each[0].tolist() for each in seen[0])
    total, step = 0.0, 0.0
    for a, m, r in zip(actions, mask, rewards, strict=True):
        to_go = [r[0] + 0.5 * r[1], r[1]]
        step += sum((a[t] - 0.5) * to_go[t] for t in range(2) if m[t]) / 2
        total += sum(to_go[t] for t in range(2) if m[t])
    assert torch.logit(after).item() == pytest.approx(0.7 * step)
    assert value.item() == pytest.approx(0.2 * total / sum(map(sum, mask)))


def test_the_seed_decides_everything():
    def last(seed):
        torch.manual_seed(seed + 10)
        return list(islice(live_and_learn(survival_world(), 5, "right", 2, seed), 3))[-1][0]

    assert torch.equal(last(5), last(5))
    assert not torch.equal(last(5), last(6))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("risk", lambda: survival_world(1.5)),
        ("gamma", lambda: Survival(gamma=1.0)),
        ("bold", lambda: survival_world().value(1.2)),
        ("left", lambda: survival_world().value(0.5, left=-1)),
        ("limit", lambda: survival_world().preference(0.5, limit=0)),
        ("generator", lambda: survival_world().rollout(SHARES, 2, 3, None)),
        ("ends", lambda: next(islice(live_and_learn(survival_world(), 5, "late", 2, 0), 1, None))),
        ("runs", lambda: next(live_and_learn(survival_world(), 5, "right", 0, 0))),
        ("step_size", lambda: next(live_and_learn(survival_world(), 5, "right", 2, 0, step_size=0))),
        ("value_step", lambda: next(live_and_learn(survival_world(), 5, "right", 2, 0, value_step=2))),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
