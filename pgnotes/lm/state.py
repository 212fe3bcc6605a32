"""A run's folder: written so that a kill at any moment leaves something to go on from (on a CPU, to the bit)."""

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


class DiskFullError(OSError):
    """The disk is full; the message says which checkpoint is whole."""


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


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

    def lines(self, name: str) -> list[dict]:
        """The whole lines of a `.jsonl` file; a last line that a kill cut short is left out."""
        text = (self / name).read_text(encoding="utf-8") if (self / name).is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def checkpoints(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted((self / "checkpoints").glob("step-*"))

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

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        self.put(name, lambda place: place.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8"))

    def rewind(self, name: str, lines: list[dict]) -> None:
        """Replace a `.jsonl` file by these lines."""
        self.put(name, lambda place: place.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"))

    def append(self, name: str, value: dict) -> None:
        """Add a line to a `.jsonl` file."""

        def add() -> None:
            with open(self / name, "a", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")

        self.guarded(add, retries=())

    def save_model(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write `model/` with save_pretrained."""
        self.put("model", lambda place: (model.save_pretrained(place), tokenizer.save_pretrained(place)))

    def save_checkpoint(self, step: int, payload: dict) -> None:
        """Write a checkpoint and its checksum, and drop all but the newest two."""

        def fill(place: Path) -> None:
            place.mkdir()
            torch.save(payload, place / "state.pt")
            (place / "sha256").write_text(checksum(place / "state.pt"), encoding="utf-8")

        self.put(f"checkpoints/step-{step:06d}", fill)
        for old in self.checkpoints()[:-KEEP] if self.writes else ():
            remove(old)

    def put(self, name: str, fill: Callable[[Path], Any]) -> None:
        """Make the file or folder `name`: filled beside its place, brought to the disk, renamed. A reader finds the old one or the new, never a half."""
        place = self / name
        beside = place.with_name("part-" + place.name)

        def make() -> None:
            remove(beside)
            beside.parent.mkdir(parents=True, exist_ok=True)
            fill(beside)
            for path in [beside] if beside.is_file() else beside.iterdir():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            if place.is_dir():  # an older model, or a damaged checkpoint that the run has come back to
                remove(place)
            os.replace(beside, place)

        try:
            self.guarded(make)
        finally:
            if self.writes:
                remove(beside)

    def guarded(self, action: Callable[[], Any], retries: tuple[float, ...] = RETRIES) -> None:
        """Do it; on a full disk stop with a clear sentence, on another fault wait and try again."""
        for pause in (*retries, None) if self.writes else ():
            try:
                action()
                return
            except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own for a failed write
                if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or shutil.disk_usage(self.path).free < 2**20:
                    kept = self.checkpoints()
                    whole = f"the last good checkpoint is {kept[-1].name}" if kept else "there is no checkpoint yet"
                    raise DiskFullError(f"the disk of {self.path} is full; {whole}; free some space and run again with --resume") from error
                if pause is None:
                    raise error if isinstance(error, OSError) else OSError(errno.EIO, str(error)) from error
                time.sleep(pause)
