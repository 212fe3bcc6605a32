"""pgnotes: policy gradients, from a softmax bandit to GRPO on a language model.

Sub-packages load when they are used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"
_ROOMS = ("theory", "lm", "classroom")
_CALLS = {
    "start": "pgnotes.classroom.session",
    "show": "pgnotes.classroom.session",
    "progress": "pgnotes.classroom.done",
    "quiz": "pgnotes.classroom.quiz",
    "receipt": "pgnotes.classroom.receipts",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import pgnotes` itself costs nothing."""
    if name in _ROOMS:
        return importlib.import_module(f"pgnotes.{name}")
    if name in _CALLS:
        return getattr(importlib.import_module(_CALLS[name]), name)
    raise AttributeError(f"pgnotes has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names above, for completion."""
    return ["__version__", *_ROOMS, *_CALLS]
