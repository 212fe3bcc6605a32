"""Sampling: from the policy itself, each group by its own noise, ended where the model ends."""

import gc
import weakref
from itertools import pairwise

import pytest
import torch

from pgnotes.lm import rollout as rollouts
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.models import encode, stop_ids
from pgnotes.lm.rollout import draw, rollout, uniforms


def sample(pocket, texts, group_size=3, limit=40, temperature=1.0, seed=0):
    model, tokenizer = pocket
    prompts = [encode(tokenizer, text) for text in texts]
    noise = [uniforms(group_size, limit, seed, text) for text in texts]
    return rollout(model, tokenizer, prompts, noise, stop_ids(model, tokenizer), temperature)


TEXTS = ["20 5: On Monday the baker", "48 12: At noon", "40 9: After the storm by the harbour the old captain"]


def test_sampled_logprobs_are_those_of_the_scorer(pocket):
    for group in sample(pocket, TEXTS, temperature=0.8):
        logp, _ = completion_logprobs(pocket[0], group.prompt, group.tokens, group.mask, temperature=0.8)
        torch.testing.assert_close(group.logp, logp, rtol=0, atol=2e-5)


def test_a_group_does_not_depend_on_the_groups_beside_it(pocket, exact):
    """In float64: in float32 rounding alone can tip a draw between two tokens of tiny probability."""
    doubled = exact(), pocket[1]
    together, alone = sample(doubled, TEXTS), [sample(doubled, [text])[0] for text in TEXTS]
    assert [g.texts for g in together] == [g.texts for g in alone]


def test_finished_rows_leave_the_batch_and_nothing_else_changes(pocket, exact, monkeypatch):
    """Ended at the letter o, early or late: with rows leaving and with all kept to the end, in float64."""
    model, tokenizer = exact(), pocket[1]
    prompts, noise = [encode(tokenizer, text) for text in TEXTS], [uniforms(8, 30, text) for text in TEXTS]
    stops, sizes, real = [tokenizer.convert_tokens_to_ids("o")], [], rollouts.hidden_states
    monkeypatch.setattr(
        rollouts, "hidden_states", lambda model, ids, *args: sizes.append(len(ids)) or real(model, ids, *args)
    )
    leaving = rollout(model, tokenizer, prompts, noise, stops)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) >= 5
    assert all(before - after >= rollouts.DROP * before for before, after in pairwise(sizes) if before != after)
    monkeypatch.setattr(rollouts, "DROP", 2.0)
    for a, b in zip(leaving, rollout(model, tokenizer, prompts, noise, stops), strict=True):
        assert torch.equal(a.tokens[a.mask], b.tokens[b.mask])
        assert torch.equal(a.mask, b.mask)
        assert torch.equal(a.ended, b.ended)
        torch.testing.assert_close(a.logp, b.logp, rtol=0, atol=1e-12)


def recorded(work, model):
    """Stands for a CUDA graph: the work may not look at the loop's count, and leaves its tensors where they are."""
    cells = dict(zip(work.__code__.co_freevars, work.__closure__, strict=True))
    count = cells.pop("done")
    tensors = {name: cell.cell_contents for name, cell in cells.items() if torch.is_tensor(cell.cell_contents)}
    assert {"last", "token", "column", "visible", "lengths"} <= set(tensors)
    places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in tensors.items()}

    def again():
        now, count.cell_contents = count.cell_contents, None
        work()
        count.cell_contents = now
        assert all(cells[name].cell_contents is tensor for name, tensor in tensors.items())
        assert places == {name: (tensor.data_ptr(), tensor.shape) for name, tensor in tensors.items()}

    return again


@pytest.mark.parametrize("limit", [1, 2, 3, 40])
def test_repeating_the_same_work_for_each_token_changes_nothing(pocket, exact, monkeypatch, limit):
    """As a CUDA graph needs it, without one; ended at the letter o, early or late, in float64."""
    model, tokenizer, caught = exact(), pocket[1], []
    prompts, noise = [encode(tokenizer, text) for text in TEXTS], [uniforms(8, limit, text) for text in TEXTS]
    stops = [tokenizer.convert_tokens_to_ids("o")]
    usual = rollout(model, tokenizer, prompts, noise, stops)
    monkeypatch.setattr(rollouts, "GRAPHS", ("cpu",))
    monkeypatch.setattr(rollouts, "captured", lambda *args: caught.append(args) or recorded(*args))
    for a, b in zip(usual, rollout(model, tokenizer, prompts, noise, stops), strict=True):
        assert torch.equal(a.tokens[a.mask], b.tokens[b.mask])
        assert torch.equal(a.mask, b.mask)
        assert torch.equal(a.ended, b.ended)
        torch.testing.assert_close(a.logp, b.logp, rtol=0, atol=1e-12)
    assert len(caught) == (limit > 2), "once, after it has run once"
    assert limit < 40 or len({int(row.sum()) for group in usual for row in group.mask}) > 5

    monkeypatch.setattr(rollouts, "CAPTURABLE", {model: True})
    for a, b in zip(usual, rollout(model, tokenizer, prompts, noise, stops), strict=True):
        assert torch.equal(a.tokens[a.mask], b.tokens[b.mask])
        torch.testing.assert_close(a.logp, b.logp, rtol=0, atol=1e-12)
    assert len(caught) == (limit > 2) + (limit > 1), "at once where it has been done before"

    monkeypatch.setattr(rollouts, "CAPTURABLE", {model: False})
    rollout(model, tokenizer, prompts, noise, stops)
    assert len(caught) == (limit > 2) + (limit > 1), "nor again where it could not be done"


class FakeGraph:
    """A CUDA graph, and the contexts around its capture, without a GPU."""

    left = 0

    def __init__(self, graph=None):
        self.replay = object()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        FakeGraph.left += 1


class FailingCapture(FakeGraph):
    """PyTorch's own: where the capture failed, ending it fails, too."""

    def __exit__(self, kind, *error):
        if kind is not None:
            raise RuntimeError("operation failed due to a previous error during capture")


def test_what_can_not_be_captured_is_done_as_it_is_and_not_tried_again(monkeypatch):
    made = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made.append(FakeGraph()) or made[-1])
    monkeypatch.setattr(torch.cuda, "graph", FailingCapture)
    monkeypatch.setattr(torch.cuda, "stream", FakeGraph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(rollouts, "CAPTURABLE", {})
    done, left = [], FakeGraph.left

    def synchronises():
        done.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    def overflows():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert rollouts.captured(synchronises, "this model") is synchronises
    assert (done, rollouts.CAPTURABLE) == ([1], {"this model": False})
    assert FakeGraph.left == left + 1, "and the stream is the one of before"

    monkeypatch.setattr(torch.cuda, "graph", FakeGraph)
    with pytest.raises(torch.OutOfMemoryError):
        rollouts.captured(overflows, "another")
    assert rollouts.captured(lambda: done.append(2), "another") is made[-1].replay
    assert (done, rollouts.CAPTURABLE) == ([1, 2], {"this model": False, "another": True})


def test_no_model_is_kept_for_having_been_recorded():
    model = torch.nn.Linear(1, 1)
    rollouts.CAPTURABLE[model] = True
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_the_seed_decides(pocket):
    assert sample(pocket, TEXTS)[0].texts == sample(pocket, TEXTS)[0].texts
    assert sample(pocket, TEXTS)[0].texts != sample(pocket, TEXTS, seed=1)[0].texts
    assert not torch.equal(uniforms(4, 5, 0, 1, 2), uniforms(4, 5, 0, 12)), "seeds are kept apart"


def test_masks_end_with_the_stop_token_and_texts_leave_it_out(pocket):
    model, tokenizer = pocket
    groups = sample(pocket, TEXTS, group_size=8, limit=45)
    assert any(g.ended.any() for g in groups)
    assert any((~g.ended).any() for g in groups)
    for group in groups:
        for row, live, ended, text in zip(group.tokens, group.mask, group.ended, group.texts, strict=True):
            tokens = row[live].tolist()
            assert live.tolist() == sorted(live.tolist(), reverse=True)
            stops = [t in stop_ids(model, tokenizer) for t in tokens]
            assert stops == [False] * (len(tokens) - 1) + [bool(ended)]
            assert text == tokenizer.decode(tokens[: len(tokens) - bool(ended)])
            assert ended or len(tokens) == 45


def test_every_stop_token_counts(pocket):
    model, tokenizer = pocket
    assert stop_ids(model, tokenizer) == sorted(tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"]))
    comma = tokenizer.convert_tokens_to_ids(",")
    prompt = encode(tokenizer, TEXTS[1])
    group = rollout(model, tokenizer, [prompt], [uniforms(16, 40, 0)], [comma])[0]
    assert group.ended.any()
    assert not any("," in text for text, ended in zip(group.texts, group.ended, strict=True) if ended)


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3, 0.0])
    u = (torch.arange(1000) + 0.5) / 1000  # one draw in each thousandth: no sampling error
    counts = torch.bincount(draw(probabilities.expand(1000, 5), u), minlength=5)
    assert (counts - 1000 * probabilities).abs().max() <= 1
    assert counts[1] == counts[4] == 0


def test_draws_are_those_of_one_long_sum():
    """In float64, several blocks and a last one that is not full: the first token whose cumulated chance exceeds u."""
    g = torch.Generator().manual_seed(0)
    probabilities = torch.rand(4000, 1100, generator=g, dtype=torch.float64) ** 8 * (
        torch.rand(4000, 1100, generator=g) < 0.3
    )
    probabilities /= probabilities.sum(-1, keepdim=True)
    u = torch.rand(4000, generator=g, dtype=torch.float64)
    expected = torch.searchsorted(probabilities.cumsum(-1), u[:, None], right=True)[:, 0]
    assert torch.equal(draw(probabilities, u), expected)
    assert len(set((expected // 256).tolist())) == 5


def test_rounding_draws_no_impossible_token():
    """In single precision the threshold can round up to the total; behind it there are only tokens of probability 0."""
    g = torch.Generator().manual_seed(0)
    probabilities = torch.rand(20_000, 700, generator=g) * (torch.arange(700) < 600)
    for u in (1 - 2**-24, 1 - 2**-23):
        tokens = draw(probabilities, torch.full((20_000,), u))
        assert (probabilities.gather(1, tokens[:, None]) > 0).all()


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_draw_no_impossible_token(u):
    assert draw(torch.tensor([[0.0, 0.5, 0.5, 0.0]]), torch.tensor([u])).item() in (1, 2)


def test_low_temperature_is_greedy(pocket):
    groups = sample(pocket, TEXTS[:1], group_size=6, temperature=1e-5)
    assert len(set(groups[0].texts)) == 1


@pytest.mark.parametrize("vocab", [5, 256, 300, 1000])
def test_what_is_drawn_from_nan_is_at_least_a_token(vocab):
    """An overflow in half precision: on a GPU an id out of range would end the process; the step is to be skipped."""
    probabilities = torch.rand(4, vocab)
    probabilities[1] = torch.nan
    probabilities[2, -1] = torch.nan
    probabilities[3] = 0
    drawn = draw(probabilities / probabilities.sum(-1, keepdim=True), torch.tensor([0.999999, 0.5, 0.9, 0.5]))
    assert ((drawn >= 0) & (drawn < vocab)).all()
