"""What every lesson has, and what none may have."""

import base64
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from count_lines import statements
from lesson_text import SETUP, address, badge
from nbformat.v4 import new_code_cell, new_notebook, new_output
from run_lessons import clean

from pgnotes.classroom import atlas, done
from pgnotes.classroom.page import REOPENED
from pgnotes.classroom.quiz import markdown

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CLAIMS = {
    "00": set(),
    "01": {"C16", "C32"},
    "02": {"C1", "C26", "C28"},
    "03": {"C5", "C11", "C25"},
    "04": {"C3", "C24"},
    "05": {"C2", "C7", "C8", "C19", "C22"},
    "06": {"C5", "C6", "C20", "C23", "C29"},
    "07": {"C4", "C17", "C21", "C27", "C31"},
    "08": {"C8", "C9", "C12", "C18", "C22"},
    "09": {"C13", "C15", "C30"},
    "10": {"C10", "C14", "C84", "C85", "C86", "C87", "C88", "C89", "C90"},
    "11": {"C33", "C34", "C35", "C36", "C37", "C38", "C39", "C40"},
    "12": {"C41", "C42", "C43", "C44", "C45", "C46", "C47", "C48"},
    "13": {"C49", "C50", "C51", "C52", "C53", "C54", "C55", "C56", "C57", "C58", "C59", "C60"},
    "14": {"C61", "C62", "C63", "C64", "C65", "C66", "C67", "C68", "C69", "C70", "C71"},
    "15": {"C72", "C73", "C74", "C75", "C76", "C77", "C78", "C79", "C80", "C81", "C82", "C83"},
}
MINUTES = re.compile(r"\b\d+ minutes?\b")
FORBIDDEN = re.compile(r"\\\(|\\\)|\\\[|\\\]|\\bm\b|\\newcommand|\\DeclareMathOperator|\\label|\\eqref|\\mbox|eqnarray")
PATHS = re.compile(r"/home/\w|/root\b|/tmp/|/Users/\w|[A-Z]:\\\\Users")


@pytest.fixture(params=LESSONS, ids=lambda p: p.name)
def lesson(request):
    return request.param, nbformat.read(request.param, as_version=4)


def prose(notebook):
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def outputs(notebook):
    return [(c, output) for c in notebook.cells if c.cell_type == "code" for output in c.outputs]


def test_each_list_of_lessons_names_them_all():
    """README's table and the map, the claims above, the exercises that `progress` shows."""
    numbers = [path.name[:2] for path in LESSONS]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \d\d \| \[[^]]+\]\(notebooks/(.+?)\) \|", readme, re.M) == [path.name for path in LESSONS]
    assert [number for number, *_ in atlas.LESSONS] == [*CLAIMS] == done.lessons() == numbers


def test_the_file_is_valid_and_its_cells_have_names(lesson):
    path, notebook = lesson
    nbformat.validate(notebook)
    ids = [c.id for c in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in ids)
    assert not any(re.fullmatch(r"[0-9a-f]{8}", name) for name in ids)
    assert "widgets" not in notebook.metadata
    assert "version" not in notebook.metadata.get("language_info", {})
    assert ("accelerator" in notebook.metadata) == path.name.startswith("09"), "only lesson 09 asks for a GPU"


def test_title_badge_goals_and_minutes(lesson):
    path, notebook = lesson
    title = notebook.cells[0].source
    assert title.startswith(f"# {path.name[:2]} · ")
    assert badge(path.name) in title
    assert MINUTES.search(title)
    assert 3 <= len(re.findall(r"^\d\. ", title.split("You will be able to")[1], re.M)) <= 5
    sections = re.findall(r"^## (\d+ · .*)$", prose(notebook), re.M)
    assert all("minute" in section for section in sections if "Quiz" not in section), sections


def test_one_setup_cell_for_all(lesson):
    path, notebook = lesson
    assert notebook.cells[1].source == SETUP.format(address=address(), lesson=path.name[:2])
    assert notebook.cells[1].metadata["cellView"] == "form"


def test_claims_exercises_quiz_and_end(lesson):
    path, notebook = lesson
    text = prose(notebook)
    assert set(re.findall(r"\*\*Check the claim (C\d+)\.\*\*", text)) >= CLAIMS[path.name[:2]]
    verdicts = re.findall(r"\*\*(Holds|Holds only if|False)\b[^*]*\*\*", text)
    assert len(verdicts) >= len(re.findall(r"Check the claim", text))
    assert len(re.findall(r"\*\*Exercise \d+\.\d+\*\* \((easy|medium|hard), \d+ minutes\)", text)) >= 3
    assert text.count("<summary>Hint</summary>") == text.count("<summary>Solution</summary>") >= 3
    assert next(c for c in notebook.cells if c.id == "quiz-print").source == markdown(path.name[:2])
    assert "## You should know" in text
    assert len(re.findall(r"^- ", text.split("## You should know")[1], re.M)) == 5
    assert "**References.**" in text


def is_nested(block):
    """Whether each \\end closes the \\begin that was opened last."""
    opened = []
    for word, name in re.findall(r"\\(begin|end)\{(\w+)\}", block):
        if word == "begin":
            opened.append(name)
        elif not opened or opened.pop() != name:
            return False
    return not opened


def test_mathematics_renders_everywhere(lesson):
    _, notebook = lesson
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        source = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.S)
        assert not FORBIDDEN.search(source), (cell.id, FORBIDDEN.search(source))
        assert source.count("$$") % 2 == 0, cell.id
        for block in re.findall(r"\$\$(.*?)\$\$", source, re.S):
            assert block.startswith("\n"), f"{cell.id}: $$ stands on a line of its own"
            assert "$" not in block
            assert is_nested(block), block
        assert re.sub(r"\$\$.*?\$\$", "", source, flags=re.S).count("$") % 2 == 0, cell.id
        for line in source.splitlines():
            if line.startswith("|"):
                assert "|" not in "".join(re.findall(r"\$([^$]*)\$", line)), "no bar in mathematics inside a table"


def test_no_formula_stands_in_a_fold_s_title(lesson):
    """It is HTML, in which only some of the places where a lesson is read typeset mathematics."""
    _, notebook = lesson
    assert not re.search(r"<summary>[^<]*\$[^<]*</summary>", prose(notebook))


def test_every_line_of_a_derivation_has_its_reason(lesson):
    _, notebook = lesson
    for block in re.findall(r"\\begin\{aligned\}(.*?)\\end\{aligned\}", prose(notebook), re.S):
        inner = re.sub(r"\\begin\{cases\}.*?\\end\{cases\}", "cases", block, flags=re.S)
        for line in inner.strip().split(r"\\"):
            if line.strip():
                assert "&&" in line, f"no reason given: {line.strip()}"


def test_outputs_are_whole_and_clean(lesson):
    _, notebook = lesson
    for cell, output in outputs(notebook):
        assert cell.execution_count is not None, cell.id
        assert output.output_type != "error", cell.id
        assert output.get("name") != "stderr", (cell.id, output.get("text"))
        assert len(str(output)) < 400_000, f"{cell.id}: an output of over 300 kB"
        data = output.get("data", {})
        assert "application/vnd.jupyter.widget-view+json" not in data, cell.id
        text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
        assert not PATHS.search(text), (cell.id, PATHS.search(text))
        assert not re.search(r"0x[0-9a-f]{6,}", text), cell.id
        if "image/png" in data:
            assert len(output.metadata["image/png"]["alt"]) > 40, cell.id
            assert data["text/plain"] == output.metadata["image/png"]["alt"]
            assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_every_picture_has_a_caption(lesson):
    """The next Markdown cell says in italics what to see."""
    _, notebook = lesson
    for cell, output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            below = notebook.cells[notebook.cells.index(cell) + 1 :]
            following = next(c for c in below if c.cell_type == "markdown")
            assert re.match(r"\*[^*].*?\*", following.source, re.S), f"{cell.id}: no caption below"


def test_cells_are_short(lesson):
    _, notebook = lesson
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert statistics.median(map(statements, code)) <= 6
    assert statistics.median(len(source.splitlines()) for source in code) <= 8
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.metadata.get("cellView") != "form":
            assert max(map(len, cell.source.splitlines())) <= 120, cell.id


def is_folded(cell):
    """Whether it is code that is hidden, or a text that begins with a fold."""
    if cell.cell_type == "markdown":
        return cell.source.startswith("<details>")
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def test_no_more_than_sixty_cells_lie_open(lesson):
    _, notebook = lesson
    lie_open = [cell.id for cell in notebook.cells if not is_folded(cell)]
    assert len(lie_open) <= 60, f"{len(lie_open)} cells are not folded: {lie_open}"


def test_what_jupyter_hides_colab_hides_under_a_title(lesson):
    """And what is hidden says what it is: Colab shows the title where the code was."""
    _, notebook = lesson
    for cell in notebook.cells:
        if cell.cell_type == "code" and is_folded(cell):
            assert cell.metadata.get("cellView") == "form", cell.id
            assert re.match(r"# @title \S", cell.source), cell.id


def test_links_lead_somewhere(lesson):
    path, notebook = lesson
    for target in re.findall(r"\]\(([^)#]+)\)", prose(notebook)):
        if not target.startswith("http"):
            assert (path.parent / target).is_file(), target


def test_no_lesson_says_what_the_course_does_not_say(lesson):
    _, notebook = lesson
    text = prose(notebook).lower()
    for word in ("simply", "obviously", "let's", "powerful", "dive", "!)", "great job", "well done"):
        assert not re.search(rf"\b{re.escape(word)}\b" if word[0].isalpha() else re.escape(word), text), word


def test_clean_leaves_the_same_file_twice(lesson):
    _, notebook = lesson
    before = nbformat.writes(notebook)
    clean(notebook)
    assert nbformat.writes(notebook) == before, "the saved file is as `make lessons` leaves it"


def test_clean_leaves_out_widgets_and_the_pages_style():
    """A widget with its twin beside it or in the same output leaves its twin alone; nothing empty stays."""
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}}
    twin = {"image/png": "iVBORw0KGgo=", "text/plain": "A dot."}
    table = {"text/html": "<table></table>", "text/plain": "a table"}
    outputs = [new_output("display_data", data) for data in (twin, view, view | twin, {"text/html": REOPENED}, table)]
    cell = new_code_cell(outputs=outputs)
    clean(new_notebook(cells=[cell]))
    assert [output.data for output in cell.outputs] == [twin, twin, table]
