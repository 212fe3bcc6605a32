"""A chain without end: solved against powers of the chain, long runs, and differences."""

import pytest
import torch
from plain import numbers, seeded

from pgnotes.theory.average import AverageChain, sticky_doors
from pgnotes.theory.continuous import gpomdp
from pgnotes.theory.policies import StatePolicy


def random_chain(seed):
    return AverageChain(numbers(4, 3, 4, seed=seed).softmax(-1), numbers(4, 3, seed=seed + 1)), StatePolicy(
        numbers(4, 3, seed=seed + 2)
    )


@pytest.mark.parametrize("seed", range(3))
def test_visits_and_average_are_where_powers_of_the_chain_lead(seed):
    chain, policy = random_chain(seed)
    moves = torch.zeros(4, 4, dtype=torch.float64)
    for s in range(4):
        for a in range(3):
            moves[s] += policy.probs[s, a] * chain.transitions[s, a]
    late = torch.matrix_power(moves, 2000)[0]
    torch.testing.assert_close(chain.visits(policy), late, rtol=1e-10, atol=1e-12)
    paid = sum(late[s] * policy.probs[s, a] * chain.rewards[s, a] for s in range(4) for a in range(3))
    torch.testing.assert_close(chain.average_reward(policy), paid, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_the_difference_quotient(seed):
    chain, policy = random_chain(seed)
    gradient, h = chain.exact_gradient(policy), 1e-5
    for s in range(4):
        for a in range(3):
            up, down = policy.logits.clone(), policy.logits.clone()
            up[s, a] += h
            down[s, a] -= h
            apart = chain.average_reward(StatePolicy(up)) - chain.average_reward(StatePolicy(down))
            assert gradient[s, a].item() == pytest.approx((apart / (2 * h)).item(), abs=1e-8)


@pytest.mark.parametrize("beta", [0.0, 0.7, 0.95])
def test_the_discounted_one_is_a_sum_over_delays(beta):
    """Σ_k β^k E[s_0 r_k] from the stationary start, delay by delay."""
    chain, policy = random_chain(7)
    probs = policy.probs
    visits, pays = chain.visits(policy), (probs * chain.rewards).sum(1)
    moves = chain.moves(policy)
    found = torch.zeros(4, 3, dtype=torch.float64)
    for s in range(4):
        for a in range(3):
            ahead, weight, value = chain.transitions[s, a], 1.0, chain.rewards[s, a].clone()
            for _ in range(1500):
                weight *= beta
                value += weight * ahead @ pays
                ahead = ahead @ moves
            score = -probs[s].clone()
            score[a] += 1
            found[s] += visits[s] * probs[s, a] * value * score
    torch.testing.assert_close(chain.discounted_gradient(policy, beta), found, rtol=1e-9, atol=1e-11)


def test_it_tends_to_the_gradient():
    chain, policy = random_chain(3)
    exact = chain.exact_gradient(policy)
    errors = [(chain.discounted_gradient(policy, 1 - gap) - exact).norm().item() for gap in (1e-2, 1e-3, 1e-4)]
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("beta", [0.0, 0.8])
def test_a_long_run_s_trace_says_so_too(beta):
    """Forty runs of a thousand steps, traces cut at their ends: within 4 standard errors and the cut."""
    chain, policy = random_chain(5)
    estimates, steps = [], 1000
    for seed in range(40):
        states, actions, rewards = chain.rollout(policy, steps, seeded(seed))
        scores = torch.zeros(steps, 4, 3, dtype=torch.float64)
        scores[torch.arange(steps), states] -= policy.probs[states]
        scores[torch.arange(steps), states, actions] += 1
        estimates.append(gpomdp(scores.flatten(1), rewards, beta) / steps)
    drawn = torch.stack(estimates)
    wanted = chain.discounted_gradient(policy, beta).flatten()
    assert ((drawn.mean(0) - wanted).abs() < 4 * drawn.std(0) / 40**0.5 + 2e-3).all()


def test_a_run_visits_and_moves_as_it_should():
    chain, policy = random_chain(9)
    states, actions, rewards = chain.rollout(policy, 40_000, seeded())
    torch.testing.assert_close(rewards, chain.rewards[states, actions])
    shares = torch.bincount(states, minlength=4) / 40_000
    torch.testing.assert_close(shares.double(), chain.visits(policy), rtol=0, atol=0.02)
    here = (states[:-1] == 1) & (actions[:-1] == 2)
    onward = torch.bincount(states[1:][here], minlength=4).double()
    torch.testing.assert_close(onward / onward.sum(), chain.transitions[1, 2], rtol=0, atol=0.05)


def test_the_sticky_doors():
    chain, even = sticky_doors(0.02, 0.2), StatePolicy(torch.zeros(2, 2))
    assert torch.linalg.eigvals(chain.moves(even)).real.sort().values.tolist() == pytest.approx([0.98, 1.0])
    assert chain.average_reward(even).item() == pytest.approx(0.4)  # half of the time paid, half of it pushing


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("transitions", lambda: AverageChain(torch.ones(2, 1, 2), torch.zeros(2, 1))),
        ("transitions", lambda: AverageChain(torch.ones(2, 1, 1), torch.zeros(2, 1))),
        ("rewards", lambda: AverageChain(torch.ones(1, 1, 1), torch.zeros(2, 1))),
        ("policy", lambda: sticky_doors().visits(StatePolicy(torch.zeros(2, 3)))),
        ("beta", lambda: sticky_doors().discounted_gradient(StatePolicy(torch.zeros(2, 2)), 1.0)),
        ("beta", lambda: sticky_doors().discounted_gradient(StatePolicy(torch.zeros(2, 2)), -0.1)),
        ("steps", lambda: sticky_doors().rollout(StatePolicy(torch.zeros(2, 2)), 0, seeded())),
        ("opens", lambda: sticky_doors(1.5)),
    ],
)
def test_bad_arguments_are_named(name, call):
    with pytest.raises(ValueError, match=f"^{name} "):
        call()
