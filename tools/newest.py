"""Install the newest of everything, beyond pyproject.toml's upper bounds too, and run the tests on it.

make test-newest                        in .venv-newest, which it keeps and brings up to date
make test-newest TORCH=torch==2.13.0    hold PyTorch back, whose newest build may weigh gigabytes
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
BOUND = re.compile(r"[<>=!~]")


def unbounded(need: str) -> str:
    """A requirement without its bounds from above: "transformers>=5.0,<5.25" as "transformers>=5.0"."""
    start = BOUND.search(need)
    if start is None:
        return need
    bounds = need[start.start() :].split(",")
    return need[: start.start()] + ",".join(bound for bound in bounds if not bound.startswith("<"))


def needs() -> list[str]:
    """What the package, JupyterLab and the tests need, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["lab"], *extras["test"]]


def differences(lock: str) -> list[str]:
    """A line for each installed package whose version is not the lock's: "transformers  5.24.0 → 5.26.1"."""
    lines = []
    for name, pinned in PIN.findall(lock):
        try:
            here = version(name)
        except PackageNotFoundError:
            continue
        if here.partition("+")[0] != pinned:
            lines.append(f"  {name:<24} {pinned} → {here}")
    return lines


def install(torch: str, index: str) -> None:
    """Everything at its newest, then the package itself; CalledProcessError where pip finds no set that fits."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    if index:
        subprocess.run([*pip, "--no-deps", "--index-url", index, torch], check=True)
    subprocess.run([*pip, "--upgrade-strategy", "eager", *map(unbounded, needs()), torch], check=True, cwd=ROOT)
    subprocess.run([*pip, "--no-deps", "--editable", "."], check=True, cwd=ROOT)


def main() -> int:
    """Install, run pytest with the arguments given, and return its exit status."""
    print("pgnotes: installing the newest of everything into .venv-newest (minutes)", flush=True)
    install(os.environ.get("TORCH") or "torch", os.environ.get("TORCH_INDEX", ""))
    changed = differences((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    table = "\n".join(changed) or "  none"
    print(f"pgnotes: versions that differ from constraints.txt (there → here)\n{table}", flush=True)
    status = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], cwd=ROOT).returncode
    if status:
        print(f"pgnotes: tests fail with these versions, which differ from constraints.txt (there → here)\n{table}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
