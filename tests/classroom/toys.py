"""A widget to try the machinery on."""

import ipywidgets

from pgnotes.classroom.live import Live, Slider


def toy(numbers, **options):
    """A dot at (x, x), for whatever x `numbers` gives."""

    def draw(fig):
        ax = fig.subplots()
        ax.set(xlim=(0, 10), ylim=(0, 10))
        (dot,) = ax.plot([], [], "o")
        return [dot], lambda n: dot.set_data([n], [n])

    return Live(numbers, draw, (Slider("x", "x", 0.0, 10.0, 0.5, 1.0),), 2.0, (("one", {}),), "A dot.", **options)


def button_of(ui):
    """The first button."""
    parts = [part for row in ui.children for part in getattr(row, "children", ())]
    return next(part for part in parts if isinstance(part, ipywidgets.Button))
