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
    """A plan. rows: (table, row, cell). changes: fields of the plan."""
    lines = [PlannedRow(table=of, row=row, cell=name) for of, row, name in rows]
    tables = {
        name: table([line.row for line in lines if line.table == name])
        for name in dict.fromkeys(line.table for line in lines)
    }
    names = dict.fromkeys(about.knobs.dataset for about in cells.values())
    return Plan(
        **{
            **{"budget": "made_up", "title": "made_up: a budget", "results": "results/made_up"},
            **{"cells": dict(cells), "rows": lines, "tables": tables},
            "datasets": {
                name: PlannedDataset(title=name.title(), stand_in_for=None, images=3600)
                for name in names
            },
            **{"figures": {}, "roles": {}, "claims": [], "absent": []},
            **{"reference_images": None, "progress_samples": 4},
            **changes,
        }
    )
