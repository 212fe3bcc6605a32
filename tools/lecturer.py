"""What the lecturer's pages take from the code: demonstrations as slider positions, and what the checks say to slips.

    python tools/lecturer.py     fill both into teach/NN.md, between <!-- demo … --> or <!-- slips --> and <!-- end -->

`<!-- demo clip 1 3 -->` asks for the first and the third picture of the widget's static twin: where its controls stand,
what its readouts say, and the caption.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "site"))
import record  # noqa: E402  (site/ is no package)

from pgnotes.classroom.canvas import Canvas  # noqa: E402
from pgnotes.classroom.checks import Exercise  # noqa: E402
from pgnotes.classroom.live import Choice, Live, Switch  # noqa: E402

FOLDER = ROOT / "teach"
BLOCK = re.compile(r"(<!-- (demo|slips)([^>]*?) -->\n).*?(<!-- end -->)", re.S)
MOST = 3  # slips of one exercise


def filled(text: str, lesson: str) -> str:
    """A page with its blocks written anew."""

    def write(block: re.Match) -> str:
        words = block[3].split()
        lines = slips(lesson) if block[2] == "slips" else demonstration(words[0], [int(word) for word in words[1:]])
        return block[1] + "\n" + "\n".join(lines) + "\n\n" + block[4]

    return BLOCK.sub(write, text)


def demonstration(name: str, numbers: list[int]) -> list[str]:
    """A table: the key that sets it on the slide, where the controls stand, what the picture says, what to see."""
    live = record.widget(name)
    lines = ["| key | set | read | and see |", "|---|---|---|---|"]
    for number in numbers:
        caption, changes = live.twin[number - 1]
        row = (str(number), " · ".join(positions(live, changes)), " · ".join(readings(live, changes)), plain(caption))
        lines.append(f"| {' | '.join(row)} |")
    return lines


def positions(live: Live, changes: dict[str, Any]) -> list[str]:
    """Each control that does not stand where the widget opens, with its position; the controls' own words."""
    shown = [one for one in live.controls if moved(one, changes)]
    found = [f"*{plain(one.label)}* {plain(written(one, changes[one.name]))}" for one in shown]
    return found or ["as it opens"]


def plain(text: str) -> str:
    """Words of a picture in a Markdown table: an asterisk and a bar are no markup there."""
    return text.replace("*", r"\*").replace("|", r"\|").replace("\n", " ")


def moved(control: Any, changes: dict[str, Any]) -> bool:
    """Whether a control stands elsewhere than at its beginning."""
    return control.name in changes and changes[control.name] != control.value


def written(control: Any, value: Any) -> str:
    """A control's position as its own readout writes it."""
    if isinstance(control, Choice):
        return next(text for text, each in control.options if each == value)
    if isinstance(control, Switch):
        return "on" if value else "off"
    places = max(1, len(f"{control.step:g}".partition(".")[2]))
    return str(value) if isinstance(control.step, int) else f"{value:.{places}f}"


def readings(live: Live, changes: dict[str, Any]) -> list[str]:
    """The readouts below a picture at these settings: each name with its value."""
    settings = live.settings | changes
    if live.dear:
        settings["dear"] = live.finish(settings)
    canvas = Canvas(live.draw, live.height, 72)
    canvas.image(live.numbers(**settings))
    moving = {id(artist) for artist in canvas.moving}
    found: list[list[str]] = []
    for text in sorted(canvas.figure.texts, key=lambda one: (-round(one.get_position()[1], 3), one.get_position()[0])):
        if id(text) not in moving:
            found.append([plain(text.get_text())])
        elif found and text.get_text().strip():
            found[-1].append(f"**{plain(text.get_text().strip())}**")
    return [" ".join(words) for words in found if len(words) > 1] or ["the picture"]


def slips(lesson: str) -> list[str]:
    """For each exercise the first slips that its check knows, in the check's own words."""
    module = import_module(f"pgnotes.classroom.exercises.lesson_{lesson}")
    exercises = [thing for thing in vars(module).values() if isinstance(thing, Exercise)]
    lines = []
    for exercise in sorted(exercises, key=lambda one: one.number):
        lines += [f"**{exercise.number}** {exercise.title}: {len(exercise.slips)} slips are known, among them", ""]
        lines += [f"- *{name}*: “{said}”" for name, (_, said) in [*exercise.slips.items()][:MOST]]
        lines.append("")
    return lines[:-1]


def main() -> None:
    """Fill every page."""
    for path in sorted(FOLDER.glob("[0-9][0-9].md")):
        path.write_text(filled(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")


if __name__ == "__main__":
    main()
