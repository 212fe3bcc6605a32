"""Attempts at lesson 08's exercises, right and wrong, that its lists of slips don't hold."""

import math
from itertools import pairwise

import numpy as np
import torch


def forgotten(*arguments):
    print(arguments, end="")


# 8.1


def looped_grpo(rewards):
    rows = []
    for row in rewards.tolist():
        mean = sum(row) / len(row)
        std = (sum((r - mean) ** 2 for r in row) / (len(row) - 1)) ** 0.5
        rows.append([(r - mean) / (std + 1e-4) for r in row])
    return rows


def numpy_grpo(rewards):
    r = rewards.numpy()
    return (r - r.mean(1, keepdims=True)) / (r.std(1, ddof=1, keepdims=True) + 1e-4)


def grpo_in_place(rewards):
    rewards -= rewards.mean(-1, keepdim=True)
    rewards /= rewards.std(-1, keepdim=True) + 1e-4
    return rewards


def grpo_of_columns(rewards):
    columns = rewards.T
    return ((columns - columns.mean(0)) / (columns.std(0) + 1e-4)).T


def single_grpo(rewards):
    r = rewards.float()
    return (r - r.mean(1)[:, None]) / (r.std(1)[:, None] + 1e-4)


# 8.2


def looped_live(rates, size):
    return sum(1 - p**size - (1 - p) ** size for p in rates.tolist())


def binomial_live(rates, size):
    total = 0.0
    for p in rates.tolist():
        for k in range(1, size):
            total += math.comb(size, k) * p**k * (1 - p) ** (size - k)
    return np.float64(total)


def complement_live(rates, size):
    return len(rates) - rates.pow(size).sum() - (1 - rates).pow(size).sum()


# 8.3


def branching_weights(advantages, mask, how, limit):
    if how == "token":
        return advantages[:, None] * mask / mask.sum()
    if how == "sequence":
        return advantages[:, None] * mask / mask.sum(1)[:, None] / mask.shape[0]
    return advantages[:, None] * mask / mask.shape[0] / limit


def looped_weights(advantages, mask, how, limit):
    batch, tokens = len(mask), int(mask.sum())
    rows = []
    for advantage, row in zip(advantages.tolist(), mask.tolist(), strict=True):
        divisor = {"token": tokens, "sequence": batch * sum(row), "dr_grpo": batch * limit}[how]
        rows.append([advantage / divisor if live else 0.0 for live in row])
    return rows


def numpy_weights(advantages, mask, how, limit):
    a, m = advantages.numpy(), mask.numpy()
    lengths = m.sum(1)
    divisor = {"token": lengths.sum(), "sequence": len(m) * lengths, "dr_grpo": len(m) * limit}[how]
    return (a / divisor)[:, None] * m


def masked_weights(advantages, mask, how, limit):
    lengths = mask.sum(1).double()
    each = {"token": lengths.sum().expand_as(lengths), "sequence": lengths * len(mask)}
    share = advantages / each.get(how, torch.full_like(lengths, len(mask) * limit))
    return torch.where(mask, share[:, None], 0.0)


def weights_by_autograd(advantages, mask, how, limit):
    terms = torch.zeros(mask.shape, dtype=torch.float64, requires_grad=True)
    sums = (terms * mask).sum(1) * advantages
    loss = {
        "token": sums.sum() / mask.sum(),
        "sequence": (sums / mask.sum(1)).mean(),
        "dr_grpo": sums.mean() / limit,
    }[how]
    return torch.autograd.grad(loss, terms)[0]


def padded_constant(advantages, mask, how, limit):
    """Right for "dr_grpo" alone."""
    return advantages[:, None] * mask / (len(mask) * limit)


def row_of_lengths(advantages, mask, how, limit):
    lengths = torch.tensor([sum(row) for row in mask.tolist()])
    if how == "sequence":
        return advantages[:, None] * mask / lengths / len(mask)
    return branching_weights(advantages, mask, how, limit)


def transposed_lengths(advantages, mask, how, limit):
    return branching_weights(advantages, mask.T.contiguous(), how, limit)


# 8.4


def looped_rloo(rewards, prompts):
    result = []
    for i, prompt in enumerate(prompts.tolist()):
        others = [rewards[j].item() for j in range(len(rewards)) if j != i and prompts[j] == prompt]
        result.append(rewards[i].item() - sum(others) / len(others) if others else 0.0)
    return result


def binned_rloo(rewards, prompts):
    counts = torch.bincount(prompts)[prompts]
    sums = torch.bincount(prompts, weights=rewards)[prompts]
    return torch.where(counts > 1, rewards - (sums - rewards) / (counts - 1), 0.0)


def numpy_rloo(rewards, prompts):
    r, p = rewards.numpy(), prompts.numpy()
    out = np.zeros_like(r)
    for prompt in np.unique(p):
        on = p == prompt
        if on.sum() > 1:
            out[on] = (r[on] - r[on].mean()) * on.sum() / (on.sum() - 1)
    return out


def rloo_by_names(rewards, prompts):
    groups = {}
    for reward, prompt in zip(rewards.tolist(), prompts.tolist(), strict=True):
        groups.setdefault(prompt, []).append(reward)
    means = []
    for reward, prompt in zip(rewards.tolist(), prompts.tolist(), strict=True):
        n = len(groups[prompt])
        means.append((sum(groups[prompt]) - reward) / (n - 1) if n > 1 else reward)
    return torch.tensor([reward - mean for reward, mean in zip(rewards.tolist(), means, strict=True)])


def single_rloo(rewards, prompts):
    return binned_rloo(rewards.float(), prompts).float()


def rloo_of_neighbours(rewards, prompts):
    """Takes a change of prompt for the end of a group."""
    starts = [0, *(i for i in range(1, len(prompts)) if prompts[i] != prompts[i - 1]), len(prompts)]
    parts = []
    for a, b in pairwise(starts):
        r = rewards[a:b]
        parts.append(r - (r.sum() - r) / (len(r) - 1) if len(r) > 1 else torch.zeros_like(r))
    return torch.cat(parts)


def sorted_rloo(rewards, prompts):
    """Right numbers in the order of the prompts."""
    return binned_rloo(rewards, prompts)[prompts.argsort(stable=True)]


# 8.5


def looped_push(p, size):
    total = 0.0
    for k in range(1, size):
        q = k / size
        total += math.comb(size, k) * p**k * (1 - p) ** (size - k) * math.sqrt(q * (1 - q) * (size - 1) / size)
    return total


def push_of_listed_groups(p, size):
    total = torch.zeros((), dtype=torch.float64)
    for number in range(1, 2**size - 1):  # each way in which some are right
        r = torch.tensor([float(number >> i & 1) for i in range(size)], dtype=torch.float64)
        k = r.sum()
        total += p**k * (1 - p) ** (size - k) * (r.mean() * (1 - r.mean()) / r.std())
    return total


def push_with_epsilon(p, size):
    k = torch.arange(size + 1, dtype=torch.float64)
    chances = torch.distributions.Binomial(size, torch.tensor(p, dtype=torch.float64)).log_prob(k).exp()
    q = k / size
    return (chances * q * (1 - q) / ((q * (1 - q) * size / (size - 1)).sqrt() + 1e-4)).sum()


def push_of_numpy(p, size):
    k = np.arange(1, size)
    ways = np.array([math.comb(size, int(i)) for i in k], dtype=float)
    q = k / size
    return float((ways * p**k * (1 - p) ** (size - k) * np.sqrt(q * (1 - q) * (size - 1) / size)).sum())


def push_skipping_the_dead(p, size):
    total = 0.0
    for k in range(size + 1):
        spread = (k * (size - k) / size / (size - 1)) ** 0.5
        if spread > 0:
            total += math.comb(size, k) * p**k * (1 - p) ** (size - k) * k * (size - k) / size**2 / spread
    return torch.tensor([total])


def push_of_everyone(p, size):
    total = 0.0
    for k in range(size + 1):
        q = k / size
        total += (
            math.comb(size, k) * p**k * (1 - p) ** (size - k) * q * (1 - q) / math.sqrt(q * (1 - q) * size / (size - 1))
        )
    return total


def push_of_everyone_in_torch(p, size):
    k = torch.arange(size + 1, dtype=torch.float64)
    chances = torch.distributions.Binomial(size, torch.tensor(p, dtype=torch.float64)).log_prob(k).exp()
    q = k / size
    return (chances * q * (1 - q) / (q * (1 - q) * size / (size - 1)).sqrt()).sum()


def push_one_short(p, size):
    return looped_push(p, size) - size * p ** (size - 1) * (1 - p) * math.sqrt((size - 1) / size**2 * (size - 1) / size)


RIGHT = {
    "8.1": (looped_grpo, numpy_grpo, grpo_in_place, grpo_of_columns, single_grpo),
    "8.2": (
        looped_live,
        binomial_live,
        complement_live,
        lambda rates, size: (1 - rates**size - (1 - rates) ** size).sum().item(),
        lambda rates, size: sum([*(1 - rates.float() ** size - (1 - rates.float()) ** size)]),
    ),
    "8.3": (branching_weights, looped_weights, numpy_weights, masked_weights, weights_by_autograd),
    "8.4": (looped_rloo, binned_rloo, numpy_rloo, rloo_by_names, single_rloo),
    "8.5": (looped_push, push_of_listed_groups, push_with_epsilon, push_of_numpy, push_skipping_the_dead),
}
WRONG = {
    "8.1": (
        ("`return` missing", forgotten),
        (
            "what you add to the standard deviation is not 1e-4",
            lambda r: (r - r.mean(1, True)) / (r.std(1, keepdim=True) + 1e-6),
        ),
        (
            "population's standard deviation",
            lambda r: (r.numpy() - r.numpy().mean(1, keepdims=True)) / (r.numpy().std(1, keepdims=True) + 1e-4),
        ),
        ("or you add nothing", lambda r: torch.nan_to_num((r - r.mean(1, True)) / r.std(1, keepdim=True))),
        ("divide 0 by 0", lambda r: torch.stack([(row - row.mean()) / row.std() for row in r])),
        ("wrong axis", lambda r: (r - r.mean(dim=1)) / (r.std(dim=1) + 1e-4)),
        ("That is Dr. GRPO", lambda r: torch.stack([row - row.sum() / len(row) for row in r])),
        ("should be an array of shape [3, 4]", lambda r: ((r - r.mean(1, True)) / (r.std(1, keepdim=True) + 1e-4))[0]),
        ("it should be [[", lambda r: (r.mean(1, True) - r) / (r.std(1, keepdim=True) + 1e-4)),
    ),
    "8.2": (
        ("`return` missing", forgotten),
        ("That is a share", lambda rates, size: looped_live(rates, size) / len(rates)),
        ("number of dead groups", lambda rates, size: len(rates) - looped_live(rates, size)),
        ("should be one number", lambda rates, size: 1 - rates**size - (1 - rates) ** size),
        ("all right is dead as well", lambda rates, size: sum(1 - (1 - p) ** size for p in rates.tolist())),
        ("it should be", lambda rates, size: (1 - size * rates - size * (1 - rates)).sum()),
        ("it should be", lambda rates, size: size * looped_live(rates, size)),
    ),
    "8.3": (
        ("`return` missing", forgotten),
        ("keepdim=True makes them a column", row_of_lengths),
        ("size of the table", lambda a, m, how, limit: branching_weights(a, m, how, m.shape[1])),
        ("this step's longest", lambda a, m, how, limit: branching_weights(a, m, how, max(m.sum(1).tolist()))),
        (
            "are exchanged",
            lambda a, m, how, limit: branching_weights(
                a, m, {"token": "sequence", "sequence": "token"}.get(how, how), limit
            ),
        ),
        (
            "multiply by the mask",
            lambda a, m, how, limit: torch.where(
                m,
                branching_weights(a, m, how, limit),
                branching_weights(a, m, how, limit).amax(1, True) + branching_weights(a, m, how, limit).amin(1, True),
            ),
        ),
        ("it should be", padded_constant),
        ("raised", transposed_lengths),
        ("should be an array of shape [3, 4]", lambda a, m, how, limit: a / m.sum()),
        ("it should be", lambda a, m, how, limit: -branching_weights(a, m, how, limit)),
    ),
    "8.4": (
        ("`return` missing", forgotten),
        ("its own reward included", lambda r, p: r - torch.bincount(p, weights=r)[p] / torch.bincount(p)[p]),
        ("0 divided by 0", lambda r, p: r - (torch.bincount(p, weights=r)[p] - r) / (torch.bincount(p)[p] - 1)),
        (
            "With nobody to compare with it gets 0",
            lambda r, p: r - (torch.bincount(p, weights=r)[p] - r) / (torch.bincount(p)[p] - 1).clamp(min=1),
        ),
        ("all other completions", lambda r, p: r - (r.sum() - r) / (len(r) - 1)),
        ("neighbours", rloo_of_neighbours),
        ("it should be", sorted_rloo),
        ("it should be", lambda r, p: -binned_rloo(r, p)),
        ("should be an array of shape [6]", lambda r, p: binned_rloo(r, p)[:, None]),
    ),
    "8.5": (
        ("`return` missing", forgotten),
        ("groups with k = 0 and k = G are dead", push_of_everyone),
        ("0 divided by 0", push_of_everyone_in_torch),
        ("it should be", push_one_short),
        ("dead ones belong to the average", lambda p, n: looped_push(p, n) / (1 - p**n - (1 - p) ** n)),
        ("population's standard deviation", lambda p, n: looped_push(p, n) * math.sqrt(n / (n - 1))),
        ("put the true rate into the formula", lambda p, n: math.sqrt(p * (1 - p)) * math.sqrt((n - 1) / n)),
        ("it should be", lambda p, n: -looped_push(p, n)),
    ),
}
