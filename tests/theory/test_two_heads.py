"""The weight of the critic's part of the loss: under Adam it is nothing to a table, and much to shared numbers."""

import pytest
import torch

from pgnotes.theory import two_heads as module
from pgnotes.theory.many import expected_returns, rollouts
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.two_heads import heads, shorten, start_of, train_with_weight
from pgnotes.theory.worlds import sum_world

WORLD = sum_world()


def test_separate_tables_under_adam_do_not_see_the_weight():
    """Adam divides a gradient by its own size; with plain steps, or shared numbers, the weight is seen."""

    def gap(shared, optimiser, lr):
        low, high = (train_with_weight(WORLD, weight, shared, optimiser, lr, 3, 0, 30) for weight in (0.5, 5.0))
        return (low - high).abs().max().item()

    assert gap(False, "adam", 0.05) < 1e-6
    assert gap(False, "sgd", 0.5) > 0.01
    assert gap(True, "adam", 0.01) > 0.01


def test_one_clip_over_both_lets_adam_see_the_weight():
    """The critic's part lengthens the gradient, and the clip then shortens the actor's with it."""
    low, high = (train_with_weight(WORLD, c1, False, "adam", 0.05, 3, 0, 60, clip=0.5) for c1 in (0.5, 50.0))
    assert (low - high).abs().max() > 0.01
    loose = train_with_weight(WORLD, 0.5, False, "adam", 0.05, 3, 0, 10, clip=1e9)
    assert torch.equal(loose, train_with_weight(WORLD, 0.5, False, "adam", 0.05, 3, 0, 10))


def test_each_run_is_clipped_by_its_own_length():
    parameters = [torch.zeros(3, 2, 2, requires_grad=True), torch.zeros(3, 2, 1, requires_grad=True)]
    parameters[0].grad, parameters[1].grad = torch.zeros(3, 2, 2), torch.zeros(3, 2, 1)
    parameters[0].grad[0, 0, 0], parameters[1].grad[0, 1, 0] = 3.0, -4.0  # of length 5
    parameters[0].grad[1, 1, 1] = 0.2
    shorten(parameters, 0.5)
    assert parameters[0].grad[:, 0, 0].tolist() == pytest.approx([0.3, 0.0, 0.0])
    assert parameters[1].grad[:, 1, 0].tolist() == pytest.approx([-0.4, 0.0, 0.0])
    assert parameters[0].grad[1, 1, 1].item() == pytest.approx(0.2)


def test_it_learns():
    start = WORLD.expected_return(PrefixPolicy(torch.zeros(85, 4)))
    for shared, lr in ((False, 0.1), (True, 0.03)):
        found = expected_returns(WORLD, train_with_weight(WORLD, 0.5, shared, "adam", lr, 3, 0, 60))
        assert (found > start + 0.4).all()


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_a_plain_step_is_both_gradients(lam, monkeypatch):
    """Two steps of separate tables: the score times Â, and twice the error times the weight at each visited prefix."""
    seen = []
    monkeypatch.setattr(module, "rollouts", lambda *given: seen.append(rollouts(*given)) or seen[-1])
    found = train_with_weight(WORLD, 0.3, False, "sgd", 0.8, runs=2, seed=1, steps=2, batch=5, lam=lam)

    for run in range(2):
        theta, values = torch.zeros(85, 4, dtype=torch.float64), torch.zeros(85, dtype=torch.float64)
        for batch in seen:
            sequences, mask, rewards = (each[run] for each in batch)
            rows = prefix_rows(sequences, 4)
            advantages = module.gae(rewards, values[rows], mask, lam=lam)
            theta = theta + 0.8 * PrefixPolicy(theta).score(sequences, advantages * mask).mean(0)
            errors = (advantages * mask).flatten() * 2 * 0.3 / 5
            values = values + 0.8 * torch.zeros(85, dtype=torch.float64).index_add(0, rows.flatten(), errors)
        torch.testing.assert_close(found[run], theta)


def test_both_start_as_uniform_with_values_of_zero():
    for shared, entries in ((True, 3), (False, 2)):
        parameters = start_of(WORLD, 2, shared, torch.Generator().manual_seed(0))
        logits, values = heads(parameters)
        assert len(parameters) == entries
        assert logits.shape == (2, 85, 4)
        assert values.shape == (2, 85)
        assert logits.abs().max() == values.abs().max() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight", 0),
        ("optimiser", "adagrad"),
        ("lr", -1),
        ("runs", 0),
        ("steps", 0),
        ("seed", -1),
        ("lam", 2),
        ("clip", 0),
    ],
)
def test_bad_arguments_are_named(name, value):
    given = {"weight": 0.5, "shared": False, "optimiser": "adam", "lr": 0.1, "runs": 1, "seed": 0, "steps": 1}
    with pytest.raises(ValueError, match=f"^{name} "):
        train_with_weight(WORLD, **(given | {name: value}))
