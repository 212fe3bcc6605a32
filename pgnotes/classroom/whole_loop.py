"""Exercise 3.5, the whole loop: an attempt trains with several seeds, and its learning curves say what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.checks import NO_GRADIENT, Exercise, NoGradientError, Result, as_tensor, is_stub
from pgnotes.classroom.style import AFTER, EXACT, figure, label, panels
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import Rollout, TokenWorld, ended_before, sum_world

SEEDS = (0, 1, 2, 3, 4, 0)  # the first once more: the same seed has to give the same curve
BATCH, STEPS, SIZE = 16, 80, 4.0
EARLY, SLOWEST, LOWEST = 16, 0.42, 0.72  # of 20,000 groups of five right runs fewer than 1 in 5,000 stay below
EVERY = torch.cartesian_prod(*[torch.arange(4)] * 4)  # whatever may stand in four places
AFTER_STOP = prefix_rows(EVERY, 4)[ended_before(EVERY, 0)].unique()  # rows of prefixes with a stop: no sequence's
Curve = list[float]
Loss = Callable[[Tensor, Rollout], Tensor]  # from log-probabilities [n, T] and what was sampled

SHAPE = f"train should return one list of {STEPS} numbers: the expected return before each of the {STEPS} steps."
NOT_FINITE = "Your curve holds numbers that are not finite. Look at the loss of a single step first."
FIRST = 62 / 256  # what the policy of all logits 0 earns: 1/16 + 6/64 + 22/256
START = (
    "Before the first step all logits are 0, and the expected return is 0.242. Yours begins with another number: start "
    "from zeros, and note the expected return *before* the step (world.expected_return(policy), not the mean of the "
    "sixteen)."
)
STILL = (
    "Your curve is flat: the policy never changes. Is the step taken, and is the policy of the next turn built "
    "from the new logits?"
)
ONE_NOISE = "All seeds give the same curve. Make the generator from `seed`, once, before the loop."
NO_SEED = "The same seed gives two different curves. Draw from torch.Generator().manual_seed(seed) and nothing else."
DOWN = (
    "Your policy gets worse with every step: it goes down where it should climb. A *loss* is minus the mean of return "
    "times log-probability, and an optimiser goes down; with the gradient of the mean itself you add the step."
)
FLAT = (
    "It hardly learns: after {steps} steps the expected return is still near 0.24. Every live token's log-probability, "
    "the stop's included, should be multiplied by the whole return of its sequence. (And do the shapes agree? Returns "
    "[16, 1] times log-probabilities [16] is a square of 256 numbers.)"
)
SLOW = (
    "It learns too slowly: at step {early} the expected return should have passed 0.42. Your step is too short: is the "
    "mean taken over sequences, not over tokens, and alpha in it?"
)
LOW = (
    "It learns, and stays far below 0.9. Are there 16 *new* sequences in every step, drawn from the policy as it is "
    "now, with a generator that goes on? And is the step as large at the end as at the start?"
)
ONCE = (
    "You sample once. The gradient is an average over what the policy *as it is* writes: draw 16 new sequences in "
    "every step."
)
SAME_NOISE = (
    "Every step draws the same random numbers: you make the generator anew in each. Make it once, before the loop, so "
    "that it goes on."
)
JUMPS = (
    "It jumps to one answer within a few steps, right or wrong by luck: your step is many times too large. Take the "
    "mean over the 16 sequences, not the sum; and if you call backward(), set the gradient to zero before each."
)
NO_MASK = (
    "Your curves are right, and yet the mask is missing: your steps train what stands after a stop too. In a table "
    "that changes nothing, since no sequence ever uses those rows. A network shares its weights: padding would train "
    "it: multiply the log-probabilities with the mask."
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
        curves, padding = [], False
        for seed in SEEDS:
            world, draws, policies = watched(case[0])
            try:
                curve = function(world, *case[1:], seed)
            except (RuntimeError, TypeError) as error:
                for words, sentence in TOLD.items():
                    if words in str(error):
                        raise NoGradientError(sentence) from None
                raise
            if curve is None or curve is Ellipsis:
                return curve
            if draws:
                check_draws(draws)
            curves.append(curve)
            padding = padding or any(map(trains_padding, policies[-1:]))
        if padding and fault(case, curves) is None:
            raise NoGradientError(NO_MASK)
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


def watched(world: TokenWorld) -> tuple[TokenWorld, list[bytes], list[PrefixPolicy]]:
    """A copy of the world, and two lists to which each of its rollouts adds the generator's state, and the policy."""
    world, draws, policies = copy.copy(world), [], []
    rollout = world.rollout

    def noted(policy: PrefixPolicy, n: int, generator: torch.Generator, prompt: int = 0) -> Rollout:
        draws.append(generator.get_state().numpy().tobytes())
        policies.append(policy)
        return rollout(policy, n, generator, prompt)

    world.rollout = noted
    return world, draws, policies


def trains_padding(policy: PrefixPolicy) -> bool:
    """Whether a policy has learned what to write after a stop: in those rows its logits are no longer 0."""
    return (policy.probs.detach()[AFTER_STOP] - 0.25).abs().max().item() > 1e-6


def check_draws(draws: list[bytes]) -> None:
    """NoGradientError, with what to say, for a loop that sampled once, or with the same numbers in every step."""
    if len(draws) == 1:
        raise NoGradientError(ONCE)
    if len(set(draws)) == 1:
        raise NoGradientError(SAME_NOISE)


def fault(case: tuple, curves: list[Any]) -> str | None:
    """What is wrong with the curves of `SEEDS`, in a sentence; None if nothing is."""
    rows = [as_tensor(plain(curve)) for curve in curves]
    if any(row is None or row.shape not in ((STEPS,), (STEPS + 1,)) for row in rows):
        return SHAPE
    learned = torch.stack([row[:STEPS] for row in rows if row is not None])
    first, again = learned[0], learned[-1]
    end = learned[:-1, -1].mean().item()
    found = (
        (not learned.isfinite().all(), NOT_FINITE),
        ((learned[:, 0] - FIRST).abs().max() > 1e-3, START),
        ((learned == learned[:, :1]).all(), STILL),
        (not torch.equal(first, again), NO_SEED),
        ((learned == first).all(), ONE_NOISE),
        (end < 0.1, DOWN),
        (end < 0.4, FLAT.format(steps=STEPS)),
        (learned[:, -1].max() > 0.998, JUMPS),
        (learned[:-1, EARLY].mean() < SLOWEST, SLOW.format(early=EARLY)),
        (end < LOWEST, LOW),
    )
    return next((sentence for wrong, sentence in found if wrong), None)


def plain(curve: Any) -> Any:
    """A list's tensors without their graphs; anything else as it is."""
    return [x.detach() if isinstance(x, Tensor) else x for x in curve] if isinstance(curve, list | tuple) else curve


def answer(world: TokenWorld, steps: int, alpha: float, seed: int) -> Curve:
    """The package's loop."""
    policies = islice(reinforce(world, Recipe(alpha, BATCH), seed), steps)
    return [world.expected_return(policy).item() for policy in policies]


def returns_times(logp: Tensor, batch: Rollout) -> Tensor:
    """REINFORCE's loss."""
    return -(batch.rewards.sum(1) * (logp * batch.mask).sum(1)).mean()


def slip(
    loss: Loss = returns_times, anew: bool = True, move: float = 1.0, own: bool = True, goes_on: bool = True
) -> Callable[..., Curve]:
    """A loop with another loss, or one that samples once, never steps, ignores the seed or begins it again."""

    def train(world: TokenWorld, steps: int, alpha: float, seed: int) -> Curve:
        generator = torch.Generator().manual_seed(seed if own else 0)
        theta, curve, batch = torch.zeros(85, 4, dtype=torch.float64, requires_grad=True), [], None
        for _ in range(steps):
            policy = PrefixPolicy(theta)
            curve.append(world.expected_return(policy).item())
            if not goes_on:
                generator.manual_seed(seed)
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


def over_tokens(logp: Tensor, batch: Rollout) -> Tensor:
    """The mean over live tokens."""
    return BATCH * returns_times(logp, batch) / batch.mask.sum()


def unmasked(logp: Tensor, batch: Rollout) -> Tensor:
    """Padding counts too."""
    return -(batch.rewards.sum(1) * logp.sum(1)).mean()


loop = WholeLoop(
    "3.5",
    "Write train(world, steps, alpha, seed), the whole loop",
    answer,
    ((sum_world(), STEPS, SIZE),),
    {
        "descent": (slip(downhill), DOWN),
        "sampled once": (slip(anew=False), ONCE),
        "last token": (slip(last_token), FLAT.format(steps=STEPS)),
        "summed": (slip(summed), JUMPS),
        "never steps": (slip(move=0.0), STILL),
        "same noise": (slip(goes_on=False), SAME_NOISE),
        "over tokens": (slip(over_tokens), SLOW.format(early=EARLY)),
        "no mask": (slip(unmasked), NO_MASK),
        "one seed": (slip(own=False), ONE_NOISE),
    },
    f"It learns: after {STEPS} steps the expected return of five seeds is over {LOWEST}. Run the next cell to watch.",
    fault=fault,
)


def watch(train: Callable[..., Curve]) -> None:
    """Draw what an attempt at exercise 3.5 learns with five seeds; a line of text as long as its dots stand."""
    if is_stub(train):
        print("Write train first; then run this cell again, and watch it learn.")
        return
    fig, ax = panels(1, 1, 2.8)
    fig_alt = draw(fig, ax, [plain(train(sum_world(), STEPS, SIZE, seed)) for seed in SEEDS[:-1]])
    figure(fig, alt=fig_alt)


def draw(fig: Figure, ax: Any, curves: list[Curve]) -> str:
    """The curves, and what they show in words."""
    for curve in curves:
        ax.plot(curve, color=AFTER, linewidth=1.2)
    ax.axhline(0.95, color=EXACT, linewidth=1, linestyle="--")
    label(ax, "Your own loop, five seeds", x="step", y="expected return").set(xlim=(0, STEPS), ylim=(0, 1.05))
    ends = ", ".join(f"{float(curve[-1]):.2f}" for curve in curves)
    return f"Expected return of five runs of your loop over {STEPS} steps; they end at {ends}."
