# make quickstart   collisions -> dataset -> CMS-B -> results, in one go
# make test         the test suite, without the long runs that are marked stress
# make test-fast    the tests that take less than a second each, with little of XLA's optimization
# make lint         ruff, as CI runs it
# make docs         the documentation, in docs/_build/html; a warning is an error
# make clean        removes .venv and every cache; datasets and runs stay
#
# The first call makes .venv with $(PYTHON) (CPython 3.11, 3.12 or 3.13): make PYTHON=python3.12 ...

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Compiling every file of every package costs more than compiling the ones that are used.
PIP := $(BIN)/python -m pip install --quiet --quiet --no-compile --disable-pip-version-check
# Two processes, each on half of the cores (tests/conftest.py); they share out what is left at the end.
# --no-compile needs it: Python keeps the bytecode of what it imports, here and in the processes it starts.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=worksteal tests

# The CPU build, by its local version: a plain torch==2.13.0 on Linux brings gigabytes of CUDA libraries.
TORCH := $(if $(filter Linux,$(shell uname -s)),torch==2.13.0+cpu,torch==2.13.0)
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: quickstart test test-fast lint docs install install-test clean
.DELETE_ON_ERROR:

quickstart: install
	$(BIN)/python -m e2e_jax.main --config=configs/cms_b.py

test: install-test
	$(PYTEST)

test-fast: install-test
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(PYTEST) -m 'not slow and not stress'

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --builder html docs docs/_build/html

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "e2e_jax needs CPython 3.11, 3.12 or 3.13, but '$(PYTHON)' is:" \
	    "$$($(PYTHON) --version 2>&1). Name another, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@echo "Installing what a training needs into $(VENV) (once, a minute or two)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements.txt requirements-test.txt
	$(PIP) -r requirements.txt -r requirements-test.txt
	@$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(PIP) --retries 0 --extra-index-url $(TORCH_INDEX) $(TORCH) \
	  || echo "No CPU build of PyTorch for this Python: the parity tests will be skipped."
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) docs/_build .jax_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
