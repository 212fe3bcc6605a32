"""Lesson 15's numbers found again, by other ways than the lesson's: lists, loops and NumPy."""

import itertools
import math
import re
from functools import cache
from itertools import islice
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from plain import outcomes, softmax
from test_conversations import searches_by_hand, turns_by_hand

from pgnotes.theory.reinforce import Recipe, reinforce
from pgnotes.theory.target_networks import random_td
from pgnotes.theory.worlds import sum_world

CELLS = {
    cell.id: cell for cell in nbformat.read(next((Path(__file__).parents[2] / "notebooks").glob("15_*.ipynb")), 4).cells
}
TEXT = "\n".join(cell.source for cell in CELLS.values() if cell.cell_type == "markdown")


def printed(name):
    return "".join(output.get("text", "") for output in CELLS[name].outputs)


def line_of(name, start):
    return next(line for line in printed(name).splitlines() if line.startswith(start))


def tilt(chances, paid, kl):
    """The distribution ∝ chances e^{x paid} with this KL, x by bisection; beyond what can be spent, the best alone."""
    chances, paid = np.asarray(chances), np.asarray(paid)
    best = np.where(np.isclose(paid, paid.max(), atol=1e-11), chances, 0.0)
    if kl >= -math.log(best.sum()):
        return best / best.sum()
    low, high = 0.0, 1e5
    for _ in range(100):
        x = (low + high) / 2
        weights = chances * np.exp(x * (paid - paid.max()))
        policy = weights / weights.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            spent = np.nansum(policy * np.log(policy / chances))
        low, high = (x, high) if spent < kl else (low, x)
    return policy


TEXTS = outcomes(4, 4, 0)


def paid(text):
    return max(0.0, 1 - abs(sum(text) - 6) / 6) if text[-1] == 0 else 0.0


RETURNS = [paid(text) for text in TEXTS]
LENGTHS = np.array([len(text) for text in TEXTS], dtype=float)
UNIFORM = [0.25 ** len(text) for text in TEXTS]


def test_the_frontier_of_the_sum_world():
    for kl in (0, 0.5, 1, 2, 4):
        most = tilt(UNIFORM, RETURNS, kl) @ RETURNS if kl else np.dot(UNIFORM, RETURNS)
        assert f"within {kl:g} nats at most {most:.3f}" in printed("frontier")


# pooled prompts


def advantages(kind, passes, size):
    """(of a pass, of a failure) for both prompts, given how many of each passed; 0 where all are alike."""
    flat = [[1.0] * k + [0.0] * (size - k) for k in passes]
    every = flat[0] + flat[1]
    mean, n = sum(every) / len(every), len(every)
    found = []
    for group in flat:
        own = sum(group) / size
        spread = math.sqrt(sum((r - own) ** 2 for r in group) / (size - 1))
        batch = math.sqrt(sum((r - mean) ** 2 for r in every) / (n - 1))
        found.append(
            {
                "own others": [(r - own) * size / (size - 1) for r in (1, 0)],
                "all others": [(r - mean) * n / (n - 1) for r in (1, 0)],
                "batch_mean": [r - mean for r in (1, 0)],
                "grpo": [(r - own) / (spread + 1e-4) if spread else 0.0 for r in (1, 0)],
                "reinforce_pp": [(r - mean) / (batch + 1e-4) if batch else 0.0 for r in (1, 0)],
            }[kind]
        )
    return found


def moments(kind, rates, size, answers=100):
    """Pulls and noise from the scores' means μ and lengths, every pair of counts."""
    pulls, square = [0.0, 0.0], 0.0
    for passes in itertools.product(range(size + 1), repeat=2):
        chance = math.prod(
            math.comb(size, k) * p**k * (1 - p) ** (size - k) for k, p in zip(passes, rates, strict=True)
        )
        for i, (k, p, (a, b)) in enumerate(zip(passes, rates, advantages(kind, passes, size), strict=True)):
            pulls[i] += chance * (k * a / p - (size - k) * b / (1 - p)) / size
            up, down, cross = (1 / p - 1) / answers, (1 / (1 - p) - 1) / answers, -1 / answers
            same = (k * a * a + (size - k) * b * b) * (1 - 1 / answers)
            pairs = k * (k - 1) * a * a * up + (size - k) * (size - k - 1) * b * b * down
            square += chance * (same + pairs + 2 * k * (size - k) * a * b * cross) / size**2
    mean = sum(pull**2 * p * (1 - p) / answers for pull, p in zip(pulls, rates, strict=True))
    return pulls, square - mean


@pytest.mark.parametrize("kind", ["own others", "all others", "batch_mean", "grpo", "reinforce_pp"])
def test_the_pulls_on_two_prompts(kind):
    (hard, easy), _ = moments(kind, (0.1, 0.5), 4)
    told = f"{hard:.3f} and {easy:.3f}: the hard one counts {hard / easy:.3f} times"
    assert told in line_of("c75-code", kind)


def noise_ratio(gap, size):
    rates = 0.3 - gap / 2, 0.3 + gap / 2
    return moments("all others", rates, size)[1] / moments("own others", rates, size)[1]


@pytest.mark.parametrize(("size", "off"), [(4, 6), (8, 3)])
def test_the_noise_around_the_break_even(size, off):
    edge = math.sqrt(0.21 * (2 * size - 1) / (size * (size - 1)))
    crossing = next(gap / 1000 for gap in range(1, 600) if noise_ratio(gap / 1000, size) > 1)
    line = line_of("c75-code", f"G = {size}")
    assert f"noise at gap 0 {noise_ratio(0, size):.2f}, at 0.35 {noise_ratio(0.35, size):.2f};" in line
    assert line.endswith(f"by the formula {edge:.3f}")
    said = float(re.search(r"equal at (\S+),", line)[1])
    assert crossing - 0.001 <= said <= crossing
    assert round(100 * (1 - said / edge)) == off
    assert "to 6 % of the gap in groups of 4, to 3 % in groups of 8" in TEXT
    assert f"{noise_ratio(0.35, size):.2f} times" in TEXT


# conversations


def estimates(listed, rows, weigh, masked=()):
    """Mean and trace of Σ w ∇log π, from (place, row, symbol) of each outcome by hand."""
    mean, square = np.zeros(rows[0].shape), 0.0
    for *said, chance, earned in listed:
        total = np.zeros(rows[0].shape)
        for place, (row, symbol) in enumerate(rows[1](said)):
            if place not in masked:
                score = -rows[0][row].copy()
                score[symbol] += 1
                total[row] += weigh(said, earned)[place] * score
        mean += chance * total
        square += chance * (total**2).sum()
    return mean, square - (mean**2).sum()


def given(listed, key):
    """E[R | key] and the spread, by key."""
    groups = {}
    for *said, chance, earned in listed:
        groups.setdefault(key(said), []).append((chance, earned))
    found = {}
    for name, pairs in groups.items():
        mass = sum(c for c, _ in pairs)
        mean = sum(c * r for c, r in pairs) / mass
        found[name] = mean, math.sqrt(sum(c * (r - mean) ** 2 for c, r in pairs) / mass)
    return found


def told(found, exact):
    mean, trace = found
    bias = np.linalg.norm(mean - exact) / np.linalg.norm(exact)
    cosine = (mean * exact).sum() / np.linalg.norm(mean) / np.linalg.norm(exact)
    return f"relative bias {bias:.2f}  cosine {cosine:.3f}  trace {trace:.3f}"


def turns_told(logits):
    listed = list(turns_by_hand(logits))
    probs = np.array([softmax(row) for row in logits.tolist()])
    rows = probs, lambda said: [(0, said[0]), (said[1], said[2])]
    mean = sum(chance * earned for *_, chance, earned in listed)
    state, choice = given(listed, lambda said: said[1]), given(listed, lambda said: said[0])
    rules = {
        "one advantage": lambda said, r: (r - mean, r - mean),
        "second against": lambda said, r: (r - mean, r - state[said[1]][0]),
        "first by": lambda said, r: (state[said[1]][0] - mean, r - state[said[1]][0]),
        "those who": lambda said, r: (r - choice[said[0]][0],) * 2,
        "second divided": lambda said, r: (
            state[said[1]][0] - mean,
            (r - state[said[1]][0]) / state[said[1]][1],
        ),
    }
    return {name: estimates(listed, rows, rule) for name, rule in rules.items()}


def searches_told(logits):
    listed = list(searches_by_hand(logits))
    probs = np.array([softmax(row) for row in logits.tolist()])
    rows = probs, lambda said: [(0, said[0]), (1 + said[0], said[1]), (1 + said[1], said[2])]
    mean = sum(chance * earned for *_, chance, earned in listed)
    known = given(listed, lambda said: tuple(said[:2]))
    whole = lambda said, r: (r - mean,) * 3  # noqa: E731
    split = lambda said, r: (known[tuple(said[:2])][0] - mean, 0.0, r - known[tuple(said[:2])][0])  # noqa: E731
    return {
        "document left in": estimates(listed, rows, whole),
        "document masked": estimates(listed, rows, whole, {1}),
        "split at": estimates(listed, rows, split),
    }


def test_turns_and_retrieval_as_printed():
    for cell, found, exact in (
        ("c76-code", turns_told(torch.zeros(5, 2)), "one advantage"),
        ("c77-code", searches_told(torch.zeros(4, 3)), "document masked"),
    ):
        for name, pair in found.items():
            line = " ".join(line_of(cell, name).split())
            assert line.endswith(" ".join(told(pair, found[exact][0]).split())), line
    assert "0.59 of the whole is missing" in TEXT
    assert "cosine 0.961" in TEXT
    assert "by 0.21 of the gradient" in TEXT


def test_two_hundred_random_policies():
    noisier, halved, left, ratio = [], [], [], []
    for seed in range(200):
        a = turns_told(torch.randn(5, 2, generator=torch.Generator().manual_seed(seed)))
        one, by_state, split_too = (a[name][1] for name in ("one advantage", "second against", "first by"))
        noisier.append([by_state > one, split_too > by_state, split_too > one])
        halved.append(split_too / one)
        b = searches_told(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))
        exact = b["document masked"][0]
        left.append(np.linalg.norm(b["document left in"][0] - exact) / np.linalg.norm(exact))
        ratio.append(b["split at"][1] / b["document masked"][1])
    told = printed("c76-many").splitlines()
    for p, line in zip(np.mean(noisier, 0), told, strict=False):
        assert f"noisier in {p:.1%} ± {math.sqrt(p * (1 - p) / 200):.1%}" in line
    assert told[3].endswith(f"median {np.median(halved):.2f}")
    assert f"{np.median(halved):.2f} times the noise of one number is left" in TEXT
    assert [sum(flags) for flags in zip(*noisier, strict=True)][1:] == [0, 1]
    assert "in 1 of the 200 it was more" in TEXT
    assert "86.5 % ± 2.4 %" in TEXT
    for values, start in ((left, "relative"), (ratio, "noise")):
        quarters = np.quantile(values, (0.25, 0.5, 0.75))
        assert line_of("c77-many", start).endswith(" ".join(f"{q:.2f}" for q in quarters))
    assert "by {:.2f} to {:.2f} in half".format(*np.quantile(left, (0.25, 0.75))) in TEXT
    assert f"{np.median(ratio):.2f} times the noise in the median" in TEXT


# rewards for steps


@cache
def half(seed=0):
    logits = next(islice(reinforce(sum_world(), Recipe(normalise=True), seed=seed), 20, None)).logits.tolist()
    prefixes = [prefix for length in range(4) for prefix in itertools.product(range(4), repeat=length)]
    return {prefix: softmax(row) for prefix, row in zip(prefixes, logits, strict=True)}


@cache
def value(prefix, seed=0):
    """What half earns from here on."""
    if len(prefix) == 4 or (prefix and prefix[-1] == 0):
        return paid(prefix)
    return sum(chance * value((*prefix, symbol), seed) for symbol, chance in enumerate(half(seed)[prefix]))


def test_step_rewards_as_printed():
    chances = [math.prod(half()[text[:t]][text[t]] for t in range(len(text))) for text in TEXTS]
    steps = [[value(text[: t + 1]) for t in range(len(text))] for text in TEXTS]
    ways = {
        "the outcome": RETURNS,
        "differences": [r - value(()) for r in RETURNS],
        "sum of V": [sum(values) for values in steps],
        "mean of V": [sum(values) / len(values) for values in steps],
        "smallest V": [min(values) for values in steps],
    }
    for name, score in ways.items():
        one, end = tilt(chances, score, 1.0), tilt(chances, score, 1e9)
        line = line_of("c78-code", name)
        assert f"J at KL 1: {one @ RETURNS:.3f}, {one @ LENGTHS:.2f} symbols" in line
        assert f"at the end {end @ RETURNS:.3f}, {end @ LENGTHS:.2f}," in line
    smallest = tilt(chances, ways["smallest V"], 1e9)
    assert smallest @ RETURNS == pytest.approx(0.869, abs=5e-4)
    assert {TEXTS[i] for i in np.flatnonzero(smallest > 1e-9)} >= {(3, 2, 0)}


def test_a_hundred_references():
    """From how many the best text by its steps is a wrong one: of those liked best, any below 1."""
    wrong = {"sum of V": 0, "mean of V": 0, "smallest V": 0}
    for seed in range(100):
        steps = [[value(text[: t + 1], seed) for t in range(len(text))] for text in TEXTS]
        for name, way in (("sum of V", sum), ("mean of V", np.mean), ("smallest V", min)):
            scores = np.array([way(values) for values in steps])
            liked = np.flatnonzero(scores > scores.max() - 1e-9)
            wrong[name] += any(RETURNS[i] < 1 for i in liked)
    for name, n in wrong.items():
        p = n / 100
        assert f"from {p:.0%} ± {math.sqrt(p * (1 - p) / 100):.0%} of the" in line_of("c78-many", name)
        assert f"{n} % ± {100 * math.sqrt(p * (1 - p) / 100):.0f} %" in TEXT
    for name in ("the outcome", "differences of V"):
        assert "from 0% ± 0%" in line_of("c78-many", name)


# tricks, and what the table quotes


def test_target_networks_as_printed():
    blocks = printed("tricks-code").split("features: ")[1:]
    for block, (features, on_policy) in zip(blocks, ((3, False), (3, True), (5, False)), strict=True):
        td = random_td(4000, 6, features, 0.99, 0, on_policy)
        own, ahead = td.own.numpy(), td.bootstrapped.numpy()
        alpha = 0.1 / np.linalg.eigvalsh(own).max(-1)[:, None, None]
        eye = np.eye(features)

        def away(matrix):
            return np.abs(np.linalg.eigvals(matrix)).max(-1) > 1

        plain = away(eye + alpha * (ahead - own))
        assert block.startswith(f"plain TD runs away in {plain.sum()} of 4000")
        for every, name in ((100, "every 100"), (1000, "every 1000"), (None, "when done")):
            if every is None:
                copied = away(np.linalg.solve(own, ahead))
            else:
                moved = np.broadcast_to(eye, own.shape)
                for _ in range(every):  # w after a step, as a multiple of the copy: M <- (1 - αC) M + αE
                    moved = moved - alpha * (own @ moved) + alpha * ahead
                copied = away(moved)
            line = next(line for line in block.splitlines() if name in line and "copied" in line)
            assert line.endswith(f"rescued {(plain & ~copied).sum()}, broken {(~plain & copied).sum()}")
    assert "474 of 4,000" in TEXT
    assert "runs away in 474 of 4000" in line_of("tricks-code", "off-policy, 3")
    assert "79 of 1,255 and 32, then 129 and 138" in TEXT
    assert "rescued 79, broken 32" in blocks[2]
    assert "rescued 129, broken 138" in blocks[2]
    assert "runs away in 1255" in line_of("tricks-code", "off-policy, 5")
    assert "rescued 12 and broke 56, with endless waiting 12 and 107" in TEXT


def test_first_derivatives_as_printed():
    """Nets of NumPy's own numbers: the same sizes, within what ten nets scatter."""
    rng = np.random.default_rng(0)
    for kind, squash in itertools.product(("orthogonal", "normal"), (False, True)):
        ends = []
        for _ in range(10):
            x, slope, back = rng.normal(size=64), np.eye(64), np.eye(64)
            for _ in range(20):
                w = rng.normal(size=(64, 64)) / 8
                w = np.linalg.qr(w)[0] if kind == "orthogonal" else w
                x = w @ x
                if squash:
                    x = np.tanh(x)
                    w = (1 - x**2)[:, None] * w
                slope, back = w @ slope, back @ np.linalg.inv(w)
            ends.append((1 / np.linalg.svd(back, compute_uv=False)[0], np.linalg.svd(slope, compute_uv=False)[0]))
        low, high = np.median(ends, 0)
        line = line_of("starts-code", f"{kind:10} {'tanh' if squash else 'linear'}")
        said = [float(x) for x in re.findall(r"values (\S+) to (\S+)", line)[0]]
        assert said[1] == pytest.approx(high, rel=0.5)
        assert abs(math.log10(said[0]) - math.log10(low)) < (4 if kind == "normal" else 0.3)


def test_clipping_and_the_quoted_optima():
    assert "at most  1: the sure 3 pays 1, the 10 in 40 % 0.4" in printed("starts-code")
    assert "at most 10: the sure 3 pays 3, the 10 in 40 % 4 " in printed("starts-code")
    for alpha in (0.2, 0.1, 0.05):
        weights = np.exp((np.array(RETURNS) - 1) / alpha)
        earned = weights @ RETURNS / weights.sum()
        assert f"α = {alpha}: J {earned:.3f}" in printed("c83-more")
        assert f"{earned:.3f}" in CELLS["c83-table"].source
    for said in ("0.196", "0.534", "0.395", "0.118"):  # lesson 13's own
        assert said in printed("c83-more")
