"""Policies against torch's own distributions, autograd, and plain Python."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import as_often_as, numbers, prefixes, seeded, sequences_of, softmax

from pgnotes.theory.policies import GaussianPolicy, PrefixPolicy, SoftmaxPolicy, horizon_of, prefix_rows, reshaped

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=6)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def jacobian(function, *values):
    """Derivatives of function(*values) [n] by each of the values, from autograd, side by side: [n, all entries]."""
    parts = torch.autograd.functional.jacobian(function, values)
    return torch.cat([part.reshape(part.shape[0], -1) for part in parts], dim=1)


# one decision


@settings(max_examples=50, deadline=None)
@given(LOGITS)
def test_softmax_agrees_with_torch_and_with_plain_python(logits):
    policy = SoftmaxPolicy(logits)
    torchs = torch.distributions.Categorical(logits=torch.tensor(logits, dtype=torch.float64))
    actions = torch.arange(len(logits))
    by_hand = torch.tensor(softmax(logits), dtype=torch.float64)
    torch.testing.assert_close(policy.probs, by_hand, **CLOSE)
    torch.testing.assert_close(policy.probs, torchs.probs, **CLOSE)
    torch.testing.assert_close(policy.log_prob(actions), torchs.log_prob(actions), **CLOSE)
    torch.testing.assert_close(policy.log_prob(actions), by_hand.log(), **CLOSE)
    torch.testing.assert_close(policy.entropy(), torchs.entropy(), **CLOSE)
    assert policy.entropy().item() == pytest.approx(-sum(p * math.log(p) for p in softmax(logits)), abs=1e-10)


@settings(max_examples=50, deadline=None)
@given(LOGITS)
def test_the_softmax_score_is_the_gradient_of_the_log_probability(logits):
    actions = torch.arange(len(logits)).repeat(2)
    derivatives = jacobian(lambda x: SoftmaxPolicy(x).log_prob(actions), torch.tensor(logits, dtype=torch.float64))
    by_hand = [[(a == k) - p for k, p in enumerate(softmax(logits))] for a in actions.tolist()]
    torch.testing.assert_close(SoftmaxPolicy(logits).score(actions), derivatives, **CLOSE)
    torch.testing.assert_close(derivatives, torch.tensor(by_hand, dtype=torch.float64), **CLOSE)


@settings(max_examples=50, deadline=None)
@given(LOGITS)
def test_scores_average_to_zero_under_the_policy(logits):
    policy = SoftmaxPolicy(logits)
    mean = policy.probs @ policy.score(torch.arange(len(logits)))
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-14)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=6))
def test_kl_agrees_with_torch_and_with_plain_python(pairs):
    ours, theirs = zip(*pairs, strict=True)
    kl = SoftmaxPolicy(ours).kl(SoftmaxPolicy(theirs))
    torchs = [torch.distributions.Categorical(logits=torch.tensor(x, dtype=torch.float64)) for x in (ours, theirs)]
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(*torchs), **CLOSE)
    by_hand = sum(p * math.log(p / q) for p, q in zip(softmax(ours), softmax(theirs), strict=True))
    assert kl.item() == pytest.approx(by_hand, abs=1e-9)
    assert kl >= -1e-14
    assert SoftmaxPolicy(ours).kl(SoftmaxPolicy(ours)) == 0


def test_kl_has_a_direction():
    sharp, flat = SoftmaxPolicy([4.0, 0.0, 0.0]), SoftmaxPolicy([0.0, 0.0, 0.0])
    assert sharp.kl(flat).item() == pytest.approx(math.log(3) - sharp.entropy().item())
    assert flat.kl(sharp) > sharp.kl(flat)


def test_entropy_lies_between_certainty_and_log_k():
    assert SoftmaxPolicy([0.0] * 7).entropy().item() == pytest.approx(math.log(7))
    assert SoftmaxPolicy([1e4, 0.0]).entropy() == 0


def test_only_differences_of_logits_count():
    logits = numbers(5)
    torch.testing.assert_close(SoftmaxPolicy(logits).probs, SoftmaxPolicy(logits + 1000).probs, rtol=1e-9, atol=0)


@pytest.mark.parametrize("logits", [[1e4, -1e4, 0.0], [-1e4, -1e4], [1e4, 1e4, 1e4 - 1]])
def test_extreme_logits_stay_finite_and_so_do_their_gradients(logits):
    leaf = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    policy, other = SoftmaxPolicy(leaf), SoftmaxPolicy([-x for x in logits])
    actions = torch.arange(len(logits))
    of_actions = policy.probs, policy.log_prob(actions), policy.score(actions)
    for value in (*of_actions, policy.entropy(), policy.kl(other), other.kl(policy)):
        (gradient,) = torch.autograd.grad(value.sum(), leaf, retain_graph=True)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
    assert policy.probs.sum().item() == pytest.approx(1)


def test_gradients_flow_through_float32_logits_to_the_leaf():
    """The gradient of the entropy is -π (log π + H): from autograd, and by hand."""
    leaf = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    SoftmaxPolicy(leaf).entropy().backward()
    probs = softmax([0.5, -1.0, 2.0])
    entropy = -sum(p * math.log(p) for p in probs)
    torch.testing.assert_close(leaf.grad, torch.tensor([-p * (math.log(p) + entropy) for p in probs]))


def test_actions_are_drawn_as_often_as_the_policy_says():
    policy = SoftmaxPolicy([0.0, 1.0, -2.0, 0.5])
    draws = policy.sample(20_000, seeded())
    assert draws.shape == (20_000,)
    assert as_often_as(draws.bincount(minlength=4), policy.probs)
    assert torch.equal(draws, policy.sample(20_000, seeded())), "the same seed gives the same draws"


def test_a_number_picks_the_action_in_whose_share_it_falls():
    policy = SoftmaxPolicy(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log())
    picked = policy.pick([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 1e-16])
    assert picked.tolist() == [0, 0, 1, 1, 2, 2]
    uniforms = torch.rand(100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = policy.pick(uniforms).bincount() / 100_000
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.006)


def test_a_small_change_of_the_policy_leaves_most_picks_alone():
    uniforms = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, after = (SoftmaxPolicy([1.8, 1.1, c]).pick(uniforms) for c in (0.0, 0.001))
    assert (before != after).sum() <= 2
    assert (before <= after).all(), "the last action's share grows, and takes from those before it"


def test_sampling_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    for policy in (SoftmaxPolicy([0.0, 1.0]), GaussianPolicy(0.0, 1.0), PrefixPolicy(numbers(3, 2))):
        policy.sample(3, seeded())
    assert torch.equal(state, torch.get_rng_state())


# what a sampler does to logits


def reshaped_by_hand(logits, temperature, top_k):
    """Sort, look at the k-th, keep what is at least as large."""
    scaled = [x / temperature for x in logits]
    edge = sorted(scaled, reverse=True)[top_k - 1] if 0 < top_k < len(scaled) else -math.inf
    kept = [i for i, x in enumerate(scaled) if x >= edge]
    return [scaled[i] for i in kept], kept


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8), st.floats(0.1, 10), st.integers(0, 10))
def test_reshaped_agrees_with_plain_python_ties_included(logits, temperature, top_k):
    values, kept = reshaped([float(x) for x in logits], temperature, top_k)
    expected_values, expected_kept = reshaped_by_hand(logits, temperature, top_k)
    assert kept.tolist() == expected_kept
    torch.testing.assert_close(values, torch.tensor(expected_values, dtype=torch.float64))


def test_temperature_one_and_no_cut_leave_the_policy_alone():
    values, kept = reshaped([3.0, 1.0, 2.0])
    assert values.tolist() == [3.0, 1.0, 2.0]
    assert kept.tolist() == [0, 1, 2]


def test_temperature_raises_probabilities_to_a_power():
    logits = numbers(5)
    power = SoftmaxPolicy(logits).probs ** (1 / 0.7)
    torch.testing.assert_close(SoftmaxPolicy(reshaped(logits, temperature=0.7)[0]).probs, power / power.sum())


def test_a_cut_keeps_the_others_proportions():
    values, kept = reshaped(numbers(6), top_k=3)
    before = SoftmaxPolicy(numbers(6)).probs
    assert set(kept.tolist()) == set(before.topk(3).indices.tolist())
    torch.testing.assert_close(SoftmaxPolicy(values).probs, before[kept] / before[kept].sum())


# one real action


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(0.05, 5), st.lists(st.floats(-10, 10), min_size=1, max_size=5))
def test_gaussian_agrees_with_torch_autograd_and_plain_python(mean, std, actions):
    policy, a = GaussianPolicy(mean, std), torch.tensor(actions, dtype=torch.float64)
    torchs = torch.distributions.Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    by_hand = [-((x - mean) ** 2) / (2 * std**2) - math.log(std * math.sqrt(2 * math.pi)) for x in actions]
    torch.testing.assert_close(policy.log_prob(a), torchs.log_prob(a), **CLOSE)
    torch.testing.assert_close(policy.log_prob(a), torch.tensor(by_hand, dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(policy.entropy(), torchs.entropy(), **CLOSE)
    parameters = torch.tensor(mean, dtype=torch.float64), torch.tensor(math.log(std), dtype=torch.float64)
    derivatives = jacobian(lambda m, log_std: GaussianPolicy(m, log_std.exp()).log_prob(a), *parameters)
    torch.testing.assert_close(policy.score(a), derivatives, **CLOSE)


def test_the_gaussian_score_by_hand():
    """At mean 1, std 2, action 4: (4-1)/4 by the mean, 9/4 - 1 by the log of std."""
    assert GaussianPolicy(1.0, 2.0).score([4.0]).tolist() == [[0.75, 1.25]]


def test_gaussian_scores_average_to_zero():
    """Both columns, integrated over a fine grid that reaches ten standard deviations out."""
    mean, std = 0.5, 0.7
    grid = torch.linspace(mean - 10 * std, mean + 10 * std, 20_001, dtype=torch.float64)
    policy = GaussianPolicy(mean, std)
    average = torch.trapezoid(policy.log_prob(grid).exp()[:, None] * policy.score(grid), grid, dim=0)
    torch.testing.assert_close(average, torch.zeros_like(average), rtol=0, atol=1e-10)


def test_a_density_above_one_has_a_positive_log_probability():
    narrow = GaussianPolicy(0.0, 0.01)
    assert narrow.log_prob([0.0]).item() == pytest.approx(math.log(100 / math.sqrt(2 * math.pi)))
    assert narrow.log_prob([0.0]) > 0
    assert narrow.entropy() < 0


def test_gaussian_samples_have_its_mean_and_variance():
    n, mean, std = 20_000, -1.5, 0.4
    draws = GaussianPolicy(mean, std).sample(n, seeded())
    assert draws.shape == (n,)
    assert abs(draws.mean().item() - mean) <= 4 * std / math.sqrt(n)
    assert abs(draws.var().item() - std**2) <= 4 * std**2 * math.sqrt(2 / (n - 1))


# a decision for each prefix


def walk(logits, sequence):
    """log π of each symbol in plain Python: number the prefixes level by level, look each one up."""
    row = dict(zip(prefixes(len(logits[0]), len(sequence)), logits, strict=True))
    return [math.log(softmax(row[tuple(sequence[:t])])[symbol]) for t, symbol in enumerate(sequence)]


@pytest.mark.parametrize(("vocab_size", "horizon", "rows"), [(2, 1, 1), (3, 2, 4), (2, 3, 7), (4, 3, 21)])
def test_prefix_log_prob_agrees_with_a_walk_over_prefixes(vocab_size, horizon, rows):
    logits, sequences = numbers(rows, vocab_size), sequences_of(vocab_size, horizon)
    policy = PrefixPolicy(logits)
    assert (policy.horizon, policy.vocab_size, policy.prompts) == (horizon, vocab_size, 1)
    expected = torch.tensor([walk(logits.tolist(), s) for s in sequences], dtype=torch.float64)
    torch.testing.assert_close(policy.log_prob(sequences), expected)
    assert policy.log_prob(sequences).sum(1).exp().sum().item() == pytest.approx(1)
    probs = [softmax(row) for row in logits.tolist()]
    torch.testing.assert_close(policy.probs, torch.tensor(probs, dtype=torch.float64))


def test_each_prompt_has_rows_of_its_own():
    logits, sequences = numbers(2, 4, 3), sequences_of(3, 2)
    policy = PrefixPolicy(logits)
    assert policy.prompts == 2
    for prompt in range(2):
        torch.testing.assert_close(policy.log_prob(sequences, prompt), PrefixPolicy(logits[prompt]).log_prob(sequences))
    assert not torch.allclose(policy.log_prob(sequences, 0), policy.log_prob(sequences, 1))
    torch.testing.assert_close(PrefixPolicy(logits.tolist()).probs, policy.probs)
    assert policy.probs.shape == logits.shape


def test_prefix_rows_by_hand():
    """Three symbols: row 0 is empty, 1 to 3 are 0, 1, 2, and 4 to 12 are 00, 01, 02, 10, 11, 12, 20, 21, 22."""
    rows = prefix_rows(torch.tensor([[0, 0, 0], [1, 2, 0], [2, 0, 1], [2, 2, 2]]), 3)
    assert rows.tolist() == [[0, 1, 4], [0, 2, 9], [0, 3, 10], [0, 3, 12]]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(1, 5))
def test_rows_and_horizon_agree(vocab_size, horizon):
    rows = len(prefixes(vocab_size, horizon))
    assert horizon_of(rows, vocab_size) == horizon
    with pytest.raises(ValueError, match="^logits "):
        horizon_of(rows + 1, vocab_size)
    if horizon <= 3:
        used = prefix_rows(torch.tensor(sequences_of(vocab_size, horizon)), vocab_size)
        assert sorted(used.unique().tolist()) == list(range(rows)), "every row belongs to a prefix"


def test_sequences_are_drawn_as_often_as_the_policy_says():
    policy = PrefixPolicy(numbers(2, 7, 2))
    everything = torch.tensor(sequences_of(2, 3))
    for prompt in range(2):
        draws = policy.sample(20_000, seeded(prompt), prompt)
        counts = (draws[:, None] == everything).all(-1).sum(0)
        assert counts.sum() == 20_000
        assert as_often_as(counts, policy.log_prob(everything, prompt).sum(1).exp())


def test_gradients_flow_to_the_rows_on_the_way_and_to_no_others():
    leaf = numbers(7, 2).requires_grad_()
    PrefixPolicy(leaf).log_prob([[1, 0, 1]]).sum().backward()
    expected = torch.zeros(7, 2, dtype=torch.float64)
    for row, symbol in [(0, 1), (2, 0), (5, 1)]:  # after nothing, after 1, after 10
        for k, p in enumerate(softmax(leaf[row].tolist())):
            expected[row, k] = (k == symbol) - p
    torch.testing.assert_close(leaf.grad, expected)
