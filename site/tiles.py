"""A widget's picture cut into tiles, one for each panel and one for each readout, and drawn as SVG piece by piece."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG, RendererSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pgnotes.classroom.live import Live
from pgnotes.classroom.style import LOOK, WIDTH, overlapping

SVG: dict[Any, Any] = {"svg.fonttype": "none"}  # letters stay letters: they can be read aloud, and found
# names that matplotlib gives to parts, and nothing refers to; they would stand twice on a page
UNUSED = re.compile(
    r' id="(?:[A-Za-z]*Collection|QuadMesh|axes|figure|line2d|matplotlib\.axis|patch|text|[xy]tick)_\d+"'
)
# marks in a row that look alike; group opacity is left alone, which would be that of all of them together
ALIKE = re.compile(r'<use [^>]*? style="(?!opacity|[^"]* opacity)([^"]*)"/>(?:<use [^>]*? style="\1"/>)+')
POLYLINE = re.compile(r' d="M ((?:-?[\d.]+ -?[\d.]+ L ){20,}-?[\d.]+ -?[\d.]+)')


@dataclass
class Tile:
    """A part of the picture that may be moved as a whole: still artists, moving ones, and the box around them."""

    panel: bool
    still: list[Artist] = field(default_factory=list)
    moving: list[int] = field(default_factory=list)
    box: Bbox = field(default_factory=Bbox.null)


def axes_of(artist: Artist) -> Axes | None:
    """The axes an artist stands in; none for the figure's own texts."""
    return getattr(artist, "axes", None)


class Recorder:
    """A widget's figure, cut into tiles."""

    def __init__(self, live: Live, name: str):
        self.live, self.salt = live, name
        with mpl.rc_context(LOOK | SVG | {"svg.hashsalt": name}):
            self.figure = Figure(figsize=(WIDTH, live.height), dpi=72)
            FigureCanvasSVG(self.figure)
            self.moving, self.move = live.draw(self.figure)
        self.last: list[str | None] = [None] * len(self.moving)
        self.tiles = self.cut()

    def cut(self) -> list[Tile]:
        """A tile for each panel, with what lies on it; then one for each of the figure's own words, with its number."""
        tiles: list[tuple[list[Axes], Tile]] = []
        for ax in self.figure.axes:
            here = next((pair for pair in tiles if any(overlapping(ax, other) for other in pair[0])), None)
            if here is None:
                tiles.append(([ax], Tile(True, [ax])))
            else:
                here[0].append(ax)
                here[1].still.append(ax)
        for number, artist in enumerate(self.moving):
            for members, tile in tiles:
                if axes_of(artist) in members:
                    tile.moving.append(number)
        own = [tile for _, tile in tiles]
        own.sort(key=lambda tile: (-round(tile.still[0].get_position().y0, 2), tile.still[0].get_position().x0))
        return own + self.words()

    def words(self) -> list[Tile]:
        """The figure's own texts from left to right, line by line: a number stays with the words before it."""
        numbers = {id(artist): i for i, artist in enumerate(self.moving)}
        texts = sorted(self.figure.texts, key=lambda text: (-round(text.get_position()[1], 3), self.left(text)))
        tiles: list[Tile] = []
        line = None
        for text in texts:
            moves, height = id(text) in numbers, round(text.get_position()[1], 3)
            begins = not tiles or height != line or not moves
            if begins:
                tiles.append(Tile(False))
            line = height
            if moves:
                tiles[-1].moving.append(numbers[id(text)])
            else:
                tiles[-1].still.append(text)
        return tiles

    def left(self, text: Text) -> float:
        """Where a text begins, in points."""
        return text.get_window_extent(measuring(self)).x0

    def fragment(self, artist: Artist) -> str:
        """An artist as SVG."""
        target = io.StringIO()
        renderer = RendererSVG(self.figure.bbox.width, self.figure.bbox.height, target, None, 72)
        begin = target.tell()
        artist.draw(renderer)
        return shortened(target.getvalue()[begin:])

    def frame(self, **settings: Any) -> list[str]:
        """The fragment of each moving artist at these settings; what did not move is not drawn again."""
        self.move(self.live.numbers(**self.live.settings | settings))
        with mpl.rc_context(SVG | {"svg.hashsalt": self.salt}):
            for i, artist in enumerate(self.moving):
                if artist.stale or self.last[i] is None:
                    self.last[i] = self.fragment(artist) if artist.get_visible() else ""
                    artist.stale = False
        return [text or "" for text in self.last]

    def measure(self) -> None:
        """Let each tile's box grow to hold what it shows now."""
        renderer = measuring(self)
        for tile in self.tiles:
            artists = [*tile.still, *(self.moving[i] for i in tile.moving if self.moving[i].get_visible())]
            boxes = [artist.get_tightbbox(renderer) for artist in artists]
            boxes = [box for box in boxes if box is not None and box.width > 0 and np.isfinite(box.extents).all()]
            if boxes:
                tile.box = Bbox.union([*([tile.box] if tile.box.width > 0 else []), *boxes])

    def still(self, tile: Tile) -> str:
        """What of a tile never moves, as SVG."""
        hidden = [artist for artist in (*self.moving, *self.figure.axes, *self.figure.texts) if artist.get_visible()]
        hidden = [artist for artist in hidden if artist not in tile.still]
        for artist in hidden:
            artist.set_visible(False)
        target = io.StringIO()
        with mpl.rc_context(SVG | {"svg.hashsalt": self.salt}):
            self.figure.patch.set_visible(False)
            self.figure.savefig(target, format="svg", metadata={"Date": None})
        for artist in hidden:
            artist.set_visible(True)
        whole = target.getvalue()
        inner = whole[whole.index(">", whole.index("<svg")) + 1 : whole.rindex("</svg>")]
        return shortened(re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.S))


def measuring(recorder: Recorder) -> Any:
    """A renderer that can tell the size of texts at 72 dpi."""
    return RendererSVG(recorder.figure.bbox.width, recorder.figure.bbox.height, io.StringIO(), None, 72)


def shortened(svg: str) -> str:
    """The same in fewer characters: coordinates to a hundredth of a point; text stays as it is."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)

    def digits(match: re.Match) -> str:
        return re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", match[0]))

    svg = re.sub(r'(?: d| x| y| transform)="[^"]*"', digits, svg)
    svg = POLYLINE.sub(steps, svg)
    svg = re.sub(r">\s*\n\s*<", "><", svg).strip()
    return ALIKE.sub(said_once, UNUSED.sub("", svg)).replace("xlink:href", "href")


def said_once(marks: re.Match) -> str:
    """Marks in a row in a group that says how all of them look: much less for a page to read."""
    style = f' style="{marks[1]}"'
    return f"<g{style}>{marks[0].replace(style, '')}</g>"


def steps(path: re.Match) -> str:
    """A long line as steps from point to point, in tenths of a point: short numbers, many of them alike."""
    numbers = [round(10 * float(number)) for number in re.findall(r"-?[\d.]+", path[1])]
    points = [*zip(numbers[::2], numbers[1::2], strict=True)]
    moves = [(x - u, y - v) for (u, v), (x, y) in itertools.pairwise(points)]
    written = " ".join(f"{x / 10:g} {y / 10:g}" for x, y in moves)
    return f' d="M{points[0][0] / 10:g} {points[0][1] / 10:g}l{written}'
