# Two commands for a new machine: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
VIDEO ?=
STAMP = $(VENV)/.installed

.PHONY: setup demo test test-slow test-gpu campaign test-lowest lint audit bench docs clean

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

# A few tests with the lowest versions that pyproject.toml admits, in an environment of their own (needs the network).
LOWEST := build/lowest
EXTRAS := facer bfm train identity lpips
test-lowest:
	$(PYTHON) -m venv $(LOWEST)/tools
	$(LOWEST)/tools/bin/python -m pip install -q --disable-pip-version-check uv
	$(LOWEST)/tools/bin/uv pip compile -q --python $(PYTHON) --resolution lowest-direct $(EXTRAS:%=--extra %) \
		pyproject.toml -o $(LOWEST)/requirements.txt
	$(LOWEST)/tools/bin/uv venv -q --clear --python $(PYTHON) $(LOWEST)/venv
	$(LOWEST)/tools/bin/uv pip install -q --python $(LOWEST)/venv/bin/python -r $(LOWEST)/requirements.txt pytest webdataset
	$(LOWEST)/tools/bin/uv pip install -q --python $(LOWEST)/venv/bin/python --no-deps -e .
	$(LOWEST)/venv/bin/python -m pytest tests/walls tests/dataset/test_loading.py tests/backbones/test_loading.py tests/sample

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known vulnerabilities of the locked versions, and a bill of materials in CycloneDX's format. Both need the network.
AUDIT := build/audit
audit:
	$(PYTHON) -m venv $(AUDIT)/venv
	$(AUDIT)/venv/bin/python -m pip install -q --disable-pip-version-check 'pip-audit>=2.9' 'cyclonedx-bom>=7'
	$(AUDIT)/venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o $(AUDIT)/bom.json \
		constraints.txt
	$(AUDIT)/venv/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

bench: setup
	for name in stickers cross_frame segmenter device finetune edit evaluate nano; do $(BIN)/python -m benchmarks.$$name || exit 1; done

docs: setup
	$(BIN)/pdoc -o docs/build toolkit attributes tasks

clean:
	rm -rf $(VENV) $(DEMO) docs/build build *.egg-info
