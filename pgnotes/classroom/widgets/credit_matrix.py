"""Which reward counts for which token: a matrix of tokens and rewards, and the weights that come of it (lesson 06)."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_bars
from pgnotes.classroom.live import Choice, Live, Moving, Slider
from pgnotes.classroom.style import BAND, BETTER, EXACT, MUTED, WORSE, label
from pgnotes.theory.credit import credit

T = 8
PLACES = torch.arange(T, dtype=torch.float64)  # the first token is number 0, as in the formulas
# Of the cells, row by row: (reward, token)
CENTRES = torch.stack(torch.meshgrid(PLACES, PLACES, indexing="xy"), -1).view(-1, 1, 2)
CORNERS = 0.46 * torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
PAID = {
    "end": (0, 0, 0, 0, 0, 0, 0, 1),
    "each": (0.25,) * 8,
    "two": (0, 1, 0, 0, 0, 0, 0, 1),
    "slip": (0, 0, 0, -1, 0, 0, 0, 1),
}
RULES = (
    ("whole return", "whole"),
    ("reward-to-go, usual form", "usual"),
    ("reward-to-go times γ^t", "to_go"),
    ("return spread, to go", "spread"),
)
REWARDS = (
    ("−1 at token 3, 1 at the end", "slip"),
    ("1 at the end", "end"),
    ("1 at token 1, 1 at the end", "two"),
    ("0.25 for each token", "each"),
)
CONTROLS = (
    Choice("rule", "rule", RULES, "whole"),
    Choice("paid", "rewards", REWARDS, "slip"),
    Slider("gamma", "discount γ", 0.0, 1.0, 0.05, 1.0),
)


def numbers(rule: str, paid: str, gamma: float) -> dict[str, Any]:
    """The matrix, the rewards, and their product, a weight for each token."""
    rewards = torch.tensor(PAID[paid], dtype=torch.float64)
    # Every reward first given out in equal parts, then counted from each token on
    shared = torch.full((T, T), 1 / T, dtype=torch.float64)
    matrix = credit("usual", T, gamma) @ shared if rule == "spread" else credit(rule, T, gamma)
    return {"matrix": matrix, "rewards": rewards.tolist(), "weights": (matrix @ rewards).tolist()}


def axes_of(fig: Figure) -> tuple[Axes, Axes, Axes]:
    """The rewards above the grid's columns, the weights beside its rows, and a word in the corner."""
    shape = {"left": 0.085, "right": 0.975, "top": 0.93, "bottom": 0.105, "wspace": 0.07, "hspace": 0.08}
    (top, corner), (grid, side) = fig.subplots(2, 2, width_ratios=(1.25, 1), height_ratios=(1, 3.1), gridspec_kw=shape)
    places, across = range(T), (-0.5, T - 0.5)
    label(top, "What each token is paid").set(xlim=across, ylim=(-1.15, 1.15), yticks=[-1, 0, 1])
    top.set_xticks(places, [])
    top.axhline(0, color=EXACT, linewidth=0.8, zorder=3)
    top.tick_params(axis="x", length=0)

    grid.set(xlim=across, ylim=across[::-1], xticks=places, yticks=places)
    grid.set_xlabel("the reward of token k …", labelpad=1)
    grid.set_ylabel("… counts for token t")
    grid.grid(visible=False)

    label(side, "What its score is multiplied by").set(xlim=(-1.15, 2.75), ylim=across[::-1], xticks=[-1, 0, 1, 2])
    side.set_yticks(places, [])
    side.axvline(0, color=EXACT, linewidth=0.8, zorder=3)
    side.tick_params(axis="y", length=0)
    side.grid(visible=False, axis="y")

    corner.set_axis_off()
    brim = "A cell filled to the brim:\nthe reward counts in full."
    corner.text(0.0, 0.5, brim, color=MUTED, va="center", transform=corner.transAxes)
    return top, grid, side


def draw(fig: Figure) -> Moving:
    """Cells that are filled by how much a reward counts, bars for the rewards and for the weights."""
    top, grid, side = axes_of(fig)
    grid.add_collection(PolyCollection((CENTRES + CORNERS).numpy(), facecolor=BAND, edgecolor="none"))
    cells = PolyCollection((CENTRES + CORNERS).numpy(), facecolor=MUTED, edgecolor="none")
    grid.add_collection(cells)
    places = range(T)
    paid = empty_bars(top, places, 0.6)
    weights = side.barh(places, [0.0] * T, 0.6)
    texts = [side.text(2.7, t, "", ha="right", va="center", color=EXACT) for t in places]

    def update(n: dict) -> None:
        cells.set_verts((CENTRES + CORNERS * n["matrix"].reshape(-1, 1, 1).sqrt()).numpy())  # the area is the share
        for bar, reward in zip(paid, n["rewards"], strict=True):
            bar.set(height=reward, color=BETTER if reward > 0 else WORSE, visible=reward != 0)
        for bar, text, weight in zip(weights, texts, n["weights"], strict=True):
            bar.set(width=weight, color=BETTER if weight > 0 else WORSE, visible=abs(weight) > 1e-9)
            text.set_text(f"{weight:z.2f}")

    return [cells, *paid, *weights, *texts], update


def credit_matrix() -> Live:
    """The widget."""
    usual, exact = ({"rule": rule, "paid": "end", "gamma": 0.8} for rule in ("usual", "to_go"))
    twin = (
        ("The whole return, γ = 1: token 3's penalty and the reward cancel for every token", {}),
        ("Reward-to-go: the tokens after the slip are no longer charged with it", {"rule": "usual"}),
        ("1 at the end, γ = 0.8, the usual form: the early tokens hear little of it", usual),
        (r"The same times $\gamma^t$, as the discounted objective asks: all hear equally little", exact),
        (
            "1 at the end, spread over the tokens, γ = 1: the last one hears an eighth",
            {"rule": "spread", "paid": "end"},
        ),
    )
    alt = (
        "A grid of eight tokens and eight rewards, numbered from 0, its cells filled by how much a reward counts for "
        "a token, the rewards above and the tokens' weights beside it. Under the whole return every cell counts; "
        "under reward-to-go only those on and above the diagonal. With a discount the cells fade to the right, from "
        "the diagonal in the usual form, from the first column in the exact one. Spread over the tokens, a reward at "
        "the end counts less the later the token."
    )
    return Live(numbers, draw, CONTROLS, 4.0, twin, alt)
