"""Direct preference optimisation of a language model, on pairs of its own completions that a task judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.rollout import Group, seeded
from pgnotes.lm.tasks import Task, passes
from pgnotes.theory.arguments import check_count, check_positive
from pgnotes.theory.preferences import dpo_terms


class Pair(NamedTuple):
    """Two completions of one prompt, the better one first: ids [P], [2, R], and which of them are live [2, R]."""

    prompt: Tensor
    tokens: Tensor
    mask: Tensor


class Step(NamedTuple):
    """A step of `dpo`: how many came before it, the loss of its pairs, and their margins β(Δ_w - Δ_l)."""

    step: int
    loss: float
    margins: list[float]


def judged_pairs(task: Task, groups: Sequence[Group]) -> list[Pair]:
    """Of each group the completions that pass, in order, each with one that fails, as long as there are both.

    groups: with the prompt as the task knows it in `source`.  A completion without an end fails.
    """
    pairs = []
    for group in groups:
        passed = torch.tensor(passes(task, group.source, group.texts, group.ended.tolist()))
        for rows in zip(passed.nonzero()[:, 0].tolist(), (~passed).nonzero()[:, 0].tolist(), strict=False):
            both = torch.tensor(rows)
            pairs.append(Pair(group.prompt, group.tokens[both], group.mask[both]))
    return pairs


def pair_logprobs(model: PreTrainedModel, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """log π of the better and of the worse completion of each pair in nats, [n] and [n]: sums over live tokens.

    The prompt is computed once for both; it is not a part of what is summed.
    """
    found = [completion_logprobs(model, *pair, entropy="none")[0].sum(1) for pair in pairs]
    better, worse = torch.stack(found).unbind(1)
    return better, worse


def dpo(model: PreTrainedModel, pairs: Sequence[Pair], beta: float, lr: float, batch: int, seed: int) -> Iterator[Step]:
    """Train a model on pairs by DPO with AdamW, without end (lesson 13; Rafailov et al. 2023, eq. 7).

    The reference is the model as it is when this begins; its log-probabilities are computed once. Each round goes
    through all pairs in an order of its own.
    beta: above 0.  lr: AdamW's step size, without weight decay.  batch: pairs a step.  A `Step` describes what its
    update was made from.  ValueError naming the argument.
    """
    check_positive("beta", beta), check_positive("lr", lr)
    if check_count("batch", batch) > len(pairs):
        raise ValueError(f"batch is {batch}; there are {len(pairs)} pairs")
    with torch.no_grad():
        ref_w, ref_l = pair_logprobs(model, pairs)
    optimizer = torch.optim.AdamW((weight for weight in model.parameters() if weight.requires_grad), lr, weight_decay=0)
    generator, order, step = seeded(seed, "dpo"), [], 0
    while True:
        if len(order) < batch:
            order = torch.randperm(len(pairs), generator=generator).tolist()
        chosen, order = order[:batch], order[batch:]
        logp_w, logp_l = pair_logprobs(model, [pairs[i] for i in chosen])
        terms = dpo_terms(logp_w, logp_l, ref_w[chosen], ref_l[chosen], beta)

        optimizer.zero_grad()
        terms.mean().backward()
        optimizer.step()
        margins = beta * ((logp_w - ref_w[chosen]) - (logp_l - ref_l[chosen])).detach()
        yield Step(step, terms.mean().item(), margins.tolist())
        step += 1
