"""The loop: the gradient of a step, dead groups, records, a run from end to end."""

import dataclasses
import gc
import json
import weakref
from types import SimpleNamespace

import pytest
import torch
from fixed import FixedRewards

from pgnotes.lm import grpo, rollout
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import steps, train, train_step
from pgnotes.lm.learner import learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import precision
from pgnotes.lm.tasks import from_reward
from pgnotes.theory.advantages import group_advantages

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1)
SMALL = dataclasses.replace(SMOKE, prompts_per_step=3, group_size=4, length=20, digit_sum=5, max_new_tokens=90)


def gradients(monkeypatch, config, rewards, rows=None):
    """The gradient of one step's loss under the given rewards, before clipping; `rows` in a micro-batch."""
    run, found = learner(config, task=FixedRewards(rewards)), {}
    run.micro_batch = rows or run.micro_batch

    def keep(run):
        found.update({name: p.grad for name, p in run.policy.trainable().items() if p.grad is not None})
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(grpo, "update", keep)
        train_step(run, 0)
    return run, found


def ended(*args):
    """The loop's own samples, all of which pass for ended."""
    groups = rollout.generate(*args)
    for group in groups:
        group.ended = torch.ones_like(group.ended)
    return groups


REWARDS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo", "reinforce_pp"])
def test_the_steps_gradient_is_the_policy_gradient_written_out(monkeypatch, kind):
    """-(1 / all live tokens, dead groups' too) Σ A ∇ log π, here from autograd on one flat sum."""
    config = dataclasses.replace(SMALL, beta=0.0, advantages=kind)
    run, found = gradients(monkeypatch, config, REWARDS)
    groups = grpo.sample_groups(run, 0)
    flat = 0.0
    for group, advantage in zip(groups, group_advantages(torch.tensor(REWARDS), kind), strict=True):
        logp, _ = completion_logprobs(run.policy.model, group.prompt, group.tokens, group.mask)
        flat = flat - (advantage[:, None] * logp).sum()
    (flat / sum(g.mask.sum() for g in groups)).backward()
    for name, p in run.policy.model.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-4, atol=1e-7)


@pytest.fixture
def doubled(monkeypatch, pocket, exact):
    """Runs load their models in float64."""
    monkeypatch.setattr("pgnotes.lm.learner.load", lambda name, *where: (exact(name), pocket[1]))


def test_the_steps_gradient_depends_on_no_way_of_computing_it(monkeypatch, doubled):
    """Not on the rows of a micro-batch, on the chunks of the vocabulary, or on how many share a row.

    In float64, every parameter, to 1e-9.
    """
    config, real = dataclasses.replace(SMALL, beta=0.1, entropy_bonus=0.01), completion_logprobs

    def found(rows=4, **way):
        monkeypatch.setattr(grpo, "completion_logprobs", lambda *args, entropy: real(*args, entropy=entropy, **way))
        return gradients(monkeypatch, config, REWARDS, rows)[1]

    expected = found()
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-3
    for way in (
        {"rows": 3},
        {"rows": 1},
        {"chunk_logits": 260 * 7},
        {"chunk_logits": 260},
        {"pack": 1},
        {"pack": 4},
        {"rows": 2, "pack": 2},
    ):
        for name, gradient in found(**way).items():
            torch.testing.assert_close(
                gradient, expected[name], rtol=0, atol=1e-9, msg=lambda m, way=way, name=name: f"{way}, {name}: {m}"
            )


def test_when_memory_runs_out_the_same_gradient_comes_from_smaller_micro_batches(monkeypatch, doubled):
    """Rows 4 → 2 → 1, the second time in the middle of the step; the samples stay, and the record says so."""
    config, real, sampled, failed = dataclasses.replace(SMALL, beta=0.1, epochs=2), completion_logprobs, [], []
    _, expected = gradients(monkeypatch, dataclasses.replace(config, epochs=1), REWARDS)

    def tight(model, prompt, tokens, *args, **how):
        if len(tokens) > 2 or (len(tokens) == 2 and prompt is run.groups[1].prompt):
            failed.append(len(tokens))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return real(model, prompt, tokens, *args, **how)

    def generate(*args):
        sampled.append(args)
        return rollout.generate(*args)

    run, found = learner(config, task=FixedRewards(REWARDS), generate=generate), {}
    monkeypatch.setattr(grpo, "completion_logprobs", tight)
    real_update = grpo.update

    def update(run):
        found.update({n: p.grad.clone() for n, p in run.policy.model.named_parameters()} if not found else {})
        return real_update(run)

    monkeypatch.setattr(grpo, "update", update)
    record, _ = train_step(run, 0)
    assert failed == [4, 2]
    assert (record["rows"], run.state()["micro_batch"], len(sampled), run.updates) == (1, 1, 1, 2)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-9)


def test_when_the_backward_pass_runs_out_its_graph_is_gone_before_the_next_try(monkeypatch):
    """Else the second try starts with the first one's activations in memory, and runs out as well."""
    real, graphs, alive = completion_logprobs, [], []

    class Tight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logp):
            ctx.held = GRPOConfig()  # lives as long as the graph
            graphs.append(weakref.ref(ctx.held))
            return logp.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    def tight(*args, **how):
        logp, entropy = real(*args, **how)
        alive.append([graph() is not None for graph in graphs])
        return (logp if graphs else Tight.apply(logp)), entropy

    run = learner(dataclasses.replace(SMALL, beta=0.0, entropy_bonus=0.01))
    monkeypatch.setattr(grpo, "completion_logprobs", tight)
    record, _ = train_step(run, 0)
    assert record["rows"] == SMALL.group_size // 2
    assert alive[1] == [False]


def test_a_process_whose_groups_are_all_dead_takes_part_in_a_float16_update():
    """It gets zeros from the others' sum, and has never scaled a loss."""
    run = learner(SMALL, compute_dtype=torch.float16)
    for parameter in run.policy.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert grpo.update(run)["skipped"] == ""


@pytest.mark.parametrize("where", ["between two steps", "within a step"])
def test_a_run_that_is_stopped_leaves_no_model_behind_in_a_notebook(monkeypatch, where):
    """IPython keeps the last traceback: a T4 has no room for the old run beside the one that is started next."""
    models = []
    real = grpo.setup_run

    def setup_run(*args):
        run, folder = real(*args)
        models.append(weakref.ref(run.policy.model))
        return run, folder

    def stop(*args):
        del args  # as a frame of the package, which is emptied
        raise KeyboardInterrupt

    monkeypatch.setattr(grpo, "setup_run", setup_run)
    if where == "within a step":
        monkeypatch.setattr(grpo, "update", stop)
    with pytest.raises(KeyboardInterrupt) as kept:
        train(dataclasses.replace(SMOKE, evaluate=2), consumers=(stop,))
    gc.collect()
    assert kept.value.__traceback__ is not None
    assert models[0]() is None


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("another fault")])
def test_what_smaller_micro_batches_cannot_cure_is_raised(monkeypatch, error):
    def failing(*args, **how):
        raise error

    run = learner(SMALL)
    monkeypatch.setattr(grpo, "completion_logprobs", failing)
    with pytest.raises(RuntimeError, match=str(error)[:12]):
        train_step(run, 0)
    assert run.micro_batch == (1 if "memory" in str(error) else SMALL.group_size)


@pytest.mark.parametrize(("capability", "gap"), [((7, 5), 5e-3), ((8, 0), 5e-2)])
def test_half_precision_trains_float32_weights_from_half_precision_samples(monkeypatch, capability, gap):
    """A T4's float16 with a loss scale, and bfloat16, here on whatever device there is."""
    half = precision(capability)
    config = dataclasses.replace(SMALL, prompts_per_step=2, group_size=2, beta=0.1, lr=1e-3, warmup=0)
    rewards = [[1.0, 0.0], [0.0, 1.0]]
    run = learner(config, compute_dtype=half, task=FixedRewards(rewards))
    seen, real = [], grpo.completion_logprobs

    def watched(model, *args, **how):
        seen.append((model, torch.is_autocast_enabled("cpu")))
        return real(model, *args, **how)

    monkeypatch.setattr(grpo, "completion_logprobs", watched)
    before = [p.clone() for p in run.policy.model.parameters()]
    scale = run.scaler.get_scale()
    records = [train_step(run, step)[0] for step in range(3)]
    assert {p.dtype for p in run.policy.model.parameters()} == {torch.float32}
    assert {p.dtype for model in (run.policy.sampling_copy, run.policy.start_model) for p in model.parameters()} == {
        half
    }
    assert run.scaler.is_enabled() == (half == torch.float16)
    assert (run.policy.model, True) in seen
    assert (run.policy.start_model, False) in seen
    # Float16's first scale may be too large for the first gradient.
    kept = [record for record in records if not record["skipped"]]
    assert len(kept) >= 1
    in_float32 = learner(dataclasses.replace(run.config, lr=1e-9), task=FixedRewards(rewards))
    whole, _ = train_step(in_float32, kept[0]["step"])
    assert kept[0]["grad_norm"] == pytest.approx(whole["grad_norm"], rel=0.5), "of the gradient, not of the scaled one"
    assert run.updates == len(kept)
    assert (run.scaler.get_scale() < scale) == (len(kept) < len(records))
    assert any(not torch.equal(a, b) for a, b in zip(before, run.policy.model.parameters(), strict=True))
    assert all(0 < record["sampler_gap"] < gap for record in kept)
    assert all(
        torch.equal(a, b.to(half))
        for a, b in zip(run.policy.sampler().parameters(), run.policy.model.parameters(), strict=True)
    )
    run.scaler.update(512.0)
    again = learner(run.config, compute_dtype=half)
    again.restore(run.state())
    assert again.scaler.get_scale() == run.scaler.get_scale()
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.policy.sampler().parameters(), run.policy.sampler().parameters(), strict=True)
    )


def test_any_causal_model_learns(gpt2):
    """A random GPT-2, whose tokens are bytes, is paid for ASCII, and comes to write hardly anything else."""

    def ascii_share(completions):
        return [sum(c.isascii() for c in text) / max(len(text), 1) for text in completions]

    config = dataclasses.replace(SMALL, model=gpt2, lr=3e-3, beta=0.0, group_size=8, max_new_tokens=36)
    run = learner(config, task=from_reward(ascii_share), generate=ended)
    assert run.policy.tokenizer.chat_template is None
    assert run.policy.model.config.attn_pdrop > 0
    rewards = [train_step(run, step)[0]["reward"] for step in range(30)]
    assert sum(rewards[:3]) / 3 < 0.6
    assert sum(rewards[-3:]) / 3 > 0.9


def test_dead_groups_are_skipped_and_change_nothing_but_the_normaliser(monkeypatch):
    forwards = []
    real = grpo.loss_of
    monkeypatch.setattr(grpo, "loss_of", lambda *args: forwards.append(1) or real(*args))
    config = dataclasses.replace(SMALL, beta=0.0)
    record, _ = train_step(learner(config, task=FixedRewards(REWARDS)), 0)
    assert len(forwards) == 2
    assert record["dead_fail"] == pytest.approx(1 / 3)


def test_a_dead_group_keeps_its_kl_term(monkeypatch):
    forwards = []
    real = grpo.loss_of
    monkeypatch.setattr(grpo, "loss_of", lambda *args: forwards.append(1) or real(*args))
    train_step(learner(dataclasses.replace(SMALL, beta=0.1), task=FixedRewards(REWARDS)), 0)
    assert len(forwards) == 3


@pytest.mark.parametrize("kl", ["k2", "k3"])
def test_the_logged_kl_is_the_mean_log_ratio_whatever_the_loss_uses(kl):
    """k1 is unbiased; k2, the leash, would show half the squared log-ratio, several times as much (lesson 08)."""
    run = learner(dataclasses.replace(SMALL, beta=0.1, kl=kl), task=FixedRewards(REWARDS))
    for p in run.policy.model.parameters():
        p.data += 0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    groups = grpo.sample_groups(run, 0)
    logp, ref = (
        torch.cat([completion_logprobs(model, g.prompt, g.tokens, g.mask)[0][g.mask] for g in groups])
        for model in (run.policy.model, run.policy.start_model)
    )
    record, _ = train_step(run, 0)
    assert record["kl"] == pytest.approx((logp - ref).mean().item(), rel=1e-3)
    assert record["kl_max"] == pytest.approx((logp - ref).max().item(), rel=1e-3)
    assert record["kl"] != pytest.approx(((logp - ref) ** 2 / 2).mean().item(), rel=0.1)


@pytest.mark.parametrize("scale", ["constant", "variance", "inverse_variance"])
def test_the_entropy_bonus_of_a_step_follows_its_rewards(scale):
    """A quarter of the rewards are 1: their variance is 3/16, three quarters of the largest."""
    config = dataclasses.replace(SMALL, beta=0.0, entropy_bonus=0.02, entropy_scale=scale)
    record, _ = train_step(learner(config, task=FixedRewards(REWARDS), generate=ended), 0)
    expected = {"constant": 0.02, "variance": 0.015, "inverse_variance": 0.02 / 0.75}[scale]
    assert record["entropy_weight"] == pytest.approx(expected)
    same = dataclasses.replace(config, entropy_bonus=expected, entropy_scale="constant")
    constant, _ = train_step(learner(same, task=FixedRewards(REWARDS), generate=ended), 0)
    assert record["loss"] == pytest.approx(constant["loss"], rel=1e-5), "as a constant bonus of that weight"
    assert record["grad_norm"] == pytest.approx(constant["grad_norm"], rel=1e-4)


def test_a_bonus_below_zero_makes_the_policy_surer_and_one_above_less_sure():
    """By what it does in one step, beside a step without a bonus, from the same samples."""
    entropies = []
    for bonus in (-1.0, 0.0, 1.0):
        run = learner(dataclasses.replace(SMALL, beta=0.0, entropy_bonus=bonus), task=FixedRewards(REWARDS))
        train_step(run, 0)
        part = run.groups[0]
        with torch.no_grad():
            entropies.append(completion_logprobs(run.policy.model, part.prompt, part.tokens, part.mask)[1].sum().item())
    assert entropies == sorted(entropies)
    assert len(set(entropies)) == 3


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_when_every_group_is_dead_the_weights_stay(value):
    """Eight rewards of 0.1 are equal, whatever their rounded mean says; AdamW's momentum must not move on."""
    rewards = [*REWARDS, *torch.full((3, 4), value).tolist()]
    run = learner(dataclasses.replace(SMALL, beta=0.0), task=FixedRewards(rewards))
    train_step(run, 0)  # gives the optimizer some momentum
    before = [p.clone() for p in run.policy.model.parameters()]
    record, _ = train_step(run, 1)
    assert record["skipped"] == "every group was dead"
    assert run.updates == 1
    assert all(torch.equal(a, b) for a, b in zip(before, run.policy.model.parameters(), strict=True))


def test_several_epochs_leave_ratio_one():
    run = learner(dataclasses.replace(SMALL, epochs=4, lr=5e-3, warmup=0, beta=0.0), task=FixedRewards(REWARDS))
    record, _ = train_step(run, 0)
    assert run.updates == 4
    assert record["clip_low"] + record["clip_high"] > 0
    once, _ = train_step(learner(dataclasses.replace(SMALL, beta=0.0), task=FixedRewards(REWARDS)), 0)
    assert once["clip_low"] == once["clip_high"] == 0, "with one epoch the ratio is 1 by construction"


def test_a_gradient_that_is_not_finite_is_skipped_and_in_the_end_stops_the_run(monkeypatch, tmp_path):
    real = grpo.loss_of

    def broken(*args):
        loss, figures = real(*args)
        return loss * float("nan"), figures

    monkeypatch.setattr(grpo, "loss_of", broken)
    run = steps(SMALL, tmp_path)
    assert [next(run)["skipped"], next(run)["skipped"]] == ["the gradient is not finite"] * 2
    with pytest.raises(FloatingPointError, match="smaller lr"):
        next(run)
    kept = torch.load(tmp_path / "not_finite.pt", weights_only=True)
    assert kept["record"]["step"] == 2
    assert [len(group["texts"]) for group in kept["groups"]] == [SMALL.group_size] * SMALL.prompts_per_step
    assert all(group["tokens"].shape == group["mask"].shape == group["logp"].shape for group in kept["groups"])


@pytest.mark.parametrize("who", ["model", "start_model"])
def test_log_probabilities_that_overflow_skip_one_update_and_raise_nothing(monkeypatch, who):
    """The first update of two is skipped; the second, at the weights that sampled, is made."""
    run = learner(dataclasses.replace(SMALL, beta=0.1, epochs=2), task=FixedRewards(REWARDS))
    real, broken = grpo.completion_logprobs, [True]
    before = [p.clone() for p in run.policy.model.parameters()]
    real_update, fates = grpo.update, []

    def overflowing(model, *args, **how):
        logp, entropy = real(model, *args, **how)
        return (logp * float("nan") if broken and model is getattr(run.policy, who) else logp), entropy

    def update(run):
        fate = real_update(run)
        moved = any(not torch.equal(a, b) for a, b in zip(before, run.policy.model.parameters(), strict=True))
        fates.append((fate["skipped"], moved))
        broken.clear()
        return fate

    monkeypatch.setattr(grpo, "completion_logprobs", overflowing)
    monkeypatch.setattr(grpo, "update", update)
    train_step(run, 0)
    assert fates == [("the gradient is not finite", False), ("", True)]


def test_a_completion_that_does_not_end_by_itself_gets_nothing(pocket):
    run = learner(dataclasses.replace(SMALL, length=48, digit_sum=12, max_new_tokens=49))
    always = SimpleNamespace(reward=lambda texts, prompts: [1.0] * len(texts))
    groups = grpo.sample_groups(run, 0)
    rewards = grpo.rewards_of(always, groups)
    assert rewards.tolist() == [[float(e) for e in group.ended] for group in groups]
    assert 0 in rewards
    assert 1 in rewards


def test_prompts_come_round_in_a_new_order(pocket):
    prompts = learner(SMALL).task.prompts
    total = len(prompts)
    seen = [p for step in range(-(-3 * total // 97)) for p in grpo.chosen_prompts(prompts, 97, step, seed=0)]
    rounds = [seen[i * total : (i + 1) * total] for i in range(3)]
    assert all(sorted(r) == sorted(prompts) for r in rounds)
    assert rounds[0] != rounds[1] != rounds[2]


def test_a_run_from_end_to_end(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    consumed = []
    log = train(SMOKE, tmp_path / "run", consumers=(consumed.append,))
    assert [r["step"] for r in consumed] == list(range(SMOKE.steps)) == log["step"]
    for name in (
        "run.json",
        "log.jsonl",
        "times.jsonl",
        "result.json",
        "checkpoints",
        "model/config.json",
        "evaluation_before.json",
    ):
        assert (tmp_path / "run" / name).exists(), name
    assert [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()] == log.records
    assert {
        "pass_rate_before",
        "pass_rate_after",
        "pass_rate_unseen",
        "logprob_before",
        "logprob_after",
        "distinct",
        "seconds",
    } <= set(log.result)
    assert log["kl"][0] == pytest.approx(0, abs=1e-5), "the first step is at the start model"
    assert abs(log["kl"][-1]) > 1e-6
    assert max(log["sampler_gap"]) < 1e-4
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "run/model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/model")
    out = again.generate(
        **tokenizer("<|user|>48 12: On Monday the baker<|assistant|>", return_tensors="pt", add_special_tokens=False),
        max_new_tokens=70,
    )
    assert out.shape[1] > 30


def test_raising_steps_goes_on_where_the_run_ended(tmp_path):
    short = dataclasses.replace(SMALL, steps=2, evaluate=2)
    longer = dataclasses.replace(short, steps=4)
    train(short, tmp_path / "raised")
    train(short, tmp_path / "raised", resume=True)  # finished: reprints
    raised = train(longer, tmp_path / "raised", resume=True)
    assert raised.records == train(longer, tmp_path / "straight").records
    files = [tmp_path / name / "model/model.safetensors" for name in ("raised", "straight")]
    assert files[0].read_bytes() == files[1].read_bytes()
