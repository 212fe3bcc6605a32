"""TD errors, GAE and λ-returns against plain loops; what a table does to the gradient against enumeration."""

import itertools
from itertools import islice

import pytest
import torch
from plain import CLOSE, numbers, random_logits, random_mdp, reward_fn, seeded

from pgnotes.theory.credit import values_to_go
from pgnotes.theory.critics import (
    bias_of_gae,
    by_place,
    fitted_first,
    gae,
    lambda_returns,
    listed_td_errors,
    n_step,
    pieces,
    powers,
    surprises,
    td_errors,
    with_gae,
)
from pgnotes.theory.estimators import moments_of, outcomes, token_estimates
from pgnotes.theory.learning import learn_values, prefix_values, symbol_values
from pgnotes.theory.policies import PrefixPolicy, StatePolicy, prefix_rows
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.returns import reward_to_go
from pgnotes.theory.worlds import TokenWorld, icy_path, sum_world

SIZES = [(2, 1, None), (2, 3, None), (3, 3, 0), (2, 4, 1), (4, 2, 3)]  # V, T, eos


def batch(seed, holes=False):
    """Rewards, values, a mask and what is left at the end: [n, T] three times, [n]."""
    g = seeded(seed)
    n, width = (int(torch.randint(1, high, (1,), generator=g)) for high in (6, 9))
    mask = torch.arange(width) < torch.randint(0, width + 1, (n, 1), generator=g)
    if holes:
        mask = torch.rand(n, width, generator=g) < 0.6
    rewards, values = torch.randn(2, n, width, generator=g, dtype=torch.float64)
    return rewards, values, mask, torch.randn(n, generator=g, dtype=torch.float64)


def live_steps(rewards, values, mask, last):
    """The live steps alone of each sequence, in plain numbers: rewards, values with the last one added, and places."""
    for i in range(len(mask)):
        places = mask[i].nonzero()[:, 0].tolist()
        yield i, [rewards[i, t].item() for t in places], [*values[i][places].tolist(), last[i].item()], places


def plain_gae(rewards, values, mask, gamma, lam, last):
    """Σ_l (γλ)^l δ_{t+l}, forwards."""
    found = torch.zeros_like(rewards)
    for i, r, v, places in live_steps(rewards, values, mask, last):
        deltas = [r[k] + gamma * v[k + 1] - v[k] for k in range(len(r))]
        for k, t in enumerate(places):
            found[i, t] = sum((gamma * lam) ** (j - k) * deltas[j] for j in range(k, len(r)))
    return found


def plain_n_step(rewards, values, mask, n, gamma, last):
    found = torch.zeros_like(rewards)
    for i, r, v, places in live_steps(rewards, values, mask, last):
        for k, t in enumerate(places):
            end = min(k + n, len(r))
            found[i, t] = sum(gamma ** (j - k) * r[j] for j in range(k, end)) + gamma ** (end - k) * v[end]
    return found


@pytest.mark.parametrize("holes", [False, True])
def test_gae_is_the_forward_sum_of_td_errors(holes):
    for seed in range(100):
        rewards, values, mask, last = batch(seed, holes)
        gamma, lam = torch.rand(2, generator=seeded(seed + 1000)).tolist()
        for end in (None, last):
            left = torch.zeros_like(last) if end is None else last
            found = gae(rewards, values, mask, gamma, lam, end)
            torch.testing.assert_close(found, plain_gae(rewards, values, mask, gamma, lam, left), **CLOSE)
            deltas = td_errors(rewards, values, mask, gamma, end)
            torch.testing.assert_close(deltas, plain_gae(rewards, values, mask, gamma, 0.0, left), **CLOSE)
            assert torch.equal(gae(rewards, values, mask, gamma, 0.0, end), deltas)


@pytest.mark.parametrize("holes", [False, True])
def test_n_step_returns_are_n_rewards_and_a_value(holes):
    for seed in range(60):
        rewards, values, mask, last = batch(seed, holes)
        for n in (1, 2, 3, mask.shape[1] + 3):
            found = n_step(rewards, values, mask, n, 0.8, last)
            torch.testing.assert_close(found, plain_n_step(rewards, values, mask, n, 0.8, last), **CLOSE)
        one = n_step(rewards, values, mask, 1, 0.8, last) - torch.where(mask, values, 0.0)
        torch.testing.assert_close(one, td_errors(rewards, values, mask, 0.8, last), **CLOSE)


def test_gae_without_decay_is_the_reward_to_go_less_the_value():
    """Whatever the values are after the step: they cancel."""
    for seed in range(100):
        rewards, values, mask, last = batch(seed)
        left = reward_to_go(rewards, 0.9, mask)
        torch.testing.assert_close(gae(rewards, values, mask, 0.9, 1.0), (left - values) * mask, **CLOSE)
        # a value at the end is one more reward, a step later
        steps = mask.sum(1, keepdim=True) - torch.arange(mask.shape[1])
        more = torch.where(mask, 0.9 ** steps.double() * last[:, None], 0.0)
        torch.testing.assert_close(gae(rewards, values, mask, 0.9, 1.0, last), (left - values) * mask + more, **CLOSE)


def test_the_lambda_return_is_the_mean_of_n_step_returns():
    """(1-λ) Σ_n λ^{n-1} of the n-step returns, all those past the end being the last one; forwards and backwards."""
    for seed in range(100):
        rewards, values, mask, last = batch(seed, holes=seed % 2 == 1)
        lam, width = 0.05 + 0.9 * torch.rand(1, generator=seeded(seed)).item(), mask.shape[1]
        mean = lam**width * n_step(rewards, values, mask, width + 1, 0.9, last)
        for n in range(1, width + 1):
            mean = mean + (1 - lam) * lam ** (n - 1) * n_step(rewards, values, mask, n, 0.9, last)
        torch.testing.assert_close(lambda_returns(rewards, values, mask, 0.9, lam, last), mean, **CLOSE)


def test_dead_steps_hold_what_they_like_and_nothing_comes_of_them():
    rewards, values, mask, last = batch(5, holes=True)
    dead_rewards, dead_values = rewards.masked_fill(~mask, torch.nan), values.masked_fill(~mask, torch.inf)
    assert (~mask).any()
    for function in (td_errors, gae, lambda_returns, lambda *given, **more: n_step(*given, n=2, **more)):
        clean = function(rewards, values, mask, last=last)
        assert torch.equal(function(dead_rewards, dead_values, mask, last=last), clean)
        assert (clean[~mask] == 0).all()

        leaf = dead_values.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(rewards, leaf, mask, last=last).square().sum(), leaf)
        assert slope.isfinite().all()
        assert (slope[~mask] == 0).all()


def test_more_axes_in_front_are_more_sequences():
    rewards, values, live = numbers(3, 2, 3, 4)
    mask, last = live > -1, numbers(2, 3, seed=1)
    flat = gae(*(each.flatten(0, 1) for each in (rewards, values, mask)), 0.9, 0.7, last.flatten())
    assert torch.equal(gae(rewards, values, mask, 0.9, 0.7, last), flat.view(2, 3, 4))


GOOD = {"rewards": torch.zeros(2, 3), "values": torch.zeros(2, 3), "mask": torch.ones(2, 3, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewards", torch.zeros(2, 4)),
        ("rewards", torch.zeros(2, 3, dtype=torch.long)),
        ("rewards", torch.full((2, 3), torch.nan)),
        ("values", torch.zeros(2, 4)),
        ("values", [0.0, 0.0]),
        ("values", torch.full((2, 3), torch.inf)),
        ("mask", torch.full((2, 3), 2)),
        ("gamma", 1.1),
        ("last", torch.zeros(3)),
        ("last", torch.tensor([0.0, torch.nan])),
    ],
)
def test_bad_arguments_are_named(name, value):
    message = "^(mask|values) " if name == "rewards" and tuple(value.shape) == (2, 4) else f"^{name} "
    for function in (td_errors, gae, lambda_returns, lambda **given: n_step(n=2, **given)):
        with pytest.raises(ValueError, match=message):
            function(**(GOOD | {name: value}))


@pytest.mark.parametrize(
    ("function", "name", "value"), [(gae, "lam", -0.1), (n_step, "n", 0), (lambda_returns, "lam", 2)]
)
def test_bad_decays_and_counts_are_named(function, name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        function(**GOOD, **{name: value})


# on a world


@pytest.fixture(scope="module")
def half():
    """The sum world, its policy after 20 steps, and a table after 25 batches: the figures of the lesson."""
    world = sum_world()
    policy = next(islice(reinforce(world, Recipe(normalise=True), seed=0), 20, None))
    policy = PrefixPolicy(policy.logits.detach())
    return world, policy, next(islice(learn_values(world, policy, batch=16, step=0.2, seed=0), 25, None))


def small(size, seed=0):
    vocab_size, horizon, eos = size
    world = TokenWorld(vocab_size, horizon, reward_fn, eos)
    return world, PrefixPolicy(random_logits(1, vocab_size, horizon, seed)[0])


@pytest.mark.parametrize("size", SIZES)
def test_with_the_true_values_the_td_error_is_the_advantage(size):
    """The next prefix is known once the symbol is chosen; prefix_values has the past's rewards on both sides."""
    world, policy = small(size)
    advantages = symbol_values(world, policy) - prefix_values(world, policy)[:, None]
    listed = advantages[prefix_rows(world.sequences, world.vocab_size), world.sequences]
    deltas = listed_td_errors(world, policy, values_to_go(world, policy))
    torch.testing.assert_close(deltas, listed * world.mask, **CLOSE)
    for lam in (0.0, 0.3, 1.0):
        assert with_gae(world, policy, values_to_go(world, policy), lam).bias(world.exact_gradient(policy)) < 1e-12


@pytest.mark.parametrize("size", SIZES)
def test_squared_td_errors_add_up_to_the_variance_of_the_return(size):
    """For any policy; with a group's mean every token has the return's variance."""
    for seed in range(10):
        world, policy = small(size, seed)
        listed = outcomes(world, policy)
        deltas = listed_td_errors(world, policy, values_to_go(world, policy))
        centred = listed.returns - listed.chances @ listed.returns
        torch.testing.assert_close(deltas.sum(1), centred, **CLOSE)
        assert (listed.chances @ deltas.square().sum(1)).item() == pytest.approx(
            (listed.chances @ centred.square()).item(), rel=1e-12
        )


@pytest.mark.parametrize("size", SIZES)
def test_the_bias_is_that_of_the_errors_after_the_choice(size):
    """40 random tables in each of five worlds: the formula, the enumerated mean, and no bias at λ = 1."""
    world, policy = small(size)
    values, gradient = values_to_go(world, policy), world.exact_gradient(policy).flatten()
    for seed in range(40):
        error, lam = numbers(len(values), seed=seed), torch.rand(1, generator=seeded(seed)).item()
        for each in ((0.0, lam), (lam,), (1.0,))[seed % 3]:
            found = with_gae(world, policy, values + error, each).mean - gradient
            torch.testing.assert_close(bias_of_gae(world, policy, error, each), found, rtol=0, atol=1e-12)
            assert (found.norm() < 1e-12) == (each == 1.0 or world.horizon == 1)

    alone = torch.zeros_like(values)
    alone[0] = 1.0
    assert bias_of_gae(world, policy, alone, 0.5).norm() == 0, "nothing is chosen before the start"


@pytest.mark.parametrize("size", SIZES)
def test_pieces_are_the_moments_of_every_decay_and_every_number_of_steps(size):
    world, policy = small(size)
    table, found = numbers(len(policy.logits)), pieces(*small(size), numbers(len(policy.logits)))
    rows = prefix_rows(world.sequences, world.vocab_size)
    for lam in (0.0, 0.4, 1.0):
        wanted, weights = with_gae(world, policy, table, lam), powers(lam, world.horizon)
        torch.testing.assert_close(found.mean(weights), wanted.mean, **CLOSE)
        torch.testing.assert_close(found.trace(weights), wanted.trace, **CLOSE)
    for n in range(1, world.horizon + 1):
        advantages = (n_step(world.rewards[0], table[rows], world.mask, n) - table[rows]) * world.mask
        wanted = moments_of(outcomes(world, policy).chances, token_estimates(world, policy, advantages[None]))
        weights = (torch.arange(world.horizon) < n).double()
        torch.testing.assert_close(found.mean(weights), wanted.mean, **CLOSE)
        torch.testing.assert_close(found.trace(weights), wanted.trace, **CLOSE)

    several = powers([0.0, 0.4], world.horizon)  # many at once
    torch.testing.assert_close(found.trace(several)[1], found.trace(several[1]))
    torch.testing.assert_close(found.mean(several)[1], found.mean(several[1]))


def test_what_25_batches_teach_a_table(half):
    """The lesson's table: bias in lengths of ∇J, and trace, of 1 to 4 steps."""
    world, policy, _ = half
    gradient, found = world.exact_gradient(policy).flatten(), pieces(*half)
    steps = (torch.arange(4) < torch.arange(1, 5)[:, None]).double()
    bias = (found.mean(steps) - gradient).norm(dim=1) / gradient.norm()
    assert [round(x, 3) for x in bias.tolist()] == [0.409, 0.204, 0.087, 0.0]
    assert [round(x, 3) for x in found.trace(steps).tolist()] == [0.105, 0.212, 0.249, 0.247]


@pytest.mark.parametrize("horizon", [2, 4, 8])
@pytest.mark.parametrize(
    ("reward", "with_value"),
    [
        (lambda s: s[:, -1], lambda n: n),
        (lambda s: s[:, 0], lambda n: 1),
        (lambda s: s.sum(1), lambda n: (n + 1) / 2),
        (lambda s: s.sum(1) % 2, lambda n: n),
    ],
    ids=["last", "first", "all", "parity"],
)
def test_a_perfect_critic_saves_the_length(horizon, reward, with_value):
    """Second moments of the estimate, ÷ that with δ: T with the mean return, between 1 and T with V and λ = 1."""

    def at_the_end(sequences, prompt):
        return reward(sequences)[:, None].double() * (torch.arange(horizon) == horizon - 1)

    world, policy = TokenWorld(2, horizon, at_the_end), PrefixPolicy(torch.zeros(2**horizon - 1, 2))
    values, listed = values_to_go(world, policy), outcomes(world, policy)

    def second_moment(weights):
        estimates = token_estimates(world, policy, weights[None])
        return (listed.chances @ estimates.square().sum(1)).item()

    rows = prefix_rows(world.sequences, 2)
    perfect = second_moment(listed_td_errors(world, policy, values))
    mean = (listed.returns - world.expected_return(policy))[:, None].expand(-1, horizon)
    assert second_moment(mean) / perfect == pytest.approx(horizon)
    whole = gae(world.rewards[0], values[rows], world.mask, lam=1.0)
    assert second_moment(whole) / perfect == pytest.approx(with_value(horizon))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_critic_fitted_to_its_own_batch_takes_a_part_of_the_gradient(size):
    """Every batch listed, the table fitted to it, and its advantages taken."""
    world = TokenWorld(2, 2, reward_fn, eos=1)
    policy = PrefixPolicy(random_logits(1, 2, 2)[0])
    chances, returns = world.probabilities(policy)[0], world.returns()[0]
    rows, scores = prefix_rows(world.sequences, 2), policy.score(world.sequences[:1])[0] * 0
    for drawn in itertools.product(range(len(chances)), repeat=size):
        drawn = torch.tensor(drawn)
        table = torch.zeros(len(policy.logits), dtype=torch.float64)
        for row in rows[drawn][world.mask[drawn]].unique().tolist():
            passes = ((rows[drawn] == row) & world.mask[drawn]).any(1)
            table[row] = returns[drawn][passes].mean()
        weights = (returns[drawn][:, None] - table[rows[drawn]]) * world.mask[drawn]
        scores = scores + chances[drawn].prod() * policy.score(world.sequences[drawn], weights).mean(0)
    torch.testing.assert_close(fitted_first(world, policy, size), scores.flatten(), **CLOSE)


def test_own_batches_of_the_lesson(half):
    world, policy, _ = half
    gradient = world.exact_gradient(policy).flatten()
    for size, cosine, length in ((2, 0.857, 0.316), (4, 0.913, 0.544), (64, 0.995, 0.941)):
        mean = fitted_first(world, policy, size)
        assert torch.cosine_similarity(mean, gradient, 0).item() == pytest.approx(cosine, abs=5e-4)
        assert (mean.norm() / gradient.norm()).item() == pytest.approx(length, abs=5e-4)


def test_places_share_the_gradient(half):
    world, policy, table = half
    gradient = world.exact_gradient(policy)
    own = by_place(world, gradient.flatten(), gradient)
    assert own.square().sum().item() == pytest.approx(1)
    ends = itertools.accumulate((1, 4, 16, 64), initial=0)
    blocks = [gradient[start:end].norm() / gradient.norm() for start, end in itertools.pairwise(ends)]
    torch.testing.assert_close(own, torch.stack(blocks))

    # What comes after the last place is nobody's: at λ = 0 only earlier places are biased
    mean = with_gae(world, policy, table, 0.0).mean
    found = by_place(world, torch.stack([mean, 2 * mean]), gradient)
    torch.testing.assert_close(found[1], 2 * found[0])
    torch.testing.assert_close(found[0, -1], own[-1])
    assert (found[0, :-1] - own[:-1]).abs().min() > 1e-3
    with pytest.raises(ValueError, match=r"^direction "):
        by_place(world, mean[1:], gradient)


@pytest.mark.parametrize(("name", "call"), [
    ("table", lambda world, policy: pieces(world, policy, [0.0])),
    ("table", lambda world, policy: with_gae(world, policy, [0.0], 0.5)),
    ("table", lambda world, policy: bias_of_gae(world, policy, [0.0], 0.5)),
    ("lam", lambda world, policy: with_gae(world, policy, torch.zeros(7), 1.5)),
    ("lam", lambda world, policy: bias_of_gae(world, policy, torch.zeros(7), 1.5)),
    ("batch", lambda world, policy: fitted_first(world, policy, 0)),
    ("horizon", lambda world, policy: powers(0.5, 0)),
])  # fmt: skip
def test_bad_arguments_on_a_world_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call(TokenWorld(2, 3, reward_fn), PrefixPolicy(torch.zeros(7, 2)))


# where luck is left after the choice


def test_the_advantage_is_the_mean_td_error_given_state_and_action():
    mdp, policy = random_mdp((2, 3, 3))
    deltas, advantages = surprises(mdp, policy)
    chances = mdp.probabilities(policy)
    for t, state, action in itertools.product(range(3), range(2), range(3)):
        here = (mdp.states[:, t] == state) & (mdp.actions[:, t] == action)
        mean = (chances * deltas[:, t])[here].sum() / chances[here].sum()
        torch.testing.assert_close(mean.expand(int(here.sum())), advantages[here, t], **CLOSE)
    assert (deltas - advantages).abs().max() > 0.1


def test_without_slipping_they_are_the_same_and_with_it_they_are_not():
    policy = StatePolicy(torch.zeros(3, 2))
    for slip, spread in ((0.0, (0.0, 0.0, 0.0, 0.0)), (0.3, (0.229, 0.512, 0.324, 0.0))):
        deltas, advantages = surprises(icy_path(slip), policy)
        found = (icy_path(slip).probabilities(policy) @ (deltas - advantages).square()).sqrt()
        assert found.tolist() == pytest.approx(spread, abs=5e-4)
