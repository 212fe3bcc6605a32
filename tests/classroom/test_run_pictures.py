"""The widgets of lesson 09: what they show of a run and of a step is what the run and the model say."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pgnotes.classroom.style import BETTER, QUIET, WORSE
from pgnotes.classroom.widgets.run_explorer import bins, full_run, run_explorer, shares
from pgnotes.classroom.widgets.token_viewer import FAR, MOST_NATS, UPDATES, G, draw, numbers, updated
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import load


def test_the_full_run_is_the_presets_and_goes_on():
    records, config = full_run(), GRPOConfig.preset("pocket")
    completions = config.prompts_per_step * config.group_size
    assert [record["step"] for record in records] == list(range(150))
    assert config.steps < 150
    rates = [config.learning_rate(step) for step in range(150)]
    assert [record["lr"] for record in records] == pytest.approx(rates), "more steps change nothing before them"
    assert all(len(record["lengths"]) == len(record["digit_sums"]) == completions for record in records)


@pytest.mark.parametrize("step", [0, 70, 149])
def test_the_explorer_shows_the_steps_own_numbers(step):
    record, shown = full_run()[step], run_explorer().numbers(step)
    for key, target, place in (("lengths", 48, 1), ("digit_sums", 12, 2)):
        share = sum(value == target for value in record[key]) / 256
        assert shown["readings"][place] == f"{share:.0%}"
        middle = bins(full_run(), key, target)
        assert shown["shares"][key][np.searchsorted(middle, target) - 1] == pytest.approx(share)
        assert sum(shown["shares"][key]) == pytest.approx(1)
    assert shown["readings"][0] == f"{record['pass_rate']:.0%}"
    assert [text for text, _ in shown["texts"]] == record["samples"]
    for text, passed in shown["texts"]:
        digit_sum = sum(int(c) for c in text if c.isdecimal())
        assert passed == (len(text) == 48 and digit_sum == 12), text


def test_a_run_of_ones_own_however_far_from_its_targets():
    changes = {"kl": None, "samples": ["a $ sign\n", "x" * 500]}
    records = [record | changes | {"lengths": [9 * n for n in record["lengths"]]} for record in full_run()[:3]]
    explorer = run_explorer(records, length=64, digit_sum=20)
    assert explorer.controls[0].high == 2
    assert explorer.png() != explorer.png(step=2)
    assert "none" in explorer.numbers(0)["readings"]
    assert "nine in ten" not in explorer.alt
    edges = bins(records, "lengths", 64)
    assert 64 in (edges[1:] + edges[:-1]) / 2, "the target is in the middle of a bar"
    counted = shares([-1000, 64, 10_000], edges)
    assert counted.sum() == pytest.approx(1), "what lies outside counts in the outermost bars"


class Seen(Exception):  # noqa: N818
    """Ends the viewer's training when the test has seen enough."""


def test_the_viewer_trains_on_the_cpu_in_float32_whatever_the_machine_has(monkeypatch):
    """A preset that takes the GPU, on a machine that has one and would compute in float16 there."""

    def device_of(name):
        return Accelerator(), torch.device("cpu" if name == "cpu" else "meta")

    def seen(run, step):
        raise Seen(run.device, run.policy.compute_dtype, next(run.policy.model.parameters()).device)

    preset = dataclasses.replace(GRPOConfig.preset("pocket"), device="auto")
    monkeypatch.setattr(GRPOConfig, "preset", lambda name: preset)
    monkeypatch.setattr("pgnotes.lm.learner.precision", lambda *_: torch.float16)
    monkeypatch.setattr("pgnotes.lm.learner.processes_and_device", device_of)
    monkeypatch.setattr("pgnotes.lm.pocket.one_group.sample_groups", seen)
    with pytest.raises(Seen) as stopped:
        updated.__wrapped__()
    assert stopped.value.args == (torch.device("cpu"), torch.float32, torch.device("cpu"))


def test_before_the_first_update_nothing_has_moved():
    for completion in range(1, G + 1):
        shown = numbers(completion, 0, 0.2)
        assert max(map(abs, shown["change"] + shown["kl"])) < 1e-12
        assert shown["readings"][2].startswith("0 of")


def test_the_viewer_against_the_loops_own_log_probabilities():
    """Start model: the sampler's log-probabilities and the scorer's entropies."""
    group, _, seen, counts = updated()
    model, _ = load("pocket")
    with torch.no_grad():
        logp, entropy = completion_logprobs(model, group.prompt, group.tokens, group.mask)
    own = seen[0].gather(1, group.tokens[group.mask][:, None])[:, 0]
    torch.testing.assert_close(own.float(), logp[group.mask], rtol=0, atol=1e-4)
    torch.testing.assert_close(own.float(), group.logp[group.mask], rtol=0, atol=1e-4)
    for completion in (1, 7, G):
        shown, live = numbers(completion, 1, 0.2), counts[completion - 1]
        torch.testing.assert_close(torch.tensor(shown["entropy"]), entropy[completion - 1, :live], rtol=0, atol=1e-4)
        assert len(shown["text"]) == len(shown["change"]) == live


@pytest.mark.parametrize("clip", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("completion", [1, 7])
def test_colours_say_whom_the_next_update_hears(completion, clip):
    advantage = updated()[0].advantages[completion - 1].item()
    assert (advantage > 0) == (completion == 7)
    for updates in (1, UPDATES):
        shown = numbers(completion, updates, clip)
        for change, colour in zip(shown["change"], shown["colours"], strict=True):
            ratio = math.exp(change)
            if advantage > 0:
                assert colour == (QUIET if ratio > 1 + clip else BETTER)
            else:
                assert colour == (QUIET if ratio < 1 - clip else WORSE)
        assert min(shown["kl"]) > -1e-12
        assert max(shown["kl"]) > 0.1


@pytest.mark.parametrize("updates", [0, 4, 6])
def test_a_bar_that_leaves_the_frame_has_a_mark_at_its_edge(updates):
    artists, update = draw(Figure())
    over, under, above = (artist for artist in artists if isinstance(artist, Line2D))
    seen = numbers(1, updates, 0.2)
    update(seen)
    assert list(over.get_xdata()) == [x for x, change in enumerate(seen["change"]) if change >= math.log(FAR)]
    assert list(under.get_xdata()) == [x for x, change in enumerate(seen["change"]) if change <= -math.log(FAR)]
    assert list(above.get_xdata()) == [x for x, value in enumerate(seen["kl"]) if value >= MOST_NATS]
    assert bool(len(under.get_xdata())) == (updates > 0)
