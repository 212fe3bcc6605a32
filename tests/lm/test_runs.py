"""How a run begins, goes on and ends: what may change, what is refused before anything is written, who may write."""

import dataclasses
import gc
import json
import math
import os
import shutil
import signal
import traceback
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fixed import FixedRewards

from pgnotes.lm import grpo, learner, models, runs
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError, out_of_memory
from pgnotes.lm.grpo import steps, train
from pgnotes.lm.preflight import preflight
from pgnotes.lm.state import RunFolder, finite

TINY = dataclasses.replace(
    GRPOConfig.preset("smoke"), threads=1, steps=2, prompts_per_step=2, group_size=2, evaluate=2, checkpoint_every=1
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    train(TINY, folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def started(run):
    """The same as if it had been cut off after its first step of four."""
    config = dataclasses.asdict(dataclasses.replace(TINY, steps=4))
    (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()) | {"config": config}))
    shutil.rmtree(run / "checkpoints/step-000002")
    for name in ("result.json", "evaluation_after.json"):
        (run / name).unlink()
    return run


# what is in the folder already


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    "files",
    [["model/weights.bin", "log.jsonl"], ["checkpoints/step-000002/state.pt"], ["notes.txt"]],
    ids=["a model and a log", "checkpoints of a run", "a text"],
)
def test_a_folder_with_other_things_and_no_run_is_left_alone(tmp_path, files, resume):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(BadInputError, match=r"^out is .*no run"):
        train(TINY, tmp_path, resume=resume)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "text", ["", '{"config": {"mod', "[]", '{"config": 3}', '{"config": {"steps": "many"}}', '{"config": {"a": 1}}']
)
def test_damaged_settings_are_named(run, text):
    (run / "run.json").write_text(text)
    before = contents(run)
    with pytest.raises(BadInputError, match=r"run\.json|steps|another version"):
        train(TINY, run, resume=True)
    assert contents(run) == before


def test_when_every_checkpoint_is_damaged_nothing_is_started_or_removed(started):
    for file in (started / "checkpoints").rglob("state.pt"):
        file.write_bytes(file.read_bytes()[:-100])
    before = contents(started)
    with pytest.raises(BadInputError, match="step-000001.*delete checkpoints/"):
        train(dataclasses.replace(TINY, steps=4), started, resume=True)
    assert {name: data for name, data in contents(started).items() if name != ".lock"} == {
        name: data for name, data in before.items() if name != ".lock"
    }


def test_a_checkpoint_of_another_model_is_refused(started, gpt2):
    settings = json.loads((started / "run.json").read_text())
    settings["config"]["model"] = gpt2
    (started / "run.json").write_text(json.dumps(settings))
    with pytest.raises(BadInputError, match="does not fit model"):
        train(dataclasses.replace(TINY, steps=4, model=gpt2), started, resume=True)


def test_settings_of_a_version_that_did_not_count_processes(started):
    settings = json.loads((started / "run.json").read_text())
    del settings["processes"]
    (started / "run.json").write_text(json.dumps(settings))
    assert len(train(dataclasses.replace(TINY, steps=4), started, resume=True).records) == 4


def test_a_finished_run_without_checkpoints_is_not_started_over(run):
    shutil.rmtree(run / "checkpoints")
    before = contents(run / "model")
    with pytest.raises(BadInputError, match="checkpoints are gone"):
        train(dataclasses.replace(TINY, steps=4), run, resume=True)
    assert contents(run / "model") == before


# the command, corrected


def test_a_run_that_failed_before_its_first_step_begins_again_with_corrected_settings(tmp_path, monkeypatch):
    """Memory ran out while it sampled: nothing is lost, and the same folder takes smaller settings."""

    def too_much(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(grpo, "sample_groups", too_much)
        with pytest.raises(torch.OutOfMemoryError):
            train(TINY, tmp_path / "run")
    assert (tmp_path / "run/run.json").is_file()
    log = train(dataclasses.replace(TINY, group_size=3, evaluate=3), tmp_path / "run")
    assert len(log.records) == 2
    assert len(RunFolder(tmp_path / "run").read("evaluation_before.json")["completions"]) == 3


def test_as_long_as_no_step_is_saved_a_resumed_run_may_have_other_settings(started):
    shutil.rmtree(started / "checkpoints")
    changed = dataclasses.replace(TINY, lr=1e-5)
    with pytest.raises(BadInputError, match="--resume"):
        train(changed, started)
    said = []
    log = train(changed, started, resume=True, say=said.append)
    assert "starting anew, 2 steps" in said
    assert len(log.records) == 2


def test_bookkeeping_may_change_and_learning_may_not(started):
    config = dataclasses.replace(TINY, steps=4)
    with pytest.raises(BadInputError, match=r"lr was 0\.00065 and is now 0\.1; only steps"):
        train(dataclasses.replace(config, lr=0.1), started, resume=True)
    log = train(dataclasses.replace(config, checkpoint_every=3, evaluate=5), started, resume=True)
    assert [path.name for path in RunFolder(started).checkpoints()] == ["step-000003", "step-000004"]
    assert len(RunFolder(started).read("evaluation_after.json")["completions"]) == 5
    assert not any("changes" in record for record in log.records)


def test_after_gradients_that_stayed_infinite_lr_may_change_and_the_log_says_so(started, monkeypatch):
    config, real = dataclasses.replace(TINY, steps=8), grpo.loss_of
    with monkeypatch.context() as patch:
        patch.setattr(grpo, "loss_of", lambda *args: (real(*args)[0] * math.nan, None))
        with pytest.raises(FloatingPointError, match=r"--resume --set lr=0\.00016"):
            train(config, started, resume=True)
    with pytest.raises(BadInputError, match="only steps"):
        train(dataclasses.replace(config, lr=1e-4, group_size=3), started, resume=True)
    log = train(dataclasses.replace(config, lr=1e-4, beta=0.1), started, resume=True)
    changed = [record["step"] for record in log.records if "changes" in record]
    assert len(changed) == 1
    assert log.records[changed[0]]["changes"] == {"lr": [6.5e-4, 1e-4], "beta": [0.03, 0.1]}
    assert log.records[-1]["lr"] < 1.01e-4


def test_what_was_found_is_given_again_and_consumers_see_it(run):
    seen, said = [], []
    log = train(TINY, run, resume=True, consumers=(seen.append,), say=said.append)
    assert seen == log.records
    assert len(seen) == 2
    assert said[0].startswith("already finished, all 2 steps")


def test_a_finished_run_of_which_less_is_asked_is_given_as_it_is(run):
    said = []
    log = train(dataclasses.replace(TINY, steps=1), run, resume=True, say=said.append)
    assert len(log.records) == 2
    assert "more than the 1 asked for" in said[0]
    with pytest.raises(BadInputError, match="lr was"):
        train(dataclasses.replace(TINY, lr=1.0), run, resume=True)


def test_a_resumed_run_says_where_it_stands(started):
    said = []
    train(dataclasses.replace(TINY, steps=4), started, resume=True, say=said.append)
    assert "going on after 1 of 4 steps" in said


def test_the_seconds_are_those_of_all_sessions(started):
    (started / "times.jsonl").write_text('{"step": 0, "rollout_s": 1000.0, "train_s": 500.0}\n')
    log = train(dataclasses.replace(TINY, steps=4), started, resume=True)
    assert 1500 < log.result["seconds"] < 2500


def test_paths_are_kept_from_the_root(tmp_path, monkeypatch, pocket):
    """A run that was begun with a relative path goes on from another folder."""
    for part in pocket:
        part.save_pretrained(tmp_path / "mine")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"On day {i} the baker" for i in range(60)))
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(TINY, model="./mine", prompts="texts.txt")
    next(steps(config, tmp_path / "run"))
    stored = RunFolder(tmp_path / "run").read_run()["config"]
    assert (stored["model"], stored["prompts"]) == (str(tmp_path / "mine"), str(texts))
    assert next(steps(config, tmp_path / "run", resume=True))["step"] == 1
    monkeypatch.chdir("/")
    assert (
        next(steps(dataclasses.replace(GRPOConfig.from_json(stored), steps=3), tmp_path / "run", resume=True))["step"]
        == 2
    )


def test_a_run_without_a_folder_keeps_no_checkpoints_and_goes_with_python(monkeypatch):
    removed = []
    monkeypatch.setattr(runs.atexit, "register", lambda *args, **options: removed.append((args, options)))
    log = train(TINY)
    assert (log.folder / "model/config.json").is_file()
    assert not (log.folder / "checkpoints").exists()
    ((remove, folder), options) = removed[0]
    remove(folder, **options)
    assert not log.folder.exists()


# two processes


def test_a_folder_in_use_is_refused_and_the_first_run_is_unharmed(tmp_path):
    config = dataclasses.replace(TINY, steps=3)
    first = steps(config, tmp_path / "run")
    next(first)
    before = contents(tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(BadInputError, match="another process is training"):
            next(steps(config, tmp_path / "run", resume=resume))
    assert contents(tmp_path / "run") == before
    assert [record["step"] for record in first] == [1, 2]
    assert len(RunFolder(tmp_path / "run").lines("log.jsonl")) == 3
    next(steps(dataclasses.replace(config, steps=4), tmp_path / "run", resume=True))  # it is free again


def test_two_that_begin_at_once_in_a_new_folder(tmp_path, monkeypatch):
    """Both find nothing; the one that loads more slowly is refused before it writes."""
    real, begun = learner.learner, []

    def slowly(*args, **options):
        if not begun:
            begun.append(True)
            begun.append(next(steps(TINY, tmp_path / "run")))  # another one is faster
        return real(*args, **options)

    monkeypatch.setattr(runs, "learner", slowly)
    with pytest.raises(BadInputError, match="another process"):
        next(steps(dataclasses.replace(TINY, seed=1), tmp_path / "run"))
    assert RunFolder(tmp_path / "run").read_run()["config"]["seed"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_killed_process_leaves_no_lock(tmp_path):
    folder = RunFolder(tmp_path)
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        mine = RunFolder(tmp_path)
        mine.acquire()
        os.write(tell, b"!")
        signal.pause()
    os.read(ready, 1)
    try:
        with pytest.raises(BadInputError, match="another process"):
            folder.acquire()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    folder.acquire()
    folder.release()


def test_a_checkpoint_of_the_first_versions_is_taken_up():
    """It does not say how much fitted into memory under the names of today."""
    first, second = learner.learner(TINY), learner.learner(TINY)
    first.records.append(grpo.train_step(first, 0)[0])
    state = {key: part for key, part in first.state().items() if key not in ("micro_batch", "prompts_at_once")}
    second.restore(state | {"rows": 2})
    assert (second.records, second.updates) == (first.records, first.updates)
    assert (second.micro_batch, second.prompts_at_once) == (TINY.group_size, TINY.prompts_per_step)


# devices and precision


@pytest.mark.parametrize(("before", "after"), [(torch.float32, torch.float16), (torch.float16, torch.float32)])
def test_a_run_goes_on_in_another_precision(before, after):
    """Colab gives a T4 today, a CPU or an L4 tomorrow."""
    first = learner.learner(TINY, compute_dtype=before)
    first.records.append(grpo.train_step(first, 0)[0])
    second = learner.learner(TINY, compute_dtype=after)
    second.restore(first.state())
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.policy.model.parameters(), second.policy.model.parameters(), strict=True)
    )
    assert second.scaler.is_enabled() == (after == torch.float16)
    record, _ = grpo.train_step(second, 1)
    assert record["lr"] > 0


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine whose accelerator is not the CPU: what is put on it is lost ("meta"), and its precision is a T4's."""

    class Accelerator(models.Accelerator):
        device = torch.device("meta")

    monkeypatch.setattr(models, "Accelerator", Accelerator)
    monkeypatch.setattr(models, "device_capability", lambda device="auto": (7, 5) if str(device) != "cpu" else None)
    for module in ("learner", "preflight"):
        monkeypatch.setattr(f"pgnotes.lm.{module}.device_capability", models.device_capability)


def test_auto_takes_the_accelerator(elsewhere):
    assert models.processes_and_device("auto")[1].type == "meta"
    assert models.processes_and_device("cpu")[1].type == "cpu"


def test_the_pocket_model_stays_on_the_cpu_on_a_machine_with_an_accelerator(elsewhere, tmp_path):
    """So that all of lesson 09 runs on Colab's T4 and on a Mac, to the same numbers."""
    from pgnotes.classroom.widgets import token_viewer

    for name in ("smoke", "pocket"):
        assert GRPOConfig.preset(name).device == "cpu"
    log = train(TINY, tmp_path / "run")
    assert log["skipped"] == ["", ""]
    assert max(log["sampler_gap"]) < 1e-4, "in float32"
    assert preflight(TINY)["memory"]["half-precision copy"] == 0
    updated = token_viewer.updated.__wrapped__()
    assert {tensor.device.type for tensor in updated[2]} == {"cpu"}
    assert all(tensor.isfinite().all() for tensor in updated[2])


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInputError, match="^device is 'cuda'"):
        learner.learner(dataclasses.replace(TINY, device="cuda"))
    with pytest.raises(BadInputError, match="^device is 'tpu'.*auto, cpu, cuda, mps"):
        dataclasses.replace(TINY, device="tpu")


# memory, and what a notebook keeps


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("std::bad_alloc"), True),
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_all_its_names(error, memory):
    assert out_of_memory(error) == memory


def test_a_failed_preflight_keeps_no_model(monkeypatch):
    kept, real = [], learner.load

    def load(*args):
        kept.append(weakref.ref((loaded := real(*args))[0]))
        return loaded

    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(learner, "load", load)
    monkeypatch.setattr(grpo, "uniforms", fail)
    with pytest.raises(torch.OutOfMemoryError) as stopped:
        preflight(TINY)
    gc.collect()
    assert stopped.value.__traceback__ is not None
    assert [model() for model in kept] == [None] * len(kept)


def test_the_learners_own_frames_stay_for_a_debugger():
    def consumer(record):
        mine = "precious"
        raise KeyError(mine)

    with pytest.raises(KeyError) as stopped:
        train(TINY, consumers=(consumer,))
    frames = [
        frame for frame, _ in traceback.walk_tb(stopped.value.__traceback__) if frame.f_code.co_name == "consumer"
    ]
    assert frames[0].f_locals["mine"] == "precious"


# what is logged


def test_numbers_that_are_not_finite_are_none():
    assert finite({"a": math.nan, "b": [1.0, -math.inf, "x"], "c": {"d": math.inf}, "e": 3}) == {
        "a": None, "b": [1.0, None, "x"], "c": {"d": None}, "e": 3,
    }  # fmt: skip


def test_the_log_is_strict_json_also_where_a_gradient_was_not_finite(monkeypatch, tmp_path):
    real = grpo.loss_of
    monkeypatch.setattr(grpo, "loss_of", lambda *args: (real(*args)[0] * math.inf, real(*args)[1]))
    record = next(steps(TINY, tmp_path))
    assert record["grad_norm"] is None

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=refuse) == record


@pytest.mark.parametrize("kind", ["reinforce_pp", "batch_mean"])
def test_a_batch_of_equal_rewards_moves_nothing(kind):
    """16 rewards of 0.1: their rounded mean is not 0.1, and AdamW would make a step of the difference."""
    config = dataclasses.replace(TINY, advantages=kind, beta=0.0, prompts_per_step=4, group_size=4)
    run = learner.learner(config)
    before = [p.clone() for p in run.policy.model.parameters()]
    run.task = FixedRewards([[0.1] * 4])
    record, _ = grpo.train_step(run, 0)
    assert record["skipped"] == "every group was dead"
    assert all(torch.equal(a, b) for a, b in zip(before, run.policy.model.parameters(), strict=True))


# what a model can read


def test_texts_longer_than_the_model_reads_are_refused_before_anything_is_written(gpt2, tmp_path):
    config = dataclasses.replace(TINY, model=gpt2, prompt_tokens=400, max_new_tokens=250)
    with pytest.raises(BadInputError, match=r"reads 256 tokens at most.*lower prompt_tokens"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    short = dataclasses.replace(config, max_new_tokens=64)  # prompts may be long, but these are not
    learner.learner(short)


def test_a_window_shorter_than_the_texts_is_refused(tmp_path, pocket):
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = pocket[1]
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    }
    for window, fits in ((40, False), (4096, True)):
        folder = tmp_path / str(window)
        ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
        MistralForCausalLM(
            MistralConfig(vocab_size=len(tokenizer), sliding_window=window, **shape, **ends)
        ).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        config = dataclasses.replace(TINY, model=str(folder))
        if fits:
            learner.learner(config)
        else:
            with pytest.raises(BadInputError, match="reads 40 tokens at most"):
                learner.learner(config)


def test_a_model_without_a_known_limit_reads_anything():
    from transformers import BloomConfig

    assert models.text_limit(SimpleNamespace(config=BloomConfig(n_layer=2))) is None


def test_a_resumed_run_keeps_what_was_found_before_it_began(tmp_path):
    """That evaluation can't be made again: the model has moved on."""

    def stop(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, consumers=(stop,), say=lambda text: None)
    place = tmp_path / "evaluation_before.json"
    found = json.loads(place.read_text()) | {"pass_rate": 0.125}
    place.write_text(json.dumps(found))
    assert train(TINY, tmp_path, resume=True, say=lambda text: None).result["pass_rate_before"] == 0.125
