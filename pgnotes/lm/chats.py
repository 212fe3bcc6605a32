"""Completions as a trainer hands them to a reward: plain texts, or chats whose last message counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def text_of(completion: Any, name: str) -> str:
    """The text of a completion: a string, or the last message of a chat, whose content may be a list of parts.

    A message without content (a call of a tool) is an empty text.  ValueError, beginning with `name`, for anything
    else.
    """
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, Sequence) or not completion or not isinstance(completion[-1], dict):
        raise ValueError(f"{name} is {completion!r}; it must be a text, or a list of messages with one at least")
    content = completion[-1].get("content")
    if isinstance(content, list) and all(isinstance(part, dict | str) for part in content):
        content = "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content)
    if not isinstance(content, str | type(None)):
        raise ValueError(
            f"{name} ends with a message whose content is {content!r}; it must be a text or a list of parts"
        )
    return content or ""


def texts_of(completions: Sequence) -> list[str]:
    """The texts of completions.  ValueError, naming its number, for one that has none."""
    return [text_of(completion, f"completions[{i}]") for i, completion in enumerate(completions)]
