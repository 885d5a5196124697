"""Small plans for tests of what collects, judges and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from tests.knobs import DEFAULTS, taken
from workflows.config.lines import Measured
from workflows.config.plan import (
    Plan,
    PlannedCell,
    PlannedDataset,
    PlannedEvaluation,
    PlannedRow,
    PlannedTable,
)
from workflows.generators import GENERATORS

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


def knobs(method: str = "vq_vae", **changes: Any) -> dict[str, Any]:
    """The settings of a run: the project's defaults, but for a short training and the changes."""
    few = {"dataset": "digits", "method": method, "seed": 0, "epochs": 2, "batch_size": 16}
    if method in GENERATORS:
        start = {"first_stage": None, **DEFAULTS.of_generator(method)}
    else:
        start = DEFAULTS.of_autoencoder(method, changes.get("network", "convnet"), 1)
    return taken({**start, **few, **changes})


def cell(folder: object = "none", missing: str | None = None, **changes: Any) -> PlannedCell:
    """A cell with these knobs, measured by the protocol `exact`."""
    return PlannedCell(
        folder=str(folder),
        knobs=knobs(**changes),
        defaults={},
        missing=missing,
        versions={"method": 1},
        images=16,
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
