# Each target does its own set-up: `make demo` and `make test` work on a machine that has only
# Python 3.11 to 3.13 and make. A second call finds the set-up done and starts at once.
#
#   make demo                                  build a search from docstrings, compress it, compare
#   make test PYTHON=python3.12                another interpreter
#   make test TORCH_INDEX_ARGS="--index-url https://download.pytorch.org/whl/cpu"
#                                              torch for CPUs only, a far smaller download

SHELL := /bin/bash

# The interpreter that .venv is made with: the first of these that is 3.11, 3.12 or 3.13.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null && echo "$$python" && break; done)
TORCH ?= torch==2.13.0
TORCH_INDEX_ARGS ?=
PYTEST_ARGS ?=
DEMO_ARGS ?=

BIN := .venv/bin
# What is never imported need not be compiled: that takes minutes.
PIP := $(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check
STAMPS := .venv/.stamps
TORCH_STAMP := $(STAMPS)/$(subst /,_,$(TORCH))

export HF_HUB_OFFLINE = 1
export NO_MKDOCS_2_WARNING = 1
unexport PYTHONDONTWRITEBYTECODE  # test workers and the processes they start read what is compiled

.DEFAULT_GOAL := help
.PHONY: bench demo test test-quick lint format docs clean help

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(STAMPS)/demo  ## Set up, then encode, compress and search docstrings (DEMO_ARGS="--help")
	$(BIN)/mpsheads demo $(DEMO_ARGS)

test: $(STAMPS)/dev  ## Set up, then run the tests on all cores (PYTEST_ARGS="-k mps -x")
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal $(PYTEST_ARGS)

test-quick: $(STAMPS)/dev  ## Set up, then run the tests that take a moment, in under a minute
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(PYTEST_ARGS)

lint: $(STAMPS)/dev  ## Set up, then check style, types and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(STAMPS)/dev  ## Set up, then rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMPS)/dev  ## Set up, then time starting, the heads and the similarities (some minutes)
	$(BIN)/python benchmarks/startup.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/heads.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/similarity.py

docs: $(STAMPS)/dev  ## Set up, then build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

clean:  ## Remove the environment and everything that was built (the cache of embeddings stays)
	rm -rf .venv site build dist demo-out .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Set-up. Each step leaves a stamp when it is done, so a step that was cut short runs again.
$(STAMPS)/venv:
	@"$(PYTHON)" -c '$(SUPPORTED)' 2>/dev/null || { \
	  echo "mpsheads needs Python 3.11, 3.12 or 3.13; \`$(or $(PYTHON),python3)\` is" \
	    "$$("$(or $(PYTHON),python3)" --version 2>&1 | tail -n 1)." \
	    "Name another one: make PYTHON=python3.12 $(or $(firstword $(MAKECMDGOALS)),test)" >&2; \
	  exit 1; }
	@echo "Making .venv with $(PYTHON)"
	@"$(PYTHON)" -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

$(TORCH_STAMP): | $(STAMPS)/venv
	@echo "Installing $(TORCH), a large download the first time"
	@$(PIP) "$(TORCH)" $(TORCH_INDEX_ARGS)
	@touch $@

$(STAMPS)/demo: pyproject.toml | $(TORCH_STAMP)
	@echo "Installing mpsheads[demo]"
	@$(PIP) --editable ".[demo]"
	@touch $@

$(STAMPS)/dev: pyproject.toml | $(TORCH_STAMP)
	@echo "Installing mpsheads[dev]"
	@$(PIP) --editable ".[dev]"
	@touch $@ $(STAMPS)/demo  # dev holds everything that demo does
