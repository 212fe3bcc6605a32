"""A reward that is a step, softened: the noise of two estimators of one gradient (lesson 14; Mohamed et al. 2020)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from matplotlib.figure import Figure

from pgnotes.classroom.artists import area, empty_line, empty_shapes, fill, legend, readouts, signed, two_panels
from pgnotes.classroom.live import Live, Moving, Slider, Switch
from pgnotes.classroom.style import AFTER, BAND, ESTIMATE, EXACT, MUTED, label
from pgnotes.theory.pathwise import gaussian_mean, path_moments, score_moments, step_moments
from pgnotes.theory.policies import GaussianPolicy

MEAN = 0.5
SHARPEST = 9  # where the reward is the step itself
WIDTHS = [3.0 * 0.5**k for k in range(SHARPEST)]  # τ
GRID = torch.linspace(-4, 5, 361, dtype=torch.float64)
SHAPES = [torch.sigmoid(GRID / width).tolist() for width in WIDTHS] + [(GRID > 0).double().tolist()]
PATH = "#8c6d1f"  # which means nothing elsewhere
CONTROLS = (
    Slider("sharp", "how often τ = 3 is halved (9: a step)", 0, SHARPEST, 1, 2),
    Slider("std", "spread σ of the policy", 0.5, 2.0, 0.25, 1.0),
    Switch("baseline", "the score compares with the mean reward", value=True),
)


@lru_cache(64)
def estimates(std: float, baseline: bool) -> list[tuple[float, float, float]]:
    """For each softness: the gradient by the mean, and the standard deviations of score and path from one action."""
    found = []
    for width in WIDTHS:

        def reward(a: torch.Tensor, width: float = width) -> torch.Tensor:
            return torch.sigmoid(a / width)

        middle = gaussian_mean(reward, MEAN, std) if baseline else 0.0
        score, path = score_moments(reward, MEAN, std, middle), path_moments(reward, MEAN, std)
        noises = [moments.covariance[0, 0].sqrt().item() for moments in (score, path)]
        found.append((score.mean[0].item(), noises[0], noises[1]))

    above = 0.5 * torch.erfc(torch.tensor(-MEAN / std / 2**0.5, dtype=torch.float64)).item()
    step = step_moments(MEAN, std, above if baseline else 0.0)
    return [*found, (step.mean[0].item(), step.covariance[0, 0].sqrt().item(), 0.0)]


def numbers(sharp: int, std: float, baseline: bool) -> dict[str, Any]:
    """Reward and policy, the noise at every softness, and what both estimators say at this one."""
    found = estimates(std, baseline)
    exact, score, path = found[sharp]
    density = GaussianPolicy(MEAN, std).log_prob(GRID).exp()
    return {
        "sharp": sharp,
        "reward": SHAPES[sharp],
        "density": (0.8 * density / density.max()).tolist(),
        "noises": [list(values) for values in zip(*(row[1:] for row in found), strict=True)],
        "exact": exact,
        "score": (exact, score),
        "path": (exact if sharp < SHARPEST else 0.0, path),
    }


def draw(fig: Figure) -> Moving:
    """Left reward and policy, right both standard deviations down to this softness; below, what is said."""
    world, noise = two_panels(fig, 1.0, left=0.065, top=0.89, bottom=0.3, gap=0.22)
    label(world, "What is paid, and who is asked", x="action a").set(xlim=(-2.6, 3.6), ylim=(0, 1.3))
    world.set_yticks([0, 0.5, 1])
    legend(world, (-2.5, 1.17, "reward", EXACT))
    legend(world, (3.5, 1.17, "policy (not to scale)", AFTER), ha="right")
    hill = empty_shapes(world, facecolor=BAND, edgecolor=AFTER, linewidth=1.5)
    paid = empty_line(world, color=EXACT, linewidth=2)

    label(noise, "Noise of one action's estimate", x="softness τ").set(xlim=(-0.4, SHARPEST + 0.4), ylim=(-0.08, 3))
    noise.set_xticks([0, 2, 4, 6, SHARPEST], ["3", "0.75", "0.19", "0.05", "step"])
    noise.set_yticks([0, 1, 2])
    legend(noise, (-0.2, 2.7, "score", ESTIMATE), (2.2, 2.7, "path", PATH))
    lines = [empty_line(noise, "o-", color=c, linewidth=1.5, markersize=3.5) for c in (ESTIMATE, PATH)]
    rule = empty_line(noise, color=MUTED, linewidth=1, linestyle=":")
    dots = [empty_line(noise, "o", color=c, markersize=8, clip_on=False) for c in (ESTIMATE, PATH)]
    readings = readouts(fig, 0.03, (0.2, "true gradient"), (0.45, "score says"), (0.76, "path says"))

    def update(n: dict) -> None:
        hill.set_verts([area(GRID.tolist(), [0.0] * len(GRID), n["density"])])
        paid.set_data(GRID, n["reward"])
        score, path = n["noises"]
        at = n["sharp"]  # the curves come as far
        lines[0].set_data(range(at + 1), score[: at + 1])
        lines[1].set_data(range(min(at + 1, SHARPEST)), path[: min(at + 1, SHARPEST)])
        rule.set_data([at, at], [-0.08, 2.5])
        for dot, values in zip(dots, n["noises"], strict=True):
            dot.set_data([at], [values[at]])
        said = (f"{mean:.3f} ± {spread:.2f}" for mean, spread in (n["score"], n["path"]))
        fill(readings, (signed(f"{n['exact']:.3f}"), *said))

    return [hill, paid, rule, *lines, *dots, *readings], update


def softness() -> Live:
    """The widget."""
    twin = (
        ("τ = 0.75: the path is the quieter by far", {}),
        ("τ = 0.09: its noise has passed the score's", {"sharp": 5}),
        ("The step itself: the path says 0, without any noise", {"sharp": SHARPEST}),
    )
    alt = (
        "Left, a reward that rises from 0 to 1 around 0, more or less softly, and a Gaussian policy around 0.5. Right, "
        "the standard deviation of two estimates of the gradient by the mean, over the softness: the score's rises to "
        "0.4 and stays there; the path's is a third of it at τ = 0.75, passes it at 0.24 and rises to 2.2; at the step "
        "it falls to 0, and so does what the path says, where the true gradient is 0.352."
    )
    return Live(numbers, draw, CONTROLS, 3.2, twin, alt)
