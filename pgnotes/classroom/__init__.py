"""What the learner touches: pictures, progress, the environment check."""

from collections.abc import Callable


def __getattr__(name: str) -> Callable:
    """`classroom.figure`, imported on first use, so that `doctor` runs where matplotlib is missing."""
    if name == "figure":
        from pgnotes.classroom.style import figure

        return figure
    raise AttributeError(f"pgnotes.classroom has no attribute {name!r}")
