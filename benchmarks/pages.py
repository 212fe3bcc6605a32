"""The built site in Chromium on a processor slowed down four times: what a moved slider and the front page cost.

python benchmarks/pages.py      after `make site`
"""

from __future__ import annotations

import gzip
import re
import shutil
import statistics
from pathlib import Path

from playwright.sync_api import CDPSession, ElementHandle, Page, sync_playwright

SITE = Path(__file__).parents[1] / "build" / "site"
SLOWER = 4
MOVES = 40
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# move every control of a figure to other places in turn, and time what the page does about it
TIMED = """(figure, moves) => {
    const controls = [...figure.querySelectorAll(".controls input, .controls select")], times = [];
    for (let k = 0; k < moves; k++) {
        const control = controls[k % controls.length];
        if (control.type === "checkbox") control.checked = !control.checked;
        else {
            const last = control.tagName === "SELECT" ? control.options.length - 1 : +control.max;
            control.value = (+control.value + 1) % (last + 1);
        }
        const begun = performance.now();
        control.dispatchEvent(new Event("input")); control.dispatchEvent(new Event("change"));
        times.push(performance.now() - begun);
    }
    return times;
}"""


def front_page() -> float:
    """Kilobytes that a server which compresses sends for the front page and all that it asks for."""
    text = (SITE / "index.html").read_text(encoding="utf-8")
    names = re.findall(r'(?:src|href)="(_static/[^"?#]+\.(?:js|css))', text)
    files = [SITE / "index.html", *(SITE / name for name in dict.fromkeys(names))]
    return sum(len(gzip.compress(path.read_bytes())) for path in files) / 1e3


def times_of(page: Page, figure: ElementHandle) -> list[float]:
    """Milliseconds of script for each of some moves."""
    figure.scroll_into_view_if_needed()
    page.wait_for_function("figure => figure.dataset.ready === 'done'", arg=figure, timeout=60_000)
    return figure.evaluate(TIMED, MOVES)


def main() -> None:
    """A row for each widget."""
    print(f"front page, compressed: {front_page():.0f} kB")
    size = sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"the whole site: {size / 1e6:.1f} MB")
    browser_path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
        session: CDPSession = page.context.new_cdp_session(page)
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        print(f"ms of script a change, processor {SLOWER} times slower:  median   95 %")
        for path in sorted(SITE.glob("[0-9][0-9]_*.html")):
            page.goto(path.as_uri())
            for figure in page.query_selector_all("figure[data-widget]"):
                times = times_of(page, figure)
                high = statistics.quantiles(times, n=20)[-1]
                print(f"{figure.get_attribute('data-widget'):<26} {statistics.median(times):6.1f} {high:6.1f}")


if __name__ == "__main__":
    main()
