"""Turn the saved lessons into the pages' sources: widgets that play, quizzes that answer, pictures with their words.

python site/prepare.py build/site-source

Nothing is run: what a lesson shows is what was saved with it.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import html
import inspect
import io
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import matplotlib
import nbformat
import slides
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from PIL import Image

from pgnotes.classroom.atlas import GROUPS, LESSONS
from pgnotes.classroom.canvas import encode
from pgnotes.classroom.quiz import LETTERS, questions, verdict

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from lesson_text import address, badge  # noqa: E402  (tools/ is no package)

HERE = Path(__file__).parent
FILES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
BADGE = re.compile(r"^\[!\[Open in Colab\].*$", re.M)
ROOMS = {
    "theory": "Mathematics: torch tensors in, tensors out",
    "lm": "Language models as policies",
    "classroom": "What a lesson shows",
}


def main(build: Path) -> None:
    """Write all sources into `source`, and what pages load as it is into `static`."""
    folder, static, extra = build / "source", build / "static", build / "extra"
    for each in (folder, static, extra):
        shutil.rmtree(each, ignore_errors=True)
    for each in (folder / "teach", static / "pictures", static / "notebooks", extra / "slides"):
        each.mkdir(parents=True)
    for file in ("player.js", "style.css", "slides.js", "slides.css"):
        shutil.copy(HERE / file, static)
    shutil.copytree(HERE / "katex", static / "katex")
    shutil.copytree(build / "recordings", static / "recordings")
    fonts(static / "fonts", build / "recordings")

    for path in FILES:
        lesson = nbformat.read(path, as_version=4)
        nbformat.write(empty(lesson), static / "notebooks" / path.name)
        deck = slides.page(lesson, path, partial(picture, static))
        (extra / "slides" / f"{path.name[:2]}.html").write_text(deck, encoding="utf-8")
        page(lesson, path, static)
        nbformat.write(lesson, folder / path.name)
    teaching(folder / "teach")
    shutil.copy(HERE / "colab.md", folder)
    (folder / "glossary.md").write_text(glossary(), encoding="utf-8")
    (folder / "index.md").write_text(front(), encoding="utf-8")
    (folder / "reference.md").write_text("\n\n".join(reference()) + "\n", encoding="utf-8")


def fonts(folder: Path, recordings: Path) -> None:
    """The letters of the pictures, DejaVu as matplotlib brings it, cut down to the signs that occur."""
    folder.mkdir()
    used = set(range(0x20, 0x7F))
    for path in recordings.glob("*.js"):
        recording = zlib.decompress(base64.b64decode(path.read_text(encoding="utf-8").split('"')[3]))
        head = recording[4 : 4 + int.from_bytes(recording[:4], "little")]
        used |= {ord(sign) for sign in head.decode()}
    for name in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono"):
        font = TTFont(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf")
        del font["FFTM"]  # when it was made; the subsetter could only drop it with a warning
        options = Options(layout_features=["kern"], hinting=False)
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=used)
        subsetter.subset(font)
        font.flavor = "woff"
        font.save(folder / f"{name}.woff")


# a lesson


def empty(lesson: NotebookNode) -> NotebookNode:
    """A copy without outputs, to be downloaded and run."""
    copied = copy.deepcopy(lesson)
    for cell in copied.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copied


def page(lesson: NotebookNode, path: Path, static: Path) -> None:
    """Change a lesson into a page, in place."""
    number = path.name[:2]
    first = lesson.cells[0]
    first.source = BADGE.sub("", first.source)
    head, _, rest = first.source.partition("\n")
    first.source = f"{head}\n\n{bar(path)}\n{rest}"

    kept = []
    for cell in lesson.cells:
        if cell.id in ("setup", "quiz-print", "progress"):
            continue  # installing, the quiz on paper, and a count of what was done in a kernel
        if cell.id == "quiz":
            cell = new_markdown_cell(quiz(number), id="quiz")
        elif cell.cell_type == "code":
            code(cell, path, static)
        kept.append(cell)
    lesson.cells = kept
    link_terms(kept)


def terms() -> dict[str, str]:
    """The glossary's terms and the names of their places."""
    found = re.findall(r"^(.+)\n: ", (HERE / "glossary.md").read_text(encoding="utf-8"), re.M)
    return {term: re.sub(r"\W+", "-", term.lower()) for term in found}


def link_terms(cells: list[NotebookNode]) -> None:
    """Link the first use of each of the glossary's terms in a lesson's prose."""
    for term, place in terms().items():
        word = re.compile(rf"(?<![\w\[-]){re.escape(term)}(?![\w\]-])")
        for cell in cells:
            if cell.cell_type == "markdown" and cell.id not in ("title", "quiz") and link_first(cell, word, place):
                break


def link_first(cell: NotebookNode, word: re.Pattern, place: str) -> bool:
    """Link a word where it first stands in a cell's prose: in no code, formula, link, heading, table or HTML."""
    skipped = r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|!?\[[^]]*\]\([^)]*\)|^[#|].*?$|<[^>]*>|<summary>.*?</summary>"
    parts = re.split(f"({skipped})", cell.source, flags=re.S | re.M)
    for i in range(0, len(parts), 2):
        linked, times = word.subn(lambda found: f"[{found[0]}](glossary.md#{place})", parts[i], count=1)
        if times:
            parts[i] = linked
            cell.source = "".join(parts)
            return True
    return False


def bar(path: Path) -> str:
    """What a reader may do with a lesson that a page can't."""
    links = {
        "Open in Colab": badge_target(path),
        "Download the notebook": f"_static/notebooks/{path.name}",
        "Slides": f"slides/{path.name[:2]}.html",
    }
    return row(links)


def row(links: dict[str, str]) -> str:
    """Links beside each other: what each says and where it leads."""
    items = "".join(f'<a href="{html.escape(target)}">{text}</a>' for text, target in links.items())
    return f'<div class="lesson-bar">{items}</div>\n'


def badge_target(path: Path) -> str:
    """Where a lesson opens in Colab; a page that explains, while the project has no address."""
    found = re.search(r"\((https://colab[^)]*)\)", badge(path.name))
    return found[1] if found and "YOUR_ACCOUNT" not in address() else "colab.html"


def code(cell: NotebookNode, path: Path, static: Path) -> None:
    """A code cell's outputs as HTML of the page's own; its source folded where the lesson folds it, or hidden."""
    shows_widget = False
    outputs = []
    for output in cell.outputs:
        data, metadata = output.get("data", {}), output.get("metadata", {}).get("image/png", {})
        if "image/png" in data:
            name = metadata.get("pgnotes")
            shows_widget |= name is not None
            outputs.append(shown(picture(static, data["image/png"], metadata, name)))
        elif cell.id.startswith("exercise-"):
            link = f'<a href="{html.escape(badge_target(path))}">Open the lesson in Colab</a>'
            outputs.append(shown(f"<p class='do-it'>{link} to write it there: the check says what it finds.</p>"))
        else:
            outputs.append(output)
    cell.outputs = outputs
    folded = cell.metadata.get("jupyter", {}).get("source_hidden")
    tags = cell.metadata.setdefault("tags", [])
    if shows_widget:
        tags.append("remove-input")
    elif folded:
        tags.append("hide-input")


def shown(text: str) -> NotebookNode:
    """An output that is HTML."""
    return new_output("display_data", {"text/html": text})


def picture(static: Path, png: str, metadata: dict, name: str | None) -> str:
    """A saved picture with its words; for a widget, the figure that plays its recording."""
    words = html.escape(metadata["alt"])
    if name is not None:
        source = f"_static/recordings/{name}.js"
        return (
            f'<figure class="live" data-widget="{name}" data-source="{source}"><div class="controls"></div>'
            f'<div class="picture" role="img" aria-label="{words}"></div></figure>'
        )
    raw = encode(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), best=True)
    file = f"{hashlib.sha256(raw).hexdigest()[:16]}.png"
    (static / "pictures" / file).write_bytes(raw)
    width, height = size(raw)
    shape = f'width="{metadata["width"]}" height="{round(metadata["width"] * height / width)}"'
    source = f"_static/pictures/{file}"
    image = f'<img src="{source}" alt="{words}" {shape} loading="lazy">'
    crops = "".join(crop(box, source, width / height) for box in metadata.get("panels", []))
    return f'<div class="still{" panels" if crops else ""}">{image}{crops}</div>'


def crop(box: list[float], source: str, ratio: float) -> str:
    """One panel of a picture, shown by itself where the page is narrow."""
    x, y, w, h = box
    place = " ".join(f"{100 * at / (1 - size) if size < 1 else 0:.2f}%" for at, size in ((x, w), (y, h)))
    look = f"--points:{504 * w:.0f};aspect-ratio:{ratio * w / h:.4f}"
    look += f";background:url({source}) {place} / {100 / w:.2f}% auto"
    return f'<span class="crop" style="{look}" aria-hidden="true"></span>'


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG in pixels."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def quiz(number: str) -> str:
    """A quiz whose choices answer."""
    parts = ['<div class="quiz">']
    for i, question in enumerate(questions(number), 1):
        parts.append(f'<fieldset class="question"><legend>{i}. {html.escape(question.text)}</legend>')
        replies = []
        for letter, choice in zip(LETTERS, question.choices, strict=False):
            key = f"why-{i}{letter}"
            parts.append(
                f'<label><input type="radio" name="question-{i}" aria-controls="{key}">'
                f"<span>{html.escape(choice.text)}</span></label>"
            )
            said = f"<b>{verdict(choice)}</b> {html.escape(choice.why)}"
            replies.append(f'<div class="why" id="{key}" role="status" hidden>{said}</div>')
        parts += [*replies, "</fieldset>"]
    return "\n".join([*parts, "</div>"])


# the other pages


def teaching(folder: Path) -> None:
    """The lecturer's pages, each with a way to its lesson and its slides; the one about all of them is their front."""
    lessons = {path.name[:2]: path.stem for path in FILES}
    for path in (ROOT / "teach").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        if path.stem in lessons:
            head, _, rest = text.partition("\n")
            links = {"The lesson": f"../{lessons[path.stem]}.html", "Slides": f"../slides/{path.stem}.html"}
            text = f"{head}\n\n{row(links)}\n{rest}"
        else:
            text += "\n".join(["\n```{toctree}", ":hidden:", ":maxdepth: 1", "", *sorted(lessons), "```", ""])
        (folder / f"{path.stem.replace('README', 'index')}.md").write_text(text, encoding="utf-8")


def front() -> str:
    """The front page: what the course is, and a map of it to click."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    paragraphs = (part for part in readme.split("\n\n") if not part.startswith(("#", "[", "!", "<")))
    sentence = next(paragraphs).replace("\n", " ")
    cards = {
        number: f'<a class="card" href="{path.stem}.html"><b>{number}</b> {html.escape(title)}<br>'
        f"<span>{html.escape(line.replace(chr(10), ' '))}</span></a>"
        for path, (number, title, line, *_) in zip(FILES, LESSONS, strict=True)
    }
    parts = [card for number, card in cards.items() if number < GROUPS[0][1]]
    for name, first, last in GROUPS:
        members = "".join(card for number, card in cards.items() if first <= number <= last)
        parts.append(f'<section><h2>{html.escape(name)}</h2><div class="cards">{members}</div></section>')
    pages = "\n".join([*(path.stem for path in FILES), "teach/index", "glossary", "reference", "colab"])
    return f"""# pgnotes

{sentence}

Every slider on these pages moves without Python: what it shows was recorded from the lessons' own code. To run a
lesson, to do its exercises and to train a model, open it in Colab or in JupyterLab. [Teach with it](teach/index.md):
slides, a page for the lecturer for each lesson, and plans for a term, six evenings or a day.

<nav class="map" aria-label="The lessons">{"".join(parts)}</nav>

```{{toctree}}
:hidden:
:maxdepth: 1

{pages}
```
"""


def glossary() -> str:
    """The glossary, each term with a name by which it is linked."""
    text = (HERE / "glossary.md").read_text(encoding="utf-8")
    for term, place in terms().items():
        text = text.replace(f"\n{term}\n: ", f"\n[{term}]{{#{place}}}\n: ")
    return text


def reference() -> Iterator[str]:
    """The package's public functions and classes, by room and module, with their docstrings."""
    yield "# The package"
    yield "Functions and classes that lessons and the training loop share, with their own descriptions."
    for room, title in ROOMS.items():
        yield f"## {room}: {title}"
        for path in sorted((ROOT / "pgnotes" / room).glob("*.py")):
            if path.stem == "__init__":
                continue
            module = import_module(f"pgnotes.{room}.{path.stem}")
            yield f"### {room}.{path.stem}\n\n{words(module)}"
            for name, thing in vars(module).items():
                own = getattr(thing, "__module__", "") == module.__name__ and inspect.getdoc(thing)
                if own and (inspect.isfunction(thing) or inspect.isclass(thing)):
                    yield f"```text\n{signature(name, thing)}\n```\n\n{words(thing)}"


def signature(name: str, thing: Callable) -> str:
    """How a function is called, or a class made."""
    try:
        arguments = str(inspect.signature(thing))
    except ValueError:
        arguments = "(…)"
    arguments = re.sub(r"<class '([\w.]+)'>|<(\w+) .*?>", r"\1\2", arguments.replace("'", ""))
    return f"{'class ' if inspect.isclass(thing) else ''}{name}{arguments}"


def words(thing: object) -> str:
    """A docstring as it was written, line by line."""
    text = html.escape(inspect.getdoc(thing) or "", quote=False)
    return '<div class="words">' + "".join(f"<p>{part}</p>" for part in text.split("\n\n")) + "</div>"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
