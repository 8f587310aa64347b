# Everything here runs in a virtual environment that make builds itself: VENV=path chooses where, PYTHON=path from what.

VENV   ?= .venv
PYTHON ?= python3

# Where an environment has its programs: Windows has a folder of its own for that.
IN      := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN     := $(VENV)/$(IN)
PIP     := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CLIENTS ?= .venv-clients
ALL     := dev,docs,torch,ort,hf,batch,ray,optimizers
OLDEST  ?= .venv-oldest
NEWEST  ?= .venv-newest
NEWEST_TORCH ?= 2.13.0
OLDEST_TORCH ?=
PYTHONS ?= $(shell for v in 3.11 3.12 3.13 3.14; do if python$$v -c pass 2>/dev/null; then echo python$$v; fi; done)
# What needs neither torch nor a tool: reader, writer, passes, analysis, views, and everything that is fuzzed.
ENGINE  := tests/ir tests/passes tests/analysis tests/views tests/cases tests/fuzz
CLIENT_PIP := $(CLIENTS)/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints-clients.txt
PYTEST  ?= -q -n 2 --dist loadfile
SLOW    ?= -q -n 2 --dist loadgroup
# Any environment that has the tools will do, such as an editable install of your own: then nothing is installed.
EDITABLE := $(shell $(BIN)/python -c "import importlib.metadata as m, json; \
  print('yes' if json.loads(m.distribution('modelexport').read_text('direct_url.json') or '{}') \
  .get('dir_info', {}).get('editable') else '')" 2>/dev/null)
TOOLS   := $(if $(and $(wildcard $(BIN)/mypy $(BIN)/mypy.exe),$(if $(wildcard $(VENV)/.made),,theirs)),,$(VENV)/.dev)
CURRENT := $(if $(EDITABLE),,$(VENV)/.package)
SOURCES := pyproject.toml README.md $(shell find analysis api cli frontend ir passes views -type f -not -name '*.pyc')
# One point under the share of lines and branches that was measured; what tests run in processes of their own is not counted.
BOUND   ?= 92
COVERED := --cov=modelexport --cov-branch --cov-fail-under=$(BOUND)
FUZZ    ?= 1000

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo dev test test-slow test-oldest test-newest test-pythons test-clients browser lint types bench bench-hard fuzz coverage mutants docs links site release-check clean

help: ## Show this list
	@echo "usage: make <target> [VENV=$(VENV)] [PYTHON=$(PYTHON)]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(if $(EDITABLE),,$(VENV)/.demo) $(CURRENT) ## Export a small model, show which module every operator is from, write a page
	$(BIN)/modelexport demo

LOOKERS  := chromium chromedriver dot
PACKAGES := chromium chromium-driver graphviz

browser: ## Install what the tests of pictures want (Chromium, Graphviz), where apt-get and root are there
	@for tool in $(LOOKERS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then echo "there already: $(LOOKERS)"; \
	elif ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then \
	  echo "not there:$$missing (the tests that want them are skipped; apt-get or root is missing to install them)"; \
	elif apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES) >/dev/null; then \
	  echo "installed: $(PACKAGES)"; \
	else echo "could not install $(PACKAGES): the tests that want them are skipped"; fi

dev: $(VENV)/.torch ## Make an editable install with every tool; again after adding files (2 to 10 minutes, then 10 s)
	$(PIP) --no-build-isolation --config-settings editable_mode=strict -e '.[$(ALL)]'

test: lint types ## Check style and types, then run all tests and hold their branch coverage against a bound (7 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST) $(COVERED) --cov-report=

test-clients: $(CLIENTS)/.package ## Run programs of other packages under modelexport run, in an environment of their own
	MODELEXPORT_TEST_CLIENTS=1 OMP_NUM_THREADS=1 $(CLIENTS)/$(IN)/python -m pytest -q tests/packages

test-slow: $(TOOLS) $(CURRENT) ## Run the tests that take minutes (all architectures, clusters, hard use), then test-oldest and test-newest (20 min)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SLOW) -m slow
	$(MAKE) test-oldest
	$(MAKE) test-newest

test-oldest: ## Run the tests of all but torch with the oldest supported versions, in an environment of their own
	@if [ -e $(OLDEST) ] && [ ! -f $(OLDEST)/.made ]; then echo "$(OLDEST) was not made by this Makefile: choose another with OLDEST=path" >&2; exit 2; fi
	$(PYTHON) -m venv $(OLDEST)
	@touch $(OLDEST)/.made
	rm -rf build/lib
	$(OLDEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints-oldest.txt setuptools pytest pytest-xdist hypothesis jsonschema '.[ort]'
	$(OLDEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall .
	OMP_NUM_THREADS=1 $(OLDEST)/$(IN)/python -m pytest $(PYTEST) $(ENGINE)
	$(if $(OLDEST_TORCH),$(OLDEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints-oldest.txt torch==$(OLDEST_TORCH) onnxscript transformers)
	$(if $(OLDEST_TORCH),OMP_NUM_THREADS=1 $(OLDEST)/$(IN)/python -m pytest $(PYTEST) tests/frontend)

test-newest: ## Run the tests with the newest versions, torch included, in an environment of their own
	@if [ -e $(NEWEST) ] && [ ! -f $(NEWEST)/.made ]; then echo "$(NEWEST) was not made by this Makefile: choose another with NEWEST=path" >&2; exit 2; fi
	$(PYTHON) -m venv $(NEWEST)
	@touch $(NEWEST)/.made
	rm -rf build/lib
	$(NEWEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints-newest.txt setuptools torch==$(NEWEST_TORCH)
	$(NEWEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints-newest.txt '.[dev,torch,ort,hf,batch,optimizers]'
	$(NEWEST)/$(IN)/python -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall .
	OMP_NUM_THREADS=1 $(NEWEST)/$(IN)/python -m pytest $(PYTEST) tests --ignore=tests/docs --ignore=tests/project

test-pythons: ## Run the tests of all but torch on every supported Python that is there, in environments of their own
	rm -rf build/lib
	@for python in $(PYTHONS); do echo "== $$python"; venv=build/pythons/$$python; \
	  $$python -m venv $$venv && \
	  $$venv/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt setuptools pytest pytest-xdist hypothesis jsonschema '.[ort]' && \
	  $$venv/$(IN)/python -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall . && \
	  OMP_NUM_THREADS=1 $$venv/$(IN)/python -m pytest $(PYTEST) $(ENGINE) || exit 1; done

lint: $(TOOLS) ## Check style with ruff (1 s)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TOOLS) $(CURRENT) ## Check types with mypy, on the installed package (1 min, then 5 s)
	$(BIN)/mypy -p modelexport

bench: $(TOOLS) $(CURRENT) ## Measure speed and memory against reading and writing the same file
	$(BIN)/python bench/speed.py

coverage: $(TOOLS) $(CURRENT) ## Run the tests, and list the lines and branches that none of them runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST) $(COVERED) --cov-report=term-missing:skip-covered

fuzz: $(TOOLS) $(CURRENT) ## Read damaged files and texts of every kind, FUZZ=1000 of each (10 min); what it finds goes to tests/corpus
	MODELEXPORT_FUZZ_EXAMPLES=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 tests/fuzz

mutants: $(TOOLS) $(CURRENT) ## Break the code on purpose, one place at a time, and see the tests notice (10 min)
	$(BIN)/python bench/mutants.py

bench-hard: $(TOOLS) $(CURRENT) ## Measure what is hard: a million nodes, 20 GB of weights, deep and wide graphs
	$(BIN)/python bench/hard_use.py

docs: $(TOOLS) $(CURRENT) ## Write docs/passes from the passes themselves, and draw docs/pictures (40 s)
	$(BIN)/python docs/generate_passes.py
	$(BIN)/python docs/generate_pass_pictures.py
	$(BIN)/python docs/generate_compute_pictures.py
	@if command -v chromium chromedriver >/dev/null; then $(BIN)/python docs/generate_page_pictures.py; fi

site: $(VENV)/.dev $(VENV)/.package ## Build the documentation site into build/site; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/site
	@echo "build/site/index.html"

release-check: $(VENV)/.dev ## Build sdist and wheel, check them, and run the demo from the wheel in a fresh environment
	rm -rf build/release && mkdir -p build/release
	$(BIN)/python -m build --no-isolation --outdir build/release .
	$(BIN)/python -m twine check --strict build/release/*
	$(PYTHON) -m venv build/release/venv
	build/release/venv/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt setuptools torch
	build/release/venv/$(IN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt "$$(ls build/release/*.whl)[torch]"
	cd build/release && venv/$(IN)/modelexport demo && venv/$(IN)/modelexport --version

links: ## Lay build/links, the tree of links that editors and pyright read (1 s)
	@rm -rf build/links && mkdir -p build/links/modelexport
	@cd build/links/modelexport && for entry in ../../../api/*; do ln -s $$entry; done
	@cd build/links/modelexport && for room in ir passes analysis views frontend cli; do ln -s ../../../$$room; done
	@echo "build/links: open files from there, or run pyright"

clean: ## Remove what make made, the virtual environment included
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis modelexport-demo
	@if [ -f $(VENV)/.made ]; then rm -rf $(VENV); fi
	@if [ -f $(CLIENTS)/.made ]; then rm -rf $(CLIENTS); fi
	@if [ -f $(OLDEST)/.made ]; then rm -rf $(OLDEST); fi
	@if [ -f $(NEWEST)/.made ]; then rm -rf $(NEWEST); fi

# A virtual environment that make did not make may hold somebody's editable install: leave it alone.
$(VENV)/.made:
	@if [ -e $(VENV) ]; then echo "$(VENV) was not made by this Makefile: choose another with VENV=path" >&2; exit 2; fi
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch is by far the largest: installed alone and first, nothing after it can ask for another build of it.
$(VENV)/.torch: constraints.txt | $(VENV)/.made
	$(PIP) setuptools torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) --no-build-isolation '.[torch]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) --no-build-isolation '.[$(ALL)]'
	@touch $@

# Not editable: type checkers don't see an editable package-dir, and tests should see what users get.
# build/lib is removed since setuptools would ship modules that were deleted since the last build.
$(VENV)/.package: $(VENV)/.torch $(SOURCES)
	rm -rf build/lib
	$(PIP) --no-build-isolation --no-deps --force-reinstall .
	@touch $@

# These packages need other versions of each other than ours. torchvision's own dependencies would replace torch.
$(CLIENTS)/.packages: constraints-clients.txt
	@if [ -e $(CLIENTS) ] && [ ! -f $(CLIENTS)/.made ]; then echo "$(CLIENTS) was not made by this Makefile: choose another with CLIENTS=path" >&2; exit 2; fi
	$(PYTHON) -m venv $(CLIENTS)
	@touch $(CLIENTS)/.made
	$(CLIENT_PIP) setuptools torch
	$(CLIENT_PIP) --no-deps torchvision
	$(CLIENT_PIP) optimum-onnx timm ultralytics onnxslim onnxruntime onnxscript pytest
	@touch $@

$(CLIENTS)/.package: $(CLIENTS)/.packages $(SOURCES)
	rm -rf build/lib
	$(CLIENT_PIP) --no-build-isolation .
	$(CLIENT_PIP) --no-build-isolation --no-deps --force-reinstall .
	@touch $@
