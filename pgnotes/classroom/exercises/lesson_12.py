"""Exercises of lesson 12: TODO, the expected reward of a policy, a score, the exact gradient."""

from __future__ import annotations

import torch

from pgnotes.classroom.checks import Exercise
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

LOGITS = torch.tensor([1.8, 1.1, 0.0], dtype=torch.float64)
REWARDS = torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64)
LOSSES = torch.tensor([-2.0, 3.0, 1.0], dtype=torch.float64)


expected_reward = Exercise(
    "12.1",
    "Write expected_reward(logits, rewards)",
    lambda logits, rewards: Bandit(rewards).expected_return(SoftmaxPolicy(logits)),
    ((LOGITS, REWARDS), (LOGITS, LOSSES), (LOGITS.flip(0), REWARDS)),
    {
        "plain mean": (
            lambda logits, rewards: rewards.mean(),
            "That is the plain mean, as if all actions were equally likely. Weigh each by its probability.",
        ),
        "not added up": (
            lambda logits, rewards: logits.softmax(0) * rewards,
            "These are the products, one for each action. The expectation is their sum.",
        ),
        "likeliest": (
            lambda logits, rewards: rewards[logits.argmax()],
            "That is what the likeliest action pays. The others are taken too.",
        ),
    },
    "TODO: what the right function is good for.",
)

score = Exercise(
    "12.2",
    "Write score(logits, action)",
    lambda logits, action: SoftmaxPolicy(logits).score([action])[0],
    ((LOGITS, 0), (LOGITS, 2), (LOGITS.flip(0), 1)),
    {
        "no average": (
            lambda logits, action: torch.eye(len(logits))[action],
            "The action's own logit rises, and the others stay. They must fall: subtract the probabilities.",
        ),
        "sign": (
            lambda logits, action: logits.softmax(0) - torch.eye(len(logits))[action],
            "The sign is turned round: this makes the action rarer.",
        ),
        "of the probability": (
            lambda logits, action: logits.softmax(0)[action] * SoftmaxPolicy(logits).score([action])[0],
            "That is the gradient of the probability. Divide by the probability to have that of its logarithm.",
        ),
    },
    "TODO: what the right function is good for.",
)

gradient = Exercise(
    "12.3",
    "Write gradient(logits, rewards)",
    lambda logits, rewards: Bandit(rewards).exact_gradient(SoftmaxPolicy(logits)),
    ((LOGITS, REWARDS), (LOGITS, LOSSES), (LOGITS.flip(0), REWARDS)),
    {
        "nothing subtracted": (
            lambda logits, rewards: logits.softmax(0) * rewards,
            "Each reward must first be compared with the expected one.",
        ),
        "plain mean subtracted": (
            lambda logits, rewards: logits.softmax(0) * (rewards - rewards.mean()),
            "You compare with the plain mean of the rewards. Compare with what the policy earns on average.",
        ),
        "not weighted": (
            lambda logits, rewards: rewards - logits.softmax(0) @ rewards,
            "These are the advantages. An action's logit moves in proportion to its probability, too.",
        ),
    },
    "TODO: what the right function is good for.",
)

EXERCISES = (expected_reward, score, gradient)
