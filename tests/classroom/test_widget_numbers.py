"""What widgets show is what the formulas and the model say: lesson 01's; lesson 09's have `test_run_pictures.py`."""

import itertools

import pytest
import torch

from pgnotes.classroom.widgets import gaussian_policy, next_token, policy_update
from pgnotes.classroom.widgets.next_token import LONGEST, REQUEST
from pgnotes.lm.models import encode
from pgnotes.lm.pocket.continuations import continuations
from pgnotes.lm.rollout import uniforms


def test_policy_update_is_the_update_of_the_formula():
    theta = torch.tensor(policy_update.START, dtype=float)
    pi = torch.softmax(theta, 0)
    for action, reward, size in itertools.product(range(3), (-2.0, 0.0, 1.5), (0.0, 0.7)):
        chosen = torch.tensor([float(i == action) for i in range(3)])
        after = torch.softmax(theta + size * reward * (chosen - pi), 0)
        entropies = [-(p * p.log()).sum().item() for p in (pi, after)]
        n = policy_update.numbers(action, reward, size)
        assert n["after"] == pytest.approx(after.tolist(), abs=1e-12)
        assert n["kl"] == pytest.approx((pi * (pi / after).log()).sum().item(), abs=1e-12)
        assert n["entropy"] == pytest.approx(entropies, abs=1e-12)


@pytest.mark.parametrize(("action", "std", "bonus"), [(2.0, 1.0, 0.0), (-1.5, 0.5, 0.1)])
def test_gaussian_policy_is_one_sampled_step_and_many_exact_ones(action, std, bonus):
    """The pushes by autograd; the path by quadrature of reward times score, step by step."""
    n = gaussian_policy.numbers(action, std, bonus)
    mu, log_std = torch.tensor([0.0, torch.tensor(std).log()], dtype=torch.float64).requires_grad_().unbind()
    density = torch.distributions.Normal(mu, log_std.exp())
    pushes = torch.autograd.grad(density.log_prob(torch.tensor(action)), (mu, log_std))
    assert n["pushes"] == pytest.approx([float(push) for push in pushes], rel=1e-5)
    after = torch.distributions.Normal(0.15 * pushes[0], (log_std + 0.15 * pushes[1]).exp())
    assert n["densities"][1][77] == pytest.approx(after.log_prob(gaussian_policy.GRID[77]).exp().item(), rel=1e-4)

    mean, spread = 0.0, std
    for k in range(3):
        assert (n["means"][k], n["stds"][k]) == pytest.approx((mean, spread), rel=1e-6)
        z = torch.linspace(-10, 10, 20_001, dtype=torch.float64)
        weight = torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5 * torch.exp(-((mean + spread * z - 2) ** 2) / 2)
        by_mean, by_log = (torch.trapezoid(weight * score, z).item() for score in (z / spread, z**2 - 1))
        mean, spread = mean + 0.5 * by_mean, spread * float(torch.tensor(0.5 * (by_log + bonus)).exp())


def test_next_token_is_the_model_s_own_distribution(pocket):
    model, tokenizer = pocket
    start = "sold 1"
    written = tokenizer(start, add_special_tokens=False)["input_ids"]
    ids = torch.cat([encode(tokenizer, REQUEST), torch.tensor(written)])
    probs = model(ids[None]).logits[0, -1].double().softmax(0)
    n = next_token.numbers(start, 2.0, 3)
    assert n["before"] == pytest.approx(sorted(probs.tolist(), reverse=True)[:12], rel=1e-4)

    # temperature 2, and the three likeliest
    kept = probs.sqrt() * (probs >= probs.topk(3).values[-1])
    kept = kept / kept.sum()
    assert n["after"][:3] == pytest.approx(kept.topk(3).values.tolist(), rel=1e-4)
    assert n["after"][3:] == [0.0] * 9
    ratios = (kept / probs)[kept > 0]
    assert n["kl"] == pytest.approx((kept[kept > 0] * ratios.log()).sum().item(), rel=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (2.5, 3)])
def test_what_it_writes_are_continuations_up_to_the_end_or_an_ellipsis(pocket, temperature, top_k):
    (model, tokenizer), start = pocket, "sold 12 loaves and "
    widget = next_token.next_token()
    texts = widget.finish(widget.settings | {"start": start, "temperature": temperature, "top_k": top_k})

    prompt, noise = next_token.ids_of(start), uniforms(len(texts), LONGEST - len(start), "next token")
    tokens = torch.stack(list(continuations(model, prompt, noise, temperature, top_k)), 1)
    lines = [tokenizer.decode(row).partition(tokenizer.eos_token) for row in tokens.tolist()]
    assert texts == [start + written + ("" if end else "…") for written, end, _ in lines]


def test_what_the_pocket_model_writes_depends_on_the_settings_alone():
    widget = next_token.next_token()
    settings = widget.settings | {"temperature": 0.5}
    shares = []
    first = widget.finish(settings, shares.append)
    assert first == widget.finish(settings)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert all(line.startswith("sold 12 loaves and ") for line in first)
    assert first != widget.finish(settings | {"temperature": 3.0})
    assert len(set(widget.finish(settings | {"top_k": 1}))) == 1, "top-1 leaves no choice"
