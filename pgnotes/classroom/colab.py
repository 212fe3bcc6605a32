"""Lesson 09 on a GPU: may the run start here, where does it lie, and what came of it."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from pgnotes.classroom.dashboard import outcomes
from pgnotes.classroom.session import memory_gib
from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import BadInputError
from pgnotes.lm.evaluate import standard_error
from pgnotes.lm.models import device_capability
from pgnotes.lm.preflight import memory_estimate
from pgnotes.lm.state import RunFolder

DRIVE = Path("/content/drive")
GIB = 2**30
MOST_MILLIONS = 200  # parameters that a CPU trains within hours
CONTEXT = 0.5  # GiB that CUDA and Python themselves take


def reason_not_to_start(config: GRPOConfig) -> str:
    """Why a run of these settings should not be started on this machine, or "" (lesson 09)."""
    capability = device_capability(config.device)
    needed = memory_estimate(config, capability)["total"] + CONTEXT
    if capability is None:
        here, millions = memory_gib() or math.inf, model_gib(config) * GIB / 4e6
        if millions <= MOST_MILLIONS:
            short = f"{config.model} needs about {needed:.1f} GiB, and this machine has {here:.1f}."
            return "" if needed <= here else f"{short} The preset pocket takes far less: section 6 of lesson 09."
        return (
            f"There is no GPU here, and {config.model} has {millions:.0f} million parameters and takes {needed:.0f} "
            "GiB. On Colab: Runtime → Change runtime type → T4 GPU, then run Setup and this cell again. Without one "
            "the preset laptop is the larger of the two that can be trained."
        )
    import torch

    here = torch.cuda.get_device_properties(0).total_memory / GIB
    if needed > here:
        return f"{config.model} needs about {needed:.1f} GiB, and this GPU has {here:.1f}: set adapters to 16."
    return ""


def model_gib(config: GRPOConfig) -> float:
    """GiB of all weights of the model in float32, whatever is trained of it."""
    return memory_estimate(replace(config, lora_rank=0))["weights"]


def run_folder(name: str, config: GRPOConfig | None, drive: bool) -> Path:
    """The folder of a run of that name: on Google Drive, which is mounted, if `drive` and this is Colab; else runs/.

    config: of a run to be made; None for one that lies there.
    BadInputError for a name that is no folder's, and for a run that would not fit on the Drive.
    """
    if not name or any(sign in name for sign in "/\\") or name.startswith("."):
        raise BadInputError(f"name is {name!r}; it must be the name of a folder, such as t4 or second-try")
    if not drive or not mounted():
        return Path("runs") / name
    folder = DRIVE / "MyDrive" / "pgnotes" / name
    if config is None or (folder / "run.json").exists():
        return folder
    free, needed = shutil.disk_usage(DRIVE).free / GIB, written(config)
    if needed > free:
        raise BadInputError(
            f"the run writes {needed:.0f} GiB, and your Drive has {free:.0f} free (what is deleted stays in its bin, "
            "and counts): set adapters to 16, raise checkpoint_every, or untick drive"
        )
    return folder


def mounted() -> bool:
    """Mount Google Drive; False where this is not Colab."""
    try:
        from google.colab import drive
    except ImportError:
        return False
    drive.mount(str(DRIVE))
    return True


def written(config: GRPOConfig) -> float:
    """GiB that a run writes, deleted checkpoints included: what is trained, AdamW's two moments, and its models."""
    parts = memory_estimate(config)
    checkpoint = parts["gradients"] + parts["optimizer"]  # as many bytes as the trained weights, and the two moments
    updates = math.ceil(config.warmup_examples / config.warmup_batch)
    checkpoints = math.ceil(config.steps / config.checkpoint_every) + max(0, updates - 1) // config.checkpoint_every
    return checkpoints * checkpoint + (2 if updates else 1) * model_gib(config)


def what_came_of_it(folder: str | Path) -> tuple[Figure | None, str]:
    """A run as its folder alone tells it: the scatter of before and after, and a text (lesson 09).

    The picture is None for a task without lengths and digit sums.  BadInputError if there is no finished run.
    """
    run = RunFolder(folder)
    stored, result = run.read_run(), run.read("result.json")
    if stored is None or result is None:
        done = len(run.lines("log.jsonl"))
        raise BadInputError(f"the run in {str(folder)!r} has not ended: {done} steps are done; run its cell again")
    before, after = (run.read(f"evaluation_{when}.json")["completions"] for when in ("before", "after"))

    lines = []
    for when in ("before", "warm", "after", "unseen"):
        rate = result[f"pass_rate_{when}"]
        if rate is not None:
            lines.append(f"{when:8}{rate:4.0%} ± {standard_error(rate, len(after)):.0%} of {len(after)} pass")
    lines.append(f"{result['distinct']:.0f} of 100 texts differ; {result['logprob_after']:.2f} nats a character")
    lines += [""] + [("pass " if row["passed"] else "     ") + row["completion"] for row in after[:8]]

    config = stored["config"]
    if "digit_sum" not in after[0]:
        return None, "\n".join(lines)
    fig, _ = outcomes(before, after, config["length"], config["digit_sum"])
    return fig, "\n".join(lines)
