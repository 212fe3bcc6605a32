"""Twenty epochs on one batch: how far the ratios go, with the clip and without, whole or in minibatches (lesson 07)."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import islice, product
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, empty_line, fill, legend, readouts
from pgnotes.classroom.live import Choice, Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, MUTED, QUIET, label
from pgnotes.theory.ppo import Settings, clip_fraction, divergence, outside, ppo, token_ratios
from pgnotes.theory.worlds import TokenWorld, sum_world

CLIP, BATCH, EPOCHS = 0.2, 256, 20
BINS = np.linspace(0, 3, 31)  # what lies beyond 3 is counted in the last
CONTROLS = (
    Slider("epoch", "epochs", 0, EPOCHS, 1, 4),
    Choice("step_size", "step size", (("0.5", 0.5), ("2", 2.0), ("8", 8.0), ("16", 16.0)), 2.0),
    Choice("minibatches", "steps in each epoch", (("1, on the whole batch", 1), ("4, on quarters of it", 4)), 1),
    Switch("clip", "clip at 0.8 and 1.2", value=False),  # the lesson asks first what it will do
)


@cache
def world() -> TokenWorld:
    """The sum world, listed once."""
    return sum_world()


@cache
def start() -> Tensor:
    """Where the policy starts: no two of its probabilities are alike."""
    return torch.randn(85, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Run:
    """One run on one batch, carried on as far as somebody looks."""

    def __init__(self, step_size: float, minibatches: int, clip: bool, seed: int):
        settings = Settings(step_size, BATCH, EPOCHS, minibatches, CLIP if clip else None)
        self.states = islice(ppo(world(), settings, seed, start()), EPOCHS + 1)
        self.logps: list[Tensor] = []  # of the batch's symbols after each epoch
        self.chances: list[Tensor] = []  # of every sequence of the world after each epoch

    def until(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Ratios [epochs + 1, n, T] and chances [epochs + 1, N] up to this epoch."""
        while len(self.logps) <= epoch:
            self.at = next(self.states)
            self.logps.append(self.at.policy.log_prob(self.at.batch.sequences).detach())
            self.chances.append(world().probabilities(self.at.policy)[0].detach())
        ratios = [token_ratios(logp, self.logps[0], self.at.batch.mask) for logp in self.logps[: epoch + 1]]
        return torch.stack(ratios), torch.stack(self.chances[: epoch + 1])


run = lru_cache(maxsize=64)(Run)


@lru_cache(maxsize=256)
def numbers(epoch: int, step_size: float, minibatches: int, clip: bool, seed: int) -> dict[str, Any]:
    """The run up to this epoch; what it gained, and what the surrogate says it gained."""
    this = run(step_size, minibatches, clip, seed)
    ratios, chances = this.until(epoch)
    mask, returns = this.at.batch.mask, world().returns()[0]
    live = ratios[:, mask]
    return {
        "epoch": epoch,
        "kl": divergence(chances[0], chances).clamp(min=1e-4).tolist(),
        "outside": outside(live, CLIP).double().mean(1).tolist(),
        "silent": [clip_fraction(at, this.at.advantages, mask, CLIP).item() * clip for at in ratios],
        "heights": np.histogram(live[-1].clamp(max=2.99).numpy(), BINS)[0] / live.shape[1],
        "range": (live[-1].min().item(), live[-1].max().item()),
        "promised": ((ratios[-1] - 1) * this.at.advantages * mask).sum().item() / BATCH,
        "gained": ((chances[-1] - chances[0]) @ returns).item(),
    }


def axes_of(fig: Figure) -> tuple[Axes, Axes, Axes]:
    """Left the histogram, right KL and the share outside by epoch."""
    edges = {"left": 0.085, "right": 0.975, "top": 0.93, "bottom": 0.195, "wspace": 0.26, "hspace": 0.62}
    grid = fig.add_gridspec(2, 2, width_ratios=(1.45, 1), **edges)
    histogram, kl, share = fig.add_subplot(grid[:, 0]), fig.add_subplot(grid[0, 1]), fig.add_subplot(grid[1, 1])
    label(histogram, "Ratios of the batch's symbols", y="share").set(xlim=(0, 3), ylim=(0, 0.6))
    histogram.set_xlabel("ratio, new policy to old", labelpad=1)
    histogram.set_xticks([0, 0.5, 0.8, 1.2, 1.5, 2, 2.5, 2.95], ["0", ".5", ".8", "1.2", "1.5", "2", "2.5", "3+"])
    histogram.set_yticks([0, 0.2, 0.4, 0.6])
    histogram.axvspan(0.8, 1.2, facecolor="#e3e8f1", zorder=0)
    histogram.text(1.23, 0.56, "the band: 0.8 to 1.2", color=MUTED)

    label(kl, "KL(old ‖ new), nats").set(yscale="log", xlim=(0, EPOCHS), ylim=(1e-4, 10))
    kl.set_yticks([1e-4, 1e-2, 1], ["0.0001", "0.01", "1"])
    kl.minorticks_off()
    label(share, "Share").set(xlim=(0, EPOCHS), ylim=(0, 1))
    share.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    names = (0.27, 1.05, "outside", AFTER), (1.0, 1.05, "silent", MUTED)
    for (x, y, text, colour), side in zip(names, ("left", "right"), strict=True):
        legend(share, (x, y, text, colour), transform=share.transAxes, ha=side)
    share.set_xlabel("epochs", labelpad=1)
    for ax in (kl, share):
        ax.set_xticks([0, 5, 10, 15, 20])
    return histogram, kl, share


def draw(fig: Figure) -> Moving:
    """The bars of the histogram, a curve and where it ends in the other two; below the readouts."""
    histogram, *curves = axes_of(fig)
    bars = empty_bars(histogram, BINS[:-1], 0.092, align="edge", color=AFTER)
    silent = empty_line(curves[1], color=QUIET, linewidth=2, linestyle="--", clip_on=False)
    lines = [empty_line(ax, color=AFTER, linewidth=2, clip_on=False) for ax in curves]
    dots = [empty_line(ax, "o", color=AFTER, markersize=7, clip_on=False) for ax in curves]
    names = (0.2, "smallest, largest"), (0.6, "gain the batch promises"), (0.86, "true gain")
    readings = readouts(fig, 0.025, *names)

    def update(n: dict) -> None:
        for bar, height in zip(bars, n["heights"], strict=True):
            bar.set_height(height)
        for line, dot, values in zip(lines, dots, (n["kl"], n["outside"]), strict=True):
            line.set_data(range(len(values)), values)
            dot.set_data([n["epoch"]], [values[-1]])
        silent.set_data(range(len(n["silent"])), n["silent"])
        low, high = n["range"]
        fill(readings, (f"{low:.2f}, {high:.2f}", f"{n['promised']:+z.2f}", f"{n['gained']:+z.2f}"))

    return [*bars, silent, *lines, *dots, *readings], update


def ppo_epochs() -> Live:
    """The widget. All runs on the first batch are made here, so that no choice has to wait."""
    options = ([value for _, value in control.options] for control in CONTROLS if isinstance(control, Choice))
    for step_size, minibatches, clip in product(*options, (False, True)):
        run(step_size, minibatches, clip, 0).until(EPOCHS)

    far = {"epoch": 20, "step_size": 16.0, "clip": True}
    without, quarters = {"epoch": 10}, {"epoch": 1, "minibatches": 4, "clip": True}
    twin = (
        ("One epoch at step size 2, on quarters of the batch: ratios have left 1, some the band", quarters),
        ("Ten epochs on the whole batch, clip on: a fifth is outside, down to 0.65", {"epoch": 10, "clip": True}),
        ("The same batch and steps without the clip: it goes on, to a KL more than four times as large", without),
        ("Step size 16, twenty epochs, clip on: 46 % outside, and 43 % silent, for some are pulled back", far),
    )
    alt = (
        "Ratios of a batch's symbols, KL, and the shares outside the band and silent, over the epochs of one batch. "
        "One epoch in quarters takes ratios to between 0.70 and 1.16. Ten epochs at step size 2 with the clip: 0.65 "
        "to 1.25; without it 0.31 to 1.48. With step size 16 and twenty epochs, 46 % are outside and 43 % silent "
        "although the clip is on, up to a ratio of 3.6."
    )
    return Live(numbers, draw, CONTROLS, 3.6, twin, alt, noise=True)
