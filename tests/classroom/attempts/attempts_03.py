"""Attempts at lesson 03's exercises, right ones in other forms and wrong ones that no slip names by itself."""

from itertools import accumulate

import numpy as np
import torch
from torch.nn import functional as F

from pgnotes.theory.policies import PrefixPolicy
from pgnotes.theory.worlds import ended_before

# 3.1


def mask_by_loop(sequences, eos):
    rows = []
    for sequence in sequences.tolist():
        over, row = False, []
        for symbol in sequence:
            row.append(not over)
            over = over or symbol == eos
        rows.append(row)
    return rows


def mask_by_first_end(sequences, eos):
    is_end = sequences == eos
    length = torch.where(is_end.any(1), is_end.long().argmax(1) + 1, sequences.shape[1])
    return torch.arange(sequences.shape[1]) < length[:, None]


def mask_in_numpy(sequences, eos):
    ends = (sequences.numpy() == eos).astype(int)
    return np.concatenate([np.zeros((len(ends), 1), int), ends.cumsum(1)[:, :-1]], 1) == 0


def mask_by_shift(sequences, eos):
    before = F.pad(sequences[:, :-1], (1, 0), value=-1) == eos
    return before.cumsum(1) == 0


def mask_as_floats(sequences, eos):
    alive = torch.ones(len(sequences))
    columns = []
    for column in sequences.unbind(1):
        columns.append(alive.clone())
        alive *= column != eos
    return torch.stack(columns, 1)


def mask_without_the_last_place(sequences, eos):
    return ~ended_before(sequences, eos)[:, :-1]


def mask_one_beyond(sequences, eos):
    ends = (sequences == eos).long().cumsum(1)
    return F.pad(ends, (2, 0))[:, :-2] == 0


# 3.2


def masked_sum_by_loop(logp, mask):
    return [sum(x for x, on in zip(row, live, strict=True) if on) for row, live in zip(logp, mask, strict=True)]


def masked_sum_in_numpy(logp, mask):
    return np.where(mask.numpy(), logp.numpy(), 0).sum(1)


def masked_sum_in_place(logp, mask):
    logp[~mask] = 0
    return logp.sum(1)


def masked_sum_by_log_of_product(logp, mask):
    return logp.exp().where(mask, 1.0).prod(1).log()


# 3.3


def to_go_by_matrix(rewards, gamma):
    times = torch.arange(len(rewards))
    ahead = times[None] - times[:, None]
    return (gamma**ahead).where(ahead >= 0, 0.0).double() @ rewards


def to_go_recursive(rewards, gamma):
    if len(rewards) == 0:
        return []
    later = to_go_recursive(rewards[1:], gamma)
    return [rewards[0] + gamma * (later[0] if later else 0), *later]


def to_go_in_place(rewards, gamma):
    for t in range(len(rewards) - 2, -1, -1):
        rewards[t] += gamma * rewards[t + 1]
    return rewards


def to_go_by_accumulate(rewards, gamma):
    return [*accumulate(rewards.tolist()[::-1], lambda ahead, r: r + gamma * ahead)][::-1]


def to_go_in_numpy(rewards, gamma):
    r = rewards.numpy()
    return np.array([sum(gamma**k * r[t + k] for k in range(len(r) - t)) for t in range(len(r))])


# 3.4


def loss_by_loop(logp, mask, returns):
    total = 0.0
    for row, live, earned in zip(logp, mask, returns, strict=True):
        total = total - earned * row[live].sum()
    return total / len(returns)


def loss_by_ratio(logp, mask, returns):
    ratio = (logp - logp.detach()).masked_fill(~mask, 0.0).sum(1).exp()
    return -(returns * ratio).mean()


def loss_in_place(logp, mask, returns):
    logp *= mask
    logp *= -returns[:, None]
    return logp.sum() / len(logp)


def to_float(logp, mask, returns):
    return plain_loss(logp, mask, returns).item()


def loss_in_numpy(logp, mask, returns):
    return -(returns.numpy() * (logp.numpy() * mask.numpy()).sum(1)).mean()


# 3.5


class Setup:
    """What a loop of any style needs."""

    def __init__(self, world, seed):
        self.world, self.generator = world, torch.Generator().manual_seed(seed)
        self.curve = []

    def sample(self, policy):
        self.curve.append(self.world.expected_return(policy).item())
        batch = self.world.rollout(policy, 16, self.generator)
        return policy.log_prob(batch.sequences), batch.mask, batch.rewards.sum(1)


def plain_loss(logp, mask, returns):
    return -(returns * (logp * mask).sum(1)).mean()


def zeros(grad=True):
    return torch.zeros(85, 4, dtype=torch.float64, requires_grad=grad)


def with_optimiser(loss=plain_loss, zero=True):
    def train(world, steps, alpha, seed):
        setup, theta = Setup(world, seed), zeros()
        optimizer = torch.optim.SGD([theta], lr=alpha)
        for _ in range(steps):
            value = loss(*setup.sample(PrefixPolicy(theta)))
            if zero:
                optimizer.zero_grad()
            value.backward()
            optimizer.step()
        return setup.curve

    return train


def no_grad_in_place(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    for _ in range(steps):
        plain_loss(*setup.sample(PrefixPolicy(theta))).backward()
        with torch.no_grad():
            theta -= alpha * theta.grad
            theta.grad = None
    return torch.tensor(setup.curve)


def by_scores(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros(grad=False)
    for _ in range(steps):
        policy = PrefixPolicy(theta)
        setup.curve.append(world.expected_return(policy).item())
        batch = world.rollout(policy, 16, setup.generator)
        returns = batch.rewards.sum(1)
        theta = theta + alpha * policy.score(batch.sequences, returns[:, None] * batch.mask).mean(0)
    return setup.curve


def graph_that_grows(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(plain_loss(*setup.sample(PrefixPolicy(theta))), theta)
        theta = theta - alpha * gradient
    return setup.curve


def with_the_last_value(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(plain_loss(*setup.sample(PrefixPolicy(theta))), theta)
        theta = (theta - alpha * gradient).detach().requires_grad_()
    return [*setup.curve, world.expected_return(PrefixPolicy(theta))]


def without_no_grad(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    plain_loss(*setup.sample(PrefixPolicy(theta))).backward()
    theta -= alpha * theta.grad
    return setup.curve


def not_cut_off(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    for _ in range(steps):
        plain_loss(*setup.sample(PrefixPolicy(theta))).backward()
        theta = theta - alpha * theta.grad
    return setup.curve


def twice_backward(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    loss = plain_loss(*setup.sample(PrefixPolicy(theta)))
    for _ in range(steps):
        loss.backward()
    return setup.curve


def only_the_end(world, steps, alpha, seed):
    return with_optimiser()(world, steps, alpha, seed)[-1]


def from_the_global_seed(world, steps, alpha, seed):
    return with_optimiser()(world, steps, alpha, torch.randint(1000, ()).item())


def from_random_logits(world, steps, alpha, seed):
    start = torch.randn(85, 4, generator=torch.Generator().manual_seed(seed)).double()
    return [world.expected_return(PrefixPolicy(start)).item()] * steps


def detached(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    logp, mask, returns = setup.sample(PrefixPolicy(theta))
    torch.autograd.grad(plain_loss(logp.detach(), mask, returns), theta)
    return setup.curve


def generator_in_the_loop(world, steps, alpha, seed):
    setup, theta = Setup(world, seed), zeros()
    for _ in range(steps):
        setup.generator = torch.Generator().manual_seed(seed)
        (gradient,) = torch.autograd.grad(plain_loss(*setup.sample(PrefixPolicy(theta))), theta)
        theta = (theta - alpha * gradient).detach().requires_grad_()
    return setup.curve


def one_batch(world, steps, alpha, seed):
    theta, curve = zeros(), []
    batch = world.rollout(PrefixPolicy(theta), 16, torch.Generator().manual_seed(seed))
    for _ in range(steps):
        policy = PrefixPolicy(theta)
        curve.append(world.expected_return(policy).item())
        loss = plain_loss(policy.log_prob(batch.sequences), batch.mask, batch.rewards.sum(1))
        (gradient,) = torch.autograd.grad(loss, theta)
        theta = (theta - alpha * gradient).detach().requires_grad_()
    return curve


def forgets_the_first(world, steps, alpha, seed):
    return with_the_last_value(world, steps + 9, alpha, seed)[10:]


def without_the_stop(logp, mask, returns):
    live = mask & ~mask.logical_xor(F.pad(mask[:, 1:], (0, 1)))  # all but the last live token
    return plain_loss(logp, live, returns)


def without_the_mask(logp, mask, returns):
    return plain_loss(logp, torch.ones_like(mask), returns)


def by_columns(logp, mask, returns):
    return -(returns[:, None] * (logp * mask).sum(1)).mean()


def mean_of_the_sixteen(world, steps, alpha, seed):
    setup = Setup(world, seed)
    return [setup.sample(PrefixPolicy(zeros()))[2].mean().item() for _ in range(steps)]


def without_returns(logp, mask, returns):
    return plain_loss(logp, mask, torch.ones_like(returns))


def over_tokens(logp, mask, returns):
    return plain_loss(logp, mask, returns) * len(mask) / mask.sum()


RIGHT = {
    "3.1": (mask_by_loop, mask_by_first_end, mask_in_numpy, mask_by_shift, mask_as_floats),
    "3.2": (
        masked_sum_by_loop,
        masked_sum_in_numpy,
        masked_sum_in_place,
        masked_sum_by_log_of_product,
        lambda logp, mask: torch.stack([row[live].sum() for row, live in zip(logp, mask, strict=True)]),
        lambda logp, mask: logp.float().masked_fill(~mask, 0.0).sum(-1),
    ),
    "3.3": (to_go_by_matrix, to_go_recursive, to_go_in_place, to_go_by_accumulate, to_go_in_numpy),
    "3.4": (
        loss_by_loop,
        loss_by_ratio,
        loss_in_place,
        lambda logp, mask, returns: -torch.einsum("b,bt,bt->", returns, logp, mask.double()) / len(logp),
        lambda logp, mask, returns: 5 - (returns * torch.where(mask, logp, 0.0).sum(1)).mean(0, keepdim=True),
        lambda logp, mask, returns: -(returns.float() * (logp.float() * mask).sum(1)).mean(),
    ),
    "3.5": (with_optimiser(), no_grad_in_place, by_scores, graph_that_grows, with_the_last_value),
}

WRONG = {
    "3.1": (
        ("return` missing", lambda sequences, eos: print(end="")),
        ("shape", mask_without_the_last_place),
        ("differs at", mask_one_beyond),
        ("differs at", lambda sequences, eos: sequences > 0),
        ("shape [4]", lambda sequences, eos: (sequences == eos).any(1)),
        ("Upside down", lambda sequences, eos: [[not on for on in row] for row in mask_by_loop(sequences, eos)]),
    ),
    "3.2": (
        ("return` missing", lambda logp, mask: print(end="")),
        ("−inf times 0 is NaN", lambda logp, mask: torch.einsum("bt,bt->b", logp, mask.double())),
        ("other axis", lambda logp, mask: torch.where(mask, logp, 0).sum(dim=-2)),
        ("shape [4, 5]", lambda logp, mask: logp.masked_fill(~mask, 0.0)),
        ("should be", lambda logp, mask: -logp.masked_fill(~mask, 0.0).sum(1)),
        ("should be", lambda logp, mask: logp.masked_fill(~mask, 0.0)[:, :-1].sum(1)),
        ("raised", lambda logp, mask: logp[mask].view(logp.shape).sum(1)),
    ),
    "3.3": (
        ("return` missing", lambda rewards, gamma: print(end="")),
        ("wrong order", lambda rewards, gamma: to_go_by_accumulate(rewards, gamma)[::-1]),
        ("what came before", lambda rewards, gamma: [*accumulate(rewards.tolist(), lambda s, r: r + gamma * s)]),
        ("one number", lambda rewards, gamma: to_go_in_place(rewards, gamma)[0]),
        ("should be", lambda rewards, gamma: -to_go_in_place(rewards, gamma)),
        ("no step away", lambda rewards, gamma: [gamma * g for g in to_go_by_accumulate(rewards, gamma)]),
        ("raised IndexError", lambda rewards, gamma: [rewards[t] + gamma * rewards[t + 1] for t in range(4)]),
    ),
    "3.4": (
        ("return` missing", lambda logp, mask, returns: print(end="")),
        ("No gradient flows", lambda logp, mask, returns: plain_loss(logp.detach(), mask, returns)),
        ("No gradient flows", to_float),
        ("No gradient flows", loss_in_numpy),
        ("one number", lambda logp, mask, returns: -(returns * (logp * mask).sum(1))),
        ("an optimiser walks downhill", lambda logp, mask, returns: -plain_loss(logp, mask, returns)),
        ("[B, 1] times [B] is [B, B]", by_columns),
        ("leaves the returns out", lambda logp, mask, returns: -(logp * mask).sum() / len(logp)),
        ("the gradient of your loss", lambda logp, mask, returns: plain_loss(logp, mask, returns**2)),
        ("raised RuntimeError", lambda logp, mask, returns: -(returns * logp * mask).mean()),
    ),
    "3.5": (
        ("return` missing", lambda world, steps, alpha, seed: print(end="")),
        ("goes down", with_optimiser(lambda *batch: -plain_loss(*batch))),
        ("set the gradient to zero", with_optimiser(zero=False)),
        ("the stop's included", with_optimiser(without_the_stop)),
        ("multiplied by the whole return", with_optimiser(without_returns)),
        ("a square of 256", with_optimiser(by_columns)),
        ("the mask is missing", with_optimiser(without_the_mask)),
        ("not the mean of the sixteen", mean_of_the_sixteen),
        ("taken over sequences, not over tokens", with_optimiser(over_tokens)),
        ("torch.no_grad()", without_no_grad),
        ("`theta.grad` is None", not_cut_off),
        ("a second time", twice_backward),
        ("list of 80 numbers", only_the_end),
        ("same seed gives two", from_the_global_seed),
        ("start from zeros", from_random_logits),
        ("No gradient flows", detached),
        ("Make it once", generator_in_the_loop),
        ("You sample once", one_batch),
        ("raised AttributeError", lambda world, steps, alpha, seed: world.sample(16)),
        ("start from zeros", forgets_the_first),
    ),
}
