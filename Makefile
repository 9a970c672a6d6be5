# Thin targets; each makes the virtual environment and installs what it needs. `make demo` and `make test` are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BACKENDS ?= tensorflow jax torch
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: demo recipes test test-backends test-full mutants lint format benchmark clean help

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /: /'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml $(VENV)/bin/python
	$(PIP) ".[$*]"
	@touch $@

demo: $(VENV)/.installed-recipes  ## Train a small CNN on 5,000 digits and log its gradients (two minutes)
	$(BIN)/python recipes/01_first_run.py

test: $(VENV)/.installed-test  ## Run the tests on TensorFlow
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow"

test-backends: $(VENV)/.installed-test $(VENV)/.installed-jax $(VENV)/.installed-torch  ## Run the tests once per backend
	@set -e; for backend in $(BACKENDS); do echo "== $$backend"; KERAS_BACKEND=$$backend $(PYTEST) -m "not slow"; done

test-full: $(VENV)/.installed-test $(VENV)/.installed-jax $(VENV)/.installed-torch  ## The same with the slow matrix
	@set -e; for backend in $(BACKENDS); do echo "== $$backend"; KERAS_BACKEND=$$backend $(PYTEST); done

mutants: $(VENV)/.installed-test $(VENV)/.installed-torch  ## Change the mathematics in one place at a time: do the tests notice?
	KERAS_BACKEND=torch $(BIN)/python tests/mutants.py

lint: $(VENV)/.installed-dev  ## Format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## Rewrite the files as `make lint` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(VENV)/.installed-jax $(VENV)/.installed-torch  ## Optimizer step: kopt against Keras, three backends
	$(BIN)/python benchmarks/optimizer_step.py --backend all --set all

clean:  ## Remove the virtual environment
	rm -rf $(VENV)
