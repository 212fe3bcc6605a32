"""The machinery of widgets, on one of its own: painting, faults, noise, and what takes long."""

import io
import random

import pytest
from matplotlib.patches import Rectangle
from PIL import Image
from toys import button_of, toy

from pgnotes.classroom.canvas import Canvas
from pgnotes.classroom.live import Dear


def test_what_lies_on_top_stays_on_top():
    """A dot on a square: only the square moves, again and again, and never covers the dot."""

    def draw(fig):
        ax = fig.subplots()
        ax.set(xlim=(0, 10), ylim=(0, 10))
        square = ax.add_patch(Rectangle((0, 0), 8, 8, facecolor="gray"))
        (dot,) = ax.plot([5], [5], "o", color="black")
        return [square, dot], square.set_x

    dragged = Canvas(draw, 2.0, 100)
    for x in (0.0, 0.5, 1.0, 1.5):
        assert dragged.image(x).tobytes() == Canvas(draw, 2.0, 100).image(x).tobytes(), f"at x = {x}"


def test_the_twin_is_all_its_pictures_below_each_other():
    one, two = toy(lambda x: x), toy(lambda x: x)
    two.twin = (("one", {}), ("two", {"x": 5.0}))
    sizes = [Image.open(io.BytesIO(widget.static())).size for widget in (one, two)]
    assert sizes == [(1400, 460), (1400, 920)], "a caption of 60 pixels and a picture of 400 each"


def test_a_fault_is_shown_with_its_settings_and_the_next_change_works():
    def numbers(x):
        if x > 6:
            raise ValueError("x is <too> large")
        return x

    widget = toy(numbers)
    widget.make()
    before = widget.picture.value
    widget.handles["x"].value = 7.0
    assert "ValueError: x is &lt;too&gt; large (at x = 7.0)" in widget.fault.value
    assert widget.picture.value == before
    widget.handles["x"].value = 3.0
    assert widget.fault.value == ""
    assert widget.picture.value != before


def test_resample_changes_the_noise_and_sliders_do_not():
    widget = toy(lambda x, seed: (x + random.Random(seed).random()) % 10, noise=True)
    button = button_of(widget.make())
    first = widget.picture.value
    widget.handles["x"].value = 4.0
    widget.handles["x"].value = 1.0
    assert widget.picture.value == first
    button.click()
    assert widget.picture.value != first


def test_what_is_dear_runs_on_its_button_and_is_dropped_when_a_control_moves():
    def run(x):
        for i in range(4):
            yield (i + 1) / 4
            seen.append((widget.bar.value, widget.bar.layout.visibility))
        return 2 * x

    seen = []

    widget = toy(lambda x, dear: dear or x, dear=Dear("Run", run))
    button_of(widget.make()).click()
    assert seen == [(share, "visible") for share in (0.25, 0.5, 0.75, 1.0)]
    assert (widget.settings["dear"], widget.bar.layout.visibility) == (2.0, "hidden")
    widget.handles["x"].value = 3.0
    assert widget.settings["dear"] is None


def test_a_fault_in_what_is_dear_is_shown_too():
    def run(x):
        yield 0.5
        raise RuntimeError("no luck")

    widget = toy(lambda x, dear: x, dear=Dear("Run", run))
    button_of(widget.make()).click()
    assert "RuntimeError: no luck (at x = 1.0)" in widget.fault.value
    assert widget.bar.layout.visibility == "hidden"


def test_an_interrupt_stops_what_is_dear_and_says_so():
    def run(x):
        yield 0.5
        raise KeyboardInterrupt

    widget = toy(lambda x, dear: x, dear=Dear("Run", run))
    ui = widget.make()
    before = widget.picture.value
    button_of(ui).click()
    assert "stopped at 50%; “Run” starts it again" in widget.fault.value
    assert widget.bar.layout.visibility == "hidden"
    assert widget.picture.value == before
    widget.handles["x"].value = 3.0
    assert widget.fault.value == ""


def test_an_interrupt_while_a_cell_runs_stops_the_cell():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy(interrupted).make()
