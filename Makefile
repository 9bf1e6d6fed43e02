# What a developer and CI run. Docker is used where an engine answers; nothing here needs it.
# Settings are environment variables, docs/settings-parity.md; VENV is the virtual environment.
VENV ?= .venv
PYTHON = $(VENV)/bin/python
export VENV
export PATH := $(abspath $(VENV))/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help venv up dev down logs status urls check mutants test lint types unit backends test-tools format bench simulate lock deploy-gpu devcontainer-test

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

venv: ## the virtual environment: Python 3.11, pinned and hashed requirements, ffmpeg where PATH has none
	@scripts/venv $(VENV)

up: ## start the whole stack and print its addresses
	@scripts/stack up

dev: ## the same stack, with the app served from the working tree: an edit is answered by the new code (DEV=--debug)
	@scripts/stack dev $(DEV)

down: ## stop it; what R2 holds is kept
	@scripts/stack down

logs: ## follow the logs of every part
	@scripts/stack logs --follow

status: ## what runs and how healthy it is
	@scripts/stack status

urls: ## the addresses again
	@scripts/stack urls

check: ## run the checks against the stack that is up
	@scripts/stack run-checks

mutants: ## put mistakes into the backend, one at a time, and say which the checks notice (MUTANTS="-k cors")
	@scripts/stack run-checks --mutants src/checks/mutants.py $(MUTANTS)

test: ## everything: lint, types, tests, then the checks on a fresh stack
	@scripts/test

lint: venv ## ruff: rules and format
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

format: venv ## put the format right
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

types: venv ## mypy, strict
	@$(VENV)/bin/mypy

unit: venv ## unit and integration tests (PYTEST_ARGS="tests/fly -k edge")
	@$(VENV)/bin/pytest $(PYTEST_ARGS)

backends: venv ## every check on the foreign backends of tests/backends, and each of their mistakes: half an hour
	@BACKENDS=all $(VENV)/bin/pytest tests/backends

test-tools: venv ## what tests run of others: S3 clients in four languages, node, versitygw; kept in ~/.cache/parity
	@$(PYTHON) -m tests.tools

bench: venv ## numbers with their conditions: replication to R2, the R2 stand-in (BENCH="replication --only write")
	@PYTHONPATH=src $(PYTHON) -m parity bench $(BENCH)

simulate: venv ## play seeds of the replication protocol's simulation (SEEDS=10000 FIRST=0 UPGRADE=1)
	@PYTHONPATH=src:src/backend:. $(PYTHON) -m tests.backend.replication.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) $(if $(UPGRADE),--upgrade)

lock: ## compile the requirements files anew (needs uv on PATH)
	@command -v uv >/dev/null || { echo "ERROR: uv is not on PATH; pip install uv" >&2; exit 1; }
	@requirements/lock.sh

deploy-gpu: venv ## deploy the GPU functions to the real Modal, with the account of ~/.modal.toml
	@$(PYTHON) scripts/deploy_gpu.py

devcontainer-test: venv ## open a fresh clone in the dev container with its CLI and try what docs/devcontainer.md promises
	@scripts/devcontainer-test
