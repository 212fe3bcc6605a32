"""Lesson 15: answers that are right in another form, and wrong ones that no slip is made of."""

import math

import numpy as np
import torch


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


# 15.1


def written_by_loop(tokens, prompt):
    found = []
    for row in tokens.tolist():
        inside, mine = False, []
        for place, token in enumerate(row):
            if token == 1:
                inside = True
            mine.append(place >= prompt and not inside and token not in (0, 2))
            if token == 2:
                inside = False
        found.append(mine)
    return found


def written_by_numpy(tokens, prompt):
    t = tokens.numpy()
    inside = np.cumsum(t == 1, 1) > np.cumsum(t == 2, 1)
    mine = ~inside & (t != 2) & (t != 0)
    mine[:, :prompt] = False
    return mine


def written_as_numbers(tokens, prompt):
    state = ((tokens == 1).long() - (tokens == 2).long()).cumsum(1)
    keep = (state == 0).double() * (tokens > 2).double()
    keep[:, :prompt] = 0
    return keep


def written_in_place(tokens, prompt):
    opened = (tokens == 1).cumsum(1)
    closed = (tokens == 2).cumsum(1)
    closed = torch.cat([torch.zeros_like(closed[:, :1]), closed[:, :-1]], 1)
    outside = opened == closed
    tokens[:, :prompt] = 0
    return outside & (tokens > 2)


def written_shifted(tokens, prompt):
    mask = torch.ones_like(tokens, dtype=torch.bool)
    for i in range(tokens.shape[0]):
        j = prompt
        while j < tokens.shape[1]:
            if tokens[i, j] == 1:
                end = j
                while tokens[i, end] != 2:
                    end += 1
                mask[i, j : end + 1] = False
                j = end
            elif tokens[i, j] == 0:
                mask[i, j] = False
            j += 1
    mask[:, :prompt] = False
    return mask


def written_without_marks_only(tokens, prompt):
    return (torch.arange(tokens.shape[1]) >= prompt) & (tokens > 2)


def written_before_the_document(tokens, prompt):
    return (torch.arange(tokens.shape[1]) >= prompt) & ((tokens == 1).cumsum(1) == 0) & (tokens != 0)


def written_one_late(tokens, prompt):
    right = torch.tensor(written_by_loop(tokens, prompt))
    return right.roll(1, 1)


def written_all(tokens, prompt):
    return torch.ones_like(tokens, dtype=torch.bool)


def written_prompt_off_by_one(tokens, prompt):
    return torch.tensor(written_by_loop(tokens, prompt)) & (torch.arange(tokens.shape[1]) > prompt)


def written_tokens_themselves(tokens, prompt):
    return tokens * torch.tensor(written_by_loop(tokens, prompt))


# 15.2


def turns_by_loop(returns, after, start):
    return [[a - start, r - a] for r, a in zip(returns.tolist(), after.tolist(), strict=True)]


def turns_by_numpy(returns, after, start):
    return np.stack([after.numpy() - start, returns.numpy() - after.numpy()], axis=1)


def turns_by_diff(returns, after, start):
    return torch.stack([torch.full_like(after, start), after, returns], 1).diff(dim=1)


def turns_filled(returns, after, start):
    found = torch.empty(len(returns), 2, dtype=returns.dtype)
    found[:, 1] = returns - after
    found[:, 0] = returns - start - found[:, 1]
    return found


def turns_in_place(returns, after, start):
    returns -= after
    after -= start
    return torch.cat([after[:, None], returns[:, None]], dim=1)


def turns_divided(returns, after, start):
    right = torch.stack([after - start, returns - after], 1)
    return right / (right.std(0) + 1e-4)


def turns_group_mean(returns, after, start):
    return torch.stack([after - after.mean(), returns - after], 1)


def turns_halved(returns, after, start):
    return torch.stack([after - start, returns - after], 1) / 2


def turns_summed(returns, after, start):
    return (after - start) + (returns - after)


def turns_added(returns, after, start):
    return torch.stack([after - start, returns + after], 1)


def turns_values_alone(returns, after, start):
    return torch.stack([after, returns], 1)


# 15.3


def gap_by_math(rate, size):
    return math.sqrt(rate * (1 - rate) * (2 * size - 1) / size / (size - 1))


def gap_in_steps(rate, size):
    variance = rate - rate**2
    saved = variance / (size - 1) - variance / (2 * size - 1)
    return math.sqrt(saved) * (2 * size - 1) / size


def gap_as_tensor(rate, size):
    return torch.tensor(rate * (1 - rate) * (1 / size + 1 / (size - 1)), dtype=torch.float64).sqrt()


def gap_by_halving(rate, size):
    low, high = 0.0, 5.0
    for _ in range(100):
        middle = (low + high) / 2
        costs = (size * middle / (2 * size - 1)) ** 2
        saves = rate * (1 - rate) * (1 / (size - 1) - 1 / (2 * size - 1))
        low, high = (middle, high) if costs < saves else (low, middle)
    return low


def gap_by_numpy(rate, size):
    return np.sqrt(rate * (1 - rate)) * np.sqrt((2 * size - 1) / (size * (size - 1)))


def gap_size_squared(rate, size):
    return (rate * (1 - rate) * (2 * size - 1) / size**2) ** 0.5


def gap_two_g(rate, size):
    return (rate * (1 - rate) * 2 * size / (size * (size - 1))) ** 0.5


def gap_no_rate(rate, size):
    return ((2 * size - 1) / (size * (size - 1))) ** 0.5


def gap_inverted(rate, size):
    return (size * (size - 1) / (rate * (1 - rate) * (2 * size - 1))) ** 0.5


def gap_half(rate, size):
    return (rate * (1 - rate) * (2 * size - 1) / (size * (size - 1))) ** 0.5 / 2


# 15.4


def shaped_by_loop(rewards, values, mask):
    found = torch.zeros_like(rewards)
    for i in range(len(rewards)):
        length = int(mask[i].sum())
        for t in range(length):
            later = values[i, t + 1] if t + 1 < length else 0.0
            found[i, t] = rewards[i, t] + later - values[i, t]
    return found


def shaped_by_numpy(rewards, values, mask):
    v = values.numpy() * mask.numpy()
    later = np.concatenate([v[:, 1:], np.zeros((len(v), 1))], 1)
    return (rewards.numpy() + later - v) * mask.numpy()


def shaped_by_pad(rewards, values, mask):
    v = torch.nn.functional.pad(values.where(mask, 0.0), (0, 1))
    return (rewards + v.diff(dim=1)).masked_fill(~mask, 0)


def shaped_in_place(rewards, values, mask):
    values[~mask] = 0
    rewards -= values
    rewards[:, :-1] += values[:, 1:]
    return rewards * mask


def shaped_backwards(rewards, values, mask):
    later = torch.zeros(len(rewards), dtype=rewards.dtype)
    columns = []
    for t in range(rewards.shape[1] - 1, -1, -1):
        live = mask[:, t].to(rewards.dtype)
        columns.append((rewards[:, t] + later - values[:, t]) * live)
        later = values[:, t] * live
    return torch.stack(columns[::-1], 1)


def shaped_discounted(rewards, values, mask):
    v = values * mask
    later = torch.cat([v[:, 1:], torch.zeros_like(v[:, :1])], 1)
    return (rewards + 0.9 * later - v) * mask


def shaped_rolled(rewards, values, mask):
    v = values * mask
    return (rewards + v.roll(-1, 1) - v) * mask


def shaped_at_the_end(rewards, values, mask):
    return (rewards - values[:, :1]) * mask


def shaped_summed(rewards, values, mask):
    return shaped_by_loop(rewards, values, mask).sum(1)


def shaped_clamped(rewards, values, mask):
    return shaped_by_loop(rewards, values, mask).clamp(min=0)


# 15.5


def refuted_by_three_errors(new, old):
    d = new - old
    return d.mean() + 3 * d.std() / math.sqrt(len(d)) < 0  # a tensor of one


def refuted_by_t(new, old):
    d = new - old
    return bool(d.mean() / (d.std() / math.sqrt(len(d))) < -2)


def refuted_by_numpy(new, old):
    d = new.numpy() - old.numpy()
    return np.mean(d) < -2 * np.std(d, ddof=1) / np.sqrt(len(d))  # a bool of NumPy's


def refuted_by_resampling(new, old):
    d, generator = new - old, torch.Generator().manual_seed(0)
    places = torch.randint(len(d), (500, len(d)), generator=generator)
    return bool((d[places].mean(1) < 0).double().mean() > 0.97)


def refuted_by_turning_signs(new, old):
    d, generator = new - old, torch.Generator().manual_seed(0)
    signs = torch.randint(2, (2000, len(d)), generator=generator) * 2.0 - 1
    return int((signs * d).mean(1).lt(d.mean()).double().mean() < 0.02)


def refuted_by_p_value(new, old):
    d = new - old
    z = d.mean().item() / (d.std().item() / len(d) ** 0.5)
    return 0.5 * math.erfc(-z / math.sqrt(2)) < 0.01


def refuted_by_signs(new, old):
    return int((new < old).sum()) > len(new) / 2 + len(new) ** 0.5


def refuted_by_mean(new, old):
    return new.mean() - old.mean() < -1e-12


def refuted_by_last(new, old):
    return bool(new[-1] < old[-1])


def refuted_by_first_few(new, old):
    return bool((new - old)[:3].mean() < 0)


def refuted_by_best(new, old):
    return bool(new.max() > old.max() + 5)


def refuted_by_best_mostly(new, old):
    return bool(new.max() + 0.001 < old.max())


def refuted_p_value(new, old):
    return (new - old).mean()


def refuted_in_words(new, old):
    return "yes" if (new - old).mean() < 0 else "no"


def refuted_both_ways(new, old):
    d = new - old
    return bool(d.mean().abs() > 2 * d.std() / len(d) ** 0.5)


RIGHT = {
    "15.1": (written_by_loop, written_by_numpy, written_as_numbers, written_in_place, written_shifted),
    "15.2": (turns_by_loop, turns_by_numpy, turns_by_diff, turns_filled, turns_in_place),
    "15.3": (gap_by_math, gap_in_steps, gap_as_tensor, gap_by_halving, gap_by_numpy),
    "15.4": (shaped_by_loop, shaped_by_numpy, shaped_by_pad, shaped_in_place, shaped_backwards),
    "15.5": (
        refuted_by_three_errors,
        refuted_by_t,
        refuted_by_numpy,
        refuted_by_resampling,
        refuted_by_turning_signs,
        refuted_by_p_value,
        refuted_by_signs,
    ),
}

WRONG = {
    "15.1": (
        ("`return` missing", forgets(written_by_numpy)),
        ("text between them is pasted in too", written_without_marks_only),
        ("the policy writes again", written_before_the_document),
        ("differs at", written_one_late),
        ("differs at", written_all),
        ("places count from 0", written_prompt_off_by_one),
        ("differs at", written_tokens_themselves),
        ("raised", lambda tokens, prompt: tokens[:, prompt:] > tokens),
    ),
    "15.2": (
        ("`return` missing", forgets(turns_by_diff)),
        ("your function gives", turns_divided),
        ("depends on the luck of the others", turns_group_mean),
        ("your function gives", turns_halved),
        ("should be an array of shape", turns_summed),
        ("your function gives", turns_added),
        ("your function gives", turns_values_alone),
    ),
    "15.3": (
        ("`return` missing", forgets(gap_by_math)),
        ("your function gives", gap_size_squared),
        ("your function gives", gap_two_g),
        ("your function gives", gap_no_rate),
        ("your function gives", gap_inverted),
        ("your function gives", gap_half),
        ("raised", lambda rate, size: (rate * (1 - rate) / (size - 4)) ** 0.5),
    ),
    "15.4": (
        ("`return` missing", forgets(shaped_by_loop)),
        ("your function gives", shaped_discounted),
        ("After the last step V is 0", shaped_rolled),
        ("your function gives", shaped_at_the_end),
        ("should be an array of shape", shaped_summed),
        ("your function gives", shaped_clamped),
        ("raised", lambda rewards, values, mask: rewards + values[:, 1:] - values),
    ),
    "15.5": (
        ("`return` missing", forgets(refuted_by_t)),
        ("leave room for the mean's standard error", refuted_by_mean),
        ("Your rule", refuted_by_last),
        ("looks at one seed", refuted_by_first_few),
        ("compares the luckiest run", refuted_by_best_mostly),
        ("looks at one seed", lambda new, old: new[0].item() - old[0].item() < 0),
        ("never fires", refuted_by_best),
        ("should give True or False", refuted_p_value),
        ("should give True or False", refuted_in_words),
        ("Your rule refutes", refuted_both_ways),
        ("Your rule", lambda new, old: bool(new.mean() < 0.55)),
        ("compares the unluckiest run", lambda new, old: bool(new.min() < old.min())),
        ("every second time", lambda new, old: bool((new - old).median() < 0)),
        ("raised", lambda new, old: bool(new < old)),
    ),
}
