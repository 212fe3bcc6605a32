"""Exercises and quizzes: every check knows right from wrong, and says which slip it was."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import ipywidgets
import nbformat
import numpy as np
import pytest
import torch
from lesson_runs import LESSONS

import pgnotes
from pgnotes.classroom import done, quiz
from pgnotes.classroom.checks import Exercise


def exercises_of(lesson: str) -> ModuleType:
    return import_module(f"pgnotes.classroom.exercises.lesson_{lesson}")


EXERCISES = [exercise for lesson in done.lessons() for exercise in exercises_of(lesson).EXERCISES]
SLIPS = [pytest.param(e, name, id=f"{e.number}-{name}") for e in EXERCISES for name in e.slips]
each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.number)


@each
def test_the_right_answer_is_right(exercise):
    assert exercise.judge(exercise.answer).status == "right"


@each
def test_a_stub_is_open(exercise):
    def stub(*args): ...

    def raising(*args):
        raise NotImplementedError

    assert exercise.judge(stub).status == exercise.judge(raising).status == "open"
    assert exercise.title in exercise.judge(stub).sentence


@each
def test_it_knows_at_least_three_slips(exercise):
    assert len(exercise.slips) >= 3


@pytest.mark.parametrize(("exercise", "slip"), SLIPS)
def test_each_slip_is_wrong_and_named(exercise, slip):
    result = exercise.judge(exercise.slips[slip][0])
    assert (result.status, result.slip) == ("wrong", slip)
    assert result.sentence == exercise.slips[slip][1]


@each
def test_nonsense_is_wrong_and_never_raises(exercise):
    assert exercise.judge(5).status == "wrong"
    assert "without calling it" in exercise.judge(torch.zeros(3)).sentence
    assert "raised TypeError" in exercise.judge(lambda: 1).sentence
    assert exercise.judge(lambda *args: torch.tensor(float("nan"))).status == "wrong"
    if exercise.gradient_of:
        for value in ("text", torch.zeros(7, 2)):
            assert "No gradient" in exercise.judge(lambda *args, value=value: value).sentence
    elif not exercise.fault:
        assert "gives 'text'" in exercise.judge(lambda *args: "text").sentence
        assert "shape" in exercise.judge(lambda *args: torch.zeros(7, 2)).sentence


@each
def test_a_forgotten_return_is_told_from_a_stub(exercise):
    def forgotten(*args):
        exercise.answer(*args)

    result = exercise.judge(forgotten)
    assert result.status == "wrong"
    assert "`return` missing" in result.sentence


ATTEMPTS = [import_module(path.stem) for path in sorted(Path(__file__).parent.glob("attempts/attempts_*.py"))]
RIGHT = [
    pytest.param(number, attempt, id=f"{number}-{i}")
    for module in ATTEMPTS
    for number, attempts in module.RIGHT.items()
    for i, attempt in enumerate(attempts)
]
WRONG = [
    pytest.param(number, attempt, heard, id=f"{number}-{i}")
    for module in ATTEMPTS
    for number, attempts in module.WRONG.items()
    for i, (heard, attempt) in enumerate(attempts)
]


def judged(number, attempt):
    return next(e for e in EXERCISES if e.number == number).judge(attempt)


@pytest.mark.parametrize(("number", "attempt"), RIGHT)
def test_a_right_attempt_passes_however_it_is_written(number, attempt):
    result = judged(number, attempt)
    assert result.status == "right", result


@pytest.mark.parametrize(("number", "attempt", "heard"), WRONG)
def test_a_wrong_attempt_hears_what_helps(number, attempt, heard):
    result = judged(number, attempt)
    assert result.status == "wrong"
    assert heard in result.sentence, result


def tried(attempts, number):
    return len(attempts.get(number, ()))


@each
def test_ten_attempts_were_made_at_each_exercise(exercise):
    lesson = exercise.number.split(".")[0].zfill(2)
    module = next((m for m in ATTEMPTS if m.__name__.endswith(lesson)), None)
    if module is None:
        unfinished = "TODO" in Path(exercises_of(lesson).__file__).read_text(encoding="utf-8")
        assert unfinished, f"tests/classroom/attempts/attempts_{lesson}.py is missing"
        pytest.skip("a lesson that is only begun")
    assert tried(module.RIGHT, exercise.number) >= 5
    assert tried(module.WRONG, exercise.number) >= 5


LONG = torch.arange(20, dtype=torch.float64).reshape(4, 5)
LONG_EXERCISE = Exercise("1.9", "Write f(x)", lambda x: x + 1, ((LONG,),), {}, "It adds 1.")
LOSS = Exercise(
    "1.9", "Write loss(x)", lambda x, w: -(w * x).mean(), ((LONG[0], LONG[1]),), {}, "Minus.", gradient_of=(0,)
)


def test_of_a_long_result_the_first_place_that_differs_is_told():
    def almost(x):
        x[2, 3] += 0.5
        x[3, 1] += 0.5
        return x + 1

    sentence = LONG_EXERCISE.judge(almost).sentence
    assert sentence.endswith("differs at 2 of 20 places, the first at [2, 3], where it has 14.5 and should have 14.")
    assert "cases[0]" in sentence, "the arguments are too many to be shown, and can be found"
    assert "shape [20]; it should be an array of shape [4, 5]" in LONG_EXERCISE.judge(lambda x: x.flatten()).sentence


def test_numbers_are_told_with_digits_enough_to_see_the_difference():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x, ((0.12345678,),), {}, "It is the identity.")
    sentence = exercise.judge(lambda x: x + 1e-4).sentence
    assert "gives 0.1236; it should be 0.1235" in sentence
    assert "gives 0.12348; it should be 0.12346" in exercise.judge(lambda x: x + 2e-5).sentence
    assert "gives 0; it should" in exercise.judge(lambda x: 3.469e-19).sentence


def test_small_arguments_are_told_as_they_are():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x, ((1e-30,),), {}, "It is the identity.")
    assert exercise.judge(lambda x: x + 1).sentence.startswith("For 1e-30 your function gives 1;")


def test_a_branch_without_a_return_and_another_type_are_told():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x, ((LONG[0, :2],), (LONG[1, :2],)), {}, "It is the identity.")

    def first_only(x):
        return x if x[0] == 0 else None

    assert "does every branch `return`?" in exercise.judge(first_only).sentence
    assert "torch.eye(K, dtype=x.dtype)" in exercise.judge(lambda x: torch.eye(2) @ x).sentence
    assert ".double()" in exercise.judge(lambda x: (x > 0).mean()).sentence
    assert "torch.where" in exercise.judge(lambda x: x if x > 0 else -x).sentence
    assert "which is dim=0" in exercise.judge(lambda x: x - x.mean(1)).sentence
    assert exercise.judge(lambda x: x[:, :, 0]).sentence.endswith("dimension 1."), "what torch says must do"


def test_one_number_is_one_number():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x, ((2.0,),), {}, "It is the identity.")
    assert exercise.judge(lambda x: torch.tensor([x])).status == "right"
    assert "an array of shape [2]; it should be one number" in exercise.judge(lambda x: [x, x]).sentence


def test_of_a_loss_the_gradient_counts_and_nothing_else():
    assert LOSS.judge(lambda x, w: 7 - (w * (x - x.detach()).exp() * 1).mean()).status == "right"

    def in_place(x, w):
        x *= -w
        return x.mean(0, keepdim=True)

    assert LOSS.judge(in_place).status == "right"
    for attempt in (
        lambda x, w: -(w * x.detach()).mean(),
        lambda x, w: -(w * x).mean().item(),
        lambda x, w: -(w.numpy() * x.numpy()).mean(),
        lambda x, w: torch.tensor(-5.0, requires_grad=False),
    ):
        assert "No gradient flows" in LOSS.judge(attempt).sentence
    assert "Your loss is a list; return the tensor itself" in LOSS.judge(lambda x, w: [-(w * x).mean()]).sentence

    def differentiated(x, w):
        loss = -(w * x.exp()).mean()
        loss.backward()
        return loss

    assert "don't call `backward()`" in LOSS.judge(differentiated).sentence
    assert "shape [5]; a loss is one number" in LOSS.judge(lambda x, w: -w * x).sentence
    assert "the gradient of your loss is" in LOSS.judge(lambda x, w: (w * x).mean()).sentence


def test_of_a_gradient_in_two_arguments_it_is_told_in_which():
    cases = ((torch.ones(2, 3).double(), torch.ones(4).double()), (LONG, LONG[0]))
    exercise = Exercise(
        "1.9", "Write loss(x, w)", lambda x, w: x.sum() + w.sum(), cases, {}, "Sums.", gradient_of=(0, 1)
    )
    said = [exercise.judge(lambda x, w, i=i, j=j: i * x.sum() + j * w[:4].sum()).sentence for i, j in ((2, 1), (1, 2))]
    assert all("the gradient of your loss in x and w, end to end, is [" in sentence for sentence in said)

    exercise = Exercise(
        "1.9", "Write loss(x, w)", lambda x, w: x.sum() + w.sum(), cases[1:], {}, "Sums.", gradient_of=(0, 1)
    )
    assert "at 1 of 25 places, the first in w at [4]" in exercise.judge(lambda x, w: x.sum() + w[:4].sum()).sentence
    assert "the first in x at [0, 3]" in exercise.judge(lambda x, w: x[:, :3].sum() + w.sum()).sentence


def test_the_learner_cannot_change_the_cases():
    exercise = next(e for e in EXERCISES if e.number == "1.1")

    def destructive(logits):
        probs = logits.softmax(0)
        logits.zero_()
        return probs

    assert exercise.judge(destructive).status == exercise.judge(destructive).status == "right"


def test_lists_and_graphs_are_accepted():
    exercise = next(e for e in EXERCISES if e.number == "1.1")
    assert exercise.judge(lambda x: x.softmax(0).tolist()).status == "right"
    assert exercise.judge(lambda x: list(x.softmax(0))).status == "right"
    assert exercise.judge(lambda x: (x * torch.ones(1, requires_grad=True, dtype=float)).softmax(0)).status == "right"


@pytest.mark.filterwarnings("error")
def test_a_view_of_numpy_s_that_cannot_be_written_is_taken_in_silence():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x.diagonal(), ((torch.eye(3),),), {}, "Its diagonal.")
    assert exercise.judge(lambda x: np.diag(x.numpy())).status == "right"


def test_results_read_well_in_both_forms():
    exercise = Exercise("1.9", "Write f(x)", lambda x: x, ((1.0,),), {}, "It is the identity.")
    wrong = exercise.judge(lambda x: 2 * x)
    assert repr(wrong) == "Exercise 1.9, not yet: For 1 your function gives 2; it should be 1."
    assert "Exercise 1.9, not yet" in wrong._repr_html_()
    assert "<" not in exercise.judge(lambda x: "<b>")._repr_html_().split("<br>")[1].removesuffix("</div>")


def test_progress_counts_what_was_done_here(monkeypatch):
    monkeypatch.setattr(done, "STATUS", {})
    first, second = (e for e in EXERCISES if e.number in ("1.1", "1.2"))
    first(first.answer)
    second(lambda *args: 0)
    lines = repr(pgnotes.progress()).splitlines()
    assert lines[0].startswith("lesson 01  exercises  ● ◐ ○")
    assert "1 of" in pgnotes.progress()._repr_html_()
    assert {line[:9] for line in lines} == {"lesson 01"}, "only what was opened here"
    monkeypatch.setattr(done, "STATUS", {})
    assert len(repr(pgnotes.progress()).splitlines()) == 2 * len(done.lessons()), "all, before anything was"


@pytest.mark.parametrize("lesson", done.lessons())
def test_quizzes_are_well_made(lesson):
    questions = quiz.questions(lesson)
    assert len(questions) >= 4
    for question in questions:
        assert sum(choice.right for choice in question.choices) == 1
        assert len(question.choices) >= 3
        assert all(len(choice.why) > 20 for choice in question.choices)
        texts = question.text + "".join(choice.text + choice.why for choice in question.choices)
        assert "$" not in texts, "LaTeX is not typeset in widgets everywhere"
    places = [[choice.right for choice in q.choices].index(True) for q in questions]
    assert len(set(places)) > 1, "the right answer is not always in the same place"


@pytest.mark.parametrize("lesson", done.lessons())
def test_every_choice_is_answered_when_clicked(lesson, monkeypatch):
    monkeypatch.setattr(done, "STATUS", {})
    ui = quiz.make(lesson)
    for i, (question, row) in enumerate(zip(quiz.questions(lesson), ui.children, strict=True), 1):
        radio = next(w for w in row.children if isinstance(w, ipywidgets.RadioButtons))
        assert radio.value is None, "nothing is chosen at first"
        for k, choice in enumerate(question.choices):
            radio.value = k
            reply = row.children[-1].value
            assert ("Right." in reply) == choice.right
            assert done.STATUS[lesson, f"question {i}"] == ("right" if choice.right else "wrong")


def test_an_unknown_quiz_is_named():
    with pytest.raises(ValueError, match="^lesson is '77'"):
        quiz.questions("77")


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_the_lesson_s_stubs_are_untouched_and_its_solutions_right(path):
    """Runs each stub cell and each printed solution of the saved lesson against its check."""
    cells, exercises = nbformat.read(path, as_version=4).cells, exercises_of(path.name[:2])
    stubs = [c.source for c in cells if c.id.startswith("exercise-") and c.cell_type == "code"]
    given = "\n".join(c.source for c in cells if c.id.startswith("given-"))  # what an exercise's learner may call
    helps = "".join(c.source for c in cells if c.id.endswith("-help"))
    solutions = [part.split("```")[0] for part in helps.split("```python\n")[1:]]
    assert len(stubs) == len(solutions) == len(exercises.EXERCISES)

    for stub, solution, exercise in zip(stubs, solutions, exercises.EXERCISES, strict=True):
        call = stub.strip().splitlines()[-1]
        assert call.startswith("check.")
        space = {"torch": torch, "check": exercises}
        exec(given, space)
        exec(stub.replace(call, f"result = {call}"), space)
        assert (space["result"].exercise, space["result"].status) == (exercise.number, "open")

        exec(solution, space)
        function = call.split("(")[1].rstrip(")")
        assert exercise.judge(space[function]).status == "right"
        assert f"**Exercise {exercise.number}** (" in "".join(c.source for c in cells)
