"""The shared prompt and the chunked vocabulary against a plain padded model, in float64, to 1e-9."""

import pytest
import torch

from pgnotes.lm import policy
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.policy import completion_hidden, pack_size
from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.objectives import aggregate, denominator, kl_estimate, policy_loss

TEMPERATURE = 0.7


def make_groups(seed=0, vocab=260):
    """Three groups with prompts of 7, 1 and 12 tokens, and completions of 1 to 9 tokens; the last group is dead."""
    g = torch.Generator().manual_seed(seed)
    groups = []
    for prompt_length, lengths in [(7, [9, 1, 4, 6]), (1, [1, 1, 1, 1]), (12, [2, 8, 5, 1])]:
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        tokens = torch.randint(vocab, mask.shape, generator=g)
        groups.append((torch.randint(vocab, (prompt_length,), generator=g), tokens, mask))
    return groups


REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.3, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)


def plain_logprobs(model, prompt, tokens, mask):
    """One row at a time, prompt and completion concatenated, all logits at once: logps, entropies [G, R]."""
    logps, entropies = torch.zeros(mask.shape, dtype=torch.float64), torch.zeros(mask.shape, dtype=torch.float64)
    for i, (row, live) in enumerate(zip(tokens, mask, strict=True)):
        n = int(live.sum())
        logits = model(input_ids=torch.cat([prompt, row[:n]])[None]).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
        table = logits.log_softmax(-1)
        logps[i, :n] = table[torch.arange(n), row[:n]]
        entropies[i, :n] = -(table.exp() * table).sum(-1)
    return logps, entropies


def total_loss(model, start, groups, logprobs, whole_batch):
    """Policy gradient, KL, entropy bonus of a step: all rows in one batch, or group by group under one normaliser."""
    advantages = group_advantages(REWARDS, "grpo")
    width = max(mask.shape[1] for _, _, mask in groups)
    pad = lambda x: torch.nn.functional.pad(x, (0, width - x.shape[1]))  # noqa: E731
    masks = torch.cat([pad(mask) for _, _, mask in groups])
    normaliser = denominator(masks, "token")
    rows = []
    for prompt, tokens, mask in groups:
        logp, entropy = logprobs(model, prompt, tokens, mask)
        with torch.no_grad():
            reference = plain_logprobs(start, prompt, tokens, mask)[0]
        rows.append((logp, reference, entropy, mask))
    if whole_batch:
        rows = [tuple(torch.cat([pad(row[i]) for row in rows]) for i in range(4))]
        advantages = advantages.view(1, -1)
    loss = 0.0
    for (logp, reference, entropy, mask), advantage in zip(rows, advantages, strict=True):
        loss = loss + policy_loss(logp, logp.detach(), advantage, mask, "ppo", normaliser=normaliser)
        loss = loss + 0.1 * aggregate(kl_estimate(logp, reference, "k3"), mask, "token", normaliser)
        loss = loss - 0.05 * aggregate(entropy, mask, "token", normaliser)
    return loss


@pytest.fixture(params=["qwen2", "gpt2"])
def fresh(request, exact):
    """A function that gives fresh float64 models of one kind."""
    name = "pocket" if request.param == "qwen2" else request.getfixturevalue("gpt2")
    return lambda: exact(name)


@pytest.mark.parametrize("pack", [0, 1, 2])
@pytest.mark.parametrize("chunk_logits", [260 * 1000, 260 * 5, 260])
def test_logprobs_loss_and_every_gradient_equal_the_plain_padded_model(fresh, chunk_logits, pack):
    """The plain model here is the library's own, called with nothing but ids."""
    groups = make_groups()
    start, plain, fast = fresh(), fresh(), fresh()

    def ours(model, prompt, tokens, mask):
        how = {"pack": pack, "entropy": "trained"}
        return completion_logprobs(model, prompt, tokens, mask, TEMPERATURE, chunk_logits, **how)

    with torch.no_grad():
        for model in (plain, fast):  # away from the start model, so that the KL has a gradient
            g = torch.Generator().manual_seed(1)
            for p in model.parameters():
                p += 0.02 * torch.randn(p.shape, generator=g, dtype=p.dtype)
    for prompt, tokens, mask in groups:
        for found, expected in zip(
            ours(fast, prompt, tokens, mask), plain_logprobs(plain, prompt, tokens, mask), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
            assert (found[~mask] == 0).all()
    expected = total_loss(plain, start, groups, plain_logprobs, whole_batch=True)
    found = total_loss(fast, start, groups, ours, whole_batch=False)
    expected.backward()
    found.backward()
    assert found.item() == pytest.approx(expected.item(), abs=1e-9)
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        assert b.grad.abs().max() > 1e-8, f"{name} has no gradient to compare"
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_the_tied_embedding_receives_both_gradients(fresh):
    """Once as the input's table, once as the head: each alone differs from the sum."""
    model = fresh()
    prompt, tokens, mask = make_groups()[0]
    model.get_output_embeddings().weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    completion_logprobs(model, prompt, tokens, mask)[0].sum().backward()
    parts = [model.get_input_embeddings().weight.grad, model.get_output_embeddings().weight.grad]
    tied = fresh()
    completion_logprobs(tied, prompt, tokens, mask)[0].sum().backward()
    torch.testing.assert_close(tied.get_input_embeddings().weight.grad, parts[0] + parts[1], rtol=0, atol=1e-9)
    assert all(part.abs().max() > 1e-3 for part in parts)


def test_packed_rows_by_hand(monkeypatch):
    """Three completions of 3, 1 and 2 live tokens after a prompt of two, two completions to a row."""
    seen = {}

    def trunk(model, ids, positions, mask):
        seen.update(ids=ids, positions=positions, mask=mask[:, 0].int())
        return ids[..., None].double()  # a hidden state that says which token it stands on

    monkeypatch.setattr(policy, "hidden_states", trunk)
    prompt, tokens = torch.tensor([8, 9]), torch.tensor([[11, 12, 13], [21, 0, 0], [31, 32, 0]])
    hidden = completion_hidden(None, prompt, tokens, tokens > 0, pack=2)
    assert hidden[:, 0].tolist() == [9, 11, 12, 9, 9, 31]
    assert seen["ids"].tolist() == [[8, 9, 11, 12], [8, 9, 31, 0]]
    assert seen["positions"][:, :3].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert seen["mask"][0].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]

    # The third after the first: it sees the prompt and itself.
    completion_hidden(None, prompt, tokens, tokens > 0, pack=3)
    assert seen["ids"].tolist() == [[8, 9, 11, 12, 31]]
    assert seen["positions"].tolist() == [[0, 1, 2, 3, 2]]
    assert seen["mask"][0, 4].tolist() == [1, 1, 0, 0, 1]


def test_how_many_completions_share_a_row():
    """All of them in a wide model, few in a narrow one or where they are long, against every count tried."""
    assert pack_size(63, 21, 8, 576) == 8
    assert pack_size(43, 50, 16, 128) == 4
    assert pack_size(10, 2000, 4, 576) == 1
    for prompt, length, hidden in ((5, 30, 64), (400, 10, 64), (50, 300, 896), (1000, 100, 896)):
        costs = [-(-12 // k) * (prompt + k * length) * (6 * hidden + prompt + k * length) for k in range(1, 13)]
        assert costs[pack_size(prompt, length, 12, hidden) - 1] == min(costs)


def test_gradients_that_meet_at_the_end_of_the_prompt_are_added_up_in_one_order(monkeypatch):
    """Sixteen completions begin there; a sum in the order of the threads would end a resumed run with other digits."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, 63 + 16 * 25, 576, generator=generator, requires_grad=True)
    back = torch.randn(16 * 26, 576, generator=generator)
    monkeypatch.setattr(policy, "hidden_states", lambda *args: states)
    tokens = torch.ones(16, 26, dtype=torch.long)

    def gradient():
        states.grad = None
        completion_hidden(None, tokens[0].new_ones(63), tokens, tokens > 0, pack=16).backward(back)
        return states.grad

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(20))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(first[0, 62], back.view(16, 26, -1)[:, 0].sum(0))
