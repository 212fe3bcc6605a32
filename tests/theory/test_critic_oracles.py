"""GAE against TorchRL 0.14 and Stable-Baselines3 2.9, over 200 batches with ragged masks, deaths and time limits.

Skipped where the two are not installed; PGNOTES_ORACLES=required makes that a failure. They are wanted for their
formulas alone:

    pip install --no-deps -c constraints.txt torchrl tensordict stable-baselines3 gymnasium cloudpickle pyvers
"""

import numpy as np
import pytest
import torch
from plain import seeded
from test_oracles import CASES, oracle

from pgnotes.theory.critics import gae, lambda_returns


def batch(seed):
    """Rewards, values and mask [n, T], whether a time limit cut the sequence and what it stood at then [n], γ and λ."""
    g = seeded(seed)
    n, width = (int(torch.randint(1, high, (1,), generator=g)) for high in (7, 12))
    mask = torch.arange(width) < torch.randint(1, width + 1, (n, 1), generator=g)
    rewards, values = torch.randn(2, n, width, generator=g, dtype=torch.float64)
    cut, last = torch.rand(n, generator=g) < 0.5, torch.randn(n, generator=g, dtype=torch.float64)
    gamma, lam = (0.8 + 0.2 * torch.rand(2, generator=g)).tolist() if seed else (1.0, 1.0)
    return rewards, values, mask, cut, torch.where(cut, last, 0.0), gamma, lam


def ours(rewards, values, mask, cut, last, gamma, lam):
    given = rewards, values, mask, gamma, lam, last
    return gae(*given), lambda_returns(*given)


def torchrl_s(rewards, values, mask, cut, last, gamma, lam):
    """`done` at the last live step, and `terminated` there where no limit cut. As numbers γ and λ would be rounded."""
    functional = oracle("torchrl.objectives.value.functional")
    done = torch.zeros_like(mask)
    done[:, :-1] = mask[:, :-1] & ~mask[:, 1:]
    done[:, -1] = mask[:, -1]
    following = torch.cat([values[:, 1:], last[:, None]], 1)
    following = torch.where(done, last[:, None], following)
    given = (values, following, rewards, done, done & ~cut[:, None])
    decays = torch.tensor([gamma, lam], dtype=torch.float64)
    advantage, target = functional.generalized_advantage_estimate(*decays, *(each[..., None] for each in given))
    return advantage[..., 0] * mask, target[..., 0] * mask


def stable_baselines_s(rewards, values, mask, cut, last, gamma, lam):
    """Its buffer holds one stream, in which a sequence begins where the one before has ended.

    A time limit is handled where samples are collected: the value then is added to the last reward.
    """
    buffers = oracle("stable_baselines3.common.buffers")
    ends, starts = torch.zeros_like(mask), torch.zeros_like(mask)
    ends[torch.arange(len(mask)), mask.sum(1) - 1] = starts[:, 0] = True
    stream = [each[mask].numpy()[:, None] for each in (rewards + gamma * last[:, None] * ends, values, starts.double())]

    buffer = buffers.RolloutBuffer.__new__(buffers.RolloutBuffer)
    buffer.rewards, buffer.values, buffer.episode_starts = stream
    buffer.buffer_size, buffer.gamma, buffer.gae_lambda = len(stream[0]), gamma, lam
    buffer.advantages = np.zeros_like(buffer.rewards)
    buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
    found = (torch.from_numpy(each[:, 0]) for each in (buffer.advantages, buffer.returns))
    return tuple(torch.zeros_like(rewards).masked_scatter(mask, each) for each in found)


@pytest.mark.parametrize("theirs", [torchrl_s, stable_baselines_s])
def test_advantages_and_targets_agree_with_the_oracle(theirs):
    for seed in range(CASES):
        given = batch(seed)
        for mine, wanted in zip(ours(*given), theirs(*given), strict=True):
            torch.testing.assert_close(mine, wanted, rtol=1e-10, atol=1e-12)
