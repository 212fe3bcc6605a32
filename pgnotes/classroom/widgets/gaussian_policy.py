"""A Gaussian policy: one rewarded action pulls at its mean and spread; many steps shrink the spread (lesson 01)."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, EXACT, MUTED, QUIET, label
from pgnotes.theory.continuous import Peak, gaussian_ascent
from pgnotes.theory.policies import GaussianPolicy

MEAN, WORLD = 0.0, Peak(centre=2.0)
STEP, SIZE, STEPS = 0.15, 0.5, 100  # size of the update on the left; of those on the right, and how many
GRID = torch.linspace(-3, 5, 201, dtype=torch.float64)
CONTROLS = (
    Slider("action", "you took action, and it paid 1", -3.0, 4.0, 0.1, 2.0),
    Slider("std", "spread σ at the start", 0.5, 2.0, 0.1, 1.0),
    Slider("bonus", "entropy bonus", 0.0, 0.2, 0.01, 0.0),
)


def numbers(action: float, std: float, bonus: float) -> dict[str, Any]:
    """The density before and after one rewarded action, both pushes, and (mean, spread) over many exact steps."""
    before = GaussianPolicy(MEAN, std)
    by_mean, by_log_std = before.score([action])[0].tolist()
    after = GaussianPolicy(MEAN + STEP * by_mean, std * torch.tensor(STEP * by_log_std).exp())
    path = list(islice(gaussian_ascent(WORLD, before, SIZE, bonus), STEPS + 1))
    return {
        "action": action,
        "densities": [policy.log_prob(GRID).exp().tolist() for policy in (before, after)],
        "pushes": (by_mean, by_log_std),
        "means": [mean for mean, _ in path],
        "stds": [spread for _, spread in path],
    }


def draw(fig: Figure) -> Moving:
    """Left one update, right a hundred; below, in fixed places, the pushes and where the spread ends."""
    density, path = two_panels(fig, 1.2, right=0.975, top=0.89, bottom=0.3, gap=0.2)
    label(density, "One action that paid pulls the density", x="action a").set(xlim=(-3, 5), ylim=(0, 1.1))
    density.set_yticks([0, 0.5, 1])
    old = empty_line(density, color=BEFORE, linewidth=2)
    new = empty_line(density, color=AFTER, linewidth=2)
    taken = empty_line(density, color=EXACT, linewidth=1, linestyle=(0, (4, 3)))
    legend(density, (4.9, 0.98, "before", MUTED), (4.9, 0.86, "after", AFTER), ha="right")

    label(path, "In the end it narrows", x="training step").set(xlim=(0, STEPS), ylim=(0, 2.6))
    path.set_xticks([0, 50, 100])
    path.axhline(WORLD.centre, color=EXACT, linewidth=1, linestyle=(0, (4, 3)))
    path.text(STEPS, WORLD.centre + 0.09, "the action that pays most", ha="right", color=EXACT)
    mean, spread = empty_line(path, color=QUIET, linewidth=2), empty_line(path, color=AFTER, linewidth=2)
    legend(path, (STEPS, 1.6, "mean μ", MUTED), (STEPS, 1.28, "spread σ", AFTER), ha="right")
    readings = readouts(fig, 0.03, (0.25, "push on the mean"), (0.53, "on log σ"), (0.89, f"σ after {STEPS} steps"))

    def update(n: dict) -> None:
        for line, values in zip((old, new), n["densities"], strict=True):
            line.set_data(GRID, values)
        taken.set_data([n["action"]] * 2, [0, 1.1])
        mean.set_data(range(STEPS + 1), n["means"])
        spread.set_data(range(STEPS + 1), n["stds"])
        pushes = (signed(f"{push:+.2f}") for push in n["pushes"])
        fill(readings, (*pushes, f"{n['stds'][-1]:.3f}"))

    return [old, new, taken, mean, spread, *readings], update


def gaussian_policy() -> Live:
    """The widget."""
    twin = (
        ("An action two spreads away pulls the mean, and widens", {}),
        ("An action half a spread away narrows", {"action": 0.5}),
        ("An entropy bonus of 0.05: the spread stops shrinking", {"action": 0.5, "bonus": 0.05}),
    )
    alt = (
        "Left, the density of a Gaussian policy before and after one rewarded action: one that lies two spreads from "
        "the mean pulls the mean and widens the density, one that lies half a spread away narrows it. Right, mean and "
        "spread along the exact gradient of a reward with one peak at 2: the mean arrives there, the spread grows a "
        "little at first and then shrinks to 0.11; with an entropy bonus of 0.05 it stays at 0.23."
    )
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt)
