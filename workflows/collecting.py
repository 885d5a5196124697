"""Gather the numbers of cells from their records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.files import digest, write_atomically, write_text
from workflows.reading import read_csv, read_json
from workflows.records import State
from workflows.schema import ConfigError, schema

Row = dict[str, Any]
# Hexadecimal digits of a digest in measured.csv; the cell's records have all of them.
SHOWN = 12


def measurements(cell: str, planned: Row, budget: str, found: State) -> list[Row]:
    """The cell's rows of measured.csv, but for `table` and `row`; none of a cell not measured yet.

    planned: of the plan; its `missing` is the advice for a dataset that cannot be had, or null.
    found: the state of the cell's records. A cell whose numbers are not to be shown gives one row
    that says why. Raises ConfigError and OSError.
    """
    known = {
        "dataset": planned["knobs"]["dataset"],
        "cell": cell,
        "seed": planned["knobs"]["seed"],
        "budget": budget,
    }
    if found.outdated:
        return [{**known, **_nothing("outdated", " ".join(found.outdated.split()))}]
    if not found.finished and planned["missing"]:
        advice = " ".join(planned["missing"].split())
        return [{**known, **_nothing("dataset_missing", advice)}]
    if not found.finished:
        return []
    folder = Path(planned["folder"])
    record = read_json(folder / "train.json", "record")
    known["epochs"] = record["epochs"]
    known["commit"] = record["commit"] + ("+changes" if record["dirty"] else "")
    known["device"] = record["device"]
    known["seconds"] = record["seconds"]
    known["threads"] = record["threads"]
    known["dataset_digest"] = record["dataset_sha256"][:SHOWN]
    known["lock_digest"] = record.get("lock_sha256", "")[:SHOWN]
    if record["status"] == "diverged":
        message = " ".join(record["message"].split())
        note = f"last good step {record['steps']}" + (f"; {message}" if message else "")
        return [{**known, **_nothing("diverged", note)}]
    evaluation = _evaluation(folder)
    # Evaluations of earlier releases have no status; they failed where they met such a model.
    if evaluation.get("status") == "diverged":
        return [{**known, **_nothing("diverged", f"evaluation: {evaluation['message']}")}]
    metrics = read_csv(folder / "metrics.csv", "metrics")
    if metrics.empty:
        raise ConfigError(f"{folder / 'metrics.csv'}: no metrics, though training finished")
    features = evaluation["features"]
    rows = [
        dict(zip(map(str, metrics), values, strict=True))
        for values in metrics.itertuples(index=False)
    ]
    for row in rows:
        row["features_digest"] = features.get(row["features"], "")[:SHOWN]
    return [{**known, **row, "status": "ok", "note": ""} for row in rows]


def _evaluation(folder: Path) -> Row:
    """`features`, names of metric networks -> digests of their weights, and `files`, those of the
    cell. Raises ConfigError if one of the files is not the one that was recorded.
    """
    file = folder / "evaluation.json"
    found = read_json(file, "evaluation")
    for name, wanted in found["files"].items():
        if digest(folder / name) != wanted:
            raise ConfigError(
                f"{folder / name}: damaged or changed, its SHA-256 is not the one in {file.name}; "
                f"delete {folder / 'metrics.csv'} to evaluate this cell again"
            )
    return found


def gather(plan: Row, found: Mapping[str, State]) -> dict[str, pd.DataFrame]:
    """Data frames `measured`, `curves` and `codes` with the columns of their schemas.

    found: the states of the plan's cells. Lines follow the plan's order, which is that of the
    experiment files; a table has the numbers of its own protocols.
    """
    cells = plan["cells"]
    rows = {name: measurements(name, cells[name], plan["budget"], found[name]) for name in cells}
    measured = [
        {"table": line["table"], "row": line["row"], **values}
        for line in plan["rows"]
        for values in rows[line["cell"]]
        if values["protocol"] in (*plan["tables"][line["table"]]["protocols"], "all")
    ]
    frames = {"measured": _typed(measured)}
    present = [name for name in sorted(cells) if found[name].finished]
    for kind, read in (("curves", _curves), ("codes", _codes)):
        parts = [
            part.assign(cell=name)
            for name in present
            if (part := read(Path(cells[name]["folder"]), _stage(cells[name]))) is not None
        ]
        columns = list(schema(kind)["properties"])
        # A run that diverged in its first epoch has an empty log, whose columns have no type.
        filled = [part for part in parts if len(part)]
        frames[kind] = (
            pd.concat(filled).reindex(columns=columns) if filled else pd.DataFrame(columns=columns)
        )
    return frames


def _stage(planned: Row) -> int:
    return int(planned.get("stage", 1))


def _curves(folder: Path, stage: int) -> pd.DataFrame | None:
    """The records of a training; of a diffusion model also what samples were worth on the way."""
    if stage == 1:
        return read_csv(folder / "log.csv", "log")
    log = read_csv(folder / "log.csv", "diffusion_log")
    progress = read_csv(folder / "progress.csv", "progress")[["epoch", "FID"]].astype(float)
    start = {"epoch": 0.0, "step": 0, "images_per_second": 0.0, "seconds": 0.0}
    whole = pd.concat([pd.DataFrame([start]), log], ignore_index=True)
    return whole.merge(progress, on="epoch", how="left")


def _codes(folder: Path, stage: int) -> pd.DataFrame | None:
    return read_csv(folder / "codes.csv", "counts") if stage == 1 else None


def of_table(plan: Row, table: str) -> Row:
    """The part of a plan that one table shows. Raises ConfigError for an unknown table."""
    if table not in plan["tables"]:
        raise ConfigError(f"unknown table '{table}'; allowed: {', '.join(plan['tables'])}")
    rows = [row for row in plan["rows"] if row["table"] == table]
    shown = {row["cell"] for row in rows}
    cells = {name: cell for name, cell in plan["cells"].items() if name in shown}
    return {**plan, "rows": rows, "cells": cells}


def collect(plan: Row, found: Mapping[str, State], out: Path) -> dict[str, pd.DataFrame]:
    """Write measured.csv, curves.csv and codes.csv below `out`, and return them by these names.

    Nothing is written if the measurements do not fit their schema. Raises ConfigError and OSError.
    """
    frames = gather(plan, found)
    frames["measured"] = _checked(frames["measured"], out / "measured.csv")
    for kind in ("curves", "codes"):
        # Their lines were checked when the cells' own files were read.
        write_text(out / f"{kind}.csv", frames[kind].to_csv(index=False, lineterminator="\n"))
    return frames


def _checked(measured: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The measurements as they are read from the file, which is written if they fit the schema."""
    read: list[pd.DataFrame] = []

    def write(path: Path) -> None:
        measured.to_csv(path, index=False, lineterminator="\n")
        try:
            read.append(read_csv(path, "measured"))
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), str(file))) from None

    write_atomically(file, write)
    return read[0]


def _nothing(status: str, note: str) -> Row:
    return {"protocol": "all", "metric": "all", "value": None, "status": status, "note": note}


def _typed(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(schema("measured")["properties"]))
    for column in ("images", "epochs", "threads"):
        # Otherwise one missing value makes a float of every number of images.
        frame[column] = pd.to_numeric(frame[column]).astype("Int64")
    return frame
