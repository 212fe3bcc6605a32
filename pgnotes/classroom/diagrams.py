"""Two drawings of what goes round: the agent with its environment, and the making of a chat model (lesson 00)."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgnotes.classroom.atlas import arrow, box, paper
from pgnotes.classroom.style import BAND, EXACT, MUTED

PLATE: dict[str, Any] = {"facecolor": "white", "edgecolor": "#cfd6df", "linewidth": 1.2}


def plate(ax: Axes, x: float, y: float, wide: float, tall: float, head: str, lines: str) -> None:
    """A box, its text in the middle: a bold head, and below it plain lines."""
    box(ax, x, y, wide, tall, **PLATE)
    top = y + tall / 2 + 0.15 + 0.1 * (1 + lines.count("\n"))
    ax.text(x + 0.12, top, head, color=EXACT, fontweight="bold", fontsize=11, va="top")
    ax.text(x + 0.12, top - 0.28, lines, color=MUTED, va="top", linespacing=1.3)


def named_arrow(ax: Axes, start: float, end: float, y: float, name: str, meaning: str) -> None:
    """An arrow along the height `y`, with its name above it and its meaning below."""
    arrow(ax, (start, y), (end, y))
    middle = (start + end) / 2
    ax.text(middle, y + 0.07, name, color=EXACT, fontweight="bold", fontsize=11, ha="center", va="bottom")
    ax.text(middle, y - 0.08, meaning, color=MUTED, ha="center", va="top")


def agent_and_environment() -> tuple[Figure, str]:
    """The loop of every text on reinforcement learning, with a language model's words in it: figure, description."""
    fig, ax = paper(2.65)
    plate(
        ax,
        0.1,
        0.12,
        1.75,
        2.4,
        "agent",
        "the language model;\nits policy $\\pi_\\theta$\ndraws one token\nafter another",
    )
    plate(ax, 5.15, 0.12, 1.75, 2.4, "environment", "the text so far,\nand who judges it:\na rule, or a\nreward model")

    left, right = 1.93, 5.07
    named_arrow(ax, left, right, 2.17, "action $a_t$", "the next token")
    named_arrow(ax, right, left, 1.37, "reward $r_t$", "0, and after the last token the verdict")
    named_arrow(ax, right, left, 0.57, "state $s_{t+1}$", "the text, one token longer")
    alt = (
        "Two boxes with arrows between them. From the agent, the language model, an arrow leads to the environment: "
        "the action, which is the next token. Two arrows lead back: the reward, 0 until the verdict after the last "
        "token, and the next state, the text with one token more."
    )
    return fig, alt


def making_of_a_chat_model() -> tuple[Figure, str]:
    """Pretraining, fine-tuning, and learning from a verdict, which comes from people or a rule: figure, description."""
    fig, ax = paper(3.2)
    for x, wide, head in ((0.07, 4.42, "supervised: a target for each token"), (4.63, 2.3, "a verdict for the whole")):
        box(ax, x, 1.55, wide, 1.58, facecolor=BAND, edgecolor="none")
        ax.text(x + 0.1, 2.95, head, color=EXACT, va="center")

    plate(ax, 0.17, 1.65, 1.97, 1.12, "1 pretraining", "continue texts, of\nwhich there are\nvery many")
    plate(ax, 2.42, 1.65, 1.97, 1.12, "2 fine-tuning", "write as in many\ngood answers")
    plate(ax, 4.73, 1.65, 2.1, 1.12, "3 policy gradient", "write answers, and\nmake those that did\nwell likelier")
    arrow(ax, (2.14, 2.2), (2.42, 2.2))
    arrow(ax, (4.39, 2.2), (4.73, 2.2))

    # who judges, and the loop between writing and judging
    box(ax, 0.07, 0.05, 4.42, 1.38, facecolor=BAND, edgecolor="none")
    plate(
        ax,
        0.17,
        0.15,
        2.6,
        1.18,
        "a reward model judges",
        "a network that learned from\npeople which of two answers\nthey like better",
    )
    plate(ax, 3.05, 0.15, 1.34, 1.18, "or a rule", "is the last\nnumber\nright?")
    arrow(ax, (6.25, 1.65), (6.25, 0.42), (4.49, 0.42))
    arrow(ax, (4.49, 0.95), (5.4, 0.95), (5.4, 1.65))
    ax.text(4.94, 1.0, "rewards", color=EXACT, va="bottom", ha="center")
    ax.text(5.5, 0.36, "answers", color=EXACT, va="top", ha="center")
    alt = (
        "Three boxes in a row. Pretraining: the model continues texts. Fine-tuning: it writes as in many good answers. "
        "Both are supervised, with a target for each token. Policy gradient: it writes answers, a reward "
        "model trained on people's comparisons or a rule gives each a reward, and those that did well become likelier."
    )
    return fig, alt
