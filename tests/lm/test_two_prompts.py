"""The lengths of the pocket model's scores, against a plain backward pass over the whole text."""

import pytest
import torch

from pgnotes.lm.models import load
from pgnotes.lm.pocket.two_prompts import ASKED, PAID, brevity, score_sizes, two_prompts
from pgnotes.lm.rollout import Group


@pytest.fixture(scope="module")
def answers():
    return two_prompts(completions=8, seed=1)


def test_one_prompt_is_easy_and_one_is_hard(answers):
    easy, hard = answers
    assert (easy.asked, hard.asked) == ASKED
    assert easy.rewards.mean() > 0.5 > hard.rewards.mean()
    for each in answers:
        assert each.rewards.tolist() == [1.0 if len(text) <= PAID else 0.0 for text in each.texts]
        assert len(each.texts) == len(each.sizes) == 8
    assert brevity(["x" * PAID, "x" * (PAID + 1)]).tolist() == [1.0, 0.0]


def test_a_score_is_the_gradient_of_the_whole_completion_s_log_probability():
    """Padding does not count: the second completion ends before the first."""
    model, _ = load("pocket")
    prompt, tokens = torch.tensor([5, 9, 11]), torch.tensor([[7, 3, 8, 4], [6, 10, 0, 0]])
    lengths = (4, 2)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    group = Group(prompt, tokens, mask, torch.zeros(2, 4), torch.ones(2, dtype=torch.bool), ["", ""])
    found = score_sizes(model, group)
    for i, n in enumerate(lengths):
        text = torch.cat([prompt, tokens[i, :n]])
        model.zero_grad()
        logp = model(text[None]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        logp.gather(1, tokens[i, :n, None]).sum().backward()
        wanted = sum(w.grad.double().square().sum().item() for w in model.parameters() if w.grad is not None)
        assert found[i].item() == pytest.approx(wanted, rel=1e-3)
    model.zero_grad()


def test_the_seed_decides(answers):
    again, other = two_prompts(4, seed=1), two_prompts(4, seed=2)
    assert again[0].texts == two_prompts(4, seed=1)[0].texts
    assert again[0].texts != other[0].texts
