"""Lesson 03's widgets and pictures: what they draw and say is what the formulas give."""

import re
from itertools import combinations_with_replacement, islice

import pytest
import torch
from matplotlib.figure import Figure

from pgnotes.classroom import reinforce_pictures, whole_loop
from pgnotes.classroom.exercises import lesson_03
from pgnotes.classroom.widgets import learning_lab, step_sizes
from pgnotes.theory.advantages import group_advantages
from pgnotes.theory.many import expected_returns, learning_curves, reinforce_many, share, stuck
from pgnotes.theory.reinforce import Recipe
from pgnotes.theory.step_sizes import climb, distance, sizes, summit
from pgnotes.theory.worlds import sum_world


def rows_of(widget):
    """What a lab shows in each row of its twin."""
    settings = [widget.settings | changes for _, changes in widget.twin]
    return [widget.numbers(**each | {"dear": widget.finish(each)}) for each in settings]


@pytest.fixture(scope="module")
def labs():
    """The lab of section 1 and that of section 5, each with what it shows."""
    return [(widget, rows_of(widget)) for widget in map(learning_lab.learning_lab, (False, True))]


def test_the_lab_trains_the_recipe_it_names(labs):
    (_, larger), (_, added) = labs
    assert larger[0]["words"] == "step 4, batch 16"
    assert added[0]["words"] == "step 1, batch 16, normalised"
    wanted, habits = learning_curves(sum_world(), Recipe(step_size=4.0), 100, 200)
    assert torch.equal(larger[0]["curves"][1], wanted)
    assert larger[0]["shares"][1][1] == share(habits[:, -1])
    settings = {"step_size": 2.0, "schedule": 20.0, "batch": 8, "bonus": 0.05}
    recipe = learning_lab.recipe_of(**settings, normalise=True, clip=True, value=True)
    assert recipe == Recipe(2.0, 8, 20.0, True, entropy_bonus=0.05, clip_norm=0.2, value_step=0.2)


def test_the_labs_descriptions_say_what_their_twins_show(labs):
    for widget, rows in labs:
        ends = [rows[0]["shares"][0], *(row["shares"][1] for row in rows)]
        told = widget.alt.partition("where they end.")[2].replace("within 50 steps", "")
        numbers = re.findall(r"(?<![\w.])(?<!step size )\d+(?![\w.]\d)", told.replace("bonus of 0.05", ""))
        assert [int(n) for n in numbers] == [round(100 * p) for end in ends for p, _ in end[:2]], widget.alt


def test_the_lab_s_shares_add_up_and_its_seed_matters(labs):
    for row in labs[0][1] + labs[1][1]:
        for shares in row["shares"]:
            assert sum(p for p, _ in shares) == pytest.approx(1.0)
    assert not torch.equal(learning_lab.plain(0)[0], learning_lab.plain(1)[0])
    start = {c.name: c.value for c in learning_lab.CONTROLS}
    assert learning_lab.numbers(**start)["shares"][1] is None


def test_nobody_is_stuck_who_is_on_the_way():
    """Small steps and a large bonus are between 0.78 and 0.87 after 200 steps, and write no wrong answer by habit."""
    world = sum_world()
    for recipe in (Recipe(step_size=0.4), Recipe(entropy_bonus=0.2)):
        logits = next(islice(reinforce_many(world, recipe, 100, 0), 200, None))
        last = expected_returns(world, logits)
        passing = (last > 0.78) & (last < 0.87)
        assert passing.sum() >= 5
        assert not (passing & stuck(world, logits)).any()


def test_step_sizes_show_their_own_schedule():
    for power in (0.0, 0.7, 2.0):
        schedule = sizes(0.5, 20.0, torch.tensor(step_sizes.POWERS, dtype=torch.float64), 400)
        *_, last = climb(step_sizes.BANDIT, step_sizes.START, 0.5, schedule, step_sizes.RUNS, 1)
        far = distance(last, summit(step_sizes.BANDIT, 0.5))[step_sizes.POWERS.index(power)]
        assert step_sizes.numbers(power, seed=1)["after"][0] == pytest.approx(far.item())
    assert [step_sizes.numbers(p)["sum"] for p in (0.0, 1.0, 1.1)] == ["infinite", "infinite", "finite"]
    assert [step_sizes.numbers(p)["squares"] for p in (0.0, 0.5, 0.6)] == ["infinite", "infinite", "finite"]


def test_step_sizes_show_three_powers_only_where_they_are_asked_for():
    assert step_sizes.numbers(0.5)["ghosts"] == []
    assert [ghost[-1] for ghost in step_sizes.numbers(0.5, ghosts=True)["ghosts"]] == [
        step_sizes.numbers(power)["after"][1] for power in step_sizes.GHOSTS
    ]
    widget = step_sizes.step_sizes()
    bare = widget.png()
    assert widget.png(ghosts=True) != bare
    assert widget.png() == bare, "they go away again"


def test_step_sizes_description():
    ends = [step_sizes.numbers(p)["after"][1] for p in (0.0, 1.0, 2.0)]
    assert ends == [pytest.approx(0.4, abs=0.02), pytest.approx(0.03, abs=0.005), pytest.approx(0.4, abs=0.02)]
    best = min(step_sizes.POWERS, key=lambda p: step_sizes.numbers(p)["after"][1])
    assert 0.8 <= best <= 1.1


def test_how_soon_the_limit_matters_hangs_on_the_schedule():
    """What lesson 03 says beside the widget: constant steps of 0.1, and h = 200 in place of 20."""
    goal = summit(step_sizes.BANDIT, 0.5)

    def far(first, half_after, powers):
        schedule = sizes(first, half_after, torch.tensor(powers), step_sizes.STEPS)
        walk = climb(step_sizes.BANDIT, step_sizes.START, 0.5, schedule, step_sizes.RUNS, 0)
        return [distance(probs, goal).tolist() for step, probs in enumerate(walk) if step in (400, step_sizes.STEPS)]

    (_, (small,)) = far(0.1, 20.0, [0.0])
    assert small == pytest.approx(0.15, abs=0.02)
    for at in far(0.5, 200.0, [0.5, 1.0, 1.5, 2.0]):
        assert at == sorted(at, reverse=True), "the larger the power, the closer"


def test_one_step_says_what_it_draws():
    sequences = torch.tensor([[3, 0, 0], [1, 2, 1]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4])
    fig, alt = reinforce_pictures.one_step(sequences, mask, torch.tensor([1 / 6, 1.0]), chances, chances.flip(0))
    assert isinstance(fig, Figure)
    assert "3 0 earned 1/6; 1 2 1 earned 1." in alt
    assert "10% to 40%, 20% to 30%, 30% to 20%, 40% to 10%" in alt
    assert [text.get_text() for text in fig.axes[0].texts][:5] == ["3", "0", "·", "1/6", "1"]


def test_pushes_are_averaged_with_their_chances():
    chances = torch.tensor([0.75, 0.25])
    fig, alt = reinforce_pictures.pushes({"One": torch.tensor([-1.0, 5.0]), "Two": torch.tensor([-1.0, 1.0])}, chances)
    assert "One: 75% of the batches push the better arm down, the mean push is +0.50" in alt
    assert "Two: 75% of the batches push the better arm down, the mean push is -0.50" in alt
    for ax in fig.axes:
        assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1.0)


@pytest.mark.parametrize(("better", "turned", "right"), [(0.5, (2, 4, 8), (20, 32)), (0.1, (16, 32, 64), (128,))])
def test_normalising_points_the_wrong_way_in_small_batches(better, turned, right):
    """The safe arm pays 1, the better one 10 one time in five and is pressed as often as `better` says."""
    chances = torch.tensor([1 - better, 0.2 * better, 0.8 * better], dtype=torch.float64)
    pays = torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64)
    for n in (*turned, *right):
        batches = torch.tensor(list(combinations_with_replacement(range(3), n)))
        counts = torch.nn.functional.one_hot(batches, 3).sum(1).double()
        chance = torch.distributions.Multinomial(n, chances).log_prob(counts).exp()
        advantages = group_advantages(pays[batches], "grpo")
        push = chance @ (advantages * ((batches > 0).double() - better)).mean(1)
        assert chance.sum().item() == pytest.approx(1.0)
        assert (push > 0).item() == (n in right), n


def test_watching_a_loop_that_is_not_written_yet(capsys):
    def train(world, steps, alpha, seed): ...

    lesson_03.watch(train)
    assert "Write train first" in capsys.readouterr().out


def test_watching_a_loop_draws_its_curves(monkeypatch):
    shown = []
    monkeypatch.setattr(whole_loop, "figure", lambda fig, alt: shown.append((fig, alt)))
    lesson_03.watch(lambda world, steps, alpha, seed: [0.25 + 0.1 * seed] * steps)
    ((fig, alt),) = shown
    assert "they end at 0.25, 0.35, 0.45, 0.55, 0.65" in alt
    assert len(fig.axes[0].lines) == 6
