"""Draw the README's pictures anew, from the widgets of the lessons: python tools/pictures.py."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pgnotes.classroom.canvas import Canvas, encode
from pgnotes.classroom.live import Live

ROOT = Path(__file__).parents[1]
DPI = 150
PICTURES: dict[str, dict] = {  # widget: the settings that are shown
    "first_policy": {"training_step": 52, "a_pays": 0.9},
    "variance_lab": {"offset": 2.0},
    "clip": {"advantage": -1.0, "ratio": 1.5},
    "run_explorer": {"step": 75},
}


def widget(name: str) -> Live:
    """A widget by its name."""
    return getattr(import_module(f"pgnotes.classroom.widgets.{name}"), name)()


def main() -> None:
    """Write each into `site/pictures/`."""
    folder = ROOT / "site" / "pictures"
    folder.mkdir(exist_ok=True)
    for name, settings in PICTURES.items():
        live = widget(name)
        image = Canvas(live.draw, live.height, DPI).image(live.numbers(**live.settings | settings))
        (folder / f"{name}.png").write_bytes(encode(image, best=True))


if __name__ == "__main__":
    main()
