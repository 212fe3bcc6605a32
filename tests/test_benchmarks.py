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
