"""Where am I, on what device, and what will run here?"""

from __future__ import annotations

import inspect
import os
import platform
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version

GIB = 2**30
LESSONS_NEED = 3.0  # GiB of memory for lesson 09 on the pocket model, with the notebook around it
T4_NEEDS = 14.0  # GiB of GPU memory for full fine-tuning of Qwen2.5-0.5B


def place() -> str:
    """Where this runs: "colab", "jupyter" or "plain" (Python without a notebook)."""
    if "google.colab" in sys.modules:
        return "colab"
    shell = sys.modules.get("IPython")
    return "jupyter" if shell and shell.get_ipython() is not None else "plain"


def memory_gib() -> float | None:
    """The machine's memory in GiB, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, ValueError, OSError):
        return None


def missing_packages() -> list[str]:
    """The main dependencies that are not installed, or not in the version that is needed: 'transformers>=5.15 (here: 4.40)'."""
    from packaging.requirements import Requirement

    found = []
    for text in requires("pgnotes") or []:
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version(need.name)
        except PackageNotFoundError:
            here = None
        if here is None or not need.specifier.contains(here, prereleases=True):
            found.append(f"{need.name}{need.specifier} ({'not installed' if here is None else 'here: ' + here})")
    return found


def device_line() -> tuple[str, float]:
    """A sentence on the device and its precision, and the GPU's memory in GiB (0 without one)."""
    import torch

    from pgnotes.lm.models import device_capability, precision

    capability = device_capability()
    if capability is None:
        kind = "Apple GPU (mps), float32" if torch.backends.mps.is_available() else f"CPU, {os.cpu_count()} cores, float32"
        return kind, 0.0
    properties = torch.cuda.get_device_properties(0)
    half = precision(capability)
    arithmetic = f"float32 weights, {str(half).removeprefix('torch.')} arithmetic" + " with loss scaling" * (half == torch.float16)
    return f"{properties.name}, {properties.total_memory / GIB:.1f} GiB, {arithmetic}", properties.total_memory / GIB


def report() -> tuple[list[str], bool]:
    """What `python -m pgnotes doctor` prints, and whether the lessons can run here."""
    missing = missing_packages()
    main = [name for name in missing if not name.startswith(("jupyterlab", "nbval"))]  # Colab has its own notebook
    lines = [f"python       {platform.python_version()} on {platform.system()}, {place()}"]
    for name in ("torch", "transformers", "datasets", "accelerate", "matplotlib", "ipywidgets", "jupyterlab", "numpy"):
        try:
            lines.append(f"{name:<12} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name:<12} not installed")
    if main:
        return [*lines, "missing      " + ", ".join(main), "lessons      no: install what is missing (make lab does)"], False
    device, gpu = device_line()
    memory = memory_gib()
    enough = memory is None or memory >= LESSONS_NEED
    lines += [f"device       {device}", f"memory       {'unknown' if memory is None else f'{memory:.1f} GiB'}"]
    lines.append(f"lessons      {'yes' if enough else f'no: they need {LESSONS_NEED:.0f} GiB of memory'}")
    lines.append(f"pocket run   {'yes' if enough else 'no'} (python -m pgnotes grpo --preset pocket --out runs/pocket)")
    lines.append(f"t4 run       {'yes' if gpu >= T4_NEEDS else f'no: it needs a GPU with {T4_NEEDS:.0f} GiB (a free Colab T4 has 14.7)'}")
    return lines, enough


def start(lesson: str) -> None:
    """A lesson's first call: checks the versions and says on what the lesson will run. ImportError naming what is missing."""
    missing = [name for name in missing_packages() if not name.startswith(("jupyterlab", "nbval"))]
    if missing:
        raise ImportError(f"lesson {lesson} needs {', '.join(missing)}; `make lab` installs everything, or: pip install -r colab_requirements.txt")
    print(f"Lesson {lesson} is ready. Device: {device_line()[0]}.")


def show(function: Callable) -> None:
    """Display the package's own source of a function as a highlighted block, which also renders where no code runs."""
    from IPython.display import Markdown, display

    display(Markdown(f"```python\n{textwrap.dedent(inspect.getsource(function)).rstrip()}\n```"))
