"""Collecting cells: what is finished, diverged or without its dataset, in a fixed order."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests import plans
from workflows.config.lines import Codes, Curve, Measured, read_csv
from workflows.config.plan import Plan
from workflows.errors import ConfigError
from workflows.files import digest
from workflows.records.collect import collect, gather
from workflows.records.state import State

GOOD, BAD, GONE = (f"{name}/m/default/seed0" for name in ("good", "bad", "gone"))
FINISHED = State((), (), True)
MISSING = State(("not trained",), ("not measured",))
FOUND = {GOOD: FINISHED, BAD: FINISHED, GONE: MISSING}


def run(plan: Plan, out: Path, **found: State) -> pd.DataFrame:
    """Collect, and return measured.csv; found: the state of a cell by the first part of its name,
    where it is another.
    """
    named = {f"{name}/m/default/seed0": one for name, one in found.items()}
    collect(plan, {**FOUND, **named}, out)
    return read_csv(out / "measured.csv", Measured)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three cells, of which the first finished, the second diverged and the third has no data."""
    cells = {}
    for name in (GOOD, BAD, GONE):
        folder = tmp_path / "cells" / name
        missing = "put it\n there" if name == GONE else None
        cells[name] = plans.cell(folder, missing, dataset=name.split("/")[0])
        if name == GONE:
            continue
        folder.mkdir(parents=True)
        finished = name == GOOD
        record = {
            **{"cell": name, "budget": "made_up", "knobs": {}, "images": 16, "seconds": 1.5},
            **{"device": "cpu", "commit": "abc", "threads": 2, "dataset_sha256": "da" * 32},
            "parameters": 1234,
            "dirty": not finished,
        }
        if finished:
            record |= {"status": "finished", "epochs": 2, "steps": 6, "lock_sha256": "10c4" * 16}
        else:
            why = "the loss became nan in epoch 1"
            record |= {"status": "diverged", "epochs": 0, "steps": 0, "message": why}
        about = {"features": {"net": "fe" * 32} if finished else {}, "files": {}}
        (folder / "evaluation.json").write_text(json.dumps(about))
        (folder / "train.json").write_text(json.dumps(record))
        lines = "as_published,rFID,2.5,64,net\n" if finished else ""
        (folder / "metrics.csv").write_text("protocol,metric,value,images,features\n" + lines)
        log = "1,3,9.5,1,0.5,3,100,0.5\n2,6,8.5,1,0.6,4,100,1\n" if finished else ""
        header = "epoch,step,loss,reconstruction,usage,perplexity,images_per_second,seconds\n"
        (folder / "log.csv").write_text(header + log)
        (folder / "codes.csv").write_text("code,count\n0,7\n1,0\n")
    tables = {name: plans.table(protocols=["as_published"]) for name in ("one", "two", "three")}
    rows = [(table, name, name) for table in ("one", "two") for name in cells]
    return plans.plan(cells, rows, tables=tables)


def test_a_table_can_show_what_a_training_takes(plan: Plan, tmp_path: Path) -> None:
    shows = plan.tables["two"].model_copy(update={"metrics": ["rFID", "parameters", "step"]})
    tables = {**plan.tables, "two": shows}
    measured = run(plan.model_copy(update={"tables": tables}), tmp_path)
    lines = measured[measured["status"] == "ok"].set_index(["table", "metric"])["value"]
    # 1.5 seconds for six steps.
    expected = {("one", "rFID"): 2.5, ("two", "rFID"): 2.5}
    assert lines.to_dict() == expected | {("two", "parameters"): 1234, ("two", "step"): 250}


def test_every_row_is_kept_with_its_reason(plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "out"
    measured = run(plan, out)
    assert list(measured["status"]) == ["ok", "diverged", "dataset_missing"] * 2
    why = "last good step 0; the loss became nan in epoch 1"
    assert list(measured["note"][:3]) == ["", why, "put it there"]
    assert measured["value"].isna().tolist() == [False, True, True] * 2
    assert list(measured["commit"][:3]) == ["abc", "abc+changes", ""]
    digests = measured[["threads", "dataset_digest", "features_digest", "lock_digest"]]
    assert digests[:2].to_numpy().tolist() == [
        [2, "da" * 6, "fe" * 6, "10c4" * 3],
        [2, "da" * 6, "", ""],
    ]
    assert "2.5,64,ok" in (out / "measured.csv").read_text()
    assert len(read_csv(out / "curves.csv", Curve)) == 2
    assert len(read_csv(out / "codes.csv", Codes)) == 4


def test_a_cell_that_no_table_shows_is_collected_apart(plan: Plan, tmp_path: Path) -> None:
    plan = plan.model_copy(update={"rows": [row for row in plan.rows if row.cell != GOOD]})
    frames = gather(plan, FOUND)
    assert GOOD not in set(frames["measured"]["cell"])
    metrics = frames["in_no_table"].query("cell == @GOOD").set_index("metric")["value"]
    assert metrics["rFID"] == 2.5


def test_a_file_that_is_not_the_recorded_one_is_not_collected(plan: Plan, tmp_path: Path) -> None:
    folder = Path(plan.cells[GOOD].folder)
    metrics = folder / "metrics.csv"
    about = {"features": {"net": "fe" * 32}, "files": {"metrics.csv": digest(metrics)}}
    (folder / "evaluation.json").write_text(json.dumps(about))
    run(plan, tmp_path / "out")
    # As a table it is good, and so nothing else can tell.
    metrics.write_text(metrics.read_text().replace("2.5", "2.0"))
    with pytest.raises(ConfigError, match=r"metrics\.csv: damaged or changed, .* delete"):
        run(plan, tmp_path / "out")


def test_bad_numbers_are_refused_and_not_written(plan: Plan, tmp_path: Path) -> None:
    metrics = Path(plan.cells[GOOD].folder) / "metrics.csv"
    frame = pd.read_csv(metrics)
    frame.assign(metric="gFID").to_csv(metrics, index=False)
    with pytest.raises(ConfigError, match=r"good/m/default/seed0/metrics\.csv: line 2: .*'gFID'"):
        run(plan, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.csv"))
    frame.head(0).to_csv(metrics, index=False)
    with pytest.raises(ConfigError, match="no metrics, though training finished"):
        run(plan, tmp_path / "out")


def test_one_table_takes_its_own_cells_alone(plan: Plan) -> None:
    rows = [row for row in plan.rows if row.table == "one" or row.cell == GONE]
    plan = plan.model_copy(update={"rows": rows})
    # A cell of the other table that cannot be read is not looked at.
    (Path(plan.cells[GOOD].folder) / "metrics.csv").write_text("cut off")
    frames = gather(plan, FOUND, "two")
    assert frames["measured"][["table", "cell"]].to_numpy().tolist() == [["two", GONE]]
    assert frames["curves"].empty
    with pytest.raises(ConfigError, match=r"table 'four' is unknown; .*allowed: one, two, three"):
        gather(plan, FOUND, "four")


def test_a_table_has_the_numbers_of_its_own_protocols(plan: Plan, tmp_path: Path) -> None:
    metrics = Path(plan.cells[GOOD].folder) / "metrics.csv"
    metrics.write_text(metrics.read_text() + "exact,rFID,3.5,64,net\n")
    two = plans.table(protocols=["exact", "as_published"])
    measured = run(plan.model_copy(update={"tables": {**plan.tables, "two": two}}), tmp_path)
    shown = measured.loc[measured["cell"] == GOOD, ["table", "protocol"]].to_numpy().tolist()
    assert shown == [["one", "as_published"], ["two", "as_published"], ["two", "exact"]]


def test_an_outdated_record_gives_its_reason_and_no_number(plan: Plan, tmp_path: Path) -> None:
    """The captions would say today's settings of it."""
    measured = run(plan, tmp_path, good=State(("epochs was 2,\n is 8",), (), True))
    lines = measured[measured["cell"] == GOOD]
    assert set(lines["status"]) == {"outdated"}
    assert set(lines["note"]) == {"epochs was 2, is 8"}
    assert lines["value"].isna().all()


def test_numbers_are_kept_where_their_images_are_not_at_hand(plan: Plan, tmp_path: Path) -> None:
    cells = {
        name: cell.model_copy(update={"missing": "fetch it"}) for name, cell in plan.cells.items()
    }
    measured = run(plan.model_copy(update={"cells": cells}), tmp_path, bad=MISSING)
    assert list(measured["status"][:3]) == ["ok", "dataset_missing", "dataset_missing"]
    # A cell that is not made yet has no line.
    assert GOOD not in set(run(plan, tmp_path, good=MISSING)["cell"])
