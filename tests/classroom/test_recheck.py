"""Handed-in notebooks of every kind, right, broken and hostile: each row is right, and nothing else is touched."""

import csv
import ctypes
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pgnotes.__main__ import main
from pgnotes.classroom import done
from pgnotes.classroom.checks import NoGradientError
from pgnotes.classroom.recheck import folder as rechecking
from pgnotes.classroom.recheck import handed_in, sandbox, server
from pgnotes.classroom.recheck.judge import Recorded, judged, recorded
from pgnotes.classroom.recheck.wire import Foreign, packed, packed_error, unpacked, unpacked_error

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a sandbox is a fork")
PROBE = "from pgnotes.classroom.recheck import sandbox; print(sandbox.namespaces_work())"  # a fork, and no threads here
WHY_NOT = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout.strip()
NAMESPACES = pytest.mark.skipif(bool(WHY_NOT), reason=f"the kernel gives no namespaces here: {WHY_NOT}")
FUNCTIONS = {"05": ["advantages", "best_baseline"], "09": ["advantages", "dead_share"]}


@pytest.fixture(scope="module")
def class_of_notebooks():
    """The generator and its check: benchmarks/recheck.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("recheck")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_every_kind_of_notebook_costs_its_own_row_at_most(class_of_notebooks, tmp_path):
    kinds = class_of_notebooks.KINDS
    found = class_of_notebooks.run(tmp_path, len(kinds), 2, sandbox.Limits(3.0))
    assert len({kind for kind, _ in found.made.values()}) == len(kinds) >= 35
    assert not found.differences
    assert (found.touched, found.calls) == ([], 0)


HARM = ("file eater", "network call", "fork bomb", "kills its parent", "programs", "steals the answer", "right")


def test_where_there_is_the_hook_alone_it_refuses_the_same(class_of_notebooks, tmp_path, monkeypatch):
    kinds = {name: class_of_notebooks.KINDS[name] for name in HARM}
    monkeypatch.setattr(class_of_notebooks, "KINDS", kinds)
    found = class_of_notebooks.run(tmp_path, len(kinds), 1, sandbox.Limits(5.0), guard=True)
    assert not found.differences
    assert (found.touched, found.calls) == ([], 0)


def test_the_generator_notices_a_wrong_row_and_a_touched_file(class_of_notebooks, tmp_path):
    expected = class_of_notebooks.Expected(verdicts={1: ("wrong", "plain mean")})
    row = {"fault": "", "remarks": [], "exercises": {"5.1": ("wrong", "plain mean", "…"), "5.2": ("right", "", "…")}}
    assert expected.differs(row) == ""
    assert "exercise 2" in expected.differs(row | {"exercises": {**row["exercises"], "5.2": ("open", "", "…")}})
    assert "fault" in expected.differs(row | {"fault": "the file is empty"})
    prey = class_of_notebooks.prey_in(tmp_path)
    before = dict(class_of_notebooks.state(tmp_path))
    (prey / "kept.txt").write_text("eaten")
    (prey / "new.txt").touch()
    assert class_of_notebooks.touched(before, dict(class_of_notebooks.state(tmp_path))) == [
        "prey/kept.txt",
        "prey/new.txt",
    ]


def in_a_fork(work) -> list[str]:
    """What some work says in a process of its own, line by line."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for line in work():
                os.write(writing, f"{line}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(pid, 0)
    return lines


def outcome_of(work) -> str:
    """The name of what it raises, or what it gives."""
    try:
        return str(work())
    except Exception as error:
        return type(error).__name__


@NAMESPACES
def test_the_kernel_itself_refuses_what_the_hook_does(tmp_path):
    """Without any hook: whoever gets round the interpreter meets this."""
    scratch, covered = tmp_path / "scratch", tmp_path / "covered"
    scratch.mkdir(), covered.mkdir()
    (covered / "answer.txt").write_text("42")
    listener = socket.create_server(("127.0.0.1", 0))
    wish = (ctypes.c_uint64 * 4)(0, sandbox.READ_ONLY, 0, 0)

    def work():
        sandbox.isolate(scratch, [covered], 1)
        c = sandbox.libc()
        call = (sandbox.MOUNT_SETATTR, sandbox.AT_FDCWD, b"/", sandbox.AT_RECURSIVE, wish, 32)
        yield outcome_of(lambda: (tmp_path / "new").write_text("x"))
        yield outcome_of(lambda: Path("/dev/null").write_text("x"))
        yield outcome_of(lambda: list(covered.iterdir()))
        yield outcome_of(lambda: (scratch / "mine").write_text("note"))
        yield outcome_of(lambda: (scratch / "much").write_bytes(b"x" * 2**21))
        yield outcome_of(lambda: socket.create_connection(listener.getsockname(), 1))
        yield outcome_of(lambda: c.syscall(*call))  # -1: to write again
        yield outcome_of(lambda: c.umount2(bytes(covered), 2))
        yield outcome_of(os.getppid)  # 0: nobody there to send signals to

    said = in_a_fork(work)
    assert said == ["OSError", "PermissionError", "[]", "4", "OSError", "OSError", "-1", "-1", "0"]
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "new").exists()


@NAMESPACES
@pytest.mark.skipif(os.getuid() == 0, reason="the kernel does not count root's processes")
def test_the_kernel_ends_a_fork_bomb_that_gets_round_the_hook(tmp_path):
    def work():
        sandbox.isolate(tmp_path, [], 1)
        sandbox.limit(sandbox.Limits(), kernel=True)
        for started in range(10 * sandbox.PROCESSES_AT_MOST):
            try:
                if os.fork() == 0:
                    time.sleep(1)
                    os._exit(0)
            except BlockingIOError:
                yield started < sandbox.PROCESSES_AT_MOST
                return

    assert in_a_fork(work) == ["True"]


def test_the_hook_names_what_it_refuses(tmp_path):
    look = sandbox.hook(tmp_path, [ROOT / "notebooks"])
    for event, given, word in (
        ("open", (str(tmp_path / "../x"), "w", os.O_WRONLY), "scratch"),
        ("open", (str(ROOT / "notebooks/x"), "r", os.O_RDONLY), "answers"),
        ("os.rename", (str(tmp_path / "a"), "/b", -1, -1), "change or delete"),
        ("os.remove", (str(ROOT / "README.md"), -1), "change or delete"),
        ("socket.connect", (None, ("127.0.0.1", 1)), "network"),
        ("os.fork", (), "processes"),
        ("os.kill", (1, 9), "signals"),
        ("ctypes.dlopen", (None,), "around"),
    ):
        with pytest.raises(sandbox.RefusedError, match=word):
            look(event, given)
    for event, given in (
        ("open", (str(tmp_path / "mine"), "w", os.O_WRONLY | os.O_CREAT)),
        ("open", (str(ROOT / "README.md"), "r", os.O_RDONLY)),
        ("open", (os.devnull, "w", os.O_WRONLY)),
        ("os.remove", (str(tmp_path / "mine"), -1)),
        ("import", ("math",)),
    ):
        look(event, given)


def notebook(*cells: str | tuple[str, str]) -> bytes:
    """A notebook's bytes from its code cells; ("# …",) is Markdown."""
    made = [new_markdown_cell(cell[0]) if isinstance(cell, tuple) else new_code_cell(cell) for cell in cells]
    return nbformat.writes(new_notebook(cells=made)).encode()


def found(function: str, *cells, name: str = "x.ipynb") -> handed_in.Found:
    cells = ('pgnotes.start("05")', *cells)
    return handed_in.find(handed_in.read(notebook(*cells), name, FUNCTIONS), function)


def test_a_function_comes_with_what_it_needs_and_nothing_else():
    cells = (
        "import math\nimport json\nfrom torch import *",
        "LIMIT = 3\nother = [json.dumps(i) for i in range(LIMIT)]\nprobs = other",
        "def helper(x):\n    return math.exp(min(x, LIMIT))",
        "def advantages(probs, worth):\n    return [helper(p) for p in probs]",
    )
    code = [source for _, source in found("advantages", *cells).code]
    assert [c.splitlines()[0] for c in code] == [
        "import math",
        "from torch import *",
        "LIMIT = 3",
        "def helper(x):",
        "def advantages(probs, worth):",
    ]


def test_of_several_definitions_the_last_that_is_no_stub_counts():
    first, second = (f"def advantages(p, w):\n    return {value}" for value in (1, 2))
    stub = 'def advantages(p, w):\n    """Docstring."""\n    ...'
    both = found("advantages", first, second, stub)
    assert (both.state, both.code[-1][1]) == ("try", second)
    assert both.remarks == ("advantages is written 2 times; the last one, in cell 3, counts",)
    assert found("advantages", first, first).remarks == (), "a copy changes nothing"
    assert found("advantages", stub, stub).state == "open"
    assert found("advantages", "advantages = lambda p, w: w").state == "try"
    assert found("advantages", "if True:\n    def advantages(p, w): return w").state == "try"


def test_a_stub_copied_below_does_not_replace_what_another_function_needs():
    cells = ("def best_baseline(p, r):\n    return 1", "def best_baseline(p, r):\n    ...")
    code = found("advantages", *cells, "def advantages(p, w):\n    return best_baseline(p, w)").code
    assert [source.splitlines()[1].strip() for _, source in code] == ["return 1", "return best_baseline(p, w)"]


def test_what_is_no_definition_is_not_taken_for_one():
    imported = "from pgnotes.theory.advantages import group_advantages as advantages"
    for cell in ("advantages = 5", imported, "class advantages: pass", ("The `advantages` are what counts.",)):
        assert found("advantages", cell).state == "missing"
    folded = "<details><summary>Solution</summary>\n\n```python\ndef advantages(p, w):\n    return w\n```\n</details>"
    assert found("advantages", (folded,)).state == "missing", "a solution in print is not the student's"


def test_code_cells_go_before_cells_that_were_retyped():
    retyped = ("def advantages(p, w):\n    return 1",)
    assert found("advantages", retyped).remarks[0].startswith("cell 2, with advantages, is no code cell")
    both = found("advantages", "def advantages(p, w):\n    return 2", retyped)
    assert "return 2" in both.code[-1][1]


def test_what_a_function_uses_of_the_package_is_told():
    source = "from pgnotes.theory.critics import gae\n\ndef advantages(p, w):\n    return gae(p, w)"
    assert found("advantages", source).remarks == ("advantages uses pgnotes.theory.critics.gae",)


@pytest.mark.parametrize(
    ("cells", "name", "lesson"),
    [
        (('pgnotes.start("09")', 'pgnotes.quiz("05")', "from pgnotes.classroom.exercises import lesson_09"), "x", "09"),
        ((("# 09 · GRPO on a T4",),), "x.ipynb", "09"),
        (("x = 1",), "05_baselines (1).ipynb", "05"),
        (("def dead_share(p, n): return 1", "def advantages(r): return r"), "x", "09"),
    ],
)
def test_the_lesson_is_recognised(cells, name, lesson):
    assert handed_in.read(notebook(*cells), name, FUNCTIONS).lesson == lesson


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b" \n", "empty"),
        (b"\xff\xfe\x00junk", "not text"),
        (b'{"cells": [\n1,\n', "JSON in line 3"),
        (b"[]", "no notebook"),
        (notebook("def advantages(r): return r"), "no lesson"),
    ],
)
def test_what_is_no_notebook_of_a_lesson_is_said_to_be_none(data, sentence):
    with pytest.raises(handed_in.UnreadableError, match=sentence):
        handed_in.read(data, "student 10_12.ipynb", FUNCTIONS)


def test_files_that_are_none_are_not_opened(tmp_path):
    (tmp_path / "kept.txt").write_text("secret")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "kept.txt")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name, words in (("link", "a link"), ("folder", "no file"), ("pipe", "no file"), ("gone", "can't be opened")):
        with pytest.raises(ValueError, match=words):
            server.contents(tmp_path / f"{name}.ipynb")


VALUES = [
    *(None, Ellipsis, True, 7, -(2**70), 0.1, float("inf"), "text", Fraction(1, 3), [1, (2.5, None)]),
    torch.tensor([[1.0, 1 / 3]], dtype=torch.float64),
    torch.tensor([1, 2]),
    torch.tensor([True, False]),
    torch.tensor(0.1, requires_grad=True),
    np.arange(3.0),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_out_as_it_was(value):
    back = unpacked(json.loads(json.dumps(packed(value))))
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_other_values_come_out_as_their_looks():
    back = unpacked(json.loads(json.dumps(packed({"a": 1}))))
    assert isinstance(back, Foreign)
    assert repr(back) == "{'a': 1}"


@pytest.mark.parametrize("error", [ValueError("x"), NoGradientError("y"), UnicodeDecodeError("utf-8", b"", 0, 1, "z")])
def test_an_exception_keeps_its_name(error):
    assert type(unpacked_error(*packed_error(error))).__name__ == type(error).__name__


def exercises():
    lessons = [importlib.import_module(f"pgnotes.classroom.exercises.lesson_{number}") for number in done.lessons()]
    return [exercise for lesson in lessons for exercise in lesson.EXERCISES]


@pytest.mark.parametrize("exercise", exercises(), ids=lambda e: e.number)
def test_the_judge_outside_says_what_the_check_in_the_lesson_says(exercise):
    """From what the answer, two slips and a function of nonsense give."""
    attempts = [exercise.answer, *(slip for slip, _ in [*exercise.slips.values()][:2]), lambda *args: "nonsense"]
    for attempt in attempts:
        outcomes = []
        for case in exercise.cases:
            try:
                record = {"value": packed(exercise.run(attempt, case))}
            except Exception as error:
                record = {"raised": packed_error(error)}
            outcomes.append(json.loads(json.dumps(record)))
        assert judged(exercise, recorded(outcomes, len(exercise.cases), "")) == exercise.judge(attempt)


def test_records_that_are_too_few_are_no_attempt():
    assert recorded([{"value": ["int", "0x1"]}], 2, "").fault == "it ended in the middle"
    assert recorded([], 2, "it took too long").fault == "it took too long"
    assert isinstance(recorded([{"value": ["int", "0x1"]}], 1, ""), Recorded)


def test_a_server_that_dies_costs_one_row(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.ipynb").write_bytes(b"")
    ask = rechecking.Worker.ask

    def deadly(self, question):
        if str(question).endswith("a.ipynb"):
            self.process.kill()
            self.process.wait()
        return ask(self, question)

    monkeypatch.setattr(rechecking.Worker, "ask", deadly)
    rows = [row["fault"] for _, row in rechecking.recheck(tmp_path, workers=1)]
    assert rows == ["the process that checks notebooks died over it; look at this one by hand", "the file is empty"]


def test_the_command_writes_a_table_that_a_spreadsheet_can_open(tmp_path, capsys):
    handed, out = tmp_path / "handed", tmp_path / "out"
    (handed / ".ipynb_checkpoints").mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / "05_baselines.ipynb", handed / "=HYPERLINK(0).ipynb")
    (handed / "empty.ipynb").touch()
    (handed / ".ipynb_checkpoints/copy.ipynb").touch()
    assert main(["recheck", str(handed), "--out", str(out), "--workers", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert json.loads(said[-1]) == {"notebooks": 2, "unreadable": 1, "out": str(out)}
    head, first, second = csv.reader((out / "notebooks.csv").read_text(encoding="utf-8-sig").splitlines())
    assert head[:6] == ["notebook", "lesson", "right", "of", "exercise 1", "exercise 2"]
    assert first[:5] == ["'=HYPERLINK(0).ipynb", "05", "0", "5", "open"]
    assert second[:4] == ["empty.ipynb", "", "", ""]
    assert "the file is empty" in second
    rows = list(csv.reader((out / "exercises.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 1 + 5 + 1


def test_without_nbformat_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["recheck", "folder"]) == 2
    assert "pip install nbformat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["nowhere"], "FOLDER is 'nowhere'"),
        ([str(ROOT / "tests")], "no notebook"),
        ([str(ROOT / "notebooks"), "--workers", "0"], "--workers is 0; it must be at least 1"),
        ([str(ROOT / "notebooks"), "--seconds", "nan"], "--seconds is nan"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, names, tmp_path, capsys):
    assert main(["recheck", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert names in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lesson", done.lessons())
def test_no_solution_needs_what_is_covered(class_of_notebooks, lesson):
    """The sandbox hides the exercises' own modules, so what a lesson hands to its learners lies elsewhere."""
    module = importlib.import_module(f"pgnotes.classroom.exercises.lesson_{lesson}")
    asked = [exercise.function for exercise in module.EXERCISES]
    notebook = handed_in.read(class_of_notebooks.data(class_of_notebooks.solved(lesson)), lesson, {lesson: asked})
    for function in asked:
        found = handed_in.find(notebook, function)
        assert found.state == "try"
        assert not [source for _, source in found.code if "pgnotes.classroom.exercises" in source]
