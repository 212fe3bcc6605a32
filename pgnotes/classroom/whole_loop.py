"""Exercise 3.6, the whole loop: an attempt trains with several seeds, and its learning curves say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.checks import NO_GRADIENT, Exercise, NoGradientError, Result, as_tensor, is_stub
from pgnotes.classroom.style import AFTER, EXACT, figure, label, panels
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import Rollout, TokenWorld, sum_world

SEEDS = (0, 1, 2, 3, 4, 0)  # the first once more: the same seed has to give the same curve
BATCH, STEPS, SIZE = 16, 80, 4.0
Curve = list[float]
Loss = Callable[[Tensor, Rollout], Tensor]  # from log-probabilities [n, T] and what was sampled

SHAPE = f"train should return one list of {STEPS} numbers: the expected return before each of the {STEPS} steps."
NOT_FINITE = "Your curve holds numbers that are not finite. Look at the loss of a single step first."
START = (
    "Before the first step all logits are 0, and the expected return is 0.251. Yours begins with another number: start "
    "from zeros, and note the expected return *before* the step."
)
STILL = (
    "Your curve is flat: the policy never changes. Is the step taken, and is the policy of the next turn built from the "
    "new logits?"
)
ONE_NOISE = "All seeds give the same curve. Make the generator from `seed`, once, before the loop."
NO_SEED = "The same seed gives two different curves. Draw from torch.Generator().manual_seed(seed) and nothing else."
DOWN = (
    "Your policy gets worse with every step: it goes down where it should climb. A *loss* is minus the mean of return "
    "times log-probability, and an optimiser goes down; with the gradient of the mean itself you add the step."
)
FLAT = (
    "It hardly learns: after {steps} steps the expected return is still near 0.25. Every live token's log-probability, "
    "the stop's included, should be multiplied by the whole return of its sequence."
)
LOW = (
    "It learns, and stays far below 0.9. Are there 16 *new* sequences in every step, drawn from the policy as it is now "
    "with a generator that goes on? And is the mean taken over sequences, not over tokens?"
)
JUMPS = (
    "It jumps to one answer within a few steps, right or wrong by luck: your step is many times too large. Take the "
    "mean over the 16 sequences, not the sum; and if you call backward(), set the gradient to zero before each."
)
SECOND_TIME = (
    "PyTorch says that you go backward through the graph a second time: the new logits still hang on the old step. Cut "
    "them off: theta = (theta - alpha * gradient).detach().requires_grad_(), or step inside torch.no_grad()."
)
IN_PLACE = (
    "PyTorch does not let you change in place what it has to differentiate. Take the step inside torch.no_grad(), or "
    "make a new tensor and cut it off with detach()."
)
NO_LEAF = (
    "`theta.grad` is None: after the first step theta is the result of a computation, whose gradient PyTorch does not "
    "keep. Cut it off: theta = (theta - alpha * theta.grad).detach().requires_grad_(), or step inside torch.no_grad()."
)
TOLD = {  # what PyTorch's error says, and what to say instead
    "a second time": SECOND_TIME,
    "does not require grad": NO_GRADIENT,
    "in-place operation": IN_PLACE,
    "NoneType": NO_LEAF,
}


class WholeLoop(Exercise):
    """An exercise whose attempt is a training loop: what counts is what its curves do."""

    def run(self, function: Callable[..., Any], case: tuple) -> Any:
        """The curves of all seeds; None or dots as soon as one gives that."""
        curves = []
        for seed in SEEDS:
            try:
                curve = function(*case, seed)
            except (RuntimeError, TypeError) as error:
                for words, sentence in TOLD.items():
                    if words in str(error):
                        raise NoGradientError(sentence) from None
                raise
            if curve is None or curve is Ellipsis:
                return curve
            curves.append(curve)
        return curves

    def known(self, attempt: Callable[..., Any]) -> None:
        """None: two loops with the same slip draw other random numbers. The fault speaks for it; see `judge`."""

    def judge(self, attempt: Callable[..., Any]) -> Result:
        """As for any exercise; a slip is known by its sentence."""
        result = super().judge(attempt)
        named = (name for name, (_, sentence) in self.slips.items() if sentence == result.sentence)
        return replace(result, slip=next(named, ""))

    def example(self, case: tuple) -> str:
        """The call in words."""
        return f"train(world, {STEPS}, {SIZE}, seed)"


def fault(case: tuple, curves: list[Any]) -> str | None:
    """What is wrong with the curves of `SEEDS`, in a sentence; None if nothing is."""
    rows = [as_tensor(curve) for curve in curves]
    if any(row is None or row.shape not in ((STEPS,), (STEPS + 1,)) for row in rows):
        return SHAPE
    learned = torch.stack([row[:STEPS] for row in rows if row is not None])
    first, again = learned[0], learned[-1]
    end = learned[:-1, -1].mean().item()
    found = (
        (not learned.isfinite().all(), NOT_FINITE),
        ((learned[:, 0] - 0.2511).abs().max() > 0.01, START),
        ((learned == learned[:, :1]).all(), STILL),
        (not torch.equal(first, again), NO_SEED),
        ((learned == first).all(), ONE_NOISE),
        (end < 0.1, DOWN),
        (end < 0.4, FLAT.format(steps=STEPS)),
        (learned[:, -1].max() > 0.998, JUMPS),
        (end < 0.82, LOW),
    )
    return next((sentence for wrong, sentence in found if wrong), None)


def answer(world: TokenWorld, steps: int, alpha: float, seed: int) -> Curve:
    """The package's loop."""
    policies = islice(reinforce(world, Recipe(alpha, BATCH), seed), steps)
    return [world.expected_return(policy).item() for policy in policies]


def returns_times(logp: Tensor, batch: Rollout) -> Tensor:
    """REINFORCE's loss."""
    return -(batch.rewards.sum(1) * (logp * batch.mask).sum(1)).mean()


def slip(loss: Loss = returns_times, anew: bool = True, move: float = 1.0, own: bool = True) -> Callable[..., Curve]:
    """A loop with another loss, one that samples once, one that never steps, or one that ignores the seed."""

    def train(world: TokenWorld, steps: int, alpha: float, seed: int) -> Curve:
        generator = torch.Generator().manual_seed(seed if own else 0)
        theta, curve, batch = torch.zeros(85, 4, dtype=torch.float64, requires_grad=True), [], None
        for _ in range(steps):
            policy = PrefixPolicy(theta)
            curve.append(world.expected_return(policy).item())
            if anew or batch is None:
                batch = world.rollout(policy, BATCH, generator)
            (gradient,) = torch.autograd.grad(loss(policy.log_prob(batch.sequences), batch), theta)
            theta = (theta - move * alpha * gradient).detach().requires_grad_()
        return curve

    return train


def downhill(logp: Tensor, batch: Rollout) -> Tensor:
    """The wrong sign."""
    return -returns_times(logp, batch)


def last_token(logp: Tensor, batch: Rollout) -> Tensor:
    """Each reward meets the token where it is paid."""
    return -(batch.rewards * logp * batch.mask).sum(1).mean()


def summed(logp: Tensor, batch: Rollout) -> Tensor:
    """No mean over the batch."""
    return BATCH * returns_times(logp, batch)


loop = WholeLoop(
    "3.6",
    "Write train(world, steps, alpha, seed), the whole loop",
    answer,
    ((sum_world(), STEPS, SIZE),),
    {
        "descent": (slip(downhill), DOWN),
        "sampled once": (slip(anew=False), LOW),
        "last token": (slip(last_token), FLAT.format(steps=STEPS)),
        "summed": (slip(summed), JUMPS),
        "never steps": (slip(move=0.0), STILL),
        "one seed": (slip(own=False), ONE_NOISE),
    },
    f"It learns: over five seeds and {STEPS} steps the mean expected return passes 0.82. Run the next cell to watch it.",
    fault=fault,
)


def watch(train: Callable[..., Curve]) -> None:
    """Draw what an attempt at exercise 3.6 learns with five seeds; a line of text as long as its dots stand."""
    if is_stub(train):
        print("Write train first; then run this cell again, and watch it learn.")
        return
    fig, ax = panels(1, 1, 2.8)
    fig_alt = draw(fig, ax, [train(sum_world(), STEPS, SIZE, seed) for seed in SEEDS[:-1]])
    figure(fig, alt=fig_alt)


def draw(fig: Figure, ax: Any, curves: list[Curve]) -> str:
    """The curves, and what they show in words."""
    for curve in curves:
        ax.plot(curve, color=AFTER, linewidth=1.2)
    ax.axhline(0.95, color=EXACT, linewidth=1, linestyle="--")
    label(ax, "Your own loop, five seeds", x="step", y="expected return").set(xlim=(0, STEPS), ylim=(0, 1.05))
    ends = ", ".join(f"{float(curve[-1]):.2f}" for curve in curves)
    return f"Expected return of five runs of your loop over {STEPS} steps; they end at {ends}."
