"""What one change of a slider costs in the kernel, beside `interact` with a new figure each time.

    python benchmarks/sliders.py [--changes 200] [learning_lab past_noise]

Every widget, or those named; both ways in the same run.
"""

from __future__ import annotations

import argparse
import io
import itertools
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module

import ipywidgets
import numpy as np
from IPython.core.pylabtools import print_figure
from matplotlib import pyplot as plt

from pgnotes.classroom import widgets
from pgnotes.classroom.live import Live, Slider


def sweep(live: Live, changes: int) -> Iterator[tuple[str, float]]:
    """Slider names and values: each slider is dragged from one end to the other and back, again and again."""
    sliders = [control for control in live.controls if isinstance(control, Slider)]
    for control in sliders:
        steps = round((control.high - control.low) / control.step)
        there = [type(control.step)(control.low + control.step * i) for i in range(steps + 1)]
        for value in itertools.islice(itertools.cycle(there + there[-2:0:-1]), changes // len(sliders)):
            yield control.name, value


def timed(action: Callable[[], None]) -> float:
    """Milliseconds that `action` takes."""
    started = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - started)


def with_interact(live: Live) -> Callable[[str, float], None]:
    """The usual way: a new figure by pyplot for every change, shown as a PNG.

    It draws the same numbers with the same artists.
    """

    def redraw(**settings: float) -> None:
        figure = plt.figure(figsize=(7, live.height), dpi=100)
        _, move = live.draw(figure)
        move(live.numbers(**live.settings | settings))
        print_figure(figure, fmt="png")  # what the inline backend does for plt.show()
        plt.close(figure)

    controls = {control.name: control.make() for control in live.controls}
    with redirect_stdout(io.StringIO()):
        ipywidgets.interactive_output(redraw, controls)

    def change(name: str, value: float) -> None:
        with redirect_stdout(io.StringIO()):
            controls[name].value = value

    return change


def costs(live: Live, changes: int) -> tuple[list[float], list[float]]:
    """Milliseconds for each change of the sweep, the widget's own and `interact`'s, in turn."""
    live.make()
    usual, ours, theirs = with_interact(live), [], []
    for name, value in sweep(live, changes):
        if live.handles[name].value != value:
            ours.append(timed(partial(setattr, live.handles[name], "value", value)))
            theirs.append(timed(partial(usual, name, value)))
    return ours, theirs


def main() -> None:
    """Print both costs, medians and 95th percentiles, and their ratio."""
    known = [module.name for module in pkgutil.iter_modules(widgets.__path__)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("widgets", nargs="*", metavar="widget", help="only these; all, if none is named")
    parser.add_argument("--changes", type=int, default=200)
    given = parser.parse_args()
    if unknown := set(given.widgets) - set(known):
        parser.error(f"no widget is called {' or '.join(sorted(unknown))}; there are {', '.join(known)}")
    if given.changes < 20:
        parser.error(f"--changes is {given.changes}; it must be at least 20, so that every control moves")
    plt.switch_backend("agg")
    print(
        f"{'widget':<16}{'live p50':>10}{'live p95':>10}{'interact p50':>14}{'interact p95':>14}{'ratio p95':>11}   ms"
    )
    for name in given.widgets or known:
        live = getattr(import_module(f"pgnotes.classroom.widgets.{name}"), name)()
        (a, b), (c, d) = (np.percentile(times, [50, 95]) for times in costs(live, given.changes))
        print(f"{name:<16}{a:>10.1f}{b:>10.1f}{c:>14.1f}{d:>14.1f}{b / d:>11.2f}")


if __name__ == "__main__":
    main()
