import json
import math
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)

from snakemake.exceptions import WorkflowError

from workflows import metrics, preload, requests, run_config
from workflows.allocator import KEEPS_MEMORY
from workflows.data import DataError, Missing, describe, locate, names
from workflows.folders import unwritable
from workflows.generation_grid import sampling
from workflows.grid import budgets_by_role, budgets_by_table, load_grid
from workflows.naming import known
from workflows.protocol import load_protocol
from workflows.registry import network_of, sampling_versions, training_versions
from workflows.planning import ANIMATIONS, FIGURES, filmed, plan
from workflows.reading import load_yaml
from workflows.schema import ConfigError
from workflows.verdicts import load_claims

# It takes the place of Snakemake's own prefix, without which a step that fails into `tee` would pass
# for one that did what it should.
shell.prefix(
    "set -euo pipefail; "
    "trap '. workflows/ended.sh' EXIT; "
    f"export {' '.join(f'{k}={v}' for k, v in KEEPS_MEMORY.items())}; "
)


try:
    RUN = run_config.read(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
BUDGET = RUN.budget
# Whether to show what is finished and leave the rest, `make so_far`.
SO_FAR = RUN.so_far
# What jobs ask a cluster for, beside what their own work makes of it. Without one nobody asks.
GPU = {"gpu": 1} if RUN.gpu else {}
PACE = requests.GPU if GPU else requests.PROCESSOR
MOST_MINUTES = 60 * RUN.hours
RESULTS = f"results/{BUDGET}"
CELL = f"{RESULTS}/cells/{{cell}}"
DATA = ".cache/datasets"
WEIGHTS = ".cache/weights"
PUBLISHED = "results/published"
try:
    DATASETS = {name: describe(name) for name in names()}
    GRID = load_grid(BUDGET, DATASETS)
    # Looked up once: a dataset that this machine has not got is a row that says so, not a failure.
    WANTED = sorted({cell.knobs["dataset"] for cell in GRID.cells.values()})
    ABSENT = {
        name: place.advice
        for name in WANTED
        if isinstance(place := locate(name), Missing)
    }
    PLAN = plan(
        GRID,
        CELL,
        DATASETS,
        ABSENT,
        budgets_by_role(),
        budgets_by_table(),
        load_claims(GRID),
    )
except (ConfigError, DataError) as error:
    raise WorkflowError(str(error)) from None


# Whether files are fetched from a store, as in Kubernetes' pods, and a job sees no others than those
# that its rule names.
FETCHED = bool(workflow.storage_settings.default_storage_provider)


def beside(files):
    """Inputs that a step finds in the folder of others: named only where they must be fetched.

    Elsewhere naming them would run again whatever was made before they were named.
    files: a function of wildcards.
    """
    return lambda wildcards: files(wildcards) if FETCHED else []


def matching(names):
    """A pattern of these names and no others, which matches nothing where there is none."""
    return "|".join(map(re.escape, names)) or "(?!)"


FILMED = matching(c.id for c in GRID.cells.values() if filmed(c.knobs))
DIFFUSION = matching(c.id for c in GRID.cells.values() if c.stage == 2)
# Datasets whose images are of classes, which are prepared with a label for each.
LABELLED = matching(name for name, about in DATASETS.items() if about.classes)


wildcard_constraints:
    cell=r"[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/[A-Za-z0-9._+-]+/seed[0-9]+",
    dataset=r"[A-Za-z0-9_-]+",
    protocol=r"exact|as_published",
    table=r"[a-z0-9_]+",
    figure=r"[a-z0-9_]+",


onstart:
    # Before anything runs rather than when its first result is to be kept, hours later.
    closed = [] if FETCHED else unwritable(output_folders())
    if closed:
        raise WorkflowError(
            f"{', '.join(map(str, closed))}: no leave to write, or a read-only file system; nothing "
            "was run, give leave to write or work in another clone"
        )
    # Jobs elsewhere cannot reach that process, and on this machine they would escape their limits.
    if workflow.local_exec:
        preload.start(KEEPS_MEMORY)


def output_folders():
    """Where runs write: what all of them share, and the cells that are not finished. Finished ones
    may be read-only, as an archive is.
    """
    shared = [RESULTS, f"{RESULTS}/cells", f"figures/{BUDGET}", f"logs/{BUDGET}"]
    cells = [Path(CELL.format(cell=cell)) for cell in GRID.cells if not SO_FAR]
    unfinished = [cell for cell in cells if not (cell / "metrics.csv").exists()]
    return [Path(folder) for folder in (*shared, ".cache")] + unfinished


def present_cells(table=None):
    """Ids of the cells whose dataset can be had; with a table, of those that it shows.

    With `so_far` none: finished ones are read as they lie, and nothing can be trained.
    """
    shown = {row.cell for row in GRID.rows if table in (None, row.table)}
    return [
        name
        for name, cell in GRID.cells.items()
        if name in shown and cell.knobs["dataset"] not in ABSENT and not SO_FAR
    ]


def records_of(cells):
    """What is collected of cells. A training that was cut off has left no train.json, and without
    it here the numbers of the run before would pass for up to date.
    """
    return expand(
        f"{CELL}/{{record}}", cell=cells, record=["metrics.csv", "train.json"]
    )


def films_of(table):
    """The films of a table's cells, of those that have one."""
    cells = [c for c in present_cells(table) if filmed(GRID.cells[c].knobs)]
    return expand(f"{CELL}/film.safetensors", cell=cells)


def published_files(wildcards):
    """The CSVs of published numbers. A folder's time does not change with a file in it."""
    return sorted(Path(PUBLISHED).glob("*.csv"))


def present_datasets():
    """Names of the datasets of this budget that can be had."""
    return [name for name in WANTED if name not in ABSENT]


def asked(name, allowed, kind):
    """The name that a target has, if it is allowed; another is refused with the nearest ones."""
    try:
        return known(name, allowed, f"no {kind}")
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def dataset_asked(wildcards):
    """The description of a rule's dataset."""
    return DATASETS[asked(wildcards.dataset, DATASETS, "dataset")]


def table_asked(wildcards):
    """The name of a rule's table."""
    return asked(wildcards.table, GRID.tables, "table")


def figure_asked(wildcards):
    """What figures.yaml says of a rule's figure."""
    return FIGURES[asked(wildcards.figure, FIGURES, "figure")]


def animation_asked(wildcards):
    """The same of a figure that moves."""
    return FIGURES[asked(wildcards.figure, ANIMATIONS, "animation")]


def cell_of(wildcards):
    """The cell of a rule's wildcards; an unknown id is refused with the nearest ones."""
    try:
        return GRID.cell(wildcards.cell)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


def dataset_of(wildcards):
    """The prepared dataset that a cell trains on."""
    return f"{DATA}/{cell_of(wildcards).knobs['dataset']}/dataset.json"


def arrays_of(wildcards):
    """The arrays of a cell's dataset, or of the dataset that is asked for."""
    if hasattr(wildcards, "cell"):
        name = cell_of(wildcards).knobs["dataset"]
    else:
        name = wildcards.dataset
    return arrays_in(name)


def arrays_in(name):
    """The images of a prepared dataset."""
    return [f"{DATA}/{name}/{split}.npy" for split in ("train", "test")]


def labels_in(name):
    """The labels of a prepared dataset; nothing for one without classes."""
    return [f"{DATA}/{name}/labels.npy"] if DATASETS[name].classes else []


def labels_of(wildcards):
    """The labels that a cell is trained with; nothing for one that is not asked for a class."""
    knobs = cell_of(wildcards).knobs
    return labels_in(knobs["dataset"]) if knobs["conditional"] else []


def decoding_of(wildcards):
    """What decides a dataset's arrays, as JSON: not its title, licence or sources."""
    about = dataset_asked(wildcards)
    keys = (
        "reader",
        "options",
        "images",
        "validation",
        "image_size",
        "channels",
        "classes",
    )
    return json.dumps({key: getattr(about, key) for key in keys}, sort_keys=True)


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


def evaluation_versions_of(wildcards):
    """Versions of what measures a cell's reconstructions, or its samples."""
    if cell_of(wildcards).stage == 2:
        return as_json({**metrics.OF_SAMPLES, **protocol_versions(["samples"])})
    return as_json(
        {**metrics.OF_RECONSTRUCTIONS, **protocol_versions(protocols_of(wildcards))}
    )


def table_behind(wildcards):
    """The title of the table whose runs a figure draws."""
    return GRID.tables[figure_asked(wildcards)["table"]]["title"]


def numbers_behind(figure):
    """The collected numbers that a figure draws. figure: as figures.yaml has it."""
    return f"{RESULTS}/collected/{figure['table']}/measured.csv"


def about():
    """What the texts of `workflows/report` say of this budget; they see the configuration."""
    folder = Path(workflow.basedir) / "workflows" / "protocols"
    return {
        "title": GRID.budget["title"],
        "protocols": [
            load_yaml(folder / f"{name}.yaml", "protocol")["title"]
            for name in GRID.budget["evaluation"]["protocols"]
        ],
        "fid_images": fid_images(),
        "tables": {
            name: {key: table[key] for key in ("title", "caption")}
            for name, table in GRID.tables.items()
        },
        "figures": FIGURES,
    }


def references_of(wildcards):
    """Features of the test images of a cell's dataset, one file a protocol."""
    dataset = cell_of(wildcards).knobs["dataset"]
    return [
        f".cache/reference/{dataset}/{protocol}-{fid_images()}.safetensors"
        for protocol in protocols_of(wildcards)
    ]


def training_reference_of(wildcards):
    """Features of the training images that a cell's samples are compared with."""
    dataset = cell_of(wildcards).knobs["dataset"]
    return f".cache/reference/{dataset}/train-{reference_images()}.safetensors"


config["report"] = about()
