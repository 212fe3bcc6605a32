"""A reward of one's own: exactly twelve words.

python -m pgnotes grpo --out runs/words --set reward=examples/twelve_words.py:twelve_words length=60 steps=60

Of 60 characters about one text in a thousand has twelve words; for twenty steps the curve is flat, then it climbs.
"""

from __future__ import annotations


def twelve_words(completions: list[str], **columns: object) -> list[float]:
    """1 for each completion of exactly twelve words, else 0; a word is what stands between spaces and has a letter."""
    return [float(sum(any(c.isalpha() for c in word) for word in text.split()) == 12) for text in completions]
