"""How the tests run the lessons: once each, by a browser or by nbval and never by neither, and with eyes open."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from lesson_runs import LESSONS, faults, once
from nbval.plugin import IPyNbCell, IPyNbFile


def cells(lesson: Path, session: pytest.Session) -> list[IPyNbCell]:
    return list(IPyNbFile.from_parent(session, path=lesson).collect())


class InBrowser:
    """As much of a test in the browser as the choice looks at."""

    def __init__(self, path: Path):
        self.callspec = type("Callspec", (), {"params": {"path": path}})

    def get_closest_marker(self, name: str) -> bool:
        return name == "runs_lesson"


def test_a_lesson_that_the_browser_runs_is_not_run_again(request):
    first, second = (cells(lesson, request.session) for lesson in LESSONS[1:3])
    in_browser = InBrowser(LESSONS[1])
    assert once([in_browser, *first, *second], True) == ([in_browser, *second], first)


@pytest.mark.parametrize("browser", [True, False])
def test_nbval_runs_what_no_browser_will(request, browser):
    """Neither where no browser is found, nor where the browser's test was not asked for, or another lesson's was."""
    first = cells(LESSONS[1], request.session)
    asked = [] if browser else [InBrowser(LESSONS[1])]
    assert once([*asked, *first], browser) == ([*asked, *first], [])
    other = InBrowser(LESSONS[2])
    assert once([other, *first], browser) == ([other, *first], [])


@pytest.fixture
def ran() -> nbformat.NotebookNode:
    """A lesson as it is saved, as if it had just run."""
    return nbformat.read(LESSONS[1], as_version=4)


def stream(name: str, text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", name=name, text=text)


def alter(cell: nbformat.NotebookNode) -> None:
    cell.outputs[0].text = cell.outputs[0].text.replace("0.601727", "0.601726", 1)


def describe_otherwise(cell: nbformat.NotebookNode) -> None:
    cell.outputs[0].data["text/plain"] += "."


def warn(cell: nbformat.NotebookNode) -> None:
    cell.outputs.append(stream("stderr", "FutureWarning: this goes"))


def fail(cell: nbformat.NotebookNode) -> None:
    cell.outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])]


def stop_short(cell: nbformat.NotebookNode) -> None:
    cell.execution_count = None


def test_a_run_like_the_saved_one_has_no_fault(ran, request):
    """Whatever the cells print whose outputs are not compared."""
    next(cell for cell in ran.cells if cell.id == "progress").outputs = [stream("stdout", "something else")]
    assert faults(LESSONS[1], ran, request.session) == []


FAULTS = [
    ("softmax-code", alter, "Cell outputs differ"),
    ("policy-update", describe_otherwise, "Cell outputs differ"),
    ("score-code", lambda cell: cell.outputs.clear(), "Cell outputs differ"),
    ("softmax-code", warn, "FutureWarning: this goes"),
    ("progress", warn, "FutureWarning: this goes"),  # a cell whose outputs are not compared
    ("progress", fail, "ValueError: no"),
    ("quiz", stop_short, "did not run"),
]


@pytest.mark.parametrize(("name", "damage", "says"), FAULTS)
def test_a_fault_names_its_cell(
    ran: nbformat.NotebookNode, request, name: str, damage: Callable[[nbformat.NotebookNode], None], says: str
):
    damage(next(cell for cell in ran.cells if cell.id == name))
    (found,) = faults(LESSONS[1], ran, request.session)
    assert f"01_softmax_bandits.ipynb, cell {name!r}" in found
    assert says in found
