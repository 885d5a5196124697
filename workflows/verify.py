"""Hold results against their records: `python -m workflows.verify --budget NAME`.

Every published number stands at the end of a chain: measured.csv is gathered from a cell's
metrics.csv, whose digest is in its evaluation.json beside that of train.json, which has the digests
of log.csv and of the model. Each link is checked, and whether the record's settings, versions,
images and metric networks are still those of today.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from workflows.collecting import measurements
from workflows.data import DataError, describe, names
from workflows.files import digest
from workflows.grid import Grid, load_grid
from workflows.planning import planned as planned_of
from workflows.records import Planned, State, Today, states
from workflows.schema import ConfigError, read_csv

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


def verify(grid: Grid, plan: Mapping[str, Any], results: Path, today: Today) -> list[Finding]:
    """A finding for every cell that was measured, and for every folder that is none's.

    plan: the content of plan.json. results: the folder of a budget, such as results/lite. Raises
    ConfigError if measured.csv is not one.
    """
    file = results / "measured.csv"
    measured = read_csv(file, "measured") if file.exists() else None
    cells = {
        name: {**planned, "folder": str(results / "cells" / name), "missing": None}
        for name, planned in plan["cells"].items()
    }
    found = states(cells, today)
    findings = []
    for name, planned in cells.items():
        if not Path(planned["folder"], "train.json").exists():
            continue
        rows = None if measured is None else measured[measured["cell"] == name]
        worst = min(
            _of_cell(name, planned, found[name], rows, plan),
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
    name: str,
    planned: Planned,
    found: State,
    rows: pd.DataFrame | None,
    plan: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """Everything about a cell that is not "ok"."""
    folder = Path(planned["folder"])
    try:
        record = _json(folder / "train.json")
        evaluation = _json(folder / "evaluation.json")
        sampled = _json(folder / "sampling.json")
        if (record["cell"], record["budget"]) != (name, plan["budget"]):
            yield "foreign", f"train.json is of {record['cell']} at {record['budget']}"
        yield from _altered(record, evaluation, folder)
        for source in (record, sampled, evaluation):
            if source.get("dirty"):
                yield "unproven", f"commit {source['commit']} had uncommitted changes"
        if not found.finished:
            yield "outdated", found.outdated or "; ".join(found.unmeasured)
        elif rows is not None:
            yield from _misread(name, planned, found, rows, plan)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        yield "altered", f"its records cannot be read ({type(error).__name__}: {error})"


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _altered(
    record: Mapping[str, Any], evaluation: Mapping[str, Any], folder: Path
) -> Iterator[tuple[str, str]]:
    known = {
        "model.safetensors": record.get("model_sha256"),
        "log.csv": record.get("log_sha256"),
        **evaluation.get("files", {}),
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
    name: str, planned: Planned, found: State, rows: pd.DataFrame, plan: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Whether measured.csv says of a cell what the cell's own files say."""
    every = measurements(name, dict(planned), plan["budget"], found)
    for (table, _), part in rows.groupby(["table", "row"], sort=False):
        shown = (*plan["tables"][table]["protocols"], "all")
        expected = [_comparable(row) for row in every if row["protocol"] in shown]
        said = [_comparable(row) for row in part.drop(columns=["table", "row"]).to_dict("records")]
        if said != expected:
            yield "altered", f"measured.csv: its rows in table '{table}' are not its metrics.csv"
    lacking = {row["table"] for row in plan["rows"] if row["cell"] == name} - {*rows["table"]}
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


def main() -> int:
    """Parse the command line; 1 if a cell is in a state that is not accepted, or for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="embedded")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument(
        "--accept", nargs="*", default=[], choices=["outdated", "unproven"], help="besides ok"
    )
    arguments = parser.parse_args()
    try:
        datasets = {name: describe(name) for name in names()}
        grid = load_grid(arguments.budget, datasets)
        plan = planned_of(arguments.budget, grid, datasets, {})
        folder = arguments.results / grid.name
        findings = verify(grid, plan, folder, Today.look(arguments.cache))
    except (ConfigError, DataError, OSError, ValueError, KeyError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1
    if not findings:
        print(f"verify: {folder}: nothing has been measured", file=sys.stderr)
        return 1
    print(report(findings))
    refused = {found.state for found in findings} - {"ok", *arguments.accept}
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
