# Plain `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
PORT ?= 8081

DEV := .venv/dev
AUDIT := .venv/audit
CLIENTS := .venv/clients
TRAINED := $(patsubst models/%/train.py,%,$(wildcard models/*/train.py))

.PHONY: help serve test clients-test lint lock audit bench soak clean $(TRAINED:%=train-%)

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
	@for name in $(TRAINED); do printf '  make train-%-9s  Train this model (see models/%s/README.md)\n' $$name $$name; done

serve: ## Serve the functions on this machine (ONLY=name,name PORT=8081)
	@$(PYTHON) -m dev.serve --port $(PORT) --only '$(ONLY)'

test: $(DEV)/installed ## Run the tests
	@$(DEV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder # many tests wait, few compute

clients-test: $(DEV)/installed $(CLIENTS)/installed ## Call the functions with tritonclient, kserve and mlserver
	@$(DEV)/bin/python -m pytest tests/test_clients.py

lint: $(DEV)/installed ## Check style, types, scripts and locks
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy shared functions models benchmarks dev deploy
	@$(DEV)/bin/python -m dev.lock --check
	@$(DEV)/bin/oxlint shared functions
	@$(DEV)/bin/shellcheck -x -o check-set-e-suppressed .ci/run deploy.sh

lock: $(DEV)/installed ## Lock what the requirements.in files ask for (ONLY=name: one function)
	@$(DEV)/bin/python -m dev.lock $(ONLY)

audit: $(DEV)/installed $(AUDIT)/installed ## Look for known vulnerabilities in what the functions install
	@$(DEV)/bin/python -m dev.audit $(AUDIT)/bin/pip-audit

bench: $(DEV)/installed ## Measure this and other ways to serve the models (wrk is needed, and 7 GB of disk)
	@$(DEV)/bin/python -m benchmarks

# `make train-NAME DATA=cells.zip` gives the program its option --data.
$(TRAINED:%=train-%): train-%: $(DEV)/installed
	@$(DEV)/bin/python -m models.$*.train $(shell printf '%s\n' $(filter-out PYTHON=%,$(MAKEOVERRIDES)) | sed -nE 's/^([A-Z]+)=/--\L\1=/p')

soak: $(DEV)/installed ## Ask both functions 100,000 times, a fifth of it hostile (REQUESTS=100000)
	@$(DEV)/bin/python -m benchmarks.soak --requests $(or $(REQUESTS),100000)

clean: ## Remove what the commands above have made
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEV)/installed: dev/requirements.txt
	$(call install,$(DEV),-r dev/requirements.txt)

$(AUDIT)/installed: Makefile
	$(call install,$(AUDIT),pip-audit==2.10.1)

$(CLIENTS)/installed: tests/clients/requirements.txt
	$(call install,$(CLIENTS),--no-deps -r tests/clients/requirements.txt)

# $(call install,FOLDER,PACKAGES): a fresh virtual environment, marked as whole once it is.
define install
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@echo "setting up $(1) (once)"
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	@touch $@
endef
