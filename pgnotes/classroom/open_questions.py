"""What lesson 15 shows beside its widgets: two records, and a picture for each question."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import legend
from pgnotes.classroom.style import AFTER, BEFORE, BETTER, ESTIMATE, EXACT, MUTED, WORSE, label, panels
from pgnotes.theory.advantages import leave_one_out, pooled_leave_one_out
from pgnotes.theory.pooling import break_even_gap, two_prompts

NEVER = 4000  # sequences: beyond what the recorded runs were given


def recorded_entropy() -> dict[str, Any]:
    """768 texts of the pocket model: `python tools/record_entropy.py`, packed here.

    command, model, seed, openings, last (how many characters count as the end), and rows, one a text: opening, passed,
    tokens, and mean entropy, entropy of the last, and mean log-probability in nats.
    """
    packed = files("pgnotes.classroom").joinpath("pocket_entropy.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))


def column(name: str) -> Tensor:
    """One column of those rows, [768]; float64, or bool for "passed"."""
    values = [row[name] for row in recorded_entropy()["rows"]]
    return torch.tensor(values) if name == "passed" else torch.tensor(values, dtype=torch.float64)


def recorded_rows() -> dict[str, Any]:
    """Runs of six algorithms, DPO's, and claim C74's: `python benchmarks/seven_rows.py`, kept here.

    rows: by name, the whole grid of steps that was tried, the one that was chosen, and what it gave on other runs.
    falls: the share of TRPO's iterations in which J falls.  dpo: by number of pairs.  paces: natural steps of δ, fixed
    and paced.  Numbers of sequences are None where a run did not get there.
    """
    return json.loads(files("pgnotes.classroom").joinpath("seven_rows.json").read_text(encoding="utf-8"))


def effort() -> tuple[Figure, str]:
    """Claim C72: entropies and log-probabilities of texts that pass and of those that fail."""
    passed = column("passed")
    fig, (left, right) = panels(1, 2, 2.7, sharey=True)
    for ax, name, title, bounds in (
        (left, "entropy", "Entropy does not tell them apart", (0.25, 0.6)),
        (right, "logprob", "Log-probability does, a little", (-0.75, -0.1)),
    ):
        bins = torch.linspace(*bounds, 21).tolist()
        values = column(name)
        for chosen, colour, look in ((~passed, WORSE, {"alpha": 0.45}), (passed, BETTER, {"alpha": 0.55})):
            weights = torch.full((int(chosen.sum()),), 1 / int(chosen.sum())).tolist()
            ax.hist(values[chosen].clamp(*bounds).tolist(), bins, weights=weights, color=colour, **look)
        label(ax, title, x=f"mean {'entropy' if name == 'entropy' else 'log-probability'} of a text (nats)")
    left.set_ylabel("share of the texts")
    left.set_yticks([0, 0.1, 0.2], ["0", "10 %", "20 %"])
    legend(left, (0.5, 0.2, "82 that pass", BETTER), (0.5, 0.175, "686 that fail", WORSE))
    return fig, (
        "Two pairs of histograms of 768 texts. By mean entropy those that pass and those that fail lie on each other; "
        "by mean log-probability those that pass lie a little to the right."
    )


def paces() -> tuple[Figure, str]:
    """Claim C74: how many sequences the median run needs, and how many runs never arrive."""
    found = recorded_rows()["paces"]
    fig, ax = panels(1, 1, 3.0)
    label(ax, "Paced by how sure the batch is: no faster at the same risk", x="sequences that the median run needs")
    for paced, colour, where in ((False, BEFORE, (-5, -13)), (True, AFTER, (5, 5))):
        points = [(row["median"], row["never"], row["delta"]) for row in found if row["paced"] == paced]
        xs, ys, _ = zip(*points, strict=True)
        ax.plot(xs, ys, "o-", color=colour, linewidth=2)
        side, ink = ("left", AFTER) if paced else ("right", MUTED)
        for x, y, delta in points:
            ax.annotate(f"{delta:g}", (x, y), where, textcoords="offset points", color=ink, ha=side)
    legend(ax, (205, 0.115, "paced, by δ", AFTER), (104, 0.03, "fixed, by δ", MUTED))
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set(xlim=(90, 1200), ylim=(-0.025, 0.19), ylabel="runs that never arrive")
    ax.set_xticks([100, 200, 500, 1000], ["100", "200", "500", "1,000"])
    ax.set_yticks([0, 0.05, 0.1, 0.15], ["0", "5 %", "10 %", "15 %"])
    return fig, (
        "For six values of δ the sequences that the median run needs, and the share of runs that never arrive. With "
        "fixed steps the curve falls from 16 % at 112 sequences to 0 at 464 and more; paced ones lie to the right."
    )


def gaps(sizes: Sequence[int] = (4, 8), rate: float = 0.3) -> tuple[Figure, str]:
    """Claim C75: the noise of pooled baselines over that of a prompt's own, by how far two prompts are apart."""
    fig, ax = panels(1, 1, 2.9)
    label(ax, "Pooling pays up to about the predicted gap", x="gap between the two pass rates")
    ax.set_ylabel("noise ÷ noise of RLOO")
    ax.axhline(1, color=EXACT, linewidth=1)
    grid = torch.linspace(0, 0.56, 15).tolist()
    looks = (
        (ESTIMATE, "-", (0.52, 1.15, "center"), (0.008, 0.935, "left")),
        (MUTED, "--", (0.4, 1.28, "right"), (-0.008, 1.025, "right")),
    )
    for size, (colour, line, (x, y, side), (beside, height, end)) in zip(sizes, looks, strict=True):
        ax.plot(grid, [pooling_ratio(rate, gap, size) for gap in grid], line, color=colour, linewidth=2)
        edge = break_even_gap(rate, size)
        ax.plot([edge], [1], "D", color=colour, markersize=7)
        ax.text(edge + beside, height, f"{edge:.2f}", color=colour, fontweight="bold", ha=end)
        ax.text(x, y, f"groups of {size}", color=colour, fontweight="bold", ha=side)
    ax.set(ylim=(0.8, 1.45), xlim=(-0.01, 0.57))
    return fig, (
        "The noise with a pooled baseline over that with a group's own, by the gap between two pass rates around 0.3. "
        "Groups of 4: from 0.85 at gap 0 through 1 near the predicted 0.35. Groups of 8: from 0.93 through 1 near 0.24."
    )


def pooling_ratio(rate: float, gap: float, size: int) -> float:
    """Noise with `pooled_leave_one_out` over that with `leave_one_out`, for two pass rates so far apart."""
    rates = rate - gap / 2, rate + gap / 2
    pooled, own = (two_prompts(rates, size, rule).noise for rule in (pooled_leave_one_out, leave_one_out))
    return (pooled / own).item()


def pooling_crossing(rate: float, size: int) -> float:
    """The gap at which `pooling_ratio` is 1, by halving."""
    low, high = 0.0, 1.9 * min(rate, 1 - rate)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if pooling_ratio(rate, middle, size) < 1 else (low, middle)
    return low


def seven_rows() -> tuple[Figure, str]:
    """Claim C83: how many sequences the median run needs, and nine of ten, for each method that learns online."""
    rows = recorded_rows()["rows"]
    fig, ax = panels(1, 1, 2.8)
    label(ax, "Sequences until J = 0.9: the median run, and nine of ten", x="sequences (log scale)")
    ax.set_xscale("log")
    for y, row in enumerate(reversed(rows.values())):
        last = row["nine_of_ten"] or NEVER
        ax.plot([row["median"], last], [y, y], color=BEFORE, linewidth=3, solid_capstyle="butt")
        ax.plot([row["median"]], [y], "o", color=AFTER, markersize=7)
        ax.plot([last], [y], "|" if row["nine_of_ten"] else ">", color=EXACT, markersize=10, markeredgewidth=2)
        ax.text(NEVER * 1.25, y, f"{100 * row['never']:g} % never", color=WORSE, va="center")
    ax.set_yticks(range(len(rows)), [*reversed(rows)])
    ax.set(xlim=(150, NEVER * 4.2), ylim=(-0.6, len(rows) - 0.4))
    ax.set_xticks([200, 500, 1000, 2000, 4000], ["200", "500", "1,000", "2,000", "4,000"])
    ax.minorticks_off()
    said = "; ".join(
        f"{name}: {row['median']:.0f} and {int(row['nine_of_ten']) if row['nine_of_ten'] else 'more than 4,000'}"
        for name, row in rows.items()
    )
    return fig, f"For each method the sequences that the median run needs, and that nine of ten need. {said}."
