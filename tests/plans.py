"""Plans for tests of what collects, judges and shows: of the project's budgets, and small ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from tests.knobs import small
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.plan import (
    Plan,
    PlannedCell,
    PlannedDataset,
    PlannedEvaluation,
    PlannedRow,
    PlannedTable,
)
from workflows.config.planning import make_plan

# The datasets of the paper that others stand in for.
PAPERS = {
    name: PlannedDataset(title=title, stand_in_for=None, images=3600)
    for name, title in (("mnist", "MNIST"), ("cifar10", "CIFAR-10"), ("ffhq", "FFHQ, 256 x 256"))
}


@cache
def real(budget: str, results: str = "results") -> Plan:
    """The plan of a budget of the project. results: the folder of all budgets' results."""
    datasets = read_datasets()
    return make_plan(load_grid(budget, datasets), datasets, {}, results)


def cell(
    folder: object = "none", missing: str | None = None, images: int = 16, **changes: Any
) -> PlannedCell:
    """A small cell with these knobs, trained on `images` images, measured by `exact`."""
    few = {"method": "vq_vae", "dataset": "digits", "seed": 0, "batch_size": 16}
    return PlannedCell(
        folder=str(folder),
        knobs=small(**{**few, **changes}),
        defaults={},
        missing=missing,
        versions={"method": 1},
        images=images,
        filmed=False,
        evaluation=PlannedEvaluation(protocols=["exact"], versions={"exact": 1}),
    )


def changed(one: PlannedCell, **knobs: Any) -> PlannedCell:
    """The same cell with other knobs."""
    return one.model_copy(update={"knobs": one.knobs.model_copy(update=knobs)})


def table(rows: Iterable[str] = (), **changes: Any) -> PlannedTable:
    """A table of these rows. changes: fields of the table."""
    order = list(dict.fromkeys(rows))
    return PlannedTable(
        **{
            **{"title": "A table", "caption": "of rows", "metrics": ["rFID", "usage"], "stage": 1},
            **{"protocols": ["exact", "as_published"], "order": order, "stands_for": {}},
            **{"published_rows": order},
            **changes,
        }
    )


def plan(
    cells: Mapping[str, PlannedCell], rows: Iterable[tuple[str, str, str]], **changes: Any
) -> Plan:
    """A plan. rows: (table, row, cell). changes: fields of the plan. The paper's datasets, which
    others stand in for, are in any case among its datasets.
    """
    lines = [PlannedRow(table=of, row=row, cell=name) for of, row, name in rows]
    tables = {
        name: table([line.row for line in lines if line.table == name])
        for name in dict.fromkeys(line.table for line in lines)
    }
    own = {
        name: PlannedDataset(title=name.title(), stand_in_for=None, images=3600)
        for name in dict.fromkeys(cell.dataset for cell in cells.values())
    }
    datasets = changes.pop("datasets", own)
    return Plan(
        **{
            **{"budget": "made_up", "title": "made_up: a budget", "results": "results/made_up"},
            **{"cells": dict(cells), "rows": lines, "tables": tables},
            "datasets": {**PAPERS, **datasets},
            **{"figures": {}, "roles": {}, "claims": [], "absent": []},
            **{"reference_images": None, "progress_samples": 4},
            **changes,
        }
    )
