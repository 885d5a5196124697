"""What a budget's tables show, written by a step and read back by all that collect and render."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from workflows.config.experiments import Claim, Figure
from workflows.config.records import find
from workflows.errors import known
from workflows.knobs import Closed, Generative, HasKnobs, Training
from workflows.registry import parse_knobs

# Training or a type of a method that is derived from it, or Generative and one from that.
Knobs = Annotated[SerializeAsAny[Training | Generative], BeforeValidator(parse_knobs)]
# Published results on the same photographs at another size: beside ours, never subtracted.
OTHER_SIZE = {"ffhq_64": "ffhq"}
# Datasets that a budget's own may stand in for, or that publications used.
TITLES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR10",
    "ffhq": "FFHQ",
    "ffhq_64": "FFHQ, 64 x 64",
    "celeba_64": "CelebA, 64 x 64",
    "tiny_imagenet": "Tiny ImageNet",
    "imagenet": "ImageNet",
    "lsun_churches": "LSUN churches",
    "lsun_bedrooms": "LSUN bedrooms",
}


class Spec(Closed):
    """What a training step is told: which cell of which budget, its knobs, the versions of what
    trains it, and whether it is filmed.
    """

    budget: str
    cell: str
    knobs: Knobs
    versions: dict[str, int | str]
    filmed: bool = False


class PlannedEvaluation(Closed):
    """What a cell's evaluation is to say of itself.

    versions: part of the evaluation -> its version. metrics: None for all but the error. The
    first two counts are of autoencoders, 0 for all images; the others, and sampling, are of
    generative models.
    """

    protocols: list[str]
    versions: dict[str, int]
    metrics: list[str] | None = None
    fid_images: int | None = None
    lpips_images: int | None = None
    reference_images: int | None = None
    progress_samples: int | None = None
    sampling: dict[str, Any] = {}
    sampling_versions: dict[str, int] = {}


class PlannedCell(HasKnobs, Closed):
    """One run.

    defaults: what stands for a knob that a record lacks. missing: what to do, if this machine has
    not got the dataset. versions: part of the training -> its version. images: how many it trains
    on. filmed: whether the training is filmed.
    """

    folder: str
    knobs: Knobs
    defaults: dict[str, Any]
    missing: str | None
    versions: dict[str, int | str]
    images: int
    filmed: bool
    evaluation: PlannedEvaluation


class PlannedRow(Closed):
    """One line of a table, on one seed: the cell that it shows."""

    table: str
    row: str
    cell: str


class PlannedTable(Closed):
    """order: all rows. stands_for: dataset -> the paper's in whose place it is. published_rows:
    of which there may be published numbers, at whatever budget.
    """

    title: str
    caption: str
    metrics: list[str]
    stage: Literal[1, 2]
    protocols: list[str]
    order: list[str]
    stands_for: dict[str, str]
    published_rows: list[str]


class PlannedDataset(Closed):
    """images: to train on. too_small_for: metric -> the pixels a side that it needs, of those that
    cannot be measured on images as small as these.
    """

    title: str
    stand_in_for: str | None
    images: int
    too_small_for: dict[str, int] = {}


class PlannedClaim(Closed):
    """A claim with its table and, in `of` and `than`, the rows of this budget."""

    about: Claim
    table: str
    of: list[str]
    than: list[str]


class Absent(Closed):
    """Rows of a table that this budget has no dataset for, or leaves out. note: which has it."""

    table: str
    dataset: str
    rows: list[str]
    note: str


class Plan(Closed):
    """plan.json of a budget. rows: in the order of the experiment files.

    roles: role -> dataset, the paper's where the budget has none. reference_images: training images
    that samples are compared with, None for all.
    """

    budget: str
    title: str
    results: str
    cells: dict[str, PlannedCell]
    rows: list[PlannedRow]
    tables: dict[str, PlannedTable]
    datasets: dict[str, PlannedDataset]
    figures: dict[str, Figure]
    roles: dict[str, str]
    claims: list[PlannedClaim]
    absent: list[Absent]
    reference_images: Annotated[int, Field(ge=1)] | None
    progress_samples: int

    def knobs(self, cell: str) -> Training | Generative:
        """The settings of a cell."""
        return self.cells[cell].knobs

    @property
    def missing(self) -> dict[str, str]:
        """Dataset -> what to do, of those that the machine has not got."""
        return {cell.dataset: cell.missing for cell in self.cells.values() if cell.missing}

    def spec(self, cell: str) -> Spec:
        """What the training step of a cell is told."""
        about = self.cells[cell]
        told = {name: getattr(about, name) for name in ("knobs", "versions", "filmed")}
        return Spec(budget=self.budget, cell=cell, **told)

    def lines_of(self, table: str) -> list[PlannedRow]:
        """The rows of a table. Raises ConfigError for an unknown table."""
        known(table, self.tables, "table")
        return [line for line in self.rows if line.table == table]

    def datasets_of(self, table: str) -> list[str]:
        """Datasets of a table, in the order of its rows."""
        return list(dict.fromkeys(self.cells[line.cell].dataset for line in self.lines_of(table)))

    def rows_of(self, table: str, dataset: str) -> dict[str, list[str]]:
        """Row -> its cells (one a seed) on a dataset, in order."""
        found: dict[str, list[str]] = {}
        for line in self.lines_of(table):
            if self.cells[line.cell].dataset == dataset:
                found.setdefault(line.row, []).append(line.cell)
        return found

    def cells_of(self, table: str, dataset: str, rows: Collection[str] = ()) -> list[str]:
        """The cells of some rows of a table on a dataset; of all rows if none are named."""
        found = self.rows_of(table, dataset).items()
        return [cell for row, cells in found if not rows or row in rows for cell in cells]

    def size(self, cell: str) -> tuple[int, int]:
        """Training images and batch size of a cell."""
        knobs = self.knobs(cell)
        return knobs.train_images or self.datasets[knobs.dataset].images, knobs.batch_size

    def stands_for(self, dataset: str, table: str | None = None) -> str | None:
        """The dataset in whose place this one is, in a table if one is named; None for none."""
        real = self.tables[table].stands_for.get(dataset) if table in self.tables else None
        if real is None and dataset in self.datasets:
            real = self.datasets[dataset].stand_in_for
        return None if real == dataset else real

    def too_small(self, table: str, dataset: str) -> list[str]:
        """A sentence for each metric of a table that a dataset's images are too small for."""
        about, metrics = self.datasets.get(dataset), self.tables[table].metrics
        needed = about.too_small_for if about else {}
        return [f"{one} needs images of {needed[one]} pixels" for one in metrics if one in needed]

    def title_of(self, dataset: str) -> str:
        """The title of a dataset, which need not be part of this plan."""
        if dataset in self.datasets:
            return self.datasets[dataset].title
        return TITLES.get(dataset, dataset)

    def dataset_title(self, dataset: str, table: str | None = None) -> str:
        """Its title, saying what it stands in for, in a table if one is named."""
        real = self.stands_for(dataset, table)
        return self.title_of(dataset) + (f" (stand-in for {self.title_of(real)})" if real else "")

    def published_dataset(self, dataset: str, table: str | None = None) -> str:
        """The dataset whose published numbers belong beside this one's, in a table if named."""
        real = self.stands_for(dataset, table) or dataset
        return OTHER_SIZE.get(real, real)


def find_plan(file: Path) -> Plan | None:
    """The plan that a run wrote; None if there is none, or one of another release."""
    return find(file, Plan)
