"""What holds for every test run: this checkout's package, one thread, no network, each lesson once."""

import os
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent
WARNINGS = "error::DeprecationWarning:ipywidgets"  # how ipywidgets takes an argument that it does not know

os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # for kernels
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing in the tests may reach for a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # models as small as ours gain nothing by a second thread
os.environ.setdefault("PYTHONWARNINGS", WARNINGS)

import pytest
from lesson_runs import browser_is_there, check_stderr, once
from nbval.plugin import IPyNbCell

# With several workers: the browser first, its longest lessons before the others, then the longest files; the short ones
# fill the end.
LONGEST = ["tests/site/test_pages.py*", "tests/browser/*09_*", "tests/browser/*03_*", "tests/browser/*"]
LONGEST += ["notebooks/09_*", "notebooks/03_*", "notebooks/*"]
LONGEST += [
    "tests/classroom/test_recheck.py*",
    "tests/classroom/test_widgets.py*",
    "tests/lm/test_processes.py*",
    "tests/lm/test_grpo.py*",
]
LONGEST += ["tests/test_commands.py*", "tests/lm/test_state.py*", "tests/test_benchmarks.py*", "tests/lm/*"]


def place(item: pytest.Item) -> int:
    """Where a test stands in the order."""
    return next((i for i, pattern in enumerate(LONGEST) if fnmatch(item.nodeid, pattern)), len(LONGEST))


@pytest.hookimpl(trylast=True)  # after -k, -m and --deselect have made their choice
def pytest_collection_modifyitems(config, items):
    kept, left_out = once(items, browser_is_there())
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    if hasattr(config, "workerinput"):
        kept.sort(key=place)
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    yield
    if isinstance(item, IPyNbCell):
        check_stderr(item, item.test_outputs)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay together (a notebook's cells share a kernel), but each lesson in the browser stands alone."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/browser/"):
                return nodeid
            file, _, test = nodeid.partition("::")
            size = next((size for size in ("phone", "desk") if f"[{size}" in test), "")  # of a page of the site
            return f"{file}::{size}" if size else file

    config.option.loadscopereorder = False  # in the order above, not by the number of tests
    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say how the lessons were run, and how many."""
    ran = [report.nodeid for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    browser = {name for name in ran if "::test_a_lesson_runs_as_saved" in name}
    by_cell = {name.split("::")[0] for name in ran if ".ipynb::" in name}
    if browser or by_cell:
        terminalreporter.write_line(f"lessons run: {len(browser)} in a browser, {len(by_cell)} by nbval")
