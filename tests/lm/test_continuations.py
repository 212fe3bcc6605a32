"""Continuations under a temperature and a top-k, against a plain loop without a cache."""

import pytest
import torch

from pgnotes.lm.models import encode
from pgnotes.lm.pocket.continuations import choose, continuations
from pgnotes.lm.rollout import uniforms

LINES, LENGTH = 4, 12


@pytest.fixture
def prompt(pocket):
    return encode(pocket[1], "48 12: On Monday the baker")


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (2.5, 3)])
def test_a_plain_loop_writes_the_same(pocket, prompt, temperature, top_k):
    """Every line's whole text goes through the model again for each token."""
    noise, lines = uniforms(LINES, LENGTH, "a test"), prompt.repeat(LINES, 1)
    for row in noise:
        logits = pocket[0](lines).logits[:, -1].double() / temperature
        if top_k:
            logits = logits.where(logits >= logits.topk(top_k).values[:, -1:], -torch.inf)
        below = (logits.softmax(1).cumsum(1) <= row[:, None].double()).sum(1)
        lines = torch.cat([lines, below[:, None]], 1)
    written = torch.stack(list(continuations(pocket[0], prompt, noise, temperature, top_k)), 1)
    assert torch.equal(written, lines[:, len(prompt) :])


def test_a_token_for_each_number_of_noise(pocket, prompt):
    noise = uniforms(LINES, LENGTH, "a test")
    steps = list(continuations(pocket[0], prompt, noise))
    assert [tokens.shape for tokens in steps] == [(LINES,)] * LENGTH
    assert len({tuple(line) for line in torch.stack(steps, 1).tolist()}) == LINES, "each line has noise of its own"


def test_the_likeliest_is_all_that_top_1_leaves(pocket, prompt):
    tokens = torch.stack(list(continuations(pocket[0], prompt, uniforms(LINES, 4, "a test"), top_k=1)))
    assert tokens[0].unique().tolist() == [pocket[0](prompt[None]).logits[0, -1].argmax().item()]
    assert (tokens == tokens[:, :1]).all()


def test_a_token_is_chosen_as_often_as_its_probability_says():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64)
    grid = torch.arange(1000, dtype=torch.float64) / 1000
    chosen = torch.stack([choose(logits, u, 2.0, 3) for u in grid])
    shares = torch.bincount(chosen, minlength=4) / 1000
    expected = torch.tensor([0.0, 0.5, -torch.inf, 1.0]).softmax(0)
    torch.testing.assert_close(shares, expected, rtol=0, atol=2e-3)
