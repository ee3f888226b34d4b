# make demo   the whole recipe on this machine
# make test   all tests
# make lint   style and architecture checks
# make audit  known vulnerabilities of the versions in constraints.txt; needs the network
# make bench-corpus   how fast the corpus stage is next to datatrove and Hugging Face datasets (minutes)
# make bench-train    how fast the training engine is next to a plain Hugging Face loop (minutes)
# make bench-evaluation   how fast scoring is next to lm-evaluation-harness (minutes)
# make bench-faults   kills processes of whole runs at random and compares what comes out (an hour)
# make images   the container images, on IMAGES_BASE (default: python:3.11-slim-bookworm); needs Docker with BuildKit
# make test-images   builds them on Debian's packages and runs the recipe in them (20 minutes, 20 GB; root)
# All set themselves up; the only thing to have is Python 3.11 (and root, if its venv module or, for the tests,
# Chromium or PostgreSQL is missing).

VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
# Real source files where there are any; the project's own sample otherwise.
export MEDITRON_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test lint audit bench-corpus bench-train bench-evaluation bench-faults test-tools images test-images clean

demo: $(VENV)/.ready
	$(BIN)/meditron run --recipe laptop

# Each of the two processes computes with one thread: with more they would wait for one another.
test: $(VENV)/.ready test-tools
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# In an environment of its own: what audits is none of what is audited.
audit:
	[ -x $(VENV)-audit/bin/pip-audit ] || { $(PYTHON) -m venv $(VENV)-audit && \
	  $(VENV)-audit/bin/pip install --quiet pip-audit==2.10.1; }
	$(VENV)-audit/bin/python .ci/audit.py

bench-corpus: $(VENV)/.ready
	$(BIN)/python -m benchmarks.corpus

bench-train: $(VENV)/.ready
	$(BIN)/python -m benchmarks.train

# The tests drive a real browser and a real database server.
test-tools:
	@{ command -v chromium && command -v chromedriver && ls /usr/lib/postgresql; } >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -q && \
	    apt-get install -qy --no-install-recommends chromium chromium-driver postgresql; } || \
	  { echo 'error: the tests need more: apt-get install chromium chromium-driver postgresql'; exit 1; }

# TAG=, REPOSITORY= and PUSH=1 where they are not what images/build.py takes by itself; IMAGES= names single ones.
images:
	$(PYTHON) images/build.py $(if $(IMAGES_BASE),--base $(IMAGES_BASE)) $(if $(TAG),--tag $(TAG)) \
	  $(if $(REPOSITORY),--repository $(REPOSITORY)) $(if $(PUSH),--push) $(IMAGES)

test-images: $(VENV)/.ready
	@{ command -v dockerd && command -v debootstrap && command -v docker-registry && ls /usr/lib/postgresql; } \
	  >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update -q && \
	    apt-get install -qy docker.io debootstrap docker-registry postgresql; } || \
	  { echo 'error: needs more: apt-get install docker.io debootstrap docker-registry postgresql'; exit 1; }
	$(BIN)/pytest -m docker tests/images

bench-evaluation: $(VENV)/.ready
	$(BIN)/python -m benchmarks.evaluation

bench-faults: $(VENV)/.ready
	$(BIN)/python -m benchmarks.faults

clean:
	rm -rf runs $(VENV) $(VENV)-audit

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy python3.11 python3.11-venv; } || \
	  { echo 'error: Python 3.11 with its venv module is needed: apt-get install python3.11 python3.11-venv'; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[laptop,test,lint]'
	touch $@
