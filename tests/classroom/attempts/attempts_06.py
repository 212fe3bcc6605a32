"""Ten attempts and more at each exercise of lesson 06, right ones written differently and wrong ones nobody listed."""

import numpy as np
import torch

# 6.1, the matrix of credit


def by_loops(horizon, gamma):
    rows = []
    for t in range(horizon):
        rows.append([gamma ** (k - t) if k >= t else 0.0 for k in range(horizon)])
    return rows


def in_numpy(horizon, gamma):
    ahead = np.arange(horizon)[None, :] - np.arange(horizon)[:, None]
    return np.where(ahead >= 0, np.power(float(gamma), np.maximum(ahead, 0)), 0)


def row_by_row(horizon, gamma):
    matrix = torch.zeros(horizon, horizon)  # float32
    for t in range(horizon):
        matrix[t, t:] = gamma ** torch.arange(horizon - t)
    return matrix


def by_diagonals(horizon, gamma):
    return sum(gamma**d * torch.diag(torch.ones(horizon - d), d) for d in range(horizon))


def backwards(horizon, gamma):
    matrix = torch.eye(horizon, dtype=torch.float64)
    for t in reversed(range(horizon - 1)):
        matrix[t] += gamma * matrix[t + 1]
    return matrix


def strictly_above(horizon, gamma):
    return torch.triu(gamma ** torch.arange(horizon).double().repeat(horizon, 1), 1)


def nan_at_zero(horizon, gamma):
    ahead = (torch.arange(horizon) - torch.arange(horizon)[:, None]).double()
    return gamma**ahead * (ahead >= 0)


def as_a_row(horizon, gamma):
    return gamma ** torch.arange(horizon).double()


def forgot(horizon, gamma):
    torch.triu(torch.ones(horizon, horizon)) * gamma


def gamma_once(horizon, gamma):
    return torch.triu(gamma * torch.ones(horizon, horizon))


def powers_of_t(horizon, gamma):
    return torch.triu((gamma ** torch.arange(horizon).double())[:, None].expand(horizon, horizon))


# 6.2, the discounted objective's weights


def double_loop(rewards, gamma):
    n = len(rewards)
    return [sum(gamma**k * rewards[k] for k in range(t, n)) for t in range(n)]


def usual_then_front(rewards, gamma):
    total, weights = 0.0, []
    for reward in reversed(rewards.tolist()):
        total = reward + gamma * total
        weights.insert(0, total)
    return [gamma**t * w for t, w in enumerate(weights)]


def numpy_sums(rewards, gamma):
    paid = rewards.numpy() * gamma ** np.arange(len(rewards))
    return np.cumsum(paid[::-1])[::-1].copy()


def whole_less_past(rewards, gamma):
    paid = rewards * gamma ** torch.arange(len(rewards))
    return paid.sum() - paid.cumsum(0) + paid


def in_place_weights(rewards, gamma):
    rewards *= gamma ** torch.arange(len(rewards))
    for t in reversed(range(len(rewards) - 1)):
        rewards[t] += rewards[t + 1]
    return rewards


def past_instead(rewards, gamma):
    paid = rewards * gamma ** torch.arange(len(rewards))
    return paid.cumsum(0) - paid


def undiscounted(rewards, gamma):
    return [sum(rewards[t:]) for t in range(len(rewards))]


def discounted_only(rewards, gamma):
    return [gamma**k * reward for k, reward in enumerate(rewards.tolist())]


def counted_from_one(rewards, gamma):
    paid = rewards * gamma ** torch.arange(1, len(rewards) + 1)
    return paid.flip(0).cumsum(0).flip(0)


def sum_only(rewards, gamma):
    return (rewards * gamma ** torch.arange(len(rewards))).sum()


def negative_powers(rewards, gamma):
    paid = rewards * gamma ** (-torch.arange(len(rewards)).double())
    return paid.flip(0).cumsum(0).flip(0)


def no_return_here(rewards, gamma):
    weights = (rewards * gamma).cumsum(0)
    print(len(weights))


def reversed_powers(rewards, gamma):
    paid = rewards * (gamma ** torch.arange(len(rewards))).flip(0)
    return paid.flip(0).cumsum(0).flip(0)


# 6.3, dense rewards


def added(reward, logp, logp_ref, beta):
    rewards = -beta * (logp - logp_ref)
    rewards[-1] = rewards[-1] + reward
    return rewards


def concatenated(reward, logp, logp_ref, beta):
    kl = beta * (logp_ref - logp)
    return torch.cat([kl[:-1], kl[-1:] + reward])


def listed(reward, logp, logp_ref, beta):
    last = len(logp) - 1
    return [(reward if t == last else 0) - beta * (logp[t] - logp_ref[t]) for t in range(len(logp))]


def by_ratio(reward, logp, logp_ref, beta):
    at_end = torch.eye(len(logp))[-1]
    return reward * at_end - beta * (logp.exp() / logp_ref.exp()).log()


def numpy_rewards(reward, logp, logp_ref, beta):
    rewards = beta * (logp_ref - logp).numpy()
    rewards[-1] += reward
    return rewards.astype(np.float32)


def last_overwritten(reward, logp, logp_ref, beta):
    rewards = -beta * (logp - logp_ref)
    rewards[-1] = reward
    return rewards


def beta_on_reward(reward, logp, logp_ref, beta):
    rewards = -(logp - logp_ref)
    rewards[-1] += reward
    return beta * rewards


def summed_to_go(reward, logp, logp_ref, beta):
    paid = -beta * (logp - logp_ref)
    return [paid[t:].sum() + reward for t in range(len(paid))]


def only_a_number(reward, logp, logp_ref, beta):
    return reward - beta * (logp - logp_ref).sum()


def only_policy(reward, logp, logp_ref, beta):
    rewards = -beta * logp
    rewards[-1] += reward
    return rewards


def mean_kl(reward, logp, logp_ref, beta):
    rewards = -beta * (logp - logp_ref) / len(logp)
    rewards[-1] += reward
    return rewards


def nothing_given(reward, logp, logp_ref, beta):
    rewards = -beta * (logp - logp_ref)
    rewards[-1] += reward


# 6.4, second moments


def pairs(first, second, early, late):
    out = [0.0, 0.0]
    for i in range(len(first)):
        squares = sum(p * p for p in second[i])
        for j in range(len(first)):
            weight = first[i] * second[i, j] * (1 - 2 * second[i, j] + squares)
            out[0] += weight * (early[i] + late[i, j]) ** 2
            out[1] += weight * late[i, j] ** 2
    return out


def with_one_hots(first, second, early, late):
    scores = torch.eye(len(first)).double()[None] - second[:, None, :]  # [i, j, symbols]
    chances = first[:, None] * second * scores.pow(2).sum(-1)
    return torch.stack([(chances * w**2).sum() for w in (early.unsqueeze(1) + late, late)])


def in_einsum(first, second, early, late):
    sizes = 1 - 2 * second + (second**2).sum(1)[:, None]
    square = torch.einsum("i,ij,ij,ij->", first, second, sizes, late**2)
    cross = torch.einsum("i,ij,ij,ij,i->", first, second, sizes, late, early)
    past = torch.einsum("i,ij,ij,i->", first, second, sizes, early**2)
    return square + 2 * cross + past, square


def numpy_moments(first, second, early, late):
    first, second, early, late = (x.numpy() for x in (first, second, early, late))
    sizes = 1 - 2 * second + (second**2).sum(1, keepdims=True)
    chances = np.diag(first) @ second * sizes
    return np.array([(chances * w**2).sum() for w in (early[:, None] + late, late)])


def flattened(first, second, early, late):
    k = len(first)
    chances = first.repeat_interleave(k) * second.flatten()
    sizes = 1 - 2 * second.flatten() + second.square().sum(1).repeat_interleave(k)
    whole = early.repeat_interleave(k) + late.flatten()
    return [(chances * sizes * w * w).sum() for w in (whole, late.flatten())]


def early_as_row(first, second, early, late):
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    return torch.stack([(first[:, None] * second * sizes * w**2).sum() for w in (early + late, late)])


def all_squares(first, second, early, late):
    sizes = 1 - 2 * second + (second**2).sum()
    return torch.stack([(first[:, None] * second * sizes * w**2).sum() for w in (early[:, None] + late, late)])


def squared_mean(first, second, early, late):
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    chances = first[:, None] * second * sizes
    return torch.stack([(chances * w).sum() ** 2 for w in (early[:, None] + late, late)])


def whole_only(first, second, early, late):
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    return (first[:, None] * second * sizes * (early[:, None] + late) ** 2).sum()


def variances(first, second, early, late):
    sizes = 1 - 2 * second + second.square().sum(1, keepdim=True)
    chances = first[:, None] * second
    return torch.stack(
        [(chances * sizes * (w - (chances * w).sum()) ** 2).sum() for w in (early[:, None] + late, late)]
    )


# 6.5, a return that is spread


def sums_of_shares(returns, mask):
    shares = returns[:, None] * mask / mask.sum(1, keepdim=True)
    return shares.flip(1).cumsum(1).flip(1)


def row_loops(returns, mask):
    weights = []
    for value, live in zip(returns.tolist(), mask.tolist(), strict=True):
        length = sum(live)
        weights.append([value * (length - t) / length if t < length else 0.0 for t in range(len(live))])
    return weights


def clamped(returns, mask):
    length = mask.sum(1, keepdim=True)
    return returns.view(-1, 1) * (1 - torch.arange(mask.shape[1]) / length).clamp(min=0)


def ahead_counted(returns, mask):
    ahead = mask.flip(1).cumsum(1).flip(1)
    return returns[:, None] * ahead / ahead[:, :1]


def numpy_spread(returns, mask):
    live = mask.numpy().astype(float)
    ahead = live[:, ::-1].cumsum(1)[:, ::-1]
    return (returns.numpy()[:, None] * ahead / live.sum(1, keepdims=True)).astype("float32")


def shares_only(returns, mask):
    return returns[:, None] / mask.sum(1, keepdim=True) * mask


def beyond_the_end(returns, mask):
    length = mask.sum(1, keepdim=True)
    return returns[:, None] * (length - torch.arange(mask.shape[1])) / length


def first_missing(returns, mask):
    length = mask.sum(1, keepdim=True)
    return returns[:, None] * (length - torch.arange(mask.shape[1]) - 1) / length * mask


def divided_by_left(returns, mask):
    left = mask.flip(1).cumsum(1).flip(1)
    return torch.where(mask, returns[:, None] / left.clamp(min=1), 0.0)


def one_per_sequence(returns, mask):
    return returns / mask.sum(1)


def times_length(returns, mask):
    return returns[:, None] * mask.flip(1).cumsum(1).flip(1)


# 6.6, reward-to-go less a value


def advantage_loops(rewards, mask, rows, values):
    out = torch.zeros_like(rewards)
    for b in range(len(rewards)):
        to_go = 0.0
        for t in reversed(range(rewards.shape[1])):
            if mask[b, t]:
                to_go = to_go + rewards[b, t]
                out[b, t] = to_go - values[rows[b, t]]
    return out


def whole_less_past_less_value(rewards, mask, rows, values):
    paid = rewards * mask
    return (paid.sum(1, keepdim=True) - paid.cumsum(1) + paid - values[rows]) * mask


def added_one_steps(rewards, mask, rows, values):
    v = values[rows] * mask
    errors = rewards * mask + torch.cat([v[:, 1:], 0 * v[:, :1]], 1) - v
    return errors.flip(1).cumsum(1).flip(1)


def numpy_advantages(rewards, mask, rows, values):
    paid = np.where(mask, rewards, 0)
    to_go = paid[:, ::-1].cumsum(1)[:, ::-1]
    return np.where(mask, to_go - values.numpy()[rows.numpy()], 0)


def nested_lists(rewards, mask, rows, values):
    result = []
    for pay, live, row in zip((rewards * mask).tolist(), mask.tolist(), rows.tolist(), strict=True):
        sums = [sum(pay[t:]) for t in range(len(pay))]
        result.append([g - values[r].item() if on else 0.0 for g, r, on in zip(sums, row, live, strict=True)])
    return result


def padding_has_value(rewards, mask, rows, values):
    return (rewards * mask).flip(1).cumsum(1).flip(1) - values[rows]


def padding_is_paid(rewards, mask, rows, values):
    out = torch.zeros_like(rewards)
    for t in range(rewards.shape[1]):
        out[:, t] = rewards[:, t:].sum(1) - values[rows[:, t]]
    return torch.where(mask, out, 0.0)


def mask_not_used(rewards, mask, rows, values):
    to_go = np.cumsum(rewards.numpy()[:, ::-1], 1)[:, ::-1]
    return to_go - values.numpy()[rows.numpy()]


def along_the_batch(rewards, mask, rows, values):
    return (rewards.flip(0).cumsum(0).flip(0) - values[rows]) * mask


def whole_return(rewards, mask, rows, values):
    return ((rewards * mask).sum(1)[:, None] - values[rows]) * mask


def the_value_after(rewards, mask, rows, values):
    v = values[rows] * mask
    after = torch.cat([v[:, 1:], torch.zeros(len(v), 1)], 1)
    return ((rewards * mask).flip(1).cumsum(1).flip(1) - after) * mask


def first_value(rewards, mask, rows, values):
    return (rewards.flip(1).cumsum(1).flip(1) - values[0]) * mask


def table_of_rows(rewards, mask, rows, values):
    return rewards.flip(1).cumsum(1).flip(1) - values


def advantage_forgotten(rewards, mask, rows, values):
    to_go = rewards.flip(1).cumsum(1).flip(1)
    to_go -= values[rows]


RIGHT = {
    "6.1": (by_loops, in_numpy, row_by_row, by_diagonals, backwards),
    "6.2": (double_loop, usual_then_front, numpy_sums, whole_less_past, in_place_weights),
    "6.3": (added, concatenated, listed, by_ratio, numpy_rewards),
    "6.4": (pairs, with_one_hots, in_einsum, numpy_moments, flattened),
    "6.5": (sums_of_shares, row_loops, clamped, ahead_counted, numpy_spread),
    "6.6": (advantage_loops, whole_less_past_less_value, added_one_steps, numpy_advantages, nested_lists),
}
WRONG = {
    "6.1": (
        ("it should be [[1, 0.5, 0.25]", strictly_above),
        ("an array of shape [3]; it should be an array of shape [3, 3]", as_a_row),
        ("`return` missing", forgot),
        ("it should be [[1, 0.5, 0.25]", gamma_once),
        ("it should be [[1, 0.5, 0.25]", powers_of_t),
        ("discount from the start", lambda n, g: torch.triu(g ** torch.arange(n).double().repeat(n, 1))),
        ("both sides", lambda n, g: g ** (torch.arange(n)[:, None] - torch.arange(n)).abs().double()),
        ("γ is nowhere in it", lambda n, g: torch.ones(n, n).triu()),
        ("Right but for γ = 0", nan_at_zero),
        ("The diagonal is 0", lambda n, g: torch.tensor(in_numpy(n, g)).triu(1)),
    ),
    "6.2": (
        ("it should be", past_instead),
        ("γ is nowhere in it", undiscounted),
        ("Add them up from each token on", discounted_only),
        ("one factor γ too many", counted_from_one),
        ("one number; it should be an array of shape [4]", sum_only),
        ("it should be", negative_powers),
        ("`return` missing", no_return_here),
        ("it should be", reversed_powers),
        ("Flip, `cumsum`, and flip back", lambda r, g: torch.cumsum(r * g ** torch.arange(len(r)), 0)),
        ("flip the sums back", lambda r, g: np.cumsum((r.numpy() * g ** np.arange(len(r)))[::-1])),
        ("This is the usual form", lambda r, g: [sum(g ** (k - t) * r[k] for k in range(t, len(r))) for t in range(4)]),
    ),
    "6.3": (
        ("overwrites it", last_overwritten),
        ("β multiplies the reward too", beta_on_reward),
        ("what each token is *paid*", summed_to_go),
        ("one number; it should be an array of shape [3]", only_a_number),
        ("it should be", only_policy),
        ("it should be", mean_kl),
        ("`return` missing", nothing_given),
        ("The sign of the KL part", lambda r, lp, ref, b: [*(b * (lp - ref))[:-1], b * (lp - ref)[-1] + r]),
        ("only with these does the mean", lambda r, lp, ref, b: torch.tensor([0, 0, r]) - b * abs(lp - ref)),
    ),
    "6.4": (
        ("is a column, `early[:, None]`", early_as_row),
        ("you add up all rows", all_squares),
        ("it should be", squared_mean),
        ("one number; it should be an array of shape [2]", whole_only),
        ("it should be", variances),
        ("in the wrong order", lambda *case: pairs(*case)[::-1]),
    ),
    "6.5": (
        ("These are the rewards after spreading", shares_only),
        ("Behind the end your weights go on", beyond_the_end),
        ("One share is missing everywhere", first_missing),
        ("You divide by the number of tokens that are left", divided_by_left),
        ("an array of shape [3]; it should be an array of shape [3, 4]", one_per_sequence),
        ("it should be", times_length),
    ),
    "6.6": (
        ("you give −V. Dead tokens have no advantage", padding_has_value),
        ("gets into your sums", padding_is_paid),
        ("The mask is nowhere in it", mask_not_used),
        ("it should be", along_the_batch),
        ("*whole* return", whole_return),
        ("it is no baseline", the_value_after),
        ("it should be", first_value),
        ("raised RuntimeError", table_of_rows),
        ("`return` missing", advantage_forgotten),
    ),
}
