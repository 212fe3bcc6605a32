"""The drawings of lesson 00: nothing is cut off, nothing lies on anything else, no letters are small."""

import itertools

import pytest

from pgnotes.classroom import atlas, diagrams
from pgnotes.classroom.style import bundle

DRAWINGS = (diagrams.agent_and_environment, diagrams.making_of_a_chat_model, atlas.course_map, atlas.timeline)


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda d: d.__name__)
def test_texts_stay_in_the_drawing_and_apart_and_can_be_read(drawing):
    fig, alt = drawing()
    bundle(fig, alt)
    texts = fig.axes[0].texts
    assert min(text.get_fontsize() for text in texts) >= 10
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    for text, box in boxes:
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1, text
        assert fig.bbox.y0 <= box.y0 < box.y1 <= fig.bbox.y1, text
    assert not [(one, two) for (one, a), (two, b) in itertools.combinations(boxes, 2) if a.overlaps(b)]


@pytest.mark.parametrize("drawing", DRAWINGS[:2], ids=lambda d: d.__name__)
def test_what_stands_in_a_plate_ends_within_it(drawing, monkeypatch):
    plates = []
    drawn = diagrams.plate

    def noted(ax, x, y, wide, tall, head, lines):
        drawn(ax, x, y, wide, tall, head, lines)
        plates.append(((x, y, x + wide, y + tall), ax.texts[-2:]))

    monkeypatch.setattr(diagrams, "plate", noted)
    fig, _ = drawing()
    to_data = fig.axes[0].transData.inverted()
    for (left, low, right, high), texts in plates:
        for text in texts:
            box = text.get_window_extent().transformed(to_data)
            assert left < box.x0 < box.x1 < right, text
            assert low < box.y0 < box.y1 < high, text


def test_the_timeline_counts_what_the_lesson_says_of_it():
    assert len(atlas.HISTORY) == 29
    assert sum(year >= 2024 for year, *_ in atlas.HISTORY) == 9
