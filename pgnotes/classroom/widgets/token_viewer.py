"""One group of completions, token by token: ratio, clip, entropy and KL after some updates on it (lesson 09)."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import box, empty_line, empty_shapes, fill, legend, plain, readouts, signed
from pgnotes.classroom.live import Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, BETTER, EXACT, MUTED, QUIET, WIDTH, WORSE, label
from pgnotes.lm.pocket.one_group import train_on_one_group
from pgnotes.lm.rollout import Group
from pgnotes.theory.ppo import silenced

G, UPDATES = 16, 6  # completions, and updates on them
PLACES, LETTER = 53, 0.12  # characters with room in the picture, inches for each
FAR, MOST_NATS = 32.0, 2.6  # the largest ratio and the largest KL drawn; a mark says that a bar goes on
CONTROLS = (
    Slider("completion", "completion", 1, G, 1, 7),
    Slider("updates", "updates on it", 0, UPDATES, 1, 1),
    Slider("clip", "band ε", 0.05, 0.5, 0.05, 0.2),
)


@cache
def updated() -> tuple[Group, Tensor, list[Tensor], list[int]]:
    """What `train_on_one_group` gives, and the tokens of each completion."""
    group, rewards, seen = train_on_one_group(G, UPDATES)
    return group, rewards, seen, group.mask.sum(1).tolist()


def numbers(completion: int, updates: int, clip: float) -> dict[str, Any]:
    """One completion's tokens: what each is, its ratio, whether the next update hears it, entropy, KL(now ‖ start).

    Entropy, of the start model, and KL are exact.
    """
    group, rewards, seen, counts = updated()
    row = completion - 1
    live = slice(sum(counts[:row]), sum(counts[: row + 1]))
    start, now = seen[0][live], seen[updates][live]
    tokens = group.tokens[row, : counts[row], None]
    change = (now - start).gather(1, tokens)[:, 0]
    advantage = group.advantages[row].double()
    silent = silenced(change.exp(), advantage.expand(len(change)), round(clip, 2))
    return {
        "text": [*group.texts[row], "■"] if group.ended[row] else [*group.texts[row]],
        "change": change.tolist(),
        "colours": [QUIET if s else BETTER if advantage > 0 else WORSE for s in silent.tolist()],
        "entropy": (-(start.exp() * start).sum(1)).tolist(),
        "kl": (now.exp() * (now - start)).sum(1).tolist(),
        "band": (round(1 - clip, 2), round(1 + clip, 2)),
        "readings": (
            signed(f"{rewards[row]:.0f}"),
            signed(f"{advantage:+.2f}"),
            f"{int(silent.sum())} of {len(silent)}",
            signed(f"{change.sum():+.1f} nats"),
        ),
    }


def axes_of(fig: Figure) -> tuple[Axes, Axes]:
    """The ratios above entropy and KL, with the same place for a character."""
    right = 0.075 + LETTER * (PLACES + 0.4) / WIDTH
    grid = {"left": 0.075, "right": right, "top": 0.925, "bottom": 0.13, "hspace": 0.4}
    ratios, nats = fig.subplots(2, 1, sharex=True, height_ratios=(1.5, 1), gridspec_kw=grid)
    label(ratios, "Ratio: how much likelier each token is than when it was sampled")
    ratios.set(yscale="log", ylim=(1 / FAR, FAR), xlim=(-0.7, PLACES - 0.3))
    ratios.set_yticks([1 / 16, 1 / 4, 1, 4, 16], ["÷ 16", "÷ 4", "1", "× 4", "× 16"])
    ratios.minorticks_off()
    label(nats, "Nats").set(ylim=(0, MOST_NATS), yticks=[0, 1, 2])
    for ax in (ratios, nats):
        ax.set_xticks([])

    ups = (0.48, 0.96, "next: up", BETTER), (0.645, 0.96, "next: down", WORSE)
    silent = (0.99, 0.96, "next: silent, by the clip", QUIET)
    legend(ratios, *ups, silent, fontsize=10, transform=ratios.transAxes, va="top", ha="right")
    words = (0.075, 1.06, "entropy of the start model", MUTED), (0.45, 1.06, "KL(now ‖ start)", AFTER)
    legend(nats, *words, fontsize=10, transform=nats.transAxes)
    return ratios, nats


def draw(fig: Figure) -> Moving:
    """Above the ratios over the text, below entropy and KL at the same places; then the readouts."""
    ratios, nats = axes_of(fig)
    band = ratios.axhspan(1, 1, facecolor=EXACT, alpha=0.1, linewidth=0)
    bars = empty_shapes(ratios, linewidth=0, facecolor=QUIET)
    unsure, moved = (empty_shapes(nats, linewidth=0, facecolor=colour) for colour in (BEFORE, AFTER))
    over, under, above = (
        empty_line(ax, sign, color=EXACT, markersize=4.5) for ax, sign in ((ratios, "^"), (ratios, "v"), (nats, "^"))
    )

    # a line of text for each colour; 0.602 is a character's width over its height in this font
    line: dict[str, Any] = {"ha": "left", "va": "top", "family": "monospace", "fontsize": LETTER * 72 / 0.602}
    colours = (EXACT, BETTER, WORSE, QUIET)
    letters = {colour: ratios.text(-0.5, 1 / FAR / 1.25, "", color=colour, **line) for colour in colours}
    names = (0.085, "reward"), (0.235, "advantage"), (0.48, "silent tokens"), (0.85, "log π of the whole text")
    readings = readouts(fig, 0.035, *names)

    def update(n: dict) -> None:
        low, high = n["band"]
        band.set(y=low, height=high - low)
        heights = [min(max(math.exp(change), 1 / FAR), FAR) for change in n["change"]]
        bars.set_verts([box(x, 0.8, 1.0, height) for x, height in enumerate(heights)])
        bars.set_facecolor(n["colours"])
        unsure.set_verts([box(x, 0.8, 0.0, value) for x, value in enumerate(n["entropy"])])
        moved.set_verts([box(x, 0.4, 0.0, value) for x, value in enumerate(n["kl"])])
        for line, values, edge, y in (
            (over, heights, FAR, FAR**0.95),
            (under, heights, 1 / FAR, FAR**-0.95),
            (above, [min(value, MOST_NATS) for value in n["kl"]], MOST_NATS, MOST_NATS - 0.12),
        ):
            at = [x for x, value in enumerate(values) if value == edge]
            line.set_data(at, [y] * len(at))

        # what has hardly moved is dark
        shown = [c if abs(height - 1) > 0.02 else EXACT for c, height in zip(n["colours"], heights, strict=True)]
        for colour, text in letters.items():
            own = [letter if c == colour else " " for letter, c in zip(n["text"], shown, strict=True)]
            text.set_text(plain("".join(own)))
        fill(readings, n["readings"])

    return [band, bars, *letters.values(), unsure, moved, over, under, above, *readings], update


def token_viewer() -> Live:
    """The widget."""
    failed = {"completion": 1, "updates": 4}
    twin = (
        ("The one that passed, after one update: eleven of its 49 tokens have moved", {}),
        ("The same after four: the clip has silenced what moved, and it goes on moving", {"updates": 4}),
        ("One that failed, after four: some of its choices are made rarer, few letters move", failed),
    )
    alt = (
        "The characters of one completion, each with the ratio of its probability now to that when it was sampled, the "
        "start model's entropy there, and the KL. After one update eleven of 49 characters of the completion that "
        "passed have moved, all where the entropy was above 0; after four most of these are beyond the clip's band. In "
        "a completion that failed the same kind of places move down."
    )
    return Live(numbers, draw, CONTROLS, 3.5, twin, alt)
