"""What a step tells about itself: the numbers of `log.jsonl`."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.lm.learner import Learner
from pgnotes.lm.rollout import Group
from pgnotes.lm.tasks import digit_sum
from pgnotes.theory.advantages import spread_is_zero
from pgnotes.theory.objectives import Clip, clip_range

SAMPLES = 4  # completions kept as text in each record


def measure(part: Group, loss: Tensor, logp: Tensor, entropy: Tensor, kl: Tensor, clip: Clip) -> dict[str, float]:
    """One micro-batch in numbers: sums over its live tokens, and its token of largest KL. logp, entropy, kl: [G, R]."""
    low, high = clip_range(clip)
    ratio, sign = torch.exp(logp.detach() - part.logp_old), part.advantages.to(logp)[:, None].sign()
    sums = {
        "loss": loss,
        "tokens": part.mask,
        "entropy": entropy,
        "clip_low": (ratio < 1 - low) & (sign < 0) & part.mask,
        "clip_high": (ratio > 1 + high) & (sign > 0) & part.mask,
        "sampler_gap": (part.logp_old - part.logp).abs(),
        "kl": kl,
    }
    worst = {"kl_max": kl.max().item(), "kl_max_token": int(part.tokens.flatten()[kl.argmax()])}
    return {name: value.detach().sum().item() for name, value in sums.items()} | worst


def summary(run: Learner, seen: list[dict[str, float]]) -> dict:
    """Means over the tokens of all micro-batches of all processes."""
    names = ("loss", "tokens", "entropy", "kl", "clip_low", "clip_high", "sampler_gap")
    sums = torch.tensor([sum(part[name] for part in seen) for name in names], dtype=torch.float32, device=run.accelerator.device)
    loss, tokens, *sums = run.accelerator.reduce(sums, "sum").tolist()
    entropy, kl, clip_low, clip_high, gap = (value / tokens if tokens else None for value in sums)
    worst = max(seen, key=lambda part: part["kl_max"], default=None) if run.reference is not None else None
    return {
        "loss": loss,  # near zero by construction; it never measures progress
        "entropy": entropy,
        "entropy_weight": run.config.entropy_bonus,
        "kl": kl if run.reference is not None else None,
        "kl_max": worst and worst["kl_max"],  # this process's
        "kl_max_token": worst and run.tokenizer.decode([worst["kl_max_token"]]),
        "clip_low": clip_low,  # share of tokens no longer pushed down; 0 with one epoch, where every ratio is 1
        "clip_high": clip_high,
        "sampler_gap": gap,  # |log-probability when sampled - when scored|, mean
        "rows": run.rows,  # completions in a micro-batch; fewer than a group after memory ran out
    }


def describe(run: Learner, groups: list[Group], rewards: Tensor) -> dict:
    """The step's completions in numbers. rewards: [P, G], of all processes."""
    texts = [text for group in groups for text in group.texts]
    ended = torch.cat([group.ended for group in groups])
    passed = [e and run.task.passed(t) for t, e in zip(texts, ended.tolist(), strict=True)]
    rows = [[len(text), digit_sum(text), float(p)] for text, p in zip(texts, passed, strict=True)]
    numbers = torch.cat([torch.tensor(rows, device=run.accelerator.device), ended[:, None]], dim=1)
    length, total, passes, stopped = run.accelerator.gather(numbers).cpu().T
    dead, all_pass = spread_is_zero(rewards), passes.view(rewards.shape).bool().all(-1)
    means = {
        "reward": rewards,
        "pass_rate": passes,
        "length": length,
        "digit_sum": total,
        "truncated": 1 - stopped,
        "dead_fail": (dead & ~all_pass).float(),  # groups, all rewards equal and not all passing
        "dead_pass": (dead & all_pass).float(),
    }
    spreads = {f"{name}_std": means[name].std().item() for name in ("reward", "length", "digit_sum")}
    return {
        **{name: values.mean().item() for name, values in means.items()},
        **spreads,
        "samples": texts[:: max(1, len(texts) // SAMPLES)][:SAMPLES],
        "lengths": [int(x) for x in length.tolist()],
        "digit_sums": [int(x) for x in total.tolist()],
    }
