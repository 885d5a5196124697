import functools
import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from snakemake.exceptions import WorkflowError

from workflows import plugins
from workflows.errors import BenchmarkError, known


def or_refuse(function):
    """The function; an error that a user can mend ends the run with one line."""

    @functools.wraps(function)
    def called(*arguments, **named):
        try:
            return function(*arguments, **named)
        except (BenchmarkError, OSError) as error:
            raise WorkflowError(str(error)) from None

    return called


if workflow.is_main_process:
    # Jobs have these from the main process, which knows where the user's shell is.
    os.environ.update(or_refuse(plugins.variables)(config, os.environ))
# Everything below imports the registry, which imports the user's plug-ins.
or_refuse(importlib.import_module)("workflows.registry")

from workflows.config import cost, machine
from workflows.data.weight_sources import NETWORKS
from workflows.records.run import ANY_CELL, DATA, WEIGHTS, Run, due
from workflows.generators import first_stage_file

os.environ.update(
    or_refuse(machine.environment_of_jobs)(
        Path(workflow.basedir), Path(sys.executable), os.environ
    )
)
RUN = or_refuse(Run)(config)
GRID, PLAN, BUDGET, RESULTS = RUN.grid, RUN.plan, RUN.grid.name, RUN.results
CELL = f"{RESULTS}/cells/{{cell}}"
# The same in a command.
FOLDER = f"{RESULTS}/cells/{{wildcards.cell}}"
# Jobs on this machine share its cores and GPUs, and Snakemake starts no more of them at a time than
# there is room for, whatever --cores says. Jobs on a cluster ask for a GPU if the run says so.
LOCAL = workflow.resource_settings.nodes is None
GPUS_HERE = machine.gpus_here(os.environ) if LOCAL else 0
GPU = {"gpu": 1} if RUN.config.gpu or GPUS_HERE else {}
DEVICE = "gpu" if GPU else "cpu"
SHARED = {**GPU, "cpu": RUN.config.threads} if LOCAL else GPU
if LOCAL and workflow.is_main_process:
    os.environ[machine.CELLS_PER_GPU] = str(RUN.config.cells_per_gpu)
    there = {"cpu": os.cpu_count(), "gpu": GPUS_HERE * RUN.config.cells_per_gpu}
    for name in SHARED.keys() - workflow.global_resources:
        workflow.register_resource(name, there[name])
ESTIMATES = cost.Estimates(PLAN, RUN.datasets, DEVICE, cost.read_records())


PREPARED = ("dataset.json", "train.npy", "test.npy", "labels.npy")


wildcard_constraints:
    cell=ANY_CELL,
    dataset=r"[A-Za-z0-9_-]+",
    split="train|test",
    protocol="[a-z_]+",


onstart:
    print(RUN.said_first(), file=sys.stderr)


@or_refuse
def cell_of(wildcards):
    """The cell of a rule's wildcards; an unknown id is refused with the nearest ones."""
    return RUN.cell(wildcards.cell)


@or_refuse
def prepared(name):
    """The files of a prepared dataset."""
    known(name, RUN.datasets, "dataset")
    return [f"{DATA}/{name}/{file}" for file in PREPARED]


def data_of(wildcards):
    """The folder of the prepared dataset that a cell works on."""
    return f"{DATA}/{cell_of(wildcards).dataset}"


def requests(kind, shared=SHARED):
    """A rule's `runtime`, which clusters alone read, its `mem_mb`, and what it shares with others.

    kind: as workflows/config/cost.py calls the step, on a cell or a dataset.
    """

    def estimated(wildcards):
        named = (
            cell_of(wildcards).id if hasattr(wildcards, "cell") else wildcards.dataset
        )
        return ESTIMATES.step(kind, named)

    def minutes(wildcards, attempt):
        return cost.minutes(estimated(wildcards), attempt, 60 * RUN.config.hours)

    def megabytes(wildcards, attempt):
        return cost.megabytes(estimated(wildcards), attempt, DEVICE)

    return {**shared, "runtime": minutes, "mem_mb": megabytes}
