"""Pictures: drawn from any records, described in words, and not more often than the run can afford."""

import ast
import io
import itertools

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from pgnotes.classroom import atlas, dashboard, figure
from pgnotes.classroom.dashboard import LivePicture, curves, outcomes, smooth
from pgnotes.classroom.style import bundle, panels

RECORD = {"pass_rate": 0.25, "dead_fail": 0.1, "dead_pass": 0.0, "entropy": 0.3, "kl": 0.02}
RECORD |= {"reward": 0.25, "reward_std": 0.4}
RECORD |= {"length": 47.0, "length_std": 1.5, "digit_sum": 12.5, "digit_sum_std": 1.0}


def records(n, **changes):
    return [RECORD | {"step": i} | changes for i in range(n)]


@pytest.mark.parametrize(
    "rows",
    [
        records(1),
        records(30),
        records(3, kl=None, entropy=0.0),
        records(2, length_std=0.0, digit_sum_std=0.0, reward_std=0.0),
    ],
)
def test_curves_of_any_run(rows):
    fig, alt = curves(rows, 30, length=48, digit_sum=12)
    assert f"after {len(rows)} of 30 steps" in alt
    assert "25%" in alt
    data, metadata = bundle(fig, alt)
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == metadata["image/png"]["alt"] == alt


def test_outcomes_count_passes():
    rows = [{"length": 48, "digit_sum": 12, "passed": True}, {"length": 40, "digit_sum": 3, "passed": False}]
    fig, alt = outcomes(rows, rows[:1], 48, 12)
    assert "50%" in alt
    assert "100%" in alt
    bundle(fig, alt)


def test_smooth_is_the_mean_of_what_came_last():
    assert smooth([1.0, 2.0, 3.0, 4.0], width=2).tolist() == [1.0, 1.5, 2.5, 3.5]


def test_a_picture_says_where_its_panels_lie():
    """Each with its title and labels; axes on each other are one; a single panel is the whole picture."""
    fig, (left, right) = panels(1, 2, 3.0)
    left.set_title("left")
    right.twinx()
    _, metadata = bundle(fig, "two panels")
    (x, y, w, h), (u, v, a, b) = metadata["image/png"]["panels"]
    assert x < 0.05 < 0.4 < w < 0.5
    assert u > 0.45
    assert max(y, v) < 0.1
    assert min(h, b) > 0.85
    assert u + a > 0.95
    assert "panels" not in bundle(panels(1, 1, 3.0)[0], "one panel")[1]["image/png"]


def test_a_picture_needs_words():
    with pytest.raises(ValueError, match="^alt "):
        figure(Figure(), alt=" ")


@pytest.mark.parametrize("more", [0, 1])
def test_the_map_has_room_for_more_lessons(monkeypatch, more):
    """Whatever their number, all texts stay in the picture and apart."""
    new = tuple((f"{16 + i}", f"Lesson {16 + i}", "another line\nand one more", {}) for i in range(more))
    monkeypatch.setattr(atlas, "LESSONS", atlas.LESSONS + new)
    count = len(atlas.LESSONS)
    many = atlas.IN_WORDS.get(count, count)
    fig, alt = atlas.course_map()
    assert alt.startswith(f"A map of the {many} lessons, in order: 00 Start here; 01 ")
    assert all(f"; {number} {name}" in alt for number, name, *_ in new)

    boxes = [text.get_window_extent() for text in fig.axes[0].texts]
    assert len(boxes) == len(atlas.GROUPS) + 3 * count + 2, "groups, lessons, the thread"
    for box in boxes:
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert fig.bbox.y0 <= box.y0 < box.y1 <= fig.bbox.y1
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


def test_redraws_are_rare(monkeypatch):
    """Never twice within half a second, and never for more than a tenth of the time."""
    now, drawn = [0.0], []
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])

    def slow(fig, alt):
        drawn.append(now[0])
        now[0] += 0.2  # drawing takes a fifth of a second

    monkeypatch.setattr(dashboard, "figure", slow)
    monkeypatch.setattr(dashboard, "curves", lambda *args, **targets: (None, ""))
    picture = LivePicture(100, length=48, digit_sum=12)
    for record in records(100):
        picture(record)
        now[0] += 0.1
    gaps = [b - a for a, b in itertools.pairwise(drawn)]
    assert len(drawn) >= 3
    assert min(gaps) >= 2.0
    picture.finish()
    assert len(picture.records) == 100


def test_the_warm_up_has_a_picture_of_its_own_that_is_drawn_to_its_end(monkeypatch):
    now, drawn = [0.0], []
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(dashboard, "figure", lambda fig, alt: drawn.append(alt) or Handle(drawn))
    picture = LivePicture(100, length=48, digit_sum=12)
    for update in range(40):
        picture.warm_up({"update": update, "loss": 4.0 - 0.05 * update})
        now[0] += 0.05
    for record in records(100):
        picture(record)
        now[0] += 0.05
    picture.finish()
    warm = [alt for alt in drawn if alt.startswith("Loss of the warm-up")]
    assert warm[0].endswith("4.00 nats a token at first, 4.00 now.")
    assert warm[-1].endswith("4.00 nats a token at first, 2.05 now.")
    assert drawn[-1].startswith("Learning curves after 100 of 100 steps")
    assert drawn.index(warm[-1]) < drawn.index(next(alt for alt in drawn if alt.startswith("Learning"))), "one by one"


class Handle:
    """A display handle that notes what replaces its picture."""

    def __init__(self, drawn):
        self.drawn = drawn

    def update(self, data, metadata, raw):
        self.drawn.append(data["text/plain"])


def test_show_displays_the_source(monkeypatch):
    """Of a function and of a method, as a block of Python that can be run."""
    import pgnotes

    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    pgnotes.show(smooth)
    pgnotes.show(LivePicture.finish)
    for block, function in zip(shown, (smooth, LivePicture.finish), strict=True):
        first, *lines, last = block.data.splitlines()
        assert (first, last) == ("```python", "```")
        (parsed,) = ast.parse("\n".join(lines)).body
        assert parsed.name == function.__name__
        assert ast.get_docstring(parsed) == function.__doc__
        assert len(parsed.body) > 1


def test_a_large_picture_is_kept_with_few_colours():
    """In the same size, and much smaller."""
    fig, ax = panels(1, 1, 3.0)
    ax.imshow(torch.rand(600, 1400, 3, generator=torch.Generator().manual_seed(0)).numpy(), aspect="auto")
    whole = io.BytesIO()
    fig.savefig(whole, format="png", facecolor="white")
    data, _ = bundle(fig, "noise")
    assert len(data["image/png"]) < len(whole.getvalue()) / 2
    kept, before = (Image.open(io.BytesIO(png)) for png in (data["image/png"], whole.getvalue()))
    assert kept.size == before.size
    assert kept.mode == "P"
