"""Receipts: what is printed is found again, whatever happened to it on its way, and what was changed is not counted."""

import base64
import csv
import json
import string
import zlib
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pgnotes
from pgnotes.__main__ import main
from pgnotes.classroom import collect, done, quiz, receipts
from pgnotes.classroom.receipts import Passed, Receipt, encoded, found_in, line

ADA = Receipt(
    "Ada “of” Lovelace, 7",
    pgnotes.__version__,
    {"05": {"5.1": Passed(True, 3, {"plain mean": 2}), "5.2": Passed(False, 1), "5.3": Passed(True, 1)}},
    {"05": ["B", "cA", "", "a", "C"]},
)
BOB = Receipt("Bob", pgnotes.__version__, {"05": {"5.1": Passed(False, 2, {"plain mean": 1, "sign": 1})}}, {"05": []})
MANGLES = {
    "as it is": lambda text: text,
    "line breaks": lambda text: "\n".join(text[i : i + 33] for i in range(0, len(text), 33)),
    "Windows' line breaks": lambda text: "\r\n".join(text[i : i + 70] for i in range(0, len(text), 70)),
    "a break at every letter": lambda text: "\n".join(text),
    "quoted": lambda text: f'"{text}"',
    "smart quotes": lambda text: f"“{text}”",
    "a CSV's quotes": lambda text: '"' + text.replace('"', '""') + '"',
    "typographer's marks": lambda text: (
        text.replace("-", "—").replace("...", "…").replace("'", "’").replace(", ", ",\u00a0")
    ),
    "small letters": str.lower,
    "capitals": str.upper,
    "a mail's marks": lambda text: "\n".join("> " + text[i : i + 60] for i in range(0, len(text), 60)),
    "soft hyphens": lambda text: "\u00ad".join(text[i : i + 10] for i in range(0, len(text), 10)),
    "blanks of no width": lambda text: "\u200b".join(text[i : i + 10] for i in range(0, len(text), 10)),
    "wide letters": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "bold": lambda text: f"**{text}**",
    "HTML's line breaks": lambda text: "<br />".join(text[i : i + 50] for i in range(0, len(text), 50)),
    "without its words": lambda text: text[text.index("PGN8") :],
    "in a sentence": lambda text: f"Here it is: {text} Regards, A.",
}


def code(receipt=ADA):
    return encoded(receipt)


@pytest.mark.parametrize("mangle", MANGLES.values(), ids=MANGLES)
def test_a_receipt_is_found_again_whatever_was_done_to_it(mangle):
    found, _ = found_in(f"Timestamp,Answer\n2026/11/26 18:00:08,{mangle(line(ADA))},9\n")
    assert found == [ADA]


def test_two_in_a_cell_and_one_pasted_twice():
    found, faults = found_in(f'1,"{line(ADA)} {line(BOB)}\n{line(ADA)}"')
    assert (found, faults) == ([ADA, BOB, ADA], [])
    assert len(collect.newest(found)) == 2


BETWEEN = st.text(" \t\r\n>*_\"'“”‘’«»—–-.,;:|/\\\u00a0\u00ad\u200b", max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(BETWEEN, min_size=1, max_size=40), st.randoms())
def test_marks_and_blanks_may_stand_anywhere_in_the_code(marks, random):
    text = code()
    for mark in marks:
        at = random.randrange(len(text))
        text = text[:at] + mark + text[at:]
    assert found_in(text)[0] == [ADA]


@settings(max_examples=60, deadline=None)
@given(st.integers(4, len(code()) - 1), st.sampled_from(string.ascii_uppercase + string.digits))
def test_another_letter_is_noticed_and_not_counted(at, letter):
    text = code()[:at] + letter + code()[at + 1 :]
    found, faults = found_in(text)
    assert (found, len(faults) > 0) == (([ADA], False) if text == code() else ([], True))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, len(code()) - 1))
def test_of_a_receipt_that_breaks_off_the_next_one_takes_no_harm(cut):
    found, faults = found_in(f"{line(ADA)[:-cut]}\n{line(BOB)}")
    assert found == [BOB]
    assert len(faults) == 1
    assert "Ada" in faults[0]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_around_it_does_any_harm(before, after):
    assert ADA in found_in(f"{before}\n{line(ADA)}\n{after}")[0]


def forged(content) -> str:
    """A code with a checksum that fits."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    body = base64.b32encode(zlib.compress(data)).decode().rstrip("=")
    return f"PGN8{body}9{receipts.checksum(body)}0"


def content(**changes):
    unpacked = {"format": 1, "who": "Eve", "version": "0.1.0", "exercises": {"05": {"5.1": [1, 1, {}]}}, "answers": {}}
    return unpacked | changes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (code()[:-9] + "AAAAAAAA0", "checksum does not fit"),
        (code()[:40], "breaks off"),
        ("pgnotes receipt of Eve: lesson 05 5 of 5 exercises", "the code is missing"),
        (forged(content(format=2, version="9.0")), "another version of pgnotes (9.0)"),
        (forged(content(exercises={"05": {"5.1": [1, 0, {}]}})), "made by hand"),
        (forged(content(exercises={"05": {"5.1": [1, 1, {"sign": 5}]}})), "made by hand"),
        (forged(content(exercises={"05": {"5.1": [2, 1, {}]}})), "made by hand"),
        (forged(content(exercises=[])), "made by hand"),
        (forged({}), "made by hand"),
        (forged(b"[" * 100_000), "made by hand"),
        (forged(b" " * 50_000_000 + json.dumps(content()).encode()), "made by hand"),  # it would unpack to 50 MB
        ("PGN8A9" + receipts.checksum("A") + "0", "made by hand"),
    ],
)
def test_what_was_changed_or_forged_is_named_and_not_counted(text, sentence):
    found, faults = found_in(f"one line\n{text}")
    assert found == []
    assert len(faults) == 1
    assert faults[0].startswith("line 2")
    assert sentence in faults[0]


def test_a_receipt_of_another_version_counts_but_for_what_is_not_known_here():
    exercises = {"05": {"5.1": Passed(True, 1), "5.99": Passed(True, 1)}, "77": {"77.1": Passed(True, 1)}}
    (kept,), (fault,) = collect.known([Receipt("Old", "0.0.1", exercises, {"77": ["A"]})])
    assert kept.exercises == {"05": {"5.1": Passed(True, 1)}}
    assert kept.answers == {}
    assert "no exercise 5.99, 77.1" in fault
    assert "'Old', version 0.0.1" in fault
    assert collect.table([kept])[1][1] == "0.0.1"


@pytest.fixture
def kernel(monkeypatch):
    """One in which nothing was done yet."""
    monkeypatch.setattr(done, "STATUS", {})
    monkeypatch.setattr(done, "TRIES", {})


def test_a_kernel_s_receipt_has_tries_slips_and_answers(kernel, capsys):
    first, second, *_ = import_module("pgnotes.classroom.exercises.lesson_05").EXERCISES
    slip = first.slips["plain mean"][0]
    for attempt in (lambda *args: ..., slip, slip, first.slips["sign"][0], first.answer, slip):
        first(attempt)
    second(lambda *args: 0)
    second(lambda *args: 1)
    row = quiz.make("05").children[1].children[1]
    row.value, row.value = 2, 0

    pgnotes.receipt("  Ada \n Lovelace ")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith("pgnotes receipt of Ada Lovelace: lesson 05 1 of 5 exercises, quiz 0 of 5 at first. PGN8")
    ((found,), faults) = found_in(out)
    assert faults == []
    assert found.exercises["05"]["5.1"] == Passed(True, 3, {"plain mean": 1, "sign": 1}), "the same again is no try"
    assert found.exercises["05"]["5.2"] == Passed(False, 2, {})
    assert found.answers["05"] == ["", "cA", "", "", ""]


def test_where_nothing_was_done_the_receipt_says_so(kernel, capsys):
    pgnotes.receipt(17)
    out = capsys.readouterr().out
    assert "receipt of 17: nothing tried yet" in out
    assert found_in(out)[0] == [Receipt("17", pgnotes.__version__, {}, {})]


@pytest.mark.parametrize("who", ["", "  ", "x" * 101])
def test_a_receipt_needs_a_name(who):
    with pytest.raises(ValueError, match="^who is"):
        pgnotes.receipt(who)


def test_of_one_person_s_receipts_the_best_of_each_lesson_counts():
    better = Receipt(" ADA “of”  lovelace, 7", "0.1.0", {"05": {"5.1": Passed(True, 1)}, "01": {}}, {"05": []})
    worse = Receipt("Ada “of” Lovelace, 7", "0.1.0", {"05": {"5.1": Passed(False, 9)}}, {"05": ["A", "B"]})
    (one,) = collect.newest([ADA, better, worse])
    assert one.who == ADA.who
    assert one.exercises == {"05": ADA.exercises["05"], "01": {}}
    assert one.answers["05"] == ADA.answers["05"]


def test_the_class_and_its_slips_from_a_form(tmp_path, capsys):
    form, out = tmp_path / "form.csv", tmp_path / "class"
    eve = Receipt("=cmd()", "0.1.0", {"05": {"5.1": Passed(False, 1, {"sign": 1}), "5.2": Passed(True, 1)}}, {})
    rows = [["Time", "Receipt"], ["1", line(ADA)], ["2", f"{line(BOB)}\n{line(eve)}"], ["3", code()[:50]]]
    with open(form, "w", encoding="utf-16") as file:
        csv.writer(file).writerows(rows)
    assert main(["collect", str(form), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out.splitlines()[-1]) == {"receipts": 3, "students": 3, "out": str(out)}
    assert said.out.splitlines()[0].split() == ["5.1", "plain", "mean"], "by students, then by times"
    assert said.err.startswith("pgnotes: not counted: line ")
    assert "breaks off" in said.err

    head, *people = csv.reader((out / "class.csv").read_text(encoding="utf-8-sig").splitlines())
    assert head[:5] == ["name", "version", "lesson 05 right", "5.1 tries", "5.2 tries"]
    assert [row[:5] for row in people] == [
        ["'=cmd()", "0.1.0", "1 of 5", "(1)", "1"],
        ["Ada “of” Lovelace, 7", pgnotes.__version__, "2 of 5", "3", "(1)"],
        ["Bob", pgnotes.__version__, "0 of 5", "(2)", ""],
    ]
    assert people[1][-1] == "2 of 5"
    _, *slips = csv.reader((out / "slips.csv").read_text(encoding="utf-8-sig").splitlines())
    assert slips == [["5.1", "plain mean", "2", "3", "3"], ["5.1", "sign", "2", "2", "3"]]
    assert (out / "slips.png").read_bytes().startswith(b"\x89PNG")


def test_the_slip_that_more_students_heard_of_goes_before_the_one_that_was_heard_more_often():
    one = Receipt("A", "0.1.0", {"05": {"5.1": Passed(True, 10, {"sign": 8, "plain mean": 1})}}, {})
    two = Receipt("B", "0.1.0", {"05": {"5.1": Passed(True, 2, {"plain mean": 1})}}, {})
    slips = collect.slips_of([one, two])
    assert [(s.name, s.students, s.times) for s in slips] == [("plain mean", 2, 2), ("sign", 1, 8)]
    assert [s.name for s in collect.most_often(slips)] == ["plain mean"]


def test_a_file_without_receipts_makes_an_empty_class_and_a_missing_one_none(tmp_path, capsys):
    (tmp_path / "form.csv").write_text("nothing\n")
    assert main(["collect", str(tmp_path / "form.csv"), "--out", str(tmp_path / "class")]) == 0
    assert json.loads(capsys.readouterr().out)["receipts"] == 0
    assert not (tmp_path / "class" / "slips.png").exists()
    assert main(["collect", str(tmp_path / "none.csv"), "--out", str(tmp_path / "other")]) == 2
    assert "FILE is" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_no_text_leaves_the_picture_of_the_slips():
    exercises = [e for n in done.lessons() for e in import_module(f"pgnotes.classroom.exercises.lesson_{n}").EXERCISES]
    longest = [max(e.slips, key=len) for e in exercises]
    fig = collect.picture([collect.Slip(e.number, n, 30, 99, 300) for e, n in zip(exercises, longest, strict=True)])
    fig.draw_without_rendering()
    width, height = fig.bbox.width, fig.bbox.height
    for text in [*fig.texts, *fig.axes[0].texts, *fig.axes[0].get_yticklabels(), fig.axes[0].xaxis.label]:
        box = text.get_window_extent()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text
