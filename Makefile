# Every target makes the .venv that it needs. PYTHON chooses the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
CORE := .venv/core.done
DEV := .venv/dev.done
DOCS := .venv/docs.done
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PEERS := .venv-peers/done
# The split that `make bench` trains on; docs/results/baselines.md makes the ones of docs/performance.md.
SPLIT ?= data/bench-split
REPEATS ?= 5
RELEASE ?= ../shared/data/dtlns/Sports
TABLES := benchmarks/results

.PHONY: demo test lint docs bench bench-data bench-judging bench-quality clean
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1
export NO_MKDOCS_2_WARNING := 1

demo: $(CORE)
	$(BIN)/hardneg demo

test: $(DEV)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in build/site; a warning is an error.
docs: $(DOCS)
	$(BIN)/mkdocs build --strict --quiet
	@echo "Wrote build/site/index.html"

bench: $(DEV) $(PEERS) $(SPLIT)
	$(BIN)/python benchmarks/epoch.py $(SPLIT) --repeats $(REPEATS) --out $(TABLES)/epoch.md
	$(BIN)/python benchmarks/bandwidth.py $(SPLIT) --repeats $(REPEATS) --out $(TABLES)/bandwidth.md
	$(BIN)/python benchmarks/same_curve.py $(SPLIT) --out $(TABLES)/same_curve.md
	$(BIN)/python benchmarks/peers.py $(SPLIT) --repeats $(REPEATS) --out $(TABLES)/peers.md
	$(BIN)/python benchmarks/products.py $(SPLIT) --out $(TABLES)/products.md

# What serves without a GPU: ten million rows read, a hundred thousand requests against a faulty server, vectors on disk and in
# memory, two item trees of SPLIT and of up to a million items (six processor minutes, 3 GiB).
bench-data: $(DEV) $(SPLIT)
	$(BIN)/python benchmarks/readers.py --out $(TABLES)/readers.md
	$(BIN)/python benchmarks/engine.py --out $(TABLES)/engine.md
	$(BIN)/python benchmarks/storage.py --out $(TABLES)/storage.md
	$(BIN)/python benchmarks/trees.py --split $(SPLIT) --out $(TABLES)/trees.md

# SPLIT has to be Sports, RELEASE the folder of it that DTL-NS published.
bench-judging: $(DEV)
	$(BIN)/python benchmarks/judge_tokens.py $(SPLIT) $(RELEASE)

# Ten trainings to their ends; goes on where it was stopped.
bench-quality: $(DEV) $(PEERS) $(SPLIT)
	$(BIN)/python benchmarks/same_quality.py $(SPLIT)

# Only where no other SPLIT is given: a simulated store.
data/bench-split: | $(DEV)
	$(BIN)/hardneg data simulate --out data/bench-store
	$(BIN)/hardneg data split data/bench-store --out $@

clean:
	rm -rf .venv .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache out

$(CORE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --constraint constraints.txt --editable .
	touch $@

$(DEV): $(CORE)
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	touch $@

$(DOCS): $(CORE)
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	touch $@

$(PEERS): benchmarks/peer_libraries/requirements.txt benchmarks/peer_libraries/patch_recbole.py
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	.venv-peers/bin/python benchmarks/peer_libraries/patch_recbole.py
	touch $@
