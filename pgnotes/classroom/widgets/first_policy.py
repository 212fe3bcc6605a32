"""The course in one slider: a policy climbs its expected reward, and at first a lesser action rises (lesson 00)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_line, fill, legend, policy_bars, readouts, two_panels
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, EXACT, MUTED, QUIET, label
from pgnotes.theory.ascent import exact_ascent
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

START = (1.8, 1.1, 0.0)  # logits; π is about 60 %, 30 % and 10 %
PAYS = (0.5, 0.0, 1.0)  # mean rewards of A, B and C
STEPS = 100
CONTROLS = (
    Slider("training_step", "training step", 0, STEPS, 1, 0),
    Slider("step_size", "step size", 0.1, 2.0, 0.1, 1.0),
)


@cache
def run(step_size: float) -> tuple[list[list[float]], list[float]]:
    """Probabilities [101, 3] and expected rewards [101] of the policy before each step and after the last."""
    bandit = Bandit(PAYS)
    policies = list(islice(exact_ascent(bandit, SoftmaxPolicy(START), step_size), STEPS + 1))
    rewards = [bandit.expected_return(policy).item() for policy in policies]
    return [policy.probs.tolist() for policy in policies], rewards


def numbers(training_step: int, step_size: float) -> dict[str, Any]:
    """The policy at a step of the run, and the expected reward at every step."""
    probs, rewards = run(step_size)
    return {"step": training_step, "now": probs[training_step], "rewards": rewards}


def draw(fig: Figure) -> Moving:
    """Left the policy, right its expected reward as the steps pass; below, in fixed places, the readouts."""
    policy, climb = two_panels(fig, right=0.975, top=0.89, bottom=0.27, gap=0.25)
    label(policy, "How often each button is pressed").set(xlim=(-0.6, 2.6), ylim=(0, 1.15))
    policy.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    policy.set_xticks(range(3), [f"{name}\npays {pay:g}" for name, pay in zip("ABC", PAYS, strict=True)])
    policy.grid(axis="x", visible=False)
    bars, move_bars = policy_bars(policy, run(1.0)[0][0])

    label(climb, "What a press earns on average", x="training step").set(xlim=(-3, STEPS + 3), ylim=(0, 1.15))
    climb.set_yticks([0, 0.5, 1])
    climb.axhline(0.5, color=EXACT, linewidth=0.9, linestyle=(0, (4, 3)))
    climb.text(STEPS, 0.42, "what A pays", ha="right", va="top", color=EXACT)
    ahead, path = empty_line(climb, color=QUIET, linewidth=1), empty_line(climb, color=EXACT, linewidth=2.2)
    dot = empty_line(climb, "o", color=AFTER, markersize=8)

    legend(fig, (0.085, 0.025, "before", MUTED), (0.175, 0.025, "now", AFTER))
    readings = readouts(fig, 0.025, (0.77, "average reward: before"), (0.9, "now"))

    def update(n: dict) -> None:
        step, rewards = n["step"], n["rewards"]
        move_bars(n["now"])
        for line, upto in ((ahead, STEPS), (path, step)):
            line.set_data(range(upto + 1), rewards[: upto + 1])
        dot.set_data([step], [rewards[step]])
        fill(readings, (f"{value:.3f}" for value in (rewards[0], rewards[step])))

    return [*bars, ahead, path, dot, *readings], update


def first_policy() -> Live:
    """The widget."""
    pressed = "A, which pays half, has gained most; C, which pays most, is pressed one time in seven"
    small = {"training_step": 100, "step_size": 0.1}
    twin = (
        (f"Seven steps: {pressed}", {"training_step": 7}),
        ("Twenty steps: the average has passed what A pays, and A is on its way down", {"training_step": 20}),
        ("A hundred small steps, of size 0.1: A has only just passed its peak", small),
    )
    alt = (
        "A three-action policy before training and now, and its average reward by training step. Seven steps of size 1 "
        "lift A from 60% to 71% and the average from 0.40 to 0.50; after 20, A is at 36% and C has risen from 10% to "
        "57%. A hundred steps of size 0.1 leave A at 68%."
    )
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt)
