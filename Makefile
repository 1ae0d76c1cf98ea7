# The doors of the project. `make up` and `make test` do all their own set-up on a clean machine.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
TELEMETRY := .venv/bin/telemetry
UV_COMPILE = .venv-test/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

.PHONY: help up down test lint format bench render contracts local lock collector-sources pin-images clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/run ## Collector and ClickHouse as plain processes on this machine, checked
	@$(TELEMETRY) up

down: ## Stop them; data stays
	@if [ -x $(TELEMETRY) ]; then $(TELEMETRY) down; else echo "Nothing ran."; fi

local: .venv/run .venv-pulumi/installed ## The same as Docker resources: `pulumi up -s local`
	@.venv/bin/python -m scripts.local

test: .venv/run .venv-test/installed ## Everything that can be checked, with the real programs
	@.venv-test/bin/python -m scripts.check

lint: .venv-test/installed ## ruff, mypy, yamllint, shellcheck, rendered files
	@.venv-test/bin/python -m scripts.check --lint

format: .venv-test/installed ## Let ruff lay out the code
	@.venv-test/bin/ruff check --fix -q . ; .venv-test/bin/ruff format -q .

bench: .venv/run .venv-test/installed ## Measure, into benchmarks/RESULTS.md
	@.venv-test/bin/python -m benchmarks $(BENCH)

render: .venv/run ## Write what is rendered from the settings and kept in git
	@.venv/bin/python -m scripts.render

contracts: .venv/run .venv-test/installed ## Write contracts/ from a database made for it
	@.venv-test/bin/python -m tests.contracts

lock: .venv-test/installed ## Newest versions of all dependencies, pinned by hash
	$(UV_COMPILE) --upgrade requirements/run.in -o requirements/run.txt
	$(UV_COMPILE) --upgrade requirements/dev.in -o requirements/dev.txt
	$(UV_COMPILE) --upgrade requirements/pulumi.in -o requirements.txt
	sh toolchain/clickhouse/lock.sh
	cd toolchain/client && npm install --package-lock-only --ignore-scripts --loglevel=error

collector-sources: ## Sources of the collector, from toolchain/collector/builder.yaml
	sh toolchain/collector/generate.sh

pin-images: .venv/run ## Digests of the images, on a machine that reaches a registry
	@.venv/bin/python -m scripts.pin_images

clean: ## Remove what was built; state and data stay
	rm -rf build .venv .venv-pulumi .venv-test

# Each environment is made anew when its lock changes.
.venv/run: requirements/run.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh toolchain/preflight.sh
	@echo "Making .venv ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@.venv/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-test/installed: requirements/dev.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh toolchain/preflight.sh
	@echo "Making .venv-test ..."
	@$(PYTHON) -m venv .venv-test
	@.venv-test/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.venv-pulumi/installed: requirements.txt
	@PYTHON="$(PYTHON)" sh toolchain/preflight.sh
	@echo "Making .venv-pulumi ..."
	@$(PYTHON) -m venv .venv-pulumi
	@.venv-pulumi/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@
