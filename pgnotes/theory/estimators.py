"""Gradient estimators, exactly: everything one sample can say, and the mean and covariance of what batches say.

Monte Carlo where outcomes cannot be listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from pgnotes.theory.arguments import check_count, check_generator, check_real, check_shape
from pgnotes.theory.policies import PrefixPolicy, SoftmaxPolicy
from pgnotes.theory.worlds import Bandit, TokenWorld, check_token_world


class Outcomes(NamedTuple):
    """Everything that one sample can be: how likely [M], what it earns [M], and its score, flattened [M, D].

    For a TokenWorld M = P·N.
    """

    chances: Tensor
    returns: Tensor
    scores: Tensor


class Moments(NamedTuple):
    """Mean [D] and covariance [D, D] of an estimator, exact or measured."""

    mean: Tensor
    covariance: Tensor

    @property
    def trace(self) -> Tensor:
        """The mean squared distance of an estimate from the mean: the variances of all entries, added up."""
        return self.covariance.trace()

    def bias(self, gradient: Tensor) -> Tensor:
        """How far the mean is from the exact gradient (any shape with D entries), as a length."""
        return (self.mean - gradient.flatten()).norm()

    def of_batch(self, n: int) -> Moments:
        """The moments of the mean of n independent estimates (lesson 04): the same mean, an n-th of the covariance."""
        return Moments(self.mean, self.covariance / check_count("n", n))

    def samples_needed(self, gradient: Tensor, relative: float = 0.1) -> float:
        """How many estimates to average for a standard error of `relative` times the gradient's length (lesson 05)."""
        return (self.trace / (relative * gradient.norm()) ** 2).item()


def outcomes(world: Bandit | TokenWorld, policy: SoftmaxPolicy | PrefixPolicy) -> Outcomes:
    """List what one sample can be: each action, or each sequence of each prompt (lessons 02 and 04)."""
    if isinstance(world, Bandit):
        policy = cast(SoftmaxPolicy, policy)
        world.expected_return(policy)  # checks that they fit
        scores = policy.score(range(len(policy.logits))).detach()
        return Outcomes(policy.probs.detach(), world.mean_rewards, scores)
    if not isinstance(world, TokenWorld):
        raise ValueError(f"world is a {type(world).__name__}; it must be a Bandit or a TokenWorld")
    policy = cast(PrefixPolicy, policy)  # `token_estimates` checks that they fit
    scores = token_estimates(world, policy, world.mask.double().expand(world.rewards.shape))
    chances = (world.probabilities(policy) / world.prompts).detach()
    return Outcomes(chances.flatten(), world.returns().flatten(), scores)


def token_estimates(world: TokenWorld, policy: PrefixPolicy, weights: Any) -> Tensor:
    """Σ_t w_t ∇ log π for each outcome, [P·N, D]: what one sample with such weights says (lessons 05 and 06).

    weights: [P, N, T] real, 0 on masked symbols.  ValueError naming the argument.
    """
    weights = check_shape("weights", check_real("weights", weights, 3), check_token_world(world).rewards.shape)
    world.probabilities(policy)  # checks that they fit
    estimates = [policy.score(world.sequences, weights[prompt], prompt) for prompt in range(world.prompts)]
    return torch.cat(estimates).flatten(1)


def moments_of(chances: Any, estimates: Any) -> Moments:
    """Exact mean and covariance of an estimate that takes the value of row m with the m-th probability.

    chances [M], estimates [M, D].
    """
    estimates = check_real("estimates", estimates, 2)
    chances = check_shape("chances", check_real("chances", chances, 1), (len(estimates),))
    mean = chances @ estimates
    centred = estimates - mean
    return Moments(mean, (chances[:, None] * centred).T @ centred)


# whole returns with a baseline that is a number: R - b times the score


def mean_return(listed: Outcomes) -> float:
    """J, the baseline people usually mean (lesson 05)."""
    return (listed.chances @ listed.returns).item()


def optimal_baseline(listed: Outcomes) -> float:
    """b* = E[‖s‖² R] / E[‖s‖²], which makes the covariance's trace smallest (lesson 05; Greensmith et al. 2004)."""
    sizes = listed.chances * listed.scores.square().sum(1)
    return (sizes @ listed.returns / sizes.sum()).item()


def with_baseline(listed: Outcomes, baseline: float) -> Moments:
    """Moments of (R - b)·s from one sample, with b the same for all (lesson 05)."""
    return moments_of(listed.chances, (listed.returns - baseline)[:, None] * listed.scores)


def with_noise(listed: Outcomes, mean: float, variance: float) -> Moments:
    """Moments of (R + ε)·s from one sample, with ε of this mean and variance independent of it (lesson 04).

    ε stands for an offset of the rewards, and for what other steps earn.
    """
    moments = with_baseline(listed, -mean)
    spread = variance * second_moment(listed, torch.ones_like(listed.returns))
    return Moments(moments.mean, moments.covariance + spread)


def of_steps(listed: Outcomes, steps: int) -> Outcomes:
    """What a sequence of `steps` independent draws can be, if one and the same logits choose all of them (lesson 04).

    A row for each way to count them, which is all that matters: its chance, the sum of its rewards, and the sum of its
    scores, which is the sequence's. The rows are C(steps + M - 1, M - 1): for few outcomes M.
    """
    steps = check_count("steps", steps)
    counts = torch.zeros(1, 0, dtype=torch.float64)
    for _ in range(len(listed.chances) - 1):  # each way to count so far, with 0, 1, ... all of what it leaves
        left = (steps - counts.sum(1)).long() + 1
        more = torch.cat([torch.arange(n, dtype=torch.float64) for n in left.tolist()])
        counts = torch.cat([counts.repeat_interleave(left, 0), more[:, None]], 1)
    counts = torch.cat([counts, steps - counts.sum(1, keepdim=True)], 1)

    ways = math.lgamma(steps + 1) - torch.lgamma(counts + 1).sum(1)  # the logarithm of the multinomial coefficient
    chances = (ways + torch.xlogy(counts, listed.chances).sum(1)).exp()
    return Outcomes(chances, counts @ listed.returns, counts @ listed.scores)


def with_running_average(listed: Outcomes, window: int, batch: int) -> Moments:
    """Moments of a batch whose b is the mean of `window` earlier, independent returns (lesson 05).

    Unbiased, and a little noisier than with b = J.
    """
    expected = mean_return(listed)
    # The variance of b itself, which the whole batch shares
    variance = listed.chances @ (listed.returns - expected).square() / check_count("window", window)
    return with_noise(listed, -expected, variance.item()).of_batch(batch)


def with_leave_one_out(listed: Outcomes, batch: int) -> Moments:
    """Moments of a batch, each return compared with the mean of the others (lesson 05; RLOO, Ahmadian et al. 2024).

    It is the sample covariance of return and score, unbiased, and a U-statistic, so that its covariance is exact at any
    batch size (Hoeffding 1948): ((n-1) A + B - (n-2) ggᵀ) / (n (n-1)) with A = E[r² ssᵀ], B = E[r²] E[ssᵀ] and r
    centred, because scores average to zero.  batch: n >= 2.
    """
    n = check_count("batch", batch, 2)
    r = listed.returns - listed.chances @ listed.returns
    g = (listed.chances * r) @ listed.scores

    a = second_moment(listed, r**2)
    b = (listed.chances @ r**2) * second_moment(listed, torch.ones_like(r))
    covariance = ((n - 1) * a + b - (n - 2) * torch.outer(g, g)) / (n * (n - 1))
    return Moments(g, covariance)


def with_batch_mean(listed: Outcomes, batch: int) -> Moments:
    """Moments of a batch in which each return is compared with the mean of all, its own included (lesson 05, claim C8).

    (n-1)/n times leave-one-out: the gradient shortened, its direction kept.  batch: n >= 2.
    """
    n = check_count("batch", batch, 2)
    mean, covariance = with_leave_one_out(listed, n)
    return Moments(mean * (n - 1) / n, covariance * ((n - 1) / n) ** 2)


def second_moment(listed: Outcomes, weights: Tensor) -> Tensor:
    """E[w s sᵀ], [D, D]."""
    return ((listed.chances * weights)[:, None] * listed.scores).T @ listed.scores


# Monte Carlo


def monte_carlo(
    bandit: Bandit, policy: SoftmaxPolicy, samples: int, generator: torch.Generator, baseline: float = 0.0
) -> Moments:
    """Measured mean and covariance of (R - b)·s from `samples` actions of a bandit (lesson 04).

    A bandit's samples matter only through how often each action came, and the counts are drawn themselves: one binomial
    for each action, given what the others left. The cost does not grow with `samples`, which must be at least 2.
    """
    n, listed = check_count("samples", samples, 2), outcomes(bandit, policy)
    shares = draw_counts(listed.chances, n, generator) / n  # measured, in place of the probabilities
    mean, covariance = moments_of(shares, (listed.returns - baseline)[:, None] * listed.scores)
    return Moments(mean, covariance * n / (n - 1))


def draw_counts(chances: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """How often each of M outcomes comes in n independent draws, [M] float64 whole numbers.

    A multinomial, drawn as a chain of binomials.
    """
    n, generator = check_count("n", n), check_generator("generator", generator)
    tails = chances.flip(0).cumsum(0).flip(0)  # of each outcome and all that follow
    shares = (chances / tails.clamp(min=1e-300)).clamp(max=1.0)

    left = torch.tensor(float(n), dtype=torch.float64)
    counts = torch.zeros_like(chances)
    for m, share in enumerate(shares):
        counts[m] = torch.binomial(left, share, generator=generator)
        left = left - counts[m]
    counts[-1] += left  # rounding may leave the last share just below 1
    return counts


def monte_carlo_sequences(
    logits: Any,
    reward_fn: Callable[[Tensor], Tensor],
    weigh: Callable[[Tensor], Tensor],
    samples: int,
    generator: torch.Generator,
    block: int = 2**16,
) -> tuple[Tensor, Tensor]:
    """Measured mean and variance [T, V] of Σ_t w_t ∇ log π, for worlds too large to list (lessons 04 and 06).

    logits: [T, V], a softmax row for each step, whatever came before.  reward_fn(sequences [n, T]) -> rewards [n, T].
    weigh(rewards) -> w [n, T], such as `reward_to_go`.  Drawn and added up `block` sequences at a time, so that memory
    does not grow with `samples`, which must be at least 2.
    """
    probs = check_real("logits", logits, 2).softmax(1)
    n, block = check_count("samples", samples, 2), check_count("block", block)
    generator = check_generator("generator", generator)

    sums, squares = torch.zeros_like(probs), torch.zeros_like(probs)
    for start in range(0, n, block):
        size = min(block, n - start)
        drawn = torch.multinomial(probs, size, replacement=True, generator=generator).T  # [size, T]
        weights = check_shape("weigh's result", weigh(reward_fn(drawn)).double(), drawn.shape)

        # A score is a one-hot row minus π: its entries are 1 - π where a symbol was chosen, and -π elsewhere
        for power, total in ((1, sums), (2, squares)):
            w = weights**power
            chosen, elsewhere = (1 - probs) ** power, (-probs) ** power
            total += w.sum(0)[:, None] * elsewhere
            total += torch.zeros_like(probs).scatter_add(1, drawn.T, w.T) * (chosen - elsewhere)

    mean = sums / n
    return mean, (squares / n - mean**2) * n / (n - 1)


def mean_and_error(estimates: Any) -> tuple[Tensor, Tensor]:
    """The mean of n independent estimates and its standard error, their standard deviation over √n (lesson 02).

    estimates: [n, ...] real, n >= 2.  Returns two [...], float64.  ValueError for a single estimate, which has no
    spread.
    """
    tensor = check_real("estimates", estimates, *range(1, 9))
    if len(tensor) < 2:
        raise ValueError("estimates has 1 row; the spread needs at least 2")
    return tensor.mean(0), tensor.std(0) / len(tensor) ** 0.5
