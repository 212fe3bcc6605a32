"""Lesson 11's exact numbers, found a second time by listing in NumPy; and the package's functions beside them."""

import itertools

import numpy as np
import plain_critics as plain
import pytest
import torch

from pgnotes.theory.actor_critic import after_reset, late_mask
from pgnotes.theory.compatible import by_class, fit_compatible, mean_with_worth
from pgnotes.theory.critics import (
    bias_of_gae,
    fitted_first,
    gae,
    lambda_returns,
    n_step,
    pieces,
    powers,
    surprises,
    td_errors,
    with_gae,
)
from pgnotes.theory.policies import StatePolicy
from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.time_limits import Survival
from pgnotes.theory.worlds import icy_path, sum_world

WORLD, PACKAGED = plain.sum_tree(), sum_world()
# the lesson's policy is data: 20 steps of one run
POLICY = next(itertools.islice(reinforce(PACKAGED, Recipe(normalise=True), seed=0), 20, None))
HALF = POLICY.logits.detach().numpy()

CHANCES, SCORES = plain.chances_of(WORLD, HALF), plain.scores_of(WORLD, HALF)
RETURNS, GRADIENT = WORLD.rewards.sum(1), plain.gradient_of(WORLD, HALF)
VALUES, LENGTH = plain.values_of(WORLD, HALF), np.linalg.norm(GRADIENT)
SIZES = (16, 64, 256, 1024, 4096)
LAMBDAS = np.arange(21) / 20


def spread(weights):
    return plain.spread_of(CHANCES, SCORES, weights)


def off(weights):
    """Bias in lengths of ∇J, and trace."""
    found = spread(weights)
    return np.linalg.norm(found.mean - GRADIENT) / LENGTH, found.trace


def errors(table):
    """[sizes, λ]: how far off a step of so many sequences is, in lengths of ∇J."""
    bias, trace = np.array([off(plain.credit_of(WORLD, table, lam)) for lam in LAMBDAS]).T
    return np.array([np.sqrt(bias**2 + trace / n / LENGTH**2) for n in SIZES])


def learned(seed, batches=25):
    """A table after so many batches of 16 sequences of HALF: each entry moves by .2 times its mean error."""
    generator, table = torch.Generator().manual_seed(seed), np.zeros(WORLD.n_rows)
    for _ in range(batches):
        drawn = [each.numpy() for each in PACKAGED.rollout(POLICY, 16, generator)]
        where = [int(np.flatnonzero((WORLD.symbols == s).all(1))[0]) for s in drawn[0]]  # which sequences these are
        misses, visits = np.zeros_like(table), np.zeros_like(table)
        for i in where:
            rows = WORLD.rows[i, WORLD.mask[i]]  # no prefix comes twice in a sequence
            misses[rows] += RETURNS[i] - table[rows]
            visits[rows] += 1
        table = table + 0.2 * misses / np.maximum(visits, 1)
    return table


def normal_table(seed):
    return torch.randn(85, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()


# where the numbers stand on: J, ∇J, V


def test_the_policy_half_way():
    assert (CHANCES @ RETURNS, float(LENGTH)) == pytest.approx((0.5859, 0.0892), abs=5e-5)
    np.testing.assert_allclose(PACKAGED.exact_gradient(POLICY).numpy().ravel(), GRADIENT, atol=1e-9)


# section 2: the TD error and the advantage


@pytest.mark.parametrize(
    ("slip", "apart", "traces"),
    [(0.0, [0, 0, 0, 0], [0.078125, 0.078125]), (0.3, [0.229, 0.512, 0.324, 0], [0.2225, 0.0125])],
)
def test_on_ice_the_td_error_is_not_the_advantage(slip, apart, traces):
    right = 0.5
    worth, chances, gaps, estimates = plain.on_ice(slip, right)
    assert np.sqrt(chances @ gaps**2) == pytest.approx(apart, abs=5e-4)
    means = np.einsum("n,nkd->kd", chances, estimates)
    np.testing.assert_allclose(means[0], means[1], atol=1e-12)
    assert np.einsum("n,nkd->k", chances, estimates**2) - (means**2).sum(1) == pytest.approx(traces, abs=1e-9)

    path, policy = icy_path(slip), StatePolicy(torch.tensor([[1 - right, right]] * 3).double().log())
    np.testing.assert_allclose(path.action_values(policy).numpy(), worth, atol=1e-12)
    delta, advantage = surprises(path, policy)
    spread = path.probabilities(policy) @ (delta - advantage).square()
    np.testing.assert_allclose(spread.numpy(), chances @ gaps**2, atol=1e-12)


# section 3: squares, and what a perfect critic saves


def test_squares_of_a_perfect_critics_td_errors_add_up_to_the_variance():
    cases = [(WORLD, HALF), *(plain.random_tree(seed) for seed in range(8))]
    for world, logits in cases:
        p, total = plain.chances_of(world, logits), world.rewards.sum(1)
        variance = p @ (total - p @ total) ** 2
        assert p @ (plain.deltas(world, plain.values_of(world, logits)) ** 2).sum(1) == pytest.approx(variance)


PAYS = {
    "last": lambda text, t, horizon: float(text[t]) * (t == horizon - 1),
    "first": lambda text, t, horizon: float(text[t]) * (t == 0),
    "all": lambda text, t, horizon: float(text[t]),
    "parity": lambda text, t, horizon: float(sum(text) % 2) * (t == horizon - 1),
}


@pytest.mark.parametrize("horizon", [2, 4, 8])
@pytest.mark.parametrize("where", PAYS)
def test_a_group_mean_costs_the_length_under_a_uniform_policy(where, horizon):
    world = plain.tree(2, horizon, lambda text, t: PAYS[where](text, t, horizon))
    logits = np.zeros((world.n_rows, 2))
    p, scores, total = plain.chances_of(world, logits), plain.scores_of(world, logits), world.rewards.sum(1)
    values = plain.values_of(world, logits)
    same = np.repeat((total - p @ total)[:, None], horizon, 1)
    squares = [
        plain.spread_of(p, scores, weights).square
        for weights in (same, plain.credit_of(world, values, 1.0), plain.deltas(world, values))
    ]
    assert squares[0] / squares[2] == pytest.approx(horizon)
    between = {"first": 1, "last": horizon, "parity": horizon, "all": (horizon + 1) / 2}
    assert squares[1] / squares[2] == pytest.approx(between[where])


def test_sequences_for_a_tenth():
    def needed(trace):
        return trace / (0.1 * LENGTH) ** 2

    whole = np.where(WORLD.mask, RETURNS[:, None], 0.0)
    assert needed(spread(whole).trace) == pytest.approx(6432, abs=0.5)
    for lam, sequences in ((1.0, 3024), (0.95, 2786), (0.0, 1220)):
        assert needed(spread(plain.credit_of(WORLD, VALUES, lam)).trace) == pytest.approx(sequences, abs=0.5)

    # leave-one-out of four: all pairs of the sequences' deviations and scores, as a U-statistic of order 2
    r, s, n = RETURNS - CHANCES @ RETURNS, SCORES.sum(1), 4
    own = CHANCES @ (r**2 * (s**2).sum(1))
    crossed = (CHANCES @ r**2) * (CHANCES @ (s**2).sum(1))
    mean = (CHANCES * r) @ s
    trace = ((n - 1) * own + crossed - (n - 2) * mean @ mean) / (n * (n - 1))
    assert needed(n * trace) == pytest.approx(4204, abs=0.5)


@pytest.mark.parametrize("seed", range(8))
def test_a_perfect_critic_is_noisier_the_larger_lambda(seed):
    world, logits = plain.random_tree(seed)
    p, scores, values = plain.chances_of(world, logits), plain.scores_of(world, logits), plain.values_of(world, logits)
    traces = [plain.spread_of(p, scores, plain.credit_of(world, values, lam)).trace for lam in LAMBDAS[::4]]
    assert (np.diff(traces) > 0).all()


# sections 4 and 5: wrong tables


def test_the_widgets_twins():
    exact, nothing = errors(VALUES), errors(np.zeros(85))
    assert exact[0].argmin() == 0
    assert exact[0, [0, 18, 20]] == pytest.approx([0.87, 1.269, 1.375], abs=5e-3)
    assert nothing[4].argmin() == 20
    assert nothing[4, [0, 18, 20]] == pytest.approx([1.41, 0.199, 0.125], abs=5e-4)

    six = np.mean([errors(learned(seed)) for seed in range(6)], 0)
    assert LAMBDAS[six.argmin(1)].tolist() == [0.2, 0.4, 0.75, 0.9, 1.0]
    assert six[0, [4, 20]] == pytest.approx([1.02, 1.40], abs=5e-3)


def test_the_first_twins_table_in_steps():
    table = learned(0)
    found = [off(plain.n_step_credit(WORLD, table, n)) for n in (1, 2, 3, 4)]
    assert [bias for bias, _ in found] == pytest.approx([0.409, 0.204, 0.087, 0], abs=5e-4)
    assert [trace for _, trace in found] == pytest.approx([0.105, 0.212, 0.249, 0.247], abs=5e-4)


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_only_errors_after_the_choice_bias(lam):
    for seed in range(10):
        error = normal_table(seed)
        wrong = np.zeros_like(GRADIENT)
        for i, t in WORLD.live():
            for k in range(t + 1, int(WORLD.mask[i].sum())):
                wrong += CHANCES[i] * (1 - lam) * lam ** (k - t - 1) * error[WORLD.rows[i, k]] * SCORES[i, t]
        listed = spread(plain.credit_of(WORLD, VALUES + error, lam)).mean - spread(plain.deltas(WORLD, VALUES)).mean
        np.testing.assert_allclose(wrong, listed, atol=1e-12)
        np.testing.assert_allclose(bias_of_gae(PACKAGED, POLICY, error, lam).numpy(), wrong, atol=1e-12)


# section 6: learning both


def own_share(world, chances, n):
    """[rows]: of a prefix's gradient, what a table of means over the same n sequences leaves of it."""
    passed = np.zeros(world.n_rows)
    for i, t in world.live():
        passed[world.rows[i, t]] += chances[i]
    met = np.where(passed > 0, passed, 1.0)
    return np.where(passed > 0, 1 - (1 - (1 - met) ** n) / (n * met), 0.0)


@pytest.mark.parametrize(
    ("n", "angle", "size"), [(2, 0.857, 0.316), (4, 0.913, 0.544), (16, 0.974, 0.821), (64, 0.995, 0.941)]
)
def test_a_table_fitted_to_its_own_batch(n, angle, size):
    mean = (GRADIENT.reshape(85, 4) * own_share(WORLD, CHANCES, n)[:, None]).ravel()
    assert (plain.cosine(mean, GRADIENT), plain.length(mean, GRADIENT)) == pytest.approx((angle, size), abs=5e-4)
    np.testing.assert_allclose(fitted_first(PACKAGED, POLICY, n).numpy(), mean, atol=1e-9)


@pytest.mark.parametrize(("seed", "n"), [(0, 2), (1, 2), (1, 3), (2, 2), (3, 2)])
def test_a_table_fitted_to_its_own_batch_leaves_lambda_nothing_to_do(seed, n):
    world, logits = plain.random_tree(seed)
    p, scores, still = plain.chances_of(world, logits), plain.scores_of(world, logits), plain.to_go(world)
    means = {lam: np.zeros(logits.size) for lam in (0.0, 0.5, 1.0)}
    for members in itertools.product(range(len(p)), repeat=n):
        batch = plain.Tree(*(each[list(members)] for each in world[:4]), world.n_rows)
        paid, visits = np.zeros(world.n_rows), np.zeros(world.n_rows)
        np.add.at(paid, batch.rows[batch.mask], still[list(members)][batch.mask])
        np.add.at(visits, batch.rows[batch.mask], 1)
        table = paid / np.maximum(visits, 1)
        for lam, mean in means.items():
            says = np.einsum("nt,ntd->d", plain.credit_of(batch, table, lam), scores[list(members)])
            mean += p[list(members)].prod() * says / n

    gradient = plain.gradient_of(world, logits).reshape(logits.shape)
    mine = (gradient * own_share(world, p, n)[:, None]).ravel()
    for mean in means.values():
        np.testing.assert_allclose(mean, mine, atol=1e-9)


# claims


def test_c33_a_random_table():
    biases, traces = zip(*(off(plain.credit_of(WORLD, normal_table(0), lam)) for lam in (0.0, 1.0)), strict=True)
    assert biases == pytest.approx([3.64, 0], abs=5e-3)
    assert traces[1] == pytest.approx(3.58, abs=5e-3)
    mean = spread(plain.deltas(WORLD, normal_table(0))).mean
    assert plain.cosine(mean, GRADIENT) == pytest.approx(-0.04, abs=5e-3)


def test_c33_a_critic_made_of_the_scores():
    shared = SCORES.reshape(*WORLD.mask.shape, 85, 4).sum(2)  # of one more vector of logits, added to every row
    p = CHANCES[:, None] * WORLD.mask
    advantages = plain.deltas(WORLD, VALUES)  # the world is deterministic, so this is A
    fisher = np.einsum("nt,nta,ntb->ab", p, shared, shared)
    exact = np.einsum("nt,nta->a", p * advantages, shared)
    says = shared @ (np.linalg.pinv(fisher, hermitian=True) @ exact)

    left = {name: (p * (of - says) ** 2).sum() / (p * of**2).sum() for name, of in (
        ("A", advantages), ("to go", plain.credit_of(WORLD, VALUES, 1.0)))}  # fmt: skip
    assert left == pytest.approx({"A": 0.640, "to go": 0.887}, abs=5e-4)
    np.testing.assert_allclose(np.einsum("nt,nta->a", p * says, shared), exact, atol=1e-15)

    features = np.broadcast_to(np.eye(4), (85, 4, 4)).copy()
    assert fit_compatible(PACKAGED, POLICY, torch.tensor(features))[1] == pytest.approx(left["A"], abs=1e-10)
    assert fit_compatible(PACKAGED, POLICY)[1] == pytest.approx(0, abs=1e-10)  # a table leaves nothing over


def test_c34_wild_critics():
    noisier = wrong_way = 0
    for seed in range(100):
        at_0, at_1 = (spread(plain.credit_of(WORLD, VALUES + normal_table(seed), lam)) for lam in (0.0, 1.0))
        noisier += at_0.trace > at_1.trace
        wrong_way += plain.cosine(at_0.mean, GRADIENT) < 0
    assert (noisier, wrong_way) == (87, 23)
    assert off(plain.deltas(WORLD, VALUES)) == pytest.approx((0, 0.097), abs=5e-4)
    assert off(plain.credit_of(WORLD, VALUES, 1.0)) == pytest.approx((0, 0.241), abs=5e-4)


def test_c35_a_table_of_zeros():
    first = spread(plain.deltas(WORLD, np.zeros(85)))
    assert plain.cosine(first.mean, GRADIENT) == pytest.approx(0.44, abs=5e-3)
    ends = np.arange(4)[None, :] - (WORLD.mask.sum(1) - 1)[:, None]  # 0 at the last live symbol
    faded = np.where(WORLD.mask, RETURNS[:, None] * 0.7 ** (-ends), 0.0)  # a discount of λ
    np.testing.assert_allclose(plain.credit_of(WORLD, np.zeros(85), 0.7), faded)


def test_c37_a_critic_that_sees_parity():
    met, worth = np.zeros((85, 4)), np.zeros((85, 4))
    for i, t in WORLD.live():
        met[WORLD.rows[i, t], WORLD.symbols[i, t]] += CHANCES[i]
        worth[WORLD.rows[i, t], WORLD.symbols[i, t]] += CHANCES[i] * plain.to_go(WORLD)[i, t]
    parity = np.arange(4) % 2
    for classes, angle, size in (
        (np.tile(parity, (85, 1)), 0.459, 0.409),
        (2 * np.arange(85)[:, None] + parity, 0.801, 0.597),
    ):
        total, weight = np.zeros(170), np.full(170, 1e-300)
        np.add.at(total, classes, worth)
        np.add.at(weight, classes, met)
        says = (total / weight)[classes]
        mean = spread(np.where(WORLD.mask, says[WORLD.rows, WORLD.symbols], 0.0)).mean
        assert (plain.cosine(mean, GRADIENT), plain.length(mean, GRADIENT)) == pytest.approx((angle, size), abs=5e-4)
        packaged = mean_with_worth(PACKAGED, POLICY, by_class(PACKAGED, POLICY, classes))
        np.testing.assert_allclose(packaged.numpy().ravel(), mean, atol=1e-10)


def test_c39_a_limit_taken_for_death():
    def value(bold, steps):
        earned, kept = 0.9 + 0.1 * bold, 0.99 * (1 - 0.01 * bold)
        return sum(earned * kept**k for k in range(steps))

    assert (value(0, 20_000), value(1, 20_000)) == pytest.approx((90.0, 50.25), abs=5e-3)

    def preference(bold, limit):
        lived = np.array([(1 - 0.01 * bold) ** t for t in range(limit)])
        gains = np.array([0.1 - 0.99 * 0.01 * value(bold, limit - 1 - t) for t in range(limit)])
        return lived @ gains / lived.sum()

    policies = np.linspace(0, 1, 11)
    seen = {limit: [preference(bold, limit) for bold in policies] for limit in (20, 23, 26, 30)}
    assert (min(seen[20]), max(seen[20])) == pytest.approx((0.0135, 0.0202), abs=5e-5)
    assert min(seen[23]) > 0 > max(seen[26])
    for limit, mine in seen.items():
        np.testing.assert_allclose(Survival(0.01).preference(policies, limit).numpy(), mine, atol=1e-12)


# planted bugs


def test_what_the_bugs_do_to_the_estimate():
    start = VALUES[0]
    reset = {lam: plain.credit_of(WORLD, VALUES, lam, after_end=start) for lam in (0.0, 1.0)}
    assert off(reset[0.0])[0] == pytest.approx(1.34, abs=5e-3)
    assert plain.cosine(spread(reset[0.0]).mean, GRADIENT) == pytest.approx(0.68, abs=5e-3)
    assert off(reset[1.0]) == pytest.approx((0, 0.55), abs=5e-3)

    late = {lam: plain.credit_of(WORLD, VALUES, lam, after_end=start, wrong_end=1) for lam in (0.0, 1.0)}
    assert [off(late[lam])[0] for lam in (0.0, 1.0)] == pytest.approx([2.37, 1.27], abs=5e-3)

    rewards, values, mask = (torch.tensor(x) for x in (WORLD.rewards, VALUES[WORLD.rows], WORLD.mask))
    for bug, mine in ((after_reset, reset), (late_mask, late)):
        for lam, weights in mine.items():
            np.testing.assert_allclose(bug(rewards, values, mask, lam).numpy(), weights, atol=1e-12)


# the package beside the lists


@pytest.mark.parametrize("seed", range(4))
def test_the_packages_critics(seed):
    rewards, mask = torch.tensor(WORLD.rewards), torch.tensor(WORLD.mask)
    table = normal_table(seed)
    values = torch.tensor(table[WORLD.rows])
    np.testing.assert_allclose(td_errors(rewards, values, mask).numpy(), plain.deltas(WORLD, table), atol=1e-12)
    for lam in (0.0, 0.3, 1.0):
        credit = plain.credit_of(WORLD, table, lam)
        np.testing.assert_allclose(gae(rewards, values, mask, lam=lam).numpy(), credit, atol=1e-12)
        targets = np.where(WORLD.mask, credit + table[WORLD.rows], 0.0)
        np.testing.assert_allclose(lambda_returns(rewards, values, mask, lam=lam).numpy(), targets, atol=1e-12)

        mine, theirs = spread(credit), with_gae(PACKAGED, POLICY, table, lam)
        parts, weights = pieces(PACKAGED, POLICY, table), powers(lam, 4)
        for mean, trace in ((theirs.mean, theirs.trace), (parts.mean(weights), parts.trace(weights))):
            np.testing.assert_allclose(mean.numpy(), mine.mean, atol=1e-10)
            assert trace.item() == pytest.approx(mine.trace, rel=1e-10)
    for n in (1, 2, 3, 4):
        found = torch.where(mask, n_step(rewards, values, mask, n) - values, 0.0)
        np.testing.assert_allclose(found.numpy(), plain.n_step_credit(WORLD, table, n), atol=1e-12)
