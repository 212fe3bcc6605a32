"""The pictures of a widget: drawn fast, because only what moved is drawn again, and kept as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pgnotes.classroom.style import BAND, DPI, EXACT, LOOK, WIDTH

Moving = tuple[list[Artist], Callable[[Any], None]]  # the artists that move, and what moves them to given numbers


class Canvas:
    """A figure whose still parts are drawn once, and with them every moving artist that lies below all that moved.

    The order of `moving` is the order of painting, whatever moved before: a picture depends on its numbers alone.
    quick: letters are not fitted to the pixels, which takes a quarter of the time of a picture with much text.
    """

    def __init__(self, draw: Callable[[Figure], Moving], height: float, dpi: float, quick: bool = False):
        self.hinting = "none" if quick else "default"
        with mpl.rc_context(LOOK):
            self.figure = Figure(figsize=(WIDTH, height), dpi=dpi)
            self.canvas = FigureCanvasAgg(self.figure)
            self.moving, self.move = draw(self.figure)
        for artist in self.moving:
            artist.set_animated(True)
        with hinted(self.hinting):
            self.canvas.draw()

        # `below` shows the still parts and the first `kept` of the moving ones
        self.still = self.below = self.canvas.copy_from_bbox(self.figure.bbox)
        self.kept = 0

    def image(self, numbers: Any) -> Image.Image:
        """The picture of these numbers."""
        self.move(numbers)
        first = next((i for i, artist in enumerate(self.moving) if artist.stale), len(self.moving))

        # something moved that is in `below` already: begin with the still parts
        if first < self.kept:
            self.below, self.kept = self.still, 0
        self.canvas.restore_region(self.below)

        # keep what lies below the first that moved: while one control is dragged, it stays as it is
        if first > self.kept:
            self.paint(self.moving[self.kept : first])
            self.below, self.kept = self.canvas.copy_from_bbox(self.figure.bbox), first
        self.paint(self.moving[first:])
        return pixels(self.canvas)

    def paint(self, artists: Iterable[Artist]) -> None:
        """Draw some artists on what is there."""
        with hinted(self.hinting):
            for artist in artists:
                self.figure.draw_artist(artist)
                artist.stale = False  # what is invisible or empty is not drawn, and would stay stale for ever


@contextmanager
def hinted(kind: str) -> Generator[None]:
    """Letters fitted to the pixels in this way meanwhile, one of matplotlib's `text.hinting`."""
    before, mpl.rcParams["text.hinting"] = mpl.rcParams["text.hinting"], kind
    try:
        yield
    finally:
        mpl.rcParams["text.hinting"] = before


def pixels(canvas: FigureCanvasAgg) -> Image.Image:
    """What a canvas shows, as an image."""
    return Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")


def encode(image: Image.Image, best: bool = False) -> bytes:
    """PNG bytes: quickly, or as few colours and bytes as will do for a file that is kept."""
    target = io.BytesIO()
    if best:
        image.quantize(256, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    else:
        image.save(target, "PNG", compress_level=1)
    return target.getvalue()


def stack(rows: list[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures below each other, each under its caption."""
    parts = [part for caption, image in rows for part in (caption_image(caption), image)]
    whole, top = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white"), 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def caption_image(text: str) -> Image.Image:
    """A line of text in the course's letters, on a band."""
    figure = Figure(figsize=(WIDTH, 0.3), dpi=DPI, facecolor=BAND)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.015, 0.5, text, va="center", fontsize=10, color=EXACT)
    canvas.draw()
    return pixels(canvas)
