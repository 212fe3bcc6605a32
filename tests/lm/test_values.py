"""Values by fresh continuations: against a plain loop of the model, a chance that is known, and the recorded file."""

import gzip
import hashlib
import json
from importlib.resources import files

import pytest
import torch

from pgnotes.lm import values
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import RewardError
from pgnotes.lm.models import encode, stop_ids
from pgnotes.lm.rollout import uniforms
from pgnotes.lm.tasks import digits_and_length, from_reward
from pgnotes.lm.values import continued, with_continuations


@pytest.fixture(scope="module")
def recorded():
    return json.loads(gzip.decompress(files("pgnotes.classroom").joinpath("pocket_values.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def task():
    config = GRPOConfig.preset("pocket")
    return digits_and_length(config.length, config.digit_sum, instruction=config.instruction)


def plain(model, start, prefix, noise, stops):
    """Token by token with the whole text run through the model each time: ids of each continuation, stop included."""
    lines = []
    for uniform in noise.T:
        ids = prefix.tolist()
        for u in uniform.tolist():
            logits = model(input_ids=torch.cat([start, torch.tensor(ids, dtype=torch.long)])[None]).logits[0, -1]
            ids.append(int((logits.softmax(-1).cumsum(-1) <= u).sum()))
            if ids[-1] in stops:
                break
        lines.append(ids)
    return lines


def test_continuations_are_the_model_s_own(pocket, task):
    """After a prefix of three characters, of none, and of all but the last."""
    model, tokenizer = pocket
    start, stops = encode(tokenizer, task.message(task.held_out[0])), stop_ids(*pocket)
    text = torch.tensor(tokenizer("read 3 notes.", add_special_tokens=False)["input_ids"])
    for length in (0, 3, 12):
        noise = uniforms(4, 10, 1, length)
        group = with_continuations(model, tokenizer, start, text[:length], noise, stops)
        wanted = plain(model, start, text[:length], noise, stops)
        assert [row[m].tolist() for row, m in zip(group.tokens, group.mask, strict=True)] == wanted
        assert group.texts == [tokenizer.decode([i for i in ids if i not in stops]) for ids in wanted]
        assert group.ended.tolist() == [ids[-1] in stops for ids in wanted]


def test_nothing_follows_an_end_or_a_full_text(pocket):
    model, tokenizer = pocket
    start, stops = torch.tensor([5, 9, 11]), stop_ids(*pocket)
    for last, limit, ended in ((stops[0], 6, True), (7, 3, False)):
        prefix = torch.tensor([8, 4, last])
        group = with_continuations(model, tokenizer, start, prefix, uniforms(2, limit - 3, 0), stops)
        assert group.tokens.tolist() == [prefix.tolist()] * 2
        assert group.ended.tolist() == [ended] * 2


def test_what_is_earned_is_the_reward_of_the_whole_text(pocket, monkeypatch):
    """Prefix and continuation together; a text that did not end earns nothing; the last row is the text's own."""
    model, tokenizer = pocket
    heard = []

    def starts_with_vowel(completions, prompts):
        heard.extend(zip(prompts, completions, strict=True))
        return [float(text[:1] in "aeiou") + len(text) / 100 for text in completions]

    task = from_reward(starts_with_vowel, prompts=[f"opening {i}" for i in range(20)], instruction="20 5: {prompt}")
    ids = tokenizer("ate 5 apples", add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([*ids, stop_ids(*pocket)[0]])
    found = continued(model, tokenizer, task, task.held_out[0], tokens, 3, 40, "seed")
    assert found.shape == (len(tokens) + 1, 3)
    assert found.dtype == torch.float64
    assert found[-1].tolist() == pytest.approx([1.12] * 3)
    assert {prompt for prompt, _ in heard} == {task.held_out[0]}
    for t, row in enumerate(found):
        texts = [text for _, text in heard[3 * t : 3 * t + 3]]
        assert all(text.startswith("ate 5 apples"[:t]) for text in texts)
        for text, earned in zip(texts, row.tolist(), strict=True):
            assert earned in (pytest.approx(float(text[:1] in "aeiou") + len(text) / 100, abs=1e-6), 0.0)
    assert found[5].unique().numel() > 1, "continuations differ"

    room = []
    monkeypatch.setattr(values, "uniforms", lambda *given: room.append(given[1]) or uniforms(*given))
    cut = continued(model, tokenizer, task, task.held_out[0], tokens[:-1], 2, 12, "seed")
    assert cut[-1].tolist() == [0.0, 0.0], "it did not end by itself"
    assert room == list(range(12, -1, -1)), "the prefix counts, too"


def test_the_seeds_decide_and_so_does_the_place(pocket, task):
    model, tokenizer = pocket
    tokens = torch.tensor(tokenizer("ke", add_special_tokens=False)["input_ids"])

    def mean_length(completions):
        return [float(len(text)) for text in completions]

    lengths = from_reward(mean_length, instruction="20 5: {prompt}")
    first, again, other = (continued(model, tokenizer, lengths, task.held_out[0], tokens, 4, 40, s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first[:-1], other[:-1])


def test_bad_arguments_are_named(pocket, task):
    for tokens, limit in ((torch.tensor([], dtype=torch.long), 4), (torch.tensor([1, 2, 3]), 2)):
        with pytest.raises(ValueError, match=r"^tokens "):
            continued(*pocket, task, task.held_out[0], tokens, 2, limit, 0)
    silent = from_reward(lambda completions: [None] * len(completions))
    with pytest.raises(RewardError):
        continued(*pocket, silent, task.held_out[0], torch.tensor([7]), 2, 4, 0)


# what is recorded


def test_the_record_is_of_the_bundled_model_and_small(recorded):
    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    assert recorded["model"] == hashlib.sha256(weights).hexdigest(), "record it again: tools/record_values.py"
    assert len(files("pgnotes.classroom").joinpath("pocket_values.json.gz").read_bytes()) < 100_000
    assert recorded["samples"] == 512


def test_each_text_is_described_place_by_place(recorded, pocket, task):
    model, tokenizer = pocket
    assert recorded["request"] == task.message(recorded["opening"])
    assert [text["passed"] for text in recorded["texts"]] == [True] * 3 + [False] * 3
    start = encode(tokenizer, recorded["request"])
    (first,) = {(text["values"][0], text["errors"][0]) for text in recorded["texts"]}  # nothing written: the same thing
    assert first[1] == pytest.approx((first[0] * (1 - first[0]) / (6 * 512)) ** 0.5, abs=1e-6)
    for text in recorded["texts"]:
        assert "".join(text["tokens"][:-1]) == text["text"]
        assert text["passed"] == task.passed(text["text"])
        worth = torch.tensor(text["values"], dtype=torch.float64)
        assert len(worth) == len(text["errors"]) == len(text["tokens"]) + 1
        assert (worth * 512 - (worth * 512).round())[1:].abs().max() < 1e-3
        assert worth[-1] == text["passed"]
        errors = (worth * (1 - worth) / 512).sqrt()
        torch.testing.assert_close(torch.tensor(text["errors"][1:]).double(), errors[1:], rtol=0, atol=1e-6)

        ids = torch.tensor(tokenizer(text["text"] + text["tokens"][-1], add_special_tokens=False)["input_ids"])
        logits = model(input_ids=torch.cat([start, ids])[None]).logits[0, len(start) - 1 : -1]
        log_probs = logits.double().log_softmax(-1)
        chosen = log_probs.gather(1, ids[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(text["logprob"]).double(), chosen, rtol=0, atol=1e-4)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        torch.testing.assert_close(torch.tensor(text["entropy"]).double(), entropy, rtol=0, atol=1e-4)


def test_a_few_values_are_found_again(recorded, pocket, task):
    """With other seeds: all within four standard errors of both."""
    model, tokenizer = pocket
    text = recorded["texts"][0]
    start, stops = encode(tokenizer, recorded["request"]), stop_ids(*pocket)
    ids = torch.tensor(tokenizer(text["text"], add_special_tokens=False)["input_ids"])
    for place in (0, 30, 38):
        group = with_continuations(
            model, tokenizer, start, ids[:place], uniforms(64, 64 - place, "again", place), stops
        )
        share = sum(map(task.passed, group.texts)) / 64
        recorded_share = text["values"][place]
        error = (recorded_share * (1 - recorded_share) * (1 / 64 + 1 / 512)) ** 0.5 + 0.01
        assert abs(share - recorded_share) < 4 * error
