"""Every public name of theory, given nonsense: a ValueError whose first word is the argument at fault."""

import math
import re

import numpy
import pytest
import torch
from plain import seeded

from pgnotes.theory.advantages import group_advantages, spread_is_zero
from pgnotes.theory.estimators import (
    draw_counts,
    mean_and_error,
    moments_of,
    monte_carlo,
    monte_carlo_sequences,
    outcomes,
    token_estimates,
    with_batch_mean,
    with_leave_one_out,
    with_running_average,
)
from pgnotes.theory.objectives import AGGREGATES, KINDS, aggregate, clip_range, denominator, kl_estimate, policy_loss
from pgnotes.theory.policies import (
    GaussianPolicy,
    PrefixPolicy,
    SoftmaxPolicy,
    StatePolicy,
    horizon_of,
    prefix_rows,
    reshaped,
)
from pgnotes.theory.returns import discounted_return, reward_to_go
from pgnotes.theory.worlds import Bandit, TabularMDP, TokenWorld, icy_path

NAN, INF = math.nan, math.inf
LIVE = torch.ones(2, 3, dtype=torch.bool)

NOT_ARRAYS = [None, "a", "1", object(), {}, {1: 2}, [1.0, "b"], [[1.0], [1.0, 2.0]], [10**400]]
NOT_ARRAYS += [[1j, 2], torch.tensor([1j]), numpy.array([1j])]
NOT_VECTORS = [*NOT_ARRAYS, 1.0, [], [[]], [[1.0]], torch.empty(0), [1.0, NAN], [1.0, INF], [-INF, 0.0]]
NOT_ACTIONS = [None, "a", "1", object(), {}, 1, [], [[1]], [3], [-1], [2**70], [1.0], [0.5], [NAN], [INF], [1j]]
NOT_ACTIONS += [[True, False], torch.tensor([True])]
NOT_SEQUENCES = [None, "a", 1, [], [[]], [0, 1], [[[0, 1]]], [[0, 2]], [[0, -1]], [[0, 1], [0]], [[0, NAN]]]
NOT_SEQUENCES += [[[0.0, 1.0]], [[True, False]]]
NOT_STATES = [[[0, 3]] if value == [[0, 2]] else value for value in NOT_SEQUENCES]  # of three
NOT_PREFIX_SHAPES = [(3,), (0, 2), (0, 3, 2), (3, 0), (1, 1), (3, 1), (2, 2), (2, 4, 2), (1, 1, 3, 2)]
NOT_PREFIX_LOGITS = [*NOT_ARRAYS, 1.0, [], [[]], torch.full((3, 2), NAN), torch.full((3, 2), INF)]
NOT_PREFIX_LOGITS += map(torch.zeros, NOT_PREFIX_SHAPES)
WRONG_LENGTH = [[[0]], [[0, 1, 0]]]
NOT_MATRICES = [*NOT_ARRAYS, 1.0, [], [[]], [0.0, 1.0], [[[0.0, 1.0]]], torch.zeros(0, 2), torch.zeros(2, 0)]
NOT_MATRICES += [[[0.0, NAN]], [[INF, 0.0]], [[-INF, 0.0]]]
NOT_ONE_BY_TWO = [*NOT_MATRICES, [[1.0]], [[1.0], [1.0]], [[1.0, 1.0, 1.0]], [[1.0, 1.0]] * 2]
NOT_CHANCES = [[0.5, 0.6], [0.5, 0.4], [-0.5, 1.5], [0.0, 0.0], [2.0, 0.0], [0.5, 0.5 + 1e-6]]
# None comes first: where it has a meaning, the rest is taken
NOT_NUMBERS = [None, "a", "1", object(), [], [1.0], [1.0, 2.0], torch.ones(2), 1j, NAN, INF, -INF, True, 10**400]
NOT_COUNTS = [None, "a", "1", 1.0, 1.5, NAN, INF, True, [1], -1]
NOT_KINDS = [None, "", "a2c", "PPO", "k4", "median", 1, [], {}, ["ppo"]]
NOT_CLIPS = [None, "a", "0.2", {}, -0.1, 1.1, NAN, INF, [], (0.2,), (0.1, 0.2, 0.3)]
NOT_CLIPS += [(-0.1, 0.2), (1.5, 0.2), (0.2, -0.1), (0.2, NAN), (NAN, 0.2), ("a", 0.2)]
NOT_TENSORS = [None, "a", 1.0, [[0.0] * 3] * 2, LIVE, torch.zeros(2, 3, dtype=torch.complex64)]
NOT_TABLES = [*NOT_TENSORS, *map(torch.zeros, [(), (3,), (1, 2, 3), (0, 3), (2, 0)])]
NOT_BATCHES = [*NOT_TABLES, *map(torch.zeros, [(3, 3), (2, 2), (1, 3)])]
NOT_FINITE = [torch.full((2, 3), value) for value in (NAN, INF, -INF)]
NOT_GROUPS = [*NOT_TENSORS, *NOT_FINITE, torch.zeros(2, 4, dtype=torch.long)]
NOT_GROUPS += map(torch.zeros, [(4,), (4, 1), (0, 4), (1, 2, 3)])
NOT_WEIGHT_SHAPES = [(2, 4), (4, 2), (1, 4, 2), (2, 3, 2), (2, 4, 1), (2, 4, 3), (1, 2, 4, 2), (0, 4, 2), (2, 4, 0)]
NOT_WEIGHTS = [*NOT_ARRAYS, 1.0, torch.full((2, 4, 2), NAN), torch.full((2, 4, 2), INF)]
NOT_WEIGHTS += map(torch.zeros, NOT_WEIGHT_SHAPES)
NOT_REWARDS = [*NOT_TENSORS, torch.tensor(1.0), *map(torch.zeros, [(0,), (2, 0), (0, 3)])]
NOT_REWARDS += [torch.zeros(2, 3, dtype=torch.long), *NOT_FINITE]
NOT_LONE_MASKS = [None, "a", True, LIVE.tolist(), 0.5 * LIVE, 2 * LIVE, LIVE[0], LIVE[None], LIVE[:0], LIVE[:, :0]]
NOT_MASKS = [*NOT_LONE_MASKS, LIVE[:1], LIVE[:, :2]]
NOT_GENERATORS = [None, 0, "a"]
NOT_SHARES = [*NOT_NUMBERS, -0.1, 1.1]


def three_actions():
    return SoftmaxPolicy([0.0, 1.0, 2.0])


def gaussian():
    return GaussianPolicy(0.0, 1.0)


def prefix():
    return PrefixPolicy(torch.zeros(2, 3, 2))


def token_world(**change):
    return TokenWorld(**{"vocab_size": 2, "horizon": 2, "reward_fn": lambda s, prompt: s, "prompts": 2} | change)


def state():
    return StatePolicy(torch.zeros(3, 2))


def mdp(**change):
    moves, rewards = [[[0.5, 0.5]] * 2] * 2, [[0.0, 1.0]] * 2
    return TabularMDP(**{"transitions": moves, "rewards": rewards, "start": [1.0, 0.0], "horizon": 2} | change)


def estimates(**change):
    return token_estimates(**{"world": token_world(), "policy": prefix(), "weights": torch.zeros(2, 4, 2)} | change)


def loss(**change):
    good = {"logp": torch.zeros(2, 3), "logp_old": torch.zeros(2, 3), "advantages": torch.zeros(2)}
    return policy_loss(**good | {"mask": LIVE, "kind": "ppo"} | change)


def listed():
    return outcomes(Bandit([0.0, 1.0, 2.0]), three_actions())


def listed_moments():
    return moments_of([0.5, 0.5], [[1.0], [2.0]])


def measured(**change):
    good = {"bandit": Bandit([0.0, 1.0, 2.0]), "policy": three_actions(), "samples": 10, "generator": seeded()}
    return monte_carlo(**good | change)


def measured_sequences(**change):
    good = {"logits": torch.zeros(2, 3), "reward_fn": lambda s: s.double(), "weigh": lambda r: r}
    return monte_carlo_sequences(**good | {"samples": 10, "generator": seeded(), "block": 4} | change)


def total(**change):
    return aggregate(**{"per_token": torch.zeros(2, 3), "mask": LIVE, "how": "token"} | change)


def kl(**change):
    return kl_estimate(**{"logp": torch.zeros(2, 3), "logp_ref": torch.zeros(2, 3), "kind": "k1"} | change)


NOT_KL_POLICIES = [None, [0.0, 0.0, 0.0], SoftmaxPolicy([0.0, 0.0]), gaussian(), PrefixPolicy(torch.zeros(1, 3))]
NOT_BANDIT_POLICIES = [None, [0.0, 0.0], three_actions(), gaussian(), prefix()]
NOT_PREFIX_POLICIES = [None, "a", [0.0, 0.0], three_actions(), gaussian(), state()]
NOT_PREFIX_POLICIES += map(PrefixPolicy, map(torch.zeros, [(3, 2), (2, 1, 2), (2, 4, 3)]))
NOT_STATE_POLICIES = [None, "a", torch.zeros(2, 2), three_actions(), gaussian(), prefix(), state()]
NOT_STATE_POLICIES += [StatePolicy(torch.zeros(2, 3))]
NOT_TRANSITIONS = [*NOT_MATRICES, torch.zeros(2, 2), torch.full((2, 2, 2), NAN), torch.full((2, 2, 2), INF)]
NOT_TRANSITIONS += [*map(torch.zeros, [(0, 2, 2), (2, 0, 2), (2, 2, 0)])]
NOT_TRANSITIONS += [torch.full((2, 2, 1), 1.0), torch.full((1, 2, 2), 0.5)]
NOT_TRANSITIONS += [[[[0.5, 0.5]] * 2, [[0.5, 0.5], chances]] for chances in NOT_CHANCES]
NOT_WORLD_REWARDS = [*NOT_ARRAYS, 1.0, *map(torch.zeros, [(4,), (2, 4), (4, 1), (0, 2)])]
NOT_WORLD_REWARDS += [torch.full((4, 2), NAN), torch.full((4, 2), INF)]
NOT_SAMPLES = [*NOT_ARRAYS, 1.0, [], [[], []], [1.0], [[1.0, 2.0]], torch.zeros(0, 3), [1.0, NAN], [1.0, INF]]
NOT_ADVANTAGES = [*NOT_BATCHES, *NOT_FINITE, torch.tensor([1.0, NAN]), torch.tensor([INF, 1.0])]

SWEEP = [  # what is called with each bad value, the argument's name, the bad values
    # policies
    (SoftmaxPolicy, "logits", NOT_VECTORS),
    (lambda x: three_actions().sample(x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: three_actions().sample(1, x), "generator", NOT_GENERATORS),
    (lambda x: three_actions().log_prob(x), "a", NOT_ACTIONS),
    (lambda x: three_actions().score(x), "a", NOT_ACTIONS),
    (lambda x: three_actions().kl(x), "other", NOT_KL_POLICIES),
    (reshaped, "logits", NOT_VECTORS),
    (lambda x: reshaped([0.0, 1.0], temperature=x), "temperature", [*NOT_NUMBERS, 0, 0.0, -1.0, 1e-320]),
    (lambda x: reshaped([0.0, 1.0], top_k=x), "top_k", NOT_COUNTS),
    (lambda x: GaussianPolicy(x, 1.0), "mean", NOT_NUMBERS),
    (lambda x: GaussianPolicy(0.0, x), "std", [*NOT_NUMBERS, 0, -1.0]),
    (lambda x: gaussian().sample(x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: gaussian().sample(1, x), "generator", NOT_GENERATORS),
    (lambda x: gaussian().log_prob(x), "a", NOT_VECTORS),
    (lambda x: gaussian().score(x), "a", NOT_VECTORS),
    (PrefixPolicy, "logits", NOT_PREFIX_LOGITS),
    (lambda x: prefix().log_prob(x), "sequences", NOT_SEQUENCES + WRONG_LENGTH),
    (lambda x: prefix().log_prob([[0, 1]], x), "prompt", [*NOT_COUNTS, 2]),
    (lambda x: prefix().sample(x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: prefix().sample(1, x), "generator", NOT_GENERATORS),
    (lambda x: prefix().sample(1, seeded(), x), "prompt", [*NOT_COUNTS, 2]),
    (lambda x: prefix().score(x), "sequences", NOT_SEQUENCES + WRONG_LENGTH),
    (lambda x: prefix().score([[0, 1]], x), "weights", NOT_ONE_BY_TWO[1:]),
    (lambda x: prefix().score([[0, 1]], prompt=x), "prompt", [*NOT_COUNTS, 2]),
    (StatePolicy, "logits", NOT_MATRICES),
    (lambda x: state().log_prob(x, [[0, 1]]), "states", NOT_STATES),
    (lambda x: state().log_prob([[0, 2]], x), "actions", NOT_SEQUENCES + WRONG_LENGTH + [[[0, 1]] * 2]),
    (lambda x: state().score(x, [[0, 1]]), "states", NOT_STATES),
    (lambda x: state().score([[0, 2]], x), "actions", NOT_SEQUENCES + WRONG_LENGTH + [[[0, 1]] * 2]),
    (lambda x: state().score([[0, 2]], [[0, 1]], x), "weights", NOT_ONE_BY_TWO[1:]),
    (lambda x: prefix_rows(x, 2), "sequences", NOT_SEQUENCES),
    (lambda x: prefix_rows(torch.tensor([[0, 1]]), x), "vocab_size", [*NOT_COUNTS, 0, 1]),
    (lambda x: horizon_of(*x), "logits", [(2, 2), (5, 3), (0, 2), (-1, 2), (3, 1), (3, 0)]),
    # worlds
    (Bandit, "mean_rewards", NOT_VECTORS),
    (lambda x: Bandit([0.0, 1.0]).expected_return(x), "policy", NOT_BANDIT_POLICIES),
    (lambda x: Bandit([0.0, 1.0]).exact_gradient(x), "policy", NOT_BANDIT_POLICIES),
    (lambda x: Bandit([0.0] * 3).expected_return(three_actions(), x), "gamma", NOT_SHARES),
    (lambda x: Bandit([0.0] * 3).exact_gradient(three_actions(), x), "gamma", NOT_SHARES),
    (lambda x: token_world(vocab_size=x), "vocab_size", [*NOT_COUNTS, 0, 1]),
    (lambda x: token_world(horizon=x), "horizon", [*NOT_COUNTS, 0]),
    (lambda x: token_world(prompts=x), "prompts", [*NOT_COUNTS, 0]),
    (lambda x: token_world(eos=x), "eos", [*NOT_COUNTS[1:], 2]),
    (lambda x: token_world(reward_fn=x), "reward_fn", [None, 1, "a", torch.zeros(4, 2)]),
    (lambda x: token_world(reward_fn=lambda s, prompt: x), "reward_fn", NOT_WORLD_REWARDS),
    (lambda x: token_world().rewards_of(x, 0), "sequences", NOT_SEQUENCES + WRONG_LENGTH),
    (lambda x: token_world().rewards_of([[0, 1]], x), "prompt", [*NOT_COUNTS, 2]),
    (lambda x: token_world().returns(x), "gamma", NOT_SHARES),
    (lambda x: token_world().probabilities(x), "policy", NOT_PREFIX_POLICIES),
    (lambda x: token_world().expected_return(x), "policy", NOT_PREFIX_POLICIES),
    (lambda x: token_world().exact_gradient(x), "policy", NOT_PREFIX_POLICIES),
    (lambda x: token_world().expected_return(prefix(), x), "gamma", NOT_SHARES),
    (lambda x: token_world().exact_gradient(prefix(), x), "gamma", NOT_SHARES),
    (lambda x: token_world().rollout(x, 1, seeded()), "policy", NOT_PREFIX_POLICIES),
    (lambda x: token_world().rollout(prefix(), x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: token_world().rollout(prefix(), 1, x), "generator", NOT_GENERATORS),
    (lambda x: token_world().rollout(prefix(), 1, seeded(), x), "prompt", [*NOT_COUNTS, 2]),
    (lambda x: mdp(transitions=x), "transitions", NOT_TRANSITIONS),
    (lambda x: mdp(rewards=x), "rewards", [*NOT_MATRICES, *map(torch.zeros, [(2, 1), (1, 2), (3, 2), (2, 3)])]),
    (lambda x: mdp(start=x), "start", [*NOT_VECTORS, *NOT_CHANCES, [1.0], [1.0, 0.0, 0.0]]),
    (lambda x: mdp(horizon=x), "horizon", [*NOT_COUNTS, 0]),
    (lambda x: mdp().probabilities(x), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().visits(x), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().action_values(x), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().expected_return(x), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().exact_gradient(x), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().rollout(x, 1, seeded()), "policy", NOT_STATE_POLICIES),
    (lambda x: mdp().rollout(StatePolicy(torch.zeros(2, 2)), x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: mdp().rollout(StatePolicy(torch.zeros(2, 2)), 1, x), "generator", NOT_GENERATORS),
    (icy_path, "slip", NOT_SHARES),
    # returns
    (discounted_return, "rewards", NOT_REWARDS),
    (lambda x: discounted_return(x, 1.0, LIVE), "rewards", NOT_REWARDS),
    (lambda x: discounted_return(torch.zeros(2, 3), x), "gamma", NOT_SHARES),
    (lambda x: discounted_return(torch.zeros(2, 3), 1.0, x), "mask", NOT_MASKS[1:]),
    (reward_to_go, "rewards", NOT_REWARDS),
    (lambda x: reward_to_go(x, 1.0, LIVE), "rewards", NOT_REWARDS),
    (lambda x: reward_to_go(torch.zeros(2, 3), x), "gamma", NOT_SHARES),
    (lambda x: reward_to_go(torch.zeros(2, 3), 1.0, x), "mask", NOT_MASKS[1:]),
    # estimators
    (lambda x: outcomes(Bandit([0.0, 1.0, 2.0]), x), "policy", [None, prefix(), SoftmaxPolicy([0.0, 1.0])]),
    (lambda x: outcomes(x, prefix()), "world", [None, 1, "a"]),
    (lambda x: moments_of(x, torch.zeros(2, 3)), "chances", [None, "a", 1.0, [1.0], [0.5, NAN], torch.ones(2, 2)]),
    (lambda x: moments_of([0.5, 0.5], x), "estimates", [None, "a", 1.0, [1.0], [[1.0], [INF]]]),
    (lambda x: with_leave_one_out(listed(), x), "batch", [*NOT_COUNTS, 0, 1]),
    (lambda x: with_batch_mean(listed(), x), "batch", [*NOT_COUNTS, 0, 1]),
    (lambda x: with_running_average(listed(), x, 2), "window", [*NOT_COUNTS, 0]),
    (lambda x: listed_moments().of_batch(x), "n", [*NOT_COUNTS, 0]),
    (lambda x: measured(samples=x), "samples", [*NOT_COUNTS, 0, 1]),
    (lambda x: measured(generator=x), "generator", NOT_GENERATORS),
    (lambda x: draw_counts(torch.tensor([0.5, 0.5]).double(), x, seeded()), "n", [*NOT_COUNTS, 0]),
    (lambda x: measured_sequences(logits=x), "logits", [None, "a", 1.0, [1.0], torch.full((2, 3), NAN)]),
    (lambda x: measured_sequences(samples=x), "samples", [*NOT_COUNTS, 0, 1]),
    (lambda x: measured_sequences(block=x), "block", [*NOT_COUNTS, 0]),
    (lambda x: measured_sequences(generator=x), "generator", NOT_GENERATORS),
    (lambda x: measured_sequences(weigh=lambda r: r[:, :1]), "weigh", [None]),
    (mean_and_error, "estimates", NOT_SAMPLES),
    (lambda x: estimates(world=x), "world", [None, "a", 1, Bandit([0.0, 1.0]), mdp(), prefix()]),
    (lambda x: estimates(policy=x), "policy", NOT_PREFIX_POLICIES),
    (lambda x: estimates(weights=x), "weights", NOT_WEIGHTS),
    # advantages
    (lambda x: group_advantages(x, "none"), "rewards", NOT_GROUPS),
    (lambda x: group_advantages(x, "grpo"), "rewards", NOT_GROUPS),
    (lambda x: group_advantages(torch.zeros(2, 4), x), "kind", [*NOT_KINDS, "ppo"]),
    (spread_is_zero, "rewards", [*NOT_TENSORS, torch.zeros(0), torch.zeros(2, 0)]),
    # objectives
    (clip_range, "clip", NOT_CLIPS),
    (lambda x: loss(clip=x, kind="reinforce"), "clip", NOT_CLIPS),
    (lambda x: loss(logp=x), "logp", [*NOT_TABLES, *NOT_FINITE]),
    (lambda x: loss(logp_old=x), "logp_old", [*NOT_BATCHES, *NOT_FINITE]),
    (lambda x: loss(advantages=x), "advantages", NOT_ADVANTAGES),
    (lambda x: loss(mask=x), "mask", NOT_MASKS),
    (lambda x: loss(kind=x), "kind", NOT_KINDS),
    (lambda x: loss(aggregate=x), "aggregate", [*NOT_KINDS, "mean"]),
    (lambda x: loss(normaliser=x), "normaliser", [*NOT_NUMBERS[1:], -1.0]),
    (lambda x: loss(length=x, aggregate="dr_grpo"), "length", [*NOT_COUNTS[1:], 0]),
    (lambda x: total(per_token=x), "per_token", NOT_TABLES),
    (lambda x: total(mask=x), "mask", NOT_MASKS),
    (lambda x: total(how=x), "how", [*NOT_KINDS, "mean"]),
    (lambda x: total(normaliser=x), "normaliser", [*NOT_NUMBERS[1:], -1.0]),
    (lambda x: denominator(x, "token"), "mask", NOT_LONE_MASKS),
    (lambda x: denominator(LIVE, x), "how", [*NOT_KINDS, "mean"]),
    (lambda x: denominator(LIVE, "dr_grpo", x), "length", [*NOT_COUNTS[1:], 0]),
    (lambda x: kl(logp=x), "logp", [*NOT_TENSORS, torch.zeros(0), torch.full((2, 3), NAN)]),
    (lambda x: kl_estimate(torch.zeros(2), x, "k1"), "logp_ref", [torch.zeros(3), torch.zeros(1, 2)]),
    (lambda x: kl(logp_ref=x), "logp_ref", [*NOT_BATCHES, torch.full((2, 3), NAN)]),
    (lambda x: kl(kind=x), "kind", NOT_KINDS),
]


def first_word(call, value):
    try:
        call(value)
    except ValueError as error:
        return re.match(r"\w*", str(error))[0]
    return "no complaint"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("call", "name", "values"), SWEEP, ids=[f"{i}-{name}" for i, (_, name, _) in enumerate(SWEEP)])
def test_nonsense_names_the_argument(call, name, values):
    found = [(first_word(call, value), value) for value in values]
    assert [pair for pair in found if pair[0] != name] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", AGGREGATES)
@pytest.mark.parametrize("dead", [NAN, INF, -INF])
def test_what_lies_under_the_mask_reaches_neither_loss_nor_gradient(kind, how, dead):
    mask = torch.tensor([[True, True, False], [True, False, False]])
    values = torch.arange(18, dtype=torch.float64).view(3, 2, 3).sin()
    results = []
    for filler in (0.0, dead):
        logp, old, advantages = torch.where(mask, values, filler).unbind()
        logp.requires_grad_()
        result = policy_loss(logp, old, advantages, mask, kind, aggregate=how)
        results.append((result, *torch.autograd.grad(result, logp)))
    (clean, clean_gradient), (wild, wild_gradient) = results
    assert wild.item() == clean.item()
    assert torch.equal(wild_gradient, clean_gradient)
    assert (wild_gradient[~mask] == 0).all()
    assert clean_gradient.any()


@pytest.mark.parametrize("how", AGGREGATES)
def test_terms_under_the_mask_are_not_added_up_and_live_ones_are_whatever_they_are(how):
    terms, mask = torch.tensor([[1.0, NAN], [2.0, 3.0]]), torch.tensor([[True, False], [True, True]])
    assert aggregate(terms, mask, how).isfinite()
    assert aggregate(terms, ~torch.zeros_like(mask), how).isnan()


def test_a_batch_without_a_live_token_has_loss_zero():
    for how in AGGREGATES:
        assert loss(mask=~LIVE, aggregate=how) == 0


def test_a_normaliser_below_one_is_taken_as_given():
    assert total(per_token=torch.ones(2, 3), normaliser=0.5) == 12


def test_a_token_the_reference_never_chooses_has_an_infinite_kl():
    for kind in ("k1", "k2", "k3"):
        assert kl(logp_ref=torch.full((2, 3), -INF), kind=kind).eq(INF).all()


def test_numpy_and_plain_numbers_are_welcome():
    assert three_actions().sample(numpy.int64(3), seeded()).shape == (3,)
    assert three_actions().log_prob(numpy.array([0, 2], dtype=numpy.uint8)).shape == (2,)
    assert Bandit(numpy.array([1, 2, 3])).expected_return(three_actions(), numpy.float32(0.5)) > 0
    assert clip_range(numpy.float32(0.25)) == (0.25, 0.25)
    assert GaussianPolicy(torch.tensor([0.0]), 1).entropy().shape == ()
    assert reward_to_go(torch.ones(2), numpy.float32(0.5)).tolist() == [1.5, 1]
    assert mean_and_error(numpy.array([1, 3]))[0] == 2
    assert prefix().score(numpy.array([[0, 1]]), numpy.array([[1, 2]]), numpy.int64(1)).shape == (1, 2, 3, 2)
    by_numpy = mdp(transitions=numpy.full((2, 2, 2), 0.5), start=numpy.array([1, 0]))
    assert by_numpy.rewards_of_trajectories.shape == (16, 2)
    assert icy_path(numpy.float32(0.25)).expected_return(state()) > 0
