"""Receipts: what was done in a kernel, as one line to paste into any form, and the way back from what was pasted.

The line ends with a code of letters and digits alone: PGN8, the content in base32, 9, a checksum in base32, 0. Base32
has no 0, 1, 8 and 9, so the code can be found, and its ends told, whatever blanks, line breaks and marks a form or a
mail program puts into it. The checksum finds damage. It is no secret: whoever wants to forge a receipt can.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass, field

import pgnotes
from pgnotes.classroom import done

FORMAT = 1
MARK = re.compile(r"P[\W_]*G[\W_]*N[\W_]*8", re.I)
CODE = re.compile(r"([A-Z2-7]+)9([A-Z2-7]{8})0")
READABLE = re.compile(r"pgnotes\s+receipt\s+of\s+(.{1,120}?):", re.I | re.S)
TAGS = re.compile(r"</?(?:br|p|div|span)\b[^<>]*>", re.I)  # what an export in HTML puts in the place of a line break
LONGEST = 1_000_000  # characters of a receipt's content; more than all lessons need, less than a bomb unpacks to


@dataclass(frozen=True)
class Passed:
    """An exercise's part of a receipt: whether it was right, after how many tries, and how often each slip was named.

    Tries after the first right one are not counted.
    """

    right: bool
    tries: int
    slips: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """What one line says: whose it is, the package's version, and by lesson the exercises and the quiz.

    exercises: lesson -> {"5.1": Passed}.  answers: lesson -> a text for each question, the letters that were chosen one
    after the other, a capital where the choice was right ("cA": first C, which was wrong, then A).
    """

    who: str
    version: str
    exercises: dict[str, dict[str, Passed]]
    answers: dict[str, list[str]]


class DamagedError(ValueError):
    """A receipt that can't be counted; the text says why."""


def receipt(who: str | int) -> None:
    """Print what was done in this kernel as one line, to paste into a form.

    who: a name or number.  ValueError if it is empty or longer than 100 characters.
    """
    name = " ".join(str(who).split())
    if not 0 < len(name) <= 100:
        raise ValueError(f"who is {who!r}; give your name or number, in at most 100 characters")
    print(line(from_kernel(name)))


def from_kernel(who: str) -> Receipt:
    """The receipt of all that was tried in this kernel."""
    lessons = sorted({lesson for (lesson, _), tries in done.TRIES.items() if tries})
    exercises: dict[str, dict[str, Passed]] = {lesson: {} for lesson in lessons}
    answers: dict[str, list[str]] = {}
    for lesson in lessons:
        items = done.items(lesson)
        for item in items["exercises"]:
            if tries := done.TRIES.get((lesson, item)):
                exercises[lesson][item.removeprefix("exercise ")] = summary(tries)
        chosen = [done.TRIES.get((lesson, item), []) for item in items["quiz"]]
        answers[lesson] = ["".join(map(letter, tries)) for tries in chosen]
    return Receipt(who, pgnotes.__version__, exercises, answers)


def letter(one: done.Try) -> str:
    """The letter of a choice, a capital where it is right."""
    return one.what if one.status == "right" else one.what.lower()


def summary(tries: list[done.Try]) -> Passed:
    """The tries at an exercise, up to the first right one."""
    right = next((i for i, one in enumerate(tries, 1) if one.status == "right"), None)
    return Passed(right is not None, right or len(tries), dict(Counter(t.what for t in tries[:right] if t.what)))


def line(given: Receipt) -> str:
    """A receipt as it is printed: first in words, then as a code."""
    parts = []
    for lesson, exercises in given.exercises.items():
        known = len(done.items(lesson)["exercises"]) if lesson in done.lessons() else len(exercises)
        asked = given.answers.get(lesson, [])
        first = sum(answer[:1].isupper() for answer in asked)
        right = sum(exercise.right for exercise in exercises.values())
        parts.append(f"lesson {lesson} {right} of {known} exercises, quiz {first} of {len(asked)} at first")
    return f"pgnotes receipt of {given.who}: {'; '.join(parts) or 'nothing tried yet'}. {encoded(given)}"


def encoded(given: Receipt) -> str:
    """The code of a receipt."""
    content = {
        "format": FORMAT,
        "who": given.who,
        "version": given.version,
        "exercises": {
            lesson: {number: [int(e.right), e.tries, e.slips] for number, e in exercises.items()}
            for lesson, exercises in given.exercises.items()
        },
        "answers": given.answers,
    }
    packed = zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    body = base64.b32encode(packed).decode().rstrip("=")
    return f"PGN8{body}9{checksum(body)}0"


def checksum(body: str) -> str:
    """Eight characters that a changed body almost never shares (1 in 2⁴⁰)."""
    return base64.b32encode(hashlib.sha256(f"pgnotes {body}".encode()).digest()[:5]).decode()


def found_in(text: str) -> tuple[list[Receipt], list[str]]:
    """All receipts in a text such as a form's CSV, whatever was pasted around and into them, and what is not counted.

    The second list says, in a sentence each, where a receipt can't be read and why.
    """
    text = TAGS.sub(" ", unicodedata.normalize("NFKC", text))
    marks = list(MARK.finditer(text))
    receipts, faults = [], []
    for mark, after in zip(marks, [*(m.start() for m in marks[1:]), len(text)], strict=False):
        before = text[max(0, mark.start() - 4000) : mark.start()]
        try:
            receipts.append(decoded(text[mark.end() : after]))
        except DamagedError as error:
            faults.append(f"line {text.count(chr(10), 0, mark.start()) + 1}{owner(before)}: {error}")
    return receipts, faults + codeless(text)


def owner(before: str) -> str:
    """Whose receipt it says to be in the words before its code."""
    names = READABLE.findall(before)
    return f", of {' '.join(names[-1].split())!r}" if names else ""


def codeless(text: str) -> list[str]:
    """A sentence for each receipt of which only the words were pasted."""
    faults, heads = [], list(READABLE.finditer(text))
    for head, after in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=False):
        if not MARK.search(text, head.end(), after):
            place = text.count("\n", 0, head.start()) + 1
            name = " ".join(head[1].split())
            faults.append(f"line {place}, of {name!r}: only the words of the receipt are there, the code is missing")
    return faults


def decoded(text: str) -> Receipt:
    """The receipt whose code, after its mark, begins a text.  DamagedError if it can't be read or was changed."""
    code = CODE.match(re.sub(r"[\W_]", "", text).upper())
    if code is None:
        raise DamagedError("the code breaks off, or something else was pasted into it")
    body, check = code.groups()
    if checksum(body) != check:
        raise DamagedError("the checksum does not fit: the code was changed, by accident or by hand")
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b32decode(body + "=" * (-len(body) % 8)), LONGEST)
        found = json.loads(content)
        if found["format"] != FORMAT:
            raise DamagedError(f"it comes from another version of pgnotes ({found['version']}), with another format")
        return Receipt(
            " ".join(str(found["who"]).split())[:100],
            str(found["version"])[:20],
            {lesson: {n: passed(e) for n, e in given.items()} for lesson, given in found["exercises"].items()},
            {lesson: [str(answer)[:20] for answer in given] for lesson, given in found["answers"].items()},
        )
    except (zlib.error, binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError("the checksum fits, but the content is none of a receipt: it was made by hand") from None


def passed(given: list) -> Passed:
    """An exercise's part of a receipt from its three entries.  ValueError or TypeError if it is not such a part."""
    right, tries, slips = given
    heard = slips.values()
    if right not in (0, 1) or not 1 <= tries <= 100_000 or sum(heard) > tries or any(times < 1 for times in heard):
        raise ValueError("no such exercise is possible")
    return Passed(bool(right), int(tries), {str(name): int(times) for name, times in slips.items()})
