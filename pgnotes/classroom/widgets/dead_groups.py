"""Pass rate and group size: how many groups say nothing, and how hard the others push (lesson 08)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import area, empty_line, empty_shapes, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import BETTER, ESTIMATE, EXACT, MUTED, WORSE, label
from pgnotes.theory.right_or_wrong import completions_needed, dead_share, pull

GROUPS = 16
RATES = torch.linspace(0.002, 0.998, 84, dtype=torch.float64)
CONTROLS = (
    Slider("p", "pass rate p", 0.01, 0.99, 0.01, 0.3),
    Slider("size", "group size G", 2, 32, 1, 4),
    Switch("again", "ask a dead group again, until it lives"),
)


def numbers(p: float, size: int, again: bool) -> dict[str, Any]:
    """Shares of groups that all fail and all pass, and the average push on the logit of success, by pass rate."""
    rates = torch.cat([RATES, torch.tensor([p], dtype=torch.float64)])
    live = 1 - dead_share(rates, size)
    slope = rates * (1 - rates)  # the exact gradient: of p, by its logit
    pushes = torch.stack([pull(rates, size, kind) * slope / (live if again else 1) for kind in ("rloo", "grpo")])
    needed = [completions_needed(p, size, kind).item() for kind in ("rloo", "grpo")]
    return {
        "p": p,
        "fail": (1 - rates) ** size,
        "dead": 1 - live,
        "pushes": pushes,
        "needed": needed,
    }


def draw(fig: Figure) -> Moving:
    """Left the dead share, right the push."""
    shares, push = two_panels(fig, left=0.09, right=0.975, bottom=0.29, gap=0.17)
    label(shares, "Groups that say nothing", x="pass rate p", y="share of groups").set(xlim=(0, 1), ylim=(0, 1.02))
    shares.set_yticks([0, 0.25, 0.5, 0.75, 1])
    areas = [empty_shapes(shares, facecolor=colour, alpha=0.45, linewidth=0) for colour in (WORSE, BETTER)]
    legend(shares, (0.5, 0.93, "all wrong", WORSE), ha="right", transform=shares.transAxes)
    legend(shares, (0.55, 0.93, "all right", BETTER), transform=shares.transAxes)

    label(push, "Average push on the logit of success", x="pass rate p").set(xlim=(0, 1), ylim=(0, 0.72))
    push.set_yticks([0, 0.2, 0.4, 0.6])
    push.plot(RATES, RATES * (1 - RATES), color=EXACT, linewidth=5, alpha=0.25)
    legend(push, (0.02, 0.93, "grey: the exact gradient", MUTED), transform=push.transAxes)
    names = [push.text(0.5, 0, name, color=ESTIMATE, ha="center", fontweight="bold") for name in ("RLOO", "– – GRPO")]
    lines = [empty_line(push, style, color=ESTIMATE, linewidth=2) for style in ("-", "--")]

    places = ((shares, EXACT), (push, ESTIMATE), (push, ESTIMATE))
    dots = [empty_line(ax, "o", color=colour, markersize=7) for ax, colour in places]
    measured = (0.12, "dead"), (0.4, f"live groups of {GROUPS}"), (0.7, "push: RLOO"), (0.88, "GRPO")
    readings = readouts(fig, 0.025, *measured)
    readings += readouts(fig, 0.1, (0.7, "completions until the error is 10 %: RLOO"), (0.88, "GRPO"))

    def update(n: dict) -> None:
        fail, dead, xs = n["fail"][:-1].tolist(), n["dead"][:-1].tolist(), RATES.tolist()
        areas[0].set_verts([area(xs, fail, [0.0] * len(xs))])
        areas[1].set_verts([area(xs, dead, fail)])
        for line, values in zip(lines, n["pushes"], strict=True):
            line.set_data(RATES, values[:-1])

        share, rloo, grpo = n["dead"][-1], *n["pushes"][:, -1]
        for dot, height in zip(dots, (share, rloo, grpo), strict=True):
            dot.set_data([n["p"]], [height])

        # the higher curve's name above its middle, the other's below
        middles = n["pushes"][:, len(RATES) // 2].tolist()
        for name, middle in zip(names, middles, strict=True):
            name.set_y(middle + 0.03 if middle == max(middles) else middle - 0.065)
        texts = (f"{100 * share:.0f} %", f"{GROUPS * (1 - share):.1f}", f"{rloo:.3f}", f"{grpo:.3f}")
        fill(readings, (*texts, *(f"{needed:,.0f}" for needed in n["needed"])))

    return [*areas, *lines, *names, *dots, *readings], update


def dead_groups() -> Live:
    """The widget."""
    pairs = {"p": 0.05, "size": 2, "again": True}
    twin = (
        ("Pass rate 5 %, groups of 8: two groups in three are dead", {"p": 0.05, "size": 8}),
        ("Groups of 16: fewer are dead, and RLOO's average push is the same", {"p": 0.05, "size": 16}),
        ("Pairs, each asked again until it lives: hard and easy prompts push alike", pairs),
    )
    alt = (
        "Left, the share of dead groups against the pass rate, all wrong and all right; at rate 0.05 it falls from 66 "
        "to 44 percent when groups grow from 8 to 16. Right, the average push: RLOO lies on the exact gradient, a hill "
        "over the rate 0.5, for every size; GRPO's hill is higher and wider. If dead pairs are asked again, RLOO's "
        "push is a flat line."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt)
