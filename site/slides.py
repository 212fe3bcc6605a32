"""A lesson's slides: the cells tagged `slide`, one section a screen, with the recorded widgets, for a lecture room.

A tagged cell says in its metadata, under `slide`, what stands on the slide, in Markdown; a line `---` begins another
slide. A code cell's pictures and printed lines stand beside the first. The title, what one should know, the list of
exercises and the quiz need no words of their own.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import record
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

from pgnotes.classroom.live import Live
from pgnotes.classroom.quiz import Question, questions

UP = "../"  # from slides/ to the site
EXERCISE = re.compile(r"\*\*Exercise (\d+\.\d+)\*\* \(([^)]*)\)\. (.+?)(?:\n\n|\Z)", re.S)
ASKS = re.compile(r"<strong>[^<]*(?:\?|Rank|Guess)")  # what is shown waits until this has been answered
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: slides</title>
<link rel="stylesheet" href="../_static/katex/katex.min.css">
<link rel="stylesheet" href="../_static/style.css">
<link rel="stylesheet" href="../_static/slides.css">
<script src="../_static/player.js"></script>
<script src="../_static/slides.js"></script>
<script src="../_static/katex/boot.js"></script>
</head>
<body>
<main>
{sections}
</main>
<nav aria-label="Slides">
<button type="button" id="back" aria-label="Slide before">‹</button><output id="place"></output>
<button type="button" id="on" aria-label="Next slide">›</button>
<a href="../{page}.html">The lesson</a><a href="../teach/{number}.html">The lecturer’s page</a>
</nav>
</body>
</html>
"""
Shown = Callable[[str, dict, str | None], str]


def markdown(text: str) -> str:
    """Markdown as HTML; formulas as Sphinx would leave them to KaTeX."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    return reader.use(dollarmath_plugin, renderer=formula, allow_digits=False).render(text)


def formula(text: str, options: dict) -> str:
    """A formula between the marks that `katex/boot.js` looks for."""
    begin, end = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return begin + html.escape(text.strip()) + end


def page(lesson: NotebookNode, path: Path, picture: Shown) -> str:
    """A lesson's slides as a page by itself; `picture` makes HTML of a PNG, its metadata and its widget's name."""
    found = [*slides(lesson, path.name[:2], picture)]
    title = re.search(r"^# (.+)", lesson.cells[0].source, re.M)[1]  # type: ignore[index]
    sections = []
    for i, (words, shown) in enumerate(found, 1):
        words = re.sub(r'href="(\w+)\.ipynb"', rf'href="{UP}\1.html"', words)
        kind = "live" if "<figure" in shown else "picture" if shown else "text"
        if ASKS.search(words) and (kind == "picture" or "data-dear" in shown):
            kind += " asks"
        sections.append(
            f'<section class="slide {kind}" aria-label="{i} of {len(found)}"><div class="say">{words}</div>'
            f"{shown}<footer>{html.escape(title)} · {i}</footer></section>"
        )
    text = "\n".join(sections)
    return PAGE.format(title=html.escape(title), sections=text, page=path.stem, number=path.name[:2])


def slides(lesson: NotebookNode, number: str, picture: Shown) -> Iterator[tuple[str, str]]:
    """(words, what is shown beside them) of each slide."""
    for cell in lesson.cells:
        if "slide" not in cell.metadata.get("tags", []):
            continue
        if cell.id == "title":
            yield markdown(opening(cell.source)), ""
        elif cell.id == "know":
            yield markdown(re.split(r"\n\*\*(?:Next|References)", cell.source)[0]), ""
        elif cell.id == "exercises":
            yield markdown(exercises(lesson)), ""
        elif cell.id == "quiz":
            for i, question in enumerate(questions(number), 1):
                yield asked(question, i), ""
        else:
            first, *others = re.split(r"\n---\n", cell.metadata["slide"])
            yield markdown(first), outputs(cell, picture)
            yield from ((markdown(words), "") for words in others)


def opening(source: str) -> str:
    """A title cell without its badge and its minutes: the title, the promise, and what one will be able to do."""
    parts = [part for part in source.split("\n\n") if part.startswith(("#", "**", "You will", "1."))]
    return "\n\n".join(parts)


def exercises(lesson: NotebookNode) -> str:
    """All exercises in a list."""
    found = [one for cell in lesson.cells if cell.cell_type == "markdown" for one in EXERCISE.findall(cell.source)]
    return "## Exercises\n\n" + "\n".join(f"- **{name}** ({level}). {text}" for name, level, text in found)


def asked(question: Question, number: int) -> str:
    """A question of the quiz: choices to vote for, each with what there is to say about it."""
    choices = "".join(
        f'<details class="vote" name="question-{number}"><summary>{html.escape(choice.text)}</summary>'
        f'<p class="{"right" if choice.right else "wrong"}">{html.escape(choice.why)}</p></details>'
        for choice in question.choices
    )
    return f"<h2>Question {number}</h2><p>{html.escape(question.text)}</p>{choices}"


def outputs(cell: NotebookNode, picture: Shown) -> str:
    """What a code cell shows: widgets, pictures, printed lines."""
    parts = []
    for output in cell.get("outputs", []):
        data, metadata = output.get("data", {}), output.get("metadata", {}).get("image/png", {})
        if "image/png" in data:
            name = metadata.get("pgnotes")
            shown = picture(data["image/png"], metadata, name).replace("_static/", f"{UP}_static/")
            if name:
                live = record.widget(name)
                dear = " data-dear" if live.dear else ""  # opens with a result, which would give the answer away
                shown = shown.replace("<figure ", f"<figure{dear} data-told='{told(live)}' ", 1)
            parts.append(shown)
        elif "text/html" in data:
            parts.append(f'<div class="html">{data["text/html"]}</div>')
        elif output.output_type == "stream":
            lines = output.text.rstrip().splitlines()
            shape = f"--columns:{max(map(len, lines))};--lines:{len(lines)}"
            parts.append(f'<pre style="{shape}">{html.escape(output.text.rstrip())}</pre>')
    return "".join(parts)


def told(live: Live) -> str:
    """The demonstrations: each caption of the widget's still picture, with the place of every control, as JSON."""
    controls = record.positions(live)
    if live.dear:
        found = [(caption, [i]) for i, (caption, _) in enumerate(live.twin)]
    else:
        settings = [(caption, live.settings | changes) for caption, changes in live.twin]
        found = [(caption, [one.values.index(each[one.name]) for one in controls]) for caption, each in settings]
    return html.escape(json.dumps(found, ensure_ascii=False))
