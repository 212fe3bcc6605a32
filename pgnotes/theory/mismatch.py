"""The sampler is not the trainer: weights that correct for it, and what each leaves of the gradient (lesson 10).

A faster engine, half precision, another temperature, weights a few updates old: all draw from a distribution μ near π.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_choice,
    check_count,
    check_distributions,
    check_numbers,
    check_positive,
    check_real,
    check_shape,
)
from pgnotes.theory.learning import check_single_prompt, score_sizes
from pgnotes.theory.objectives import check_mask, live_only
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.terms import mean_over_tokens, ratio_of
from pgnotes.theory.worlds import TokenWorld

# what is weighed or judged: of log-ratios [B, T], 0 on dead tokens, and their mask


def token_ratio(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """π/μ of each token, [B, T]."""
    return ratio_of(log_ratio)


def sequence_ratio(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """π/μ of the whole sequence, the product over its tokens, [B, 1]."""
    return ratio_of(log_ratio.sum(-1, keepdim=True))


def mean_ratio(log_ratio: Tensor, mask: Tensor) -> Tensor:
    """The geometric mean of a sequence's token ratios, [B, 1]."""
    return ratio_of(mean_over_tokens(log_ratio, mask))


# what becomes of a weight whose judged ratio lies outside


def truncated(weight: Tensor, judged: Tensor, floor: float, cap: float) -> Tensor:
    """Weights moved to the cap where they are above it; the floor plays no part."""
    return weight.clamp(max=cap)


def kept_inside(weight: Tensor, judged: Tensor, floor: float, cap: float) -> Tensor:
    """Weights where what is judged lies in [floor, cap], 0 elsewhere."""
    return torch.where((judged >= floor) & (judged <= cap), weight, 0.0)


# (what a token is weighed with, what is judged, what becomes of it)
SAMPLER_RULES = {
    "token": (token_ratio, token_ratio, truncated),
    "token_mask": (token_ratio, token_ratio, kept_inside),
    "sequence": (sequence_ratio, sequence_ratio, truncated),
    "sequence_mask": (sequence_ratio, sequence_ratio, kept_inside),
    "geometric_mask": (token_ratio, mean_ratio, kept_inside),
}


def sampler_weights(
    logp: Tensor, logp_sampler: Tensor, mask: Tensor, cap: float, rule: str = "token", floor: float = 0.0
) -> Tensor:
    """What each token's term is worth, that a sampler μ drew and not the policy π: by ratios π/μ (lesson 10).

    rule: "token", min(ratio, cap), truncated importance sampling (Ionides 2008; for tokens of a faster sampler Yao et
    al. 2025) · "token_mask", the ratio if it lies in [floor, cap], else 0 (IcePop, 2510.18855: 0.5 and 5) · "sequence",
    min(product of the sequence's ratios, cap), without bias if nothing reaches the cap · "sequence_mask", the product
    if it lies in [floor, cap], else 0 · "geometric_mask", the token's ratio, if the *geometric mean* of its sequence's
    lies in [floor, cap], else 0: a bound that means the same at every length (Liu, Li et al. 2025, "When speed kills
    stability", part 3; 2512.23075 drops a sequence by its *worst* token instead).
    logp, logp_sampler: [B, T] log-probabilities in nats under the policy and under what drew them.  mask: [B, T] bool.
    cap: above 0, may be infinite; no weight exceeds e^20.  floor: from 0 to the cap, for masks.
    Returns [B, T], 0 where the mask is False; no gradient flows through it.  ValueError, naming the argument, for
    anything else.
    """
    check_choice("rule", rule, SAMPLER_RULES)
    if not isinstance(cap, int | float) or not cap > 0:
        raise ValueError(f"cap is {cap}; it must be greater than 0")
    floor = check_between("floor", floor, 0.0, cap)
    mask = check_mask("logp", logp, mask)
    check_numbers("logp_sampler", logp_sampler, logp.shape)
    gap = live_only("logp", logp.detach(), mask) - live_only("logp_sampler", logp_sampler, mask).detach()

    weigh, judge, bound = SAMPLER_RULES[rule]
    weights = bound(weigh(gap, mask), judge(gap, mask), floor, cap)
    return torch.where(mask, weights.expand_as(gap), 0.0)


# samplers


def hotter(policy: PrefixPolicy, temperature: float) -> PrefixPolicy:
    """The policy as a sampler at another temperature sees it: logits divided by it."""
    return PrefixPolicy(policy.logits.detach() / check_positive("temperature", temperature))


PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def rounded(policy: PrefixPolicy, precision: str) -> PrefixPolicy:
    """The policy with its logits rounded to a precision, one of `PRECISIONS`, and everything after them exact."""
    kind = PRECISIONS[check_choice("precision", precision, PRECISIONS)]
    return PrefixPolicy(policy.logits.detach().to(kind).double())


# exact answers


class Correction(NamedTuple):
    """What a correction makes of one sampled sequence's estimate of ∇J, exactly."""

    bias: float  # ‖E[ĝ] - ∇J‖ in units of ‖∇J‖
    trace: float  # of the covariance of ĝ
    cosine: float  # between E[ĝ] and ∇J
    kept: float  # the mean share of a sequence's tokens whose weight is not 0
    effective: float  # Kish's share of a batch that is left of such weights, (E w)² / E w² over tokens


class Mismatch:
    """A world whose sequences are drawn by another policy than the one that learns, all of them listed (lesson 10).

    The estimate is Σ_t w_t (R - J) ∇ log π(token_t) of a sequence drawn from μ; J is the policy's own mean return.
    world: a TokenWorld with one prompt.  policy: π, a PrefixPolicy of its size.  ValueError naming the argument.
    """

    def __init__(self, world: TokenWorld, policy: PrefixPolicy):
        self.world, self.policy = check_single_prompt(world), policy
        self.chances = world.probabilities(policy)[0].detach()
        self.returns = world.returns()[0]
        self.advantages = self.returns - self.chances @ self.returns
        self.logp = policy.log_prob(world.sequences).detach()
        self.rows = prefix_rows(world.sequences, world.vocab_size)
        self.sizes = score_sizes(world, policy) * world.mask  # ‖∇ log π‖² of each token, [N, T]

    @cached_property
    def gradient(self) -> Tensor:
        """∇J by the sum over all sequences, [rows, V]."""
        return self.mean(self.chances, torch.ones_like(self.logp))

    def mean(self, chances: Tensor, weights: Tensor) -> Tensor:
        """E[Σ_t w_t (R - J) s_t] over sequences of these chances [N], weights [N, T]: [rows, V].

        A token's score is one-hot - π in the row of its prefix.
        """
        carried = (chances[:, None] * weights * self.advantages[:, None] * self.world.mask).flatten()  # [N · T]
        rows, symbols = self.rows.flatten(), self.world.sequences.flatten()
        probs = self.policy.probs.detach()
        n_rows, n_symbols = probs.shape
        chosen = torch.zeros(n_rows * n_symbols, dtype=torch.float64).index_add_(0, rows * n_symbols + symbols, carried)
        return chosen.view(n_rows, n_symbols) - chosen.view(n_rows, n_symbols).sum(1, keepdim=True) * probs

    def weights(self, sampler: PrefixPolicy, rule: str, cap: float = math.inf, floor: float = 0.0) -> Tensor:
        """The weight of each token of each sequence, [N, T]; rule "none" leaves all at 1."""
        if rule == "none":
            return self.world.mask.double()
        logp_sampler = sampler.log_prob(self.world.sequences).detach()
        return sampler_weights(self.logp, logp_sampler, self.world.mask, cap, rule, floor)

    def correction(
        self, sampler: PrefixPolicy, rule: str = "none", cap: float = math.inf, floor: float = 0.0
    ) -> Correction:
        """Bias, noise and direction of one sequence's estimate, drawn by `sampler` and corrected by a rule.

        rule: "none", or one of `SAMPLER_RULES`; cap and floor as in `sampler_weights`.
        """
        chances = self.world.probabilities(sampler)[0].detach()
        weights = self.weights(sampler, rule, cap, floor)
        mean, exact = self.mean(chances, weights), self.gradient

        # A table's scores at different places lie in different rows, so that their squares add up
        square = chances @ (weights * self.advantages[:, None]).square().mul(self.sizes).sum(1)
        token = chances[:, None] * self.world.mask  # how much each token counts where all count alike
        total = token.sum()
        first, second = (token * weights).sum() / total, (token * weights**2).sum() / total
        return Correction(
            bias=((mean - exact).norm() / exact.norm()).item(),
            trace=(square - mean.square().sum()).item(),
            cosine=torch.cosine_similarity(mean.flatten(), exact.flatten(), 0).item(),
            kept=((token * (weights > 0)).sum() / total).item(),
            effective=(first**2 / second.clamp(min=1e-300)).item(),
        )


def effective_share(chances: Tensor, sampler: Tensor, length: int) -> float:
    """1 / E_μ[w²] for w = π/μ of `length` independent tokens: what whole-sequence weights leave of a batch (lesson 10).

    E_μ[w] = 1, and tokens multiply: E_μ[w²] = (Σ π²/μ)^length, so the share falls exponentially with the length.
    chances, sampler: π and μ of one token, [K] probabilities, μ above 0 where π is.  ValueError naming the argument.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    sampler = check_distributions("sampler", check_shape("sampler", check_real("sampler", sampler, 1), chances.shape))
    if (sampler[chances > 0] == 0).any():
        raise ValueError("sampler never draws something that the policy does; no weight corrects for that")
    second = torch.where(chances > 0, chances**2 / sampler, 0.0).sum()
    return math.exp(-check_count("length", length) * second.log().item())
