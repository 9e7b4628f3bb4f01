# Two commands: `make demo` and `make test`. Plain pip is enough; uv is used when it is there.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
WORKERS ?= 2

.PHONY: demo test check unit bench soak lock clean help

help:
	@echo "make demo   install into $(VENV) and start the demo"
	@echo "make test   install and run everything: ruff, mypy, import-linter, pytest with coverage"
	@echo "make check  only ruff, mypy and import-linter"
	@echo "make bench  speed, as ratios measured in one run"
	@echo "make soak   5 000 examples per property, result into docs/soak.md"
	@echo "make lock   renew uv.lock"

$(VENV)/.runtime: pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" UV="$(UV)" sh tools/install.sh runtime
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.runtime
	@PYTHON="$(PYTHON)" VENV="$(VENV)" UV="$(UV)" sh tools/install.sh dev
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/smgw demo

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check
	$(BIN)/coverage erase
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=
	$(BIN)/coverage report --fail-under=90

unit: $(VENV)/.dev
	$(BIN)/pytest tests/unit tests/property

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py

soak: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" sh tools/soak.sh

lock:
	uv lock

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
