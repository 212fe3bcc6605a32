"""The parts that all lessons share: the badge, the setup cell, the printed quiz.

Their one source; `run_lessons.py` puts them into each lesson.

    python tools/lesson_text.py                                       put them in again, without running anything
    python tools/lesson_text.py https://github.com/someone/pgnotes    set the project's address, everywhere
    (make address URL=https://github.com/someone/pgnotes does the same)
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import nbformat

from pgnotes.classroom.quiz import markdown

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
SETUP = """\
# @title Setup {{ display-mode: "form" }}
import importlib.util
import subprocess
import sys
from pathlib import Path

REPOSITORY = "{address}"
# a clone: around this lesson, beside it, or on Drive
for folder in (Path(".."), Path("pgnotes"), Path("/content/drive/MyDrive/pgnotes")):
    if (folder / "pgnotes/__init__.py").is_file():
        sys.path.append(str(folder.resolve()))
if importlib.util.find_spec("pgnotes") is None:
    wheels = sorted(Path().glob("pgnotes-*.whl"))  # one that lies beside this lesson, or the published package
    package = str(wheels[-1]) if wheels else f"{{REPOSITORY}}/archive/refs/heads/main.zip"
    if "YOUR_ACCOUNT" in package:
        raise SystemExit(
            "This copy of the lesson does not know where its package is published: "
            "put the real address into REPOSITORY above."
        )
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", package], check=True)
    importlib.invalidate_caches()

import pgnotes

pgnotes.start("{lesson}")"""


def address() -> str:
    """Where the project is published, from pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def badge(name: str) -> str:
    """The Colab badge of a notebook; while the project has no address, it leads to the README's words about that."""
    path = address().removeprefix("https://github.com/")
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    target = f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{name}"
    if "YOUR_ACCOUNT" in path:
        target = "../README.md#a-lesson-in-colab"
    return f"[![Open in Colab]({image})]({target})"


def fill(notebook: nbformat.NotebookNode, name: str) -> None:
    """Put the shared parts into a lesson: cells "title" and "setup" must be there, "quiz-print" may be."""
    cells = {cell.id: cell for cell in notebook.cells}
    cells["title"].source = BADGE.sub(badge(name), cells["title"].source)
    cells["setup"].source = SETUP.format(address=address(), lesson=name[:2])
    hidden = {"cellView": "form", "jupyter": {"source_hidden": True}}
    cells["setup"].metadata.update({**hidden, "tags": ["nbval-ignore-output"]})
    if "quiz-print" in cells:
        cells["quiz-print"].source = markdown(name[:2])


def publish_at(url: str) -> None:
    """Write the address into pyproject.toml and the README; SystemExit for something that is no GitHub address."""
    if not ADDRESS.fullmatch(url):
        raise SystemExit(f"the address is {url!r}; it must look like https://github.com/someone/pgnotes")
    old, new = (where.removeprefix("https://github.com/") for where in (address(), url))
    for path in (ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "CITATION.cff"):
        text = path.read_text(encoding="utf-8").replace(old, new)
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Set the address if one is given, then fill every lesson."""
    if len(sys.argv) > 1:
        publish_at(sys.argv[1])
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        fill(notebook, path.name)
        nbformat.write(notebook, path)
    print(f"lessons point to {address()}")


if __name__ == "__main__":
    main()
