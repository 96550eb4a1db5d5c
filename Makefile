# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help setup lint types unit contract integration e2e test cluster down stop status

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest --durations=10

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

cluster:  ## start a real Kubernetes on this machine, or what of it is missing (GPUS=2: with fake GPUs)
	python3 -m dev.cluster up $(if $(GPUS),--gpus $(GPUS))

down:  ## remove the cluster from this machine, with its objects and volumes
	python3 -m dev.cluster down

stop:  ## remove the cluster from this machine, keep its objects and volumes for the next `make cluster`
	python3 -m dev.cluster stop

status:  ## say what of the cluster runs
	@python3 -m dev.cluster status

setup: .venv/.ready  ## the Python environment (.venv) for tests and tools, from uv.lock

.venv/.ready: pyproject.toml uv.lock
	@echo "== Python environment: .venv from uv.lock (PyTorch included: about 6 GB)"
	@python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed: $$(python3 --version) found"; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	python3 -m venv .venv
	.venv/bin/pip install --quiet uv==0.13.9
	UV_PYTHON_DOWNLOADS=never .venv/bin/uv sync --frozen --quiet --all-extras --all-groups
	@touch $@

lint: setup  ## style, and who may import whom
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports

types: setup  ## static types
	$(PYTHON) -m mypy

unit: setup  ## the pure core
	$(PYTEST) tests/unit

contract: setup  ## the pinned TRL on the CPU: rules, losses, resume, exit codes
	$(PYTEST) tests/contract

integration: setup cluster  ## the operator against a real API server
	$(PYTEST) tests/integration

e2e: setup cluster images  ## real pods on the real cluster
	$(PYTEST) tests/e2e

.PHONY: images check-images

images:  ## build both images if their inputs changed and push them to the local registry
	python3 -m dev.images push

check-images:  ## run both images as a restricted pod would, without a cluster
	python3 -m dev.images check

chart-tools:  ## helm, helm-unittest and kubeconform into .cluster/bin
	python3 -m dev.cluster build helm helm-unittest kubeconform kubectl etcd kube-apiserver

chart-generate: setup  ## the chart's values.schema.json and README.md, from the comments of its values.yaml
	$(PYTHON) -m dev.chart

chart-lint: setup  ## generated files as they should be; helm lint
	$(PYTHON) -m dev.chart --check
	for values in charts/alignment-operator/ci/*.yaml; do \
		.cluster/bin/helm lint --strict --quiet --kube-version 1.35.4 charts/alignment-operator -f $$values || exit 1; done

chart: setup chart-tools  ## the chart: schemas, template tests, install, upgrade and uninstall on a real API server
	$(PYTEST) tests/chart

.PHONY: demo

demo:  ## cluster, images, chart, a real model and data, a real DPO job, and what it learned
	python3 -m dev.demo run

.PHONY: generate verify

generate: setup  ## write every generated file: api/trl.py, the CRD, docs/api-reference.md
	$(PYTHON) -m dev.generate

verify: setup  ## fail if a generated file is out of date
	$(PYTHON) -m dev.generate --check
