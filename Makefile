# Two commands are enough for a newcomer: `make demo` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test test-slow check fix bench docs lock clean

help:
	@echo "make demo       render a small corpus, run the whole job on it, end with a report (about five minutes)"
	@echo "make test       the test suite"
	@echo "make test-slow  the tests that take minutes"
	@echo "make check      ruff, ruff format, mypy; changes nothing"
	@echo "make fix        ruff and ruff format, changing files"
	@echo "make bench      the benchmarks, as tables"
	@echo "make docs       these pages and the reference of every module as a site, in site/"
	@echo "make lock       resolve requirements.lock anew from pyproject.toml"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "reelmill needs Python 3.11 or newer: make PYTHON=python3.11 …"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@rm -rf reelmill.egg-info build  # of an older build; whoever runs in this folder would read its metadata
	@touch $(READY)

demo: $(READY)
	$(BIN)/reelmill demo

# A worker that crashes ends the run: xdist 3.8 restarts it and then waits for ever under --dist loadfile.
test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not gpu"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file .docs/mkdocs.yml
	@echo "site/index.html; with its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --extra dev --extra docs pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
