"""An easy prompt and a hard one for the pocket model, and how long each completion's score is (lesson 05)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pgnotes.lm.logprobs import token_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.pocket.shorter import LONGEST, REQUEST
from pgnotes.lm.policy import completion_hidden
from pgnotes.lm.rollout import Group, rollout, uniforms
from pgnotes.lm.tasks import digits_and_length

ASKED = (42, 46)  # characters that the two prompts ask for
PAID = 44  # a completion of so many characters or fewer earns 1


class Answers(NamedTuple):
    """The completions of one prompt: what was asked, texts [G], rewards [G], and ‖∇ log π‖² of each [G]."""

    asked: int
    texts: list[str]
    rewards: Tensor
    sizes: Tensor


def two_prompts(completions: int = 32, seed: int = 0) -> tuple[Answers, Answers]:
    """Sample completions of an easy prompt and of a hard one, and measure their scores (lesson 05).

    Both are paid 1 for at most `PAID` characters, where one asks for two fewer and the other for two more.
    """
    model, tokenizer = load("pocket")
    texts = [REQUEST.format(length=asked, prompt=digits_and_length().prompts[0]) for asked in ASKED]
    noise = [uniforms(completions, LONGEST, seed, asked) for asked in ASKED]
    prompts = [encode(tokenizer, text) for text in texts]
    groups = rollout(model, tokenizer, prompts, noise, stop_ids(model, tokenizer))

    easy, hard = (
        Answers(asked, group.texts, brevity(group.texts), score_sizes(model, group))
        for asked, group in zip(ASKED, groups, strict=True)
    )
    return easy, hard


def brevity(texts: list[str]) -> Tensor:
    """1 for each text of at most `PAID` characters, else 0, [G]."""
    return torch.tensor([float(len(text) <= PAID) for text in texts], dtype=torch.float64)


def score_sizes(model: PreTrainedModel, group: Group) -> Tensor:
    """‖∇ log π(completion | prompt)‖² over all weights, [G], float64: a backward pass for each completion."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    sizes = []
    for tokens, mask in zip(group.tokens, group.mask, strict=True):
        live = tokens[mask]
        hidden = completion_hidden(model, group.prompt, live[None], mask[mask][None])
        logp = token_logprobs(model, hidden, live, 1.0, entropy="none")[0].sum()
        score = torch.autograd.grad(logp, weights)
        sizes.append(torch.stack([part.double().square().sum() for part in score]).sum())
    return torch.stack(sizes)
