"""The family on the pocket task, recorded: how each method fared with equal seeds and budget (lesson 10)."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import legend
from pgnotes.classroom.style import AFTER, BEFORE, MUTED, label, panels

AGAINST = "GRPO"  # what the others are compared with
SMOOTH = 5  # steps that a drawn pass rate is averaged over


class Fared(NamedTuple):
    """One method over its seeds: held-out pass rate after training, and the difference to GRPO's, seed by seed.

    Each is a mean and its standard error.
    """

    after: tuple[float, float]
    difference: tuple[float, float]


def recorded_family() -> dict[str, Any]:
    """What `python benchmarks/family.py … --pack …` wrote: command, budget, variants, versions, and the runs.

    A run: name, seed, result (pass rates before, after, on neighbours; log-probability; distinct texts), and curves, a
    number for each step.
    """
    packed = files("pgnotes.classroom").joinpath("family_runs.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))


def over_seeds(runs: list[dict], name: str, key: str = "pass_rate_after") -> Tensor:
    """A result of each seed's run of a method, in the order of the seeds, [seeds]."""
    own = sorted((run for run in runs if run["name"] == name), key=lambda run: run["seed"])
    return torch.tensor([run["result"][key] for run in own], dtype=torch.float64)


def fared(runs: list[dict], name: str) -> Fared:
    """How a method fared over its seeds."""
    after = over_seeds(runs, name)
    difference = after - over_seeds(runs, AGAINST)
    means = [(x.mean().item(), x.std().item() / len(x) ** 0.5) for x in (after, difference)]
    return Fared(*means)


def smoothed(curve: list[float]) -> Tensor:
    """Means over the last `SMOOTH` steps, or as many as there are, [steps]."""
    return torch.stack([torch.tensor(curve[max(0, i + 1 - SMOOTH) : i + 1]).mean() for i in range(len(curve))])


def family_curves(runs: list[dict], names: list[str]) -> Figure:
    """The pass rate of each method's samples as it trains, a panel each: its seeds over GRPO's."""
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    fig, grid = panels(rows, columns, 1.9 * rows + 0.2, sharex=True, sharey=True, squeeze=False)
    for ax, name in zip(grid.flat, names, strict=False):
        label(ax, name, x="step").set(ylim=(0, 0.7), xticks=[0, 20, 40])
        ax.set_yticks([0, 0.25, 0.5], ["0", "25 %", "50 %"])
        for shown, colour, width in ((AGAINST, BEFORE, 1.2), (name, AFTER, 1.8)):
            for run in (run for run in runs if run["name"] == shown):
                ax.plot(smoothed(run["curves"]["pass_rate"]), color=colour, linewidth=width)
    legend(grid.flat[0], (13, 0.47, AGAINST, MUTED))
    for ax in grid[:, 0]:
        ax.set_ylabel("pass rate")
    for ax in grid.flat[len(names) :]:
        ax.set_visible(False)
    return fig
