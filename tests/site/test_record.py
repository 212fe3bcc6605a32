"""What the recorder keeps is what the widget draws: cut into tiles, each fragment once, every setting found again."""

import itertools
import json
import re
import zlib

import numpy as np
import pytest
import record
import tiles
from matplotlib.figure import Figure

from pgnotes.classroom.artists import empty_line, fill, readouts, two_panels
from pgnotes.classroom.live import Choice, Live, Slider, Switch
from pgnotes.classroom.style import label
from pgnotes.classroom.widgets.policy_update import policy_update


def numbers(height, side, on=False, seed=0):
    return {"height": height + 0.25 * seed, "side": side, "on": on}


def draw(fig: Figure):
    left, right = two_panels(fig)
    for ax, name in ((left, "left"), (right, "right")):
        label(ax, name).set(xlim=(0, 1), ylim=(0, 5))
    lines = [empty_line(ax, "o") for ax in (left, right)]
    words = left.text(0.5, 0.5, "")
    readings = readouts(fig, 0.03, (0.3, "height"), (0.8, "side"))

    def update(n):
        lines[n["side"] == "right"].set_data([0.5], [n["height"]])
        lines[n["side"] == "left"].set_data([], [])
        words.set_text("is 0.4375 wide")
        words.set_visible(n["on"])
        fill(readings, (f"{n['height']:.2f}", n["side"]))

    return [*lines, words, *readings], update


SIDES = Choice("side", "which side", (("the left", "left"), ("the right", "right")), "right")
HEIGHTS = Slider("height", "how high", 0.0, 4.0, 0.5, 1.0)


@pytest.fixture
def toy():
    return Live(numbers, draw, (HEIGHTS, SIDES, Switch("on", "words")), 3.0, (("one", {}),), "a toy", noise=True)


@pytest.fixture
def recorded(toy, monkeypatch):
    """(head, table [layers, states]) of the toy's recording."""
    monkeypatch.setattr(record, "widget", lambda name: toy)
    recording, states = record.record("toy")
    raw = zlib.decompress(recording)
    size = int.from_bytes(raw[:4], "little")
    head = json.loads(raw[4 : 4 + size])
    table = np.frombuffer(raw[4 + size :], "<u2").reshape(-1, states)
    return head, table


def words_of(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_every_setting_is_found_again(recorded):
    """The readouts say what the numbers say, in the order in which a page counts the settings."""
    head, table = recorded
    controls = head["controls"]
    assert [(one["name"], one["kind"], len(one["texts"])) for one in controls] == [
        ("height", "slider", 9),
        ("side", "choice", 2),
        ("on", "switch", 2),
        ("seed", "button", 3),
    ]
    layers = {number: fragments for tile in head["tiles"] for number, fragments in tile["layers"]}
    assert head["states"] == 9 * 2 * 2 * 3 == table.shape[1]
    places = itertools.product(*(range(len(one["texts"])) for one in controls))
    for state, (height, side, _, seed) in enumerate(places):
        shown = [words_of(layers[number][table[number, state]]) for number in (3, 4)]
        assert shown == [[f"{0.5 * height + 0.25 * seed:.2f}"], [("left", "right")[side]]]


def test_a_picture_is_cut_into_panels_and_words(recorded):
    head, _ = recorded
    panels = [tile for tile in head["tiles"] if tile["panel"]]
    assert [words_of(tile["still"])[-1] for tile in panels] == ["left", "right"]
    assert [number for number, _ in panels[0]["layers"]] == [0, 2]
    words = [tile for tile in head["tiles"] if not tile["panel"]]
    assert [words_of(tile["still"]) for tile in words] == [["height"], ["side"]]
    assert [[number for number, _ in tile["layers"]] for tile in words] == [[3], [4]]
    for one, other in itertools.combinations(head["tiles"], 2):
        (x, y, w, h), (u, v, a, b) = one["box"], other["box"]
        assert x + w <= u + 6.1 or u + a <= x + 6.1 or y + h <= v + 6.1 or v + b <= y + 6.1, "no tile covers another"


def test_what_cannot_be_seen_is_not_there_and_text_keeps_its_digits(recorded):
    head, table = recorded
    fragments = dict(head["tiles"][0]["layers"])[2]
    assert sorted(words_of(fragment) for fragment in fragments) == [[], ["is 0.4375 wide"]]
    assert len(set(table[2])) == 2


def test_each_fragment_is_kept_once(recorded):
    for tile in recorded[0]["tiles"]:
        for _, fragments in tile["layers"]:
            assert len(set(fragments)) == len(fragments)


def test_the_still_part_holds_nothing_that_moves(recorded):
    for tile in recorded[0]["tiles"]:
        assert "wide" not in tile["still"]


def test_no_fragment_asks_for_what_the_still_part_lacks():
    """Clips are named alike in both, and no two widgets name theirs alike."""
    recorder = tiles.Recorder(policy_update(), "policy_update")
    stills = "".join(recorder.still(tile) for tile in recorder.tiles)
    wanted = re.findall(r"url\(#(\w+)\)", "".join(recorder.frame(reward=0.5)))
    assert wanted
    assert all(f'id="{name}"' in stills for name in wanted)


def test_thinning_keeps_the_ends_and_the_beginning():
    one = record.position(Slider("x", "x", 0.0, 1.0, 0.1, 0.3))
    for _ in range(4):
        record.thin(one)
        assert (one.values[0], one.values[-1], one.values[one.at]) == (0.0, 1.0, 0.3)
    assert len(one.values) == 3


def test_what_the_still_picture_shows_is_recorded(toy, monkeypatch):
    """However few positions are left: a lecturer asks for these by their captions."""
    toy.twin = (("one", {"height": 2.5}), ("another", {"height": 3.5, "on": True}))
    monkeypatch.setattr(record, "STATES", 5)
    first = record.positions(toy)[0]
    assert first.values == [0.0, 1.0, 2.5, 3.5, 4.0]
    toy.recorded = {"height": (0.0, 1.0)}
    assert record.positions(toy)[0].values == [0.0, 1.0, 2.5, 3.5]


@pytest.mark.parametrize("name", record.shown_in_lessons())
def test_every_picture_that_a_caption_describes_is_recorded(name):
    live = record.widget(name)
    if live.dear:
        return  # recorded at these and no others
    for caption, settings in live.twin:
        for one in record.positions(live):
            assert (live.settings | settings)[one.name] in one.values, (caption, one.name)


def test_chosen_positions_are_kept(toy, monkeypatch):
    toy.recorded = {"height": (0.0, 1.0, 4.0)}
    first = record.positions(toy)[0]
    assert (first.values, first.texts, first.at) == ([0.0, 1.0, 4.0], ["0.0", "1.0", "4.0"], 1)
    monkeypatch.setattr(record, "STATES", 5)
    assert len(record.positions(toy)[0].values) == 3, "not thinned, however many there are"


def test_a_change_in_what_a_widget_imports_asks_for_a_new_recording(tmp_path, monkeypatch):
    def fails(name):
        raise AssertionError("recorded although nothing changed")

    target = tmp_path / "policy_update.js"
    target.write_text(f"// {record.fingerprint('policy_update')}\nrest", encoding="utf-8")
    monkeypatch.setattr(record, "record", fails)
    assert record.make("policy_update", str(tmp_path)) == "policy_update: up to date"
    assert "pgnotes.theory.policies" in record.sources("pgnotes.classroom.widgets.policy_update")

    monkeypatch.setattr(record, "CODE", "other")
    with pytest.raises(AssertionError):
        record.make("policy_update", str(tmp_path))


def test_marks_in_a_row_say_once_how_they_look():
    alike = "".join(f'<use xlink:href="#a" x="{x}" y="2" style="fill: #009e73; fill-opacity: 0.35"/>' for x in range(3))
    other = '<use xlink:href="#a" x="7" y="2" style="fill: #aa3377"/>'
    short = tiles.shortened(alike + other)
    marks = "".join(f'<use href="#a" x="{x}" y="2"/>' for x in range(3))
    last = '<use href="#a" x="7" y="2" style="fill: #aa3377"/>'
    assert short == f'<g style="fill: #009e73; fill-opacity: 0.35">{marks}</g>{last}'

    # a group's own opacity is something else than that of each of its marks
    faint = '<use href="#a" x="1" y="2" style="fill: red; opacity: 0.5"/>' * 2
    assert tiles.shortened(faint) == faint


def test_a_long_line_keeps_its_points_to_a_tenth():
    points = [(3 * i + 0.04, 50 - 0.7 * i) for i in range(30)]
    path = ' d="M ' + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points) + ' "'
    short = tiles.shortened(f"<path{path}/>")
    start, moves = re.search(r'd="M([-\d. ]+)l([-\d. ]+)', short).groups()
    numbers = [float(number) for number in moves.split()]
    x, y = (float(number) for number in start.split())
    found = [(x, y)]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        found.append((found[-1][0] + dx, found[-1][1] + dy))
    assert len(found) == 30
    assert all(
        abs(a - b) < 0.051 for one, other in zip(found, points, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert len(short) < 0.5 * len(path)


def test_every_widget_of_the_lessons_is_recorded_under_a_name_of_its_own():
    """Two variants of one are two recordings."""
    names = record.shown_in_lessons()
    assert {"learning_lab", "learning_lab-additions", "policy_update"} <= set(names)
    for name in ("policy_update", "learning_lab-additions"):
        assert record.widget(name).name == name
