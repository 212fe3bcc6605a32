"""The two worlds with somebody else in them, against trees that are walked by hand."""

import itertools
import math

import pytest
import torch
from plain import softmax

from pgnotes.theory.conversations import (
    chances_of,
    document_weights,
    gradient_of_return,
    mean_given,
    place_scores,
    retrieval_world,
    turn_weights,
    turns_world,
    with_weights,
)


def random_logits(rows, symbols, seed):
    return torch.randn(rows, symbols, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def turns_by_hand(logits):
    """(first, row, answer, chance, return) of all that can happen, as the lesson tells it."""
    probs = [softmax(row) for row in logits.tolist()]
    for truth, likely in ((0, 0.6), (1, 0.4)):
        for first in (0, 1):
            replies = [(1, 1.0)] if first == 0 else [(2, 0.3), (3 + truth, 0.7)]
            for (row, said), answer in itertools.product(replies, (0, 1)):
                chance = likely * probs[0][first] * said * probs[row][answer]
                yield first, row, answer, chance, (answer == truth) - 0.2 * first


def searches_by_hand(logits):
    """(query, document, answer, chance, return)."""
    probs = [softmax(row) for row in logits.tolist()]
    for truth, query, answer in itertools.product((1, 2), range(3), range(3)):
        fails, cost = ((0.8, 0.0), (0.5, 0.05), (0.2, 0.3))[query]
        for document, said in ((0, fails), (truth, 1 - fails)):
            chance = 0.5 * probs[0][query] * said * probs[1 + document][answer]
            yield query, document, answer, chance, (0.3 if answer == 0 else float(answer == truth)) - cost


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("world", "by_hand", "size"), [(turns_world, turns_by_hand, (5, 2)), (retrieval_world, searches_by_hand, (4, 3))]
)
def test_all_that_can_happen_is_listed(world, by_hand, size, seed):
    logits, exchange = random_logits(*size, seed), world()
    *said, chance, paid = zip(*by_hand(logits), strict=True)
    assert len(chance) == len(exchange.returns) == {2: 12, 3: 36}[exchange.rows.shape[1]]
    key = list(zip(*said, chance, paid, strict=True))
    middle = exchange.rows[:, 1] if world is turns_world else exchange.symbols[:, 1]
    mine = zip(
        exchange.symbols[:, 0].tolist(),
        middle.tolist(),
        exchange.symbols[:, -1].tolist(),
        chances_of(exchange, logits).tolist(),
        exchange.returns.tolist(),
        strict=True,
    )
    for a, b in zip(sorted(mine), sorted(key), strict=True):
        assert a == pytest.approx(b, abs=1e-14)
    assert sum(chance) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("world", "by_hand", "size"), [(turns_world, turns_by_hand, (5, 2)), (retrieval_world, searches_by_hand, (4, 3))]
)
def test_the_gradient_is_a_difference_quotient(world, by_hand, size):
    logits, h = random_logits(*size, 3), 1e-6
    exact = gradient_of_return(world(), logits)
    for row, symbol in itertools.product(range(size[0]), range(size[1])):
        moved = []
        for sign in (1, -1):
            other = logits.clone()
            other[row, symbol] += sign * h
            moved.append(sum(chance * paid for *_, chance, paid in by_hand(other)))
        assert exact[row, symbol].item() == pytest.approx((moved[0] - moved[1]) / (2 * h), abs=1e-8)


def test_scores_of_what_others_wrote_are_there_and_are_no_average_of_zero():
    logits, search = random_logits(4, 3, 0), retrieval_world()
    scores, chances = place_scores(search, logits), chances_of(search, logits)
    for place, zero in ((0, True), (1, False), (2, True)):
        mean = chances @ scores[:, place]
        assert (mean.abs().max() < 1e-12) == zero
    row = softmax(logits[1 + 2].tolist())
    m = next(i for i, s in enumerate(search.symbols.tolist()) if s == [2, 1, 1])
    wanted = [(v == 1) - row[v] for v in range(3)]
    assert scores[m, 1].view(4, 3)[3].tolist() == pytest.approx(wanted)
    assert scores[m, 1].view(4, 3)[[0, 1, 2]].abs().max() == 0


def test_a_mean_given_what_is_known():
    logits, talk = random_logits(5, 2, 4), turns_world()
    found = mean_given(talk, logits, talk.rows[:, 1])
    listed = list(turns_by_hand(logits))
    for row, value in zip(talk.rows[:, 1].tolist(), found.tolist(), strict=True):
        here = [(c, r) for _, at, _, c, r in listed if at == row]
        assert value == pytest.approx(sum(c * r for c, r in here) / sum(c for c, _ in here))
    one = torch.ones(12, dtype=torch.float64)
    assert mean_given(talk, logits, talk.symbols, one).tolist() == pytest.approx([1.0] * 12)


@pytest.mark.parametrize("seed", range(5))
def test_which_weights_are_unbiased(seed):
    talk, search = turns_world(), retrieval_world()
    a, b = random_logits(5, 2, seed), random_logits(4, 3, seed)
    bias = {
        name: with_weights(exchange, logits, weights).bias(gradient_of_return(exchange, logits)).item()
        for exchange, logits, rules in ((talk, a, turn_weights), (search, b, document_weights))
        for name, weights in rules(exchange, logits).items()
    }
    right = {name for name, length in bias.items() if length < 1e-14}
    assert right == {
        "one advantage for both turns",
        "second against its state",
        "first by the reply, second against its state",
        "document masked",
        "split at the document",
    }
    assert min(length for name, length in bias.items() if name not in right) > 1e-4


def test_those_who_asked_leave_nothing_of_the_first_turn():
    talk, logits = turns_world(), random_logits(5, 2, 7)
    mean = with_weights(talk, logits, turn_weights(talk, logits)["those who asked, among themselves"]).mean.view(5, 2)
    exact = gradient_of_return(talk, logits)
    assert mean[0].abs().max() < 1e-15
    assert torch.allclose(mean[1:], exact[1:], atol=1e-14)


def test_dividing_by_the_spread_lengthens_each_state_by_its_own():
    talk, logits = turns_world(), random_logits(5, 2, 8)
    mean = with_weights(talk, logits, turn_weights(talk, logits)["second divided by its state's spread"]).mean.view(
        5, 2
    )
    exact, listed = gradient_of_return(talk, logits), list(turns_by_hand(logits))
    for row in range(1, 5):
        here = [(c, r) for _, at, _, c, r in listed if at == row]
        mass = sum(c for c, _ in here)
        average = sum(c * r for c, r in here) / mass
        spread = math.sqrt(sum(c * (r - average) ** 2 for c, r in here) / mass)
        assert mean[row].tolist() == pytest.approx((exact[row] / spread).tolist(), abs=1e-12)


def test_bad_input_is_named():
    talk, search = turns_world(), retrieval_world()
    with pytest.raises(ValueError, match="^exchange.rows"):
        chances_of(talk, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="^exchange.symbols"):
        chances_of(search, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="^logits"):
        gradient_of_return(talk, torch.zeros(5))
    with pytest.raises(ValueError, match="^weights"):
        with_weights(talk, torch.zeros(5, 2), torch.ones(12, 3))
    with pytest.raises(ValueError, match="^known"):
        mean_given(talk, torch.zeros(5, 2), torch.ones(3))
    with pytest.raises(ValueError, match="^talk"):
        turn_weights(search, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="^search"):
        document_weights(talk, torch.zeros(5, 2))
