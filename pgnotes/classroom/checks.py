"""Exercises that say what went wrong: an attempt is compared with the right function, and with the usual slips."""

from __future__ import annotations

import copy
import dis
import html
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgnotes.classroom.done import note
from pgnotes.classroom.style import BETTER, MUTED, WORSE, beside_bar

MARKS = {"open": ("still open", MUTED), "wrong": ("not yet", WORSE), "right": ("right", BETTER)}
SHORT = 12  # numbers that are shown whole; of more, only the place that differs
STUB = {"RESUME", "NOP", "CACHE", "POP_TOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}  # what `...` compiles to
NO_RETURN = "Your function gives nothing back: is its `return` missing? (What is printed is not returned.)"
BACKWARD = "Return the loss, and don't call `backward()` on it: the check differentiates it by itself."
OTHER_TYPE = (
    "The arguments are float64: make what you create the same, as in torch.eye(K, dtype=x.dtype), "
    "or turn it with .to(x.dtype)."
)
HELP = {  # parts of what torch says, and what it means here
    "not numpy.ndarray": "A tensor is asked for: torch.from_numpy(…).",
    "you can only change requires_grad": "A tensor that was computed is no leaf: take its .detach().",
    "is ambiguous": "On tensors write & and | (each comparison in brackets), torch.where for `if`, "
    "torch.minimum for `min`.",
    "must match the size": "Do the shapes fit? A sum over an axis drops it, unless you write keepdim=True; d[:, None] "
    "makes a column of a vector.",
    "must be Tensor": "Between a tensor and a number write w.clamp(max=c) or w.clamp(min=c).",
    "invalid combination": "Between a tensor and a number write w.clamp(max=c) or w.clamp(min=c).",
    "math domain error": "Here is no logarithm: which case has to be answered by itself, before?",
    "negative values": "Here is no factorial: which case has to be answered by itself, before?",
    "Dimension out of range": "A tensor of shape [n] has one axis, which is dim=0 and dim=-1.",
    "Bool": "True and False have no mean: turn them into numbers first, with .double().",
    "same dtype": OTHER_TYPE,
    "scalar type": OTHER_TYPE,
    "double !=": OTHER_TYPE,
    "!= double": OTHER_TYPE,
    "with a bool tensor": "In place of 1 − mask write ~mask, or 1 − mask.double(); "
    "in place of (a == b) − p write float(a == b) − p.",
    "on a bool tensor": "To make signs of True and False write torch.where(mask, 1.0, -1.0).",
    "out of bounds": "Places are counted from 0: the last of n is at n − 1.",
    "AssertionError": "Where a test is asked for, return False in place of a failed assert.",
}
NO_GRADIENT = (
    "No gradient flows from what you return: were the arguments detached, or turned into plain numbers "
    "(`.item()`, `float()`, NumPy)?"
)


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


class NoGradientError(ValueError):
    """A loss from which no gradient flows."""


@dataclass(frozen=True)
class Exercise:
    """A function the learner writes.

    Call it with the attempt; it returns a Result and remembers it for `pgnotes.progress()`.
    answer: the right function.  cases: tuples of arguments to try.  slips: name -> (a function that makes the slip,
    what to tell who makes it).
    right: the sentence for a right attempt.  tolerance: absolute and relative, in float64.
    gradient_of: the places of the arguments by which a loss is differentiated. If there are any, these gradients are
    compared, one after the other, and the loss's own value is not looked at.
    fault: (case, value) -> what is wrong with the value in a sentence, or None; for exercises without one right value,
    in place of a comparison with the answer's.
    """

    number: str
    title: str
    answer: Callable[..., Any]
    cases: tuple[tuple, ...]
    slips: dict[str, tuple[Callable[..., Any], str]]
    right: str
    tolerance: float = 1e-5
    gradient_of: tuple[int, ...] = ()
    fault: Callable[[tuple, Any], str | None] | None = None

    def __call__(self, attempt: Callable[..., Any]) -> Result:
        """Check an attempt; never raises."""
        result = self.judge(attempt)
        note(self.lesson, f"exercise {self.number}", result.status, result.slip, result.sentence)
        return result

    def judge(self, attempt: Callable[..., Any]) -> Result:
        """Compare the attempt with the answer on every case, then with each slip."""
        if not callable(attempt):
            return self.wrong(f"This is {attempt!r}; give the check your function itself, without calling it.")
        given = []
        for case in self.cases:
            try:
                value = self.run(attempt, case)
            except NotImplementedError:
                return self.untouched()
            except NoGradientError as error:
                return self.known(attempt) or self.wrong(str(error))
            except Exception as error:
                said = f"{type(error).__name__}: {error}".rstrip(":. ")
                advice = next((f" {advice}" for part, advice in HELP.items() if part in said), "")
                raised = f"For {self.example(case)} your function raised {said}.{advice}"
                return self.known(attempt) or self.wrong(raised)
            if value is Ellipsis or (value is None and is_stub(attempt)):
                return self.untouched()
            if value is None:
                branch = f"For {self.example(case)} your function gives nothing back: does every branch `return`?"
                return self.wrong(branch if given else NO_RETURN)
            given.append(value)

        faults = map(self.fault or self.difference, self.cases, given)
        fault = next(filter(None, faults), None)
        if fault is None:
            return Result(self.number, "right", self.right)
        return self.known(attempt) or self.wrong(fault)

    def run(self, function: Callable[..., Any], case: tuple) -> Any:
        """What a function returns for a case; its gradients where they are what counts.

        NoGradientError if it has none.
        """
        if not self.gradient_of:
            return function(*copy.deepcopy(case))

        arguments = list(copy.deepcopy(case))
        leaves = [arguments[place].requires_grad_() for place in self.gradient_of]
        for place, leaf in zip(self.gradient_of, leaves, strict=True):
            arguments[place] = leaf.clone()  # which may be changed in place
        try:
            loss = function(*arguments)
        except RuntimeError as error:
            if "requires grad" in str(error):  # what NumPy's conversion says
                raise NoGradientError(NO_GRADIENT) from None
            raise
        if loss is None or loss is Ellipsis:
            return loss
        if isinstance(loss, list | tuple):
            raise NoGradientError(f"Your loss is a {type(loss).__name__}; return the tensor itself.")
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            raise NoGradientError(NO_GRADIENT)
        if loss.numel() != 1:
            raise NoGradientError(f"Your loss has shape {list(loss.shape)}; a loss is one number.")
        try:
            gradients = torch.autograd.grad(loss.sum(), leaves, allow_unused=True, materialize_grads=True)
        except RuntimeError as error:
            raise NoGradientError(BACKWARD if "second time" in str(error) else str(error)) from None
        return gradients[0] if len(gradients) == 1 else torch.cat([gradient.flatten() for gradient in gradients])

    def known(self, attempt: Callable[..., Any]) -> Result | None:
        """The slip that behaves as the attempt does on every case, if there is one."""
        for name, (slip, sentence) in self.slips.items():
            if all(same(self.outcome(attempt, case), self.outcome(slip, case), self.tolerance) for case in self.cases):
                return self.wrong(sentence, name)
        return None

    def outcome(self, function: Callable[..., Any], case: tuple) -> Any:
        """What a function gives for a case: a tensor, the type of its exception, or why it has no gradient."""
        try:
            return as_tensor(self.run(function, case))
        except NoGradientError as error:
            return str(error)
        except Exception as error:
            return type(error)

    def difference(self, case: tuple, value: Any) -> str | None:
        """What is wrong with the value for one case, in a sentence; None if nothing is."""
        wanted, found = as_tensor(self.run(self.answer, case)), as_tensor(value)
        assert wanted is not None, f"the answer of exercise {self.number} is no number or array of numbers"
        example, gives = f"For {self.example(case)}", "your function gives"
        if self.gradient_of:
            leaves = f" in {' and '.join(self.leaves)}, end to end," if len(self.gradient_of) > 1 else ""
            gives = f"the gradient of your loss{leaves} is"
        if found is None:
            return f"{example} your function gives {value!r}, which is no number or array of numbers."
        if found.shape != wanted.shape and not (wanted.ndim == 0 and found.numel() == 1):
            return f"{example} {gives} {form(found)}; it should be {form(wanted)}."
        if same(found.reshape(wanted.shape), wanted, self.tolerance):
            return None
        if wanted.numel() <= SHORT:
            mine, right = apart(found.reshape(wanted.shape), wanted)
            return f"{example} {gives} {mine}; it should be {right}."

        # of a long one, the first place that differs
        close = torch.isclose(found, wanted, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)
        places = (~close).nonzero()
        mine, right = apart(found[tuple(places[0])], wanted[tuple(places[0])])
        place = self.leaf(case, int(places[0])) if len(self.gradient_of) > 1 else f"at {places[0].tolist()}"
        where = f"the first {place}, where it has {mine} and should have {right}"
        result = "the gradient of your loss" if self.gradient_of else "your result"
        return f"{example} {result} differs at {len(places)} of {wanted.numel()} places, {where}."

    @property
    def leaves(self) -> list[str]:
        """The names of the arguments by which a loss is differentiated, as the title has them."""
        names = self.title[self.title.index("(") + 1 : self.title.index(")")].split(", ")
        return [names[argument] for argument in self.gradient_of]

    def leaf(self, case: tuple, place: int) -> str:
        """Of a place in the gradients laid end to end: in which argument it is, and where there."""
        for argument, name in zip(self.gradient_of, self.leaves, strict=True):
            values = case[argument]
            if place < values.numel():
                return f"in {name} at {[int(i) for i in np.unravel_index(place, values.shape)]}"
            place -= values.numel()
        raise AssertionError(f"exercise {self.number} has no such place")

    def example(self, case: tuple) -> str:
        """A case in few characters: its numbers, or where to find them if they are many."""
        if sum(count(argument) for argument in case) <= SHORT:
            return shown(case, floor=0.0)
        number = next(i for i, known in enumerate(self.cases) if known is case)
        return f"the arguments in check.{self.name}.cases[{number}]"

    @property
    def lesson(self) -> str:
        """Its lesson's number, such as "05"."""
        return self.number.split(".")[0].zfill(2)

    @property
    def function(self) -> str:
        """The name of the function to write, by which a hand-in is known: the title's."""
        return self.title.removeprefix("Write ").partition("(")[0]

    @property
    def name(self) -> str:
        """What it is called in its lesson's module, which a lesson imports as `check`."""
        module = import_module(f"pgnotes.classroom.exercises.lesson_{self.lesson}")
        named = {value.number: name for name, value in vars(module).items() if isinstance(value, Exercise)}
        return named.get(self.number, "…")

    def wrong(self, sentence: str, slip: str = "") -> Result:
        """A Result of that status."""
        return Result(self.number, "wrong", sentence, slip)

    def untouched(self) -> Result:
        """The Result for a function whose dots still stand."""
        task = f"{self.title}. Replace the dots by your own code and run the cell again."
        return Result(self.number, "open", task)


def is_stub(function: Callable[..., Any]) -> bool:
    """Whether a function's body is nothing but dots and a docstring."""
    code = getattr(function, "__code__", None)
    return code is not None and {instruction.opname for instruction in dis.get_instructions(code)} <= STUB


def as_tensor(value: Any) -> Tensor | None:
    """A float64 tensor without its gradient, or None for what can't be one."""
    value = value.copy() if isinstance(value, np.ndarray) else value  # a view that can't be written would warn
    if isinstance(value, Fraction):
        return torch.tensor(float(value), dtype=torch.float64)
    try:
        return torch.as_tensor(value).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        try:
            return torch.stack([torch.as_tensor(v).detach().to(torch.float64) for v in value])
        except (TypeError, ValueError, RuntimeError):
            return None


def same(a: Any, b: Any, tolerance: float) -> bool:
    """True for equal shapes and values within the tolerance (NaN equals NaN), or the same failure."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
    return type(a) is type(b) and a is not None and a == b


def count(value: Any) -> int:
    """How many numbers an argument holds."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, list | tuple):
        return sum(count(v) for v in value)
    return 1


def form(value: Tensor) -> str:
    """Its shape in words."""
    return f"an array of shape {list(value.shape)}" if value.ndim else "one number"


def apart(a: Tensor, b: Tensor) -> tuple[str, str]:
    """Both as they would be typed, with as many digits as it takes to tell them apart, four or more."""
    for digits in range(4, 17):
        texts = shown(a, digits), shown(b, digits)
        if texts[0] != texts[1]:
            return texts
    return texts


def shown(value: Any, digits: int = 4, floor: float = 1e-12) -> str:
    """Arguments or numbers in a few characters, as one would type them; 0 for numbers below `floor` in size."""
    if isinstance(value, Tensor):
        return shown(value.tolist(), digits, floor)
    if isinstance(value, tuple):
        return ", ".join(shown(v, digits, floor) for v in value)
    if isinstance(value, list):
        return "[" + ", ".join(shown(v, digits, floor) for v in value) + "]"
    if isinstance(value, float):
        return f"{0.0 if abs(value) < floor else value:.{digits}g}"
    text = repr(value)
    return text if len(text) <= 90 else f"{text[:60]}… ({len(text)} characters)"
