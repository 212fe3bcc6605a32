"""What a function gave, on its way out of the sandbox: as JSON, never as a pickle, which could run code here."""

from __future__ import annotations

import builtins
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from pgnotes.classroom.checks import NoGradientError


class Foreign:
    """In the place of a value of a type that no exercise asks for; it shows what that one looked like."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def packed(value: Any) -> Any:
    """A value as plain JSON: a pair of a kind and what belongs to it."""
    if value is Ellipsis:
        return ["dots"]
    if value is None or isinstance(value, bool | str):
        return ["plain", value]
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, torch.Tensor):
        kind, shape = str(value.dtype).removeprefix("torch."), list(value.shape)
        return ["tensor", kind, shape, flat(value.detach().cpu()), value.requires_grad]
    if isinstance(value, np.ndarray | np.generic):
        return ["array", packed(torch.as_tensor(np.array(value)))]
    if isinstance(value, Fraction):
        return ["fraction", hex(value.numerator), hex(value.denominator)]
    if isinstance(value, list | tuple):
        return [type(value).__name__ if type(value) in (list, tuple) else "list", [packed(v) for v in value]]
    return ["foreign", repr(value)[:200]]


def flat(value: torch.Tensor) -> list:
    """A tensor's numbers in a row, exact."""
    wide = value.to(torch.float64) if value.dtype.is_floating_point else value
    return [v.hex() if isinstance(v, float) else v for v in wide.flatten().tolist()]


def unpacked(given: Any) -> Any:
    """The value again.  ValueError, TypeError or KeyError for what `packed` never gives."""
    kind, *rest = given
    if kind == "plain":
        return rest[0] if rest[0] is None or isinstance(rest[0], bool | str) else Foreign("?")
    if kind == "dots":
        return Ellipsis
    if kind == "int":
        return int(rest[0], 16)
    if kind == "float":
        return float.fromhex(rest[0])
    if kind == "tensor":
        dtype, shape, numbers, with_gradient = rest
        wanted = getattr(torch, dtype)
        if not isinstance(wanted, torch.dtype):
            raise ValueError("no type of a tensor")
        row = [float.fromhex(n) if isinstance(n, str) else n for n in numbers]
        return torch.tensor(row, dtype=wanted).reshape(shape).requires_grad_(with_gradient is True)
    if kind == "array":
        return unpacked(rest[0]).numpy()
    if kind == "fraction":
        return Fraction(int(rest[0], 16), int(rest[1], 16))
    if kind in ("list", "tuple"):
        return [unpacked(v) for v in rest[0]] if kind == "list" else tuple(unpacked(v) for v in rest[0])
    return Foreign(str(rest[0])[:200])


def packed_error(error: BaseException) -> list:
    """An exception: the name of its type, and what it says."""
    return [type(error).__name__, str(error)[:500]]


def unpacked_error(name: str, text: str) -> Exception:
    """An exception of the same name, so that an attempt that fails as a slip does is known by it."""
    if name == "NoGradientError":
        return NoGradientError(text)
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            return known(text)
        except TypeError:  # UnicodeDecodeError and its like want more
            pass
    return type(str(name)[:60], (Exception,), {})(text)
