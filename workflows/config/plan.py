"""The plan of a budget: all tables and cells, written by a step and read by records and render."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from workflows.config.experiments import Claim, Figure
from workflows.config.names import SAMPLES
from workflows.config.records import find
from workflows.errors import known
from workflows.knobs import Closed, Generative, Training
from workflows.registry import parse_knobs

# The knobs of a cell, parsed as the type that the method takes.
Knobs = Annotated[SerializeAsAny[Training | Generative], BeforeValidator(parse_knobs)]
# Dataset -> the dataset whose published numbers are shown beside ours although the images have
# another size. Differences to these numbers are not shown.
OTHER_SIZE = {"ffhq_64": "ffhq"}


class Spec(Closed):
    """What a training step needs to know.

    versions: part of the training -> its version. progress_samples: how many samples a generative
    model keeps at each moment of its training.
    """

    budget: str
    cell: str
    knobs: Knobs
    versions: dict[str, int | str]
    filmed: bool = False
    progress_samples: int | None = None


class PlannedEvaluation(Closed):
    """What sampling and evaluation of a cell need to know, and what their records must match.

    versions: part of the evaluation -> its version. metrics: None for all metrics but `error`.
    fid_images, lpips_images: of autoencoders, 0 for all images. The remaining fields belong to
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


class PlannedCell(Closed):
    """One run.

    folder: ends with the cell's id. defaults: the value of each knob that the record of an older
    run may lack. missing: what to do if this machine lacks the dataset. versions: part of the
    training -> its version. images: how many images the cell trains on.
    """

    folder: str
    knobs: Knobs
    defaults: dict[str, Any]
    missing: str | None
    versions: dict[str, int | str]
    images: int
    filmed: bool
    evaluation: PlannedEvaluation

    @property
    def id(self) -> str:
        """The name of the cell, `<dataset>/<method>/<variant>/seed<k>`."""
        return "/".join(Path(self.folder).parts[-4:])

    @property
    def dataset(self) -> str:
        """The name of the dataset that the cell is trained on."""
        return self.knobs.dataset

    @property
    def first_stage(self) -> str | None:
        """The id of the cell on whose latents or codes this cell is trained, if there is one."""
        return getattr(self.knobs, "first_stage", None)

    @property
    def stage(self) -> int:
        """1 for an autoencoder, 2 for a generative model."""
        return self.knobs.stage


class PlannedRow(Closed):
    """A row of a table on one dataset and seed. cell: the cell that the row shows."""

    table: str
    row: str
    cell: str


class PlannedTable(Closed):
    """A table of the plan.

    order: the labels of all rows. stands_for: dataset -> the paper's dataset that it replaces.
    published_rows: the labels that published numbers may name, those of other budgets included.
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
    """A dataset of the plan.

    images: the number of training images. too_small_for: metric -> the pixels a side that the
    metric needs, for metrics that need larger images.
    """

    title: str
    stand_in_for: str | None
    images: int
    too_small_for: dict[str, int] = {}


class PlannedClaim(Closed):
    """A claim with its table. of, than: the labels of this budget's rows that the claim names."""

    about: Claim
    table: str
    of: list[str]
    than: list[str]


class Absent(Closed):
    """Rows without numbers, because the budget leaves out the table or has no dataset for the role.

    dataset: the paper's dataset. note: says which budgets have these rows.
    """

    table: str
    dataset: str
    rows: list[str]
    note: str


class Plan(Closed):
    """plan.json of a budget.

    rows: in the order of the experiment files. datasets: all that have a file, also the paper's.
    roles: role -> dataset, the paper's where the budget has none. reference_images: how many
    training images samples are compared with, None for all.
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
        """Return the settings of a cell."""
        return self.cells[cell].knobs

    def cell(self, name: str) -> PlannedCell:
        """Return a cell. Raises ConfigError naming the nearest ids if the id is unknown."""
        known(name, self.cells, f"budget {self.budget}: cell", "make cells lists all of them")
        return self.cells[name]

    def tables_of(self, name: str) -> list[str]:
        """Return the tables that show a cell, or a cell on its latents or codes, sorted."""
        users = {user for user, cell in self.cells.items() if cell.first_stage == name}
        return sorted({row.table for row in self.rows if row.cell in {name, *users}})

    @property
    def missing(self) -> dict[str, str]:
        """Dataset -> what to do, for the datasets that this machine lacks."""
        return {cell.dataset: cell.missing for cell in self.cells.values() if cell.missing}

    def spec(self, cell: str) -> Spec:
        """Return what the training step of a cell needs to know."""
        fields = self.cells[cell]
        return Spec(
            budget=self.budget,
            cell=cell,
            knobs=fields.knobs,
            versions=fields.versions,
            filmed=fields.filmed,
            progress_samples=fields.evaluation.progress_samples,
        )

    def lines_of(self, table: str) -> list[PlannedRow]:
        """Return the rows of a table. Raises ConfigError for an unknown table."""
        known(table, self.tables, "table")
        return [line for line in self.rows if line.table == table]

    def datasets_of(self, table: str) -> list[str]:
        """Return the datasets of a table, in the order of its rows."""
        return list(dict.fromkeys(self.cells[line.cell].dataset for line in self.lines_of(table)))

    def rows_of(self, table: str, dataset: str) -> dict[str, list[str]]:
        """Return row -> its cells on a dataset, one for each seed."""
        cells: dict[str, list[str]] = {}
        for line in self.lines_of(table):
            if self.cells[line.cell].dataset == dataset:
                cells.setdefault(line.row, []).append(line.cell)
        return cells

    def cells_of(self, table: str, dataset: str, rows: Collection[str] = ()) -> list[str]:
        """Return the cells of a table on a dataset: those of these rows, or of all rows."""
        cells_of_rows = self.rows_of(table, dataset).items()
        return [cell for row, cells in cells_of_rows if not rows or row in rows for cell in cells]

    def stands_for(self, dataset: str, table: str | None = None) -> str | None:
        """Return the dataset that a stand-in replaces, in this table if one is given, else None."""
        real = self.tables[table].stands_for.get(dataset) if table in self.tables else None
        if real is None and dataset in self.datasets:
            real = self.datasets[dataset].stand_in_for
        return None if real == dataset else real

    def title_of(self, dataset: str) -> str:
        """Return the title of a dataset."""
        return self.datasets[dataset].title if dataset in self.datasets else dataset

    def dataset_title(self, dataset: str, table: str | None = None) -> str:
        """Return the title of a dataset and of the dataset that it stands in for."""
        real = self.stands_for(dataset, table)
        return self.title_of(dataset) + (f" (stand-in for {self.title_of(real)})" if real else "")

    def published_dataset(self, dataset: str, table: str | None = None) -> str:
        """Return the dataset whose published numbers are shown beside those of this dataset."""
        real = self.stands_for(dataset, table) or dataset
        return OTHER_SIZE.get(real, real)

    def main_protocol(self, *tables: str) -> str:
        """Return the protocol of the main numbers of these tables, or of all tables.

        The paper's own protocol comes first.
        """
        shown = {name for table in tables or self.tables for name in self.tables[table].protocols}
        return next(name for name in ("as_published", "exact", SAMPLES) if name in shown)


def find_plan(file: Path) -> Plan | None:
    """Return the plan in a file; None without a file, or for the plan of another release."""
    return find(file, Plan)
