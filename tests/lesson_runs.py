"""How the tests run a lesson: in a browser where there is one, else by nbval; once, and with the same checks.

Either way a lesson runs as it is saved. What its cells put out is compared with what is saved, by nbval's own comparer
and with its tags, and no cell may write to stderr, not even one whose outputs are not compared.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError, coalesce_streams

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
REQUIRED = os.environ.get("PGNOTES_BROWSER") == "required"


def browser_is_there() -> bool:
    """Whether the lessons can be run in a browser here."""
    return CHROMIUM is not None and importlib.util.find_spec("playwright") is not None


def lesson_in_browser(item: pytest.Item) -> Path | None:
    """The lesson that a test runs in the browser; None for any other test."""
    return item.callspec.params["path"] if item.get_closest_marker("runs_lesson") else None


def once(items: list[pytest.Item], in_browser: bool) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """(tests to run, nbval's cells to leave out): those of a lesson that another of these tests runs in the browser."""
    covered = {lesson_in_browser(item) for item in items} if in_browser else set()
    left_out = [item for item in items if isinstance(item, IPyNbCell) and item.path in covered]
    return [item for item in items if item not in set(left_out)], left_out


def stderr(outputs: Iterable[nbformat.NotebookNode]) -> str:
    """What a cell wrote to stderr."""
    return "".join(out.text for out in outputs if out.output_type == "stream" and out.name == "stderr")


def check_stderr(cell: IPyNbCell, outputs: list[nbformat.NotebookNode]) -> None:
    """NbCellError if the cell wrote to stderr: a warning, for a learner, is a fault."""
    if text := stderr(outputs):
        cell.raise_cell_error("It writes to stderr", text)


def check_outputs(cell: IPyNbCell, outputs: list[nbformat.NotebookNode]) -> None:
    """NbCellError unless a cell that ran somewhere else put out what nbval would accept, and nothing on stderr."""
    for output in outputs:
        if output.output_type == "error" and not cell.options["check_exception"]:
            cell.raise_cell_error("Cell execution caused an exception", "\n".join(output.traceback))
    outputs = coalesce_streams(outputs)
    check_stderr(cell, outputs)
    if not cell.options["check"] or cell.cell.execution_count is None:
        return
    if not cell.compare_outputs(outputs, coalesce_streams(cell.cell.outputs)):
        cell.raise_cell_error("Cell outputs differ", "\n".join(cell.comparison_traceback))


def faults(lesson: Path, ran: nbformat.NotebookNode, session: pytest.Session) -> list[str]:
    """What is wrong with a run of a lesson, compared with its saved file: a text for each cell at fault, naming it."""
    file = IPyNbFile.from_parent(session, path=lesson)
    file.setup_sanitize_files()
    cells = list(file.collect())
    found, fresh = [], [cell for cell in ran.cells if cell.cell_type == "code"]
    for cell, done in zip(cells, fresh, strict=True):
        assert cell.cell.id == done.id
        try:
            if done.execution_count is None:
                cell.raise_cell_error("It did not run")
            check_outputs(cell, done.outputs)
        except NbCellError as error:
            text = cell.repr_failure(pytest.ExceptionInfo.from_exception(error))
            found.append(f"{lesson.name}, cell {done.id!r}: {text}")
    return found
