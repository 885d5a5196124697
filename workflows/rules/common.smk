import csv
import functools
import json
import math
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from snakemake.exceptions import WorkflowError

from workflows import cost, metrics, run_config
from workflows.allocator import CELLS_PER_GPU, KEEPS_MEMORY, gpus_here
from workflows.data import DataError, absence, describe, names
from workflows.data.preparation import changed, is_prepared, missing
from workflows.folders import unwritable
from workflows.generation_grid import sampling
from workflows.grid import load_grid
from workflows.naming import known
from workflows.protocol import load_protocol
from workflows.registry import network_of, sampling_versions, training_versions
from workflows.planning import FIGURES, due, filmed, planned
from workflows.provenance import made_by
from workflows.records import Today, states, to_make
from workflows.schema import ConfigError
from workflows.weight_sources import NETWORKS
from workflows.weight_sources import changed as weights_changed

# Jobs inherit both: they run with the interpreter that runs Snakemake, and keep memory that they free.
FIRST = f"{Path(sys.executable).parent}{os.pathsep}"
os.environ.update(KEEPS_MEMORY, PATH=FIRST + os.environ.get("PATH", ""))


try:
    RUN = run_config.read(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
BUDGET = RUN.budget
# Jobs that run on this machine share its GPUs, and Snakemake starts no more of them at a time than
# may share. Jobs that are sent to a cluster ask the cluster for a GPU if the run says so.
LOCAL = workflow.resource_settings.nodes is None
GPUS_HERE = gpus_here(os.environ) if LOCAL else 0
GPU = {"gpu": 1} if RUN.gpu or GPUS_HERE else {}
if GPUS_HERE and workflow.is_main_process:
    os.environ[CELLS_PER_GPU] = str(RUN.cells_per_gpu)
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", GPUS_HERE * RUN.cells_per_gpu)
DEVICE = "gpu" if GPU else "cpu"
MOST_MINUTES = 60 * RUN.hours
RESULTS = f"results/{BUDGET}"
CELL = f"{RESULTS}/cells/{{cell}}"
DATA = ".cache/datasets"
WEIGHTS = ".cache/weights"
PUBLISHED = "results/published"
try:
    # A dataset that this machine cannot have is a row that says so, not a failure. The network is
    # not asked here: whether a download succeeds is known once `prepare` has tried.
    DATASETS = {name: describe(name) for name in names()}
    GRID = load_grid(BUDGET, DATASETS)
    WANTED = sorted({cell.knobs["dataset"] for cell in GRID.cells.values()})
    ABSENT = {
        name: advice
        for name in WANTED
        if not is_prepared(Path(DATA, name)) and (advice := absence(DATASETS[name]))
    }
    STALE = {name for name in WANTED if changed(DATASETS[name], Path(DATA, name))}
    PLAN = planned(BUDGET, GRID, DATASETS, ABSENT)
    if isinstance(RUN.retrain, str):
        wanted = GRID.cell(RUN.retrain).knobs["dataset"]
        if wanted in ABSENT:
            raise ConfigError(f"config: retrain: {wanted}: {ABSENT[wanted]}")
except (ConfigError, DataError, OSError) as error:
    raise WorkflowError(str(error)) from None


def weight_files():
    """What the metric networks' weights are converted to."""
    kinds = ["safetensors", "json"]
    return expand(f"{WEIGHTS}/{{network}}.{{kind}}", network=NETWORKS, kind=kinds)


def still_to_make():
    """The cells whose records do not fit, as far as what is prepared tells, and their states."""
    found = states(PLAN["cells"], Today.look(Path(".cache")))
    return (
        to_make(PLAN["cells"], found, lambda name: RUN.retrain in (True, name)),
        found,
    )


NEEDED, FOUND = still_to_make()
KEPT = {name for name, state in FOUND.items() if state.finished}
FRESH = {
    GRID.cells[name].knobs["dataset"]
    for name in NEEDED.evaluate
    if not is_prepared(Path(DATA, GRID.cells[name].knobs["dataset"]))
}
# What is prepared (again) by this run. Whether records fit it, which its digests tell, is not known
# before that.
PREPARED_NOW = (STALE | FRESH) - {*ABSENT}
UNSURE = {
    cell.knobs["dataset"]
    for name, cell in GRID.cells.items()
    if name not in NEEDED.train and cell.knobs["dataset"] in PREPARED_NOW
}
NEW_WEIGHTS = weights_changed(Path(WEIGHTS)) or bool(
    KEPT and NEEDED.evaluate and not all(map(os.path.exists, weight_files()))
)


@functools.cache
def still_needed(dataset):
    """What this run is to make of a dataset's cells, once it is prepared, and the weights."""
    if dataset in UNSURE:
        checkpoints.prepare.get(dataset=dataset)
    if NEW_WEIGHTS:
        checkpoints.weights.get()
    if dataset not in UNSURE and not NEW_WEIGHTS:
        return NEEDED
    return NEEDED | still_to_make()[0]


ANY_CELL = r"[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/seed[0-9]+"


def matching(names):
    """A pattern of these names and no others, which matches nothing where there is none."""
    return "|".join(map(re.escape, names)) or "(?!)"


def makeable(names):
    """Those of these cells, and of those that may turn out to be among them, that can be made."""
    return {
        name
        for name, cell in GRID.cells.items()
        if cell.knobs["dataset"] not in ABSENT
        and (name in names or NEW_WEIGHTS or cell.knobs["dataset"] in UNSURE)
    }


def of_stage(names, stage):
    """A pattern of the autoencoders among these cells (1), or of the diffusion models (2)."""
    return matching(name for name in names if GRID.cells[name].stage == stage)


# What rules can make. The files of a finished cell are no rule's output, so that nothing but its
# records decides whether they are made again.
TRAINED = makeable(NEEDED.train)
MEASURED = makeable(NEEDED.evaluate)
FILMED = matching(name for name in TRAINED if filmed(GRID.cells[name].knobs))
FINISHED = matching(name for name in GRID.cells if FOUND[name].finished)


wildcard_constraints:
    cell=ANY_CELL,
    dataset=r"[A-Za-z0-9_-]+",
    protocol=r"exact|as_published",
    version=r"v[0-9]+\.[0-9]+",


onstart:
    # Before anything runs rather than when its first result is to be kept, hours later.
    closed = unwritable(output_folders())
    if closed:
        raise WorkflowError(
            f"{', '.join(map(str, closed))}: no leave to write, or a read-only file system; nothing "
            "was run, give leave to write or work in another clone"
        )
    print(from_records(), file=sys.stderr)


def output_folders():
    """Where runs write: what all of them share, and the cells that are not finished. Finished ones
    may be read-only, as an archive is.
    """
    shared = [RESULTS, f"{RESULTS}/cells", f"figures/{BUDGET}", f"logs/{BUDGET}"]
    unfinished = [CELL.format(cell=cell) for cell in NEEDED.evaluate]
    return [Path(folder) for folder in (*shared, ".cache", *unfinished)]


def from_records():
    """How many of the budget's cells are taken from records and how many are not made, in a line."""
    kept = [state for name, state in FOUND.items() if name not in NEEDED.evaluate]
    kept = [state for state in kept if state.finished]
    here = [
        name
        for name in NEEDED.evaluate
        if GRID.cells[name].knobs["dataset"] not in ABSENT
    ]
    of = f" ({made_by(state.commit for state in kept)})" if kept else ""
    again = "; --config retrain=true makes all" if kept else ""
    cells = "cell" if len(kept) == 1 else "cells"
    return f"Budget {BUDGET}: {len(kept)} {cells} from records{of}, {len(here)} to make{again}"


def absent():
    """Dataset -> why it cannot be had, also of those that this run tried in vain to download."""
    noted = {name: missing(Path(DATA, name)) for name in PREPARED_NOW}
    return ABSENT | {name: reason for name, reason in noted.items() if reason}


def cells_of(table=None):
    """Ids of all cells, or of those that a table shows."""
    shown = {row.cell for row in GRID.rows if table in (None, row.table)}
    return [name for name in GRID.cells if name in shown]


def files_of(cells, names):
    """Files of those of these cells that are finished or can be made, by the datasets' leave.

    The records of the datasets that this run prepares are among them, because Snakemake works the
    inputs of a rule out again when a checkpoint that it depends on is done. The cells of a dataset
    that turned out to be missing are then left out.
    """
    gone = absent()
    datasets = {cell: GRID.cells[cell].knobs["dataset"] for cell in cells}
    tried = sorted(PREPARED_NOW.intersection(datasets.values()))
    made = [c for c in cells if FOUND[c].finished or datasets[c] not in gone]
    return [
        *expand(f"{DATA}/{{dataset}}/dataset.json", dataset=tried),
        *expand(f"{CELL}/{{file}}", cell=made, file=names),
    ]


def records_of(table=None):
    """What is collected of all cells, or of those that a table shows."""
    return files_of(cells_of(table), ["metrics.csv", "train.json", "evaluation.json"])


def refused(wildcards):
    """Nothing can make a file of this cell: says why, and which names are near."""
    cell = cell_of(wildcards)
    dataset = cell.knobs["dataset"]
    raise WorkflowError(f"{cell.id}: dataset '{dataset}': {ABSENT[dataset]}")


def films_of(table):
    """The films of a table's cells, of those that have one."""
    cells = [c for c in cells_of(table) if filmed(GRID.cells[c].knobs)]
    return files_of(cells, ["film.safetensors"])


def figures_of(table):
    """The figures that show a table's runs."""
    return [name for name, figure in FIGURES.items() if figure["table"] == table]


def published_files(wildcards):
    """The CSVs of published numbers. A folder's time does not change with a file in it."""
    return sorted(Path(PUBLISHED).glob("*.csv"))


def datasets_to_train_on():
    """Names of the datasets of the cells that this run makes."""
    return sorted(
        {GRID.cells[name].knobs["dataset"] for name in MEASURED} - {*absent()}
    )


def asked(name, allowed, kind):
    """The name that a target has, if it is allowed; another is refused with the nearest ones."""
    try:
        return known(name, allowed, f"no {kind}")
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def dataset_asked(wildcards):
    """The description of a rule's dataset."""
    return DATASETS[asked(wildcards.dataset, DATASETS, "dataset")]


def cell_of(wildcards):
    """The cell of a rule's wildcards; an unknown id is refused with the nearest ones."""
    try:
        return GRID.cell(wildcards.cell)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def prepared(name):
    """The files of a prepared dataset."""
    files = ["dataset.json", "train.npy", "test.npy", "labels.npy"]
    return [f"{DATA}/{name}/{file}" for file in files]


def dataset_of(wildcards):
    """The prepared dataset that a cell works on."""
    return prepared(cell_of(wildcards).knobs["dataset"])


def data_of(wildcards):
    """The folder of the prepared dataset that a cell works on."""
    return f"{DATA}/{cell_of(wildcards).knobs['dataset']}"


def folder_of(wildcards):
    """The folder of a cell."""
    return CELL.format(cell=wildcards.cell)


def collected_lacks(table=None):
    """Whether the collected numbers, of a table or all, lack a finished cell that they should have.

    A record that was copied here may be older than what was collected without it.
    """
    folder = Path(RESULTS) if table is None else Path(RESULTS, "collected", table)
    try:
        with Path(folder, "measured.csv").open(encoding="utf-8", newline="") as lines:
            known = {line["cell"] for line in csv.DictReader(lines)}
    except (OSError, ValueError, KeyError):
        return False
    return not KEPT.intersection(cells_of(table)) <= known


def plan_changed():
    """Whether the plan that is written down is another than today's."""
    try:
        written = json.loads(Path(RESULTS, "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return written != json.loads(json.dumps(PLAN))


def due_dataset(wildcards):
    """Tells whether what a dataset was prepared from has changed."""
    name = asked(wildcards.dataset, DATASETS, "dataset")
    now = name in STALE or not is_prepared(Path(DATA, name))
    return due(Path(".cache/due/datasets", name), now)


def due_cell(wildcards):
    """Tells that a cell is to be made, whatever the times of its files are."""
    return due(Path(".cache/due", BUDGET, cell_of(wildcards).id), True)


@functools.cache
def estimates():
    """Estimates of every step of the budget, which clusters alone read."""
    return cost.Budget(GRID, DATASETS, DEVICE, cost.read_records())


def estimated(kind, wildcards):
    """The estimate of a job on a cell or a dataset."""
    of_cell = hasattr(wildcards, "cell")
    name = cell_of(wildcards).id if of_cell else dataset_asked(wildcards).name
    return estimates().step(kind, name)


def limit(kind):
    """A rule's `runtime`. kind: of step, as workflows/cost.py calls it."""
    return lambda wildcards, attempt: cost.minutes(
        estimated(kind, wildcards), attempt, MOST_MINUTES
    )


def memory(kind):
    """A rule's `mem_mb`."""
    return lambda wildcards, attempt: cost.megabytes(
        estimated(kind, wildcards), attempt, DEVICE
    )


def slots():
    """Snakemake threads a job takes so that jobs do not outnumber the machine's cores.

    `--cores 8` on two cores runs two single-threaded jobs at a time, not eight. On a cluster, whose
    jobs have cores of their own, one.
    """
    cores = workflow.resource_settings.cores
    return max(1, math.ceil(cores / os.cpu_count())) if cores else 1


def spec_of(wildcards):
    """What training reads, as JSON; nothing else may make a model train again."""
    cell = cell_of(wildcards)
    return json.dumps(
        {"budget": BUDGET, "cell": cell.id, "knobs": dict(cell.knobs)}, sort_keys=True
    )


def larger(wildcards):
    """Whether a cell is of VQGAN's networks."""
    return network_of(cell_of(wildcards).knobs) == "vqgan"


def training_versions_of(wildcards):
    """Versions of what trains a cell."""
    return as_json(training_versions(cell_of(wildcards).knobs))


def training_spec_of(wildcards):
    """What training a diffusion model reads, as JSON: not how it is sampled."""
    cell = cell_of(wildcards)
    left_out = sampling(cell.knobs)
    knobs = {key: value for key, value in cell.knobs.items() if key not in left_out}
    return json.dumps(
        {"budget": BUDGET, "cell": cell.id, "knobs": knobs}, sort_keys=True
    )


def sampling_of(wildcards):
    """What sampling reads beside the model, as JSON."""
    return json.dumps(sampling(cell_of(wildcards).knobs), sort_keys=True)


def latents_of(wildcards):
    """The latents that a diffusion model works on; nothing for one of pixels."""
    first_stage = cell_of(wildcards).first_stage
    file = f"{CELL}/latents.safetensors"
    return file.format(cell=first_stage) if first_stage else []


def first_stage_files(wildcards):
    """What decodes the samples of a diffusion model; nothing for one of pixels."""
    first_stage = cell_of(wildcards).first_stage
    names = ["train.json", "model.safetensors"] if first_stage else []
    return [f"{CELL}/{name}".format(cell=first_stage) for name in names]


def unless_finished(files, training=False):
    """The inputs of a job on a cell, which has none if its record turns out to fit after all.

    files: a function of wildcards, to names and files. training: whether the job is a training.
    """

    def inputs(wildcards):
        kind = "train" if training else "evaluate"
        # Known to be made, or else asked once it is known what the record is held against.
        if wildcards.cell not in getattr(NEEDED, kind):
            dataset = cell_of(wildcards).knobs["dataset"]
            if wildcards.cell not in getattr(still_needed(dataset), kind):
                return {}
        return {**files(wildcards), "due": due_cell(wildcards)}

    return inputs


def reference_images():
    """Training images behind FID and its like at this budget; 0 stands for all of them."""
    return GRID.budget["generation"]["reference_images"] or 0


def fid_images():
    """Test images behind rFID and KID at this budget; 0 stands for all of them."""
    return GRID.budget["evaluation"]["fid_images"] or 0


def lpips_images():
    """Test images behind LPIPS at this budget; 0 stands for all of them."""
    return GRID.budget["evaluation"]["lpips_images"] or 0


def protocols_of(wildcards):
    """The names of the protocols that a cell is measured in."""
    return GRID.protocols(cell_of(wildcards).id)


def as_json(versions):
    """Versions as a step takes them."""
    return json.dumps(versions, sort_keys=True)


def protocol_versions(names):
    """Protocol -> its version."""
    return {name: load_protocol(name).version for name in names}


def features_version(protocol):
    """Of what features of images rest on: the protocol's version and that of distances of them."""
    distance = {**metrics.OF_RECONSTRUCTIONS, **metrics.OF_SAMPLES}
    name = "FID" if protocol == "samples" else "rFID"
    return f"v{load_protocol(protocol).version}.{distance[name]}"


def evaluation_versions_of(wildcards):
    """Versions of what measures a cell's reconstructions, or its samples."""
    if cell_of(wildcards).stage == 2:
        return as_json({**metrics.OF_SAMPLES, **protocol_versions(["samples"])})
    return as_json(
        {**metrics.OF_RECONSTRUCTIONS, **protocol_versions(protocols_of(wildcards))}
    )


def references_of(wildcards):
    """Features of the test images of a cell's dataset, one file a protocol."""
    dataset = cell_of(wildcards).knobs["dataset"]
    return [
        f".cache/reference/{dataset}/{protocol}-{features_version(protocol)}-{fid_images()}.safetensors"
        for protocol in protocols_of(wildcards)
    ]


def training_reference_of(wildcards):
    """Features of the training images that a cell's samples are compared with."""
    dataset = cell_of(wildcards).knobs["dataset"]
    version = features_version("samples")
    return (
        f".cache/reference/{dataset}/train-{version}-{reference_images()}.safetensors"
    )
