"""What luck does and what a symbol is worth: a critic's Q mixed into the baseline, or into the return (lesson 05)."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from torch import Tensor

from pgnotes.classroom.artists import area, empty_line, fill, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import EXACT, MUTED, label
from pgnotes.theory.learning import bootstrapped, learn_values, prefix_values, with_critic
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world

STEPS = 20  # of training, as in the lesson: half way
TOP = 0.3  # of the trace
LUCK, WORTH = "#dfe3ea", "#b9c1cd"  # two greys, which mean nothing elsewhere
GRID = [i / 20 for i in range(21)]
PLACES = (
    ("the baseline: R − (1 − m) V − m Q", "subtracted"),
    ("the return: (1 − m) R + m Q − V", "replacing"),
)
CRITICS = (("exact", 0), ("learnt from 10 batches of 16", 10), ("learnt from 3 batches of 16", 3))
CONTROLS = (
    Choice("place", "Q is mixed into", PLACES, "subtracted"),
    Choice("batches", "the critic's V and Q", CRITICS, 0),
    Slider("share", "share m of Q", 0.0, 1.0, 0.05, 0.0),
)


@cache
def halfway() -> PrefixPolicy:
    """The policy of the sum world after `STEPS` steps."""
    policy = next(islice(reinforce(sum_world(), Recipe(normalise=True), 0), STEPS, None))
    return PrefixPolicy(policy.logits.detach())


@cache
def lines() -> dict[tuple[str, int], dict[str, list[float]]]:
    """For each place and critic, over the shares `GRID`.

    Both parts of the trace, how long the mean is along ∇J, and how far it is off, ÷ ‖∇J‖. All at once, when the widget
    is made: then no choice has to wait.
    """
    world, policy = sum_world(), halfway()
    true = prefix_values(world, policy)
    luck = with_critic(world, policy, true, bootstrapped(world, true), subtracted=1.0).trace.item()

    last = CRITICS[1][1]
    learnt = list(islice(learn_values(world, policy, batch=16, step=0.2, seed=0), last + 1))
    critics = {batches: learnt[batches] if batches else true for _, batches in CRITICS}
    return {(place, batches): line(place, critics[batches], luck) for _, place in PLACES for batches in critics}


def line(place: str, values: Tensor, luck: float) -> dict[str, list[float]]:
    """One of `lines`. An estimate is linear in the share, so three shares are enough to know its moments at all."""
    world, policy = sum_world(), halfway()
    exact, worth = world.exact_gradient(policy).flatten(), bootstrapped(world, values)
    ends = {"subtracted": (1.0, 0.0), "replacing": (0.0, 1.0)}[place]  # how much of Q goes where
    start, middle, end = (with_critic(world, policy, values, worth, m * ends[0], m * ends[1]) for m in (0.0, 0.5, 1.0))

    found: dict[str, list[float]] = {"luck": [], "worth": [], "along": [], "off": []}
    for m in GRID:
        # the parabola through three points, and the line through two
        weights = (1 - m) * (1 - 2 * m), 4 * m * (1 - m), m * (2 * m - 1)
        trace = sum(w * each.trace.item() for w, each in zip(weights, (start, middle, end), strict=True))
        mean = (1 - m) * start.mean + m * end.mean
        left = luck * (1 - m) ** 2 if place == "replacing" else luck
        found["luck"].append(left)
        found["worth"].append(trace - left)
        found["along"].append((mean @ exact / exact.square().sum()).item())
        found["off"].append(((mean - exact).norm() / exact.norm()).item())
    return found


def numbers(place: str, batches: int, share: float) -> dict[str, Any]:
    """Both parts of the noise and what is left of the mean, over all shares and at this one."""
    found, i = lines()[place, batches], round(20 * share)
    now = {name: values[i] for name, values in found.items()}
    return found | {"share": share, "now": now, "trace": now["luck"] + now["worth"]}


def draw(fig: Figure) -> Moving:
    """Left the two parts of the noise, one on the other; right the mean estimate beside the gradient; readouts."""
    noise, mean = two_panels(fig, 1.15, left=0.105, gap=0.2)
    label(noise, "Luck and worth add up to the noise").set(ylim=(0, TOP), ylabel="trace")
    label(mean, "What the mean keeps of ∇J").set(ylim=(-0.05, 1.4))
    for ax in (noise, mean):
        ax.set_xlabel("share m of Q", labelpad=1)
        ax.set(xlim=(-0.02, 1.02))
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])

    parts = [Polygon([(0, 0)] * 3, facecolor=colour, edgecolor="none") for colour in (LUCK, WORTH)]
    for part in parts:
        noise.add_patch(part)
    noise.set_yticks([0, 0.1, 0.2, 0.3], ["0", "0.1", "0.2", "0.3"])
    total = empty_line(noise, color=EXACT, linewidth=2)
    words = [noise.text(0.03, 0, text, color=EXACT, va="center") for text in ("luck", "worth")]

    mean.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    along = empty_line(mean, color=EXACT, linewidth=2)
    off = empty_line(mean, color=MUTED, linewidth=2, linestyle="--")
    mean.text(0.02, 1.3, "along the gradient", color=EXACT, fontweight="bold", va="center")
    mean.text(0.98, 1.16, "its bias", color=MUTED, fontweight="bold", ha="right", va="center")

    rules = [empty_line(ax, color=EXACT, linewidth=1, linestyle=":") for ax in (noise, mean)]
    dots = [empty_line(ax, "o", color=EXACT, markersize=8) for ax in (noise, mean)]
    readings = readouts(fig, 0.025, (0.2, "trace"), (0.62, "left of the gradient"), (0.87, "bias"))

    def update(n: dict) -> None:
        whole = [a + b for a, b in zip(n["luck"], n["worth"], strict=True)]
        parts[0].set_xy(area(GRID, [0.0] * len(GRID), n["luck"]))
        parts[1].set_xy(area(GRID, n["luck"], whole))
        total.set_data(GRID, whole)
        for word, low, high in zip(words, (0.0, n["luck"][0]), (n["luck"][0], whole[0]), strict=True):
            word.set_y(low + 0.4 * (high - low))

        along.set_data(GRID, n["along"])
        off.set_data(GRID, n["off"])
        heights = (n["trace"], TOP), (n["now"]["along"], 1.4)
        for dot, rule, (height, top) in zip(dots, rules, heights, strict=True):
            dot.set_data([n["share"]], [height])
            rule.set_data([n["share"]] * 2, [-0.05, top])
        texts = f"{n['trace']:.4f}", f"{n['now']['along']:z.0%}", f"{n['now']['off']:z.0%}"
        fill(readings, texts)

    return [*parts, total, *words, along, off, *rules, *dots, *readings], update


def critic_mix() -> Live:
    """The widget."""
    replaced = {"place": "replacing", "share": 1.0}
    twin = (
        ("Q in the baseline, m = 1: the noise that stays says nothing", {"share": 1.0}),
        ("An exact Q in the return's place: the gradient stays, and the luck is gone", replaced),
        ("A critic learnt from three batches: as little noise, and a bias", replaced | {"batches": 3}),
    )
    alt = (
        "Over the share m of Q: the trace as the sum of luck, R − Q, and worth, Q − V (with a learnt critic and its "
        "error), and what the mean estimate keeps of the gradient. With Q in the baseline luck stays at 0.144, worth "
        "falls from 0.097 to nothing, and so does the mean. With an exact Q in the return's place luck falls to "
        "nothing and the mean stays; with a critic learnt from three batches it is biased by 75 %."
    )
    return Live(numbers, draw, CONTROLS, 3.3, twin, alt)
