"""The pocket model's real distribution over the next character, reshaped, and what it writes then (lesson 01)."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pgnotes.classroom.artists import empty_bars, fill, legend, plain, readouts
from pgnotes.classroom.live import Choice, Dear, Live, Moving, Slider
from pgnotes.classroom.style import AFTER, BEFORE, EXACT, MUTED, label
from pgnotes.lm.models import encode, load
from pgnotes.lm.pocket.continuations import continuations
from pgnotes.lm.policy import head_logits, prefill
from pgnotes.lm.rollout import uniforms
from pgnotes.theory.policies import SoftmaxPolicy, reshaped

REQUEST = "48 12: On Monday the baker"
STARTS = ("", "sold 1", "sold 12 lo", "sold 12 loaves and ")  # what it has written so far
SHOWN, LINES, LONGEST = 12, 4, 60  # characters with a bar of their own; samples, and the most characters of each
WRITTEN = tuple((f"“{text}”" if text else "nothing yet", text) for text in STARTS)
CONTROLS = (
    Choice("start", "it has written", WRITTEN, "sold 12 loaves and "),
    Slider("temperature", "temperature", 0.1, 3.0, 0.1, 1.0),
    Slider("top_k", "top-k (0: all)", 0, 20, 1, 0),
)


@cache
def pocket() -> tuple[Any, Any]:
    """The bundled model and its tokenizer, loaded once."""
    model, tokenizer = load("pocket")
    return model.requires_grad_(False), tokenizer


@cache
def first_logits(start: str) -> Tensor:
    """Logits [V] of what follows the request and one of `STARTS`."""
    model, _ = pocket()
    last, _, _ = prefill(model, [ids_of(start)])
    return head_logits(model, last, 1.0)[0].double()


def ids_of(start: str) -> Tensor:
    """The request and what has been written, [T]."""
    tokenizer = pocket()[1]
    written = tokenizer(start, add_special_tokens=False)["input_ids"]
    return torch.cat([encode(tokenizer, REQUEST), torch.tensor(written, dtype=torch.long)])


def name_of(token: int) -> str:
    """How a token is written under its bar."""
    text = pocket()[1].decode([token])
    if text in (" ", "\n"):
        return {" ": "space", "\n": "line"}[text]
    if text.startswith("<|"):
        return "end"
    return text if text.isprintable() else "?"


def numbers(start: str, temperature: float, top_k: int, dear: list[str] | None = None) -> dict[str, Any]:
    """The likeliest characters, their probabilities before and after reshaping, entropies, and KL(after ‖ before)."""
    logits = first_logits(start)
    kept_logits, kept = reshaped(logits, temperature, top_k)
    before, inner = SoftmaxPolicy(logits), SoftmaxPolicy(kept_logits)
    after = torch.zeros_like(logits).index_copy(0, kept, inner.probs)
    order = before.probs.topk(SHOWN).indices
    return {
        "names": [name_of(int(i)) for i in order],
        "before": before.probs[order].tolist(),
        "after": after[order].tolist(),
        "rest": 1 - after[order].sum().item(),
        "entropy": (before.entropy().item(), inner.entropy().item()),
        "kl": inner.kl(SoftmaxPolicy(before.log_prob(kept))).item() - before.probs[kept].sum().log().item(),
        "lines": dear,
    }


def write(start: str, temperature: float, top_k: int) -> Generator[float, None, list[str]]:
    """Complete the request a few times, always with the same random numbers; yields progress and returns the texts."""
    model, tokenizer = pocket()
    noise, tokens = uniforms(LINES, LONGEST - len(start), "next token"), []
    for token in continuations(model, ids_of(start), noise, temperature, top_k):
        tokens.append(token)
        yield len(tokens) / len(noise)

    texts = []
    for row in torch.stack(tokens, 1).tolist():
        end = row.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in row else None
        texts.append(start + tokenizer.decode(row[:end]) + ("…" if end is None else ""))
    return texts


def draw(fig: Figure) -> Moving:
    """The bars, the readouts under them, and room for what it writes."""
    ax = fig.subplots(gridspec_kw={"left": 0.085, "right": 0.985, "top": 0.92, "bottom": 0.43})
    label(ax, "The next character, as the model has it and as you draw it").set(
        xlim=(-0.7, SHOWN - 0.3), ylim=(0, 1.12)
    )
    ax.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    ax.set_xticks([])
    old = empty_bars(ax, range(SHOWN), 0.38, -0.2, color=BEFORE)
    new = empty_bars(ax, range(SHOWN), 0.38, 0.2, color=AFTER)
    shares = [ax.text(x + 0.2, 0, "", ha="center", color=AFTER, fontsize=10) for x in range(SHOWN)]
    names = [ax.text(x, -0.1, "", ha="center", va="top", color=EXACT) for x in range(SHOWN)]
    legend(ax, (SHOWN - 0.3, 1.0, "the policy", MUTED), (SHOWN - 0.3, 0.88, "as drawn", AFTER), ha="right")

    known = (0.255, "entropy: the policy"), (0.41, "as drawn"), (0.69, "KL(drawn ‖ policy)"), (0.92, "all others")
    readings = readouts(fig, 0.285, *known)
    hint = fig.text(0.085, 0.205, "", color=MUTED)
    lines = [fig.text(0.085, 0.205 - 0.055 * i, "", family="monospace", fontsize=10, color=EXACT) for i in range(LINES)]

    def update(n: dict) -> None:
        for bars, key in ((old, "before"), (new, "after")):
            for bar, value in zip(bars, n[key], strict=True):
                bar.set_height(value)
        for share, name, text, value, was in zip(shares, names, n["names"], n["after"], n["before"], strict=True):
            share.set(text=f"{value:.0%}" if value >= 0.045 else "", y=max(value, was) + 0.02)
            name.set_text(plain(text))
        fill(readings, [f"{h:.2f}" for h in n["entropy"]] + [f"{n['kl']:.3f}", f"{n['rest']:.1%}"])

        hint.set_text("" if n["lines"] else "Press “Write” to read four samples at these settings.")
        for line, text in zip(lines, n["lines"] or [""] * LINES, strict=True):
            line.set_text(plain(text))

    return [*names, hint, *lines, *old, *new, *shares, *readings], update  # first what a temperature leaves as it is


def next_token() -> Live:
    """The widget."""
    twin = (
        ("Temperature 1: what the policy itself writes", {}),
        ("Temperature 0.3: the two likeliest characters rise from 35 % to 70 %", {"temperature": 0.3}),
        ("Temperature 2.5: rare characters are no longer rare, and words fall apart", {"temperature": 2.5}),
        ("Temperature 2.5 again, but only among the three likeliest characters", {"temperature": 2.5, "top_k": 3}),
    )
    alt = (
        "Bars of the pocket model's next-character probabilities after 'sold 12 loaves and', with four samples each. "
        "At temperature 1 the samples are plain sentences that differ; at 0.3 the two likeliest characters have 70 % "
        "and the samples resemble each other; at 2.5 the bars flatten and words are misspelt; cutting to the three "
        "likeliest characters keeps most words whole."
    )
    return Live(numbers, draw, CONTROLS, 4.3, twin, alt, dear=Dear("Write", write))
