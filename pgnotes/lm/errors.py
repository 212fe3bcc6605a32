"""What can go wrong for reasons outside the code: arguments that can't work, and memory that runs out."""

from __future__ import annotations

import contextlib
from types import TracebackType

import torch
from accelerate.utils.memory import should_reduce_batch_size

# What accelerate's list does not know: an address space that is used up, and a full card as cuBLAS and cuDNN report it.
NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)


class BadInputError(ValueError):
    """An argument or a file that can't be used. The message names it; nothing was changed."""


class RewardError(RuntimeError):
    """A reward function raised, or gave something else than one number for each completion.

    The message names function and completion.
    """


def out_of_memory(error: BaseException) -> bool:
    """True if the machine or its GPU ran out of memory, however that is reported."""
    said = isinstance(error, RuntimeError | OSError) and (
        should_reduce_batch_size(error) or any(text in str(error) for text in NO_MEMORY)
    )
    return said or isinstance(error, MemoryError | torch.OutOfMemoryError)


def release_frames(error: BaseException) -> None:
    """Empty the frames of this package and its libraries in a traceback that is about to be shown.

    A notebook keeps the last traceback, which keeps its frames, and these the models: a T4 has no room for them beside
    the next run's.
    Frames of the learner's own code, such as a consumer's, stay as they are, for a debugger.
    """
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in ("pgnotes", "torch", "transformers", "accelerate"):
            with contextlib.suppress(RuntimeError):  # it is still running
                trace.tb_frame.clear()
        trace = trace.tb_next
