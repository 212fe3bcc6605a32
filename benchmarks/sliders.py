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
        back = there[-2:0:-1]
        for value in itertools.islice(itertools.cycle(there + back), changes // len(sliders)):
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
    change_interact, ours, theirs = with_interact(live), [], []
    for name, value in sweep(live, changes):
        if live.handles[name].value != value:
            ours.append(timed(partial(setattr, live.handles[name], "value", value)))
            theirs.append(timed(partial(change_interact, name, value)))
    return ours, theirs


def main() -> None:
    """Print both costs, medians and 95th percentiles, and their ratio."""
    known = [module.name for module in pkgutil.iter_modules(widgets.__path__)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("widgets", nargs="*", metavar="widget", help="only these; all, if none is named")
    parser.add_argument("--changes", type=int, default=200)
    args = parser.parse_args()
    if unknown := set(args.widgets) - set(known):
        parser.error(f"no widget is called {' or '.join(sorted(unknown))}; there are {', '.join(known)}")
    if args.changes < 20:
        parser.error(f"--changes is {args.changes}; it must be at least 20, so that every control moves")

    plt.switch_backend("agg")
    columns = f"{'live p50':>10}{'live p95':>10}{'interact p50':>14}{'interact p95':>14}{'ratio p95':>11}"
    print(f"{'widget':<16}{columns}   ms")
    for name in args.widgets or known:
        live = getattr(import_module(f"pgnotes.classroom.widgets.{name}"), name)()
        ours, theirs = (np.percentile(times, [50, 95]) for times in costs(live, args.changes))
        row = f"{ours[0]:>10.1f}{ours[1]:>10.1f}{theirs[0]:>14.1f}{theirs[1]:>14.1f}{ours[1] / theirs[1]:>11.2f}"
        print(f"{name:<16}{row}")


if __name__ == "__main__":
    main()
