# Every target installs what it needs into .venv first.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin

# A container may forbid compiled modules to be kept; then each of the many processes compiles torch anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install quickstart test quick versions torture fuzz mutants device-test lint bench assets clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or set PYTHON="; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[quickstart,teachers,parquet,track,sweep,completion,compile,mlflow,wandb,dev]'
	touch $@

install: $(VENV)/.installed  ## make .venv with everything but the board's TensorRT

quickstart: install  ## the full pipeline on real images, on this computer
	$(BIN)/edgedistill quickstart $(QUICKSTART)

# Each of the two workers has one core: with two threads in both, OpenMP's wait for each other takes half the time.
test quick: export OMP_NUM_THREADS = 1
test: install  ## all tests that this machine can run
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

QUICK := -n 2 --dist loadfile -m 'not (slow or gpu or device)'
quick: install  ## the tests of every package that train nothing and start no board
	$(BIN)/python -m pytest $(QUICK)

VERSIONS ?= lowest 3.12 3.13
versions: install  ## the quick tests on the lowest versions of pyproject.toml and on newer Pythons; VERSIONS="lowest 3.12"
	bash tests/versions.sh $(VERSIONS)

TORTURE ?= minutes
torture: install  ## tests that try to break it, a table at the end; TORTURE=short, minutes or long
	TORTURE=$(TORTURE) $(BIN)/python -m pytest tests/torture --timeout 7200

FUZZ ?= long
fuzz: install  ## search by coverage for inputs that break a reader; FUZZ=short, minutes or long
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[fuzz]'
	TORTURE=$(FUZZ) $(BIN)/python tests/torture/coverage_fuzzing.py

ONLY ?= *
mutants: install  ## make small faults one at a time in a copy: a test must notice each; ONLY=names or patterns, JOBS=N
	$(BIN)/python tests/mutants/run.py --only '$(ONLY)' $(if $(JOBS),--jobs $(JOBS))

device-test:  ## the board's code on JetPack 4's, 6's and 7's Python, numpy and OpenCV (3.6.15, 3.10, 3.12: pyenv, or PYTHON36, PYTHON310, PYTHON312)
	bash tests/device_test.sh

lint: install  ## ruff's rules and format, which package may import which, types, and Python 3.6 for the board's code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/vermin --quiet -t=3.6- --violations --eval-annotations --backport typing jetson calibration

bench: install  ## throughput (this loop with and without a teacher, timm), views, decoding, threads, large sets, calibration, the board's Python, its frame path
	$(BIN)/python benchmarks/distill_throughput.py
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/busy_neighbour.py
	$(BIN)/python benchmarks/large_set.py
	$(BIN)/python benchmarks/calibration_speed.py
	$(BIN)/python benchmarks/device_overhead.py
	$(or $(wildcard .venv36/bin/python),$(BIN)/python) benchmarks/frame_path.py

assets: install  ## the README's pictures, from the last quickstart
	$(BIN)/python assets/make.py runs/quickstart/report/report.html

clean:  ## remove .venv and caches, not your runs
	rm -rf $(VENV) .venv36 .venv36-nano .venv310 .venv312 .pytest_cache .ruff_cache .mypy_cache
