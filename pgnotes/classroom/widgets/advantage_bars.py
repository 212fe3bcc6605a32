"""Is a symbol good news?  What each next one leads to, compared with nothing or with a baseline (lesson 05)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_bars, empty_line, fill, readouts, signed, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BETTER, EXACT, MUTED, WORSE, label
from pgnotes.theory.learning import prefix_optimum, prefix_totals, prefix_values, score_sizes, symbol_values
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import TokenWorld, sum_world

EVERY, MOST = 10, 120  # training steps between two positions of the slider, and at its end
PREFIXES = ((), (1,), (2,), (3,), (1, 2), (3, 1), (3, 2), (3, 3))
COMPARE = (
    ("nothing", "none"),
    ("J, the average of all sequences", "mean"),
    ("V, this prefix's value", "value"),
    ("b*, this prefix's best", "best"),
)
NAMES = {"none": "0", "mean": "J", "value": "V", "best": "b*"}
CONTROLS = (
    Choice("prefix", "written so far", tuple((" ".join(map(str, p)) or "nothing", p) for p in PREFIXES), (3,)),
    Slider("steps", "training steps", 0, MOST, EVERY, 0),
    Choice("compare", "compare with", COMPARE, "none"),
)


@cache
def policies() -> list[PrefixPolicy]:
    """The policy every `EVERY` steps: REINFORCE with normalised rewards on the sum world, lesson 03's lab."""
    trained = islice(reinforce(sum_world(), Recipe(normalise=True), 0), 0, MOST + 1, EVERY)
    return [PrefixPolicy(policy.logits.detach().clone()) for policy in trained]


@cache
def facts() -> list[dict[str, torch.Tensor]]:
    """What holds for each of `policies`: all at once, when the widget is made, so that no step has to wait."""
    world = sum_world()
    return [facts_of(world, policy) for policy in policies()]


def facts_of(world: TokenWorld, policy: PrefixPolicy) -> dict[str, torch.Tensor]:
    """What holds for a policy at its 85 prefixes: π, returns after each symbol, baselines, and the noise with each."""
    values = prefix_values(world, policy)
    baselines = {
        "none": torch.zeros(85),
        "mean": values[:1].expand(85),
        "value": values,
        "best": prefix_optimum(world, policy),
    }
    found = {"probs": policy.probs, "after": symbol_values(world, policy), **baselines}

    # E[(R - b)² ‖score‖²] of the symbol chosen after each prefix
    rows, returns = prefix_rows(world.sequences, 4), world.returns()[0][:, None]
    sizes = score_sizes(world, policy)
    visits = prefix_totals(world, policy, torch.ones(world.mask.shape)).clamp(min=1e-300)
    for name, baseline in baselines.items():
        squares = (returns - baseline[rows]).square() * sizes
        found[f"noise {name}"] = prefix_totals(world, policy, squares) / visits
    return found


def numbers(prefix: tuple[int, ...], steps: int, compare: str) -> dict[str, Any]:
    """The average return after each symbol, what it is compared with, the average pushes on the row's logits, noise."""
    row = sum((1 + symbol) * 4 ** (len(prefix) - 1 - i) for i, symbol in enumerate(prefix))
    f = facts()[steps // EVERY]
    probs, after, value = f["probs"][row], f["after"][row], f["value"][row]
    gaps = after - f[compare][row]
    pushes = probs * (gaps - probs @ gaps)  # E[(R - b) score], whatever b is
    return {
        "probs": probs.tolist(),
        "after": after.tolist(),
        "level": f[compare][row].item(),
        "name": NAMES[compare],
        "pushes": pushes.tolist(),
        "noise": (f[f"noise {compare}"][row] - pushes.square().sum()).item(),
        "value": value.item(),
    }


def draw(fig: Figure) -> Moving:
    """Left the returns as bars from what they are compared with, right the pushes; below the readouts."""
    bars, pushes = two_panels(fig, 1.5, bottom=0.255, gap=0.22)
    for ax in (bars, pushes):
        ax.set_xticks(range(4), ["0, stop", "1", "2", "3"])

    label(bars, "What each next symbol leads to").set(xlim=(-0.6, 4.1), ylim=(-0.2, 1.18))
    bars.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    blocks = empty_bars(bars, range(4), 0.55)
    ends = [empty_line(bars, color=EXACT, linewidth=2.5) for _ in range(4)]
    level = empty_line(bars, color=EXACT, linewidth=1.4, linestyle="--")
    name = bars.text(4.08, 0, "", color=EXACT, ha="right", va="bottom", fontweight="bold")
    news = [bars.text(x, 0, "", ha="center", va="center", fontweight="bold") for x in range(4)]
    quiet: dict[str, Any] = {"va": "center", "color": MUTED}
    bars.text(-0.72, -0.15, "taken", ha="right", **quiet)
    shares = [bars.text(x, -0.15, "", ha="center", **quiet) for x in range(4)]

    label(pushes, "The average push stays").set(xlim=(-0.6, 3.6), ylim=(-0.11, 0.21))
    pushes.set_yticks([-0.1, 0, 0.1, 0.2], ["−0.1", "0", "0.1", "0.2"])
    pushes.axhline(0, color=EXACT, linewidth=0.8)
    arrows = empty_bars(pushes, range(4), 0.55)

    names = (0.235, "this prefix's value V"), (0.5, "compared with"), (0.9, "noise of one sample here")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        level.set_data([-0.6, 4.1], [n["level"]] * 2)
        name.set(text=n["name"], y=n["level"] + 0.01)
        for x, (after, prob, push) in enumerate(zip(n["after"], n["probs"], n["pushes"], strict=True)):
            gap = after - n["level"]
            colour = BETTER if gap >= 0 else WORSE
            blocks[x].set(y=n["level"], height=gap, facecolor=colour)
            ends[x].set_data([x - 0.275, x + 0.275], [after] * 2)
            news[x].set(text=signed(f"{gap:+z.2f}"), color=colour, y=after + (0.06 if gap >= 0 else -0.06))
            shares[x].set_text(f"{prob:.1%}")
            arrows[x].set(height=push, facecolor=BETTER if push >= 0 else WORSE)

        compared = f"{n['name']} = {n['level']:.3f}" if n["level"] else "nothing"
        fill(readings, (f"{n['value']:.3f}", compared, f"{n['noise']:.3f}"))

    return [*blocks, *ends, level, name, *news, *arrows, *shares, *readings], update


def advantage_bars() -> Live:
    """The widget."""
    untrained, trained = {"compare": "value"}, {"compare": "value", "steps": 20}
    all_below = {"compare": "mean", "steps": 20, "prefix": (1,)}
    nearly_sure = {"compare": "value", "steps": 120, "prefix": (3, 3)}
    twin = (
        ("After a 3, a policy that knows nothing: compared with V, stopping is good news", untrained),
        ("The same prefix after 20 training steps: stopping pays as before, and is bad news", trained),
        ("After a 1: compared with the average of all sequences, every symbol is bad news", all_below),
        ("After 3 3, at step 120: a model that is nearly sure of the stop", nearly_sure),
    )
    alt = (
        "For a prefix of the sum world, the average return after each next symbol, drawn from a dashed level: green "
        "above it, purple below. After a 3, stopping lies 0.11 above the prefix's value for an untrained policy and "
        "0.11 below it after 20 steps of training. Compared with the average of all sequences, everything after a 1 "
        "lies below; the average push on the logits does not depend on the level."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt)
