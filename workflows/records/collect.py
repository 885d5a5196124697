"""Gather the numbers of cells from their records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.config import records
from workflows.config.lines import Codes, Curve, Measured, Metric, Progress, read_csv
from workflows.config.names import RUN_METRICS
from workflows.config.plan import Plan, PlannedCell
from workflows.config.records import EvaluationRecord, TrainRecord
from workflows.errors import ConfigError
from workflows.files import digest, write_atomically, write_text
from workflows.records.state import State

Row = dict[Any, Any]
# Hexadecimal digits of a digest in measured.csv; the cell's records have all of them.
SHOWN = 12


def measurements(name: str, cell: PlannedCell, budget: str, found: State) -> list[Row]:
    """The cell's lines of measured.csv without `table` and `row`; none of a cell not measured yet.

    found: the state of the cell's records. A cell whose numbers are not to be shown gives one line
    that says why. Raises ConfigError and OSError.
    """
    about: Row = {"dataset": cell.knobs.dataset, "cell": name, "seed": cell.knobs.seed}
    about["budget"] = budget

    def nothing(status: str, note: str) -> list[Row]:
        # Notes are of one line, so that tables and CSV files are.
        line = {"protocol": "all", "metric": "all", "value": None, "status": status}
        return [{**about, **line, "note": " ".join(note.split())}]

    if found.outdated:
        return nothing("outdated", found.outdated)
    if not found.finished:
        return nothing("dataset_missing", cell.missing) if cell.missing else []
    folder = Path(cell.folder)
    record = records.read(folder / "train.json", TrainRecord)
    about |= {
        "epochs": record.epochs,
        "commit": record.commit + ("+changes" if record.dirty else ""),
        "device": record.device,
        "seconds": record.seconds,
        "threads": record.threads,
        "dataset_digest": record.dataset_sha256[:SHOWN],
        "lock_digest": record.lock_sha256[:SHOWN],
    }
    if record.status == "diverged":
        note = f"last good step {record.steps}"
        return nothing("diverged", f"{note}; {record.message}" if record.message else note)
    evaluation = _evaluation(folder)
    if evaluation.status == "diverged":
        return nothing("diverged", f"evaluation: {evaluation.message}")
    metrics = read_csv(folder / "metrics.csv", Metric).to_dict("records")
    if not metrics:
        raise ConfigError(f"{folder / 'metrics.csv'}: no metrics, though training finished")
    metrics += _of_training(record, dict.fromkeys(metric["protocol"] for metric in metrics))
    digests = evaluation.features
    return [
        {
            **about,
            **metric,
            "features_digest": digests.get(metric["features"], "")[:SHOWN],
            "status": "ok",
            "note": "",
        }
        for metric in metrics
    ]


def _of_training(record: TrainRecord, protocols: Iterable[str]) -> Iterator[Row]:
    """What the training says of itself, in the form of metrics, beside those of each protocol."""
    found = {
        "parameters": record.parameters,
        "seen": record.images * record.epochs,
        "minutes": record.seconds / 60,
        "step": 1000 * record.seconds / record.steps,
    }
    for protocol, (name, value) in product(protocols, found.items()):
        if value is not None:
            line = {"protocol": protocol, "metric": name, "value": float(value)}
            yield line | {"images": None, "features": ""}


def _evaluation(folder: Path) -> EvaluationRecord:
    """The evaluation's record. Raises ConfigError if a file is not the one that it recorded."""
    file = folder / "evaluation.json"
    found = records.read(file, EvaluationRecord)
    for name, wanted in found.files.items():
        if digest(folder / name) != wanted:
            raise ConfigError(
                f"{folder / name}: damaged or changed, its SHA-256 is not the one in {file.name}; "
                f"delete {folder / 'metrics.csv'} to evaluate this cell again"
            )
    return found


def in_tables(plan: Plan, lines: Mapping[str, list[Row]]) -> list[Row]:
    """The lines of measured.csv, in the order of the plan's rows. lines: cell -> measurements.

    What a training says of itself stands only in tables that show this.
    """
    return [
        {"table": row.table, "row": row.row, **values}
        for row in plan.rows
        for values in lines.get(row.cell, [])
        if values["protocol"] in (*plan.tables[row.table].protocols, "all")
        and (
            values["metric"] not in RUN_METRICS
            or values["metric"] in plan.tables[row.table].metrics
        )
    ]


def gather(
    plan: Plan, found: Mapping[str, State], table: str | None = None
) -> dict[str, pd.DataFrame]:
    """Data frames `measured`, `curves` and `codes`, whose lines are Measured, Curve and Codes.

    found: the states of the plan's cells. table: whose cells alone are read. Lines follow the
    plan's order, which is that of the experiment files; a table has the numbers of its own
    protocols. Raises ConfigError and OSError.
    """
    shown = {row.cell for row in plan.lines_of(table)} if table else plan.cells
    cells = {name: cell for name, cell in plan.cells.items() if name in shown}
    lines = {name: measurements(name, cells[name], plan.budget, found[name]) for name in cells}
    measured = [line for line in in_tables(plan, lines) if table in (None, line["table"])]
    finished = [name for name in sorted(cells) if found[name].finished]
    curves = {name: curves_of(cells[name]) for name in finished}
    codes = {
        name: read_csv(Path(cells[name].folder, "codes.csv"), Codes)
        for name in finished
        if cells[name].stage == 1
    }
    return {
        # Otherwise one missing value makes a float of every number of images.
        "measured": pd.DataFrame(measured, columns=list(Measured.model_fields)).astype(
            dict.fromkeys(("images", "epochs", "threads"), "Int64")
        ),
        "curves": _together(curves, list(Curve.model_fields)),
        "codes": _together(codes, list(Codes.model_fields)),
    }


def _together(parts: Mapping[str, pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """The lines of all cells. parts: by cell."""
    # A run that diverged in its first epoch has an empty log, whose columns have no type.
    filled = [part.assign(cell=name) for name, part in parts.items() if len(part)]
    return pd.concat(filled).reindex(columns=columns) if filled else pd.DataFrame(columns=columns)


def curves_of(cell: PlannedCell) -> pd.DataFrame:
    """The records of a training; of a diffusion model also what samples were worth on the way."""
    folder = Path(cell.folder)
    log = read_csv(folder / "log.csv", Curve)
    if cell.stage == 1:
        return log
    progress = read_csv(folder / "progress.csv", Progress)[["epoch", "FID"]].astype(float)
    start = {"epoch": 0.0, "step": 0, "images_per_second": 0.0, "seconds": 0.0}
    whole = pd.concat([pd.DataFrame([start]), log], ignore_index=True)
    return whole.merge(progress, on="epoch", how="left")


def collect(plan: Plan, found: Mapping[str, State], out: Path) -> dict[str, pd.DataFrame]:
    """Write measured.csv, curves.csv and codes.csv below `out`, and return them by these names.

    Nothing is written if a measurement is no line of measured.csv. Raises ConfigError and OSError.
    """
    frames, file = gather(plan, found), out / "measured.csv"

    def write(path: Path) -> None:
        frames["measured"].to_csv(path, index=False, lineterminator="\n")
        try:
            frames["measured"] = read_csv(path, Measured)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), str(file))) from None

    write_atomically(file, write)
    for kind in ("curves", "codes"):
        # Their lines were checked when the cells' own files were read.
        write_text(out / f"{kind}.csv", frames[kind].to_csv(index=False, lineterminator="\n"))
    return frames
