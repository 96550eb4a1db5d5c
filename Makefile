# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help cluster down stop status

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

cluster:  ## start a real Kubernetes on this machine, or what of it is missing (GPUS=2: with fake GPUs)
	python3 -m dev.cluster up $(if $(GPUS),--gpus $(GPUS))

down:  ## remove the cluster from this machine, with its objects and volumes
	python3 -m dev.cluster down

stop:  ## remove the cluster from this machine, keep its objects and volumes for the next `make cluster`
	python3 -m dev.cluster stop

status:  ## say what of the cluster runs
	@python3 -m dev.cluster status
