"""Eight rewards of one group: what each rule makes of them (lesson 08)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_shapes, legend, signed
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BETTER, EXACT, MUTED, QUIET, WORSE, label
from pgnotes.theory.advantages import group_advantages

G = 8
START = (1.0, *[0.0] * 7)
RULES = {
    "rloo": ("RLOO: less the others' mean", 1.25),
    "dr_grpo": ("Dr. GRPO: less the mean of all", 1.25),
    "grpo": ("GRPO: also ÷ the group's std", 4.2),
    "reinforce_pp": ("Batch: mean and std of all 16", 4.2),
}
GAP = G + 2  # the other prompt's bars stand this far to the right
BAR = ((-0.33, 0.0), (0.33, 0.0), (0.33, 1.0), (-0.33, 1.0))  # its corners, at height 1
SHAPES = torch.tensor([[[i + x, y] for x, y in BAR] for i in range(1, G + 1)])
CONTROLS = (
    *(Slider(f"r{i + 1}", f"reward {i + 1}", 0.0, 1.0, 0.1, reward) for i, reward in enumerate(START)),
    Choice("others", "the other prompt", (("all 0", 0), ("half 1, half 0", 4), ("all 1", 8)), 4),
)


def numbers(others: int, **rewards: float) -> dict[str, Any]:
    """The rewards of both groups and the first one's advantages under each rule; only the last rule sees the second."""
    mine = [round(rewards[f"r{i + 1}"], 6) for i in range(G)]
    both = torch.tensor([mine, [1.0] * others + [0.0] * (G - others)], dtype=torch.float64)
    return {"rewards": both.tolist(), "rules": [group_advantages(both, kind)[0].tolist() for kind in RULES]}


def draw(fig: Figure) -> Moving:
    """Above the rewards of both groups, below the first one's advantages: in the reward's unit, then in stds."""
    edges = {"left": 0.075, "right": 0.985, "top": 0.94, "bottom": 0.06, "wspace": 0.16, "hspace": 0.52}
    grid = fig.add_gridspec(3, 2, height_ratios=(0.75, 1, 1), **edges)

    top = label(fig.add_subplot(grid[0, :]), "Your group's rewards")
    names = range(1, G + 1)
    top.set(xlim=(0.3, G + GAP + 0.7), ylim=(0, 1.1), yticks=[0, 0.5, 1])
    top.set_xticks([*names, *(i + GAP for i in names)], [f"{i}" for i in (*names, *names)])
    groups = [empty_shapes(top, facecolor=colour, edgecolor="none") for colour in (EXACT, QUIET)]
    legend(top, (GAP + 0.3, 1.2, "The other prompt's", MUTED))

    texts = []
    for i, (title, high) in enumerate(RULES.values()):
        ax = label(fig.add_subplot(grid[1 + i // 2, i % 2]), title)
        ticks = [-1, 0, 1] if high < 2 else [-4, -2, 0, 2, 4]
        ax.set(xlim=(0.3, G + 0.7), xticks=names, ylim=(-high, high), yticks=ticks)
        ax.axhline(0, color=QUIET, linewidth=0.8, zorder=3)
        groups.append(empty_shapes(ax, facecolor=QUIET, edgecolor="none"))
        texts.append(ax.text(G + 0.6, 0.94 * high, "", ha="right", va="top"))

    def update(n: dict) -> None:
        for i, (group, heights) in enumerate(zip(groups, n["rewards"] + n["rules"], strict=True)):
            scale = torch.tensor([[[1.0, height]] for height in heights])
            shift = torch.tensor([GAP if i == 1 else 0.0, 0.0])
            group.set_verts((SHAPES * scale + shift).numpy())
        for group, text, values in zip(groups[2:], texts, n["rules"], strict=True):
            group.set_facecolor([BETTER if value > 0 else WORSE for value in values])
            text.set_text(signed(f"completion 1: {values[0]:+z.2f}"))

    return [*groups, *texts], update


def group_advantages_lab() -> Live:
    """The widget."""
    only_batch = "All wrong, while the other prompt's completions are all right: only the batch rule still speaks"
    twin = (
        ("One success in eight", {}),
        ("One tenth of a success in eight: GRPO shouts as loudly as before", {"r1": 0.1}),
        (only_batch, {"r1": 0.0, "others": G}),
    )
    alt = (
        "Bars of the rewards of eight completions and of another prompt's eight; below, the first group's advantages "
        "under four rules. With one success RLOO gives it +1.00, Dr. GRPO +0.88, GRPO +2.47; with a tenth of a success "
        "the first two shrink tenfold and GRPO does not change. If all are wrong, the three group rules are silent, "
        "and the rule of the whole batch blames all eight, for the other prompt's are all right."
    )
    recorded = {f"r{i + 1}": (0.0, 1.0) for i in range(len(START))}  # right or wrong; all settings would be 600 million
    return Live(numbers, draw, CONTROLS, 4.6, twin, alt, recorded=recorded)
