"""The engine under every member of the family: its gradient, several rewards, weights for another sampler."""

import dataclasses
import json

import pytest
import torch
from fixed import FixedRewards

from pgnotes.lm import grpo, rollout
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError, RewardError
from pgnotes.lm.grpo import train, train_step
from pgnotes.lm.learner import learner
from pgnotes.lm.logprobs import completion_logprobs
from pgnotes.lm.tasks import digits_and_length, from_reward, paid_apart
from pgnotes.theory.advantages import gdpo_advantages, group_advantages
from pgnotes.theory.mismatch import sampler_weights
from pgnotes.theory.token_weights import loss_weights

SMOKE = dataclasses.replace(GRPOConfig.preset("smoke"), threads=1)
SMALL = dataclasses.replace(SMOKE, prompts_per_step=3, group_size=4, length=20, digit_sum=5, max_new_tokens=90, beta=0)
REWARDS = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
NEW = {
    "sapo": {"loss": "sapo"},
    "dppo": {"loss": "dppo"},
    "gmpo": {"loss": "gmpo", "aggregate": "sequence", "clip": (0.4, 0.4)},
    "luspo": {"loss": "gspo", "aggregate": "sum"},
    "maxrl": {"advantages": "maxrl"},
    "lite_ppo": {"advantages": "lite_ppo"},
    "gdpo": {"advantages": "gdpo"},
}


def moved(run):
    """Takes a step so far that ratios leave their bands, and forgets it in the record."""
    for p in run.policy.trainable().values():
        p.data -= 3e-3 * p.grad.sign()
    run.optimizer.zero_grad()
    return {}


@pytest.mark.parametrize("kind", ["sapo", "dppo", "gmpo"])
def test_the_second_pass_has_the_gradient_that_its_weights_say(monkeypatch, kind):
    """Σ weight · ∇ log π under the policy after the first update, which is another one than sampled."""
    clip = (0.01, 0.01) if kind == "dppo" else (0.2, 0.28)
    config = dataclasses.replace(SMALL, epochs=2, loss=kind, clip=clip, gate=(2.0, 3.0), aggregate="sum")
    run, found = learner(config, task=FixedRewards(REWARDS)), {}

    def update(run):
        if found:
            return {}
        found["first"] = True
        return moved(run)

    monkeypatch.setattr(grpo, "update", update)
    train_step(run, 0)
    gradient = {name: p.grad.clone() for name, p in run.policy.trainable().items()}
    run.optimizer.zero_grad()

    flat, silent, tokens = 0.0, 0, 0
    for group, advantages in zip(run.groups, group_advantages(torch.tensor(REWARDS), "grpo"), strict=True):
        logp, _ = completion_logprobs(run.policy.model, group.prompt, group.tokens, group.mask)
        old = group.logp
        weights = loss_weights(logp, old, advantages, group.mask, kind, clip, (2.0, 3.0))
        assert (logp - old).abs().max() > 0.3
        silent += ((weights == 0) & group.mask & (advantages != 0)[:, None]).sum().item()
        tokens += (group.mask & (advantages != 0)[:, None]).sum().item()
        flat = flat - (weights * logp).sum() / 12
    flat.backward()
    for name, p in run.policy.trainable().items():
        torch.testing.assert_close(gradient[name], p.grad, rtol=1e-3, atol=2e-6)
    assert (silent > 0) == (kind != "sapo")
    assert silent < tokens


@pytest.mark.parametrize("name", NEW)
def test_each_of_them_trains(name):
    """Two steps of two passes: finite numbers, and weights that have moved."""
    config = dataclasses.replace(SMOKE, epochs=2, reward="shaped", **NEW[name])
    run = learner(config)
    before = {key: p.detach().clone() for key, p in run.policy.trainable().items()}
    for step in range(2):
        record, _ = train_step(run, step)
        assert record["skipped"] == ""
        assert 0 < record["grad_norm"] < 100
        json.dumps(record, allow_nan=False)
    assert run.updates == 4
    assert any((p - before[key]).abs().max() > 1e-5 for key, p in run.policy.trainable().items())


# several rewards


def test_gdpo_takes_the_task_s_two_rewards_each_alone():
    """As the functions pay them, nothing for a completion that was cut off."""
    run = learner(dataclasses.replace(SMALL, advantages="gdpo", reward="steep"))
    groups = grpo.sample_groups(run, 0)
    groups[0].ended[1] = False
    found = grpo.advantages_of(run, groups, torch.tensor(REWARDS))
    table = torch.tensor([[run.task.for_length(g.texts), run.task.for_digits(g.texts)] for g in groups])
    table[0, :, 1] = 0
    assert len(table.unique()) > 4
    torch.testing.assert_close(found, gdpo_advantages(table.transpose(0, 1)))


@pytest.mark.parametrize(
    ("kind", "near", "passing"),
    [("binary", (0.0, 0.0), 0.0), ("shaped", (1 - 2 / 12, 1 - 1 / 7), 0.2), ("steep", (0.25, 0.5), 0.4)],
)
def test_the_two_rewards_add_up_to_the_one(kind, near, passing):
    """A text two characters short whose digits add up to one too many; and one that passes."""
    task = digits_and_length(12, 7, reward=kind)
    short, right = "it has 8..", "seven is 16."
    assert task.for_length([short, right]) == pytest.approx([near[0], 1.0])
    assert task.for_digits([short, right, "no digit at all"]) == pytest.approx([near[1], 1.0, 0.0])
    assert task.reward([short, right]) == pytest.approx([passing * sum(near), 1.0])
    assert [function([right])[0] for function in task.rewards] == [1.0, 1.0]


def test_gdpo_is_refused_where_a_task_has_one_reward_and_nothing_is_written(tmp_path):
    config, task = dataclasses.replace(SMOKE, advantages="gdpo"), from_reward(lambda completions: [0.5] * 4)
    with pytest.raises(BadInputError, match="^advantages is 'gdpo'"):
        train(config, tmp_path / "run", task=task, say=str)
    assert not list(tmp_path.rglob("*.json*"))


def test_a_reward_of_several_that_fails_is_named():
    task = digits_and_length(12, 7)

    class Broken:
        rewards = (task.for_length, lambda completions, prompts: completions[9])

    with pytest.raises(RewardError, match="<lambda> failed on completion 1 of 2"):
        paid_apart(Broken(), "", ["a", "b"])


# another sampler


def hotter(policy, prompts, noise, temperature):
    """Samples at a higher temperature than the policy is scored at."""
    return rollout.generate(policy, prompts, noise, 1.2)


@pytest.mark.parametrize(
    ("rule", "bounds"), [("token_mask", (0.9, 1.1)), ("sequence", (0.0, 3.0)), ("geometric_mask", (0.99, 1.006))]
)
def test_tokens_are_weighed_by_the_rule_that_is_asked_for(monkeypatch, rule, bounds):
    floor, cap = bounds
    config = dataclasses.replace(SMALL, sampler_rule=rule, sampler_floor=floor, sampler_cap=cap)
    run, given, weighed = learner(config, task=FixedRewards(REWARDS), generate=hotter), [], []
    loss, weigh = grpo.policy_loss, grpo.sampler_weights

    def keep(logp, logp_old, advantages, *rest, **more):
        given.append(advantages)
        return loss(logp, logp_old, advantages, *rest, **more)

    def keep_weights(*args):
        weighed.append(args)
        return weigh(*args)

    monkeypatch.setattr(grpo, "policy_loss", keep)
    monkeypatch.setattr(grpo, "sampler_weights", keep_weights)
    train_step(run, 0)
    live = [group for group in run.groups if group.advantages.any()]
    assert len(given) == len(weighed) == len(live) == 2
    for advantages, (now, sampled, mask, *asked), group in zip(given, weighed, live, strict=True):
        assert asked == [cap, rule, floor]
        assert torch.equal(sampled, group.logp)
        assert (now - sampled)[mask].abs().max() > 0.1, "the scorer's numbers, not the sampler's"
        weights = sampler_weights(now, group.logp, group.mask, cap, rule, floor)
        torch.testing.assert_close(advantages, group.advantages[:, None] * weights)
        if rule != "sequence":
            assert 0 < (weights[group.mask] == 0).float().mean() < 1
