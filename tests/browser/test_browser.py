"""Each lesson with widgets in JupyterLab, in a real browser: run, move every control with the keyboard, see the picture change, no error.

Skipped where no browser is found; PGNOTES_BROWSER=required makes that a failure.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
REQUIRED = os.environ.get("PGNOTES_BROWSER") == "required"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
LESSONS = [p for p in sorted((ROOT / "notebooks").glob("*.ipynb")) if ".widgets." in p.read_text(encoding="utf-8") or "quiz(" in p.read_text(encoding="utf-8")]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api") if not REQUIRED else __import__("playwright.sync_api").sync_api
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("no browser found, and PGNOTES_BROWSER says that one is required")
        pytest.skip("no Chromium found: the lessons were not tried in a browser")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on copies of the lessons, with folders of its own; the address."""
    folder = tmp_path_factory.mktemp("lab")
    for path in LESSONS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                cell.source = cell.source.replace('GRPOConfig.preset("pocket")', 'GRPOConfig.preset("smoke")').replace(
                    "steps=40, evaluate=100", "steps=4, evaluate=8"
                )
        nbformat.write(notebook, folder / path.name)
    port = free_port()
    own = {f"JUPYTER_{name}_DIR": str(folder / f".{name}") for name in ("CONFIG", "DATA", "RUNTIME")}
    env = os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces")}
    env |= {
        "JUPYTER_CONFIG_PATH": str(ROOT / "tools/jupyter"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error::DeprecationWarning:ipywidgets",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", f"--notebook-dir={folder}"]
    command += ["--ServerApp.token=", "--ServerApp.password=", "--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/lab").close()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


ERRORS = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
IDLE = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
FULL_HEIGHT = """() => window.jupyterapp.serviceManager.settings.fetch('@jupyterlab/notebook-extension:tracker').then(
    s => window.jupyterapp.serviceManager.settings.save('@jupyterlab/notebook-extension:tracker', '{"windowingMode": "none"}'))"""


def open_and_run(page, address: str, name: str) -> None:
    """Open a lesson and run all of it; windowing is off, so that every cell is in the page."""
    page.goto(f"{address}/lab?reset")
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.evaluate(FULL_HEIGHT)
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function("() => { try { return (" + IDLE + ")() } catch (e) { return false } }", timeout=60_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true }); return null }")
    page.wait_for_function("() => window.finished === true", timeout=300_000)
    page.wait_for_function(IDLE, timeout=60_000)


def press_until_changed(page, target, image, key: str) -> float:
    """Press a key on a control; returns the milliseconds until the picture's bytes were other ones."""
    before = image.get_attribute("src")
    target.focus()
    started = time.perf_counter()
    target.press(key)
    page.wait_for_function("([node, before]) => node.src !== before", arg=[image.element_handle(), before], timeout=30_000)
    return 1000 * (time.perf_counter() - started)


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.name)
def test_a_lesson_runs_and_its_controls_move_it(path, browser, lab, record_property):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda message: faults.append(message.text) if message.type == "error" and "Failed to load resource" not in message.text else None
    )  # the badge, off line
    open_and_run(page, lab, path.name)
    assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).first.inner_text()
    assert not faults, faults
    questions = page.locator(".jp-Dialog, .Toastify__toast")
    assert questions.count() == 0, f"it asks: {questions.first.inner_text()}"
    pictures = page.locator(".pgnotes-ui:has(img)")
    assert pictures.count() == path.read_text(encoding="utf-8").count("().show()")
    times = []
    for ui in pictures.all():
        ui.scroll_into_view_if_needed()
        image = ui.locator("img")
        for handle in ui.locator(".noUi-handle").all():
            full = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
            for key in ("ArrowLeft", "ArrowRight") if full else ("ArrowRight", "ArrowLeft"):
                times.append(press_until_changed(page, handle, image, key))
        for select in ui.locator("select").all():
            before = image.get_attribute("src")
            select.select_option(index=1 if select.evaluate("node => node.selectedIndex") == 0 else 0)
            page.wait_for_function("([node, before]) => node.src !== before", arg=[image.element_handle(), before], timeout=30_000)
        handle, readout = ui.locator(".noUi-handle").first, ui.locator(".widget-readout").first
        now, low, high = (handle.get_attribute(f"aria-value{name}") for name in ("now", "min", "max"))
        before = image.get_attribute("src")
        readout.click()
        page.keyboard.press("Control+a")
        page.keyboard.type(low if now == high else high)
        page.keyboard.press("Enter")
        page.wait_for_function("([node, before]) => node.src !== before", arg=[image.element_handle(), before], timeout=30_000)
        for box in ui.locator("input[type=checkbox]").all():
            before = image.get_attribute("src")
            box.click()
            page.wait_for_function("([node, before]) => node.src !== before", arg=[image.element_handle(), before], timeout=30_000)
    radios = page.locator(".pgnotes-ui input[type=radio]")
    if radios.count():
        radios.first.check()
        page.wait_for_selector(".pgnotes-ui >> text=/^(Right|No)\\./", timeout=30_000)
    assert not faults, faults
    if times:
        times.sort()
        print(f"\n{path.name}: key press to new picture, median {times[len(times) // 2]:.0f} ms, largest {times[-1]:.0f} ms")
    if os.environ.get("PGNOTES_SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['PGNOTES_SCREENSHOTS']}/{path.stem}.png")
    page.close()
