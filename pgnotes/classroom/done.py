"""What has been done in this kernel: `pgnotes.progress()`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from pgnotes.classroom.style import BETTER, QUIET, WORSE


class Try(NamedTuple):
    """A try at an exercise or a question: its status, the slip's name or the choice's letter, and what was said."""

    status: str
    what: str = ""
    said: str = ""


STATUS: dict[tuple[str, str], str] = {}  # (lesson, item) -> "open", "wrong" or "right"
TRIES: dict[tuple[str, str], list[Try]] = {}  # the same -> every try that was another one than the try before it
SIGNS = {"right": "●", "wrong": "◐", "open": "○"}
COLOURS = {"right": BETTER, "wrong": WORSE, "open": QUIET}


def note(lesson: str, item: str, status: str, what: str = "", said: str = "") -> None:
    """Remember the newest state of an exercise or a question of the quiz, and the try that led to it.

    what: the name of the slip, or the letter of the choice.  said: the sentence that was heard. A cell that is run
    again as it is hears the same and is no new try; nor is a stub.
    """
    STATUS[lesson, item] = status
    tries, this = TRIES.setdefault((lesson, item), []), Try(status, what, said)
    if status != "open" and tries[-1:] != [this]:
        tries.append(this)


def items(lesson: str) -> dict[str, list[str]]:
    """A lesson's exercises and questions by kind, in order."""
    exercises = import_module(f"pgnotes.classroom.exercises.lesson_{lesson}").EXERCISES
    questions = import_module(f"pgnotes.classroom.quizzes.lesson_{lesson}").QUESTIONS
    return {
        "exercises": [f"exercise {e.number}" for e in exercises],
        "quiz": [f"question {i}" for i in range(1, len(questions) + 1)],
    }


def lessons() -> list[str]:
    """The lessons that have exercises."""
    from pgnotes.classroom import exercises

    names = [module.name for module in iter_modules(exercises.__path__)]
    return sorted(name.removeprefix("lesson_") for name in names if name.startswith("lesson_"))


class Progress:
    """A table of what is right (●), not yet (◐) and open (○), by lesson.

    It has the lessons opened in this kernel, or all if none was.
    """

    def __init__(self) -> None:
        opened = {lesson for lesson, _ in STATUS} or set(lessons())
        self.rows = [
            (lesson, kind, [STATUS.get((lesson, name), "open") for name in names])
            for lesson in sorted(opened)
            for kind, names in items(lesson).items()
        ]

    def __repr__(self) -> str:
        """A line for each row."""
        return "\n".join(
            f"lesson {lesson}  {kind:<9}  {' '.join(SIGNS[s] for s in row)}  {row.count('right')} of {len(row)}"
            for lesson, kind, row in self.rows
        )

    def _repr_html_(self) -> str:
        lines = []
        for lesson, kind, row in self.rows:
            signs = " ".join(f'<span style="color:{COLOURS[s]}">{SIGNS[s]}</span>' for s in row)
            columns = (f"lesson {lesson}", kind, signs, f"{row.count('right')} of {len(row)}")
            lines.append(f"<tr>{''.join(f'<td>{column}</td>' for column in columns)}</tr>")
        return f"<table>{''.join(lines)}</table>"


def progress() -> Progress:
    """Exercises and questions done in this kernel, lesson by lesson; a new kernel starts from nothing."""
    return Progress()
