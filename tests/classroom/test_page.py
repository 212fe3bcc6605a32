"""Widgets on the page: what is seen where no kernel runs, and what is closed when a cell runs again."""

import gc
import itertools
import sys
import weakref

import ipywidgets
import pytest
from toys import toy

from pgnotes.classroom.live import Live
from pgnotes.classroom.page import UNNAMED, WIDGET_VIEW, close, on_page
from pgnotes.classroom.quiz import quiz
from pgnotes.classroom.style import WIDTH


def instances():
    """All widgets that ipywidgets keeps alive: its registry, in versions 7 and 8."""
    registry = getattr(ipywidgets.widgets.widget, "_instances", None)
    return ipywidgets.Widget.widgets if registry is None else registry


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: (data, metadata) of each output."""
    outputs = []

    def display(data, metadata=None, raw=False):
        outputs.append((data, metadata))

    monkeypatch.setattr("pgnotes.classroom.page.display", display)
    return outputs


def style_of(ui):
    """What a widget on the page brings along as style, and the class that is its own."""
    (own,) = set(ui._dom_classes) - {"pgnotes-ui"}
    return ui.children[0].value, own


def test_the_twin_is_an_output_of_its_own_which_its_widget_alone_hides(shown):
    toy(lambda x: x).show()
    toy(lambda x: x).show()
    twin, view, *_ = shown
    assert set(twin[0]) == {"image/png", "text/plain"}
    assert twin[1]["image/png"]["alt"] == twin[0]["text/plain"] == "A dot."
    assert twin[1]["image/png"]["width"] == 100 * WIDTH
    assert set(view[0]) == {WIDGET_VIEW}, "nbval would look for text in the saved file, where the widget is left out"
    (style, own), (another, _) = (style_of(one.ui) for one in on_page[-2:])
    assert on_page[-2].ui.model_id == view[0][WIDGET_VIEW]["model_id"]
    assert f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{own})" in style
    assert own not in another, "it hides its own twin and no other"


@pytest.mark.parametrize("named", [True, False])
def test_a_cell_that_runs_again_leaves_nothing_of_what_it_showed_before(shown, monkeypatch, named):
    """Where the frontend names its cells exactly what they show is alive; elsewhere the last few of each name."""
    runs, known, alive = itertools.count(), len(instances()), []

    def run(cell):
        ids = (cell, str(next(runs))) if named else (None, None)
        monkeypatch.setattr("pgnotes.classroom.page.cell_and_run", lambda: ids)
        for _ in range(2 if cell == "two" else 1):
            widget = toy(lambda x: x)
            widget.show()
            alive.append(weakref.ref(widget))
            quiz("07")

    on_page.clear()
    monkeypatch.setattr(Live, "static", lambda self: b"a picture")
    for cell in ["one", "two"] + ["one"] * 10:
        run(cell)

    gc.collect()
    assert sum(ref() is not None for ref in alive) == (3 if named else UNNAMED), "of 13 shown"
    assert alive[-1]() is not None
    if named:
        assert alive[1]() is not None, "what another cell shows stays"
        assert alive[2]() is not None, "a cell may show two"

    for one in on_page:
        close(one.ui)
    on_page.clear()
    assert len(instances()) == known, "closed with all their parts"


def test_one_output_on_colab(shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    toy(lambda x: x).show()
    ((data, metadata),) = shown
    assert set(data) == {WIDGET_VIEW, "image/png", "text/plain"}
    assert metadata["image/png"]["alt"] == "A dot."


def test_the_quiz_says_in_text_what_is_there_without_a_kernel(shown):
    quiz("07")
    (text, _), (view, _) = shown
    assert "unfold the quiz in print" in text["text/plain"]
    assert set(view) == {WIDGET_VIEW}
