"""Lesson 13's pictures: the four steps of RLHF, and DPO on the pocket model as it was recorded."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.atlas import arrow, box, paper
from pgnotes.classroom.diagrams import plate
from pgnotes.classroom.style import BAND, BETTER, EXACT, MUTED, QUIET, WORSE, label, panels

# its name, what it is, and what it is in the glass world
STEPS = (
    (
        "1 pretraining",
        "continue texts, of\nwhich there are\nvery many",
        "no counterpart:\nthe logits are\ngiven",
    ),
    (
        "2 fine-tuning",
        "write as in some\nthousands of good\nanswers",
        "the reference: pours\n1 most often, and\nearns 0.2 of 1",
    ),
    (
        "3 reward model",
        "which of two\nanswers do people\nprefer?",
        "judges compare two\nglasses; two or three\nnumbers are fitted",
    ),
    (
        "4 learning",
        "write, be scored,\nand pay for every\nnat of KL",
        "a policy that pours\nwhat the model of\nstep 3 likes best",
    ),
)


def four_steps() -> tuple[Figure, str]:
    """What a chat model goes through, and below each step what it is in the glass world: figure, description."""
    fig, ax = paper(2.95)
    wide, apart = 1.6, 0.16
    box(ax, 0.03, 0.1, 6.94, 1.16, facecolor=BAND, edgecolor="none")
    for i, (head, what, here) in enumerate(STEPS):
        x = 0.07 + i * (wide + apart)
        plate(ax, x, 1.55, wide, 1.25, head, what)
        ax.text(x + 0.1, 0.88, here, color=MUTED, va="top", linespacing=1.3)
        if i:
            arrow(ax, (x - apart, 2.17), (x, 2.17))
    ax.text(0.17, 1.08, "in the glass world", color=EXACT, va="center", fontweight="bold")
    alt = (
        "Four boxes in a row. Pretraining: continue texts. Fine-tuning: write as in good answers. Reward model: which "
        "of two answers do people prefer? Learning: write, be scored, pay for KL. Below, what each is in the glass "
        "world: given logits; a reference that pours 1 most often; judges who compare two glasses; a policy that pours "
        "what the reward model likes best."
    )
    return fig, alt


def recorded_dpo() -> dict[str, Any]:
    """What `python tools/record_dpo.py` wrote."""
    return json.loads(gzip.decompress(files("pgnotes.classroom").joinpath("pocket_dpo.json.gz").read_bytes()))


def pocket_dpo() -> tuple[Figure, str]:
    """By how much both completions of a pair become likelier, over the steps, for each step size: figure, description.

    Thick: the mean over all pairs and seeds; thin: each seed.
    """
    record = recorded_dpo()
    sizes = sorted({run["lr"] for run in record["runs"]})
    fig, axes = panels(1, len(sizes), 2.7, sharey=True)
    for ax, size in zip(axes, sizes, strict=True):
        runs = [run for run in record["runs"] if run["lr"] == size]
        steps = sorted(map(int, runs[0]["changes"]))
        means = torch.tensor([[torch.tensor(run["changes"][str(k)]).mean(0).tolist() for k in steps] for run in runs])
        for which, colour, name in ((0, BETTER, "chosen"), (1, WORSE, "rejected")):
            for course in means[..., which].tolist():
                ax.plot(steps, course, color=colour, linewidth=0.8, alpha=0.5)
            mean = means[..., which].mean(0).tolist()
            ax.plot(steps, mean, color=colour, linewidth=2.2)
            ax.text(steps[-1] + 1, mean[-1], name, color=colour, fontweight="bold", va="center")
        ax.axhline(0, color=QUIET, linewidth=0.8)
        label(ax, f"Step size {size:.0e}".replace("e-0", "e−"), x="step of 16 pairs").set(xlim=(0, steps[-1] * 1.36))
        ax.set_xticks(range(0, steps[-1] + 1, 10))
    axes[0].set_ylabel("change of log π (nats)")
    alt = (
        "Mean change of log π of the chosen and of the rejected completions over 40 steps of DPO on the pocket model, "
        "for two step sizes with three seeds each. At the end the rejected lie far below 0 in all runs, the chosen "
        "below it or, in one, at it."
    )
    return fig, alt
