# Everything runs in .venv, which the first target that needs it builds from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
CHECKED := build/check
ROOMS := dispatchgym instances envs gnn agents train eval
# Folders too: they change when a file goes.
SOURCES := $(shell find $(ROOMS) -not -name '__pycache__' -not -name '*.pyc' 2>/dev/null)

export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types imports format bench nightly picture clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## */  make \1@/p' $(MAKEFILE_LIST) | awk -F@ '{printf "%-16s %s\n", $$1, $$2}'

setup: .venv/installed  ## the environment alone: .venv with the locked packages and this tree, editable

demo: .venv/installed  ## a pretrained policy against the rules, on Taillard's benchmark
	$(BIN)/dispatchgym demo

test: .venv/installed  ## the tests, two at a time
	$(BIN)/pytest -n 2

check: lint types imports  ## linter, types, and the direction of imports

lint: .venv/locked
	$(BIN)/ruff check .

types: $(CHECKED)/installed
	cd $(CHECKED) && ../../$(BIN)/mypy -p dispatchgym --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

imports: $(CHECKED)/installed
	cd $(CHECKED) && ../../$(BIN)/lint-imports --no-logo --config ../../pyproject.toml --cache-dir ../../.import_linter_cache

format: .venv/installed  ## rewrite the sources as the formatter wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed  ## speed beside the peers
	benchmarks/peers/setup.sh
	$(BIN)/python benchmarks/throughput.py --peers
	$(BIN)/python benchmarks/throughput.py --env soc

nightly: .venv/installed  ## the slow tests
	$(BIN)/pytest -m slow

picture: .venv/installed  ## the pictures in the README
	$(BIN)/dispatchgym replay docs/ta01.trace.json --svg docs/ta01.svg
	$(BIN)/dispatchgym replay docs/tcn8.trace.json --svg docs/tcn8.svg

clean:  ## remove what make has built
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .cache

.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'dispatchgym needs Python 3.11 or later; name one with: make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	@touch $@

# Editable, so that the tests and the demo always see the sources; the mapping of folders is in pyproject.toml.
.venv/installed: .venv/locked pyproject.toml
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# A plain install: mypy and lint-imports cannot follow the import hooks of an editable one.
$(CHECKED)/installed: $(SOURCES) pyproject.toml .venv/locked
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target $(CHECKED) .
	@touch $@
