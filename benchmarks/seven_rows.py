"""Seven algorithms on one small world, at equal counting, and steps whose length follows the batch: lesson 15's runs.

    python benchmarks/seven_rows.py     about five minutes on a quiet core; writes pgnotes/classroom/seven_rows.json

The sum world, batches of 16. Each method is tried at each step size of its grid on 100 runs (seed 0): how many
sequences until nine of ten runs earn 0.9? The step with the lowest count is then measured on 200 other runs (seed 1).
DPO is not counted in batches: it gets so many pairs once. Claim C74's natural steps have batches of 8, 200 runs each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.actor_critic import Settings as Critic
from pgnotes.theory.actor_critic import actor_critic_many
from pgnotes.theory.many import chances, expected_returns, reinforce_many, sequences_until
from pgnotes.theory.many_ppo import log_probs, ppo_many
from pgnotes.theory.paced import natural_steps
from pgnotes.theory.ppo import Settings as Clipped
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.trpo import TrustRegion, trpo
from pgnotes.theory.worlds import sum_world

OUT = Path(__file__).parent.parent / "pgnotes/classroom/seven_rows.json"
BATCH, TARGET, MOST = 16, 0.9, 4000
TRIED, MEASURED = (100, 0), (200, 1)  # runs and seed: to choose a step, and to report it
PAIRS, BETA, NOISE, DPO_STEPS, DPO_STEP = (50, 200, 1000), 0.1, 0.1, 400, 100.0
DELTAS, SMALL = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4), 8
WORLD = sum_world()

States = Iterator[Tensor]


def before_each(iterations: Iterator[Any]) -> States:
    """The logits before each iteration, of iterations that hold those before and after it."""
    yield (first := next(iterations)).old
    yield first.now
    yield from (iteration.now for iteration in iterations)


def reinforcing(normalise: bool) -> Callable[[float, int, int], States]:
    """REINFORCE at a step size."""
    return lambda step, runs, seed: reinforce_many(
        WORLD, Recipe(step_size=step, batch=BATCH, normalise=normalise), runs, seed
    )


def critic(lam: float) -> Callable[[float, int, int], States]:
    """An actor-critic at a step size."""
    return lambda step, runs, seed: (
        logits for logits, _ in actor_critic_many(WORLD, Critic(lam=lam, step_size=step, batch=BATCH), runs, seed)
    )


def region(step: float, runs: int, seed: int) -> States:
    """TRPO at a δ."""
    return before_each(trpo(WORLD, TrustRegion(delta=step, batch=BATCH), runs, seed))


def clipped(step: float, runs: int, seed: int) -> States:
    """PPO, eight epochs a batch, at a step size."""
    return before_each(ppo_many(WORLD, Clipped(step_size=step, batch=BATCH, epochs=8), runs, seed))


METHODS = {  # a grid of step sizes (TRPO: δ, in nats), and what runs at one
    "REINFORCE": ((0.25, 0.5, 1.0, 2.0, 3.0, 5.0), reinforcing(False)),
    "REINFORCE, normalised": ((0.5, 1.0, 2.0, 3.0, 5.0), reinforcing(True)),
    "A2C, λ = 0": ((0.5, 1.0, 2.0, 3.0, 5.0), critic(0.0)),
    "A2C, λ = 0.9": ((0.5, 1.0, 2.0, 3.0, 5.0), critic(0.9)),
    "TRPO": ((0.05, 0.1, 0.2, 0.5), region),
    "PPO, 8 epochs": ((1.0, 2.0, 4.0, 8.0), clipped),
}


def summed_up(counts: Tensor) -> dict[str, float | None]:
    """Of sequences drawn in each run [runs]: the median, what nine of ten need, and the share that never got there."""
    ordered = counts.sort().values
    places = {"median": ordered[len(counts) // 2 - 1], "nine_of_ten": ordered[int(0.9 * len(counts)) - 1]}
    found = {name: None if place.isinf() else place.item() for name, place in places.items()}
    return found | {"never": counts.isinf().double().mean().item()}


def row(name: str) -> dict[str, Any]:
    """One method: its whole grid on the first runs, and the chosen step on the others."""
    grid, run = METHODS[name]

    def counted(step: float, runs: int, seed: int) -> dict[str, float | None]:
        return summed_up(sequences_until(WORLD, run(step, runs, seed), BATCH, TARGET, MOST))

    tried = {step: counted(step, *TRIED) for step in grid}
    best = min(tried, key=lambda step: (tried[step]["nine_of_ten"] or 2 * MOST, tried[step]["never"]))
    print(f"{name:24}step {best:g}: {tried[best]}", flush=True)
    grid_found = [{"step": step, **found} for step, found in tried.items()]
    return {"tried": grid_found, "step": best, **counted(best, *MEASURED)}


def falls(batch: int, delta: float, runs: int = 100, seed: int = 0, iterations: int = 40) -> float:
    """In what share of TRPO's iterations the exact J falls."""
    states = islice(before_each(trpo(WORLD, TrustRegion(delta=delta, batch=batch), runs, seed)), iterations + 1)
    curve = torch.stack([expected_returns(WORLD, logits) for logits in states])
    return (curve[1:] < curve[:-1] - 1e-12).double().mean().item()


def dpo(pairs: int, runs: int, seed: int) -> dict[str, float]:
    """J after training on so many pairs of the start policy's sequences, in quantiles, and the loss at both ends."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.zeros(runs, 85, 4, dtype=torch.float64)
    likely, returns = chances(WORLD, theta), WORLD.returns()[0]
    first, second = torch.multinomial(likely, 2 * pairs, replacement=True, generator=generator).chunk(2, 1)
    wins = torch.sigmoid((returns[first] - returns[second]) / NOISE)
    won = torch.rand(runs, pairs, dtype=torch.float64, generator=generator) < wins
    w, loser = torch.where(won, first, second), torch.where(won, second, first)
    sequences, mask = WORLD.sequences.expand(runs, -1, -1), WORLD.mask
    reference = likely.log()

    losses = []
    for _ in range(DPO_STEPS):
        theta.requires_grad_()
        change = torch.where(mask, log_probs(theta, sequences), 0.0).sum(-1) - reference
        loss = -torch.nn.functional.logsigmoid(BETA * (change.gather(1, w) - change.gather(1, loser))).mean(1)
        losses.append(loss.detach().mean().item())
        (gradient,) = torch.autograd.grad(loss.sum(), theta)
        theta = (theta - DPO_STEP * gradient).detach()
    earned = expected_returns(WORLD, theta).sort().values
    places = {"low": 0.1, "median": 0.5, "high": 0.9}
    found = {name: earned[int(share * runs) - 1].item() for name, share in places.items()}
    return {"pairs": pairs, **found, "loss_before": losses[0], "loss_after": losses[-1]}


def pace(delta: float, paced: bool, runs: int, seed: int) -> dict[str, Any]:
    """Claim C74: natural steps of δ, or of δ times how sure the batch is."""
    factors = []

    def states() -> States:
        for logits, factor in natural_steps(WORLD, delta, SMALL, runs, seed, paced):
            factors.append(factor)
            yield logits

    counts = sequences_until(WORLD, states(), SMALL, TARGET, MOST)
    found = {"delta": delta, "paced": paced, **summed_up(counts), "pace": torch.stack(factors[:40]).mean().item()}
    print(found, flush=True)
    return found


def main() -> None:
    """Run everything, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "command": "python benchmarks/seven_rows.py",
        "batch": BATCH,
        "target": TARGET,
        "most": MOST,
        "tried": dict(zip(("runs", "seed"), TRIED, strict=True)),
        "measured": dict(zip(("runs", "seed"), MEASURED, strict=True)),
        "rows": {name: row(name) for name in METHODS},
        "falls": [{"batch": batch, "delta": 0.05, "share": falls(batch, 0.05)} for batch in (8, 16, 64)],
        "dpo": [dpo(pairs, *MEASURED) for pairs in PAIRS],
        "paces": [pace(delta, paced, *MEASURED) for delta in DELTAS for paced in (False, True)],
    }
    args.out.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for part in ("falls", "dpo"):
        print(*found[part], sep="\n")


if __name__ == "__main__":
    main()
