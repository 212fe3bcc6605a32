"""A benchmark that few can run as it is meant is at least run as it can be."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_gpu_benchmark_runs_on_what_there_is_at_a_small_shape():
    """The t4 preset in float16, from the random model to the last figure."""
    done = subprocess.run([sys.executable, ROOT / "benchmarks/gpu.py", "--size", "tiny", "--steps", "1"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = {line[:17].strip(): line[17:] for line in done.stdout.splitlines()[1:]}
    assert {"step", "skipped", "sampler's gap", "micro-batch", "decoding", "ceiling"} <= set(figures)
    assert 0 < float(figures["sampler's gap"].split()[0]) < 1e-2
    assert int(figures["micro-batch"].split()[0]) == 8


def test_one_thing_changed_at_a_time(tmp_path):
    """A variant for a step; the second time nothing is left to do."""
    command = [sys.executable, ROOT / "benchmarks/ablations.py", "no leash", "--steps", "1", "--evaluate", "4", "--seeds", "5", "--out", str(tmp_path)]
    first, again = (subprocess.run(command, capture_output=True, text=True, timeout=600) for _ in range(2))
    assert first.returncode == 0, first.stderr[-2000:]
    assert first.stdout == again.stdout
    assert first.stdout.splitlines()[1].startswith("no leash")
    assert [folder.name for folder in tmp_path.iterdir()] == ["no-leash-5"]
    refused = subprocess.run([*command, "no lash"], capture_output=True, text=True, timeout=600)
    assert refused.returncode == 2
    assert "no lash" in refused.stderr
