"""What a step tells about itself: the numbers of `log.jsonl`."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.lm.learner import Learner
from pgnotes.lm.rollout import Group
from pgnotes.theory.advantages import spread_is_zero
from pgnotes.theory.objectives import Clip
from pgnotes.theory.ppo import silenced

SAMPLES = 4  # completions kept as text in each record


def measure(part: Group, loss: Tensor, logp: Tensor, entropy: Tensor, kl: Tensor, clip: Clip) -> Tensor:
    """One micro-batch in numbers [9]: seven sums over its live tokens, its largest KL, the token that has it.

    logp, entropy, kl: [G, R].
    """
    advantages = part.advantages.to(logp)[:, None]
    silent = silenced(torch.exp(logp - part.logp_old), advantages, clip)  # dead tokens have ratio 1
    clipped = silent & (advantages < 0), silent & (advantages > 0)
    sums = [values.sum() for values in (loss, part.mask, entropy, kl, *clipped, (part.logp_old - part.logp).abs())]
    return torch.stack([value.detach().float() for value in (*sums, kl.max(), part.tokens.flatten()[kl.argmax()])])


def summary(run: Learner, seen: list[Tensor]) -> dict:
    """The step's loss, the means over its tokens, and its token of largest KL, from the micro-batches of all processes."""
    sums, peaks = torch.stack(seen or [torch.zeros(9, device=run.device)]).split([7, 2], dim=1)
    own = torch.cat([sums.sum(0), peaks[peaks[:, 0].argmax()]])
    sums, peaks = run.accelerator.gather(own[None]).cpu().split([7, 2], dim=1)
    loss, tokens, *sums = sums.sum(0).tolist()
    entropy, kl, clip_low, clip_high, gap = (value / tokens if tokens else None for value in sums)
    kl_max, token = peaks[peaks[:, 0].argmax()].tolist()
    compared = run.reference is not None and tokens > 0
    return {
        "loss": loss,  # near zero by construction; it never measures progress
        "entropy": entropy,
        "entropy_weight": run.config.entropy_bonus,
        "kl": kl if compared else None,
        "kl_max": kl_max if compared else None,
        "kl_max_token": run.tokenizer.decode([int(token)]) if compared else None,
        "clip_low": clip_low,  # share of tokens no longer pushed down; 0 with one epoch, where every ratio is 1
        "clip_high": clip_high,
        "sampler_gap": gap,  # |log-probability when sampled - when scored|, mean
        "rows": run.rows,  # completions in a micro-batch; fewer than a group after memory ran out
    }


def describe(run: Learner, groups: list[Group], rewards: Tensor) -> dict:
    """The step's completions in numbers, of all processes: means and spreads of the task's measures, pass rate, dead groups.

    rewards: [P, G].
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
