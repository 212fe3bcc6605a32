"""What an evaluation says of itself: error bars, and the chance that one of several tries passes."""

import dataclasses
import itertools
import math

import pytest
import torch

from pgnotes.lm import evaluate as module
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.evaluate import evaluate, held_out_requests, pass_at_k, standard_error
from pgnotes.lm.models import load
from pgnotes.lm.rollout import Group
from pgnotes.lm.tasks import from_reward

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1)


def test_the_standard_error_of_a_share():
    assert standard_error(0.3, 100) == pytest.approx(math.sqrt(0.3 * 0.7 / 100), rel=0.02)
    assert standard_error(0.0, 100) == pytest.approx(standard_error(1.0, 100))
    assert 0 < standard_error(0.0, 100) < 0.01, "none in 100 is not certain"
    assert standard_error(0.3, 400) == pytest.approx(standard_error(0.3, 100) / 2, rel=0.02)


def test_pass_at_k_is_the_share_of_all_choices_of_k_with_one_that_passes(monkeypatch):
    """Against the list of all choices; the completion that was cut off does not count."""
    passing = [[0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 1, 1]]
    ended = [[1, 1, 1, 1, 1, 0], [1] * 6, [1] * 6]
    task = from_reward(lambda completions, **columns: [float(text) for text in completions])
    groups = [
        Group(torch.zeros(1), torch.zeros(6, 1), torch.ones(6, 1), torch.zeros(6, 1), torch.tensor(ends).bool(), texts)
        for texts, ends in zip([[str(p) for p in row] for row in passing], ended, strict=True)
    ]
    asked = []

    def sampled(model, tokenizer, prompts, noise, stops):
        asked.append([block.shape[1] for block in noise])
        return [groups.pop(0) for _ in prompts]

    model, tokenizer = load("pocket")
    monkeypatch.setattr(module, "rollout", sampled)
    monkeypatch.setattr(module, "ROWS", 13)
    found = pass_at_k(model, tokenizer, held_out_requests(task, 3), SMOKE, ks=(1, 2, 6))
    assert asked == [[6, 6], [6]], "as many completions at a time as memory has room for"

    counted = [[p * e for p, e in zip(*rows, strict=True)] for rows in zip(passing, ended, strict=True)]
    for k, chance in found.items():
        shares = [sum(any(choice) for choice in itertools.combinations(row, k)) / math.comb(6, k) for row in counted]
        assert chance == pytest.approx(sum(shares) / 3)


def test_of_the_pocket_model_one_in_ten_passes_and_of_sixteen_mostly_one():
    model, tokenizer = load("pocket")
    task = module_task()
    found = pass_at_k(model, tokenizer, held_out_requests(task, 24), SMOKE)
    once = evaluate(model, tokenizer, held_out_requests(task, 24), SMOKE).pass_rate
    assert list(found) == [1, 4, 16]
    assert found[1] < found[4] < found[16]
    assert found[1] == pytest.approx(once, abs=0.15)
    assert 0.5 < found[16] <= 1


def module_task():
    """The pocket preset's own task."""
    from pgnotes.lm.learner import task_and_hash

    return task_and_hash(SMOKE)[0]
