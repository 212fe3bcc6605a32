"""Half batches of the pocket model: their means are those of gradients taken one completion at a time."""

import torch

from pgnotes.lm.pocket import halves as module
from pgnotes.lm.pocket.shorter import shortness


def test_a_half_says_the_mean_of_return_times_score(pocket, monkeypatch):
    """Against one backward pass a completion, alone in its row; and the two halves are different completions."""
    model = pocket[0].requires_grad_(True)
    parts = []
    measured = module.measured
    monkeypatch.setattr(module, "load", lambda name: (model, pocket[1]))
    monkeypatch.setattr(module, "measured", lambda model, part: parts.append(part) or measured(model, part))
    try:
        ((first, second),) = module.halves(1, half=3)
        for half, part in zip((first, second), parts, strict=True):
            assert torch.equal(half.returns, shortness(part.texts))
            scores = torch.stack([score_alone(model, part, i) for i in range(3)])
            torch.testing.assert_close(half.score, scores.mean(0), atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(half.weighted, half.returns @ scores / 3, atol=1e-3, rtol=1e-3)
        assert parts[0].texts != parts[1].texts
    finally:
        model.requires_grad_(False)


def score_alone(model, part, row):
    """∇ log π of one completion, from the model's own forward pass."""
    answer = part.tokens[row][part.mask[row]]
    ids = torch.cat([part.prompt, answer])[None]
    logits = model(input_ids=ids).logits[0, len(part.prompt) - 1 : -1]
    logp = logits.log_softmax(-1).gather(1, answer[:, None]).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(logp, list(model.parameters()))])
