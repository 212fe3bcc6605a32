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


class Monitor:
    """Sums over the live tokens of the groups that were trained on."""

    def __init__(self) -> None:
        self.sums = dict.fromkeys(("tokens", "entropy", "kl", "gap", "clip_low", "clip_high"), 0.0)
        self.loss, self.grad_norm, self.lr, self.skipped = 0.0, 0.0, 0.0, ""
        self.worst_kl: tuple[float, int] = (0.0, -1)  # value, token id

    def see(self, group: Group, advantage: Tensor, loss: Tensor, logp: Tensor, entropy: Tensor, kl: Tensor | None, clip: Clip) -> None:
        """Add one group's tokens. advantage [G]; logp, entropy, kl [G, R]."""
        low, high = clip_range(clip)
        live, logp, old = group.mask, logp.detach(), group.logp_old
        ratio, sign = torch.exp(logp - old), advantage.to(logp)[:, None].sign()
        terms = {
            "tokens": live,
            "entropy": entropy.detach(),
            "gap": (old - group.logp).abs(),
            "clip_low": (ratio < 1 - low) & (sign < 0) & live,
            "clip_high": (ratio > 1 + high) & (sign > 0) & live,
        } | ({} if kl is None else {"kl": kl.detach()})
        for name, term in terms.items():
            self.sums[name] += term.sum().item()
        if kl is not None and kl.max().item() > self.worst_kl[0]:
            self.worst_kl = (kl.max().item(), int(group.tokens.flatten()[kl.argmax()]))
        self.loss += loss.item()

    def summary(self, run: Learner) -> dict:
        """Means over all processes' tokens, and the norm and fate of the update."""
        values = torch.tensor([*self.sums.values(), self.loss], dtype=torch.float32, device=run.accelerator.device)
        *sums, loss = run.accelerator.reduce(values, "sum").tolist()
        means = dict(zip(self.sums, sums, strict=True))
        tokens = max(means.pop("tokens"), 1.0)
        means = {name: value / tokens for name, value in means.items()}
        value, token = self.worst_kl
        return {
            "loss": loss,  # near zero by construction; it never measures progress
            "grad_norm": self.grad_norm,  # before clipping
            "lr": self.lr,
            "skipped": self.skipped,
            "entropy": means["entropy"] if self.sums["tokens"] else None,
            "entropy_weight": run.config.entropy_bonus,
            "kl": means["kl"] if run.reference is not None else None,
            "kl_max": value if run.reference is not None else None,
            "kl_max_token": run.tokenizer.decode([token]) if token >= 0 else None,
            "clip_low": means["clip_low"],  # share of tokens no longer pushed down; 0 with one epoch, where every ratio is 1
            "clip_high": means["clip_high"],
            "sampler_gap": means["gap"],  # |log-probability when sampled - when scored|, mean
        }


def describe(run: Learner, groups: list[Group], rewards: Tensor) -> dict:
    """The step's completions in numbers. rewards: [P, G], of all processes."""
    texts = [text for group in groups for text in group.texts]
    ended = torch.cat([group.ended for group in groups])
    passed = [e and run.task.passed(t) for t, e in zip(texts, ended.tolist(), strict=True)]
    rows = [[len(text), digit_sum(text), float(p)] for text, p in zip(texts, passed, strict=True)]
    numbers = torch.cat([torch.tensor(rows, device=run.accelerator.device), ended[:, None]], dim=1)
    length, total, passes, stopped = run.accelerator.gather(numbers).cpu().T
    dead = spread_is_zero(rewards)
    all_pass = passes.view(rewards.shape).bool().all(-1)
    return {
        "reward": rewards.mean().item(),
        "reward_std": rewards.std().item(),
        "pass_rate": passes.mean().item(),
        "length": length.mean().item(),
        "length_std": length.std().item(),
        "digit_sum": total.mean().item(),
        "digit_sum_std": total.std().item(),
        "truncated": 1 - stopped.mean().item(),
        "dead_fail": (dead & ~all_pass).float().mean().item(),  # share of groups, all rewards equal and not all passing
        "dead_pass": (dead & all_pass).float().mean().item(),
        "samples": texts[:: max(1, len(texts) // SAMPLES)][:SAMPLES],
        "lengths": [int(x) for x in length.tolist()],
        "digit_sums": [int(x) for x in total.tolist()],
    }
