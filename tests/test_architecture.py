"""The rules of the house: imports go down only, nothing is orphaned, importing is free."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from count_lines import statements

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
    edges = [(a, b) for a, targets in graph().items() for b in targets]
    levelled = [(a, b) for a, b in edges if level(a) is not None and level(b) is not None]
    up = [f"{a} → {b}" for a, b in levelled if level(a) < level(b)]
    assert not up, f"imports that go up: {up}"


def modules_of(node: ast.AST) -> list[str]:
    """What an import statement names; nothing for another node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


def test_theory_imports_torch_and_the_standard_library_alone():
    allowed = {"torch", *sys.stdlib_module_names}
    for path in (ROOT / "pgnotes/theory").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for name in modules_of(node):
                assert name.split(".")[0] in allowed or name.startswith("pgnotes.theory"), f"{path.name} imports {name}"


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
            quizzes = re.findall(r'quiz\("(\d\d)"\)', source)
            used |= {f"pgnotes.classroom.quizzes.lesson_{lesson}" for lesson in quizzes}
    orphans = [m for m in graph() if not any(u == m or u.startswith(m + ".") for u in used)]
    assert not orphans, f"nothing imports {orphans}"


def test_importing_pgnotes_is_free():
    heavy = "[m for m in ('torch', 'numpy', 'matplotlib', 'transformers', 'IPython') if m in sys.modules]"
    command = [sys.executable, "-c", f"import sys, pgnotes; print({heavy})"]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 400, "a file that long wants to be two"


def test_the_engine_stays_readable():
    """What there is to read of `lm/`, in statements, so that packing gains nothing; and a step on one screen."""
    files = sorted((ROOT / "pgnotes/lm").glob("*.py"))
    assert sum(statements(path.read_text(encoding="utf-8")) for path in files) <= 1761

    nodes = ast.walk(ast.parse((ROOT / "pgnotes/lm/grpo.py").read_text()))
    (step,) = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "train_step")
    assert step.end_lineno - step.lineno < 40
