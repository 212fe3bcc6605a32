"""The sampler is not the trainer: what six corrections leave of the gradient, exactly (lesson 10)."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from pgnotes.classroom.artists import fill, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import ESTIMATE, EXACT, WORSE, label
from pgnotes.theory.mismatch import Correction, Mismatch, hotter
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import TokenWorld, sum_world

RULES = {  # name, and for `Mismatch.correction` the rule and what floor and cap are for a slider at c
    "none": ("none", lambda c: (0.0, float("inf"))),
    "token, truncated": ("token", lambda c: (0.0, c)),
    "token, masked": ("token_mask", lambda c: (1 / c, c)),
    "sequence": ("sequence", lambda c: (0.0, float("inf"))),
    "sequence, truncated": ("sequence", lambda c: (0.0, c)),
    "geometric mask": ("geometric_mask", lambda c: (0.9, 1.1)),
}
HALF_WAY, LONGEST = 0.55, 200  # of the optimum; steps after which a run that never comes so far is given up
LEFT = "#8fd3bf"  # a pale green, on which words can be read
TOP, LONG = 1.2, 200  # of the errors' axis; tokens of a long text
CONTROLS = (
    Slider("temperature", "the sampler's temperature", 0.7, 1.5, 0.05, 1.1),
    Choice("age", "its weights are", (("the trainer's", 0), ("2 updates old", 2), ("5 updates old", 5)), 0),
    Choice("horizon", "tokens at most", (("2", 2), ("4", 4), ("6", 6)), 4),
    Slider("cap", "cap C (mask: 1/C to C)", 1.1, 3.0, 0.1, 1.3),
    Choice("n", "sequences a step", (("64", 64), ("512", 512), ("4096", 4096)), 512),
)


class Setting(NamedTuple):
    """A policy that learns in a world, listed, and the policies that it was before."""

    listed: Mismatch
    past: list[PrefixPolicy]  # [-1] is the policy itself


def half_way(world: TokenWorld, seed: int = 0) -> list[PrefixPolicy]:
    """What a run of REINFORCE was, step by step, up to the first policy that earns more than `HALF_WAY`."""
    past = []
    for policy in islice(reinforce(world, Recipe(normalise=True), seed=seed), LONGEST):
        past.append(PrefixPolicy(policy.logits.detach().clone()))
        if world.expected_return(past[-1]) > HALF_WAY:
            break
    return past


@lru_cache(maxsize=3)
def setting(horizon: int) -> Setting:
    """The sum world of a length, with a policy half way through learning it."""
    world = sum_world(target=3 * horizon // 2, horizon=horizon)
    past = half_way(world)
    return Setting(Mismatch(world, past[-1]), past)


@lru_cache(maxsize=4096)
def correction(temperature: float, age: int, horizon: int, rule: str, floor: float, cap: float) -> Correction:
    """What a rule leaves of the gradient; those without a cap of the slider's are worked out once."""
    listed, past = setting(horizon)
    return listed.correction(hotter(past[-1 - age], temperature), rule, cap, floor)


def numbers(temperature: float, age: int, horizon: int, cap: float, n: int) -> dict[str, Any]:
    """Of each rule bias and noise of a step, both in units of ‖∇J‖, and the share of a batch that is left."""
    sampler = round(temperature, 2), age, horizon
    found = [correction(*sampler, rule, *bounds(round(cap, 1))) for rule, bounds in RULES.values()]
    signal = setting(horizon).listed.gradient.square().sum().item()
    return {
        "bias": [one.bias for one in found],
        "noise": [(one.trace / n / signal) ** 0.5 for one in found],
        "left": [one.effective for one in found],
        "long": correction(*sampler, "token", 0.0, float("inf")).effective ** LONG,
        "cosine": found[0].cosine,
    }


def rows(ax: Axes, title: str, top: float) -> None:
    """A panel with a row for each rule."""
    label(ax, title).set(xlim=(0, top), ylim=(len(RULES) - 0.5, -0.5), yticks=range(len(RULES)))
    ax.set_xticks([0, 0.5, 1])
    ax.grid(visible=False, axis="y")


def at_end(text: Text, value: float, colour: Any) -> None:
    """The value beside the end of its bar; in it where the bar ends at the panel's edge."""
    room = value < 0.88 * TOP
    text.set(x=value + 0.015 if room else TOP * 0.99, ha="left" if room else "right")
    text.set(color=colour if room else "white", text=f"{value:.2f}")


def draw(fig: Figure) -> Moving:
    """Left bias and noise, right what is left of a batch; below the readouts."""
    error, left = two_panels(fig, 1.25, left=0.232, right=0.965, top=0.9, bottom=0.25, gap=0.12)
    rows(error, "A step's bias and noise ÷ ‖∇J‖", TOP)
    rows(left, "Effective share", 1)
    error.set_yticklabels(RULES)
    left.set_yticklabels([])
    # again, for where the panels stand below each other; on the bars, which move
    again = [left.text(0.02, y, name, color=EXACT, va="center", fontsize=9) for y, name in enumerate(RULES)]
    places, half = range(len(RULES)), 0.33
    bias, noise, shares = (
        ax.barh([y + shift for y in places], [0.0] * len(RULES), width, color=colour)
        for ax, shift, width, colour in (
            (error, -half / 2, half, WORSE),
            (error, half / 2, half, ESTIMATE),
            (left, 0.0, 2 * half, LEFT),
        )
    )
    look: dict[str, Any] = {"color": "white", "ha": "right", "va": "center", "fontweight": "bold"}
    ends = [error.text(0, y + shift, "", **look) for shift in (-half / 2, half / 2) for y in places]
    told = [left.text(0.985, y, "", **look | {"color": EXACT, "fontweight": "normal"}) for y in places]
    fig.text(0.232, 0.115, "■ bias", color=WORSE, fontweight="bold")
    fig.text(0.332, 0.115, "■ noise of a step", color=ESTIMATE, fontweight="bold")
    names = (0.36, "cosine without correction"), (0.9, f"sequence weights of {LONG} such tokens leave")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        for bars, texts, values in ((bias, ends[: len(RULES)], n["bias"]), (noise, ends[len(RULES) :], n["noise"])):
            for bar, text, value in zip(bars, texts, values, strict=True):
                bar.set_width(min(value, TOP))
                at_end(text, value, bar.get_facecolor())
        for bar, text, value in zip(shares, told, n["left"], strict=True):
            bar.set_width(value)
            text.set_text(f"{value:.2f}")
        fill(readings, (f"{n['cosine']:.3f}", f"{n['long']:.0%}" if n["long"] >= 0.01 else "< 1 %"))

    return [*bias, *noise, *shares, *again, *ends, *told, *readings], update


def mismatch() -> Live:
    """The widget."""
    twin = (
        ("Temperature 1.1, 512 sequences: the noise is larger than every bias", {"cap": 2.0}),
        ("Temperature 1.3, 4,096 sequences: the bias is what is left", {"cap": 2.0, "n": 4096, "temperature": 1.3}),
        ("Weights five updates old: token weights hardly help", {"cap": 2.0, "n": 4096, "age": 5, "temperature": 1.0}),
        (
            "A colder sampler, six tokens: sequence weights are the noisiest",
            {"cap": 2.0, "horizon": 6, "temperature": 0.8},
        ),
    )
    alt = (
        "For no correction and five corrections bars of a step's bias and noise, and of a batch's effective share. "
        "The whole sequence's weight has no bias (and none reaches the cap of 2 at this setting). A token's weight "
        "takes away a third of it where the sampler is at temperature 1.1, and hardly any where its weights are old; "
        "the geometric mask adds to it."
    )
    recorded = {"temperature": (0.8, 1.0, 1.1, 1.3), "cap": (1.2, 2.0, 3.0)}
    return Live(numbers, draw, CONTROLS, 3.7, twin, alt, recorded=recorded)
