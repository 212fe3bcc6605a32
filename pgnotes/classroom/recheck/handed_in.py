"""From a handed-in notebook to the functions in it, found by name, with the statements of the notebook that each needs.

All of it runs in the sandbox: a notebook is not even parsed outside.
"""

from __future__ import annotations

import ast
import dis
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType

from IPython.core.inputtransformer2 import TransformerManager

SIGNS = (  # of a lesson, in the text of a cell
    re.compile(r"""pgnotes\.start\(\s*["'](\d\d)["']"""),
    re.compile(r"""pgnotes\.quiz\(\s*["'](\d\d)["']"""),
    re.compile(r"pgnotes\.classroom\.exercises import lesson_(\d\d)\b"),
    re.compile(r"\A# (\d\d) · "),
)
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
DEFINES = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.M)
MANY = 2_000_000  # characters of code in all cells; a lesson has 40 thousand


class UnreadableError(ValueError):
    """A file in which there is nothing to check; the text says why."""


@dataclass(frozen=True)
class Statement:
    """One top-level statement of a cell: the names that it binds and those that it uses."""

    cell: int
    in_code: bool
    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]


@dataclass(frozen=True)
class HandedIn:
    """What is in a notebook: its lesson, its statements in order, and the names defined in cells that do not parse."""

    lesson: str
    statements: list[Statement]
    broken: dict[str, str] = field(default_factory=dict)


def read(data: bytes, name: str, functions: Mapping[str, Iterable[str]]) -> HandedIn:
    """The notebook in a file's bytes.

    functions: lesson -> the names of the functions it asks for.  UnreadableError for what is no notebook of a lesson.
    """
    import nbformat

    if not data.strip(b" \t\r\n\0"):
        raise UnreadableError("the file is empty")
    try:
        text = data.decode("utf-8-sig")
        with warnings.catch_warnings(action="ignore"):
            notebook = nbformat.reads(text, as_version=4)
        cells = [(cell.cell_type, str(cell.source)) for cell in notebook.cells]
    except UnicodeDecodeError:
        raise UnreadableError("the file is not text, so it is no notebook") from None
    except Exception as error:
        raise UnreadableError(f"the file is no notebook: {not_json(text) or short(error)}") from None
    if sum(len(source) for _, source in cells) > MANY:
        raise UnreadableError("its cells hold more than two million characters of code and text")

    statements, broken = parsed(cells)
    lesson = lesson_of(cells, name, statements, functions)
    if lesson is None:
        raise UnreadableError("no lesson can be recognised in it, by its cells, its functions or the file's name")
    return HandedIn(lesson, statements, broken)


def not_json(text: str) -> str:
    """Where a text stops being JSON, in words; empty if it is JSON, or too deep to tell."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"it stops being JSON in line {error.lineno}"
    except RecursionError:
        pass
    return ""


def warm_up() -> None:
    """Have nbformat compile what it validates with, once, before the forks."""
    import nbformat

    nbformat.reads(nbformat.writes(nbformat.v4.new_notebook()), as_version=4)


def parsed(cells: Iterable[tuple[str, str]]) -> tuple[list[Statement], dict[str, str]]:
    """The statements of all cells, and what is wrong with each function in a cell that does not parse.

    A Markdown or raw cell counts where it defines a function and is Python from its first to its last line: a code cell
    whose type was changed.
    """
    statements, broken = [], {}
    for number, (kind, source) in enumerate(cells, 1):
        defines = DEFINES.findall(source)
        if kind != "code" and not defines:
            continue
        try:
            plain = TransformerManager().transform_cell(source) if kind == "code" else source
            with warnings.catch_warnings(action="ignore"):
                body = [(node, *names(node)) for node in ast.parse(plain).body]
        except Exception as error:
            if kind == "code":
                line = getattr(error, "lineno", None)
                where = f"cell {number}, line {line}" if line else f"cell {number}"
                broken |= dict.fromkeys(defines, f"its cell is not Python ({where}: {short(error)})")
            continue
        statements += [Statement(number, kind == "code", *parts) for parts in body]
    return statements, broken


def names(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """(names that a statement binds at the top level, names of the top level that it uses at any depth)."""
    binds, uses = set(), set()
    queue = [compile(ast.Module([node], []), "cell", "exec", dont_inherit=True)]
    while queue:
        code = queue.pop()
        queue += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("STORE_GLOBAL", "STORE_NAME"):
                binds.add(instruction.argval)
            elif instruction.opname in LOADS:
                uses.add(instruction.argval)
    return frozenset(binds), frozenset(uses)


def lesson_of(
    cells: Iterable[tuple[str, str]],
    name: str,
    statements: Iterable[Statement],
    functions: Mapping[str, Iterable[str]],
) -> str | None:
    """The lesson that most signs speak for; without any sign, the one of whose functions the most are there."""
    signs: Counter[str] = Counter()
    for _, source in cells:
        for sign in SIGNS:
            signs.update(set(sign.findall(source)))
    signs.update(re.findall(r"(?<!\d)(\d\d)_", name)[:1])
    for lesson, _ in signs.most_common():
        if lesson in functions:
            return lesson

    defined = {name for statement in statements for name in statement.binds}
    there = Counter({lesson: len(defined & set(asked)) for lesson, asked in functions.items()})
    (best, many), (_, second) = there.most_common(2)
    return best if many > second else None


@dataclass(frozen=True)
class Found:
    """What was found of one exercise.

    state: "try" (there is something to run), "open" (a stub), "missing" or "broken".
    sentence: for all but "try", what is wrong.  code: what to run, as pairs of a cell's number and a source.
    remarks: what a lecturer may want to know, whether it is right or not.
    """

    state: str
    sentence: str = ""
    code: tuple[tuple[int, str], ...] = ()
    remarks: tuple[str, ...] = ()


def find(notebook: HandedIn, function: str) -> Found:
    """A function by its name: of several that are no stubs the last one counts, as it would in a run from the top."""
    written = [s for s in notebook.statements if defines(s.node, function)]
    tries = [s for s in written if not is_stub(s.node)]
    if any(s.in_code for s in tries):
        tries = [s for s in tries if s.in_code]
    if not tries and function in notebook.broken:
        return Found("broken", notebook.broken[function])
    if not tries:
        return Found("open", "still open") if written else Found("missing", f"no function {function} in it")

    chosen, remarks = tries[-1], []
    if len({ast.dump(s.node) for s in tries}) > 1:
        remarks.append(f"{function} is written {len(tries)} times; the last one, in cell {chosen.cell}, counts")
    if not chosen.in_code:
        remarks.append(f"cell {chosen.cell}, with {function}, is no code cell any more; it counts all the same")
    needed = closure(notebook.statements, chosen, function)
    remarks += [f"{function} uses {name}" for name in sorted({name for s in needed for name in of_package(s.node)})]
    try:
        code = tuple((s.cell, ast.unparse(s.node)) for s in needed)
    except RecursionError:
        return Found("broken", "its expressions are nested too deeply")
    return Found("try", code=code, remarks=tuple(remarks))


def defines(node: ast.AST, function: str) -> bool:
    """Whether a statement writes a function of this name: with `def`, in whatever block, or as a lambda.

    An import and an array of the same name are something else.
    """
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == function and not isinstance(node, ast.ClassDef)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
        return any(isinstance(target, ast.Name) and target.id == function for target in node.targets)
    return any(defines(child, function) for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def closure(statements: Iterable[Statement], chosen: Statement, function: str) -> list[Statement]:
    """The statements that a definition needs, in order: all that bind what it uses, and what those use in turn."""
    others = [s for s in statements if function not in s.binds and not is_stub(s.node)]
    stars = [s for s in others if isinstance(s.node, ast.ImportFrom) and s.node.names[0].name == "*"]
    kept, wanted = [chosen, *stars], set(chosen.uses)
    while more := [s for s in others if s.binds & wanted and s not in kept]:
        kept += more
        wanted |= {name for s in more for name in s.uses}
    order = {id(s): i for i, s in enumerate(statements)}
    return sorted(kept, key=lambda s: order[id(s)])


def of_package(node: ast.stmt) -> list[str]:
    """What a statement imports from pgnotes."""
    found = []
    for here in ast.walk(node):
        if isinstance(here, ast.ImportFrom) and (here.module or "").split(".")[0] == "pgnotes":
            found += [f"{here.module}.{alias.name}" for alias in here.names]
        elif isinstance(here, ast.Import):
            found += [alias.name for alias in here.names if alias.name.startswith("pgnotes.")]
    return found


def is_stub(node: ast.stmt) -> bool:
    """Whether a statement is a function in which nothing is written yet: dots, `pass`, or NotImplementedError."""
    if not isinstance(node, ast.FunctionDef):
        return False
    body = node.body
    if ast.get_docstring(node, clean=False) is not None:
        body = body[1:]
    return all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and line.value.value is ...)
        or (isinstance(line, ast.Raise) and "NotImplementedError" in ast.dump(line))
        for line in body
    )


def short(error: Exception) -> str:
    """An error in a few words on one line."""
    text = " ".join((getattr(error, "msg", "") or str(error) or type(error).__name__).split())
    return text if len(text) <= 120 else f"{text[:117]}…"
