"""Questions with an explanation for every choice: to click where a kernel runs, everywhere else in Markdown."""

from __future__ import annotations

import html
from dataclasses import dataclass
from importlib import import_module

import ipywidgets as widgets

from pgnotes.classroom.done import note
from pgnotes.classroom.page import publish
from pgnotes.classroom.style import BETTER, WORSE, beside_bar

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
    parts = ["<details><summary><b>The quiz in print</b>, for where no kernel runs</summary>"]
    for i, question in enumerate(questions(lesson), 1):
        choices, answers = [], []
        for letter, choice in zip(LETTERS, question.choices, strict=False):
            choices.append(f"- **{letter}** {choice.text}")
            answers.append(f"- **{letter}** {verdict(choice)} {choice.why}")
        parts += [f"**{i}.** {question.text}", "\n".join(choices)]
        parts += [f"<details><summary>Answer to {i}</summary>", "\n".join(answers), "</details>"]
    return "\n\n".join([*parts, "</details>"])


def verdict(choice: Choice) -> str:
    """What is said first about a choice."""
    return "Right." if choice.right else "No."


def quiz(lesson: str) -> None:
    """Show a lesson's quiz to click.  ValueError if it has none."""
    many = f"{len(questions(lesson))} questions to click, where a kernel runs"
    text = f"{many}; without one, unfold the quiz in print below."
    publish(f"quiz {lesson}", {"text/plain": text}, {}, make(lesson))


def make(lesson: str) -> widgets.Widget:
    """All questions, one below the other."""
    return widgets.VBox([one(lesson, i, question) for i, question in enumerate(questions(lesson), 1)])


def one(lesson: str, i: int, question: Question) -> widgets.Widget:
    """A question, its choices, and room for what is said about the one that was chosen."""
    text = widgets.HTML(f"<b>{i}.</b> {html.escape(question.text)}")
    options = [(choice.text, k) for k, choice in enumerate(question.choices)]
    radio = widgets.RadioButtons(options=options, value=None, layout={"width": "auto"})
    reply = widgets.HTML()

    def answered(change: dict) -> None:
        choice = question.choices[change["new"]]
        note(lesson, f"question {i}", "right" if choice.right else "wrong", LETTERS[change["new"]])
        colour = BETTER if choice.right else WORSE
        head = f'<b style="color:{colour}">{verdict(choice)}</b>'
        reply.value = beside_bar(colour, f"{head} {html.escape(choice.why)}")

    radio.observe(answered, names="value")
    return widgets.VBox([text, radio, reply], layout={"margin": "0 0 12px 0"})
