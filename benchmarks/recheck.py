"""Three hundred handed-in notebooks, right, wrong, broken and hostile, through `python -m pgnotes recheck`.

    python benchmarks/recheck.py                300 of them, on two workers
    python benchmarks/recheck.py --n 40 --guard     40, with the hook in Python alone

Each notebook comes with what its row has to say. The script prints a line for each kind, with how many rows
were as they should be; then the seconds a notebook took, and what was touched outside the sandboxes: nothing, it hopes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tools")]

from handouts import with_solutions  # noqa: E402

from pgnotes.classroom.recheck.folder import recheck  # noqa: E402
from pgnotes.classroom.recheck.sandbox import Limits  # noqa: E402

LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
WRONG = {  # lesson: (exercise's cell, the line in the place of the solution's body, the slip that it is)
    "00": ("exercise-1", "return values.mean()", "plain mean"),
    "05": ("exercise-3", "return rewards - rewards.mean()", "own included"),
    "13": ("exercise-2", "return torch.softmax(rewards / beta, 0)", "no reference"),
}


@dataclass
class Expected:
    """What a row should say: a fault, or a verdict and a sentence for some exercises; all others are right."""

    fault: str = ""
    verdicts: dict[int, tuple[str, str]] = field(default_factory=dict)  # place -> (verdict, a part of the sentence)
    remark: str = ""

    def differs(self, row: dict) -> str:
        """Empty if a row is as it should be, else what is not."""
        if self.fault or row["fault"]:
            fits = bool(self.fault) and re.search(self.fault, row["fault"])
            return "" if fits else f"fault {row['fault']!r} where {self.fault!r} is expected"
        for place, (word, slip, sentence) in enumerate(row["exercises"].values(), 1):
            wanted, part = self.verdicts.get(place, ("right", ""))
            if word != wanted or not (part == slip or re.search(part, sentence)):
                return f"exercise {place} is {word!r} ({slip or sentence!r}), expected {wanted!r} ({part!r})"
        said = "; ".join(row["remarks"])
        return "" if re.search(self.remark, said) else f"remarks {said!r}, expected {self.remark!r}"


@dataclass(frozen=True)
class Place:
    """Where hostile notebooks aim: a folder that must stay as it is, and a port that nobody must call."""

    prey: Path
    port: int


Made = tuple[bytes, Expected]
KINDS: dict[str, Callable[[random.Random, Place], Made]] = {}


def kind(make: Callable[[random.Random, Place], Made]) -> Callable[[random.Random, Place], Made]:
    """Enter a maker into the list of kinds."""
    KINDS[make.__name__.replace("_", " ")] = make
    return make


SOLVED: dict[str, str] = {}


def solved(lesson: str) -> nbformat.NotebookNode:
    """A fresh copy of a solved lesson, without outputs."""
    if lesson not in SOLVED:
        path = next(p for p in LESSONS if p.name.startswith(lesson))
        notebook = with_solutions(nbformat.read(path, as_version=4))
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        SOLVED[lesson] = nbformat.writes(notebook)
    return nbformat.reads(SOLVED[lesson], as_version=4)


def data(notebook: nbformat.NotebookNode) -> bytes:
    """The bytes of its file."""
    return nbformat.writes(notebook).encode()


def place_of(notebook: nbformat.NotebookNode, name: str) -> int:
    """Where a cell stands, by its id."""
    return next(i for i, cell in enumerate(notebook.cells) if cell.id == name)


def with_body(source: str, body: str) -> str:
    """An exercise's cell whose function has another body."""
    lines = source.splitlines()
    start = max(i for i, line in enumerate(lines) if line.startswith(("def ", ") ->")))
    end = next(i for i in range(start + 1, len(lines)) if lines[i] and not lines[i].startswith((" ", ")")))
    return "\n".join([*lines[: start + 1], *(f"    {line}" for line in body.splitlines()), "", "", *lines[end:]])


def average(body: str, verdict: str = "wrong", part: str = "", remark: str = "") -> Made:
    """Lesson 00, all right but for its first function, which has this body."""
    notebook = solved("00")
    cell = notebook.cells[place_of(notebook, "exercise-1")]
    cell.source = with_body(cell.source, body)
    return data(notebook), Expected(verdicts={1: (verdict, part)}, remark=remark)


RIGHT = "return (values * weights).sum()"


@kind
def right(rng: random.Random, at: Place) -> Made:
    """A solved lesson."""
    lesson = rng.choice([path.name[:2] for path in LESSONS])
    return data(solved(lesson)), Expected()


@kind
def wrong(rng: random.Random, at: Place) -> Made:
    """A slip that the check knows."""
    lesson = rng.choice(list(WRONG))
    name, body, slip = WRONG[lesson]
    notebook = solved(lesson)
    cell = notebook.cells[place_of(notebook, name)]
    cell.source = with_body(cell.source, body)
    return data(notebook), Expected(verdicts={int(name[-1]): ("wrong", slip)})


@kind
def half_done(rng: random.Random, at: Place) -> Made:
    """Two stubs untouched."""
    notebook = solved("05")
    for number in (4, 5):
        cell = notebook.cells[place_of(notebook, f"exercise-{number}")]
        cell.source = with_body(cell.source, "...")
    return data(notebook), Expected(verdicts={4: ("open", ""), 5: ("open", "")})


@kind
def cells_deleted(rng: random.Random, at: Place) -> Made:
    """Two thirds of the cells are gone, an exercise among them."""
    notebook = solved("05")
    gone = rng.randint(1, 5)
    keep = {f"exercise-{i}" for i in range(1, 6) if i != gone}
    notebook.cells = [cell for cell in notebook.cells if cell.id in keep or rng.random() < 0.3]
    notebook.cells = [cell for cell in notebook.cells if cell.id != f"exercise-{gone}"]
    return data(notebook), Expected(verdicts={gone: ("missing", "^no function")})


@kind
def stub_duplicated(rng: random.Random, at: Place) -> Made:
    """A copy of the stub below the solution."""
    notebook = solved("05")
    where = place_of(notebook, "exercise-2")
    notebook.cells.insert(where + 1, new_code_cell(with_body(notebook.cells[where].source, "...")))
    return data(notebook), Expected()


@kind
def two_of_one_name(rng: random.Random, at: Place) -> Made:
    """A right and a wrong function, in either order."""
    notebook, last_is_right = solved("05"), rng.random() < 0.5
    where = place_of(notebook, "exercise-3")
    other = new_code_cell(with_body(notebook.cells[where].source, WRONG["05"][1]))
    notebook.cells.insert(where if last_is_right else where + 1, other)
    verdicts = {} if last_is_right else {3: ("wrong", "own included")}
    return data(notebook), Expected(verdicts=verdicts, remark="compared_with_others is written 2 times")


@kind
def retyped(rng: random.Random, at: Place) -> Made:
    """A code cell that became Markdown."""
    notebook = solved("05")
    where = place_of(notebook, "exercise-4")
    notebook.cells[where] = new_markdown_cell(notebook.cells[where].source)
    return data(notebook), Expected(remark="is no code cell any more")


@kind
def reordered(rng: random.Random, at: Place) -> Made:
    """All cells shuffled."""
    notebook = solved(rng.choice(("00", "05", "10")))
    rng.shuffle(notebook.cells)
    return data(notebook), Expected()


@kind
def syntax_error(rng: random.Random, at: Place) -> Made:
    """A colon forgotten."""
    notebook = solved("05")
    cell = notebook.cells[place_of(notebook, "exercise-2")]
    cell.source = cell.source.replace("-> torch.Tensor:", "-> torch.Tensor")
    return data(notebook), Expected(verdicts={2: ("broken", r"not Python \(cell \d+, line \d+: ")})


@kind
def raises(rng: random.Random, at: Place) -> Made:
    """A package that was never imported."""
    return average("return numpy.sum(values)", part="raised NameError: name 'numpy'")


@kind
def endless_loop(rng: random.Random, at: Place) -> Made:
    """It computes for ever."""
    return average("while True:\n    pass", part="seconds of processor time|did not end within")


@kind
def sleeper(rng: random.Random, at: Place) -> Made:
    """It waits for ever."""
    return average("import time\ntime.sleep(10**6)", part="did not end within")


@kind
def endless_recursion(rng: random.Random, at: Place) -> Made:
    """It calls itself."""
    return average("return average(values, weights)", part="RecursionError")


@kind
def fork_bomb(rng: random.Random, at: Place) -> Made:
    """It would fork for ever."""
    return average("import os\nwhile True:\n    os.fork()", part="may not start processes")


@kind
def programs(rng: random.Random, at: Place) -> Made:
    """It would run a program that makes a file."""
    body = "import subprocess\nsubprocess.run(['touch', '{}'])".format(at.prey / "new")
    return average(body, part="may not start processes")


@kind
def file_eater(rng: random.Random, at: Place) -> Made:
    """It tries five ways of doing harm to files, then answers right."""
    body = f"""\
import os, shutil
from pathlib import Path
for path in ["{at.prey}/kept.txt", "{at.prey}/more", "{at.prey}"]:
    for harm in (os.remove, lambda p: open(p, "w"), lambda p: os.rename(p, p + "x"), os.rmdir, shutil.rmtree):
        try:
            harm(path)
        except OSError:
            pass
{RIGHT}"""
    return average(body, "right")


@kind
def writes_beside_itself(rng: random.Random, at: Place) -> Made:
    """A file in the working folder, which is allowed."""
    return average(f'open("mine.txt", "w").write("a note")\n{RIGHT}', "right")


@kind
def network_call(rng: random.Random, at: Place) -> Made:
    """It would ask a server."""
    body = f"import urllib.request\nreturn urllib.request.urlopen('http://127.0.0.1:{at.port}/')"
    return average(body, part="may not use the network")


@kind
def much_output(rng: random.Random, at: Place) -> Made:
    """It prints 200 MB in every case, and is right."""
    return average(f'for _ in range(200):\n    print("x" * 2**20)\n{RIGHT}', "right")


@kind
def returns_too_much(rng: random.Random, at: Place) -> Made:
    """A result of 24 MB."""
    return average("return torch.zeros(3_000_000)", part="gave more than 4 MiB")


@kind
def memory_eater(rng: random.Random, at: Place) -> Made:
    """It takes memory for ever."""
    return average("kept = []\nwhile True:\n    kept.append(bytearray(2**26))", part="MemoryError|in the middle")


@kind
def kills_its_parent(rng: random.Random, at: Place) -> Made:
    """It would end the process that checks it."""
    return average("import os\nos.kill(os.getppid(), 9)", part="may not send signals")


@kind
def leaves_at_once(rng: random.Random, at: Place) -> Made:
    """It ends its process as if all were well."""
    return average("import os\nos._exit(0)", part="in the middle")


@kind
def exits(rng: random.Random, at: Place) -> Made:
    """It raises SystemExit."""
    return average("raise SystemExit(0)", part="raised SystemExit")


@kind
def forges_the_check(rng: random.Random, at: Place) -> Made:
    """It replaces the check by one that is content."""
    body = """\
from pgnotes.classroom import checks
checks.Exercise.judge = lambda self, attempt: checks.Result(self.number, "right", "yes")
checks.Exercise.run = lambda self, attempt, case: "right"
return values.mean()"""
    return average(body, part=r"gives 0\.5; it should be 0\.4")


@kind
def forges_the_record(rng: random.Random, at: Place) -> Made:
    """It writes into the pipe by which results come out."""
    body = """\
import os
for fd in range(3, 20):
    try:
        os.write(fd, b'{"status": "right"}\\n[[[[\\n')
    except OSError:
        pass
return values.mean()"""
    return average(body, part="makes no sense|in the middle")


@kind
def steals_the_answer(rng: random.Random, at: Place) -> Made:
    """It would call the course's own function."""
    body = "from pgnotes.classroom.exercises import lesson_00\nreturn lesson_00.average.answer(values, weights)"
    return average(body, part="raised")


@kind
def magics(rng: random.Random, at: Place) -> Made:
    """Lines that only IPython understands."""
    notebook = solved("00")
    cell = notebook.cells[place_of(notebook, "exercise-1")]
    cell.source = f"%matplotlib inline\n!ls\n{cell.source}"
    return data(notebook), Expected()


@kind
def with_outputs(rng: random.Random, at: Place) -> Made:
    """The lesson as it is handed out, a megabyte of outputs included."""
    path = next(p for p in LESSONS if p.name.startswith("05"))
    verdicts = dict.fromkeys(range(1, 6), ("open", ""))
    return path.read_bytes(), Expected(verdicts=verdicts)


@kind
def junk(rng: random.Random, at: Place) -> Made:
    """Bytes that are no text."""
    return rng.randbytes(20_000), Expected(fault="not text|no notebook")


@kind
def cut_off(rng: random.Random, at: Place) -> Made:
    """Half a file."""
    whole = data(solved("05"))
    return whole[: len(whole) // 2], Expected(fault="stops being JSON in line")


@kind
def empty(rng: random.Random, at: Place) -> Made:
    """No byte at all."""
    return b"", Expected(fault="the file is empty")


@kind
def other_json(rng: random.Random, at: Place) -> Made:
    """JSON that is no notebook."""
    texts = ["[]", "{}", '"text"', '{"cells": 5, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "[" * 100_000]
    return rng.choice(texts).encode(), Expected(fault="no notebook")


@kind
def another_course(rng: random.Random, at: Place) -> Made:
    """A notebook that has nothing to do with this."""
    notebook = new_notebook(cells=[new_code_cell("def homework(x):\n    return x")])
    return data(notebook), Expected(fault="no lesson can be recognised")


@kind
def too_large(rng: random.Random, at: Place) -> Made:
    """65 MiB."""
    return b"\0" * (65 * 2**20), Expected(fault="65 MiB.*clear its outputs")


COMMON = ("right",) * 6 + ("wrong",) * 3 + ("half done", "reordered")  # what most of a class hands in


def folder_of(folder: Path, n: int, at: Place, seed: int = 0) -> dict[str, tuple[str, Expected]]:
    """Write n notebooks, every kind once and then mostly what a class hands in; name -> (kind, what is expected)."""
    rng, made = random.Random(seed), {}
    chosen = [*KINDS][:n] + [rng.choice([*COMMON, *KINDS]) for _ in range(n - len(KINDS))]
    for i, name in enumerate(chosen):
        content, expected = KINDS[name](rng, at)
        path = folder / f"student {i:03d}.ipynb"
        if name == "too large":  # without its bytes on the disk
            with open(path, "wb") as file:
                file.truncate(len(content))
        else:
            path.write_bytes(content)
        made[path.name] = name, expected
    return made


class Listener:
    """A server that only remembers whether anybody called."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port, self.calls = self.socket.getsockname()[1], 0
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        """Count who calls, until the socket is closed."""
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()


def prey_in(folder: Path) -> Path:
    """A folder with something to lose."""
    prey = folder / "prey"
    (prey / "more").mkdir(parents=True)
    for path in (prey / "kept.txt", prey / "more" / "kept.txt"):
        path.write_text("kept")
    return prey


def state(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """Every file of a folder and what is in it (of long ones the beginning)."""
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)), path.read_bytes()[:100_000] if path.is_file() else None


def touched(before: dict, after: dict) -> list[str]:
    """The files that are new, gone or changed."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name, 0) != after.get(name, 0))


@dataclass
class Outcome:
    """Of a whole folder: what differs from what was expected, files touched, calls heard, seconds."""

    made: dict[str, tuple[str, Expected]]
    differences: dict[str, str]
    touched: list[str]
    calls: int
    seconds: float


def run(place: Path, n: int, workers: int, limits: Limits, guard: bool = False, seed: int = 0) -> Outcome:
    """Make a folder of notebooks in a place, recheck it, and compare."""
    folder, prey, listener = place / "handed in", prey_in(place), Listener()
    folder.mkdir()
    made = folder_of(folder, n, Place(prey, listener.port), seed)
    before, started = dict(state(place)), time.monotonic()
    rows = {path.name: row for path, row in recheck(folder, limits, workers, guard)}
    seconds = time.monotonic() - started
    listener.socket.close()
    differences = {name: expected.differs(rows[name]) for name, (_, expected) in made.items()}
    differences = {name: text for name, text in differences.items() if text}
    return Outcome(made, differences, touched(before, dict(state(place))), listener.calls, seconds)


def main() -> None:
    """Make, recheck, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--guard", action="store_true", help="without the kernel's namespaces")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = run(Path(place), args.n, args.workers, Limits(args.seconds), args.guard)

    kinds = defaultdict(list)
    for name, (made, _) in found.made.items():
        kinds[made].append(found.differences.get(name, ""))
    for name, texts in kinds.items():
        print(f"{name:<24} {len(texts):>4} notebooks, {texts.count(''):>4} rows as expected")
        for text in filter(None, texts[:3]):
            print(f"    {text}")
    print(f"{len(found.made)} notebooks, {len(found.differences)} rows not as expected")
    print(f"{found.seconds:.0f} s, {found.seconds / len(found.made):.2f} s a notebook with {args.workers} workers")
    print(f"touched outside: {found.touched or 'nothing'}; calls heard: {found.calls}; {os.cpu_count()} cores")
    print(json.dumps({"differences": found.differences}))


if __name__ == "__main__":
    main()
