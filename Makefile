# Plain `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
PORT ?= 8081

DEV := .venv/dev
AUDIT := .venv/audit
CLIENTS := .venv/clients
BATCH := .venv/batch
TRAINED := $(patsubst models/%/train.py,%,$(wildcard models/*/train.py))

.PHONY: help serve demo setup test clients-test batch-test lint lock audit bench soak clean $(TRAINED:%=train-%)

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@for name in $(TRAINED); do printf '  make train-%-9s  Train this model (see models/%s/README.md)\n' $$name $$name; done

serve: ## Serve the functions on this machine (ONLY=name,name PORT=8081)
	@$(PYTHON) -m dev.serve --port $(PORT) --only '$(ONLY)'

demo: ## Send a few calls to the functions that make serve runs, and print the answers (ONLY, PORT)
	@$(PYTHON) -m dev.demo --port $(PORT) --only '$(ONLY)'

setup: $(DEV)/installed ## Install what tests, training and publishing need (once, some minutes)
	@echo 'ready: .venv/dev/bin/python, or ". .venv/dev/bin/activate" to have it as python'

test: $(DEV)/installed ## Run all tests (several minutes)
	@$(DEV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder # many tests wait, few compute

clients-test: $(DEV)/installed $(CLIENTS)/installed ## Call the functions with tritonclient, kserve and mlserver
	@$(DEV)/bin/python -m pytest tests/test_clients.py

batch-test: $(BATCH)/tests ## Run the tests of python -m batch, which need Apache Beam
	@$(BATCH)/bin/python -m pytest -W default batch/tests

lint: $(DEV)/installed ## Check style, types, scripts and locks
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy shared functions models benchmarks batch dev deploy
	@$(DEV)/bin/python -m dev.lock --check
	@$(DEV)/bin/oxlint shared functions
	@$(DEV)/bin/shellcheck -x -o check-set-e-suppressed .ci/run deploy.sh

lock: $(DEV)/installed ## Write requirements.txt, with hashes, from requirements.in (ONLY=name: one function)
	@$(DEV)/bin/python -m dev.lock $(ONLY)

audit: $(DEV)/installed $(AUDIT)/installed ## Look for known vulnerabilities in the packages of the functions
	@$(DEV)/bin/python -m dev.audit $(AUDIT)/bin/pip-audit

bench: $(DEV)/installed ## Benchmark this and other model servers (needs wrk, 7 GB of disk and an idle machine)
	@$(DEV)/bin/python -m benchmarks

# `make train-NAME DATA=cells.zip` gives the program its option --data.
$(TRAINED:%=train-%): train-%: $(DEV)/installed
	@$(DEV)/bin/python -m models.$*.train $(shell printf '%s\n' $(filter-out PYTHON=%,$(MAKEOVERRIDES)) | sed -nE 's/^([A-Z]+)=/--\L\1=/p')

soak: $(DEV)/installed ## Soak test: 100,000 mixed and hostile requests (REQUESTS=100000)
	@$(DEV)/bin/python -m benchmarks.soak --requests $(or $(REQUESTS),100000)

clean: ## Remove what these commands have made
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV)/installed: dev/requirements.txt
	$(call install,$(DEV),-r dev/requirements.txt)

$(AUDIT)/installed: Makefile
	$(call install,$(AUDIT),pip-audit==2.10.1)

$(CLIENTS)/installed: tests/clients/requirements.txt
	$(call install,$(CLIENTS),--no-deps -r tests/clients/requirements.txt)

# Beam, and over it the packages of the functions: of all, or of ONLY=name.
$(BATCH)/beam: batch/requirements.txt
	$(call install,$(BATCH),-r batch/requirements.txt)

$(BATCH)/installed: $(BATCH)/beam batch/requirements.py $(wildcard functions/*/requirements.txt)
	@$(BATCH)/bin/python -m batch.requirements $(ONLY) > $(BATCH)/functions.txt
	@$(BATCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(BATCH)/functions.txt
	@touch $@

$(BATCH)/tests: $(BATCH)/installed batch/tests/requirements.txt
	@$(BATCH)/bin/python -m pip install --quiet --disable-pip-version-check -r batch/tests/requirements.txt
	@touch $@

# $(call install,FOLDER,PACKAGES): a fresh virtual environment, marked as whole once it is.
define install
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@echo "setting up $(1) (once)"
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	@touch $@
endef
