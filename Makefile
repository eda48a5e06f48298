# Every command works on a fresh checkout: the environment is made in .venv first.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# torch's default build for Linux brings gigabytes of CUDA libraries. Where there is no GPU, take the CPU
# build from PyTorch's own index: remove the "#", or say it on the command line (make demo TORCH_INDEX=...).
# pip's own settings (PIP_FIND_LINKS, PIP_INDEX_URL, ...) work too.
# TORCH_INDEX = https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-browser fuzz lint format docs bench compare clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make the environment in .venv, with the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Saccade needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## train on the built-in corpus, evaluate, translate, draw
	$(BIN)/saccade demo --out runs/demo --fresh

test: export OMP_NUM_THREADS = 1
test: $(STAMP)  ## the tests, without the slow ones
	$(BIN)/python -m pytest -n $(WORKERS)

test-slow: export OMP_NUM_THREADS = 1
test-slow: $(STAMP)  ## the slow tests: those that train
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

fuzz: $(STAMP)  ## hostile input, kills, threads, sanitizers: 20 minutes; FUZZ="folders --seed 2", FUZZ="--replay 1/folders/7"
	$(BIN)/python -m tests.fuzz $(FUZZ)

test-browser: export OMP_NUM_THREADS = 1
test-browser: $(STAMP)  ## the tests of the pages, in the Chromium that is installed (or SACCADE_BROWSER)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	@test -n "$$SACCADE_BROWSER" || command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "No Chromium was found: install it (Debian: apt-get install chromium) or name it in SACCADE_BROWSER." >&2; exit 2; }
	$(BIN)/python -m pytest -m browser tests/inspection tests/lab

lint: $(STAMP)  ## ruff and mypy; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## put the code in form
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(STAMP)  ## write the reference pages from the code
	$(BIN)/python docs/generate.py

bench: $(STAMP)  ## run the benchmarks
	$(BIN)/python -m benchmarks.run

compare: export OMP_NUM_THREADS = 1
compare: export KINETO_LOG_LEVEL = 6  # torch's profiler else tells of every start
compare: $(STAMP)  ## compare all kinds of models; COMPARE="STAGE ... --seeds 1 2" (hours; picks up where it stopped)
	$(BIN)/python -m benchmarks.systems $(COMPARE)

clean:  ## remove caches and build outputs; keeps .venv and runs
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find saccade tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
