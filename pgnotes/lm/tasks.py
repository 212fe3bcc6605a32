"""What is asked and what is paid: the protocol of a task, the digits task of lesson 09, a reward of one's own."""

from __future__ import annotations

import inspect
import itertools
import math
import random
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from pgnotes.lm.chats import texts_of
from pgnotes.lm.errors import BadInputError, RewardError
from pgnotes.lm.prompts import load_prompts, split

IN_WORDS = (
    "Continue the text below with exactly {length} characters whose digits add up to {digit_sum}. "
    "Write only the continuation.\n\n{prompt}"
)
BLANK = re.compile(r"\{(\w*)\}")  # a name in braces; other braces, such as JSON's, are text like any other
BLANKS = ("length", "digit_sum", "prompt")
PER_OPENING = 16  # examples of each: the opening is computed once for all of them
TASK_PARTS = ("prompts", "held_out", "message", "reward", "passed", "measures")


@runtime_checkable
class Task(Protocol):
    """All that the loop, the log and the evaluation know of what is learned (lesson 09).

    Further, where a task can: `columns(prompt) -> dict`, what its reward needs besides the prompt, such as the answer;
    `neighbours() -> list[Task]`, the same with targets that training never asks for; `examples(n, generator)`, pairs of
    a prompt and a good completion; `rewards`, a list of functions that are called like `reward`, for advantages "gdpo".
    """

    @property
    def prompts(self) -> list[str]:
        """To train on."""

    @property
    def held_out(self) -> list[str]:
        """To evaluate on."""

    def message(self, prompt: str) -> str:
        """The user's message to the model."""

    def reward(self, completions: Sequence, prompts: Sequence[str] | None = None, **columns: Any) -> list[float]:
        """One number for each completion, in TRL's calling convention: one entry a completion in everything."""

    def passed(self, completion: str, prompt: str = "") -> bool:
        """Whether it is what was asked for; the pass rate counts these."""

    def measures(self, completion: str) -> dict[str, float]:
        """Numbers that the log and the dashboards follow, the same names for every completion."""


def paid(task: Task, prompt: str, texts: Sequence[str]) -> list[float]:
    """The rewards of one prompt's completions.

    RewardError, naming the function and the completion, for anything but finite numbers.
    """
    name = getattr(getattr(task, "function", task), "__name__", type(task).__name__)
    return asked(task, task.reward, name, prompt, texts)


def paid_apart(task: Task, prompt: str, texts: Sequence[str]) -> list[list[float]]:
    """What each of the task's `rewards` gives for one prompt's completions, [K][G].  RewardError as in `paid`."""
    named = ((function, getattr(function, "__name__", "rewards")) for function in getattr(task, "rewards", ()))
    return [asked(task, function, name, prompt, texts) for function, name in named]


def asked(task: Task, function: Callable, name: str, prompt: str, texts: Sequence[str]) -> list[float]:
    """What a reward function of this name says; RewardError for anything but finite numbers."""
    columns = getattr(task, "columns", lambda prompt: {})(prompt)
    repeated = {column: [value] * len(texts) for column, value in columns.items()}
    try:
        rewards = list(function(texts, prompts=[prompt] * len(texts), **repeated))
    except Exception as error:
        guilty = culprit(function, prompt, texts, columns)
        raise RewardError(f"the reward {name} failed{guilty}: {type(error).__name__}: {error}") from error
    if len(rewards) != len(texts):
        raise RewardError(f"the reward {name} gave {len(rewards)} numbers for {len(texts)} completions")
    for i, reward in enumerate(rewards):
        try:
            rewards[i] = float(reward)
        except (TypeError, ValueError):
            rewards[i] = math.nan
        if not math.isfinite(rewards[i]):
            raise RewardError(f"the reward {name} gave {reward!r} for completion {i + 1} of {len(texts)}, {texts[i]!r}")
    return rewards


def passes(task: Task, prompt: str, texts: Sequence[str], ended: Sequence[bool]) -> list[bool]:
    """Whether each of a prompt's completions ended by itself and is what was asked for."""
    return [end and bool(task.passed(text, prompt)) for text, end in zip(texts, ended, strict=True)]


def culprit(reward: Callable, prompt: str, texts: Sequence[str], columns: Mapping[str, Any]) -> str:
    """Which completion a reward fails on, tried one by one."""
    for i, text in enumerate(texts):
        try:
            reward([text], prompts=[prompt], **{name: [value] for name, value in columns.items()})
        except Exception:
            return f" on completion {i + 1} of {len(texts)}, {text!r}"
    return ""


def digit_sum(text: str) -> int:
    """Sum of the ASCII digits in `text`; any other character, '²' and '٣' included, counts as no digit."""
    return sum(int(c) for c in text if c in string.digits)


def has_digit(text: str) -> bool:
    """True if there is an ASCII digit in `text`."""
    return any(c in string.digits for c in text)


def closeness(value: int, target: int) -> float:
    """1 at the target, falling in a straight line to 0 where the error is as large as the target."""
    return max(0.0, 1.0 - abs(value - target) / max(target, 1))


# What a number near its target is worth under each kind of reward, and how much of that counts if not all is right
NEAR: dict[str, Callable[[int, int], float]] = {
    "binary": lambda value, target: float(value == target),
    "shaped": closeness,
    "steep": lambda value, target: 0.5 ** abs(value - target),  # halved for each unit it is off
}
CREDIT = {"binary": 0.0, "shaped": 0.2, "steep": 0.4}
REWARDS = tuple(NEAR)


@dataclass(frozen=True)
class DigitsAndLength:
    """A text-continuation task that a rule judges; `digits_and_length` makes one.

    `prompts` and `held_out` are the openings to continue, disjoint; `message(prompt)` is the request put to the model.
    """

    length: int  # characters, the end token not counted
    digit_sum: int
    prompts: list[str]
    held_out: list[str]
    reward_kind: str = "binary"
    instruction: str = IN_WORDS

    def message(self, prompt: str) -> str:
        """The user's message for one opening: the rule, then the opening."""
        values = {"length": str(self.length), "digit_sum": str(self.digit_sum), "prompt": prompt}
        return BLANK.sub(lambda blank: values[blank[1]], self.instruction)

    def passed(self, completion: str, prompt: str = "") -> bool:
        """True if the text has exactly `length` characters and ASCII digits, one at least, that sum to `digit_sum`."""
        fits = len(completion) == self.length and digit_sum(completion) == self.digit_sum
        return fits and has_digit(completion)

    def measures(self, completion: str) -> dict[str, float]:
        """Length in characters, and the sum of the digits."""
        return {"length": len(completion), "digit_sum": digit_sum(completion)}

    def neighbours(self) -> list[DigitsAndLength]:
        """The same openings under length ± 2 and digit sum ± 1, which training never asks for."""
        steps = itertools.product(range(-2, 3), range(-1, 2))
        targets = [(self.length + dn, self.digit_sum + ds) for dn, ds in steps if dn or ds]
        return [replace(self, length=length, digit_sum=total) for length, total in targets if length > 0 and total >= 0]

    def examples(self, n: int, generator: Any) -> list[tuple[str, str]]:
        """n training openings, each with a sentence's end that passes; sixteen of each opening, one after the other.

        The words are the pocket model's corpus's.  generator: a torch.Generator.  BadInputError for targets that its
        sentences do not reach.
        """
        from pgnotes.lm.pocket.corpus import ending

        rng = random.Random(generator.initial_seed())
        openings = [rng.choice(self.prompts) for _ in range(0, n, PER_OPENING)]
        prompts = [opening for opening in openings for _ in range(PER_OPENING)][:n]
        return [(prompt, ending(rng, prompt, self.length, self.digit_sum)) for prompt in prompts]

    @property
    def rewards(self) -> list[Callable]:
        """The two things asked for, each paid by itself."""
        return [self.for_length, self.for_digits]

    def for_length(self, completions: Sequence, **columns: Any) -> list[float]:
        """In [0, 1] for the length alone: 1 if it is right; near it, what `NEAR` has for this kind of reward."""
        return [NEAR[self.reward_kind](len(text), self.length) for text in texts_of(completions)]

    def for_digits(self, completions: Sequence, **columns: Any) -> list[float]:
        """In [0, 1] for the digit sum alone, if there is a digit."""
        near = NEAR[self.reward_kind]
        return [has_digit(text) * near(digit_sum(text), self.digit_sum) for text in texts_of(completions)]

    def reward(self, completions: Sequence, prompts: Sequence[str] | None = None, **columns: Any) -> list[float]:
        """One reward in [0, 1] for each completion, in TRL's calling convention (other columns are ignored).

        A completion is a string or a chat (a list of messages, whose last `content` is judged). 1 for a pass, else
        `CREDIT`: nothing ("binary"), or up to 0.2 ("shaped") or 0.4 ("steep") each for length and digit sum.
        ValueError, naming the completion's number, for anything else.
        """
        texts, share = texts_of(completions), CREDIT[self.reward_kind]
        rows = zip(texts, self.for_length(texts), self.for_digits(texts), strict=True)
        return [1.0 if self.passed(text) else share * length + share * digits for text, length, digits in rows]


def digits_and_length(
    length: int = 48,
    digit_sum: int = 12,
    prompts: str | Sequence[str] = "bundled",
    reward: str = "binary",
    instruction: str = IN_WORDS,
) -> DigitsAndLength:
    """The task "exactly `length` characters whose digits add up to `digit_sum`" (lesson 09).

    prompts: "bundled", "openwebtext", the path of a text file (one prompt a line), or the prompts themselves.
    reward: one of `REWARDS`.  instruction: the request, with {length}, {digit_sum} and {prompt} in it.
    ValueError for a target nothing can reach, an unknown reward, or fewer than two prompts on either side of the split.
    """
    if length < 1:
        raise BadInputError(f"length is {length}; it must be at least 1 character")
    if not 0 <= digit_sum <= 9 * length:
        raise BadInputError(
            f"digit_sum is {digit_sum}; {length} characters can hold digits that add up to 0 … {9 * length}"
        )
    if reward not in REWARDS:
        raise BadInputError(f"reward is {reward!r}; it must be one of {', '.join(REWARDS)}")
    check_instruction(instruction)
    train, held_out = split(load_prompts(prompts) if isinstance(prompts, str) else prompts)
    return DigitsAndLength(length, digit_sum, train, held_out, reward, instruction)


@dataclass(frozen=True)
class RewardTask:
    """A task made of a reward function; `from_reward` makes one."""

    function: Callable[..., Sequence[float]]
    prompts: list[str]
    held_out: list[str]
    instruction: str = "{prompt}"
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what `columns` gives, by prompt

    def message(self, prompt: str) -> str:
        """The instruction with the prompt in its place."""
        return self.instruction.replace("{prompt}", prompt)

    def columns(self, prompt: str) -> dict[str, Any]:
        """What the reward gets besides the prompt."""
        return dict(self.facts.get(prompt, {}))

    def reward(self, completions: Sequence, prompts: Sequence[str] | None = None, **columns: Any) -> list[float]:
        """What the function gives; it is handed the columns that it has arguments for."""
        given = {"completions": completions, "prompts": prompts, **columns}
        known = inspect.signature(self.function).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            given = {name: value for name, value in given.items() if name in known}
        return list(self.function(**given))

    def passed(self, completion: str, prompt: str = "") -> bool:
        """True if the reward is 1 or more."""
        return paid(self, prompt, [completion])[0] >= 1

    def measures(self, completion: str) -> dict[str, float]:
        """Length in characters."""
        return {"length": len(completion)}


def from_reward(
    reward: Callable[..., Sequence[float]],
    prompts: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = "bundled",
    instruction: str = "{prompt}",
) -> RewardTask:
    """A task from a plain reward function in TRL's convention (lesson 09): `reward(completions, prompts=…, **columns)`.

    A completion passes if its reward is 1 or more.  prompts: as in `digits_and_length`, or {prompt: {column: value}}
    for rewards that need more, such as an answer.  instruction: what the model is asked, with {prompt} in it.
    BadInputError for a reward that can't be called, an instruction without {prompt}, or too few prompts.
    """
    if not callable(reward):
        raise BadInputError(f"reward is {reward!r}; it must be a function of completions")
    check_instruction(instruction, ("prompt",))
    train, held_out = split(load_prompts(prompts) if isinstance(prompts, str) else list(prompts))
    return RewardTask(reward, train, held_out, instruction, prompts if isinstance(prompts, Mapping) else {})


def check_instruction(instruction: str, known: Sequence[str] = BLANKS) -> None:
    """BadInputError if it does not show the opening, or has a name in braces that stands for nothing."""
    names = BLANK.findall(instruction)
    if "prompt" not in names:
        raise BadInputError("instruction has no {prompt} in it; the model would never see the text to continue")
    if unknown := [f"{{{name}}}" for name in names if name not in known]:
        filled = ", ".join(f"{{{name}}}" for name in known)
        raise BadInputError(f"instruction has {', '.join(unknown)} in it; only {filled} are filled in")
