"""What a step tells about itself: the numbers of `log.jsonl`."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.learner import Learner
from pgnotes.lm.rollout import Group
from pgnotes.theory.advantages import spread_is_zero
from pgnotes.theory.token_weights import loss_weights

SAMPLES = 4  # completions kept as text in each record
SUMS = ("loss", "tokens", "entropy", "kl", "clip_low", "clip_high", "sampler_gap")
PEAK = ("kl_max", "kl_max_token")


def measure(
    part: Group, loss: Tensor, logp: Tensor, entropy: Tensor, kl: Tensor, config: GRPOConfig
) -> dict[str, Tensor]:
    """One micro-batch in numbers: sums over its live tokens (`SUMS`), its largest KL, and the token that has it.

    logp, entropy, kl: [G, R].  config: for the loss, which says what tokens it no longer pushes.
    """
    advantages = part.advantages.to(logp)
    weights = loss_weights(logp, part.logp_old, advantages, part.mask, config.loss, config.clip, config.gate)
    advantages, silent = advantages[:, None], part.mask & (weights == 0)
    figures = {
        "loss": loss,
        "tokens": part.mask.sum(),
        "entropy": entropy.sum(),
        "kl": kl.sum(),
        "clip_low": (silent & (advantages < 0)).sum(),
        "clip_high": (silent & (advantages > 0)).sum(),
        "sampler_gap": (part.logp_old - part.logp).abs().sum(),
        "kl_max": kl.max(),
        "kl_max_token": part.tokens.flatten()[kl.argmax()],
    }
    return {name: value.detach().float() for name, value in figures.items()}


def summary(run: Learner, figures: list[dict[str, Tensor]]) -> dict:
    """The step's loss, the means over its tokens, and its token of largest KL, from all processes' micro-batches."""
    names = [*SUMS, *PEAK]
    nothing = torch.zeros(1, len(names), device=run.device)
    table = torch.stack([torch.stack([one[name] for name in names]) for one in figures]) if figures else nothing
    own = torch.cat([table[:, : len(SUMS)].sum(0), peak_of(table)])

    table = run.accelerator.gather(own[None]).cpu()  # one row for each process
    sums = dict(zip(SUMS, table[:, : len(SUMS)].sum(0).tolist(), strict=True))
    kl_max, token = peak_of(table).tolist()
    mean = {name: sums[name] / sums["tokens"] if sums["tokens"] else None for name in SUMS}
    compared = run.config.beta > 0 and sums["tokens"] > 0
    return {
        "loss": sums["loss"],  # near zero where lengths are alike; it never measures progress
        "entropy": mean["entropy"],
        "entropy_weight": run.entropy_weight,
        "kl": mean["kl"] if compared else None,
        "kl_max": kl_max if compared else None,
        "kl_max_token": run.policy.tokenizer.decode([int(token)]) if compared else None,
        "clip_low": mean["clip_low"],  # share of tokens no longer pushed down; 0 with one epoch: every ratio is 1
        "clip_high": mean["clip_high"],
        "sampler_gap": mean["sampler_gap"],  # |log-probability when sampled - when scored|
        "rows": run.micro_batch,  # completions in a micro-batch; fewer than a group after memory ran out
    }


def peak_of(table: Tensor) -> Tensor:
    """The largest KL in a table of figures, one row each, and the token that has it: [2]."""
    peaks = table[:, len(SUMS) :]
    return peaks[peaks[:, 0].argmax()]


def describe(run: Learner, groups: list[Group], rewards: Tensor) -> dict:
    """The step's completions in numbers: means and spreads of the task's measures, pass rate, dead groups.

    Of all processes.  rewards: [P, G].
    """
    written = [
        (group.source, text, ended)
        for group in groups
        for text, ended in zip(group.texts, group.ended.tolist(), strict=True)
    ]
    measured = [run.task.measures(text) for _, text, _ in written]
    passed = [ended and run.task.passed(text, prompt) for prompt, text, ended in written]
    rows = [
        [*numbers.values(), passes, ended]
        for numbers, passes, (_, _, ended) in zip(measured, passed, written, strict=True)
    ]
    table = torch.tensor(rows, dtype=torch.float32, device=run.device)
    *columns, passes, stopped = run.accelerator.gather(table).cpu().T
    measures = dict(zip(measured[0], columns, strict=True))

    dead, all_pass = spread_is_zero(rewards), passes.view(rewards.shape).bool().all(-1)
    spread = {"reward": rewards} | measures
    shares = {
        "pass_rate": passes,
        "truncated": 1 - stopped,
        "dead_fail": (dead & ~all_pass).float(),  # groups, all rewards equal and not all passing
        "dead_pass": (dead & all_pass).float(),
    }
    return {
        **{name: values.mean().item() for name, values in (spread | shares).items()},
        **{f"{name}_std": values.std().item() for name, values in spread.items()},
        "samples": [text for _, text, _ in written[:: max(1, len(written) // SAMPLES)][:SAMPLES]],
        **{f"{name}s": [int(x) if x.is_integer() else x for x in values.tolist()] for name, values in measures.items()},
    }
