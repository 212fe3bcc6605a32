"""How many of 64 completions pass, for each of some requests: the pocket model before and after its run (lesson 10)."""

from __future__ import annotations

import json
from importlib.resources import files

import torch
from torch import Tensor

from pgnotes.theory.pass_at_k import pass_at_k

N = 64  # completions of each request
KS = (1, 2, 4, 8, 16, 32, 64)


def recorded_passes() -> dict[str, dict[str, Tensor]]:
    """Of both kinds of request, "held out" and "neighbours", the counts [requests] "before" and "after".

    Written by `benchmarks/passes.py` from the run that lesson 09 shows, seed 0, 150 steps.
    """
    kept = json.loads(files("pgnotes.classroom").joinpath("pocket_passes.json").read_text(encoding="utf-8"))
    return {kind: {when: torch.tensor(counts) for when, counts in both.items()} for kind, both in kept.items()}


def curve(counts: Tensor) -> Tensor:
    """pass@k at each of `KS`, the mean over requests and its standard error: [len(KS), 2]."""
    chances = torch.stack([pass_at_k(N, counts, k) for k in KS])  # [k, requests]
    return torch.stack([chances.mean(1), chances.std(1) / len(counts) ** 0.5], 1)
