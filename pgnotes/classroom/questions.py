"""An empty form for an experiment: a claim, a number that it is about, and a rule by which it would be wrong."""

from __future__ import annotations

import html
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from pgnotes.classroom.style import BETTER, ESTIMATE, QUIET, WORSE, beside_bar
from pgnotes.theory.arguments import check_finite
from pgnotes.theory.estimators import mean_and_error

VERDICTS = {"open": QUIET, "wrong": WORSE, "not wrong": BETTER, "undecided": ESTIMATE}


def yes_or_no(said: Any) -> bool | None:
    """True or False, whether Python's, NumPy's, a tensor's or as 1 and 0; None for what is neither."""
    try:
        value = said.item() if hasattr(said, "item") else said
    except (RuntimeError, ValueError):  # more than one entry
        return None
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None


def takes_one(function: Any) -> bool:
    """Whether a function can be called with one argument; True where it does not say."""
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # some of C's functions
        return True
    return True


@dataclass(frozen=True)
class Answer:
    """What an experiment found: `verdict` is one of `VERDICTS`; mean and its standard error over so many seeds."""

    verdict: str
    sentence: str
    mean: float = math.nan
    error: float = math.nan
    seeds: int = 0

    def __repr__(self) -> str:
        """One line, for where no HTML is shown."""
        return f"{self.verdict}: {self.sentence}"

    def _repr_html_(self) -> str:
        return beside_bar(VERDICTS[self.verdict], f"<b>{self.verdict}</b><br>{html.escape(self.sentence)}")


@dataclass(frozen=True)
class Question:
    """A question that can be answered with no (lesson 15). What is left as dots is still open.

    claim: a sentence.  quantity: what is measured, in words and with its unit.  measure: seed -> that number.
    wrong_if: number -> whether a mean like that would refute the claim.  yes, no: a number that would not, and one that
    would; the rule is tried on both before anything is run.
    """

    claim: Any = ...
    quantity: Any = ...
    measure: Any = ...
    wrong_if: Any = ...
    yes: Any = ...
    no: Any = ...

    def run(self, seeds: int | Iterable[int] = 20) -> Answer:
        """Measure on so many seeds, or on these, and hold the rule to the mean and to two standard errors on each side.

        "wrong" or "not wrong" only where the rule says the same of all three; else "undecided".
        ValueError naming the entry for one that cannot be used, such as a rule that no number breaks.
        """
        missing = [field.name for field in fields(self) if self.untouched(getattr(self, field.name))]
        if missing:
            return Answer("open", f"Fill in {', '.join(missing)}.")
        self.check()

        numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
        if len(set(numbers)) < max(2, len(numbers)):
            raise ValueError(f"seeds is {seeds!r}; it must be two or more, and different")
        mean, error = (x.item() for x in mean_and_error([self.measured(seed) for seed in numbers]))
        ends = mean - 2 * error, mean, mean + 2 * error
        found = f"{self.quantity}: {mean:.4g} ± {error:.2g} over {len(numbers)} seeds."
        if error == 0:
            found += " All numbers are the same: does measure use its seed?"
        says = {self.refutes(end) for end in ends}
        if len(says) == 2:
            sentence = f"{found} Between {ends[0]:.4g} and {ends[2]:.4g} the rule says both: more seeds."
            return Answer("undecided", sentence, mean, error, len(numbers))
        verdict = "wrong" if says == {True} else "not wrong"
        return Answer(verdict, f"{found} “{self.claim}”", mean, error, len(numbers))

    @staticmethod
    def untouched(value: Any) -> bool:
        """Whether an entry still has its dots, or an empty text."""
        return value is ... or (isinstance(value, str) and not value.strip(" .…"))

    def check(self) -> None:
        """ValueError naming the entry that cannot be used."""
        for name in ("claim", "quantity"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a text")
        for name in ("measure", "wrong_if"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be a function of one number")
            if not takes_one(getattr(self, name)):
                raise ValueError(f"{name} must take one argument, {'a seed' if name == 'measure' else 'a mean'}")
        yes, no = check_finite("yes", self.yes), check_finite("no", self.no)
        if self.refutes(yes):
            raise ValueError(f"wrong_if refutes {yes:g}, your yes: with this rule the claim could not be right")
        if not self.refutes(no):
            raise ValueError(f"wrong_if does not refute {no:g}, your no: with this rule the claim could not be wrong")

    def refutes(self, number: float) -> bool:
        """What the rule says, if it says yes or no.

        ValueError otherwise.
        """
        said = self.wrong_if(number)
        verdict = yes_or_no(said)
        if verdict is None:
            raise ValueError(f"wrong_if gives {said!r} for {number:g}; it must give True or False")
        return verdict

    def measured(self, seed: int) -> float:
        """The number for a seed, if it is one.

        ValueError otherwise.
        """
        value = self.measure(seed)
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"measure gives {value!r} for seed {seed}; it must give a finite number")
        return number
