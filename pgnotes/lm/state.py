"""A run's folder: written so that a kill at any moment leaves something to go on from, to the bit."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEEP = 2  # checkpoints
RETRIES = (1.0, 5.0, 20.0)  # seconds to wait before writing again: network drives drop out for a moment
FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """The disk is full; the message says which checkpoint is whole."""


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place and rename it there, so that a reader finds the old text or the new, never half of one."""
    beside = path.with_name(path.name + ".part")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def save_tensors(path: Path, value: Any) -> None:
    """torch.save, all the way to the disk."""
    with open(path, "wb") as file:
        torch.save(value, file)
        file.flush()
        os.fsync(file.fileno())


def fill_beside(place: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `place` with what `fill` writes, or leave it as it was; OSError if the writing fails."""
    beside = place.with_name("part-" + place.name)
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        fill(beside)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own for a failed write
        full = shutil.disk_usage(beside).free < 2**20
        shutil.rmtree(beside, ignore_errors=True)
        if full:
            raise OSError(errno.ENOSPC, "no space left") from error
        raise error if isinstance(error, OSError) else OSError(errno.EIO, str(error)) from error
    shutil.rmtree(place, ignore_errors=True)  # an older model, or a damaged checkpoint that the run has come back to
    os.replace(beside, place)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class RunFolder:
    """`run.json`, `prompts.json`, `log.jsonl`, `times.jsonl`, `checkpoints/`, `model/` and `result.json` under one path."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.writes = True  # False on all processes but the first

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> Any:
        """The JSON file of that name, or None if there is none."""
        return json.loads((self / name).read_text(encoding="utf-8")) if (self / name).is_file() else None

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file at once or not at all."""
        self._guarded(lambda: write_text(self / name, json.dumps(value, indent=1) + "\n"))

    def write_tensors(self, name: str, value: Any) -> None:
        """Write tensors and plain values with torch.save."""
        self._guarded(lambda: save_tensors(self / name, value))

    def append(self, name: str, value: dict) -> None:
        """Add a line to a `.jsonl` file."""

        def add() -> None:
            with open(self / name, "a", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")

        self._guarded(add, retries=())

    def rewind(self, name: str, lines: list[dict]) -> None:
        """Replace a `.jsonl` file by these lines."""
        self._guarded(lambda: write_text(self / name, "".join(json.dumps(line) + "\n" for line in lines)))

    def create(self, run: dict, prompts: list[str]) -> None:
        """Make the folder and write what the run is: its settings and versions, and the prompts, whatever becomes of their source."""
        if self.writes:
            (self / "checkpoints").mkdir(parents=True, exist_ok=True)
        self.write("run.json", run)
        self.write("prompts.json", prompts)

    def finished(self, steps: int) -> dict | None:
        """The result of a run that has done so many steps, or None."""
        result = self.read("result.json")
        return result if result and result["steps"] == steps else None

    def save_model(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write `model/` with save_pretrained."""

        def fill(place: Path) -> None:
            model.save_pretrained(place)
            tokenizer.save_pretrained(place)

        self._guarded(lambda: fill_beside(self / "model", fill))

    def lines(self, name: str) -> list[dict]:
        """The whole lines of a `.jsonl` file; a last line that a kill cut short is left out."""
        text = (self / name).read_text(encoding="utf-8") if (self / name).is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def checkpoints(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted((self / "checkpoints").glob("step-*"))

    def save_checkpoint(self, step: int, payload: dict) -> None:
        """Write a checkpoint beside its place, name its checksum, rename it, and drop all but the newest two."""

        def fill(place: Path) -> None:
            save_tensors(place / "state.pt", payload)
            write_text(place / "sha256", checksum(place / "state.pt"))

        self._guarded(lambda: fill_beside(self / f"checkpoints/step-{step:06d}", fill))
        for old in self.checkpoints()[:-KEEP] if self.writes else ():
            shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> dict | None:
        """The newest checkpoint whose checksum is right; damaged ones are named on stderr. None if there is none."""
        for place in reversed(self.checkpoints()):
            try:
                if checksum(place / "state.pt") != (place / "sha256").read_text(encoding="utf-8"):
                    raise ValueError("its checksum is wrong")
                return torch.load(place / "state.pt", map_location="cpu", weights_only=True)
            except (OSError, ValueError, RuntimeError) as error:
                print(f"pgnotes: checkpoint {place.name} is damaged ({error}); going back to the one before it", file=sys.stderr)
        return None

    def _guarded(self, action: Callable[[], Any], retries: tuple[float, ...] = RETRIES) -> None:
        """Do it; on a full disk stop with a clear sentence, on another fault wait and try again."""
        if not self.writes:
            return
        for pause in (*retries, None):
            try:
                action()
                return
            except OSError as error:
                if error.errno in FULL:
                    kept = self.checkpoints()
                    whole = f"the last good checkpoint is {kept[-1].name}" if kept else "there is no checkpoint yet"
                    raise DiskFullError(f"the disk of {self.path} is full; {whole}; free some space and run again with --resume") from error
                if pause is None:
                    raise
                time.sleep(pause)
