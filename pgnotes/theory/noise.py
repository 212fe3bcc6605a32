"""How noisy a gradient estimate is, measured as in practice: from the two halves of a batch, with nothing listed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_real, check_shape


class Noise(NamedTuple):
    """Unbiased estimates, [batches] both: the gradient's squared length, and the trace of one sample's covariance."""

    signal: Tensor
    trace: Tensor

    @property
    def scale(self) -> float:
        """The simple gradient noise scale: trace over signal, each averaged first (McCandlish et al. 2018, eq. 2.9).

        A batch so large has an error as long as the gradient; an error of 10 % takes a hundred times as many.
        Infinite where the signal that was measured is not above 0: too few samples to tell.
        """
        signal = self.signal.mean().item()
        return self.trace.mean().item() / signal if signal > 0 else math.inf


def from_halves(first: Any, second: Any, half: int) -> Noise:
    """Signal and noise from the estimates that the two halves of a batch give (lesson 04).

    E[ĝ₁·ĝ₂] = ‖g‖², because independent estimates of the same gradient have only the gradient in common, and
    E‖ĝ₁ - ĝ₂‖² = 2 tr Cov / half.  first, second: [D], or [batches, D] for several batches.  half: samples in each.
    ValueError naming the argument.  McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1, with batch sizes n and 2n.
    """
    first = torch.atleast_2d(check_real("first", first, 1, 2))
    second = check_shape("second", torch.atleast_2d(check_real("second", second, 1, 2)), first.shape)
    apart = (first - second).square().sum(1)
    return Noise((first * second).sum(1), check_count("half", half) * apart / 2)
