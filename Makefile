# `make demo` and `make test` need Python 3.11 or 3.12 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install demo test check lint types layers doctest clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "Python 3.11 or 3.12 is needed (pyranges is not built for newer ones yet);" \
		"name it with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	@touch $@

# the whole way on simulated data: sources, store, checks, model, scores, report
demo: $(STAMP)
	rm -rf $(DEMO)
	mkdir $(DEMO)
	$(BIN)/mfdstore simulate --out $(DEMO)/sources --seed 1
	$(BIN)/mfdstore build --genome simulated --fasta $(DEMO)/sources/genome.fa.gz --peaks $(DEMO)/sources/peaks \
		--metadata $(DEMO)/sources/metadata.tsv --report $(DEMO)/sources/experiment_report.tsv \
		--blacklist $(DEMO)/sources/blacklist.bed.gz --split-valid chr5 --split-test chr6 --out $(DEMO)/encode.zarr
	$(BIN)/mfdstore verify $(DEMO)/encode.zarr --deep --peaks $(DEMO)/sources/peaks --fasta $(DEMO)/sources/genome.fa.gz \
		--blacklist $(DEMO)/sources/blacklist.bed.gz
	$(BIN)/mfdmodel train --store $(DEMO)/encode.zarr --out $(DEMO)/run --preset demo --seed 1
	$(BIN)/mfdmodel evaluate $(DEMO)/run --split test
	$(BIN)/mfdmodel independence $(DEMO)/run --split test
	$(BIN)/mfdmodel report $(DEMO)/run --truth $(DEMO)/sources/truth
	@echo "Open $(DEMO)/run/report.html in a browser."

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

doctest: $(STAMP)
	$(BIN)/python -m pytest --doctest-modules mfdstore mfdmodel

check: lint types layers doctest test

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
