"""Ends that are none: a world without an end, cut into pieces by a time limit (lesson 11; Pardo et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_array,
    check_between,
    check_choice,
    check_count,
    check_generator,
    check_positive,
)
from pgnotes.theory.critics import gae

CAREFUL, BOLD = 0.9, 1.0  # what a step earns
ENDS = ("right", "as death", "never")


class Lives(NamedTuple):
    """Lives, cut at a limit: each step's action (1 is bold), whether it was lived, and what it earned, all [..., T]."""

    actions: Tensor
    mask: Tensor
    rewards: Tensor
    alive: Tensor  # [...] bool: True where the limit came before death


class Survival:
    """One state, two actions, no end but death: careful earns 0.9 a step, bold 1 and dies of it with chance `risk`.

    A policy is a number, the chance of a bold step; its value is discounted by `gamma`, in [0, 1) (lesson 11, claim
    C39).  risk in [0, 1].  ValueError naming the argument.
    """

    def __init__(self, risk: float = 0.01, gamma: float = 0.99):
        self.risk = check_between("risk", risk, 0.0, 1.0)
        self.gamma = check_between("gamma", gamma, 0.0, 1.0)
        if self.gamma == 1:
            raise ValueError("gamma is 1; it must be below, or a life without an end would be worth infinitely much")

    def value(self, bold: Any, left: int | None = None) -> Tensor:
        """What a life is worth, now and here, of policies in any shape: r / (1 - q) with q = γ (1 - risk · bold).

        left: with so many steps to live and nothing after them, r (1 - q^left) / (1 - q).
        """
        share = check_shares(bold)
        earned = CAREFUL + (BOLD - CAREFUL) * share
        kept = self.gamma * (1 - self.risk * share)
        lost = 0.0 if left is None else kept ** check_count("left", left, 0)
        return earned * (1 - lost) / (1 - kept)

    def preference(self, bold: Any, limit: int | None = None, at_cut: float = 0.0) -> Tensor:
        """How much better a bold step is than a careful one, Q(bold) - Q(careful), for policies in any shape.

        limit: as it looks by returns (λ = 1) where lives are cut at so many steps, averaged over the steps lived.
        at_cut: what the critic says that a life is still worth at the cut; 0 takes it for death.
        """
        share = check_shares(bold)
        extra = BOLD - CAREFUL
        if limit is None:
            return extra - self.gamma * self.risk * self.value(share)

        lived = torch.stack([(1 - self.risk * share) ** t for t in range(check_count("limit", limit))])
        kept = self.gamma * (1 - self.risk * share)
        after = torch.stack([self.value(share, left) + kept**left * at_cut for left in reversed(range(limit))])
        return extra - self.gamma * self.risk * (lived * after).sum(0) / lived.sum(0)

    def rollout(self, bold: Tensor, n: int, limit: int, generator: torch.Generator) -> Lives:
        """n lives of each policy, cut at `limit` steps: [..., n, limit].  bold: [...] chances."""
        shape = (*check_shares(bold).shape, check_count("n", n), check_count("limit", limit))
        dice = torch.rand(2, *shape, dtype=torch.float64, generator=check_generator("generator", generator))
        actions = dice[0] < bold[..., None, None]
        dies = actions & (dice[1] < self.risk)

        deaths_before = dies.cumsum(-1) - dies.long()
        mask = deaths_before == 0
        earned = CAREFUL + (BOLD - CAREFUL) * actions.double()
        return Lives(actions.long(), mask, earned * mask, ~dies.any(-1))


def survival_world(risk: float = 0.01) -> Survival:
    """The world of claim C39 (lesson 11); risk: the chance that a bold step is the last one."""
    return Survival(risk)


def check_shares(bold: Any) -> Tensor:
    """`bold` as float64 chances.  ValueError naming it for a number outside [0, 1]."""
    share = check_array("bold", bold)
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError("bold holds a number outside [0, 1]")
    return share


def value_at_the_end(ends: str, values: Tensor, alive: Tensor) -> Tensor:
    """`last` of `td_errors` for lives [...] that a limit cut, or death: values [...] of where they stand.

    ends: "right", the value after a limit and 0 after death · "as death", 0 after both · "never", the value after both.
    """
    goes_on = {"right": alive, "as death": torch.zeros_like(alive), "never": torch.ones_like(alive)}
    return torch.where(goes_on[check_choice("ends", ends, ENDS)], values, 0.0)


def live_and_learn(
    world: Survival,
    limit: int,
    ends: str,
    runs: int,
    seed: int,
    lam: float = 0.95,
    step_size: float = 0.1,
    value_step: float = 0.5,
    batch: int = 32,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The chance of a bold step and the critic's value, both [runs], before each update, without end (lesson 11).

    Actor-critic from an undecided policy and a value of 0; `ends` as in `value_at_the_end`.  ValueError naming the
    argument.
    """
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    step_size = check_positive("step_size", step_size)
    value_step = check_between("value_step", value_step, 0.0, 1.0)
    logit = torch.zeros(check_count("runs", runs), dtype=torch.float64)
    value = torch.zeros_like(logit)
    while True:
        bold = logit.sigmoid()
        yield bold, value

        lives = world.rollout(bold, batch, limit, generator)
        values = value[:, None, None].expand(lives.mask.shape)
        last = value_at_the_end(ends, values[..., 0], lives.alive)
        advantages = gae(lives.rewards, values, lives.mask, world.gamma, lam, last)

        # the score of a step in the logit is action - bold
        scores = (lives.actions - bold[:, None, None]) * lives.mask
        logit = logit + step_size * (advantages * scores).sum((1, 2)) / batch
        value = value + value_step * advantages.sum((1, 2)) / lives.mask.sum((1, 2))
