"""Groups of completions: exactly what a step of G completions for each prompt says, under every rule (lesson 08).

Its mean and its covariance, by listing every group.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pgnotes.theory.advantages import (
    BATCH_KINDS,
    KINDS,
    batch_scaled,
    centred,
    centred_by_class,
    group_advantages,
)
from pgnotes.theory.arguments import (
    check_choice,
    check_count,
    check_distributions,
    check_real,
    check_shape,
)
from pgnotes.theory.estimators import Moments, moments_of
from pgnotes.theory.objectives import AGGREGATES
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.right_or_wrong import check_rate
from pgnotes.theory.worlds import TokenWorld, check_token_world

KNOCKS = (1, 3)  # that each prompt asks for
MOST = 10**6  # groups, or steps of several groups, that are listed


def knock_world(partial: bool = True) -> TokenWorld:
    """Knock as often as you are asked to, then stop: once for prompt 0, three times for prompt 1 (lesson 08).

    At most four tokens: symbol 1 is a knock, 0 the stop. The stop pays 1 if the count is right; with `partial`, also a
    share for being near: 1 - |knocks - asked| / asked.
    """

    def reward(sequences: Tensor, prompt: int) -> Tensor:
        error = (sequences.sum(1) - KNOCKS[prompt]).abs().double() / KNOCKS[prompt]
        paid = (1 - error).clamp(min=0) if partial else (error == 0).double()
        return paid[:, None] * (sequences == 0)

    return TokenWorld(2, 4, reward, eos=0, prompts=len(KNOCKS))


def knocker(stops: Any) -> PrefixPolicy:
    """A policy for `knock_world` by how likely it stops after 0, 1, 2 and 3 knocks, [P, 4] probabilities."""
    stops = check_shape("stops", check_real("stops", stops, 2), (len(KNOCKS), 4))
    rows = [0, 2, 6, 14]  # of the prefixes "", 1, 11 and 111
    logits = torch.zeros(len(KNOCKS), 15, 2, dtype=torch.float64)
    logits[:, rows, 0] = torch.logit(check_rate(stops, "stops"))
    return PrefixPolicy(logits)


class Completions(NamedTuple):
    """Everything one completion of a prompt can be.

    How likely [M], what it earns [M], each token's score [M, T, D], its tokens, and which of them count [M, T].
    """

    chances: Tensor
    returns: Tensor
    scores: Tensor
    sequences: Tensor
    mask: Tensor


def completions(world: TokenWorld, policy: PrefixPolicy) -> list[Completions]:
    """List what a completion can be, for each prompt (lesson 08). With a horizon of 1 every prompt is a bandit.

    ValueError if world and policy differ.
    """
    chances = check_token_world(world).probabilities(policy).detach()
    returns = world.returns()
    places = torch.eye(world.horizon, dtype=torch.float64)  # row t leaves the token at place t alone

    listed = []
    for prompt in range(world.prompts):
        scores = [policy.score(world.sequences, world.mask * place, prompt).flatten(1) for place in places]
        scores = torch.stack(scores, 1)  # [M, T, D]
        listed.append(Completions(chances[prompt], returns[prompt], scores, world.sequences, world.mask))
    return listed


# one group, every one of them


def groups(chances: Any, size: int) -> tuple[Tensor, Tensor]:
    """Every group of `size` draws from M outcomes, its order forgotten, and how likely each is.

    Returns members [C, size], indices that never fall, and probabilities [C]. A group enters a mean over its members
    only through how often each outcome came, so C = (M + G - 1 choose G) rows stand for M^G: a multinomial.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    n_outcomes = len(chances)
    total = math.comb(n_outcomes + check_count("size", size) - 1, size)
    if total > MOST:
        raise ValueError(
            f"size is {size}, which makes {total:,} groups of {n_outcomes} outcomes; at most {MOST:,} are listed"
        )
    members = torch.tensor(list(itertools.combinations_with_replacement(range(n_outcomes), size)))

    # A multinomial, in logarithms: how many orders a group has, and how likely each of them is
    counts = torch.nn.functional.one_hot(members, n_outcomes).sum(1).double()
    log_orders = torch.lgamma(torch.tensor(size + 1.0, dtype=torch.float64)) - torch.lgamma(counts + 1).sum(1)
    log_chances = torch.xlogy(counts, chances).sum(1)
    return members, (log_orders + log_chances).exp()


def length_classes(prompt: Completions) -> Tensor:
    """Completions of the same length are compared: a baseline that knows what came later (claim C22). [M, T]."""
    return prompt.mask.sum(1, keepdim=True).expand(prompt.mask.shape)


def state_classes(prompt: Completions) -> Tensor:
    """Each token is compared with those chosen after the same words: GiGPO's repeated states (Feng et al. 2025).

    [M, T]; -1 on masked ones.
    """
    vocab_size = max(int(prompt.sequences.max()) + 1, 2)
    return prefix_rows(prompt.sequences, vocab_size).masked_fill(~prompt.mask, -1)


def rule_weights(kind: str, prompt: Completions, members: Tensor) -> Tensor:
    """The weight of each token of each group, [C, G, T], under a rule that looks at one group only."""
    rewards = prompt.returns[members]
    if kind == "gigpo":  # both advantages only centred, and added
        return centred(rewards)[..., None] + centred_by_class(rewards, state_classes(prompt)[members])
    if kind == "vine":
        return value_steps(prompt)[members]
    if kind in CLASSES:
        return centred_by_class(rewards, CLASSES[kind](prompt)[members])
    return group_advantages(rewards, kind)[..., None].expand(-1, -1, prompt.mask.shape[1])


CLASSES: dict[str, Callable[[Completions], Tensor]] = {"same_length": length_classes, "same_state": state_classes}
BATCH_RULES: dict[str, Callable[[Tensor], Tensor]] = BATCH_KINDS | {"group_mean_batch_std": batch_scaled}
RULES = (*KINDS, "group_mean_batch_std", *CLASSES, "gigpo", "vine")


# the moments of a step


def step_moments(listed: list[Completions], kind: str, size: int, average: str = "sum") -> Moments:
    """Exact moments of Σ A ∇ log π, averaged: what one step of `size` completions for each prompt says (lesson 08).

    listed: from `completions`.  kind: one of `RULES`.  average: one of `objectives.AGGREGATES`; "sum" is REINFORCE's, a
    mean over completions.  Where a rule or an average mixes the prompts, all combinations of their groups are listed,
    else each prompt by itself.
    ValueError naming the argument for an unknown kind or average, fewer than 2 a group, or more groups than can be
    listed.
    """
    check_choice("kind", kind, RULES)
    check_choice("average", average, AGGREGATES)
    check_count("size", size, 2)
    drawn = [groups(prompt.chances, size) for prompt in check_listed(listed)]
    if kind in BATCH_RULES or average == "token":
        return joint_moments(listed, drawn, kind, size, average)

    parts = []
    for prompt, (members, chances) in zip(listed, drawn, strict=True):
        weights = rule_weights(kind, prompt, members)
        parts.append(moments_of(chances, group_estimates(prompt, members, weights, average)))
    total = sum_moments(parts)
    return Moments(total.mean / len(listed), total.covariance / len(listed) ** 2)


def joint_moments(
    listed: list[Completions], drawn: list[tuple[Tensor, Tensor]], kind: str, size: int, average: str
) -> Moments:
    """The moments of a step whose prompts depend on each other: every combination of their groups, J in all.

    drawn: of each prompt its groups, members [C, G] and probabilities [C].
    """
    chances, index = combinations([chances for _, chances in drawn], size)
    members = [group[j] for (group, _), j in zip(drawn, index, strict=True)]  # of each prompt, [J, G]
    within = "sum" if average == "token" else average  # what "token" divides by is known of the whole step only
    total = torch.zeros(len(chances), listed[0].scores.shape[-1], dtype=torch.float64)

    if kind in BATCH_RULES:
        rewards = torch.stack([prompt.returns[chosen] for prompt, chosen in zip(listed, members, strict=True)], 1)
        advantages = torch.vmap(BATCH_RULES[kind])(rewards)  # [J, P, G]
        for prompt, chosen, weights in zip(listed, members, advantages.unbind(1), strict=True):
            per_token = weights[..., None].expand(-1, -1, prompt.mask.shape[1])
            total += group_estimates(prompt, chosen, per_token, within)
    else:
        for prompt, (group, _), j in zip(listed, drawn, index, strict=True):
            total += group_estimates(prompt, group, rule_weights(kind, prompt, group), within)[j]

    if average != "token":
        return moments_of(chances, total / len(listed))
    lengths = [prompt.mask.sum(1)[chosen].sum(1) for prompt, chosen in zip(listed, members, strict=True)]
    tokens = torch.stack(lengths).sum(0)
    # `group_estimates` has divided by the size of a group already
    return moments_of(chances, total / (tokens.double()[:, None] / size))


def combinations(chances: list[Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Every way to take one group of each prompt: probabilities [J], and which group each prompt has [P, J].

    chances: of each prompt's groups, [C].  ValueError if there are too many.
    """
    total = math.prod(map(len, chances))
    if total > MOST:
        raise ValueError(
            f"size is {size}, which makes {total:,} steps of {len(chances)} groups; at most {MOST:,} are listed"
        )
    index = torch.cartesian_prod(*(torch.arange(len(p)) for p in chances)).view(-1, len(chances)).T
    return torch.stack([p[j] for p, j in zip(chances, index, strict=True)]).prod(0), index


def group_estimates(prompt: Completions, members: Tensor, weights: Tensor, average: str) -> Tensor:
    """Σ_i Σ_t w_it s_it / (G · divisor) of each group, [C, D].

    The divisor is 1 ("sum"), the completion's length ("sequence"), or T ("dr_grpo").
    """
    n, horizon = prompt.mask.shape
    divisors = {"sum": torch.ones(n), "sequence": prompt.mask.sum(1), "dr_grpo": torch.full((n,), horizon)}
    scores = prompt.scores / divisors[average].double()[:, None, None]

    # members that are the same completion add up their weights, before the scores come in
    each = torch.zeros(len(members), n, horizon, dtype=torch.float64)
    each.scatter_add_(1, members[..., None].expand(weights.shape), weights)
    return each.flatten(1) @ scores.flatten(0, 1) / members.shape[1]


def sum_moments(parts: list[Moments]) -> Moments:
    """The moments of a sum of independent estimates."""
    first, *others = parts
    mean = sum((part.mean for part in others), first.mean)
    return Moments(mean, sum((part.covariance for part in others), first.covariance))


def check_listed(listed: list[Completions]) -> list[Completions]:
    """`listed`, if it is a list of Completions and not empty.

    ValueError naming it otherwise.
    """
    if not isinstance(listed, list) or not listed or not all(isinstance(prompt, Completions) for prompt in listed):
        raise ValueError("listed must be what `completions` returns")
    return listed


def true_values(prompt: Completions) -> Tensor:
    """V of what has been written before each token, and after the last, [M, T + 1] (lesson 05).

    V is the mean return of all completions that begin so.
    """
    rows = state_classes(prompt)
    horizon = prompt.mask.shape[1]
    values = prompt.returns[:, None].repeat(1, horizon + 1)
    for t in range(horizon):
        same = (rows[:, None, t] == rows[None, :, t]).double() * prompt.chances
        means = same @ prompt.returns / same.sum(1)
        values[:, t] = torch.where(prompt.mask[:, t], means, prompt.returns)
    return values


def value_steps(prompt: Completions) -> Tensor:
    """By how much each token moves the value of what is written, V(after) - V(before), [M, T]; rule "vine"."""
    values = true_values(prompt)
    return values[:, 1:] - values[:, :-1]


def vine_moments(listed: list[Completions], rollouts: int, size: int) -> Moments:
    """Exact moments of a step whose tokens are weighted with V̂(after) - V̂(before) (Kazemnejad et al. 2024, VinePPO).

    Each V̂ is a mean of K = `rollouts` fresh returns. They are independent of the completion, so the mean is the
    gradient; the error of V̂_t adds Var(R | prefix) / K times the square of the difference of the two scores beside it.
    The finished text is not guessed: its value is its return.  size: completions a prompt.  Tokens are added up; what
    an average over tokens does to the mean, the rule "vine" of `step_moments` says, which has no error in its values.
    """
    parts = []
    for prompt in check_listed(listed):
        exact = moments_of(prompt.chances, (value_steps(prompt)[..., None] * prompt.scores).sum(1))

        # Var(R | prefix) / K of each V̂_t, which enters with +s of the token before and -s of the token after it
        values, squares = (true_values(prompt._replace(returns=prompt.returns**power)) for power in (1, 2))
        variances = (squares - values**2)[:, :-1].clamp(min=0) * prompt.mask / check_count("rollouts", rollouts)
        before = torch.cat([torch.zeros_like(prompt.scores[:, :1]), prompt.scores[:, :-1]], 1)
        apart = before - prompt.scores
        noise = torch.einsum("m,mt,mtd,mte->de", prompt.chances, variances, apart, apart)
        parts.append(Moments(exact.mean, exact.covariance + noise))

    total = sum_moments(parts)
    return Moments(total.mean / len(listed), total.covariance / (len(listed) ** 2 * check_count("size", size)))
