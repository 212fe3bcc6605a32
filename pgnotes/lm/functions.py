"""Functions of the learner's own: read from a file, and known again by their text."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path

from pgnotes.lm.errors import BadInputError
from pgnotes.lm.tasks import Task


def load_function(place: str) -> tuple[Callable, str]:
    """The function named "file.py:function", and the SHA-256 of its file.  BadInputError if there is none."""
    file, _, name = place.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file() or path.suffix != ".py":
        raise BadInputError(f"{place!r} names no Python file here; give file.py:function")
    module = types.ModuleType(path.stem)
    loader = SourceFileLoader(path.stem, str(path))
    try:
        loader.exec_module(module)
    except Exception as error:  # it is the learner's file, and may fail in any way
        raise BadInputError(f"{file} can't be run: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        known = ", ".join(key for key, value in vars(module).items() if inspect.isfunction(value)) or "none"
        raise BadInputError(f"{file} has no function {name!r}; its functions: {known}")
    return getattr(module, name), hashlib.sha256(path.read_bytes()).hexdigest()


def source_hash(task: Task) -> str:
    """The SHA-256 of a task's reward function as it is written, or of its class; "" where there is no source."""
    try:
        text = inspect.getsource(getattr(task, "function", type(task)))
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()
