"""A step's gradient in float64 under fixed rewards, by however many processes run this, for test_processes.py.

torchrun … tests/lm/one_step.py PLACE BETA …    saves PLACE-BETA-RANK.pt
"""

import dataclasses
import sys
from collections.abc import Callable

import torch
from fixed import FixedRewards
from transformers.models.qwen2 import modeling_qwen2

from pgnotes.lm import grpo, learner, models

# of two processes, the second has dead groups only
REWARDS = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0] * 4, [0.0] * 4])


def norm(self, hidden):
    """RMSNorm, of which the stock one falls back to float32."""
    return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def one_step(beta: float, patch: Callable = setattr) -> tuple[int, dict]:
    """(this process's rank, {"record", "gradient", "processes"}). patch: how the engine is changed for it."""
    patch(modeling_qwen2.Qwen2RMSNorm, "forward", norm)
    patch(learner, "load", lambda name, device="cpu", dtype=None: models.load(name, device, torch.float64))
    smoke = grpo.GRPOConfig.preset("smoke")
    config = dataclasses.replace(smoke, threads=1, beta=beta, lr=1e-9, grad_clip=1e9, max_new_tokens=90)
    run = learner.learner(config)
    run.task = FixedRewards(REWARDS[run.local_groups()].tolist(), config.length, config.digit_sum)
    taken, step = {}, run.optimizer.step

    def keep_and_step():
        taken.update({name: p.grad.clone() for name, p in run.policy.model.named_parameters()})
        return step()

    run.optimizer.step = keep_and_step
    record, _ = grpo.train_step(run, 0)
    assert record["skipped"] == ""
    found = {"record": record, "gradient": taken, "processes": run.accelerator.num_processes}
    return run.accelerator.process_index, found


if __name__ == "__main__":
    for text in sys.argv[2:]:
        rank, result = one_step(float(text))
        torch.save(result, f"{sys.argv[1]}-{text}-{rank}.pt")
