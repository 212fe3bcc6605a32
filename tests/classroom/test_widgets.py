"""Every widget, without a browser: swept over its settings on the pure part, and through its controls."""

import gc
import importlib
import io
import itertools
import pkgutil
import random
import sys
import weakref

import ipywidgets
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pgnotes.classroom import live, widgets
from pgnotes.classroom.live import Canvas, Dear, Live, Slider
from pgnotes.classroom.page import UNNAMED, WIDGET_VIEW, close, on_page
from pgnotes.classroom.quiz import quiz

NAMES = [module.name for module in pkgutil.iter_modules(widgets.__path__)]


STEPS = 40  # of a walk through a widget's settings


def make(name):
    return getattr(importlib.import_module(f"pgnotes.classroom.widgets.{name}"), name)()


@pytest.fixture(scope="module", params=NAMES)
def widget(request):
    return make(request.param)


def values_of(control):
    """Every value that a control can have."""
    if not isinstance(control, Slider):
        return control.extremes()
    steps = round((control.high - control.low) / control.step)
    return [type(control.step)(min(control.low + control.step * i, control.high)) for i in range(steps + 1)]


@pytest.fixture(scope="module")
def walk(widget):
    """Settings as somebody's hand goes through them: a control is dragged for some steps, then another one; both ends of each are visited."""
    generator, settings, path = random.Random(0), dict(widget.settings), []
    ranges = {control.name: values_of(control) for control in widget.controls} | ({"seed": [0, 1, 2]} if widget.noise else {})
    results = [None, widget.finish(settings)] if widget.dear else []

    # each control's turn comes at least twice: from its low end, and from its high one
    for end in itertools.islice(itertools.cycle((0, -1)), max(2, STEPS // (2 * len(ranges)))):
        for name in generator.sample([*ranges], len(ranges)):
            for value in (ranges[name][end], generator.choice(ranges[name])):
                settings = settings | {name: value} | ({"dear": generator.choice(results)} if results else {})
                path.append((settings, widget.numbers(**settings)))
    return path


def test_a_picture_depends_on_its_settings_alone(widget, walk, request):
    """The same settings, come to from two sides: here the first ones are new to the widget, there the last ones are."""
    there = [widget.canvas.image(numbers).tobytes() for _, numbers in walk]
    other = make(request.node.callspec.params["widget"])
    back = [other.canvas.image(numbers).tobytes() for _, numbers in reversed(walk)][::-1]
    wrong = [settings for (settings, _), one, two in zip(walk, there, back, strict=True) if one != two]
    assert not wrong, f"{len(wrong)} of {len(walk)} pictures depend on what was seen before, for one {wrong[0]}"


def test_the_twin_shows_every_telling_setting(widget):
    image = Image.open(io.BytesIO(widget.static()))
    assert image.width == 1400
    assert image.height > len(widget.twin) * widget.height * 200
    assert len(widget.twin) >= 2
    assert len(widget.alt) > 80


def test_no_figure_is_left_behind(widget):
    widget.make()
    gc.collect()
    before = sum(type(thing) is Figure for thing in gc.get_objects())
    for value in values_of(widget.controls[-1])[:5]:
        widget.handles[widget.controls[-1].name].value = value
    gc.collect()
    assert sum(type(thing) is Figure for thing in gc.get_objects()) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


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
        assert n["entropy"] == pytest.approx((-(pi * pi.log()).sum().item(), -(after * after.log()).sum().item()), abs=1e-12)


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
    assert n["kl"] == pytest.approx((kept[live_ones] * (kept[live_ones] / probs[live_ones]).log()).sum().item(), rel=1e-4)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (2.5, 3)])
def test_what_it_writes_is_what_a_plain_loop_writes(pocket, temperature, top_k):
    """Without a cache: every line's whole text goes through the model again for each token."""
    import torch

    from pgnotes.classroom.widgets.next_token import LONGEST, REQUEST, next_token
    from pgnotes.lm.models import encode
    from pgnotes.lm.rollout import uniforms

    (model, tokenizer), start = pocket, "sold 12 loaves and "
    prompt = torch.cat([encode(tokenizer, REQUEST), torch.tensor(tokenizer(start, add_special_tokens=False)["input_ids"])])
    lines = prompt.repeat(4, 1)
    for noise in uniforms(4, LONGEST - len(start), "next token"):
        logits = model(lines).logits[:, -1].double() / temperature
        if top_k:
            logits = logits.where(logits >= logits.topk(top_k).values[:, -1:], -torch.inf)
        below = (logits.softmax(1).cumsum(1) <= noise[:, None].double()).sum(1)
        lines = torch.cat([lines, below[:, None]], 1)
    plain = [tokenizer.decode(line).split(tokenizer.eos_token)[0] for line in lines[:, len(prompt) :].tolist()]
    widget = next_token()
    written = widget.finish(widget.settings | {"temperature": temperature, "top_k": top_k})
    assert [line.removesuffix("…") for line in written] == [start + line for line in plain]


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
    return next(part for row in ui.children for part in getattr(row, "children", ()) if isinstance(part, ipywidgets.Button))


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
    monkeypatch.setattr("pgnotes.classroom.page.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata)))
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
    assert twin[1]["image/png"]["width"] == live.WIDTH * 100
    assert set(view[0]) == {WIDGET_VIEW}, "text beside it would be compared by nbval with the saved file, where the widget is left out"
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
    for cell in ["one", "two"] + ["one"] * 30:
        run(cell)
    gc.collect()
    assert sum(ref() is not None for ref in alive) == (3 if named else UNNAMED), "of 33 shown"
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
