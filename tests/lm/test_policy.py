"""The seam between the loop and a model: adapters, the start model, other samplers, memory while sampling."""

import dataclasses
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fixed import FixedRewards

from pgnotes.lm import grpo, rollout
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.grpo import train, train_step
from pgnotes.lm.learner import learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import load
from pgnotes.lm.preflight import memory_estimate
from pgnotes.lm.rollout import group_of
from pgnotes.theory.advantages import group_advantages

ROOT = Path(__file__).parents[2]
SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1, max_new_tokens=90)
SMALL = dataclasses.replace(SMOKE, prompts_per_step=3, group_size=4, length=20, digit_sum=5)
LORA = dataclasses.replace(SMALL, lora_rank=4, lr=5e-3, warmup=0, beta=0.1)
REWARDS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]


def lora_run(config=LORA, **how):
    return learner(config, task=FixedRewards(REWARDS), **how)


def step_gradient(monkeypatch, run):
    """The gradient of step 0 by parameter, before clipping; the weights stay as they are."""
    found = {}

    def keep(run):
        found.update({name: p.grad.clone() for name, p in run.policy.trainable().items()})
        run.optimizer.zero_grad()
        return {}

    monkeypatch.setattr(grpo, "update", keep)
    train_step(run, 0)
    return found


# adapters


def test_adapters_begin_as_nothing_and_the_start_model_stays_what_it_was(pocket):
    """To the last bit: before a step the policy is the start model, after it the reference still is."""
    run = lora_run()
    (group, *_) = grpo.sample_groups(run, 0)
    args = (group.prompt, group.tokens, group.mask)
    expected, _ = completion_logprobs(pocket[0], *args)
    assert torch.equal(completion_logprobs(run.policy.model, *args)[0], expected)
    train_step(run, 0)
    with torch.no_grad():
        assert not torch.equal(completion_logprobs(run.policy.model, *args)[0], expected)
        with run.policy.reference() as start_model:
            assert torch.equal(completion_logprobs(start_model, *args)[0], expected)


def test_adapters_depend_on_the_seed_alone():
    def first(seed):
        return next(iter(lora_run(dataclasses.replace(LORA, seed=seed)).policy.trainable().values()))

    before, found = torch.random.get_rng_state(), first(0)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is left alone"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(first(0), found)
    assert not torch.equal(first(1), found)


def test_only_adapters_are_trained_and_every_linear_layer_but_the_head_has_one():
    run = lora_run()
    trained = run.policy.trainable()
    assert all("lora_" in name for name in trained)
    linear = [n for n, m in run.policy.model.named_modules() if type(m).__module__.startswith("peft.tuners.lora")]
    layers = run.policy.model.config.num_hidden_layers
    assert len(trained) == 2 * 7 * layers, "q, k, v, o, gate, up, down"
    assert not any("lm_head" in name or "embed" in name for name in linear)
    before = {name: p.clone() for name, p in run.policy.model.named_parameters()}
    record, _ = train_step(run, 0)
    assert record["skipped"] == ""
    moved = {name for name, p in run.policy.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved <= set(trained)
    assert len(moved) >= len(trained) // 2, "A has no gradient as long as B is zero"


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_the_adapters_gradient_is_the_policy_gradient_written_out(monkeypatch, kind):
    """-(1 / all live tokens) Σ A ∇ log π by autograd on one flat sum, once the adapters are something."""
    run = lora_run(dataclasses.replace(LORA, beta=0.0, advantages=kind))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in run.policy.trainable().values():
            p += 0.02 * torch.randn(p.shape, generator=generator)
    found = step_gradient(monkeypatch, run)
    flat, tokens = 0.0, sum(group.mask.sum() for group in run.groups)
    for group, advantages in zip(run.groups, group_advantages(torch.tensor(REWARDS), kind), strict=True):
        logp, _ = completion_logprobs(run.policy.model, group.prompt, group.tokens, group.mask, pack=1)
        flat = flat - (advantages[:, None] * logp).sum()
    (flat / tokens).backward()
    for name, p in run.policy.trainable().items():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-6)
        assert p.grad.abs().max() > 0


def test_a_run_with_adapters_goes_on_to_the_bit_and_ends_as_a_whole_model(tmp_path):
    config = dataclasses.replace(SMOKE, lora_rank=4, lr=5e-3, evaluate=4)
    straight = train(config, tmp_path / "straight")
    broken = grpo.steps(config, tmp_path / "broken")
    next(broken), next(broken), next(broken)
    broken.close()
    again = train(config, tmp_path / "broken", resume=True)
    assert again.records == straight.records
    files = [tmp_path / name / "model/model.safetensors" for name in ("straight", "broken")]
    assert files[0].read_bytes() == files[1].read_bytes()

    state = torch.load(next((tmp_path / "straight/checkpoints").glob("*6/state.pt")), weights_only=True)
    assert all("lora_" in name for name in state["policy"]), "a checkpoint holds the adapters alone"

    model, _ = load(str(tmp_path / "straight"))
    run = learner(config)
    run.restore(state)
    (group, *_) = grpo.sample_groups(run, 9)
    args = (group.prompt, group.tokens, group.mask)
    assert not any("lora_" in name for name, _ in model.named_parameters())
    with torch.no_grad():
        trained, _ = completion_logprobs(run.policy.model, *args)
        torch.testing.assert_close(completion_logprobs(model, *args)[0], trained, rtol=0, atol=1e-4)
        with run.policy.reference() as start_model:
            assert (completion_logprobs(start_model, *args)[0] - trained).abs().max() > 1e-2


def test_adapters_of_another_rank_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="does not fit model 'pocket'"):
        lora_run().restore(lora_run(dataclasses.replace(LORA, lora_rank=2)).state())
    with pytest.raises(BadInputError, match="its adapters are others"):
        lora_run().restore(learner(SMALL).state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_the_weights_are_halved_and_the_adapters_are_not(dtype):
    """No copy to sample from, none of the start model."""
    run = lora_run(dataclasses.replace(LORA, prompts_per_step=2, group_size=2), compute_dtype=dtype)
    run.task = FixedRewards([[1.0, 0.0], [0.0, 1.0]])
    trained = run.policy.trainable()
    assert {p.dtype for p in trained.values()} == {torch.float32}
    frozen = [p for name, p in run.policy.model.named_parameters() if name not in trained]
    assert {p.dtype for p in frozen} == {dtype}
    assert run.policy.sampling_copy is None
    assert run.policy.start_model is None
    records = [train_step(run, step)[0] for step in range(3)]
    assert any(record["skipped"] == "" for record in records)
    assert all(0 < record["sampler_gap"] < 0.1 for record in records if not record["skipped"])


def test_the_memory_estimate_counts_what_is_trained():
    whole, adapted = (memory_estimate(config, (8, 0)) for config in (SMALL, dataclasses.replace(SMALL, lora_rank=4)))
    trained = sum(p.numel() for p in lora_run().policy.trainable().values())
    assert adapted["gradients"] * 2**30 == 4 * trained
    assert adapted["optimizer"] == 2 * adapted["gradients"]
    assert adapted["half-precision copy"] == adapted["reference"] == 0
    assert adapted["weights"] < whole["weights"]
    assert adapted["key/value cache"] == whole["key/value cache"]


def test_without_peft_there_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BadInputError, match="^lora_rank is 4, which needs the package peft: pip install peft"):
        lora_run()
    with pytest.raises(BadInputError, match="^lora_rank is 4"):
        memory_estimate(LORA)  # the command asks for it first


# another sampler


def hotter(policy, prompts, noise, temperature):
    """Samples at a higher temperature than the policy is scored at, and says under which chances."""
    return rollout.generate(policy, prompts, noise, 1.5)


def test_another_sampler_s_tokens_are_weighed_by_truncated_importance(monkeypatch):
    """The step's gradient is Σ min(π/μ, cap) A ∇ log π, written out."""
    config = dataclasses.replace(SMALL, beta=0.0, sampler_cap=1.2)
    run = lora_run(config, generate=hotter)
    found = step_gradient(monkeypatch, run)
    groups = hotter(run.policy, *requests_of(run))
    flat, capped = 0.0, 0
    for group, advantages in zip(groups, group_advantages(torch.tensor(REWARDS), "grpo"), strict=True):
        logp, _ = completion_logprobs(run.policy.model, group.prompt, group.tokens, group.mask)
        ratio = (logp - group.logp).exp().detach()
        capped += int((ratio > 1.2)[group.mask].sum())
        flat = flat - (advantages[:, None] * ratio.clamp(max=1.2) * logp)[group.mask].sum()
    (flat / sum(group.mask.sum() for group in groups)).backward()
    assert capped > 10
    for name, p in run.policy.trainable().items():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-4, atol=1e-7)


def requests_of(run):
    """What the step 0 of a run asks its sampler."""
    asked = []

    def keep(*args):
        asked.append(args)
        return rollout.generate(*args)

    run.generate = keep
    grpo.sample_groups(run, 0)
    return asked[0][1:]


def test_the_loop_s_own_sampler_needs_no_weights():
    """In float32 the ratio is 1 but for rounding: the same gradient with the cap and without."""
    records = [train_step(lora_run(dataclasses.replace(SMALL, sampler_cap=cap)), 0)[0] for cap in (0.0, 2.0)]
    assert records[0]["grad_norm"] == pytest.approx(records[1]["grad_norm"], rel=1e-4)


def test_a_group_can_be_made_of_lists(pocket):
    """Ids and log-probabilities as another engine gives them, one with its stop token and one cut off."""
    run = learner(SMALL)
    stop = run.policy.stops[0]
    ids = [pocket[1].convert_tokens_to_ids(c) for c in "abc"]
    group = group_of(
        run.policy, torch.tensor([1, 2]), [[*ids, stop], ids[:2]], [[-1.0, -2.0, -3.0, -0.5], [-0.1, -0.2]]
    )
    assert group.texts == ["abc", "ab"]
    assert group.ended.tolist() == [True, False]
    assert group.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert group.logp[1].tolist() == pytest.approx([-0.1, -0.2, 0.0, 0.0])


# memory


def test_when_memory_runs_out_while_sampling_fewer_prompts_are_asked_at_once():
    sizes = []

    def tight(policy, prompts, noise, temperature):
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return rollout.generate(policy, prompts, noise, temperature)

    run = lora_run(SMALL, generate=tight)
    groups = grpo.sample_groups(run, 0)
    assert sizes == [3, 2, 1, 1, 1]
    assert run.state()["prompts_at_once"] == 1
    expected = grpo.sample_groups(lora_run(SMALL), 0)
    for group, other in zip(groups, expected, strict=True):
        assert torch.equal(group.mask, other.mask)
        assert torch.equal(group.tokens[group.mask], other.tokens[other.mask])
        assert group.source == other.source


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("another fault")])
def test_what_fewer_prompts_cannot_cure_is_raised(error):
    def failing(*args):
        raise error

    run = lora_run(SMALL, generate=failing)
    with pytest.raises(RuntimeError, match=str(error)[:12]):
        grpo.sample_groups(run, 0)
    assert run.prompts_at_once == (1 if "memory" in str(error) else SMALL.prompts_per_step)


def test_the_example_of_another_engine_asks_for_what_the_loop_would_have_drawn(monkeypatch):
    """examples/vllm_sampler.py against a stand-in for vLLM that draws with the loop's own noise."""
    loaded = []

    class LLM:
        def __init__(self, model, **settings):
            assert settings["logprobs_mode"] == "processed_logprobs"

        def apply_model(self, function):
            return [function(SimpleNamespace(load_weights=lambda weights: loaded.append(dict(weights))))]

        def reset_prefix_cache(self):
            loaded.append("the old cache is gone")

        def generate(self, asked, settings, use_tqdm):
            prompts = [torch.tensor(prompt["prompt_token_ids"]) for prompt in asked]
            assert all(s.max_tokens == 90 and s.stop_token_ids == run.policy.stops for s in settings)
            groups = rollout.generate(run.policy, prompts, noise, settings[0].temperature)
            return [SimpleNamespace(outputs=self.outputs(group)) for group in groups]

        def outputs(self, group):
            rows = zip(group.tokens, group.logp, group.mask, strict=True)
            pairs = [(tokens[mask].tolist(), logp[mask].tolist()) for tokens, logp, mask in rows]
            return [
                SimpleNamespace(
                    token_ids=ids,
                    logprobs=[{token: SimpleNamespace(logprob=x)} for token, x in zip(ids, logp, strict=True)],
                )
                for ids, logp in pairs
            ]

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=LLM, SamplingParams=SimpleNamespace))
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    example = runpy.run_path(str(ROOT / "examples/vllm_sampler.py"))
    run = lora_run(SMALL)
    prompts, noise, temperature = requests_of(run)
    found = example["VLLMSampler"]("some/model")(run.policy, prompts, noise, temperature)
    expected = rollout.generate(run.policy, prompts, noise, temperature)
    for group, other in zip(found, expected, strict=True):
        assert group.texts == other.texts
        torch.testing.assert_close(group.logp, other.logp)
        assert torch.equal(group.ended, other.ended)
    weights, cache = loaded
    assert set(weights) == {name for name, _ in run.policy.model.named_parameters()}
    assert cache == "the old cache is gone"
