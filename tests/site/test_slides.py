"""The slides in a browser: from a disk, without a network, 1280 by 720, by keys, and on paper.

Needs `make site` first, as the pages do.
"""

import json
import re

import pytest
import record
from lesson_runs import CHROMIUM, browser_is_there
from test_pages import FLAGS, REQUIRED, SITE, TEXTS, WAIT, serious_faults, texts_by_matplotlib

from pgnotes.classroom.canvas import Canvas

DECKS = sorted(path.name for path in (SITE / "slides").glob("*.html"))
pytestmark = pytest.mark.skipif(
    not REQUIRED and not (DECKS and browser_is_there()), reason="no site was built, or no browser is there"
)

# of the slide that is shown: its heading, and how far what it holds reaches, but for formulas read aloud
REACH = """() => {
    const slide = document.querySelector(".slide.current");
    const unseen = "footer, .katex-mathml, .katex-mathml *, svg, svg *, details:not([open]) > :not(summary)";
    const parts = [...slide.querySelectorAll("*")].filter(part => !part.matches(unseen));
    const boxes = parts.map(part => part.getBoundingClientRect()).filter(box => box.width && box.height);
    return {
        says: slide.querySelector("h1, h2").textContent, height: slide.scrollHeight, width: slide.scrollWidth,
        right: Math.max(...boxes.map(box => box.right)), bottom: Math.max(...boxes.map(box => box.bottom)),
        foot: slide.querySelector("footer").getBoundingClientRect().y,
        formulas: [...slide.querySelectorAll(".math")].every(formula => formula.querySelector(".katex")),
        size: Math.min(...[...slide.querySelectorAll(".say p, .say li, .say td")].map(
            part => parseFloat(getComputedStyle(part).fontSize))),
        hidden: [...slide.querySelectorAll("img")].some(image => !image.naturalWidth),
    };
}"""


@pytest.fixture(scope="module")
def tab():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        tab.faults = []
        tab.on("pageerror", lambda error: tab.faults.append(str(error)))
        tab.on("console", lambda message: tab.faults.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda one: tab.faults.append(one.url) if one.url.startswith("http") else None)
        yield tab
        browser.close()


def opened(tab, name):
    """The slides from the first on, all widgets playing."""
    tab.faults.clear()
    tab.goto("about:blank")
    tab.goto((SITE / "slides" / name).as_uri())
    ready = "() => [...document.querySelectorAll('figure[data-widget]')].every(one => one.dataset.ready === 'done')"
    tab.wait_for_function(ready, timeout=WAIT)
    tab.wait_for_function("() => [...document.querySelectorAll('.math')].every(e => e.querySelector('.katex'))")
    tab.evaluate("slides.words()")
    return tab


def place(tab):
    return tab.evaluate("slides.at + 1")


@pytest.mark.parametrize("name", DECKS)
def test_nothing_on_a_slide_is_cut_off(tab, name):
    """Nor asks for a network, nor is smaller than can be read at the back; with every demonstration and every fold."""
    opened(tab, name)
    for at in range(tab.evaluate("slides.all.length")):
        tab.evaluate(f"slides.show({at})")
        folds = tab.query_selector_all(".slide.current details")
        told = tab.query_selector_all(".slide.current .told button")
        for move in [None, *folds, *told]:
            if move is not None:
                move.evaluate("part => part.tagName === 'BUTTON' ? part.click() : (part.open = true)")
            seen = tab.evaluate(REACH)
            assert (seen["height"], seen["width"]) == (720, 1280), (at + 1, seen)
            assert max(seen["bottom"] - seen["foot"] - 1, seen["right"] - 1270) <= 0, (at + 1, seen)
            assert (seen["formulas"], seen["hidden"]) == (True, False), (at + 1, seen)
            assert seen["size"] >= 17, (at + 1, seen)
    assert tab.faults == []


@pytest.mark.parametrize("name", DECKS)
def test_nothing_serious_is_found_by_axe(tab, name):
    """axe-core's rules, on each slide as it is shown, with its folds open."""
    opened(tab, name)
    tab.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    for at in range(tab.evaluate("slides.all.length")):
        tab.evaluate(f"slides.show({at})")
        assert not serious_faults(tab, ".slide.current"), at + 1


@pytest.mark.parametrize("name", DECKS)
def test_keys_turn_all_slides_and_back(tab, name):
    opened(tab, name)
    count = tab.evaluate("slides.all.length")
    turns = 0
    while place(tab) < count:
        waits = tab.evaluate("slides.all[slides.at].matches('.asks:not(.answers)')")
        before = place(tab)
        tab.keyboard.press(("ArrowRight", "PageDown", "Space")[turns % 3])
        assert place(tab) == before + (not waits), "what a question asks for comes first"
        turns += 1
    tab.keyboard.press("Home")
    assert place(tab) == 1
    tab.keyboard.press("End")
    tab.keyboard.press("PageUp")
    assert place(tab) == count - 1
    assert tab.evaluate("location.hash") == f"#{count - 1}"
    tab.reload()
    assert place(tab) == count - 1


def test_a_slider_has_the_arrows_while_it_has_the_focus_and_a_clicker_turns_all_the_same(tab):
    opened(tab, "05.html")
    tab.keyboard.press("ArrowRight")
    figure, slider = (tab.query_selector(f".slide.current {what}") for what in ("figure", "input[type=range]"))
    slider.focus()
    before = figure.get_attribute("data-state")
    tab.keyboard.press("ArrowLeft")
    assert (place(tab), figure.get_attribute("data-state") != before) == (2, True)
    tab.keyboard.press("PageDown")
    assert place(tab) == 3
    tab.keyboard.press("PageUp")
    slider.focus()
    tab.keyboard.press("Escape")
    tab.keyboard.press("ArrowRight")
    assert place(tab) == 3

    # moved with the mouse, it does not keep the keys
    tab.keyboard.press("ArrowLeft")
    box = slider.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.keyboard.press("ArrowRight")
    assert place(tab) == 3


def test_a_number_and_enter_go_to_a_slide(tab):
    opened(tab, "05.html")
    for key in "14":
        tab.keyboard.press(key)
    tab.keyboard.press("Enter")
    assert place(tab) == 14
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert place(tab) == 14, "an Enter alone goes nowhere: the first turn showed the answer"


def test_what_a_question_asks_for_waits(tab):
    opened(tab, "05.html")
    tab.evaluate("slides.show(7)")
    shown = "getComputedStyle(document.querySelector('.slide.current pre')).visibility"
    assert tab.evaluate(shown) == "hidden"
    tab.keyboard.press("ArrowRight")
    assert (place(tab), tab.evaluate(shown)) == (8, "visible")
    tab.keyboard.press("ArrowRight")
    assert place(tab) == 9


@pytest.mark.parametrize("name", DECKS)
def test_a_key_sets_a_demonstration(tab, name):
    """The picture then says what the widget's numbers say there, and the caption stands below it."""
    opened(tab, name)
    for at in tab.evaluate("slides.all.flatMap((slide, i) => slide.querySelector('.told') ? [i] : [])"):
        tab.evaluate(f"slides.show({at})")
        figure = tab.query_selector(".slide.current figure")
        live = record.widget(figure.get_attribute("data-widget"))
        canvas = Canvas(live.draw, live.height, 72)
        for key, (caption, changes) in enumerate(live.twin, 1):
            tab.keyboard.press(str(key))
            assert figure.query_selector(".said").inner_text() == caption
            settings = live.settings | changes
            if live.dear:
                settings = settings | {"dear": live.finish(settings)}
            found = [text["says"] for text in figure.query_selector(".board").evaluate(TEXTS)]
            plain = [text for text in texts_by_matplotlib(canvas, live.numbers(**settings)) if "$" not in text]
            missing = [line for text in plain for line in text.split("\n") if line and line not in found]
            assert not missing, (at + 1, key)
        controls = figure.query_selector_all(".controls input[type=range]")
        places = [control.evaluate("e => +e.value") for control in controls]
        told = json.loads(figure.get_attribute("data-told"))[-1][1]
        assert all(place in told for place in places), "the sliders stand where the picture is"


@pytest.mark.parametrize("name", DECKS)
def test_on_paper_each_slide_is_a_page(tab, name):
    opened(tab, name)
    count = tab.evaluate("slides.all.length")
    paper = tab.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == count
    assert set(re.findall(rb"/MediaBox\s*\[([^]]*)\]", paper)) == {b"0 0 960 540"}


@pytest.mark.parametrize("name", DECKS)
def test_every_link_of_the_slides_leads_somewhere(tab, name):
    opened(tab, name)
    for target in tab.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"):
        if target.startswith("file:"):
            assert (SITE / target.split("/site/", 1)[1].partition("#")[0]).is_file(), target
