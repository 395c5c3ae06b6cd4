# Every target sets up what it needs; a second run starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test gpu check bench starter docs console console-check console-types screenshots clean

help:
	@echo "make demo     train a real model on the example dataset and see that it got better (some minutes)"
	@echo "make test     all tests"
	@echo "make gpu      tests that need a CUDA device"
	@echo "make check    format, lint, types, import contracts, documents in step with the code"
	@echo "make bench    speed and memory beside two peers (some two hours; twenty minutes with OPTIONS=--quick)"
	@echo "make starter  build the starter model again from its corpus (half an hour)"
	@echo "make docs     write the generated parts of docs/ again"
	@echo "make console  build the console, which tunesmith serve shows at /"
	@echo "make screenshots  every page of the console as a picture, into build/screenshots"
	@echo "make console-types  the types of the API for the console, after the API changed"

# torch comes first and by itself: its own requirement decides between CPU and CUDA builds.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[engine,server,dev]'
	touch $@

demo: $(READY)
	$(BIN)/tunesmith demo

# Tests commit many thousand times, and each commit waits for the disk: where memory can be one with
# 4 GB to spare, their folders lie there. Folders of tests that passed are removed at once.
FOLDERS := $(shell test "$$(df -k --output=avail /dev/shm 2>/dev/null | tail -1)" -gt 4000000 2>/dev/null && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(FOLDERS) $(BIN)/python -m pytest -n $(JOBS) -o tmp_path_retention_policy=failed

# Some processes share the tests, a file or group at a time, the longest first (tests/conftest.py), so
# that none is left to do alone at the end. Whole trainings and browsers come after the unit tests.
SHARED := --dist loadgroup --no-loadscope-reorder
test: $(READY)
	$(PYTEST) $(SHARED) tests/unit tests/test_*.py
	$(PYTEST) $(SHARED) tests/integration tests/e2e

gpu: $(READY)
	$(BIN)/python -m pytest tests/gpu

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/python -m tunesmith.recipe.reference --check
	$(BIN)/python -m tunesmith.recipe.matrix --check

bench: $(READY)
	$(BIN)/python benchmarks/tokenise.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py $(OPTIONS)

starter: $(READY)
	$(BIN)/python tools/starter/make_starter.py

docs: $(READY)
	$(BIN)/python -m tunesmith.recipe.reference
	$(BIN)/python -m tunesmith.recipe.matrix

# The console: built when its sources changed, with the Node that tools/console.sh finds.
CONSOLE := src/tunesmith/console_files/index.html
SOURCES := $(shell find console -type f -not -path 'console/node_modules*' -not -name openapi.json)

$(CONSOLE): $(SOURCES) tools/console.sh | $(READY)
	tools/console.sh build
	touch $@

console: $(CONSOLE)

console-check: $(READY)
	tools/console.sh check

console-types: $(READY)
	tools/console.sh types

screenshots: $(CONSOLE)
	$(BIN)/python tools/screenshots.py $(OPTIONS)

check: console-check
test: $(CONSOLE)

clean:
	rm -rf $(VENV) build dist
