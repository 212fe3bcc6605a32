"""Lesson 15's exercises: a tool call's mask, two turns' advantages, a break-even gap, shaping, a rule that can fail."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.falsifiers import CASES, two_errors, verdict_fault
from pgnotes.theory.critics import td_errors
from pgnotes.theory.pooling import break_even_gap


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def rows(*values: list[float]) -> Tensor:
    """A float64 tensor with a row for each list."""
    return torch.tensor(values, dtype=torch.float64)


# 15.1: who wrote a token

PAD, OPENS, CLOSES = 0, 1, 2


def between(tokens: Tensor) -> Tensor:
    """True from each opening mark to its closing one, both included. [n, T]."""
    opened, closed = (tokens == OPENS).long().cumsum(1), (tokens == CLOSES).long().cumsum(1)
    return (opened > closed) | (tokens == CLOSES)


def of_policy(tokens: Tensor, prompt: int) -> Tensor:
    """What the policy wrote: no question, no document, no padding. [n, T] bool."""
    place = torch.arange(tokens.shape[1])
    return (place >= prompt) & (tokens != PAD) & ~between(tokens)


TALK = torch.tensor(
    [
        [7, 8, 5, 6, 1, 9, 9, 2, 4, 3],  # question 7 8, query 5 6, document 9 9, answer 4 3
        [8, 7, 5, 1, 9, 9, 9, 2, 6, 0],
        [7, 7, 4, 3, 0, 0, 0, 0, 0, 0],  # no search at all
    ]
)
TWICE = torch.tensor([[7, 5, 1, 9, 2, 6, 5, 1, 8, 2, 4, 3], [7, 4, 5, 1, 6, 2, 3, 0, 0, 0, 0, 0]])


def answer_alone(tokens: Tensor, prompt: int) -> Tensor:
    """Slip: only what follows the last document."""
    last = torch.where(tokens == CLOSES, torch.arange(tokens.shape[1]), -1).amax(1, keepdim=True)
    return of_policy(tokens, prompt) & (torch.arange(tokens.shape[1]) > last)


def first_document_alone(tokens: Tensor, prompt: int) -> Tensor:
    """Slip: the first document is masked, later ones are not."""
    first = between(tokens) & ((tokens == OPENS).long().cumsum(1) == 1)
    return (torch.arange(tokens.shape[1]) >= prompt) & (tokens != PAD) & ~first


written = Exercise(
    "15.1",
    "Write written_by_policy(tokens, prompt)",
    of_policy,
    ((TALK, 2), (TWICE, 1)),
    {
        "document counted": (
            lambda tokens, prompt: (torch.arange(tokens.shape[1]) >= prompt) & (tokens != PAD),
            "Your mask lets the document in. The policy did not write it, and its score does not average to zero.",
        ),
        "query not": (
            answer_alone,
            "The query is missing. The policy wrote it, and it decided which document came: it has to be trained.",
        ),
        "marks counted": (
            lambda tokens, prompt: of_policy(tokens, prompt) | (tokens == OPENS) | (tokens == CLOSES),
            "The marks around a document are pasted in with it: they do not count either.",
        ),
        "closing mark counted": (
            lambda tokens, prompt: of_policy(tokens, prompt) | (tokens == CLOSES),
            "The closing mark still counts. It belongs to what was pasted in.",
        ),
        "question counted": (
            lambda tokens, prompt: (tokens != PAD) & ~between(tokens),
            "The question is counted too. The first `prompt` tokens of each row were given.",
        ),
        "padding counted": (
            lambda tokens, prompt: (torch.arange(tokens.shape[1]) >= prompt) & ~between(tokens),
            "Padding, token 0, is counted.",
        ),
        "first document alone": (
            first_document_alone,
            "A second document gets through: each mark 1 opens another one.",
        ),
        "marks alone": (
            lambda tokens, prompt: (torch.arange(tokens.shape[1]) >= prompt) & (tokens > CLOSES),
            "You drop the marks; the text between them is pasted in too.",
        ),
        "nothing after a document": (
            lambda tokens, prompt: of_policy(tokens, prompt) & ((tokens == OPENS).long().cumsum(1) == 0),
            "You stop at the first mark. After the document the policy writes again.",
        ),
        "a token late": (
            lambda tokens, prompt: of_policy(tokens, prompt + 1),
            "The first token after the question is missing: places count from 0, so that it stands at `prompt`.",
        ),
        "turned": (lambda tokens, prompt: ~of_policy(tokens, prompt), "Turned round: True is what the policy wrote."),
    },
    "The query stays in, as it decided which document came; the document out, as the policy did not write it.",
)

# 15.2: two turns

RETURNS = vector(1.0, 0.0, 0.8, -0.2)
AFTER = vector(0.6, 0.6, 0.8, 0.4)


two_turns = Exercise(
    "15.2",
    "Write turn_advantages(returns, value_after, value_start)",
    lambda returns, after, start: torch.stack([after - start, returns - after], 1),
    ((RETURNS, AFTER, 0.5), (RETURNS.flip(0), AFTER, 0.4), (vector(2.0, -1.0), vector(0.0, 1.0), 0.25)),
    {
        "same for both": (
            lambda returns, after, start: (returns - start)[:, None].expand(-1, 2),
            "Both turns get R − V(start). That is right on average, and noisier: the first turn hears what the second "
            "one did, and the second what the reply happened to be.",
        ),
        "its state's baseline for the first": (
            lambda returns, after, start: (returns - after)[:, None].expand(-1, 2),
            "The first turn is compared with V after the reply. It led there: that baseline depends on its own choice, "
            "and takes away what the choice was worth.",
        ),
        "first hears the end": (
            lambda returns, after, start: torch.stack([returns - start, returns - after], 1),
            "Right on average, but the first turn still hears the noise of the second. What did its own turn change?",
        ),
        "second from the start": (
            lambda returns, after, start: torch.stack([after - start, returns - start], 1),
            "The second turn is compared with V(start), from before the reply. Compare it with where it began.",
        ),
        "a batch's mean": (
            lambda returns, after, start: torch.stack([after - after.mean(), returns - after], 1),
            "A batch's mean depends on the luck of the others. What was expected at the start is given: V(start).",
        ),
        "returns less their mean": (
            lambda returns, after, start: (returns - returns.mean())[:, None].expand(-1, 2),
            "The mean of the batch is lesson 08's baseline, for one turn. Here V is known before and after the reply.",
        ),
        "sign": (
            lambda returns, after, start: torch.stack([start - after, after - returns], 1),
            "The signs are turned: what came after, less what was expected before.",
        ),
        "turned round": (
            lambda returns, after, start: torch.stack([returns - after, after - start], 1),
            "The columns are in the other order: the first turn first.",
        ),
        "in rows": (
            lambda returns, after, start: torch.stack([after - start, returns - after]),
            "A row for each exchange, a column for each turn: [n, 2].",
        ),
    },
    "The two add up to R − V(start). Each turn hears what changed in it.",
)

# 15.3: where pooling stops paying

gap = Exercise(
    "15.3",
    "Write gap(rate, size)",
    break_even_gap,
    ((0.3, 4), (0.3, 8), (0.5, 2), (0.1, 16)),
    {
        "squared": (
            lambda p, g: p * (1 - p) * (2 * g - 1) / (g * (g - 1)),
            "This is Δ². The root is missing.",
        ),
        "spread for variance": (
            lambda p, g: ((p * (1 - p)) ** 0.5 * (2 * g - 1) / (g * (g - 1))) ** 0.5,
            "σ² is the variance, p(1 − p), not its root.",
        ),
        "same number of others": (
            lambda p, g: (p * (1 - p) * (g - 1) / (g * (g - 1))) ** 0.5,
            "How many others are there when two groups of G are pooled? 2G − 1.",
        ),
        "two groups": (
            lambda p, g: (p * (1 - p) * (2 * g - 1) / (2 * g * (2 * g - 1))) ** 0.5,
            "G (G − 1) stands below, with the G of one group.",
        ),
        "times in place of divided": (
            lambda p, g: (p * (1 - p) * (2 * g - 1) / g * (g - 1)) ** 0.5,
            "Brackets: `/ g * (g - 1)` divides by G and multiplies by G − 1.",
        ),
        "rate for variance": (
            lambda p, g: (p * (2 * g - 1) / (g * (g - 1))) ** 0.5,
            "A pass has the variance p(1 − p).",
        ),
        "whole offset": (
            lambda p, g: (p * (1 - p) * g / ((2 * g - 1) * (g - 1))) ** 0.5,
            "The pooled baseline is off by GΔ/(2G − 1), not by Δ: only the other prompt's answers are off.",
        ),
    },
    "With larger groups it shrinks like 1/√G: a good baseline of one's own needs no neighbours.",
)

# 15.4: shaping

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]).bool()
PAID = rows([0.0, 0, 0, 1], [0, 0, 0, 0], [0, 0.2, 0.5, 0])
WORTH = rows([0.5, 0.6, 0.4, 0.9], [0.5, 0.3, 0.7, 0.7], [0.5, 0.8, 0.6, 0.9])


def ahead(values: Tensor, mask: Tensor) -> Tensor:
    """The value a step later, 0 after the last live step. [n, T]."""
    later = torch.cat([values[:, 1:] * mask[:, 1:], torch.zeros(len(values), 1, dtype=torch.float64)], 1)
    return later * mask


shaped = Exercise(
    "15.4",
    "Write shaped(rewards, values, mask)",
    lambda rewards, values, mask: td_errors(rewards, values, mask),
    ((PAID, WORTH, MASK), (PAID + 0.1, WORTH.flip(0), MASK), (WORTH, PAID, MASK)),
    {
        "sum for difference": (
            lambda r, v, m: (r + ahead(v, m)) * m,
            "You pay each step the value it leads to. Added up, that is more the longer a text is. Pay differences.",
        ),
        "last potential not 0": (
            lambda r, v, m: (r + torch.where(ahead(m.double(), m) > 0, ahead(v, m) - v, 0.0)) * m,
            "The last step does not pay its value back. The potential after the end is 0: there too it is 0 − V.",
        ),
        "masked values": (
            lambda r, v, m: (r + torch.cat([v[:, 1:], torch.zeros(len(v), 1, dtype=torch.float64)], 1) - v) * m,
            "After the last live step you take the value of a masked one. The potential after the end is 0.",
        ),
        "rolled": (
            lambda r, v, m: (r + (v * m).roll(-1, 1) - v) * m,
            "`roll` brings the first value to the end of a row. After the last step V is 0.",
        ),
        "looks back": (
            lambda r, v, m: (r + v - torch.cat([torch.zeros_like(v[:, :1]), v[:, :-1]], 1)) * m,
            "You take V before a step less V before the step before. What the step changed is V after it, less before.",
        ),
        "sign": (lambda r, v, m: (r - ahead(v, m) + v) * m, "The difference has the wrong sign: after less before."),
        "reward left out": (lambda r, v, m: (ahead(v, m) - v) * m, "The rewards themselves are missing."),
        "padding": (
            lambda r, v, m: r + ahead(v, m) - v,
            "Masked steps are paid too. 0 where the mask is False.",
        ),
        "values alone": (lambda r, v, m: (r + v) * m, "You add each step's own value. What did the step change?"),
    },
    "Added up it is R − V(start), whatever the table holds: the optimum cannot move. It is lesson 11's δ.",
)

# 15.5: a rule that can fail

falsifier = Exercise(
    "15.5",
    "Write refuted(new, old)",
    two_errors,
    CASES,
    {
        "never": (lambda new, old: False, "Your rule never fires: whatever comes out, the claim stands."),
        "always": (
            lambda new, old: True,
            "Your rule always fires. So does “somewhere the constrained policy earns less” of the reward that it is "
            "trained on: it says nothing about the claim.",
        ),
        "turned": (lambda new, old: two_errors(old, new), "Turned round: it refutes what was confirmed."),
        "mean alone": (
            lambda new, old: bool((new - old).mean() < 0),
            "Your rule fires on any mean below 0, however near. Where the methods are equally good that is every "
            "second time: leave room for the mean's standard error, two or three of them.",
        ),
        "one seed": (
            lambda new, old: bool(new[0] < old[0]),
            "Your rule looks at one seed of 40. Another seed could have said the opposite, and in these cases does.",
        ),
        "luckiest runs": (
            lambda new, old: bool(new.max() < old.max()),
            "Your rule compares the luckiest run of each. A maximum is made by one seed.",
        ),
        "unluckiest runs": (
            lambda new, old: bool(new.min() < old.min()),
            "Your rule compares the unluckiest run of each. A minimum is made by one seed.",
        ),
        "one bad seed": (
            lambda new, old: bool((new < old).any()),
            "One seed on which the new method earns less is enough for your rule. With noise there is always one.",
        ),
        "every seed": (
            lambda new, old: bool((new < old).all()),
            "Your rule asks that the new method be worse on every seed. One lucky seed of 40 would save any claim.",
        ),
        "all runs below all": (
            lambda new, old: bool(new.max() < old.min()),
            "Your rule asks that the best new run be worse than the worst old one. Look at the mean difference, pair "
            "by pair.",
        ),
        "means apart by a standard deviation": (
            lambda new, old: bool(new.mean() + new.std() < old.mean()),
            "You compare the means with the spread of single runs. What counts is the error of the mean, and with the "
            "same seeds, the spread of the differences.",
        ),
        "spread of the differences": (
            lambda new, old: bool((new - old).mean() + 2 * (new - old).std() < 0),
            "The spread of the differences is that of one seed. The error of their mean is that, divided by √n.",
        ),
        "without pairs": (
            lambda new, old: bool(
                new.mean() - old.mean() < -2 * ((new.var() + old.var()) / len(new)).sqrt(),
            ),
            "With the same seeds for both, most of the noise is common. Take the difference for each seed first.",
        ),
    },
    "It fires on a case of no, and stays still on a case of yes and where nothing came out. Now it means something "
    "when it does either.",
    fault=verdict_fault,
)

EXERCISES = (written, two_turns, gap, shaped, falsifier)
