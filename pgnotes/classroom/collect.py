"""A class from its receipts: a table of who passed what, and which slip was diagnosed most often, with a picture."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

import pgnotes
from pgnotes.classroom import done
from pgnotes.classroom.receipts import Passed, Receipt, found_in
from pgnotes.classroom.style import EXACT, WORSE, panels

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with what a cell begins that a spreadsheet would compute


@dataclass(frozen=True)
class Slip:
    """How many students heard of one slip in an exercise, how often in all, and how many students tried it."""

    exercise: str
    name: str
    students: int
    times: int
    tried: int


def collect(source: Path, out: Path) -> dict:
    """Write class.csv, slips.csv and slips.png of the receipts in a file; returns what to print.

    OSError if the file can't be read or the folder can't be written.
    """
    receipts, faults = found_in(text_of(source.read_bytes()))
    receipts, strange = known(receipts)
    counted = newest(receipts)
    slips = slips_of(counted)

    out.mkdir(parents=True, exist_ok=True)
    write(out / "class.csv", table(counted))
    write(out / "slips.csv", [["exercise", "slip", "students", "times", "tried by"], *map(row_of, slips)])
    if slips:
        picture(most_often(slips)).savefig(out / "slips.png", facecolor="white")
    return {
        "receipts": len(receipts),
        "students": len(counted),
        "not_counted": faults + strange,
        "most_often": {s.exercise: s.name for s in most_often(slips)},
    }


def text_of(data: bytes) -> str:
    """A file's text, in the encodings in which forms and spreadsheets export."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def known(receipts: Iterable[Receipt]) -> tuple[list[Receipt], list[str]]:
    """The receipts with only the exercises that this version has, and a sentence for each that names others."""
    here = {lesson: {item.split()[1] for item in done.items(lesson)["exercises"]} for lesson in done.lessons()}
    kept, faults = [], []
    for receipt in receipts:
        strange = sorted(
            number
            for lesson, exercises in receipt.exercises.items()
            for number in exercises
            if number not in here.get(lesson, ())
        )
        if strange:
            faults.append(
                f"of {receipt.who!r}, version {receipt.version}: this version, {pgnotes.__version__}, has no exercise "
                f"{', '.join(strange[:5])}; the rest of it counts"
            )
        exercises = {
            lesson: {number: passed for number, passed in given.items() if number in here[lesson]}
            for lesson, given in receipt.exercises.items()
            if lesson in here
        }
        answers = {lesson: given for lesson, given in receipt.answers.items() if lesson in here}
        kept.append(Receipt(receipt.who, receipt.version, exercises, answers))
    return kept, faults


def newest(receipts: Iterable[Receipt]) -> list[Receipt]:
    """One receipt for each name (capitals and blanks aside), with the best of each lesson.

    Of two receipts for a lesson the one with more right exercises counts, of equals the one with more tries, then the
    later one: a kernel that was restarted has forgotten, and a receipt pasted twice is one.
    """
    people: dict[str, Receipt] = {}
    for receipt in receipts:
        key = " ".join(receipt.who.casefold().split())
        before = people.get(key)
        if before is None:
            people[key] = receipt
            continue
        exercises, answers = dict(before.exercises), dict(before.answers)
        for lesson, given in receipt.exercises.items():
            if lesson not in exercises or weight(given) >= weight(exercises[lesson]):
                exercises[lesson] = given
            if sum(map(bool, receipt.answers.get(lesson, []))) >= sum(map(bool, answers.get(lesson, []))):
                answers[lesson] = receipt.answers.get(lesson, [])
        people[key] = Receipt(before.who, receipt.version, exercises, answers)
    return sorted(people.values(), key=lambda r: r.who.casefold())


def weight(exercises: dict[str, Passed]) -> tuple[int, int]:
    """By what two receipts for one lesson are compared: right exercises, tries."""
    return sum(e.right for e in exercises.values()), sum(e.tries for e in exercises.values())


def table(receipts: Sequence[Receipt]) -> list[list[str]]:
    """The class, a row for each name: by lesson what was right, after how many tries, and the quiz's first answers."""
    lessons = sorted({lesson for receipt in receipts for lesson in receipt.exercises})
    head = ["name", "version"]
    for lesson in lessons:
        numbers = [item.split()[1] for item in done.items(lesson)["exercises"]]
        head += [f"lesson {lesson} right", *(f"{number} tries" for number in numbers), f"lesson {lesson} quiz at first"]
    rows = [head]
    for receipt in receipts:
        row = [receipt.who, receipt.version]
        for lesson in lessons:
            items, given = done.items(lesson), receipt.exercises.get(lesson, {})
            tries = [tries_of(given.get(item.split()[1])) for item in items["exercises"]]
            first = sum(answer[:1].isupper() for answer in receipt.answers.get(lesson, []))
            right = sum(e.right for e in given.values())
            row += [f"{right} of {len(tries)}", *tries, f"{first} of {len(items['quiz'])}"]
        rows.append(row)
    return rows


def tries_of(passed: Passed | None) -> str:
    """An exercise in the table: tries until it was right, in brackets where it is not, empty where none was made."""
    if passed is None:
        return ""
    return str(passed.tries) if passed.right else f"({passed.tries})"


def slips_of(receipts: Iterable[Receipt]) -> list[Slip]:
    """Every slip that was diagnosed, exercise by exercise, the most frequent first; by students, then by times."""
    students: Counter[tuple[str, str]] = Counter()
    times: Counter[tuple[str, str]] = Counter()
    tried: Counter[str] = Counter()
    for receipt in receipts:
        for exercises in receipt.exercises.values():
            for number, passed in exercises.items():
                tried[number] += 1
                for name, heard in passed.slips.items():
                    students[number, name] += 1
                    times[number, name] += heard
    found = [Slip(*key, count, times[key], tried[key[0]]) for key, count in students.items()]
    return sorted(found, key=lambda s: (*map(int, s.exercise.split(".")), -s.students, -s.times, s.name))


def most_often(slips: Iterable[Slip]) -> list[Slip]:
    """The first slip of each exercise."""
    first: dict[str, Slip] = {}
    for slip in slips:
        first.setdefault(slip.exercise, slip)
    return list(first.values())


def row_of(slip: Slip) -> list[str]:
    """A slip's row in slips.csv."""
    return [slip.exercise, slip.name, str(slip.students), str(slip.times), str(slip.tried)]


def picture(slips: Sequence[Slip]) -> Figure:
    """For each exercise how many tried it, and how many of them heard of its most frequent slip."""
    fig, ax = panels(1, 1, 1.0 + 0.36 * len(slips))
    places, most = range(len(slips)), max(s.tried for s in slips)
    ax.barh(places, [s.tried for s in slips], color="#e6e9ef", height=0.72)
    ax.barh(places, [s.students for s in slips], color=WORSE, height=0.72)
    for place, slip in zip(places, slips, strict=True):
        text = f"{short(slip.name)}: {slip.students} of {slip.tried}"
        ax.annotate(text, (slip.tried, place), (5, 0), textcoords="offset points", va="center", color=EXACT)

    title = "In each exercise, the slip that the most students of the class heard of"
    fig.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=EXACT)
    ax.set_xlabel("students: heard of it (dark), of those who tried (light)", loc="left")
    ax.set_yticks(places, [f"{s.exercise}  {function_of(s.exercise)}" for s in slips])
    ax.set_ylim(len(slips) - 0.4, -0.6)
    ax.set_xlim(0, 2.6 * most)
    ax.set_xticks(sorted({0, most // 2, most}))
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0)
    return fig


def short(name: str) -> str:
    """A slip's name in so many letters that it stays in the picture."""
    return name if len(name) <= 27 else f"{name[:26].rstrip()}…"


def function_of(number: str) -> str:
    """The name of the function that an exercise asks for."""
    lesson = number.split(".")[0].zfill(2)
    exercises = import_module(f"pgnotes.classroom.exercises.lesson_{lesson}").EXERCISES
    return next(e.function for e in exercises if e.number == number)


def write(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """A CSV that spreadsheets open as it is: with a byte-order mark, and without formulas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[plain(cell) for cell in row] for row in rows])
    path.write_text(text.getvalue(), encoding="utf-8-sig")


def plain(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, whatever a student wrote into it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell
