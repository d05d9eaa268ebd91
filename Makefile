# `make demo` and `make test` do everything on a machine that has Python >= 3.11, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types unit slow docs clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@# modules are compiled when they are imported, which are a few of all;
	@# the CPU build of torch where pip can find one; on a GPU machine install your torch first and set VENV
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[test,lint]"
	touch $@

demo: $(VENV)/.ready
	$(BIN)/divseg demo

test: lint types unit

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

unit: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# what takes long: the shell commands of every page of the documents, and a training that is killed at any moment
slow: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

docs: $(VENV)/.ready
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo docs/_build/index.html

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
