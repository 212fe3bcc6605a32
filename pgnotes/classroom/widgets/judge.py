"""A judge who errs by chance and one who errs by taste: what a policy earns that learned from them (lesson 15)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, ESTIMATE, EXACT, MUTED, label
from pgnotes.theory.judges import answer_kinds, clean_verdicts, learned_scores, verdicts
from pgnotes.theory.ppo import divergence
from pgnotes.theory.preferences import tilted, tilted_to, verdicts_agree

PAIRS = (300, 3_000, 30_000, 300_000, None)
NAMES = ("300", "3,000", "30,000", "300,000", "endlessly many")
LENGTHS = range(1, 5)
MOST = 4.0  # nats
FIRST = 23  # the data set shown first: at 40 % of turned verdicts it is near the mean of a hundred
CONTROLS = (
    Choice("pairs", "pairs that are compared", tuple(zip(NAMES, PAIRS, strict=True)), 300),
    Slider("flips", "verdicts turned at random (%)", 0, 45, 5, 0),
    Slider("love", "love of length (nats a symbol)", -2.0, 2.0, 0.25, 0.0),
    Slider("kl", "KL from the reference (nats)", 0.0, MOST, 0.25, 2.0),
)


@cache
def scores(pairs: int | None, flips: int, love: float, seed: int) -> Tensor:
    """What is learned from this judge, [C]; endlessly many pairs are the same for all seeds."""
    return learned_scores(verdicts(flips / 100, love), pairs, seed)


@cache
def curve(pairs: int | None, flips: int, love: float, seed: int) -> tuple[list[float], list[float]]:
    """The KL and the true return of the best policies by what was learned, from the reference on."""
    kinds, learned = answer_kinds(), scores(pairs, flips, love, seed)
    spread = (learned.max() - learned.min()).item() or 1.0
    betas = spread * torch.logspace(1.5, -3, 46, dtype=torch.float64)
    policies = torch.stack([kinds.chances, *(tilted(kinds.chances, learned, beta) for beta in betas.tolist())])
    return divergence(policies, kinds.chances).tolist(), (policies @ kinds.returns).tolist()


def lengths(policy: Tensor) -> list[float]:
    """How likely each length is, 1 to 4 symbols."""
    return [policy[answer_kinds().lengths == length].sum().item() for length in LENGTHS]


def numbers(pairs: int | None, flips: int, love: float, kl: float, seed: int) -> dict[str, Any]:
    """The curve, where the policy stands on it, how long its answers are, and how often the judge agrees.

    It stands at `kl`, or where no more can be spent: with all chance on what is liked best.
    """
    kinds = answer_kinds()
    number = 0 if pairs is None else FIRST + seed
    policy = tilted_to(kinds.chances, scores(pairs, flips, love, number), kl)
    return {
        "curve": curve(pairs, flips, love, number),
        "now": (divergence(policy[None], kinds.chances).item(), (policy @ kinds.returns).item()),
        "lengths": lengths(policy),
        "mean_length": (policy @ kinds.lengths).item(),
        "agreement": verdicts_agree(kinds.chances, clean_verdicts(), verdicts(flips / 100, love)),
    }


def draw(fig: Figure) -> Moving:
    """Left the true return over the KL, with the best possible; right how long the answers are; below the readouts."""
    kinds = answer_kinds()
    earned, long = two_panels(fig, 1.5, bottom=0.27, top=0.9, gap=0.2)
    label(earned, "What the policy is truly worth").set(xlim=(-0.1, MOST + 0.1), ylim=(0, 1.03))
    earned.set_xlabel("KL from the reference (nats)", labelpad=1)
    earned.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    earned.plot(*curve(None, 0, 0.0, 0), color=EXACT, linewidth=1.6, linestyle="--")
    legend(earned, (0.05, 0.93, "a clean judge, all pairs", EXACT), (1.75, 0.1, "this judge, these pairs", ESTIMATE))
    line = empty_line(earned, color=ESTIMATE, linewidth=2.2)
    rule = empty_line(earned, color=MUTED, linewidth=1, linestyle=":")
    dot = empty_line(earned, "o", color=AFTER, markersize=8, clip_on=False)

    label(long, "How long it writes").set(xlim=(0.4, 4.6), ylim=(0, 1.03), xticks=list(LENGTHS))
    long.set_xlabel("symbols", labelpad=1)
    long.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    legend(long, (1.75, 0.93, "reference", MUTED), (1.75, 0.82, "now", AFTER))
    long.bar([x - 0.2 for x in LENGTHS], lengths(kinds.chances), 0.38, color=BEFORE)
    bars = empty_bars(long, LENGTHS, 0.38, 0.2, color=AFTER)
    readings = readouts(fig, 0.03, (0.34, "agrees with a clean judge"), (0.62, "true return"), (0.87, "mean length"))

    def update(n: dict) -> None:
        line.set_data(*n["curve"])
        rule.set_data([n["now"][0]] * 2, [0.18, 0.9])
        dot.set_data(*([x] for x in n["now"]))
        for bar, share in zip(bars, n["lengths"], strict=True):
            bar.set_height(share)
        fill(readings, (f"{n['agreement']:.1%}", f"{n['now'][1]:.3f}", f"{n['mean_length']:.2f}"))

    return [rule, line, *bars, dot, *readings], update


def judge() -> Live:
    """The widget."""
    twin = (
        ("300 pairs, 40 % of the verdicts turned at random", {"flips": 40}),
        ("300 pairs, a love of length", {"love": 2.0}),
        ("Endlessly many pairs, 40 % turned at random: next to nothing is lost", {"pairs": None, "flips": 40}),
        ("Endlessly many pairs, a love of length: at a KL of 2 what it costs stays", {"pairs": None, "love": 2.0}),
        ("Endlessly many pairs, a love of short answers: nothing is earned", {"pairs": None, "love": -2.0}),
    )
    alt = (
        "Left, over the KL from the reference, the true return of policies that learned from a judge, below a dashed "
        "curve for a clean judge and all pairs, which rises from 0.2 to 1. With 300 pairs and 40 % of the verdicts "
        "turned the curve lies far below, with 300 pairs and a love of length a little below. With endlessly many "
        "pairs the judge whose verdicts are turned is on the dashed curve; the one who loves length stays below it up "
        "to a KL of 4, at 2 nats 0.787 for 0.842; with one who loves short answers the return falls to 0. Right, how "
        "long the answers are: with a love of length nearly all have four symbols, with the other one symbol."
    )
    recorded = {"flips": (0, 20, 40), "love": (-2.0, 0.0, 2.0), "kl": (0.0, 1.0, 2.0, 3.0, 4.0)}
    return Live(numbers, draw, CONTROLS, 3.4, twin, alt, noise=True, recorded=recorded)
