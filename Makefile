# make demo: set up everything and run the main job.   make test: set up and run the tests.
# Everything else: make help.  All targets are idempotent, and quick the second time.

BIN := .venv/bin
DEMO_OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check docs format clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */: /' | awk -F': ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup:  ## virtual environment, pinned torch, the package with its extras, rendering libraries
	@sh scripts/setup.sh

demo: setup  ## refine a policy on Meta-World's drawer-open; minutes on two CPU cores
	$(BIN)/burnish demo --out $(DEMO_OUT)

test: setup  ## the tests, without the longer learning runs, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test-slow: setup  ## the longer learning runs
	$(BIN)/python -m pytest -m slow

check: setup docs  ## lint, formatting, types, the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: setup  ## the documentation site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches; runs stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find burnish tests -name __pycache__ -type d -prune -exec rm -rf {} +
