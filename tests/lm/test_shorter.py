"""REINFORCE on the pocket model: its losses against a plain forward pass, and what a step leaves alone."""

import pytest
import torch

from pgnotes.lm.models import encode, stop_ids
from pgnotes.lm.pocket.shorter import REQUEST, sample, shorter, shortness
from pgnotes.lm.tasks import digits_and_length

SMALL = {"prompts": 2, "group_size": 3}


def texts_of(groups):
    return [text for group in groups for text in group.texts]


def test_less_is_better():
    assert shortness(["", "a" * 50, "b" * 25]).tolist() == [0.0, -1.0, -0.5]


def test_the_losses_of_step_0_by_a_plain_forward_pass(pocket):
    """The value starts at 0: its loss is half the mean square of the returns, which are the policy's weights."""
    model, tokenizer = pocket
    groups = sample(model, tokenizer, digits_and_length().prompts, 2, 3, 0, 0)
    policy_loss, squares, tokens = 0.0, 0.0, 0
    for group in groups:
        for row, live, text in zip(group.tokens, group.mask, group.texts, strict=True):
            ids, paid, count = torch.cat([group.prompt, row[live]]), -len(text) / 50, int(live.sum())
            log_probs = model(ids[None]).logits[0, :-1].double().log_softmax(-1)
            logp = log_probs.gather(1, ids[1:, None])[-count:, 0]  # of the completion alone
            policy_loss -= paid * logp.sum().item() / 6
            squares, tokens = squares + count * paid**2, tokens + count

    record = next(shorter(steps=1, **SMALL))
    assert record["policy_loss"] == pytest.approx(policy_loss, rel=1e-3)
    assert record["value_loss"] == pytest.approx(squares / tokens / 2, rel=1e-5)
    assert record["length"] == pytest.approx(sum(map(len, texts_of(groups))) / 6)
    assert record["texts"] == texts_of(groups)


def test_step_0_trains_the_value_alone(pocket):
    """Step 1's completions are still the start model's."""
    model, tokenizer = pocket
    records = list(shorter(steps=2, **SMALL))
    groups = sample(model, tokenizer, digits_and_length().prompts, 2, 3, 0, 1)
    assert records[1]["texts"] == texts_of(groups)
    assert records[1]["value_loss"] < 0.5 * records[0]["value_loss"]


def test_two_runs_are_the_same_and_another_seed_is_not():
    first, again, other = (list(shorter(steps=3, seed=seed, **SMALL)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_seeds_decide_what_is_asked(pocket):
    model, tokenizer = pocket
    openings, asked = digits_and_length().prompts, []
    for seeds in ((0, 0), (0, 0), (0, 1), (1, 0)):
        groups = sample(model, tokenizer, openings, 2, 2, *seeds)
        asked.append([group.prompt.tolist() for group in groups])
    assert asked[0] == asked[1]
    assert asked[0] != asked[2] != asked[3] != asked[0]


def test_completions_end_or_reach_the_limit(pocket):
    model, tokenizer = pocket
    for group in sample(model, tokenizer, digits_and_length().prompts, 2, 3, 4):
        last = group.tokens.gather(1, group.mask.sum(1, keepdim=True) - 1)[:, 0]
        assert (torch.isin(last, torch.tensor(stop_ids(model, tokenizer))) == group.ended).all()


def test_to_end_at_once_is_what_pays_most_and_is_never_tried(pocket):
    """What lesson 03 says of the start model: one time in a hundred million or so, and never one in a million."""
    model, tokenizer = pocket
    ends = []
    for opening in digits_and_length().prompts[::8]:
        prompt = encode(tokenizer, REQUEST.format(length=45, prompt=opening))
        chances = model(prompt[None]).logits[0, -1].double().softmax(-1)
        ends.append(chances[list(stop_ids(model, tokenizer))].sum().item())
    assert 1e-9 < sum(ends) / len(ends) < 1e-7
    assert max(ends) < 1e-6
