# Each target makes and updates .venv by itself. A laptop without a GPU may take PyTorch's smaller CPU builds:
#   make lab TORCH_INDEX=https://download.pytorch.org/whl/cpu

.PHONY: help lab test test-colab lessons grpo bench lint
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN  := $(VENV)/bin
OUT  ?= runs/pocket
AS_ROOT := $(shell test "$$(id -u)" = 0 && echo --allow-root)
export TOKENIZERS_PARALLELISM := false

help:
	@echo "make lab      open the lessons in JupyterLab"
	@echo "make test     run the tests, the lessons among them"
	@echo "make test-colab   the same tests and lesson 01 with the versions of Colab, in .venv-colab"
	@echo "make lessons  run every lesson in a clean kernel and save it with its outputs"
	@echo "make grpo     train the pocket model into OUT=$(OUT), and go on if that run was cut off"
	@echo "make bench    run the benchmarks (about an hour)"
	@echo "make lint     check and format-check the code and the lessons"

lab: $(VENV)/.ready-base
	@echo "pgnotes: JupyterLab opens the lessons in your browser; stop it with Ctrl-C here"
	@JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter" $(BIN)/jupyter lab --notebook-dir=notebooks --LabApp.extension_manager=readonly $(AS_ROOT) $(LAB_FLAGS)

test: $(VENV)/.ready-test
	@echo "pgnotes: running the tests and the lessons (a few minutes)"
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

test-colab: .venv-colab/.ready
	@echo "pgnotes: running the unit tests and lesson 01 with Colab's versions (a few minutes)"
	@.venv-colab/bin/python -m pytest $(PYTEST_FLAGS) tests notebooks/01_softmax_bandits.ipynb --ignore=tests/browser

lessons: $(VENV)/.ready-base
	@$(BIN)/python tools/run_lessons.py

grpo: $(VENV)/.ready-base
	@$(BIN)/python -m pgnotes grpo --out $(OUT) --resume

bench: $(VENV)/.ready-bench
	@$(BIN)/python benchmarks/sliders.py
	@$(BIN)/python benchmarks/variance.py
	@$(BIN)/python benchmarks/kills.py
	@$(BIN)/python benchmarks/engine.py
	@$(BIN)/python benchmarks/trl_side_by_side.py

lint: $(VENV)/.ready-lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# The stamps: one for each set of packages, renewed when what it was made from changes.
$(VENV)/.ready-base: EXTRA :=
$(VENV)/.ready-test: EXTRA := [test]
$(VENV)/.ready-lint: EXTRA := [lint]
$(VENV)/.ready-bench: EXTRA := [bench]
$(VENV)/.ready-%: pyproject.toml constraints.txt $(VENV)/bin/python
	@echo "pgnotes: installing what is needed into $(VENV) (once; minutes on a slow line)"
	@$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --index-url $(TORCH_INDEX) torch)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$(EXTRA)"
	@touch $@

.venv-colab/.ready: pyproject.toml constraints-colab.txt tools/find_python.sh
	@python=$$(sh tools/find_python.sh) || exit 1; echo "pgnotes: making .venv-colab with Colab's versions (once; some minutes)"; "$$python" -m venv --clear .venv-colab
	@.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-colab.txt torch
	@.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-colab.txt -e ".[test]"
	@touch $@

$(VENV)/bin/python:
	@python=$$(sh tools/find_python.sh) || exit 1; \
	echo "pgnotes: making $(VENV) with $$python"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "pgnotes: this Python cannot make environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
