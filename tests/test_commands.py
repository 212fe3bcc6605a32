"""The commands as a user types them: exit codes, one clear line, and a wheel that needs no source tree."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from pgnotes.__main__ import COMMANDS, main
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.evaluate import Evaluation

ROOT = Path(__file__).parent.parent
TINY = ["prompts_per_step=2", "group_size=2", "steps=1", "evaluate=4", "threads=1"]


def line(capsys) -> str:
    """The one line on stderr of a refused command."""
    lines = [text for text in capsys.readouterr().err.splitlines() if text.startswith("pgnotes:")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--preset", "huge"], ["preset", "smoke, pocket, laptop, t4"]),
        (["--set", "learning_rate=1"], ["learning_rate", "lr"]),
        (["--set", "lr=fast"], ["lr", "float"]),
        (["--set", "group_size=1"], ["group_size", "at least 2"]),
        (["--set", "length=0"], ["length", "at least 1"]),
        (["--set", "digit_sum=1000"], ["digit_sum"]),
        (["--set", "threads=100000"], ["threads", "1024"]),
        (["--set", "length=3000", "prompts_per_step=1", "group_size=2"], ["pocket", "2048 tokens", "length"]),
        (["--set", "model=tests"], ["model", "config.json"]),
        (["--set", "model=nobody/nothing"], ["model", "hub", "pocket"]),
        (["--set", "prompts=nowhere.txt"], ["prompts", "nowhere.txt"]),
        (["--set", "prompts=openwebtext"], ["openwebtext", "bundled"]),
        (["--set", "instruction={prompt} {lenght}"], ["instruction", "{lenght}", "{length}"]),
        (["--set", "instruction={} {prompt}"], ["instruction", "{}"]),
        (["--set", "device=tpu"], ["device", "auto, cpu, cuda, mps"]),
        (["--set", "device=cuda"], ["device", "this machine does not have"]),
        (["--set", "prompts=pgnotes/lm/pocket/model.safetensors"], ["prompts", "no text"]),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, names, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("pgnotes.lm.models.why_no_hub", lambda: "no network")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["grpo", "--out", str(tmp_path / "run"), *arguments]) == 2
    text = line(capsys)
    assert all(name in text for name in names), text
    assert not (tmp_path / "run").exists(), "nothing is left behind"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of one step."""
    out = tmp_path_factory.mktemp("commands") / "run"
    assert main(["grpo", "--preset", "smoke", "--out", str(out), "--set", *TINY]) == 0
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "own" / "run"))


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


def failing(error):
    def fail(*args, **options):
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 123 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_one_clear_line(capsys, monkeypatch, error):
    monkeypatch.setitem(COMMANDS, "doctor", failing(error))
    assert main(["doctor"]) == 1
    assert "prompts_per_step" in line(capsys)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("another fault"), ValueError("rewards holds NaN"), UnicodeEncodeError("ascii", "→", 0, 1, "no")],
)
def test_a_fault_in_the_middle_of_the_work_keeps_its_traceback(capsys, monkeypatch, error):
    """It is no bad input, and something may have been changed."""
    monkeypatch.setitem(COMMANDS, "doctor", failing(error))
    with pytest.raises(type(error)):
        main(["doctor"])


def test_on_request_every_fault_keeps_its_traceback(monkeypatch):
    monkeypatch.setenv("PGNOTES_DEBUG", "1")
    with pytest.raises(BadInputError):
        main(["evaluate"])


def test_ctrl_c_advises_resume_only_where_there_is_something_to_resume(run, tmp_path, capsys, monkeypatch):
    for arguments, resumable in (
        (["grpo", "--out", str(run), "--resume"], True),
        (["grpo", "--out", str(tmp_path / "new")], False),
        (["grpo", "--preflight"], False),
        (["evaluate", "pocket"], False),
        (["pocket", "--out", str(run)], False),
    ):
        monkeypatch.setitem(COMMANDS, arguments[0], failing(KeyboardInterrupt()))
        assert main(arguments) == 130
        assert line(capsys) == "pgnotes: stopped" + "; go on with --resume" * resumable


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_an_output_that_is_closed(tmp_path, closed):
    settings = " ".join([*TINY, "evaluate=1"])
    command = f"{sys.executable} -m pgnotes grpo --preset smoke --out {tmp_path}/run --set {settings} {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/result.json").is_file()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_output_that_knows_few_characters(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    assert main(["evaluate", "pocket", "--n", "2"]) == 0
    lines = written.getvalue().decode(encoding).splitlines()
    assert len(lines) == 3
    assert ("→" if encoding == "utf-8" else "\\u2192") in lines[0]
    assert "pass_rate" in json.loads(lines[-1])
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--help"])
    assert stop.value.code == 0


def test_a_reader_that_has_read_enough(monkeypatch):
    """As with `| head`, but gone before the first line: no traceback, also not at the end of Python."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # with it nothing would be left to write at the end
    command = f"set -o pipefail; {sys.executable} -m pgnotes evaluate pocket --n 2 | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an address space has no limit that can be set")
def test_an_address_space_that_is_used_up(tmp_path):
    out = tmp_path / "run"
    settings = "prompts_per_step=1 group_size=32000 evaluate=2 steps=1 threads=1"
    command = f"ulimit -v 6000000; {sys.executable} -m pgnotes grpo --preset smoke --out {out} --set {settings}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "group_size" in done.stderr.splitlines()[-1]
    assert main(["grpo", "--preset", "smoke", "--out", str(out), "--set", *TINY]) == 0, "the corrected command goes on"


# evaluate


def test_evaluate_a_model_folder_and_refuse_what_is_none(tmp_path, capsys):
    assert main(["evaluate", "pocket", "--n", "4", "--set", "threads=1"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "config.json" in line(capsys)
    assert main(["evaluate", "pocket", "--n", "0"]) == 2
    assert "--n" in line(capsys)
    assert main(["evaluate"]) == 2
    assert "DIR is missing" in line(capsys)
    assert main(["evaluate", "--set", "length=x"]) == 2
    assert "DIR is missing" in line(capsys)


def test_evaluate_a_run_by_its_folder_or_its_model_s_and_with_settings_before_or_after(run, capsys):
    found = []
    for arguments in (
        [str(run)],
        [str(run / "model")],
        ["--set", "evaluate=3", str(run)],
        ["--n", "4", str(run), "--set", "length=48"],
    ):
        assert main(["evaluate", "--n", "4", *arguments]) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert all(each == found[0] for each in found)


def broken(pocket, folder, what):
    """A model's folder in which something is missing or damaged."""
    for part in pocket:
        part.save_pretrained(folder)
    file = folder / ("config.json" if "settings" in what else "model.safetensors")
    if what == "no weights":
        file.unlink()
    elif what == "cut weights":
        file.write_bytes(file.read_bytes()[:-1000])
    else:
        kinds = {
            "no settings in it": "{}",
            "no JSON in its settings": "{",
            "settings of a translator": '{"model_type": "t5"}',
        }
        file.write_text(kinds[what])
    return folder


@pytest.mark.parametrize(
    "what", ["no weights", "cut weights", "no settings in it", "no JSON in its settings", "settings of a translator"]
)
def test_a_damaged_model_is_one_clear_line(what, pocket, tmp_path, capsys):
    folder = broken(pocket, tmp_path / "mine", what)
    for command in (["evaluate", str(folder)], ["grpo", "--out", str(tmp_path / "run"), "--set", f"model={folder}"]):
        assert main(command) == 2
        assert "mine', but it could not be loaded" in line(capsys)
    assert not (tmp_path / "run").exists()


def test_evaluate_refuses_texts_longer_than_the_model_reads(gpt2, capsys):
    assert main(["evaluate", gpt2, "--set", "length=300"]) == 2
    assert "256 tokens at most" in line(capsys)


def test_evaluate_refuses_a_run_that_has_not_ended(run, capsys):
    """Finished and then raised, or cut off: its model is the old one, or missing."""
    settings = json.loads((run / "run.json").read_text())
    settings["config"]["steps"] = 7
    (run / "run.json").write_text(json.dumps(settings))

    def refused(*places):
        for place in places:
            assert main(["evaluate", str(place)]) == 2
            assert "1 of 7 steps are done; go on with: python -m pgnotes grpo --resume --out" in line(capsys)

    refused(run, run / "model")
    (run / "result.json").unlink()
    refused(run, run / "model")
    shutil.rmtree(run / "model")
    (run / "result.json").write_text('{"steps": 7}')
    refused(run)


def test_a_run_called_pocket_is_not_mistaken_for_the_bundled_model(run, capsys, monkeypatch):
    run.rename(run.parent / "pocket")
    monkeypatch.chdir(run.parent)
    assert main(["evaluate", "pocket"]) == 2
    assert "./pocket" in line(capsys)
    assert main(["evaluate", "./pocket", "--n", "2"]) == 0


def test_a_model_that_is_not_of_the_pocket_kind_is_asked_in_words(gpt2, monkeypatch, capsys):
    asked = []

    def evaluate(model, tokenizer, requests, config, judge):
        asked.append(requests[0][0].message("x"))
        return Evaluation(0.0, 0.0, 0.0, 0.0, [])

    monkeypatch.setattr("pgnotes.lm.evaluate.evaluate", evaluate)
    for name in (gpt2, "pocket"):
        assert main(["evaluate", name, "--n", "1"]) == 0
    assert asked[0].startswith("Continue the text below with exactly 48 characters")
    assert asked[1] == "48 12: x"


# folders


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_written_is_refused_at_once(name, tmp_path, capsys, monkeypatch):
    """Before anything is loaded, with the true reason."""
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("pgnotes.lm.learner.load", failing(AssertionError("it loads")))
    for command in (["grpo", "--preset", "smoke"], ["pocket", "--steps", "1"]):
        assert main([*command, "--out", str(tmp_path / name)]) == 2
        assert f"{tmp_path}/file' is a file" in line(capsys)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="this system has no /sys")
def test_a_folder_of_the_system(capsys):
    assert main(["grpo", "--preset", "smoke", "--out", "/sys/run"]) == 2
    assert "ermi" in line(capsys), "permission denied, or operation not permitted"


def test_a_damaged_run_is_named(run, capsys):
    for text in ("", '{"config": {"mod'):
        (run / "run.json").write_text(text)
        assert main(["grpo", "--resume", "--out", str(run)]) == 2
        assert "run.json" in line(capsys)
        assert main(["evaluate", str(run)]) == 2
        assert "run.json" in line(capsys)


def test_pocket_replaces_nothing_unless_told_to(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pgnotes.lm.pocket.build.build", failing(AssertionError("it trains")))
    (tmp_path / "notes.txt").write_text("mine")
    for arguments, words in (
        ([], "--out is missing"),
        (["--out", str(tmp_path)], "not empty"),
        (["--steps", "0", "--out", str(tmp_path / "new")], "--steps is 0"),
    ):
        assert main(["pocket", *arguments]) == 2
        assert words in line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(AssertionError, match="it trains"):
        main(["pocket", "--out", str(tmp_path), "--replace"])


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
    lines = (text.read_text(errors="replace") if text.is_file() else json.__doc__ * 10).splitlines()[:40]
    odd = [
        "Tab\tand\x00nul",
        "{length} {0} %s",
        "<|end|> of turn <|assistant|>",
        "naïve ☃ 🙂 \u202e right to left",
        "x" * 5000,
        "\ufeff",
    ]
    file = tmp_path / "prompts.txt"
    # So many of each kind that both sides of the split have some, and the step and the evaluations meet them.
    texts = lines + [f"{text} {i}" for text in odd for i in range(20)]
    file.write_text("\n".join(texts), encoding="utf-8")
    settings = [f"prompts={file}", *TINY, "evaluate=40", "prompts_per_step=24"]
    assert main(["grpo", "--preset", "smoke", "--out", str(tmp_path / "run"), "--set", *settings]) == 0
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
    here = f"assert {str(tmp_path)!r} in pgnotes.__file__, pgnotes.__file__"
    run = f"import pgnotes; {here}; from pgnotes.__main__ import main; "
    run += f"raise SystemExit(main(['grpo', '--preset', 'smoke', '--out', 'out', '--set', *{TINY!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", run],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
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
