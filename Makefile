# Everything a newcomer, CI and a release need. Nothing but Python >= 3.11 is assumed.
#   make run            the gateway, with simulated vendors when there is no provider key
#   make test           every test, against a real PostgreSQL from a wheel
#   make test-browser   the dashboard in Debian's chromium, which it installs where it may
#   make check          formatting, lint, types, import contracts, licences of the lock
#   make check-container  the container files, linted and carried out in a bare environment
#   make bench          what the gateway costs a request, beside LiteLLM's proxy (about ten minutes)
#   make audit          known vulnerabilities of the locked dependencies, asked of PyPI's advisories
#   make lock           re-pins every dependency with hashes
#   make prices         refreshes the pinned price catalogue from the installed litellm and prints the differences

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := check-all

VENV ?= .venv
BENCH_VENV := .venv-bench
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3 python,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := $(VENV)/bin
# An account without a writable home has nowhere to keep a cache.
UV := $(BIN)/uv $(shell test -w "$${HOME:-/nonexistent}" || echo --no-cache)
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet
TEST_FLAGS ?=
BENCH_FLAGS ?=

# `make run PORT=8099 POLICY=x.yaml`: flags win over the environment.
RUN_FLAGS := $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(POLICY),--policy $(POLICY)) $(if $(WORKERS),--workers $(WORKERS))

export LITELLM_LOCAL_MODEL_COST_MAP := True

.PHONY: audit check-container run test test-browser check check-all bench lock prices wheel clean

check-all: check test

$(BIN)/uv: requirements-build.lock
	@test -n "$(PYTHON)" || { echo "Tollgate needs Python 3.11 or newer: none was found on PATH" >&2; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@touch $@

$(VENV)/.run: $(BIN)/uv requirements.lock pyproject.toml
	@test $(VENV)/.dev -nt requirements-dev.lock || $(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(BIN)/uv requirements-dev.lock pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

run: $(VENV)/.run
	@exec $(BIN)/tollgate serve $(RUN_FLAGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not browser" $(TEST_FLAGS)

# A browser is a system package: root gets it here, anybody else is told how. Never skipped.
test-browser: $(VENV)/.dev
	@test -n "$${CHROMIUM:-$$(command -v chromium chromium-browser google-chrome-stable google-chrome | head -n 1)}" \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing Debian's chromium" \
	     && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	|| { echo "make test-browser: there is no chromium, and it cannot be installed here: as root run 'apt-get install chromium', or say CHROMIUM=/path/to/one" >&2; exit 3; }
	$(BIN)/python -m pytest -m browser tests/browser $(TEST_FLAGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict policies compose.yaml
	$(BIN)/python scripts/check_house.py

check-container: $(VENV)/.dev
	$(BIN)/python scripts/check_container.py

# The peer has an environment of its own: what it needs must not decide what the product runs with.
$(BENCH_VENV)/.ready: $(BIN)/uv requirements-bench.lock
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(UV) pip install --quiet --python $(BENCH_VENV)/bin/python --require-hashes -r requirements-bench.lock
	@touch $@

bench: $(VENV)/.run $(BENCH_VENV)/.ready
	$(BIN)/python -m benchmarks overhead --out benchmarks/results/overhead.json $(BENCH_FLAGS)

wheel: $(VENV)/.dev
	$(UV) build --wheel --no-build-isolation --python $(BIN)/python --out-dir dist

audit: $(VENV)/.dev
	$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip --progress-spinner off

lock: $(BIN)/uv
	$(COMPILE) -o requirements.lock
	$(COMPILE) --group dev -o requirements-dev.lock
	$(COMPILE) --group bench -o requirements-bench.lock
	$(BIN)/uv pip compile --group pyproject.toml:build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements-build.lock

prices: $(VENV)/.dev
	$(BIN)/python scripts/refresh_prices.py

clean:
	rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
