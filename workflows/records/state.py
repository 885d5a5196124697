"""Compare the records of cells with today's settings, versions and images.

The records of a cell are train.json and evaluation.json, and sampling.json for a generative model.
A cell whose records match is finished, whoever made them, with whatever code of those versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.plan import Plan, PlannedCell, find_plan
from workflows.config.planning import make_plan
from workflows.config.records import EvaluationRecord, SamplingRecord, TrainRecord, find
from workflows.data.records import DatasetRecord
from workflows.files import digest
from workflows.generators import first_stage_file
from workflows.knobs import Generative

FILM = "film.safetensors"
# Stage -> the models that sampling and measuring read.
MODELS = {1: ["model.safetensors"], 2: ["model.safetensors", "progress.safetensors"]}
# Stage -> the pictures that measuring writes.
PICTURES = {1: ["reconstructions.png"], 2: ["samples.png", "neighbours.png"]}
# Fields that say how many images an evaluation measures or compares.
COUNTS = {"fid_images", "lpips_images", "reference_images"}
# Dataset -> "train", "test" or "labels" -> SHA-256 of the array.
Digests = Mapping[str, Mapping[str, str]]


def prepared_digests(cache: Path) -> Digests:
    """Return the digests of the images that are prepared in the folder `cache`.

    Files that cannot be read are skipped. Records are not compared with what is not prepared.
    """
    return {
        file.parent.name: {part: array.sha256 for part, array in record.arrays.items()}
        for file in cache.glob("datasets/*/dataset.json")
        if (record := find(file, DatasetRecord))
    }


@dataclass(frozen=True)
class State:
    """How the records of a cell compare with today.

    untrained, unmeasured: the reasons why the training and the evaluation do not count; empty if
    they count. recorded: whether the cell has numbers. train: train.json, if it can be read.
    """

    untrained: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    recorded: bool = False
    train: TrainRecord | None = field(default=None, compare=False)

    @property
    def finished(self) -> bool:
        """Whether the cell's numbers are those of today's settings, versions and images."""
        return not self.untrained and not self.unmeasured

    @property
    def outdated(self) -> str:
        """Why the cell's numbers are not today's; empty if they are, or if there are no numbers."""
        return "; ".join((*self.untrained, *self.unmeasured)) if self.recorded else ""


@dataclass(frozen=True)
class Results:
    """A budget and the present states of its cells, by the ids of the cells."""

    plan: Plan
    states: Mapping[str, State]


def read_results(
    budget: str, results: Path = Path("results"), cache: Path = Path(".cache")
) -> Results:
    """Read the states of a budget's cells. Raises ConfigError.

    The plan that the last run wrote says which datasets this machine cannot have.
    """
    datasets = read_datasets()
    last_plan = find_plan(results / budget / "plan.json")
    missing = last_plan.missing if last_plan else {}
    plan = make_plan(load_grid(budget, datasets), datasets, missing, str(results))
    return Results(plan, states(plan, prepared_digests(cache)))


def states(plan: Plan, prepared: Digests) -> dict[str, State]:
    """Return the state of every cell. prepared: see `prepared_digests`.

    A cell with a first stage is outdated if the first stage is outdated, or was trained again and
    has become another model.
    """
    by_cell = {name: state(plan.budget, name, cell, prepared) for name, cell in plan.cells.items()}
    for name, cell in plan.cells.items():
        if cell.first_stage not in by_cell:
            continue
        first_stage = by_cell[cell.first_stage]
        reasons = [f"first stage: {reason}" for reason in first_stage.untrained]
        train, first_train = by_cell[name].train, first_stage.train
        if not reasons and train and first_train and train.first_stage != first_train.model_sha256:
            reasons = ["trained on another first stage"]
        by_cell[name] = replace(by_cell[name], untrained=(*by_cell[name].untrained, *reasons))
    return by_cell


def state(budget: str, name: str, cell: PlannedCell, prepared: Digests) -> State:
    """Compare the records of one cell with its plan and with the prepared images."""
    folder = Path(cell.folder)
    recorded = (folder / "metrics.csv").is_file()
    train = find(folder / "train.json", TrainRecord)
    if train is None:
        if (folder / "train.json").is_file():
            return State(("its record cannot be read",), (), recorded)
        return State(("not trained",), ("not measured",))
    if not train.versions:
        return State(("of an older release; make cell trains it again",), (), recorded, train)
    if (train.budget, train.cell) != (budget, name):
        return State((f"its record is of {train.cell} at {train.budget}",), (), recorded, train)
    untrained = tuple(_training_reasons(cell, train, prepared))
    evaluation = find(folder / "evaluation.json", EvaluationRecord)
    # Before a step runs again, Snakemake deletes the files of this step, but not those of the
    # steps that follow. So a cell that lacks any of its files is about to be made again.
    if evaluation is None or not _exist(cell, "log.csv", *PICTURES[cell.stage], *evaluation.files):
        return State(untrained, ("not measured",), train=train)
    unmeasured = tuple(_evaluation_reasons(cell, evaluation, prepared))
    return State(untrained, unmeasured, True, train)


def _exist(cell: PlannedCell, *names: str) -> bool:
    return all(Path(cell.folder, name).is_file() for name in names)


def _training_reasons(cell: PlannedCell, train: TrainRecord, prepared: Digests) -> Iterator[str]:
    knobs, evaluation = cell.knobs, cell.evaluation
    planned = knobs.model_dump(exclude=set(evaluation.sampling))
    yield from _changes(planned, {**cell.defaults, **train.knobs})
    yield from _changes(cell.versions, train.versions, "version of ")
    # The description of the dataset says how many images of the array are kept for validation.
    counts = {"images": cell.images, "progress_samples": evaluation.progress_samples}
    yield from _changes(counts, train.model_dump())
    digests = prepared.get(knobs.dataset, {})
    if digests.get("train", train.dataset_sha256) != train.dataset_sha256:
        yield "trained on other images"
    uses_labels = isinstance(knobs, Generative) and knobs.conditional
    if uses_labels and digests.get("labels", train.labels_sha256) != train.labels_sha256:
        yield "trained with other labels"
    if cell.filmed and not _exist(cell, FILM):
        yield "its film is missing"


def _evaluation_reasons(
    cell: PlannedCell, evaluation: EvaluationRecord, prepared: Digests
) -> Iterator[str]:
    folder, planned = Path(cell.folder), cell.evaluation
    for file in ("train.json", "sampling.json"):
        if file in evaluation.files and digest(folder / file) != evaluation.files[file]:
            yield f"measured before the present {file} was made"
    sampling = find(folder / "sampling.json", SamplingRecord)
    # A model that diverged in training was not sampled, and its record has no versions.
    if sampling is not None and (sampling.status == "finished" or sampling.versions):
        yield from _sampling_reasons(cell, sampling)
    yield from _changes(planned.versions, evaluation.versions, "version of ")
    protocols = set(planned.protocols) - set(evaluation.protocols)
    if protocols:
        yield f"not measured {', '.join(sorted(protocols))}"
    # A count that the plan or the record leaves out is not compared.
    counts = evaluation.model_dump(include=COUNTS, exclude_none=True)
    yield from _changes(planned.model_dump(include=set(counts), exclude_none=True), counts)
    split = "test" if cell.stage == 1 else "train"
    sha256 = prepared.get(cell.dataset, {}).get(split)
    if sha256 is not None and evaluation.dataset_sha256 not in (None, sha256):
        yield f"compared with other {split} images"


def _sampling_reasons(cell: PlannedCell, sampling: SamplingRecord) -> Iterator[str]:
    planned = cell.evaluation
    yield from _changes(planned.sampling, {**cell.defaults, **sampling.knobs})
    yield from _changes(planned.sampling_versions, sampling.versions, "version of ")


def _changes(
    planned: Mapping[str, Any], recorded: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield a reason for each planned value that differs from the recorded value."""
    for key, value in sorted(planned.items()):
        if value != recorded.get(key):
            yield f"{prefix}{key} was {recorded.get(key)}, is {value}"


@dataclass(frozen=True)
class ToMake:
    """What a run has to make.

    train, sample, evaluate: ids of cells. latents: `<id>/<file>` of the latents and codes of first
    stages.
    """

    train: Set[str] = frozenset()
    sample: Set[str] = frozenset()
    evaluate: Set[str] = frozenset()
    latents: Set[str] = frozenset()


def to_make(
    plan: Plan,
    cell_states: Mapping[str, State],
    is_retrained: Callable[[str], bool] = lambda name: False,
) -> ToMake:
    """Return what is to be made so that each cell is finished whose dataset is not missing.

    is_retrained: whether the user asks for a cell to be trained again although it is finished. If a
    cell needs its first stage and the first stage's model is gone, both are trained again, because
    the cell was trained on latents of the old model. Samples and latents that an interrupted run
    left are kept if they are of the present model.
    """
    cells = {name: cell for name, cell in plan.cells.items() if not cell.missing}
    train = {name for name in cells if is_retrained(name) or cell_states[name].untrained}
    evaluate = train | {name for name in cells if not cell_states[name].finished}
    train |= {name for name in evaluate if not _exist(cells[name], *MODELS[cells[name].stage])}
    latents_read = set()
    for name, cell in cells.items():
        first_stage = cell.first_stage
        if first_stage is None or not {name, first_stage} & evaluate:
            continue
        model_is_gone = not _exist(cells[first_stage], *MODELS[1])
        if first_stage in train or (name in evaluate and model_is_gone):
            train |= {first_stage, name}
            evaluate |= {first_stage, name}
        if name in evaluate:
            latents_read.add((first_stage, str(first_stage_file(cell.knobs))))
    sample = {
        name
        for name in evaluate
        if cells[name].stage == 2
        and (name in train or not _has_samples(cells[name], cell_states[name].train))
    }
    latents = {
        f"{name}/{file}"
        for name, file in latents_read
        if name in train or not _has_latents(cells[name], file, cell_states[name].train)
    }
    return ToMake(train, sample, evaluate, latents)


def _has_samples(cell: PlannedCell, train: TrainRecord | None) -> bool:
    """Whether the cell's folder has samples of the present model and settings, not yet measured."""
    sampling = find(Path(cell.folder, "sampling.json"), SamplingRecord)
    if train is None or sampling is None:
        return False
    return (
        _exist(cell, "samples.npy", "progress.npy", "noise.npy")
        and sampling.model_sha256 == train.model_sha256
        and not any(_sampling_reasons(cell, sampling))
    )


def _has_latents(cell: PlannedCell, file: str, train: TrainRecord | None) -> bool:
    """Whether a file of latents or codes is of the present model and images."""
    try:
        with safe_open(Path(cell.folder, file), "numpy") as latents:
            metadata = latents.metadata() or {}
    except (OSError, SafetensorError):
        return False
    digests = (metadata.get("model"), metadata.get("dataset"))
    return train is not None and digests == (train.model_sha256, train.dataset_sha256)
