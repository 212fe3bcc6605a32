"""group_advantages against numbers worked out by hand, plain Python, and what each rule promises."""

import statistics

import pytest
import torch

from pgnotes.theory.advantages import GROUP_KINDS, KINDS, group_advantages

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.2, 0.9, 0.5, 0.4], [0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)


def by_hand(rows, kind):
    """The same rules in plain Python, one number at a time."""
    everything = [r for row in rows for r in row]
    out = []
    for row in rows:
        dead = len(set(row)) == 1
        for i, r in enumerate(row):
            others = row[:i] + row[i + 1 :]
            rules = {
                "none": r,
                "dr_grpo": 0.0 if dead else r - statistics.mean(row),
                "grpo": 0.0 if dead else (r - statistics.mean(row)) / (statistics.stdev(row) + 1e-4),
                "rloo": 0.0 if dead else r - statistics.mean(others),
                "maxrl": 0.0 if dead else (r - statistics.mean(row)) / statistics.mean(row),
                "lite_ppo": 0.0 if dead else (r - statistics.mean(row)) / (statistics.stdev(everything) + 1e-4),
                "batch_mean": r - statistics.mean(everything),
                "reinforce_pp": (r - statistics.mean(everything)) / (statistics.stdev(everything) + 1e-4),
            }
            out.append(rules[kind])
    return torch.tensor(out, dtype=torch.float64).view(len(rows), -1)


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_plain_python(kind):
    torch.testing.assert_close(group_advantages(REWARDS, kind), by_hand(REWARDS.tolist(), kind), rtol=0, atol=1e-12)


def test_one_pass_in_four_by_hand():
    one = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), "grpo")
    torch.testing.assert_close(one, torch.tensor([[0.75, -0.25, -0.25, -0.25]]) / (0.5 + 1e-4))


@pytest.mark.parametrize("kind", GROUP_KINDS)
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e8, 1 / 3])
def test_a_dead_group_gives_exact_zeros(kind, value):
    rewards = torch.full((2, 8), value)  # eight times 0.1 has a mean that is not quite 0.1 in float32
    assert (group_advantages(rewards, kind) == 0).all()


def test_a_small_spread_is_not_dead():
    assert group_advantages(torch.tensor([[0.5, 0.5, 0.5, 0.5 + 1e-6]], dtype=torch.float64), "grpo").any()


def test_leave_one_out_is_the_centred_reward_times_g_over_g_minus_1():
    torch.testing.assert_close(group_advantages(REWARDS, "rloo"), group_advantages(REWARDS, "dr_grpo") * 4 / 3)


def test_groups_do_not_see_each_other():
    for kind in GROUP_KINDS:
        torch.testing.assert_close(group_advantages(REWARDS, kind)[:1], group_advantages(REWARDS[:1], kind))


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e30, -7.3])
@pytest.mark.parametrize("shape", [(1, 2), (16, 16), (3, 7)])
@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo", "reinforce_pp", "batch_mean"])
def test_equal_rewards_give_exact_zeros(kind, shape, value):
    """Whatever their rounded mean.

    256 rewards of 0.1 less their mean are 1.5e-8 each, and AdamW would make a full step of it.
    """
    assert group_advantages(torch.full(shape, value), kind).abs().max() == 0


@pytest.mark.parametrize("kind", ["reinforce_pp", "batch_mean"])
def test_the_batch_kinds_keep_a_dead_group_that_differs_from_the_others(kind):
    advantages = group_advantages(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), kind)
    assert (advantages[0] > 0).all()
