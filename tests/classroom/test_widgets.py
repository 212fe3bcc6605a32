"""Every widget, without a browser: swept over its settings on the pure part, and through its controls."""

import gc
import importlib
import io
import itertools
import pkgutil
import random
import re
import sys
import weakref

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pgnotes.classroom import widgets
from pgnotes.classroom.canvas import Canvas, caption_image
from pgnotes.classroom.live import Dear, Live, Slider
from pgnotes.classroom.page import UNNAMED, WIDGET_VIEW, close, on_page
from pgnotes.classroom.quiz import quiz
from pgnotes.classroom.style import WIDTH

NAMES = [module.name for module in pkgutil.iter_modules(widgets.__path__)]


STEPS = 24  # of a walk through a widget's settings


def make(name):
    return getattr(importlib.import_module(f"pgnotes.classroom.widgets.{name}"), name)()


@pytest.fixture(scope="module", params=NAMES)
def widget(request):
    """A widget that runs what is dear once for each of its settings."""
    widget, results = make(request.param), {}
    finish = widget.finish

    def once(settings, *progress):
        key = repr(settings | {"dear": None})
        if key not in results:
            results[key] = finish(settings, *progress)
        return results[key]

    widget.finish = once
    return widget


def values_of(control):
    """Every value that a control can have."""
    if not isinstance(control, Slider):
        return control.extremes()
    steps = round((control.high - control.low) / control.step)
    return [type(control.step)(min(control.low + control.step * i, control.high)) for i in range(steps + 1)]


@pytest.fixture(scope="module")
def walk(widget):
    """(settings, numbers) as a hand goes through them: one control for a while, then another, both ends of each."""
    generator, settings, path = random.Random(0), dict(widget.settings), []
    ranges = {control.name: values_of(control) for control in widget.controls}
    if widget.noise:
        ranges["seed"] = [0, 1, 2]
    results = [None, widget.finish(settings | widget.twin[0][1])] if widget.dear else []

    # each control's turn comes at least twice: from its low end, and from its high one
    for end in itertools.islice(itertools.cycle((0, -1)), max(2, STEPS // (2 * len(ranges)))):
        for name in generator.sample([*ranges], len(ranges)):
            for value in (ranges[name][end], generator.choice(ranges[name])):
                settings = settings | {name: value} | ({"dear": generator.choice(results)} if results else {})
                path.append((settings, widget.numbers(**settings)))
    return path


@pytest.fixture(scope="module")
def seen(widget, walk):
    """(settings, the picture's size, its pixels, its texts as `texts_of` gives them) at each step of the walk."""
    steps = []
    for settings, numbers in walk:
        image = widget.canvas.image(numbers)
        steps.append((settings, image.size, image.tobytes(), texts_of(widget.canvas)))
    return steps


def texts_of(canvas):
    """(text, its place, the box it fills) of every text but the axes' numbers that can be seen."""
    texts = [*canvas.figure.texts]
    for ax in canvas.figure.axes:
        titles = [ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label]
        texts += [*ax.texts, *(titles if ax.axison else [])]

    # a text that is clipped away has no box, or an empty one
    seen = [text for text in texts if text.get_visible() and text.get_text().strip()]
    boxes = [text.get_tightbbox(canvas.canvas.get_renderer()) for text in seen]
    places = [(text.axes, text.get_position()) for text in seen]
    return [(t.get_text(), at, box) for t, at, box in zip(seen, places, boxes, strict=True) if box and box.width > 0]


def test_a_picture_depends_on_its_settings_alone(walk, seen, request):
    """The same settings, come to from two sides: here the first ones are new to the widget, there the last ones are."""
    other = make(request.node.callspec.params["widget"])
    back = [other.canvas.image(numbers).tobytes() for _, numbers in reversed(walk)][::-1]
    wrong = [settings for (settings, _, pixels, _), again in zip(seen, back, strict=True) if pixels != again]
    assert not wrong, f"{len(wrong)} of {len(walk)} pictures depend on what was seen before, for one {wrong[0]}"


def test_texts_stay_in_the_picture_and_apart(widget, seen):
    """Wherever the controls stand. A single letter names something that moves, and may come near anything."""
    bounds = widget.canvas.figure.bbox
    for settings, size, _, texts in seen:
        assert size == (700, round(100 * widget.height)), "the picture never changes its size"
        for text, _, box in texts:
            assert not re.search(r"\b(nan|inf)\b", text), (text, settings)
            assert min(box.x0, box.y0, bounds.x1 - box.x1, bounds.y1 - box.y1) > -1, (text, box, settings)
        for (one, at, a), (two, there, b) in itertools.combinations(texts, 2):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            if at != there and min(len(one), len(two)) > 1:  # letters of several colours make one line
                assert min(wide, high) < 3, (one, two, settings)


def test_every_control_moves_the_picture(widget):
    """Through the traitlets, as a browser does it; no fault shown."""
    widget.make()
    for control in widget.controls:
        handle, seen = widget.handles[control.name], set()
        for value in {*control.extremes(), random.Random(1).choice(values_of(control))}:
            handle.value = value
            assert widget.fault.value == ""
            assert widget.settings[control.name] == handle.value
            assert handle.value == pytest.approx(value) if isinstance(value, float) else handle.value == value
            seen.add(bytes(widget.picture.value))
        assert len(seen) > 1, f"{control.name} changes nothing"
        handle.value = control.value


def test_the_twin_shows_telling_settings_under_captions_that_fit(widget):
    """The twin itself is drawn when the lessons are run."""
    pictures = set()
    for caption, changes in widget.twin:
        assert changes.keys() <= widget.settings.keys(), caption
        pictures.add(widget.png(**changes))
        line = np.asarray(caption_image(caption))
        assert (line[:, -10:] == line[0, -1]).all(), f"cut off: {caption}"
        assert (line != line[0, -1]).any(), f"empty: {caption}"
    assert len(pictures) == len(widget.twin) >= 2
    assert len(widget.alt) > 80


def test_a_change_makes_no_figure(widget, monkeypatch):
    widget.make()
    control, seen = widget.controls[-1], {bytes(widget.picture.value)}
    monkeypatch.setattr(Figure, "__init__", lambda *_, **__: pytest.fail("a new figure"))
    for value in [*control.extremes(), control.value]:
        widget.handles[control.name].value = value
        seen.add(bytes(widget.picture.value))
    assert widget.fault.value == ""
    assert len(seen) > 1


def test_policy_update_is_the_update_of_the_formula():
    from torch import softmax, tensor

    from pgnotes.classroom.widgets.policy_update import START, numbers

    theta = tensor(START, dtype=float)
    for action, reward, size in itertools.product(range(3), (-2.0, 0.0, 1.5), (0.0, 0.7)):
        pi = softmax(theta, 0)
        step = size * reward * (tensor([float(i == action) for i in range(3)]) - pi)
        n = numbers(action, reward, size)
        after = softmax(theta + step, 0)
        assert n["after"] == pytest.approx(after.tolist(), abs=1e-12)
        assert n["kl"] == pytest.approx((pi * (pi / after).log()).sum().item(), abs=1e-12)
        assert n["entropy"] == pytest.approx(
            (-(pi * pi.log()).sum().item(), -(after * after.log()).sum().item()), abs=1e-12
        )


def test_next_token_is_the_model_s_own_distribution(pocket):
    import torch

    from pgnotes.classroom.widgets.next_token import REQUEST, numbers
    from pgnotes.lm.models import encode

    model, tokenizer = pocket
    start = "sold 1"
    ids = torch.cat([encode(tokenizer, REQUEST), torch.tensor(tokenizer(start, add_special_tokens=False)["input_ids"])])
    probs = model(ids[None]).logits[0, -1].double().softmax(0)
    n = numbers(start, 2.0, 3)
    assert n["before"] == pytest.approx(sorted(probs.tolist(), reverse=True)[:12], rel=1e-4)
    kept = probs.sqrt() * (probs >= probs.topk(3).values[-1])
    kept = kept / kept.sum()
    assert n["after"][:3] == pytest.approx(kept.topk(3).values.tolist(), rel=1e-4)
    assert n["after"][3:] == [0.0] * 9
    live_ones = kept > 0
    assert n["kl"] == pytest.approx(
        (kept[live_ones] * (kept[live_ones] / probs[live_ones]).log()).sum().item(), rel=1e-4
    )


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (2.5, 3)])
def test_what_it_writes_is_what_a_plain_loop_writes(pocket, temperature, top_k):
    """Without a cache: every line's whole text goes through the model again for each token."""
    import torch

    from pgnotes.classroom.widgets.next_token import LONGEST, REQUEST, next_token
    from pgnotes.lm.models import encode
    from pgnotes.lm.rollout import uniforms

    (model, tokenizer), start = pocket, "sold 12 loaves and "
    written = torch.tensor(tokenizer(start, add_special_tokens=False)["input_ids"])
    prompt = torch.cat([encode(tokenizer, REQUEST), written])
    lines = prompt.repeat(4, 1)
    for noise in uniforms(4, LONGEST - len(start), "next token"):
        logits = model(lines).logits[:, -1].double() / temperature
        if top_k:
            logits = logits.where(logits >= logits.topk(top_k).values[:, -1:], -torch.inf)
        below = (logits.softmax(1).cumsum(1) <= noise[:, None].double()).sum(1)
        lines = torch.cat([lines, below[:, None]], 1)
    plain = [tokenizer.decode(line).split(tokenizer.eos_token)[0] for line in lines[:, len(prompt) :].tolist()]
    widget = next_token()
    texts = widget.finish(widget.settings | {"temperature": temperature, "top_k": top_k})
    assert [line.removesuffix("…") for line in texts] == [start + line for line in plain]


def test_what_the_pocket_model_writes_depends_on_the_settings_alone():
    from pgnotes.classroom.widgets.next_token import next_token

    widget = next_token()
    settings = widget.settings | {"temperature": 0.5}
    shares = []
    first = widget.finish(settings, shares.append)
    assert first == widget.finish(settings)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert all(line.startswith("sold 12 loaves and ") for line in first)
    assert first != widget.finish(settings | {"temperature": 3.0})
    assert len(set(widget.finish(settings | {"top_k": 1}))) == 1, "top-1 leaves no choice"


# the machinery, on a widget of its own


def toy(numbers, **options):
    def draw(fig):
        ax = fig.subplots()
        ax.set(xlim=(0, 10), ylim=(0, 10))
        (dot,) = ax.plot([], [], "o")
        return [dot], lambda n: dot.set_data([n], [n])

    return Live(numbers, draw, (Slider("x", "x", 0.0, 10.0, 0.5, 1.0),), 2.0, (("one", {}),), "A dot.", **options)


def instances():
    """All widgets that ipywidgets keeps alive: its registry, in versions 7 and 8."""
    registry = getattr(ipywidgets.widgets.widget, "_instances", None)
    return ipywidgets.Widget.widgets if registry is None else registry


def button_of(ui):
    """The first button."""
    parts = [part for row in ui.children for part in getattr(row, "children", ())]
    return next(part for part in parts if isinstance(part, ipywidgets.Button))


def test_what_lies_on_top_stays_on_top():
    """A dot on a square: only the square moves, again and again, and never covers the dot."""

    def draw(fig):
        ax = fig.subplots()
        ax.set(xlim=(0, 10), ylim=(0, 10))
        square = ax.add_patch(Rectangle((0, 0), 8, 8, facecolor="gray"))
        (dot,) = ax.plot([5], [5], "o", color="black")
        return [square, dot], square.set_x

    dragged = Canvas(draw, 2.0, 100)
    for x in (0.0, 0.5, 1.0, 1.5):
        assert dragged.image(x).tobytes() == Canvas(draw, 2.0, 100).image(x).tobytes(), f"at x = {x}"


def test_the_twin_is_all_its_pictures_below_each_other():
    one, two = toy(lambda x: x), toy(lambda x: x)
    two.twin = (("one", {}), ("two", {"x": 5.0}))
    sizes = [Image.open(io.BytesIO(widget.static())).size for widget in (one, two)]
    assert sizes == [(1400, 460), (1400, 920)], "a caption of 60 pixels and a picture of 400 each"


def test_a_fault_is_shown_with_its_settings_and_the_next_change_works():
    def numbers(x):
        if x > 6:
            raise ValueError("x is <too> large")
        return x

    widget = toy(numbers)
    widget.make()
    before = widget.picture.value
    widget.handles["x"].value = 7.0
    assert "ValueError: x is &lt;too&gt; large (at x = 7.0)" in widget.fault.value
    assert widget.picture.value == before
    widget.handles["x"].value = 3.0
    assert widget.fault.value == ""
    assert widget.picture.value != before


def test_resample_changes_the_noise_and_sliders_do_not():
    widget = toy(lambda x, seed: (x + random.Random(seed).random()) % 10, noise=True)
    button = button_of(widget.make())
    first = widget.picture.value
    widget.handles["x"].value = 4.0
    widget.handles["x"].value = 1.0
    assert widget.picture.value == first
    button.click()
    assert widget.picture.value != first


def test_what_is_dear_runs_on_its_button_and_is_dropped_when_a_control_moves():
    def run(x):
        for i in range(4):
            yield (i + 1) / 4
            seen.append((widget.bar.value, widget.bar.layout.visibility))
        return 2 * x

    seen = []

    widget = toy(lambda x, dear: dear or x, dear=Dear("Run", run))
    button_of(widget.make()).click()
    assert seen == [(share, "visible") for share in (0.25, 0.5, 0.75, 1.0)]
    assert (widget.settings["dear"], widget.bar.layout.visibility) == (2.0, "hidden")
    widget.handles["x"].value = 3.0
    assert widget.settings["dear"] is None


def test_a_fault_in_what_is_dear_is_shown_too():
    def run(x):
        yield 0.5
        raise RuntimeError("no luck")

    widget = toy(lambda x, dear: x, dear=Dear("Run", run))
    button_of(widget.make()).click()
    assert "RuntimeError: no luck (at x = 1.0)" in widget.fault.value
    assert widget.bar.layout.visibility == "hidden"


def test_an_interrupt_stops_what_is_dear_and_says_so():
    def run(x):
        yield 0.5
        raise KeyboardInterrupt

    widget = toy(lambda x, dear: x, dear=Dear("Run", run))
    ui = widget.make()
    before = widget.picture.value
    button_of(ui).click()
    assert "stopped at 50%; “Run” starts it again" in widget.fault.value
    assert widget.bar.layout.visibility == "hidden"
    assert widget.picture.value == before
    widget.handles["x"].value = 3.0
    assert widget.fault.value == ""


def test_an_interrupt_while_a_cell_runs_stops_the_cell():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy(interrupted).make()


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: (data, metadata) of each output."""
    outputs = []

    def display(data, metadata=None, raw=False):
        outputs.append((data, metadata))

    monkeypatch.setattr("pgnotes.classroom.page.display", display)
    return outputs


def style_of(ui):
    """What a widget on the page brings along as style, and the class that is its own."""
    (own,) = set(ui._dom_classes) - {"pgnotes-ui"}
    return ui.children[0].value, own


def test_the_twin_is_an_output_of_its_own_which_its_widget_alone_hides(shown):
    toy(lambda x: x).show()
    toy(lambda x: x).show()
    twin, view, *_ = shown
    assert set(twin[0]) == {"image/png", "text/plain"}
    assert twin[1]["image/png"]["alt"] == twin[0]["text/plain"] == "A dot."
    assert twin[1]["image/png"]["width"] == 100 * WIDTH
    assert set(view[0]) == {WIDGET_VIEW}, "nbval would look for text in the saved file, where the widget is left out"
    (style, own), (another, _) = (style_of(one.ui) for one in on_page[-2:])
    assert on_page[-2].ui.model_id == view[0][WIDGET_VIEW]["model_id"]
    assert f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{own})" in style
    assert own not in another, "it hides its own twin and no other"


@pytest.mark.parametrize("named", [True, False])
def test_a_cell_that_runs_again_leaves_nothing_of_what_it_showed_before(shown, monkeypatch, named):
    """Where the frontend names its cells exactly what they show is alive; elsewhere the last few of each name."""
    runs, known, alive = itertools.count(), len(instances()), []

    def run(cell):
        run = str(next(runs))
        monkeypatch.setattr("pgnotes.classroom.page.cell_and_run", lambda: (cell, run) if named else (None, None))
        for widget in (toy(lambda x: x), toy(lambda x: x)) if cell == "two" else (toy(lambda x: x),):
            widget.show()
            alive.append(weakref.ref(widget))
            quiz("07")

    on_page.clear()
    monkeypatch.setattr(Live, "static", lambda self: b"a picture")
    for cell in ["one", "two"] + ["one"] * 10:
        run(cell)
    gc.collect()
    assert sum(ref() is not None for ref in alive) == (3 if named else UNNAMED), "of 13 shown"
    assert alive[-1]() is not None
    if named:
        assert alive[1]() is not None, "what another cell shows stays"
        assert alive[2]() is not None, "a cell may show two"
    for one in on_page:
        close(one.ui)
    on_page.clear()
    assert len(instances()) == known, "closed with all their parts"


def test_one_output_on_colab(shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    toy(lambda x: x).show()
    ((data, metadata),) = shown
    assert set(data) == {WIDGET_VIEW, "image/png", "text/plain"}
    assert metadata["image/png"]["alt"] == "A dot."


def test_the_quiz_says_in_text_what_is_there_without_a_kernel(shown):
    quiz("07")
    (text, _), (view, _) = shown
    assert "unfold the quiz in print" in text["text/plain"]
    assert set(view) == {WIDGET_VIEW}
