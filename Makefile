# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(PYTHON) tests/lab
# Recipes that need the lab get it whatever KUBECONFIG says.
IN_LAB = $(LAB) up && eval "$$($(LAB) env)" && unset K8S_AUTH_KUBECONFIG K8S_AUTH_CONTEXT K8S_AUTH_HOST K8S_AUTH_API_KEY &&

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.done: requirements.txt tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -r tests/requirements.txt
	touch $@

.PHONY: site
site: $(VENV)/.done ## the lab, and on it the whole mesh
	$(IN_LAB) $(BIN)/ansible-playbook playbooks/site.yml -e @tests/lab/vars.yml $(ARGS)

.PHONY: teardown
teardown: $(VENV)/.done ## the mesh goes, the lab stays
	$(IN_LAB) $(BIN)/ansible-playbook playbooks/teardown.yml -e @tests/lab/vars.yml $(ARGS)

.PHONY: lab
lab: ## a kind cluster, also where no image can be pulled
	$(LAB) up

.PHONY: lab-down
lab-down: ## the cluster goes; what was built stays cached
	$(LAB) down

.PHONY: lab-env
lab-env: ## shell exports for work by hand: eval "$$(make -s lab-env)"
	@$(LAB) env

.PHONY: test
test: lint unit proof ## all that CI runs

.PHONY: lint
lint: $(VENV)/.done ## style and documentation
	$(BIN)/ruff check .
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline

.PHONY: unit
unit: $(VENV)/.done ## unit and contract tests: no cluster
	$(BIN)/pytest -q tests/unit

.PHONY: proof
proof: $(VENV)/.done ## what is claimed, shown on the lab
	$(LAB) up
	$(BIN)/pytest -q -x tests/proof
