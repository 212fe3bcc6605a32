"""DPO on a language model: the sums are the model's own, the gradient is the formula's, pairs are those judged."""

from itertools import islice

import pytest
import torch

from pgnotes.lm.dpo import Pair, dpo, judged_pairs, pair_logprobs
from pgnotes.lm.models import load
from pgnotes.lm.rollout import Group
from pgnotes.lm.tasks import digits_and_length


@pytest.fixture
def model():
    return load("pocket")[0]


def pairs(n=3):
    """Pairs with prompts of several lengths and ragged completions."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for i in range(n):
        tokens = torch.randint(5, 60, (2, 6), generator=generator)
        mask = torch.arange(6) < torch.tensor([[6 - i], [3 + i]])
        found.append(Pair(torch.randint(5, 60, (4 + i,), generator=generator), tokens, mask))
    return found


def whole(model, pair, row):
    """log π of a completion by one forward pass over prompt and completion, token by token."""
    live = pair.tokens[row][pair.mask[row]]
    ids = torch.cat([pair.prompt, live])
    logp = model(input_ids=ids[None]).logits[0].double().log_softmax(-1)
    start = len(pair.prompt)
    return sum(logp[start + k - 1, token] for k, token in enumerate(live))


def test_the_sums_are_those_of_a_plain_forward_pass(model):
    better, worse = pair_logprobs(model, pairs())
    for i, pair in enumerate(pairs()):
        assert better[i].item() == pytest.approx(whole(model, pair, 0).item(), abs=1e-3)
        assert worse[i].item() == pytest.approx(whole(model, pair, 1).item(), abs=1e-3)


def test_what_stands_on_dead_tokens_does_not_count(model):
    other = [pair._replace(tokens=torch.where(pair.mask, pair.tokens, 7)) for pair in pairs()]
    for a, b in zip(pair_logprobs(model, pairs()), pair_logprobs(model, other), strict=True):
        torch.testing.assert_close(a, b)


def test_the_first_step_s_loss_is_log_two_and_its_gradient_half_beta_times_the_scores(model):
    weight = next(model.parameters())
    better, worse = pair_logprobs(model, pairs())
    (expected,) = torch.autograd.grad(-0.05 * (better - worse).mean(), weight)  # -β σ(0) (s_w - s_l) with β = 0.1
    step = next(dpo(model, pairs(), beta=0.1, lr=1e-4, batch=3, seed=0))
    assert step.loss == pytest.approx(0.693147, abs=1e-5)
    assert step.margins == pytest.approx([0.0] * 3, abs=1e-5)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-3, atol=1e-6)


def test_each_round_goes_through_all_pairs(model, monkeypatch):
    """Which pairs each step looks at; the first call is the reference's."""
    seen, four = [], pairs(4)

    def spying(model, some):
        seen.append([next(i for i, pair in enumerate(four) if pair is one) for one in some])
        return pair_logprobs(model, some)

    monkeypatch.setattr("pgnotes.lm.dpo.pair_logprobs", spying)
    list(islice(dpo(model, four, beta=0.1, lr=1e-4, batch=2, seed=1), 4))
    reference, *steps = seen
    assert reference == [0, 1, 2, 3]
    assert sorted(steps[0] + steps[1]) == sorted(steps[2] + steps[3]) == [0, 1, 2, 3]


def test_the_margins_grow(model):
    steps = list(islice(dpo(model, pairs(4), beta=0.1, lr=3e-4, batch=2, seed=1), 9))
    assert sum(steps[-1].margins) > 0
    assert steps[-1].loss < steps[0].loss
    assert [step.step for step in steps] == list(range(9))


def test_the_same_seed_gives_the_same_run():
    runs = []
    for seed in (0, 0, 1):
        model = load("pocket")[0]
        runs.append([step.loss for step in islice(dpo(model, pairs(4), 0.1, 3e-4, 2, seed), 4)])
    assert runs[0] == runs[1] != runs[2]


def test_what_passes_is_paired_with_what_fails():
    task = digits_and_length(4, 3)
    texts = ["ab12", "abc", "xy21", "12ab", "nope"]
    ended = torch.tensor([True, True, True, False, True])  # the fourth passes but for its missing end
    group = Group(
        prompt=torch.arange(3),
        tokens=torch.arange(10).view(5, 2),
        mask=torch.ones(5, 2, dtype=torch.bool),
        logp=torch.zeros(5, 2),
        ended=ended,
        texts=texts,
        source="opening",
    )
    found = judged_pairs(task, [group])
    assert [pair.tokens.tolist() for pair in found] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert all(torch.equal(pair.prompt, group.prompt) for pair in found)
    assert judged_pairs(task, [group.part(slice(0, 1))]) == []


def test_bad_input_is_named(model):
    for changes, name in (({"beta": 0.0}, "beta"), ({"lr": 0.0}, "lr"), ({"batch": 4}, "batch")):
        arguments = {"beta": 0.1, "lr": 1e-4, "batch": 2, "seed": 0} | changes
        with pytest.raises(ValueError, match=name):
            next(dpo(model, pairs(3), **arguments))
