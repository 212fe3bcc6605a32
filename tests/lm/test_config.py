"""Settings: from texts and to JSON and back, what each may be, and what the presets ask for."""

import dataclasses
import json

import pytest
import torch

from pgnotes.__main__ import changed
from pgnotes.lm.config import PRESETS, GRPOConfig
from pgnotes.lm.learner import learner
from pgnotes.theory.right_or_wrong import dead_share

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1)


def test_settings_from_text():
    config = changed(SMOKE, ["lr=1e-2", "steps=7", "model=some/where", "clip=0.2,0.28"])
    assert (config.lr, config.steps, config.model, config.clip) == (1e-2, 7, "some/where", (0.2, 0.28))
    assert changed(SMOKE, ["clip=0.1"]).clip == (0.1, 0.1)
    assert GRPOConfig.from_json(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def differing(a: GRPOConfig, b: GRPOConfig) -> set[str]:
    return {field.name for field in dataclasses.fields(a) if getattr(a, field.name) != getattr(b, field.name)}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_states_what_is_not_the_default_and_asks_what_can_be_done(name):
    config = GRPOConfig.preset(name)
    stated = {key: value for key, value in PRESETS[name].items() if not (name == "smoke" and key == "evaluate")}
    assert set(stated) <= differing(config, GRPOConfig()), "a line that changes nothing"
    assert config.digit_sum <= 9 * config.length
    characters = 1 if config.model == "pocket" else 2.5  # in a token, at least, of the sentences that are asked for
    assert config.token_limit > config.length / characters, "room for a completion and for its end"
    assert config.steps > config.checkpoint_every, "a run that is cut off has something to go on from"


def test_the_smoke_preset_is_the_pocket_preset_made_small():
    smoke, pocket = (GRPOConfig.preset(name) for name in ("smoke", "pocket"))
    amounts = {"steps", "prompts_per_step", "group_size", "evaluate", "checkpoint_every"}
    assert differing(smoke, pocket) == amounts
    assert all(getattr(smoke, key) < getattr(pocket, key) for key in amounts)


def test_a_preset_s_first_groups_have_something_to_compare():
    """The pocket preset's, at the start model's pass rate in its recorded run; at a rate of 1% they would not."""
    from pgnotes.classroom.widgets.run_explorer import full_run

    pocket, t4 = (GRPOConfig.preset(name) for name in ("pocket", "t4"))
    assert pocket.reward == "binary"
    assert dead_share(full_run()[0]["pass_rate"], pocket.group_size) < 0.5
    assert dead_share(0.01, t4.group_size) > 0.9
    assert t4.reward == GRPOConfig.preset("laptop").reward == "steep"
    assert t4.warmup_examples > 0


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
        ("entropy_bonus=nan", "entropy_bonus"),
        ("entropy_bonus=-inf", "entropy_bonus"),
        ("loss=a2c", "loss"),
        ("advantages=gae", "advantages"),
        ("precision=float8", "precision"),
        ("gate=0", "gate"),
        ("gate=1,2,3", "gate"),
        ("sampler_rule=mask", "sampler_rule"),
        ("sampler_floor=0.5", "sampler_floor"),
        ("entropy_scale=spread", "entropy_scale"),
        ("steps=many", "steps"),
        ("clip=a", "clip"),
        ("nonsense=1", "--set"),
        ("steps", "--set"),
    ],
)
def test_bad_settings_name_the_key(setting, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        changed(SMOKE, [setting])


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_the_precision_that_is_asked_for_is_taken(half):
    """With a copy to sample from and, in float16 alone, a scale for the loss."""
    run = learner(dataclasses.replace(SMOKE, precision=half))
    assert run.policy.compute_dtype == run.policy.sampler().dtype == getattr(torch, half)
    assert run.policy.model.dtype == torch.float32
    assert run.scaler.is_enabled() == (half == "float16")
    assert learner(dataclasses.replace(SMOKE, precision="float32")).policy.sampling_copy is None
