"""The variance lab shows what its caption says: uphill is uphill, the ellipse is the covariance, errors are exact."""

import pytest
import torch

from pgnotes.classroom.widgets import variance_lab as lab
from pgnotes.theory.policies import SoftmaxPolicy
from pgnotes.theory.worlds import Bandit

START = {"batch": 8, "scale": 1.0, "offset": 0.0, "steps": 1, "relative": True, "seed": 0}
SETTINGS = [{}, {"scale": 4.0}, {"offset": 2.0}, {"steps": 8}, {"offset": -0.5, "batch": 2}]


@pytest.mark.parametrize("change", SETTINGS)
def test_a_green_dot_is_a_step_that_earns_more(change):
    """A small step along each of the 200 estimates, and J before and after it."""
    settings = START | change
    n = lab.numbers(**settings)
    bandit = Bandit(settings["scale"] * lab.PAYS)
    before = bandit.expected_return(lab.POLICY)
    cloud = lab.estimates(settings["batch"], settings["scale"], settings["offset"], settings["steps"])
    steps = 1e-6 * cloud / cloud.norm(dim=1, keepdim=True)
    better = [(bandit.expected_return(SoftmaxPolicy(lab.POLICY.logits + step)) > before).item() for step in steps]
    assert n["share"] == pytest.approx(sum(better) / 200)
    assert len(n["uphill"]) == sum(better)
    assert all(x > 0 for x, _ in n["uphill"])
    assert all(x <= 0 for x, _ in n["downhill"])


@pytest.mark.parametrize("change", SETTINGS)
def test_the_exact_error_is_what_many_batches_measure(change):
    settings = START | change
    args = settings["batch"], settings["scale"], settings["offset"], settings["steps"]
    gradient, moments = lab.exact(*args[1:])
    off = (lab.estimates(*args, seed=1, batches=20_000, most=8) - gradient).square().sum(1)
    assert abs(off.mean() - moments.of_batch(args[0]).trace) < 4 * off.std() / 20_000**0.5
    assert lab.numbers(**settings)["exact"] ** 2 == pytest.approx(
        (off.mean() / gradient.square().sum()).item(), rel=0.05
    )


def test_the_ellipse_holds_86_percent_of_large_batches():
    """1 - exp(-2) of a normal cloud in the plane lies within two standard deviations."""
    gradient, moments = lab.exact(1.0, 0.0, 1)
    frame = lab.along_and_across(gradient)
    assert torch.allclose(frame @ frame.T, torch.eye(2, dtype=torch.float64))
    spread = frame @ moments.of_batch(64).covariance @ frame.T
    off = (lab.estimates(64, 1.0, 0.0, 1, seed=2, batches=5000) - gradient) @ frame.T
    inside = ((off @ torch.linalg.inv(spread)) * off).sum(1) < 4
    assert inside.double().mean().item() == pytest.approx(1 - 2.718281828**-2, abs=4 * 0.005)


@pytest.mark.parametrize("change", SETTINGS)
def test_a_dot_outside_the_picture_is_on_its_border(change):
    """None is lost, none crosses from downhill to uphill; in the frame each is where it was."""
    n = lab.numbers(**START | change)
    (left, low), (right, high) = lab.FRAME.tolist()
    for dots in (n["uphill"], n["downhill"]):
        inside, border = lab.framed(dots)
        assert len(inside) + len(border) == len(dots)
        assert all(dot in dots and left <= dot[0] <= right and low <= dot[1] <= high for dot in inside)
        assert all(x in (left, right) or y in (low, high) for x, y in border)
        assert {x > 0 for x, _ in border} <= {x > 0 for x, _ in dots}


def test_how_many_dots_are_drawn_on_the_border():
    n = lab.numbers(**START | {"steps": 8})
    assert sum(len(lab.framed(n[side])[1]) for side in ("uphill", "downhill")) == 83
    assert lab.framed([]) == ([], [])


def test_measured_in_gradients_a_scale_moves_nothing():
    one, four = (lab.numbers(**START | {"scale": scale}) for scale in (1.0, 4.0))
    for name in ("uphill", "downhill", "ellipse", "errors", "measured", "share", "truth"):
        assert torch.allclose(torch.tensor(one[name]), torch.tensor(four[name]), atol=1e-12), name
    assert four["size"] == pytest.approx(4 * one["size"])
    absolute = lab.numbers(**START | {"scale": 4.0, "relative": False})
    assert absolute["truth"] == pytest.approx(four["size"] / lab.UNIT)
