"""pgnotes: policy gradients, from a softmax bandit to GRPO on a language model. Sub-packages load when they are used."""

import importlib
from types import ModuleType

__version__ = "0.1.0"
_ROOMS = ("theory", "lm", "classroom")


def __getattr__(name: str) -> ModuleType:
    """Import a sub-package on first use, so that `import pgnotes` itself costs nothing."""
    if name in _ROOMS:
        return importlib.import_module(f"pgnotes.{name}")
    raise AttributeError(f"pgnotes has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names above, for completion."""
    return ["__version__", *_ROOMS]
