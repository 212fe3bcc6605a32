"""A run's folder: written so that a kill at any moment leaves something to go on from (on a CPU, to the bit)."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.errors import BadInputError

KEEP = 2  # checkpoints
RETRIES = (1.0, 5.0, 20.0)  # seconds to wait before writing again: network drives drop out for a moment
FULL = (errno.ENOSPC, errno.EDQUOT)
PASSING = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.ENOTCONN)  # faults that may be over in a moment
if sys.platform == "win32":
    PASSING += (errno.EACCES,)  # a virus scanner has the file open


class DiskFullError(OSError):
    """The disk is full; the message says which checkpoint is whole."""


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest above it that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def finite(value: Any) -> Any:
    """The same with None for numbers that are not finite, which JSON does not have: a norm that overflowed, a NaN."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class RunFolder:
    """A run under one path: run.json, prompts.json, log.jsonl, times.jsonl, checkpoints/, model/, result.json."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.writes = True  # False on all processes but the first
        self.keeps_checkpoints = True  # False for a folder that goes with this Python
        self.lock = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> Any:
        """The JSON file of that name, or None if there is none.  BadInputError, naming it, if it is damaged."""
        if not (self / name).is_file():
            return None
        try:
            return json.loads((self / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadInputError(
                f"{self / name} is empty or damaged ({error}); restore it, or choose another folder"
            ) from error

    def read_run(self) -> dict | None:
        """`run.json`: "config" (the settings), "processes" and "versions". None if there is no run.

        BadInputError if it is something else.
        """
        stored = self.read("run.json")
        if stored is None:
            return None
        if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
            raise BadInputError(
                f"{self / 'run.json'} does not hold the settings of a run; restore it, or choose another folder"
            )
        return {"processes": 1} | stored  # the first versions did not say how many

    def lines(self, name: str) -> list[dict]:
        """The whole lines of a `.jsonl` file; a last line that a kill cut short is left out.

        BadInputError if another is damaged.
        """
        text = (self / name).read_text(encoding="utf-8", errors="replace") if (self / name).is_file() else ""
        whole = [line for line in text.split("\n")[:-1] if line.strip("\0 ")]
        try:
            return [json.loads(line) for line in whole]
        except ValueError as error:
            raise BadInputError(
                f"{self / name} has a damaged line ({error}); restore it, or choose another folder"
            ) from error

    def checkpoints(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(place for place in (self / "checkpoints").glob("step-*") if place.is_dir())

    def load_checkpoint(self) -> dict | None:
        """The newest checkpoint whose checksum is right, or None if there is none.

        Damaged ones are named on stderr, and removed.
        BadInputError if all are damaged: to start from nothing would throw the run away.
        """
        damaged = []
        for place in reversed(self.checkpoints()):
            try:
                if checksum(place / "state.pt") != (place / "sha256").read_text(encoding="utf-8"):
                    raise ValueError("its checksum is wrong")
                state = torch.load(place / "state.pt", map_location="cpu", weights_only=True)
            except (OSError, ValueError, RuntimeError) as error:
                damaged.append(place)
                print(
                    f"pgnotes: checkpoint {place.name} is damaged ({error}); going back to the one before it",
                    file=sys.stderr,
                )
                continue
            for useless in (*damaged, *(self / "checkpoints").glob("part-*")) if self.writes else ():
                remove(useless)
            return state
        if damaged:
            raise BadInputError(
                f"the run in {str(self.path)!r} can't go on: "
                f"{' and '.join(place.name for place in reversed(damaged))} are damaged. "
                "Nothing was changed; restore one, or delete checkpoints/ to start again from step 0"
            )
        return None

    # who may write

    def entries(self) -> list[str]:
        """The names of what is in the folder, hidden files left out; none if there is no folder."""
        if not self.path.is_dir():
            return []
        return sorted(place.name for place in self.path.iterdir() if not place.name.startswith("."))

    def drop(self, *names: str) -> None:
        """Remove files that no longer hold."""
        for name in names if self.writes else ():
            remove(self / name)

    def check_writable(self) -> None:
        """BadInputError, with the system's reason, if nothing can be written in this folder; leaves no trace."""
        nearest = nearest_existing(self.path)
        if not nearest.is_dir():
            raise BadInputError(f"out is {str(self.path)!r}, but {str(nearest)!r} is a file; name a folder")
        made = []
        try:
            for place in reversed([self.path, *self.path.parents]):
                if not place.is_dir():
                    place.mkdir()
                    made.append(place)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise BadInputError(
                f"out is {str(self.path)!r}, where nothing can be written: {error.strerror or error}"
            ) from error
        finally:
            for place in reversed(made):
                place.rmdir()

    def acquire(self) -> None:
        """Take the folder for this process until `release`, or until the process ends.

        BadInputError if another has it.
        """
        if self.lock is not None or not self.writes:
            return
        lock = filelock.FileLock(self / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise BadInputError(
                f"out is {str(self.path)!r}, where another process is training at this moment; "
                "wait for it, stop it, or choose another folder"
            ) from error
        except (OSError, NotImplementedError):
            return  # a drive that knows no locks
        self.lock = lock

    def release(self) -> None:
        """Let others have the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    # what is written

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file.  ValueError for a number that is not finite, which JSON does not have."""
        text = json.dumps(value, indent=1, allow_nan=False) + "\n"
        self.put(name, lambda place: place.write_text(text, encoding="utf-8"))

    def rewind(self, name: str, lines: list[dict]) -> None:
        """Replace a `.jsonl` file by these lines."""
        text = "".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in lines)
        self.put(name, lambda place: place.write_text(text, encoding="utf-8"))

    def append(self, name: str, value: dict) -> None:
        """Add a line to a `.jsonl` file.  ValueError for a number that is not finite."""
        line = json.dumps(value, allow_nan=False) + "\n"

        def add() -> None:
            with open(self / name, "a", encoding="utf-8") as file:
                file.write(line)

        self.guarded(add, retries=())

    def save_model(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write `model/` with save_pretrained."""
        self.put("model", lambda place: (model.save_pretrained(place), tokenizer.save_pretrained(place)))

    def save_checkpoint(self, step: int, payload: dict) -> None:
        """Write a checkpoint and its checksum.

        The oldest goes first: at no time are there more than two, the half-written one included.
        """
        if not self.keeps_checkpoints:
            return

        def fill(place: Path) -> None:
            place.mkdir()
            torch.save(payload, place / "state.pt")
            (place / "sha256").write_text(checksum(place / "state.pt"), encoding="utf-8")

        for old in self.checkpoints()[: 1 - KEEP] if self.writes else ():
            remove(old)
        self.put(f"checkpoints/step-{step:06d}", fill)

    def put(self, name: str, fill: Callable[[Path], Any]) -> None:
        """Make the file or folder `name`: filled beside its place, brought to the disk, renamed.

        A reader finds the old one or the new, never a half. Where `name` is a link, what it points to is made.
        """
        place = (self / name).resolve()
        beside = place.with_name("part-" + place.name)

        def make() -> None:
            remove(beside)
            beside.parent.mkdir(parents=True, exist_ok=True)
            fill(beside)
            for path in [beside] if beside.is_file() else beside.rglob("*"):
                if path.is_file():
                    with open(path, "rb+") as file:
                        os.fsync(file.fileno())
            # An older model, or a damaged checkpoint that the run has come back to
            if place.is_dir() or beside.is_dir():
                remove(place)
            os.replace(beside, place)

        try:
            self.guarded(make)
        finally:
            if self.writes:
                remove(beside)

    def guarded(self, action: Callable[[], Any], retries: tuple[float, ...] = RETRIES) -> None:
        """Do it; on a full disk stop with a clear sentence, on a fault that may pass wait and try again."""
        for pause in (*retries, None) if self.writes else ():
            try:
                action()
                return
            # Torch and safetensors have errors of their own for a failed write
            except (OSError, RuntimeError, SafetensorError) as error:
                number = getattr(error, "errno", None)
                if number in FULL or shutil.disk_usage(nearest_existing(self.path)).free < 2**20:
                    kept = self.checkpoints()
                    whole = f"the last good checkpoint is {kept[-1].name}" if kept else "there is no checkpoint yet"
                    raise DiskFullError(
                        f"the disk of {self.path} is full; {whole}; free some space and run again with --resume"
                    ) from error
                if pause is None or (number is not None and number not in PASSING):
                    raise error if isinstance(error, OSError) else OSError(errno.EIO, str(error)) from error
                time.sleep(pause)
