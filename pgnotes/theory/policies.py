"""Policies as distributions: probabilities, samples, log-probabilities, and their gradients, the scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_count,
    check_finite,
    check_generator,
    check_indices,
    check_positive,
    check_real,
    check_shape,
)


class SoftmaxPolicy:
    """A distribution over K actions, π(a) = exp θ_a / Σ_b exp θ_b (lesson 01; Williams 1992, section 4).

    logits: [K] real numbers θ, K >= 1; gradients flow through them.  All results are float64.  ValueError for another
    shape or a number that is not finite.
    """

    def __init__(self, logits: Any):
        self.logits = check_real("logits", logits, 1)
        self._log_probs = torch.log_softmax(self.logits, 0)

    @property
    def probs(self) -> Tensor:
        """π(a) for each action, [K]; they add up to 1."""
        return self._log_probs.exp()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent actions, [n] integers below K."""
        n, generator = check_count("n", n), check_generator("generator", generator)
        return torch.multinomial(self.probs.detach(), n, replacement=True, generator=generator)

    def pick(self, uniforms: Any) -> Tensor:
        """The action on which each number of `uniforms` [n], in [0, 1), falls, [n] (lesson 02).

        The actions lie side by side in [0, 1), each as wide as it is likely. Uniform numbers so give samples; the same
        numbers give the same actions, until a change of the policy moves a border past one of them.
        """
        borders = self.probs.detach().cumsum(0)[:-1]
        return torch.searchsorted(borders, check_real("uniforms", uniforms, 1), right=True)

    def log_prob(self, a: Any) -> Tensor:
        """log π(a) in nats for each action of `a` [n], [n]; never above 0.

        ValueError for an action outside 0 … K-1.
        """
        return self._log_probs[check_indices("a", a, len(self.logits))]

    def score(self, a: Any) -> Tensor:
        """∇_θ log π(a) = one-hot(a) - π for each action of `a` [n], [n, K] (lesson 01).

        ValueError for an action outside 0 … K-1.
        """
        one_hot = torch.eye(len(self.logits), dtype=torch.float64)[check_indices("a", a, len(self.logits))]
        return one_hot - self.probs

    def entropy(self) -> Tensor:
        """-Σ π log π in nats: 0 if one action is certain, log K if all are equally likely."""
        return -(self.probs * self._log_probs).sum()

    def kl(self, other: SoftmaxPolicy) -> Tensor:
        """KL(self ‖ other) = Σ π log(π/π_other) in nats (lesson 01): 0 only if both are the same.

        ValueError if `other` has another K.
        """
        if not isinstance(other, SoftmaxPolicy) or other.logits.shape != self.logits.shape:
            raise ValueError(f"other must be a SoftmaxPolicy over {len(self.logits)} actions")
        return (self.probs * (self._log_probs - other._log_probs)).sum()


def reshaped(logits: Any, temperature: float = 1.0, top_k: int = 0) -> tuple[Tensor, Tensor]:
    """Logits as a sampler changes them: divided by the temperature, and cut to the k largest (lesson 01).

    logits: [K] real.  temperature: above 0; 1 leaves the policy alone.  top_k: how many actions stay possible, 0 for
    all; ties at the edge stay.  Returns float64 [k'] logits of the actions that stay, in their order, and [k'] their
    indices.  ValueError naming the argument.
    """
    scaled = check_real("logits", logits, 1) / check_positive("temperature", temperature)
    if not scaled.isfinite().all():
        raise ValueError(f"temperature is {temperature}; so near 0 it makes these logits infinite")
    if check_count("top_k", top_k, 0) == 0 or top_k >= len(scaled):
        return scaled, torch.arange(len(scaled))
    kept = (scaled >= scaled.topk(top_k).values[-1]).nonzero().flatten()
    return scaled[kept], kept


class GaussianPolicy:
    """A distribution over one real action, normal with `mean` and `std` (lesson 01; Williams 1992, section 6).

    mean: a number; std: a number above 0, in the action's unit.  Gradients flow through both if they are tensors.
    Results are float64.
    """

    def __init__(self, mean: Any, std: Any):
        check_finite("mean", mean)
        check_positive("std", std)
        self.mean = torch.as_tensor(mean, dtype=torch.float64).reshape(())
        self.std = torch.as_tensor(std, dtype=torch.float64).reshape(())

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent actions, [n]."""
        n, generator = check_count("n", n), check_generator("generator", generator)
        noise = torch.randn(n, dtype=torch.float64, generator=generator)
        return self.mean.detach() + self.std.detach() * noise

    def log_prob(self, a: Any) -> Tensor:
        """log π(a) for each action of `a` [n], [n]: the log of a *density*, above 0 where the density is above 1."""
        z = (check_real("a", a, 1) - self.mean) / self.std
        return -0.5 * z**2 - self.std.log() - 0.5 * math.log(2 * math.pi)

    def score(self, a: Any) -> Tensor:
        """The derivatives of log π(a) by the mean, (a-μ)/σ², and by log σ, (a-μ)²/σ² - 1, [n, 2] (lesson 01)."""
        z = (check_real("a", a, 1) - self.mean) / self.std
        return torch.stack([z / self.std, z**2 - 1], dim=1)

    def entropy(self) -> Tensor:
        """½ log(2πe σ²) in nats: grows with the spread, and is negative for a narrow one."""
        return 0.5 * math.log(2 * math.pi * math.e) + self.std.log()


class PrefixPolicy:
    """A policy over sequences of T symbols out of V: one softmax row for each prefix, breadth first (lesson 02).

    logits: [rows, V] real, or [P, rows, V] for P prompts; rows = 1 + V + … + V^(T-1), so T follows from the shape. Row
    0 belongs to the empty prefix, rows 1 … V to the prefixes of one symbol, and so on, each level in the order of the
    numbers that the prefixes spell in base V. Gradients flow through; results are float64.  ValueError for another
    shape or a number that is not finite.
    """

    def __init__(self, logits: Any):
        self.logits = check_real("logits", logits, 2, 3)
        *prompts, rows, self.vocab_size = self.logits.shape
        self.prompts = math.prod(prompts)  # 1 without that axis
        self.horizon = horizon_of(rows, self.vocab_size)
        self._log_probs = torch.log_softmax(self.logits, -1).view(self.prompts, rows, self.vocab_size)

    @property
    def probs(self) -> Tensor:
        """π(symbol | prefix) for each row, in the shape of the logits."""
        return self._log_probs.exp().view(self.logits.shape)

    def log_prob(self, sequences: Any, prompt: int = 0) -> Tensor:
        """log π of each symbol given those before it. sequences: [n, T] symbols below V.

        Returns [n, T] in nats; sum over T for a sequence.
        """
        symbols = self._symbols(sequences)
        return self._rows(symbols, prompt).gather(-1, symbols[..., None])[..., 0]

    def sample(self, n: int, generator: torch.Generator, prompt: int = 0) -> Tensor:
        """n independent sequences, [n, T]; what comes after an end-of-sequence symbol is for the world to mask."""
        generator = check_generator("generator", generator)
        sequences = torch.zeros(check_count("n", n), self.horizon, dtype=torch.long)
        for t in range(self.horizon):
            probs = self._rows(sequences, prompt)[:, t].detach().exp()
            sequences[:, t] = torch.multinomial(probs, 1, generator=generator)[:, 0]
        return sequences

    def score(self, sequences: Any, weights: Any = None, prompt: int = 0) -> Tensor:
        """Σ_t w_t ∇_θ log π(symbol_t | those before it) of each sequence, [n, *logits.shape] (lesson 02).

        That is one-hot - π in each row that it passes.
        sequences: [n, T].  weights: [n, T] real, what each symbol's score is multiplied with, 0 where it does not
        count; all 1 if not given.  No gradient flows through the result.
        """
        symbols = self._symbols(sequences)
        weights = step_weights(weights, symbols)
        # The rows of all prompts one after the other
        probs = self._log_probs.detach().exp().flatten(0, 1)
        first_row = self._prompt(prompt) * self._log_probs.shape[1]
        rows = first_row + prefix_rows(symbols, self.vocab_size)
        return row_scores(probs, rows, symbols, weights).view(len(symbols), *self.logits.shape)

    def _symbols(self, sequences: Any) -> Tensor:
        symbols = check_indices("sequences", sequences, self.vocab_size, dim=2)
        if symbols.shape[1] != self.horizon:
            raise ValueError(f"sequences has shape {list(symbols.shape)}; it must be [n, {self.horizon}]")
        return symbols

    def _rows(self, sequences: Any, prompt: int) -> Tensor:
        """Log-probabilities of all symbols after each prefix, [n, T, V]."""
        log_probs = self._log_probs[self._prompt(prompt)]
        return log_probs[prefix_rows(sequences, self.vocab_size)]

    def _prompt(self, prompt: int) -> int:
        if check_count("prompt", prompt, 0) >= self.prompts:
            raise ValueError(f"prompt is {prompt}; it must be below {self.prompts}")
        return prompt


class StatePolicy:
    """A policy of a world with states: one softmax row for each, π(a | s) (lesson 02; Sutton et al. 2000).

    logits: [S, A] real.  Gradients flow through; results are float64.  ValueError for another shape or a number that is
    not finite.
    """

    def __init__(self, logits: Any):
        self.logits = check_real("logits", logits, 2)
        self._log_probs = torch.log_softmax(self.logits, -1)

    @property
    def probs(self) -> Tensor:
        """π(a | s), [S, A]; each row adds up to 1."""
        return self._log_probs.exp()

    def log_prob(self, states: Any, actions: Any) -> Tensor:
        """log π(a | s) in nats of each step. states, actions: [n, T] whole numbers.  Returns [n, T]."""
        return self._log_probs[self._steps(states, actions)]

    def score(self, states: Any, actions: Any, weights: Any = None) -> Tensor:
        """Σ_t w_t ∇_θ log π(a_t | s_t) of each trajectory, [n, S, A].

        states, actions, weights: [n, T]; the weights are 1 if not given.
        No gradient flows through the result.
        """
        states, actions = self._steps(states, actions)
        return row_scores(self.probs.detach(), states, actions, step_weights(weights, states))

    def _steps(self, states: Any, actions: Any) -> tuple[Tensor, Tensor]:
        """Both as whole numbers of the same shape."""
        n_states, n_actions = self.logits.shape
        states = check_indices("states", states, n_states, dim=2)
        actions = check_indices("actions", actions, n_actions, dim=2)
        return states, check_shape("actions", actions, states.shape)


def step_weights(weights: Any, steps: Tensor) -> Tensor:
    """`weights` in the shape of `steps` [n, T], all 1 if there are none.

    ValueError naming them for another shape.
    """
    if weights is None:
        return torch.ones(steps.shape, dtype=torch.float64)
    return check_shape("weights", check_real("weights", weights, 2), steps.shape)


def row_scores(probs: Tensor, rows: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    """Σ_t w_t (one-hot(a_t) - π(· | row_t)), each put into its row (lesson 02).

    It is the score of a sequence of softmax decisions.
    probs: [rows, V].  rows, actions: [n, T] whole numbers.  weights: [n, T].  Returns [n, rows, V].
    """
    scores = weights[..., None] * (torch.nn.functional.one_hot(actions, probs.shape[1]) - probs[rows])  # [n, T, V]
    index = rows[..., None].expand(scores.shape)
    return torch.zeros(len(rows), *probs.shape, dtype=torch.float64).scatter_add(1, index, scores)


def prefix_rows(sequences: Tensor, vocab_size: int) -> Tensor:
    """The row of each prefix of each sequence.

    sequences [n, T] -> [n, T]: column t belongs to the t symbols before place t.
    ValueError if they are not whole numbers below `vocab_size`.
    """
    sequences = check_indices("sequences", sequences, check_count("vocab_size", vocab_size, 2), dim=2)
    rows = torch.zeros_like(sequences)
    for t in range(1, sequences.shape[1]):
        rows[:, t] = rows[:, t - 1] * vocab_size + 1 + sequences[:, t - 1]  # a prefix's children follow each other
    return rows


def horizon_of(rows: int, vocab_size: int) -> int:
    """T such that 1 + V + … + V^(T-1) = rows.  ValueError naming logits if there is none."""
    if rows < 1 or vocab_size < 2:
        raise ValueError(
            f"logits has {rows} rows of {vocab_size} symbols; it must have at least one row, of at least two symbols"
        )
    total, horizon = 0, 0
    while total < rows:
        total += vocab_size**horizon
        horizon += 1
    if total != rows:
        raise ValueError(
            f"logits has {rows} rows; with {vocab_size} symbols it must have 1 + V + … + V^(T-1), such as {total}"
        )
    return horizon
