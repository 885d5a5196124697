import functools
import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError

from workflows import plugins
from workflows.errors import BenchmarkError, known


def in_one_line(function):
    """Let errors that a user can mend end the run with one line instead of a traceback."""

    @functools.wraps(function)
    def wrapped(*arguments, **options):
        try:
            return function(*arguments, **options)
        except (BenchmarkError, OSError) as error:
            raise WorkflowError(str(error)) from None

    return wrapped


if workflow.is_main_process:
    # The main process knows the folder of the user's shell; jobs inherit these variables.
    os.environ.update(in_one_line(plugins.variables)(config, os.environ))
# The other modules import the registry, which imports the user's plug-ins.
in_one_line(importlib.import_module)("workflows.registry")

from workflows.config import cost, machine
from workflows.data import weight_sources
from workflows.records.run import ANY_CELL, DATA, Run, due
from workflows.generators import first_stage_file

os.environ.update(
    in_one_line(machine.environment_of_jobs)(
        Path(workflow.basedir), Path(sys.executable), os.environ
    )
)
RUN = in_one_line(Run)(config)
if workflow.is_main_process:
    # Snakemake tells the workflow its targets only after this file is read.
    command_line = get_argument_parser().parse_args()
    if not command_line.unlock:
        in_one_line(RUN.refuse)(command_line.targets)
GRID, PLAN, BUDGET, RESULTS = RUN.grid, RUN.plan, RUN.grid.name, RUN.results
CELL = f"{RESULTS}/cells/{{cell}}"
# Jobs on this machine share its cores and GPUs. Snakemake starts no more jobs at a time than there
# is room for, whatever --cores says. On a cluster a job asks for a GPU if the run's settings say so.
LOCAL = workflow.resource_settings.nodes is None
GPUS_HERE = machine.gpus_here(os.environ) if LOCAL else 0
GPU = {"gpu": 1} if RUN.config.gpu or GPUS_HERE else {}
DEVICE = "gpu" if GPU else "cpu"
SHARED = {**GPU, "cpu": RUN.config.threads} if LOCAL else GPU
if LOCAL and workflow.is_main_process:
    os.environ[machine.CELLS_PER_GPU] = str(RUN.config.cells_per_gpu)
    room = {"cpu": os.cpu_count(), "gpu": GPUS_HERE * RUN.config.cells_per_gpu}
    for name in SHARED.keys() - workflow.global_resources:
        workflow.register_resource(name, room[name])
ESTIMATES = cost.Estimates(PLAN, RUN.datasets, DEVICE, cost.read_records())


wildcard_constraints:
    cell=ANY_CELL,
    dataset=r"[A-Za-z0-9_-]+",
    split="train|test",
    protocol="[a-z_]+",


onstart:
    print(RUN.first_line(), file=sys.stderr)


def requests(kind, shared=SHARED):
    """Return a rule's resources: what jobs of this machine share, and estimates of time and memory.

    kind: the name of the step in workflows/config/cost.py. Only clusters read `runtime`.
    """

    def estimate(wildcards):
        if hasattr(wildcards, "cell"):
            return ESTIMATES.step(kind, cell_of(wildcards).id)
        return ESTIMATES.step(kind, wildcards.dataset)

    def minutes(wildcards, attempt):
        return cost.minutes(estimate(wildcards), attempt, 60 * RUN.config.hours)

    def megabytes(wildcards, attempt):
        return cost.megabytes(estimate(wildcards), attempt, DEVICE)

    return {**shared, "runtime": minutes, "mem_mb": megabytes}
