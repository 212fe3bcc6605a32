"""Lesson 06's exercises: credit, discounted weights, dense rewards, a past's noise, a spread reward, G - V."""

from __future__ import annotations

import torch
from torch import Tensor

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises import second_moments as of_two
from pgnotes.theory.credit import credit, spread, token_weights
from pgnotes.theory.objectives import kl_estimate
from pgnotes.theory.returns import discounted_return, reward_to_go

PAID = torch.tensor([0.5, -1.0, 0.0, 2.0], dtype=torch.float64)
LOGP = torch.tensor([-0.2, -1.5, -0.7], dtype=torch.float64)
LOGP_REF = torch.tensor([-0.9, -1.0, -0.1], dtype=torch.float64)
FIRST = torch.tensor([0.7, 0.3], dtype=torch.float64)
SECOND = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
EARLY = torch.tensor([1.0, -2.0], dtype=torch.float64)
LATE = torch.tensor([[0.3, 1.0], [2.0, 0.0]], dtype=torch.float64)
RETURNS = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
LIVE = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)


def powers(horizon: int, gamma: float) -> Tensor:
    """1, γ, γ², … [T]."""
    return torch.tensor(gamma, dtype=torch.float64) ** torch.arange(horizon)


def ahead(horizon: int) -> Tensor:
    """k - t, in row t and column k, [T, T] float64."""
    steps = torch.arange(horizon).double()
    return steps[None, :] - steps[:, None]


causal = Exercise(
    "6.1",
    "Write causal(horizon, gamma)",
    lambda horizon, gamma: credit("usual", horizon, gamma),
    ((3, 0.5), (4, 0.9), (2, 1.0), (3, 0.0)),
    {
        "zero": (
            lambda n, g: g ** (ahead(n)) * (ahead(n) >= 0),
            "Right but for γ = 0, where you raise 0 to negative powers (that is infinite) and multiply by 0 (which is "
            "no number). Take powers of k − t where it is 0 or more, and only there.",
        ),
        "off by one": (
            lambda n, g: torch.where(ahead(n) >= 0, torch.tensor(g).double() ** (ahead(n) + 1).clamp(min=0), 0.0),
            "All powers are one too high. A token's own reward is 0 tokens away, and γ^0 is 1: the diagonal is 1.",
        ),
        "times": (
            lambda n, g: torch.where(ahead(n) >= 0, g * ahead(n), 0.0),
            "You multiply γ by the distance. A discount is a power: γ^(k − t).",
        ),
        "backwards": (
            lambda n, g: credit("usual", n, g).flip(1),
            "Your columns run backwards: the first column is the reward of token 0, the last that of the last token.",
        ),
        "transposed": (
            lambda n, g: credit("usual", n, g).T,
            "You credit each token with the rewards before it. Row t is the token, column k the reward: the entries "
            "with k ≥ t stay.",
        ),
        "without its own": (
            lambda n, g: credit("usual", n, g) - torch.eye(n, dtype=torch.float64),
            "The diagonal is 0 in your matrix. The reward of token t itself is a consequence of token t: it counts, "
            "in full.",
        ),
        "no discount": (
            lambda n, g: credit("usual", n, 1.0),
            "Causal, and γ is nowhere in it. A reward k − t tokens later counts γ to the power of k − t.",
        ),
        "from the start": (
            lambda n, g: credit("to_go", n, g),
            "You discount from the start of the sequence, γ to the power of k. Asked for is the usual form, from "
            "token t on: γ to the power of k − t.",
        ),
        "both sides": (
            lambda n, g: credit("usual", n, g) + credit("usual", n, g).T - torch.eye(n, dtype=torch.float64),
            "Your matrix fades with the distance on both sides. Rewards before token t count nothing for it.",
        ),
    },
    "An upper triangle: this matrix times the rewards is discounted reward-to-go.",
)

front = Exercise(
    "6.2",
    "Write discounted_weights(rewards, gamma)",
    lambda rewards, gamma: token_weights(rewards, "to_go", gamma),
    ((PAID, 0.5), (PAID.flip(0), 0.9), (PAID, 1.0)),
    {
        "usual": (
            lambda r, g: reward_to_go(r, g),
            "This is the usual form. For the gradient of the discounted objective, token t needs the factor γ^t in "
            "front, t counted from 0.",
        ),
        "not flipped": (
            lambda r, g: (powers(len(r), g) * r).cumsum(0),
            "You add up from the front: each token gets what was paid up to it. What counts is what is paid from it "
            "on. Flip, `cumsum`, and flip back.",
        ),
        "not flipped back": (
            lambda r, g: (powers(len(r), g) * r).flip(0).cumsum(0),
            "Right numbers in the wrong order: flip the sums back, so that the first token's comes first.",
        ),
        "without its own": (
            lambda r, g: token_weights(r, "to_go", g) - powers(len(r), g) * r,
            "Each token's own reward is missing from its weight. It is a consequence of the token, too: k ≥ t, not k "
            "> t.",
        ),
        "twice": (
            lambda r, g: powers(len(r), g) * token_weights(r, "to_go", g),
            "The factor γ^t is in it twice: either discount rewards from the start, or discount from token t and "
            "multiply by γ^t, not both.",
        ),
        "whole": (
            lambda r, g: discounted_return(r, g).expand(len(r)),
            "Every token has the whole discounted return. Unbiased, but drop the past.",
        ),
        "undiscounted ahead": (
            lambda r, g: powers(len(r), g) * reward_to_go(r),
            "You multiply by γ^t, but add up the rewards ahead undiscounted: a reward of token k counts γ^k in all.",
        ),
        "from one": (
            lambda r, g: g * token_weights(r, "to_go", g),
            "All weights have one factor γ too many: the first token is number 0, and γ^0 is 1.",
        ),
        "no discount": (
            lambda r, g: reward_to_go(r),
            "γ is nowhere in it. A reward of token k counts γ^k.",
        ),
        "no to-go": (
            lambda r, g: powers(len(r), g) * r,
            "These are the discounted rewards. Add them up from each token on.",
        ),
    },
    "Every reward counts γ^k, as in the objective, and only for tokens up to k.",
)

dense = Exercise(
    "6.3",
    "Write dense_rewards(reward, logp, logp_ref, beta)",
    lambda reward, logp, logp_ref, beta: paid_at_the_end(reward, logp) - beta * kl_estimate(logp, logp_ref, "k1"),
    ((1.0, LOGP, LOGP_REF, 0.1), (-0.5, LOGP.flip(0), LOGP_REF, 0.3), (0.0, LOGP, LOGP_REF, 1.0)),
    {
        "overwritten": (
            lambda r, lp, ref, b: torch.cat([-b * (lp - ref)[:-1], torch.tensor([r]).to(lp)]),
            "The last token's own KL cost is gone: `rewards[-1] = reward` overwrites it. Add the reward to what the "
            "last token is charged already: `+=`.",
        ),
        "first token": (
            lambda r, lp, ref, b: paid_at_the_end(r, lp).flip(0) - b * (lp - ref),
            "You pay the reward on the first token. There reward-to-go would drop it for all others: pay it on the "
            "last token, which it waits for.",
        ),
        "ratio": (
            lambda r, lp, ref, b: paid_at_the_end(r, lp) - b * (lp - ref).exp(),
            "You charge the ratio π/π_ref. It averages to something else; the KL is the mean of its logarithm, "
            "log π − log π_ref.",
        ),
        "absolute": (
            lambda r, lp, ref, b: paid_at_the_end(r, lp) - b * (lp - ref).abs(),
            "You charge the log-ratio's absolute value. A token that the reference likes better has a negative cost, "
            "and only with these does the mean become the KL.",
        ),
        "sign": (
            lambda r, lp, ref, b: paid_at_the_end(r, lp) + b * (lp - ref),
            "The sign of the KL part: a token that the policy likes better than the reference does must cost "
            "something.",
        ),
        "no beta": (
            lambda r, lp, ref, b: paid_at_the_end(r, lp) - (lp - ref),
            "β is missing: it says what a nat of KL costs in units of reward.",
        ),
        "reward everywhere": (
            lambda r, lp, ref, b: r - b * (lp - ref),
            "Every token is paid the whole reward, so that T tokens earn it T times. It is paid once, on the last "
            "token.",
        ),
        "reward spread": (
            lambda r, lp, ref, b: r / len(lp) - b * (lp - ref),
            "You spread the reward over the tokens. With reward-to-go that weights late tokens less: claim C23. Keep "
            "it on the last.",
        ),
        "all at the end": (
            lambda r, lp, ref, b: paid_at_the_end(r - b * (lp - ref).sum().item(), lp),
            "The total is right, but all of the KL is paid on the last token. Each token pays for its own, so that "
            "reward-to-go can drop what is past.",
        ),
        "no reward": (
            lambda r, lp, ref, b: -b * (lp - ref),
            "The KL part is right. The reward itself is missing: add it to the last token.",
        ),
        "beta on the reward": (
            lambda r, lp, ref, b: b * (paid_at_the_end(r, lp) - (lp - ref)),
            "β multiplies the reward too. It is the price of KL only.",
        ),
        "to go": (
            lambda r, lp, ref, b: reward_to_go(paid_at_the_end(r, lp) - b * (lp - ref)),
            "These are the weights, summed to go. Asked for is what each token is *paid*.",
        ),
    },
    "This is what RLHF pays (Ziegler et al. 2019): a KL share for each token, the reward on the last.",
)


def paid_at_the_end(reward: float, like: Tensor) -> Tensor:
    """The reward on the last token, 0 on the others."""
    rewards = torch.zeros_like(like)
    rewards[-1] = reward
    return rewards


past = Exercise(
    "6.4",
    "Write second_moments(first, second, early, late)",
    of_two.second_moments,
    (
        (FIRST, SECOND, EARLY, LATE),
        (FIRST.flip(0), SECOND, torch.zeros(2, dtype=torch.float64), LATE),
        (FIRST, SECOND.flip(0), -EARLY, LATE),
    ),
    {
        "without the score": (
            of_two.without_sizes,
            "You average the squared weights alone. Each is multiplied by ‖s‖², the chosen token's squared score.",
        ),
        "not squared": (
            of_two.not_squared,
            "You average weight times ‖s‖². The second moment has the square of the weight.",
        ),
        "no cross term": (
            of_two.past_alone,
            "You add the square of the past to the square of what is to come. The square of a sum has a cross term, "
            "2·past·future: it is what can make the past useful.",
        ),
        "wrong axis": (
            lambda first, second, early, late: of_two.second_moments_of(first, second, early[None, :] + late, late),
            "You add the first token's reward along the wrong axis: `early[i]` belongs to row i of `late`, so it is a "
            "column, `early[:, None]`.",
        ),
        "one sum of squares": (
            lambda first, second, early, late: of_two.second_moments_of(
                first, second, early[:, None] + late, late, second.square().sum()
            ),
            "Σπ² is over the symbols that can follow *one* first token, a number for each row of `second`; you add up "
            "all rows.",
        ),
        "exchanged": (
            lambda *a: of_two.second_moments(*a).flip(0),
            "The numbers are right, in the wrong order: first the whole return, then reward-to-go.",
        ),
        "one prefix": (
            lambda first, second, early, late: of_two.second_moments(
                torch.full_like(first, 1 / len(first)), second, early, late
            ),
            "All first tokens are equally likely in your average. Weight each by its probability.",
        ),
    },
    "The mean is the same for both, so the difference of the second moments is the difference of the variances.",
)

shared = Exercise(
    "6.5",
    "Write spread_weights(returns, mask)",
    lambda returns, mask: token_weights(spread(paid_last(returns, mask), mask), "to_go", 1.0, mask),
    ((RETURNS, LIVE), (RETURNS[1:], LIVE[1:])),
    {
        "no to-go": (
            lambda r, m: r[:, None] * m / m.sum(1, keepdim=True),
            "These are the rewards after spreading. The weight of a token is its reward-to-go: its own share and "
            "those of all tokens after it.",
        ),
        "width": (
            lambda r, m: token_weights(r[:, None] * m / m.shape[1], "to_go", 1.0, m),
            "You divide by the width of the tensor. A sequence's return is shared among its own live tokens.",
        ),
        "not zeroed": (
            lambda r, m: r[:, None] * left_of(m) / m.sum(1, keepdim=True),
            "Behind the end your weights go on, below zero. Dead tokens have weight 0: multiply by the mask.",
        ),
        "off by one": (
            lambda r, m: r[:, None] * (left_of(m) - 1) / m.sum(1, keepdim=True) * m,
            "One share is missing everywhere: a token's own share counts too, so the first token hears all of the "
            "return, L of L shares.",
        ),
        "upside down": (
            lambda r, m: torch.where(m, r[:, None] / left_of(m).clamp(min=1), 0.0),
            "You divide by the number of tokens that are left. The share is R/L for all; (L − t) of them are still to "
            "come.",
        ),
        "whole": (
            lambda r, m: r[:, None] * m,
            "Every live token has the whole return, as it should be in the end; asked for is what spreading makes of "
            "it.",
        ),
        "past": (
            lambda r, m: r[:, None] * m.cumsum(1) * m / m.sum(1, keepdim=True),
            "Your weights grow along the sequence: you add up the shares before each token. Add those from it on.",
        ),
        "padding": (
            lambda r, m: reward_to_go(r[:, None].expand(m.shape) / m.sum(1, keepdim=True)),
            "Padding gets shares as well. Only live tokens share the return, and dead ones have weight 0.",
        ),
    },
    "The first token hears all of the return, the last of L tokens an L-th of it. No baseline repairs that: its mean "
    "is 0 (C23).",
)


def left_of(mask: Tensor) -> Tensor:
    """How many live tokens each place has from it on, its own included: L - t, negative behind the end, [B, T]."""
    return mask.sum(1, keepdim=True) - torch.arange(mask.shape[1])


def paid_last(returns: Tensor, mask: Tensor) -> Tensor:
    """Each return on its sequence's last live token, [B, T]."""
    last = mask & (mask.flip(1).cumsum(1).flip(1) == 1)
    return torch.where(last, returns[:, None], 0.0)


PAYS = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
ALIVE = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
PASSED = torch.tensor([[0, 1, 4], [0, 2, 6], [0, 1, 3]])
TABLE = torch.tensor([1.1, 0.8, -0.3, 0.4, 1.5, 0.7, 0.2], dtype=torch.float64)


def advantages_to_go(rewards: Tensor, mask: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """G_t - V(prefix), 0 where the mask is False, [B, T]."""
    return torch.where(mask, reward_to_go(rewards, mask=mask) - values[rows], 0.0)


advantage = Exercise(
    "6.6",
    "Write advantages(rewards, mask, rows, values)",
    advantages_to_go,
    ((PAYS, ALIVE, PASSED, TABLE), (PAYS[1:], ALIVE[1:], PASSED[1:], -TABLE), (PAYS, ALIVE, PASSED, 0 * TABLE)),
    {
        "not zeroed": (
            lambda r, m, rows, v: reward_to_go(r, mask=m) - v[rows],
            "Behind the end of a sequence you give −V. Dead tokens have no advantage: 0 where the mask is False.",
        ),
        "padding counted": (
            lambda r, m, rows, v: (reward_to_go(r) - v[rows]) * m,
            "What stands in the rewards behind the end of a sequence gets into your sums. Multiply the rewards by the "
            "mask before you add up.",
        ),
        "no mask": (
            lambda r, m, rows, v: reward_to_go(r) - v[rows],
            "The mask is nowhere in it. Multiply the rewards by it before you add up, and the result by it afterwards: "
            "dead tokens have no advantage.",
        ),
        "whole": (
            lambda r, m, rows, v: torch.where(m, (r * m).sum(1, keepdim=True) - v[rows], 0.0),
            "You subtract a value of what is *still to come* from the *whole* return, so the past is left over in it. "
            "Either drop the past on both sides, or on neither.",
        ),
        "own reward": (
            lambda r, m, rows, v: torch.where(m, r - v[rows], 0.0),
            "You compare each token's own reward with all that was to be expected from it on. Add up the rewards ahead "
            "first.",
        ),
        "no value": (
            lambda r, m, rows, v: reward_to_go(r, mask=m),
            "This is reward-to-go. Subtract what was to be expected after the prefix: values[rows].",
        ),
        "not flipped": (
            lambda r, m, rows, v: torch.where(m, r.cumsum(1) - v[rows], 0.0),
            "You add up from the front: that is what was paid *up to* each token. Flip, `cumsum`, and flip back, along "
            "dimension 1.",
        ),
        "without its own": (
            lambda r, m, rows, v: torch.where(m, reward_to_go(r, mask=m) - r - v[rows], 0.0),
            "Each token's own reward is missing: it is paid after the token is chosen, so it belongs to what is to "
            "come.",
        ),
        "one step": (
            lambda r, m, rows, v: torch.where(m, r + following(v[rows] * m) - v[rows], 0.0),
            "This is r + V(next) − V, the one-step error that actor–critics use. It is right on average if V is. Asked "
            "for is the whole rest of the rewards, less V.",
        ),
        "next value": (
            lambda r, m, rows, v: torch.where(m, reward_to_go(r, mask=m) - following(v[rows] * m), 0.0),
            "You subtract the value *after* each token. That one knows the token, so it is no baseline (lesson 05): "
            "take the prefix before it.",
        ),
    },
    "This is what a plain actor–critic multiplies a token's score by. With the exact values R − E[R | prefix] is the "
    "same number.",
)


def following(values: Tensor) -> Tensor:
    """Each entry's right neighbour, 0 after the last, [B, T]."""
    return torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)


EXERCISES = (causal, front, dense, past, shared, advantage)
