# The verbs that one types. `make help` lists them; each is one line, and what it does is in tools/.
PYTHON ?= python3
BIN := .venv/bin
# pytest's own options, for example: make unit PYTEST_ARGS="-k quorum -x"
PYTEST_ARGS ?=
SUITES := oned/tests operator/tests proof/tests tests
.DEFAULT_GOAL := help
.PHONY: help deps up down test lint unit integration e2e sim mutants exhaust chaos bench bench-operator image sbom lock crds tables docs check-generated failover soak

help:             ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: .venv/.installed  ## make .venv from the locked, hashed requirements
.venv/.installed: tools/deps requirements/dev.txt oned/pyproject.toml operator/pyproject.toml
	$(PYTHON) tools/deps

up: deps          ## a running three-server zone: cluster (or KUBECONFIG's), images, operator, OneZone
	$(BIN)/python tools/cluster up

down: deps        ## take away what `make up` made
	$(BIN)/python tools/cluster down

test: deps lint check-generated unit integration e2e  ## everything that CI runs

lint: deps        ## format, lint, types, import contracts
	$(BIN)/python tools/lint

unit: deps        ## tests that start nothing
	$(BIN)/pytest $(SUITES) -m "not integration and not e2e" -q $(PYTEST_ARGS)

integration: deps ## tests on real processes, network namespaces and servers
	$(BIN)/pytest $(SUITES) -m "integration and not e2e" -q $(PYTEST_ARGS)

e2e: deps         ## tests on a real Kubernetes; skipped loudly where none can be had, a failure with CI=true
	$(BIN)/pytest tests/e2e -m e2e -v -s $(PYTEST_ARGS)

sim: deps         ## 2,000 seeds of the simulator: the shipped servers under every fault (SEEDS=A:B)
	$(BIN)/python -m proof.sim --seeds $(or $(SEEDS),0:2000)

mutants: deps     ## every named fault put into the source, each of which the simulator must find
	$(BIN)/python -m proof.mutants

exhaust: deps     ## every reachable state of a small zone
	$(BIN)/python -m proof.exhaust

chaos: deps       ## ten minutes of real processes under kills, partitions and full disks (SECONDS_OF_CHAOS=n)
	$(BIN)/python -m proof.chaos --seconds $(or $(SECONDS_OF_CHAOS),600)

failover: deps    ## 20 kills of the leader, measured through MetalLB's address (KILLS=n)
	$(BIN)/pytest tests/e2e/test_failover_time.py -m e2e -s --kills $(or $(KILLS),20) $(PYTEST_ARGS)

soak: deps        ## 30 random steps of size, roll and kill under a writing client (SOAK_STEPS=n, SOAK_SEED=n)
	$(BIN)/pytest tests/e2e/test_soak.py -m e2e -s --soak-steps $(or $(SOAK_STEPS),30) --soak-seed $(or $(SOAK_SEED),1) $(PYTEST_ARGS)

bench: deps       ## speed and cost beside etcd, dqlite and PySyncObj on this machine
	$(BIN)/python -m benchmarks

bench-operator: deps ## 300 zones on one operator: a real API server, simulated servers (BENCH_ARGS=--write-table)
	$(BIN)/python -m benchmarks.scale $(BENCH_ARGS)

image: deps       ## build the images whose sources changed
	$(BIN)/python tools/image

crds: deps        ## write the CRDs again from the operator's models, and the chart's copy
	$(BIN)/python tools/crds

tables: deps      ## write oned.storage.tables again from the schema
	$(BIN)/python tools/tables

docs: deps        ## write docs/reference again from the programs and the CRDs
	$(BIN)/python tools/reference

check-generated: deps  ## fail when CRDs or reference pages are not what their sources say
	$(BIN)/python tools/tables --check
	$(BIN)/python tools/crds --check
	$(BIN)/python tools/reference --check

sbom: deps        ## bills of materials of both programs (CycloneDX) and a list of licences, in dist/sbom
	$(BIN)/python tools/sbom.py

lock: deps        ## resolve the dependencies again (LOCK_ARGS=--upgrade)
	requirements/lock $(LOCK_ARGS)
