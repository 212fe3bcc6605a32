"""Exercises that say what went wrong: an attempt is compared with the right function, and with the usual slips."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pgnotes.classroom.done import note
from pgnotes.classroom.style import BETTER, QUIET, WORSE, beside_bar

MARKS = {"open": ("still open", QUIET), "wrong": ("not yet", WORSE), "right": ("right", BETTER)}


@dataclass(frozen=True)
class Result:
    """What a check found: `status` is "open", "wrong" or "right", `slip` the name of the slip if it is a known one."""

    exercise: str
    status: str
    sentence: str
    slip: str = ""

    def __repr__(self) -> str:
        """One line, for where no HTML is shown."""
        return f"Exercise {self.exercise}, {MARKS[self.status][0]}: {self.sentence}"

    def _repr_html_(self) -> str:
        word, colour = MARKS[self.status]
        head = f'<b style="color:{colour}">Exercise {self.exercise}, {word}</b>'
        return beside_bar(colour, f"{head}<br>{html.escape(self.sentence)}")


@dataclass(frozen=True)
class Exercise:
    """A function the learner writes.

    Call it with the attempt; it returns a Result and remembers it for `pgnotes.progress()`.
    answer: the right function.  cases: tuples of arguments to try.  slips: name -> (a function that makes the slip,
    what to tell who makes it).
    right: the sentence for a right attempt.  tolerance: absolute and relative, in float64.
    """

    number: str
    title: str
    answer: Callable[..., Any]
    cases: tuple[tuple, ...]
    slips: dict[str, tuple[Callable[..., Any], str]]
    right: str
    tolerance: float = 1e-5

    def __call__(self, attempt: Callable[..., Any]) -> Result:
        """Check an attempt; never raises."""
        result = self.judge(attempt)
        note(self.number.split(".")[0].zfill(2), f"exercise {self.number}", result.status)
        return result

    def judge(self, attempt: Callable[..., Any]) -> Result:
        """Compare the attempt with the answer on every case, then with each slip."""
        if not callable(attempt):
            return self.wrong(f"This is {attempt!r}; give the check your function itself, without calling it.")
        given = []
        for case in self.cases:
            try:
                value = attempt(*copy.deepcopy(case))
            except NotImplementedError:
                value = None
            except Exception as error:
                raised = f"For {shown(case)} your function raised {type(error).__name__}: {error}."
                return self.known(attempt) or self.wrong(raised)
            if value is None or value is Ellipsis:
                task = f"{self.title}. Replace the dots by your own code and run the cell again."
                return Result(self.number, "open", task)
            given.append(value)

        faults = map(self.difference, self.cases, given)
        fault = next(filter(None, faults), None)
        if fault is None:
            return Result(self.number, "right", self.right)
        return self.known(attempt) or self.wrong(fault)

    def known(self, attempt: Callable[..., Any]) -> Result | None:
        """The slip that behaves as the attempt does on every case, if there is one."""
        for name, (slip, sentence) in self.slips.items():
            if all(same(outcome(attempt, case), outcome(slip, case), self.tolerance) for case in self.cases):
                return self.wrong(sentence, name)
        return None

    def difference(self, case: tuple, value: Any) -> str | None:
        """What is wrong with the value for one case, in a sentence; None if nothing is."""
        wanted, found = as_tensor(self.answer(*copy.deepcopy(case))), as_tensor(value)
        assert wanted is not None, f"the answer of exercise {self.number} is no number or array of numbers"
        gives = f"For {shown(case)} your function gives"
        if found is None:
            return f"{gives} {value!r}, which is no number or array of numbers."
        if found.shape != wanted.shape:
            return f"{gives} an array of shape {list(found.shape)}; it should have shape {list(wanted.shape)}."
        if not same(found, wanted, self.tolerance):
            return f"{gives} {shown(found)}; it should give {shown(wanted)}."
        return None

    def wrong(self, sentence: str, slip: str = "") -> Result:
        """A Result of that status."""
        return Result(self.number, "wrong", sentence, slip)


def as_tensor(value: Any) -> torch.Tensor | None:
    """A float64 tensor without its gradient, or None for what can't be one."""
    try:
        return torch.as_tensor(value).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        try:
            return torch.stack([torch.as_tensor(v).detach().to(torch.float64) for v in value])
        except (TypeError, ValueError, RuntimeError):
            return None


def outcome(function: Callable[..., Any], case: tuple) -> Any:
    """What a function gives for a case: a tensor, or the type of the exception it raises."""
    try:
        return as_tensor(function(*copy.deepcopy(case)))
    except Exception as error:
        return type(error)


def same(a: Any, b: Any, tolerance: float) -> bool:
    """True for equal shapes and values within the tolerance (NaN equals NaN), or the same exception."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    return a is b and a is not None


def shown(value: Any) -> str:
    """Arguments or numbers in a few characters, as one would type them."""
    if isinstance(value, torch.Tensor):
        return shown(value.tolist())
    if isinstance(value, tuple):
        return ", ".join(shown(v) for v in value)
    if isinstance(value, list):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    text = f"{value:.4g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 90 else f"{text[:60]}… ({len(text)} characters)"
