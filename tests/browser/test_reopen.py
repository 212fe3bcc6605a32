"""A lesson that was run and saved, opened again when its kernel has gone: pictures stand where the widgets were."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_browser import IDLE, RUN_ALL, SAVE, STOP, browser, lab, open_and_run, page  # noqa: F401

CELLS = {
    "setup": 'import pgnotes\n\npgnotes.start("07")',
    "clip": "from pgnotes.classroom.widgets.clip import clip\n\nclip().show()",
    "quiz": 'pgnotes.quiz("07")',
}
OUTPUTS = """id => {
    const cells = window.jupyterapp.shell.currentWidget.content.widgets
    const cell = cells.find(cell => cell.model.id === id)
    return [...cell.node.querySelectorAll('.jp-OutputArea-child')].map(child => ({
        seen: child.getBoundingClientRect().height > 0,
        picture: child.querySelector('img:not(.pgnotes-ui img)') !== null,
        live: child.querySelector('.pgnotes-ui') !== null,
        text: child.innerText,
    }))
}"""


def seen(page, cell):  # noqa: F811
    """The outputs of a cell that can be seen."""
    return [output for output in page.evaluate(OUTPUTS, cell) if output["seen"]]


@pytest.fixture(scope="module")
def saved(lab):  # noqa: F811
    """The name of a small lesson, and its file."""
    address, folder = lab
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [new_code_cell(source, id=name) for name, source in CELLS.items()]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), folder / "reopened.ipynb")
    return address, folder / "reopened.ipynb"


def test_the_twin_is_seen_when_the_kernel_has_gone(saved, page):  # noqa: F811
    address, path = saved
    open_and_run(page, address, path.name)
    page.wait_for_selector(".pgnotes-ui input[type=radio]")
    page.wait_for_selector(".pgnotes-ui img")

    # live: the widget alone, and the setup cell's line alone
    for cell in ("clip", "quiz"):
        (output,) = seen(page, cell)
        assert output["live"]
    (output,) = seen(page, "setup")
    assert output["text"].startswith("Lesson 07 is ready")

    # the same cell again: what it showed is closed, its twin does not come back
    page.evaluate("() => { window.finished = false }")
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.finished === true")
    page.wait_for_function(IDLE)
    page.wait_for_selector(".pgnotes-ui img")
    (output,) = seen(page, "clip")
    assert output["live"]
    page.evaluate(SAVE)
    assert not page.faults

    # opened again: the twin alone, and no word of a model that is missing
    page.evaluate(STOP)
    page.goto("about:blank")
    page.goto(f"{address}/lab/tree/{path.name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(f"() => {{ try {{ return ({IDLE})() }} catch (e) {{ return false }} }}")
    page.wait_for_function("() => document.body.textContent.includes('model not found')")
    (output,) = seen(page, "clip")
    assert output["picture"]
    assert not output["live"]
    if os.environ.get("PGNOTES_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['PGNOTES_SCREENSHOTS']}/reopened.png")
    (output,) = seen(page, "quiz")
    assert "unfold the quiz in print" in output["text"]
