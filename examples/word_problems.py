"""A task with an answer for each prompt: small word problems, generated here.

GSM8K is the same task with another `problems`.
python -m pgnotes grpo --preset t4 --out runs/sums --set task=examples/word_problems.py:make max_new_tokens=160
"""

from __future__ import annotations

import random
import re

from pgnotes.lm.tasks import RewardTask, from_reward

ASK = "Solve the problem step by step, and end with the line\n#### followed by the answer alone.\n\n{prompt}"
ANSWER = re.compile(r"####\s*(-?[\d,]*\.?\d+)")  # as GSM8K's own solutions end
NAMES = ("Ada", "Emil", "Noor", "Tom", "Lin", "Vera")
THINGS = ("pears", "stamps", "tickets", "marbles", "eggs", "notebooks")


def answer_in(text: str) -> float | None:
    """The number after the last ####, or None."""
    found = ANSWER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def right_answer(completions: list[str], answer: list[float], **columns: object) -> list[float]:
    """1 for a completion whose answer is the problem's, 0.1 for another number in the right form, else 0."""
    rewards = []
    for text, wanted in zip(completions, answer, strict=True):
        found = answer_in(text)
        rewards.append(0.0 if found is None else 1.0 if found == wanted else 0.1)
    return rewards


def problems(count: int = 400, seed: int = 0) -> dict[str, dict[str, float]]:
    """`count` different problems, each with its answer, decided by the seed."""
    dice, made = random.Random(seed), {}
    while len(made) < count:
        name, other = dice.sample(NAMES, 2)
        thing, start, boxes, each, gone = (
            dice.choice(THINGS),
            dice.randint(2, 40),
            dice.randint(2, 9),
            dice.randint(2, 12),
            dice.randint(1, 20),
        )
        text = f"{name} has {start} {thing} and buys {boxes} boxes of {each}. "
        text += f"Then {other} gets {gone} of them. How many {thing} does {name} have now?"
        if start + boxes * each >= gone:
            made[text] = {"answer": float(start + boxes * each - gone)}
    return made


def gsm8k() -> dict[str, dict[str, float | None]]:
    """The problems of GSM8K (Cobbe et al. 2021) in the same form; needs network and the package datasets."""
    from datasets import load_dataset

    rows = load_dataset("openai/gsm8k", "main", split="train")
    return {row["question"]: {"answer": answer_in(row["answer"])} for row in rows}


def make() -> RewardTask:
    """The task."""
    return from_reward(right_answer, problems(), ASK)
