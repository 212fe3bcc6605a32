"""The lecturer's pages and the slides: complete, and true to the lessons, the widgets and the checks."""

import math
import re
from functools import cache
from pathlib import Path

import lecturer
import nbformat
import numpy as np
import pytest
import record
import slides
import torch

from pgnotes.classroom.canvas import Canvas

ROOT = Path(__file__).parents[1]
LESSONS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
FOLDER = ROOT / "teach"
FRONT = FOLDER / "README.md"
PARTS = ("The hour", "Three demonstrations", "What they predict", "The slips", "Two exam questions", "Without a GPU")
MINUS = str.maketrans("−", "-")


def page(number):
    return (FOLDER / f"{number}.md").read_text(encoding="utf-8")


def part(text, title):
    return re.split(r"^## ", text.split(f"## {title}", 1)[1], maxsplit=1, flags=re.M)[0]


@cache
def deck(number):
    """The slides' words, with what is shown beside them as a mark."""
    lesson = nbformat.read(LESSONS[number], as_version=4)
    return [*slides.slides(lesson, number, lambda png, metadata, name: f"<figure {name}>" if name else "<img>")]


# the pages


def test_each_lesson_has_a_page_and_each_page_a_lesson():
    """15 and whatever comes after it, too: a lesson is not done without its page."""
    assert [path.stem for path in sorted(FOLDER.glob("[0-9][0-9].md"))] == list(LESSONS)
    listed = re.findall(r"^\| \[(\d\d)\]\(\1\.md\) \|", FRONT.read_text(encoding="utf-8"), re.M)
    assert listed == list(LESSONS)


@pytest.mark.parametrize("number", LESSONS)
def test_a_page_is_complete(number):
    text = page(number)
    title = re.search(r"# (.+)", nbformat.read(LESSONS[number], as_version=4).cells[0].source)[1]
    assert text.startswith(f"# {title}: for the lecturer\n\n**Goal.** ")
    assert re.findall(r"^## (.+)", text, re.M) == [*PARTS[:-1], "Without a GPU, without a network"]
    assert re.findall(r"^### (\d)(?: and (\d))? · ", part(text, PARTS[1]), re.M)[-1][0] in "23"
    assert len(re.findall(r"^\| \d \| ", part(text, PARTS[1]), re.M)) >= 3
    assert "a guess at the split" in part(text, PARTS[2])
    assert part(text, PARTS[4]).count("<details><summary>Answer</summary>") == 2


@pytest.mark.parametrize("number", LESSONS)
def test_an_hour_has_45_minutes_and_slides_that_exist(number):
    count, before = len(deck(number)), 0
    rows = re.findall(r"^\| (\d+) \| ([\d–, ]+) \| .+ \|$", part(page(number), PARTS[0]), re.M)
    assert sum(int(minutes) for minutes, _ in rows) == 45
    for _, numbers in rows:
        for first in re.findall(r"\d+", numbers):
            assert before <= int(first) <= count, "in the order of the slides"
            before = int(first)
    assert all(
        1 <= int(number) <= count for number in re.findall(r"slides? (\d+)", page(number).split("## The slips")[0])
    )


@pytest.mark.parametrize("number", LESSONS)
def test_what_a_page_takes_from_the_code_is_up_to_date(number):
    """If this fails: python tools/lecturer.py"""
    assert lecturer.filled(page(number), number) == page(number)


ROW = re.compile(r"^\| (\d) \| (.+?) \| (.+?) \| (.+) \|$", re.M)
DEMOS = [
    (number, name, rows)
    for number in LESSONS
    if (FOLDER / f"{number}.md").exists()
    for name, rows in re.findall(r"<!-- demo ([\w-]+)[^>]*-->\n(.*?)<!-- end -->", page(number), re.S)
]


def visible(live, settings):
    """Every text of a widget's picture."""
    if live.dear:
        settings = settings | {"dear": live.finish(settings)}
    canvas = Canvas(live.draw, live.height, 72)
    canvas.image(live.numbers(**settings))
    texts = [*canvas.figure.texts, *(text for ax in canvas.figure.axes for text in ax.texts)]
    return [text.get_text().strip() for text in texts if text.get_visible()]


@pytest.mark.parametrize(("number", "name", "rows"), DEMOS, ids=[f"{number}-{name}" for number, name, _ in DEMOS])
def test_a_demonstration_can_be_set_and_reads_as_the_page_says(number, name, rows):
    """Set by the words of the page alone, on the controls' own values; every reading stands on the picture."""
    live = record.widget(name)
    controls = {one.label: one for one in live.controls}
    plain = rows.replace("\\*", "∗").replace("\\|", "|")
    assert name in LESSONS[number].read_text(encoding="utf-8")
    assert len(ROW.findall(plain)) >= 1
    for key, moves, reads, _ in ROW.findall(plain):
        settings = dict(live.settings)
        for label, value in re.findall(r"\*([^*]+)\* (.+?)(?: · |$)", moves):
            control = controls[label.replace("∗", "*")]
            offered = record.position(control)
            texts = dict(zip(offered.texts, offered.values, strict=True))
            settings[control.name] = texts[value.replace("∗", "*")]
        shown = visible(live, settings)
        readings = [text.replace("∗", "*") for text in re.findall(r"\*\*(.+?)\*\*", reads)]
        assert all(text in shown for text in readings), (key, settings, shown)
        _, changes = live.twin[int(key) - 1]
        assert settings == live.settings | changes, "the key does what the page says"


# the exams' numbers


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def pushes(policy, rewards):
    return policy * (rewards - policy @ rewards)


def scores(policy):
    return torch.eye(len(policy), dtype=torch.float64) - policy


def trace(policy, rewards, b=0.0):
    """Of one sample's covariance, every action listed."""
    says = (rewards - b)[:, None] * scores(policy)
    mean = policy @ says
    return float(policy @ (says - mean).square().sum(1))


def plus(value, places):
    return f"{value:+.{places}f}"


def exam_00():
    policy, pays = vector(0.6, 0.3, 0.1), vector(0.5, 0.0, 1.0)
    step = pushes(policy, pays)
    outcomes = sum(3**k for k in range(4)) + 3**4
    asked = len([0 for k in range(4) for _ in range(3**k)])
    return [f"{policy @ pays:.1f}", *(plus(x, 2) for x in step), f"{policy @ step:.3f}", str(outcomes), str(asked)]


def exam_01():
    policy = vector(0.5, 0.3, 0.2)
    added = 0.5 * -2 * scores(policy)[1]
    after = torch.softmax(policy.log() + added, 0)
    start = vector(0.64, 0.32, 0.04)
    warm = torch.softmax(start.log() / 2, 0)
    entropies = [f"{-(p * p.log()).sum():.2f}" for p in (start, warm)]
    return [*(plus(x, 1) for x in added), f"{after[0] / after[2]:.2f}", *(f"{x:.3f}" for x in warm), *entropies]


def exam_02():
    policy = vector(0.5, 0.5)
    batches = np.array(np.meshgrid(*[[0, 1]] * 5)).reshape(5, -1).T  # every batch of five
    rewards = vector(1.0, 0.0)[torch.tensor(batches)]
    says = ((rewards - rewards.mean(1, keepdim=True))[..., None] * scores(policy)[torch.tensor(batches)]).mean((0, 1))
    short = says[0] / pushes(policy, vector(1.0, 0.0))[0]
    return [f"{trace(policy, vector(*r)):.3f}" for r in ((1.0, 0.0), (4.0, 3.0))] + [f"{short:.1f}"]


def exam_03():
    texts, returns = [[2, 1, 0], [3, 3, 3, 3], [0]], vector(0.5, 0.0, 0.0)
    first = torch.tensor([text[0] for text in texts])
    says = (returns[:, None] * scores(vector(0.25, 0.25, 0.25, 0.25))[first]).sum(0)
    runs = 0.7 * 0.3 / 0.02**2
    return [str(sum(map(len, texts))), f"{says[2]:.3f}", f"{says[0]:.3f}", f"{0.7**5:.3f}", f"{runs:.0f}"]


def exam_04():
    policy, sure = vector(0.5, 0.5), vector(0.2, 0.8)
    paid = vector(1.0, 0.0)
    samples = 100 * trace(sure, paid) / float(pushes(sure, paid).square().sum())
    off = [math.sqrt(trace(policy, r) / float(pushes(policy, r).square().sum())) for r in (paid, 3 * paid, paid + 1)]
    return [f"{samples:.0f}", *(f"{x:.0f}" for x in off)]


def exam_05():
    policy, rewards = vector(0.6, 0.3, 0.1), vector(1.0, 0.0, 2.0)
    grid = torch.linspace(0, 2, 2001, dtype=torch.float64)
    best = grid[torch.tensor([trace(policy, rewards, float(b)) for b in grid]).argmin()]
    two, paid = vector(0.8, 0.2), vector(1.0, 0.0)
    traces = [f"{abs(trace(two, paid, b)):.4f}" for b in (0.0, 0.8, 0.2)]
    return [f"{policy @ rewards:.1f}", f"{best:.3f}"[:5], *traces, "0.2"]


def exam_06():
    rewards = [0.0, -1.0, 0.0, 2.0]
    usual = [sum(0.5 ** (k - t) * rewards[k] for k in range(t, 4)) for t in range(4)]
    exact = [f"{0.5**t * usual[t]:g}" for t in range(4)]
    return [f"{usual[0]:g}", *exact, f"{sum(1 / 5 for _ in range(3, 5)):.1f}"]


def exam_07():
    slopes = []
    for advantage in (2.0, -2.0):
        for value in (0.5, 1.0, 1.5):
            ratio = torch.tensor(value, requires_grad=True)
            torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).backward()
            slopes.append(f"{ratio.grad:+.0f}" if ratio.grad else "0")
    variance = (0.5 * (1.09**2 + 0.91**2)) ** 500 - 1
    return [*slopes, f"{variance:.1f}"]


def exam_08():
    rewards = np.array([1.0, 0, 0, 0])
    others = [rewards[i] - np.delete(rewards, i).mean() for i in (0, 1)]
    less = rewards - rewards.mean()
    found = [*others, *less[:2], *(less / rewards.std(ddof=1))[:2]]
    dead = sum(math.comb(4, k) * 0.2**k * 0.8 ** (4 - k) for k in (0, 4))
    return [*(f"{x:.3f}" for x in found), f"{dead:.4f}", f"{32 * (1 - dead):.1f}"]


def exam_09():
    from itertools import combinations

    dead = [0.98**size + 0.02**size for size in (16, 64)]
    tries = [*combinations(range(16), 4)]
    return [*(f"{x:.3f}" for x in dead), f"{sum(min(four) < 2 for four in tries) / len(tries):.2f}"]


def exam_10():
    weights = ["0", "-1.5", "+1.2", "-1.2", "+1", "-1"]
    found = []
    for advantage in (1.0, -1.0):
        log_ratio = torch.tensor(math.log(1.5), dtype=torch.float64, requires_grad=True)
        ratio = log_ratio.exp()
        torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).backward()
        found += [log_ratio.grad.item(), min(1.5, 1.2) * advantage, advantage]
    assert np.allclose(found, [float(weights[i]) for i in (0, 2, 4, 1, 3, 5)])
    slopes = [((1 - (1 - p - 1e-6) ** 8) - (1 - (1 - p + 1e-6) ** 8)) / 2e-6 for p in (0.1, 0.5)]
    return [*weights, f"{slopes[0]:.3f}", f"{slopes[1]:.4f}"]


def exam_11():
    values = [0.2, 0.5, 0.4, 0.0]
    errors = [(t == 2) + values[t + 1] - values[t] for t in range(3)]
    half = [sum(0.5 ** (k - t) * errors[k] for k in range(t, 3)) for t in range(3)]
    whole = [sum(errors[t:]) for t in range(3)]
    ends = [1 + 0.9 * 8 - 8.5, 1 - 8.5]
    return [f"{x:.1f}" for x in (*errors, half[1], half[0], whole[0], whole[1], *ends)]


def exam_12():
    policy = vector(0.5, 0.3, 0.2)
    fisher = (policy[:, None, None] * scores(policy)[:, :, None] * scores(policy)[:, None, :]).sum(0)
    step = vector(0.1, 0.0, -0.1)
    entries = [f"{fisher[i, j]:.2f}" for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    start, rewards = vector(0.2, 0.5, 0.3), vector(1.0, 0.5, 0.0)
    better = rewards - start @ rewards
    ends = [torch.softmax(start.log() + move, 0) for move in (better, start * better)]
    return [*entries, f"{step @ fisher @ step / 2:.5f}", *(f"{x:.3f}" for end in ends for x in end)]


def exam_13():
    reference, worth = vector(0.7, 0.2, 0.1), vector(0.0, 1.0, 2.0)
    best = torch.softmax(reference.log() + worth, 0)
    far = (best * (best / reference).log()).sum()
    return [*(f"{x:.3f}" for x in best), f"{far:.3f}", f"{math.log(4) - 3 / 4:.3f}"]


def exam_14():
    normal = torch.distributions.Normal
    drawn = torch.tensor([-1.0, 0.3, 2.0], requires_grad=True)
    slopes = torch.autograd.grad((drawn + 2 * (drawn > 0)).sum(), drawn)[0]
    up, down = (mean + 2 * (1 - normal(mean, 0.5).cdf(vector(0.0))) for mean in vector(1e-5, -1e-5))
    reward, alpha = vector(1.0, 25.0), 0.5
    log_std = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for _ in range(2000):  # up the exact gradient: mean of the quadratic, and α for a nat
        goal = -(reward * (2 * log_std).exp()).sum() + alpha * log_std.sum()
        log_std = (log_std + 0.01 * torch.autograd.grad(goal, log_std)[0]).detach().requires_grad_()
    std = log_std.detach().exp()
    squashed = torch.distributions.TransformedDistribution(
        normal(vector(0.0), 1.0), torch.distributions.TanhTransform(cache_size=1)
    )
    says = [f"{slopes.mean():.0f}", f"{slopes.std():.0f}", f"{((up - down) / 2e-5).item():.3f}"]
    says += [*(f"{x:.1f}" for x in std), f"{-(reward * std**2).sum():.1f}"]
    return [
        *says,
        f"{squashed.log_prob(vector(1.0).tanh()).item():.3f}",
        f"{normal(0.0, 1.0).log_prob(vector(1.0)).item():.3f}",
    ]


def exam_15():
    clean = 0.6
    turned = sum(turn * (clean if kept else 1 - clean) for kept, turn in ((True, 0.7), (False, 0.3)))
    shrinks = (turned - 0.5) / (clean - 0.5)
    noise = turned * (1 - turned) / (clean * (1 - clean))
    start, texts = 0.4, ([0.5, 1.0], [0.5, 0.6, 0.7, 0.0])
    changes = [sum(b - a for a, b in zip([start, *text], text, strict=False)) for text in texts]
    found = [f"{turned:.2f}", f"{400 / shrinks**2:.0f}", f"{400 * noise / shrinks**2:.0f}"]
    found += [f"{sum(text):.1f}" for text in texts] + [f"{change:.1f}" for change in changes]
    return [*found, *(f"{sum(text) / len(text):.2f}" for text in texts)]


EXAMS = {name[-2:]: function for name, function in list(globals().items()) if re.fullmatch(r"exam_\d\d", name)}


@pytest.mark.parametrize("number", LESSONS)
def test_an_exams_answers_are_what_they_come_to(number):
    """Every number in bold, in the order in which it stands there, computed anew by listing or by autograd."""
    answers = part(page(number), PARTS[4])
    told = [text.translate(MINUS) for text in re.findall(r"\*\*([+−\d.]+)\*\*", answers) if text not in ("1.", "2.")]
    assert told == EXAMS[number]()


def test_what_a_class_should_know_comes_to_what_is_said():
    text = FRONT.read_text(encoding="utf-8")
    told = re.findall(
        r"\*\*([+−\d.]+)\*\*", text.split("## What a class should know before")[1].split("## Handouts")[0]
    )
    die = 6 / 6 + 5 / 6
    numbers = [f"{die:.3f}", f"{3 * die + 2:.1f}", f"{9 * 4}", f"{4 / 100:.2f}", f"{math.sqrt(0.2 * 0.8 / 100):.2f}"]
    numbers += [f"{math.hypot(2, 3):.3f}", f"{0.99**1000:.7f}", f"{1000 * math.log(0.99):.2f}", f"{(3 + 7) / 2:.0f}"]
    assert [x.translate(MINUS) for x in told if not re.fullmatch(r"\d\.", x)] == numbers


# the plans


def test_the_plans_name_lessons_slides_and_exercises_that_exist():
    text = FRONT.read_text(encoding="utf-8")
    counts = {number: len(deck(number)) for number in LESSONS}
    for number, ranges in re.findall(r"(\d\d): (?:slides? )?((?:\d+(?:–\d+)?(?:, )?)+)", part(text, "Three plans")):
        if number in counts:
            assert all(1 <= int(slide) <= counts[number] for slide in re.findall(r"\d+", ranges)), (number, ranges)
    lessons = "".join(path.read_text(encoding="utf-8") for path in LESSONS.values())
    for exercise in re.findall(r"\b(\d{1,2}\.\d)\b", part(text, "Three plans")):
        assert f"Exercise {exercise}**" in lessons, exercise
    hours = re.findall(r"^\| (\d+) \| (\d\d)", part(text, "Three plans").split("### Six")[0], re.M)
    assert [int(hour) for hour, _ in hours] == list(range(1, 16))
    assert [lesson for _, lesson in hours] == [number for number in LESSONS if number != "14"], "14 is a side road"


# the slides


@pytest.mark.parametrize("number", LESSONS)
def test_a_lessons_slides_are_as_many_as_an_hour_takes(number):
    lesson = nbformat.read(LESSONS[number], as_version=4)
    tagged = [cell for cell in lesson.cells if "slide" in cell.metadata.get("tags", [])]
    own = [cell for cell in tagged if cell.id not in ("title", "know", "exercises", "quiz")]
    assert {cell.id for cell in tagged} >= {"title", "know", "exercises", "quiz"}
    assert all(cell.metadata["slide"].startswith("## ") for cell in own), "a slide begins with what it is about"
    assert not [cell.id for cell in lesson.cells if "slide" in cell.metadata and cell not in tagged]
    assert 9 <= sum(cell.metadata["slide"].count("\n---\n") + 1 for cell in own) <= 20


@pytest.mark.parametrize("number", LESSONS)
def test_every_widget_that_a_page_demonstrates_is_on_a_slide(number):
    shown = "".join(beside for _, beside in deck(number))
    for name in re.findall(r"<!-- demo ([\w-]+)", page(number)):
        assert f" {name}>" in shown


NUMBER = re.compile(r"(?<![\w.,])\d+[.,]\d+|(?<![\w.,])\d{3,}")


@pytest.mark.parametrize("number", LESSONS)
def test_a_slides_numbers_stand_in_its_lesson(number):
    """What a slide says in its own words; digits that round what the lesson prints may be shorter."""
    lesson = nbformat.read(LESSONS[number], as_version=4)
    said = "\n".join(cell.metadata.get("slide", "") for cell in lesson.cells)
    text = "".join(cell.source + str(cell.get("outputs", "")) for cell in lesson.cells).replace(",", "")
    for found in NUMBER.findall(said):
        plain = found.replace(",", "")
        assert re.search(rf"(?<![\d.]){re.escape(plain)}", text), found


def test_a_slide_may_be_two_and_words_may_be_taken_from_the_cell():
    cells = [
        nbformat.v4.new_markdown_cell("long text", id="a", metadata={"tags": ["slide"], "slide": "## A\n\n---\n\n## B"})
    ]
    lesson = nbformat.v4.new_notebook(cells=cells)
    found = [words for words, _ in slides.slides(lesson, "05", lambda *_: "")]
    assert [re.search("<h2>(.)</h2>", words)[1] for words in found] == ["A", "B"]
    assert r"\(x &lt; 1\)" in slides.markdown("$x < 1$")
    assert r"\[" in slides.markdown("$$\nx\n$$")
