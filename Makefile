# gradcore on a machine with Python 3.10 to 3.13, make and a C++ compiler: `make demo`, `make test`; `make help` for the rest.

VENV ?= .venv
OUT ?= out
# Workers of the test run; the demo takes its arguments from DEMO_ARGS, the benchmarks theirs from BENCH_ARGS.
JOBS ?= auto
COVERAGE := --cov=gradcore/backends/cuda --cov=gradcore/expr
IMAGE ?= gradcore
DOCKER ?= docker

# The first suitable interpreter; `make PYTHON=... test` chooses another.
SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.10 python,\
	$(shell $(p) -c '$(SUITABLE)' 2>/dev/null && echo $(p))))

# The CUDA extra for the demo: where the driver shows a GPU, `cuda12` (its libraries run on every newer driver too).
# `make CUDA= demo` stays on the CPU and saves the download of CUDA's libraries.
CUDA ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo cuda12)

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check
comma := ,

# Matrices this small gain nothing from a second BLAS thread, and waiting threads spin: where two processes share two
# cores, the demo takes 50 s with them and 3 s without.
demo test: export OMP_NUM_THREADS ?= 1

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/.installed-examples$(addprefix -,$(CUDA)) ## Train on handwritten digits, on the best device found (writes into out/)
	$(PY) examples/train_digits.py --out $(OUT) $(DEMO_ARGS)

.PHONY: test
test: $(VENV)/.installed-test ## Run the whole test suite, in parallel
	$(PY) -m pytest -n $(JOBS) $(TEST_ARGS)

.PHONY: gpu-test
gpu-test: $(VENV)/.installed-test$(addprefix -,$(CUDA)) ## Run the tests that need a CUDA GPU
	$(PY) -m pytest -m gpu $(TEST_ARGS)

.PHONY: gpu-check
gpu-check: $(VENV)/.installed-test$(addprefix -,$(CUDA)) ## Check everything that needs a GPU, into out/gpu_check.json (docs/gpu.md)
	$(PY) scripts/gpu_check.py --out $(OUT)/gpu_check.json $(CHECK_ARGS)

.PHONY: coverage
coverage: export GRADCORE_CUDA = emulate
coverage: $(VENV)/.installed-test ## Measure how much of the CUDA code is run on the emulated device
	$(PIP) install --quiet pytest-cov
	$(PY) -m pytest -n $(JOBS) -k 'cuda and not compile_matrix' $(COVERAGE) --cov-report=term-missing $(TEST_ARGS)

.PHONY: lint
lint: $(VENV)/.installed-dev ## Check style and types: ruff, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.installed-dev ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: stubs
stubs: $(VENV)/.installed-dev ## Rewrite the type stubs, after a change to a public signature or docstring
	$(PY) scripts/generate_stubs.py

.PHONY: docs
docs: $(VENV)/.installed-docs ## Write the reference documentation, from the docstrings, into out/reference
	$(BIN)/pdoc gradcore --docformat google --output-directory $(OUT)/reference

.PHONY: bench
bench: BENCH_ARGS ?= --targets
bench: $(VENV)/.installed-bench$(addprefix -,$(CUDA)) ## Measure what has a target, beside PyTorch where it is installed (docs/benchmarks.md)
	$(PY) -m bench run $(BENCH_ARGS)

.PHONY: wheel
wheel: $(VENV)/pyvenv.cfg ## Build the wheel into dist/
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

.PHONY: docker
docker: ## Build the container image; then `docker run --gpus all gradcore`
	$(DOCKER) build --tag $(IMAGE) .

.PHONY: venv
venv: $(VENV)/pyvenv.cfg ## Create the virtual environment, with nothing in it

.PHONY: clean
clean: ## Remove the virtual environment, caches and everything built
	rm -rf $(VENV) build dist $(OUT) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "gradcore needs Python 3.10 to 3.13; give one as: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no ensurepip, which creates the virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# .installed-test: the package, editable, with the extra `test`; .installed-test-cuda12 with both extras.
$(VENV)/.installed-%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(PIP) install --quiet --editable '.[$(subst -,$(comma),$*)]'
	@touch $@
