# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo test cluster down stop status images check-images tools setup generate verify lint types unit contract \
	integration chart e2e bench-operator bench-train survival chaos zero trackers failures fuzz upgrade

PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest --durations=10
# Real servers and processes on a busy machine: what fails is tried once more, and shown as RERUN.
AGAIN := --reruns 1
# Two files at a time, one for each core.
PARALLEL := -n 2 --dist loadfile

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## cluster, images, chart, a real model and data, a real DPO job, and what it learned
	python3 -m dev.demo run

test: setup  ## every test, in three lanes side by side; what it needs is installed, built and started
	@python3 -m dev.checks

# --- the machine

cluster:  ## start a real Kubernetes on this machine, or what of it is missing (GPUS=2: with fake GPUs)
	python3 -m dev.cluster up $(if $(GPUS),--gpus $(GPUS))

down:  ## remove the cluster from this machine, with its objects and volumes
	python3 -m dev.cluster down

stop:  ## remove the cluster from this machine, keep its objects and volumes for the next `make cluster`
	python3 -m dev.cluster stop

status:  ## say what of the cluster runs
	@python3 -m dev.cluster status

images: cluster  ## build both images if their inputs changed and push them to the cluster's registry
	python3 -m dev.images push

check-images:  ## run both images as a restricted pod would, without a cluster
	python3 -m dev.images check

tools:  ## the servers and clients that the tests use, into .cluster/bin
	python3 -m dev.cluster build helm helm-unittest kubeconform kubectl etcd kube-apiserver \
		kube-controller-manager kube-scheduler kwok kustomize-controller flux-health argocd-lua
	python3 -m dev.cluster install prometheus

setup: .venv/.ready  ## the Python environment (.venv) for tests and tools, from uv.lock

.venv/.ready: pyproject.toml uv.lock
	@echo "== Python environment: .venv from uv.lock (PyTorch included: about 6 GB)"
	@python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed: $$(python3 --version) found"; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	python3 -m venv .venv
	.venv/bin/pip install --quiet uv==0.13.9
	UV_PYTHON_DOWNLOADS=never .venv/bin/uv sync --frozen --quiet --compile-bytecode --extra operator --extra trainer --all-groups
	rm -rf .venv/deepspeed
	.venv/bin/uv export --frozen --quiet --no-dev --no-emit-project --extra deepspeed --prune torch --prune numpy \
		--prune pydantic --prune psutil --prune packaging --prune tqdm --output-file .venv/deepspeed.txt
	.venv/bin/uv pip install --quiet --python $(PYTHON) --require-hashes --no-deps --requirements .venv/deepspeed.txt \
		--target .venv/deepspeed
	@touch $@

# --- longer than a test

bench-train: setup  ## our trainer beside `trl dpo` on the same recipes: speed, memory, time to the first step (docs/benchmarks.md)
	$(PYTHON) -m bench.train $(ARGS)

fuzz: setup tools  ## 2,000 generated specs: each is refused with a field's path or becomes a valid Job (docs/security.md)
	FUZZ_EXAMPLES=$(or $(EXAMPLES),2000) FUZZ_SEED=$(or $(SEED),2) $(PYTEST) -s tests/integration/api/test_fuzz.py

bench-operator: setup  ## the operator beside Kubeflow Trainer on a simulated cluster: latency, CPU, calls, memory (docs/benchmarks.md)
	python3 -m dev.cluster build etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok
	$(PYTHON) -m bench.operator $(ARGS)

survival: setup  ## kill -9 and SIGTERM at 20 random moments of a run: its losses against an undisturbed run's (docs/survival.md)
	$(PYTHON) -m bench.survival $(ARGS)

zero: setup  ## DeepSpeed's ZeRO in all its forms beside one process without it, on the CPU (docs/sharding.md)
	$(PYTEST) -v tests/contract/lifecycle/test_zero.py tests/contract/lifecycle/test_zero_memory.py

trackers: setup  ## W&B, MLflow and Trackio track stopped, resumed and diverged runs (docs/report.md)
	$(PYTHON) -m venv --clear .venv/trackers
	echo "import site; site.addsitedir('$(abspath .venv)/lib/python3.11/site-packages')" \
		> .venv/trackers/lib/python3.11/site-packages/locked.pth
	.venv/trackers/bin/pip install --quiet --disable-pip-version-check --requirement tests/trackers.txt
	.venv/trackers/bin/python -m pytest -v tests/contract/lifecycle/test_trackers.py

failures: setup cluster images  ## every failure class and a lost node, brought about on the cluster (docs/failures.md)
	$(PYTEST) $(AGAIN) -v tests/e2e/test_failure_classes.py tests/e2e/test_node_lost.py

chaos: setup tools  ## two replicas, 200 jobs, 15 minutes of faults; rules checked in the audit log (docs/faults.md; ARGS='--seed 7')
	$(PYTHON) -m tests.chaos $(ARGS)

upgrade: setup cluster images  ## the release upgraded and rolled back while a job trains (docs/faults.md)
	$(PYTEST) $(AGAIN) -v tests/e2e/test_upgrade.py

# --- the tree

generate: setup  ## write every generated file: api/trl.py, the CRD, docs/api-reference.md, the chart's schema and README
	$(PYTHON) -m dev.generate
	$(PYTHON) -m dev.chart

verify: setup tools  ## fail if a generated file is out of date, or the chart does not lint
	$(PYTHON) -m dev.generate --check
	$(PYTHON) -m dev.chart --check
	for values in charts/alignment-operator/ci/*.yaml; do \
		.cluster/bin/helm lint --strict --quiet --kube-version 1.35.4 charts/alignment-operator -f $$values || exit 1; done

lint: setup  ## style, and who may import whom
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/lint-imports

types: setup  ## static types
	$(PYTHON) -m mypy

unit: setup  ## the pure core
	$(PYTEST) tests/unit

contract: setup  ## the pinned TRL on the CPU: rules, losses, resume, exit codes
	$(PYTEST) $(AGAIN) $(PARALLEL) -v -m "not slow" tests/contract

integration: setup tools  ## the operator against a real API server
	$(PYTEST) $(AGAIN) -v tests/integration

chart: setup tools  ## the chart: schemas, template tests, install, upgrade and uninstall on a real API server
	$(PYTEST) $(AGAIN) -v tests/chart

e2e: setup cluster images  ## real pods on the real cluster
	$(PYTEST) $(AGAIN) -v -m "not slow" tests/e2e
