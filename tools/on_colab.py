"""What `tools/on_colab.sh` runs on the machine with the T4: every lesson as it stands, then the t4 preset."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

CONTENT = Path("/content")
STEPS = globals().get("STEPS", 120)


def run(*words: str) -> bool:
    """Run a command in the clone; its output goes where this script's does."""
    print("on colab:", *words, flush=True)
    return subprocess.run(words, cwd=CONTENT / "pgnotes", check=False).returncode == 0


with tarfile.open(CONTENT / "pgnotes.tar.gz") as archive:
    if hasattr(tarfile, "data_filter"):
        archive.extractall(CONTENT, filter="data")
    else:  # before Python 3.11.4
        archive.extractall(CONTENT)
execute = (
    sys.executable,
    "-m",
    "jupyter",
    "nbconvert",
    "--to",
    "notebook",
    "--execute",
    "--output-dir",
    "/content/ran",
)
went = [run(*execute, str(lesson)) for lesson in sorted((CONTENT / "pgnotes/notebooks").glob("*.ipynb"))]
grpo = (sys.executable, "-m", "pgnotes", "grpo", "--preset", "t4", "--out", "/content/t4", "--resume")
went.append(run(*grpo, "--set", f"steps={STEPS}", "checkpoint_every=60"))

with tarfile.open(CONTENT / "on-colab.tar.gz", "w:gz") as archive:
    for name in ("run.json", "log.jsonl", "times.jsonl", "result.json"):
        if (CONTENT / "t4" / name).exists():
            archive.add(CONTENT / "t4" / name, name)
print("on colab:", "all of it ran" if all(went) else f"{went.count(False)} of {len(went)} failed", flush=True)
print(json.dumps(went))
