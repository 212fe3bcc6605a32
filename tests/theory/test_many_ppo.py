"""Many runs of PPO against `ppo` itself, fed with the same samples, one run after the other."""

from itertools import islice

import pytest
import torch
from plain import numbers

from pgnotes.theory import many_ppo, ppo
from pgnotes.theory.many import chances, expected_returns
from pgnotes.theory.many_ppo import ppo_many, step_sizes
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.ppo import Settings, exact_kl
from pgnotes.theory.worlds import Rollout, sum_world

RECIPES = [
    Settings(6.0, batch=12, epochs=3),
    Settings(6.0, batch=12, epochs=2, clip=None),
    Settings(4.0, batch=12, epochs=2, clip=(0.1, 0.3), value_weight=0.2),
    Settings(4.0, batch=12, epochs=2, entropy_bonus=0.05),
    Settings(4.0, batch=12, epochs=2, reference_weight=0.1),
    Settings(4.0, batch=12, epochs=2, minibatches=5, value_weight=0.1, entropy_bonus=0.02),
]


@pytest.mark.parametrize("settings", RECIPES)
@pytest.mark.parametrize(
    "loss", [None, lambda logp, old, advantages, mask: -(advantages * logp * mask).sum() / len(mask)]
)
def test_each_run_is_one_of_ppo(settings, loss, monkeypatch):
    world, start, batches = sum_world(), numbers(85, 4, seed=3), []
    draw = many_ppo.rollouts

    def recorded(*given):
        batches.append(draw(*given))
        return batches[-1]

    def fixed(settings, generator):  # not random, so that all runs can be cut alike
        return list(torch.arange(settings.batch).tensor_split(settings.minibatches))

    monkeypatch.setattr(many_ppo, "rollouts", recorded)
    monkeypatch.setattr(many_ppo, "parts_of", fixed)
    monkeypatch.setattr(ppo, "parts_of", fixed)
    pairs = list(islice(ppo_many(world, settings, 3, seed=0, logits=start, loss=loss), 3))

    for run in range(3):
        given = iter([Rollout(*(each[run] for each in batch)) for batch in batches])
        monkeypatch.setattr(world, "rollout", lambda *_, given=given: next(given))
        states = islice(ppo.ppo(world, settings, 0, start, loss), 3 * (settings.epochs + 1))
        ends = [(at.old.logits, at.policy.logits.detach().clone(), at) for at in states if at.epoch == settings.epochs]
        for many, (old, now, at) in zip(pairs, ends, strict=True):
            torch.testing.assert_close(many.old[run], old)
            torch.testing.assert_close(many.now[run], now)
            torch.testing.assert_close(many.advantages[run], at.advantages)
            ratios = PrefixPolicy(now).log_prob(at.batch.sequences) - PrefixPolicy(old).log_prob(at.batch.sequences)
            ratios = torch.where(at.batch.mask, ratios.exp(), 1.0)
            torch.testing.assert_close(many.ratios[run], ratios)
            worth = [(r - 1) @ a for r, a in zip(ratios, at.advantages * at.batch.mask, strict=True)]
            assert many.promised[run].item() == pytest.approx(sum(worth).item() / 12)
    assert not torch.allclose(pairs[0].now[0], pairs[0].now[1]), "each run has samples of its own"


def test_the_seed_decides_everything():
    def last(seed):
        torch.manual_seed(seed + 10)
        return list(islice(ppo_many(sum_world(), Settings(batch=8, minibatches=2), 2, seed), 2))[-1].now

    assert torch.equal(last(5), last(5))
    assert not torch.equal(last(5), last(6))


def test_what_is_read_off_many_runs_is_what_is_read_off_one():
    world, old, now = sum_world(), numbers(3, 85, 4, seed=1), numbers(3, 85, 4, seed=2)
    one = [(PrefixPolicy(a), PrefixPolicy(b)) for a, b in zip(old, now, strict=True)]
    torch.testing.assert_close(step_sizes(world, old, now), torch.stack([exact_kl(world, a, b) for a, b in one]))
    torch.testing.assert_close(chances(world, old), torch.cat([world.probabilities(a) for a, _ in one]))
    torch.testing.assert_close(expected_returns(world, now), torch.stack([world.expected_return(b) for _, b in one]))


@pytest.mark.parametrize(("name", "value"), [("runs", 0), ("seed", -1)])
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        next(ppo_many(sum_world(), Settings(), **({"runs": 2, "seed": 0} | {name: value})))


def by_sampler(by_trainer, by_sampler):
    return by_sampler


def test_another_sampler_draws_and_either_s_log_probabilities_go_under_the_ratio():
    """One update is worked out again from the batch, with the ratio that is asked for."""
    world, settings, start = sum_world(), Settings(4.0, batch=200, epochs=1), numbers(85, 4, seed=3)
    for old_of in (None, by_sampler):
        runs = ppo_many(world, settings, 2, seed=0, logits=start, sampler=lambda logits: logits / 3, old_of=old_of)
        at = next(runs)
        theta = at.old.clone().requires_grad_()
        logp = many_ppo.log_probs(theta, at.batch.sequences)
        under = logp.detach() if old_of is None else many_ppo.log_probs(at.old / 3, at.batch.sequences)
        ratio = (logp - under).exp()
        terms = torch.minimum(ratio * at.advantages, ratio.clamp(0.8, 1.2) * at.advantages)
        (gradient,) = torch.autograd.grad(torch.where(at.batch.mask, terms, 0.0).sum() / 200, theta)
        torch.testing.assert_close(at.now, at.old + 4.0 * gradient)

        # the first symbols are drawn by the sampler: flatter than the policy's
        share = (at.batch.sequences[..., 0].flatten() == start[0].argmax()).double().mean().item()
        wanted = (start[0] / 3).softmax(0).max().item()
        assert share == pytest.approx(wanted, abs=0.06) != pytest.approx(start[0].softmax(0).max().item(), abs=0.06)
