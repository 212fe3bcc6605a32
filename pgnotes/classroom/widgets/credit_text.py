"""What a text is worth after each of its characters, and what GAE credits each of them with (lesson 11)."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgnotes.classroom.artists import area, box, empty_line, empty_shapes, fill, legend, plain, readouts, signed
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BETTER, ESTIMATE, EXACT, MUTED, QUIET, WIDTH, WORSE, label
from pgnotes.theory.critics import gae

LEFT, RIGHT = 0.075, 0.985  # edges of the text, as shares of the picture
LOW, HIGH = -0.62, 1.0  # of the credit
FAILED = {"text": 3, "lam": 0.0}


@cache
def recorded() -> list[dict[str, Any]]:
    """Six texts, V before the first token and after each: `python tools/record_values.py`, packed here."""
    packed = files("pgnotes.classroom").joinpath("pocket_values.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))["texts"]


def written(text: dict[str, Any]) -> list[str]:
    """Its characters; ■ for the stop."""
    return [token if len(token) == 1 else "■" for token in text["tokens"]]


def numbers(text: int, lam: float) -> dict[str, Any]:
    """One text's characters, V with its standard errors, and the credit of each character by GAE at this λ."""
    chosen = recorded()[text]
    values = torch.tensor(chosen["values"], dtype=torch.float64)
    rewards = torch.zeros(1, len(values) - 1, dtype=torch.float64)
    rewards[0, -1] = float(chosen["passed"])
    credit = gae(rewards, values[None, :-1], torch.ones_like(rewards, dtype=torch.bool), lam=lam)[0]
    five = credit.square().topk(5).values.sum() / credit.square().sum()
    moving = ((values - values[-1]).abs() > 0.01).nonzero()  # places whose V is not yet that of the end
    return {
        "letters": written(chosen),
        "values": values.tolist(),
        "errors": chosen["errors"],
        "credit": credit.tolist(),
        "flat": rewards[0, -1].item() - values[0].item(),
        "settled": int(moving.max()) + 1,
        "five": five.item(),
    }


def axes_of(fig: Figure, places: int) -> tuple[Axes, Axes]:
    """The credit above V, with the same place for a character and the text between them."""
    grid = {"left": LEFT, "right": RIGHT, "top": 0.93, "bottom": 0.135, "hspace": 0.56}
    credit, worth = fig.subplots(2, 1, sharex=True, height_ratios=(1.5, 1), gridspec_kw=grid)
    label(credit, "What GAE credits each character with").set(ylim=(LOW, HIGH), xlim=(-0.9, places - 0.1))
    credit.set_yticks([-0.5, 0, 0.5, 1], ["−0.5", "0", "0.5", "1"])
    credit.axhline(0, color=QUIET, linewidth=0.8)
    words = "dashed: R − V(start), what a group's mean gives to each"
    legend(credit, (0.99, 0.05, words, MUTED), transform=credit.transAxes, ha="right")
    label(worth, "V: the chance to pass, before each character; at the end, R").set(ylim=(0, 1.08), yticks=[0, 0.5, 1])
    for ax in (credit, worth):
        ax.set_xticks([])
    return credit, worth


def draw(fig: Figure) -> Moving:
    """Above the credit, below V, the characters between them; then the readouts."""
    places = max(len(text["tokens"]) for text in recorded())
    credit, worth = axes_of(fig, places)
    bars = empty_shapes(credit, linewidth=0, facecolor=BETTER)
    flat = empty_line(credit, color=MUTED, linewidth=1.4, linestyle="--")
    spread = empty_shapes(worth, linewidth=0, facecolor=ESTIMATE, alpha=0.25)
    line = empty_line(worth, color=ESTIMATE, linewidth=1.8)

    # a place is as wide as a character, whose width is 0.602 of its size in this font
    wide = WIDTH * (RIGHT - LEFT) / (places + 0.8)
    look: dict[str, Any] = {"ha": "left", "va": "top", "family": "monospace", "fontsize": wide * 72 / 0.602}
    letters = credit.text(-0.5, LOW - 0.05, "", color=EXACT, **look)
    names = (0.195, "credit of the first"), (0.43, "settled after"), (0.93, "squared credit in the largest five")
    readings = readouts(fig, 0.035, *names)

    def update(n: dict) -> None:
        bars.set_verts([box(x, 0.8, 0.0, min(max(c, LOW), HIGH)) for x, c in enumerate(n["credit"])])
        bars.set_facecolor([BETTER if c > 0 else WORSE for c in n["credit"]])
        flat.set_data([-0.5, len(n["credit"]) - 0.5], [n["flat"]] * 2)
        letters.set_text(plain("".join(n["letters"])))

        # V before character x stands at its left edge
        edges = [x - 0.5 for x in range(len(n["values"]))]
        low, high = ([v + sign * 2 * e for v, e in zip(n["values"], n["errors"], strict=True)] for sign in (-1, 1))
        spread.set_verts([area(edges, low, high)])
        line.set_data(edges, n["values"])
        settled = f"{n['settled']} of {len(n['credit'])}"
        fill(readings, (signed(f"{n['credit'][0]:+z.2f}"), settled, f"{n['five']:.0%}"))

    return [bars, flat, letters, spread, line, *readings], update


def controls() -> tuple[Choice, Slider]:
    """Which text, with its verdict, and λ."""
    begun = [" ".join("".join(written(text)[:-1]).split()[:3]) for text in recorded()]  # narrow enough for a phone
    names = [
        f"{'passes' if text['passed'] else 'fails'}: {words} …" for text, words in zip(recorded(), begun, strict=True)
    ]
    options = tuple((name, place) for place, name in enumerate(names))
    return Choice("text", "the text", options, 0), Slider("lam", "λ", 0.0, 1.0, 0.05, 0.0)


def credit_text() -> Live:
    """The widget."""
    twin = (
        ("λ = 0: each character hears what it changed itself, and most changed nothing", {}),
        ("λ = 0.95: the first character hears a seventh of the success", {"lam": 0.95}),
        ("λ = 1: nearly all characters hear nearly all of it", {"lam": 1.0}),
        ("Another text, λ = 0: the 3 in it costs all that was left, and what follows is not to blame", FAILED),
    )
    alt = (
        "The characters of a text that passed, with what GAE credits each of them with, and below them the chance to "
        "pass: about 0.1 for thirty characters, then in three steps, at a digit, at “in” and at “an”, to 1. At λ = 0 "
        "those three are credited with 0.19, 0.24 and 0.35, and most others with next to nothing; at 0.95 the first "
        "character with 0.13; at 1 all before the last step with a third or more, most with 0.9. In a text that failed "
        "one digit takes the chance from 0.2 to 0."
    )
    return Live(numbers, draw, controls(), 4.0, twin, alt)
