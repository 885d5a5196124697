"""Hold results against their records: `python -m workflows.verify --budget NAME`.

Every published number stands at the end of a chain: measured.csv is gathered from a cell's
metrics.csv, whose digest is in its evaluation.json beside that of train.json, which has the digests
of log.csv and of the model. Each link is checked, and whether settings, code that trains and
evaluates, data, metric networks and packages are still those of today. Code that computes the same
numbers counts as the same, as equivalents.yaml declares. Older records of sampling say nothing of
its code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from workflows import equivalents
from workflows.cell import Cell
from workflows.data import DataError, describe, names
from workflows.equivalents import first
from workflows.files import digest
from workflows.generation_grid import sampling
from workflows.grid import Grid, load_grid
from workflows.provenance import fingerprint, lock, sampling_code, training_code
from workflows.records import difference, made_with
from workflows.registry import network_of
from workflows.schema import ConfigError, read_csv
from workflows.steps.collect import measurements

# From the worst to the best; a cell is in the worst state that applies.
STATES = {
    "foreign": "not of this grid: nothing here would make it",
    "altered": "not what its record says",
    "stale": "of other settings, code, data, metric networks or packages than today's",
    "unproven": "its record says too little to tell: it is older than digests, or its code was "
    "not committed",
    "ok": "all of it is what its records say, and what would be made today, but for rounding",
}

# Stage -> the step that measures its cells, and the split that it compares them with.
EVALUATED = {1: ("evaluate", "test"), 2: ("evaluate_samples", "train")}


class Finding(NamedTuple):
    """state: one of STATES. why: in words, empty for "ok"."""

    cell: str
    state: str
    why: str


@dataclass(frozen=True)
class Today:
    """What a cell made today would record. datasets: name -> split -> SHA-256 of its images,
    networks: SHA-256 of the metric networks' weights; of those that are at hand.
    """

    lock: str
    datasets: Mapping[str, Mapping[str, str]]
    networks: frozenset[str]

    @classmethod
    def look(cls, cache: Path) -> Today:
        """What the prepared files below `cache` say, `.cache` of a checkout."""
        datasets = {
            file.parent.name: {split: about[split]["sha256"] for split in ("train", "test")}
            for file in cache.glob("datasets/*/dataset.json")
            for about in [json.loads(file.read_text(encoding="utf-8"))]
        }
        networks = [
            json.loads(file.read_text(encoding="utf-8"))["sha256"]
            for file in cache.glob("weights/*.json")
        ]
        return cls(lock(), datasets, frozenset(networks))


def verify(grid: Grid, results: Path, today: Today) -> list[Finding]:
    """A finding for every cell that was measured, and for every folder that is none's.

    results: the folder of a budget, such as results/lite. Raises ConfigError if measured.csv is
    not one.
    """
    file = results / "measured.csv"
    measured = read_csv(file, "measured") if file.exists() else None
    findings = []
    for name, cell in grid.cells.items():
        folder = results / "cells" / name
        if not (folder / "train.json").exists():
            continue
        rows = None if measured is None else measured[measured["cell"] == name]
        worst = min(
            _of_cell(cell, folder, rows, grid, today),
            key=lambda found: list(STATES).index(found[0]),
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
    cell: Cell, folder: Path, rows: pd.DataFrame | None, grid: Grid, today: Today
) -> Iterator[tuple[str, str]]:
    """Everything about a cell that is not "ok"."""
    about = folder / "train.json"
    try:
        record = json.loads(about.read_text(encoding="utf-8"))
        evaluation = _json(folder / "evaluation.json")
        sampled = _json(folder / "sampling.json") or {}
        if (record["cell"], record["budget"]) != (cell.id, grid.name):
            yield "foreign", f"train.json is of {record['cell']} at {record['budget']}"
        yield from _altered(record, sampled, evaluation, folder)
        yield from _stale(cell, record, sampled, evaluation, today)
        if rows is not None and (folder / "metrics.csv").exists():
            yield from _misread(cell, folder, rows, grid)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield "altered", f"its records cannot be read ({type(error).__name__}: {error})"


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def _altered(
    record: Mapping[str, Any],
    sampled: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    folder: Path,
) -> Iterator[tuple[str, str]]:
    known = {
        "model.safetensors": record.get("model_sha256"),
        "log.csv": record.get("log_sha256"),
        **(evaluation or {}).get("files", {}),
    }
    for name, expected in known.items():
        file = folder / name
        if expected is None:
            yield "unproven", f"no digest of {name}"
        elif file.exists() and digest(file) != expected:
            yield "altered", f"{name} is not the file that was recorded"
        elif not file.exists() and name != "model.safetensors":
            # Models are not published with the records.
            yield "altered", f"{name} is missing"
    if evaluation is None and (folder / "metrics.csv").exists():
        yield "unproven", "no evaluation.json"
    for source in (record, sampled, evaluation or {}):
        if source.get("dirty"):
            yield "unproven", f"commit {source['commit']} had uncommitted changes"


def _stale(
    cell: Cell,
    record: Mapping[str, Any],
    sampled: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    today: Today,
) -> Iterator[tuple[str, str]]:
    found = made_with(record, sampled)
    # A model that diverged has not been sampled.
    unknown = {*sampling(cell.knobs)} - {*found} if cell.stage == 2 else set()
    for key in sorted({*cell.knobs, *found} - unknown):
        if cell.knobs.get(key) != found.get(key):
            yield "stale", difference(key, found, cell.knobs)
    code = training_code(cell.stage, cell.knobs["method"], network_of(cell.knobs))
    if first(record.get("code", code)) != first(code):
        yield "stale", f"trained by other code, of commit {record['commit']}"
    images = today.datasets.get(cell.knobs["dataset"], {})
    if images.get("train") not in (None, record["dataset_sha256"]):
        yield "stale", "trained on other images"
    if evaluation:
        yield from _measured_otherwise(cell.stage, evaluation, images)
    if "code" in sampled and first(sampled["code"]) != first(sampling_code(cell.knobs["method"])):
        yield "stale", f"sampled by other code, of commit {sampled['commit']}"
    steps = ((record, "trained"), (sampled, "sampled"), (evaluation or {}, "evaluated"))
    for source, did in steps:
        if source.get("lock_sha256", today.lock) != today.lock:
            yield "stale", f"{did} with other packages"
    used = set((evaluation or {}).get("features", {}).values())
    if today.networks and not used <= today.networks:
        yield "stale", "measured with other metric networks"


def _measured_otherwise(
    stage: int, evaluation: Mapping[str, Any], images: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Of the code that measured a cell and the images it was compared with, what is not today's.

    An evaluation from before they were recorded is not known to differ, nor is that of a run that
    diverged, which was compared with none. images: split -> SHA-256.
    """
    step, split = EVALUATED[stage]
    code = fingerprint(f"workflows.steps.{step}")
    if first(evaluation.get("code", code)) != first(code):
        yield "stale", f"evaluated by other code, of commit {evaluation['commit']}"
    known = images.get(split)
    if known is not None and evaluation.get("dataset_sha256", known) != known:
        yield "stale", f"compared with other {split} images"


def _misread(cell: Cell, folder: Path, rows: pd.DataFrame, grid: Grid) -> Iterator[tuple[str, str]]:
    """Whether measured.csv says of a cell what the cell's own files say."""
    planned = {"folder": str(folder), "knobs": dict(cell.knobs), "missing": None}
    expected = [_comparable(row) for row in measurements(cell.id, planned, grid.name)]
    columns = ["table", "row"]
    for (table, _), part in rows.groupby(columns, sort=False):
        found = [_comparable(row) for row in part.drop(columns=columns).to_dict("records")]
        if found != expected:
            yield "altered", f"measured.csv: its rows in table '{table}' are not its metrics.csv"


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
        "--accept", nargs="*", default=[], choices=["stale", "unproven"], help="besides ok"
    )
    arguments = parser.parse_args()
    try:
        equivalents.load(equivalents.FILE)
        grid = load_grid(arguments.budget, {name: describe(name) for name in names()})
        folder = arguments.results / grid.name
        findings = verify(grid, folder, Today.look(arguments.cache))
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
