"""Each lesson in JupyterLab, in a real browser: run as saved, its outputs compared, then every control moved.

This is the one run of each lesson where a browser is found (`lesson_runs.py`). Where none is, these tests are skipped
and nbval runs the lessons; PGNOTES_BROWSER=required makes that a failure.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from lesson_runs import CHROMIUM, LESSONS, REQUIRED, ROOT, browser_is_there, faults

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
CELL_TIMEOUT = 1_200_000  # milliseconds, as for nbval


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def browser():
    if not browser_is_there():
        if REQUIRED:
            pytest.fail("no browser and playwright found, and PGNOTES_BROWSER says that they are required")
        pytest.skip("no Chromium and playwright found: the lessons were not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """JupyterLab on copies of the lessons without outputs: (its address, the copies' folder)."""
    folder = tmp_path_factory.mktemp("lab")
    for path in LESSONS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / path.name)
    tracker = folder / ".settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text(json.dumps({"windowingMode": "none"}))  # every cell is in the page
    port = free_port()
    env = os.environ | {f"JUPYTER_{name}_DIR": str(folder / f".{name}") for name in ("CONFIG", "DATA", "RUNTIME")}
    env |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
        "JUPYTER_CONFIG_PATH": str(ROOT / "tools/jupyter"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--notebook-dir={folder}", "--ServerApp.token=", "--ServerApp.password=", "--expose-app-in-browser"]
    command += ["--LabApp.extension_manager=readonly"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/lab").close()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", folder
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


IDLE = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
RUN_ALL = """() => {
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true });
    return null
}"""
SAVE = "() => window.jupyterapp.commands.execute('docmanager:save').then(() => null)"
STOP = "() => window.jupyterapp.serviceManager.sessions.shutdownAll().then(() => null)"


def open_and_run(page, address: str, name: str) -> None:
    """Open a lesson, run all of it, and save it."""
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function(f"() => {{ try {{ return ({IDLE})() }} catch (e) {{ return false }} }}", timeout=60_000)
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.finished === true", timeout=CELL_TIMEOUT)
    page.wait_for_function(IDLE, timeout=60_000)
    page.evaluate(SAVE)


def until_changed(page, image, act: Callable[[], object]) -> float:
    """Do something to a control; returns the milliseconds until the picture's bytes were other ones."""
    before = image.get_attribute("src")
    started = time.perf_counter()
    act()
    arg = [image.element_handle(), before]
    page.wait_for_function("([node, before]) => node.src !== before", arg=arg, timeout=30_000)
    return 1000 * (time.perf_counter() - started)


def press(handle, key: str) -> None:
    handle.focus()
    handle.press(key)


def type_into(page, readout, value: str) -> None:
    readout.click()
    page.keyboard.press("Control+a")
    page.keyboard.type(value)
    page.keyboard.press("Enter")


def move_every_control(page, ui) -> list[float]:
    """Each slider by keys, the first by a typed number too, each menu, each box; milliseconds of each key press."""
    ui.scroll_into_view_if_needed()
    image, times = ui.locator("img"), []
    for handle in ui.locator(".noUi-handle").all():
        full = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        for key in ("ArrowLeft", "ArrowRight") if full else ("ArrowRight", "ArrowLeft"):
            times.append(until_changed(page, image, lambda handle=handle, key=key: press(handle, key)))
    for select in ui.locator("select").all():
        other = 1 if select.evaluate("node => node.selectedIndex") == 0 else 0
        until_changed(page, image, lambda select=select, other=other: select.select_option(index=other))
    handle, readout = ui.locator(".noUi-handle").first, ui.locator(".widget-readout").first
    now, low, high = (handle.get_attribute(f"aria-value{name}") for name in ("now", "min", "max"))
    until_changed(page, image, lambda: type_into(page, readout, low if now == high else high))
    for box in ui.locator("input[type=checkbox]").all():
        until_changed(page, image, box.click)
    return times


TRACKS = "nodes => nodes.map(node => Math.round(node.getBoundingClientRect().width))"
CUT = """nodes => nodes.filter(node => node.scrollWidth > node.clientWidth
    || node.getBoundingClientRect().right > node.closest('.pgnotes-ui').getBoundingClientRect().right + 1)
    .map(node => node.textContent)"""


def check_controls(page, least: int) -> None:
    """Every slider's track is at least so many pixels long, and no label is cut off."""
    tracks = page.locator(".pgnotes-ui .noUi-base").evaluate_all(TRACKS)
    assert all(track >= least for track in tracks), f"tracks of {tracks} pixels"
    cut = page.locator(".pgnotes-ui label, .pgnotes-ui button").evaluate_all(CUT)
    assert not cut, f"cut off: {cut}"


@pytest.fixture
def page(browser):
    """A page that keeps what goes wrong in it as `faults`."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    page.faults = []

    def heard(message) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:  # the badge, off line
            page.faults.append(message.text)

    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", heard)
    yield page
    page.evaluate(STOP)
    page.close()


@pytest.mark.runs_lesson
@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_a_lesson_runs_as_saved_and_its_controls_move_it(path, lab, page, request):
    address, folder = lab
    open_and_run(page, address, path.name)
    found = faults(path, nbformat.read(folder / path.name, as_version=4), request.session)
    if found:
        pytest.fail("\n".join(found), pytrace=False)
    assert not page.faults
    questions = page.locator(".jp-Dialog, .Toastify__toast")
    assert questions.count() == 0, f"it asks: {questions.first.inner_text()}"

    pictures = page.locator(".pgnotes-ui:has(img)")
    assert pictures.count() == len(re.findall(r"\w\([\w=]*\)\.show\(\)", path.read_text(encoding="utf-8")))
    check_controls(page, least=220)
    times = sorted(t for ui in pictures.all() for t in move_every_control(page, ui))
    radios = page.locator(".pgnotes-ui input[type=radio]")
    if radios.count():
        radios.first.check()
        page.wait_for_selector(".pgnotes-ui >> text=/^(Right|No)\\./", timeout=30_000)
    assert not page.faults
    if times:
        median, most = times[len(times) // 2], times[-1]
        print(f"\n{path.name}: key press to new picture, median {median:.0f} ms, largest {most:.0f} ms")
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area').then(() => null)")
    page.set_viewport_size({"width": 360, "height": 740})  # a telephone
    page.wait_for_timeout(500)
    check_controls(page, least=140)
    if os.environ.get("PGNOTES_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['PGNOTES_SCREENSHOTS']}/{path.stem}.png")
