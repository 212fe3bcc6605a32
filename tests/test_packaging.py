"""One list of dependencies and what is made from it: the locks, the environments, Colab's list, the jobs of CI."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

import newest
import pictures
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import pgnotes

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, EXTRAS = PYPROJECT["project"], PYPROJECT["project"]["optional-dependencies"]
LOCKS = {  # a lock, and what is installed under it
    "constraints.txt": [PROJECT["dependencies"], *EXTRAS.values(), PYPROJECT["dependency-groups"]["oracles"]],
    "constraints-colab.txt": [PROJECT["dependencies"], EXTRAS["test"]],
    "constraints-kaggle.txt": [PROJECT["dependencies"], EXTRAS["test"]],
}


def platform_of(python: str, system: str = "linux") -> dict[str, str]:
    """What markers are asked about a machine."""
    return {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}


PLATFORMS = [platform_of(python, system) for python in ("3.11", "3.12", "3.13") for system in ("linux", "darwin")]
MODULES = {
    "markdown_it": "markdown-it-py",
    "PIL": "pillow",
    "IPython": "ipython",
    "yaml": "pyyaml",
}  # modules whose package has another name


def lines(name: str) -> list[str]:
    """The lines of a list of requirements, without comments."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(name: str, platform: dict[str, str]) -> dict[str, Version]:
    """A lock as a platform sees it: package → version."""
    found = {}
    for need in wanted(lines(name), platform):
        (only,) = need.specifier
        assert only.operator == "==", f"{need} is no pin"
        assert canonicalize_name(need.name) not in found, f"{need.name} is pinned twice for {platform}"
        found[canonicalize_name(need.name)] = Version(only.version)
    return found


def wanted(texts: Iterable[str], platform: dict[str, str]) -> list[Requirement]:
    """The requirements among `texts` that a platform has."""
    return [need for need in map(Requirement, texts) if need.marker is None or need.marker.evaluate(platform)]


def label(platform: dict[str, str]) -> str:
    return f"{platform['python_version']} {platform['sys_platform']}"


@pytest.mark.parametrize("platform", PLATFORMS, ids=label)
@pytest.mark.parametrize("name", LOCKS)
def test_each_lock_pins_all_that_is_asked_for_within_its_range(name, platform):
    pinned = pins(name, platform)
    for need in wanted((text for group in LOCKS[name] for text in group), platform):
        package = canonicalize_name(need.name)
        assert package in pinned, f"{name} does not pin {need.name}: run make lock"
        assert need.specifier.contains(pinned[package]), f"{name} pins {need.name} at {pinned[package]}, not {need}"


@pytest.mark.parametrize("platform", PLATFORMS, ids=label)
@pytest.mark.parametrize(("name", "given"), list(zip(LOCKS, ("tested", "colab", "kaggle"), strict=True)))
def test_each_lock_keeps_the_versions_that_were_given(name, given, platform):
    pinned = pins(name, platform)
    for need in wanted(lines(f"tools/locks/{given}.txt"), platform):
        version = pinned.get(canonicalize_name(need.name))
        assert version is None or need.specifier.contains(version), f"{name} pins {need.name} at {version}, not {need}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_packages_and_nothing_else(name):
    """No index, no address, no path of whoever made it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "make lock" in text.splitlines()[1]
    assert not re.search(r"://|^-|/|\\|@", text, re.M)


def test_what_uses_internals_of_others_is_bounded_to_what_was_tested():
    pinned = pins("constraints.txt", PLATFORMS[0])
    for name in ("transformers", "accelerate"):
        (need,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == name)
        (below,) = (Version(s.version) for s in need.specifier if s.operator == "<")
        tested = pinned[name]
        assert below.release == (tested.major, tested.minor + 1), f"{name}<{below}, but the lock tests {tested}"


def test_make_installs_under_a_lock_but_for_the_newest():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (pip,) = (line for line in makefile.splitlines() if "pip install" in line)
    assert pip.startswith("LOCKED = PIP_CONSTRAINT=$(1) PIP_BUILD_CONSTRAINT=$(1) "), f"not under a lock: {pip}"
    assert pip.endswith(" -c $(1)"), f"not under a lock: {pip}"
    used = re.findall(r"call (?:LOCKED|CPU_TORCH),([^,]+),", makefile)
    assert len(used) == makefile.count("$(call ") >= 5
    assert set(used) - {"$(1)"} <= set(LOCKS)
    stamps = re.findall(r"^\S+/\.ready\S*: pyproject\.toml (constraints\S*\.txt) ", makefile, re.M)
    assert stamps == ["constraints.txt", "constraints-colab.txt"], "an environment is renewed when its lock is"


def test_environment_yml_installs_the_package_under_the_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert conda[-1]["pip"] == ["--constraint constraints.txt", "--editable .[lab]"]
    assert set(conda[:-1]) == {"python>=3.11,<3.14", "pip"}


# Colab and Kaggle


def least(need: Requirement) -> str:
    """A requirement's bound from below alone."""
    return f"{need.name}>={next(s.version for s in need.specifier if s.operator == '>=')}"


def test_colab_requirements_are_the_lower_bounds_of_our_own():
    assert lines("colab_requirements.txt") == [least(need) for need in map(Requirement, PROJECT["dependencies"])]


def machine(folder: Path, lock: str, platform: dict[str, str]) -> Path:
    """An environment in which pip believes that a lock's packages are installed; its Python."""
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    for name, number in pins(lock, platform).items():
        info = site / f"{name.replace('-', '_')}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return folder / "bin/python"


@pytest.mark.parametrize(("more", "wanted"), [((), 0), (("ipywidgets>=8.1.6",), 1)], ids=["ours", "a bound too high"])
@pytest.mark.parametrize(("lock", "python"), [("constraints-colab.txt", "3.13"), ("constraints-kaggle.txt", "3.12")])
def test_colab_and_kaggle_would_install_nothing(tmp_path, lock, python, more, wanted):
    """And the test would notice: with a bound that they do not satisfy, pip looks for another version in vain."""
    where = machine(tmp_path / "machine", lock, platform_of(python))
    pip = [sys.executable, "-m", "pip", "--python", str(where)]
    dry = ["install", "--no-index", "--dry-run", "--quiet", "--report", "-", "-r", str(ROOT / "colab_requirements.txt")]
    done = subprocess.run([*pip, *dry, *more], capture_output=True, text=True)
    assert done.returncode == wanted, done.stderr
    assert wanted or json.loads(done.stdout)["install"] == []


# What is imported


def imports(source: str) -> set[tuple[str, bool]]:
    """The packages that a source imports, and whether it does so as soon as it is loaded."""
    tree, found = ast.parse(source), set()
    for_types = "TYPE_CHECKING"  # what is imported under this never is when the program runs
    later = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and ast.unparse(node.test) == for_types)
    ]
    late = {id(inner) for outer in later for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        found |= {(name.split(".")[0], id(node) not in late) for name in names}
    return {(name, early) for name, early in found if name not in sys.stdlib_module_names and name != "pgnotes"}


def sources(room: str) -> dict[str, str]:
    """The Python of a folder, by file; of lessons, the code cells without their magics."""
    files = sorted((ROOT / room).rglob("*.py"))
    found = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    for path in sorted((ROOT / room).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found[path.name] = "\n".join(line for line in text.splitlines() if not line.startswith(("%", "!")))
    return found


ROOMS = {
    "pgnotes": (),
    "notebooks": (),
    "tools": ("lab",),
    "tests": ("test",),
    "benchmarks": ("lab", "bench"),
    "site": ("site",),
}
OPTIONAL = {"pgnotes": ("data", "lora", "lab"), "notebooks": ("data", "bench")}  # what a function may ask for


ELSEWHERE = {"google", "vllm"}  # google.colab, which Colab has; vLLM, which brings a PyTorch of its own


@pytest.mark.parametrize("room", ROOMS)
def test_all_that_is_imported_is_declared(room):
    """By the files of a folder, and by those of other folders that are loaded with them."""
    needs = [PROJECT["dependencies"], *(EXTRAS[extra] for extra in ROOMS[room])]
    declared = {canonicalize_name(Requirement(text).name) for group in needs for text in group}
    optional = {canonicalize_name(Requirement(text).name) for extra in OPTIONAL.get(room, ()) for text in EXTRAS[extra]}
    own = {
        Path(file).stem: (file, text) for folder in ("tools", "site", room) for file, text in sources(folder).items()
    }
    waiting, seen = list(sources(room).items()), set(sources(room))
    for file, source in waiting:
        for name, early in imports(source):
            package = canonicalize_name(MODULES.get(name, name))
            asked = package in declared or (package in optional and not early)
            elsewhere = name in ELSEWHERE and not early
            assert asked or elsewhere or name in own, f"{file} imports {name}, which is not declared"
            if name in own and early and own[name][0] not in seen:
                seen.add(own[name][0])
                waiting.append(own[name])


def test_make_lint_installs_all_that_the_type_checker_reads():
    """An import that is missing there has no types, and `ty` says so: in CI first, where nothing else is installed."""
    lint = re.compile(r"^\$\(VENV\)/\.ready-lint: WHAT := \.\[(.+)\]$", re.M)
    (extras,) = lint.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    needs = [PROJECT["dependencies"], *(EXTRAS[extra] for extra in extras.split(","))]
    installed = {canonicalize_name(Requirement(text).name) for group in needs for text in group}
    assert {"ruff", "ty"} <= installed

    settings = PYPROJECT["tool"]["ty"]
    missing = set(settings["analysis"]["allowed-unresolved-imports"])
    for room in settings["src"]["include"]:
        own = {Path(name).stem for folder in (room, "site") for name in sources(folder)}
        names = {name for source in sources(room).values() for name, _ in imports(source)} - own - missing
        assert {canonicalize_name(MODULES.get(name, name)) for name in names} <= installed


def test_the_base_is_small():
    """Training from a terminal needs no JupyterLab, no test runner and no data sets."""
    base = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not base & {
        Requirement(text).name for extra in ("lab", "data", "lora", "bench", "lint") for text in EXTRAS[extra]
    }
    assert not base & {"nbval", "pytest"}


def test_the_version_stands_in_one_place():
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "pgnotes.__version__"}
    assert Version(pgnotes.__version__)


# The newest of everything, the jobs, a checkout


@pytest.mark.parametrize(
    ("need", "without"),
    [
        ("torch>=2.10,<3", "torch>=2.10"),
        ("ipywidgets>=7.7.1,<9,!=8.1.9", "ipywidgets>=7.7.1,!=8.1.9"),
        ("trl", "trl"),
        ("numpy<3", "numpy"),
        ("numpy==2.0", "numpy==2.0"),
    ],
)
def test_the_newest_of_everything_knows_no_upper_bound(need, without):
    assert newest.unbounded(need) == without


def test_the_newest_says_what_differs_from_the_lock(monkeypatch):
    here = {"torch": "2.13.0+cpu", "numpy": "2.5.5"}

    def version(name: str) -> str:
        if name not in here:
            raise newest.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(newest, "version", version)
    lock = "# a comment\nnumpy==2.4.6\ntorch==2.13.0 ; sys_platform == 'linux'\ntriton==3.7.1\n"
    assert newest.differences(lock) == ["  numpy                    2.4.6 → 2.5.5"]


@pytest.mark.parametrize(("failed", "said"), [(0, 1), (1, 2)])
def test_the_newest_names_the_versions_before_and_after_a_failure(monkeypatch, capsys, failed, said):
    monkeypatch.setenv("TORCH", "torch==2.13.0")
    asked = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        asked.append(command)
        return subprocess.CompletedProcess(command, failed)

    monkeypatch.setattr(newest.subprocess, "run", run)
    monkeypatch.setattr(newest, "version", lambda name: "99")
    assert newest.main() == failed
    assert capsys.readouterr().out.count("  transformers             5.") == said
    assert "torch==2.13.0" in asked[0]
    assert not {"-c", "--constraint"} & {word for command in asked for word in command}


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda p: p.name)
def test_jobs_are_minimal_and_call_make(path):
    job = yaml.safe_load(path.read_text(encoding="utf-8"))
    publishes = {"pages": "write", "id-token": "write"} if path.name == "site.yml" else {}
    assert job["permissions"] == {"contents": "read"} | publishes
    assert job["concurrency"]["cancel-in-progress"] is True
    targets = re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    steps = [step for work in job["jobs"].values() for step in work["steps"]]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    called = re.findall(r"make ([\w-]+)", " ".join(step.get("run", "") for step in steps))
    assert called
    assert set(called) <= set(targets)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_checkout_that_would_rather_have_windows_endings_has_ours(tmp_path):
    """A shell script with others does not run; a binary file must not be touched."""
    files = ["Makefile", "tools/find_python.sh", "notebooks/00_start_here.ipynb", ".gitattributes"]
    source, copy, binary = tmp_path / "source", tmp_path / "copy", b"looks like text\r\n" * 9
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    for name in (binaries := ["model.safetensors", "run.jsonl.gz", "picture.png"]):
        (source / name).write_bytes(binary)
    settings = ["core.autocrlf=true", "user.name=someone", "user.email=a@example.org", "commit.gpgsign=false"]
    git = ["git", *(word for setting in settings for word in ("-c", setting))]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"], ["clone", "-q", ".", str(copy)]):
        subprocess.run([*git, *command], cwd=source, check=True, capture_output=True)
    assert all((copy / name).read_bytes() == (ROOT / name).read_bytes() for name in files)
    assert all((copy / name).read_bytes() == binary for name in binaries)


def test_the_runs_folder_may_have_a_space():
    command = ["make", "--dry-run", "grpo", "OUT=my runs/a"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert '--out "my runs/a" --resume' in done.stdout


def test_the_readme_s_pictures_are_the_lessons_own():
    """Each is drawn from a widget at settings it has, is there, and is told in words."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"!\[([^]]{40,})\]\(site/pictures/(\w+)\.png\)", readme))
    assert sorted(shown.values()) == sorted(pictures.PICTURES)
    for name, settings in pictures.PICTURES.items():
        assert (ROOT / "site" / "pictures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert settings.keys() <= pictures.widget(name).settings.keys()
