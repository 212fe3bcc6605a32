"""What a run asks of the machine before it begins."""

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from pgnotes.lm.learner import keep_freed_memory

FETCHED = """
import resource, torch
from pgnotes.lm.learner import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fetched():
    before = pages()
    for _ in range(4):
        torch.ones(2**24)  # 64 MiB, more than glibc ever keeps by itself
    return pages() - before

first = fetched()
keep_freed_memory(torch.device("cpu"))
fetched()
print(first, fetched())
"""

COMMAND = """
import contextlib, runpy, sys, torch
sys.argv = ["pgnotes", "grpo", "--preset", "smoke", "--out", sys.argv[1], "--set", "steps=1", "evaluate=1"]
with contextlib.suppress(SystemExit):
    runpy.run_module("pgnotes", run_name="__main__")
print((torch.full((2**22,), 1e-30) * 1e-10).any().item())

from pgnotes.lm.config import GRPOConfig
with contextlib.suppress(ValueError):
    GRPOConfig(lr=0.0)
    print("a rate of 0 was taken for one above it")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_large_tensors_are_made_of_memory_that_was_freed():
    done = subprocess.run([sys.executable, "-c", FETCHED], capture_output=True, text=True, check=True)
    anew, kept = map(int, done.stdout.split())
    assert anew > 100
    assert kept < anew / 10


@pytest.mark.parametrize(("device", "library"), [("cuda", ("glibc", "2.36")), ("cpu", ("", ""))])
def test_nothing_is_asked_of_a_gpu_or_of_another_c_library(monkeypatch, device, library):
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("asked"))
    keep_freed_memory(torch.device(device))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not every processor can")
def test_numbers_too_small_for_full_precision_count_as_nothing_in_the_command(tmp_path):
    done = subprocess.run([sys.executable, "-c", COMMAND, str(tmp_path / "run")], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"  # in every thread: they take over from the first what it was told
