"""The built site in a browser: every page, every widget, at the size of a phone and of a desk.

Needs `make site` first: skipped where there is none, unless PGNOTES_SITE=required.
"""

import itertools
import os
import random
import re
from pathlib import Path

import axe_playwright_python
import pytest
import record
from lesson_runs import CHROMIUM, browser_is_there

from pgnotes.classroom.canvas import Canvas

SITE = Path(__file__).parents[2] / "build" / "site"
REQUIRED = os.environ.get("PGNOTES_SITE") == "required"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PAGES = sorted(path.relative_to(SITE).as_posix() for path in (*SITE.glob("*.html"), *SITE.glob("teach/*.html")))
LESSONS = [name for name in PAGES if re.match(r"\d\d_", name)]
TRIES = 20
SMALLEST = 10  # pixels of a letter
LETTERS = 0.72  # of a font's size is what most letters fill in height
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
VIOLATIONS = '{resultTypes: ["violations"], preload: false}'  # nothing said of what passes, no style fetched once more
WAIT = 60_000  # milliseconds, on a machine that has other things to do

pytestmark = pytest.mark.skipif(
    not REQUIRED and not (PAGES and browser_is_there()), reason="no site was built, or no browser is there"
)

# every text of a board that can be seen: what it says, the box it fills, the size of its letters
TEXTS = """board => [...board.querySelectorAll("svg")].flatMap(svg => [...svg.querySelectorAll("text")].map(text => {
    const box = text.getBoundingClientRect(), points = parseFloat(getComputedStyle(text).fontSize);
    const size = points * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return {says: text.textContent, x: box.x, y: box.y, right: box.right, bottom: box.bottom, size};
})).filter(text => text.says.trim())"""
SET = """(figure, places) => [...figure.querySelectorAll(".controls input, .controls select, .controls button")]
    .forEach((control, i) => {
        if (control.type === "checkbox") control.checked = places[i] === 1;
        else if (control.tagName === "BUTTON") { for (let k = 0; k < places[i]; k++) control.click(); return; }
        else control.value = places[i];
        control.dispatchEvent(new Event("input")); control.dispatchEvent(new Event("change"));
    })"""

# the keys that move a control from where it stands
KEYS = """control => control.type === "range" ? [+control.value < +control.max ? "ArrowRight" : "ArrowLeft"]
    : control.options ? [control.selectedIndex < control.options.length - 1 ? "ArrowDown" : "ArrowUp"] : ["Space"]"""


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


PHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
# for what is the same at both sizes
ON_A_PHONE = pytest.mark.parametrize("tab", [PHONE], ids=["phone"], indirect=True)
AT_A_DESK = pytest.mark.parametrize("tab", [DESK], ids=["desk"], indirect=True)


def new_page(chromium, size):
    """A page that keeps a list of what went wrong."""
    page = chromium.new_context(viewport=size).new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda one: page.faults.append(one.url) if one.url.startswith("http") else None)
    return page


@pytest.fixture(scope="module", params=[PHONE, DESK], ids=["phone", "desk"])
def tab(request, chromium):
    """A page of that size."""
    return new_page(chromium, request.param)


@pytest.fixture(scope="module")
def page(chromium):
    """A page whose size a test decides."""
    return new_page(chromium, DESK)


def opened(tab, name, widget=""):
    """The page, with all its widgets playing, or with one of them."""
    tab.faults.clear()
    tab.goto((SITE / name).as_uri())
    chosen = f'figure[data-widget="{widget}"]' if widget else "figure[data-widget]"
    for figure in tab.query_selector_all(chosen):
        figure.scroll_into_view_if_needed()
        tab.wait_for_function("figure => figure.dataset.ready === 'done'", arg=figure, timeout=WAIT)
    return tab


def check_whole(tab):
    """No sideways scrolling, no fault, no other host, every formula typeset, every picture with its words."""
    assert tab.faults == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    tab.wait_for_function(
        "() => [...document.querySelectorAll('.math')].every(e => e.querySelector('.katex'))", timeout=WAIT
    )
    assert tab.evaluate("[...document.querySelectorAll('article img')].filter(e => !e.alt.trim()).length") == 0
    assert tab.evaluate(
        "[...document.querySelectorAll('.picture')].every(e => e.getAttribute('aria-label').length > 20)"
    )


def check_links(tab):
    """Every link inside leads somewhere."""
    for target in tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"):
        if target.startswith("file:"):
            path, _, anchor = target.removeprefix("file://").partition("#")
            assert Path(path).is_file(), target
            if anchor and path.endswith(".html"):
                assert f'id="{anchor}"' in Path(path).read_text(encoding="utf-8"), target


def check_quiz(tab):
    """Every choice answers, and nothing else does."""
    choices = tab.query_selector_all(".quiz input")
    assert len(choices) >= 12
    for choice in choices:
        choice.check()
        question = choice.evaluate_handle("e => e.closest('.question')").as_element()
        seen = [why.get_attribute("id") for why in question.query_selector_all(".why") if why.is_visible()]
        assert seen == [choice.get_attribute("aria-controls")]


def check_keys(tab):
    """Every control is moved by the tabulator and the arrows alone, in the order in which they stand."""
    for figure in tab.query_selector_all("figure[data-widget]"):
        controls = figure.query_selector_all(".controls :is(input, select, button)")
        controls[0].focus()
        for i, control in enumerate(controls):
            if i:
                tab.keyboard.press("Tab")
            assert control.evaluate("e => e === document.activeElement")
            before = figure.get_attribute("data-state")
            for key in control.evaluate(KEYS):
                tab.keyboard.press(key)
            places = control.evaluate("e => e.type === 'range' ? +e.max : e.options ? e.options.length - 1 : 1")
            assert places == 0 or figure.get_attribute("data-state") != before


def serious_faults(tab, part="html"):
    """What axe-core finds in a part of the page: the rule, and the first place where it is broken."""
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE)
    found = tab.evaluate(f"part => axe.run(part, {VIOLATIONS}).then(found => found.violations)", part)
    serious = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in serious]


@ON_A_PHONE
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_answers_and_can_be_read_by_everyone(tab, name):
    """At the end by axe-core's rules, over the page with all its folds open."""
    opened(tab, name)
    check_whole(tab)
    if name in LESSONS:
        check_quiz(tab)
    tab.add_style_tag(content="* { animation: none !important; transition: none !important; }")  # half faded in
    tab.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    tab.wait_for_timeout(100)  # what is wide in a fold can be reached once it is seen
    assert not serious_faults(tab)


@AT_A_DESK
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_links_to_what_is_there_and_is_moved_by_keys(tab, name):
    opened(tab, name)
    check_whole(tab)
    check_links(tab)
    if name in LESSONS:
        check_keys(tab)


def widgets_of(name):
    return re.findall(r'data-widget="([\w-]+)"', (SITE / name).read_text(encoding="utf-8"))


PLAYED = [(name, widget) for name in LESSONS for widget in widgets_of(name)]


def texts_by_matplotlib(canvas, numbers):
    """Every text of the picture of these numbers that can be seen, but the axes' own numbers."""
    canvas.move(numbers)
    texts = [*canvas.figure.texts, *(text for ax in canvas.figure.axes for text in ax.texts)]
    return [text.get_text() for text in texts if text.get_visible() and text.get_text().strip()]


def on_each_other(texts):
    """Pairs of texts whose letters overlap: of a box the middle, without the air above and below.

    Lines of one text in several colours, each with gaps where the others have letters, say nothing here.
    """
    pairs = []
    for one, other in itertools.combinations(texts, 2):
        wide = min(one["right"], other["right"]) - max(one["x"], other["x"])
        apart = abs(one["y"] + one["bottom"] - other["y"] - other["bottom"]) / 2
        tall = LETTERS * (one["size"] + other["size"]) / 2 - apart
        gaps = all("   " in text["says"].strip(".") for text in (one, other))
        if wide > 1 and tall > 0.1 * min(one["size"], other["size"]) and not gaps:
            pairs.append((one["says"], other["says"]))
    return pairs


def random_positions(live):
    """Twenty random places of a widget's controls, or as many as there are, and the numbers of their picture."""
    controls, generator = record.positions(live), random.Random(0)
    drawn = [tuple(generator.randrange(len(one.values)) for one in controls) for _ in range(TRIES)]
    for places in dict.fromkeys(drawn):
        values = [one.values[place] for one, place in zip(controls, places, strict=True)]
        settings = values[0] if live.dear else dict(zip((one.name for one in controls), values, strict=True))
        if live.dear:
            settings = settings | {"dear": live.finish(live.settings | settings)}
        yield places, live.numbers(**live.settings | settings)


def presses(controls, places, before):
    """What each control is set to; a button is pressed on from where it stands."""
    for one, place, last in zip(controls, places, before, strict=True):
        yield (place - last) % len(one.values) if one.kind == "button" else place


@pytest.mark.parametrize(("name", "widget"), PLAYED, ids=[widget for _, widget in PLAYED])
def test_a_widget_shows_what_its_numbers_say(page, name, widget):
    """At twenty random settings, at both sizes: text for text, letters large enough, none on another."""
    live = record.widget(widget)
    controls, canvas = record.positions(live), Canvas(live.draw, live.height, 72)
    tries = [(places, texts_by_matplotlib(canvas, numbers)) for places, numbers in random_positions(live)]
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        figure = opened(page, name, widget).query_selector(f'figure[data-widget="{widget}"]')
        board, before = figure.query_selector(".board"), [0] * len(controls)
        for places, texts in tries:
            figure.evaluate(SET, list(presses(controls, places, before)))
            before = places
            found = board.evaluate(TEXTS)
            said = {text["says"] for text in found}
            plain = [text for text in texts if "$" not in text]
            assert not [line for text in plain for line in text.split("\n") if line and line not in said], places
            if size == PHONE:
                assert min(text["size"] for text in found) >= SMALLEST, places
            assert not on_each_other(found), places
