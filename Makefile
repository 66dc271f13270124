# Sightline's everyday commands. `make` alone lists them.
# Everything is installed into .venv, at the versions of constraints.txt; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pytest workers; PYTEST_ARGS adds options: make test PYTEST_ARGS="-k window -x"
WORKERS ?= auto
PYTEST_ARGS ?=
# make mutate MUTANTS="grid.py --every 6" plants every 6th fault of one file only
MUTANTS ?=
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses=4
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# pyright is pinned; it need not tell us about newer versions.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all alone lint docs bench mutate clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo ## masked multi-head attention on real sentences; FILE=my.txt for your own
	$(BIN)/sightline demo $(FILE)

test: lint alone ## lint, types, import contracts, then the tests (under 15 minutes on 2 cores)
	$(PYTEST) -m "not slow and not alone" $(PYTEST_ARGS)

test-all: lint alone ## the same with the slow tests and many more random examples
	SIGHTLINE_HYPOTHESIS=thorough $(PYTEST) -m "not alone" $(PYTEST_ARGS)

# What measures time runs first and by itself: workers on all cores would be measured too.
alone: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m alone tests/unit/test_house.py

lint: $(VENV)/.dev ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache --no-logo

docs: $(VENV)/.dev ## draw the pictures of docs/ and write its tables again
	$(BIN)/python docs/make_masks.py
	$(BIN)/python docs/make_backends.py
	$(BIN)/python docs/make_conventions.py

bench: $(VENV)/.dev ## measure, and print the numbers (beside create_block_mask: minutes, 11 GB)
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/lower.py
	$(BIN)/python benchmarks/recognize.py

mutate: $(VENV)/.dev ## plant faults in masks/ and count those that the tests catch (long)
	$(BIN)/python tests/mutation/run.py $(MUTANTS)

clean: ## remove .venv, build products and caches
	rm -rf $(VENV) build dist demo.html .mutation.jsonl .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find src tests docs -type d -name __pycache__ -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------- set-up
# Each stamp is written last: an interrupted set-up is simply done again.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Sightline needs Python 3.10 or newer; '$(PYTHON)' is missing or older."; \
	  echo "Name another one:  make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "This Python cannot make virtual environments (on Debian and Ubuntu: install python3-venv)."; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The build backend comes first and from constraints.txt, so that the build is pinned as well.
$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Setting up $(VENV) for the demo (a few minutes the first time: torch is large)"
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation --editable '.[torch,train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Setting up $(VENV) with the development tools (a few minutes the first time: torch is large)"
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation --editable '.[torch,hf,jax,flax,keras,onnx,train,dev]'
	@touch $@ $(VENV)/.demo
