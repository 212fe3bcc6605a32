"""One pair, three answers: gradient steps against the formula, and the lesson's figures."""

import math
from itertools import islice

import pytest
import torch
from plain import CLOSE, softmax

from pgnotes.theory.displacement import train_on_pair


def by_hand(features, weights, winner, loser, beta, step_size, steps):
    """Plain Python: the gradient of the loss in w is -β σ(-m) (φ_w - φ_l), for the normaliser drops out."""
    w = list(weights)
    apart = [a - b for a, b in zip(features[winner], features[loser], strict=True)]
    start = sum(d * x for d, x in zip(apart, w, strict=True))
    for _ in range(steps):
        margin = beta * (sum(d * x for d, x in zip(apart, w, strict=True)) - start)
        pull = beta / (1 + math.exp(margin))
        w = [x + step_size * pull * d for x, d in zip(w, apart, strict=True)]
    margin = beta * (sum(d * x for d, x in zip(apart, w, strict=True)) - start)
    return softmax([sum(f * x for f, x in zip(row, w, strict=True)) for row in features]), math.log1p(math.exp(-margin))


@pytest.mark.parametrize("x", [0.0, 1.0, 1.6])
@pytest.mark.parametrize("steps", [0, 1, 100])
def test_steps_are_those_computed_by_hand(x, steps):
    features = [[1.0, 0.0], [-1.0, 0.2], [x, 0.3]]
    logp, loss = next(islice(train_on_pair(features, [0.6, 0.0], 0, 2, 0.1, 1.0), steps, None))
    probs, value = by_hand(features, [0.6, 0.0], 0, 2, 0.1, 1.0, steps)
    assert logp.exp().tolist() == pytest.approx(probs, abs=1e-12)
    assert loss.item() == pytest.approx(value, abs=1e-12)


def test_several_policies_side_by_side_are_each_alone():
    features = torch.tensor([[[1.0, 0.0], [-1.0, 0.2], [x, 0.3]] for x in (0.0, 1.6)], dtype=torch.float64)
    both = next(islice(train_on_pair(features, [0.6, 0.0], 0, 2, 0.1, 1.0), 30, None))[0]
    for one, row in zip(features, both, strict=True):
        torch.testing.assert_close(
            next(islice(train_on_pair(one, [0.6, 0.0], 0, 2, 0.1, 1.0), 30, None))[0], row, **CLOSE
        )


def test_the_chosen_answer_falls_and_the_third_one_takes_all():
    """The lesson's example: No, Yes, Never with x = 1.6."""
    probs, loss = by_hand([[1.0, 0.0], [-1.0, 0.2], [1.6, 0.3]], [0.6, 0.0], 0, 2, 0.1, 1.0, 100)
    assert [round(p, 3) for p in probs] == [0.015, 0.983, 0.003]
    assert round(loss, 3) == 0.592


def test_bad_input_is_named():
    good = (torch.eye(3), torch.zeros(3), 0, 1, 0.1, 1.0)
    for place, bad, name in (
        (1, torch.zeros(2), "weights"),
        (2, 3, "winner"),
        (3, -1, "loser"),
        (4, 0.0, "beta"),
        (5, -1.0, "step_size"),
    ):
        arguments = list(good)
        arguments[place] = bad
        with pytest.raises(ValueError, match=name):
            next(train_on_pair(*arguments))
