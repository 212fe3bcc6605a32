"""Step sizes that fall: which arrive, which shake for ever, which stop on the way (Robbins and Monro 1951)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_between, check_count, check_positive, check_real, check_shape
from pgnotes.theory.many import probabilities
from pgnotes.theory.worlds import Bandit


def sizes(first: float, half_after: float, powers: Tensor, steps: int) -> Tensor:
    """α_t = α_0 / (1 + t/h)^p of each step, [steps, powers] (lesson 03).

    first: α_0 > 0.  half_after: h > 0, in steps: at p = 1 the size is halved there.  powers: p >= 0, [powers].
    ValueError naming the argument.
    """
    first, half_after = check_positive("first", first), check_positive("half_after", half_after)
    powers = check_real("powers", powers, 1)
    for power in powers.tolist():
        check_between("powers", power, 0.0, float("1e9"))
    time = 1 + torch.arange(check_count("steps", steps), dtype=torch.float64) / half_after
    return first * time[:, None] ** -powers


def summit(bandit: Bandit, bonus: float) -> Tensor:
    """The policy with the largest J + c H, softmax(r / c), [K] (lesson 03); c is the bonus, above 0.

    H is the entropy in nats.  ValueError naming the argument.
    """
    return torch.softmax(bandit.mean_rewards / check_positive("bonus", bonus), 0)


def climb(bandit: Bandit, logits: Tensor, bonus: float, step_sizes: Tensor, runs: int, seed: int) -> Iterator[Tensor]:
    """π before each step and after the last, [powers, runs, K]: REINFORCE on J + c H, one action a step (lesson 03).

    logits: where all start, [K].  step_sizes: [steps, powers]. Whatever the schedule, run i sees the same random
    numbers. The bonus is paid with the reward, −c log π(a) for the action a that was taken: on average that is c H.
    ValueError naming the argument.
    """
    rewards = bandit.mean_rewards
    start = check_shape("logits", check_real("logits", logits, 1), rewards.shape)
    bonus, runs = check_positive("bonus", bonus), check_count("runs", runs)
    generator = torch.Generator().manual_seed(check_count("seed", seed, 0))
    step_sizes = check_real("step_sizes", step_sizes, 2)
    theta = start.detach().repeat(step_sizes.shape[1], runs, 1)

    for size in step_sizes:
        probs = probabilities(theta)
        yield probs

        # an action where a uniform number falls among the cumulative probabilities
        uniforms = torch.rand(runs, 1, dtype=torch.float64, generator=generator)
        actions = (uniforms > probs.cumsum(-1)).sum(-1, keepdim=True).clamp(max=len(rewards) - 1)
        paid = rewards[actions] - bonus * probs.gather(-1, actions).log()

        # α (r − c log π) score, with score = one-hot − π
        push = size[:, None, None] * paid
        theta = (theta - push * probs).scatter_add(-1, actions, push)
    yield probabilities(theta)


def distance(probs: Tensor, goal: Tensor) -> Tensor:
    """Root mean square distance of policies from one, over the runs: [..., runs, K], [K] -> [...]."""
    return (probs - goal).square().sum(-1).mean(-1).sqrt()
