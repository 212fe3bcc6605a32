"""Kill a smoke run at moments spread over its life, resume it, and compare with one never interrupted.

    python benchmarks/kills.py                          20 kills (about ten minutes)
    python benchmarks/kills.py --kills 1 --evaluate 4   what the tests do

The moments are evenly spread, after the first record. Exit status 1 if any ending differs in log.jsonl, in the model's
weights, or in the result (its seconds aside).
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(folder: Path, evaluate: int) -> list[str]:
    """A smoke run in `folder`, going on with what is there."""
    settings = ["--preset", "smoke", "--set", f"evaluate={evaluate}"]
    return [sys.executable, "-m", "pgnotes", "grpo", "--resume", "--out", str(folder), *settings]


def ending(folder: Path) -> tuple[bytes, bytes, dict]:
    """What must not depend on interruptions: the log, the weights, the result without its seconds."""
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"]
    return (folder / "log.jsonl").read_bytes(), (folder / "model/model.safetensors").read_bytes(), result


def start(folder: Path, evaluate: int) -> subprocess.Popen:
    """The run; returns once it has logged a record."""
    process = subprocess.Popen(command(folder, evaluate), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log = folder / "log.jsonl"
    while process.poll() is None and not (log.is_file() and log.stat().st_size):
        time.sleep(0.01)
    return process


def kill(folder: Path, evaluate: int, moment: float) -> str:
    """Start a run and kill it so many seconds after its first record; says what it has left."""
    process = start(folder, evaluate)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = len((folder / "log.jsonl").read_text().splitlines())
    checkpoints = sorted(p.name for p in (folder / "checkpoints").glob("*"))
    return f"{lines} records, {checkpoints}"


def finish(folder: Path, evaluate: int) -> None:
    """Run to the end; a failure is shown in full."""
    done = subprocess.run(command(folder, evaluate), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the resumed run failed:\n{done.stderr}")


def main() -> None:
    """Run, kill, resume, compare; print a line for each kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--evaluate", type=int, default=16, help="completions in each evaluation of the runs")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        whole = start(Path(place) / "whole", args.evaluate)
        first_record = time.perf_counter()
        _, errors = whole.communicate()
        if whole.returncode:
            raise SystemExit(f"the first run failed:\n{errors}")
        life = time.perf_counter() - first_record
        expected = ending(Path(place) / "whole")

        same = 0
        for i in range(args.kills):
            folder, moment = Path(place) / f"killed-{i}", life * (i + 0.5) / args.kills
            left = kill(folder, args.evaluate, moment)
            finish(folder, args.evaluate)
            identical = ending(folder) == expected
            same += identical
            verdict = "identical" if identical else "DIFFERENT"
            print(f"killed {moment:5.2f} s after the first record, {left}: {verdict}", flush=True)
        print(f"{same} of {args.kills} endings identical")
    raise SystemExit(same != args.kills)


if __name__ == "__main__":
    main()
