"""Numbers of lesson 14's sections 6 to 8 found again, by other ways than the lesson's."""

import itertools
import math
from functools import cache

import pytest
import torch
from plain import average, softmax

from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.worlds import sum_world

# 6: squashed


def squashed_entropy(std, mean=0.0):
    """Gaussian's plus E[log(1 - a²)], as 2 log 2 - 2 log(e^u + e^-u)."""
    step = min(0.01, 0.2 / std)
    expected = average(
        lambda z: math.log(4) - 2 * (abs(mean + std * z) + math.log1p(math.exp(-2 * abs(mean + std * z)))), step
    )
    return 0.5 * math.log(2 * math.pi * math.e) + math.log(std) + expected


def test_entropies_under_tanh():
    found = {std: squashed_entropy(std) for std in (0.5, 0.7, 0.87, 0.8745, 0.88, 1.0, 2.0, 3.0, 0.090, 2.92)}
    wanted = {0.5: 0.5, 0.7: 0.6505, 0.8745: 0.6836, 1.0: 0.6698, 2.0: -0.0012, 3.0: -1.0957}
    for std, nats in wanted.items():
        assert found[std] == pytest.approx(nats, abs=6e-5)
    assert max(found, key=found.get) == 0.8745
    assert found[0.090] == pytest.approx(-1, abs=0.01)
    assert found[2.92] == pytest.approx(-1, abs=0.001)


def test_off_the_middle_the_top_comes_later_and_is_lower():
    found = {std: squashed_entropy(std, 1.5) for std in (0.8745, 1.15, 1.25, 1.35, 1.75)}
    assert max(found, key=found.get) == 1.25
    assert [found[std] for std in (0.8745, 1.25, 1.75)] == pytest.approx([-0.621, -0.514, -0.648], abs=6e-4)


@pytest.mark.parametrize(("std", "share"), [(3.0, 0.62), (2.92, 0.61)])
def test_how_many_lie_at_the_ends(std, share):
    assert math.erfc(math.atanh(0.9) / std / math.sqrt(2)) == pytest.approx(share, abs=0.005)


def test_two_humps_begin_at_the_root_of_a_half():
    """log π(tanh u) = -u²/2σ² + 2 log cosh u + …: at u = 0 it bends by -1/σ² + 2."""
    assert -1 / 0.707**2 + 2 < 0 < -1 / 0.708**2 + 2


def text_list():
    """Symbols up to a stop, at most four, in the sum world: (text, pay)."""
    listed = []
    for length in range(5):
        for body in itertools.product((1, 2, 3), repeat=length):
            text = (*body, 0) if length < 4 else body
            listed.append((text, max(0.0, 1 - abs(sum(text) - 6) / 6) if text[-1] == 0 else 0.0))
    return listed


def entropy(chances):
    return -sum(p * math.log(p) for p in chances if p)


@pytest.mark.parametrize(
    ("alpha", "soft", "bonus", "kl"),
    [(0.05, (0.990, 2.346), (0.990, 2.332), 0.015), (0.2, (0.857, 3.536), (0.853, 3.524), 0.026),
     (0.5, (0.567, 4.459), (0.522, 4.067), 0.280), (1.0, (0.395, 4.715), (0.366, 3.947), 0.449)],
)  # fmt: skip
def test_where_soft_goal_and_bonus_come_to_rest(alpha, soft, bonus, kl):
    texts = text_list()
    assert len(texts) == 121
    weights = [math.exp(pay / alpha) for _, pay in texts]
    chances = [w / sum(weights) for w in weights]
    assert sum(p * pay for p, (_, pay) in zip(chances, texts, strict=True)) == pytest.approx(soft[0], abs=6e-4)
    assert entropy(chances) == pytest.approx(soft[1], abs=6e-4)

    pays = dict(texts)

    @cache
    def value(prefix):
        """(J, entropy) of the rest, where rows are soft in rewards alone."""
        if prefix in pays:
            return pays[prefix], 0.0
        after = [value((*prefix, symbol)) for symbol in range(4)]
        row = softmax([q / alpha for q, _ in after])
        return sum(p * q for p, (q, _) in zip(row, after, strict=True)), entropy(row) + sum(
            p * h for p, (_, h) in zip(row, after, strict=True)
        )

    assert value(()) == pytest.approx(bonus, abs=6e-4)

    def chance(text):
        rows = [softmax([value((*text[:t], s))[0] / alpha for s in range(4)]) for t in range(len(text))]
        return math.prod(row[symbol] for row, symbol in zip(rows, text, strict=True))

    found = sum(p * math.log(p / chance(text)) for p, (text, _) in zip(chances, texts, strict=True))
    assert found == pytest.approx(kl, abs=6e-4)


@pytest.mark.parametrize(("alpha", "cosine"), [(0.05, 0.947), (0.2, 0.448), (0.5, 0.536), (1.0, 0.609)])
def test_the_bonus_points_elsewhere(alpha, cosine):
    """Scores with R - α log π of the text, and with R plus the rows' own slopes."""
    *_, policy = itertools.islice(reinforce(sum_world(), Recipe(normalise=True), seed=0), 11)
    prefixes = [p for length in range(4) for p in itertools.product(range(4), repeat=length)]
    row = {prefix: i for i, prefix in enumerate(prefixes)}
    probs = [softmax(logits) for logits in policy.logits.tolist()]
    soft, bonus = torch.zeros(85, 4).double(), torch.zeros(85, 4).double()
    passed = dict.fromkeys(prefixes, 0.0)
    for text, pay in text_list():
        chance = math.prod(probs[row[text[:t]]][s] for t, s in enumerate(text))
        for t, symbol in enumerate(text):
            passed[text[:t]] += chance
            score = -torch.tensor(probs[row[text[:t]]]).double()
            score[symbol] += 1
            soft[row[text[:t]]] += chance * (pay - alpha * math.log(chance)) * score
            bonus[row[text[:t]]] += chance * pay * score
    for prefix, share in passed.items():
        p = torch.tensor(probs[row[prefix]]).double()
        bonus[row[prefix]] += alpha * share * -p * (p.log() - (p * p.log()).sum())
    found = (soft * bonus).sum() / soft.norm() / bonus.norm()
    assert found.item() == pytest.approx(cosine, abs=6e-4)


def test_the_icy_path():
    """All trajectories, weighed by e^(R/0.3); and both policies carried out."""
    alpha, moves = 0.3, {}
    for s, a in itertools.product(range(3), range(2)):
        left, right = max(s - 1, 0), min(s + 1, 2)
        meant, other = (right, left) if a else (left, right)
        moves[s, a] = {meant: 0.7, other: 0.3}

    @cache
    def soft(t, s):
        """V with four steps, by Bellman."""
        return alpha * math.log(sum(math.exp(q(t, s, a) / alpha) for a in range(2)))

    def q(t, s, a):
        return float(s == 2) + (0.0 if t == 3 else sum(p * soft(t + 1, n) for n, p in moves[s, a].items()))

    @cache
    def mass(t, s, a):
        """Σ over what follows of chance · e^(R/α), every action counted once."""
        pay = math.exp(float(s == 2) / alpha)
        if t == 3:
            return pay
        return pay * sum(p * (mass(t + 1, n, 0) + mass(t + 1, n, 1)) for n, p in moves[s, a].items())

    def plan(t, s, kind):
        weights = [math.exp(q(t, s, a) / alpha) if kind == "soft" else mass(t, s, a) for a in range(2)]
        return [w / sum(weights) for w in weights]

    def gets(kind, t=0, s=0):
        row = plan(t, s, kind)
        earned, nats = float(s == 2), entropy(row)
        if t < 3:
            for a, n in itertools.product(range(2), (0, 1, 2)):
                chance = row[a] * moves[s, a].get(n, 0.0)
                if chance:
                    more = gets(kind, t + 1, n)
                    earned, nats = earned + chance * more[0], nats + chance * more[1]
        return earned, nats

    assert gets("soft") == pytest.approx((0.76, 2.35), abs=0.005)
    assert gets("posterior") == pytest.approx((0.66, 2.59), abs=0.005)
    assert [sum(w * x for w, x in zip((1, alpha), gets(kind), strict=True)) for kind in ("posterior", "soft")] == (
        pytest.approx([1.440, 1.468], abs=6e-4)
    )
    assert plan(1, 1, "soft")[0] == pytest.approx(0.11, abs=0.005)
    assert plan(1, 1, "posterior")[0] == pytest.approx(0.30, abs=0.005)

    total = expected = right = slipped = left = unlucky = 0.0
    for path in itertools.product(range(3), repeat=3):
        states = (0, *path)
        for actions in itertools.product(range(2), repeat=4):
            chance = math.prod(moves[states[t], actions[t]].get(states[t + 1], 0.0) for t in range(3))
            pay = sum(s == 2 for s in states)
            weight = chance * math.exp(pay / alpha)
            total, expected = total + weight, expected + weight * pay
            for t in range(3):
                right += weight * actions[t]
                slipped += weight * actions[t] * (states[t + 1] == max(states[t] - 1, 0))
                left += weight * (1 - actions[t])
                unlucky += weight * (1 - actions[t]) * (states[t + 1] == min(states[t] + 1, 2))
    assert expected / total == pytest.approx(1.92, abs=0.005)
    assert slipped / right == pytest.approx(0.011, abs=5e-4)
    assert unlucky / left == pytest.approx(0.94, abs=0.005)


# 7 and 8


def test_scores_of_clipped_actions():
    def clipped(z):
        return max(-1.0, min(1.0, 0.8 + 0.5 * z))

    j, fine = average(clipped, 1e-3), 1e-3
    assert average(lambda z: clipped(z) * z / 0.5, fine) == pytest.approx(0.655, abs=6e-4)
    assert average(lambda z: (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(-0.461, abs=6e-4)
    assert average(lambda z: clipped(z) * (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(0.194, abs=6e-4)
    assert average(lambda z: (clipped(z) - j) * (clipped(z) - 0.8) / 0.25, fine) == pytest.approx(0.510, abs=6e-4)
    inside = 0.5 * (math.erf(0.4 / math.sqrt(2)) + math.erf(3.6 / math.sqrt(2)))
    assert inside == pytest.approx(0.655, abs=6e-4)  # the gradient: how often the action is not clipped


def test_with_the_mean_beyond_the_bound_one_sign_is_wrong():
    def clipped(z):
        return max(-1.0, min(1.0, 1.5 + 0.5 * z))

    j = average(clipped, 1e-3)
    found = [average(lambda z, b=b: (clipped(z) - b) * (clipped(z) - 1.5) / 0.25, 1e-3) for b in (0.0, j)]
    assert found == pytest.approx([-2.008, 0.068], abs=1e-3)
    assert average(lambda z: clipped(z) * z / 0.5, 1e-3) == pytest.approx(0.159, abs=6e-4)


def trained(alpha, kind, steps=200, std=1.0):
    """SAC's actor by differences of what the program believes, on a grid of its own."""
    z = torch.linspace(-8, 8, 3201, dtype=torch.float64)
    weights = (-z * z / 2).exp()
    weights = weights / weights.sum()

    def slope(u):
        a = u.tanh()
        log_slope = math.log(4) - 2 * (u.abs() + torch.log1p((-2 * u.abs()).exp()))
        return {"right": log_slope, "none": 0 * u, "sign": -log_slope, "twice": torch.log(1 - a.tanh() ** 2)}[kind]

    place = torch.tensor([0.0, math.log(std)], dtype=torch.float64)
    for _ in range(steps):
        leaf = place.clone().requires_grad_()
        u = leaf[0] + leaf[1].exp() * z
        believed = weights @ (-((u.tanh() - 0.2) ** 2)) + alpha * (leaf[1] + weights @ slope(u))
        believed.backward()
        place = place + 0.2 * leaf.grad
        place[1] = place[1].clamp(-5, 2)
    u = place[0] + place[1].exp() * z
    reward = (weights @ (-((u.tanh() - 0.2) ** 2))).item()
    reported = 0.5 * math.log(2 * math.pi * math.e) + place[1].item() + (weights @ slope(u)).item()
    return place[0].item(), place[1].exp().item(), reward, reported


@pytest.mark.parametrize(
    ("alpha", "kind", "wanted"),
    [
        (0.5, "right", (0.19, 0.54, -0.19, 0.51)),
        (0.5, "none", (2.21, 7.39, -0.84, 3.42)),
        (0.5, "twice", (1.07, 2.65, -0.66, 1.75)),
        (0.3, "right", (0.21, 0.43, -0.13, 0.36)),
        (0.3, "none", (0.50, 0.77, -0.28, 1.16)),
        (0.3, "twice", (0.26, 0.50, -0.16, 0.53)),
    ],
)
def test_the_four_programs(alpha, kind, wanted):
    assert trained(alpha, kind) == pytest.approx(wanted, abs=0.006)


def test_without_the_determinant_it_matters_where_one_starts():
    _, std, reward, _ = trained(0.3, "none", std=3.0)
    assert (std, reward) == pytest.approx((7.39, -0.86), abs=0.006)


def test_the_one_with_the_wrong_sign_runs_away():
    assert trained(0.5, "sign", 10)[1] == pytest.approx(math.exp(2))  # at the bound within ten steps
    assert trained(0.5, "sign")[3] > 40


def test_at_the_ends_without_the_determinant():
    mean, std = 2.21, 7.389
    share = 0.5 * sum(math.erfc((math.atanh(0.9) - side * mean) / std / math.sqrt(2)) for side in (1, -1))
    assert share == pytest.approx(0.85, abs=0.005)


def test_small_things():
    assert math.log(1 - math.tanh(1) ** 2) == pytest.approx(-0.87, abs=0.005)  # tanh twice never takes more
    assert math.log(2) == pytest.approx(0.693, abs=5e-4)
    assert math.log(1e-6) == pytest.approx(-13.8155, abs=6e-5)
    assert math.log(4) - 2 * 10 - 2 * math.log1p(math.exp(-20)) == pytest.approx(-18.6137, abs=6e-5)
