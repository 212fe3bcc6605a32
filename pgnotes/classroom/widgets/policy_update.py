"""One update of a policy: choose an action, its reward and a step size; see what becomes of all actions (lesson 01)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_bars, fill, legend, policy_bars, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BETTER, EXACT, MUTED, WORSE, label
from pgnotes.theory.policies import SoftmaxPolicy

NAMES = ("A", "B", "C")
START = (1.8, 1.1, 0.0)  # logits; π is about 60 %, 30 % and 10 %
CONTROLS = (
    Choice("action", "you took action", tuple((name, i) for i, name in enumerate(NAMES)), 0),
    Slider("reward", "its reward was", -2.0, 2.0, 0.1, 1.0),
    Slider("step_size", "step size", 0.0, 2.0, 0.1, 1.0),
)


def numbers(action: int, reward: float, step_size: float) -> dict[str, Any]:
    """The policy before and after θ ← θ + step size · reward · ∇ log π(action), and how far apart they are."""
    before = SoftmaxPolicy(START)
    step = step_size * reward * before.score([action])[0]
    after = SoftmaxPolicy(before.logits + step)
    return {
        "action": action,
        "after": after.probs.tolist(),
        "step": step.tolist(),
        "entropy": (before.entropy().item(), after.entropy().item()),
        "kl": before.kl(after).item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the policy, right the step of the logits; below, in fixed places, the readouts."""
    policy, step = two_panels(fig, 1.5, top=0.89, gap=0.22)
    for ax in (policy, step):
        ax.set_xlim(-0.6, 2.6)
        ax.set_xticks(range(3), NAMES)
        ax.grid(axis="x", visible=False)

    label(policy, "The whole policy moves, not one action").set_ylim(0, 1.12)
    policy.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    bars, move_bars = policy_bars(policy, SoftmaxPolicy(START).probs.tolist())
    chosen = policy.text(0, -0.22, "taken", ha="center", color=EXACT, fontweight="bold")

    label(step, "What is added to each logit").set_ylim(-4.4, 4.4)
    step.axhline(0, color=EXACT, linewidth=0.8)
    moves = empty_bars(step, range(3), 0.5)
    sizes = [step.text(x, 0, "", ha="center", color=EXACT) for x in range(3)]

    legend(fig, (0.085, 0.025, "before", MUTED), (0.175, 0.025, "after", AFTER))
    readings = readouts(fig, 0.025, (0.49, "entropy (nats): before"), (0.625, "after"), (0.9, "KL(before ‖ after)"))

    def update(n: dict) -> None:
        move_bars(n["after"])
        chosen.set_x(n["action"])
        for bar, size, value in zip(moves, sizes, n["step"], strict=True):
            bar.set(height=value, color=BETTER if value > 0 else WORSE)
            size.set(text=signed(f"{value:+.2f}"), y=value + 0.2 if value >= 0 else value - 0.7)
        fill(readings, (f"{value:.3f}" for value in (*n["entropy"], n["kl"])))

    return [*bars, chosen, *moves, *sizes, *readings], update


def policy_update() -> Live:
    """The widget."""
    punished = "You took A, and the reward was −2: what A loses goes mostly to B, though nobody tried B"
    twin = (
        ("You took A, the likeliest; reward 1, step size 1", {"action": 0}),
        ("You took C, the rarest; the same reward, the same step size", {"action": 2}),
        (punished, {"action": 0, "reward": -2.0}),
    )
    alt = (
        "Bars of a three-action policy before and after one update. Rewarding A, taken with 60%, lifts it to 74%; the "
        "same reward for C, taken with 10%, lifts it to 31%; a reward of -2 for A takes it to 29%, and B, which nobody "
        "tried, rises from 30% to 58%."
    )
    return Live(numbers, draw, CONTROLS, 3.0, twin, alt)
