# make run     the main job on the starter model (FRESH=1 starts over)
# make check   lint, types and the fast tests
# make test    everything but
# make stress  the campaign of docs/trust.md: hundreds of kills, thousands of malformed inputs
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --disable-pip-version-check -qq --constraint constraints.txt
OUT    ?= runs/starter
BENCH_VENV ?= .venv-bench

# One process a core, each with one thread: two with several threads each would wait for one another.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.PHONY: run test check stress clean
.DELETE_ON_ERROR:

run: $(VENV)/.run
	$(BIN)/linguamap run --out $(OUT) $(if $(FRESH),--fresh)

test: $(VENV)/.test
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m "not stress" --durations 15

check: $(VENV)/.test
	$(MAKE) --no-print-directory lint
	$(PYTEST) -m "not starter and not slow and not stress"

stress: $(VENV)/.test
	LINGUAMAP_STRESS_EXAMPLES=1000 $(BIN)/python -m pytest tests/stress

.PHONY: lint
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first and alone: its pinned build must be there before anything asks for "torch".
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	$(PIP) --editable '.[starter,figures]'
	@touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) --editable '.[starter,figures,identifiers,lcb,endpoint,lora,explore,tensorboard,docs,dev]'
	@touch $@ $(VENV)/.run

# The tools that bench/all.sh measures against, which want other packages than the tests.
$(BENCH_VENV)/.bench: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --disable-pip-version-check -qq --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BENCH_VENV)/bin/pip install --disable-pip-version-check -qq --constraint constraints.txt --editable '.[starter,figures,bench]'
	@touch $@

clean:
	rm -rf $(VENV) runs
