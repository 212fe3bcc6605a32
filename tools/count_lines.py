"""Count what there is to read of Python files: lines, and statements, of which docstrings are none.

python tools/count_lines.py pgnotes/lm/*.py
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def statements(text: str) -> int:
    """Statements of `text`, docstrings left out: a count that is the same however the lines are broken."""
    nodes = list(ast.walk(ast.parse(text)))
    with_body = [node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docstrings = sum(ast.get_docstring(node) is not None for node in with_body)
    return sum(isinstance(node, ast.stmt) for node in nodes) - docstrings


def main() -> None:
    """Print a row for each file named, and their sum."""
    rows = [(name, Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    rows = [(name, len(text.splitlines()), statements(text)) for name, text in rows]
    total = ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))
    for name, lines, count in [*rows, total]:
        print(f"{lines:6d} {count:6d}  {name}")


if __name__ == "__main__":
    main()
