"""Where am I, on what device, and what will run here? It says so where nothing is installed, too: imports wait."""

from __future__ import annotations

import inspect
import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

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


def clone() -> Path | None:
    """The clone that this package lies in, or None where it was installed as a copy."""
    folder = Path(__file__).parents[2]
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    return folder if 'name = "pgnotes"' in text.splitlines() else None


def requirements() -> list[str]:
    """The main dependencies, such as 'numpy>=2.0,<3', from the clone's pyproject.toml or the installed package."""
    folder = clone()
    if folder is not None:
        import tomllib

        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    try:
        return [line for line in requires("pgnotes") or [] if "extra ==" not in line]
    except PackageNotFoundError:  # a copy of the folder alone: nothing says what it needs
        return []


def installed(name: str) -> str | None:
    """The version of a package that is installed here, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def split(need: str) -> tuple[str, str, str]:
    """'torch>=2.10,<3' as the name, the bounds from below (and what is excluded), and those from above."""
    name = re.split(r"[^\w.-]", need, maxsplit=1)[0]
    bounds = [bound.strip() for bound in need.partition(";")[0][len(name) :].split(",")]
    return name, ",".join(b for b in bounds if not b.startswith("<")), ",".join(b for b in bounds if b.startswith("<"))


def within(here: str, bounds: str) -> bool:
    """Whether a version is within bounds. Where `packaging` itself is missing, what is here is believed."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True
    return SpecifierSet(bounds).contains(here, prereleases=True)


def missing_packages() -> list[str]:
    """The main dependencies that are not installed, 'numpy>=2.0', or too old, 'numpy>=2.0 (here: 1.26)'.

    A Python that is too old is named alone.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 (a clone may meet any Python)
        return [f"python>=3.11 (here: {platform.python_version()})"]
    found = []
    for name, least, _ in map(split, requirements()):
        here = installed(name)
        if here is None:
            found.append(f"{name}{least}")
        elif not within(here, least):
            found.append(f"{name}{least} (here: {here})")
    return found


def untested_packages() -> list[str]:
    """The main dependencies newer than any that was tested: 'transformers 5.30 (tested: <5.25)'. They may well do."""
    found = []
    for name, _, most in map(split, requirements()):
        here = installed(name)
        if here is not None and not within(here, most):
            found.append(f"{name} {here} (tested: {most})")
    return found


def remedy(missing: list[str]) -> str:
    """What to type where packages are missing, here in a notebook or in a terminal."""
    folder, pip = clone(), "%pip" if place() != "plain" else f'"{sys.executable}" -m pip'
    if folder is None:
        names = [text.partition(" (")[0] for text in missing]
        return f"install what is missing: {pip} install " + " ".join(f'"{name}"' for name in names)
    needs = folder / "colab_requirements.txt"
    return (
        f"type make lab in {folder}: it opens the lessons with everything installed.\n"
        f'In another Jupyter choose the kernel of .venv there, or: {pip} install -r "{needs}"'
    )


def device_line() -> tuple[str, float]:
    """A sentence on the device and its precision, and the GPU's memory in GiB (0 without one)."""
    import torch

    from pgnotes.lm.models import device_capability, precision

    capability = device_capability()
    if capability is None:
        apple = torch.backends.mps.is_available()
        return "Apple GPU (mps), float32" if apple else f"CPU, {os.cpu_count()} cores, float32", 0.0

    properties, half = torch.cuda.get_device_properties(0), precision(capability)
    memory = properties.total_memory / GIB
    arithmetic = f"float32 weights, {str(half).removeprefix('torch.')} arithmetic"
    if half == torch.float16:
        arithmetic += " with loss scaling"
    return f"{properties.name}, {memory:.1f} GiB, {arithmetic}", memory


def report() -> tuple[list[str], bool]:
    """What `python -m pgnotes doctor` prints, and whether the lessons can run here."""
    lines = [f"python       {platform.python_version()} on {platform.system()}, {place()}"]
    for name in ("torch", "transformers", "accelerate", "numpy", "matplotlib", "ipywidgets", "jupyterlab"):
        lines.append(f"{name:<12} {installed(name) or 'not installed'}")

    missing = missing_packages()
    if missing:
        return [*lines, "missing      " + ", ".join(missing), "lessons      no: " + remedy(missing)], False
    lines += [f"untested     {text}: newer than what the tests saw" for text in untested_packages()]

    (device, gpu), memory = device_line(), memory_gib()
    enough = memory is None or memory >= LESSONS_NEED
    too_little = f"no: they need {LESSONS_NEED:.0f} GiB of memory"
    no_gpu = f"no: it needs a GPU with {T4_NEEDS:.0f} GiB (a free Colab T4 has 14.7)"
    return [
        *lines,
        f"device       {device}",
        f"memory       {'unknown' if memory is None else f'{memory:.1f} GiB'}",
        f"lessons      {'yes' if enough else too_little}",
        f"pocket run   {'yes' if enough else 'no'} (python -m pgnotes grpo --preset pocket --out runs/pocket)",
        f"t4 run       {'yes' if gpu >= T4_NEEDS else no_gpu}",
    ], enough


class NotReadyError(ImportError):
    """Packages are missing. A notebook shows the sentence alone, and goes no further."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [str(self)]


def start(lesson: str) -> None:
    """A lesson's first call: checks the versions and says on what the lesson will run.

    Where packages are missing it says which and what to type: NotReadyError in a notebook, SystemExit elsewhere.
    """
    missing = missing_packages()
    if missing:
        text = f"Lesson {lesson} needs {', '.join(missing)}.\nTo run it, {remedy(missing)}"
        raise SystemExit(text) if place() == "plain" else NotReadyError(text)
    if clone() and not installed("pgnotes"):  # it is only on this Python's path: commands of the lesson find it, too
        paths = [str(clone()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, paths)))
    if place() == "jupyter":
        from pgnotes.classroom.page import prepare

        prepare()
    newer = untested_packages()
    warning = f" Newer than what was tested: {', '.join(newer)}." if newer else ""
    print(f"Lesson {lesson} is ready. Device: {device_line()[0]}.{warning}")


def show(function: Callable) -> None:
    """Display the package's own source of a function as a highlighted block, which also renders where no code runs."""
    from IPython.display import Markdown, display

    display(Markdown(f"```python\n{textwrap.dedent(inspect.getsource(function)).rstrip()}\n```"))
