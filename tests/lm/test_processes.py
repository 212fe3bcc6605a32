"""Two processes share a step's groups and end where one process does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
GRPO = ["-m", "pgnotes", "grpo", "--preset", "smoke", "--set", "threads=1", "--set", "steps=2", "--set", "evaluate=4"]


def run(tmp_path: Path, launcher: list[str], name: str) -> tuple[list[dict], dict]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *launcher, *GRPO, "--out", str(tmp_path / name)], capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.strip().splitlines()) == 1, "only the first process prints"
    return [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()], load_file(tmp_path / name / "model/model.safetensors")


def test_two_processes_end_where_one_does(tmp_path):
    (log_one, one), (log_two, two) = run(tmp_path, [], "one"), run(tmp_path, ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"], "two")
    for a, b in zip(log_one, log_two, strict=True):
        assert a["lengths"] == b["lengths"], "the same samples, in the same order"
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3, abs=1e-5)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
