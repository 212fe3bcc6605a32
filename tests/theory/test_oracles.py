"""The losses against those of TRL 1.16 and Liger 0.8, two trainers in wide use: values and gradients.

Over random batches with ragged masks. Skipped where the two are not installed; PGNOTES_ORACLES=required makes that a
failure. They are wanted for their formulas alone:

    pip install --no-deps -c constraints.txt trl liger-kernel
"""

import importlib
import os
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from plain import numbers, seeded

from pgnotes.theory.advantages import gdpo_advantages, group_advantages
from pgnotes.theory.mismatch import sampler_weights
from pgnotes.theory.objectives import aggregate, kl_estimate, policy_loss

REQUIRED = os.environ.get("PGNOTES_ORACLES") == "required"
CASES, LOW, HIGH, BETA = 200, 0.2, 0.28, 0.04
# our kind and aggregate -> the oracles' loss_type and importance_sampling_level.  Conventions: "token" is what they
# call bnpo (and dapo, with the tokens of the whole step as its divisor), "sequence" grpo, "sum" luspo; GSPO is a level,
# not a loss; CISPO's cap is given as 1 + high.
MAPPING = {
    ("ppo", "token"): ("bnpo", "token"),
    ("ppo", "sequence"): ("grpo", "token"),
    ("ppo", "dr_grpo"): ("dr_grpo", "token"),
    ("gspo", "token"): ("bnpo", "sequence"),
    ("gspo", "sequence"): ("grpo", "sequence"),
    ("gspo", "dr_grpo"): ("dr_grpo", "sequence"),
    ("cispo", "token"): ("cispo", "token"),
    ("sapo", "sequence"): ("sapo", "token"),
}
TRL_ALONE = {  # Liger's luspo weighs by length once more, and its GMPO is missing
    ("ppo", "sum"): ("luspo", "token"),
    ("gspo", "sum"): ("luspo", "sequence"),
    ("gmpo", "sequence"): ("gmpo", "token"),
}
GATE = (0.75, 1.5)  # SAPO's temperatures; TRL makes float32 of them
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-10}


def oracle(module):
    """The module, or a skip; a failure where the oracles are required."""
    if REQUIRED:
        return importlib.import_module(module)
    return pytest.importorskip(module, reason="the oracles are not installed")


def batch(seed, dtype):
    """Log-probabilities now, then and of the reference [B, T], advantages [B], a ragged mask [B, T].

    Some ratios are far outside the band.
    """
    g = seeded(seed)
    rows, width = (int(torch.randint(1, high, (1,), generator=g)) for high in (7, 12))
    mask = torch.arange(width) < torch.randint(1, width + 1, (rows, 1), generator=g)
    old = -3 * torch.rand(rows, width, generator=g, dtype=torch.float64)
    now, reference = (old + scale * torch.randn(rows, width, generator=g, dtype=torch.float64) for scale in (0.5, 0.3))
    advantages = torch.randn(rows, generator=g, dtype=torch.float64)
    return (*(x.to(dtype) for x in (now, old, reference, advantages)), mask)


def trl_loss(now, old, reference, advantages, mask, loss_type, level, weighted_kl=False):
    """`GRPOTrainer._compute_loss` on a trainer that was never built: its log-probabilities are handed in."""
    place = "trl.experimental.gmpo.gmpo_trainer" if loss_type == "gmpo" else "trl.trainer.grpo_trainer"
    kind = getattr(oracle(place), "GMPOTrainer" if loss_type == "gmpo" else "GRPOTrainer")
    trainer = kind.__new__(kind)
    loss_settings = {
        "loss_type": loss_type,
        "importance_sampling_level": level,
        "epsilon_low": LOW,
        "epsilon_high": 1 + HIGH if loss_type == "cispo" else HIGH,
        "beta": BETA,
        "max_completion_length": mask.shape[1],
        "current_gradient_accumulation_steps": 1,
    }
    switched_off = {
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "aux_loss_enabled": False,
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
    }
    args = {"delta": None, "use_bias_correction_kl": weighted_kl, "steps_per_generation": 1}
    args |= {"sapo_temperature_pos": GATE[0], "sapo_temperature_neg": GATE[1]}
    surroundings = {
        "args": SimpleNamespace(**args, entropy_coef=0.0, report_to=[]),
        "model": SimpleNamespace(training=True),
        "accelerator": SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, **_: x),
        "_metrics": {"train": defaultdict(list)},
        "_get_per_token_logps_and_entropies": lambda *args, **kwargs: (now, torch.zeros_like(now), None),
    }
    for name, value in (loss_settings | switched_off | surroundings).items():
        object.__setattr__(trainer, name, value)

    ids = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1] + 1,
        "completion_ids": ids,
        "completion_mask": mask.to(now.dtype),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }
    return trainer._compute_loss(trainer.model, inputs)


def liger_loss(now, old, reference, advantages, mask, loss_type, level, weighted_kl=False):
    """Liger's own function for the same losses."""
    function = oracle("liger_kernel.chunked_loss.grpo_loss").LigerFusedLinearGRPOFunction.ppo_loss_fn
    weights = mask.to(now.dtype)
    options = {
        "epsilon_low": LOW,
        "epsilon_high": 1 + HIGH if loss_type == "cispo" else HIGH,
        "beta": BETA,
        "loss_type": loss_type,
        "importance_sampling_level": level,
        "max_completion_length": mask.shape[1],
        "num_items_in_batch": mask.sum(),
        "sapo_temperature_pos": GATE[0],
        "sapo_temperature_neg": GATE[1],
        "use_bias_correction_kl": weighted_kl,
    }
    loss, _ = function(now, weights, advantages, weights, reference, old, **options)
    return loss


def our_loss(now, old, reference, advantages, mask, kind, how, weighted_kl=False):
    """The policy's loss plus β times the KL by k3, which is what both oracles add."""
    loss = policy_loss(now, old, advantages, mask, kind, clip=(LOW, HIGH), aggregate=how, gate=GATE)
    leash = kl_estimate(now, reference, "k3", old if weighted_kl else None)
    return loss + BETA * aggregate(leash, mask, how)


def gradient(loss, now, *arguments):
    """Value and gradient in `now`."""
    now = now.clone().requires_grad_()
    value = loss(now, *arguments)
    return value.detach(), torch.autograd.grad(value, now)[0]


def scale(now, old, advantages, mask):
    """Σ|terms|, to which rounding is compared: a mean of positive and negative terms may be near 0."""
    return ((torch.exp(now - old) * advantages[:, None]).abs() * mask).sum().clamp(min=1e-3)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("theirs", "pair"),
    [(trl_loss, pair) for pair in MAPPING | TRL_ALONE] + [(liger_loss, pair) for pair in MAPPING],
    ids=lambda x: x.__name__ if callable(x) else "-".join(x),
)
def test_loss_and_gradient_agree_with_the_oracle(theirs, pair, dtype):
    worst = 0.0
    for seed in range(CASES):
        now, old, reference, advantages, mask = batch(seed, dtype)
        value, grad = gradient(our_loss, now, old, reference, advantages, mask, *pair)
        expected, expected_grad = gradient(theirs, now, old, reference, advantages, mask, *(MAPPING | TRL_ALONE)[pair])
        size = scale(now, old, advantages, mask)
        errors = (value - expected).abs() / size, (grad - expected_grad).abs().max() / size
        worst = max(worst, *(error.item() for error in errors))
    assert worst <= TOLERANCE[dtype]


@pytest.mark.parametrize("theirs", [trl_loss, liger_loss])
def test_the_ratio_weighted_kl_agrees_with_the_oracle(theirs):
    """DeepSeek-V3.2's k3, times the ratio, with its gradient."""
    for seed in range(CASES):
        given = batch(seed, torch.float64)
        value, grad = gradient(lambda *x: our_loss(*x, "ppo", "token", weighted_kl=True), *given)
        expected, expected_grad = gradient(lambda *x: theirs(*x, "bnpo", "token", weighted_kl=True), *given)
        size = scale(given[0], given[1], given[3], given[4])
        assert (value - expected).abs() <= 1e-10 * size
        assert (grad - expected_grad).abs().max() <= 1e-10 * size


def test_weights_for_the_sampler_multiply_terms_or_advantages_alike():
    """Liger multiplies each term with min(π/μ, cap); here the advantage is, which a clip does not mind."""
    function = oracle("liger_kernel.chunked_loss.grpo_loss").LigerFusedLinearGRPOFunction.ppo_loss_fn
    options = {"epsilon_low": LOW, "epsilon_high": HIGH, "beta": 0.0, "loss_type": "bnpo"}

    def theirs(now, old, sampler, advantages, mask):
        live, ratio = mask.to(now.dtype), torch.exp(old - sampler).clamp(max=1.5)
        return function(now, live, advantages, live, None, old, vllm_is_ratio=ratio, **options)[0]

    def ours(now, old, sampler, advantages, mask):
        weighted = advantages[:, None] * sampler_weights(old, sampler, mask, 1.5)
        return policy_loss(now, old, weighted, mask, "ppo", clip=(LOW, HIGH))

    for seed in range(CASES):
        given = batch(seed, torch.float64)
        for found, wanted in zip(gradient(ours, *given), gradient(theirs, *given), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("how", ["token", "sequence", "dr_grpo"])
def test_reinforce_is_ppo_s_gradient_where_nothing_has_moved(how):
    """No oracle has -A log π; at ratio 1 the gradient of theirs is its gradient."""
    for seed in range(CASES):
        now, _, reference, advantages, mask = batch(seed, torch.float64)
        _, grad = gradient(our_loss, now, now, reference, advantages, mask, "reinforce", how)
        _, expected = gradient(trl_loss, now, now, reference, advantages, mask, *MAPPING["ppo", how])
        torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-12)


def test_k3_is_liger_s():
    k3 = oracle("liger_kernel.chunked_loss.grpo_loss").k3_loss_fn
    for seed in range(CASES):
        now, _, reference, _, _ = batch(seed, torch.float64)
        torch.testing.assert_close(kl_estimate(now, reference, "k3"), k3(reference, now), rtol=1e-9, atol=1e-12)


def test_group_advantages_are_trl_s_recipe():
    """TRL: minus the group's mean, divided by (its unbiased standard deviation + 1e-4).

    `_generate_and_score_completions` does it in line.
    """
    rewards = numbers(5, 6)
    mean = rewards.view(-1, 6).mean(dim=1).repeat_interleave(6)
    std = rewards.view(-1, 6).std(dim=1).repeat_interleave(6)
    expected = (rewards.flatten() - mean) / (std + 1e-4)
    torch.testing.assert_close(group_advantages(rewards, "grpo").flatten(), expected)
    by_batch = (rewards.flatten() - mean) / (rewards.flatten().std() + 1e-4)  # scale_rewards="batch"
    torch.testing.assert_close(group_advantages(rewards, "lite_ppo").flatten(), by_batch)


def test_gdpo_is_trl_s_recipe():
    """`multi_objective_aggregation="normalize_then_sum"`: one row a completion, one column a reward."""
    rewards, weights = numbers(3, 5, 6), torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    grouped = rewards.permute(1, 2, 0)
    alone = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
    total = (alone.reshape(-1, 3) * weights).sum(1)
    expected = (total - total.mean()) / (total.std() + 1e-4)
    torch.testing.assert_close(gdpo_advantages(rewards, weights).flatten(), expected)
