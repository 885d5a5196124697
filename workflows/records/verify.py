"""Hold results against their records: `python -m workflows.records.verify --budget NAME`.

Every published number stands at the end of a chain: measured.csv is gathered from a cell's
metrics.csv, whose digest is in its evaluation.json beside that of train.json, which has the digests
of log.csv and of the model. Each link is checked, and whether the record's settings, versions,
images and metric networks are still those of today.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from workflows import cli
from workflows.config.datasets import read_datasets
from workflows.config.grid import Grid, load_grid
from workflows.config.lines import Measured, read_csv
from workflows.config.plan import Plan, PlannedCell
from workflows.config.planning import make_plan
from workflows.config.records import EvaluationRecord, SamplingRecord, TrainRecord, find, read
from workflows.errors import BenchmarkError
from workflows.files import digest
from workflows.records.collect import measurements
from workflows.records.state import State, Today, states

# From the worst to the best; a cell is in the worst state that applies.
STATES = {
    "foreign": "not of this grid: nothing here would make it",
    "altered": "not what its record says",
    "outdated": "of other settings, versions, images or metric networks than today's",
    "unproven": "its code was not committed",
    "ok": "all of it is what its records say, and what would be made today, but for rounding",
}


class Finding(NamedTuple):
    """state: one of STATES. why: in words, empty for "ok"."""

    cell: str
    state: str
    why: str


def verify(grid: Grid, plan: Plan, today: Today) -> list[Finding]:
    """A finding for every cell that was measured, and for every folder that is none's.

    Raises ConfigError if measured.csv is not one.
    """
    results = Path(plan.results)
    file = results / "measured.csv"
    measured = read_csv(file, Measured) if file.exists() else None
    found = states(plan, today)
    findings = []
    for name, cell in plan.cells.items():
        if not Path(cell.folder, "train.json").exists():
            continue
        rows = None if measured is None else measured[measured["cell"] == name]
        worst = min(
            _of_cell(name, found[name], rows, plan),
            key=lambda one: list(STATES).index(one[0]),
            default=("ok", ""),
        )
        findings.append(Finding(name, *worst))
    for record in sorted((results / "cells").glob("*/*/*/*/train.json")):
        name = record.parent.relative_to(results / "cells").as_posix()
        if name not in grid.cells:
            findings.append(Finding(name, "foreign", f"budget {grid.name} has no such cell"))
    if measured is not None:
        findings += _strange_rows(measured, grid, results)
    return findings


def _strange_rows(measured: pd.DataFrame, grid: Grid, results: Path) -> Iterator[Finding]:
    """Cells with rows in measured.csv that no table asks for, or that have no folder."""
    wanted = {(row.table, row.row, row.cell) for row in grid.rows}
    for (table, row, cell), _ in measured.groupby(["table", "row", "cell"], sort=False):
        if (table, row, cell) not in wanted:
            yield Finding(str(cell), "foreign", f"measured.csv: no row '{row}' in table '{table}'")
    numbers = measured[measured["status"] == "ok"]
    for cell in numbers["cell"].unique():
        if cell in grid.cells and not (results / "cells" / cell / "train.json").exists():
            yield Finding(cell, "foreign", "measured.csv has its numbers, but there is no record")


def _of_cell(
    name: str, found: State, rows: pd.DataFrame | None, plan: Plan
) -> Iterator[tuple[str, str]]:
    """Everything about a cell that is not "ok"."""
    cell = plan.cells[name]
    folder = Path(cell.folder)
    try:
        record = read(folder / "train.json", TrainRecord)
        evaluation = find(folder / "evaluation.json", EvaluationRecord)
        sampled = find(folder / "sampling.json", SamplingRecord)
        if (record.cell, record.budget) != (name, plan.budget):
            yield "foreign", f"train.json is of {record.cell} at {record.budget}"
        yield from _altered(record, evaluation, folder)
        for source in (record, sampled, evaluation):
            if source is not None and source.dirty:
                yield "unproven", f"commit {source.commit} had uncommitted changes"
        if not found.finished:
            yield "outdated", found.outdated or "; ".join(found.unmeasured)
        elif rows is not None:
            yield from _misread(name, cell, found, rows, plan)
    except (BenchmarkError, OSError) as error:
        yield "altered", f"its records cannot be read ({error})"


def _altered(
    record: TrainRecord, evaluation: EvaluationRecord | None, folder: Path
) -> Iterator[tuple[str, str]]:
    known = {
        "model.safetensors": record.model_sha256,
        "log.csv": record.log_sha256,
        **(evaluation.files if evaluation is not None else {}),
    }
    # Records from before there were versions may have no digests; they are outdated anyhow.
    for name, expected in ((name, sha) for name, sha in known.items() if sha is not None):
        file = folder / name
        if file.exists() and digest(file) != expected:
            yield "altered", f"{name} is not the file that was recorded"
        elif not file.exists() and name != "model.safetensors":
            # Models are not published with the records.
            yield "altered", f"{name} is missing"


def _misread(
    name: str, cell: PlannedCell, found: State, rows: pd.DataFrame, plan: Plan
) -> Iterator[tuple[str, str]]:
    """Whether measured.csv says of a cell what the cell's own files say."""
    every = measurements(name, cell, plan.budget, found)
    for (table, _), part in rows.groupby(["table", "row"], sort=False):
        shown = (*plan.tables[str(table)].protocols, "all")
        expected = [_comparable(row) for row in every if row["protocol"] in shown]
        said = [_comparable(row) for row in part.drop(columns=["table", "row"]).to_dict("records")]
        if said != expected:
            yield "altered", f"measured.csv: its rows in table '{table}' are not its metrics.csv"
    lacking = {row.table for row in plan.rows if row.cell == name} - {*rows["table"]}
    if lacking:
        yield "altered", f"measured.csv: it has no rows in table '{min(lacking)}'"


def _comparable(row: Mapping[Any, Any]) -> dict[str, str]:
    """Without what is empty, and numbers as text that does not depend on their type."""
    return {
        str(key): value if isinstance(value, str) else repr(float(value))
        for key, value in row.items()
        if value not in ("", None) and value == value
    }


def report(findings: list[Finding]) -> str:
    """A table of what is not "ok", and how many cells are in each state."""
    frame = pd.DataFrame([f for f in findings if f.state != "ok"], columns=Finding._fields)
    counts = [
        f"{sum(found.state == state for found in findings):6} {state}: {text}"
        for state, text in STATES.items()
    ]
    table = frame.to_markdown(index=False, tablefmt="simple") if len(frame) else ""
    return "\n".join([table, *counts]).strip("\n")


def main(budget: str, results: Path, cache: Path, accept: list[str]) -> int:
    """Print the findings; 1 if a cell is in a state that is not accepted, or nothing is there."""
    datasets = read_datasets()
    grid = load_grid(budget, datasets)
    plan = make_plan(grid, datasets, {}, str(results))
    findings = verify(grid, plan, Today.look(cache))
    if not findings:
        raise BenchmarkError(f"{plan.results}: nothing has been measured")
    print(report(findings))
    return 1 if {found.state for found in findings} - {"ok", *accept} else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="verify", description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument(
        "--accept", nargs="*", default=[], choices=["outdated", "unproven"], help="besides ok"
    )
    cli.run(parser, main)
