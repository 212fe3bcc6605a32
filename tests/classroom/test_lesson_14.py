"""Lesson 14's widgets and the figures of its text, found again by code of their own."""

import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from pgnotes.classroom import continuous_pictures
from pgnotes.classroom.exercises.densities import PASSES, SUSPECTS, adds_up, agrees
from pgnotes.classroom.widgets import softness, squashed

NOTEBOOK = nbformat.read(next((Path(__file__).parents[2] / "notebooks").glob("14_*.ipynb")), 4)
TEXT = "\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")
PRINTED = {
    cell.id: "".join(output.get("text", "") for output in cell.outputs)
    for cell in NOTEBOOK.cells
    if cell.cell_type == "code"
}


def gaussian(n=200_001, reach=9.0):
    """z and weights of a fine sum."""
    z = torch.linspace(-reach, reach, n, dtype=torch.float64)
    weights = Normal(torch.tensor(0.0).double(), 1.0).log_prob(z).exp()
    return z, weights / weights.sum()


@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sharp", [0, 2, 5, 8])
@pytest.mark.parametrize("baseline", [False, True])
def test_softness_shows_what_a_sum_says(sharp, std, baseline):
    z, weights = gaussian()
    a = 0.5 + std * z
    paid = torch.sigmoid(a / (3 * 0.5**sharp))
    score = (paid - (weights @ paid if baseline else 0)) * z / std
    path = paid * (1 - paid) / (3 * 0.5**sharp)
    n = softness.numbers(sharp, std, baseline)
    for name, estimate in (("score", score), ("path", path)):
        mean = weights @ estimate
        noise = (weights @ (estimate - mean).square()).sqrt()
        assert n[name] == pytest.approx((mean.item(), noise.item()), rel=1e-5, abs=1e-8)
    assert n["exact"] == pytest.approx((weights @ path).item(), rel=1e-6)
    assert n["noises"][0][sharp] == n["score"][1]
    assert n["noises"][1][sharp] == n["path"][1]


@pytest.mark.parametrize("baseline", [False, True])
def test_at_the_step_the_path_is_silent_and_wrong(baseline):
    n = softness.numbers(9, 1.0, baseline)
    assert n["path"] == (0.0, 0.0)
    assert n["exact"] == n["score"][0] == pytest.approx(math.exp(-0.125) / math.sqrt(2 * math.pi))
    z, weights = gaussian()
    paid = (0.5 + z > 0).double()
    estimate = (paid - (weights @ paid if baseline else 0)) * z
    assert n["score"][1] == pytest.approx(
        estimate.square().matmul(weights).sub(n["exact"] ** 2).sqrt().item(), abs=1e-3
    )
    assert set(n["reward"]) == {0.0, 1.0}


@pytest.mark.parametrize("determinant", [False, True])
@pytest.mark.parametrize(("std", "mean"), [(0.5, 0.0), (0.9, 0.4), (3.0, 0.0), (1.5, -1.0)])
def test_squashed_shows_torch_s_density_and_its_sums(std, mean, determinant):
    n = squashed.numbers(std, mean, determinant)
    before = Normal(torch.tensor(mean).double(), std)
    law = TransformedDistribution(before, [TanhTransform(cache_size=1)])
    a = torch.tensor(squashed.ACTIONS, dtype=torch.float64)
    shown = law.log_prob(a).exp() if determinant else before.log_prob(torch.atanh(a)).exp()
    torch.testing.assert_close(torch.tensor(n["density"]).double(), shown.clamp(max=4.0), rtol=1e-6, atol=1e-9)

    z, weights = gaussian()
    u = mean + std * z
    log_slope = -2 * torch.logaddexp(u, -u) + math.log(4)
    true = (before.entropy() + weights @ log_slope).item()
    assert n["entropy"] == pytest.approx(true, abs=1e-6)
    assert n["reported"] == pytest.approx(true if determinant else before.entropy().item(), abs=1e-6)
    assert n["area"] == pytest.approx(1.0 if determinant else (weights @ log_slope.exp()).item(), abs=1e-6)
    assert n["beyond"] == pytest.approx(weights[u.tanh().abs() > 0.9].sum().item(), abs=1e-3)
    assert n["curves"][0][round(std / 0.05) - 1] == pytest.approx(true, abs=1e-6)


def test_the_summit_is_where_the_lesson_says():
    curve = dict(zip(squashed.SPREADS, squashed.entropies(0.0)[0], strict=True))
    assert max(curve, key=curve.get) == pytest.approx(0.85, abs=0.051)
    assert max(curve.values()) < math.log(2)
    assert "0.684 nats at σ = 0.87" in TEXT


def test_curves_come_as_far_as_their_control():
    """So that the picture does not answer the question before it is dragged."""
    for widget, name, low, high in (("softness", "sharp", 1, 6), ("squashed", "std", 0.3, 3.0)):
        live = getattr({"softness": softness, "squashed": squashed}[widget], widget)()
        lengths = []
        for value in (low, high):
            live.png(**{name: value})
            lengths.append(max(len(line.get_xdata()) for line in live.canvas.figure.axes[1].lines))
        assert lengths[0] < lengths[1]


def test_of_eight_suspects_two_are_right_and_two_more_add_up():
    right = {0, 2}
    for test, passing in (
        (agrees(), right),
        (adds_up(), right | {5, 6}),  # σ² for σ, tanh μ for μ
        (agrees(0.0, 3.0), right | {6}),
        (agrees(1.0, 1.0), right | {5, 7}),  # 1e-6 counts only for a wide one
        (adds_up(0.0, 0.5), right | {5, 6, 7}),
    ):
        assert {i for i, of in enumerate(SUSPECTS) if test(of)} == passing


def test_the_last_suspect_lacks_what_its_sentence_says():
    z, weights = gaussian()
    u = 3 * z
    lacking = 1 - weights @ ((1 - u.tanh() ** 2) / (1 - u.tanh() ** 2 + 1e-6))
    assert lacking.item() == pytest.approx(0.015, abs=6e-4)
    assert "lacks 1.5 % of its mass" in PASSES["suspect 8"]


def test_the_pictures_say_what_their_words_say():
    fig, alt = continuous_pictures.widths()
    drawn = [list(line.get_ydata()) for line in fig.axes[1].lines]
    for place, condition in enumerate((1, 10, 100, 1000)):
        line = next(row for row in PRINTED["arrivals"].splitlines() if row.startswith(f"condition {condition:4}:"))
        plain, covariance, precision = (int(x) for x in re.findall(r"(\d+) steps", line))
        assert f"{plain:,}" in alt
        assert f"{covariance:,}" in alt
        assert precision == 1
        assert [line[place] for line in drawn] == [plain, covariance, precision]
    fig, alt = continuous_pictures.four_programs()
    ends = {
        text.get_text(): line.get_ydata()[-1] for text, line in zip(fig.axes[0].texts, fig.axes[0].lines, strict=True)
    }
    assert {name: round(end, 2) for name, end in ends.items()} == {"A": -0.84, "B": -0.19, "C": -0.64, "D": -0.66}
    for end in ends.values():
        assert f"{end:.2f}" in alt


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("identities", ("score 0.305444, path 0.305444, difference quotient 0.305444",)),
        ("c62-code", ("0.200   score 0.335", "1.927   score 0.429", "50.000   score 0.500")),
        ("dimensions", ("2.6", "12.8", "114.0", "1126.5", "path 0.25")),
        ("c61-code", ("+2.00, by log σ -2.00", "cosine 0.71")),
        ("c66-code", ("9.1", "108.0", "10114.0", "0.1082", "0.0319", "0.0100")),
        ("arrivals", ("covariance: [7, 8, 8, 9]", "plain: [4, 26, 229, 2385]", "1 steps of 4.5816")),
        ("c64-code", ("2.625", "0.666", "0.565", "2.125", "34.650", "12.533", "[0.57, 2.36, 32.74, 1079.49]")),
        ("c63-code", ("cosine 0.751", "-0.0059", "+0.0940", "(true +0.1000)")),
        ("ddpg", ("0.7984", "1.2585", "1.3098", "1.3163", "1.3164")),
        ("c65-code", ("R² 0.99993", "32 local maxima", "95% of starts", "0.73 on average", "16.0%", "0.000%")),
        ("tanh-precision", ("-18.6137", "-13.8155", "-inf")),
        ("c67-code", ("+0.6836", "-1.0957", "σ = 0.090", "σ = 2.920", "1.25: -0.514")),
        (
            "c69-code",
            ("cosine of the gradients +0.448", "entropy 4.459", "entropy 4.067", "KL 0.026", "KL 0.280", "KL 0.449"),
        ),
        ("c70-code", ("a return of 1.92", "1.1%", "94%", "gets 0.66", "gets 0.76", "left in 30%", "left in 11%")),
        (
            "c71-code",
            (
                "-0.461",
                "0.194, with J 0.510",
                "0.655, with J 0.655",
                "baseline -2.008, with J 0.068",
                "0.159, with J 0.159",
            ),
        ),
        (
            "bug-print",
            (
                "reward -0.189",
                "reward -0.844",
                "reports +0.53",
                "σ 0.77",
                "σ 0.50",
                "σ 0.43",
                "85% beyond",
                "from σ = 3: σ 7.39",
            ),
        ),
    ],
)
def test_each_claim_s_cell_prints_what_its_verdict_rests_on(cell, numbers):
    """The numbers themselves are found again in tests/theory/test_numbers_14.py."""
    for number in numbers:
        assert number in PRINTED[cell], PRINTED[cell]


def test_each_claim_has_a_cell_of_its_own():
    for number in range(61, 72):
        assert f"**Check the claim C{number}.**" in TEXT
        assert PRINTED["bug-print" if number == 68 else f"c{number}-code"].strip()
