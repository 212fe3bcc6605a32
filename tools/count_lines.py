"""Count the lines of Python files: all of them, and those of code, without blank lines, comments and docstrings.

python tools/count_lines.py pgnotes/lm/*.py
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def code_lines(text: str) -> int:
    """Lines of `text` that hold code: not blank, no comment alone, no docstring."""
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            prose |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(bool(line.strip()) and not line.strip().startswith("#") and i not in prose for i, line in enumerate(text.splitlines(), 1))


def main() -> None:
    """Print a row for each file named, and their sum."""
    rows = [(name, Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    rows = [(name, len(text.splitlines()), code_lines(text)) for name, text in rows]
    for name, lines, code in [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]:
        print(f"{lines:6d} {code:6d}  {name}")


if __name__ == "__main__":
    main()
