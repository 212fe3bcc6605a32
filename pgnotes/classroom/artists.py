"""What widgets are made of: panels at fixed places, and artists that show nothing until they are moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from pgnotes.classroom.canvas import Moving
from pgnotes.classroom.style import AFTER, BEFORE, ESTIMATE, EXACT, MUTED

Corners = list[tuple[float, float]]


def two_panels(
    fig: Figure,
    wide: float = 1.0,
    *,
    left: float = 0.085,
    right: float = 0.985,
    top: float = 0.9,
    bottom: float = 0.25,
    gap: float = 0.2,
) -> tuple[Axes, Axes]:
    """Two axes beside each other, the first `wide` times as wide as the second, with room below for readouts.

    left, right, top, bottom: their edges, as shares of the figure.  gap: between them, as a share of their mean width.
    """
    edges = {"left": left, "right": right, "top": top, "bottom": bottom, "wspace": gap}
    first, second = fig.subplots(1, 2, width_ratios=(wide, 1), gridspec_kw=edges)
    return first, second


def empty_line(ax: Axes, *style: str, **look: Any) -> Line2D:
    """A line, or in the style "o" a dot."""
    (line,) = ax.plot([], [], *style, **look)
    return line


def empty_bars(ax: Axes, places: Iterable[float], width: float, shift: float = 0.0, **look: Any) -> BarContainer:
    """Upright bars without height at `places`, all of them moved to the side by `shift`."""
    xs = [x + shift for x in places]
    return ax.bar(xs, [0.0] * len(xs), width, **look)


def empty_shapes(ax: Axes, **look: Any) -> PolyCollection:
    """Polygons as one artist, which draws faster than one for each."""
    shapes = PolyCollection([], **look)
    ax.add_collection(shapes)
    return shapes


def box(x: float, width: float, low: float, high: float) -> Corners:
    """The corners of a bar."""
    return [(x - width / 2, low), (x - width / 2, high), (x + width / 2, high), (x + width / 2, low)]


def area(xs: Sequence[float], low: Iterable[float], high: Sequence[float]) -> Corners:
    """The corners of what lies between two curves over the same xs."""
    return [*zip(xs, low, strict=True), *zip(xs[::-1], high[::-1], strict=True)]


def legend(ax: Axes | Figure, *names: tuple[float, float, str, str], **look: Any) -> None:
    """Bold words (x, y, text, colour), each in the colour of what it names."""
    for x, y, text, colour in names:
        ax.text(x, y, text, color=colour, fontweight="bold", **look)


def policy_bars(ax: Axes, before: Sequence[float]) -> Moving:
    """A policy as it was, in percent, and beside it as it is now, which moves to given probabilities."""
    places = range(len(before))
    ax.bar([x - 0.2 for x in places], before, 0.38, color=BEFORE)
    for x, prob in zip(places, before, strict=True):
        ax.text(x - 0.2, prob + 0.02, f"{prob:.0%}", ha="center", color=MUTED)
    bars = empty_bars(ax, places, 0.38, 0.2, color=AFTER)
    shares = [ax.text(x + 0.2, 0, "", ha="center", color=AFTER, fontweight="bold") for x in places]

    def move(probs: Sequence[float]) -> None:
        for bar, share, prob in zip(bars, shares, probs, strict=True):
            bar.set_height(prob)
            share.set(text=f"{prob:.0%}", y=prob + 0.02)

    return [*bars, *shares], move


def compared_bars(ax: Axes, names: Sequence[str]) -> Moving:
    """For each name an exact number, and its estimate ± 2 standard errors; moved to (exact, mean, error) of each."""
    places = range(len(names))
    ax.set_xticks(places, names)
    ax.axhline(0, color=EXACT, linewidth=0.8)
    truth = empty_bars(ax, places, 0.36, -0.2, color=EXACT)
    guess = empty_bars(ax, places, 0.36, 0.2, color=ESTIMATE)
    whiskers = [empty_line(ax, color=MUTED, linewidth=2.5) for _ in places]

    def move(rows: Iterable[tuple[float, float, float]]) -> None:
        for x, (exact, mean, error) in enumerate(rows):
            truth[x].set_height(exact)
            guess[x].set_height(mean)
            whiskers[x].set_data([x + 0.2] * 2, [mean - 2 * error, mean + 2 * error])

    return [*truth, *guess, *whiskers], move


def readouts(fig: Figure, y: float, *names: tuple[float, str]) -> list[Text]:
    """Names along the height `y` of a figure, each ending at its x; the returned texts, for numbers, begin there."""
    for x, name in names:
        fig.text(x, y, name, ha="right", color=EXACT)
    return [fig.text(x + 0.008, y, "", color=EXACT, fontweight="bold") for x, _ in names]


def fill(readings: Sequence[Text], texts: Iterable[str]) -> None:
    """Write one text into each readout.  ValueError if there are more of one than of the other."""
    for reading, text in zip(readings, texts, strict=True):
        reading.set_text(text)


def signed(text: str) -> str:
    """A formatted number with a minus sign, which is as wide as a plus sign, in place of its hyphen."""
    return text.replace("-", "−")


def plain(text: str) -> str:
    """Any text, to be shown sign for sign: matplotlib would typeset what stands between dollars."""
    return "".join(c if c.isprintable() else "�" for c in text).replace("$", r"\$")
