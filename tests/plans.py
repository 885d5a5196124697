"""Plans for tests of what collects, judges and shows: of the project's budgets, and small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import pandas as pd

from tests.knobs import small
from workflows.config.datasets import read_datasets
from workflows.config.grid import load_grid
from workflows.config.lines import Measured
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
    for name, title in (("mnist", "MNIST"), ("cifar10", "CIFAR10"), ("ffhq", "FFHQ, 256 x 256"))
}

# Texts that browsers, templates, Markdown or LaTeX would run, load or interpret.
PIECES = (
    "<script>pwned=1</script>",
    '"><img src=x onerror="pwned=1">',
    "'><svg onload=pwned=1>",
    "</title></textarea></style></script><script>pwned=1</script>",
    "![p](http://e.invalid/p)",
    "[l](//e.invalid/l)",
    "<http://e.invalid/a>",
    '<img src="http://e.invalid/i">',
    "{{ 7 * 7 }}{% raw %}",
    "--><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "&lt;b&gt; &#60;i&#62;",
    "`code` | edge | *em* __strong__ ~~gone~~ \\textbf{x} $a_$ ^ % # ~ {",
)
PAYLOAD = " ".join(PIECES)


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
    protocols = ["samples"] if changes.get("stage") == 2 else ["exact", "as_published"]
    return PlannedTable(
        **{
            **{"title": "A table", "caption": "of rows", "metrics": ["rFID", "usage"], "stage": 1},
            **{"protocols": protocols, "order": order, "stands_for": {}},
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


def measured(
    plan: Plan, values: Callable[[PlannedRow], Mapping[str, float] | str], **columns: Any
) -> pd.DataFrame:
    """The lines Measured of every row of a plan, by each protocol of its table if it has one.

    values: the metrics of a row's cell, or why the cell has none, such as "diverged: the loss is
    nan". columns: further columns of all lines.
    """
    lines = []
    for row in plan.rows:
        knobs = plan.knobs(row.cell).model_dump(include={"dataset", "seed", "epochs"})
        common = {**row.model_dump(), **knobs, "budget": plan.budget, "status": "ok"}
        common |= dict.fromkeys(("features", "commit", "device", "note"), "") | columns
        shown, metrics = plan.tables.get(row.table), values(row)
        protocols = (shown or plan.cells[row.cell].evaluation).protocols
        if isinstance(metrics, str):
            status, _, note = metrics.partition(": ")
            reason = {"status": status.replace(" ", "_"), "note": note, "images": None}
            lines.append({**common, "protocol": "all", "metric": "all", **reason})
            continue
        lines += [
            {**common, "protocol": protocol, "metric": metric, "value": value}
            for protocol in protocols
            for metric, value in metrics.items()
        ]
    frame = pd.DataFrame(lines, columns=list(Measured.model_fields))
    return frame.astype({"images": "Int64", "epochs": "Int64"})
