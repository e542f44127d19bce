# Two commands matter: `make demo` (the main job, on a real cluster) and `make test` (everything).
# Both install what they need on a fresh Debian 12 machine.

VENV   ?= .venv
PY     := $(VENV)/bin/python
LAB    := $(PY) -m tests.lab
IS_ROOT := $(filter 0,$(shell id -u))

.PHONY: help setup check unit test lab-test demo bench mutants lab-up lab-down lab-status image clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/ready ## Make the virtual environment

$(VENV)/ready: pyproject.toml tests/setup.sh
	sh tests/setup.sh $(VENV)
	@touch $@

check: setup ## Style, types, layers, shell
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	shellcheck operator/unshim/node/*.sh tests/*.sh $$(find tests/bench tests/lab -name '*.sh') .ci/run
	cat operator/unshim/node/runner/*.sh | shellcheck -

unit: setup ## Every test that needs no cluster
	$(PY) -m pytest -q -m "not lab"

lab-test: setup ## Every test on the real cluster (root)
	@trap '$(LAB) down --name test' EXIT; $(LAB) up --name test && \
		UNSHIM_LAB=test $(PY) -m pytest -v -m lab --durations=40

test: check unit ## Everything; without root the lab is left out, and that is said
ifeq ($(IS_ROOT),0)
	$(MAKE) lab-test
else
	@echo "LEFT OUT: the tests on the real cluster (marker 'lab') need root. Run: sudo make test"
endif

demo: setup ## Migrate one worker and roll one back, on a real cluster (root)
	$(PY) -m tests.demo

bench: setup ## A switch against a shell script; audits of a large fleet and of 50 nodes (root)
	$(PY) -m tests.bench

mutants: setup ## Deliberate faults; each must turn the suite red
	$(PY) -m tests.mutants

lab-up: setup ## Start the lab; prints its kubeconfig and SSH settings (root)
	$(LAB) up

lab-down: setup ## Stop the lab and clean up (root)
	$(LAB) down

lab-status: setup ## Show the lab
	$(LAB) status

image: ## Build the operator's container image
	docker build -t unshim:dev .

clean: ## Remove the virtual environment and caches of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
