"""The run's folder: atomic, checked, and clear about a full disk."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pgnotes.lm import state
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


def test_a_full_disk_names_the_last_good_checkpoint(folder, monkeypatch):
    folder.save_checkpoint(1, payload(1))

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskFullError, match="step-000001.*--resume"):
        folder.save_checkpoint(2, payload(2))
    monkeypatch.undo()
    assert folder.load_checkpoint()["policy"]["w"][0] == 1
    assert not list(folder.path.rglob("part-*")), "what was half written is gone"
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFullError):
        folder.write("result.json", {})


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


def test_two_kills_and_two_identical_endings():
    done = subprocess.run([sys.executable, ROOT / "benchmarks/kills.py", "--kills", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 endings identical" in done.stdout
