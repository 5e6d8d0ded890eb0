# Two commands for a new machine: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
VIDEO ?=
STAMP = $(VENV)/.installed

.PHONY: setup demo test test-slow test-gpu campaign lint bench docs clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

setup: $(STAMP)

demo: setup
	$(BIN)/python -m toolkit demo --output $(DEMO) $(if $(VIDEO),--video "$(VIDEO)")

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=
	@echo "coverage: $$($(BIN)/coverage report --format=total) % of lines"

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest -m gpu

campaign: setup
	$(BIN)/python -m tests.campaign --output campaign

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	for name in stickers cross_frame segmenter device finetune edit evaluate nano; do $(BIN)/python -m benchmarks.$$name || exit 1; done

docs: setup
	$(BIN)/pdoc -o docs/build toolkit attributes tasks

clean:
	rm -rf $(VENV) $(DEMO) docs/build build *.egg-info
