"""The loop: the gradient of a step, dead groups, configuration, records, a run from end to end."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch

from pgnotes.lm import grpo
from pgnotes.lm.config import PRESETS, GRPOConfig
from pgnotes.lm.grpo import steps, train, train_step
from pgnotes.lm.learner import learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.theory.advantages import group_advantages

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=2)
SMALL = dataclasses.replace(SMOKE, prompts_per_step=3, group_size=4, length=20, digit_sum=5)


def gradients(monkeypatch, config, rewards, change=lambda groups: groups):
    """The gradient of one step's loss under the given rewards, before clipping."""
    run, found = learner(config), {}
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(rewards))
    monkeypatch.setattr(grpo, "update", lambda run, monitor: found.update({n: p.grad for n, p in run.policy.named_parameters() if p.grad is not None}))
    sampled = grpo.sample_groups
    monkeypatch.setattr(grpo, "sample_groups", lambda run, step: change(sampled(run, step)))
    train_step(run, 0)
    monkeypatch.undo()
    return run, found


REWARDS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo", "reinforce_pp"])
def test_the_steps_gradient_is_the_policy_gradient_written_out(monkeypatch, kind):
    """-(1 / all live tokens, dead groups' too) Σ A ∇ log π, here from autograd on one flat sum."""
    config = dataclasses.replace(SMALL, beta=0.0, advantages=kind)
    run, found = gradients(monkeypatch, config, REWARDS)
    groups = grpo.sample_groups(run, 0)
    flat = 0.0
    for group, advantage in zip(groups, group_advantages(torch.tensor(REWARDS), kind), strict=True):
        logp, _ = completion_logprobs(run.policy, group.prompt, group.tokens, group.mask)
        flat = flat - (advantage[:, None] * logp).sum()
    (flat / sum(g.mask.sum() for g in groups)).backward()
    for name, p in run.policy.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-4, atol=1e-7)


def test_dead_groups_are_skipped_and_change_nothing_but_the_normaliser(monkeypatch):
    forwards = []
    real = grpo.group_loss
    monkeypatch.setattr(grpo, "group_loss", lambda *args: forwards.append(1) or real(*args))
    config = dataclasses.replace(SMALL, beta=0.0)
    run = learner(config)
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(REWARDS))
    record, _ = train_step(run, 0)
    assert len(forwards) == 2
    assert record["dead_fail"] == pytest.approx(1 / 3)


def test_a_dead_group_keeps_its_kl_term(monkeypatch):
    forwards = []
    real = grpo.group_loss
    monkeypatch.setattr(grpo, "group_loss", lambda *args: forwards.append(1) or real(*args))
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(REWARDS))
    train_step(learner(dataclasses.replace(SMALL, beta=0.1)), 0)
    assert len(forwards) == 3


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_when_every_group_is_dead_the_weights_stay(monkeypatch, value):
    """Eight rewards of 0.1 are equal, whatever their rounded mean says; AdamW's momentum must not move on."""
    run = learner(dataclasses.replace(SMALL, beta=0.0))
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(REWARDS))
    train_step(run, 0)  # gives the optimizer some momentum
    before = [p.clone() for p in run.policy.parameters()]
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.full((3, 4), value))
    record, _ = train_step(run, 1)
    assert record["skipped"] == "every group was dead"
    assert run.updates == 1
    assert all(torch.equal(a, b) for a, b in zip(before, run.policy.parameters(), strict=True))


def test_several_epochs_leave_ratio_one(monkeypatch):
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(REWARDS))
    run = learner(dataclasses.replace(SMALL, epochs=4, lr=5e-3, warmup=0, beta=0.0))
    record, _ = train_step(run, 0)
    assert run.updates == 4
    assert record["clip_low"] + record["clip_high"] > 0
    once, _ = train_step(learner(dataclasses.replace(SMALL, beta=0.0)), 0)
    assert once["clip_low"] == once["clip_high"] == 0, "with one epoch the ratio is 1 by construction"


def test_a_gradient_that_is_not_finite_is_skipped_and_in_the_end_stops_the_run(monkeypatch, tmp_path):
    real = grpo.group_loss
    monkeypatch.setattr(grpo, "group_loss", lambda *args: real(*args) * float("nan"))
    run = steps(SMALL, tmp_path)
    assert [next(run)["skipped"], next(run)["skipped"]] == ["the gradient is not finite"] * 2
    with pytest.raises(FloatingPointError, match="smaller lr"):
        next(run)
    kept = torch.load(tmp_path / "not_finite.pt", weights_only=True)
    assert kept["record"]["step"] == 2
    assert [len(group["texts"]) for group in kept["groups"]] == [SMALL.group_size] * SMALL.prompts_per_step
    assert all(group["tokens"].shape == group["mask"].shape == group["logp"].shape for group in kept["groups"])


@pytest.mark.parametrize("who", ["policy", "reference"])
def test_log_probabilities_that_overflow_skip_one_update_and_raise_nothing(monkeypatch, who):
    """The first update of two is skipped; the second, at the weights that sampled, is made."""
    run, real, broken = learner(dataclasses.replace(SMALL, beta=0.1, epochs=2)), grpo.completion_logprobs, [True]
    before = [p.clone() for p in run.policy.parameters()]
    real_update, fates = grpo.update, []

    def overflowing(model, *args):
        logp, entropy = real(model, *args)
        return (logp * float("nan") if broken and model is getattr(run, who) else logp), entropy

    def update(run, monitor):
        monitor.skipped = ""
        real_update(run, monitor)
        moved = any(not torch.equal(a, b) for a, b in zip(before, run.policy.parameters(), strict=True))
        fates.append((monitor.skipped, moved))
        broken.clear()

    monkeypatch.setattr(grpo, "completion_logprobs", overflowing)
    monkeypatch.setattr(grpo, "update", update)
    monkeypatch.setattr(grpo, "rewards_of", lambda task, groups: torch.tensor(REWARDS))
    train_step(run, 0)
    assert fates == [("the gradient is not finite", False), ("", True)]


def test_a_completion_that_does_not_end_by_itself_gets_nothing(pocket):
    run = learner(dataclasses.replace(SMALL, length=48, digit_sum=12, max_new_tokens=49))
    always = SimpleNamespace(reward=lambda texts: [1.0] * len(texts))
    groups = grpo.sample_groups(run, 0)
    rewards = grpo.rewards_of(always, groups)
    assert rewards.tolist() == [[float(e) for e in group.ended] for group in groups]
    assert 0 in rewards
    assert 1 in rewards


def test_prompts_come_round_in_a_new_order(pocket):
    run = learner(dataclasses.replace(SMALL, prompts_per_step=97))
    total = len(run.task.prompts)
    seen = [p for step in range(-(-3 * total // 97)) for p in grpo.chosen_prompts(run.config, run.task, step)]
    rounds = [seen[i * total : (i + 1) * total] for i in range(3)]
    assert all(sorted(r) == sorted(run.task.prompts) for r in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_a_run_from_end_to_end(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    consumed = []
    log = train(SMOKE, tmp_path / "run", consumers=(consumed.append,))
    assert [r["step"] for r in consumed] == list(range(SMOKE.steps)) == log["step"]
    for name in ("run.json", "log.jsonl", "times.jsonl", "result.json", "checkpoints", "model/config.json", "evaluation_before.json"):
        assert (tmp_path / "run" / name).exists(), name
    assert [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()] == log.records
    assert {"pass_rate_before", "pass_rate_after", "pass_rate_unseen", "logprob_before", "logprob_after", "distinct", "seconds"} <= set(log.result)
    assert log["kl"][0] == pytest.approx(0, abs=1e-5), "the first step is at the start model"
    assert log["kl"][-1] > 0
    assert max(log["sampler_gap"]) < 1e-4
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "run/model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/model")
    out = again.generate(**tokenizer("<|user|>48 12: On Monday the baker<|assistant|>", return_tensors="pt", add_special_tokens=False), max_new_tokens=70)
    assert out.shape[1] > 30


def test_raising_steps_goes_on_where_the_run_ended(tmp_path):
    short = dataclasses.replace(SMOKE, steps=2, evaluate=4)
    longer = dataclasses.replace(short, steps=4)
    train(short, tmp_path / "raised")
    train(short, tmp_path / "raised", resume=True)  # finished: reprints
    raised = train(longer, tmp_path / "raised", resume=True)
    assert raised.records == train(longer, tmp_path / "straight").records
    files = [tmp_path / name / "model/model.safetensors" for name in ("raised", "straight")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_settings_from_text():
    config = SMOKE.with_settings(["lr=1e-2", "steps=7", "model=some/where", "clip=0.2,0.28"])
    assert (config.lr, config.steps, config.model, config.clip) == (1e-2, 7, "some/where", (0.2, 0.28))
    assert SMOKE.with_settings(["clip=0.1"]).clip == (0.1, 0.1)
    assert GRPOConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name):
    assert GRPOConfig.preset(name).group_size >= 2


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("group_size=1", "group_size"),
        ("steps=0", "steps"),
        ("length=0", "length"),
        ("lr=0", "lr"),
        ("lr=nan", "lr"),
        ("temperature=0", "temperature"),
        ("beta=-1", "beta"),
        ("loss=a2c", "loss"),
        ("advantages=gae", "advantages"),
        ("steps=many", "steps"),
        ("clip=a", "clip"),
        ("nonsense=1", "--set"),
        ("steps", "--set"),
    ],
)
def test_bad_settings_name_the_key(setting, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        SMOKE.with_settings([setting])
