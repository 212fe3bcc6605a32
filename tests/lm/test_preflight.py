"""The preflight: an estimate without loading, and one step on a copy."""

import dataclasses

import pytest

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.preflight import GIB, memory_estimate, preflight
from pgnotes.lm.tasks import from_reward

CONFIG = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1)


def test_memory_counts_every_byte_of_weights_gradients_and_optimizer(pocket):
    parameters = sum(p.numel() for p in pocket[0].parameters())
    parts = memory_estimate(CONFIG)
    assert parts["weights"] * GIB == parts["gradients"] * GIB == 4 * parameters
    assert parts["optimizer"] * GIB == 8 * parameters
    assert parts["half-precision copy"] == 0
    assert parts["total"] == pytest.approx(sum(v for k, v in parts.items() if k != "total"))


def test_memory_on_a_t4_has_a_half_copy_and_a_half_reference(pocket):
    parameters = sum(p.numel() for p in pocket[0].parameters())
    parts = memory_estimate(CONFIG, capability=(7, 5))
    assert parts["half-precision copy"] * GIB == parts["reference"] * GIB == 2 * parameters
    assert memory_estimate(dataclasses.replace(CONFIG, beta=0.0), (7, 5))["reference"] == 0
    embedding = pocket[0].get_input_embeddings().weight.numel()
    assert parts["autocast's copies"] * GIB == 2 * (parameters - embedding), (
        "weights that are cast: all but the embedding, which is the head"
    )
    assert parts["embedding's gradient on its way"] * GIB == 8 * embedding
    assert memory_estimate(CONFIG)["autocast's copies"] == 0


def test_the_key_value_cache_of_qwen25_is_12288_bytes_a_token(tmp_path):
    """24 layers, 2 key/value heads of 64, two bytes, keys and values; static parts of 8.3 GiB, a reference of 0.9."""
    from transformers import Qwen2Config

    shape = {"vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
    Qwen2Config(**shape, num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True).save_pretrained(
        tmp_path
    )
    config = dataclasses.replace(GRPOConfig.preset("t4"), model=str(tmp_path))
    parts = memory_estimate(config, (7, 5))
    tokens = config.prompts_per_step * config.group_size * (config.prompt_tokens + config.token_limit)
    assert parts["key/value cache"] * GIB == 12_288 * tokens
    assert parts["weights"] + parts["gradients"] + parts["optimizer"] + parts["half-precision copy"] == pytest.approx(
        8.28, abs=0.02
    )
    assert parts["reference"] == pytest.approx(0.92, abs=0.01)
    assert parts["total"] < 14.7


def test_the_activations_are_those_of_one_group_and_of_what_adapters_keep():
    """What a step of Qwen2.5's shape took more than its weights: `python benchmarks/gpu.py --memory`."""
    parts, wider = (memory_estimate(dataclasses.replace(CONFIG, group_size=g), (7, 5)) for g in (4, 8))
    a_completion = CONFIG.token_limit * 4 * 2 * (12 * 128 + 4 * 512) / GIB  # 4 layers of 128 and 512, two bytes
    assert (wider["activations"] - parts["activations"]) / 4 == pytest.approx(a_completion)
    more = dataclasses.replace(CONFIG, prompts_per_step=2 * CONFIG.prompts_per_step)
    assert memory_estimate(more, (7, 5))["activations"] == parts["activations"], "one group at a time"
    assert parts["adapters' inputs"] == 0
    adapted = memory_estimate(dataclasses.replace(CONFIG, lora_rank=4), (7, 5))
    assert adapted["adapters' inputs"] == pytest.approx(
        parts["activations"] * 2 * (6 * 128 + 512) / (12 * 128 + 4 * 512)
    )


def test_preflight_reports_one_step():
    report = preflight(CONFIG)
    assert 0 <= report["pass_rate"] <= 1
    assert report["minutes"] == pytest.approx(report["seconds_per_step"] * CONFIG.steps / 60)
    p = report["pass_rate"]
    assert report["expected_dead"] == pytest.approx(p**4 + (1 - p) ** 4)


def test_dead_groups_are_foretold_only_for_rewards_of_0_and_1():
    """Under partial credit two failures differ, and the formula would foretell dead groups where there are none."""
    assert preflight(dataclasses.replace(CONFIG, reward="shaped"))["expected_dead"] is None
    always = from_reward(lambda completions, **columns: [1.0] * len(completions))
    report = preflight(CONFIG, always)
    assert report["pass_rate"] == report["expected_dead"] == 1 - report["truncated"] == 1
