"""Eight rewards of one group: what each rule makes of them (lesson 08)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BETTER, ESTIMATE, QUIET, WORSE, label, signed
from pgnotes.theory.advantages import group_advantages

G = 8
START = (1.0, *[0.0] * 7)
RULES = {
    "rloo": ("RLOO: less others' mean", 1.25),
    "dr_grpo": ("Dr. GRPO: less the mean", 1.25),
    "grpo": ("GRPO: also ÷ group's std", 4.2),
    "reinforce_pp": ("Batch: ÷ everyone's std", 4.2),
}
# Bars of height 1
SHAPES = torch.tensor([[[i - 0.33, 0.0], [i + 0.33, 0.0], [i + 0.33, 1.0], [i - 0.33, 1.0]] for i in range(1, G + 1)])
CONTROLS = (
    *(Slider(f"r{i + 1}", f"reward {i + 1}", 0.0, 1.0, 0.1, reward) for i, reward in enumerate(START)),
    Choice("others", "the other prompt", (("all 0", 0), ("half 1, half 0", 4), ("all 1", 8)), 4),
)


def numbers(others: int, **rewards: float) -> dict[str, Any]:
    """The rewards of both groups and the first group's advantages under each rule; only the last rule looks at the second."""
    mine = [round(rewards[f"r{i + 1}"], 6) for i in range(G)]
    both = torch.tensor([mine, [1.0] * others + [0.0] * (G - others)], dtype=torch.float64)
    return {"rewards": both.tolist(), "rules": [group_advantages(both, kind)[0].tolist() for kind in RULES]}


def draw(fig: Figure) -> Moving:
    """Left the rewards of both groups, right the advantages of the first: in the reward's unit above, in standard deviations below."""
    axes = fig.subplots(
        2,
        3,
        width_ratios=(0.8, 1, 1),
        gridspec_kw={"left": 0.055, "right": 0.995, "top": 0.93, "bottom": 0.12, "wspace": 0.27, "hspace": 0.4},
    )
    places, bars, texts = range(1, G + 1), [], []
    for ax, title in zip(axes[:, 0], ("Your group's rewards", "The other prompt's"), strict=True):
        label(ax, title).set(xlim=(0.3, G + 0.7), ylim=(0, 1.08), xticks=places, yticks=[0, 0.5, 1])
        bars.append(bars_of(ax, ESTIMATE if ax is axes[0, 0] else QUIET))
    for ax, (title, high) in zip((*axes[0, 1:], *axes[1, 1:]), RULES.values(), strict=True):
        label(ax, title).set(
            xlim=(0.3, G + 0.7),
            ylim=(-high, high),
            xticks=places,
            yticks=[-1, -0.5, 0, 0.5, 1] if high < 2 else [-4, -2, 0, 2, 4],
        )
        ax.axhline(0, color=QUIET, linewidth=0.8, zorder=3)
        bars.append(bars_of(ax, QUIET))
        texts.append(ax.text(G + 0.6, 0.94 * high, "", ha="right", va="top", fontsize=9))
    for ax in axes[1]:
        ax.set_xlabel("completion", labelpad=1)

    def update(n: dict) -> None:
        for group, heights in zip(bars, n["rewards"] + n["rules"], strict=True):
            group.set_verts((SHAPES * torch.tensor([[[1.0, height]] for height in heights])).numpy())
        for group, text, values in zip(bars[2:], texts, n["rules"], strict=True):
            group.set_facecolor([BETTER if value > 0 else WORSE for value in values])
            text.set_text(signed(f"completion 1: {values[0]:+z.2f}"))

    return [*bars, *texts], update


def bars_of(ax: Axes, colour: str) -> PolyCollection:
    """Eight bars as one artist, which draws faster than eight."""
    group = PolyCollection([], facecolor=colour, edgecolor="none")
    ax.add_collection(group)
    return group


def group_advantages_lab() -> Live:
    """The widget."""
    ones = {f"r{i + 1}": 1.0 for i in range(G)}
    return Live(
        numbers, draw, CONTROLS, 3.9,
        twin=(
            ("One success in eight", {}),
            ("One tenth of a success in eight: GRPO shouts as loudly as before", {"r1": 0.1}),
            ("All right, while the other prompt's completions all fail: only the batch rule still speaks", ones | {"others": 0}),
        ),
        alt="Bars of the rewards of eight completions, of another prompt's eight, and of the first group's advantages under four rules. With one success "
        "RLOO gives it +1.00, Dr. GRPO +0.88, GRPO +2.47; with a tenth of a success the first two shrink tenfold and GRPO does not change. If all are "
        "right, the three group rules are silent, and the rule of the whole batch praises all eight.",
    )  # fmt: skip
