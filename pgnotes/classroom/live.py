"""One picture and some controls: the only slider machinery of the course.

A widget is three things that can be tried without a browser: `numbers`, a pure function from settings to values;
`draw`, which lays out the axes once and returns the artists that move with a function that moves them; and a list of
controls. See `widgets/policy_update.py`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from pgnotes.classroom.canvas import Canvas, Moving, encode, stack
from pgnotes.classroom.page import publish
from pgnotes.classroom.style import DPI, WIDTH, WORSE, described

LIVE_DPI = 100  # the live picture is 700 pixels wide, as it is shown; what is saved is drawn at style.DPI
WHOLE = f"{100 * WIDTH:.0f}px"
# A slider or a list: its label above it, two beside each other where there is room, none wider than half the picture
ABOVE = {"description_width": "100%"}
FIELD = {"flex": "1 1 270px", "width": "auto", "max_width": "346px", "height": "auto", "flex_flow": "row wrap"}
ROW = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-end", "max_width": WHOLE}
Settings = dict[str, Any]


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
    run: Callable[..., Generator[float, None, Any]]


@dataclass
class Live:
    """A picture that follows its controls. `show()` displays it; where no kernel runs, its static twin is seen.

    numbers(**settings) -> anything: pure.
    draw(figure) -> (artists that move, in the order in which they are painted, function that moves them to given
    numbers); axes, limits and ticks stay as `draw` left them.
    height: inches at 7 wide.  twin: (caption, settings) for the static picture, with the dear result.  alt: what it
    shows.
    noise: if True, `numbers` also gets `seed`, which only the *Resample* button changes, so that sliders redraw with
    the same random numbers.
    recorded: which values of a control a page without Python offers, where all of them would be too many.
    variant: the argument of the widget's function that makes it differ from what the function gives without.
    """

    numbers: Callable[..., Any]
    draw: Callable[[Figure], Moving]
    controls: tuple[Slider | Choice | Switch, ...]
    height: float
    twin: tuple[tuple[str, Settings], ...]
    alt: str
    noise: bool = False
    dear: Dear | None = None
    recorded: dict[str, tuple] = field(default_factory=dict)
    variant: str = ""
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        """Start from the controls' own values."""
        self.settings = {control.name: control.value for control in self.controls}
        if self.noise:
            self.settings["seed"] = 0
        if self.dear:
            self.settings["dear"] = None
        self.canvas = Canvas(self.draw, self.height, LIVE_DPI, quick=True)

    @property
    def name(self) -> str:
        """What it is called: the module that draws it, and its variant."""
        return "-".join(filter(None, (self.draw.__module__.rpartition(".")[2], self.variant)))

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
        data, metadata = described(self.static(), self.alt)
        metadata["image/png"]["pgnotes"] = self.name  # by which a page finds the recording
        publish(self.draw.__module__, data, metadata, self.make())

    def make(self) -> widgets.Widget:
        """The controls above the picture. Each call makes new ones, which share this object's settings."""
        self.handles = {control.name: control.make() for control in self.controls}
        for name, handle in self.handles.items():
            handle.observe(lambda change, name=name: self.change(**{name: change["new"]}), names="value")
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "width": WHOLE})
        self.fault = widgets.HTML(layout={"max_width": WHOLE})

        # sliders and lists above what is pressed
        fields = [self.handles[control.name] for control in self.controls if not isinstance(control, Switch)]
        presses = [self.handles[control.name] for control in self.controls if isinstance(control, Switch)]
        if self.noise:
            presses.append(self.button("Resample", lambda: self.change(seed=self.settings["seed"] + 1)))
        if dear := self.dear:
            self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "90px", "visibility": "hidden"})
            presses += [self.button(dear.label, lambda: self.run_dear(dear)), self.bar]

        self.refresh()
        rows = [widgets.Box(row, layout=ROW) for row in (fields, presses) if row]  # an empty one would take room
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

    def run_dear(self, dear: Dear) -> None:
        """Run what is dear, with a bar, and redraw with its result. An interrupt stops it, and is said to have."""
        self.bar.value, self.bar.layout.visibility = 0.0, "visible"
        try:
            self.guarded(lambda: self.change(dear=self.finish(self.settings, self.advance)))
        except KeyboardInterrupt:
            self.say(f"stopped at {self.bar.value:.0%}; “{dear.label}” starts it again")
        finally:
            self.bar.layout.visibility = "hidden"

    def advance(self, share: float) -> None:
        """Move the bar."""
        self.bar.value = share

    def finish(self, settings: Settings, progress: Callable[[float], None] = lambda share: None) -> Any:
        """What `dear.run` returns, having told `progress` of each share it yielded."""
        assert self.dear is not None, "without a button there is nothing to finish"
        known = {name: value for name, value in settings.items() if name != "dear"}
        return result_of(self.dear.run(**known), progress)

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


def result_of(steps: Generator[float, None, Any], progress: Callable[[float], None] = lambda share: None) -> Any:
    """What a generator returns, having told `progress` of all that it yielded."""
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            return end.value
