"""Results of two methods on the same seeds, and what is wrong with a rule's verdict on them (exercise 15.5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pgnotes.classroom.questions import yes_or_no


def drawn(seed: int) -> Tensor:
    """Forty normal numbers."""
    return torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def apart_by(errors: float, noise: Tensor) -> Tensor:
    """Differences whose mean is so many of their own standard errors. [n]."""
    scaled = (noise - noise.mean()) / noise.std()
    return scaled + errors / len(noise) ** 0.5


def misleading(difference: Tensor) -> Tensor:
    """The same in another order: the first is the one that lies furthest on the other side of 0. [n]."""
    return difference.sort(descending=bool(difference.mean() < 0)).values


def lucky(run: Tensor, by: float) -> Tensor:
    """The same with one seed, the eighth, moved by so much. [n]."""
    return run + by * (torch.arange(len(run)) == 7)


OLD = 0.5 + 0.04 * drawn(4)
SHARED = 5 * drawn(5)  # what a seed does to both
BETTER = OLD + 0.04 * misleading(apart_by(6, drawn(3)))  # on its first seed it is worse
WORSE = OLD + 0.04 * misleading(apart_by(-6, drawn(6)))
GOOD, BAD = (OLD + 0.04 * apart_by(errors, drawn(7)) for errors in (12, -12))
EVEN = OLD + 0.04 * apart_by(-0.4, drawn(8))

CASES = (
    (BETTER, OLD),
    (WORSE, OLD),
    (GOOD, lucky(OLD, 0.25)),  # the best run of all is an old one, by luck
    (lucky(BAD, 0.25), OLD),
    (lucky(GOOD, -0.25), OLD),  # one accident
    (BAD, lucky(OLD, -0.25)),
    (SHARED + 0.4 * apart_by(14, drawn(9)), SHARED),
    (SHARED + 0.4 * apart_by(-14, drawn(22)), SHARED),
    (OLD + 0.01 + 0.002 * drawn(11).abs(), OLD),  # little, and for sure
    (OLD - 0.01 - 0.002 * drawn(11).abs(), OLD),
    (OLD + 1, OLD + 0.02 * drawn(11)),
    (OLD - 1, OLD + 0.02 * drawn(12)),
    (EVEN, OLD),
    (OLD, EVEN),
)


def verdict_fault(case: tuple, value: Any) -> str | None:
    """What is wrong with a verdict on one of the cases, in a sentence."""
    said = yes_or_no(value)
    if said is None:
        return f"Your rule gives {value!r}; it should give True or False."
    new, old = case
    difference = new - old
    mean, error = difference.mean().item(), (difference.std() / len(difference) ** 0.5).item()
    size = f"{abs(mean):.2g}, {abs(mean) / error:.2g} standard errors of the paired differences"
    if said and abs(mean) < error:
        return (
            f"Your rule refutes the claim where the two are as good as equal: {'+' if mean > 0 else '−'}{size}. "
            "Without any difference a mean falls below 0 every second time: leave room for its error."
        )
    ways = {
        "the first seed": new[0] - old[0],
        "the best run of each": new.max() - old.max(),
        "the worst run of each": new.min() - old.min(),
    }
    others = [name for name, by in ways.items() if by.item() * mean < 0]
    hint = f" (By {' and by '.join(others)} it looks the other way round.)" if others else ""
    if mean > error and said:
        return f"Your rule refutes the claim where the new method earns more, by {size}.{hint}"
    if mean < -error and not said:
        return f"Your rule lets the claim stand where the new method earns less, by {size}.{hint}"
    return None


def two_errors(new: Tensor, old: Tensor) -> bool:
    """The mean difference lies two standard errors below 0."""
    difference = new - old
    return bool(difference.mean() + 2 * difference.std() / len(difference) ** 0.5 < 0)
