"""What it costs to measure an estimator's variance: by counts, merely drawing the actions, and in the obvious loop.

    python benchmarks/variance.py

All in one run.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable

import torch

from pgnotes.theory.estimators import monte_carlo, monte_carlo_sequences
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import Bandit

ARMS, LOOP = 10, 20_000  # the loop is timed on so many samples and scaled: it costs the same for each
SEED = torch.Generator().manual_seed(0)
BANDIT = Bandit(torch.randn(ARMS, generator=SEED))
POLICY = SoftmaxPolicy(torch.randn(ARMS, generator=SEED))


def loop(n: int) -> None:
    """Mean and mean square of reward times score, a sample at a time."""
    probs, total, squares = POLICY.probs, torch.zeros(ARMS), torch.zeros(ARMS)
    for _ in range(n):
        action = torch.multinomial(probs, 1, generator=SEED)[0]
        score = torch.eye(ARMS)[action] - probs
        estimate = BANDIT.mean_rewards[action] * score
        total, squares = total + estimate, squares + estimate**2


def zeros_pay(sequences: torch.Tensor) -> torch.Tensor:
    """A reward of 1 for each symbol 0. [n, T] -> [n, T]."""
    return (sequences == 0).double()


def seconds(action: Callable[[], object], times: int) -> float:
    """The median time of an action, in seconds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def peak_mib() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print times and ratios."""
    per_sample = seconds(lambda: loop(LOOP), 3) / LOOP
    print("samples     engine ms   drawing ms   loop s (scaled)   loop ÷ engine   engine ÷ drawing")
    for n in (10**4, 10**5, 10**6, 10**7):
        engine = seconds(lambda n=n: monte_carlo(BANDIT, POLICY, n, SEED), 21)
        drawing = seconds(lambda n=n: torch.multinomial(POLICY.probs, n, replacement=True, generator=SEED), 3)
        whole = n * per_sample
        times = f"{1000 * engine:>8.2f}   {1000 * drawing:>10.1f}   {whole:>15.1f}"
        print(f"{n:>10,}  {times}   {whole / engine:>13,.0f}   {engine / drawing:>16.4f}")

    logits, before = torch.randn(8, 50, generator=SEED), peak_mib()
    print("\nsequences of 8 symbols out of 50     seconds   more memory than before, MiB")
    for n in (10**5, 10**6, 10**7):
        taken = seconds(lambda n=n: monte_carlo_sequences(logits, zeros_pay, reward_to_go, n, SEED), 1)
        print(f"{n:>34,}   {taken:>7.2f}   {peak_mib() - before:>10.0f}")


if __name__ == "__main__":
    main()
