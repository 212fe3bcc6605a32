"""Five hundred policies, one baseline: where do they end up?  Less variance is not the same as better learning (lesson 05; Chung et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.live import Choice, Dear, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, MUTED, QUIET, WORSE, label, readouts
from pgnotes.classroom.widgets.score_arrows import CORNERS
from pgnotes.theory.estimators import mean_return, optimal_baseline, outcomes, with_baseline, with_batch_mean
from pgnotes.theory.learning import train_bandits
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

BANDIT = Bandit([1.0, 0.7, 0.0])  # A, B and C
# Policies, steps, between two looks at them, of an action, drawn as lines
RUNS, STEPS, EVERY, SURE, PATHS = 500, 1000, 5, 0.95, 60
MARKS = list(range(0, STEPS + 1, EVERY))
BASELINES = (
    ("none", ("none", 0.0)),
    ("the policy's mean J", ("mean", 0.0)),
    ("the batch's mean", ("batch mean", 0.0)),
    ("a running average", ("running average", 0.0)),
    ("b*, the least variance", ("optimal", 0.0)),
    ("b* − 0.5", ("optimal", -0.5)),
    ("b* + 0.5", ("optimal", 0.5)),
)
STARTS = (
    ("B likely: 11, 79, 11 %", (0.0, 2.0, 0.0)),
    ("a third each", (0.0, 0.0, 0.0)),
    ("A rare: 2, 49, 49 %", (0.0, 3.0, 3.0)),
)
CONTROLS = (
    Choice("baseline", "baseline", BASELINES, ("none", 0.0)),
    Slider("step_size", "step size", 0.1, 2.0, 0.1, 0.5),
    Choice("start", "start", STARTS, STARTS[0][1]),
    Slider("batch", "actions a step", 1, 8, 1, 1),
)


def train(
    baseline: tuple[str, float], step_size: float, start: tuple[float, ...], batch: int, seed: int
) -> Iterator[float]:
    """Train all policies; yields progress and returns where they end, [RUNS, 3], and at `MARKS` the shares sure of A and of B or C, and some paths."""
    kind, shift = baseline
    shares, paths = [], []
    for step, probs in enumerate(train_bandits(BANDIT, start, kind, step_size, RUNS, seed, batch, shift)):
        if step % EVERY == 0:
            sure = probs > SURE
            shares.append([sure[:, 0].double().mean().item(), sure[:, 1:].any(1).double().mean().item()])
            paths.append(probs[:PATHS])
            yield step / STEPS
        if step == STEPS:
            return probs, torch.tensor(shares), torch.stack(paths, 1)


@cache
def scatter() -> Tensor:
    """A little noise for the dots, so that those in the same place can be seen, [RUNS, 2]."""
    return 0.015 * torch.randn(RUNS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def numbers(
    baseline: tuple[str, float], step_size: float, start: tuple[float, ...], batch: int, seed: int, dear: Any = None
) -> dict[str, Any]:
    """Where the first action of each kind would take the policy, the exact trace there, and, once trained, dots, shares and their standard error."""
    (kind, shift), policy = baseline, SoftmaxPolicy(start)
    listed = outcomes(BANDIT, policy)
    # A running average starts at 0
    level = {"mean": mean_return(listed), "optimal": optimal_baseline(listed)}.get(kind, 0.0) + shift
    if kind == "batch mean":  # of equal actions: nothing is above it
        level, trace = None, with_batch_mean(listed, batch).trace.item() if batch > 1 else 0.0
    else:
        trace = with_baseline(listed, level).trace.item() / batch
    gaps = torch.zeros(3, dtype=torch.float64) if level is None else listed.returns - level
    after = (policy.logits + step_size * gaps[:, None] * listed.scores).softmax(1)
    result = {
        "at": (policy.probs @ CORNERS).tolist(),
        "after": (after @ CORNERS).tolist(),
        "trace": trace,
        "dots": None,
    }
    if dear is not None:
        probs, shares, paths = dear
        lost = shares[-1, 1].item()
        sure = torch.where(probs[:, 0] > SURE, 0, torch.where((probs[:, 1:] > SURE).any(1), 1, 2))
        # NaN lifts the pen between two paths
        lines = torch.cat([paths @ CORNERS, torch.full((PATHS, 1, 2), float("nan"), dtype=torch.float64)], 1)
        result |= {
            "dots": [((probs @ CORNERS) + scatter())[sure == k].T.tolist() for k in range(3)],
            "shares": shares.T.tolist(),
        }
        result |= {"paths": [lines[sure[:PATHS] == k].flatten(0, 1).T.tolist() for k in range(3)]}
        result |= {"lost": lost, "error": (lost * (1 - lost) / RUNS) ** 0.5, "counts": (probs > SURE).sum(0).tolist()}
    return result


def draw(fig: Figure) -> Moving:
    """Left the triangle with the first pushes and, once trained, the dots; right the shares over the steps; below the readouts."""
    triangle, curves = fig.subplots(
        1,
        2,
        width_ratios=(1, 1),
        gridspec_kw={"left": 0.01, "right": 0.965, "top": 0.91, "bottom": 0.24, "wspace": 0.12},
    )
    label(triangle, "500 policies, after 1000 steps").set(
        xlim=(-0.22, 1.22), ylim=(-0.24, 0.97), xticks=[], yticks=[], aspect="equal"
    )
    triangle.spines[:].set_visible(False)
    triangle.fill(*CORNERS.T.tolist(), facecolor="#f3f5f9", edgecolor=QUIET)
    places = [(0.0, -0.1, "center"), (1.0, -0.1, "center"), (0.57, 0.87, "left")]
    for text, (x, y, ha) in zip(("A pays 1", "B pays 0.7", "C pays 0"), places, strict=True):
        triangle.text(x, y, text, ha=ha, va="center", color=EXACT, fontweight="bold")
    counts = [triangle.text(x, y - 0.09, "", ha=ha, va="center", color=EXACT) for x, y, ha in places]
    paths = [triangle.plot([], [], color=colour, linewidth=0.7, alpha=0.45)[0] for colour in (BETTER, WORSE, QUIET)]
    dots = [
        triangle.plot([], [], "o", color=colour, markersize=3, alpha=0.35, markeredgewidth=0)[0]
        for colour in (BETTER, WORSE, QUIET)
    ]
    pushes = triangle.quiver(
        [0] * 3, [0] * 3, [1] * 3, [1] * 3, angles="xy", scale_units="xy", scale=1, width=0.011, color=AFTER, zorder=3
    )
    (here,) = triangle.plot([], [], "o", color=AFTER, markersize=5)
    names = [
        triangle.text(0, 0, "", ha="center", va="center", color=AFTER, fontweight="bold", fontsize=9) for _ in range(3)
    ]
    label(curves, "Share of the policies", x="step").set(xlim=(0, STEPS), ylim=(0, 1.02))
    curves.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    lines = [curves.plot([], [], color=colour, linewidth=2.2)[0] for colour in (BETTER, WORSE)]
    curves.text(STEPS, 0.6, "sure of A (over 95 %)", ha="right", color=BETTER, fontweight="bold", fontsize=9.5)
    curves.text(STEPS, 0.42, "sure of B or C: lost", ha="right", color=WORSE, fontweight="bold", fontsize=9.5)
    hint = curves.text(STEPS / 2, 0.77, "Press “Run 500 policies”", ha="center", color=MUTED)
    readings = readouts(fig, 0.025, (0.36, "exact trace of the first step"), (0.81, "lost in a wrong corner"))

    def update(n: dict) -> None:
        (x, y), trained = n["at"], n["dots"] is not None
        here.set_data([x], [y])
        pushes.set_offsets([(x, y)] * 3)
        pushes.set_UVC([u - x for u, _ in n["after"]], [v - y for _, v in n["after"]])
        for name, text, (u, v) in zip("ABC", names, n["after"], strict=True):
            text.set_position(((x + u) / 2 + 0.02, (y + v) / 2 + 0.07))
            # Beside a short arrow it would say nothing
            text.set_text(name if (u - x) ** 2 + (v - y) ** 2 > 0.06**2 else "")
        for k, group in enumerate(dots):
            group.set_data(*n["dots"][k] if trained else ([], []))
            paths[k].set_data(*n["paths"][k] if trained else ([], []))
        for line, share in zip(lines, n["shares"] if trained else ([], []), strict=True):
            line.set_data(MARKS[: len(share)], share)
        for text, count in zip(counts, n["counts"] if trained else [""] * 3, strict=True):
            text.set_text(f"{count} sure" if trained else "")
        hint.set_visible(not trained)
        readings[0].set_text(f"{n['trace']:.4f}")
        lost = f"{100 * n['lost']:.1f} % ± {100 * n['error']:.1f} %" if n.get("lost") else f"none of {RUNS}"
        readings[1].set_text(lost if trained else "")

    return [*paths, *dots, pushes, here, *names, *lines, *counts, hint, *readings], update


def corner_cloud() -> Live:
    """The widget."""
    return Live(
        numbers, draw, CONTROLS, 3.2, noise=True, dear=Dear("Run 500 policies", train),
        twin=(
            ("No baseline: one policy in seven is lost at B", {}),
            ("The mean of the policy: none is lost", {"baseline": ("mean", 0.0)}),
            ("b* − 0.5, step size 1: one in six is lost", {"baseline": ("optimal", -0.5), "step_size": 1.0}),
            ("b* + 0.5, step size 1: the same variance at every policy, and 3 of 500 are lost", {"baseline": ("optimal", 0.5), "step_size": 1.0}),
        ),
        alt="The ends and some paths of 500 policies in the triangle of three actions, and the share that is sure of the best or of a wrong action, over 1000 "
        "steps. Without a baseline 15 % end at the wrong corner B, with the policy's mean none. With a baseline 0.5 below the one of least variance 16 % are "
        "lost, with one 0.5 above it, of equal variance, 0.6 %.",
    )  # fmt: skip
