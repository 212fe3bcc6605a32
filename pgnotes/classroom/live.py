"""One picture and some controls: the only slider machinery of the course.

A widget is three things that can be tried without a browser: `numbers`, a pure function from settings to values;
`draw`, which lays out the axes once and returns the artists that move with a function that moves them; and a list of
controls. See `widgets/policy_update.py`.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets
import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pgnotes.classroom.page import publish
from pgnotes.classroom.style import BAND, DPI, EXACT, LOOK, WIDTH, WORSE, described

LIVE_DPI = 100  # the live picture is 700 pixels wide, as it is shown; what is saved is drawn at style.DPI
# A slider or a list: its label above it, two beside each other where there is room, none wider than half the picture
ABOVE = {"description_width": "100%"}
FIELD = {"flex": "1 1 270px", "width": "auto", "max_width": "346px", "height": "auto", "flex_flow": "row wrap"}
ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-end", "max_width": f"{100 * WIDTH:.0f}px"}
Settings = dict[str, Any]
Moving = tuple[list[Artist], Callable[[Any], None]]  # the artists that move, and what moves them to given numbers


@dataclass(frozen=True)
class Slider:
    """A number between `low` and `high`; whole if `step` is a whole number. Its readout can be typed into."""

    name: str
    label: str
    low: float
    high: float
    step: float
    value: float

    def make(self) -> widgets.Widget:
        """The control itself."""
        options = {"value": self.value, "min": self.low, "max": self.high, "step": self.step}
        look = {"description": self.label, "layout": FIELD, "style": ABOVE}
        if isinstance(self.step, int):
            return widgets.IntSlider(**options, **look)

        # as many decimals as the step has, and at least one
        places = max(1, len(f"{self.step:g}".partition(".")[2]))
        return widgets.FloatSlider(**options, **look, readout_format=f".{places}f")

    def extremes(self) -> list[float]:
        """The ends, for tests."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choice:
    """One of several (label, value) pairs."""

    name: str
    label: str
    options: tuple[tuple[str, Any], ...]
    value: Any

    def make(self) -> widgets.Widget:
        """The control itself."""
        options = {"options": list(self.options), "value": self.value}
        return widgets.Dropdown(**options, description=self.label, layout=FIELD, style=ABOVE)

    def extremes(self) -> list[Any]:
        """Every value, for tests."""
        return [value for _, value in self.options]


@dataclass(frozen=True)
class Switch:
    """Something that is on or off."""

    name: str
    label: str
    value: bool = False

    def make(self) -> widgets.Widget:
        """The control itself."""
        look = {"indent": False, "layout": {"width": "auto", "max_width": "100%", "margin": "2px 18px 2px 2px"}}
        return widgets.Checkbox(value=self.value, description=self.label, **look)

    def extremes(self) -> list[bool]:
        """Both, for tests."""
        return [False, True]


@dataclass(frozen=True)
class Dear:
    """A computation too slow for a slider, run by a button.

    `run(**settings)` yields its progress in [0, 1] and returns the result. `numbers` gets it as `dear`, which is None
    before the first press and after any other control has moved.
    """

    label: str
    run: Callable[..., Iterator[float]]


@dataclass
class Live:
    """A picture that follows its controls. `show()` displays it; where no kernel runs, its static twin is seen.

    numbers(**settings) -> anything: pure.  draw(figure) -> (artists that move, in the order in which they are painted,
    function that moves them to given numbers); axes, limits and ticks stay as `draw` left them.  height: inches at 7
    wide.  twin: (caption, settings) for the static picture, with the dear result; alt: what it shows.  noise: if True,
    `numbers` also gets `seed`, which only the *Resample* button changes, so that sliders redraw with the same random
    numbers.
    """

    numbers: Callable[..., Any]
    draw: Callable[[Figure], Moving]
    controls: tuple[Slider | Choice | Switch, ...]
    height: float
    twin: tuple[tuple[str, Settings], ...]
    alt: str
    noise: bool = False
    dear: Dear | None = None
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        """Start from the controls' own values."""
        self.settings = {control.name: control.value for control in self.controls}
        if self.noise:
            self.settings["seed"] = 0
        if self.dear:
            self.settings["dear"] = None
        self.canvas = Canvas(self.draw, self.height, LIVE_DPI)

    # what the picture shows, without any widget

    def png(self, **changes: Any) -> bytes:
        """The live picture at the current settings with some changed."""
        return encode(self.canvas.image(self.numbers(**self.settings | changes)))

    def static(self) -> bytes:
        """The twin: the picture at telling settings, one below the other, each under its caption."""
        canvas, rows = Canvas(self.draw, self.height, DPI), []
        for caption, changes in self.twin:
            settings = self.settings | changes
            if self.dear:
                settings["dear"] = self.finish(settings)
            rows.append((caption, canvas.image(self.numbers(**settings))))
        return encode(stack(rows), best=True)

    # the widget

    def show(self) -> None:
        """Display the widget, and its twin for where no kernel runs."""
        publish(self.draw.__module__, *described(self.static(), self.alt), self.make())

    def make(self) -> widgets.Widget:
        """The controls above the picture. Each call makes new ones, which share this object's settings."""
        self.handles = {control.name: control.make() for control in self.controls}
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "width": f"{100 * WIDTH:.0f}px"})
        self.fault = widgets.HTML(layout={"max_width": f"{100 * WIDTH:.0f}px"})
        buttons = []
        for name, handle in self.handles.items():
            handle.observe(lambda change, name=name: self.change(**{name: change["new"]}), names="value")
        if self.noise:
            buttons.append(self.button("Resample", lambda: self.change(seed=self.settings["seed"] + 1)))
        if self.dear:
            self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "90px", "visibility": "hidden"})
            buttons += [self.button(self.dear.label, self.run_dear), self.bar]
        self.refresh()
        # sliders and lists above what is pressed; an empty row takes no room
        fields, presses = [], []
        for control in self.controls:
            (presses if isinstance(control, Switch) else fields).append(self.handles[control.name])
        rows = [widgets.Box(row, layout=ROW) for row in (fields, presses + buttons) if row]
        return widgets.VBox([*rows, self.fault, self.picture])

    def button(self, label: str, action: Callable[[], None]) -> widgets.Button:
        """A button that calls `action`."""
        button = widgets.Button(description=label, layout={"width": "auto"})
        button.on_click(lambda _: action())
        return button

    def change(self, **changes: Any) -> None:
        """Take new settings and redraw; a result that took long is dropped: it belongs to the settings before."""
        self.settings |= changes
        if self.dear and "dear" not in changes:
            self.settings["dear"] = None
        self.refresh()

    def refresh(self) -> None:
        """Redraw; a fault is shown in red beside the picture, which stays as it was."""
        self.guarded(lambda: setattr(self.picture, "value", self.png()))

    def run_dear(self) -> None:
        """Run what is dear, with a bar, and redraw with its result. An interrupt stops it, and is said to have."""
        self.bar.value, self.bar.layout.visibility = 0.0, "visible"
        try:
            self.guarded(lambda: self.change(dear=self.finish(self.settings, self.advance)))
        except KeyboardInterrupt:
            self.say(f"stopped at {self.bar.value:.0%}; “{self.dear.label}” starts it again")
        finally:
            self.bar.layout.visibility = "hidden"

    def advance(self, share: float) -> None:
        """Move the bar."""
        self.bar.value = share

    def finish(self, settings: Settings, progress: Callable[[float], None] = lambda share: None) -> Any:
        """What `dear.run` returns, having told `progress` of each share it yielded."""
        steps = self.dear.run(**{name: value for name, value in settings.items() if name != "dear"})
        while True:
            try:
                progress(next(steps))
            except StopIteration as end:
                return end.value

    def guarded(self, action: Callable[[], None]) -> None:
        """Do it; on a fault say which, and at what settings. The next change tries again."""
        try:
            action()
            self.fault.value = ""
        except Exception as error:
            at = ", ".join(f"{name} = {value!r}" for name, value in self.settings.items() if name != "dear")
            self.say(f"{type(error).__name__}: {error} (at {at})")

    def say(self, text: str) -> None:
        """Show a line above the picture, which stays as it is."""
        look = f"color:{WORSE};background:white;padding:4px;white-space:pre-wrap"
        self.fault.value = f'<div style="{look}">{html.escape(text)}</div>'


class Canvas:
    """A figure whose still parts are drawn once, and with them every moving artist that lies below all that moved.

    The order of `moving` is the order of painting, whatever moved before: a picture depends on its numbers alone.
    """

    def __init__(self, draw: Callable[[Figure], Moving], height: float, dpi: float):
        with mpl.rc_context(LOOK):
            self.figure = Figure(figsize=(WIDTH, height), dpi=dpi)
            self.canvas = FigureCanvasAgg(self.figure)
            self.moving, self.move = draw(self.figure)
        for artist in self.moving:
            artist.set_animated(True)
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
        for artist in artists:
            self.figure.draw_artist(artist)
            artist.stale = False  # what is invisible or empty is not drawn, and would stay stale for ever


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
    captions = [caption_image(text) for text, _ in rows]
    tall = sum(c.height + image.height for c, (_, image) in zip(captions, rows, strict=True))
    whole = Image.new("RGB", (rows[0][1].width, tall), "white")
    top = 0
    for caption, (_, image) in zip(captions, rows, strict=True):
        whole.paste(caption, (0, top))
        whole.paste(image, (0, top + caption.height))
        top += caption.height + image.height
    return whole


def caption_image(text: str) -> Image.Image:
    """A line of text in the course's letters, on a band."""
    figure = Figure(figsize=(WIDTH, 0.3), dpi=DPI, facecolor=BAND)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.015, 0.5, text, va="center", fontsize=9.5, color=EXACT)
    canvas.draw()
    return pixels(canvas)
