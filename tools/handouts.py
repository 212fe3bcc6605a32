"""Make three sets of handouts from the lessons, into build/handouts/: for students, solved, and for the lecturer.

    python tools/handouts.py                              all lessons; the solved ones are run, which takes minutes
    python tools/handouts.py notebooks/05* --workers 4    some, on four cores
    python tools/handouts.py --no-run                     without running anything

student/   no hint, no solution and no answer anywhere in the file; each exercise still open; a receipt to hand in.
solved/    each stub replaced by the solution that the lesson has under its fold, and run: every check says right.
lecturer/  solved, with the notes of teach/NN.md before everything else, where there are any.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from lesson_text import BADGE
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell
from run_lessons import ROOT, clean

SETS = ("student", "solved", "lecturer")
OPEN, CLOSE = re.compile(r"<details\b[^>]*>\s*<summary>(.*?)</summary>", re.S), "</details>"
ANSWERS = re.compile(r"Hint|Solution|Answer to \d+")  # titles of the folds that exercises and quizzes have
EXERCISE = re.compile(r"exercise-\d+")
ELSEWHERE = re.compile(r"\[([^]\[]+)\]\(\.\./[^)]*\)")  # links to files of the project, which a handout leaves behind
HAND_IN = """\
## Hand in

Put your name or number between the quotes, run the cell, and paste the line it prints into the form. It says which
exercises are right and after how many tries, which slips were named on the way, and what you answered in the quiz.
A kernel that was restarted remembers nothing: run your exercises again first."""


def folds(text: str) -> list[tuple[int, int, str]]:
    """(start, end, title) of each outermost fold of a text."""
    found, place = [], 0
    while head := OPEN.search(text, place):
        depth, end = 1, head.end()
        while depth:
            mark = re.compile(r"<details\b|</details>").search(text, end)
            if mark is None:
                raise ValueError(f"a fold is never closed: {head[1]!r}")
            depth, end = depth + (1 if mark[0] != CLOSE else -1), mark.end()
        found.append((head.start(), end, head[1]))
        place = end
    return found


def without_answers(text: str, all_folds: bool = False) -> str:
    """A text without the folds that hold a hint, a solution or an answer, at whatever depth; or without any fold."""
    kept, place = [], 0
    for start, end, title in folds(text):
        kept.append(text[place:start])
        if not (all_folds or ANSWERS.fullmatch(title)):
            head = OPEN.match(text, start)
            assert head is not None
            inside = text[head.end() : end - len(CLOSE)]
            kept.append(f"{head[0]}\n\n{without_answers(inside)}\n\n{CLOSE}")
        place = end
    return re.sub(r"\n{3,}", "\n\n", "".join([*kept, text[place:]])).strip()


def solution_of(text: str) -> str | None:
    """The code under the fold "Solution" of a text, or None."""
    for start, end, title in folds(text):
        if title == "Solution":
            code = re.search(r"```python\n(.*?)```", text[start:end], re.S)
            return code[1].strip() if code else None
    return None


def is_stub(node: ast.stmt) -> bool:
    """Whether a statement defines a function whose body is dots, below a docstring or not."""
    if not isinstance(node, ast.FunctionDef):
        return False
    last = node.body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...


def solved(stub: str, solution: str) -> str:
    """A cell's source in which the solution stands in the place of the dots; what the solution needs, before it.

    Signature and docstring stay the stub's.  ValueError where there is no stub, or the solution has another name.
    """
    lines = stub.splitlines()
    place = next((node for node in ast.parse(stub).body if is_stub(node)), None)
    if not isinstance(place, ast.FunctionDef):
        raise ValueError("this cell holds no stub")
    written = [node for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)]
    answer = next((node for node in written if node.name == place.name), None)
    if answer is None:
        raise ValueError(f"the solution does not define {place.name}")

    given, start = solution.splitlines(), answer.body[0].lineno - 1
    while given[start - 1].lstrip().startswith("#"):  # a comment above the first line belongs to the body
        start -= 1
    before, body = given[: answer.lineno - 1], given[start : answer.end_lineno]
    rest = given[answer.end_lineno :]
    assert not any(rest), "a solution ends with its function"
    head, dots = lines[: place.lineno - 1], place.body[-1].lineno - 1
    return "\n".join([*head, *before, *lines[place.lineno - 1 : dots], *body, *lines[dots + 1 :]])


def student(lesson: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The lesson to hand out: no answers, no badge that leads to them, and a cell that prints the receipt."""
    notebook = copy.deepcopy(lesson)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = without_answers(cell.source, all_folds=cell.id.startswith("exercise-"))
    notebook.cells = [cell for cell in common(notebook).cells if cell.source]
    notebook.cells += [
        new_markdown_cell(HAND_IN, id="hand-in"),
        new_code_cell('pgnotes.receipt("your name or number")', id="receipt"),
    ]
    return notebook


def with_solutions(lesson: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The lesson with every stub replaced by its solution, and no outputs yet."""
    notebook = copy.deepcopy(lesson)
    cells = {cell.id: cell for cell in notebook.cells}
    for name, cell in cells.items():
        if EXERCISE.fullmatch(name):
            help_cell = cells[f"{name}-help"]
            solution = solution_of(help_cell.source)
            if solution is None:
                raise ValueError(f"{name} has no solution")
            cell.source = solved(cell.source, solution)
            help_cell.source = without_solution(help_cell.source)
    return common(notebook)


def without_solution(text: str) -> str:
    """A text without its fold "Solution", which the cell above has now."""
    for start, end, title in folds(text):
        if title == "Solution":
            return re.sub(r"\n{3,}", "\n\n", text[:start] + text[end:]).strip()
    return text


def common(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """What all handouts leave out: the badge and links that lead out of the set."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = ELSEWHERE.sub(r"\1", BADGE.sub("", cell.source))
            cell.source = re.sub(r"\n{3,}", "\n\n", cell.source).strip()
    return notebook


def annotated(notebook: nbformat.NotebookNode, notes: Path) -> nbformat.NotebookNode:
    """A solved lesson with the lecturer's notes, if the file exists, as its first cell."""
    notebook = copy.deepcopy(notebook)
    if notes.is_file():
        text = notes.read_text(encoding="utf-8").strip()
        text = re.sub(r"\]\(\.\./notebooks/", "](", text)
        notebook.cells.insert(0, new_markdown_cell(text, id="lecturer-notes"))
    return notebook


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a clean kernel."""
    where = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
    clean(notebook)


def verdicts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the check of each exercise said, by the cell's id: the plain text of its output."""
    texts = {}
    for cell in notebook.cells:
        if EXERCISE.fullmatch(cell.id):
            texts[cell.id] = next((o.data["text/plain"] for o in cell.outputs if "data" in o), "")
    return texts


def check(notebook: nbformat.NotebookNode, word: str, name: str) -> None:
    """SystemExit unless every exercise's check said the word."""
    for cell, said in verdicts(notebook).items():
        if f", {word}: " not in said:
            raise SystemExit(f"{name}, {cell}: its check should say {word!r}, and says {said!r}")


def make(path: Path, out: Path, run: bool = True, try_student: bool = False) -> str:
    """Write the three handouts of a lesson; returns its name.  SystemExit where a check does not say what it should.

    run: the solved one.  try_student: run a copy of the student's, too.
    """
    lesson = nbformat.read(path, as_version=4)
    found = {"student": student(lesson), "solved": with_solutions(lesson)}
    check(found["student"], "still open", path.name)
    if try_student:
        tried = copy.deepcopy(found["student"])
        execute(tried)
        check(tried, "still open", path.name)
    if run:
        execute(found["solved"])
        check(found["solved"], "right", path.name)
    else:
        for cell in found["solved"].cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
    found["lecturer"] = annotated(found["solved"], ROOT / "teach" / f"{path.name[:2]}.md")

    for name, notebook in found.items():
        nbformat.validate(notebook)
        (out / name).mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, out / name / path.name)
    return path.name


def main(argv: Sequence[str] | None = None) -> None:
    """Make the handouts of the lessons that are named, or of all."""
    parser = argparse.ArgumentParser(description="Handouts for students, solved, and for the lecturer.")
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks; all of notebooks/ if none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "handouts", help="the folder for the three sets")
    parser.add_argument("--workers", type=int, default=1, help="how many lessons to run at a time")
    parser.add_argument("--no-run", action="store_true", help="don't run the solved ones: they have no outputs then")
    parser.add_argument("--try-students", action="store_true", help="run the students' ones, too, and look at checks")
    args = parser.parse_args(argv)
    paths = args.lessons or sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several kernels side by side
    with ProcessPoolExecutor(max_workers=max(1, args.workers)) as pool:
        for name in pool.map(partial(make, out=args.out, run=not args.no_run, try_student=args.try_students), paths):
            print(f"{name}: {', '.join(SETS)}")


if __name__ == "__main__":
    main()
