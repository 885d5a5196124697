"""Collecting cells: what is finished, diverged or without its dataset, in a fixed order."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from workflows.files import digest
from workflows.schema import ConfigError, read_csv
from workflows.steps.collect import measured_part, of_table, run, with_records

GOOD, BAD, GONE = (f"{name}/m/default/seed0" for name in ("good", "bad", "gone"))


@pytest.fixture
def plan(tmp_path: Path) -> dict:
    """Three cells, of which the first finished, the second diverged and the third has no data."""
    cells = {}
    for name in (GOOD, BAD, GONE):
        folder = tmp_path / "cells" / name
        knobs = {"dataset": name.split("/")[0], "seed": 0, "epochs": 2}
        missing = "put it\n there" if name == GONE else None
        cells[name] = {"folder": str(folder), "knobs": knobs, "missing": missing}
        if name == GONE:
            continue
        folder.mkdir(parents=True)
        finished = name == GOOD
        record = {
            "status": "finished" if finished else "diverged",
            "message": "" if finished else "the loss became nan in epoch 1",
            "epochs": 2 if finished else 0,
            "steps": 6 if finished else 0,
            "seconds": 1.5,
            "device": "cpu",
            "commit": "abc",
            "dirty": not finished,
            "threads": 2,
            "dataset_sha256": "da" * 32,
        }
        if finished:
            record["lock_sha256"] = "10c4" * 16
            about = {"features": {"net": "fe" * 32}, "files": {}}
            (folder / "evaluation.json").write_text(json.dumps(about))
        (folder / "train.json").write_text(json.dumps(record))
        lines = "as_published,rFID,2.5,64,net\n" if finished else ""
        (folder / "metrics.csv").write_text("protocol,metric,value,images,features\n" + lines)
        log = "1,3,9.5,1,0.5,3,100,0.5\n2,6,8.5,1,0.6,4,100,1\n" if finished else ""
        header = "epoch,step,loss,reconstruction,usage,perplexity,images_per_second,seconds\n"
        (folder / "log.csv").write_text(header + log)
        (folder / "codes.csv").write_text("code,count\n0,7\n1,0\n")
        Image.new("L", (8, 2)).save(folder / "reconstructions.png")
    rows = [{"table": t, "row": n, "cell": n} for t in ("one", "two") for n in cells]
    return {
        "budget": "made_up",
        "cells": cells,
        "rows": rows,
        "tables": {"one": {}, "two": {}, "three": {}},
    }


def test_every_row_is_kept_with_its_reason(plan: dict, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(plan, out)
    measured = read_csv(out / "measured.csv", "measured")
    assert list(measured["status"]) == ["ok", "diverged", "dataset_missing"] * 2
    assert list(measured["note"][:3]) == [
        "",
        "last good step 0; the loss became nan in epoch 1",
        "put it there",
    ]
    assert measured["value"].isna().tolist() == [False, True, True] * 2
    assert list(measured["commit"][:3]) == ["abc", "abc+changes", ""]
    digests = measured[["threads", "dataset_digest", "features_digest", "lock_digest"]]
    assert digests[:2].to_numpy().tolist() == [
        [2, "da" * 6, "fe" * 6, "10c4" * 3],
        [2, "da" * 6, "", ""],
    ]
    assert "2.5,64,ok" in (out / "measured.csv").read_text()
    assert len(read_csv(out / "curves.csv", "curves")) == 2
    assert len(read_csv(out / "codes.csv", "codes")) == 4
    pictures = {path.name for path in (out / "reconstructions").iterdir()}
    assert pictures == {f"{name.replace('/', '__')}.png" for name in (GOOD, BAD)}


def test_collecting_twice_gives_the_same_bytes_and_drops_stale_pictures(
    plan: dict, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(plan, out)
    before = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    (out / "reconstructions" / "old.png").write_bytes(b"")
    run(plan, out)
    assert before == {path.name: path.read_bytes() for path in out.glob("*.csv")}
    assert not (out / "reconstructions" / "old.png").exists()


def test_nothing_measured_is_three_empty_files(plan: dict, tmp_path: Path) -> None:
    for cell in plan["cells"].values():
        cell["missing"] = "put it there"
    run(plan, tmp_path / "out")
    assert set(read_csv(tmp_path / "out" / "measured.csv", "measured")["value"].isna()) == {True}
    assert len(read_csv(tmp_path / "out" / "curves.csv", "curves")) == 0
    assert len(read_csv(tmp_path / "out" / "codes.csv", "codes")) == 0


def test_a_file_that_is_not_the_recorded_one_is_not_collected(plan: dict, tmp_path: Path) -> None:
    folder = Path(plan["cells"][GOOD]["folder"])
    metrics = folder / "metrics.csv"
    about = {"features": {"net": "fe" * 32}, "files": {"metrics.csv": digest(metrics)}}
    (folder / "evaluation.json").write_text(json.dumps(about))
    run(plan, tmp_path / "out")
    # As a table it is good, and so nothing else can tell.
    metrics.write_text(metrics.read_text().replace("2.5", "2.0"))
    with pytest.raises(ConfigError, match=r"metrics\.csv: damaged or changed, .* delete"):
        run(plan, tmp_path / "out")


def test_bad_numbers_are_refused_and_not_written(plan: dict, tmp_path: Path) -> None:
    metrics = Path(plan["cells"][GOOD]["folder"]) / "metrics.csv"
    frame = pd.read_csv(metrics)
    frame.assign(metric="gFID").to_csv(metrics, index=False)
    with pytest.raises(ConfigError, match=r"good/m/default/seed0/metrics\.csv: line 2: .*'gFID'"):
        run(plan, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.csv"))


def test_a_finished_cell_without_metrics_is_refused(plan: dict, tmp_path: Path) -> None:
    metrics = Path(plan["cells"][GOOD]["folder"]) / "metrics.csv"
    metrics.write_text("protocol,metric,value,images,features\n")
    with pytest.raises(ConfigError, match="no metrics, though training finished"):
        run(plan, tmp_path / "out")


def test_one_table_takes_its_own_cells_alone(plan: dict, tmp_path: Path) -> None:
    plan["rows"] = [row for row in plan["rows"] if row["table"] == "one" or row["cell"] == GONE]
    part = of_table(plan, "two")
    assert list(part["cells"]) == [GONE]
    run(part, tmp_path / "two")
    measured = read_csv(tmp_path / "two" / "measured.csv", "measured")
    assert list(measured["table"]) == ["two"]
    assert list((tmp_path / "two" / "reconstructions").iterdir()) == []
    with pytest.raises(ConfigError, match="unknown table 'four'; allowed: one, two, three"):
        of_table(plan, "four")


@pytest.mark.parametrize(
    ("made", "sampled", "why"),
    [
        ({"epochs": 2, "dataset": "good"}, {}, None),
        # Settings that there were not yet, or are no longer, are not known to differ.
        ({"size": 8}, {"status": "diverged"}, None),
        ({"epochs": 2}, {"guidance": 3.0, "seconds": 9.0}, None),
        ({"epochs": 1}, {}, "epochs was 1, is 2"),
        ({"epochs": 1}, {"guidance": 1.0}, "epochs was 1, is 2; guidance was 1.0, is 3.0"),
    ],
)
def test_what_was_made_with_other_settings_is_left_out(
    plan: dict, capsys: pytest.CaptureFixture, made: dict, sampled: dict, why: str | None
) -> None:
    """Its caption would say the settings of today."""
    plan["cells"][GOOD]["knobs"]["guidance"] = 3.0
    folder = Path(plan["cells"][GOOD]["folder"])
    record = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps({**record, "knobs": made}))
    if sampled:
        (folder / "sampling.json").write_text(json.dumps({"status": "finished", **sampled}))
    assert (GOOD in measured_part(plan)["cells"]) == (why is None)
    said = "" if why is None else f"collect: left out {GOOD}: {why}\n"
    assert capsys.readouterr().err == said


def test_what_is_measured_so_far_can_be_collected(plan: dict, tmp_path: Path) -> None:
    (Path(plan["cells"][GOOD]["folder"]) / "metrics.csv").unlink()
    plan["cells"][BAD]["missing"] = "evaluated before its data were deleted"
    part = measured_part(plan)
    assert list(part["cells"]) == [BAD]
    assert part["cells"][BAD]["missing"] is None
    run(part, tmp_path / "out")
    assert set(read_csv(tmp_path / "out" / "measured.csv", "measured")["cell"]) == {BAD}


@pytest.mark.parametrize("gone", ["train.json", "log.csv", "sampling.json"])
def test_what_is_being_made_again_is_left_out(
    plan: dict, tmp_path: Path, capsys: pytest.CaptureFixture, gone: str
) -> None:
    """Snakemake deletes a step's outputs when it begins, and its metrics are still there."""
    folder = Path(plan["cells"][GOOD]["folder"])
    about = {"features": {}, "files": {"sampling.json": "ab" * 32}}
    (folder / "evaluation.json").write_text(json.dumps(about))
    (folder / "sampling.json").write_text(json.dumps({"status": "finished"}))
    plan["cells"][BAD]["missing"] = None
    assert GOOD in measured_part(plan)["cells"]
    (folder / gone).unlink()
    capsys.readouterr()
    part = measured_part(plan)
    assert list(part["cells"]) == [BAD]
    said = f"collect: left out {GOOD}: being made again, it has no {gone}\n"
    assert capsys.readouterr().err == said
    run(part, tmp_path / "out")


def test_numbers_are_kept_where_their_images_are_not_at_hand(plan: dict, tmp_path: Path) -> None:
    plan["cells"][GOOD]["missing"] = plan["cells"][BAD]["missing"] = "fetch it"
    (Path(plan["cells"][BAD]["folder"]) / "metrics.csv").unlink()
    run(with_records(plan), tmp_path / "out")
    measured = read_csv(tmp_path / "out" / "measured.csv", "measured")
    assert list(measured["status"][:3]) == ["ok", "dataset_missing", "dataset_missing"]
    plan["cells"][GOOD]["knobs"]["epochs"] = 3
    record = Path(plan["cells"][GOOD]["folder"]) / "train.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "knobs": {"epochs": 2}}))
    assert with_records(plan)["cells"][GOOD]["missing"] == "fetch it"
