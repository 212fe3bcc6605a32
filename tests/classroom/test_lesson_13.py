"""Lesson 13's widgets, its record and the figures of its text, found again by code of their own."""

import itertools
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.nn.functional import logsigmoid

from pgnotes.classroom.rlhf_pictures import recorded_dpo
from pgnotes.classroom.widgets import displacement, goodhart

TEXT = "\n".join(
    cell.source
    for cell in nbformat.read(next((Path(__file__).parents[2] / "notebooks").glob("13_*.ipynb")), 4).cells
    if cell.cell_type == "markdown"
)


def glass():
    """(pours, stops, chance, return) of each of the 121 sequences."""
    exps = [math.exp(x) for x in (0.2, 0.7, 0.3, -0.8)]
    row = [e / sum(exps) for e in exps]
    listed = []
    for length in range(5):
        for pours in itertools.product((1, 2, 3), repeat=length):
            chance = math.prod(row[i] for i in pours) * (row[0] if length < 4 else 1.0)
            total = sum(pours)
            listed.append((pours, length < 4, chance, total / 6 if length < 4 and total <= 6 else 0.0))
    return listed


GLASS = glass()
CHANCES = torch.tensor([chance for _, _, chance, _ in GLASS], dtype=torch.float64)
PAID = torch.tensor([paid for *_, paid in GLASS], dtype=torch.float64)
SUMS = torch.tensor([float(sum(pours)) for pours, *_ in GLASS], dtype=torch.float64)
STOPS = torch.tensor([float(stops) for _, stops, *_ in GLASS], dtype=torch.float64)


def fitted(features, noise, steps=4000):
    """A linear reward by plain gradient descent with momentum on all comparisons, features scaled first."""
    scale = (CHANCES @ features.square()).sqrt()
    x = features / scale
    weights = CHANCES[:, None] * CHANCES * torch.sigmoid((PAID[:, None] - PAID) / noise)
    w, speed = torch.zeros(x.shape[1], dtype=torch.float64), 0.0
    for _ in range(steps):
        s = x @ w
        push = weights * torch.sigmoid(s - s[:, None])
        slope = x.T @ (push.sum(1) - push.sum(0))
        speed = 0.95 * speed + slope
        w = w + 0.5 * speed
    return x @ w


def at_kl(scores, kl):
    """The tilt with this KL, by bisection on 1/β."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        policy = torch.softmax(CHANCES.log() + middle * scores, 0)
        low, high = (middle, high) if torch.xlogy(policy, policy / CHANCES).sum() < kl else (low, middle)
    return policy


@pytest.fixture(scope="module")
def scores():
    return {
        "sum": fitted(torch.stack([SUMS, STOPS], 1), 0.1),
        "square": fitted(torch.stack([SUMS, STOPS, SUMS**2], 1), 0.1, 20_000),
    }


@pytest.mark.parametrize(("sight", "kl"), [("sum", 0.5), ("sum", 1.4), ("sum", 5.0), ("square", 1.0)])
def test_goodhart_shows_what_a_fit_of_one_s_own_pays(scores, sight, kl):
    n = goodhart.numbers(sight, 0.1, kl, True)
    policy = at_kl(scores[sight], kl)
    assert n["now"][0] == pytest.approx(kl, abs=1e-6)
    assert n["now"][1] == pytest.approx((policy @ PAID).item(), abs=2e-4)
    for amount in range(13):
        assert n["poured"][amount] == pytest.approx(policy[amount == SUMS].sum().item(), abs=2e-4)


def test_the_two_ends_are_exactly_one_and_zero():
    ends = {sight: goodhart.numbers(sight, 0.1, 9.0, False) for sight in goodhart.SIGHTS}
    found = [ends[sight]["now"][1] for sight in ("sum", "length", "square", "blind")]
    assert found == pytest.approx([0.0, 0.0, 1.0, 0.0], rel=0, abs=1e-15)  # to the last bit of a sum of chances
    assert all(end["ended"] for end in ends.values())
    assert round(ends["square"]["agreement"], 3) == round(ends["blind"]["agreement"], 3) == 0.774
    once = CHANCES[[pours == (3, 3, 3) and stops for pours, stops, *_ in GLASS].index(True)]
    assert f"once in {round(1 / once.item(), -2):,.0f} answers" in TEXT


@pytest.mark.parametrize("kl", [0.0, 1.4, 3.85, 3.9, 8.65, 8.7])
def test_goodhart_shows_no_more_of_a_curve_than_was_walked(kl):
    for sight, summit in (("sum", 9), ("square", 6)):
        last = -math.log(CHANCES[(summit == SUMS) & (STOPS == 1)].sum())
        n = goodhart.numbers(sight, 0.1, kl, False)
        spent, truth, said = n["along"]
        assert (spent[-1], truth[-1], said[-1]) == n["now"]
        assert all(b > a - 1e-9 for line in (spent, said) for a, b in itertools.pairwise(line))
        assert max(spent) <= min(kl, last) + 1e-4
        assert n["ended"] == (kl >= last)


def test_the_dots_are_the_best_of_n():
    """Against drawing: n answers, a million times."""
    n = goodhart.numbers("sum", 0.1, 0.0, True)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(CHANCES, 4 * 200_000, replacement=True, generator=generator).view(-1, 4)
    key = 0.56 * SUMS + 4.215 * STOPS  # the fit's weights, from the lesson's own run
    best = drawn.gather(1, key[drawn].argmax(1, keepdim=True))[:, 0]
    assert n["best"][1][1] == pytest.approx(PAID[best].mean().item(), abs=0.004)


@pytest.mark.parametrize(("alike", "steps"), [(0.0, 100), (1.6, 8), (1.6, 100), (2.0, 40)])
def test_displacement_is_what_plain_steps_give(alike, steps):
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.2], [alike, 0.3]], dtype=torch.float64)
    w = torch.tensor([0.6, 0.0], dtype=torch.float64)
    apart, start = features[0] - features[2], w.clone()
    for _ in range(steps):
        margin = 0.1 * (apart @ (w - start))
        w = w + 0.1 * torch.sigmoid(-margin) * apart
    n = displacement.numbers(alike, steps)
    assert n["now"] == pytest.approx((features @ w).softmax(0).tolist(), abs=1e-10)
    assert n["margin"] == pytest.approx((0.1 * (apart @ (w - start))).item(), abs=1e-10)
    assert n["loss"] == pytest.approx(-logsigmoid(0.1 * (apart @ (w - start))).item(), abs=1e-10)


def test_the_record_says_what_the_lesson_says():
    record = recorded_dpo()
    assert len(record["runs"]) == 6
    assert {run["seed"] for run in record["runs"]} == {0, 1, 2}
    assert f"{record['pass_rate_before']:.1%}" == "9.4%"
    rates = [run["pass_rate"] for run in record["runs"]]
    assert max(rates) < record["pass_rate_before"]
    assert (
        f"between {min(rates):.1%} and {max(rates):.1%}".replace("%", "", 1).replace("%", " %").replace("  ", " ")
        in TEXT
    )

    right, fallen = [], []
    for run in record["runs"]:
        last = run["changes"]["40"]
        right.append(sum(w > lost for w, lost in last) / len(last))
        fallen.append(sum(w < 0 for w, _ in last) / len(last))
    assert f"right in {min(right):.0%} to {max(right):.0%}".replace("%", "", 1).replace("%", " %") in TEXT
    assert f"rarer in {min(fallen):.0%} to {max(fallen):.0%}".replace("%", "", 1).replace("%", " %") in TEXT


def test_what_the_text_says_of_the_pushes_on_a_chosen_completion():
    raised = []
    for run in recorded_dpo()["runs"]:
        before, later = (torch.tensor(run["pushes"][step]).mean(0) for step in ("0", "10"))
        assert abs(before[1]) < 0.03 * before[0]  # a pair's scores have next to nothing in common
        assert later[1] < before[1]  # and more after ten steps
        assert min(later[2], -later[3]) > later[:2].sum()  # by then the other pairs push harder
        if run["lr"] == 3e-5:
            assert -later[3] > later[2]
        else:
            assert torch.tensor(run["changes"]["10"]).mean(0)[0] < 0
        raised += [(torch.tensor(found)[:, :2].sum(1) > 0).double().mean() for found in run["pushes"].values()]
    assert f"in {100 * min(raised):.0f} to {100 * max(raised):.0f} % of pairs" in TEXT


def test_the_record_is_of_the_bundled_model_and_small():
    import hashlib
    from importlib.resources import files

    weights = files("pgnotes.lm.pocket").joinpath("model.safetensors").read_bytes()
    assert recorded_dpo()["model"] == hashlib.sha256(weights).hexdigest()
    assert len(files("pgnotes.classroom").joinpath("pocket_dpo.json.gz").read_bytes()) < 100_000


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_kto_rests_where_the_pushes_balance(beta):
    """A rest point in closed form: π_i ∝ (2P_i - 1) σ(1 - σ) among the liked; found by repeated substitution."""
    liked = [0.84, 0.58]
    share = [0.5, 0.5]
    for _ in range(2000):
        kl = sum(p * math.log(4 * p) for p in share)
        push = []
        for p, rate in zip(share, liked, strict=True):
            s = 1 / (1 + math.exp(-beta * (math.log(4 * p) - kl)))
            push.append((2 * rate - 1) * s * (1 - s))
        share = [0.5 * a + 0.5 * b / sum(push) for a, b in zip(share, push, strict=True)]
    assert share == pytest.approx([0.81, 0.19], abs=0.02)  # as section 8 says; 10,000 steps come within 0.01 of it


def test_online_dpo_s_first_step_is_two_beta_times_the_win_rate_s_gradient():
    probs, beta = torch.tensor([0.4, 0.25, 0.25, 0.1], dtype=torch.float64), 0.3
    rewards = torch.tensor([1.7, 0.3, -0.7, -1.7], dtype=torch.float64)
    step = torch.zeros(4, dtype=torch.float64)
    for i, j in itertools.product(range(4), repeat=2):
        up = torch.zeros(4, dtype=torch.float64)
        up[i] += 1
        up[j] -= 1  # s_w - s_l
        wins = torch.sigmoid(rewards[i] - rewards[j])
        step += probs[i] * probs[j] * (wins * up - (1 - wins) * up) * beta / 2  # both orders of the verdict
    against = torch.sigmoid(rewards[:, None] - rewards) @ probs
    ascent = probs * (against - probs @ against)
    torch.testing.assert_close(step, 2 * beta * ascent)


def test_more_is_better_in_nearly_all_pairs_of_which_both_stop():
    pairs = CHANCES[:, None] * CHANCES * (SUMS[:, None] > SUMS) * STOPS[:, None] * STOPS
    share = (pairs * (PAID[:, None] > PAID)).sum() / pairs.sum()
    assert f"true in {100 * share:.0f} % of the reference's pairs" in TEXT


def test_the_minutes_of_the_sections_add_up_to_those_of_the_title():
    promised = re.search(r"^(\d+) minutes to read, (\d+) for .* quiz; (\d+) more for a second reading", TEXT, re.M)
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes", TEXT, re.M)]
    tasks = [int(minutes) for minutes in re.findall(r"^\*\*Exercise 13\.\d\*\* \(\w+, (\d+) minutes\)", TEXT, re.M)]
    second = int(re.search(r"minutes, and (\d+) for a second reading\)", TEXT)[1])
    read, work, more = map(int, promised.groups())
    assert (read, work) == (sum(sections[:-2]), sum(sections[-2:]))
    assert sections[-2] + more == sum(tasks) + second
    assert read + work <= 60


def test_what_the_text_says_of_the_planted_bugs():
    """A second implementation of the five: logits of each prefix in a dictionary of rows, the loss by hand."""
    sequences = [[*pours, *([0] if stops else [])] for pours, stops, *_ in GLASS]
    prefixes = sorted({tuple(s[:t]) for s in sequences for t in range(len(s))})
    rows = {prefix: k for k, prefix in enumerate(prefixes)}
    index = torch.zeros(len(sequences), len(prefixes) * 4, dtype=torch.float64)
    for n, s in enumerate(sequences):
        for t, symbol in enumerate(s):
            index[n, rows[tuple(s[:t])] * 4 + symbol] = 1.0
    lengths = torch.tensor([float(len(s)) for s in sequences], dtype=torch.float64)
    ref = CHANCES.log()
    wins = CHANCES[:, None] * CHANCES * torch.sigmoid((PAID[:, None] - PAID) / 0.3)
    start = torch.tensor([0.2, 0.7, 0.3, -0.8], dtype=torch.float64).repeat(len(prefixes), 1)

    def run(kind):
        logits, losses = start.clone(), []
        for k in range(401):
            logits = logits.detach().requires_grad_()
            logp = index @ logits.log_softmax(1).flatten()
            ratio = {
                "right": lambda logp=logp: logp - ref,
                "swapped": lambda logp=logp: ref - logp,
                "moving": lambda logp=logp: logp - logp.detach(),
                "mean": lambda logp=logp: (logp - ref) / lengths,
                "none": lambda logp=logp: logp,
            }[kind]()
            loss = -(2 * wins * logsigmoid(0.3 * (ratio[:, None] - ratio))).sum()
            losses.append(loss.item())
            if k < 400:
                (slope,) = torch.autograd.grad(loss, logits)
                logits = logits - 10.0 * slope
        chances = (index @ logits.detach().log_softmax(1).flatten()).exp()
        return losses, (chances @ PAID).item(), chances

    found = {kind: run(kind) for kind in ("right", "swapped", "moving", "mean", "none")}
    assert {kind: round(losses[-1], 2) for kind, (losses, *_) in found.items()} == {
        "right": 0.58, "swapped": 0.58, "moving": 0.69, "mean": 0.65, "none": 0.58,
    }  # fmt: skip
    assert {kind: round(earned, 3) for kind, (_, earned, _) in found.items()} == {
        "right": 0.602, "swapped": 0.012, "moving": 0.495, "mean": 0.488, "none": 0.683,
    }  # fmt: skip
    apart = max(abs(a - b) for a, b in zip(found["right"][0], found["swapped"][0], strict=True))
    assert round(apart, 3) == 0.003
    assert re.search(r"agree to 0\.003 at every step", TEXT)
    swapped = found["swapped"][2]
    nothing, never = 100 * swapped[SUMS == 0].sum(), 100 * swapped[STOPS == 0].sum()
    assert f"pour nothing ({nothing:.0f} %), or never to stop ({never:.0f} %)" in TEXT
