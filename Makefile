# The names that users, contributors and CI call. Each target does all the set-up it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down cluster-up cluster-down test test-unit test-integration test-e2e test-full lint format verify generate bench images clean

CACHE ?= $(or $(GRADATIM_CACHE),$(HOME)/.cache/gradatim)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TOOLS := $(CACHE)/tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
RUN := .venv/bin/
# A compiler beside the tests would take both cores from their deadlines.
PROGRAMS = $(RUN)python -m tests.support.programs
# Both cores first; what failed is run once more alone, because tests of deadlines and killed processes share the machine with a dozen servers.
INTEGRATION = $(RUN)python -m pytest tests/integration -n 2 --dist loadfile || \
  { echo "--- once more, alone: what failed above"; $(RUN)python -m pytest tests/integration --last-failed --last-failed-no-failures none; }
# Needs Linux and root, and says so where it is skipped. The cluster is one, so the tests follow one another.
E2E = $(RUN)python -m pytest tests/e2e
export UV_PYTHON_PREFERENCE := only-system
# Tests and Ray start hundreds of processes; each would compile anew whatever it imports.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv is the only tool installed outside the project's own environment, and only where it is missing.
$(TOOLS)/bin/uv:
	@mkdir -p $(TOOLS)
	$(PYTHON) -m venv $(TOOLS) || $(PYTHON) -m venv --without-pip $(TOOLS)
	$(TOOLS)/bin/python -m pip --version >/dev/null 2>&1 && $(TOOLS)/bin/python -m pip install -q uv \
	  || $(PYTHON) -m pip --python $(TOOLS)/bin/python install -q uv

.venv/.ready: pyproject.toml uv.lock | $(filter-out $(shell command -v uv 2>/dev/null),$(UV))
	$(UV) sync --frozen --python $(PYTHON)
	@touch $@

setup: .venv/.ready ## Make the environment in .venv from the lock file

demo: setup ## Start the local platform, build an index of this documentation, query it
	@docs/examples/quickstart/demo.sh

demo-down: setup ## Stop what `make demo` started and remove its state
	@$(RUN)gradatim down --state $(CACHE)/demo --purge

cluster-up: setup ## Start a real single-node Kubernetes cluster without Docker (Linux, root)
	@$(RUN)gradatim node install-prerequisites
	@$(RUN)gradatim up --node

cluster-down: setup ## Remove what `make cluster-up` started
	@$(RUN)gradatim down --node

test: setup ## Run every tier of tests
	$(RUN)python -m pytest tests/unit
	$(PROGRAMS)
	$(INTEGRATION)
	$(E2E)

test-unit: setup ## Run the unit tests alone
	$(RUN)python -m pytest tests/unit

test-integration: setup ## Run the tests against real servers
	$(PROGRAMS) --without-node
	$(INTEGRATION)

test-e2e: setup ## Run the tests on a real single-node cluster (Linux, root)
	$(E2E)

test-full: setup ## Run everything, the long matrices included
	GRADATIM_TEST_FULL=1 $(RUN)python -m pytest tests/unit tests/integration tests/e2e

lint: setup ## Formatting, lint, types and layer contracts
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports

format: setup ## Apply formatting and safe fixes
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

generate: setup ## Regenerate CRDs, reference documentation and golden files
	$(RUN)python -m gradatim.api.generate
	$(RUN)python -m gradatim.cli.reference
	$(RUN)python -m gradatim.platform.chart
	$(RUN)python -m tests.support.gitops_files

verify: setup ## Fail when anything generated, or the lock file, is out of date
	$(UV) lock --check
	$(RUN)python -m gradatim.api.generate --check
	$(RUN)python -m gradatim.cli.reference --check
	$(RUN)python -m gradatim.platform.chart --check

bench: .venv/.ready ## Run the benchmarks against the peers; JSON in tests/benchmarks/results
	$(UV) sync --frozen --python $(PYTHON) --group bench
	$(RUN)python -m tests.benchmarks

IMAGES ?= operator index
IMAGE_FLAGS ?=
images: setup ## Build the container images without Docker (Linux, as root); IMAGES=operator, IMAGE_FLAGS=--cpu-only
	$(RUN)python -m gradatim.platform.images build $(IMAGES) --out $(CACHE)/images/out $(IMAGE_FLAGS)
	$(RUN)python -m gradatim.platform.images list --out $(CACHE)/images/out

clean: ## Remove the environment and caches of this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
