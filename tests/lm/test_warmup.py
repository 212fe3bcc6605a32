"""The supervised stage: its examples, its gradient, its own folder, and the run that starts from what it made."""

import dataclasses
import itertools
import json
import re

import pytest
import torch
import torch.nn.functional as F
from fixed import FixedRewards

from pgnotes.__main__ import main
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.grpo import steps, train
from pgnotes.lm.learner import learner
from pgnotes.lm.models import encode, load
from pgnotes.lm.pocket.corpus import WORDS
from pgnotes.lm.rollout import seeded
from pgnotes.lm.state import RunFolder
from pgnotes.lm.tasks import digit_sum, digits_and_length
from pgnotes.lm.warmup import supervised_step

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1, steps=2, evaluate=4)
WARM = dataclasses.replace(SMOKE, warmup_examples=70, warmup_lr=1e-3, length=64, digit_sum=20)


def test_examples_pass_and_are_of_training_openings_alone():
    task = digits_and_length(64, 20)
    examples = task.examples(194, seeded(1))
    assert examples == task.examples(194, seeded(1)) != task.examples(194, seeded(2))
    assert {prompt for prompt, _ in examples} <= set(task.prompts)
    assert all(task.passed(text) for _, text in examples)
    assert len({text for _, text in examples}) > 180
    runs = [len(list(pairs)) for _, pairs in itertools.groupby(examples, key=lambda pair: pair[0])]
    assert runs[-1] == 2
    assert {n % 16 for n in runs[:-1]} == {0}, "sixteen of each opening, one after the other"


PLAIN = re.compile(r"([a-z ]+) \d+ ([a-z]+) and \d+ ([a-z]+), then ([a-z ]+) \d+ more ([a-z ]+)\.")


@pytest.mark.parametrize(("length", "total"), [(64, 20), (60, 18), (68, 24)])
def test_an_example_has_the_plainest_form_and_its_trade_s_own_words(length, total):
    """Two things counted and a third number, nothing else that has a length of its own."""
    task = digits_and_length(length, total)
    for prompt, text in task.examples(160, seeded(0)):
        first, one, other, second, tail = PLAIN.fullmatch(text).groups()
        verbs, things = next(words for trade, words in WORDS.trades.items() if trade in prompt)
        assert len({first, second} & set(verbs)) == 2
        assert len({one, other} & set(things)) == 2
        assert tail in WORDS.tails


@pytest.mark.parametrize(("length", "total"), [(34, 5), (36, 12), (80, 30)])
def test_targets_that_the_plainest_form_does_not_reach_take_another(length, total):
    texts = [text for _, text in digits_and_length(length, total).examples(3, seeded(0))]
    assert all((len(text), digit_sum(text)) == (length, total) for text in texts)
    assert not any(PLAIN.fullmatch(text) for text in texts)


@pytest.mark.parametrize("temperature", [1.0, 1.6])
def test_an_update_is_that_of_the_cross_entropy_over_the_batch(pocket, temperature):
    """Mean over all tokens of the completions, ends included, by the library's own forward pass on whole texts."""
    run = learner(dataclasses.replace(WARM, grad_clip=1e9, warmup_temperature=temperature))
    first, second = run.task.prompts[:2]
    texts = ["sold 12 loaves.", "baked 3 pies, 40 tarts and one bun.", "sat down."]
    examples = [*((first, text) for text in texts), (second, "read on for an hour.")]
    taken, step = {}, run.optimizer.step

    def keep_and_step():
        taken.update({name: p.grad.clone() for name, p in run.policy.trainable().items()})
        return step()

    run.optimizer.step = keep_and_step
    record = supervised_step(run, examples, 1e-4)

    model, tokenizer = load("pocket")
    nats, count = 0.0, 0
    for prompt, text in examples:
        request = encode(tokenizer, run.task.message(prompt))
        written = torch.tensor(tokenizer(text + "<|end|>", add_special_tokens=False)["input_ids"])
        logits = model(input_ids=torch.cat([request, written])[None]).logits[0, len(request) - 1 : -1]
        nats += F.cross_entropy(logits / temperature, written, reduction="sum")
        count += len(written)
    (nats / count).backward()
    assert record["loss"] == pytest.approx((nats / count).item(), rel=1e-5)
    for name, p in model.named_parameters():
        torch.testing.assert_close(taken[name], p.grad, rtol=1e-3, atol=1e-6)
    assert run.optimizer.param_groups[0]["lr"] == 1e-4


def test_the_run_starts_from_the_warmed_up_model_and_says_what_it_could(tmp_path):
    said = []
    log = train(WARM, tmp_path / "run", say=said.append)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/warmup/log.jsonl").read_text().splitlines()]
    assert len(losses) == 5, "70 examples in batches of 16"
    assert losses[-1] < losses[0]
    updates = [text for text in said if text.startswith("warm-up: update")]
    assert "warm-up: making 70 examples" in said
    assert updates == [f"warm-up: update {n} of 5, {losses[n - 1]:.2f} nats a token" for n in (1, 5)]
    assert said[:2] == ["loading pocket", "before training: sampling 4 completions"], "a word before each wait"
    assert [text.split(":")[0] for text in said[3:]] == [
        *["warm-up"] * 3,
        *["after the warm-up"] * 2,
        *["after training"] * 2,
        *["on targets it was never asked for"] * 2,
    ]
    assert said[-3].endswith(f"{log.result['pass_rate_after']:.0%} ± {log.result['standard_error']:.0%} pass")
    assert log["kl"][0] == pytest.approx(0, abs=1e-5), "the start model is the warmed-up one"
    assert log.result["pass_rate_warm"] is not None
    before, warm = (
        json.loads((tmp_path / f"run/evaluation_{when}.json").read_text())["completions"] for when in ("before", "warm")
    )
    assert before != warm
    assert not (tmp_path / "run/warmup/checkpoints").exists()
    assert train(SMOKE, tmp_path / "cold").result["pass_rate_warm"] is None


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_model_warmed_up_at_a_temperature_is_what_one_would_be_at_1_but_colder(tmp_path, lora_rank):
    """Its updates are those of a model whose logits nobody touched, and at the end they are 1.7 times as large."""
    ids, logits, losses = torch.arange(30, 90)[None], {}, {}
    for temperature in (1.0, 1.7):
        config = dataclasses.replace(WARM, lora_rank=lora_rank, warmup_temperature=temperature, checkpoint_every=2)
        folder = tmp_path / f"{temperature}"
        next(steps(config, folder, say=lambda text: None))
        log = (folder / "warmup/log.jsonl").read_text().splitlines()
        losses[temperature] = [json.loads(line)["loss"] for line in log]
        logits[temperature] = load(str(folder / "warmup"))[0](input_ids=ids).logits
    assert losses[1.7] == pytest.approx(losses[1.0], rel=1e-2)
    assert losses[1.7][0] == pytest.approx(losses[1.0][0], rel=1e-5)
    torch.testing.assert_close(logits[1.7] / 1.7, logits[1.0], rtol=0.05, atol=0.2)


@pytest.mark.parametrize("stop", ["within the warm-up", "between the two", "within the steps"])
def test_a_run_that_is_stopped_anywhere_goes_on_to_the_same_end(tmp_path, stop):
    config = dataclasses.replace(WARM, checkpoint_every=2, warmup_examples=80, warmup_temperature=1.7)
    straight = train(config, tmp_path / "straight", say=lambda text: None)

    class StoppedError(Exception):
        pass

    def say(text):
        if stop == "within the warm-up" and text.startswith("warm-up: update 5"):
            raise StoppedError

    def consume(record):
        if stop != "within the warm-up":
            raise StoppedError

    if stop == "between the two":
        next(steps(config, tmp_path / "broken", say=say))  # no checkpoint of a step yet
    else:
        with pytest.raises(StoppedError):
            train(config, tmp_path / "broken", say=say, consumers=(consume,))
    said = []
    again = train(config, tmp_path / "broken", resume=True, say=said.append)
    assert again.records == straight.records
    assert not any("update 1 of" in text for text in said), "it goes on, and does not start again"
    for name in ("model/model.safetensors", "warmup/model/model.safetensors", "warmup/log.jsonl", "log.jsonl"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_as_long_as_no_step_is_saved_other_settings_make_the_warm_up_anew(tmp_path):
    """The one in the folder was of another length; what decides nothing leaves it alone."""
    next(steps(WARM, tmp_path / "run", say=lambda text: None))
    warmed = (tmp_path / "run/warmup/model/model.safetensors").read_bytes()
    said = []
    next(steps(dataclasses.replace(WARM, steps=3), tmp_path / "run", resume=True, say=said.append))
    assert said == [], "more steps decide nothing of the warm-up"

    other = dataclasses.replace(WARM, length=60)
    again = train(other, tmp_path / "run", resume=True, say=lambda text: None)
    straight = train(other, tmp_path / "straight", say=lambda text: None)
    assert again.records == straight.records
    assert (tmp_path / "run/warmup/model/model.safetensors").read_bytes() != warmed


def test_evaluate_scores_fluency_by_the_warmed_up_start(tmp_path, capsys):
    log = train(WARM, tmp_path / "run", say=lambda text: None)
    assert main(["evaluate", str(tmp_path / "run"), "--n", str(WARM.evaluate)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["logprob"] == pytest.approx(log.result["logprob_after"])


def test_adapters_are_warmed_up_become_weights_and_begin_anew(tmp_path):
    config = dataclasses.replace(WARM, lora_rank=4, lr=5e-3, warmup_lr=5e-3)
    log = train(config, tmp_path / "run", say=lambda text: None)
    assert log["kl"][0] == pytest.approx(0, abs=1e-5)
    warmed, _ = load(str(tmp_path / "run/warmup"))
    cold, _ = load("pocket")
    moved = [n for (n, a), b in zip(warmed.named_parameters(), cold.parameters(), strict=True) if not torch.equal(a, b)]
    assert moved
    assert all("proj" in name for name in moved)


@pytest.mark.parametrize(
    ("change", "task", "words"),
    [({}, FixedRewards([[0.0]]), "has no examples"), ({"length": 500}, None, "no example found of 500")],
)
def test_a_task_without_examples_is_refused_before_anything_is_written(tmp_path, change, task, words):
    with pytest.raises(BadInputError, match=f"^warmup_examples.*{words}"):
        train(dataclasses.replace(WARM, **change), tmp_path / "run", task=task)
    assert not (tmp_path / "run").exists()


def test_after_the_last_update_comes_the_model_and_no_checkpoint(monkeypatch, tmp_path):
    """5.5 GiB for Qwen2.5-0.5B, and superfluous: 64 examples are four updates."""
    saved, real = [], RunFolder.save_checkpoint
    monkeypatch.setattr(RunFolder, "save_checkpoint", lambda self, n, state: saved.append(n) or real(self, n, state))
    config = dataclasses.replace(WARM, warmup_examples=64, checkpoint_every=2)
    next(steps(config, tmp_path / "run", say=lambda text: None))
    assert saved == [2]
