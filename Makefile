# Plain `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
PORT ?= 8081

SERVE := .venv/serve
DEV := .venv/dev
AUDIT := .venv/audit

.PHONY: help serve test lint lock audit bench train-malaria train-review clean

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

serve: $(SERVE)/installed ## Run both functions on this machine (PORT=8081)
	@$(SERVE)/bin/python -m dev.serve --port $(PORT)

test: $(DEV)/installed ## Run the tests
	@$(DEV)/bin/python -m pytest

lint: $(DEV)/installed ## Check style, types, shell scripts and locks
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy shared functions models benchmarks dev deploy
	@$(DEV)/bin/python -m dev.lock --check
	@$(DEV)/bin/shellcheck -x -o check-set-e-suppressed .ci/run deploy.sh

lock: $(DEV)/installed ## Lock what the requirements.in files ask for (ONLY=name: one function)
	@$(DEV)/bin/python -m dev.lock $(ONLY)

audit: $(DEV)/installed $(AUDIT)/installed ## Look for known vulnerabilities in what the functions install
	@$(DEV)/bin/python -m dev.audit $(AUDIT)/bin/pip-audit

bench: $(DEV)/installed ## Measure this and other ways to serve the models (wrk is needed, and 7 GB of disk)
	@$(DEV)/bin/python -m benchmarks

train-malaria: $(DEV)/installed ## Train the malaria network (DATA=cell_images.zip)
	@$(DEV)/bin/python -m models.malaria.train $(if $(DATA),--data $(DATA))

train-review: $(DEV)/installed ## Train the review model (IMDB=aclImdb NOLLYSENTI=data)
	@$(DEV)/bin/python -m models.review.train $(if $(IMDB),--imdb $(IMDB)) $(if $(NOLLYSENTI),--nollysenti $(NOLLYSENTI))

clean: ## Remove what the commands above have made
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SERVE)/installed: $(wildcard functions/*/requirements.txt)
	$(call install,$(SERVE),$(foreach file,$^,-r $(file)))

$(DEV)/installed: dev/requirements.txt
	$(call install,$(DEV),-r dev/requirements.txt)

$(AUDIT)/installed: Makefile
	$(call install,$(AUDIT),pip-audit==2.10.1)

# $(call install,FOLDER,PACKAGES): a fresh virtual environment, marked as whole once it is.
define install
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	@echo "setting up $(1) (once)"
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	@touch $@
endef
