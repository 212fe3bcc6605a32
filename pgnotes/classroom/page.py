"""Widgets on the page: each with what is seen where no kernel runs, and closed when its cell runs again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
UNNAMED = 3  # widgets of one name that stay alive where the frontend does not say which cell runs

# a control's label stands above it; `:has` hides what the widget replaces, and only while the widget is there
LOOK = """<style>
.pgnotes-ui .widget-inline-hbox > .widget-label {{ text-align: left; line-height: 18px; height: auto; margin: 0; }}
.pgnotes-ui .widget-dropdown > select {{ height: 28px; }}
.pgnotes-ui .widget-checkbox, .pgnotes-ui .widget-checkbox label {{ height: auto; white-space: normal; }}
.jp-OutputArea-child:has(+ .jp-OutputArea-child .{name}) {{ display: none; }}
</style>"""

# in a saved file JupyterLab writes "model not found" where a widget was, below what stands there instead
REOPENED = """<style class="pgnotes-page">
.jp-OutputArea-output.jupyter-widgets:not(:has(*)) { display: none; }
.jp-OutputArea-child:has(style.pgnotes-page) { display: none; }
</style>"""


@dataclass(frozen=True)
class Shown:
    """A widget on the page: what it is called, and the cell and the run of the cell that showed it."""

    name: str
    cell: str | None
    run: str | None
    ui: widgets.DOMWidget


on_page: list[Shown] = []


def prepare() -> None:
    """Put a style on a notebook's page, which is saved with it: without a kernel nothing is said of its widgets."""
    display({"text/html": REOPENED}, raw=True)


def publish(name: str, data: dict[str, Any], metadata: dict[str, Any], widget: widgets.Widget) -> None:
    """Show a widget, and where no kernel runs `data` with its `metadata` instead.

    These are two outputs, of which the first is hidden by a style that the second brings along: so the first is seen
    in a saved file, and comes back when the widget is closed. Colab, where it could not be tried, gets one output.
    name: what the widget is called; see `close_replaced`.
    """
    ui = widgets.VBox()
    own = f"pgnotes-{ui.model_id}"
    ui.children = [widgets.HTML(LOOK.format(name=own), layout={"display": "none"}), widget]
    for word in ("pgnotes-ui", own):
        ui.add_class(word)
    close_replaced(Shown(name, *cell_and_run(), ui))

    view = {WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": ui.model_id}}
    if "google.colab" in sys.modules:
        display(view | data, metadata=metadata, raw=True)
    else:
        display(data, metadata=metadata, raw=True)
        display(view, raw=True)


def close_replaced(new: Shown) -> None:
    """Take note of a new widget, and close those it replaces, which would stay in memory as long as the kernel.

    They are what the same cell showed when it ran before. Where cells have no ids, they are the oldest of the same
    name, so that a few cells may show the same widget.
    """
    if new.cell is not None:
        old = [one for one in on_page if one.cell == new.cell and one.run != new.run]
    else:
        old = [one for one in on_page if one.cell is None and one.name == new.name][: 1 - UNNAMED]
    for one in old:
        on_page.remove(one)
        close(one.ui)
    on_page.append(new)


def close(widget: widgets.DOMWidget) -> None:
    """Close a widget and all that belongs to it."""
    parts = [*getattr(widget, "children", ()), widget.layout, getattr(widget, "style", None)]
    widget.close()
    for part in parts:
        if isinstance(part, widgets.DOMWidget):
            close(part)
        elif isinstance(part, widgets.Widget):
            part.close()


def cell_and_run() -> tuple[str | None, str | None]:
    """The ids of the cell that runs and of this run of it; None, None where the frontend does not say."""
    message = getattr(get_ipython(), "parent_header", None) or {}
    metadata = message.get("metadata", {})
    cell = metadata.get("cellId") or metadata.get("colab", {}).get("cell_id")
    return (cell, message["header"]["msg_id"]) if cell else (None, None)
