"""Random worlds: what each kind pays, and that hints change no return."""

import re

import pytest
import torch

from pgnotes.theory.learning import prefix_values
from pgnotes.theory.policies import prefix_rows
from pgnotes.theory.random_worlds import KINDS, random_world

SIZES = [(2, 1), (2, 4), (3, 3)]


@pytest.mark.parametrize(("vocab_size", "horizon"), SIZES)
def test_kinds_of_one_seed_share_their_policy_and_their_numbers(vocab_size, horizon):
    own, ones, end, hints, values = (random_world(kind, vocab_size, horizon, seed=3) for kind in KINDS)
    for _, policy in (ones, end, hints, values):
        assert torch.equal(policy.logits, own[1].logits)
    torch.testing.assert_close(ones[0].rewards, own[0].rewards + 1)
    assert torch.equal(end[0].rewards[..., -1], ones[0].rewards[..., -1])
    assert not end[0].rewards[..., :-1].any()
    assert hints[0].rewards[..., :-1].any() == values[0].rewards[..., :-1].any() == (horizon > 1)


@pytest.mark.parametrize(("vocab_size", "horizon"), SIZES)
@pytest.mark.parametrize("kind", ["hints", "values"])
def test_what_is_advanced_is_taken_back(kind, vocab_size, horizon):
    world, policy = random_world(kind, vocab_size, horizon, seed=5)
    plain, _ = random_world("end", vocab_size, horizon, seed=5)
    torch.testing.assert_close(world.returns(), plain.returns())
    torch.testing.assert_close(world.exact_gradient(policy), plain.exact_gradient(policy))


@pytest.mark.parametrize(("vocab_size", "horizon"), SIZES)
def test_good_hints_are_the_values_of_the_prefixes(vocab_size, horizon):
    """By every outcome that goes through a prefix; before anything is written nothing is advanced."""
    world, policy = random_world("values", vocab_size, horizon, seed=7)
    plain, _ = random_world("end", vocab_size, horizon, seed=7)
    values = prefix_values(plain, policy)
    values[0] = 0.0
    before = values[prefix_rows(world.sequences, vocab_size)]
    advanced = torch.cat([before[:, 1:] - before[:, :-1], plain.rewards[0, :, -1:] - before[:, -1:]], 1)
    torch.testing.assert_close(world.rewards[0], advanced)


def test_rewards_and_logits_are_standard_normal():
    rewards, logits = [], []
    for seed in range(200):
        world, policy = random_world("own", 3, 2, seed)
        rewards.append(world.rewards[0, ::3, 0])  # after the empty prefix, each symbol once
        logits.append(policy.logits.flatten())
    for numbers in (torch.cat(rewards), torch.cat(logits)):
        assert abs(numbers.mean()) < 4 / len(numbers) ** 0.5
        assert numbers.std() == pytest.approx(1, abs=0.1)
    assert len(set(rewards[0].tolist())) == 3


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("kind", "good"), ("kind", None), ("vocab_size", 1), ("vocab_size", 2.0), ("horizon", 0), ("seed", -1)],
)
def test_nonsense_names_the_argument(name, wrong):
    with pytest.raises(ValueError, match=rf"^{re.escape(name)} is "):
        random_world(**{"kind": "own", "vocab_size": 2, "horizon": 2, "seed": 0} | {name: wrong})
