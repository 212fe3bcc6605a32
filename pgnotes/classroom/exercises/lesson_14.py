"""Lesson 14's exercises: a full covariance's score, the path, a squashed density, a trace, DDPG's loss, a test."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.densities import (
    NAMES,
    SUSPECTS,
    Density,
    adds_up,
    agrees,
    bounded,
    over_u,
    verdict_fault,
)
from pgnotes.classroom.exercises.traces import begun, looped, traced
from pgnotes.theory.continuous import log_slope


def vector(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def rows(*values: list[float]) -> Tensor:
    """A float64 tensor with a row for each list."""
    return torch.tensor(values, dtype=torch.float64)


# 14.1


def both_scores(a: Tensor, mean: Tensor, covariance: Tensor, square: float = 0.5, volume: float = -0.5) -> Tensor:
    """∇_μ and ∇_Σ of log N, one after the other, [D + D²]; the parts of the second with these weights."""
    inverse = torch.linalg.inv(covariance)
    pulled = inverse @ (a - mean)
    return joined(pulled, square * torch.outer(pulled, pulled) + volume * inverse)


def joined(by_mean: Tensor, by_covariance: Tensor) -> Tensor:
    """Both in one tensor."""
    return torch.cat([by_mean, by_covariance.flatten()])


def by_precision(a: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The derivative by Σ⁻¹ in place of Σ."""
    d = a - mean
    return joined(torch.linalg.solve(covariance, d), 0.5 * (covariance - torch.outer(d, d)))


def by_factor(a: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The derivative by the lower-triangular L of Σ = L Lᵀ in place of Σ."""
    root = torch.linalg.cholesky(covariance)
    pulled = torch.linalg.solve(covariance, a - mean)
    by_root = torch.outer(pulled, root.T @ pulled) - torch.linalg.inv(root).T
    return joined(pulled, by_root.tril())


def twice_off_diagonal(size: int) -> Tensor:
    """1 for μ and on the diagonal of Σ, else 2; [D + D²]."""
    return joined(torch.ones(size), 2 - torch.eye(size)).double()


WIDE = rows([2.0, 0.6], [0.6, 0.5])
covariance_score = Exercise(
    "14.1",
    "Write gaussian_score(a, mean, covariance)",
    both_scores,
    (
        (vector(1.0, -0.5), vector(0.0, 0.0), WIDE),
        (vector(0.3, 2.0), vector(0.5, 1.0), rows([0.4, -0.3], [-0.3, 0.9])),
        (vector(0.0, 1.0, 2.0), vector(1.0, 1.0, 1.0), rows([1.0, 0.2, 0.0], [0.2, 2.0, -0.5], [0.0, -0.5, 0.7])),
    ),
    {
        "diagonal only": (
            lambda a, mean, covariance: both_scores(a, mean, covariance.diagonal().diag()),
            "You use the diagonal of Σ alone. Off it stands how the actions go together, and Σ⁻¹ mixes all of it.",
        ),
        "covariance for its inverse": (
            lambda a, mean, covariance: joined(
                covariance @ (a - mean),
                0.5 * (torch.outer(covariance @ (a - mean), covariance @ (a - mean)) - covariance),
            ),
            "Σ stands where Σ⁻¹ belongs. A wide policy is pulled *less* by an action at the same distance.",
        ),
        "no volume": (
            lambda *case: both_scores(*case, volume=0.0),
            "−½ Σ⁻¹ is missing, the derivative of −½ log det Σ. Without it the score does not average to zero, and "
            "every rewarded action widens the policy.",
        ),
        "no half": (
            lambda *case: both_scores(*case, 1.0, -1.0),
            "The derivative by Σ is twice too large: both of its parts carry a ½.",
        ),
        "turned": (
            lambda *case: both_scores(*case, -0.5, 0.5),
            "The derivative by Σ has the other sign: an action far away should widen the policy.",
        ),
        "by the precision": (
            by_precision,
            "That is the derivative by Σ⁻¹. By Σ: Σ⁻¹ changes by −Σ⁻¹ dΣ Σ⁻¹, which puts a Σ⁻¹ on either side and "
            "turns the sign.",
        ),
        "mean turned": (
            lambda a, mean, covariance: (
                both_scores(a, mean, covariance) * torch.cat([-torch.ones(len(a)), torch.ones(len(a) ** 2)])
            ),
            "The derivative by μ has the wrong sign: a rewarded action pulls the mean towards itself, d = a − μ.",
        ),
        "entry by entry": (
            lambda a, mean, covariance: joined(
                torch.linalg.solve(covariance, a - mean),
                0.5 * (torch.outer(a - mean, a - mean) / covariance**2 - 1 / covariance),
            ),
            "1/Σ entry by entry is not Σ⁻¹: torch.linalg.inv.",
        ),
        "by the factor": (
            by_factor,
            "That is the derivative by the factor L. By Σ it is ½(Σ⁻¹ddᵀΣ⁻¹ − Σ⁻¹), without L.",
        ),
        "counted twice": (
            lambda a, mean, covariance: both_scores(a, mean, covariance) * twice_off_diagonal(len(a)),
            "Off the diagonal yours is twice too large: it moves Σ₁₂ and Σ₂₁ together. Differentiate by each alone.",
        ),
        "covariance alone": (
            lambda a, mean, covariance: both_scores(a, mean, covariance)[len(a) :],
            "The derivative by μ is missing: put it first, then that by Σ, row by row.",
        ),
    },
    "Averaged over actions both halves are zero, as every score's.",
)

# 14.2

SLOPES, NOISE = vector(1.0, -0.5, 2.0), vector(0.5, -1.0, 0.2)


def along(slopes: Tensor, noise: Tensor, std: float) -> Tensor:
    """r' and r' σ z, averaged."""
    return torch.stack([slopes.mean(), (slopes * std * noise).mean()])


path = Exercise(
    "14.2",
    "Write path_gradient(slopes, noise, std)",
    along,
    ((SLOPES, NOISE, 0.5), (SLOPES, NOISE, 2.0), (vector(3.0), vector(-1.5), 0.7)),
    {
        "no sigma": (
            lambda slopes, noise, std: torch.stack([slopes.mean(), (slopes * noise).mean()]),
            "That is the derivative by σ. By log σ: a = μ + e^{log σ} z, so ∂a/∂ log σ = σz.",
        ),
        "score in it": (
            lambda slopes, noise, std: torch.stack(
                [
                    (slopes * noise / std).mean(),
                    (slopes * (noise**2 - 1)).mean(),
                ]
            ),
            "You multiply slopes by the score. The score goes with *rewards*; along the path the slope is multiplied "
            "by ∂a/∂θ.",
        ),
        "sum": (
            lambda slopes, noise, std: 3 * along(slopes, noise, std) if len(slopes) == 3 else along(slopes, noise, std),
            "Right up to a factor: average over the samples, do not add up.",
        ),
        "variance": (
            lambda slopes, noise, std: torch.stack([slopes.mean(), (slopes * std**2 * noise).mean()]),
            "σ² where σ belongs: ∂a/∂ log σ = σz.",
        ),
        "divided": (
            lambda slopes, noise, std: torch.stack([slopes.mean(), (slopes * noise / std).mean()]),
            "You divide by σ. A step of log σ moves an action by σz: multiply.",
        ),
        "one per sample": (
            lambda slopes, noise, std: torch.stack([slopes, slopes * std * noise]),
            "One pair for each sample: average over them.",
        ),
        "noise in the mean": (
            lambda slopes, noise, std: torch.stack([(slopes * noise).mean(), (slopes * std * noise).mean()]),
            "A step of μ moves every action by as much: ∂a/∂μ = 1, no z.",
        ),
        "means apart": (
            lambda slopes, noise, std: torch.stack([slopes.mean(), slopes.mean() * std * noise.mean()]),
            "You average slope and noise apart. Each slope goes with its own z; the mean of a product is not the "
            "product of the means.",
        ),
        "swapped": (
            lambda slopes, noise, std: along(slopes, noise, std).flip(0),
            "First the derivative by μ, then that by log σ.",
        ),
    },
    "No reward in it, and no density: only how the action moves, and how steep the reward is there.",
)

# 14.3

U, CENTRES = rows([0.3, -1.0], [10.0, 0.5], [-20.0, 2.0]), rows([0.0, 0.2], [9.0, 0.0], [-18.0, 1.0])
STDS = rows([1.0, 0.5], [2.0, 1.0], [3.0, 0.7])


def before_tanh(u: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """log N(u) of each coordinate, [n, D]."""
    return -0.5 * ((u - mean) / std) ** 2 - std.log() - 0.5 * math.log(2 * math.pi)


def naive(u: Tensor) -> Tensor:
    """log(1 - tanh² u) as it stands, which fails for large u."""
    return torch.log(1 - u.tanh() ** 2)


log_prob = Exercise(
    "14.3",
    "Write squashed_log_prob(u, mean, std)",
    lambda u, mean, std: (before_tanh(u, mean, std) - log_slope(u)).sum(1),
    ((U[:1], CENTRES[:1], STDS[:1]), (U, CENTRES, STDS), (U[:2, :1], CENTRES[:2, :1], STDS[:2, :1])),
    {
        "no determinant": (
            lambda u, mean, std: before_tanh(u, mean, std).sum(1),
            "That is the density of u. Squashing moves the actions closer together where tanh is flat: divide by its "
            "slope, 1 − tanh² u.",
        ),
        "sign": (
            lambda u, mean, std: (before_tanh(u, mean, std) + log_slope(u)).sum(1),
            "The log-determinant has the wrong sign. Where tanh is flat, actions lie *denser*: π(a) = N(u) / (da/du).",
        ),
        "tanh twice": (
            lambda u, mean, std: (before_tanh(u, mean, std) - log_slope(u.tanh())).sum(1),
            "tanh is taken twice: the slope at u is 1 − tanh² u, and tanh u is the action already.",
        ),
        "infinite": (
            lambda u, mean, std: (before_tanh(u, mean, std) - naive(u)).sum(1),
            "Right for small u. At u = −20 tanh² u is 1 in float64, and its logarithm infinite: use "
            "2 (log 2 − u − softplus(−2u)).",
        ),
        "epsilon": (
            lambda u, mean, std: (before_tanh(u, mean, std) - torch.log(1 - u.tanh() ** 2 + 1e-6)).sum(1),
            "The 1e-6 inside the logarithm keeps it finite, and wrong: at u = 10 it says −13.8 where −18.6 is right. "
            "Use 2 (log 2 − u − softplus(−2u)).",
        ),
        "from the action": (
            lambda u, mean, std: (
                TransformedDistribution(Normal(mean, std), [TanhTransform()], validate_args=False)
                .log_prob(u.tanh())
                .sum(1)
            ),
            "Right for small u. At u = −20 the action tanh u is −1 in float64, and has forgotten u. Take the Gaussian "
            "at u itself, and the slope as 2 (log 2 − u − softplus(−2u)).",
        ),
        "clamped slope": (
            lambda u, mean, std: (before_tanh(u, mean, std) - (1 - u.tanh() ** 2).clamp(min=1e-6).log()).sum(1),
            "Right for small u. The clamp keeps the logarithm finite, and wrong: at u = 10 it says −13.8 where −18.6 "
            "is right. Use 2 (log 2 − u − softplus(−2u)).",
        ),
        "variance for std": (
            lambda u, mean, std: (before_tanh(u, mean, std**2) - log_slope(u)).sum(1),
            "The Gaussian has σ² where σ belongs: Normal(mean, std).",
        ),
        "half the slope": (
            lambda u, mean, std: (before_tanh(u, mean, std) - 0.5 * log_slope(u)).sum(1),
            "The log-determinant is half as large as it should be: 1 − tanh² is a square, hence the 2.",
        ),
        "no sum": (
            lambda u, mean, std: before_tanh(u, mean, std) - log_slope(u),
            "One number for each coordinate. Independent coordinates multiply their densities: add the logarithms up, "
            "one number for each action.",
        ),
        "sum over actions": (
            lambda u, mean, std: (before_tanh(u, mean, std) - log_slope(u)).sum(0),
            "You add up over the actions. Add up over the coordinates, dim=1.",
        ),
        "mean": (
            lambda u, mean, std: (before_tanh(u, mean, std) - log_slope(u)).mean(1),
            "The logarithm of a product is a *sum* over the coordinates, not a mean.",
        ),
        "gaussian of the action": (
            lambda u, mean, std: (before_tanh(u.tanh(), mean, std) - log_slope(u)).sum(1),
            "The Gaussian is asked about tanh u. It was u that it drew.",
        ),
        "one determinant": (
            lambda u, mean, std: before_tanh(u, mean, std).sum(1) - log_slope(u[:, 0]),
            "Only the first coordinate's slope is divided by: each coordinate has its own.",
        ),
    },
    "Finite for any u, and right: SAC's density (the paper's appendix C), as careful programs compute it.",
)

# 14.4

SCORES = rows([1.0, 0.0], [0.5, -1.0], [-2.0, 1.0], [0.3, 0.3], [1.0, 2.0])
PAID = vector(1.0, -0.5, 2.0, 0.0, 3.0)
ENDS = torch.tensor([False, True, False, False, True])
NEVER = torch.zeros(5, dtype=torch.bool)


trace = Exercise(
    "14.4",
    "Write trace_gradient(scores, rewards, ended, beta)",
    traced,
    ((SCORES, PAID, ENDS, 0.5), (SCORES, PAID, NEVER, 0.9), (SCORES, PAID, ENDS, 1.0)),
    {
        "reward before the score": (
            lambda *a: looped(*a, early=True),
            "The reward is counted before the trace knows this step's score: an action is never credited with its own "
            "reward.",
        ),
        "not reset": (
            lambda scores, rewards, ended, beta: traced(scores, rewards, torch.zeros_like(ended), beta),
            "The trace runs on into the next episode: what came before the end is credited with what comes after it. "
            "Set it to zero where `ended` is True.",
        ),
        "reset too early": (
            lambda *a: looped(*a, reset="before"),
            "The trace is emptied *before* an episode's last reward is counted. `ended` says that this step was the "
            "last: first its reward, then the reset.",
        ),
        "beta squared": (
            lambda scores, rewards, ended, beta: traced(scores, rewards, ended, beta**2),
            "β comes in twice a step: is the trace multiplied by it, and the reward as well? An action t steps back "
            "counts βᵗ.",
        ),
        "fresh score discounted": (
            lambda scores, rewards, ended, beta: beta * traced(scores, rewards, ended, beta),
            "The score of this very step is multiplied by β too: z = βz + s, not β(z + s).",
        ),
        "averaged trace": (
            lambda scores, rewards, ended, beta: (1 - beta) * traced(scores, rewards, ended, beta),
            "You average the scores: z = βz + (1 − β)s. A trace adds them up: z = βz + s. At β = 1 yours stays 0.",
        ),
        "mean": (
            lambda scores, rewards, ended, beta: traced(scores, rewards, ended, beta) / len(rewards),
            "Right up to a factor: the sum is asked for here, not the average over steps.",
        ),
        "whole return": (
            lambda scores, rewards, ended, beta: rewards.sum() * scores.sum(0),
            "Every score is multiplied with every reward, earlier ones too. The trace holds only the scores up to now.",
        ),
        "own reward alone": (
            lambda scores, rewards, ended, beta: rewards @ scores,
            "Each score meets its own reward alone, as with β = 0: the trace keeps the earlier ones, times β a step.",
        ),
        "accumulating reward": (
            lambda scores, rewards, ended, beta: traced(scores.flip(0), rewards.flip(0), begun(ended).flip(0), beta),
            "Backwards: a score meets the rewards *before* it. It is to meet those that come after.",
        ),
    },
    "No look ahead, and a memory of one score. Over all steps it is reward-to-go, term by term.",
)

# 14.5


def action_of(actor: Tensor, states: Tensor) -> Tensor:
    """The actor: what it does in each state [n, D], [n]."""
    return torch.tanh(states @ actor)


def value_of(critic: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """The critic: what it thinks of each action, [n]."""
    return (states @ critic[:-1]) * actions - critic[-1] * actions**2


STATES = rows([1.0, 0.5], [-0.3, 1.0], [0.2, -0.7])
ACTOR, CRITIC = vector(0.4, -0.2), vector(1.0, 0.5, 0.3)


def of_scores(actor: Tensor, critic: Tensor, states: Tensor) -> Tensor:
    """A score's loss, as if the actor were a Gaussian's mean."""
    actions = action_of(actor, states)
    return -(value_of(critic.detach(), states, actions.detach()) * actions).mean()


actor_loss = Exercise(
    "14.5",
    "Write actor_loss(actor, critic, states)",
    lambda actor, critic, states: -value_of(critic.detach(), states, action_of(actor, states)).mean(),
    (
        (ACTOR, CRITIC, STATES),
        (vector(-1.0, 0.3), vector(0.2, -0.8, 1.0), STATES),
        (vector(0.0, 0.0), vector(1.0, 1.0, 0.0), STATES[:2]),
    ),
    {
        "critic learns too": (
            lambda actor, critic, states: -value_of(critic, states, action_of(actor, states)).mean(),
            "The actor's gradient is right, but the critic gets one too: it is taught to praise whatever the actor "
            "does. Detach the critic's parameters (or give only the actor's to the optimiser).",
        ),
        "sign": (
            lambda actor, critic, states: value_of(critic.detach(), states, action_of(actor, states)).mean(),
            "The sign: a loss is made small, and the critic's value is to become large.",
        ),
        "both": (
            lambda actor, critic, states: value_of(critic, states, action_of(actor, states)).mean(),
            "Two things: the sign (a loss is made small, the value should grow), and the critic gets a gradient too.",
        ),
        "no gradient": (
            lambda actor, critic, states: value_of(critic, states, action_of(actor, states)).mean().detach(),
            "No gradient flows to the actor: was the action, the value or the actor itself detached (or under "
            "`no_grad`), or turned into a plain number?",
        ),
        "action detached": (
            lambda actor, critic, states: -value_of(critic, states, action_of(actor, states).detach()).mean(),
            "The action is detached, so nothing reaches the actor: the whole gradient goes through the action, and "
            "none of it into the critic.",
        ),
        "value times action": (
            of_scores,
            "You detach the value and multiply it with the action, as one does with a log-probability. There is none "
            "here: differentiate the critic itself, by its action.",
        ),
        "sum": (
            lambda actor, critic, states: -value_of(critic.detach(), states, action_of(actor, states)).sum(),
            "Right up to a factor: take the mean over the states.",
        ),
        "squared": (
            lambda actor, critic, states: value_of(critic.detach(), states, action_of(actor, states)).square().mean(),
            "That makes the value's *square* small: it pulls the value to 0. The actor wants it large.",
        ),
    },
    "The critic is a road here, not a pupil: its slope by the action passes through, and nothing stays in it.",
    gradient_of=(0, 1),
)

# 14.6


detector = Exercise(
    "14.6",
    "Write is_density(log_prob)",
    agrees(),
    tuple((Density(name, function),) for name, function in zip(NAMES, SUSPECTS, strict=True)),
    {
        "sum alone": (
            adds_up(),
            "Two suspects pass your test that add up to 1 and are another policy's: one has σ² for σ, one tanh μ for "
            "μ. Compare with the Gaussian too: how likely is an action below tanh u?",
        ),
        "sum of a narrow policy": (
            adds_up(0.0, 0.5),
            "Three suspects pass your test. Two add up to 1 and are another policy's (σ² for σ, tanh μ for μ): a sum "
            "does not see that. The third has 1e-6 inside the logarithm, which counts only for a wide policy.",
        ),
        "entropy alone": (
            bounded,
            "You look at the entropy, and let wrong ones pass that are below log 2. That bound catches what is "
            "impossible; whether a density is one, its integral says, and whose it is, the Gaussian.",
        ),
        "by u": (
            over_u,
            "You integrate by u. The density is one of *actions*: a = tanh u, so da = (1 − tanh² u) du.",
        ),
        "all are right": (
            lambda density: True,
            "Everybody passes your test. A density adds up to 1: is the integral over (−1, 1) compared with it?",
        ),
        "none is right": (
            lambda density: False,
            "Nobody passes your test, the right ones neither. Is a sum nan (atanh(±1) is infinite)? Are the ends cut "
            "off, or is u taken for the action, a = tanh u? Print what suspect 1, which is right, adds up to.",
        ),
        "upside down": (
            lambda density: not agrees()(density),
            "Upside down: True is for the right ones.",
        ),
    },
    "It catches all six, whatever the reward and α: no missing determinant, and no other policy's density.",
    fault=verdict_fault,
)

EXERCISES = (covariance_score, path, log_prob, trace, actor_loss, detector)
