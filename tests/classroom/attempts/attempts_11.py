"""Lesson 11: answers that are right in another form, and wrong ones that no slip is made of."""

import numpy as np
import torch

from pgnotes.theory.returns import reward_to_go

EXAMPLE = (  # two live steps of three, and numbers behind them that must not count
    torch.tensor([[0.0, 1.0, 9.0]], dtype=torch.float64),
    torch.tensor([[0.3, 0.6, 4.0]], dtype=torch.float64),
    torch.tensor([[True, True, False]]),
)


def forgets(function):
    """What the function computes, without its `return`."""

    def forgetful(*args):
        function(*args)

    return forgetful


def td_loop(rewards, values, mask, gamma):
    n, steps = rewards.shape
    found = torch.zeros_like(rewards)
    for i in range(n):
        for t in range(steps):
            if mask[i, t]:
                goes_on = t + 1 < steps and mask[i, t + 1]
                found[i, t] = rewards[i, t] - values[i, t] + (gamma * values[i, t + 1] if goes_on else 0)
    return found


def td_in_place(rewards, values, mask, gamma):
    values[~mask] = 0
    rewards[~mask] = 0
    rewards -= values
    rewards[:, :-1] += gamma * values[:, 1:]
    return rewards


def td_padded(rewards, values, mask, gamma):
    live = torch.nn.functional.pad(values * mask, (0, 1))
    return (rewards + gamma * live[:, 1:] - live[:, :-1]) * mask


def td_numpy(rewards, values, mask, gamma):
    r, v, m = (x.numpy() for x in (rewards, values, mask))
    after = np.concatenate([v[:, 1:] * m[:, 1:], np.zeros((len(v), 1))], axis=1)
    return np.where(m, r + gamma * after - v, 0.0)


def gae_of_sums(rewards, values, mask, gamma, lam):
    """Σ_l (γλ)^l δ_{t+l}, written as a matrix."""
    deltas = td_padded(rewards, values, mask, gamma)
    t = torch.arange(deltas.shape[1])
    lead = (t[None, :] - t[:, None]).double()
    weights = torch.where(lead >= 0, (gamma * lam) ** lead.clamp(min=0), 0.0)
    return deltas @ weights.T * mask


def gae_row_by_row(rewards, values, mask, gamma, lam):
    found = []
    for r, v, m in zip(rewards.tolist(), values.tolist(), mask.tolist(), strict=True):
        row, ahead, after = [], 0.0, 0.0
        for t in reversed(range(len(r))):
            if m[t]:
                ahead = r[t] + gamma * after - v[t] + gamma * lam * ahead
                after = v[t]
            row.insert(0, ahead if m[t] else 0.0)
        found.append(row)
    return found


def gae_of_returns(rewards, values, mask, gamma, lam):
    """The λ-return less the value."""
    v = values * mask
    returns, after = torch.zeros_like(rewards), torch.zeros(len(rewards), dtype=torch.float64)
    following = torch.zeros(len(rewards), dtype=torch.float64)
    for t in reversed(range(rewards.shape[1])):
        after = torch.where(mask[:, t], rewards[:, t] + gamma * ((1 - lam) * following + lam * after), 0.0)
        following = v[:, t]
        returns[:, t] = after
    return returns - v


def left_by_recursion(e, lam):
    total = 0.0
    for error in reversed(e[1:].tolist()):
        total = error + lam * total
    return (1 - lam) * total


def left_by_differences(e, lam):
    """Σ_l λ^l (e_{l+1} - e_l), plus e_0."""
    longer = [*e.tolist(), 0.0]
    return sum(lam**i * (longer[i + 1] - longer[i]) for i in range(len(e))) + longer[0]


def left_numpy(e, lam):
    powers = lam ** np.arange(len(e) - 1)
    return (1 - lam) * float(powers @ e.numpy()[1:])


def loss_by_name(values, advantages, mask):
    goal = (values + advantages).detach()
    return torch.nn.functional.mse_loss(values[mask], goal[mask])


def loss_counted(values, advantages, mask):
    errors = torch.where(mask, values - (values + advantages).detach(), 0.0)
    return (errors**2).sum() / mask.sum()


def loss_without_grad(values, advantages, mask):
    with torch.no_grad():
        goal = values + advantages
    places = zip(values.flatten(), goal.flatten(), mask.flatten(), strict=True)
    return torch.stack([(v - g) ** 2 for v, g, live in places if live]).mean()


def limit_loop(reward, value, final, shown, terminated, truncated, gamma):
    found = []
    for i in range(len(reward)):
        found.append(reward[i] - value[i] if terminated[i] else reward[i] + gamma * final[i] - value[i])
    return found


def limit_in_place(reward, value, final, shown, terminated, truncated, gamma):
    final[terminated] = 0
    reward += gamma * final
    return reward - value


def limit_chosen(reward, value, final, shown, terminated, truncated, gamma):
    nexts = torch.where(truncated, final, shown)  # where nothing was cut, what is shown is where it led
    return reward + gamma * nexts * (1 - terminated.double()) - value


def tested_by_hand(estimate):
    found = estimate(*EXAMPLE, 0.0)
    return torch.allclose(found, torch.tensor([[0.3, 0.4, 0.0]], dtype=torch.float64))


def tested_by_telescoping(estimate):
    """TD errors add up to R - V(start)."""
    rewards, values, mask = EXAMPLE
    total = estimate(rewards, values, mask, 0.0).sum()
    return abs(total - (1.0 - 0.3)) < 1e-9


def tested_at_one(estimate):
    rewards, values, mask = EXAMPLE
    wanted = (reward_to_go(rewards, mask=mask) - values) * mask
    return bool((estimate(rewards, values, mask, 1.0) - wanted).abs().max() < 1e-9)


def tested_at_random(estimate):
    generator = torch.Generator().manual_seed(1)
    rewards, values = torch.rand(2, 5, 6, dtype=torch.float64, generator=generator)
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 4, 5])[:, None]
    wanted = gae_of_sums(rewards, values, mask, 1.0, 0.7)
    return np.allclose(estimate(rewards, values, mask, 0.7), wanted)


def tested_with_other_padding(estimate):
    """What stands behind the end may be anything, and the values before the end matter as they should."""
    rewards, values, mask = EXAMPLE
    other = values.clone()
    other[0, 2] = -70
    raised = values.clone()
    raised[0, 0] += 1
    same = torch.equal(estimate(rewards, values, mask, 0.5), estimate(rewards, other, mask, 0.5))
    moved = estimate(rewards, raised, mask, 0.5) - estimate(rewards, values, mask, 0.5)
    return same and torch.allclose(moved, torch.tensor([[-1.0, 0, 0]]).double())


RIGHT = {
    "11.1": (
        td_loop,
        td_in_place,
        td_padded,
        td_numpy,
        lambda r, v, m, g: td_padded(r.float(), v.float(), m, g),
        lambda r, v, m, g: td_loop(r, v, m, g).tolist(),
    ),
    "11.2": (
        gae_of_sums,
        gae_row_by_row,
        gae_of_returns,
        lambda r, v, m, g, lam: gae_of_sums(r, v, m, g, lam).numpy(),
        lambda r, v, m, g, lam: [gae_of_sums(*(x[i : i + 1] for x in (r, v, m)), g, lam)[0] for i in range(len(r))],
    ),
    "11.3": (
        left_by_recursion,
        left_by_differences,
        left_numpy,
        lambda e, lam: sum((1 - lam) * lam ** (i - 1) * e[i] for i in range(1, len(e))),
        lambda e, lam: torch.tensor([left_numpy(e, lam)]),
    ),
    "11.4": (
        loss_by_name,
        loss_counted,
        loss_without_grad,
        lambda v, a, m: -2 * (v * a.detach())[m].mean(),
        lambda v, a, m: ((v - v.detach() - a)[m] ** 2).mean(),
    ),
    "11.5": (
        limit_loop,
        limit_in_place,
        limit_chosen,
        lambda r, v, f, s, over, cut, g: (r - v).numpy() + g * np.where(over, 0, f),
        lambda r, v, f, s, over, cut, g: r.float() + g * f.float() * ~over - v.float(),
    ),
    "11.6": (
        tested_by_hand,
        tested_by_telescoping,
        tested_at_one,
        tested_at_random,
        tested_with_other_padding,
        lambda estimate: int(tested_by_hand(estimate)),
    ),
}


def td_of_two_values(rewards, values, mask, gamma):
    """Bootstraps two steps ahead."""
    after = torch.nn.functional.pad(values * mask, (0, 2))[:, 2:]
    return (rewards + gamma**2 * after - values) * mask


def uncut_deltas(rewards, values, mask, gamma, lam):
    found, ahead = torch.zeros_like(rewards), torch.zeros(len(rewards), dtype=torch.float64)
    for t in reversed(range(rewards.shape[1])):
        after = values[:, t + 1] if t + 1 < rewards.shape[1] else 0
        ahead = rewards[:, t] + gamma * after - values[:, t] + gamma * lam * ahead
        found[:, t] = ahead
    return found * mask


def td_of_live_pairs(rewards, values, mask, gamma):
    """Masked by whether the *next* step is live."""
    found = torch.zeros_like(rewards)
    pair = mask[:, 1:] & mask[:, :-1]
    found[:, :-1] = torch.where(pair, rewards[:, :-1] + gamma * values[:, 1:] - values[:, :-1], 0.0)
    return found


def gae_in_the_loop_s_order(rewards, values, mask, gamma, lam):
    deltas, found, ahead = td_padded(rewards, values, mask, gamma), [], 0.0
    for t in reversed(range(rewards.shape[1])):
        ahead = (deltas[:, t] + gamma * lam * ahead) * mask[:, t]
        found.append(ahead)
    return torch.stack(found, 1)


def gae_two_terms(deltas, weight):
    found = deltas.clone()
    found[:, :-1] += weight * deltas[:, 1:]
    return found


def asserted(estimate):
    assert tested_by_hand(estimate)
    return True


def with_zeros_behind(estimate):
    """The same, with a value of 0 where the text has ended."""

    def emptied(rewards, values, mask, lam):
        return estimate(rewards, values * mask, mask, lam)

    return emptied


WRONG = {
    "11.1": (
        ("`return` missing", forgets(td_loop)),
        ("should be", td_of_two_values),
        ("an array of shape [3]", lambda r, v, m, g: td_loop(r, v, m, g)[:, 0][:3].expand(3)),
        ("should be", lambda r, v, m, g: td_loop(r, v, m, g).abs()),
        ("raised", lambda r, v, m, g: r + g * v[:, 1:] - v),
        ("lose the last live step", td_of_live_pairs),
        ("should be", lambda r, v, m, g: td_loop(r, v, m, 1 - g)),
    ),
    "11.2": (
        ("`return` missing", forgets(gae_of_sums)),
        ("use the mask for the result alone", uncut_deltas),
        ("should be", lambda r, v, m, g, lam: gae_of_sums(r, v, m, g, 1 - lam)),
        ("should be", lambda r, v, m, g, lam: gae_of_sums(r, v, m, g, lam).cumsum(1)),
        ("should be an array of shape", lambda r, v, m, g, lam: gae_of_sums(r, v, m, g, lam).sum()),
        ("in the wrong order", gae_in_the_loop_s_order),
        ("stop there", lambda r, v, m, g, lam: gae_two_terms(td_padded(r, v, m, g), g * lam)),
        ("with γ alone", lambda r, v, m, g, lam: (reward_to_go(r, g, m) - v) * m),
    ),
    "11.3": (
        ("`return` missing", forgets(left_by_recursion)),
        ("should be", lambda e, lam: (1 - lam) * e[1:].sum()),
        ("should be", lambda e, lam: (1 - lam) * max(e[1:].tolist())),
        ("should be one number", lambda e, lam: (1 - lam) * e[1:]),
        ("should be", lambda e, lam: left_by_recursion(e, lam) ** 2),
        ("begins at the state in which", lambda e, lam: left_by_recursion(torch.cat([e[:1], e]), lam)),
    ),
    "11.4": (
        ("`return` missing", forgets(loss_by_name)),
        ("V has dropped out", lambda v, a, m: loss_by_name(v.detach(), a, m)),
        ("V has dropped out", lambda v, a, m: (a[m] ** 2).mean()),
        ("V has dropped out", lambda v, a, m: loss_by_name(v, a, m).item()),
        ("V detached and the target not", lambda v, a, m: ((v.detach() - (a + v))[m] ** 2).mean()),
        ("a minus before the loss", lambda v, a, m: -loss_by_name(v, a, m)),
        (
            "the gradient of your loss",
            lambda v, a, m: torch.nn.functional.smooth_l1_loss(v[m], (v + a).detach()[m]),
        ),
        ("a loss is one number", lambda v, a, m: (v - (v + a).detach()) ** 2),
        ("the gradient of your loss", lambda v, a, m: loss_by_name(v, a, m).sqrt()),
        ("the gradient of your loss", lambda v, a, m: loss_by_name(v, a.abs(), m)),
        ("the gradient of your loss", lambda v, a, m: loss_counted(v, a, m) * 3),
    ),
    "11.5": (
        ("`return` missing", forgets(limit_loop)),
        ("should be", lambda r, v, f, s, over, cut, g: r - v),
        ("should be", lambda r, v, f, s, over, cut, g: r + g * torch.where(over, v, f) - v),
        ("should be", lambda r, v, f, s, over, cut, g: r + g * f * ~over),
        ("should be an array of shape [4]", lambda r, v, f, s, over, cut, g: (r + g * f * ~over - v)[~over]),
        ("write ~mask", lambda r, v, f, s, over, cut, g: r + g * f * (1 - over) - v),
    ),
    "11.6": (
        ("`return` missing", forgets(tested_by_hand)),
        ("Everybody passes", lambda estimate: estimate(*EXAMPLE, 0.0).shape == (1, 3)),
        ("Everybody passes", lambda estimate: bool(estimate(*EXAMPLE, 0.0).isfinite().all())),
        ("Upside down", lambda estimate: not tested_by_hand(estimate)),
        ("an array of shape [1, 3]", lambda estimate: estimate(*EXAMPLE, 0.0) == 0.3),
        ("raised", lambda estimate: estimate(EXAMPLE, 0.0)),
        ("return False in place of", asserted),
        ("a value other than 0 behind it", lambda estimate: tested_by_hand(with_zeros_behind(estimate))),
        ("Nobody passes", lambda estimate: bool((estimate(*EXAMPLE, 0.0) > 0).all())),
    ),
}
