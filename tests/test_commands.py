"""The commands as a user types them: exit codes, one clear line, and a wheel that needs no source tree."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pgnotes.__main__ import COMMANDS, main

ROOT = Path(__file__).parent.parent
TINY = ["prompts_per_step=2", "group_size=2", "steps=1", "evaluate=4", "threads=2"]


def line(capsys) -> str:
    """The one line on stderr of a refused command."""
    lines = [text for text in capsys.readouterr().err.splitlines() if text.startswith("pgnotes:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--preset", "huge"], ["preset", "smoke, pocket, t4"]),
        (["--set", "learning_rate=1"], ["learning_rate", "lr"]),
        (["--set", "lr=fast"], ["lr", "float"]),
        (["--set", "group_size=1"], ["group_size", "at least 2"]),
        (["--set", "length=0"], ["length", "at least 1"]),
        (["--set", "digit_sum=1000"], ["digit_sum"]),
        (["--set", "model=tests"], ["model", "config.json"]),
        (["--set", "model=nobody/nothing"], ["model", "hub", "pocket"]),
        (["--set", "prompts=nowhere.txt"], ["prompts", "nowhere.txt"]),
        (["--set", "prompts=openwebtext"], ["openwebtext", "bundled"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, names, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("pgnotes.lm.models.hub_is_reachable", lambda: False)
    assert main(["grpo", "--out", str(tmp_path / "run"), *arguments]) == 2
    text = line(capsys)
    assert all(name in text for name in names), text
    assert not (tmp_path / "run").exists(), "nothing is left behind"


def test_a_folder_that_holds_a_run(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["grpo", "--preset", "smoke", "--out", out, "--set", *TINY]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    log = (tmp_path / "run/log.jsonl").read_bytes()

    assert main(["grpo", "--preset", "smoke", "--out", out, "--set", *TINY]) == 2
    assert "--resume" in line(capsys)

    assert main(["grpo", "--resume", "--out", out, "--set", "lr=1", "beta=0.5"]) == 2
    text = line(capsys)
    assert "lr was 0.00065 and is now 1.0" in text
    assert "beta was 0.03 and is now 0.5" in text
    assert "group_size" not in text

    assert main(["grpo", "--resume", "--out", out]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == first
    assert (tmp_path / "run/log.jsonl").read_bytes() == log

    assert main(["evaluate", out, "--n", "3"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"pass_rate", "logprob", "distinct", "ended"} == set(found)


def test_memory_that_runs_out_is_one_clear_line_and_other_faults_are_not_hidden(capsys, monkeypatch):
    def failing(error):
        def fail(args):
            raise error

        return fail

    monkeypatch.setitem(COMMANDS, "doctor", failing(RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")))
    assert main(["doctor"]) == 1
    assert "prompts_per_step" in capsys.readouterr().err
    monkeypatch.setitem(COMMANDS, "doctor", failing(RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        main(["doctor"])


def test_evaluate_a_model_folder_and_refuse_what_is_none(tmp_path, capsys):
    assert main(["evaluate", "pocket", "--n", "4", "--set", "threads=2"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "config.json" in line(capsys)
    assert main(["evaluate", "pocket", "--n", "0"]) == 2
    assert "--n" in line(capsys)


def test_doctor_says_what_runs_here(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("python", "torch", "device", "memory", "lessons      yes", "t4 run"))


def test_doctor_fails_only_if_the_lessons_cannot_run(capsys, monkeypatch):
    monkeypatch.setattr("pgnotes.classroom.session.version", lambda name: "0.1")
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 1
    assert "transformers" in capsys.readouterr().out


def test_real_text_with_whatever_characters_trains_and_evaluates(tmp_path, capsys):
    import sysconfig

    text = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    lines = (text.read_text(errors="replace") if text.is_file() else json.__doc__ * 10).splitlines()[:250]
    odd = ["Tab\tand\x00nul", "{length} {0} %s", "<|end|> of turn <|assistant|>", "naïve ☃ 🙂 \u202e right to left", "x" * 5000, "\ufeff"]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(lines + odd), encoding="utf-8")
    assert main(["grpo", "--preset", "smoke", "--out", str(tmp_path / "run"), "--set", f"prompts={file}", *TINY, "evaluate=40"]) == 0
    file.unlink()  # a run keeps its own copy of the prompts
    assert main(["evaluate", str(tmp_path / "run"), "--n", "40"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ended"] > 0.5


def test_pocket_is_rebuilt_from_its_seed(tmp_path, capsys):
    for name in ("a", "b"):
        assert main(["pocket", "--out", str(tmp_path / name), "--steps", "2"]) == 0
    files = [tmp_path / name / "model.safetensors" for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (ROOT / "pgnotes/lm/pocket/tokenizer.json").read_bytes()


def test_the_wheel_runs_without_its_source_tree(tmp_path):
    source = tmp_path / "source"  # a copy, so that building leaves nothing behind in the checkout
    shutil.copytree(ROOT / "pgnotes", source / "pgnotes", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *build, str(source)], check=True)
    shutil.rmtree(source)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    empty = tmp_path / "empty"
    empty.mkdir()
    run = f"import pgnotes; assert {str(tmp_path)!r} in pgnotes.__file__, pgnotes.__file__; from pgnotes.__main__ import main; "
    run += f"raise SystemExit(main(['grpo', '--preset', 'smoke', '--out', 'out', '--set', *{TINY!r}]))"
    done = subprocess.run([sys.executable, "-c", run], cwd=empty, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pass_rate_after" in json.loads(done.stdout.splitlines()[-1])


def test_a_preflight_says_what_memory_it_will_take_before_it_loads_anything(monkeypatch, capsys):
    """The step itself may run out of it."""
    monkeypatch.setattr("pgnotes.lm.preflight.memory_estimate", lambda config, capability: {"total": 12.3})

    def too_much(config):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr("pgnotes.lm.preflight.preflight", too_much)
    assert main(["grpo", "--preflight", "--preset", "smoke"]) == 1
    assert "about 12.3 GiB" in capsys.readouterr().err
