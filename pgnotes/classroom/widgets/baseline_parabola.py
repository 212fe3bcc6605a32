"""The noise of one sample against what is subtracted from its reward: a parabola, and its lowest point (lesson 05)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import EXACT, MUTED, QUIET
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
RECORDED = {  # two billion settings are too many
    "logit_a": (-1.0, 1.0, 2.9),
    "logit_b": (0.0, 2.0),
    "reward_a": (0.0, 1.0),
    "reward_b": (0.5, 1.0),
    "reward_c": (0.0, 0.5),
    "baseline": tuple(round(LOW + 0.1 * i, 2) for i in range(round((HIGH - LOW) / 0.1) + 1)),
}


def numbers(
    logit_a: float, logit_b: float, reward_a: float, reward_b: float, reward_c: float, baseline: float, reveal: bool
) -> dict[str, Any]:
    """The trace at no baseline, the mean, the best and yours; its curve; what each action weighs in mean and best."""
    policy = SoftmaxPolicy([logit_a, logit_b, 0.0])
    listed = outcomes(Bandit([reward_a, reward_b, reward_c]), policy)
    mean, best = mean_return(listed), optimal_baseline(listed)
    trace = {b: with_baseline(listed, b).trace.item() for b in (0.0, mean, best, baseline)}

    # the trace is a parabola: E[‖score‖²] (b - b*)² above its lowest point
    weights = listed.chances * listed.scores.square().sum(1)
    steep = weights.sum().item()
    grid = [b / 100 for b in range(int(100 * LOW), int(100 * HIGH) + 1, 2)]
    return {
        "curve": [trace[best] + steep * (b - best) ** 2 for b in grid],
        "mean": (mean, trace[mean]),
        "best": (best, trace[best]),
        "none": (0.0, trace[0.0]),
        "yours": (baseline, trace[baseline]),
        "reveal": reveal,
        "chances": listed.chances.tolist(),
        "weights": (weights / weights.sum()).tolist(),
    }


def draw(fig: Figure) -> Moving:
    """Left the parabola with mean, best and yours; right how much each reward counts in mean and best; readouts."""
    curve, bars = two_panels(fig, 1.55)
    curve.set(xlim=(LOW, HIGH), ylim=(0, TOP))
    curve.set_xlabel("baseline b, subtracted from every reward", labelpad=1)
    curve.set_xticks([-0.5, 0, 0.5, 1, 1.5], ["−0.5", "0", "0.5", "1", "1.5"])
    line = empty_line(curve, color=QUIET, linewidth=2)
    stems = [empty_line(curve, color=colour, linewidth=1.2, linestyle=":") for colour in (USUAL, EXACT)]
    dots = [empty_line(curve, "o", color=colour, markersize=8) for colour in (USUAL, EXACT)]
    yours = empty_line(curve, "o", color=EXACT, markersize=12, markerfacecolor="none", markeredgewidth=2)
    above = blended_transform_factory(curve.transData, curve.transAxes)
    look: dict[str, Any] = {"transform": above, "ha": "center", "va": "top", "fontweight": "bold"}
    names = [curve.text(0, y, "", color=colour, **look) for y, colour in ((0.99, USUAL), (0.91, EXACT))]

    bars.set(xlim=(-0.6, 2.6), ylim=(0, 1.28))
    bars.set_xticks(range(3), ["A", "B", "C"])
    bars.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    shares = empty_bars(bars, range(3), 0.36, -0.2, color=USUAL)
    weights = empty_bars(bars, range(3), 0.36, 0.2, color=EXACT)
    words = (2.55, 1.23, "in the mean: π", USUAL), (2.55, 1.12, "in b*: π ‖score‖²", EXACT)
    legend(bars, *words, ha="right", va="top")

    # what there is to be found is said once it is shown
    heads = [ax.set_title("", loc="left", fontsize=10, fontweight="bold", color=EXACT) for ax in (curve, bars)]
    titles = {
        False: ("The noise of one sample", "What each action weighs"),
        True: ("The noise of one sample is a parabola in b", "b* listens to the rare"),
    }

    traces = (0.17, "trace at b = 0"), (0.41, "at the mean"), (0.63, "at b*"), (0.885, "at your b")
    readings = readouts(fig, 0.025, *traces)

    def update(n: dict) -> None:
        for title, words in zip(heads, titles[n["reveal"]], strict=True):
            title.set_text(words)
        line.set_data([LOW + 0.02 * i for i in range(len(n["curve"]))], n["curve"])
        marks = zip(dots, stems, names, ("mean", "lowest: b*"), (n["mean"], n["best"]), strict=True)
        for dot, stem, name, word, (b, trace) in marks:
            dot.set_data([b], [min(trace, TOP)])
            stem.set_data([b, b], [trace, 0.83 * TOP])
            name.set(x=min(max(b, LOW + 0.26), HIGH - 0.26), text=f"{word} {b:z.2f}")
        b, trace = n["yours"]
        yours.set_data([b], [min(trace, TOP)])

        for share, weight, chance, counts in zip(shares, weights, n["chances"], n["weights"], strict=True):
            share.set_height(chance)
            weight.set_height(counts if n["reveal"] else 0.0)
        for artist in (line, *stems, *names, *dots):
            artist.set_visible(n["reveal"])
        hidden = [f"{n[which][1]:.4f}" if n["reveal"] else "?" for which in ("mean", "best")]
        fill(readings, (f"{n['none'][1]:.4f}", *hidden, f"{n['yours'][1]:.4f}"))

    return [line, *stems, *dots, yours, *heads, *names, *shares, *weights, *readings], update


def baseline_parabola() -> Live:
    """The widget."""
    best = {"baseline": 0.9, "reveal": True}
    worst = {"reward_a": 0.0, "reward_c": 1.0, "reveal": True}
    twin = (
        ("Nearly sure of the best action: subtracting the mean is worse than subtracting nothing", best),
        ("Undecided: the mean is the lowest point", {"logit_a": 0.0, "baseline": 0.5, "reveal": True}),
        ("Nearly sure of the worst action: the lowest point lies above the mean", worst),
    )
    alt = (
        "The trace of one sample's covariance against the baseline, a parabola, with the mean reward and the lowest "
        "point marked. With 90 % on the best action the mean is 0.93 and the lowest point 0.30, and the mean is "
        "noisier than no baseline; for an undecided policy both are the same. Bars show that the lowest point listens "
        "to the rare actions."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt, recorded=RECORDED)
