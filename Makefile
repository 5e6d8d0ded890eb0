# Two commands for a new machine: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
VIDEO ?=
STAMP = $(VENV)/.installed

.PHONY: setup demo test test-slow test-gpu campaign test-lowest test-diffusers lint audit bench docs clean

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

# The lowest versions that pyproject.toml admits, in an environment of their own (needs the network). mediapipe 0.10.21
# needs numpy<2, and pyarrow 25 does not work with that. Three packages share the folder cv2: the complete one comes last.
LOWEST := build/lowest
EXTRAS := facer bfm train identity lpips c2pa
LOWEST_TESTS := tests/walls tests/sample tests/dataset/test_loading.py tests/backbones/test_loading.py tests/remover \
	tests/fetch/test_fetch.py tests/finetune/test_finetune_run.py
test-lowest:
	$(PYTHON) -m venv $(LOWEST)/tools
	$(LOWEST)/tools/bin/python -m pip install -q --disable-pip-version-check uv
	printf 'numpy<2\npyarrow<25\n' > $(LOWEST)/constraints.txt
	$(LOWEST)/tools/bin/uv pip compile -q --python $(PYTHON) --resolution lowest-direct $(EXTRAS:%=--extra %) \
		-c $(LOWEST)/constraints.txt pyproject.toml -o $(LOWEST)/requirements.txt
	$(LOWEST)/tools/bin/uv venv -q --clear --python $(PYTHON) $(LOWEST)/venv
	$(LOWEST)/tools/bin/uv pip install -q --python $(LOWEST)/venv/bin/python -r $(LOWEST)/requirements.txt pytest webdataset
	$(LOWEST)/tools/bin/uv pip install -q --python $(LOWEST)/venv/bin/python --no-deps -e .
	$(LOWEST)/tools/bin/uv pip install -q --python $(LOWEST)/venv/bin/python --no-deps \
		--reinstall-package opencv-contrib-python -r $(LOWEST)/requirements.txt
	$(LOWEST)/venv/bin/python -m toolkit doctor --task stickers
	$(LOWEST)/venv/bin/python -m toolkit demo --output $(LOWEST)/demo
	$(LOWEST)/venv/bin/python -m pytest $(LOWEST_TESTS)

# The pieces that touch diffusers' classes, with the oldest release that pyproject.toml admits and with the newest one, each
# in an environment of its own (needs the network).
FLOOR := $(shell sed -n 's/^ *"diffusers>=\([0-9.]*\)",$$/\1/p' pyproject.toml)
DIFFUSERS := diffusers==$(FLOOR) diffusers
DIFFUSERS_TESTS := tests/diffusion tests/backbones/test_loading.py tests/edit/test_edit_pipelines.py
test-diffusers:
	@for wanted in $(DIFFUSERS); do \
		folder=build/diffusers/$$wanted; \
		$(PYTHON) -m venv --clear $$folder || exit 1; \
		$$folder/bin/python -m pip install -q --disable-pip-version-check -e . pytest "$$wanted" peft || exit 1; \
		$$folder/bin/python -m pip install -q --disable-pip-version-check --upgrade "$$wanted" || exit 1; \
		$$folder/bin/python -c 'import diffusers; print("diffusers", diffusers.__version__)' || exit 1; \
		$$folder/bin/python -m pytest $(DIFFUSERS_TESTS) || exit 1; \
	done

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A bill of materials in CycloneDX's format, then known vulnerabilities of the locked versions. The second needs pypi.org.
AUDIT := build/audit
audit:
	$(PYTHON) -m venv $(AUDIT)/venv
	$(AUDIT)/venv/bin/python -m pip install -q --disable-pip-version-check 'pip-audit>=2.9' 'cyclonedx-bom>=7'
	$(AUDIT)/venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o $(AUDIT)/bom.json \
		constraints.txt
	@echo "bill of materials: $(AUDIT)/bom.json"
	@$(AUDIT)/venv/bin/pip-audit --strict --no-deps --disable-pip --timeout 30 -r constraints.txt \
		> $(AUDIT)/audit.txt 2> $(AUDIT)/errors.txt; code=$$?; cat $(AUDIT)/audit.txt; \
	if grep -qE 'ConnectionError|ServiceError|HTTPError|not found on PyPI|Traceback' $(AUDIT)/errors.txt; then \
		echo "audit: the database of vulnerabilities at pypi.org did not answer, so nothing was compared;" \
			"$(AUDIT)/errors.txt has the reason; run it again with network access" >&2; exit 1; \
	fi; cat $(AUDIT)/errors.txt >&2; exit $$code

bench: setup
	for name in stickers dataset_speed cross_frame segmenter sticker_segmenter device finetune edit edit_speed evaluate nano; do $(BIN)/python -m benchmarks.$$name || exit 1; done

docs: setup
	$(BIN)/pdoc -o docs/build toolkit attributes tasks

clean:
	rm -rf $(VENV) $(DEMO) docs/build build *.egg-info
