"""A benchmark that few can run as it is meant is at least run as it can be."""

import gzip
import importlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch, capsys) -> Callable[..., str]:
    """Runs a script's `main` as the command line would, and gives what it printed; what it patches is put back."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run


def test_the_gpu_benchmark_runs_on_what_there_is_at_a_small_shape(benchmark):
    """The t4 preset in float16, from the random model to the last figure."""
    out = benchmark("gpu", "--size", "tiny", "--steps", "1", "--prompts", "2")
    figures = {" ".join(line[:17].split()): line[17:] for line in out.splitlines()[1:]}
    assert {"step", "skipped", "sampler's gap", "micro-batch", "decoding 32", "decoding 80", "ceiling"} <= set(figures)
    assert 0 < float(figures["sampler's gap"].split()[0]) < 1e-2
    assert int(figures["micro-batch"].split()[0]) == 8


def test_the_real_model_s_recipe_and_a_trial_from_its_warmed_up_model(benchmark, tmp_path):
    """With the bundled model in the place of the converted one; a second call does nothing again."""
    shutil.copytree(ROOT / "pgnotes/lm/pocket", tmp_path / "SmolLM2-135M-Instruct")
    small = "steps=2 warmup_examples=20 evaluate=8 prompts_per_step=2 group_size=2 max_new_tokens=90 device=cpu"
    given = ["--trials", "recipe", "a leash of 0.02", "--seeds", "3", "--trial-seeds", "3"]
    given += ["--out", str(tmp_path), *(word for setting in small.split() for word in ("--set", setting))]
    first, again = (benchmark("real_model", *given).splitlines() for _ in range(2))
    assert first[:2] == ["recipe, seed 3: done", "a leash of 0.02, seed 3: done"]
    assert first[2:] == again[2:]
    assert [line[:34].strip() for line in first[2:]] == ["trial", "recipe", "a leash of 0.02"]
    trial = json.loads((tmp_path / "a-leash-of-0-02-3/run.json").read_text())["config"]
    assert trial["model"] == str(tmp_path / "recipe-3/warmup/model")
    assert (trial["warmup_examples"], trial["beta"], trial["steps"]) == (0, 0.02, 2)


def test_the_share_of_the_commonest_numbers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    top_share = importlib.import_module("real_model").top_share
    assert top_share(["sold 13 pies, then 8", "lent 13 maps and 8 books", "lent 8 maps and 13 books", "none"]) == 0.5


def test_one_thing_changed_at_a_time(benchmark, tmp_path, capsys):
    """A variant for a step; the second time nothing is left to do."""
    given = ["no leash", "--steps", "1", "--evaluate", "4", "--seeds", "5", "--out", str(tmp_path)]
    first, again = (benchmark("ablations", *given) for _ in range(2))
    assert first == again
    assert first.splitlines()[1].startswith("no leash")
    assert [folder.name for folder in tmp_path.iterdir()] == ["no-leash-5"]
    with pytest.raises(SystemExit) as refused:
        benchmark("ablations", *given, "no lash")
    assert refused.value.code == 2
    assert "no lash" in capsys.readouterr().err


def test_how_long_a_completion_takes_alone(benchmark):
    """A row for each way to decode: its median is not above its 95th percentile, its tokens take time."""
    out = benchmark("latency", "--requests", "3")
    rows = [line.split() for line in out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["pgnotes", "generate"]
    assert all(0 < int(p50) <= int(p95) and float(token) > 0 for _, p50, p95, token in rows)


def test_what_the_leash_costs_is_told_request_by_request(benchmark, tmp_path):
    """Two runs of a step, compared; the second time they are not done again, and nothing comes out otherwise."""
    given = ["--seeds", "5", "--steps", "1", "--n", "4", "--requests", "6", "--out", str(tmp_path)]
    first, again = (benchmark("leash", *given) for _ in range(2))
    assert first == again
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["free-5", "leashed-5"]
    *rows, told = first.splitlines()[2:]
    assert [row.split()[:2] for row in rows] == [["5", "leashed"], ["5", "free"]]
    less, more, no_telling = map(int, re.findall(r" in (\d+)", told))
    assert less + more + no_telling == 6
    settings = json.loads((tmp_path / "free-5/run.json").read_text())["config"]
    assert (settings["beta"], settings["seed"], settings["steps"]) == (0.0, 5, 1)


def test_a_difference_of_two_shares_in_standard_errors(monkeypatch):
    """By hand: 48 and 32 of 64 differ by 0.25, where two shares of 81 in 130 have an error of 0.0857."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    differences = importlib.import_module("leash").differences
    assert differences([48, 0, 64, 10], [32, 0, 0, 10], 64) == pytest.approx([2.9182, 0, 11.3137, 0], abs=1e-4)


def test_the_family_s_runs_are_packed_for_the_lesson(benchmark, tmp_path, monkeypatch):
    """Two of them for a step; what is packed says how it was made, and leads back to it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    family = importlib.import_module("family")
    monkeypatch.setattr(family, "BUDGET", family.BUDGET | {"prompts_per_step": 2, "group_size": 4, "epochs": 2})
    given = ["SAPO", "Lite PPO", "--steps", "1", "--evaluate", "4", "--seeds", "5", "--out", str(tmp_path / "runs")]
    out = benchmark("family", *given, "--pack", str(tmp_path / "packed.gz"))
    assert [line[:16].split() for line in out.splitlines()[1:]] == [["SAPO", "5"], ["Lite", "PPO", "5"]]
    packed = json.loads(gzip.decompress((tmp_path / "packed.gz").read_bytes()))
    assert (packed["budget"]["epochs"], packed["budget"]["evaluate"]) == (2, 4)
    assert [*packed["variants"]] == ["SAPO", "Lite PPO"]
    told = "python benchmarks/family.py SAPO 'Lite PPO' --steps 1 --seeds 5 --evaluate 4 --pack packed.gz"
    assert packed["command"] == told
    assert [(run["name"], run["seed"]) for run in packed["runs"]] == [("SAPO", 5), ("Lite PPO", 5)]
    result = json.loads((tmp_path / "runs/SAPO-5/result.json").read_text())
    assert packed["runs"][0]["result"]["pass_rate_after"] == result["pass_rate_after"]
    assert all(len(curve) == 1 for run in packed["runs"] for curve in run["curves"].values())
    settings = json.loads((tmp_path / "runs/Lite-PPO-5/run.json").read_text())["config"]
    assert (settings["advantages"], settings["seed"], settings["group_size"]) == ("lite_ppo", 5, 4)
