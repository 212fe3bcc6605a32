"""From comparisons to a reward, from a reward to the best policy near a reference, and losses that skip the reward."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pgnotes.theory.arguments import (
    check_between,
    check_booleans,
    check_count,
    check_distributions,
    check_numbers,
    check_positive,
    check_real,
    check_shape,
)
from pgnotes.theory.learning import bootstrapped, check_single_prompt
from pgnotes.theory.objectives import check_mask, live_only
from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import TokenWorld

NEWTON_STEPS = 100
HALVINGS = 44  # of a range of 24 powers of ten, to a millionth of a millionth
SETTLED = 1e-10  # nats: how far the last Newton step may still move a score

# comparisons, and the reward that explains them


def preference(rewards: Any, noise: float) -> Tensor:
    """P(i over j) = σ((r_i - r_j) / noise), [N, N]: how often judges prefer answer i (lesson 13; Bradley & Terry 1952).

    rewards: [N] real, any unit.  noise: T > 0 in the same unit; near 0 the better answer always wins.  ValueError
    naming the argument.
    """
    rewards, noise = check_real("rewards", rewards, 1), check_positive("noise", noise)
    return torch.sigmoid((rewards[:, None] - rewards) / noise)


def agreement(chances: Any, scores: Any, wins: Any) -> float:
    """How often scores name the answer that the judges prefer, of two drawn independently (lesson 13).

    Where both have the same score, half the time.
    chances: [N] probabilities of the answers.  scores: [N].  wins: [N, N], P(i over j), as from `preference`.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    scores = check_shape("scores", check_real("scores", scores, 1), chances.shape)
    wins = check_shape("wins", check_real("wins", wins, 2), (len(chances), len(chances)))
    says = (1 + torch.sign(scores[:, None] - scores)) / 2  # 1, ½ or 0
    agrees = says * wins + (1 - says) * (1 - wins)
    return (chances @ agrees @ chances).item()


def judged(wins: Any, flips: float = 0.0, bias: Any = None) -> Tensor:
    """P(i over j) of a judge who errs, [N, N]: (1 - 2f) σ(logit P + b_i - b_j) + f (lesson 15, claim C79).

    wins: [N, N], P(i over j) of a judge who does not, as from `preference`.  flips: f in [0, ½], the share of verdicts
    that are turned at random.  bias: b [N], by how many nats the judge likes each answer better than it deserves; none
    if not given.  ValueError naming the argument.
    """
    wins, flips = check_real("wins", wins, 2), check_between("flips", flips, 0.0, 0.5)
    check_shape("wins", wins, (len(wins), len(wins)))
    if (wins < 0).any() or (wins > 1).any():
        raise ValueError("wins must hold probabilities, between 0 and 1")
    if bias is not None:
        bias = check_shape("bias", check_real("bias", bias, 1), wins.shape[:1])
        wins = torch.sigmoid(torch.logit(wins) + bias[:, None] - bias)
    return (1 - 2 * flips) * wins + flips


def verdicts_agree(chances: Any, wins: Any, others: Any) -> float:
    """How often two judges say the same of two answers drawn independently, each by chance (lesson 15).

    chances: [N].  wins, others: [N, N], P(i over j) of each judge; their verdicts are drawn independently.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    wins = check_shape("wins", check_real("wins", wins, 2), (len(chances), len(chances)))
    others = check_shape("others", check_real("others", others, 2), wins.shape)
    return (chances @ (wins * others + (1 - wins) * (1 - others)) @ chances).item()


def bradley_terry_loss(scores: Tensor, wins: Tensor) -> Tensor:
    """-Σ wins_ij log σ(s_i - s_j), the negative log-likelihood of comparisons, one number (lesson 13).

    scores: [N] in nats.  wins: [N, N], how often (or with what probability) i was preferred to j.
    """
    check_numbers("scores", scores)
    check_shape("wins", wins, (len(scores), len(scores)))
    return -(wins * F.logsigmoid(scores[:, None] - scores)).sum()


def fit_bradley_terry(features: Any, wins: Any, ridge: float = 0.0) -> Tensor:
    """The weights w [F] of a linear reward s_i = φ_i·w that make the comparisons likeliest (lesson 13; BT 1952).

    Newton's method on `bradley_terry_loss` + ridge/2 ‖w‖². The scores come in nats: fitted to judges who compare r with
    noise T, they are r/T. What comparisons do not fix, such as a constant added to all scores, is left at 0.
    features: [N, F]; eye(N) for a score of its own for each answer.  wins: [N, N], none below 0.
    ValueError naming the argument, and for wins that no finite weights explain best: give a ridge.
    """
    features, wins = check_real("features", features, 2), check_real("wins", wins, 2)
    check_shape("wins", wins, (len(features), len(features)))
    if (wins < 0).any() or not (wins > 0).any():
        raise ValueError("wins must not hold a number below 0, and not only zeros")
    ridge = check_between("ridge", ridge, 0.0, float("inf"))

    first, second = wins.nonzero(as_tuple=True)
    counts = wins[first, second] / wins.sum()  # their sum does not change where the lowest point is
    apart = features[first] - features[second]  # [pairs, F]
    ridge = ridge / wins.sum().item()

    weights = torch.zeros(features.shape[1], dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        surprise = torch.sigmoid(-(apart @ weights))  # how unexpected each result is
        slope = apart.T @ (counts * surprise) - ridge * weights
        bend = apart.T @ ((counts * surprise * (1 - surprise))[:, None] * apart)
        bend = bend + ridge * torch.eye(len(weights), dtype=torch.float64)
        step = torch.linalg.pinv(bend, rtol=1e-12, hermitian=True) @ slope
        step = step / max(1.0, (apart @ step).abs().max().item())  # at most one nat a step
        weights = weights + step
        if (apart @ step).abs().max() < SETTLED:
            return weights
    raise ValueError("wins has no finite answer: some answers beat the others always; give a ridge above 0")


def has_finite_scores(wins: Any) -> bool:
    """Whether wins fix free scores, up to a constant, and at finite values (lesson 13; Ford 1957).

    They do if every answer has beaten every other one by a chain of wins; else some group of answers never loses to
    the rest. If it has won against them its lead grows without end; if the two never met, it is not fixed.
    wins: [N, N], none below 0.
    """
    wins = check_real("wins", wins, 2)
    reached = (wins > 0) | torch.eye(len(wins), dtype=torch.bool)
    for _ in range(len(wins).bit_length()):
        reached = (reached.double() @ reached.double()) > 0  # chains of twice the length
    return bool(reached.all())


# the best policy at a price for each nat of KL


def tilted(chances: Any, rewards: Any, beta: float) -> Tensor:
    """π*(y) = π_ref(y) e^{r(y)/β} / Z, [N]: what maximises E[r] - β KL(π ‖ π_ref) (lesson 13).

    The maximum itself is β log Z (`soft_values`).
    chances: [N] of the reference, adding up to 1.  rewards: [N].  beta: above 0, in units of reward a nat.
    ValueError naming the argument.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    rewards = check_shape("rewards", check_real("rewards", rewards, 1), chances.shape)
    return torch.softmax(chances.log() + rewards / check_positive("beta", beta), 0)


def tilted_to(chances: Any, rewards: Any, kl: float) -> Tensor:
    """The tilted distribution that is `kl` nats from the reference, [N]: the highest reward at that price (lesson 13).

    Beyond what can be spent, which is -log of the best answers' chance, it is the reference among the best answers.
    kl: from 0.  Found by halving β's range; other arguments as in `tilted`.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    rewards = check_shape("rewards", check_real("rewards", rewards, 1), chances.shape)
    kl = check_between("kl", kl, 0.0, float("inf"))
    best = torch.where(rewards == rewards[chances > 0].max(), chances, 0.0)
    if kl >= -best.sum().log().item():
        return best / best.sum()

    low, high = -12.0, 12.0  # of log10 β, in the spread of the rewards
    unit = (rewards.max() - rewards.min()).item() or 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        policy = tilted(chances, rewards, unit * 10**middle)
        spent = torch.where(policy > 0, policy * (policy / chances).log(), 0.0).sum()
        low, high = (middle, high) if spent > kl else (low, middle)
    return tilted(chances, rewards, unit * 10**high)


def soft_values(world: TokenWorld, reference: PrefixPolicy, beta: float) -> Tensor:
    """V(prefix) = β log E_ref[e^{R/β} | prefix], [rows]; that of the empty prefix is β log Z (lesson 13).

    Backwards from the last symbol. 0 for prefixes that never happen.  world: with one prompt; its rewards are what R
    is.  ValueError naming the argument.
    """
    check_single_prompt(world).probabilities(reference)  # checks that they fit
    beta, logp = check_positive("beta", beta), reference.probs.log().detach().view(-1, world.vocab_size)
    values = torch.zeros(len(logp), dtype=torch.float64)
    for _ in range(world.horizon):  # each round is right one symbol earlier
        values = beta * torch.logsumexp(logp + bootstrapped(world, values) / beta, 1)
    return values


def tilted_policy(world: TokenWorld, reference: PrefixPolicy, beta: float) -> PrefixPolicy:
    """π*, symbol by symbol: π*(a | s) = π_ref(a | s) e^{(V(sa) - V(s))/β} with V of `soft_values` (lesson 13).

    Of whole sequences it is `tilted`. Arguments as in `soft_values`.
    """
    values = soft_values(world, reference, beta)
    logp = reference.probs.log().detach().view(-1, world.vocab_size)
    return PrefixPolicy(logp + bootstrapped(world, values) / beta)


def best_of(chances: Any, scores: Any, n: int) -> Tensor:
    """How likely each answer is as the best by score of n independent draws, [N] (lesson 13; Beirami et al. 2024).

    F(s)ⁿ - F(s⁻)ⁿ for each level of the score, shared among the answers of that level by their chances.
    chances: [N], adding up to 1.  scores: [N].  n: from 1.  ValueError naming the argument.
    """
    chances = check_distributions("chances", check_real("chances", chances, 1))
    scores = check_shape("scores", check_real("scores", scores, 1), chances.shape)
    n = check_count("n", n)

    levels, level = torch.unique(scores, return_inverse=True)
    mass = torch.zeros(len(levels), dtype=torch.float64).index_add(0, level, chances)
    up_to = mass.cumsum(0).clamp(max=1.0)
    below = torch.cat([torch.zeros(1, dtype=torch.float64), up_to[:-1]])
    best = up_to**n - below**n
    share = best / mass.masked_fill(mass == 0, 1.0)
    return chances * share[level]


def best_of_kl(n: int) -> float:
    """log n - (n - 1)/n nats: KL(best of n ‖ reference) where no two answers tie and all are rare (lesson 13, C53).

    With ties, or answers that are likely, it is an upper bound.
    """
    n = check_count("n", n)
    return float(torch.tensor(n, dtype=torch.float64).log()) - (n - 1) / n


# the KL as a part of the reward


def kl_in_reward(rewards: Tensor, logp: Tensor, logp_ref: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r_t - β (log π - log π_ref) of each symbol, [n, T], 0 where masked (lesson 13; Ouyang et al. 2022).

    It is a reward: no gradient flows through it. Its sum over a sequence, Ziegler et al. 2019, eq. 2, has the mean
    J - β KL.
    rewards, logp, logp_ref: [n, T]; log-probabilities in nats of the symbols that were chosen.  mask: [n, T] bool.
    beta: from 0.  ValueError naming the argument.
    """
    mask = check_mask("logp", logp, mask)
    for name, values in (("rewards", rewards), ("logp_ref", logp_ref)):
        check_numbers(name, values, logp.shape)
    beta = check_between("beta", beta, 0.0, float("inf"))
    paid, now, before = (
        live_only(name, values.detach(), mask)
        for name, values in (("rewards", rewards), ("logp", logp), ("logp_ref", logp_ref))
    )
    return paid - beta * (now - before)


# losses on answers that were judged


def dpo_terms(logp_w: Tensor, logp_l: Tensor, ref_w: Tensor, ref_l: Tensor, beta: float) -> Tensor:
    """-log σ(β [log π/π_ref (winner) - log π/π_ref (loser)]), [n] (lesson 13; Rafailov et al. 2023, eq. 7).

    To be minimised. Log-probabilities [n] in nats of whole answers, *sums* over their tokens.  beta: above 0.  No
    gradient flows into the reference.  ValueError naming the argument.
    """
    check_numbers("logp_w", logp_w)
    for name, values in (("logp_l", logp_l), ("ref_w", ref_w), ("ref_l", ref_l)):
        check_numbers(name, values, logp_w.shape)
    margin = (logp_w - ref_w.detach()) - (logp_l - ref_l.detach())
    return -F.logsigmoid(check_positive("beta", beta) * margin)


def dpo_loss(logp: Tensor, ref: Tensor, wins: Tensor, beta: float) -> Tensor:
    """The mean of `dpo_terms` over listed answers, i preferred to j with weight wins_ij, one number (lesson 13).

    logp, ref: [N] nats.  wins: [N, N], none below 0, not all 0.  beta: above 0.  Its lowest value is at
    `tilted(reference, scores, beta)` with the scores of `fit_bradley_terry(eye(N), wins)`.
    """
    check_numbers("logp", logp)
    check_numbers("ref", ref, logp.shape)
    check_shape("wins", wins, (len(logp), len(logp)))
    w, loser = wins.nonzero(as_tuple=True)
    terms = dpo_terms(logp[w], logp[loser], ref[w], ref[loser], beta)
    return (wins[w, loser] * terms).sum() / wins.sum()


def kto_terms(logp: Tensor, ref: Tensor, good: Tensor, beta: float, anchor: Any) -> Tensor:
    """1 - σ(±β [log π/π_ref - z]), + for liked answers, - for others, [n] (lesson 13; Ethayarajh et al. 2024).

    Their section 4 with both weights 1. To be minimised. Its slope in the log-ratio is βσ(1 - σ), which vanishes at
    both ends; DPO's, βσ(-margin), at one.
    logp, ref: [n] nats, of whole answers.  good: [n] bool.  anchor: z, a number from 0: an estimate of KL(π ‖ π_ref);
    no gradient flows through it, nor into the reference.  ValueError naming the argument.
    """
    check_numbers("logp", logp)
    check_numbers("ref", ref, logp.shape)
    good = check_booleans("good", good, logp.shape)
    anchor = check_between("anchor", anchor, 0.0, float("inf"))
    above = check_positive("beta", beta) * (logp - ref.detach() - anchor)
    return torch.sigmoid(torch.where(good, -above, above))
