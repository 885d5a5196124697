"""Collect the numbers of a budget from the records of its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
# How many digits of each digest measured.csv shows; the records have all 64.
SHOWN = 12


def measurements(name: str, cell: PlannedCell, budget: str, state: State) -> list[Row]:
    """Return the lines of measured.csv for one cell, without the columns `table` and `row`.

    A cell whose numbers are not to be shown has one line, which says why. A cell that is not
    measured yet has no lines. Raises ConfigError and OSError.
    """
    origin: Row = {"dataset": cell.dataset, "cell": name, "seed": cell.knobs.seed, "budget": budget}
    if state.outdated:
        return [_line_without_number(origin, "outdated", state.outdated)]
    if not state.finished:
        reason = cell.missing
        return [_line_without_number(origin, "dataset_missing", reason)] if reason else []
    folder = Path(cell.folder)
    train = records.read(folder / "train.json", TrainRecord)
    origin |= {
        "epochs": train.epochs,
        "commit": train.commit + ("+changes" if train.dirty else ""),
        "device": train.device,
        "seconds": train.seconds,
        "threads": train.threads,
        "dataset_digest": train.dataset_sha256[:SHOWN],
        "lock_digest": train.lock_sha256[:SHOWN],
    }
    if train.status == "diverged":
        note = f"last good step {train.steps}"
        note += f"; {train.message}" if train.message else ""
        return [_line_without_number(origin, "diverged", note)]
    evaluation = _read_evaluation(folder)
    if evaluation.status == "diverged":
        return [_line_without_number(origin, "diverged", f"evaluation: {evaluation.message}")]
    metrics = read_csv(folder / "metrics.csv", Metric).to_dict("records")
    if not metrics:
        raise ConfigError(f"{folder / 'metrics.csv'}: no metrics, though training finished")
    for protocol in dict.fromkeys(metric["protocol"] for metric in metrics):
        metrics += _metrics_of_training(train, protocol)
    return [
        {
            **origin,
            **metric,
            "features_digest": evaluation.features.get(metric["features"], "")[:SHOWN],
            "status": "ok",
            "note": "",
        }
        for metric in metrics
    ]


def _line_without_number(origin: Row, status: str, note: str) -> Row:
    # A line break in a note would break a line of the CSV file and of the tables.
    reason = {"status": status, "note": " ".join(note.split())}
    return {**origin, "protocol": "all", "metric": "all", "value": None, **reason}


def _metrics_of_training(train: TrainRecord, protocol: str) -> Iterator[Row]:
    """Yield how large and how long a training was, as lines of metrics.csv."""
    values = {
        "parameters": train.parameters,
        "seen": train.images * train.epochs,
        "minutes": train.seconds / 60,
        "step": 1000 * train.seconds / train.steps,
    }
    for metric, value in values.items():
        if value is not None:
            line = {"protocol": protocol, "metric": metric, "value": float(value)}
            yield line | {"images": None, "features": ""}


def _read_evaluation(folder: Path) -> EvaluationRecord:
    """Read evaluation.json. Raises ConfigError if a file differs from its recorded digest."""
    evaluation = records.read(folder / "evaluation.json", EvaluationRecord)
    for name, sha256 in evaluation.files.items():
        if digest(folder / name) != sha256:
            raise ConfigError(
                f"{folder / name}: damaged or changed, its SHA-256 is not the one in "
                f"evaluation.json; delete {folder / 'metrics.csv'} to evaluate this cell again"
            )
    return evaluation


def in_tables(plan: Plan, lines: Mapping[str, list[Row]]) -> list[Row]:
    """Return the lines of measured.csv, in the order of the plan's rows.

    lines: cell -> what `measurements` returns. A table has the lines of its own protocols. The size
    and duration of trainings are only in tables that show them.
    """
    shown = []
    for row in plan.rows:
        table = plan.tables[row.table]
        hidden = set(RUN_METRICS) - set(table.metrics)
        for line in lines.get(row.cell, []):
            if line["protocol"] in (*table.protocols, "all") and line["metric"] not in hidden:
                shown.append({"table": row.table, "row": row.row, **line})
    return shown


def gather(
    plan: Plan, states: Mapping[str, State], table: str | None = None
) -> dict[str, pd.DataFrame]:
    """Return data frames `measured`, `in_no_table`, `curves` and `codes`.

    Their lines are Measured, Curve and Codes. in_no_table: the measured lines of first stages that
    no table shows, without table and row. states: of the plan's cells. table: the only table whose
    cells are read. The lines are in the order of the experiment files. Raises ConfigError and
    OSError.
    """
    shown = {row.cell for row in plan.lines_of(table)} if table else plan.cells
    cells = {name: cell for name, cell in plan.cells.items() if name in shown}
    lines = {
        name: measurements(name, cell, plan.budget, states[name]) for name, cell in cells.items()
    }
    measured = [line for line in in_tables(plan, lines) if table in (None, line["table"])]
    unshown = lines.keys() - {row.cell for row in plan.rows}
    in_no_table = [line for name in lines if name in unshown for line in lines[name]]
    finished = {name: cells[name] for name in sorted(cells) if states[name].finished}
    curves = {name: curves_of(cell) for name, cell in finished.items()}
    codes = {
        name: read_csv(Path(cell.folder, "codes.csv"), Codes)
        for name, cell in finished.items()
        if cell.stage == 1
    }
    return {
        "measured": _frame_of(measured),
        "in_no_table": _frame_of(in_no_table),
        "curves": _concatenated(curves, list(Curve.model_fields)),
        "codes": _concatenated(codes, list(Codes.model_fields)),
    }


def _frame_of(lines: list[Row]) -> pd.DataFrame:
    # Without Int64, a missing value would turn a column of counts into floats.
    counts = dict.fromkeys(("images", "epochs", "threads"), "Int64")
    return pd.DataFrame(lines, columns=list(Measured.model_fields)).astype(counts)


def _concatenated(by_cell: Mapping[str, pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    # A run that diverged in its first epoch has an empty log, whose columns have no type.
    filled = [frame.assign(cell=name) for name, frame in by_cell.items() if len(frame)]
    return pd.concat(filled).reindex(columns=columns) if filled else pd.DataFrame(columns=columns)


def curves_of(cell: PlannedCell) -> pd.DataFrame:
    """Return the log of a training; for a generative model with the FID of a few samples."""
    folder = Path(cell.folder)
    log = read_csv(folder / "log.csv", Curve)
    if cell.stage == 1:
        return log
    progress = read_csv(folder / "progress.csv", Progress)[["epoch", "FID"]].astype(float)
    # Epoch 0 is the FID of decoded noise.
    start = {"epoch": 0.0, "step": 0, "images_per_second": 0.0, "seconds": 0.0}
    whole = pd.concat([pd.DataFrame([start]), log], ignore_index=True)
    return whole.merge(progress, on="epoch", how="left")


def collect(plan: Plan, states: Mapping[str, State], out: Path) -> dict[str, pd.DataFrame]:
    """Write measured.csv, curves.csv and codes.csv below `out`, and return what `gather` returns.

    Nothing is written if a line of measured.csv is not valid. Raises ConfigError and OSError.
    """
    frames, file = gather(plan, states), out / "measured.csv"

    def write(path: Path) -> None:
        frames["measured"].to_csv(path, index=False, lineterminator="\n")
        try:
            frames["measured"] = read_csv(path, Measured)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), str(file))) from None

    write_atomically(file, write)
    # The lines of these files were checked when the files of the cells were read.
    for kind in ("curves", "codes"):
        write_text(out / f"{kind}.csv", frames[kind].to_csv(index=False, lineterminator="\n"))
    return frames
