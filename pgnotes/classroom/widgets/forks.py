"""Where the pocket model is least sure, and where a text is decided: are they the same characters? (lesson 15)."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import box, empty_line, empty_shapes, fill, legend, plain, readouts
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, BETTER, EXACT, MUTED, QUIET, WIDTH, WORSE, label
from pgnotes.classroom.widgets.credit_text import controls, recorded, written

LEFT, RIGHT = 0.075, 0.985  # edges of the text, as shares of the picture
MOST_NATS = 2.6
LOW, HIGH = -0.62, 0.5  # of the credit


class Characters(NamedTuple):
    """All characters of the six texts, one after the other, [n]."""

    entropies: Tensor  # nats, of the model before it wrote the character
    credit: Tensor  # what the character changed the chance to pass by: δ of lesson 11, of an exact critic's stand-in
    noise: Tensor  # the variance of the credit's estimate


@cache
def characters() -> Characters:
    """The record of lesson 11, 512 continuations from each place."""
    values = [torch.tensor(text["values"], dtype=torch.float64) for text in recorded()]
    errors = [torch.tensor(text["errors"], dtype=torch.float64).square() for text in recorded()]
    return Characters(
        torch.cat([torch.tensor(text["entropy"], dtype=torch.float64) for text in recorded()]),
        torch.cat([v.diff() for v in values]),
        torch.cat([e[1:] + e[:-1] for e in errors]),
    )


def least_sure(share: float) -> Tensor:
    """Which characters of all six texts belong to this share with the highest entropy, [n] bool."""
    entropies = characters().entropies
    chosen = torch.zeros(len(entropies), dtype=torch.bool)
    chosen[entropies.argsort(descending=True, stable=True)[: round(share * len(entropies))]] = True
    return chosen


def shares(share: float) -> tuple[float, float]:
    """What these characters hold of the squared credit and of the entropy, over all six texts."""
    chosen, squares = least_sure(share), characters().credit.square()
    entropies = characters().entropies
    return (squares[chosen].sum() / squares.sum()).item(), (entropies[chosen].sum() / entropies.sum()).item()


def numbers(text: int, share: int) -> dict[str, Any]:
    """One text: entropy and credit of each character, which of them are marked, and what all marked ones hold."""
    before = sum(len(other["tokens"]) for other in recorded()[:text])
    here = slice(before, before + len(recorded()[text]["tokens"]))
    credit, entropy = shares(share / 100)
    return {
        "letters": written(recorded()[text]),
        "entropies": characters().entropies[here].tolist(),
        "credit": characters().credit[here].tolist(),
        "marked": least_sure(share / 100)[here].tolist(),
        "held": (credit, entropy),
        "count": int(least_sure(share / 100).sum()),
    }


def draw(fig: Figure) -> Moving:
    """Above the entropies, below the credit, the characters between them; then the readouts."""
    places = max(len(text["tokens"]) for text in recorded())
    grid = {"left": LEFT, "right": RIGHT, "top": 0.93, "bottom": 0.16, "hspace": 0.56}
    sure, worth = fig.subplots(2, 1, sharex=True, gridspec_kw=grid)
    label(sure, "Entropy before each character (nats)").set(ylim=(0, MOST_NATS), xlim=(-0.9, places - 0.1))
    label(worth, "What each character changed: the chance to pass, after less before").set(ylim=(LOW, HIGH))
    worth.set_yticks([-0.5, 0, 0.5], ["−0.5", "0", "0.5"])
    worth.axhline(0, color=QUIET, linewidth=0.8)
    names = (0.985, 0.84, "marked", AFTER), (0.985, 0.66, "the others", MUTED)
    legend(sure, *names, transform=sure.transAxes, ha="right")
    for ax in (sure, worth):
        ax.set_xticks([])
    bars = empty_shapes(sure, linewidth=0)
    changes = empty_shapes(worth, linewidth=0)
    marks = empty_line(worth, "v", color=AFTER, markersize=4.5)

    # a place is as wide as a character, whose width is 0.602 of its size in this font
    wide = WIDTH * (RIGHT - LEFT) / (places + 0.8)
    look: dict[str, Any] = {"ha": "left", "va": "top", "family": "monospace", "fontsize": wide * 72 / 0.602}
    letters = sure.text(-0.5, -0.08, "", color=EXACT, **look)
    told = (0.17, "marked"), (0.63, "they hold of the squared credit"), (0.88, "of the entropy")
    readings = readouts(fig, 0.045, *told)

    def update(n: dict) -> None:
        bars.set_verts([box(x, 0.8, 0.0, min(h, MOST_NATS)) for x, h in enumerate(n["entropies"])])
        bars.set_facecolor([AFTER if marked else BEFORE for marked in n["marked"]])
        changes.set_verts([box(x, 0.8, 0.0, min(max(c, LOW), HIGH)) for x, c in enumerate(n["credit"])])
        changes.set_facecolor([BETTER if c > 0 else WORSE for c in n["credit"]])
        at = [x for x, marked in enumerate(n["marked"]) if marked]
        marks.set_data(at, [HIGH - 0.06] * len(at))
        letters.set_text(plain("".join(n["letters"])))
        fill(readings, (f"{n['count']} of {len(characters().credit)}", *(f"{held:.0%}" for held in n["held"])))

    return [bars, changes, marks, letters, *readings], update


def forks() -> Live:
    """The widget."""
    text, _ = controls()
    share = Slider("share", "mark the least sure (% of all)", 0, 50, 5, 5)
    twin = (
        ("The twentieth of all characters where the model is least sure: beginnings of words, mostly", {}),
        ("The fifth: now most of what decided is marked", {"share": 20}),
        ("The fifth, in a text that failed", {"text": 3, "share": 20}),
    )
    alt = (
        "The characters of a text, above them the entropy of the model before each, below what each changed in the "
        "chance to pass. With 5 % of all characters marked, 15 of 294, hardly any of what decided is marked: they hold "
        "6 % of the squared credit and 29 % of the entropy. With 20 % marked, 59, they hold 78 and 87 %. More than two "
        "thirds of the characters have next to no entropy."
    )
    return Live(numbers, draw, (text, share), 4.0, twin, alt)
