"""The run's folder: atomic, checked, and clear about a full disk."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pgnotes.lm import state
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.state import DiskFullError, RunFolder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "run")
    made.write("run.json", {"config": {}})
    return made


def payload(i):
    return {"records": [{"step": i}], "policy": {"w": torch.full((1000,), float(i))}}


def test_the_last_two_checkpoints_are_kept(folder):
    for i in (1, 2, 10):
        folder.save_checkpoint(i, payload(i))
    assert [p.name for p in folder.checkpoints()] == ["step-000002", "step-000010"]
    assert folder.load_checkpoint()["policy"]["w"][0] == 10


@pytest.mark.parametrize("damage", ["truncate", "flip", "no checksum", "no state"])
def test_a_damaged_newest_one_is_named_and_the_one_before_used(folder, capsys, damage):
    for i in (1, 2):
        folder.save_checkpoint(i, payload(i))
    file = folder / "checkpoints/step-000002/state.pt"
    data = bytearray(file.read_bytes())
    if damage == "truncate":
        file.write_bytes(data[:-100])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "no checksum":
        (file.parent / "sha256").unlink()
    else:
        file.unlink()
    assert folder.load_checkpoint()["policy"]["w"][0] == 1
    assert "step-000002 is damaged" in capsys.readouterr().err
    folder.save_checkpoint(2, payload(3))  # the run gets there again
    assert folder.load_checkpoint()["policy"]["w"][0] == 3


def test_there_are_never_more_than_two_also_while_one_is_written(folder, monkeypatch):
    """A T4 run's are 5.5 GB each, and a free drive has 15."""
    seen, real = [], torch.save

    def save(payload, place):
        real(payload, place)
        seen.append(len(list((folder / "checkpoints").iterdir())))

    monkeypatch.setattr(torch, "save", save)
    for i in range(1, 5):
        folder.save_checkpoint(i, payload(i))
    assert seen == [1, 2, 2, 2]


def test_a_damaged_one_goes_once_a_whole_one_is_found(folder, capsys):
    """Else it would be taken for the newest, and the whole one be dropped before the next is written."""
    for i in (1, 2):
        folder.save_checkpoint(i, payload(i))
    (folder / "checkpoints/step-000002/sha256").write_text("0")
    (folder / "checkpoints/part-step-000003").mkdir()
    folder.load_checkpoint()
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["step-000001"]


def test_all_of_them_damaged(folder, capsys):
    for i in (1, 2):
        folder.save_checkpoint(i, payload(i))
        (folder / f"checkpoints/step-00000{i}/sha256").write_text("0")
    with pytest.raises(BadInputError, match="step-000001 and step-000002 are damaged"):
        folder.load_checkpoint()
    assert len(folder.checkpoints()) == 2


def test_half_written_ones_are_no_checkpoints(folder):
    folder.save_checkpoint(1, payload(1))
    (folder / "checkpoints/part-step-000002").mkdir()
    assert [p.name for p in folder.checkpoints()] == ["step-000001"]


def test_a_line_cut_short_is_left_out(folder):
    folder.append("log.jsonl", {"step": 0})
    with open(folder / "log.jsonl", "a") as file:
        file.write('{"step": 1, "rew')
    assert folder.lines("log.jsonl") == [{"step": 0}]
    folder.rewind("log.jsonl", [{"step": 0}])
    assert (folder / "log.jsonl").read_text() == '{"step": 0}\n'


@pytest.mark.parametrize("text", ["", '{"config": ', "NaN1", "\x00\x00"])
def test_a_damaged_file_is_named(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(BadInputError, match=r"run\.json is empty or damaged"):
        folder.read("run.json")
    (folder / "log.jsonl").write_text('{"step": 0}\n{"ste\n{"step": 2}\n')
    with pytest.raises(BadInputError, match=r"log\.jsonl has a damaged line"):
        folder.lines("log.jsonl")


def test_zeros_at_the_end_of_a_log_are_no_line(folder):
    """What some file systems leave of a line when the machine loses its power."""
    (folder / "log.jsonl").write_bytes(b'{"step": 0}\n' + b"\0" * 40 + b"\n" + b"\0" * 7)
    assert folder.lines("log.jsonl") == [{"step": 0}]


def test_numbers_that_json_does_not_have_are_refused(folder):
    for write in (folder.write, folder.append):
        with pytest.raises(ValueError, match="JSON compliant"):
            write("log.jsonl", {"grad_norm": float("inf")})
    assert not (folder / "log.jsonl").exists()


def test_a_tokenizer_that_makes_folders_is_saved(folder):
    """As those with several chat templates do."""

    class Tokenizer:
        def save_pretrained(self, place):
            (place / "additional_chat_templates").mkdir()
            (place / "additional_chat_templates/rag.jinja").write_text("x")

    class Model:
        def save_pretrained(self, place):
            place.mkdir()
            (place / "config.json").write_text("{}")

    for _ in range(2):
        folder.save_model(Model(), Tokenizer())
    assert (folder / "model/additional_chat_templates/rag.jinja").read_text() == "x"
    assert (folder / "model/config.json").read_text() == "{}"


@pytest.mark.parametrize("made", [True, False], ids=["to a folder", "to nothing yet"])
def test_a_model_folder_that_is_a_link(folder, tmp_path, made):
    """To a larger disk, say: what the link points to is written, and the link stays."""
    if made:
        (tmp_path / "large").mkdir()
    (folder / "model").symlink_to(tmp_path / "large", target_is_directory=True)
    folder.put("model", lambda place: (place.mkdir(), (place / "config.json").write_text("{}")))
    assert (folder / "model").is_symlink()
    assert (tmp_path / "large/config.json").read_text() == "{}"


def test_a_file_where_the_model_is_to_be(folder):
    (folder / "model").write_text("in the way")
    folder.put("model", lambda place: (place.mkdir(), (place / "config.json").write_text("{}")))
    assert (folder / "model/config.json").read_text() == "{}"


def test_a_fault_that_stays_is_not_waited_for(folder, monkeypatch):
    monkeypatch.setattr(state.time, "sleep", lambda seconds: pytest.fail("it waits"))
    for error in (
        PermissionError(errno.EACCES, "Permission denied"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory"),
    ):

        def fail(*args, error=error, **options):
            raise error

        monkeypatch.setattr(torch, "save", fail)
        with pytest.raises(type(error), match=error.strerror):
            folder.save_checkpoint(1, payload(1))


def test_a_fault_is_reported_as_itself_where_there_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(state.time, "sleep", lambda seconds: None)
    nowhere = RunFolder(tmp_path / "none/at/all")

    def fail():
        raise OSError(errno.EPERM, "Operation not permitted")

    with pytest.raises(OSError, match="Operation not permitted"):
        nowhere.guarded(fail)


def test_whether_a_folder_can_be_written_is_tried_without_a_trace(tmp_path, monkeypatch):
    RunFolder(tmp_path / "a/b/c").check_writable()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInputError, match="^out is .*file' is a file"):
        RunFolder(tmp_path / "file").check_writable()
    with pytest.raises(BadInputError, match="file' is a file"):
        RunFolder(tmp_path / "file/run").check_writable()
    real = Path.mkdir

    def mkdir(self, *args, **options):
        if self.name == "c":
            raise OSError(errno.EROFS, "Read-only file system")
        real(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(BadInputError, match="nothing can be written: Read-only file system"):
        RunFolder(tmp_path / "a/b/c").check_writable()
    assert not (tmp_path / "a").exists()


def test_a_drive_without_locks_is_used_without(folder, monkeypatch):
    def fail(self, **options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(state.filelock.FileLock, "acquire", fail)
    folder.acquire()
    folder.release()


def test_a_full_disk_names_the_last_good_checkpoint(folder, monkeypatch):
    folder.save_checkpoint(1, payload(1))

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskFullError, match="step-000001.*--resume"):
        folder.save_checkpoint(2, payload(2))
    assert not list(folder.path.rglob("part-*")), "what was half written is gone"
    monkeypatch.undo()
    assert folder.load_checkpoint()["policy"]["w"][0] == 1
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFullError):
        folder.write("run.json", {})
    assert folder.read("run.json") == {"config": {}}, "the old one stays until the new one is whole"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_disk_that_is_really_full(folder):
    (folder / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="no checkpoint yet"):
        folder.append("log.jsonl", {"step": 0})


def test_a_drive_that_drops_out_is_tried_again(folder, monkeypatch):
    calls, pauses = [], []
    real = torch.save

    def flaky(*args):
        calls.append(1)
        if len(calls) < 3:
            raise OSError(errno.EIO, "Input/output error")
        real(*args)

    monkeypatch.setattr(torch, "save", flaky)
    monkeypatch.setattr(state.time, "sleep", pauses.append)
    folder.save_checkpoint(1, payload(1))
    assert len(calls) == 3
    assert pauses == [1.0, 5.0]
    assert folder.load_checkpoint() is not None


def test_only_the_first_process_writes(folder):
    folder.writes = False
    folder.save_checkpoint(1, payload(1))
    folder.append("log.jsonl", {})
    assert folder.checkpoints() == []
    assert not (folder / "log.jsonl").exists()


def test_a_run_killed_in_its_middle_ends_identically():
    """One kill, and short evaluations; the benchmark makes twenty."""
    command = [sys.executable, ROOT / "benchmarks/kills.py", "--kills", "1", "--evaluate", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 endings identical" in done.stdout
