"""Shared fixtures: no network, two threads, the pocket model loaded once."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in the tests may reach for a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest


@pytest.fixture(scope="session")
def pocket():
    """(model, tokenizer) of the bundled model; tests must not change its weights."""
    from pgnotes.lm.models import frozen, load

    model, tokenizer = load("pocket")
    return frozen(model), tokenizer


@pytest.fixture
def exact(monkeypatch):
    """A function that gives a fresh pocket model in float64 all the way: stock RMSNorm would fall back to float32."""
    import torch
    from transformers.models.qwen2 import modeling_qwen2

    from pgnotes.lm.models import load

    def forward(self, hidden):
        return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    monkeypatch.setattr(modeling_qwen2.Qwen2RMSNorm, "forward", forward)
    return lambda: load("pocket", dtype=torch.float64)[0]
