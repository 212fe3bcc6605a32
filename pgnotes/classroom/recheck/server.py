"""A warm process that checks one notebook after the other: it imports torch once, and forks a sandbox for each check.

    python -m pgnotes.classroom.recheck.server      (started by `python -m pgnotes recheck`)

The handed-in code runs in the sandbox, and what it gives comes out as numbers; what is right is decided here.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import select
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgnotes.classroom.recheck.sandbox import Limits, enter, namespaces_work

if TYPE_CHECKING:
    from pgnotes.classroom.checks import Exercise
    from pgnotes.classroom.recheck.judge import Recorded

LARGEST = 64 * 2**20  # bytes of a notebook with its outputs
MOST = 4 * 2**20  # bytes that come out of a sandbox


@dataclasses.dataclass
class Answer:
    """What came out of a sandbox: its records, how it ended if not by itself, and the seconds by the clock."""

    records: list
    ended: str
    seconds: float


class Server:
    """Checks notebooks. folder: what was handed in, which no check may read.  limits: of each check."""

    def __init__(self, folder: Path, limits: Limits, kernel: bool):
        import torch

        from pgnotes.classroom import done
        from pgnotes.classroom.recheck import handed_in, judge  # noqa: F401 (here, so that no fork has to)

        torch.set_num_threads(1)
        handed_in.warm_up()
        self.limits, self.kernel = limits, kernel
        self.modules = {name: import_module(f"pgnotes.classroom.exercises.lesson_{name}") for name in done.lessons()}
        self.exercises: dict[str, tuple[Exercise, ...]] = {n: m.EXERCISES for n, m in self.modules.items()}
        self.functions = {n: [e.function for e in exercises] for n, exercises in self.exercises.items()}
        here = Path(__file__).parents[1]
        self.covered = [here / "exercises", here.parents[1] / "notebooks", folder]
        self.scratch = Path(tempfile.mkdtemp(prefix="pgnotes-recheck-"))
        gc.freeze()  # what is there stays shared with the forks

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def check(self, path: Path) -> dict:
        """A notebook's row: its lesson, a word and a sentence for each exercise, remarks; or what is wrong with it."""
        row: dict[str, Any] = {"lesson": "", "exercises": {}, "remarks": [], "fault": "", "sha256": ""}
        try:
            data = contents(path)
        except (OSError, ValueError) as error:
            return row | {"fault": str(error)[:300]}
        row["sha256"] = hashlib.sha256(data).hexdigest()

        survey = self.in_sandbox(lambda send: self.survey(data, path.name, send), self.limits)
        if survey.ended or not survey.records:
            return row | {"fault": f"it could not be read: {survey.ended or 'nothing came back'}"}
        try:
            return row | self.rows(survey.records[0])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return row | {"fault": "it could not be read: what came back makes no sense"}

    def survey(self, data: bytes, name: str, send: Callable[[Any], None]) -> None:
        """In the sandbox: what is in a notebook."""
        from pgnotes.classroom.recheck.handed_in import UnreadableError, find, read

        try:
            notebook = read(data, name, self.functions)
            found = {f: dataclasses.asdict(find(notebook, f)) for f in self.functions[notebook.lesson]}
        except UnreadableError as error:
            send({"fault": str(error)})
        else:
            send({"lesson": notebook.lesson, "found": found})

    def rows(self, survey: dict) -> dict:
        """What a survey leads to: every function that was found is tried."""
        if "fault" in survey:
            return {"fault": str(survey["fault"])[:300]}
        exercises, remarks = {}, []
        left = 2 * self.limits.by_the_clock
        for exercise in self.exercises[survey["lesson"]]:
            found = survey["found"][exercise.function]
            remarks += [str(remark)[:300] for remark in found["remarks"]]
            if found["state"] != "try":
                exercises[exercise.number] = [str(found["state"]), "", str(found["sentence"])[:300]]
                continue
            if left <= 0:
                exercises[exercise.number] = ["unknown", "", "not tried: the notebook had used up its time"]
                continue
            status, slip, sentence, seconds = self.verdict(exercise, found["code"])
            exercises[exercise.number] = [status, slip, sentence]
            left -= seconds
        return {"lesson": survey["lesson"], "exercises": exercises, "remarks": remarks}

    def verdict(self, exercise: Exercise, code: list) -> tuple[str, str, str, float]:
        """(status, slip, sentence, seconds) of a function: it runs on every case in a sandbox, and is judged here."""
        from pgnotes.classroom.recheck.judge import judged, recorded

        answer = self.in_sandbox(lambda send: attempt(exercise, code, send), self.limits)
        try:
            record: Recorded = recorded(answer.records, len(exercise.cases), answer.ended)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, RuntimeError):
            return "wrong", "", "what its check gave makes no sense", answer.seconds
        if record.fault:
            return "wrong", "", record.fault, answer.seconds
        result = judged(exercise, record)
        return result.status, result.slip, result.sentence, answer.seconds

    def in_sandbox(self, work: Callable[[Callable[[Any], None]], None], limits: Limits) -> Answer:
        """Run some work in a process that is shut in, and read what it sends until it ends or must be ended."""
        reading, writing = os.pipe()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(work, self.scratch, self.covered, limits, self.kernel, writing)
        os.close(writing)
        deadline, data, ended = started + limits.by_the_clock, bytearray(), ""
        while True:
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                ended = f"it did not end within {limits.by_the_clock:.0f} seconds"
                break
            part = os.read(reading, 1 << 16)
            data += part
            if not part:
                break
            if len(data) > MOST:
                ended = f"it gave more than {MOST // 2**20} MiB"
                break
        os.close(reading)
        status, used = end(pid, bool(ended))
        ended = ended or how_it_ended(status, used, limits)
        if not self.kernel:
            clear(self.scratch)
        return Answer(list(records(data)), ended, time.monotonic() - started)


def contents(path: Path) -> bytes:
    """A handed-in file's bytes.  ValueError for what can't be read, is no plain file, or is too large."""
    if path.is_symlink():
        raise ValueError("it is a link, and links are not followed")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ValueError(f"the file can't be opened: {error.strerror}") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no file, but a folder, a pipe or a device")
        size, most = about.st_size / 2**20, LARGEST // 2**20
        if size > most:
            raise ValueError(f"the file has {size:.0f} MiB; up to {most} are read: clear its outputs")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(LARGEST)
    finally:
        os.close(handle)


def child(
    work: Callable[[Callable[[Any], None]], None],
    scratch: Path,
    covered: list[Path],
    limits: Limits,
    kernel: bool,
    pipe: int,
) -> None:
    """The forked process: shut in, at work, and ended without a word to anyone but the pipe. Never returns."""
    code = 1
    try:
        enter(scratch, covered, limits, kernel, pipe)
        work(lambda record: write(3, json.dumps(record).encode() + b"\n"))
        code = 0
    except BaseException as error:
        write(3, json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}).encode() + b"\n")
    finally:
        os._exit(code)


def write(pipe: int, data: bytes) -> None:
    """All of it, however the pipe takes it."""
    while data:
        data = data[os.write(pipe, data) :]


def attempt(exercise: Exercise, code: list, send: Callable[[Any], None]) -> None:
    """In the sandbox: run the statements, then the function on every case, and send what it gave."""
    import torch

    from pgnotes.classroom.recheck.wire import packed, packed_error

    function, cases = exercise.function, exercise.cases
    forget_answers(exercise)
    space: dict[str, Any] = {"__name__": "__main__", "torch": torch}
    failed = ""
    for cell, source in code:
        try:
            exec(compile(source, f"cell {cell}", "exec", dont_inherit=True), space)
        except BaseException as error:
            failed = failed or f"cell {cell} raised {type(error).__name__}: {error}"[:300]
    if function not in space:
        send({"fault": failed or f"no function {function} in it"})
        return
    for case in cases:
        try:
            send({"value": packed(exercise.run(space[function], case))})
        except BaseException as error:
            send({"raised": packed_error(error), "before": failed})


def forget_answers(exercise: Exercise) -> None:
    """Take the right functions and the slips out of this process, in which what was handed in runs."""
    for name in [name for name in sys.modules if name.startswith("pgnotes.classroom.exercises")]:
        for other in getattr(sys.modules[name], "EXERCISES", ()):
            object.__setattr__(other, "answer", None)
            object.__setattr__(other, "slips", {})
            if other is not exercise:
                object.__setattr__(other, "cases", ())
        del sys.modules[name]


def end(pid: int, now: bool) -> tuple[int, float]:
    """(status, processor time) of a child and all that it started, which end with it."""
    if now:
        kill(pid)
    try:
        _, status, usage = os.wait4(pid, 0)
    finally:
        kill(pid)  # what is left of its group
    return status, usage.ru_utime + usage.ru_stime


def kill(pid: int) -> None:
    """End a process group, and the process itself where it has no group yet."""
    for how in (os.killpg, os.kill):
        try:
            how(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def how_it_ended(status: int, used: float, limits: Limits) -> str:
    """Empty if a process ended by itself, else a sentence."""
    code = os.waitstatus_to_exitcode(status)
    if code in (0, 1):
        return ""
    number = -code if code < 0 else 256 - code
    if number == signal.SIGKILL and used >= limits.seconds / 2:  # the kernel counts in ticks: not to the second
        return f"it took more than {limits.seconds:g} seconds of processor time"
    try:
        return f"it ended in the middle ({signal.Signals(number).name})"
    except ValueError:
        return f"it ended in the middle (exit status {code})"


def clear(folder: Path) -> None:
    """Empty the scratch folder."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def records(data: bytes | bytearray) -> Iterator[Any]:
    """The JSON lines that came out of a sandbox, up to the first that is none."""
    for line in bytes(data).splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            return


def main() -> None:
    """Serve: the first line says how, every further one names a notebook; each is answered by a line of JSON."""
    how = json.loads(sys.stdin.readline())
    limits = Limits(how["seconds"], how["memory"])
    why = "switched off" if how["guard"] else namespaces_work()
    server = Server(Path(how["folder"]), limits, kernel=not why)
    print(json.dumps({"guard": why}), flush=True)
    try:
        for line in sys.stdin:
            print(json.dumps(server.check(Path(json.loads(line)))), flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main()
