"""Two real processes share a step's groups: the same samples and gradient, one writer, a run that can be resumed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_step import one_step
from safetensors.torch import load_file

from pgnotes.__main__ import main

ROOT = Path(__file__).parents[2]
BETAS = ["0", "0.1"]
SETTINGS = ["--preset", "smoke", "--set", "threads=1", "evaluate=4"]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
ACCELERATE += ["--mixed_precision", "no"]


def call(*arguments: str) -> subprocess.CompletedProcess:
    """python -m … with two processes on the CPU."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> Path:
    """A folder with what each of two processes made of a step, at each beta."""
    folder = tmp_path_factory.mktemp("step")
    call(*TORCHRUN, str(ROOT / "tests/lm/one_step.py"), str(folder / "two"), *BETAS)
    return folder


@pytest.mark.parametrize("beta", BETAS)
def test_the_gradient_is_that_of_one_process(of_two, beta, monkeypatch):
    """In float64, to 1e-9, also where a process has nothing to give (without a KL its groups are all dead)."""
    _, one = one_step(float(beta), monkeypatch.setattr)
    both = [torch.load(of_two / f"two-{beta}-{rank}.pt", weights_only=True) for rank in range(2)]
    assert (one["processes"], both[0]["processes"], both[1]["processes"]) == (1, 2, 2)
    assert max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
    for two in both:
        for name, gradient in one["gradient"].items():
            torch.testing.assert_close(two["gradient"][name], gradient, rtol=0, atol=1e-9)
        assert two["record"]["lengths"] == one["record"]["lengths"], "the same samples, in the same order"
        figures = {"loss", "pass_rate", "length_std"} | ({"entropy", "kl", "kl_max"} if beta == "0.1" else set())
        expected = {key: one["record"][key] for key in figures}
        assert {key: two["record"][key] for key in figures} == pytest.approx(expected, rel=1e-5)
        assert two["record"]["kl_max_token"] == one["record"]["kl_max_token"]


def run(out: Path, steps: int, *more: str) -> list[str]:
    """The arguments of a run."""
    return ["grpo", *SETTINGS, f"steps={steps}", "--out", str(out), *more]


def end(out: Path) -> tuple[list[dict], dict]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], load_file(out / "model/model.safetensors")


def test_a_run_of_two_processes_is_resumed_to_the_bit_and_ends_where_one_process_does(tmp_path, capsys):
    """Started as a user with two GPUs would, by accelerate. A copy cut off after step 2 goes on by torchrun."""
    first = call(*ACCELERATE, "-m", "pgnotes", *run(tmp_path / "two", 4))
    shutil.copytree(tmp_path / "two", tmp_path / "resumed")
    for name in ("checkpoints/step-000004", "model"):
        shutil.rmtree(tmp_path / "resumed" / name)
    (tmp_path / "resumed/result.json").unlink()
    second = call(*TORCHRUN, "-m", "pgnotes", *run(tmp_path / "resumed", 4, "--resume"))
    for done in (first, second):
        assert len(done.stdout.strip().splitlines()) == 1, "only the first process prints"
        assert json.loads(done.stdout)["steps"] == 4
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2
    assert main(run(tmp_path / "two", 5, "--resume")) == 2
    assert "2 processes" in capsys.readouterr().err
    assert main(run(tmp_path / "one", 4)) == 0
    ends = (end(tmp_path / name) for name in ("one", "two", "resumed"))
    (log_one, one), (log_two, two), (log_resumed, resumed) = ends
    assert log_two == log_resumed
    assert all(torch.equal(two[name], resumed[name]) for name in two)
    for a, b in zip(log_one, log_two, strict=True):
        assert a["lengths"] == b["lengths"]
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
