"""tools/on_colab.sh with a stand-in for Google's command: what it asks for, in what order, and that it cleans up."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = """#!/bin/sh
echo "$@" >>"$ASKED"
case "$1" in
  exec) for last; do :; done; cp "$last" "$JOB"; printf 'on colab: something\\non colab: %s\\n' "$ENDING" ;;
  upload) cp "$4" "$ARCHIVE" ;;
  download) echo back >"$5" ;;
esac
"""


def on_colab(place, ending, *arguments):
    """Run the script with the stand-in: its exit status, and what the stand-in was asked."""
    command = place / "colab"
    command.write_text(STAND_IN)
    command.chmod(0o755)
    names = {name: str(place / name.lower()) for name in ("ASKED", "JOB", "ARCHIVE")}
    (place / "asked").touch()
    settings = os.environ | names | {"COLAB": str(command), "ENDING": ending}
    script = place / "clone/tools/on_colab.sh"
    done = subprocess.run([script, *arguments], env=settings, capture_output=True, text=True, check=False)
    return done, (place / "asked").read_text().splitlines()


@pytest.fixture
def clone(tmp_path):
    """A clone with the two scripts in it."""
    (tmp_path / "clone/tools").mkdir(parents=True)
    for name in ("on_colab.sh", "on_colab.py"):
        (tmp_path / "clone/tools" / name).write_bytes((ROOT / "tools" / name).read_bytes())
        (tmp_path / "clone/tools" / name).chmod(0o755)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path / "clone", check=True)
    return tmp_path


def test_a_machine_is_asked_for_used_and_given_back(clone):
    done, asked = on_colab(clone, "all of it ran", "7")
    assert done.returncode == 0, done.stderr
    session = asked[0].split()[2]
    words = [line.replace(session, "S").split() for line in asked]
    assert [line[0] for line in words] == ["new", "upload", "exec", "download", "stop"]
    assert words[0] == ["new", "-s", "S", "--gpu", "T4"]
    assert words[-1] == ["stop", "-s", "S"]
    with tarfile.open(clone / "archive") as archive:
        assert "pgnotes/tools/on_colab.py" in archive.getnames()
    job = (clone / "job").read_text()
    assert job.startswith("STEPS = 7\n")
    compile(job, "job", "exec")
    assert (clone / "clone/runs/on-colab/on-colab.tar.gz").read_text() == "back\n"


def test_what_failed_there_fails_here_and_the_machine_goes_back_all_the_same(clone):
    done, asked = on_colab(clone, "1 of 11 failed")
    assert done.returncode != 0
    assert asked[-1].startswith("stop")


def test_bad_input_asks_for_no_machine(clone):
    done, asked = on_colab(clone, "", "many")
    assert (done.returncode, asked) == (2, [])
    assert done.stderr == "steps is 'many'; it must be a number\n"
    missing = subprocess.run(
        [clone / "clone/tools/on_colab.sh"], env=os.environ | {"COLAB": "no-such"}, capture_output=True, text=True
    )
    assert missing.returncode == 2
    assert "is not installed" in missing.stderr


def test_the_job_runs_every_lesson_and_the_preset_and_counts_what_failed(tmp_path, monkeypatch, capsys):
    """With /content elsewhere, and commands that only say what they would do; the second lesson fails."""
    (tmp_path / "pgnotes/notebooks").mkdir(parents=True)
    for name in ("00_a.ipynb", "01_b.ipynb"):
        (tmp_path / "pgnotes/notebooks" / name).write_text("{}")
    with tarfile.open(tmp_path / "pgnotes.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "pgnotes", "pgnotes")
    (tmp_path / "t4").mkdir()
    (tmp_path / "t4/result.json").write_text("{}")
    calls = []

    def run(words, cwd, check):
        calls.append(words)
        return subprocess.CompletedProcess(words, returncode=int("01_b" in words[-1]))

    monkeypatch.setattr(subprocess, "run", run)
    code = (ROOT / "tools/on_colab.py").read_text().replace('Path("/content")', f"Path({str(tmp_path)!r})")
    exec(compile(code, "job", "exec"), {"STEPS": 3})
    assert [Path(words[-1]).name for words in calls[:2]] == ["00_a.ipynb", "01_b.ipynb"]
    assert calls[-1][:6] == (sys.executable, "-m", "pgnotes", "grpo", "--preset", "t4")
    assert "steps=3" in calls[-1]
    assert "on colab: 1 of 3 failed" in capsys.readouterr().out
    with tarfile.open(tmp_path / "on-colab.tar.gz") as archive:
        assert archive.getnames() == ["result.json"]
