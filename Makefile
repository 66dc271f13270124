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
# The compiled half (C++). SIGHTLINE_NATIVE=0 leaves it out; without a compiler it is left out too.
NATIVE := src/sightline/native
NATIVE_SOURCES := CMakeLists.txt $(wildcard $(NATIVE)/csrc/*)
CMAKE = $(BIN)/cmake --log-level=NOTICE -Wno-unused-cli -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
SANITIZED := build/sanitize
# What `make sanitize` runs; more: make sanitize SANITIZE_TESTS="tests/conformance -k cpu"
SANITIZE_TESTS ?= tests/conformance tests/native
# pyright is pinned; it need not tell us about newer versions.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all alone lint native sanitize docs site bench mutate clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.demo $(VENV)/.native ## masked multi-head attention on real sentences; FILE=my.txt for your own
	$(BIN)/sightline demo $(FILE)

test: lint $(VENV)/.native alone ## lint, types, import contracts, then the tests (under 15 minutes on 2 cores)
	$(PYTEST) -m "not slow and not alone" $(PYTEST_ARGS)

test-all: lint $(VENV)/.native alone ## the same with the slow tests and many more random examples
	SIGHTLINE_HYPOTHESIS=thorough $(PYTEST) -m "not alone" $(PYTEST_ARGS)

# What measures time runs first and by itself: workers on all cores would be measured too.
alone: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m alone tests/unit/test_house.py

lint: $(VENV)/.dev ## ruff, pyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache --no-logo

native: $(VENV)/.native ## compile the C++ kernels of the cpu engine into the checkout

# The interpreter is not sanitized, so the sanitizers' libraries are loaded before it, and what
# Python itself never frees is not counted; --capture=sys lets their reports through.
# tests/native/sanitized.py loads the module made here. g++ only: clang++ keeps them elsewhere.
sanitize: $(VENV)/.dev $(VENV)/.native ## the cpu engine's tests, checked for memory errors and undefined behaviour
	$(CMAKE) -S . -B $(SANITIZED) -DSIGHTLINE_SANITIZE=address,undefined -DSIGHTLINE_TEST_WIDE=ON \
	  -DSIGHTLINE_OUTPUT=$(SANITIZED)/module
	@test ! -e $(SANITIZED)/module/_kernels.missing.txt
	$(BIN)/cmake --build $(SANITIZED) -- --quiet
	@compiler=$$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' $(SANITIZED)/CMakeCache.txt); \
	SIGHTLINE_SANITIZED=$(CURDIR)/$(SANITIZED)/module \
	LD_PRELOAD="$$(for name in asan ubsan stdc++; do $$compiler -print-file-name=lib$$name.so; done | tr '\n' ' ')" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=tests/native \
	$(BIN)/python -m pytest -p sanitized --capture=sys -m "not slow and not alone" $(SANITIZE_TESTS) $(PYTEST_ARGS)

docs: $(VENV)/.dev ## draw the pictures of docs/ and write its tables again
	$(BIN)/python docs/make_masks.py
	$(BIN)/python docs/make_algebra.py
	$(BIN)/python docs/make_choosing.py
	$(BIN)/python docs/make_context_parallel.py
	$(BIN)/python docs/make_moving.py
	$(BIN)/python docs/make_backends.py
	$(BIN)/python docs/make_conventions.py
	$(BIN)/python docs/make_hf.py
	$(BIN)/python docs/make_lint.py
	$(BIN)/python docs/make_systems.py
	$(BIN)/python docs/make_results.py
	$(BIN)/python docs/make_claims.py
	$(BIN)/python docs/make_comparison.py
	$(BIN)/python docs/make_scaling.py
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python docs/make_reference.py

# Nothing is asked of the network; NO_MKDOCS_2_WARNING silences what the theme says of its future.
site: $(VENV)/.dev ## the documentation as a site, in build/site: open index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.dev $(VENV)/.native ## measure, and print the numbers (beside create_block_mask: minutes, 11 GB)
	$(BIN)/python benchmarks/masks.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/lower.py
	$(BIN)/python benchmarks/recognize.py
	$(BIN)/python benchmarks/attend.py
	$(BIN)/python benchmarks/layer.py

mutate: $(VENV)/.dev ## plant faults in masks/ and count those that the tests catch (long)
	$(BIN)/python tests/mutation/run.py $(MUTANTS)

clean: ## remove .venv, build products and caches
	rm -rf $(VENV) build dist demo.html .mutation.jsonl .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	rm -f $(NATIVE)/_kernels.*.so $(NATIVE)/_kernels.missing.txt
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

# What builds comes first and from constraints.txt, so that the build is pinned as well. The
# kernels are compiled apart, below: an edit in csrc/ need not install everything again.
$(VENV)/.tools: $(VENV)/.made constraints.txt
	$(INSTALL) scikit-build-core nanobind cmake ninja
	@touch $@

$(VENV)/.demo: $(VENV)/.tools pyproject.toml
	@echo "Setting up $(VENV) for the demo (a few minutes the first time: torch is large)"
	SIGHTLINE_NATIVE=0 $(INSTALL) --no-build-isolation --editable '.[torch,train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.tools pyproject.toml
	@echo "Setting up $(VENV) with the development tools (a few minutes the first time: torch is large)"
	SIGHTLINE_NATIVE=0 $(INSTALL) --no-build-isolation \
	  --editable '.[torch,hf,jax,flax,keras,onnx,train,vision,series,speech,brain,views,notebook,docs,dev]'
	@PIP_CONSTRAINT=constraints.txt $(INSTALL) pesq || \
	  echo "PESQ could not be compiled here; what needs it is skipped, visibly."
	@touch $@ $(VENV)/.demo

# Where nothing could be compiled there is no stamp: the next run looks for a compiler again.
$(VENV)/.native: $(VENV)/.tools $(NATIVE_SOURCES)
	@echo "Compiling the C++ kernels (a minute or so the first time)"
	$(CMAKE) -S . -B build/native -DSIGHTLINE_OUTPUT=$(NATIVE)
	$(BIN)/cmake --build build/native -- --quiet
	@test -e $(NATIVE)/_kernels.missing.txt || touch $@
