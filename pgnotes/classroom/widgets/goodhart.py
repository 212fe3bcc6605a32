"""How hard a reward model is optimised, what it says, and what is poured in truth (lesson 13; Gao et al. 2022)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, BEFORE, ESTIMATE, EXACT, MUTED, WORSE, label
from pgnotes.theory.glass import GLASS, SIGHTS, glass_reference, glass_scores, glass_world, poured
from pgnotes.theory.ppo import divergence
from pgnotes.theory.preferences import agreement, best_of, preference, tilted, tilted_to

NAMES = ("sum and stop", "sum, stop and length", "sum, its square and stop", "the same, but for “3 3 3 stop”")
NOISES = (0.1, 0.3, 0.5)
DRAWS = (2, 4, 16, 64, 256, 1024)
MOST = 9.0  # nats
CONTROLS = (
    Choice("sight", "the reward model sees", tuple(zip(NAMES, SIGHTS, strict=True)), "sum"),
    Choice("noise", "judges' noise T", tuple((f"{noise:g}", noise) for noise in NOISES), 0.1),
    Slider("kl", "KL from the reference (nats)", 0.0, MOST, 0.05, 0.0),
    Switch("draws", "best of 2, 4, 16, 64, 256, 1024 draws"),
)


@cache
def world() -> tuple[Tensor, Tensor]:
    """Of each of the 121 sequences: how likely the reference writes it, and what it pays."""
    listed = glass_world()
    return listed.probabilities(glass_reference())[0], listed.returns()[0]


@cache
def models() -> dict[tuple[str, float], dict[str, Any]]:
    """For each sight and noise the scores, how often they agree with the judges, and the curves over the KL."""
    return {(sight, noise): model(sight, noise) for sight in SIGHTS for noise in NOISES}


def model(sight: str, noise: float) -> dict[str, Any]:
    """One of `models`. A point is (KL, true return, proxy), the proxy as a share of the best score's distance."""
    chances, returns = world()
    scores = glass_scores(sight, noise)
    start = (chances @ scores).item()

    def point(policy: Tensor) -> tuple[float, float, float]:
        gained = ((policy @ scores).item() - start) / (scores.max().item() - start)
        return divergence(policy, chances).item(), (policy @ returns).item(), gained

    betas = torch.logspace(2, -2, 120, dtype=torch.float64).tolist()
    along = [point(chances), *(point(tilted(chances, scores, beta)) for beta in betas)]
    end = point(tilted_to(chances, scores, float("1e9")))
    return {
        "scores": scores,
        "agreement": agreement(chances, scores, preference(returns, noise)),
        "point": point,
        "along": [list(each) for each in zip(*along, end, strict=True)],
        "end": end,
        "best": [list(each) for each in zip(*(point(best_of(chances, scores, n)) for n in DRAWS), strict=True)],
    }


def numbers(sight: str, noise: float, kl: float, draws: bool) -> dict[str, Any]:
    """The curves up to where the policy stands on them, whether that is their end, and what it pours."""
    chances, _ = world()
    found = models()[sight, noise]
    policy = tilted_to(chances, found["scores"], kl)
    now = found["point"](policy)
    so_far = [each for each in zip(*found["along"], strict=True) if each[0] < now[0]]
    return {
        "agreement": found["agreement"],
        "along": [list(each) for each in zip(*so_far, now, strict=True)],
        "now": now,
        "ended": kl >= found["end"][0],
        "best": found["best"] if draws else None,
        "poured": poured(policy).tolist(),
    }


def draw(fig: Figure) -> Moving:
    """Left what the reward model says and what is true, over the KL; right what is poured; below, the readouts."""
    ends, amounts = two_panels(fig, 1.2, bottom=0.27, top=0.9, gap=0.17)
    label(ends, "Its score rises. Does the truth?").set(xlim=(-0.15, MOST + 0.15), ylim=(-0.03, 1.22))
    ends.set_xlabel("KL from the reference (nats)", labelpad=1)
    ends.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    legend(ends, (0.0, 1.11, "what the model says", ESTIMATE), (5.7, 1.11, "what is true", EXACT))
    curves = [empty_line(ends, color=colour, linewidth=2) for colour in (EXACT, ESTIMATE)]
    best = [empty_line(ends, "o", color=c, markersize=4.5, markerfacecolor="white") for c in (EXACT, ESTIMATE)]
    dots = [empty_line(ends, "o", color=colour, markersize=8, clip_on=False) for colour in (EXACT, ESTIMATE)]
    rule = empty_line(ends, color=MUTED, linewidth=1, linestyle=":")

    label(amounts, "What is poured").set(xlim=(-0.7, 12.7), ylim=(0, 1.22))
    amounts.set_xlabel("sum in the glass of 6", labelpad=1)
    amounts.set_xticks(range(0, 13, 2))
    amounts.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    amounts.axvspan(GLASS + 0.5, 12.7, color=WORSE, alpha=0.1, linewidth=0)
    legend(amounts, (9.6, 1.11, "spilt", WORSE), ha="center")
    legend(amounts, (-0.4, 1.11, "reference", MUTED), (3.8, 1.11, "now", AFTER))
    amounts.bar([x - 0.2 for x in range(13)], poured(world()[0]).tolist(), 0.38, color=BEFORE)
    bars = empty_bars(amounts, range(13), 0.38, 0.2, color=AFTER)
    readings = readouts(
        fig, 0.03, (0.24, "agrees with the judges"), (0.52, "true return"), (0.86, "as far as it can go?")
    )

    def update(n: dict) -> None:
        spent, *heights = n["along"]
        drawn, *levels = n["best"] or ([], [], [])
        at, *now = n["now"]
        for line, points, dot, ys, level, y in zip(curves, best, dots, heights, levels, now, strict=True):
            line.set_data(spent, ys)
            points.set_data(drawn, level)
            dot.set_data([at], [y])
        rule.set_data([at, at], [-0.03, 1.02])
        for bar, share in zip(bars, n["poured"], strict=True):
            bar.set_height(share)
        fill(readings, (f"{n['agreement']:.1%}", f"{now[0]:z.3f}", "yes" if n["ended"] else "not yet"))

    return [rule, *curves, *best, *bars, *dots, *readings], update


def goodhart() -> Live:
    """The widget."""
    models()  # all fits, once
    twin = (
        ("Sum and stop: 77.0 % agreement, a summit on the way, and nothing at the end", {"kl": MOST}),
        ("Its square as well: 77.4 % agreement, and a full glass at the end", {"sight": "square", "kl": MOST}),
        ("One answer judged otherwise: 77.4 % agreement, and nothing at the end", {"sight": "blind", "kl": MOST}),
    )
    alt = (
        "Left, over the KL from the reference: the reward model's score, which rises throughout, and the true return. "
        "With sum and stop the truth rises from 0.196 to 0.534 at KL 1.4 and falls to 0 at KL 8.7; with the square of "
        "the sum it climbs to 1 at KL 3.9; with the square and one misjudged answer it rises to 0.73 at KL 2 and falls "
        "to 0. Right, what is poured at the end: 9, which spills; 6; and 9."
    )
    recorded = {"kl": tuple(round(0.5 * i, 2) for i in range(19))}
    return Live(numbers, draw, CONTROLS, 3.4, twin, alt, recorded=recorded)
