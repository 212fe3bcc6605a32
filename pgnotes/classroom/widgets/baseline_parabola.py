"""The noise of one sample against what is subtracted from its reward: a parabola, and whose rewards its lowest point listens to (lesson 05)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, BEFORE, EXACT, MUTED, QUIET, fill, label, readouts
from pgnotes.theory.estimators import mean_return, optimal_baseline, outcomes, with_baseline
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

USUAL = MUTED  # the mean, which most people subtract
LOW, HIGH, TOP = -0.5, 1.5, 0.3  # of b, and of the trace
CONTROLS = (
    Slider("logit_a", "logit of A", -1.0, 4.0, 0.1, 2.9),
    Slider("logit_b", "logit of B (C: 0)", -1.0, 4.0, 0.1, 0.0),
    Slider("reward_a", "reward of A", -0.5, 1.5, 0.1, 1.0),
    Slider("reward_b", "reward of B", -0.5, 1.5, 0.1, 0.5),
    Slider("reward_c", "reward of C", -0.5, 1.5, 0.1, 0.0),
    Slider("baseline", "your baseline b", LOW, HIGH, 0.05, 0.0),
    Switch("reveal", "show the whole curve, the mean and b*"),
)


def numbers(
    logit_a: float, logit_b: float, reward_a: float, reward_b: float, reward_c: float, baseline: float, reveal: bool
) -> dict[str, Any]:
    """The trace at three baselines, which fix the parabola, and at the mean, the best and yours; how much each action weighs in mean and best."""
    policy = SoftmaxPolicy([logit_a, logit_b, 0.0])
    listed = outcomes(Bandit([reward_a, reward_b, reward_c]), policy)
    mean, best = mean_return(listed), optimal_baseline(listed)
    weights = listed.chances * listed.scores.square().sum(1)
    lowest = with_baseline(listed, best).trace.item()
    return {
        "curve": [
            lowest + weights.sum().item() * (b / 100 - best) ** 2 for b in range(int(100 * LOW), int(100 * HIGH) + 1, 2)
        ],
        "mean": (mean, with_baseline(listed, mean).trace.item()),
        "best": (best, lowest),
        "none": (0.0, with_baseline(listed, 0.0).trace.item()),
        "yours": (baseline, with_baseline(listed, baseline).trace.item()),
        "reveal": reveal,
        "chances": listed.chances.tolist(),
        "weights": (weights / weights.sum()).tolist(),
    }


def draw(fig: Figure) -> Moving:
    """Left the parabola with mean, best and yours; right how much each action's reward counts in the mean and in the best; below the readouts."""
    curve, bars = fig.subplots(
        1,
        2,
        width_ratios=(1.55, 1),
        gridspec_kw={"left": 0.085, "right": 0.985, "top": 0.9, "bottom": 0.25, "wspace": 0.2},
    )
    label(curve, "Noise of one sample (trace)").set(xlim=(LOW, HIGH), ylim=(0, TOP))
    curve.set_xlabel("baseline b, subtracted from every reward", labelpad=1)
    curve.set_xticks([-0.5, 0, 0.5, 1, 1.5], ["−0.5", "0", "0.5", "1", "1.5"])
    (line,) = curve.plot([], [], color=QUIET, linewidth=2)
    stems = [curve.plot([], [], color=colour, linewidth=1.2, linestyle=":")[0] for colour in (USUAL, EXACT)]
    dots = [
        curve.plot([], [], "o", color=colour, markersize=size)[0]
        for colour, size in ((USUAL, 8), (EXACT, 8), (AFTER, 11))
    ]
    dots[2].set(markerfacecolor="none", markeredgewidth=2.4)
    above = blended_transform_factory(curve.transData, curve.transAxes)
    names = [
        curve.text(
            0, y, "", gid=name, transform=above, color=colour, ha="center", va="top", fontweight="bold", fontsize=9
        )
        for y, name, colour in ((0.99, "mean", USUAL), (0.91, "lowest: b*", EXACT))
    ]
    label(bars, "Whose reward counts").set(xlim=(-0.6, 2.6), ylim=(0, 1.28))
    bars.set_xticks(range(3), ["A", "B", "C"])
    bars.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    shares = bars.bar([x - 0.2 for x in range(3)], [0.0] * 3, 0.36, color=BEFORE)
    weights = bars.bar([x + 0.2 for x in range(3)], [0.0] * 3, 0.36, color=EXACT)
    bars.text(2.55, 1.23, "in the mean: π", ha="right", va="top", color=USUAL, fontweight="bold", fontsize=9)
    bars.text(2.55, 1.12, "in b*: π ‖score‖²", ha="right", va="top", color=EXACT, fontweight="bold", fontsize=9)
    readings = readouts(
        fig, 0.025, (0.17, "trace at b = 0"), (0.41, "at the mean"), (0.63, "at b*"), (0.885, "at your b")
    )

    def update(n: dict) -> None:
        line.set_data([LOW + 0.02 * i for i in range(len(n["curve"]))], n["curve"])
        points = (n["mean"], n["best"], n["yours"])
        for dot, (b, trace) in zip(dots, points, strict=True):
            dot.set_data([b], [min(trace, TOP)])
        for stem, name, (b, trace) in zip(stems, names, points[:2], strict=True):
            stem.set_data([b, b], [trace, 0.83 * TOP])
            name.set(x=min(max(b, LOW + 0.26), HIGH - 0.26), text=f"{name.get_gid()} {b:z.2f}")
        for x in range(3):
            shares[x].set_height(n["chances"][x])
            weights[x].set_height(n["weights"][x] if n["reveal"] else 0.0)
        for artist in (line, *stems, *names, *dots[:2]):
            artist.set_visible(n["reveal"])
        texts = (
            f"{n['none'][1]:.4f}",
            *(f"{trace:.4f}" if n["reveal"] else "?" for _, trace in points[:2]),
            f"{n['yours'][1]:.4f}",
        )
        fill(readings, texts)

    return [line, *stems, *dots, *names, *shares, *weights, *readings], update


def baseline_parabola() -> Live:
    """The widget."""
    return Live(
        numbers, draw, CONTROLS, 3.3,
        twin=(
            ("Nearly sure of the best action: subtracting the mean is worse than subtracting nothing", {"baseline": 0.9, "reveal": True}),
            ("Undecided: the mean is the lowest point", {"logit_a": 0.0, "baseline": 0.5, "reveal": True}),
            ("Nearly sure of the worst action: the lowest point lies above the mean", {"reward_a": 0.0, "reward_c": 1.0, "reveal": True}),
        ),
        alt="The trace of one sample's covariance against the baseline, a parabola, with the mean reward and the lowest point marked. With 90 % on the best "
        "action the mean is 0.93 and the lowest point 0.30, and the mean is noisier than no baseline; for an undecided policy both are the same. Bars show "
        "that the lowest point listens to the rare actions.",
    )  # fmt: skip
