# make quickstart   set up .venv and run configs/quickstart.yaml
# make test         set up .venv and run the tests (TESTS=path narrows them)
# make test-quick   the unit tests without the slow ones
# make check        lint, types and import contracts
# make format       let ruff rewrite the code
# make slurm-up     start a real SLURM on this machine (needs root), with pretended nodes and GPUs;
#                   NODES=3 GPUS=2 CPUS=4 MEMORY_MIB=8000 ACCOUNTING=1 shape it
# make slurm-down   end it, its jobs included

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
UNIT := OMP_NUM_THREADS=1 $(PYTEST) -n auto --dist worksteal
TESTS ?=
INTEGRATION := tests/integration tests/slurm tests/benchmarks tests/orchestrator/report/test_page_in_browser.py
NODES ?= 2
GPUS ?= 2
CPUS ?= 4
MEMORY_MIB ?= 8000
ACCOUNTING ?=

# PyTorch's build in a new .venv: TORCH=cpu or TORCH=cuda; else what fits this machine.
TORCH ?=

# Where Python is told to keep no compiled files, each of the many processes of a run or a test would
# compile all of this project again.
unexport PYTHONDONTWRITEBYTECODE

# Nothing outside of this folder is written to, not even a cache of fonts.
export MPLCONFIGDIR := $(CURDIR)/.venv/matplotlib

.PHONY: quickstart test test-quick check format slurm-up slurm-down clean

quickstart: .venv/installed
	$(BIN)/eos run configs/quickstart.yaml

# Two tiers, one after the other: unit tests on all CPUs with a thread for each, then what starts
# processes of its own (Ray, SLURM, a browser) and has limits of time: three files of it at a time
# keep two CPUs busy. Status 5: none of TESTS is of that tier.
test: .venv/installed-dev
	@unit=0; real=0; \
	$(UNIT) -m 'not integration' $(TESTS) || unit=$$?; \
	case $$unit in 0|1|5) ;; *) exit $$unit;; esac; \
	$(PYTEST) -m integration -n 3 --dist loadfile --no-loadscope-reorder --durations=15 $(or $(TESTS),$(INTEGRATION)) || real=$$?; \
	if [ $$unit = 5 ]; then exit $$real; fi; \
	if [ $$unit = 0 ] && [ $$real != 5 ]; then exit $$real; fi; \
	exit $$unit

# What a newcomer changes first: the trial's mathematics, sweep files, tables, the analysis.
test-quick: .venv/installed-dev
	@$(UNIT) -m 'not integration and not slow' $(TESTS)

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slurm-up:
	@$(PYTHON) slurm/loopback up --nodes $(NODES) --gpus $(GPUS) --cpus $(CPUS) \
	  --memory-mib $(MEMORY_MIB) $(if $(filter-out 0,$(ACCOUNTING)),--accounting)

slurm-down:
	@$(PYTHON) slurm/loopback down

clean:
	rm -rf .venv build *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python is older than 3.11; give a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv \
	  || { rm -rf .venv; echo "Debian and Ubuntu keep venv apart: apt install python3-venv"; exit 1; }

# What is installed is an argument: . or .[dev].
PIP_INSTALL = torch="$$($(BIN)/python .ci/torch_index.py $(TORCH))" \
  && $(BIN)/python -m pip install --quiet --constraint constraints.txt $$torch --editable

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@$(PIP_INSTALL) .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	@$(PIP_INSTALL) '.[dev]'
	@touch $@ .venv/installed
