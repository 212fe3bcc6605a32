"""Lesson 14's exercises: a full covariance's score, the path, a squashed density, a trace, DDPG's loss, a test."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from pgnotes.classroom.checks import Exercise
from pgnotes.classroom.exercises.covariances import covariance_score, rows, vector
from pgnotes.classroom.exercises.densities import detector
from pgnotes.classroom.exercises.traces import begun, looped, traced
from pgnotes.theory.continuous import log_slope

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

EXERCISES = (covariance_score, path, log_prob, trace, actor_loss, detector)
