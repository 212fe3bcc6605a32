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

from pgnotes.theory.advantages import EPSILON, GROUP_KINDS, KINDS, centred, group_advantages
from pgnotes.theory.arguments import (
    check_array,
    check_choice,
    check_count,
    check_distributions,
    check_real,
    check_shape,
)
from pgnotes.theory.estimators import Moments, moments_of
from pgnotes.theory.objectives import AGGREGATES
from pgnotes.theory.policies import PrefixPolicy, prefix_rows
from pgnotes.theory.worlds import TokenWorld

KNOCKS = (1, 3)
MOST = 10**6  # groups, or steps of several groups, that are listed


def knock_world(partial: bool = True) -> TokenWorld:
    """Knock as often as you are asked to, then stop: once for prompt 0, three times for prompt 1 (lesson 08).

    At most four tokens: symbol 1 is a knock, 0 the stop. The stop pays 1 if the count is right; with `partial`, also a
    share for being near: 1 - |knocks - asked| / asked.
    """

    def reward(sequences: Tensor, prompt: int) -> Tensor:
        error = (sequences.sum(1) - KNOCKS[prompt]).abs().double() / KNOCKS[prompt]
        return ((1 - error).clamp(min=0) if partial else (error == 0).double())[:, None] * (sequences == 0)

    return TokenWorld(2, 4, reward, eos=0, prompts=len(KNOCKS))


def knocker(stops: Any) -> PrefixPolicy:
    """A policy for `knock_world` by how likely it stops after 0, 1, 2 and 3 knocks, [P, 4] probabilities."""
    stops = check_shape("stops", check_real("stops", stops, 2), (len(KNOCKS), 4))
    logits = torch.zeros(len(KNOCKS), 15, 2, dtype=torch.float64)
    logits[:, [0, 2, 6, 14], 0] = torch.logit(check_rate(stops, "stops"))  # the rows of the prefixes "", 1, 11 and 111
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
    if not isinstance(world, TokenWorld):
        raise ValueError(f"world is a {type(world).__name__}; it must be a TokenWorld")
    chances, returns, eye = (
        world.probabilities(policy).detach(),
        world.returns(),
        torch.eye(world.horizon, dtype=torch.float64),
    )
    result = []
    for prompt in range(world.prompts):
        places = [policy.score(world.sequences, world.mask * eye[t], prompt).flatten(1) for t in range(world.horizon)]
        result.append(
            Completions(chances[prompt], returns[prompt], torch.stack(places, 1), world.sequences, world.mask)
        )
    return result


# one group, every one of them


def groups(chances: Any, size: int) -> tuple[Tensor, Tensor]:
    """Every group of `size` draws from M outcomes, its order forgotten, and how likely each is.

    Returns members [C, size], indices that never fall, and probabilities [C]. A group enters a mean over its members
    only through how often each outcome came, so C = (M + G - 1 choose G) rows stand for M^G: a multinomial.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    total = math.comb(len(chances) + check_count("size", size) - 1, size)
    if total > MOST:
        raise ValueError(
            f"size is {size}, which makes {total:,} groups of {len(chances)} outcomes; at most {MOST:,} are listed"
        )
    members = torch.tensor(list(itertools.combinations_with_replacement(range(len(chances)), size)))
    counts = torch.nn.functional.one_hot(members, len(chances)).sum(1).double()
    orders = torch.lgamma(torch.tensor(size + 1.0, dtype=torch.float64)) - torch.lgamma(counts + 1).sum(1)
    return members, (orders + torch.xlogy(counts, chances).sum(1)).exp()


def batch_scaled(rewards: Tensor) -> Tensor:
    """Reward minus its group's mean, in units of the *batch's* spread: REINFORCE++ with a group mean (Hu et al. 2025).

    [P, G] -> [P, G].
    """
    differences = centred(rewards)
    return differences / (differences.std() + EPSILON)


def among(rewards: Tensor, classes: Tensor) -> Tensor:
    """Reward minus the mean over those of its group with the same class, its own included.

    rewards [C, G], classes [C, G, T] -> [C, G, T].
    """
    same = (classes[:, :, None] == classes[:, None]).double()  # [C, i, j, T]
    return rewards[..., None] - torch.einsum("cijt,cj->cit", same, rewards) / same.sum(2)


def by_length(one: Completions) -> Tensor:
    """Completions of the same length are compared: a baseline that knows what came later (claim C22). [M, T]."""
    return one.mask.sum(1, keepdim=True).expand(one.mask.shape)


def by_state(one: Completions) -> Tensor:
    """Each token is compared with those chosen after the same words: GiGPO's repeated states (Feng et al. 2025).

    [M, T]; -1 on masked ones.
    """
    return prefix_rows(one.sequences, int(one.sequences.max().clamp(min=1)) + 1).masked_fill(~one.mask, -1)


def rule_of(kind: str, one: Completions, members: Tensor) -> Tensor:
    """The weight of each token of each group, [C, G, T], under a rule that looks at one group only."""
    rewards = one.returns[members]
    if kind == "gigpo":  # both advantages only centred, and added
        return centred(rewards)[..., None] + among(rewards, by_state(one)[members])
    if kind in CLASSES:
        return among(rewards, CLASSES[kind](one)[members])
    return group_advantages(rewards, kind)[..., None].expand(-1, -1, one.mask.shape[1])


CLASSES: dict[str, Callable[[Completions], Tensor]] = {"same_length": by_length, "same_state": by_state}
BATCH_KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    kind: rule for kind, rule in KINDS.items() if kind not in (*GROUP_KINDS, "none")
}
BATCH_KINDS["group_mean_batch_std"] = batch_scaled
RULES = (*KINDS, "group_mean_batch_std", *CLASSES, "gigpo")


# the moments of a step


def step_moments(listed: list[Completions], kind: str, size: int, average: str = "sum") -> Moments:
    """Exact moments of Σ A ∇ log π, averaged: what one step of `size` completions for each prompt says (lesson 08).

    listed: from `completions`.  kind: one of `RULES`.  average: one of `objectives.AGGREGATES`; "sum" is REINFORCE's, a
    mean over completions.
    Where a rule or an average mixes the prompts, all combinations of their groups are listed, else each prompt by
    itself.
    ValueError naming the argument for an unknown kind or average, fewer than 2 a group, or more groups than can be
    listed.
    """
    check_choice("kind", kind, RULES), check_choice("average", average, AGGREGATES), check_count("size", size, 2)
    drawn = [groups(prompt.chances, size) for prompt in check_listed(listed)]
    if kind not in BATCH_KINDS and average != "token":
        parts = [
            moments_of(p, estimates(one, members, rule_of(kind, one, members), average))
            for one, (members, p) in zip(listed, drawn, strict=True)
        ]
        mean, covariance = sum(m.mean for m in parts), sum(m.covariance for m in parts)
        return Moments(mean / len(listed), covariance / len(listed) ** 2)
    return jointly(listed, drawn, kind, size, average)


def jointly(
    listed: list[Completions], drawn: list[tuple[Tensor, Tensor]], kind: str, size: int, average: str
) -> Moments:
    """The moments of a step whose prompts depend on each other: every combination of their groups, J in all."""
    total = math.prod(len(p) for _, p in drawn)
    if total > MOST:
        raise ValueError(
            f"size is {size}, which makes {total:,} steps of {len(listed)} groups; at most {MOST:,} are listed"
        )
    # Which group each prompt has, [P, J]
    index = torch.cartesian_prod(*(torch.arange(len(p)) for _, p in drawn)).view(-1, len(drawn)).T
    chances = torch.stack([p[j] for (_, p), j in zip(drawn, index, strict=True)]).prod(0)
    members = [group[j] for (group, _), j in zip(drawn, index, strict=True)]  # of each prompt, [J, G]
    rewards = torch.stack([one.returns[chosen] for one, chosen in zip(listed, members, strict=True)], 1)  # [J, P, G]
    advantages = torch.vmap(BATCH_KINDS[kind])(rewards)[..., None] if kind in BATCH_KINDS else None
    how, said = (
        "sum" if average == "token" else average,
        torch.zeros(total, listed[0].scores.shape[-1], dtype=torch.float64),
    )
    for place, (one, (group, _), j) in enumerate(zip(listed, drawn, index, strict=True)):
        if advantages is None:
            said += estimates(one, group, rule_of(kind, one, group), how)[j]
        else:
            said += estimates(one, members[place], advantages[:, place].expand(-1, -1, one.mask.shape[1]), how)
    divisor = torch.tensor(float(len(listed)), dtype=torch.float64)
    if average == "token":  # all tokens of the step, for every `size` of which `estimates` has divided already
        divisor = (
            sum(one.mask.sum(1)[chosen].sum(1) for one, chosen in zip(listed, members, strict=True)).double()[:, None]
            / size
        )
    return moments_of(chances, said / divisor)


def estimates(one: Completions, members: Tensor, weights: Tensor, average: str) -> Tensor:
    """Σ_i Σ_t w_it s_it / (G · divisor) of each group, [C, D].

    The divisor is 1 ("sum"), the completion's length ("sequence"), or T ("dr_grpo").
    """
    divisors = {
        "sum": torch.ones(len(one.mask)),
        "sequence": one.mask.sum(1),
        "dr_grpo": torch.full((len(one.mask),), one.mask.shape[1]),
    }
    scores = one.scores / divisors[average].double()[:, None, None]
    result = torch.zeros(len(members), scores.shape[-1], dtype=torch.float64)
    for place in range(members.shape[1]):  # one member after the other keeps the memory at [C, D]
        chosen = members[:, place]
        for t in range(scores.shape[1]):
            result += weights[:, place, t, None] * scores[chosen, t]
    return result / members.shape[1]


def check_listed(listed: list[Completions]) -> list[Completions]:
    """The list itself.  ValueError if it is empty or something else."""
    if not isinstance(listed, list) or not listed or not all(isinstance(one, Completions) for one in listed):
        raise ValueError("listed must be what `completions` returns")
    return listed


def true_values(one: Completions) -> Tensor:
    """V of what has been written before each token, and after the last, [M, T + 1] (lesson 05).

    V is the mean return of all completions that begin so.
    """
    rows = by_state(one)
    values = one.returns[:, None].repeat(1, one.mask.shape[1] + 1)
    for t in range(one.mask.shape[1]):
        same = (rows[:, None, t] == rows[None, :, t]).double() * one.chances
        values[:, t] = torch.where(one.mask[:, t], same @ one.returns / same.sum(1), one.returns)
    return values


def vine_moments(listed: list[Completions], rollouts: int, size: int) -> Moments:
    """Exact moments of a step whose tokens are weighted with V̂(after) - V̂(before) (Kazemnejad et al. 2024, VinePPO).

    Each V̂ is a mean of K = `rollouts` fresh returns. They are independent of the completion, so the mean is the
    gradient; the error of V̂_t adds Var(R | prefix) / K times the square of the difference of the two scores beside it.
    The finished text is not guessed: its value is its return.  size: completions a prompt.
    """
    parts = []
    for one in check_listed(listed):
        values, squares = true_values(one), true_values(one._replace(returns=one.returns**2))
        exact = moments_of(one.chances, ((values[:, 1:] - values[:, :-1])[..., None] * one.scores).sum(1))
        # V̂_t enters with +s of the token before and -s of the token after it
        before = torch.cat([torch.zeros_like(one.scores[:, :1]), one.scores[:, :-1]], 1)
        spread = (squares - values**2)[:, :-1].clamp(min=0) * one.mask / check_count("rollouts", rollouts)
        noise = torch.einsum("m,mt,mtd,mte->de", one.chances, spread, before - one.scores, before - one.scores)
        parts.append(Moments(exact.mean, exact.covariance + noise))
    mean, covariance = sum(m.mean for m in parts), sum(m.covariance for m in parts)
    return Moments(mean / len(listed), covariance / (len(listed) ** 2 * check_count("size", size)))


# dead groups, for answers that are right or wrong


def dead_share(pass_rate: Any, size: int) -> Tensor:
    """p^G + (1-p)^G: how likely a group of `size` answers is dead (lesson 08; Yu et al. 2025, DAPO).

    All answers are right, or all are wrong, and the group says nothing.
    """
    p = check_rate(pass_rate)
    return p ** check_count("size", size) + (1 - p) ** size


def pull(pass_rate: Any, size: int, kind: str) -> Tensor:
    """f(p) in E[ĝ] = f(p) ∇p, for rewards 0 and 1 and a rule that compares within the group (lesson 08, claim C18).

    It is 1 for RLOO, (G-1)/G for Dr. GRPO. Every right answer has the same advantage, and E[∇ log π | right] is ∇p / p;
    so f is a sum over how many of the group are right, a binomial.
    pass_rate: in (0, 1), any shape.  kind: "rloo", "dr_grpo" or "grpo".  ValueError naming the argument.
    """
    p, n = check_rate(pass_rate), check_count("size", size, 2)
    check_choice("kind", kind, GROUP_KINDS)
    right = torch.arange(n + 1, dtype=torch.float64)
    rewards = (torch.arange(n) < right[:, None]).double()  # [n + 1, n]: the first k are right
    advantages = group_advantages(rewards, kind)
    up, down = (advantages * rewards).sum(1) / n, -(advantages * (1 - rewards)).sum(1) / n
    log_chance = torch.lgamma(right.new_tensor(n + 1.0)) - torch.lgamma(right + 1) - torch.lgamma(n - right + 1)
    chances = (log_chance + torch.xlogy(right, p[..., None]) + torch.xlogy(n - right, 1 - p[..., None])).exp()
    return chances @ up / p + chances @ down / (1 - p)


def check_rate(pass_rate: Any, name: str = "pass_rate") -> Tensor:
    """Rates as a float64 tensor.  ValueError, naming the argument, unless all lie strictly between 0 and 1."""
    p = check_array(name, pass_rate)
    if not ((p > 0) & (p < 1)).all():
        raise ValueError(f"{name} must lie strictly between 0 and 1; at the ends there is nothing to learn")
    return p
