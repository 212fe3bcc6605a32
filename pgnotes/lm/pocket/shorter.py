"""REINFORCE with a value baseline on a language model, for a reward anybody can judge: shortness (lesson 03)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.logprobs import token_logprobs
from pgnotes.lm.models import encode, load, stop_ids
from pgnotes.lm.policy import completion_hidden
from pgnotes.lm.rollout import Group, rollout, seeded, uniforms
from pgnotes.lm.tasks import digits_and_length
from pgnotes.theory.objectives import policy_loss

LONGEST = 72  # characters a completion may have
REQUEST = "{length} 12: {prompt}"  # the pocket model is used to being asked for a number of characters and a digit sum
ASKED = (32, 64)  # it is asked for so many characters, and paid for fewer
VALUE_STEPS = 20  # of the value head on each batch; its inputs are fixed, so they cost little


def shortness(texts: list[str]) -> Tensor:
    """Minus the number of characters, in units of 50: [G]. The more you write, the less you get."""
    return -torch.tensor([len(text) for text in texts]) / 50


def shorter(
    steps: int, seed: int = 0, prompts: int = 8, group_size: int = 8, lr: float = 5e-4, value_lr: float = 1e-2
) -> Iterator[dict]:
    """Train the pocket model towards `shortness`; yields a record a step: length, policy_loss, value_loss, texts.

    Adam on the model (`lr`), and on a linear value head (`value_lr`) that reads the hidden states and sends no gradient
    back into them. In step 0 only the values learn.  A record describes completions, values and losses *before* the
    step's update.
    """
    model, tokenizer = load("pocket")
    value_head = nn.Linear(model.config.hidden_size, 1)
    nn.init.zeros_(value_head.weight), nn.init.zeros_(value_head.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    value_optimizer = torch.optim.Adam(value_head.parameters(), value_lr)
    openings = digits_and_length().prompts
    for step in range(steps):
        # 1 roll out, 2 reward: every live token of a completion has the completion's return
        groups = sample(model, tokenizer, openings, prompts, group_size, seed, step)
        returns = torch.cat([shortness(group.texts).repeat_interleave(group.mask.sum(1)) for group in groups])

        # 3 log-probabilities and values of the same hidden states
        hidden = torch.cat([completion_hidden(model, group.prompt, group.tokens, group.mask) for group in groups])
        targets = torch.cat([group.tokens[group.mask] for group in groups])
        logp = token_logprobs(model, hidden, targets, 1.0)[0]
        states = hidden.detach()
        advantages = returns - value_head(states)[:, 0].detach()

        # 4 REINFORCE: every token's log-probability, times its advantage
        loss = reinforce_loss(logp, advantages, completions=prompts * group_size)
        if step > 0:
            descend(optimizer, loss)

        # 5 the values move towards the returns
        for _ in range(VALUE_STEPS):
            descend(value_optimizer, (returns - value_head(states)[:, 0]).square().mean() / 2)

        texts = [text for group in groups for text in group.texts]
        yield {
            "step": step,
            "length": sum(map(len, texts)) / len(texts),
            "policy_loss": loss.item(),
            "value_loss": advantages.square().mean().item() / 2,
            "texts": texts,
        }


def reinforce_loss(logp: Tensor, advantages: Tensor, completions: int) -> Tensor:
    """The loss of REINFORCE on live tokens [N] of so many completions: a sum over tokens, a mean over completions."""
    one_a_row = logp[:, None]
    live = torch.ones_like(one_a_row, dtype=torch.bool)
    return policy_loss(
        one_a_row, one_a_row.detach(), advantages, live, kind="reinforce", aggregate="sum", normaliser=completions
    )


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    openings: list[str],
    prompts: int,
    group_size: int,
    *seeds: int,
) -> list[Group]:
    """Completions of random openings, asked for at random lengths; all of it decided by `seeds`."""
    dice = seeded(*seeds)
    chosen = torch.randint(len(openings), (prompts,), generator=dice).tolist()
    asked = torch.randint(*ASKED, (prompts,), generator=dice).tolist()
    texts = [REQUEST.format(length=n, prompt=openings[i]) for i, n in zip(chosen, asked, strict=True)]
    noise = [uniforms(group_size, LONGEST, *seeds, g) for g in range(prompts)]
    return rollout(model, tokenizer, [encode(tokenizer, text) for text in texts], noise, stop_ids(model, tokenizer))
