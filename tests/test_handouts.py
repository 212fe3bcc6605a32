"""Handouts: nothing that helps in the students' files, everything right in the solved ones."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import torch
from handouts import (
    EXERCISE,
    SETS,
    annotated,
    folds,
    main,
    make,
    solution_of,
    solved,
    student,
    verdicts,
    with_solutions,
    without_answers,
)
from lesson_runs import LESSONS

from pgnotes.classroom.exercises import lesson_05

each = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)


@pytest.fixture(scope="module")
def handouts():
    """The student's and the solved file of a lesson, made once."""
    made = {}

    def of(path):
        if path not in made:
            lesson = nbformat.read(path, as_version=4)
            made[path] = lesson, student(lesson), with_solutions(lesson)
        return made[path]

    return of


def squeezed(text):
    """Without blanks and line breaks, in which two prints of the same differ."""
    return re.sub(r"\s+", "", text)


def everything(value):
    """All texts in a notebook: sources, outputs, metadata, attachments, whatever else there is."""
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in everything(part)]
    if isinstance(value, list):
        return ["".join(value)] if all(isinstance(v, str) for v in value) else [t for v in value for t in everything(v)]
    return [value] if isinstance(value, str) else []


def helps(lesson):
    """(name, text) of what a lesson has under its folds to help: hints, solutions, the quiz's answers."""
    for cell in lesson.cells:
        if cell.cell_type == "markdown":
            for start, end, title in folds(cell.source):
                inner = cell.source[start:end]
                if title in ("Hint", "Solution"):
                    code = re.search(r"```python\n.*?def [^\n]*\n(.*?)```", inner, re.S)
                    hint = inner.split("</summary>")[1].removesuffix("</details>")
                    yield f"{cell.id}, {title}", code[1] if title == "Solution" else hint
                for answer in re.findall(r"Answer to \d+</summary>(.*?)</details>", inner, re.S):
                    yield f"{cell.id}, an answer", answer


@each
def test_nothing_that_helps_is_left_in_the_student_s_file(path, handouts):
    lesson, given, _ = handouts(path)
    nbformat.validate(given)
    texts = everything(json.loads(nbformat.writes(given)))
    whole = squeezed("\n".join(texts))
    found = list(helps(lesson))
    assert len(found) >= 2 * 3 + 4
    for name, text in found:
        assert len(squeezed(text)) > 8, name
        if not name.endswith("Solution") or text.count("\n") > 1:  # a solution of one line may be a formula of the text
            assert squeezed(text) not in whole, name
    for cell in given.cells:
        titles = [title for _, _, title in folds(cell.source)] if cell.cell_type == "markdown" else []
        assert not any(re.search("Hint|Solution|Answer to", title) for title in titles), cell.id
        assert not cell.id.endswith("-help") or "<details>" not in cell.source, cell.id
        assert "attachments" not in cell
    assert "colab-badge.svg" not in whole, "the badge leads to the lesson with its solutions"


@each
def test_in_the_student_s_file_every_exercise_is_open_and_the_rest_is_the_lesson(path, handouts):
    lesson, given, _ = handouts(path)
    said = verdicts(given)
    assert len(said) >= 3
    assert all(", still open: " in text for text in said.values())
    code = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    assert [cell.source for cell in given.cells if cell.cell_type == "code"][:-1] == code
    assert given.cells[-1].source == 'pgnotes.receipt("your name or number")'
    before = "".join(cell.source for cell in lesson.cells)
    assert set(re.findall(r"\*\*Exercise [\d.]+\*\*", before)) == set(
        re.findall(r"\*\*Exercise [\d.]+\*\*", "".join(cell.source for cell in given.cells))
    )


@each
def test_in_the_solved_file_every_exercise_is_right_by_the_lesson_s_own_solution(path, handouts):
    lesson, _, done = handouts(path)
    nbformat.validate(done)
    space, old = {"torch": torch}, {cell.id: cell.source for cell in lesson.cells}
    for cell in done.cells:
        if cell.id.startswith("given-"):  # what an exercise's learner may call
            exec(cell.source, space)
        if EXERCISE.fullmatch(cell.id):
            *statements, check = cell.source.strip().rsplit("\n", 1)
            exec("\n".join(statements), space)
            result = eval(check, space)
            assert result.status == "right", (cell.id, result)
            head = re.search(r'def .*?"""', old[cell.id], re.S)[0]
            assert head in cell.source, "signature and docstring are the stub's"
        elif cell.cell_type == "code":
            assert cell.source == old[cell.id]
    text = "".join(cell.source for cell in done.cells)
    assert "<summary>Solution</summary>" not in text
    assert "<summary>Hint</summary>" in text


def test_a_small_lesson_is_run_from_end_to_end(tmp_path, monkeypatch):
    """Lesson 00: three files, all of them valid, the solved one with every check right and outputs from that run."""
    main([str(LESSONS[0]), "--out", str(tmp_path)])
    made = {name: nbformat.read(tmp_path / name / LESSONS[0].name, as_version=4) for name in SETS}
    assert all(", right: " in text for text in verdicts(made["solved"]).values())
    assert all(", still open: " in text for text in verdicts(made["student"]).values())
    assert len(verdicts(made["solved"])) == 6
    progress = next(cell for cell in made["solved"].cells if cell.id == "progress")
    assert "6 of 6" in progress.outputs[0].data["text/plain"]
    assert all(cell.execution_count for cell in made["solved"].cells if cell.cell_type == "code")


def test_the_lecturer_s_notes_come_first_where_there_are_any(tmp_path):
    lesson = with_solutions(nbformat.read(LESSONS[0], as_version=4))
    (tmp_path / "00.md").write_text(
        "# Teaching it\n\nSee [01](../notebooks/01_softmax_bandits.ipynb).\n", encoding="utf-8"
    )
    noted = annotated(lesson, tmp_path / "00.md")
    assert noted.cells[0].source == "# Teaching it\n\nSee [01](01_softmax_bandits.ipynb)."
    assert noted.cells[1:] == lesson.cells
    assert annotated(lesson, tmp_path / "none.md").cells == lesson.cells


def test_a_check_that_does_not_say_what_it_should_stops_everything(tmp_path):
    lesson = nbformat.read(LESSONS[0], as_version=4)
    cell = next(cell for cell in lesson.cells if cell.id == "exercise-1")
    cell.outputs = []
    broken = tmp_path / LESSONS[0].name
    nbformat.write(lesson, broken)
    with pytest.raises(SystemExit, match="exercise-1: its check should say 'still open'"):
        make(broken, tmp_path / "out", run=False)
    assert not (tmp_path / "out").exists()


STUB = '''\
import torch


def advantages(
    probs: torch.Tensor, worth: torch.Tensor
) -> torch.Tensor:
    """A docstring.

    With two parts.
    """
    ...


check.advantage(advantages)'''


def test_a_solution_takes_the_place_of_the_dots_and_brings_what_it_needs():
    helper = "import math\n\n\ndef half(x):\n    return x\n\n\n"
    solution = f"{helper}def advantages(probs, worth):\n    # why\n    return half(worth)"
    text = solved(STUB, solution)
    assert text.startswith("import torch\n\n\nimport math\n\n\ndef half(x):\n    return x\n\n\ndef advantages(\n")
    assert text.endswith('"""\n    # why\n    return half(worth)\n\n\ncheck.advantage(advantages)')
    with pytest.raises(ValueError, match="does not define advantages"):
        solved(STUB, "def other(x):\n    return x")
    with pytest.raises(ValueError, match="no stub"):
        solved("x = 1", solution)


def test_folds_inside_folds():
    inner = "<details><summary>Answer to 1</summary>\n\nA, {x}.\n\n</details>"
    text = f"Before.\n\n<details><summary>Quiz</summary>\n\n**1.** Which?\n\n{inner}\n\n</details>\n\nAfter."
    left = without_answers(text)
    assert left == "Before.\n\n<details><summary>Quiz</summary>\n\n**1.** Which?\n\n</details>\n\nAfter."
    assert without_answers(text, all_folds=True) == "Before.\n\nAfter."
    assert [title for _, _, title in folds(text)] == ["Quiz"]
    assert solution_of(text) is None
    with pytest.raises(ValueError, match="never closed"):
        folds("<details><summary>Hint</summary> …")


@each
def test_a_hand_in_is_known_by_the_name_that_the_stub_has(path):
    """What `recheck` looks for is what the lesson asks for."""
    lesson, number = nbformat.read(path, as_version=4), path.name[:2]
    asked = [re.findall(r"^def (\w+)\(", cell.source, re.M)[-1] for cell in lesson.cells if EXERCISE.fullmatch(cell.id)]
    module = __import__(f"pgnotes.classroom.exercises.lesson_{number}", fromlist=["EXERCISES"])
    assert [exercise.function for exercise in module.EXERCISES] == asked
    assert lesson_05.advantage.function == "advantages"


def test_the_make_target_is_there():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^handouts: .*\n(\t.*\n)*\t.*tools/handouts\.py", makefile, re.M)
