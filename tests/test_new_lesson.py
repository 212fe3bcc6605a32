"""A lesson begun by `tools/new_lesson.py`, in a copy of the checkout: it runs and passes the tests as it is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import new_lesson
import pytest

ROOT = Path(__file__).parents[1]
NUMBER, NAME = "98", "some_lesson"
WRITTEN = [
    f"pgnotes/classroom/widgets/{NAME}.py",
    f"pgnotes/classroom/exercises/lesson_{NUMBER}.py",
    f"pgnotes/classroom/quizzes/lesson_{NUMBER}.py",
    f"notebooks/{NUMBER}_{NAME}.ipynb",
]
LISTS = ["README.md", "pgnotes/classroom/atlas.py", "tests/test_lessons.py"]
TESTS = ["test_lessons.py", "test_architecture.py", "classroom/test_checks.py", "classroom/test_widgets.py"]
RUN_AND_TEST = f"""
import sys, pytest, run_lessons
sys.argv = ["run_lessons.py", "notebooks/{NUMBER}_{NAME}.ipynb"]
run_lessons.main()
chosen = "{NUMBER} or {NAME} or each_list_of_lessons or every_file_is_used"
sys.exit(pytest.main(["-p", "no:cacheprovider", "-k", chosen, *{[f"tests/{name}" for name in TESTS]}]))
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python in a checkout, with that checkout's package and tools."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(folder / "tools")])}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, str]:
    """What is written in each file that a lesson may touch, by its path."""
    files = [path for path in folder.rglob("*") if path.suffix in (".py", ".md", ".ipynb")]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what a lesson and its tests need."""
    folder, unwanted = tmp_path_factory.mktemp("checkout"), shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("pgnotes", "notebooks", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for name in ("README.md", "conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def begun(checkout) -> tuple[str, dict[str, str]]:
    """What the tool says, and every file that it changed."""
    before = contents(checkout)
    done = python(checkout, "tools/new_lesson.py", NUMBER, NAME)
    assert done.returncode == 0, done.stderr
    return done.stdout, {name: text for name, text in contents(checkout).items() if before.get(name) != text}


def test_it_says_what_it_wrote_and_what_is_left(begun, checkout):
    """All that it changed, and what its author replaces; the commands are of files that are there."""
    said, changed = begun
    assert sorted(changed) == sorted(WRITTEN + LISTS)
    assert said.splitlines()[1:8] == WRITTEN + LISTS
    for pattern in re.findall(r"(?:tools|tests|notebooks|pgnotes)/[\w/.*]+", said):
        assert [*checkout.glob(pattern)], pattern
    for name, text in changed.items():
        assert ("TODO" in text) == (name != "tests/test_lessons.py"), name
        assert not re.search(r"\bNN\b|_NN|the[-_]widget|The title|[Cc]00", text), f"{name}: left from the template"


def test_a_new_lesson_runs_and_passes_the_tests(begun, checkout):
    done = python(checkout, "-c", RUN_AND_TEST)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("number", "name", "says"),
    [
        ("5", NAME, "number is '5'; it must have two digits"),
        ("1a", NAME, "number is '1a'; it must have two digits"),
        ("05", NAME, "number is '05', which notebooks/05_baselines.ipynb has"),
        ("97", NAME, "number is '97', which pgnotes/classroom/quizzes/lesson_97.py has"),
        ("96", "actor-critic", "name is 'actor-critic'; it must be a name in Python"),
        ("96", "Actor", "name is 'Actor'; it must be"),
        ("96", "1st", "name is '1st'; it must be"),
        ("96", "lambda", "name is 'lambda'; it must be"),
        ("96", "clip", "name is 'clip', which pgnotes/classroom/widgets/clip.py has"),
        ("96", "lab_why", "name is 'lab_why', which another cell of each lesson has"),
    ],
)
def test_what_cannot_be_begun_is_refused_in_a_sentence(checkout, monkeypatch, number, name, says):
    """Nothing is written."""
    (checkout / "pgnotes/classroom/quizzes/lesson_97.py").touch()
    before = contents(checkout)
    monkeypatch.setattr(new_lesson, "ROOT", checkout)
    monkeypatch.setattr(sys, "argv", ["new_lesson.py", number, name])
    with pytest.raises(SystemExit) as refused:
        new_lesson.main()
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)
    assert contents(checkout) == before


@pytest.mark.parametrize(("number", "place"), [("03", 1), ("05", 3), ("09", 5)])
def test_a_line_is_entered_in_order(number, place):
    """In front of the next higher number, however many lines the one before has, or at the list's end."""
    lines = ["LIST = (", '    ("04", {', "    }),", '    ("06", {', "    }),", ")", '    ("99", {}),']
    text = "".join(f"{line}\n" for line in lines)
    entered = new_lesson.entered(text, r'    \("(\d\d)", ', number, "new")
    assert entered.splitlines() == [*lines[:place], "new", *lines[place:]]
