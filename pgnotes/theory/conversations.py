"""Two small worlds in which somebody else speaks between two decisions: a reply to a question, a retrieved document.

All that can happen is listed, so that the gradient is exact whatever is said in between (lesson 15).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_booleans, check_indices, check_real, check_shape
from pgnotes.theory.estimators import Moments, moments_of

# two turns: guess, or ask and be told
GUESS, ASK = 0, 1
FAVOURITE = 0.6  # how often the truth is A
TELLS = 0.7  # how often a reply names the truth; else it says nothing
ASKING = 0.2  # what a question costs

# retrieval: a query, a document, an answer
UNHELPFUL = (0.8, 0.5, 0.2)  # how often the document does not name the truth, by query: vague, plain, exact
WRITING = (0.0, 0.05, 0.3)  # what a query costs
SILENCE = 0.3  # what "I do not know" earns; a right answer 1, a wrong one 0


class Exchange(NamedTuple):
    """All M ways in which an exchange of T symbols can go (lesson 15).

    A policy has a softmax row for each situation, logits [rows, V].
    """

    rows: Tensor  # [M, T], the row that each symbol is looked up in
    symbols: Tensor  # [M, T]
    ours: Tensor  # [M, T] bool, True where the policy wrote the symbol
    nature: Tensor  # [M], how likely all else is, given what the policy wrote
    returns: Tensor  # [M]


def turns_world() -> Exchange:
    """Guess at once, or ask, hear a reply, and answer: A or B, 12 outcomes (lesson 15).

    The truth is A in 60 %. A reply names it in 70 %, else says nothing. A right answer earns 1, a question costs 0.2.
    Rows of the policy, each of two symbols: 0 guess or ask; what to answer 1 after a guess, 2 when told nothing, 3 when
    told A, 4 when told B.
    """
    rows, symbols, nature, returns = [], [], [], []
    for truth, likely in ((0, FAVOURITE), (1, 1 - FAVOURITE)):
        for first, row, chance in ((GUESS, 1, 1.0), (ASK, 2, 1 - TELLS), (ASK, 3 + truth, TELLS)):
            for answer in (0, 1):
                rows.append([0, row])
                symbols.append([first, answer])
                nature.append(likely * chance)
                returns.append(float(answer == truth) - ASKING * first)
    return listed(rows, symbols, [[True, True]] * len(rows), nature, returns)


def retrieval_world() -> Exchange:
    """Write a query, get a document, answer: three symbols, and rows shared by all three, 36 outcomes (lesson 15).

    The truth is 1 or 2, equally likely. A document is 0 (off the point) or names the truth; the more exact the query,
    0, 1 or 2, the likelier it does, and the more the query costs. The answer 0, "I do not know", earns 0.3, a right one
    1.  As in a language model one table continues everything: row 0 opens, row 1 + v continues after symbol v. So it
    has an opinion about documents too, though it does not write them.
    """
    rows, symbols, nature, returns = [], [], [], []
    for truth in (1, 2):
        for query, (fails, cost) in enumerate(zip(UNHELPFUL, WRITING, strict=True)):
            for document, chance in ((0, fails), (truth, 1 - fails)):
                for answer in range(3):
                    rows.append([0, 1 + query, 1 + document])
                    symbols.append([query, document, answer])
                    nature.append(chance / 2)
                    returns.append((SILENCE if answer == 0 else float(answer == truth)) - cost)
    return listed(rows, symbols, [[True, False, True]] * len(rows), nature, returns)


def listed(rows: list, symbols: list, ours: list, nature: list, returns: list) -> Exchange:
    """The same as tensors."""
    places = torch.tensor(rows), torch.tensor(symbols), torch.tensor(ours)
    return Exchange(*places, *(torch.tensor(each, dtype=torch.float64) for each in (nature, returns)))


# what a policy makes of it


def chances_of(exchange: Exchange, logits: Any) -> Tensor:
    """How likely each outcome is, [M]: what nature does, times the policy's symbols; gradients flow.

    logits: [rows, V].  ValueError naming the argument.
    """
    logp = check_logits(exchange, logits).log_softmax(-1)[exchange.rows, exchange.symbols]
    return exchange.nature * torch.where(exchange.ours, logp, 0.0).sum(1).exp()


def gradient_of_return(exchange: Exchange, logits: Any) -> Tensor:
    """∇J, [rows, V], by differentiating the sum over all outcomes (lesson 15)."""
    with torch.enable_grad():
        theta = check_logits(exchange, logits).detach().requires_grad_()
        return torch.autograd.grad(chances_of(exchange, theta) @ exchange.returns, theta)[0]


def place_scores(exchange: Exchange, logits: Any) -> Tensor:
    """∇ log π(symbol | row) at each place of each outcome, [M, T, rows · V] (lesson 15).

    Also where somebody else wrote the symbol: what is in the loss if it is not masked.
    """
    probs = check_logits(exchange, logits).softmax(-1).detach()
    own = torch.nn.functional.one_hot(exchange.symbols, probs.shape[1]) - probs[exchange.rows]  # [M, T, V]
    rows = torch.nn.functional.one_hot(exchange.rows, probs.shape[0]).double()  # [M, T, rows]
    return (rows[..., None] * own[..., None, :]).flatten(2)


def with_weights(exchange: Exchange, logits: Any, weights: Any) -> Moments:
    """Exact moments of Σ_t w_t ∇ log π(symbol_t) from one exchange (lesson 15).

    weights: [M, T], 0 where a symbol is masked.  ValueError naming the argument.
    """
    weights = check_shape("weights", check_real("weights", weights, 2), exchange.rows.shape)
    estimates = (weights[..., None] * place_scores(exchange, logits)).sum(1)
    return moments_of(chances_of(exchange, logits).detach(), estimates)


def mean_given(exchange: Exchange, logits: Any, known: Any, of: Any = None) -> Tensor:
    """E[R | what is known] of each outcome, [M] (lesson 15).

    known: [M] or [M, F] whole numbers; outcomes with the same are averaged.  of: [M], in place of the returns.
    ValueError naming the argument.
    """
    known = torch.as_tensor(known)
    if known.shape[:1] != exchange.returns.shape:
        raise ValueError(f"known has shape {list(known.shape)}; it must have a row for each of the outcomes")
    values = exchange.returns if of is None else check_shape("of", check_real("of", of, 1), exchange.returns.shape)
    group = torch.unique(known.view(len(known), -1), dim=0, return_inverse=True)[1]
    chances = chances_of(exchange, logits).detach()
    mass, total = (torch.zeros(len(known), dtype=torch.float64) for _ in range(2))
    mass.index_add_(0, group, chances)
    total.index_add_(0, group, chances * values)
    return total[group] / mass[group]


def check_logits(exchange: Exchange, logits: Any) -> Tensor:
    """`logits` as float64 [rows, V], with a row and a symbol for each that the exchange has.

    ValueError naming the argument.
    """
    logits = check_real("logits", logits, 2)
    check_booleans("exchange.ours", exchange.ours, exchange.rows.shape)
    check_indices("exchange.rows", exchange.rows, len(logits), dim=2)
    check_indices("exchange.symbols", exchange.symbols, logits.shape[1], dim=2)
    return logits


# ways to weigh what was said


def turn_weights(talk: Exchange, logits: Any) -> dict[str, Tensor]:
    """What each of two turns can be weighed with, by name, [M, 2] each (lesson 15, claim C76).

    Baselines are exact means over outcomes that share the reply, or the first choice: what large groups would measure.
    talk: of two symbols, both the policy's.  ValueError naming the argument.
    """
    if talk.rows.shape[1] != 2 or not talk.ours.all():
        raise ValueError("talk must be of two symbols, both written by the policy")
    earned, state = talk.returns, talk.rows[:, 1]
    expected = chances_of(talk, logits).detach() @ earned
    by_choice, by_state = (mean_given(talk, logits, known) for known in (talk.symbols[:, 0], state))
    spread = mean_given(talk, logits, state, (earned - by_state) ** 2).sqrt()
    turns = {
        "one advantage for both turns": (earned - expected, earned - expected),
        "second against its state": (earned - expected, earned - by_state),
        "first by the reply, second against its state": (by_state - expected, earned - by_state),
        "those who asked, among themselves": (earned - by_choice, earned - by_choice),
        "second divided by its state's spread": (by_state - expected, (earned - by_state) / spread),
    }
    return {name: torch.stack(weights, 1) for name, weights in turns.items()}


def document_weights(search: Exchange, logits: Any) -> dict[str, Tensor]:
    """What query, document and answer can be weighed with, by name, [M, 3] each (lesson 15, claim C77).

    search: of three symbols, the second not the policy's.  ValueError naming the argument.
    """
    if search.rows.shape[1] != 3 or not (search.ours == torch.tensor([True, False, True])).all():
        raise ValueError("search must be of three symbols, the first and the last written by the policy")
    earned, none = search.returns, torch.zeros_like(search.returns)
    expected = chances_of(search, logits).detach() @ earned
    known = mean_given(search, logits, search.symbols[:, :2])  # V once query and document are there
    whole = earned - expected
    places = {
        "document left in": (whole, whole, whole),
        "document masked": (whole, none, whole),
        "split at the document": (known - expected, none, earned - known),
    }
    return {name: torch.stack(weights, 1) for name, weights in places.items()}
