"""What lesson 02's widgets show is what the formulas say, computed here in another way."""

import itertools
import math

import pytest
import torch
from matplotlib.figure import Figure

from pgnotes.classroom.widgets import gradient_estimate, score_arrows, slipping, staircase

CORNERS = [(0.0, 0.0), (1.0, 0.0), (0.5, math.sqrt(3) / 2)]


def softmax(logits):
    sizes = [math.exp(x) for x in logits]
    return [size / sum(sizes) for size in sizes]


def place(probs):
    return [sum(p * corner[axis] for p, corner in zip(probs, CORNERS, strict=True)) for axis in (0, 1)]


def weights(point):
    """The probabilities of a point of the plane; one is below 0 outside the triangle."""
    c = point[1] / CORNERS[2][1]
    b = point[0] - c / 2
    return 1 - b - c, b, c


ARROWS = [*itertools.product((-3.0, 0.8, 3.0), (-1.0, 0.2, 3.0), (-1.0, 0.5), (-1.0, 1.0), (0.0, 1.5, 2.0))]


@pytest.mark.parametrize("settings", ARROWS)
def test_each_path_ends_where_a_softmax_step_ends_and_never_leaves_the_triangle(settings):
    logit_a, logit_b, reward_a, reward_b, extra = settings
    logits, rewards = [logit_a, logit_b, 0.0], [reward_a + extra, reward_b + extra, extra]
    n = score_arrows.numbers(*settings)
    for action, path in enumerate(n["paths"]):
        probs = softmax(logits)
        push = [rewards[action] * ((k == action) - probs[k]) for k in range(3)]
        after = softmax([x + score_arrows.STEP * p for x, p in zip(logits, push, strict=True)])
        assert path[0] == pytest.approx(n["at"])
        assert path[-1] == pytest.approx(place(after))
        assert all(min(weights(point)) > 0 for point in path)
        # a reward above 0 makes its own action likelier, one below 0 rarer
        assert math.copysign(1, after[action] - probs[action]) * rewards[action] >= 0


@pytest.mark.parametrize("settings", ARROWS)
def test_the_straight_arrows_add_up_to_how_the_gradient_moves_the_policy(settings):
    logit_a, logit_b, reward_a, reward_b, extra = settings
    logits = torch.tensor([logit_a, logit_b, 0.0], dtype=float, requires_grad=True)
    rewards = torch.tensor([reward_a, reward_b, 0.0], dtype=float) + extra
    (gradient,) = torch.autograd.grad(logits.softmax(0) @ rewards, logits)
    turn = torch.autograd.functional.jacobian(lambda x: x.softmax(0), logits.detach())
    moved = score_arrows.STEP * turn @ gradient

    n = score_arrows.numbers(*settings)
    summed = [sum(part[axis] for part in n["parts"]) for axis in (0, 1)]
    assert summed == pytest.approx(n["whole"], abs=1e-12)
    assert n["whole"] == pytest.approx(place(moved.tolist()), abs=1e-12)
    assert n["readings"][1] == pytest.approx(gradient.norm().item())

    # along a path's first bit, the step is the straight arrow before it is weighted
    probs = softmax([logit_a, logit_b, 0.0])
    for path, part, prob in zip(n["paths"], n["parts"], probs, strict=True):
        bit = [(path[1][axis] - path[0][axis]) / score_arrows.ALONG[1].item() for axis in (0, 1)]
        assert bit == pytest.approx([x / prob for x in part], abs=0.08)


def test_the_faint_lines_join_policies_of_equal_j():
    for reward_a, reward_b, extra in itertools.product((-1.0, 0.0, 0.5, 1.0), (-0.3, 0.0, 0.5, 1.0), (0.0, 1.5)):
        rewards = [reward_a + extra, reward_b + extra, extra]
        lines = score_arrows.level_lines(torch.tensor(rewards, dtype=float))
        assert len(lines) == (0 if reward_a == reward_b == 0 else score_arrows.LEVELS)
        for i, line in enumerate(lines, 1):
            worth = [sum(p * r for p, r in zip(weights(end), rewards, strict=True)) for end in line]
            evenly = min(rewards) + (max(rewards) - min(rewards)) * i / 6
            assert worth == pytest.approx([evenly, evenly])
            assert line[0] != pytest.approx(line[1]), "a line, not a point"
            assert all(min(weights(end)) > -1e-12 for end in line), "from edge to edge"
            assert all(min(map(abs, weights(end))) < 1e-12 for end in line)


def test_the_staircase_stands_still_between_jumps_and_the_slope_of_j_is_the_exact_one():
    generator = torch.Generator().manual_seed(4)
    uniforms = torch.rand(30, dtype=torch.float64, generator=generator).tolist()
    for logit in (-2.0, 0.0, 0.37, 4.0):
        a, b, c = softmax([*staircase.OTHERS, logit])
        drawn = ["A" if u < a else "B" if u < a + b else "C" for u in uniforms]
        paid = [{"A": 0.0, "B": 0.5, "C": 1.0}[action] for action in drawn]
        scores = [(action == "C") - c for action in drawn]
        estimate = sum(r * s for r, s in zip(paid, scores, strict=True)) / 30
        exact = 0.5 * b + c

        def j(x):
            _, b, c = softmax([*staircase.OTHERS, x])
            return 0.5 * b + c

        slope = (j(logit + 1e-5) - j(logit - 1e-5)) / 2e-5
        n = staircase.numbers(logit, 30, 4)
        assert n["here"] == pytest.approx((exact, slope, sum(paid) / 30, estimate), abs=1e-9)
        assert n["flat"] == 0.0
        assert n["borders"] == pytest.approx([a, a + b])
        assert n["uniforms"] == pytest.approx(uniforms)

    steps = n["curves"][2]
    assert steps == sorted(steps), "C pays most: the more of it, the better"
    assert 5 < len(set(steps)) <= 61, "each sample jumps twice at most"


def drawn_at(settings):
    """The strip of the staircase at each of some settings: where its borders, names and ticks stand."""
    fig = Figure(figsize=(7, 3.7))
    _, update = staircase.draw(fig)
    below, seen = fig.axes[2], []
    for logit, n in settings:
        update(staircase.numbers(logit, n, 0))
        ticks, *borders = below.lines
        names = [text.get_position()[0] for text in below.texts[:3] if text.get_visible()]
        seen.append((list(ticks.get_xdata()), [line.get_xdata()[0] for line in borders], names))
    return seen


def test_in_the_strip_the_borders_move_and_the_ticks_stand():
    (ticks, borders, names), (same, others, fewer) = drawn_at([(1.0, 30), (-2.0, 30)])
    assert ticks[:2] == ticks[1:2] * 2
    assert len(ticks) == 3 * 30
    assert ticks == same
    assert all(low < high for low, high in zip(borders, others, strict=True)), "less room for C"
    assert names == pytest.approx([borders[0] / 2, sum(borders) / 2, (borders[1] + 1) / 2])
    assert len(fewer) == 2, "no name where there is no room for it"


def test_what_the_ice_s_readout_names_is_what_it_shows():
    fig = Figure(figsize=(7, 3))
    _, update = slipping.draw(fig)
    n = slipping.numbers(0.1, 500, 0)
    update(n)
    shown = [text.get_text() for text in fig.texts]
    assert "from walks, ± 2 SE" in shown
    assert shown[-1].endswith(f"± {2 * n['error'][1]:.3f}")


def test_resampling_changes_the_stairs_and_no_slider_does():
    one, same, other = (staircase.numbers(x, 30, seed) for x, seed in ((0.0, 0), (1.0, 0), (0.0, 1)))
    assert one["curves"] == same["curves"]
    assert one["curves"][:2] == other["curves"][:2]
    assert one["curves"][2] != other["curves"][2]


@pytest.mark.parametrize("probs", [probs for _, probs in gradient_estimate.POLICIES])
def test_how_far_an_estimate_is_typically_off_is_what_many_estimates_show(probs):
    pi, rewards = torch.tensor(probs, dtype=float), gradient_estimate.REWARDS
    pi = pi / pi.sum()
    exact = pi * (rewards - pi @ rewards)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(pi, 16 * 20_000, replacement=True, generator=generator)
    estimates = (rewards[drawn, None] * (torch.eye(3, dtype=float)[drawn] - pi)).view(20_000, 16, 3).mean(1)
    measured = (estimates - exact).square().sum(1).mean().sqrt() / exact.norm()
    n = gradient_estimate.numbers(probs, 4, 0)
    assert n["typical"] == pytest.approx(measured.item(), rel=0.05)
    assert sum(n["drawn"]) == n["n"] == 16


@pytest.mark.parametrize("slip", [0.0, 0.1, 0.5, 0.9])
def test_the_ice_s_gradient_is_the_one_of_all_its_walks_and_the_walks_come_near(slip):
    """Exact by forward sums over the places and a difference quotient, without the package's world."""
    logits = [[0.0, 0.5], [0.2, 0.0], [0.3, -0.3]]

    def expected(theta):
        at, total = [1.0, 0.0, 0.0], 0.0
        for _ in range(4):
            total += at[2]
            after = [0.0] * 3
            for place_now, chance in enumerate(at):
                _, right = softmax(theta[place_now])
                goes_right = right * (1 - slip) + (1 - right) * slip
                after[min(place_now + 1, 2)] += chance * goes_right
                after[max(place_now - 1, 0)] += chance * (1 - goes_right)
            at = after
        return total

    slopes = []
    for changed in range(3):
        high, low = ([[a, b + (i == changed) * h] for i, (a, b) in enumerate(logits)] for h in (1e-5, -1e-5))
        slopes.append((expected(high) - expected(low)) / 2e-5)

    n = slipping.numbers(slip, 5000, 0)
    assert n["exact"] == pytest.approx(slopes, abs=1e-8)
    for exact, mean, error in zip(slopes, n["mean"], n["error"], strict=True):
        assert abs(mean - exact) < 4 * error
        assert 0 < error < 0.02
    assert slipping.curve()[round(slip * 25)] == pytest.approx(slopes[1], abs=0.03)


def test_what_the_lesson_says_of_its_pictures():
    """Of arrows and estimates at the settings that its sentences name."""

    def noise(**changes):
        start = {control.name: control.value for control in score_arrows.CONTROLS}
        return score_arrows.numbers(**start | changes)["readings"][2].item()

    assert (noise(), noise(extra=1.5)) == pytest.approx((0.49, 1.62), abs=0.005)
    assert noise(reward_a=-1.0, reward_b=-0.5, extra=0.5) < noise(reward_a=-1.0, reward_b=-0.5) / 2

    paths = score_arrows.numbers(3.0, 0.2, 0.5, 1.0, 0.0)["paths"]
    likely, rare = (math.dist(path[0], path[-1]) for path in paths[:2])
    assert 38 < rare / likely < 44, "forty times as long"

    # beside the corner, both of the weighted arrows are short, and of nearly one length
    parts = [math.hypot(*part) for part in score_arrows.numbers(3.0, 0.2, 0.5, 1.0, 0.0)["parts"][:2]]
    assert parts == pytest.approx([0.0058, 0.0068], abs=5e-5)

    # a logit rises by less than the average, and its probability falls
    probs, pays = softmax([1.5, -1.0, 0.0]), (0.9, 1.0, 0.0)
    worth = sum(p * r for p, r in zip(probs, pays, strict=True))
    push = [p * (r - worth) for p, r in zip(probs, pays, strict=True)]
    average = sum(p * x for p, x in zip(probs, push, strict=True))
    assert 0 < push[1] < average == pytest.approx(0.0656, abs=5e-5)
    moved = softmax([x + 1e-4 * d for x, d in zip((1.5, -1.0, 0.0), push, strict=True)])
    assert moved[1] < probs[1]

    # 16 samples: in lengths of its gradient the sure policy is worse, in plain numbers better
    lengths, errors = [], []
    for probs in ([1 / 3] * 3, [0.98, 0.015, 0.005]):
        pi, rewards = torch.tensor(probs, dtype=float), gradient_estimate.REWARDS
        lengths.append((pi * (rewards - pi @ rewards)).norm().item())
        errors.append(gradient_estimate.numbers(tuple(probs), 4, 0)["typical"] * lengths[-1])
    assert lengths == pytest.approx([0.236, 0.0151], rel=0.01)
    assert errors == pytest.approx([0.118, 0.0324], rel=0.01)
    assert gradient_estimate.numbers((1.0, 1.0, 1.0), 0, 0)["typical"] == pytest.approx(2.0)
    assert gradient_estimate.numbers((0.98, 0.015, 0.005), 0, 0)["typical"] == pytest.approx(8.58, abs=0.01)
