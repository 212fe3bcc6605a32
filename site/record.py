"""Record the widgets: the pictures of every setting on a grid, so that a page can show them without Python.

python site/record.py build/recordings            all widgets whose recording is not up to date, two at a time
python site/record.py build/recordings clip       some

A picture is cut into tiles, one for each panel and one for each readout, which a page lays side by side or, on a phone,
below each other. In each tile the still part is drawn once; of what moves, every fragment of SVG is kept once, with a
table that says which ones make up the picture of which setting.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import importlib.util
import itertools
import json
import math
import os
import re
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from tiles import Recorder

from pgnotes.classroom.live import Choice, Live, Slider, Switch

STATES = 700  # most settings of one widget; sliders are thinned until there are no more
SEEDS = 3  # draws that "Resample" goes through
MARGIN = 3  # points around a tile
CODE = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("record.py", "tiles.py"))


@dataclass
class Position:
    """A control as the page offers it: its values, how each is written, and which one it starts at."""

    name: str
    label: str
    kind: str  # "slider", "choice", "switch" or "button"
    values: list[Any]
    texts: list[str]
    at: int
    told: frozenset = frozenset()  # what the still picture shows and a lecturer asks for: never left out


def positions(live: Live) -> list[Position]:
    """The recorded positions of each control: all of them, or fewer where they would be too many."""
    if live.dear:  # results that take long are recorded where the widget's own still picture shows them
        texts = [caption for caption, _ in live.twin]
        return [Position("", "recorded", "choice", [settings for _, settings in live.twin], texts, 0)]

    found = [position(control, live.recorded.get(control.name), told(live, control.name)) for control in live.controls]
    if live.noise:
        texts = [f"draw {seed + 1}" for seed in range(SEEDS)]
        found.append(Position("seed", "Resample", "button", list(range(SEEDS)), texts, 0))
    while math.prod(len(one.values) for one in found) > STATES:
        free = [one for one in found if one.kind == "slider" and one.name not in live.recorded]
        free = [one for one in free if len(fewer(one)) < len(one.values)]
        if not free:
            break  # both ends, the value it starts at and what is told: any fewer would be no slider
        thin(max(free, key=lambda one: len(one.values)))
    return found


def told(live: Live, name: str) -> frozenset:
    """The values of a control at which the widget's still picture is drawn."""
    return frozenset(settings[name] for _, settings in live.twin if name in settings)


def position(control: Slider | Choice | Switch, chosen: Any = None, told: frozenset = frozenset()) -> Position:
    """All values of a control, or those that were chosen and those that are told."""
    if isinstance(control, Choice):
        options = [option for option in control.options if chosen is None or option[1] in {*chosen, *told}]
        texts, values = zip(*options, strict=True)
        return Position(control.name, control.label, "choice", [*values], [*texts], values.index(control.value))
    if isinstance(control, Switch):
        return Position(control.name, control.label, "switch", [False, True], ["off", "on"], int(control.value))

    count = round((control.high - control.low) / control.step) + 1
    kind = type(control.step)
    values = [kind(round(control.low + i * control.step, 10)) for i in range(count)]
    if chosen is not None:
        values = sorted(kind(value) for value in {*chosen, *told})
    places = max(1, len(f"{control.step:g}".partition(".")[2]))
    texts = [str(value) if kind is int else f"{value:.{places}f}" for value in values]
    kept = frozenset(values[nearest(values, value)] for value in told)
    return Position(control.name, control.label, "slider", values, texts, nearest(values, control.value), kept)


def nearest(values: list[Any], value: Any) -> int:
    """The place of what lies nearest."""
    return min(range(len(values)), key=lambda i: abs(values[i] - value))


def fewer(one: Position) -> list[int]:
    """The places that are left without every second value: those told, the one it starts at, and both ends stay."""
    last = len(one.values) - 1
    fixed = {0, one.at, last} | {i for i, value in enumerate(one.values) if value in one.told}
    kept = fixed | {i for i in range(last + 1) if (i - one.at) % 2 == 0}
    return sorted(kept if len(kept) <= last else fixed)


def thin(one: Position) -> None:
    """Leave out every second value."""
    places = fewer(one)
    one.values, one.texts, one.at = (
        [one.values[i] for i in places],
        [one.texts[i] for i in places],
        places.index(one.at),
    )


# the recording


def widget(name: str) -> Live:
    """A widget by the name that a saved lesson gives it: its module's, and perhaps a variant's."""
    module, _, variant = name.partition("-")
    function = getattr(importlib.import_module(f"pgnotes.classroom.widgets.{module}"), module)
    return function(**{variant: True}) if variant else function()


def record(name: str) -> tuple[bytes, int]:
    """A widget's recording, deflated, and how many settings it holds."""
    live = widget(name)
    controls, recorder = positions(live), Recorder(live, name)

    tables: list[dict[str, int]] = [{} for _ in recorder.moving]
    rows = []
    combinations = [*itertools.product(*(one.values for one in controls))]
    for count, values in enumerate(combinations):
        settings = values[0] if live.dear else dict(zip((one.name for one in controls), values, strict=True))
        if live.dear:
            settings = settings | {"dear": live.finish(live.settings | settings)}
        fragments = recorder.frame(**settings)
        rows.append([table.setdefault(text, len(table)) for table, text in zip(tables, fragments, strict=True)])
        if count % 7 == 0 or len(combinations) < 50:
            recorder.measure()
    recorder.measure()

    width, height = recorder.figure.bbox.width, recorder.figure.bbox.height
    tiles = []
    for tile in recorder.tiles:
        if tile.box.width <= 0:
            continue
        box = tile.box.padded(MARGIN)
        corner = [round(x, 1) for x in (box.x0, height - box.y1, box.width, box.height)]
        layers = [[i, [*tables[i]]] for i in tile.moving]
        tiles.append({"panel": tile.panel, "box": corner, "still": recorder.still(tile), "layers": layers})
    head = {
        "size": [width, height],
        "alt": live.alt,
        "recorded": "positions" if len(combinations) < every(live) else "all",
        "controls": [
            {"name": one.name, "label": one.label, "kind": one.kind, "texts": one.texts, "at": one.at}
            for one in controls
        ],
        "states": len(rows),
        "tiles": tiles,
    }
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 2)
    table = np.array(rows, dtype="<u2").T.tobytes()
    return zlib.compress(len(text).to_bytes(4, "little") + text + table, 9), len(rows)


def every(live: Live) -> int:
    """How many settings a widget has, without its random numbers and what takes long."""
    return math.prod(len(position(control).values) for control in live.controls) * (1 + bool(live.dear))


def script(name: str, recording: bytes) -> str:
    """A recording as a script, which a page opened from disk may load too."""
    return f'pgnotes.recording("{name}","{base64.b64encode(recording).decode()}");\n'


# what is up to date


def sources(module: str, known: set[str] | None = None) -> set[str]:
    """The modules of pgnotes that a module imports, itself included."""
    known = set() if known is None else known
    if module in known:
        return known
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return known
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return known
    known.add(module)
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgnotes"):
            for target in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                sources(str(target), known)
    return known


def fingerprint(name: str) -> str:
    """A hash of all that decides a recording: the code, the model if the widget asks one, this file, matplotlib."""
    modules = sorted(sources(f"pgnotes.classroom.widgets.{name.partition('-')[0]}"))
    files = [Path(str(importlib.util.find_spec(module).origin)) for module in modules]  # type: ignore[union-attr]
    if any(module.startswith("pgnotes.lm") for module in modules):
        files += sorted(p for p in (files[0].parents[0]).rglob("lm/pocket/*") if p.is_file())
    digest = hashlib.sha256((CODE + mpl.__version__).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def make(name: str, folder: str) -> str:
    """Record a widget into the folder unless it is up to date; says what was done."""
    target, mark = Path(folder) / f"{name}.js", f"// {fingerprint(name)}\n"
    if target.exists() and target.read_text(encoding="utf-8").startswith(mark):
        return f"{name}: up to date"
    begun = time.perf_counter()
    recording, states = record(name)
    target.write_text(mark + script(name, recording), encoding="utf-8")
    spent = time.perf_counter() - begun
    return f"{name}: {states} settings, {target.stat().st_size / 1e3:.0f} kB, {spent:.0f} s"


def shown_in_lessons() -> list[str]:
    """The names of all widgets in the saved lessons."""
    lessons = (Path(__file__).parents[1] / "notebooks").glob("*.ipynb")
    text = "".join(path.read_text(encoding="utf-8") for path in lessons)
    return sorted(set(re.findall(r'"pgnotes": "([\w-]+)"', text)))


def main(folder: str, names: list[str]) -> None:
    """Record them, as many at a time as there are processors."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(make, names, itertools.repeat(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1], sys.argv[2:] or shown_in_lessons())
