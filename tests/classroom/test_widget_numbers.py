"""What widgets show is what the formulas and the model say: lessons 01, 06; 09 has `test_run_pictures.py`."""

import itertools
import statistics

import pytest
import torch

from pgnotes.classroom.widgets import (
    credit_matrix,
    gaussian_policy,
    next_token,
    past_noise,
    policy_update,
    two_presses,
)
from pgnotes.classroom.widgets.next_token import LONGEST, REQUEST
from pgnotes.lm.models import encode
from pgnotes.lm.pocket.continuations import continuations
from pgnotes.lm.rollout import uniforms
from pgnotes.theory.credit import token_weights, variance_by_step
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.random_worlds import random_world
from pgnotes.theory.worlds import TokenWorld


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


@pytest.mark.parametrize(("gamma", "cost"), [(0.5, 1.5), (0.9, 1.5), (0.0, 0.75), (1.0, 1.0)])
def test_the_button_s_arrows_are_the_exact_gradient_and_the_usual_form_s_mean(gamma, cost):
    paid = torch.tensor([[0.0, 1.0], [0.0, -cost]], dtype=torch.float64)
    button = TokenWorld(2, 2, lambda sequences, prompt: paid[torch.arange(2), sequences])
    for steps in (0, 7):
        walks = two_presses.numbers(gamma, cost, steps)["walks"]
        for rule, walk in walks.items():
            logits = torch.tensor([[0.0, walk["logit"]]], dtype=torch.float64)
            policy = PrefixPolicy(logits.expand(3, 2))
            if rule == "to_go":
                slope = button.exact_gradient(policy, gamma).sum(0)[1]
            else:
                weights = token_weights(button.rewards, "usual", gamma)
                estimates = token_estimates(button, policy, weights)
                slope = moments_of(outcomes(button, policy).chances, estimates).mean.view(3, 2).sum(0)[1]
            assert walk["derivative"] == pytest.approx(slope.item(), abs=1e-12)
            assert walk["worth"] == pytest.approx(button.expected_return(policy, gamma).item(), abs=1e-12)
    assert walks["usual"]["logit"] == pytest.approx(0.0) or (walks["usual"]["logit"] < 0) == (cost > 1)


def ratios_of(kind, horizon, seeds):
    for seed in seeds:
        world, policy = random_world(kind, 2, horizon, seed)
        to_go, whole = (token_weights(world.rewards, rule) for rule in ("to_go", "whole"))
        yield (variance_by_step(world, policy, to_go).sum() / variance_by_step(world, policy, whole).sum()).item()


@pytest.mark.parametrize("kind", past_noise.MEDIANS)
def test_the_first_worlds_of_past_noise_are_typical_and_the_medians_true(kind):
    for horizon in (1, 3, 6, 8):
        median = statistics.median(ratios_of(kind, horizon, range(30)))
        assert past_noise.numbers(kind, horizon, 0.0, 0)["median"] == pytest.approx(median, abs=0.0051)
    first = past_noise.numbers(kind, 6, 0.0, 0)["ratio"]
    assert first == pytest.approx(past_noise.MEDIANS[kind][5], rel=0.03)


def test_the_button_pays_by_turn_and_not_by_press():
    """Waiting and then pressing costs, as lesson 06 tells the game."""
    n = two_presses.numbers(1.0, 1.5, 0)
    pays = {(0, 0): 0.0, (0, 1): -1.5, (1, 0): 1.0, (1, 1): -0.5}  # the four outcomes, equally likely at a logit of 0
    assert n["walks"]["to_go"]["worth"] == pytest.approx(sum(pays.values()) / 4)


def test_small_random_hints_cost_less_than_large_ones():
    """A third of the hints: dropping the past makes the variance 1.45 times as large, and lowers it in no world."""
    ratios = []
    for seed in range(30):
        (end, policy), (hints, _) = (random_world(kind, 2, 6, seed) for kind in ("end", "hints"))
        rewards = end.rewards + (hints.rewards - end.rewards) / 3
        whole, to_go = (
            variance_by_step(end, policy, token_weights(rewards, rule)).sum() for rule in ("whole", "to_go")
        )
        ratios.append((to_go / whole).item())
    assert statistics.median(ratios) == pytest.approx(1.45, abs=0.005)
    assert min(ratios) > 1


def test_what_decides_is_not_the_taking_back():
    """Random and good hints are both taken back; the past is worth keeping with the one and not with the other."""
    best = {kind: [past_noise.numbers(kind, 6, 1.0, seed)["best"] for seed in range(8)] for kind in ("hints", "values")}
    assert min(best["hints"]) > 0.8
    assert max(best["values"]) < 0.4


def test_the_slip_of_the_credit_matrix_is_token_3():
    n = credit_matrix.numbers("usual", "slip", 1.0)
    assert n["rewards"].index(-1) == 3, "counted from 0"
    assert n["weights"] == [0.0] * 4 + [1.0] * 4
