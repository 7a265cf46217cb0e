# Everything a person does with this repository. Bare `make` lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --quiet
BUF := $(BIN)/buf
UV ?= uv
# Tried in this order; the first that is 3.11 or newer and can make virtual environments is taken.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
# A second copy of the protos, where generated code is made anew to compare it with the committed one.
FRESH := .build/fresh
FRESH_DESCRIPTORS := $(FRESH)/.build/kawaii.binpb
LOCK := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml

.PHONY: help up test check chaos fleet fuzz mutants image protos release-protos lock audit bench format hooks clean

help: ## List these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: $(VENV)/.runtime ## Start the whole stack on this machine; Ctrl-C stops it.
	@$(BIN)/python -m deploy.cli.main up

# What starts whole stacks, or test runs of its own, or takes long; about as long as all other tests, so that two cores end together.
STACKS := tests/chaos tests/e2e tests/deploy tests/mutants tests/storage/hostile
# Thirteen processes that answer within their deadlines need both cores.
ALONE := tests/fleet

test: check ## Check everything, then run all tests: those of whole stacks beside the others.
	@echo "Running the tests in two halves at once, then the fleet; what the stacks' half prints follows the other's."
	@mkdir -p .build; $(BIN)/python -m pytest $(STACKS) >.build/stacks.log 2>&1 & stacks=$$!; \
	trap 'kill $$stacks; exit 1' INT TERM; \
	$(BIN)/python -m pytest $(STACKS:%=--ignore=%) $(ALONE:%=--ignore=%); others=$$?; \
	wait $$stacks; status=$$?; cat .build/stacks.log; \
	$(BIN)/python -m pytest $(ALONE); alone=$$?; exit $$((others | status | alone))

check: $(VENV)/.dev ## Check format, lint, types, import arrows and protos.
	@echo "Checking format and lint (ruff)."
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@echo "Checking types (mypy)."
	@$(BIN)/mypy --no-error-summary
	@echo "Checking import arrows (import-linter)."
	@report=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$report"; exit 1; }
	@echo "Checking protos (fresh code, buf lint, format, breaking)."
	@rm -rf $(FRESH) && mkdir -p $(FRESH) && cp -R protos $(FRESH)/
	@report=$$(PYTHON="$(CURDIR)/$(BIN)/python" sh $(FRESH)/protos/generate.sh 2>&1) || { echo "$$report"; exit 1; }
	@diff -r -x __pycache__ protos/gen $(FRESH)/protos/gen >/dev/null \
	  || { echo "protos/gen is not what the protos say: run make protos and commit it." >&2; exit 1; }
	@$(BUF) lint $(FRESH_DESCRIPTORS) --config protos/buf.yaml
	@$(BUF) format --diff --exit-code protos
	@$(BUF) breaking $(FRESH_DESCRIPTORS) --against protos/released.binpb --config protos/buf.yaml

chaos: $(VENV)/.dev ## Run stacks under faults for an hour: random ones, injections, every failpoint, bad webhooks, likes (CHAOS_SEED replays).
	@$(BIN)/python -m tests.chaos.generations --generations 2000 --kills 500 --hits 10 $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.generations --postgres --generations 500 --kills 125 $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.injections $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.failpoint_matrix $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.failpoint_matrix --commits $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.webhook_flood $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.artworks $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))
	@$(BIN)/python -m tests.chaos.likes $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

fleet: $(VENV)/.dev ## Do to two of each process, on hosts of their own, what can happen to machines (root; FLEET_SEED replays).
	@$(BIN)/python -m tests.fleet.main

fuzz: $(VENV)/.dev ## Throw 5,000 cases at a stack, made from the OpenAPI description (FUZZ_SEED replays).
	@$(BIN)/python -m tests.e2e.contract.fuzz --cases 5000 $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

mutants: $(VENV)/.dev ## Change 300 lines, one at a time, and list what no test notices (MUTANTS_SEED replays).
	@$(BIN)/python -m tests.mutants.run --sample 300 $(if $(MUTANTS_SEED),--seed $(MUTANTS_SEED))

image: ## Build the image of deploy/container and boot each process of it (root; needs buildah and mmdebstrap).
	@sh deploy/container/build.sh

protos: $(VENV)/.dev ## Generate protos/gen from the protos.
	@sh protos/generate.sh
	@echo "protos/gen is up to date."

release-protos: protos ## Make the present protos the promise that later ones may not break.
	@cp .build/kawaii.binpb protos/released.binpb
	@echo "protos/released.binpb is the present contract; commit it with the release."

lock: ## Resolve pyproject.toml anew into the lock files (needs uv).
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@echo "Resolving the runtime packages."
	@$(LOCK) --group build -o requirements.lock
	@echo "Resolving the development packages."
	@$(LOCK) --group dev -o requirements-dev.lock

audit: $(VENV)/.dev ## Look every pinned package up among PyPI's advisories.
	@$(BIN)/python -m deploy.audit requirements.lock requirements-dev.lock

bench: $(VENV)/.dev ## Run the benchmarks and print their tables.
	@missed=; for program in bench/[a-z]*.py; do echo "$$program"; $(BIN)/python "$$program" || missed="$$missed $$program"; done; \
	[ -z "$$missed" ] || { echo "These failed, or missed a ratio that they want:$$missed" >&2; exit 1; }

format: $(VENV)/.dev ## Format the code and the protos.
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@$(BUF) format -w protos

hooks: $(VENV)/.dev ## Run the checks before each commit.
	@$(BIN)/pre-commit install

clean: ## Remove what can be made again; keeps .venv and the data.
	@rm -rf .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find deploy gateway services protos tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: written last, so an interrupted installation is taken up again.
$(VENV)/.created:
	@bare=; for python in $(PYTHON); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || { bare="$$bare $$python"; continue; }; \
	  echo "Creating $(VENV) with $$("$$python" --version)."; \
	  "$$python" -m venv $(VENV) && touch $@; exit; \
	done; \
	if [ -n "$$bare" ]; then echo "Python is here ($$bare ) but cannot make virtual environments: apt-get install python3-venv"; \
	else echo "kawaii needs Python 3.11 or newer; install it, or name it: make PYTHON=path/to/python"; fi >&2; exit 1

$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/.created
	@echo "Installing the pinned packages into $(VENV); the first time this takes up to a minute."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@PYTHONNODEBUGRANGES=1 $(BIN)/python -OO -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "Installing the pinned development tools into $(VENV)."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
