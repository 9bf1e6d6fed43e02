# Commands for developers and CI. All work without Docker, and use it if an engine answers.
# Settings are environment variables (docs/settings-parity.md). VENV is the virtual environment.
VENV ?= .venv
PYTHON = $(VENV)/bin/python
export VENV
export PATH := $(abspath $(VENV))/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help venv up dev down logs status urls check mutants test lint types unit backends test-tools format bench simulate lock deploy-gpu devcontainer-test

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

venv: ## create the virtual environment: Python 3.11, pinned requirements, ffmpeg if it is not on PATH
	@scripts/venv $(VENV)

up: ## start the whole stack and print its addresses
	@scripts/stack up

dev: ## run the stack with the app from the working tree, restarted after each edit (DEV=--debug)
	@scripts/stack dev $(DEV)

down: ## stop the stack; the data of R2 is kept
	@scripts/stack down

logs: ## follow the logs of every part
	@scripts/stack logs --follow

status: ## show the health of each part and each Machine
	@scripts/stack status

urls: ## print the addresses of the stack
	@scripts/stack urls

check: ## run the checks against the running stack
	@scripts/stack run-checks

mutants: ## put mistakes into the backend, one at a time, and show which ones the checks find (MUTANTS="-k cors")
	@scripts/stack run-checks --mutants src/checks/mutants.py $(MUTANTS)

test: ## run everything: lint, types, tests, then the checks on a new stack
	@scripts/test

lint: venv ## run ruff: rules and format
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

format: venv ## fix the format and what ruff can fix
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

types: venv ## run mypy in strict mode
	@$(VENV)/bin/mypy

unit: venv ## run unit and integration tests (PYTEST_ARGS="tests/parity/fly -k edge")
	@$(VENV)/bin/pytest $(PYTEST_ARGS)

backends: venv ## run the checks on the backends of tests/backends and on each of their mistakes (half an hour)
	@BACKENDS=all $(VENV)/bin/pytest tests/backends

test-tools: venv ## install programs that tests need into ~/.cache/parity: S3 clients in four languages, node, versitygw
	@$(PYTHON) -m tests.tools

bench: venv ## run the benchmarks: replication, R2 stand-in, edge (BENCH="replication --only write")
	@PYTHONPATH=src $(PYTHON) -m parity bench $(BENCH)

simulate: venv ## run seeds of the replication protocol's simulation (SEEDS=10000 FIRST=0 UPGRADE=1)
	@PYTHONPATH=src:src/backend:. $(PYTHON) -m tests.backend.replication.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) $(if $(UPGRADE),--upgrade)

lock: ## compile the requirements files again (needs uv on PATH)
	@command -v uv >/dev/null || { echo "ERROR: uv is not on PATH; pip install uv" >&2; exit 1; }
	@requirements/lock.sh

deploy-gpu: venv ## deploy the GPU functions to Modal, with the account of ~/.modal.toml
	@$(PYTHON) scripts/deploy_gpu.py

devcontainer-test: venv ## open a fresh clone in the dev container and test what docs/devcontainer.md promises
	@scripts/devcontainer-test
