"""Rewards compared across prompts: the rule itself, and its moments against a list of every batch."""

import itertools

import pytest
import torch
from plain import seeded

from pgnotes.theory.advantages import group_advantages, leave_one_out, pooled_leave_one_out
from pgnotes.theory.pooling import break_even_gap, two_prompts


def test_each_reward_less_the_mean_of_all_others():
    rewards = torch.randn(3, 4, dtype=torch.float64, generator=seeded(0))
    flat, found = rewards.flatten().tolist(), pooled_leave_one_out(rewards).flatten().tolist()
    for i, reward in enumerate(flat):
        others = [r for j, r in enumerate(flat) if j != i]
        assert found[i] == pytest.approx(reward - sum(others) / len(others))


def test_one_prompt_alone_is_leave_one_out_and_equal_rewards_give_zeros():
    rewards = torch.randn(1, 5, dtype=torch.float64, generator=seeded(1))
    assert torch.allclose(pooled_leave_one_out(rewards), leave_one_out(rewards), atol=1e-14)
    assert pooled_leave_one_out(torch.full((2, 3), 0.1)).abs().max() == 0


@pytest.mark.parametrize(
    "bad", [None, torch.ones(3), torch.ones(2, 1), torch.ones(2, 2).long(), torch.tensor([[1.0, float("nan")]])]
)
def test_pooled_names_what_is_wrong(bad):
    with pytest.raises(ValueError, match="^rewards"):
        pooled_leave_one_out(bad)


RULES = {
    "own": leave_one_out,
    "pooled": pooled_leave_one_out,
    "grpo": lambda rewards: group_advantages(rewards, "grpo"),
    "batch": lambda rewards: group_advantages(rewards, "reinforce_pp"),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("passing", "size", "answers"), [((1, 3), 2, 4), ((1, 2), 3, 3)])
def test_two_prompts_against_every_batch_of_answers(name, passing, size, answers):
    """Uniform policies over so many answers, of which the first few pass: every batch, every gradient."""
    batches = list(itertools.product(range(answers), repeat=2 * size))
    scores = torch.eye(answers, dtype=torch.float64) - 1 / answers
    estimates = []
    for batch in batches:
        taken = torch.tensor(batch).view(2, size)
        rewards = (taken < torch.tensor(passing)[:, None]).double()
        advantages = RULES[name](rewards)
        estimates.append((advantages[..., None] * scores[taken]).mean(1).flatten())
    estimates = torch.stack(estimates)
    mean = estimates.mean(0)
    noise = (estimates - mean).square().sum(1).mean()

    found = two_prompts([k / answers for k in passing], size, RULES[name], answers)
    assert found.noise.item() == pytest.approx(noise.item(), rel=1e-10)
    for prompt, k in enumerate(passing):
        truth = (torch.arange(answers) < k).double() @ scores / answers  # ∇p
        part = mean.view(2, answers)[prompt]
        assert torch.allclose(part, found.pulls[prompt] * truth, atol=1e-12)


@pytest.mark.parametrize("rates", [(0.1, 0.5), (0.3, 0.3), (0.05, 0.95)])
def test_pooling_never_biases_and_dividing_does(rates):
    assert two_prompts(rates, 4, pooled_leave_one_out).pulls.tolist() == pytest.approx([1, 1], abs=1e-12)
    hard, easy = two_prompts(rates, 4, RULES["batch"]).pulls.tolist()
    assert (abs(hard / easy - 1) < 1e-9) == (rates[0] in (0.3, 0.05))  # those that are alike, or mirror images


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_the_break_even_is_where_the_approximation_says(size):
    """E[A²] with a pooled baseline equals that with the group's own, both written out."""
    rate, gap = 0.3, break_even_gap(0.3, size)
    variance = rate * (1 - rate)
    own = variance * (1 + 1 / (size - 1))
    pooled = variance * (1 + 1 / (2 * size - 1)) + (size * gap / (2 * size - 1)) ** 2
    assert own == pytest.approx(pooled)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^rates"):
        two_prompts((0.1, 0.2, 0.3), 4, leave_one_out)
    with pytest.raises(ValueError, match="^rates"):
        two_prompts((0.0, 0.2), 4, leave_one_out)
    with pytest.raises(ValueError, match="^size"):
        two_prompts((0.1, 0.2), 1, leave_one_out)
    with pytest.raises(ValueError, match="^answers"):
        two_prompts((0.1, 0.2), 4, leave_one_out, 1)
    with pytest.raises(ValueError, match="^size"):
        break_even_gap(0.3, 1)
    with pytest.raises(ValueError, match="^rate"):
        break_even_gap(1.3, 4)
