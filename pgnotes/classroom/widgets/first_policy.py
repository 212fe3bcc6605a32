"""The course in one slider: a policy climbs its expected reward; which button rises first, which falls (lesson 00)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_line, fill, legend, policy_bars, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, EXACT, MUTED, QUIET, label
from pgnotes.theory.ascent import exact_ascent
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

START = (1.8, 1.1, 0.0)  # logits; π is about 60 %, 30 % and 10 %
STEPS = 100
APART = 0.085  # of the picture's height, between two letters beside each other
CONTROLS = (
    Slider("training_step", "training step", 0, STEPS, 1, 0),
    Slider("step_size", "step size", 0.1, 2.0, 0.1, 1.0),
    Slider("a_pays", "A pays", 0.0, 1.0, 0.1, 0.5),
)


@cache
def run(step_size: float, a_pays: float) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """Logits [101, 3], probabilities [101, 3] and expected rewards [101], before each step and after the last.

    a_pays: the mean reward of A; B pays 0 and C pays 1.
    """
    bandit = Bandit((a_pays, 0.0, 1.0))
    policies = list(islice(exact_ascent(bandit, SoftmaxPolicy(START), step_size), STEPS + 1))

    logits = [policy.logits.tolist() for policy in policies]
    probs = [policy.probs.tolist() for policy in policies]
    return logits, probs, [bandit.expected_return(policy).item() for policy in policies]


def numbers(training_step: int, step_size: float, a_pays: float) -> dict[str, Any]:
    """The logits at a step of the run, the probabilities up to it, and the expected reward at every step."""
    logits, probs, rewards = run(step_size, a_pays)
    return {
        "step": training_step,
        "a_pays": a_pays,
        "logits": logits[training_step],
        "probs": probs[: training_step + 1],
        "rewards": rewards,
    }


def spread(heights: list[float], apart: float = APART) -> list[float]:
    """Places for letters as near to these heights as they can be, in the same order, at least `apart` apart."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    places = [heights[i] for i in order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + apart)
    return [places[order.index(i)] for i in range(len(heights))]


def draw(fig: Figure) -> Moving:
    """Left the policy, right what it was at each step so far; below, in fixed places, the readouts."""
    policy, climb = two_panels(fig, 0.95, right=0.93, top=0.91, bottom=0.335, gap=0.2)
    label(policy, "How often each button is pressed").set(xlim=(-0.6, 2.6), ylim=(0, 1.15))
    policy.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    policy.set_xticks(range(3), ["A\n", "B\npays 0", "C\npays 1"])
    policy.grid(axis="x", visible=False)
    bars, move_bars = policy_bars(policy, run(1.0, 0.5)[1][0])
    pay = policy.annotate("", (0, 0), (0, -20.5), textcoords="offset points", ha="center", va="top", color=EXACT)

    curves, move_curves = paths(climb)
    legend(fig, (0.03, 0.105, "before", MUTED), (0.125, 0.105, "now", AFTER))
    fig.text(0.345, 0.105, "average reward, the thin line:", color=EXACT)
    rewards = readouts(fig, 0.105, (0.78, "before"), (0.9, "now"))
    fig.text(0.03, 0.03, "logits", color=EXACT)
    starts = (f"{name}  {logit:.2f} →" for name, logit in zip("ABC", START, strict=True))
    logits = readouts(fig, 0.03, *zip((0.24, 0.49, 0.74), starts, strict=True))

    def update(n: dict) -> None:
        move_bars(n["probs"][-1])
        pay.set_text(f"pays {n['a_pays']:g}")
        move_curves(n)
        fill(rewards, (f"{n['rewards'][i]:.3f}" for i in (0, n["step"])))
        fill(logits, (signed(f"{logit:.2f}") for logit in n["logits"]))

    return [*bars, pay, *curves, *rewards, *logits], update


def paths(ax: Axes) -> Moving:
    """The three probabilities and the average reward as the steps pass, and what A pays as a dashed line."""
    label(ax, "How each probability got there", x="training step").set(xlim=(-9, STEPS + 9), ylim=(0, 1.15))
    ax.set_xticks([0, 25, 50, 75, STEPS])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    for name, prob in zip("ABC", run(1.0, 0.5)[1][0], strict=True):
        ax.text(-5, prob, name, ha="center", va="center", color=MUTED, fontweight="bold")

    # beside the axes, because the curves may be anywhere inside
    pays = ax.axhline(0, color=EXACT, linewidth=0.9, linestyle=(0, (4, 3)))
    where = ax.get_yaxis_transform()
    named = ax.text(1.015, 0, "A's\npay", transform=where, va="center", color=EXACT, linespacing=0.95)

    # what the average will be is shown, faintly; what becomes of the buttons is for the learner to find
    ahead, average = empty_line(ax, color=QUIET, linewidth=0.8), empty_line(ax, color=EXACT, linewidth=1.2)
    lines = [empty_line(ax, color=AFTER, linewidth=2.2) for _ in "ABC"]
    dots = empty_line(ax, "o", color=AFTER, markersize=6)
    letters = [ax.text(0, 0, name, va="center", color=AFTER, fontweight="bold") for name in "ABC"]

    def update(n: dict) -> None:
        steps, now = range(n["step"] + 1), n["probs"][-1]
        ahead.set_data(range(STEPS + 1), n["rewards"])
        average.set_data(steps, n["rewards"][: n["step"] + 1])
        for line, probs in zip(lines, zip(*n["probs"], strict=True), strict=True):
            line.set_data(steps, probs)
        dots.set_data([steps[-1]] * 3, now)
        for letter, place in zip(letters, spread(now), strict=True):
            letter.set_position((steps[-1] + 3, max(place, 0.03)))
        pays.set_ydata([n["a_pays"]] * 2)
        named.set_y(n["a_pays"])

    return [pays, named, ahead, average, *lines, dots, *letters], update


def first_policy() -> Live:
    """The widget."""
    twin = (
        ("A pays 0.5, seven steps: A, not the best button, stands at its peak", {"training_step": 7}),
        ("A pays 0.5, a hundred steps: A rose and fell, and C has won", {"training_step": 100}),
        (
            "A pays 0.9, 52 steps: C, the best button, has lost almost half, and its logit has risen",
            {"training_step": 52, "a_pays": 0.9},
        ),
    )
    alt = (
        "A three-action policy before training and now, and its probabilities and average reward by training step. "
        "While A pays 0.5, seven steps of size 1 lift A from 60% to 71% and C from 10% to 15%, and the average from "
        "0.40 to 0.50; after a hundred, A is at 1% and C at 99%. While A pays 0.9, 52 steps lift A to 93% and take C, "
        "which pays 1, from 10% down to 5%, although C's logit rises from 0 to 0.49."
    )
    return Live(numbers, draw, CONTROLS, 3.4, twin, alt)
