"""The numbers of a record, against figures worked out by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.monitor import describe, measure, summary
from pgnotes.lm.rollout import Group
from pgnotes.lm.tasks import DigitsAndLength


def part() -> Group:
    """Two completions of three and two tokens; the first is better than the second. Ratios: ½, 1, 2 and ½, 2."""
    mask = torch.tensor([[True, True, True], [True, True, False]])
    old = torch.tensor([[-1.0, -2.0, -3.0], [-1.5, -2.5, 0.0]])
    group = Group(
        torch.tensor([1]),
        torch.tensor([[11, 12, 13], [14, 15, 0]]),
        mask,
        old + 0.25 * mask,
        torch.tensor([True, False]),
        ["a", "b"],
    )
    group.logp_old, group.advantages = old, torch.tensor([1.0, -1.0])
    return group


LOGP = math.log(2) * torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])
KL = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.6, 0.0]])


def test_a_micro_batch_in_numbers():
    group = part()
    entropy = torch.full((2, 3), 0.5) * group.mask
    found = measure(group, torch.tensor(0.7), group.logp_old + LOGP, entropy, KL, GRPOConfig())
    expected = {
        "loss": 0.7,
        "tokens": 5,
        "entropy": 2.5,
        "kl": 1.6,
        "clip_low": 1,  # the second completion at ½
        "clip_high": 1,  # the first at 2
        "sampler_gap": 1.25,
        "kl_max": 0.6,
        "kl_max_token": 15,
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected)


def test_the_two_sides_of_the_clip_are_told_apart():
    group = part()

    def stopped(clip, loss="ppo"):
        config = GRPOConfig(clip=clip, loss=loss)
        found = measure(group, torch.tensor(0.0), group.logp_old + LOGP, KL, KL, config)
        return [found["clip_low"].item(), found["clip_high"].item()]

    group.advantages = torch.tensor([-1.0, -1.0])
    assert stopped((0.2, 0.2)) == [2, 0], "both at ½ are stopped, neither at 2"
    group.advantages = torch.tensor([1.0, 1.0])
    assert stopped((0.2, 0.2)) == [0, 2]
    assert stopped((0.2, 0.2), "cispo") == [0, 0], "its weight is cut, and pushes on"
    assert stopped((0.2, 1.5)) == [0, 0], "the upper side is wider"


def run(beta: float = 0.0) -> SimpleNamespace:
    accelerator = SimpleNamespace(gather=lambda x: x)
    tokenizer = SimpleNamespace(decode=lambda ids: f"token {ids[0]}")
    task = DigitsAndLength(4, 3, [], [])
    return SimpleNamespace(
        accelerator=accelerator,
        device=torch.device("cpu"),
        policy=SimpleNamespace(tokenizer=tokenizer),
        micro_batch=8,
        config=SimpleNamespace(beta=beta),
        entropy_weight=0.01,
        task=task,
    )


def test_means_over_micro_batches_and_the_worst_token_of_all():
    names = ["loss", "tokens", "entropy", "kl", "clip_low", "clip_high", "sampler_gap", "kl_max", "kl_max_token"]
    numbers = [
        [0.5, 10, 4, 1, 2, 0, 0.1, 0.3, 7],
        [-0.25, 30, 8, 3, 0, 1, 0.3, 0.9, 8],
        [0.0, 0, 0, 0, 0, 0, 0, 0.5, 9],
    ]
    rows = [dict(zip(names, torch.tensor(row, dtype=torch.float32), strict=True)) for row in numbers]
    found = summary(run(beta=0.1), rows)
    means = {
        "loss": 0.25,
        "entropy": 0.3,
        "kl": 0.1,
        "clip_low": 0.05,
        "clip_high": 0.025,
        "sampler_gap": 0.01,
        "kl_max": 0.9,
    }
    assert {key: found[key] for key in means} == pytest.approx(means)
    assert (found["kl_max_token"], found["rows"], found["entropy_weight"]) == ("token 8", 8, 0.01)
    assert {summary(run(), rows)[key] for key in ("kl", "kl_max", "kl_max_token")} == {None}, (
        "no leash, nothing to be far from"
    )
    nothing = summary(run(beta=0.1), [])
    assert nothing["loss"] == 0
    assert {nothing[key] for key in ("entropy", "kl", "kl_max", "kl_max_token", "clip_low", "sampler_gap")} == {None}, (
        "a step of dead groups"
    )


def test_the_completions_in_numbers():
    """Four of eight texts keep the rule, one of them was cut off; three groups are dead, one because all pass."""
    blank = torch.zeros(2, 1)
    groups = [
        Group(blank[0], blank, blank.bool(), blank, torch.tensor([True, False]), ["ab12", "12ab"]),
        Group(blank[0], blank, blank.bool(), blank, torch.tensor([True, True]), ["a", "b"]),
        Group(blank[0], blank, blank.bool(), blank, torch.tensor([True, True]), ["111a", "3 ab"]),
        Group(blank[0], blank, blank.bool(), blank, torch.tensor([True, True]), ["c", "d"]),
    ]
    found = describe(run(), groups, torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    exact = {
        "reward": 0.375,
        "pass_rate": 0.375,
        "truncated": 1 / 8,
        "length": 2.5,
        "digit_sum": 1.5,
        "dead_fail": 1 / 2,
        "dead_pass": 1 / 4,
    }
    assert {key: found[key] for key in exact} == pytest.approx(exact)
    assert found["reward_std"] == pytest.approx((15 / 56) ** 0.5)
    assert (found["lengths"], found["digit_sums"]) == ([4, 4, 1, 1, 4, 4, 1, 1], [3, 3, 0, 0, 3, 3, 0, 0])
    assert found["samples"] == ["ab12", "a", "111a", "c"]
