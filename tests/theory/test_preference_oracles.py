"""DPO's, KTO's and the reward model's losses against those of TRL 1.16: values and gradients, on random batches.

Skipped where TRL is not installed; PGNOTES_ORACLES=required makes that a failure (see `test_oracles.py`).
"""

import importlib
import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from plain import numbers, seeded

from pgnotes.theory.preferences import bradley_terry_loss, dpo_terms, kto_terms

CASES = 200
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def oracle(module):
    """The module, or a skip; a failure where the oracles are required."""
    if os.environ.get("PGNOTES_ORACLES") == "required":
        return importlib.import_module(module)
    return pytest.importorskip(module, reason="the oracles are not installed")


class Answering(torch.nn.Module):
    """Stands for a model: gives log-probabilities that were made before, and what else a trainer logs."""

    is_gradient_checkpointing = False

    def __init__(self, *log_probs):
        super().__init__()
        self.log_probs = list(log_probs)

    def forward(self, **inputs):
        found = self.log_probs.pop(0)
        nothing = torch.zeros_like(found)
        return SimpleNamespace(log_probs=found, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())


def trainer_of(cls, beta, model, reference, **more):
    """A trainer that was never built, with what its loss reads."""
    trainer = cls.__new__(cls)
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x, unwrap_model=lambda x: x
    )
    settings = {
        "beta": beta,
        "model": model,
        "ref_model": reference,
        "accelerator": accelerator,
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "_metrics": {"train": defaultdict(list)},
    }
    for name, value in (settings | more).items():
        object.__setattr__(trainer, name, value)
    return trainer


def tokens(n, width, generator):
    """A prompt of two tokens and a ragged completion: ids, attention and completion masks, [n, T + 2]."""
    live = torch.arange(width) < torch.randint(1, width + 1, (n, 1), generator=generator)
    attention = torch.cat([torch.ones(n, 2, dtype=torch.bool), live], 1)
    completion = attention.clone()
    completion[:, :2] = False
    return {
        "input_ids": torch.zeros(n, width + 2, dtype=torch.long),
        "attention_mask": attention.long(),
        "completion_mask": completion.long(),
    }


def drawn(seed, dtype):
    """Log-probabilities of tokens [2n, T + 1] now and of the reference, 0 outside the completion, and the inputs."""
    g = seeded(seed)
    n, width = (int(torch.randint(1, high, (1,), generator=g)) for high in (6, 9))
    inputs = tokens(2 * n, width, g)
    live = inputs["completion_mask"][:, 1:]
    now, reference = (-3 * torch.rand(2 * n, width + 1, generator=g, dtype=torch.float64) * live for _ in range(2))
    return now.to(dtype), reference.to(dtype), inputs, 0.05 + torch.rand(1, generator=g).item()


def compared(ours, theirs, now):
    """The larger of the errors of value and gradient."""
    found = []
    for loss in (ours, theirs):
        leaf = now.clone().requires_grad_()
        value = loss(leaf)
        found.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    (a, da), (b, db) = found
    return max((a - b).abs().item(), (da - db).abs().max().item())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_dpo_is_trl_s(dtype):
    module = oracle("trl.trainer.dpo_trainer")
    worst = 0.0
    for seed in range(CASES):
        now, reference, inputs, beta = drawn(seed, dtype)

        def ours(logp, reference=reference, beta=beta):
            (w, loser), (ref_w, ref_l) = logp.sum(1).chunk(2), reference.sum(1).chunk(2)
            return dpo_terms(w, loser, ref_w, ref_l, beta).mean()

        def theirs(logp, reference=reference, inputs=inputs, beta=beta):
            loss = {"loss_types": ["sigmoid"], "loss_weights": [1.0], "f_divergence_type": "reverse_kl"}
            off = {"ld_alpha": None, "use_weighting": False, "label_smoothing": 0.0}
            model = Answering(logp)
            trainer = trainer_of(module.DPOTrainer, beta, model, Answering(reference), **loss, **off)
            return trainer._compute_loss(model, inputs, return_outputs=False)

        worst = max(worst, compared(ours, theirs, now))
    assert worst <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_kto_is_trl_s(dtype):
    module = oracle("trl.trainer.kto_trainer")
    worst = 0.0
    for seed in range(CASES):
        now, reference, inputs, beta = drawn(seed, dtype)
        good = torch.rand(len(now), generator=seeded(seed)) < 0.5
        # other answers to the same prompts, by which TRL estimates the KL
        other_now, other_ref, _, _ = drawn(seed, dtype)
        other_now = other_now * 0.7
        anchor = (other_now.sum(1) - other_ref.sum(1)).mean().clamp(min=0)
        inputs = inputs | {f"KL_{name}": value for name, value in inputs.items()} | {"label": good}

        def ours(logp, reference=reference, good=good, beta=beta, anchor=anchor):
            return kto_terms(logp.sum(1), reference.sum(1), good, beta, anchor).mean()

        def theirs(logp, reference=reference, inputs=inputs, beta=beta, others=(other_now, other_ref)):
            model = Answering(others[0], logp)
            weights = {"desirable_weight": 1.0, "undesirable_weight": 1.0}
            trainer = trainer_of(
                module.KTOTrainer,
                beta,
                model,
                Answering(others[1], reference),
                calculate_KL=True,
                loss_type="kto",
                **weights,
            )
            return trainer._compute_loss(model, inputs, return_outputs=False)

        worst = max(worst, compared(ours, theirs, now))
    assert worst <= TOLERANCE[dtype]


def test_the_reward_model_s_loss_is_trl_s_line():
    """`RewardTrainer.compute_loss` has it in line: -logsigmoid(chosen - rejected).mean()."""
    for seed in range(CASES):
        scores = numbers(4, seed=seed)
        pairs = torch.randint(4, (6, 2), generator=seeded(seed))
        wins = torch.zeros(4, 4, dtype=torch.float64).index_put(tuple(pairs.T), torch.ones(6).double(), accumulate=True)
        expected = -torch.nn.functional.logsigmoid(scores[pairs[:, 0]] - scores[pairs[:, 1]]).sum()
        torch.testing.assert_close(bradley_terry_loss(scores, wins), expected)
