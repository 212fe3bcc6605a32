"""Lesson 11's exercises: TD errors, GAE, what an error leaves, the critic's target, a time limit, a test that fails."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.suspects import Suspect, deltas, forwards, next_column, through_returns, uncut
from pgnotes.theory.actor_critic import after_reset, late_mask, right, shifted
from pgnotes.theory.critics import gae, summed_ahead, td_errors

# Section 8 trains with these three; don't look before you have decided.
SUSPECTS = {"X": after_reset, "Y": right, "Z": late_mask}

# What stands where the mask is False is left over from another sequence, and must not count
REWARDS = torch.tensor([[0.0, 0.0, 1.0, 5.0], [0.5, -1.0, 0.0, 0.25], [0.0, 2.0, 7.0, 3.0]], dtype=torch.float64)
VALUES = torch.tensor([[0.4, 0.7, 0.9, 2.0], [0.1, -0.3, 0.6, 0.8], [0.6, 0.5, 4.0, 9.0]], dtype=torch.float64)
MASK = torch.tensor([[True, True, True, False], [True] * 4, [True, True, False, False]])
BATCHES = ((REWARDS[:1], VALUES[:1], MASK[:1]), (REWARDS, VALUES, MASK), (REWARDS[2:], VALUES[2:], MASK[2:]))
ERRORS = torch.tensor([0.5, -0.2, 0.4, 0.1], dtype=torch.float64)
ADVANTAGES = torch.tensor([[0.3, -0.1, 0.2, 4.0], [1.6, 0.4, -0.5, 0.1], [0.2, -0.7, 3.0, 3.0]], dtype=torch.float64)
STEP = (
    torch.tensor([1.0, 0.0, -1.0, 0.5], dtype=torch.float64),  # what each step paid
    torch.tensor([3.0, 2.0, 0.5, 1.0], dtype=torch.float64),  # V where it was taken
    torch.tensor([2.5, 4.0, 6.0, 5.0], dtype=torch.float64),  # V of where it led
    torch.tensor([2.5, 0.7, 0.7, 0.7], dtype=torch.float64),  # V of what the environment shows next
    torch.tensor([False, False, True, True]),
    torch.tensor([False, True, False, True]),
)


def with_gamma(gamma: float, *batches: tuple) -> tuple:
    """The batches, each with a discount."""
    return tuple((*batch, gamma) for batch in batches)


td = Exercise(
    "11.1",
    "Write my_td_errors(rewards, values, mask, gamma)",
    td_errors,
    (*with_gamma(0.9, *BATCHES), *with_gamma(1.0, BATCHES[1])),
    {
        "this value twice": (
            lambda r, v, m, g: deltas(r, v, v, m, g),
            "You take the value of this state twice. The second one is that of the *next* state: `values[:, 1:]` "
            "beside `values[:, :-1]`.",
        ),
        "what stands after the end": (
            lambda r, v, m, g: deltas(r, v, shifted(v), m, g),
            "At the last live step you bootstrap from what happens to stand in the next column. After the end nothing "
            "is expected: the next value counts only where the next step is live.",
        ),
        "mask on the wrong step": (
            lambda r, v, m, g: deltas(r, v, torch.where(shifted(shifted(m)), shifted(v), 0.0), m, g),
            "Your mask cuts one step too early: the last live step but one has a next state, and bootstraps from it.",
        ),
        "the last step lost": (
            lambda r, v, m, g: deltas(r, v, shifted(v), m & shifted(m), g),
            "You lose the last live step: it has no next value, but it has a reward.",
        ),
        "wraps around": (
            lambda r, v, m, g: deltas(r, v, v.roll(-1, 1), m, g),
            "`roll` brings the first value round to the last column, and what stands after an end counts as well. "
            "After the end the next value is 0.",
        ),
        "the value before": (
            lambda r, v, m, g: deltas(r, v, torch.cat([torch.zeros_like(v[:, :1]), v[:, :-1]], 1), m, g),
            "You look back: that is the value of the step *before*. A TD error compares with the step after.",
        ),
        "no discount": (
            lambda r, v, m, g: td_errors(r, v, m),
            "The next value is a step away: it counts γ times.",
        ),
        "discounted reward": (
            lambda r, v, m, g: torch.where(m, g * (r + torch.where(shifted(m), shifted(v), 0.0)) - v, 0.0),
            "You discount the reward too. It is paid now; only the value of the next state is a step away.",
        ),
        "sign": (
            lambda r, v, m, g: -td_errors(r, v, m, g),
            "The sign is turned: when it went better than the table expected, δ is above 0.",
        ),
        "not masked": (
            lambda r, v, m, g: r + g * torch.where(shifted(m), shifted(v), 0.0) - v,
            "The live steps are right. Where the mask is False put 0: nothing happened there.",
        ),
        "no table": (
            lambda r, v, m, g: torch.where(m, r + g * torch.where(shifted(m), shifted(v), 0.0), 0.0),
            "You forgot to subtract V of this state: what was expected before the step.",
        ),
    },
    "Added up over a sequence, at γ = 1, they give R − V(start), whatever the table says in between.",
)

estimate = Exercise(
    "11.2",
    "Write my_gae(rewards, values, mask, gamma, lam)",
    gae,
    tuple((*batch, 0.9, 0.8) for batch in BATCHES) + tuple((*BATCHES[1], 1.0, lam) for lam in (0.0, 1.0)),
    {
        "forward loop": (
            forwards,
            "Your sum runs forwards: each step is credited with the TD errors *before* it. Go through the steps from "
            "the last to the first.",
        ),
        "λ without γ": (
            lambda r, v, m, g, lam: summed_ahead(td_errors(r, v, m, g), m, lam),
            "You carry the sum on with λ alone. A TD error a step later counts γλ.",
        ),
        "γ without λ": (
            lambda r, v, m, g, lam: summed_ahead(td_errors(r, v, m, g), m, g),
            "You carry the sum on with γ alone: that is λ = 1, reward-to-go less V.",
        ),
        "not cut at the end": (
            uncut,
            "Your sum is not cut at the end: what stands after it, left over from another sequence, reaches the live "
            "steps. Start the sum anew (or with 0) where the mask is False.",
        ),
        "cut nowhere": (
            lambda r, v, m, g, lam: torch.where(
                m, summed_ahead(r + g * shifted(v) - v, torch.ones_like(m), g * lam), 0.0
            ),
            "You use the mask for the result alone. Before that, at the end, you bootstrap from what stands in the "
            "next column and go on with its sum: both must be cut there.",
        ),
        "γ on the reward": (
            lambda r, v, m, g, lam: gae(g * r, v, m, g, lam),
            "You discount the rewards. Each is paid in its own step: δ = r + γ V(next) − V.",
        ),
        "δ alone": (
            lambda r, v, m, g, lam: td_errors(r, v, m, g),
            "Those are the TD errors, which is GAE at λ = 0 only.",
        ),
        "one look ahead": (
            lambda r, v, m, g, lam: td_errors(r, v, m, g) + g * lam * shifted(td_errors(r, v, m, g)),
            "You add the next TD error, and stop there. The sum goes on to the end: carry your own result on, not δ.",
        ),
        "not reversed": (
            lambda r, v, m, g, lam: gae(r, v, m, g, lam).flip(-1),
            "Your numbers are right and in the wrong order: the loop begins at the last step, so turn the list round.",
        ),
        "(1 − λ) in front": (
            lambda r, v, m, g, lam: (1 - lam) * gae(r, v, m, g, lam),
            "There is no 1 − λ in the sum of TD errors. It belongs to the mean of n-step returns, which is the same "
            "number written otherwise.",
        ),
        "plus the value": (
            lambda r, v, m, g, lam: torch.where(m, gae(r, v, m, g, lam) + v, 0.0),
            "That is the λ-return, the critic's target. The advantage is without V of the state.",
        ),
        "not masked": (
            lambda r, v, m, g, lam: torch.where(m, gae(r, v, m, g, lam), r - v),
            "The live steps are right. Where the mask is False put 0.",
        ),
        "bootstraps after the end": (
            lambda r, v, m, g, lam: summed_ahead(deltas(r, v, shifted(v), m, g), m, g * lam),
            "At the last live step you bootstrap from what stands in the next column. After the end the value is 0.",
        ),
    },
    "At λ = 0 the TD error, at λ = 1 reward-to-go less V: both ends are in your function.",
)


def left_over(e: Tensor, lam: float) -> Tensor:
    """(1 - λ) Σ_{l≥1} λ^{l-1} e_l."""
    return (1 - lam) * summed_ahead(e[1:], torch.ones_like(e[1:], dtype=torch.bool), lam)[..., 0]


def weighed(e: Tensor, lam: float, shift: int, first: int) -> Tensor:
    """Σ_{l≥first} λ^{l-shift} e_l."""
    return sum((lam ** (place - shift) * e[place] for place in range(first, len(e))), torch.zeros_like(e[0]))


error_left = Exercise(
    "11.3",
    "Write bias_of(e, lam)",
    left_over,
    ((ERRORS, 0.5), (ERRORS, 0.0), (ERRORS, 1.0), (ERRORS[:2], 0.9), (ERRORS.flip(0), 0.8)),
    {
        "this state counted": (
            lambda e, lam: left_over(e, lam) - e[0],
            "You count the error of the state in which the choice is made. It does not depend on the choice, and times "
            "a score that averages to zero it leaves nothing.",
        ),
        "λ^l": (
            lambda e, lam: (1 - lam) * weighed(e, lam, 0, 1),
            "The state right after the choice counts 1 − λ whole: the power is λ^(l−1), not λ^l.",
        ),
        "1 − λ forgotten": (
            lambda e, lam: weighed(e, lam, 1, 1),
            "You forgot the factor 1 − λ. At λ = 1 nothing is bootstrapped, and no error may be left.",
        ),
        "the next state alone": (
            lambda e, lam: (1 - lam) * e[1],
            "You stop at the next state. GAE looks further, at states two, three, … steps ahead, with λ, λ², … each.",
        ),
        "averaged": (
            lambda e, lam: left_over(e, lam) / (len(e) - 1),
            "Nothing is divided by the number of steps: the weights 1 − λ, (1 − λ)λ, … are the whole of it.",
        ),
        "from this state": (
            lambda e, lam: (1 - lam) * sum(lam**place * e[place] for place in range(len(e))),
            "Your sum begins at the state in which the choice is made, e[0]. Only errors *after* the choice count: "
            "begin with e[1].",
        ),
        "sign": (
            lambda e, lam: -left_over(e, lam),
            "The sign is turned: a state that the table overrates makes what leads to it look too good.",
        ),
    },
    "Nothing at λ = 1, whatever the table; e[1] alone at λ = 0.",
)


def squared(values: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean of (V - target)² over live steps."""
    return ((values - target) ** 2)[mask].mean()


target = Exercise(
    "11.4",
    "Write critic_loss(values, advantages, mask)",
    lambda values, advantages, mask: squared(values, (advantages + values).detach(), mask),
    tuple((VALUES[rows], ADVANTAGES[rows], MASK[rows]) for rows in (slice(1), slice(None), slice(2, 3))),
    {
        "A alone": (
            lambda v, a, m: squared(v, a, m),
            "Your target is the advantage. The critic predicts returns: its target is A + V, the λ-return.",
        ),
        "the target moves": (
            lambda v, a, m: squared(v, a + v, m) + 0 * v.sum(),
            "Your target holds V itself, with its gradient: V − (A + V) does not depend on V, and nothing is learned. "
            "Detach the target.",
        ),
        "half": (
            lambda v, a, m: squared(v, (a + v).detach(), m) / 2,
            "Yours is half the mean square. Some trainers write the half, and take twice the weight; asked for is the "
            "mean square.",
        ),
        "all places": (
            lambda v, a, m: (((v - (a + v).detach()) ** 2) * m).mean(),
            "You divide by all places, the dead ones too. Long padding then makes the critic learn slowly: take the "
            "mean over live steps.",
        ),
        "not masked": (
            lambda v, a, m: ((v - (a + v).detach()) ** 2).mean(),
            "Dead places are in your mean. What stands there was left over from another sequence.",
        ),
        "sum": (
            lambda v, a, m: ((v - (a + v).detach()) ** 2)[m].sum(),
            "That is the sum over live steps; asked for is their mean.",
        ),
        "each sequence its mean": (
            lambda v, a, m: ((((v - (a + v).detach()) ** 2) * m).sum(1) / m.sum(1)).mean(),
            "You average each sequence first, and then the sequences. The mean is one over all live steps.",
        ),
        "sign": (
            lambda v, a, m: squared(v, (v - a).detach(), m),
            "The gradient is turned round: the critic would move away from what it saw. Is your target V − A, is there "
            "a minus before the loss, or is V detached and the target not?",
        ),
        "no V in it": (
            lambda v, a, m: (a**2)[m].mean(),
            "No gradient flows from what you return. V − (A + V), worked out by hand, is −A: V has dropped out. Write "
            "V − target and detach the target alone. (`.item()`, `float()` and NumPy cut the gradient off as well.)",
        ),
        "absolute": (
            lambda v, a, m: (v - (a + v).detach())[m].abs().mean(),
            "You take absolute values, which would teach the critic a median. The value is a mean: squares.",
        ),
        "no square": (
            lambda v, a, m: (v - (a + v).detach())[m].mean(),
            "You forgot the square.",
        ),
    },
    "Its gradient is −2A over the number of live steps: where the actor was surprised the critic moves, by as much.",
    gradient_of=(0,),
)


def at_limit(rewards: Tensor, values: Tensor, led_to: Tensor, live: Tensor, gamma: float) -> Tensor:
    """r + γ V(where it led) - V, with the next value only where `live`."""
    return rewards + gamma * torch.where(live, led_to, 0.0) - values


limit = Exercise(
    "11.5",
    "Write td_error(reward, value, final_value, shown_value, terminated, truncated, gamma)",
    lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~over, g),
    ((*STEP, 0.5), (*(each[:2] for each in STEP), 1.0), (*(each.flip(0) for each in STEP), 0.9)),
    {
        "cut as an end": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~(over | cut), g),
            "You treat the time limit as an end: both flags or-ed. Nothing ended there; somebody stopped looking. "
            "What was still to come is the value of the state it had reached.",
        ),
        "the next episode": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, shown, ~over, g),
            "You bootstrap from what the environment shows next. After a reset that is the first state of *another* "
            "episode; ask for the value of the state that this one had reached.",
        ),
        "the next episode, always": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, shown, over | ~over, g),
            "You bootstrap everywhere, and after a reset from another episode's first state. Where an episode really "
            "ended, nothing is expected.",
        ),
        "never an end": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, over | ~over, g),
            "You bootstrap at real ends too. Where `terminated` is True nothing more comes, whatever the table says.",
        ),
        "only at the limit": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, cut, g),
            "You bootstrap only where the time was up. In the middle of an episode the next value counts as well.",
        ),
        "cut wins over the end": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~over | cut, g),
            "Where both flags are up you bootstrap. It really ended, in the very step in which the time was up: "
            "nothing more comes.",
        ),
        "both flags": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~(over & cut), g),
            "You cut only where both flags are up. `terminated` alone decides; `truncated` changes nothing here.",
        ),
        "no discount": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~over, 1.0),
            "The next value is a step away: it counts γ times.",
        ),
        "the other flag": (
            lambda r, v, final, shown, over, cut, g: at_limit(r, v, final, ~cut, g),
            "You took the wrong flag: a time limit is where you *do* bootstrap, an end is where you don't.",
        ),
    },
    "One flag decides. The other one only says where the array stops.",
)


def agrees(scale: float = 1.0, rows: slice = slice(None), at: float = 0.5) -> Callable[[Suspect], bool]:
    """A test that compares a suspect with GAE on some rows of one batch, whose values are multiplied by `scale`."""
    rewards, values, mask = REWARDS[rows], scale * VALUES[rows], MASK[rows]

    def test(suspect: Suspect) -> bool:
        return torch.allclose(suspect(rewards, values, mask, at), gae(rewards, values, mask, lam=at))

    return test


def start_at_zero(suspect: Suspect) -> bool:
    """A test whose first states are all worth 0."""
    values = VALUES.clone()
    values[:, 0] = 0
    return torch.allclose(suspect(REWARDS, values, MASK, 0.5), gae(REWARDS, values, MASK, lam=0.5))


detector = Exercise(
    "11.6",
    "Write is_right(estimate)",
    agrees(),
    tuple(
        (Suspect(f"suspect {number}", function),)
        for number, function in enumerate((right, after_reset, through_returns, late_mask, next_column), 1)
    ),
    {
        "the start is worth nothing": (
            start_at_zero,
            "One suspect passes your test that bootstraps, at the end, from the value of the *first* state: in your "
            "example that one is 0. Give each state a value of its own.",
        ),
        "no padding": (
            agrees(rows=slice(1, 2)),
            "One suspect passes your test that takes, at the end, what stands in the next column for the next value. "
            "In your example nothing stands there, or a 0. Let a sequence end early, with a value other than 0 behind "
            "it.",
        ),
        "all are right": (
            lambda estimate: True,
            "Everybody passes your test. Has each state of your example a value of its own (where all are 0, the wrong "
            "one has the right value), is a sequence shorter than the array, and do you look at its last two steps?",
        ),
        "none is right": (
            lambda estimate: False,
            "Nobody passes your test, the right ones neither. Compare with tolerance (`torch.allclose`), and where "
            "the mask is False expect 0.",
        ),
        "upside down": (
            lambda estimate: not agrees()(estimate),
            "Upside down: True is for a suspect whose numbers are right.",
        ),
    },
    "It fails where it should. A trainer that had this test would have found X on its first day.",
)

EXERCISES = (td, estimate, error_left, target, limit, detector)
