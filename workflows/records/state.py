"""Whether a cell's records are those of today's settings, versions and images.

A record is train.json and evaluation.json, of a generative model sampling.json too. A cell whose
record fits counts as finished, wherever and by whatever code of those versions it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from workflows.config.datasets import read_datasets
from workflows.config.grid import Grid, load_grid
from workflows.config.plan import Plan, PlannedCell, find_plan
from workflows.config.planning import make_plan
from workflows.config.records import EvaluationRecord, SamplingRecord, TrainRecord, find
from workflows.data.records import DatasetRecord, WeightsRecord
from workflows.data.weight_sources import FROZEN
from workflows.files import digest
from workflows.generators import first_stage_file
from workflows.knobs import Generative

MODEL = "model.safetensors"
# Stage -> the models that sampling and measuring read.
MODELS = {1: (MODEL,), 2: (MODEL, "progress.safetensors")}
# What sampling a generative model leaves.
SAMPLES = ("samples.npy", "progress.npy", "noise.npy")
# How many images an evaluation measures or compares.
COUNTS = {"fid_images", "lpips_images", "reference_images"}
# Stage -> the pictures that an evaluation leaves.
PICTURES = {1: ("reconstructions.png",), 2: ("samples.png", "neighbours.png")}


@dataclass(frozen=True)
class Today:
    """Digests of what is prepared here; what is not prepared counts as the same.

    datasets: name -> split, or "labels" -> SHA-256 of its array. networks: SHA-256 of the metric
    networks' weights.
    """

    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    networks: frozenset[str] = frozenset()

    @classmethod
    def look(cls, cache: Path) -> Today:
        """What the prepared files below `cache` say; a damaged file says nothing."""
        datasets = {
            file.parent.name: {part: array.sha256 for part, array in found.arrays.items()}
            for file in cache.glob("datasets/*/dataset.json")
            if (found := find(file, DatasetRecord))
        }
        networks = (find(file, WeightsRecord) for file in cache.glob("weights/*.json"))
        return cls(datasets, frozenset(network.sha256 for network in networks if network))


@dataclass(frozen=True)
class State:
    """untrained, unmeasured: in words, why the training and the evaluation do not count; empty if
    they do. recorded: whether there are numbers. train: the training's record, if it can be read.
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
        """Why the numbers that a cell has are not today's; empty if they are, or it has none."""
        return "; ".join((*self.untrained, *self.unmeasured)) if self.recorded else ""


@dataclass(frozen=True)
class Results:
    """A budget as its records are now: its grid, its plan and the states of the plan's cells."""

    grid: Grid
    plan: Plan
    states: Mapping[str, State]


def read_results(
    budget: str, results: Path = Path("results"), cache: Path = Path(".cache")
) -> Results:
    """What a budget has. The last run said which datasets are missing. Raises ConfigError."""
    datasets = read_datasets()
    grid = load_grid(budget, datasets)
    before = find_plan(results / budget / "plan.json")
    plan = make_plan(grid, datasets, before.missing if before else {}, str(results))
    return Results(grid, plan, states(plan, Today.look(cache)))


def states(plan: Plan, today: Today) -> dict[str, State]:
    """The state of every cell. What a generative model learned from a first stage that is outdated,
    or was trained again to another model, is outdated with it.
    """
    found = {name: state(plan.budget, name, cell, today) for name, cell in plan.cells.items()}
    for name, cell in plan.cells.items():
        below = cell.first_stage
        if below not in found:
            continue
        because = [f"first stage: {why}" for why in found[below].untrained]
        own, first = found[name].train, found[below].train
        if not because and own and first and own.first_stage != first.model_sha256:
            because = ["trained on another first stage"]
        found[name] = replace(found[name], untrained=(*found[name].untrained, *because))
    return found


def state(budget: str, name: str, cell: PlannedCell, today: Today) -> State:
    """How far a cell is."""
    folder = Path(cell.folder)
    recorded = (folder / "metrics.csv").is_file()
    train = find(folder / "train.json", TrainRecord)
    if train is None:
        if (folder / "train.json").is_file():
            return State(("its record cannot be read",), (), recorded)
        # What a step is to make again, Snakemake deletes first.
        return State(("not trained",), ("not measured",))
    if not train.versions:
        return State(("of an older release; make cell trains it again",), (), recorded, train)
    if (train.budget, train.cell) != (budget, name):
        return State((f"its record is of {train.cell} at {train.budget}",), (), recorded, train)
    untrained = tuple(_training(cell, train, today))
    evaluation = find(folder / "evaluation.json", EvaluationRecord)
    # A step that is run again deletes its files first, and leaves what later steps made.
    if evaluation is None or not _has(cell, "log.csv", *PICTURES[cell.stage], *evaluation.files):
        return State(untrained, ("not measured",), train=train)
    unmeasured = tuple(_evaluation(cell, folder, evaluation, today))
    return State(untrained, unmeasured, True, train)


def _has(cell: PlannedCell, *names: str) -> bool:
    return all(Path(cell.folder, name).is_file() for name in names)


def _training(cell: PlannedCell, train: TrainRecord, today: Today) -> Iterator[str]:
    knobs, sampling = cell.knobs, cell.evaluation.sampling
    wanted = {k: v for k, v in knobs.model_dump().items() if k not in sampling}
    yield from _differences(wanted, {**cell.defaults, **train.knobs})
    yield from _differences(cell.versions, train.versions, "version of ")
    # Which of the array's images are for validation is the dataset's description to say.
    counts = {"images": cell.images, "progress_samples": cell.evaluation.progress_samples}
    yield from _differences(counts, train.model_dump())
    images = today.datasets.get(knobs.dataset, {})
    if images.get("train", train.dataset_sha256) != train.dataset_sha256:
        yield "trained on other images"
    labels = images.get("labels") if isinstance(knobs, Generative) and knobs.conditional else None
    if labels not in (None, train.labels_sha256):
        yield "trained with other labels"
    yield from _networks(train.features, today, "trained")
    if cell.filmed and not _has(cell, "film.safetensors"):
        yield "its film is missing"


def _evaluation(
    cell: PlannedCell, folder: Path, found: EvaluationRecord, today: Today
) -> Iterator[str]:
    wanted = cell.evaluation
    for file in ("train.json", "sampling.json"):
        if file in found.files and digest(folder / file) != found.files[file]:
            yield f"measured before the present {file} was made"
    sampled = find(folder / "sampling.json", SamplingRecord)
    # A model that diverged while it was trained has not been sampled.
    if sampled is not None and (sampled.status == "finished" or sampled.versions):
        yield from _sampling(cell, sampled)
    yield from _differences(wanted.versions, found.versions, "version of ")
    missing = set(wanted.protocols) - set(found.protocols)
    if missing:
        yield f"not measured {', '.join(sorted(missing))}"
    # What one of them does not say counts as the same.
    had = found.model_dump(include=COUNTS, exclude_none=True)
    yield from _differences(wanted.model_dump(include=set(had), exclude_none=True), had)
    split = "test" if cell.stage == 1 else "train"
    known = today.datasets.get(cell.knobs.dataset, {}).get(split)
    if known is not None and found.dataset_sha256 not in (None, known):
        yield f"compared with other {split} images"
    yield from _networks(found.features, today, "measured")


def _sampling(cell: PlannedCell, sampled: SamplingRecord) -> Iterator[str]:
    wanted = cell.evaluation
    yield from _differences(wanted.sampling, {**cell.defaults, **sampled.knobs})
    yield from _differences(wanted.sampling_versions, sampled.versions, "version of ")


def _differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], what: str = ""
) -> Iterator[str]:
    for key, value in sorted(wanted.items()):
        if value != found.get(key):
            yield f"{what}{key} was {found.get(key)}, is {value}"


def _networks(used: Mapping[str, str], today: Today, did: str) -> Iterator[str]:
    known = today.networks | {source.sha256 for source in FROZEN.values()}
    if today.networks and not set(used.values()) <= known:
        yield f"{did} with other metric networks"


@dataclass(frozen=True)
class ToMake:
    """Ids of the cells that are to be trained, sampled and measured, and, as `<id>/<file>`, the
    latents and codes of first stages that are to be made.
    """

    train: frozenset[str] = frozenset()
    sample: frozenset[str] = frozenset()
    evaluate: frozenset[str] = frozenset()
    latents: frozenset[str] = frozenset()

    def __or__(self, other: ToMake) -> ToMake:
        """What either has."""
        return ToMake(*(getattr(self, one.name) | getattr(other, one.name) for one in fields(self)))


def to_make(
    plan: Plan, found: Mapping[str, State], again: Callable[[str], bool] = lambda _: False
) -> ToMake:
    """What a run has to make so that every cell is finished whose dataset is here.

    again: whether a cell is asked to be trained again although it is finished. A first stage that
    another cell needs is trained again where its model is not here, and with it the other cell,
    which was trained on the latents of the model that is gone. Samples and latents that an
    interrupted run left are kept if they are of the present model.
    """
    cells = plan.cells
    here = [name for name in cells if not cells[name].missing]
    train = {name for name in here if again(name) or found[name].untrained}
    evaluate = train | {name for name in here if not found[name].finished}
    train |= {name for name in evaluate if not _has(cells[name], *MODELS[cells[name].stage])}
    first_stages = set()
    for name in here:
        below = cells[name].first_stage
        if below is None or not {name, below} & evaluate:
            continue
        if below in train or (name in evaluate and not _has(cells[below], MODEL)):
            train |= {below, name}
            evaluate |= {below, name}
        if name in evaluate:
            first_stages.add((below, str(first_stage_file(cells[name].knobs))))
    generative = {n for n in evaluate if cells[n].stage == 2}
    sample = {n for n in generative if n in train or not _sampled(cells[n], found[n].train)}
    latents = {
        f"{n}/{file}"
        for n, file in first_stages
        if n in train or not _encoded(cells[n], file, found[n].train)
    }
    return ToMake(*map(frozenset, (train, sample, evaluate, latents)))


def _sampled(cell: PlannedCell, train: TrainRecord | None) -> bool:
    """Whether samples that are not measured yet are of the present model and settings."""
    sampled = find(Path(cell.folder, "sampling.json"), SamplingRecord)
    if train is None or sampled is None or not _has(cell, *SAMPLES):
        return False
    return sampled.model_sha256 == train.model_sha256 and not any(_sampling(cell, sampled))


def _encoded(cell: PlannedCell, file: str, train: TrainRecord | None) -> bool:
    """Whether the latents or codes that lie here are of the present model and images."""
    try:
        with safe_open(Path(cell.folder, file), "numpy") as latents:
            about = latents.metadata() or {}
    except (OSError, SafetensorError):
        return False
    wanted = (train.model_sha256, train.dataset_sha256) if train else None
    return (about.get("model"), about.get("dataset")) == wanted
