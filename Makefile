# Every target sets up what it needs; a second run starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test gpu check bench starter docs clean

help:
	@echo "make demo     train a real model on the example dataset and see that it got better (some minutes)"
	@echo "make test     all tests"
	@echo "make gpu      tests that need a CUDA device"
	@echo "make check    format, lint, types, import contracts, documents in step with the code"
	@echo "make bench    speed and memory beside two peers (some two hours; twenty minutes with OPTIONS=--quick)"
	@echo "make starter  build the starter model again from its corpus (half an hour)"
	@echo "make docs     write the generated parts of docs/ again"

# torch comes first and by itself: its own requirement decides between CPU and CUDA builds.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[engine,server,dev]'
	touch $@

demo: $(READY)
	$(BIN)/tunesmith demo

# Two processes share the unit tests; whole trainings come after them, one at a time.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit tests/test_*.py -n 2 --dist loadfile
	$(BIN)/python -m pytest tests/integration tests/e2e

gpu: $(READY)
	$(BIN)/python -m pytest tests/gpu

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/python -m tunesmith.recipe.reference --check

bench: $(READY)
	$(BIN)/python benchmarks/tokenise.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/training.py $(OPTIONS)

starter: $(READY)
	$(BIN)/python tools/starter/make_starter.py

docs: $(READY)
	$(BIN)/python -m tunesmith.recipe.reference

clean:
	rm -rf $(VENV) build dist
