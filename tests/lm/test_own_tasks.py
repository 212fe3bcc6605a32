"""A task or a reward of one's own: what it is given, what it may give back, and how a run keeps to it."""

import dataclasses
import importlib.util
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pgnotes.__main__ import main
from pgnotes.lm import grpo
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError, RewardError
from pgnotes.lm.evaluate import held_out_requests, unseen_requests
from pgnotes.lm.grpo import steps, train
from pgnotes.lm.state import RunFolder
from pgnotes.lm.tasks import Task, digits_and_length, from_reward, paid

ROOT = Path(__file__).parents[2]
TINY = dataclasses.replace(
    GRPOConfig.preset("smoke"), threads=1, steps=2, prompts_per_step=2, group_size=2, evaluate=2, checkpoint_every=1
)


def example(name: str):
    """A file of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vowels(completions, **columns):
    """The share of vowels."""
    return [sum(c in "aeiou" for c in text) / max(len(text), 1) for text in completions]


def test_what_ships_is_a_task():
    for task in (digits_and_length(), from_reward(vowels), example("word_problems").make()):
        assert isinstance(task, Task)
        assert all(isinstance(value, int | float) for value in task.measures("On 12 days").values())
        assert isinstance(task.message(task.prompts[0]), str)


def test_a_plain_reward_becomes_a_task():
    task = from_reward(vowels, instruction="Go on: {prompt}")
    assert task.message("x {prompt}") == "Go on: x {prompt}"
    assert task.reward(["aeiou", "xyz"]) == [1.0, 0.0]
    assert (task.passed("aeiou"), task.passed("aeio x")) == (True, False)
    assert task.measures("four") == {"length": 4}
    assert unseen_requests(task, 5) == []
    assert [prompt for _, prompt in held_out_requests(task, 3)] == task.held_out[:3]


def test_a_reward_gets_what_it_asks_for_one_entry_a_completion():
    seen = []

    def full(completions, prompts, answer, **more):
        seen.append((list(completions), list(prompts), list(answer), more))
        return [1.0] * len(completions)

    def bare(completions):
        return [0.5] * len(completions)

    prompts = {f"{i} and {i}?": {"answer": 2 * i, "level": "easy"} for i in range(40)}
    assert paid(from_reward(full, prompts), "3 and 3?", ["a", "b"]) == [1.0, 1.0]
    assert seen == [(["a", "b"], ["3 and 3?"] * 2, [6, 6], {"level": ["easy", "easy"]})]
    assert paid(from_reward(bare, prompts), "3 and 3?", ["a", "b"]) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("back", "words"),
    [
        (lambda texts: [1.0] * (len(texts) + 1), "gave 4 numbers for 3 completions"),
        (lambda texts: [1.0, math.nan, 0.0], "gave nan for completion 2 of 3, 'two'"),
        (lambda texts: [1.0, 0.0, math.inf], "gave inf for completion 3 of 3, 'three'"),
        (lambda texts: [1.0, None, 0.0], "gave None for completion 2 of 3, 'two'"),
        (lambda texts: ["good", 1.0, 0.0], "gave 'good' for completion 1 of 3, 'one'"),
        (
            lambda texts: [1 / ("w" not in text) for text in texts],
            "failed on completion 2 of 3, 'two': ZeroDivisionError",
        ),
        (lambda texts: 1 / 0, "failed on completion 1 of 3, 'one': ZeroDivisionError"),
        (lambda texts: None, "failed on completion|failed: TypeError"),
    ],
)
def test_a_bad_reward_is_named_with_its_completion(back, words):
    def mine(completions, **columns):
        return back(completions)

    with pytest.raises(RewardError, match=f"the reward mine .*{words}|the reward mine {words}"):
        paid(from_reward(mine), "On Monday", ["one", "two", "three"])


def test_numbers_of_any_kind_are_taken():
    for numbers in ([1, 0], [True, False], torch.tensor([1.0, 0.0]), (1.0, 0.0), [torch.tensor(1.0), 0]):
        assert paid(from_reward(lambda completions, numbers=numbers: numbers), "x", ["a", "b"]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("vowels",), "reward"),
        ((vowels, "bundled", "no place for it"), "instruction"),
        ((vowels, "bundled", "{prompt} {length}"), "instruction"),
        ((vowels, ["one"]), "prompts"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(BadInputError, match=f"^{name} "):
        from_reward(*arguments)


def test_a_run_on_a_reward_of_ones_own(tmp_path):
    log = train(TINY, tmp_path / "run", task=from_reward(vowels, instruction="48 12: {prompt}"))
    assert 0.2 < log["reward"][0] < 0.5
    assert log.result["pass_rate_unseen"] is None
    record = log.records[0]
    assert all(type(n) is int for n in record["lengths"]), "12, not 12.0"
    assert "digit_sum" not in record
    row = RunFolder(tmp_path / "run").read("evaluation_after.json")["completions"][0]
    assert set(row) == {"prompt", "completion", "ended", "passed", "length"}
    json.loads((tmp_path / "run/result.json").read_text())


def test_a_run_goes_on_with_its_own_reward_only(tmp_path):
    task = from_reward(vowels)
    next(steps(TINY, tmp_path / "run", task=task))
    with pytest.raises(BadInputError, match="task of this run is another one"):
        next(steps(TINY, tmp_path / "run", resume=True))
    with pytest.raises(BadInputError, match="task of this run is another one"):
        next(steps(TINY, tmp_path / "run", resume=True, task=from_reward(example("twelve_words").twelve_words)))
    assert next(steps(TINY, tmp_path / "run", resume=True, task=task))["step"] == 1


FILE = """
def reward(completions, **columns):
    return [float(len(text) > 40) for text in completions]

def make():
    from pgnotes.lm.tasks import from_reward
    return from_reward(reward, instruction="48 12: {prompt}")

def nothing():
    return 3
"""


@pytest.mark.parametrize("setting", ["reward", "task"])
def test_a_file_of_ones_own_from_the_command_line(tmp_path, capsys, setting, monkeypatch):
    file, out = tmp_path / "my.py", str(tmp_path / "run")
    file.write_text(FILE)
    monkeypatch.chdir(tmp_path)
    settings = ["prompts_per_step=2", "group_size=2", "steps=1", "evaluate=2", "threads=1"]
    own = f"{setting}=my.py:{'reward' if setting == 'reward' else 'make'}"
    assert main(["grpo", "--preset", "smoke", "--out", out, "--set", *settings, own]) == 0
    assert main(["evaluate", out, "--n", "2"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 <= found["pass_rate"] <= 1
    monkeypatch.chdir(ROOT)
    assert main(["grpo", "--resume", "--out", out, "--set", "steps=2"]) == 0
    capsys.readouterr()
    file.write_text(FILE.replace("40", "45"))
    assert main(["grpo", "--resume", "--out", out, "--set", "steps=3"]) == 2
    assert "the task of this run is another one now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("reward=nowhere.py:f", "names no Python file"),
        ("reward=my.py:nothing_here", "no function 'nothing_here'; its functions: reward, make, nothing"),
        ("task=my.py:nothing", "which made 3; a task has prompts, held_out"),
        ("reward=broken.py:f", "broken.py can't be run: SyntaxError"),
        ("reward=dense", "one of binary, shaped"),
        ("task=chess", "a task is digits"),
    ],
)
def test_a_file_that_is_no_task_is_refused(tmp_path, capsys, monkeypatch, setting, words):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(FILE)
    Path("broken.py").write_text("def f(:\n")
    assert main(["grpo", "--preset", "smoke", "--out", "run", "--set", setting]) == 2
    assert words in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_reward_that_fails_in_the_middle_loses_nothing_and_may_be_mended(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = FILE + "\ncalls = []\n"
    broken = text.replace("return [float", "calls.append(1)\n    assert len(calls) < 10, 'tired'\n    return [float")
    Path("my.py").write_text(broken)
    settings = ["prompts_per_step=2", "group_size=2", "steps=6", "evaluate=1", "threads=1", "checkpoint_every=1"]
    assert main(["grpo", "--preset", "smoke", "--out", "run", "--set", *settings, "reward=my.py:reward"]) == 1
    *_, line = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pgnotes:")]
    assert "the reward reward failed" in line
    assert "AssertionError: tired" in line
    done = len(RunFolder("run").lines("log.jsonl"))
    assert done >= 1
    Path("my.py").write_text(text)
    assert main(["grpo", "--resume", "--out", "run"]) == 0
    log = RunFolder("run").lines("log.jsonl")
    assert [record["step"] for record in log] == list(range(6))
    assert [record["step"] for record in log if "changes" in record] == [done]


# the examples


def test_twelve_words():
    reward = example("twelve_words").twelve_words
    assert reward(
        ["a " * 12, "a " * 11, "a " * 12 + "12 - !", "one two three four five six seven eight nine ten eleven twelve."]
    ) == [1, 0, 1, 1]


def test_word_problems_have_right_answers():
    module = example("word_problems")
    made = module.problems()
    assert made == module.problems() != module.problems(seed=1)
    for text, column in made.items():
        start, boxes, each, gone = (int(word) for word in text.replace(".", "").split() if word.isdigit())
        assert column["answer"] == start + boxes * each - gone >= 0
    task = module.make()
    prompt = task.held_out[0]
    answer = made[prompt]["answer"]
    texts = [f"so #### {answer:g}", f"#### {answer + 1:g}", "I don't know", f"#### 1\n#### {answer:,.1f}"]
    assert paid(task, prompt, texts) == [1.0, 0.1, 0.0, 1.0]
    assert [task.passed(text, prompt) for text in texts] == [True, False, False, True]


def test_word_problems_run(tmp_path):
    """The pocket model does not solve them; it trains and evaluates on them all the same."""
    task = example("word_problems").make()
    config = dataclasses.replace(TINY, steps=1, prompt_tokens=400, max_new_tokens=24)
    log = train(config, tmp_path / "run", task=task)
    assert log.result["pass_rate_after"] == 0


def test_truncated_completions_get_nothing_whatever_the_task_pays():
    group = SimpleNamespace(source="x", texts=["a", "b"], ended=torch.tensor([True, False]))
    assert grpo.rewards_of(from_reward(lambda completions: [2.0, 2.0]), [group]).tolist() == [[2.0, 0.0]]


class Words:
    """A task that follows words, and knows nothing of characters."""

    prompts, held_out = ["On Monday", "At noon"], ["In May"]

    def message(self, prompt):
        return prompt

    def reward(self, completions, prompts=None, **columns):
        return [float(len(text.split()) > 6) for text in completions]

    def passed(self, completion, prompt=""):
        return len(completion.split()) > 6

    def measures(self, completion):
        return {"words": len(completion.split()), "commas": completion.count(",")}


def test_logs_bars_and_pictures_follow_the_measures_of_any_task(tmp_path, capsys):
    from pgnotes.classroom.dashboard import curves
    from pgnotes.classroom.progress import Bar

    with Bar(2) as bar:
        log = train(dataclasses.replace(TINY, steps=2), tmp_path / "run", task=Words(), consumers=(bar,))
    assert f"words={log['words'][-1]:.0f}" in capsys.readouterr().err
    assert {"words", "words_std", "commas", "wordss"} <= set(log.records[0])
    assert "length" not in log.records[0]
    fig, alt = curves(log.records, 2, words=7)
    assert any(ax.get_title(loc="left").startswith("Words") for ax in fig.axes)
    assert "mean words" in alt
    row = json.loads((tmp_path / "run/evaluation_after.json").read_text())["completions"][0]
    assert {"words", "commas"} <= set(row)
