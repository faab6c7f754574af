# One entry for everything. `make` alone prints this list.
# Every target sets itself up; on a fresh Debian machine, as root, it installs the system packages it needs too.
SHELL := /bin/bash
PY := .venv/bin/python
STORE ?=
SEEDS ?= 2000
SEED ?=
export PYTHONDONTWRITEBYTECODE ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-tail lint types bench bench-smoke bench-peers sim docs clean lock

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## make .venv with headrace in it

.venv/.ready: requirements.lock pyproject.toml scripts/setup
	@scripts/setup

demo: setup ## run the weather example, live (STORE=postgresql://… runs it on PostgreSQL)
	@scripts/demo $(STORE)

test: setup ## the test suite (under 15 minutes on 2 cores)
	@scripts/services
	@$(PY) scripts/run_tests.py

test-tail: setup ## the long rest: sizes and counts that take their time
	@scripts/services
	@$(PY) scripts/run_tests.py --tail

lint: setup ## ruff, import rules
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/lint-imports

types: setup ## mypy --strict
	@.venv/bin/mypy

bench: setup ## the table of numbers, ours beside the peers that are installed
	@$(PY) bench/run.py

bench-smoke: setup ## every row of the table and every installed peer once, as small as can be
	@$(PY) bench/run.py --tiny --rounds 1 --out var/bench-smoke

bench-peers: setup ## install the peers to measure beside
	@scripts/bench-peers

sim: setup ## simulate: SEEDS=n runs n seeds, SEED=k repeats one
	@$(PY) -m headrace.testing.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

docs: setup ## write the generated parts of the reference again
	@$(PY) scripts/generate_docs.py

lock: setup ## compile requirements.lock (hashes, no hosts)
	@scripts/lock

clean: ## remove what setup and tests made
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
