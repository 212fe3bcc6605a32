"""A motor that keeps a number near zero: what a gradient uses up first, its exploration or its gain's error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pgnotes.theory.arguments import check_choice, check_positive

HOW = ("plain", "log std", "natural")
GONE = 1e-4  # the share of a std below which next to nothing is left of it


@dataclass(frozen=True)
class Regulator:
    """A linear-quadratic regulator in one dimension (lesson 14; after Peters & Schaal 2006).

    The state drifts and is pushed, x' = x + a + e, with the world's own noise e ~ N(0, `noise`); a step pays
    -(x² + `effort` a²). The policy is a Gaussian, a ~ N(-gain x, std²). J is the mean reward of a step in the long run,
    which exists for gains between 0 and 2: else x runs away.  ValueError naming the argument.
    """

    noise: float = 0.01  # variance of what the world adds to a step
    effort: float = 0.25  # what a squared action costs, where a squared state costs 1

    def __post_init__(self) -> None:
        check_positive("noise", self.noise)
        check_positive("effort", self.effort)

    def spread(self, gain: float, std: float) -> float:
        """E[x²] in the long run: what a step adds, over 1 - (1 - gain)², the share that it loses."""
        check_gain(gain)
        return (check_positive("std", std) ** 2 + self.noise) / (1 - (1 - gain) ** 2)

    def mean_reward(self, gain: float, std: float) -> float:
        """J = -(1 + effort · gain²) E[x²] - effort · std²."""
        return -(1 + self.effort * gain**2) * self.spread(gain, std) - self.effort * std**2

    def gradient(self, gain: float, std: float) -> tuple[float, float]:
        """∂J/∂gain and ∂J/∂std, exact."""
        left, x2 = 1 - gain, self.spread(gain, std)
        lost = 1 - left**2
        by_gain = 2 * x2 * (left * (1 + self.effort * gain**2) / lost - self.effort * gain)
        return by_gain, -2 * std * ((1 + self.effort * gain**2) / lost + self.effort)

    def fisher(self, gain: float, std: float) -> tuple[float, float]:
        """The Fisher information of an action about gain and std, over the states of the long run.

        [by gain, by std]; the entries off the diagonal are 0. The scores are -x z / std and (z² - 1) / std.
        """
        return self.spread(gain, std) / std**2, 2 / std**2

    def best_gain(self) -> float:
        """Of the best policy, which has no spread: where ∂J/∂gain is 0 (the Riccati equation's solution)."""
        worth = (1 + math.sqrt(1 + 4 * self.effort)) / 2  # P = 1 + effort P / (effort + P)
        return worth / (self.effort + worth)

    def direction(self, gain: float, std: float, how: str) -> tuple[float, float]:
        """Where (gain, std) are moved by a small step along the gradient.

        how: "plain", by gain and std; "log std", by gain and log std; "natural", F⁻¹ times the gradient.
        """
        by_gain, by_std = self.gradient(gain, std)
        if check_choice("how", how, HOW) == "natural":
            of_gain, of_std = self.fisher(gain, std)
            return by_gain / of_gain, by_std / of_std
        return by_gain, by_std if how == "plain" else by_std * std**2

    def path(self, how: str, gain: float, std: float, until: float) -> Iterator[tuple[float, float]]:
        """(gain, std) along the gradient in tiny steps: the std moves by 0.1 % and the gain by 0.001 at most.

        It ends where the gain has risen to `until`, or the std has fallen to the share `GONE`.  how: one of `HOW`.
        """
        first = std
        while True:
            yield gain, std
            if gain >= until or std < GONE * first:
                return
            by_gain, by_std = self.direction(gain, std, how)
            step = 1e-3 / max(abs(by_gain), abs(by_std) / std)
            gain, std = gain + step * by_gain, std + step * by_std

    def widths(self, how: str, gain: float, std: float, goals: Sequence[float]) -> list[float]:
        """The std left on `path` where the gain first rises to each of `goals`; 0 where it is gone before that."""
        path = list(self.path(how, gain, std, until=max(goals)))
        return [next((width for reached, width in path if reached >= goal), 0.0) for goal in goals]


def check_gain(gain: float) -> None:
    """ValueError unless the state comes back."""
    if not 0 < gain < 2:
        raise ValueError(f"gain is {gain}; it must lie between 0 and 2, or the state runs away")
