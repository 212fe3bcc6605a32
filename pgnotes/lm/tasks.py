"""The task of lesson 09: continue a text with exactly N characters whose digits add up to S. Prompts, rewards, the pass check."""

from __future__ import annotations

import hashlib
import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

IN_WORDS = "Continue the text below with exactly {length} characters whose digits add up to {digit_sum}. Write only the continuation.\n\n{prompt}"
REWARDS = ("binary", "shaped")
OPENWEBTEXT = (("Skylion007/openwebtext", None), ("Skylion007/openwebtext", "refs/convert/parquet"), ("sam2ai/openwebtext-10k", "refs/convert/parquet"))
STREAMED = 2000  # openings taken from a streamed data set; a few megabytes are read, never the whole set


def digit_sum(text: str) -> int:
    """Sum of the ASCII digits in `text`; any other character, '²' and '٣' included, counts as no digit."""
    return sum(int(c) for c in text if c in string.digits)


def closeness(value: int, target: int) -> float:
    """1 at the target, falling in a straight line to 0 where the error is as large as the target."""
    return max(0.0, 1.0 - abs(value - target) / max(target, 1))


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
        return self.instruction.format(length=self.length, digit_sum=self.digit_sum, prompt=prompt)

    def passed(self, completion: str) -> bool:
        """True if the text has exactly `length` characters and at least one ASCII digit, and its ASCII digits add up to `digit_sum`."""
        return len(completion) == self.length and any(c in string.digits for c in completion) and digit_sum(completion) == self.digit_sum

    def shaped(self, completion: str) -> float:
        """Partial credit in [0, 1]: 1 for a pass, else up to 0.2 for the length and, if it has a digit, up to 0.2 for the digit sum."""
        if self.passed(completion):
            return 1.0
        has_digit = any(c in string.digits for c in completion)
        return 0.2 * closeness(len(completion), self.length) + 0.2 * has_digit * closeness(digit_sum(completion), self.digit_sum)

    def reward(self, completions: Sequence, **columns) -> list[float]:
        """One reward in [0, 1] for each completion, in TRL's calling convention (other columns are ignored).

        A completion is a string or a chat (a list of messages, whose last `content` is judged). Binary: 1 for a pass, else 0.
        """
        texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        return [self.shaped(text) if self.reward_kind == "shaped" else float(self.passed(text)) for text in texts]


def digits_and_length(
    length: int = 48, digit_sum: int = 12, prompts: str | Sequence[str] = "bundled", reward: str = "binary", instruction: str = IN_WORDS
) -> DigitsAndLength:
    """The task "exactly `length` characters whose digits add up to `digit_sum`" (lesson 09).

    prompts: "bundled", "openwebtext", the path of a text file (one prompt a line), or the prompts themselves.
    reward: "binary" or "shaped".  instruction: the request, with {length}, {digit_sum} and {prompt} in it.
    ValueError for a target nothing can reach, an unknown reward, or fewer than two prompts on either side of the split.
    """
    if length < 1:
        raise ValueError(f"length is {length}; it must be at least 1 character")
    if not 0 <= digit_sum <= 9 * length:
        raise ValueError(f"digit_sum is {digit_sum}; {length} characters can hold digits that add up to 0 … {9 * length}")
    if reward not in REWARDS:
        raise ValueError(f"reward is {reward!r}; it must be one of {', '.join(REWARDS)}")
    if "{prompt}" not in instruction:
        raise ValueError("instruction has no {prompt} in it; the model would never see the text to continue")
    train, held_out = split(load_prompts(prompts) if isinstance(prompts, str) else prompts)
    return DigitsAndLength(length, digit_sum, train, held_out, reward, instruction)


def split(prompts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Prompts without duplicates, about 80 % for training and 20 % held out; a prompt's own hash decides, so no other prompt matters."""
    unique = list(dict.fromkeys(p.strip() for p in prompts if p.strip()))
    held_out = [p for p in unique if hashlib.sha256(p.encode("utf-8", "replace")).digest()[0] % 5 == 0]
    train = [p for p in unique if p not in set(held_out)]
    if not train or not held_out:
        raise ValueError(f"prompts has {len(unique)} different lines, {len(train)} for training and {len(held_out)} held out; give a few dozen at least")
    return train, held_out


def load_prompts(source: str) -> list[str]:
    """Openings from "bundled", "openwebtext" (streamed), or a text file, one a line; any bytes are accepted."""
    if source == "bundled":
        return files("pgnotes.lm").joinpath("prompts.txt").read_text(encoding="utf-8").splitlines()
    if source == "openwebtext":
        return stream_openwebtext()
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(f"prompts is {source!r}, which is no file here; give 'bundled', 'openwebtext' or a text file with one prompt a line")
    return path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def stream_openwebtext(count: int = STREAMED) -> list[str]:
    """The first 300 characters of `count` web texts, streamed; ConnectionError, naming the bundled prompts, where they can't be reached."""
    from pgnotes.lm.models import hub_is_reachable

    failures = []
    for name, revision in OPENWEBTEXT if hub_is_reachable() else ():
        try:
            from datasets import load_dataset  # seconds, and in vain where there is no network

            rows = load_dataset(name, revision=revision, split="train", streaming=True)
            return [" ".join(row["text"][:300].split()) for row in itertools.islice(rows, count)]
        except Exception as error:  # each source fails in its own way; all of them are reported together below
            failures.append(f"{name}: {type(error).__name__}")
    raise ConnectionError(
        f"openwebtext could not be reached ({'; '.join(failures) or 'no answer from the hub'}); use --set prompts=bundled, which needs no network"
    )
