"""What every function of `theory` asks of its arguments; each fault is one sentence that names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import torch
from torch import Tensor


def check_real(name: str, value: Any, *dims: int) -> Tensor:
    """`value` as a float64 tensor with one of these numbers of axes, gradients kept.

    ValueError naming `name` for something that is no array of real numbers, another number of axes, an empty one, or a
    number that is not finite.
    """
    tensor = check_array(name, value)
    if tensor.dim() not in dims or tensor.numel() == 0:
        axes = " or ".join(map(str, dims))
        raise ValueError(f"{name} has shape {list(tensor.shape)}; it must have {axes} axes, and not be empty")
    if not tensor.isfinite().all():
        raise ValueError(f"{name} holds a number that is not finite")
    return tensor


def check_array(name: str, value: Any) -> Tensor:
    """`value` as a float64 tensor of any shape, gradients kept.

    ValueError naming `name` for something that is no array of real numbers.
    """
    if "complex" in str(getattr(value, "dtype", "")):  # a cast would drop the imaginary part
        raise ValueError(f"{name} holds complex numbers; they must be real")
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} is {value!r}; it must be an array of numbers") from error


def check_distributions(name: str, tensor: Tensor) -> Tensor:
    """`tensor`, if each row along its last axis is a distribution: no number below 0, adding up to 1.

    ValueError naming `name` otherwise.
    """
    if (tensor < 0).any() or ((tensor.sum(-1) - 1).abs() > 5e-7).any():
        raise ValueError(f"{name} must hold probabilities: none below 0, each row adding up to 1")
    return tensor


def check_indices(name: str, value: Any, stop: int, dim: int = 1) -> Tensor:
    """`value` as a tensor of `dim` axes of whole numbers in [0, stop), at least one.

    ValueError naming `name` otherwise.
    """
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} is {value!r}; it must be an array of whole numbers") from error

    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if tensor.dim() != dim or not whole or tensor.numel() == 0:
        raise ValueError(
            f"{name} has shape {list(tensor.shape)} and type {tensor.dtype}; "
            f"it must have {dim} axes of whole numbers, and not be empty"
        )

    tensor = tensor.long()
    smallest, largest = int(tensor.min()), int(tensor.max())
    if smallest < 0 or largest >= stop:
        raise ValueError(f"{name} must lie between 0 and {stop - 1}; it holds {smallest} to {largest}")
    return tensor


def check_numbers(name: str, value: Any, *shapes: Iterable[int]) -> Tensor:
    """`value`, if it is a tensor of real numbers, not empty, with one of `shapes` (any, if none is given).

    It keeps its dtype. ValueError naming `name` otherwise. Does not look at the numbers themselves.
    """
    if not isinstance(value, Tensor) or value.is_complex() or value.dtype == torch.bool:
        raise ValueError(f"{name} is {kind_of(value)}; it must be a tensor of real numbers")
    return check_shape(name, value, *shapes)


def check_booleans(name: str, value: Any, *shapes: Iterable[int]) -> Tensor:
    """`value` as a boolean tensor, not empty, with one of `shapes` (any, if none is given).

    It is one already, or holds zeros and ones. ValueError naming `name` otherwise.
    """
    is_boolean = isinstance(value, Tensor) and (value.dtype == torch.bool or ((value == 0) | (value == 1)).all())
    if not is_boolean:
        raise ValueError(f"{name} is {kind_of(value)}; it must be a tensor of True and False, or of 1 and 0")
    return check_shape(name, value, *shapes).bool()


def kind_of(value: Any) -> str:
    """What a value is, in two or three words."""
    return f"a tensor of type {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def check_shape(name: str, tensor: Tensor, *shapes: Iterable[int]) -> Tensor:
    """`tensor`, if it is not empty and has one of `shapes` (any, if none is given).

    ValueError naming `name` otherwise.
    """
    allowed = [list(shape) for shape in shapes]
    if allowed and list(tensor.shape) not in allowed:
        raise ValueError(f"{name} has shape {list(tensor.shape)}; it must be {' or '.join(map(str, allowed))}")
    if tensor.numel() == 0:
        raise ValueError(f"{name} has shape {list(tensor.shape)}; it must not be empty")
    return tensor


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value`, if it is one of these words.

    ValueError naming `name` and listing them otherwise.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
    return value


def check_generator(name: str, value: Any) -> torch.Generator:
    """`value`, if it is a generator of random numbers: with none, torch would draw from its global one.

    ValueError naming `name` otherwise.
    """
    if not isinstance(value, torch.Generator):
        raise ValueError(f"{name} is {value!r}; it must be a torch.Generator, such as torch.Generator().manual_seed(0)")
    return value


def check_positive(name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number above 0.

    ValueError naming `name` otherwise.
    """
    number = check_finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} is {value!r}; it must be above 0")
    return number


def check_between(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float, if it is a number in [low, high].

    ValueError naming `name` otherwise.
    """
    number = check_finite(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} is {value!r}; it must lie between {low:g} and {high:g}")
    return number


def check_finite(name: str, value: Any) -> float:
    """`value` as a float, if it is a finite number, which no text and no truth value is.

    ValueError naming `name` otherwise.
    """
    try:
        if isinstance(value, str | bool):
            raise TypeError(type(value).__name__)
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} is {value!r}; it must be a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r}; it must be finite")
    return number


def check_count(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int, if it is a whole number of at least `least`.

    ValueError naming `name` otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)
