# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(PYTHON) tests/lab
# Recipes that use the lab ignore the user's KUBECONFIG.
ON_LAB = eval "$$($(LAB) env)" && unset K8S_AUTH_KUBECONFIG K8S_AUTH_CONTEXT K8S_AUTH_HOST K8S_AUTH_API_KEY &&
# The lab and the Python environment, in parallel.
LAB_AND_VENV = $(MAKE) --no-print-directory --jobs=2 lab $(VENV)/.site

.PHONY: help
help: ## list these commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# Packages for the playbooks, and below also those for the tests.
$(VENV)/.site: requirements.txt
	$(PYTHON) tests/python_environment.py $(VENV) requirements.txt
	@touch $@

$(VENV)/.done: requirements.txt tests/requirements.txt
	$(PYTHON) tests/python_environment.py $(VENV) requirements.txt tests/requirements.txt
	@touch $@

.PHONY: site
site: ## create the lab and install the whole mesh on it
	@$(LAB_AND_VENV)
	$(ON_LAB) $(BIN)/ansible-playbook playbooks/site.yml -e @tests/lab/vars.yml $(ARGS)

.PHONY: teardown
teardown: ## remove the mesh and keep the lab
	@$(LAB_AND_VENV)
	$(ON_LAB) $(BIN)/ansible-playbook playbooks/teardown.yml -e @tests/lab/vars.yml $(ARGS)

.PHONY: lab
lab: ## create a kind cluster, built locally if no image can be pulled
	$(LAB) up

.PHONY: lab-down
lab-down: ## delete the cluster and keep the build cache
	$(LAB) down

.PHONY: lab-env
lab-env: ## print shell exports for manual work, for use with eval
	@$(LAB) env

.PHONY: test
test: ## run everything that CI runs: lint, sanity, unit, e2e
	@for stage in '--jobs=2 lint sanity' unit e2e; do \
		begun=$$(date +%s); $(MAKE) --no-print-directory $$stage || exit 1; \
		times="$$times $$stage $$(( $$(date +%s) - begun )) s,"; \
	done; echo "stages:$${times%,}"

.PHONY: lint
lint: $(VENV)/.done shellcheck ## check style, types, documentation, changelog, and the built archive with Galaxy's importer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/codespell
	$(PYTHON) tests/commits.py
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline -q
	$(BIN)/antsibull-changelog lint
	PATH="$(CURDIR)/$(BIN):$$PATH" antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all --disallow-unknown-collection-refs .
	shellcheck $$(git grep -lE '^#! ?/.*\b(sh|bash|dash)( |$$)' -- ':!*.py' ':!*.md')
	$(PYTHON) tests/sanity galaxy

.PHONY: shellcheck
shellcheck: ## install the package shellcheck if it is missing
	@command -v shellcheck >/dev/null || apt-get install -y -qq shellcheck || { apt-get update -qq && apt-get install -y -qq shellcheck; } || { echo 'Install the package shellcheck.' >&2; exit 1; }

# Versions of ansible-core to test, such as SANITY=2.19. tests/sanity/cores.py lists all supported values.
SANITY ?=
.PHONY: sanity
sanity: $(VENV)/.done shellcheck ## run ansible-test sanity on the built archive, with every supported version of ansible-core
	$(PYTHON) tests/sanity $(SANITY)

.PHONY: unit
unit: $(VENV)/.done ## run unit and contract tests, without a cluster
	$(BIN)/pytest -q -n auto --dist worksteal -m 'not long' tests/unit

.PHONY: coverage
coverage: $(VENV)/.done ## measure the lines and branches of module_utils that unit tests run
	$(BIN)/pytest -q tests/unit --cov=plugins/module_utils --cov-branch --cov-report=term-missing:skip-covered

.PHONY: e2e
e2e: $(VENV)/.done ## verify the documented behavior on the lab
	$(LAB) up
	$(BIN)/pytest -q --durations=15 -m 'not long' tests/e2e

.PHONY: e2e-long
e2e-long: $(VENV)/.done ## run the remaining tests on the lab: every module's target and examples, adoption, waiting, secrets, limited RBAC
	$(BIN)/pytest -q -n auto --dist worksteal -m long tests/unit
	$(LAB) up
	$(BIN)/pytest -q --durations=15 -m long tests/e2e

.PHONY: test-chaos
test-chaos: $(VENV)/.done ## break connections between modules and the API server, on a separate cluster
	$(BIN)/pytest -q --durations=15 tests/chaos

.PHONY: bench
bench: $(VENV)/.done ## compare the speed with other tools, on a separate cluster: docs/bench.md
	$(BIN)/python tests/bench $(ARGS)

.PHONY: reference
reference: $(VENV)/.done ## build pages for every module, role and plugin: build/reference/html
	rm -rf build/reference && mkdir -p build/reference/rst && chmod -R go-w build/reference
	$(PYTHON) -m venv build/reference/venv
	build/reference/venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt 'antsibull-docs>=2' ansible-pygments sphinx 'sphinx-ansible-theme>=0.9'
	export PATH="$(CURDIR)/build/reference/venv/bin:$$PATH" ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/.collections" && \
		antsibull-docs sphinx-init --use-current --squash-hierarchy --dest-dir build/reference servicemesh.istio >/dev/null && \
		antsibull-docs --config-file build/reference/antsibull-docs.cfg collection --fail-on-error --use-current --squash-hierarchy --dest-dir build/reference/rst servicemesh.istio && \
		sphinx-build -q -b html -c build/reference build/reference/rst build/reference/html

.PHONY: molecule
molecule: $(VENV)/.done ## run all Molecule scenarios, or some: SCENARIOS="namespaces traffic"
	PATH="$(CURDIR)/$(BIN):$$PATH" molecule test $(or $(SCENARIOS:%=-s %),--all)

.PHONY: test-all
test-all: test e2e-long test-chaos bench ## run all tests, which takes an hour or more
