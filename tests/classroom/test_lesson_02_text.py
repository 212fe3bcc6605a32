"""What lesson 02 says of losses, constants and texts that passed, found a second way; and its minutes."""

import itertools
import json
import re
from pathlib import Path

import pytest
import torch

from pgnotes.theory.many import chances, reinforce_many
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.worlds import sum_world

ROOT = Path(__file__).parents[2]
WORLD = sum_world(target=6)


def after_ten_steps(start: torch.Tensor, seed: int = 0) -> tuple[int, int]:
    """Of a hundred runs, in how many J is above its start, and in how many the surrogate loss."""
    runs = reinforce_many(WORLD, Recipe(step_size=2.0, batch=64), 100, seed, start)
    before, now = (chances(WORLD, theta) for theta in itertools.islice(runs, 0, 11, 10))
    paid = WORLD.returns()[0]
    better = now @ paid > before @ paid
    louder = -(now * now.log()) @ paid > -(before * before.log()) @ paid
    return int(better.sum()), int(louder.sum())


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(85, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_return_climbs_in_every_run_and_the_loss_goes_either_way():
    assert after_ten_steps(torch.zeros(85, 4)) == (100, 100), "undecided"
    for seed in (0, 1):
        better, louder = after_ten_steps(drawn(0), seed)
        assert (better, louder < 10) == (100, True)
    better, louder = after_ten_steps(drawn(1))
    assert (better, louder > 90) == (100, True), "another random start, the other way"


def first_row(returns: torch.Tensor) -> list[float]:
    """The first row of ∇J for the undecided policy, if each text earned `returns`, a derivative by differences."""
    slopes = []
    for symbol in range(4):
        worth = []
        for step in (1e-5, -1e-5):
            theta = torch.zeros(1, 85, 4, dtype=torch.float64)
            theta[0, 0, symbol] = step
            worth.append((chances(WORLD, theta) @ returns).item())
        slopes.append((worth[0] - worth[1]) / 2e-5)
    return slopes


def test_a_constant_for_every_text_moves_no_gradient_and_one_for_every_symbol_does():
    paid = WORLD.returns()[0]
    plain = first_row(paid)
    assert plain == pytest.approx([-0.0605, 0.0013, 0.0215, 0.0378], abs=1e-4)
    assert first_row(paid + 1) == pytest.approx(plain, abs=1e-9)
    longer = first_row(paid + WORLD.mask.sum(-1))
    assert longer == pytest.approx([-0.494, 0.146, 0.166, 0.182], abs=1e-3), "now it says: do not stop"


def test_texts_that_passed_climb_j_thrown_together_and_the_mean_of_log_p_with_as_many_from_each_prompt():
    theta = torch.tensor([[1.0, -0.5, 0.2], [2.0, 0.0, -1.5]], dtype=torch.float64, requires_grad=True)
    passed = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)  # the second prompt is hard
    probs = theta.softmax(1)
    rates = (probs * passed).sum(1)
    (climb,) = torch.autograd.grad(rates.mean(), theta, retain_graph=True)
    (of_logs,) = torch.autograd.grad(rates.log().mean(), theta, retain_graph=True)

    def mean_score(weights: torch.Tensor) -> torch.Tensor:
        """Of texts that come with these weights [2, 3]."""
        return torch.autograd.grad((weights.detach() * theta.log_softmax(1)).sum(), theta)[0]

    together = mean_score(probs * passed / (probs * passed).sum())
    assert torch.allclose(together * rates.mean(), climb)
    alike = mean_score(probs * passed / rates[:, None] / 2)
    assert torch.allclose(alike, of_logs)
    assert alike[1].norm() / alike[0].norm() > 10 * together[1].norm() / together[0].norm()


def test_the_minutes_of_the_sections_add_up_to_those_of_the_title():
    cells = json.loads((ROOT / "notebooks/02_log_derivative_trick.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(each["source"]) for each in cells if each["cell_type"] == "markdown")
    read, practise, deeper = map(
        int, re.search(r"^(\d+) minutes to read, (\d+) for .* quiz; (\d+) more for section 7", text, re.M).groups()
    )
    sections = [int(minutes) for minutes in re.findall(r"^## \d+ · .*\((\d+) minutes", text, re.M)]
    tasks = [int(minutes) for minutes in re.findall(r"^\*\*Exercise 2\.\d\*\* \(\w+, (\d+) minutes\)", text, re.M)]
    assert len(sections) == 10
    assert sum(sections[:6]) + sections[7] == read
    assert sum(sections[8:]) == practise
    assert sum(tasks[:5]) == sections[8]
    assert sections[6] + tasks[5] == deeper
    assert read + practise <= 60
