"""Begin a lesson: python tools/new_lesson.py 11 actor_critic.

Writes a lesson that runs and passes the tests, with a widget, exercises and a quiz, from `lesson_template/`, and enters
it wherever lessons are listed. What its author has to replace says TODO.
"""

from __future__ import annotations

import argparse
import keyword
import re
from functools import partial
from pathlib import Path

import nbformat
from lesson_text import fill

ROOT = Path(__file__).parent.parent
TEMPLATE = Path(__file__).parent / "lesson_template"
FILES = {  # in the template's folder, and where it goes
    "widget.py": "pgnotes/classroom/widgets/the_widget.py",
    "exercises.py": "pgnotes/classroom/exercises/lesson_NN.py",
    "quizzes.py": "pgnotes/classroom/quizzes/lesson_NN.py",
    "lesson.ipynb": "notebooks/NN_the_widget.ipynb",
}
LISTS = {  # how a lesson's line begins, with its number as a group, and the line of the new one
    "README.md": (
        r"\| (\d\d) \| ",
        "| NN | [The title](notebooks/NN_the_widget.ipynb) | TODO: what you will see. |",
    ),
    "pgnotes/classroom/atlas.py": (
        r'    \("(\d\d)", ',
        r'    ("NN", "The title", "TODO: what it adds\nto those before it", {}),',
    ),
    "tests/test_lessons.py": (
        r'    "(\d\d)": ',
        '    "NN": {"C00"},',
    ),
}
NEXT = """\
next:
- replace what says TODO, and what stands beside it: grep -rn TODO README.md notebooks pgnotes
- run the lesson, and lesson 00, which shows the map: python tools/run_lessons.py notebooks/00* notebooks/NN*
- test: python -m pytest tests/test_lessons.py tests/test_architecture.py tests/classroom notebooks/00* notebooks/NN*
- lesson 00 counts the lessons in its cells title and map, and says in its cell where what runs where
- a lesson that comes before this one ends with "**Next:**" and a link to it
- a group of lessons has a name on the map: GROUPS in pgnotes/classroom/atlas.py"""


def check(number: str, name: str) -> None:
    """SystemExit, naming the argument, unless a lesson of this number and name can be begun."""
    if not re.fullmatch("[0-9]{2}", number):
        raise SystemExit(f"number is {number!r}; it must have two digits, such as 11")
    for pattern in (f"notebooks/{number}_*", f"pgnotes/classroom/*/lesson_{number}.py"):
        for path in ROOT.glob(pattern):
            raise SystemExit(f"number is {number!r}, which {path.relative_to(ROOT)} has")

    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise SystemExit(f"name is {name!r}; it must be a name in Python, in small letters, such as actor_critic")
    widget = ROOT / f"pgnotes/classroom/widgets/{name}.py"
    if widget.exists():
        raise SystemExit(f"name is {name!r}, which {widget.relative_to(ROOT)} has")
    if name.replace("_", "-") in {cell.id for cell in nbformat.read(TEMPLATE / "lesson.ipynb", as_version=4).cells}:
        raise SystemExit(f"name is {name!r}, which another cell of each lesson has")


def next_claim() -> int:
    """The first number that no claim has in any lesson."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.ipynb")]
    return 1 + max(int(number) for text in texts for number in re.findall(r"Check the claim C(\d+)", text))


def filled(text: str, number: str, name: str, claim: int) -> str:
    """A text of the template with a lesson's own number, names and claim."""
    for word, own in (
        ("NN", number),
        ("the_widget", name),
        ("the-widget", name.replace("_", "-")),
        ("The title", name.replace("_", " ").capitalize()),
        ("C00", f"C{claim}"),
        ("c00", f"c{claim}"),
    ):
        text = text.replace(word, own)
    return text


def entered(text: str, entry: str, number: str, line: str) -> str:
    """A file with one line more in its list of lessons: before the next higher number, or at the list's end."""
    lines = text.splitlines(keepends=True)
    start = next(i for i, old in enumerate(lines) if re.match(entry, old))
    for i, old in enumerate(lines[start:], start):
        lesson = re.match(entry, old)
        if (lesson and lesson[1] > number) or re.match("[)}]|$", old):
            return "".join([*lines[:i], f"{line}\n", *lines[i:]])
    raise ValueError(f"entry is {entry!r}, and the list of such entries has no end")


def main() -> None:
    """Write a lesson's files, enter it in the lists, and say what is left to its author."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", help="two digits, such as 11")
    parser.add_argument("name", help="of the lesson and its first widget, such as actor_critic")
    given = parser.parse_args()
    check(given.number, given.name)
    own = partial(filled, number=given.number, name=given.name, claim=next_claim())

    # all texts first, so that a fault leaves everything as it was
    texts = {own(place): own((TEMPLATE / file).read_text(encoding="utf-8")) for file, place in FILES.items()}
    for file, (entry, line) in LISTS.items():
        texts[file] = entered((ROOT / file).read_text(encoding="utf-8"), entry, given.number, own(line))
    for file, text in texts.items():
        (ROOT / file).write_text(text, encoding="utf-8")

    # what all lessons share; the quiz in print is read from the file just written
    path = ROOT / own(FILES["lesson.ipynb"])
    notebook = nbformat.read(path, as_version=4)
    fill(notebook, path.name)
    nbformat.write(notebook, path)
    print("written:", *texts, own(NEXT), sep="\n")


if __name__ == "__main__":
    main()
