"""Gather every cell's numbers: `python -m workflows.steps.collect --plan FILE --out FOLDER`."""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from workflows.files import digest, write_atomically
from workflows.reading import read_csv, read_json, read_plan
from workflows.records import changed
from workflows.schema import ConfigError, schema

Row = dict[str, Any]
# Hexadecimal digits of a digest in measured.csv; the cell's records have all of them.
SHOWN = 12
# Stage -> a cell's pictures, and what is added to the cell's name for them.
PICTURES = {
    1: {"reconstructions.png": ""},
    2: {"samples.png": "", "neighbours.png": "__neighbours"},
}


def measurements(cell: str, planned: Row, budget: str) -> list[Row]:
    """The cell's rows of measured.csv, but for `table` and `row`.

    planned: `{folder, knobs, missing}`; missing is the advice for a dataset that cannot be had, or
    null. A cell without numbers gives one row that says why. Raises ConfigError and OSError.
    """
    known = {
        "dataset": planned["knobs"]["dataset"],
        "cell": cell,
        "seed": planned["knobs"]["seed"],
        "budget": budget,
    }
    if planned["missing"]:
        advice = " ".join(planned["missing"].split())
        return [{**known, **_nothing("dataset_missing", advice)}]
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
    metrics = read_csv(folder / "metrics.csv", "metrics")
    if metrics.empty:
        raise ConfigError(f"{folder / 'metrics.csv'}: no metrics, though training finished")
    features = evaluation["features"]
    found = [
        dict(zip(map(str, metrics), values, strict=True))
        for values in metrics.itertuples(index=False)
    ]
    for row in found:
        row["features_digest"] = features.get(row["features"], "")[:SHOWN]
    return [{**known, **row, "status": "ok", "note": ""} for row in found]


def _evaluation(folder: Path) -> Row:
    """`features`, names of metric networks -> digests of their weights, and `files`, those of the
    cell; none of a cell from before they were recorded.

    Raises ConfigError if one of the files is not the one that was recorded.
    """
    file = folder / "evaluation.json"
    if not file.exists():
        return {"features": {}, "files": {}}
    found = read_json(file, "evaluation")
    for name, wanted in found["files"].items():
        if digest(folder / name) != wanted:
            raise ConfigError(
                f"{folder / name}: damaged or changed, its SHA-256 is not the one in {file.name}; "
                f"delete {folder / 'metrics.csv'} to evaluate this cell again"
            )
    return found


def gather(plan: Row) -> dict[str, pd.DataFrame]:
    """Data frames `measured`, `curves` and `codes` with the columns of their schemas.

    Lines follow the plan's order, which is that of the experiment files.
    """
    cells = plan["cells"]
    rows = {name: measurements(name, cells[name], plan["budget"]) for name in cells}
    measured = [
        {"table": line["table"], "row": line["row"], **values}
        for line in plan["rows"]
        for values in rows[line["cell"]]
    ]
    frames = {"measured": _typed(measured)}
    present = [name for name in sorted(cells) if not cells[name]["missing"]]
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


def measured_part(plan: Row) -> Row:
    """The part of a plan whose cells have been evaluated; the others are not measured.

    What has been evaluated counts also where its dataset is not at hand any more. How to get a
    dataset is left to a run that needs it. What was made with other settings than the plan's does
    not count, since tables and captions would say the plan's of it; nor does what is being made
    again.
    """
    cells = {
        name: {**planned, "missing": None}
        for name, planned in plan["cells"].items()
        if _usable(name, planned)
    }
    return {**plan, "cells": cells, "rows": [r for r in plan["rows"] if r["cell"] in cells]}


def with_records(plan: Row) -> Row:
    """The plan, of which no cell counts as without its dataset if it has been evaluated: numbers
    that are there are not given up because the images behind them are not at hand.
    """
    cells = {
        name: {**planned, "missing": None}
        if planned["missing"] and _usable(name, planned)
        else planned
        for name, planned in plan["cells"].items()
    }
    return {**plan, "cells": cells}


def _usable(cell: str, planned: Row) -> bool:
    """Whether a cell has been evaluated as planned and all of it is there; standard error says why
    one that was evaluated is left out.
    """
    folder = Path(planned["folder"])
    if not (folder / "metrics.csv").is_file():
        return False
    # Snakemake deletes what a step is to make again, and leaves what later steps made of it.
    gone = next((name for name in _recorded(folder) if not (folder / name).is_file()), None)
    if gone:
        print(f"collect: left out {cell}: being made again, it has no {gone}", file=sys.stderr)
        return False
    return not _outdated(cell, planned)


def _recorded(folder: Path) -> list[str]:
    """The files that a cell's numbers rest on."""
    file = folder / "evaluation.json"
    files = read_json(file, "evaluation")["files"] if file.exists() else {}
    return ["train.json", "log.csv", *files]


def _outdated(cell: str, planned: Row) -> bool:
    """Whether a cell was made with other settings; standard error says which."""
    folder = Path(planned["folder"])
    file = folder / "sampling.json"
    sampled = read_json(file, "sampling") if file.exists() else {}
    record = read_json(folder / "train.json", "record")
    differences = list(changed(planned["knobs"], record, sampled))
    if differences:
        print(f"collect: left out {cell}: {'; '.join(differences)}", file=sys.stderr)
    return bool(differences)


def run(plan: Row, out: Path) -> None:
    """Write measured.csv, curves.csv, codes.csv and reconstructions/ below `out`, atomically."""
    for kind, frame in gather(plan).items():
        _write(frame, kind, out / f"{kind}.csv")
    pictures = out / "reconstructions"
    pictures.mkdir(parents=True, exist_ok=True)
    wanted = set()
    for name, planned in plan["cells"].items():
        if planned["missing"]:
            continue
        for file, ending in PICTURES[_stage(planned)].items():
            target = pictures / f"{name.replace('/', '__')}{ending}.png"
            wanted.add(target)
            source = Path(planned["folder"]) / file
            write_atomically(target, partial(shutil.copyfile, source))
    for stale in set(pictures.glob("*.png")) - wanted:
        stale.unlink()


def _write(frame: pd.DataFrame, kind: str, file: Path) -> None:
    """Measurements are checked before the file takes the name that others read; the lines of curves
    and codes were, when the cells' own files were read.
    """

    def write(path: Path) -> None:
        frame.to_csv(path, index=False, lineterminator="\n")
        if kind != "measured":
            return
        try:
            read_csv(path, kind)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(path), str(file))) from None

    write_atomically(file, write)


def _nothing(status: str, note: str) -> Row:
    return {"protocol": "all", "metric": "all", "value": None, "status": status, "note": note}


def _typed(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(schema("measured")["properties"]))
    for column in ("images", "epochs", "threads"):
        # Otherwise one missing value makes a float of every number of images.
        frame[column] = pd.to_numeric(frame[column]).astype("Int64")
    return frame


def main() -> int:
    """Parse the command line; 1 and one line on standard error for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--table", help="only this table's rows and cells")
    parser.add_argument("--so-far", action="store_true", help="leave out unfinished cells")
    parser.add_argument("--out", type=Path, required=True, help="folder, such as results/embedded")
    arguments = parser.parse_args()
    try:
        plan = read_plan(arguments.plan)
        plan = of_table(plan, arguments.table) if arguments.table else plan
        run(measured_part(plan) if arguments.so_far else with_records(plan), arguments.out)
    except (ConfigError, OSError) as error:
        print(f"collect: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
