"""Worlds drawn at random, each with a policy: to see how often something happens, and not only that it can."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_choice, check_count
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.worlds import TokenWorld

KINDS = ("own", "ones", "end", "hints", "values")


def random_world(kind: str, vocab_size: int, horizon: int, seed: int) -> tuple[TokenWorld, PrefixPolicy]:
    """A world whose rewards are normal numbers of standard deviation 1, and a policy whose logits are (lesson 06).

    kind: "own", a number for each token after each prefix, of mean 0 · "ones", of mean 1 · "end", of mean 1 and only on
    the last token · "hints", that, and after every token a random advance, which the next reward takes back · "values",
    the same with the true values as advances.  The last two leave every return as it is (Ng, Harada & Russell 1999,
    shaping by a potential).
    vocab_size: at least 2.  horizon: at least 1.  seed: decides everything.  ValueError naming the argument.
    """
    check_choice("kind", kind, KINDS)
    n_rows = sum(check_count("vocab_size", vocab_size, 2) ** t for t in range(check_count("horizon", horizon)))
    noise = torch.Generator().manual_seed(check_count("seed", seed, 0))
    table, logits = (torch.randn(n_rows, vocab_size, dtype=torch.float64, generator=noise) for _ in range(2))
    table, policy = table + (kind != "own"), PrefixPolicy(logits)
    paid = torch.arange(horizon) == horizon - 1 if kind in ("end", "hints", "values") else torch.ones(horizon)

    def own(sequences: Tensor, prompt: int) -> Tensor:
        return table[prefix_rows(sequences, vocab_size), sequences] * paid

    if kind not in ("hints", "values"):
        return TokenWorld(vocab_size, horizon, own), policy

    random_hints = 3 * torch.randn(n_rows, dtype=torch.float64, generator=noise)
    hints = random_hints if kind == "hints" else expected_end(policy, table)
    hints[0] = 0.0  # nothing is paid before anything is written

    def hinted(sequences: Tensor, prompt: int) -> Tensor:
        before = hints[prefix_rows(sequences, vocab_size)]
        after = torch.cat([before[:, 1:], torch.zeros(len(before), 1)], 1)
        return own(sequences, prompt) - before + after

    return TokenWorld(vocab_size, horizon, hinted), policy


def expected_end(policy: PrefixPolicy, table: Tensor) -> Tensor:
    """What the last token pays on average, from each prefix, [rows]: backwards from the longest prefixes.

    table: [rows, V]; of it the rows of the longest prefixes count.
    """
    levels, end = [], len(table)
    for t in reversed(range(policy.horizon)):
        rows = slice(end - policy.vocab_size**t, end)
        pays = levels[-1].view(-1, policy.vocab_size) if levels else table[rows]
        levels.append((policy.probs[rows] * pays).sum(1))
        end = rows.start
    return torch.cat(levels[::-1])
