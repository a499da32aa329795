.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEBIAN := festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts flite espeak-ng fluidsynth timgm6mb-soundfont chromium chromium-driver

# Peers whose own requirements would replace torch; their needs are in the `peers` extra.
PEERS_ALONE := melband-roformer-infer==0.1.5 geoclip==1.3.0 islp==0.6.0 ctgan==0.12.1 rdt==2.0.0 Faker==40.54.0 clearvoice==0.1.2 pycocoevalcap==1.2

.PHONY: help demo test lint types docs verify bench web report fuzz slow clean
help: ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/demo.done ## Install what the tour needs and take it: writes demo/index.html
	$(BIN)/harmonia demo

test: $(VENV)/test.done debian lint types ## Install everything and run lint, types, import contracts, docs and the quick tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not gpu"
	$(BIN)/python -m harmonia.app.docs --strict
	$(BIN)/harmonia verify --tier quick --no-record

lint: $(VENV)/test.done ## Style and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/test.done ## Static types
	$(BIN)/mypy

slow: $(VENV)/test.done debian ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

fuzz: $(VENV)/test.done ## Feed 10,000 broken files to every reader
	FUZZ_FILES=10000 $(BIN)/python -m pytest tests/fuzz -m ""

docs: $(VENV)/test.done ## Build the site into site/
	$(BIN)/python -m harmonia.app.docs --strict

verify: $(VENV)/test.done debian ## Measure every claim that two cores afford and record it in results/
	$(BIN)/harmonia verify --tier full

bench: $(VENV)/test.done ## Race the peers and record the ratios in results/
	$(BIN)/harmonia bench

web: $(VENV)/test.done ## Open the web page on http://127.0.0.1:7860
	$(BIN)/harmonia serve

report: $(VENV)/test.done ## One HTML page over all results, and the README's table
	$(BIN)/harmonia report --readme

clean: ## Remove what the other commands made
	rm -rf $(VENV) .bench demo site report.html build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

$(VENV)/demo.done: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[demo]'
	@touch $@

$(VENV)/test.done: pyproject.toml Makefile | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[demo,song,chords,forecasting,video,graphs,render,web,scale,peers,dev]'
	$(BIN)/python -m pip install -q --no-deps $(PEERS_ALONE)
	@touch $@ $(VENV)/demo.done

# What tests need from Debian: installed where we may, named where we may not.
.PHONY: debian
debian:
	@missing=$$(for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || printf ' %s' $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "Some tests need Debian packages and will be skipped. Run: apt-get install$$missing"; fi; \
	fi
