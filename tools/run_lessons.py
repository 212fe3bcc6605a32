"""Run lessons in a clean kernel and save them with their outputs, without what differs from run to run.

python tools/run_lessons.py                 all of notebooks/
python tools/run_lessons.py notebooks/09*   some
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import nbformat
from lesson_text import fill
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PROGRESS = re.compile(r"it/s|step/s|s/it|\d+%\|")  # a tqdm bar


def clean(notebook: nbformat.NotebookNode) -> None:
    """Leave out widgets (their static twins stay), progress bars, timestamps and the version of Python."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merged([output for output in cell.outputs if not is_progress(output)])
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET_VIEW, None)  # without its kernel it could only say what it lacks
            cell.outputs = [output for output in cell.outputs if not is_unseen(output)]


def merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Neighbouring pieces of one stream as one: where a kernel cuts it depends on its speed."""
    whole: list[nbformat.NotebookNode] = []
    for output in outputs:
        if whole and output.output_type == whole[-1].output_type == "stream" and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def is_unseen(output: nbformat.NotebookNode) -> bool:
    """True for what was a widget and nothing else, and for the page's style, which has no dead widget to hide here."""
    data = output.get("data")
    return data == {} or (data or {}).get("text/html", "").startswith("<style")


def is_progress(output: nbformat.NotebookNode) -> bool:
    """True for a progress bar, as text or as a widget of tqdm's."""
    text = output.get("text", "") or output.get("data", {}).get("text/plain", "")
    return bool(PROGRESS.search(text))


def main() -> None:
    """Run each lesson; stop at the first error, leaving that lesson's file as it was."""
    for path in map(Path, sys.argv[1:] or sorted((ROOT / "notebooks").glob("*.ipynb"))):
        started = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        fill(notebook, path.name)
        where = {"metadata": {"path": str(ROOT / "notebooks")}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
        clean(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
