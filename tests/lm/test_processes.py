"""Two real processes share a step's groups: the same samples, the same gradient, one writer, and a run that can be resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
GRPO = ["-m", "pgnotes", "grpo", "--preset", "smoke", "--set", "threads=1", "evaluate=4"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]

STEP = """
import dataclasses
import sys
import torch
from transformers.models.qwen2 import modeling_qwen2
from pgnotes.lm import grpo, learner, models

def forward(self, hidden):  # stock RMSNorm falls back to float32
    return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

modeling_qwen2.Qwen2RMSNorm.forward = forward
learner.load = lambda name, device="cpu", dtype=None: models.load(name, device, torch.float64)
run = learner.learner(dataclasses.replace(grpo.GRPOConfig.preset("smoke"), threads=1, beta=float(sys.argv[2]), lr=1e-9, grad_clip=1e9))
rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0] * 4, [0.0] * 4])  # of two processes, the second has dead groups only
grpo.rewards_of = lambda task, groups: rewards[grpo.mine(run)]
taken = {}
step = run.optimizer.step
run.optimizer.step = lambda: taken.update({n: p.grad.clone() for n, p in run.policy.named_parameters()}) or step()
record, _ = grpo.train_step(run, 0)
assert record["skipped"] == ""
rank = run.accelerator.process_index
torch.save({"record": record, "gradient": taken, "processes": run.accelerator.num_processes}, f"{sys.argv[1]}-{rank}.pt")
"""


def call(command: list[str], status: int = 0) -> subprocess.CompletedProcess:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)
    assert done.returncode == status, done.stderr[-2000:]
    return done


@pytest.mark.parametrize("beta", ["0", "0.1"])
def test_the_gradient_is_that_of_one_process(tmp_path, beta):
    """In float64, to 1e-9, also where a process has nothing to give (without a KL its groups are all dead)."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    call([sys.executable, str(script), str(tmp_path / "one"), beta])
    call([*TORCHRUN, str(script), str(tmp_path / "two"), beta])
    one, *both = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one-0", "two-0", "two-1"))
    assert (one["processes"], both[0]["processes"], both[1]["processes"]) == (1, 2, 2)
    assert max(gradient.abs().max() for gradient in one["gradient"].values()) > 1e-3
    for two in both:
        for name, gradient in one["gradient"].items():
            torch.testing.assert_close(two["gradient"][name], gradient, rtol=0, atol=1e-9)
        assert two["record"]["lengths"] == one["record"]["lengths"], "the same samples, in the same order"
        figures = {"loss", "entropy", "kl", "kl_max", "pass_rate", "length_std"} if beta == "0.1" else {"loss", "pass_rate", "length_std"}
        assert {key: two["record"][key] for key in figures} == pytest.approx({key: one["record"][key] for key in figures}, rel=1e-5)
        assert two["record"]["kl_max_token"] == one["record"]["kl_max_token"]


def run(out: Path, steps: int, start: list[str], *more: str, status: int = 0) -> subprocess.CompletedProcess:
    return call([*start, *GRPO, f"steps={steps}", "--out", str(out), *more], status)


def end(out: Path) -> tuple[list[dict], dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()], load_file(out / "model/model.safetensors")


def test_a_run_of_two_processes_is_resumed_to_the_bit_and_ends_where_one_process_does(tmp_path):
    done = run(tmp_path / "two", 4, TORCHRUN)
    assert len(done.stdout.strip().splitlines()) == 1, "only the first process prints"
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2
    run(tmp_path / "resumed", 2, TORCHRUN)
    run(tmp_path / "resumed", 4, TORCHRUN, "--resume")
    assert "2 processes" in run(tmp_path / "two", 5, [sys.executable], "--resume", status=2).stderr
    run(tmp_path / "one", 4, [sys.executable])
    (log_one, one), (log_two, two), (log_resumed, resumed) = (end(tmp_path / name) for name in ("one", "two", "resumed"))
    assert log_two == log_resumed
    assert all(torch.equal(two[name], resumed[name]) for name in two)
    for a, b in zip(log_one, log_two, strict=True):
        assert a["lengths"] == b["lengths"]
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4


def test_accelerate_launches_two_processes(tmp_path):
    """As a user with two GPUs would; here both are told to use the CPU."""
    done = run(tmp_path / "run", 1, ACCELERATE)
    assert json.loads(done.stdout)["steps"] == 1
    assert json.loads((tmp_path / "run/run.json").read_text())["processes"] == 2
