"""Lesson 09 on a GPU, with stand-ins for Colab and its drive: the guard, the folder, and the end."""

import dataclasses
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from pgnotes.classroom import colab
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.grpo import train

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1, steps=2, evaluate=4)


@pytest.fixture
def on_colab(monkeypatch, tmp_path):
    """Google's module, which counts how often it mounts, and a Drive with 14 GiB free."""
    mounts = []
    package, drive = ModuleType("google.colab"), SimpleNamespace(mount=mounts.append)
    package.drive = drive
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(colab.shutil, "disk_usage", lambda place: SimpleNamespace(free=14 * 2**30))
    return mounts


@pytest.fixture
def of_qwens_size(monkeypatch):
    """The estimate for 494 million parameters, or for 4 million beside them."""

    def estimate(config, capability=None):
        trained, frozen = (4e6, 494e6) if config.lora_rank else (494e6, 0.0)
        parts = {"weights": 4 * trained + 2 * frozen, "gradients": 4 * trained, "optimizer": 8 * trained}
        return {name: size / 2**30 for name, size in parts.items()} | {"total": sum(parts.values()) / 2**30}

    monkeypatch.setattr(colab, "memory_estimate", estimate)


@pytest.mark.usefixtures("of_qwens_size")
def test_without_a_gpu_a_large_model_is_not_started_and_the_sentence_says_what_to_do(monkeypatch):
    config = GRPOConfig.preset("t4")
    for rank in (0, 16):
        reason = colab.reason_not_to_start(dataclasses.replace(config, lora_rank=rank))
        assert "494 million parameters" in reason, "adapters need little memory, and as many hours"
        assert "Runtime → Change runtime type → T4 GPU" in reason
    monkeypatch.setattr(colab, "MOST_MILLIONS", 500)
    assert colab.reason_not_to_start(dataclasses.replace(config, lora_rank=16)) == ""
    monkeypatch.setattr(colab, "memory_gib", lambda: 1.0)
    reason = colab.reason_not_to_start(dataclasses.replace(config, lora_rank=16))
    assert re.search(r"needs about \d\.\d GiB, and this machine has 1\.0\. The preset pocket takes far less", reason)


def test_what_the_laptop_preset_trains_is_started_on_a_cpu(tmp_path):
    """By the real estimate, of SmolLM2-135M's shape, from a configuration alone."""
    from transformers import LlamaConfig

    heads = {"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True}
    LlamaConfig(
        vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, **heads
    ).save_pretrained(tmp_path)
    config = dataclasses.replace(GRPOConfig.preset("laptop"), model=str(tmp_path))
    assert colab.model_gib(config) * 2**30 / 4 == pytest.approx(134.5e6, rel=0.001)
    assert colab.reason_not_to_start(config) == ""


@pytest.mark.usefixtures("of_qwens_size")
def test_a_gpu_that_is_too_small_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(colab, "device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(total_memory=4 * 2**30))
    config = GRPOConfig.preset("t4")
    assert colab.reason_not_to_start(config).endswith("and this GPU has 4.0: set adapters to 16.")
    assert colab.reason_not_to_start(dataclasses.replace(config, lora_rank=16)) == ""


@pytest.mark.usefixtures("of_qwens_size")
def test_a_run_lies_on_the_drive_if_it_fits_there(on_colab, tmp_path):
    config = dataclasses.replace(GRPOConfig.preset("t4"), warmup_examples=0, checkpoint_every=60)
    folder = tmp_path / "drive/MyDrive/pgnotes/mine"
    assert colab.written(config) == pytest.approx((2 * 12 + 4) * 494e6 / 2**30)
    assert colab.run_folder("mine", config, drive=True) == folder
    assert on_colab == [str(tmp_path / "drive")]

    often = dataclasses.replace(config, checkpoint_every=40)
    with pytest.raises(BadInputError, match="writes 18 GiB, and your Drive has 14 free"):
        colab.run_folder("mine", often, drive=True)
    assert colab.run_folder("mine", None, drive=True) == folder, "to be looked at alone"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    assert colab.run_folder("mine", often, drive=True) == folder, "what lies there goes on"

    warmed = dataclasses.replace(often, lora_rank=16, warmup_examples=12_800)
    assert colab.written(warmed) == pytest.approx(((3 + 9) * 12 * 4e6 + 2 * 4 * 494e6) / 2**30)


def test_elsewhere_it_lies_beside_the_lesson_and_its_name_is_a_folder_s():
    assert str(colab.run_folder("t4", SMOKE, drive=True)) == "runs/t4"
    assert str(colab.run_folder("t4", SMOKE, drive=False)) == "runs/t4"
    for name in ("", "a/b", "..", "\\"):
        with pytest.raises(BadInputError, match="^name is"):
            colab.run_folder(name, SMOKE, drive=False)


def test_what_came_of_a_run_is_read_from_its_folder_alone(tmp_path):
    with pytest.raises(BadInputError, match="has not ended: 0 steps are done"):
        colab.what_came_of_it(tmp_path)
    result = train(SMOKE, tmp_path / "run", say=lambda text: None).result
    fig, text = colab.what_came_of_it(tmp_path / "run")
    assert [ax.get_title(loc="left").split(":")[0] for ax in fig.axes] == ["Before", "After"]
    lines = text.splitlines()
    assert lines[1].startswith(f"after   {result['pass_rate_after']:4.0%} ± ")
    assert [line.split()[0] for line in lines[:3]] == ["before", "after", "unseen"], "it had no warm-up"
    assert len(lines) == 5 + 4

    twelve = dataclasses.replace(SMOKE, reward=f"{tmp_path / 'reward.py'}:twelve")
    (tmp_path / "reward.py").write_text("def twelve(completions): return [len(c) % 2 for c in completions]")
    train(twelve, tmp_path / "own", say=lambda text: None)
    assert colab.what_came_of_it(tmp_path / "own")[0] is None, "no digit sums to draw"
