# make demo: train, encode, decode, report and generate on drawn images. make test: the tests. Each sets up .venv by itself.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
ifneq ($(wildcard ../shared/data),)
export VQCLI_TEST_ASSETS ?= $(abspath ../shared)
endif

.PHONY: bench demo test test-all test-reliability lint check clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh out/demo

# Four on two cores, since tests wait for disks and for processes that they start. All keep what they compiled, and no
# thread spins while it waits for others.
WORKERS ?= 4
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=25

test: $(READY)
	$(PYTEST) -m "not slow and not gpu"

test-all: $(READY)
	$(PYTEST)

# hours; goes on where it was stopped
test-reliability: $(READY)
	$(BIN)/python benchmarks/bench_reliability.py --out out/reliability/price.json
	$(BIN)/python -m tests.reliability.table --workers 2

# an hour or two; goes on where it was stopped
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/performance.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

clean:
	rm -rf .venv out build *.egg-info .mypy_cache .pytest_cache .ruff_cache
