# Needs Python >= 3.11 with venv; everything else goes into .venv. Commands: quickstart, test, lint, bench, clean.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: fuzz help quickstart test test-faults test-kernels lint format bench clean

# The first Python that is new enough; override with make PYTHON=...
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# all logical cores that this process may use; xdist's own "auto" counts physical ones
JOBS ?= $(shell nproc 2>/dev/null || echo auto)
# JupyterLab refuses to run as root (in containers) unless told
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)
NODE_TESTS := $(if $(wildcard tests/clients/package.json),$(shell command -v npm >/dev/null && echo tests/clients/node_modules/.stamp))

help:
	@echo 'make quickstart   open JupyterLab on notebooks/quickstart.ipynb (ARGS=--no-browser passes through)'
	@echo 'make test         the whole test suite (ARGS="-k panel" passes through)'
	@echo 'make test-faults  every fault at every request (some 10,000 runs) and 300 kills; prints the counts'
	@echo 'make test-kernels the tests of real kernels on six versions of ipykernel'
	@echo 'make fuzz         coverage-guided fuzzing of the parsers (SECONDS=30 for each)'
	@echo 'make lint         ruff, mypy --strict, import-linter'
	@echo 'make bench        speed beside other clients, as a Markdown table'
	@echo 'make clean        remove .venv and what was built'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo 'No venv in this Python; on Debian or Ubuntu: apt-get install python3-venv' >&2; exit 1; }

# One stamp per set of extras: nothing is installed again until pyproject.toml changes.
$(VENV)/.stamp-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

# oss2 brings the old crcmod, which shares its module name with crcmod-plus: the latter has to land last.
$(VENV)/.stamp-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps crcmod-plus
	@touch $(VENV)/.stamp-demo $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Two servers as hubs have them, for kernels of another environment: without any widgets, and with stock ones only.
# A copied venv is one of its own as long as it is called by its python.
$(VENV)/hub/.stamp: pyproject.toml | $(BIN)/python
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)/plain
	$(@D)/plain/bin/python -m pip install --quiet --disable-pip-version-check 'jupyterlab>=4.2' 'notebook>=7.2'
	cp -R $(@D)/plain $(@D)/widgets
	$(@D)/widgets/bin/python -m pip install --quiet --disable-pip-version-check 'ipywidgets>=8.1'
	@touch $@

tests/clients/node_modules/.stamp: $(wildcard tests/clients/package.json tests/clients/package-lock.json)
	cd tests/clients && if [ -f package-lock.json ]; then npm ci --no-audit --no-fund; else npm install --no-audit --no-fund; fi
	@touch $@

quickstart: $(VENV)/.stamp-demo
	$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb $(ROOT_FLAG) $(ARGS)

test: $(VENV)/.stamp-test $(VENV)/hub/.stamp $(NODE_TESTS)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

test-faults: $(VENV)/.stamp-test
	OSSMP_FAULT_RUNS=all $(BIN)/python -m pytest -n auto --dist worksteal tests/faults tests/crash $(ARGS)

test-kernels: $(VENV)/.stamp-test
	JOBS=$(JOBS) $(BIN)/python scripts/kernel_matrix.py $(ARGS)

SECONDS ?= 30
fuzz: $(VENV)/.stamp-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.run $(SECONDS) $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: $(VENV)/.stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.stamp-test $(NODE_TESTS)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) dist build tests/clients/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
