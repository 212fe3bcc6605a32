"""Colours with one meaning each, the look of a picture, and the one way to display it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType  # which 3.10 lacks

BEFORE, AFTER = "#9fb3c8", "#d55e00"  # the policy before training, and now
EXACT, ESTIMATE = "#1f2430", "#0072b2"
BETTER, WORSE = "#009e73", "#aa3377"  # than expected; also: groups that all pass, that all fail
BAND, QUIET = "#f3f5f9", "#8a93a3"
MUTED = "#64788e"  # text about the policy before, and other words beside the point
WIDTH = 7.0  # inches, shown 700 pixels wide
DPI = 200
LARGE = 250_000  # bytes

LOOK: dict[RcKeyType, Any] = {
    "font.size": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": EXACT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ef",
    "grid.linewidth": 0.7,
    "xtick.color": EXACT,
    "ytick.color": EXACT,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A white figure of the course's width, `height` inches high, and its axes in the course's look.

    options: for `Figure.subplots`.  pyplot, which would keep every figure, is never touched.
    """
    with mpl.rc_context(LOOK):
        fig = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        return fig, fig.subplots(rows, columns, **options)


def label(ax: Axes, title: str, x: str = "", y: str = "") -> Axes:
    """Title (a sentence that says what to see) and axis labels."""
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=EXACT)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    return ax


def name_lines(ax: Axes, *names: tuple[str, str]) -> None:
    """Names (text, colour) side by side above the lines of `ax`, which gets room for them there."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.2 * (high - low))
    place = 0.99
    for text, colour in reversed(names):
        ax.text(place, 0.97, text, color=colour, transform=ax.transAxes, ha="right", va="top", fontweight="bold")
        place -= 0.032 * len(text) + 0.05


def beside_bar(colour: str, content: str) -> str:
    """HTML behind an upright bar of a colour."""
    return f'<div style="border-left:4px solid {colour};padding:2px 10px">{content}</div>'


def bundle(fig: Figure, alt: str) -> tuple[dict, dict]:
    """(data, metadata) of a picture as a notebook output: the PNG, and its description for those who can't see it."""
    png = io.BytesIO()
    fig.savefig(png, format="png", facecolor="white")
    data, metadata = described(compact(png.getvalue()), alt)
    if len(boxes := panel_boxes(fig)) > 1:
        metadata["image/png"]["panels"] = boxes
    return data, metadata


def compact(png: bytes) -> bytes:
    """A PNG as it is, or with 256 colours where it is large: a notebook keeps it."""
    if len(png) <= LARGE:
        return png
    small = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def panel_boxes(fig: Figure) -> list[list[float]]:
    """Where each panel lies with all that belongs to it, as shares [left, top, width, height] of the picture.

    Axes that lie on each other are one panel. A narrow page shows the panels below each other.
    """
    groups: list[list[Axes]] = []
    for ax in fig.axes:
        here = next((group for group in groups if any(overlapping(ax, other) for other in group)), None)
        if here is None:
            groups.append([ax])
        else:
            here.append(ax)

    boxes = []
    for group in groups:
        parts = [part for ax in group if (part := ax.get_tightbbox()) is not None]
        box = Bbox.union(parts).padded(0.03 * fig.dpi).transformed(fig.transFigure.inverted())
        left, right = max(0.0, box.x0), min(1.0, box.x1)
        low, high = max(0.0, box.y0), min(1.0, box.y1)
        boxes.append([round(float(share), 4) for share in (left, 1 - high, right - left, high - low)])
    return boxes


def overlapping(a: Axes, b: Axes) -> bool:
    """Whether two axes cover a common part of the picture."""
    return Bbox.intersection(a.get_position(), b.get_position()) is not None


def described(png: bytes, alt: str) -> tuple[dict, dict]:
    """(data, metadata) of PNG bytes and their description.  ValueError without one."""
    if not alt.strip():
        raise ValueError("alt is empty; say in a sentence what the picture shows")
    return {"image/png": png, "text/plain": alt}, {"image/png": {"alt": alt, "width": round(100 * WIDTH)}}


def figure(fig: Figure, alt: str) -> DisplayHandle | None:
    """Show a picture, now; `alt` says in words what it shows.

    Returns a handle that can replace the picture by another's `bundle`.  ValueError without a description.
    """
    data, metadata = bundle(fig, alt)
    return display(data, metadata=metadata, raw=True, display_id=True)
