"""The environment check where something is missing, too old or newer than tested, and the lessons' first cell."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import lesson_text
import pytest
from lesson_text import SETUP, address

import pgnotes
from pgnotes.classroom import session

ROOT = Path(__file__).parents[2]


def versions(monkeypatch, **others: str | None) -> None:
    """As if these versions were installed (None: not installed), and the real ones of everything else."""
    real = session.version

    def version(name: str) -> str:
        found = others[name] if name in others else real(name)
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(session, "version", version)


def test_start_goes_on_where_all_is_there(capsys):
    pgnotes.start("09")
    out = capsys.readouterr().out
    assert "Lesson 09 is ready" in out
    assert "Newer" not in out


def test_start_says_what_is_missing_and_what_to_type(monkeypatch):
    versions(monkeypatch, transformers="4.40", httpx=None)
    needs = r"Lesson 09 needs transformers>=5.0 \(here: 4.40\), httpx>=0.28\.\nTo run it, type make lab in "
    with pytest.raises(SystemExit, match=needs):
        pgnotes.start("09")
    monkeypatch.setattr(session, "place", lambda: "jupyter")
    with pytest.raises(session.NotReadyError, match=r"the kernel of \.venv there, or: %pip install -r ") as stop:
        pgnotes.start("09")
    assert stop.value._render_traceback_() == [str(stop.value)], "a notebook shows no traceback"
    monkeypatch.setattr(session, "clone", lambda: None)
    monkeypatch.setattr(session, "requires", lambda name: ["httpx<1,>=0.28", 'no-such-package>=4.2; extra == "lab"'])
    with pytest.raises(session.NotReadyError, match=r'install what is missing: %pip install "httpx>=0.28"$'):
        pgnotes.start("09")


def test_a_release_that_is_excluded_counts_as_missing(monkeypatch):
    versions(monkeypatch, ipywidgets="8.1.9")
    assert session.missing_packages() == ["ipywidgets>=7.7.1,!=8.1.9 (here: 8.1.9)"]


def test_newer_than_tested_is_said_and_stops_nothing(monkeypatch, capsys):
    versions(monkeypatch, transformers="5.99.1", torch="2.14.0+cpu")
    assert session.missing_packages() == []
    pgnotes.start("01")
    assert "Newer than what was tested: transformers 5.99.1 (tested: <5." in capsys.readouterr().out
    lines, ready = session.report()
    assert ready
    (warning,) = (line for line in lines if line.startswith("untested"))
    assert "transformers 5.99.1 (tested: <5." in warning


def test_a_copy_of_the_folder_alone_is_believed(monkeypatch):
    monkeypatch.setattr(session, "clone", lambda: None)
    monkeypatch.setattr(session, "requires", lambda name: session.version("no-such-package"))
    assert session.missing_packages() == session.untested_packages() == []


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A Python in which nothing is installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin/python"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A clone that nobody installed."""
    folder = tmp_path_factory.mktemp("clone") / "with a space"
    shutil.copytree(ROOT / "pgnotes", folder / "pgnotes", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "notebooks").mkdir()
    return folder


def told(python: Path, cwd: Path, *arguments: str) -> str:
    """What a command says; it must fail without a traceback."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def test_doctor_and_start_report_in_a_bare_python(bare, copy):
    for arguments in (("-m", "pgnotes", "doctor"), ("-c", "import pgnotes; pgnotes.start('01')")):
        text = told(bare, copy, *arguments)
        assert all(part in text for part in ("torch>=2.10", "packaging>=", "make lab"))
        assert f'-r "{copy / "colab_requirements.txt"}"' in text


def test_a_clone_that_is_only_on_the_path_is_enough(copy):
    """All that is needed is installed, but for pgnotes itself: what the clone asks for stands in its pyproject.toml."""
    code = """
import sys, pgnotes
from importlib import metadata
from pgnotes.classroom import session

real = metadata.Distribution.from_name.__func__  # as if there were no distribution of that name
metadata.Distribution.from_name = classmethod(lambda cls, name: real(cls, "none" if name == "pgnotes" else name))
assert sys.argv[1] in pgnotes.__file__, pgnotes.__file__
pgnotes.start("01"), pgnotes.start("01")

import os, subprocess  # a command that the lesson starts finds it, too, wherever it runs

print(os.environ["PYTHONPATH"].split(os.pathsep))
subprocess.run([sys.executable, "-c", "import pgnotes; print(pgnotes.__file__)"], cwd="/", check=True)
"""
    env = os.environ | {"PYTHONPATH": "/somewhere"}
    done = subprocess.run([sys.executable, "-c", code, str(copy)], cwd=copy, env=env, capture_output=True, text=True)
    assert "Lesson 01 is ready" in done.stdout, done.stderr
    assert str([str(copy), "/somewhere"]) in done.stdout
    assert str(copy / "pgnotes/__init__.py") in done.stdout


@pytest.mark.parametrize("inside", [True, False], ids=["around the lesson", "beside the lesson"])
def test_the_setup_cell_finds_a_clone_with_a_kernel_that_lacks_the_packages(bare, copy, inside):
    cell = SETUP.format(address=address(), lesson="01").replace('Path("pgnotes")', f"Path({copy.name!r})")
    text = told(bare, copy / "notebooks" if inside else copy.parent, "-c", cell)
    assert "Lesson 01 needs torch" in text
    assert "make lab" in text


def test_the_setup_cell_finds_what_it_has_just_installed(bare, tmp_path):
    """A folder of packages that was listed before is listed again."""
    code = f"""
import os, pathlib, subprocess, sys
site = pathlib.Path({str(tmp_path)!r}, "site")
(site / "other").mkdir(parents=True)
sys.path.append(str(site))
import other
then = site.stat()
def install(command, check):
    assert "https://github.com/someone/pgnotes/archive/refs/heads/main.zip" in command
    (site / "pgnotes").mkdir()
    (site / "pgnotes/__init__.py").write_text("start = lambda lesson: sys.exit('installed and found')\\nimport sys")
    os.utime(site, ns=(then.st_atime_ns, then.st_mtime_ns))  # within one tick of the file system's clock
subprocess.run = install
{SETUP.format(address="https://github.com/someone/pgnotes", lesson="01")}
"""
    assert "installed and found" in told(bare, tmp_path, "-c", code)


def test_the_setup_cell_of_a_copy_without_an_address_says_so(bare, tmp_path):
    cell = SETUP.format(address="https://github.com/YOUR_ACCOUNT/pgnotes", lesson="01")
    assert "put the real address" in told(bare, tmp_path, "-c", cell)


def test_the_setup_cell_takes_a_wheel_that_lies_beside_the_lesson(bare, tmp_path):
    """The newest by name, and no address is needed."""
    for version in ("0.9.0", "0.9.1"):
        (tmp_path / f"pgnotes-{version}-py3-none-any.whl").touch()
    code = f"""
import subprocess, sys
def install(command, check):
    sys.exit("would install " + command[-1])
subprocess.run = install
{SETUP.format(address="https://github.com/YOUR_ACCOUNT/pgnotes", lesson="01")}
"""
    assert "would install pgnotes-0.9.1-py3-none-any.whl" in told(bare, tmp_path, "-c", code)


def test_a_badge_leads_to_colab_or_explains_itself(monkeypatch):
    assert "README.md#a-lesson-in-colab" in lesson_text.badge("01_x.ipynb")
    assert "## A lesson in Colab" in (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(lesson_text, "address", lambda: "https://github.com/someone/pgnotes")
    assert "(https://colab.research.google.com/github/someone/pgnotes/blob/main/notebooks/01_x.ipynb)" in (
        lesson_text.badge("01_x.ipynb")
    )
