"""A folder of handed-in notebooks, shared out among warm servers, and the tables that come of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from pgnotes.classroom.recheck import server
from pgnotes.classroom.recheck.sandbox import Limits


def notebooks(folder: Path) -> list[Path]:
    """The notebooks handed in, at whatever depth, without Jupyter's own copies."""
    return sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


class Worker:
    """A warm server in a process of its own, with an environment that holds nothing of this one's."""

    def __init__(self, folder: Path, limits: Limits, guard: bool):
        self.folder, self.limits, self.guard = folder, limits, guard
        self.place = tempfile.TemporaryDirectory(prefix="pgnotes-recheck-")
        self.why = ""
        self.start()

    def start(self) -> None:
        """Start the server and wait until it is warm."""
        command = [sys.executable, "-P", "-m", server.__name__]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self.place.name,
            env=environment(self.place.name),
            text=True,
            start_new_session=True,
        )
        how = {"folder": str(self.folder), "guard": self.guard}
        first = self.ask(how | {"seconds": self.limits.seconds, "memory": self.limits.memory})
        if first is None:
            raise OSError("the process that checks notebooks does not start; what it said stands above")
        self.why = first["guard"]

    def ask(self, question: object) -> dict | None:
        """The server's answer, or None where it died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return None

    def check(self, path: Path) -> dict:
        """A notebook's row. A server that dies over it costs this row, and is started anew."""
        row = self.ask(str(path))
        if row is None:
            self.stop()
            self.start()
            row = {"lesson": "", "exercises": {}, "remarks": [], "sha256": ""}
            row["fault"] = "the process that checks notebooks died over it; look at this one by hand"
        return row

    def stop(self) -> None:
        """End the server: it goes when nobody asks any more, or is made to."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.process.communicate(timeout=10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def close(self) -> None:
        """End the server, and remove what it worked in."""
        self.stop()
        self.place.cleanup()


def environment(home: str) -> dict[str, str]:
    """What a server knows of its surroundings: where Python, the package and its own folder are."""
    package = str(Path(__file__).parents[3])
    return {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "PYTHONPATH": package,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": home,
        "IPYTHONDIR": home,
    }


def recheck(
    folder: Path,
    limits: Limits | None = None,
    workers: int = 2,
    guard: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[Path, dict]]:
    """(path, row) of each notebook in a folder, in order, as they are done.

    guard: do without the kernel's namespaces.  say: told once where they are missing.
    """
    paths, folder = notebooks(folder), folder.resolve()
    limits = limits or Limits()
    free: Queue[Worker] = Queue()
    everyone: list[Worker] = []

    def one(path: Path) -> dict:
        worker = free.get()
        try:
            return worker.check(path.absolute())
        finally:
            free.put(worker)

    try:
        for _ in range(max(1, min(workers, len(paths)))):
            everyone.append(Worker(folder, limits, guard))
            free.put(everyone[-1])
        if everyone[0].why:
            say(
                f"the kernel gives no sandbox here ({everyone[0].why}): a hook in Python refuses network, files and "
                "processes, which stops accidents and no attack; take a container or a machine of its own"
            )
        with ThreadPoolExecutor(len(everyone)) as pool:
            yield from zip(paths, pool.map(one, paths), strict=True)
    finally:
        for worker in everyone:
            worker.close()


def tables(rows: Sequence[tuple[str, dict]]) -> tuple[list[list[str]], list[list[str]]]:
    """(a row for each notebook, a row for each exercise in it), with heads, from (name, row)."""
    most = max((len(row["exercises"]) for _, row in rows), default=0)
    short = [["notebook", "lesson", "right", "of", *(f"exercise {i}" for i in range(1, most + 1)), "remarks", "sha256"]]
    long = [["notebook", "exercise", "verdict", "slip", "sentence"]]
    for name, row in rows:
        verdicts = [word for word, _, _ in row["exercises"].values()]
        right, of = str(verdicts.count("right")), str(len(verdicts))
        padded = verdicts + [""] * (most - len(verdicts))
        remarks = "; ".join([row["fault"]] * bool(row["fault"]) + row["remarks"])
        if row["fault"]:
            right = of = ""
        short.append([name, row["lesson"], right, of, *padded, remarks, row["sha256"]])
        long += [[name, number, *found] for number, found in row["exercises"].items()]
        if row["fault"]:
            long.append([name, "", "unreadable", "", row["fault"]])
    return short, long
