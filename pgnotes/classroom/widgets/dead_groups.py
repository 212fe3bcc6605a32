"""Pass rate and group size: how many groups say nothing, and how hard the others push (lesson 08)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import BETTER, ESTIMATE, EXACT, MUTED, WORSE, fill, label, readouts
from pgnotes.theory.estimators import Outcomes, with_leave_one_out
from pgnotes.theory.groups import dead_share, pull

GROUPS = 16
RATES = torch.linspace(0.002, 0.998, 84, dtype=torch.float64)
CONTROLS = (
    Slider("p", "pass rate p", 0.01, 0.99, 0.01, 0.3),
    Slider("size", "group size G", 2, 32, 1, 4),
    Switch("again", "ask a dead group again, until it lives"),
)


def numbers(p: float, size: int, again: bool) -> dict[str, Any]:
    """Shares of groups that all fail and all pass, and the average push on the logit of success, over all rates and at p."""
    rates = torch.cat([RATES, torch.tensor([p], dtype=torch.float64)])
    live = 1 - dead_share(rates, size)
    slope = rates * (1 - rates)  # the exact gradient: of p, by its logit
    pushes = torch.stack([pull(rates, size, kind) * slope / (live if again else 1) for kind in ("rloo", "grpo")])
    scores = torch.tensor([[1 - p], [-p]], dtype=torch.float64)
    moments = with_leave_one_out(
        Outcomes(torch.tensor([p, 1 - p], dtype=torch.float64), scores.new_tensor([1.0, 0.0]), scores), size
    )
    return {
        "p": p,
        "fail": (1 - rates) ** size,
        "dead": 1 - live,
        "pushes": pushes,
        "needed": size * moments.samples_needed(moments.mean),
    }


def draw(fig: Figure) -> Moving:
    """Left the dead share, right the push."""
    shares, push = fig.subplots(
        1, 2, gridspec_kw={"left": 0.075, "right": 0.975, "top": 0.9, "bottom": 0.29, "wspace": 0.17}
    )
    label(shares, "Groups that say nothing", x="pass rate p").set(
        xlim=(0, 1), ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1]
    )
    label(push, "Average push on the logit of success", x="pass rate p").set(
        xlim=(0, 1), ylim=(0, 0.72), yticks=[0, 0.2, 0.4, 0.6]
    )
    areas = [PolyCollection([], facecolor=colour, alpha=0.45, linewidth=0) for colour in (WORSE, BETTER)]
    for area in areas:
        shares.add_collection(area)
    shares.text(0.5, 0.93, "all wrong", ha="right", color=WORSE, fontweight="bold", transform=shares.transAxes)
    shares.text(0.55, 0.93, "all right", color=BETTER, fontweight="bold", transform=shares.transAxes)
    push.plot(RATES, RATES * (1 - RATES), color=EXACT, linewidth=5, alpha=0.25)
    for x, text, colour in ((0.02, "exact", MUTED), (0.28, "— RLOO", ESTIMATE), (0.6, "– – GRPO", ESTIMATE)):
        push.text(x, 0.93, text, color=colour, fontweight="bold", transform=push.transAxes)
    lines = [push.plot([], [], style, color=ESTIMATE, linewidth=2)[0] for style in ("-", "--")]
    dots = [
        ax.plot([], [], "o", color=colour, markersize=7)[0]
        for ax, colour in ((shares, EXACT), (push, ESTIMATE), (push, ESTIMATE))
    ]
    readings = readouts(
        fig, 0.025, (0.12, "dead"), (0.4, f"live groups of {GROUPS}"), (0.68, "push: RLOO"), (0.87, "GRPO")
    )
    needed = readouts(fig, 0.1, (0.87, "completions until the error is 10 % (RLOO, dead groups kept)"))

    def update(n: dict) -> None:
        fail, dead, xs = n["fail"][:-1].tolist(), n["dead"][:-1].tolist(), RATES.tolist()
        flat = [*zip(xs[::-1], [0.0] * len(xs), strict=True)]
        areas[0].set_verts([[*zip(xs, fail, strict=True), *flat]])
        areas[1].set_verts([[*zip(xs, dead, strict=True), *zip(xs[::-1], fail[::-1], strict=True)]])
        for line, values in zip(lines, n["pushes"], strict=True):
            line.set_data(RATES, values[:-1])
        heights = (n["dead"][-1], *n["pushes"][:, -1])
        for dot, height in zip(dots, heights, strict=True):
            dot.set_data([n["p"]], [height])
        live = GROUPS * (1 - heights[0])
        fill(readings, (f"{100 * heights[0]:.0f} %", f"{live:.1f}", f"{heights[1]:.3f}", f"{heights[2]:.3f}"))
        needed[0].set_text(f"{n['needed']:,.0f}")

    return [*areas, *lines, *dots, *readings, *needed], update


def dead_groups() -> Live:
    """The widget."""
    return Live(
        numbers, draw, CONTROLS, 3.3,
        twin=(
            ("Pass rate 5 %, groups of 8: two groups in three are dead", {"p": 0.05, "size": 8}),
            ("Groups of 16: fewer are dead, and RLOO's average push is the same", {"p": 0.05, "size": 16}),
            ("Pairs, each asked again until it lives: hard and easy prompts push alike", {"p": 0.05, "size": 2, "again": True}),
        ),
        alt="Left, the share of dead groups against the pass rate, all wrong and all right; at rate 0.05 it falls from 66 to 44 percent when groups grow from "
        "8 to 16. Right, the average push: RLOO lies on the exact gradient, a hill over the rate 0.5, for every size; GRPO's hill is higher and wider. If "
        "dead pairs are asked again, RLOO's push is a flat line.",
    )  # fmt: skip
