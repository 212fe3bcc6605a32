"""What lesson 08's widgets show is what its text says of them, and what plain arithmetic says."""

import math
import statistics

import pytest
import torch

from pgnotes.classroom.widgets import dead_groups, group_advantages_lab


def test_the_first_group_s_advantages_are_those_of_plain_arithmetic():
    rewards, others = [0.1, *[0.0] * 7], [1.0] * 4 + [0.0] * 4
    n = group_advantages_lab.numbers(4, **{f"r{i + 1}": reward for i, reward in enumerate(rewards)})
    assert n["rewards"] == [rewards, others]
    both = rewards + others
    praise = [
        0.1,
        0.1 - 0.1 / 8,
        (0.1 - 0.1 / 8) / (statistics.stdev(rewards) + 1e-4),
        (0.1 - sum(both) / 16) / (statistics.stdev(both) + 1e-4),
    ]
    assert [rule[0] for rule in n["rules"]] == pytest.approx(praise, abs=1e-12)
    assert [f"{value:+.2f}" for value in praise] == ["+0.10", "+0.09", "+2.47", "-0.35"]


def test_where_all_are_equal_only_the_batch_rule_speaks():
    n = group_advantages_lab.numbers(8, **{f"r{i + 1}": 0.0 for i in range(8)})
    *silent, batch = n["rules"]
    assert silent == [[0.0] * 8] * 3
    assert {f"{value:+.2f}" for value in batch} == {"-0.97"}


@pytest.mark.parametrize(
    ("size", "live", "rloo", "grpo"), [(2, 1.5, 1905, 1905), (8, 5.4, 1734, 1610), (16, 9.0, 1719, 1359)]
)
def test_at_five_percent_the_readouts_are_those_of_the_text(size, live, rloo, grpo):
    n = dead_groups.numbers(0.05, size, False)
    assert 16 * (1 - n["dead"][-1].item()) == pytest.approx(live, abs=0.05)
    assert n["needed"] == pytest.approx([rloo, grpo], abs=0.5)
    assert n["pushes"][0, -1].item() == pytest.approx(0.05 * 0.95)

    # by hand: with k right RLOO pushes with q(1 - q) G / (G - 1), GRPO with the root of q(1 - q)(G - 1) / G
    chances = [math.comb(size, k) * 0.05**k * 0.95 ** (size - k) for k in range(size + 1)]
    shares = [k / size * (1 - k / size) for k in range(size + 1)]
    pushes = [q * size / (size - 1) for q in shares], [(q * (size - 1) / size) ** 0.5 for q in shares]
    for push, needed in zip(pushes, n["needed"], strict=True):
        mean = sum(c * x for c, x in zip(chances, push, strict=True))
        variance = sum(c * x * x for c, x in zip(chances, push, strict=True)) - mean**2
        assert needed == pytest.approx(size * variance / mean**2 / 0.01, rel=2e-3)  # 1e-4 beside the spread


def test_pairs_that_are_asked_again_push_alike_at_every_rate():
    n = dead_groups.numbers(0.05, 2, True)
    assert torch.allclose(n["pushes"][0], torch.full_like(n["pushes"][0], 0.5))
