"""Shared fixtures: the pocket model loaded once, a random GPT-2, models in float64."""

import pytest


@pytest.fixture(scope="session")
def pocket():
    """(model, tokenizer) of the bundled model; tests must not change its weights."""
    from pgnotes.lm.models import load

    model, tokenizer = load("pocket")
    return model.requires_grad_(False), tokenizer


@pytest.fixture(scope="session")
def gpt2(pocket, tmp_path_factory):
    """A tiny random GPT-2's folder, with the pocket model's tokens: learned positions, dropout, no chat template."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder, (_, tokenizer) = tmp_path_factory.mktemp("models") / "gpt2", pocket
    tokenizer.save_pretrained(folder)
    for file in folder.glob("chat_template*"):
        file.unlink()

    torch.manual_seed(0)
    shape = {"n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.2}
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape, **ends)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def exact(monkeypatch):
    """A function that gives a fresh model in float64 all the way (the pocket model if none is named)."""
    import torch
    from one_step import norm
    from transformers.models.qwen2 import modeling_qwen2

    from pgnotes.lm.models import load

    monkeypatch.setattr(modeling_qwen2.Qwen2RMSNorm, "forward", norm)
    return lambda name="pocket": load(name, dtype=torch.float64)[0]
