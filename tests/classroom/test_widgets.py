"""Every widget, without a browser: swept over its settings on the pure part, and through its controls."""

import importlib
import itertools
import pkgutil
import random
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from pgnotes.classroom import widgets
from pgnotes.classroom.canvas import caption_image
from pgnotes.classroom.live import Slider

NAMES = [module.name for module in pkgutil.iter_modules(widgets.__path__)]
STEPS = 24  # of a walk through a widget's settings


def make(name):
    return getattr(importlib.import_module(f"pgnotes.classroom.widgets.{name}"), name)()


@pytest.fixture(scope="module", params=NAMES)
def widget(request):
    """A widget that runs what is dear once for each of its settings."""
    widget, results = make(request.param), {}
    finish = widget.finish

    def once(settings, *progress):
        key = repr(settings | {"dear": None})
        if key not in results:
            results[key] = finish(settings, *progress)
        return results[key]

    widget.finish = once
    return widget


def values_of(control):
    """Every value that a control can have."""
    if not isinstance(control, Slider):
        return control.extremes()
    steps = round((control.high - control.low) / control.step)
    return [type(control.step)(min(control.low + control.step * i, control.high)) for i in range(steps + 1)]


@pytest.fixture(scope="module")
def walk(widget):
    """(settings, numbers) as a hand goes through them: one control for a while, then another, both ends of each."""
    generator, settings, path = random.Random(0), dict(widget.settings), []
    ranges = {control.name: values_of(control) for control in widget.controls}
    if widget.noise:
        ranges["seed"] = [0, 1, 2]
    results = [None, widget.finish(settings | widget.twin[0][1])] if widget.dear else []

    # each control's turn comes at least twice: from its low end, and from its high one
    for end in itertools.islice(itertools.cycle((0, -1)), max(2, STEPS // (2 * len(ranges)))):
        for name in generator.sample([*ranges], len(ranges)):
            for value in (ranges[name][end], generator.choice(ranges[name])):
                settings = settings | {name: value} | ({"dear": generator.choice(results)} if results else {})
                path.append((settings, widget.numbers(**settings)))
    return path


@pytest.fixture(scope="module")
def seen(widget, walk):
    """(settings, the picture's size, its pixels, its texts as `texts_of` gives them) at each step of the walk."""
    steps = []
    for settings, numbers in walk:
        image = widget.canvas.image(numbers)
        steps.append((settings, image.size, image.tobytes(), texts_of(widget.canvas)))
    return steps


def texts_of(canvas):
    """(text, its place, the box it fills) of every text but the axes' numbers that can be seen."""
    texts = [*canvas.figure.texts]
    for ax in canvas.figure.axes:
        titles = [ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label]
        texts += [*ax.texts, *(titles if ax.axison else [])]

    # a text that is clipped away has no box, or an empty one
    seen = [text for text in texts if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_tightbbox(canvas.canvas.get_renderer()) for text in seen]
    places = [(text.axes, text.get_position()) for text in seen]
    return [(t.get_text(), at, box) for t, at, box in zip(seen, places, boxes, strict=True) if box and box.width > 0]


def test_a_picture_depends_on_its_settings_alone(walk, seen, request):
    """The same settings, come to from two sides: here the first ones are new to the widget, there the last ones are."""
    other = make(request.node.callspec.params["widget"])
    back = [other.canvas.image(numbers).tobytes() for _, numbers in reversed(walk)][::-1]
    wrong = [settings for (settings, _, pixels, _), again in zip(seen, back, strict=True) if pixels != again]
    assert not wrong, f"{len(wrong)} of {len(walk)} pictures depend on what was seen before, for one {wrong[0]}"


def test_texts_stay_in_the_picture_and_apart(widget, seen):
    """Wherever the controls stand. A single letter names something that moves, and may come near anything."""
    bounds = widget.canvas.figure.bbox
    for settings, size, _, texts in seen:
        assert size == (700, round(100 * widget.height)), "the picture never changes its size"
        for text, _, box in texts:
            assert not re.search(r"\b(nan|inf)\b", text), (text, settings)
            assert min(box.x0, box.y0, bounds.x1 - box.x1, bounds.y1 - box.y1) > -1, (text, box, settings)
        for (one, at, a), (two, there, b) in itertools.combinations(texts, 2):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            if at != there and min(len(one), len(two)) > 1:  # letters of several colours make one line
                assert min(wide, high) < 3, (one, two, settings)


def test_every_control_moves_the_picture(widget):
    """Through the traitlets, as a browser does it; no fault shown."""
    widget.make()
    for control in widget.controls:
        handle, seen = widget.handles[control.name], set()
        for value in {*control.extremes(), random.Random(1).choice(values_of(control))}:
            handle.value = value
            assert widget.fault.value == ""
            assert widget.settings[control.name] == handle.value
            assert handle.value == pytest.approx(value) if isinstance(value, float) else handle.value == value
            seen.add(bytes(widget.picture.value))
        assert len(seen) > 1, f"{control.name} changes nothing"
        handle.value = control.value


def test_the_twin_shows_telling_settings_under_captions_that_fit(widget):
    """The twin itself is drawn when the lessons are run."""
    pictures = set()
    for caption, changes in widget.twin:
        assert changes.keys() <= widget.settings.keys(), caption
        pictures.add(widget.png(**changes))
        line = np.asarray(caption_image(caption))
        assert (line[:, -10:] == line[0, -1]).all(), f"cut off: {caption}"
        assert (line != line[0, -1]).any(), f"empty: {caption}"
    assert len(pictures) == len(widget.twin) >= 2
    assert len(widget.alt) > 80


def test_a_change_makes_no_figure(widget, monkeypatch):
    widget.make()
    seen = {bytes(widget.picture.value)}
    monkeypatch.setattr(Figure, "__init__", lambda *_, **__: pytest.fail("a new figure"))
    for control in widget.controls:
        for value in [*control.extremes(), control.value]:
            widget.handles[control.name].value = value
            seen.add(bytes(widget.picture.value))
    assert widget.fault.value == ""
    assert len(seen) > 1
