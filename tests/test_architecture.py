"""The rules of the house: imports go down only, nothing is orphaned, importing is free, one list of dependencies."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from count_lines import code_lines

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "pgnotes").rglob("*.py"))
LEVELS = {"theory": 0, "lm": 1, "classroom": 2}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(source: str) -> set[str]:
    """Modules of pgnotes that a source imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {n for n in names if n.split(".")[0] == "pgnotes"}


def graph() -> dict[str, set[str]]:
    modules = {module_name(p): p for p in FILES}
    return {name: (imported(path.read_text()) & set(modules)) - {name} for name, path in modules.items()}


def level(module: str) -> int | None:
    parts = module.split(".")
    return LEVELS.get(parts[1]) if len(parts) > 1 else None


def test_imports_go_down_only():
    up = [f"{a} → {b}" for a, targets in graph().items() for b in targets if level(a) is not None and level(b) is not None and level(a) < level(b)]
    assert not up, f"imports that go up: {up}"


def test_theory_imports_torch_and_the_standard_library_alone():
    for path in (ROOT / "pgnotes/theory").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                root = name.split(".")[0]
                assert root in sys.stdlib_module_names or root == "torch" or name.startswith("pgnotes.theory"), f"{path.name} imports {name}"


def test_no_cycles():
    edges = graph()
    done, path = set(), []

    def visit(module: str) -> None:
        assert module not in path, f"a cycle: {' → '.join([*path[path.index(module) :], module])}"
        if module not in done:
            path.append(module)
            for target in sorted(edges[module]):
                visit(target)
            done.add(path.pop())

    for module in edges:
        visit(module)


def test_every_file_is_used_by_a_lesson_a_command_or_another_file():
    used = set().union(*graph().values()) | {"pgnotes.__main__"}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                used |= imported(source)
            used |= {f"pgnotes.classroom.quizzes.lesson_{lesson}" for lesson in re.findall(r'quiz\("(\d\d)"\)', source)}
    orphans = [m for m in graph() if not any(u == m or u.startswith(m + ".") for u in used)]
    assert not orphans, f"nothing imports {orphans}"


def test_importing_pgnotes_is_free():
    heavy = "[m for m in ('torch', 'numpy', 'matplotlib', 'transformers', 'IPython') if m in sys.modules]"
    out = subprocess.run([sys.executable, "-c", f"import sys, pgnotes; print({heavy})"], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_states_the_same_dependencies():
    lines = [line.strip("- ").strip() for line in (ROOT / "environment.yml").read_text().split("- pip:")[1].splitlines()]
    assert [line for line in lines if line and line[0].isalpha() and line not in ("constraint constraints.txt", "editable .")] == project()["dependencies"]


def test_colab_requirements_are_lower_bounds_of_our_own():
    from packaging.requirements import Requirement

    ours = {r.name: r for r in map(Requirement, project()["dependencies"])}
    lines = [line for line in (ROOT / "colab_requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    for need in map(Requirement, lines):
        assert [s.operator for s in need.specifier] == [">="], f"{need} is not a lower bound"
        assert str(need.specifier) in str(ours[need.name].specifier), f"{need} differs from {ours[need.name]}"
    assert set(ours) - {Requirement(line).name for line in lines} == {"jupyterlab", "nbval"}, "Colab has a notebook of its own, and needs no nbval"


COLAB = {  # preinstalled, August 2026
    "torch": "2.11.0", "transformers": "5.15.0", "datasets": "4.0.0", "accelerate": "1.14.0", "numpy": "2.1.3",
    "matplotlib": "3.10.0", "tqdm": "4.67.3", "ipywidgets": "7.7.1",
}  # fmt: skip


def colab(folder: Path) -> Path:
    """An environment in which pip believes that Colab's packages are installed; its Python."""
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    for name, number in COLAB.items():
        info = site / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return folder / "bin/python"


@pytest.mark.parametrize(("more", "wanted"), [((), 0), (("ipywidgets>=8",), 1)])
def test_colab_would_install_nothing(tmp_path, more, wanted):
    """And the test would notice: with a bound that Colab does not satisfy, pip looks for another version and finds none."""
    python = colab(tmp_path / "colab")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--dry-run", "--quiet", "--report", "-"]
    done = subprocess.run([*command, "-r", str(ROOT / "colab_requirements.txt"), *more], capture_output=True, text=True)
    assert done.returncode == wanted, done.stderr
    assert wanted or json.loads(done.stdout)["install"] == []


def test_torch_is_pinned_in_one_place():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()
    assert "==" not in " ".join(project()["dependencies"]).replace("!=8.1.9", "")
    for line in (ROOT / "Makefile").read_text().splitlines():
        assert "pip install" not in line or "-c constraints" in line, f"not under the constraints: {line}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400, "a file that long wants to be two"


def test_the_engine_stays_readable():
    """What there is to read of `lm/`: fewer than 900 lines of code, and a step on one screen."""
    files = sorted((ROOT / "pgnotes/lm").glob("*.py"))
    assert sum(code_lines(path.read_text(encoding="utf-8")) for path in files) < 900
    (step,) = (n for n in ast.walk(ast.parse((ROOT / "pgnotes/lm/grpo.py").read_text())) if isinstance(n, ast.FunctionDef) and n.name == "train_step")
    assert step.end_lineno - step.lineno < 40
