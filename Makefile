# Each target makes and updates its environment by itself. A laptop without a GPU may take PyTorch's smaller CPU builds:
#   make lab TORCH_INDEX=https://download.pytorch.org/whl/cpu

.PHONY: help lab test test-colab test-newest lessons handouts site address grpo bench lint lock
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN  := $(VENV)/bin
OUT  ?= runs/pocket
WORKERS ?= 2
AS_ROOT := $(shell test "$$(id -u)" = 0 && echo --allow-root)
export TOKENIZERS_PARALLELISM := false

help:
	@echo "make lab          open the lessons in JupyterLab"
	@echo "make test         run the tests, the lessons among them"
	@echo "make test-colab   the same with Colab's versions of the packages, in .venv-colab"
	@echo "make test-newest  the same with the newest of everything, in .venv-newest (TORCH=torch==2.13.0 holds it back)"
	@echo "make lessons      run every lesson in a clean kernel and save it with its outputs"
	@echo "make handouts     three sets from the lessons: student, solved and run, lecturer (WORKERS=2 at a time)"
	@echo "make site         the course as pages whose sliders move without Python: build/site, build/pgnotes-site.zip"
	@echo "make address      write the project's address everywhere (URL=https://github.com/…, or git's own remote)"
	@echo "make grpo         train the pocket model into OUT=$(OUT), and go on if that run was cut off"
	@echo "make bench        run the benchmarks (about an hour)"
	@echo "make lint         check the code and the lessons, their format, and the types in the code"
	@echo "make lock         pin anew what the environments install (UPGRADE=--upgrade: the newest that pyproject allows)"

lab: $(VENV)/.ready-lab
	@echo "pgnotes: JupyterLab opens the lessons in your browser; stop it with Ctrl-C here"
	@JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter" $(BIN)/jupyter lab --notebook-dir=notebooks \
	    --LabApp.extension_manager=readonly $(AS_ROOT) $(LAB_FLAGS)

test: $(VENV)/.ready-test
	@echo "pgnotes: running the tests and the lessons (a few minutes)"
	@$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_FLAGS)

test-colab: .venv-colab/.ready
	@echo "pgnotes: running the tests and the lessons with Colab's versions (a few minutes)"
	@.venv-colab/bin/python -m pytest $(PYTEST_FLAGS) tests notebooks --ignore=tests/browser

test-newest: .venv-newest/bin/python
	@TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" .venv-newest/bin/python tools/newest.py $(PYTEST_FLAGS)

lessons: $(VENV)/.ready-lab
	@$(BIN)/python tools/run_lessons.py

handouts: $(VENV)/.ready-lab
	@echo "pgnotes: making the handouts; the solved lessons are run (minutes)"
	@$(BIN)/python tools/handouts.py --workers $(WORKERS) $(HANDOUT_FLAGS)
	@echo "pgnotes: build/handouts/student, build/handouts/solved, build/handouts/lecturer"

# Recordings are kept in build/recordings, and made anew where the code they come from has changed.
site: $(VENV)/.ready-site
	@echo "pgnotes: recording the widgets (minutes the first time)"
	@OMP_NUM_THREADS=1 $(BIN)/python site/record.py build/recordings
	@$(BIN)/python site/prepare.py build
	@$(BIN)/python -m sphinx -q -W --keep-going -c site -d build/doctrees -b html build/source build/site
	@$(BIN)/python site/pack.py build
	@echo "pgnotes: build/site/index.html, and the same as build/pgnotes-site.zip"

# git@github.com:someone/pgnotes.git and https://github.com/someone/pgnotes.git are both https://github.com/someone/pgnotes
URL ?= $(shell git remote get-url origin 2>/dev/null | sed -e 's,^git@github.com:,https://github.com/,' -e 's,\.git$$,,')
address: $(VENV)/.ready-lab
	@test -n "$(URL)" || { echo "pgnotes: git knows no remote; say make address URL=https://github.com/…" >&2; exit 1; }
	@$(BIN)/python tools/lesson_text.py "$(URL)"

grpo: $(VENV)/.ready-base
	@$(BIN)/python -m pgnotes grpo --out "$(OUT)" --resume

bench: $(VENV)/.ready-bench
	@$(BIN)/python benchmarks/sliders.py
	@$(BIN)/python benchmarks/variance.py
	@$(BIN)/python benchmarks/kills.py
	@$(BIN)/python benchmarks/engine.py
	@$(BIN)/python benchmarks/trl_side_by_side.py

lint: $(VENV)/.ready-lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/ty check --python $(VENV)

# The locks: from pyproject.toml's ranges, and from the versions in tools/locks that are given.
LOCK = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest --no-annotate \
	--custom-compile-command "make lock" $(UPGRADE)
lock:
	@command -v uv >/dev/null || { echo "pgnotes: make lock needs uv: pipx install uv" >&2; exit 1; }
	$(LOCK) --all-extras --group oracles -c tools/locks/tested.txt -o constraints.txt
	$(LOCK) --extra test -c tools/locks/colab.txt -o constraints-colab.txt
	$(LOCK) --extra test -c tools/locks/kaggle.txt -o constraints-kaggle.txt

# pip under a lock $(1), in an environment $(2). The two variables carry the lock to what builds packages: old pips read
# the first and new ones the second.
LOCKED = PIP_CONSTRAINT=$(1) PIP_BUILD_CONSTRAINT=$(1) $(2)/bin/python -m pip install $(QUIET) -c $(1)
QUIET := --quiet --disable-pip-version-check
# PyTorch alone from TORCH_INDEX, where one is given: what it needs comes with the rest.
CPU_TORCH = $(if $(TORCH_INDEX),$(call LOCKED,$(1),$(2)) --no-deps --index-url "$(TORCH_INDEX)" torch)

# The stamps: one for each set of packages, renewed when what it was made from changes.
# Types are read from the packages themselves: lint has all that the code imports.
$(VENV)/.ready-base: WHAT := .
$(VENV)/.ready-lab: WHAT := .[lab]
$(VENV)/.ready-test: WHAT := .[lab,test]
$(VENV)/.ready-site: WHAT := .[site]
$(VENV)/.ready-lint: WHAT := .[lab,data,lora,lint]
$(VENV)/.ready-bench: WHAT := .[bench]
$(VENV)/.ready-%: pyproject.toml constraints.txt $(VENV)/bin/python
	@echo "pgnotes: installing what is needed into $(VENV) (once; minutes on a slow line)"
	@$(call CPU_TORCH,constraints.txt,$(VENV))
	@$(call LOCKED,constraints.txt,$(VENV)) -e "$(WHAT)"
	@touch $@

.venv-colab/.ready: pyproject.toml constraints-colab.txt tools/find_python.sh
	@python=$$(sh tools/find_python.sh python3.13) || exit 1; "$$python" -m venv --clear .venv-colab
	@.venv-colab/bin/python -c 'import sys; print("pgnotes: Colab is Python 3.13 with torch 2.11; this is Python %d.%d" \
	    % sys.version_info[:2], "too" if sys.version_info >= (3, 13) else "with torch 2.13")'
	@echo "pgnotes: making .venv-colab with Colab's versions (once; some minutes)"
	@$(call CPU_TORCH,constraints-colab.txt,.venv-colab)
	@$(call LOCKED,constraints-colab.txt,.venv-colab) -e ".[test]"
	@touch $@

$(VENV)/bin/python .venv-newest/bin/python: %/bin/python:
	@python=$$(sh tools/find_python.sh) || exit 1; echo "pgnotes: making $* with $$python"; \
	"$$python" -m venv $* || { rm -rf $*; echo "pgnotes: this Python cannot make environments;" \
	    "on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
