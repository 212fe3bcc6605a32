"""What lesson 07's widgets show, against the loss itself and against a second way to count."""

import numpy as np
import pytest
import torch

from pgnotes.classroom.widgets import clip, ppo_epochs
from pgnotes.theory.objectives import policy_loss


@pytest.mark.parametrize("ratio", [0.3, 0.75, 1.0, 1.25, 1.6])
@pytest.mark.parametrize("advantage", [-1.0, -0.4, 0.7])
def test_the_point_s_slope_is_autograd_s(advantage, ratio):
    r = torch.tensor([[ratio]], dtype=torch.float64, requires_grad=True)
    worth, live = torch.full((1, 1), advantage, dtype=torch.float64), torch.ones(1, 1)
    loss = policy_loss(r.log(), torch.zeros(1, 1), worth, live, "ppo", 0.2)
    (slope,) = torch.autograd.grad(-loss, r)
    assert clip.numbers(advantage, 0.2, ratio)["point"] == pytest.approx((-loss.item(), slope.item()))


@pytest.mark.parametrize("clipped", [True, False])
def test_the_silent_are_those_without_a_gradient_of_their_own(clipped):
    shown, this = ppo_epochs.numbers(5, 8.0, 4, clipped, 0), ppo_epochs.run(8.0, 4, clipped, 0)
    ratios, mask = this.until(5)[0][-1], this.at.batch.mask
    logp = ratios.log().requires_grad_()
    band = 0.2 if clipped else (1.0, float("inf"))
    policy_loss(logp, torch.zeros_like(logp), this.at.advantages, mask, "ppo", band).backward()
    assert shown["silent"][-1] == pytest.approx((logp.grad[mask] == 0).double().mean().item())
    assert shown["outside"][-1] == pytest.approx(np.mean(abs(ratios[mask].numpy() - 1) > 0.2))
    assert shown["outside"][0] == shown["silent"][0] == 0
    assert (shown["silent"][-1] > 0.05) == clipped


def test_the_twin_s_captions_and_its_alt_text_are_of_what_it_shows():
    widget = ppo_epochs.ppo_epochs()
    quarters, ten, without, far = (widget.numbers(**widget.settings | changes) for _, changes in widget.twin)
    for n, reach in ((quarters, "0.70 and 1.16"), (ten, "0.65 to 1.25"), (without, "0.31 to 1.48")):
        low, high = n["range"]
        assert reach in widget.alt
        assert reach.split()[::2] == [f"{low:.2f}", f"{high:.2f}"]
    assert 0.18 < ten["outside"][-1] < 0.22, "a fifth"
    assert without["outside"][-1] > 0.5
    assert without["kl"][-1] > 4 * ten["kl"][-1]
    assert f"{far['outside'][-1]:.0%}" == "46%"
    assert f"{far['range'][1]:.1f}" == "3.6"
    assert quarters["range"][0] < 0.8 < 1 < quarters["range"][1], "one epoch, and ratios have left 1"
    assert without["promised"] > without["gained"] > ten["gained"]
    shares = [f"{far[name][-1]:.0%}".replace("%", " %") for name in ("outside", "silent")]
    assert shares == ["46 %", "43 %"]
    assert all(share in text for share in shares for text in (widget.alt, widget.twin[-1][0]))
    assert not widget.settings["clip"], "the lesson asks first what the clip will do"


def test_what_the_lesson_says_of_ten_other_batches():
    """With the clip and without, ten epochs at step size 2; one epoch at 16; quarters against the whole."""
    runs = {True: [], False: [], "once": [], "quarters": []}
    for seed in range(1, 11):
        runs[True].append(ppo_epochs.numbers(10, 2.0, 1, True, seed))
        runs[False].append(ppo_epochs.numbers(10, 2.0, 1, False, seed))
        runs["once"].append(ppo_epochs.numbers(1, 16.0, 1, True, seed))
        pair = ppo_epochs.numbers(1, 2.0, 4, True, seed), ppo_epochs.numbers(4, 2.0, 1, True, seed)
        runs["quarters"].append(max(abs(a - b) for a, b in zip(*(n["range"] for n in pair), strict=True)))
    for key, said in ((True, (12, 33)), (False, (32, 64)), ("once", (31, 58))):
        shares = [n["outside"][-1] * 100 for n in runs[key]]
        assert (round(min(shares)), round(max(shares))) == said
    assert max(runs["quarters"]) < 0.08
