"""Questions with an explanation for every choice: radio buttons where a kernel runs, Markdown with foldable answers everywhere else."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib import import_module

import ipywidgets as widgets

from pgnotes.classroom.done import note
from pgnotes.classroom.page import publish
from pgnotes.classroom.style import BETTER, WORSE

LETTERS = "ABCDEF"


@dataclass(frozen=True)
class Choice:
    """One answer, whether it is right, and why."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question with its choices, of which exactly one is right.

    Texts are plain: mathematics in Unicode, which every widget can show.
    """

    text: str
    choices: tuple[Choice, ...]


def questions(lesson: str) -> tuple[Question, ...]:
    """A lesson's questions.  ValueError if it has none."""
    try:
        return import_module(f"pgnotes.classroom.quizzes.lesson_{lesson}").QUESTIONS
    except ModuleNotFoundError:
        raise ValueError(f"lesson is {lesson!r}, which has no quiz") from None


def markdown(lesson: str) -> str:
    """The quiz in print, each answer under a fold, for the lesson's file."""
    parts = []
    for i, question in enumerate(questions(lesson), 1):
        choices = "\n".join(
            f"- **{letter}** {choice.text}" for letter, choice in zip(LETTERS, question.choices, strict=False)
        )
        answers = "\n".join(
            f"- **{letter}** {'Right.' if choice.right else 'No.'} {choice.why}"
            for letter, choice in zip(LETTERS, question.choices, strict=False)
        )
        parts.append(
            f"**{i}.** {question.text}\n\n{choices}\n\n<details><summary>Answer to {i}</summary>\n\n{answers}\n\n</details>"
        )
    return (
        "<details><summary><b>The quiz in print</b>, for where no kernel runs</summary>\n\n"
        + "\n\n".join(parts)
        + "\n\n</details>"
    )


def quiz(lesson: str) -> None:
    """Show a lesson's quiz to click.  ValueError if it has none."""
    text = f"{len(questions(lesson))} questions to click, where a kernel runs; without one, unfold the quiz in print below."
    publish(f"quiz {lesson}", {"text/plain": text}, {}, make(lesson))


def make(lesson: str) -> widgets.Widget:
    """All questions, one below the other."""
    return widgets.VBox([one(lesson, i, question) for i, question in enumerate(questions(lesson), 1)])


def one(lesson: str, i: int, question: Question) -> widgets.Widget:
    """A question, its choices, and room for what is said about the one that was chosen."""
    text = widgets.HTML(f"<b>{i}.</b> {html.escape(question.text)}")
    radio = widgets.RadioButtons(
        options=[(choice.text, k) for k, choice in enumerate(question.choices)], value=None, layout={"width": "auto"}
    )
    reply = widgets.HTML()

    def answered(change: dict) -> None:
        choice = question.choices[change["new"]]
        note(lesson, f"question {i}", "right" if choice.right else "wrong")
        colour, word = (BETTER, "Right.") if choice.right else (WORSE, "No.")
        reply.value = f'<div style="border-left:4px solid {colour};padding:2px 10px"><b style="color:{colour}">{word}</b> {html.escape(choice.why)}</div>'

    radio.observe(answered, names="value")
    return widgets.VBox([text, radio, reply], layout={"margin": "0 0 12px 0"})
