"""Five hundred policies, one baseline: where do they end up?  (lesson 05; Chung et al. 2020).

Less variance is not the same as better learning.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from itertools import islice
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from pgnotes.classroom.artists import empty_line, fill, legend, readouts, two_panels
from pgnotes.classroom.live import Choice, Dear, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, MUTED, QUIET, WORSE, label
from pgnotes.classroom.widgets.score_arrows import CORNERS, point, still_arrows, triangle
from pgnotes.theory.estimators import mean_return, optimal_baseline, outcomes, with_baseline, with_batch_mean
from pgnotes.theory.learning import train_bandits
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

BANDIT = Bandit([1.0, 0.7, 0.0])  # A, B and C
RUNS, STEPS, EVERY, PATHS = 500, 1000, 5, 60  # policies, steps, between two looks at them, drawn as lines
SURE = 0.95  # this probability of an action
LENS, RADIUS, ZOOM = (0.0, 0.65), 0.21, 6  # where the arrows too short to be seen are shown, and how much longer
SHORT, NOTHING = 0.06, 0.004  # the longest arrow that is short, and the shortest that is one
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
) -> Generator[float, None, tuple[Tensor, Tensor, Tensor]]:
    """Train all policies; yields progress.

    Returns where they end [RUNS, 3], the shares sure of A and of B or C at `MARKS`, and some paths.
    """
    kind, shift = baseline
    policies = train_bandits(BANDIT, start, kind, step_size, RUNS, seed, batch, shift)
    shares, paths = [], []
    for step, probs in enumerate(islice(policies, STEPS + 1)):
        if step % EVERY == 0:
            sure = probs > SURE
            shares.append([sure[:, 0].double().mean().item(), sure[:, 1:].any(1).double().mean().item()])
            paths.append(probs[:PATHS])
            yield step / STEPS
    return probs, torch.tensor(shares), torch.stack(paths, 1)


@cache
def scatter() -> Tensor:
    """A little noise for the dots, so that those in the same place can be seen, [RUNS, 2]."""
    return 0.015 * torch.randn(RUNS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def numbers(
    baseline: tuple[str, float], step_size: float, start: tuple[float, ...], batch: int, seed: int, dear: Any = None
) -> dict[str, Any]:
    """Where the first action of each kind would take the policy, the exact trace there and, once trained, the runs."""
    (kind, shift), policy = baseline, SoftmaxPolicy(start)
    listed = outcomes(BANDIT, policy)
    if kind == "batch mean":  # of equal actions: nothing is above it
        gaps = torch.zeros(3, dtype=torch.float64)
        trace = with_batch_mean(listed, batch).trace.item() if batch > 1 else 0.0
    else:
        # a running average starts at 0
        levels = {"mean": mean_return(listed), "optimal": optimal_baseline(listed)}
        level = levels.get(kind, 0.0) + shift
        gaps, trace = listed.returns - level, with_baseline(listed, level).trace.item() / batch
    after = (policy.logits + step_size * gaps[:, None] * listed.scores).softmax(1)
    now = {"at": (policy.probs @ CORNERS).tolist(), "after": (after @ CORNERS).tolist(), "trace": trace}
    now["press of B"] = [policy.probs[1].item(), after[1, 1].item()]  # its probability before and after
    return now | {"runs": None if dear is None else runs_of(*dear)}


def runs_of(probs: Tensor, shares: Tensor, paths: Tensor) -> dict[str, Any]:
    """What `train` returned as points of the triangle: dots and paths of those sure of A, of B or C, and of none."""
    sure = torch.where(probs[:, 0] > SURE, 0, torch.where((probs[:, 1:] > SURE).any(1), 1, 2))
    dots = probs @ CORNERS + scatter()
    # NaN lifts the pen between two paths
    lines = torch.cat([paths @ CORNERS, torch.full((PATHS, 1, 2), float("nan"), dtype=torch.float64)], 1)
    lost = shares[-1, 1].item()
    return {
        "dots": [dots[sure == k].T.tolist() for k in range(3)],
        "paths": [lines[sure[:PATHS] == k].flatten(0, 1).T.tolist() for k in range(3)],
        "shares": shares.T.tolist(),
        "lost": f"{100 * lost:.1f} % ± {100 * (lost * (1 - lost) / RUNS) ** 0.5:.1f} %" if lost else f"none of {RUNS}",
        "counts": (probs > SURE).sum(0).tolist(),
    }


NO_RUNS: dict[str, Any] = {
    "dots": [([], [])] * 3,
    "paths": [([], [])] * 3,
    "shares": [[], []],
    "lost": "",
    "counts": None,
}


def draw(fig: Figure) -> Moving:
    """Left the triangle, right the shares over the steps; below the readouts."""
    left, curves = two_panels(fig, left=0.01, right=0.965, top=0.91, bottom=0.24, gap=0.12)
    label(left, "500 policies, after 1000 steps").set(xlim=(-0.22, 1.22), ylim=(-0.24, 0.97))
    inside, move_inside = draw_triangle(left)

    label(curves, "Sure of the best action, or of a wrong one", x="step").set(xlim=(0, STEPS), ylim=(0, 1.02))
    curves.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    lines = [empty_line(curves, color=colour, linewidth=2.2) for colour in (BETTER, WORSE)]
    words = (STEPS, 0.6, "sure of A (over 95 %)", BETTER), (STEPS, 0.42, "sure of B or C: lost", WORSE)
    legend(curves, *words, ha="right")
    hint = curves.text(STEPS / 2, 0.77, "Press “Run 500 policies”", ha="center", color=MUTED)
    readings = readouts(fig, 0.025, (0.19, "first step's trace"), (0.5, "one press of B"), (0.79, "lost"))

    def update(n: dict) -> None:
        runs = n["runs"] or NO_RUNS
        move_inside(n | runs)
        for line, share in zip(lines, runs["shares"], strict=True):
            line.set_data(MARKS[: len(share)], share)
        hint.set_visible(n["runs"] is None)
        press = " → ".join(f"{100 * chance:.1f}" for chance in n["press of B"])
        fill(readings, (f"{n['trace']:.4f}", f"{press} %", runs["lost"]))

    return [*inside, *lines, hint, *readings], update


def draw_triangle(ax: Axes) -> Moving:
    """The first pushes and, once trained, the paths, where they end, and how many are sure of each action."""
    triangle(ax)
    places = [(0.0, -0.1, "center"), (1.0, -0.1, "center"), (0.57, 0.87, "left")]
    for text, (x, y, ha) in zip(("A pays 1", "B pays 0.7", "C pays 0"), places, strict=True):
        ax.text(x, y, text, ha=ha, va="center", color=EXACT, fontweight="bold")
    counts = [ax.text(x, y - 0.09, "", ha=ha, va="center", color=EXACT) for x, y, ha in places]

    colours = (BETTER, WORSE, QUIET)
    paths = [empty_line(ax, color=colour, linewidth=0.7, alpha=0.45) for colour in colours]
    cloud = {"markersize": 3, "alpha": 0.35, "markeredgewidth": 0}
    dots = [empty_line(ax, "o", color=colour, **cloud) for colour in colours]
    pushes = still_arrows(ax, 3, 0.011, color=AFTER)
    here = empty_line(ax, "o", color=AFTER, markersize=5)
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": AFTER, "fontweight": "bold"}
    names = [ax.text(0, 0, "", **look) for _ in range(3)]

    # the same arrows through a lens, which cuts the long ones off
    glass = ax.add_patch(Circle(LENS, RADIUS, facecolor="white", edgecolor=QUIET))
    ax.text(LENS[0], LENS[1] + RADIUS + 0.05, f"start × {ZOOM}", ha="center", va="center", color=MUTED)
    enlarged = still_arrows(ax, 3, 0.011, color=AFTER)
    enlarged.set_clip_path(glass)
    centre = empty_line(ax, "o", color=AFTER, markersize=5)
    centre.set_data([LENS[0]], [LENS[1]])
    near = [ax.text(0, 0, "", **look) for _ in range(3)]

    def update(n: dict) -> None:
        x, y = n["at"]
        here.set_data([x], [y])
        point(pushes, [(x, y)] * 3, [(u - x, v - y) for u, v in n["after"]])
        for text, (u, v) in zip(names, n["after"], strict=True):
            text.set_position(((x + u) / 2 + 0.02, (y + v) / 2 + 0.07))
        show_lens([(u - x, v - y) for u, v in n["after"]])

        for group, path, ends, lines in zip(dots, paths, n["dots"], n["paths"], strict=True):
            group.set_data(*ends)
            path.set_data(*lines)
        for text, count in zip(counts, n["counts"] or [None] * 3, strict=True):
            text.set_text("" if count is None else f"{count} sure")

    def show_lens(moves: list[tuple[float, float]]) -> None:
        """Enlarge all three; beside a short arrow its letter stands in the lens, beside a long one outside."""
        point(enlarged, [LENS] * 3, [(ZOOM * u, ZOOM * v) for u, v in moves])
        for letter, far, close, (u, v) in zip("ABC", names, near, moves, strict=True):
            length = (u * u + v * v) ** 0.5
            far.set_text(letter if length > SHORT else "")
            close.set_text(letter if NOTHING < length <= SHORT else "")

            # beside the arrow's tip; B and C, which often go the same way, on either side of theirs
            along = min(ZOOM, 0.7 * RADIUS / max(length, NOTHING))
            aside = (-0.3 if letter == "C" else 0.3) * RADIUS / max(length, NOTHING)
            close.set_position((LENS[0] + along * u - aside * v, LENS[1] + along * v + aside * u))

    return [*paths, *dots, pushes, here, *names, *counts, enlarged, *near], update


def corner_cloud() -> Live:
    """The widget."""
    below, above = ({"baseline": ("optimal", shift), "step_size": 1.0} for shift in (-0.5, 0.5))
    twin = (
        ("No baseline: about one policy in six is lost at B", {}),
        ("The mean of the policy: none is lost", {"baseline": ("mean", 0.0)}),
        ("b* − 0.5, step size 1: one in six is lost", below),
        ("b* + 0.5, step size 1: the same trace at every policy, and 3 of 500 are lost", above),
    )
    alt = (
        "The ends and some paths of 500 policies in the triangle of three actions, and the share that is sure of the "
        "best or of a wrong action, over 1000 steps. Without a baseline 15 % end at the wrong corner B, with the "
        "policy's mean none. With a baseline 0.5 below the one of least variance 16 % are lost, with one 0.5 above "
        "it, of equal trace, 0.6 %."
    )
    return Live(numbers, draw, CONTROLS, 3.2, twin, alt, noise=True, dear=Dear("Run 500 policies", train))
