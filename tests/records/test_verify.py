"""Results are held against their records, link by link."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import plans
from workflows.config.plan import Plan
from workflows.config.provenance import ROOT
from workflows.errors import BenchmarkError
from workflows.files import digest, write_json
from workflows.records import collect as collecting
from workflows.records import verify as command
from workflows.records.state import Digests, states
from workflows.records.verify import Finding

CELL = "photo_patches/cvq_vae/default/seed0"
FEATURES = "inception (route)"
IMAGES = {"train": "da" * 32, "test": "7e" * 32, "labels": "1a" * 32}
LOCK = digest(ROOT / "requirements.lock")
PREPARED = {"photo_patches": IMAGES}


def plan_of(results: Path) -> Plan:
    """The plan of the smoke budget. results: the folder of the budget's results."""
    return plans.real("smoke", str(results.parent))


def verify(results: Path, prepared: Digests = PREPARED) -> list[Finding]:
    """The findings of the smoke budget."""
    return command.verify(plan_of(results), states(plan_of(results), prepared))


def change(file: Path, **values: Any) -> None:
    """Change what a JSON file says; None takes a key out."""
    content = {**json.loads(file.read_text(encoding="utf-8")), **values}
    write_json(file, {key: value for key, value in content.items() if value is not None})


def sign(folder: Path) -> None:
    """Write the digests anew, as whoever changes a record without a trace would."""
    change(folder / "train.json", log_sha256=digest(folder / "log.csv"))
    files = {name: digest(folder / name) for name in ("train.json", "codes.csv", "metrics.csv")}
    change(folder / "evaluation.json", files=files)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with the records of one cell, and what is collected of it."""
    results = tmp_path / "smoke"
    folder = results / "cells" / CELL
    folder.mkdir(parents=True)
    header = "epoch,step,loss,reconstruction,usage,perplexity,images_per_second,seconds\n"
    (folder / "log.csv").write_text(f"{header}1,2,0.5,0.5,0.1,3,100,2.5\n")
    (folder / "codes.csv").write_text("code,count\n0,4\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "reconstructions.png").touch()
    (folder / "metrics.csv").write_text(
        f"protocol,metric,value,images,features\nexact,l1,0.0625,10,\nexact,rFID,9.5,10,{FEATURES}\n"
    )
    wanted = plan_of(results).cells[CELL]
    maker = {"commit": "abc", "dirty": False, "lock_sha256": LOCK, "device": "cpu", "threads": 1}
    record = {
        **{"status": "finished", "budget": "smoke", "cell": CELL, "epochs": 1, **maker},
        **{"message": "", "steps": 2, "seconds": 2.5, "dataset_sha256": IMAGES["train"]},
        **wanted.model_dump(include={"knobs", "versions", "images"}),
        "model_sha256": digest(folder / "model.safetensors"),
    }
    write_json(folder / "train.json", record)
    about = {"dataset_sha256": IMAGES["test"], "features": {FEATURES: "fe" * 32}}
    write_json(folder / "evaluation.json", {**maker, **wanted.evaluation.model_dump(), **about})
    sign(folder)
    collecting.collect(plan_of(results), states(plan_of(results), PREPARED), results)
    return results


def test_what_was_just_made_is_ok(results: Path) -> None:
    assert verify(results) == [(CELL, "ok", "")]
    measured = pd.read_csv(results / "measured.csv", keep_default_na=False)
    of_metric = measured.groupby("metric")["features_digest"].first()
    assert of_metric.to_dict() == {"l1": "", "rFID": "fe" * 6}
    # What published records lack, in a clone without caches.
    (results / "cells" / CELL / "model.safetensors").unlink()
    assert verify(results, {}) == [(CELL, "ok", "")]


def edited(file: str) -> Callable[[Path], None]:
    return lambda cell: (cell / file).write_text((cell / file).read_text().replace("5", "6"))


def retrained(**values: Any) -> Callable[[Path], None]:
    """Another training left that record, in order in itself."""

    def make(cell: Path) -> None:
        change(cell / "train.json", **values)
        sign(cell)

    return make


@pytest.mark.parametrize(
    ("make", "state", "why"),
    [
        (edited("metrics.csv"), "altered", "metrics.csv is not the file that was recorded"),
        (lambda cell: change(cell / "train.json", seconds=2.0), "altered", "train.json is not"),
        (lambda cell: (cell / "model.safetensors").write_bytes(b"w"), "altered", "model.safet"),
        (lambda cell: (cell / "codes.csv").unlink(), "altered", "codes.csv is missing"),
        (lambda cell: (cell / "train.json").write_text("{"), "altered", "cannot be read"),
        (
            retrained(cell="photo_patches/vq_vae/default/seed0"),
            "outdated",
            "is of photo_patches/vq",
        ),
        (
            retrained(versions=None),
            "outdated",
            "of an older release; make cell trains it again",
        ),
        (retrained(dirty=True), "unproven", "commit abc had uncommitted changes"),
    ],
)
def test_what_differs_is_named(
    results: Path, make: Callable[[Path], None], state: str, why: str
) -> None:
    make(results / "cells" / CELL)
    # As if it had been collected since: measured.csv is held against metrics.csv elsewhere.
    (results / "measured.csv").unlink()
    (finding,) = verify(results)
    assert finding.state == state
    assert why in finding.why


def test_a_number_changed_in_measured_csv_is_altered(results: Path) -> None:
    file = results / "measured.csv"
    measured = pd.read_csv(file, keep_default_na=False)
    for column, value in (("value", 9.25), ("commit", "other")):
        changed = measured.astype({column: object})
        changed.loc[changed.index[-1], column] = value
        changed.to_csv(file, index=False)
        (finding,) = verify(results)
        assert finding.state == "altered"
        assert finding.why == "measured.csv: its rows are not those of its records"
    measured[measured["table"] != "anchors"].to_csv(file, index=False)
    (finding,) = verify(results)
    assert finding.state == "altered"


def test_what_no_table_asks_for_is_foreign(results: Path) -> None:
    stranger = results / "cells" / "photo_patches/cvq_vae/K3/seed0"
    stranger.mkdir(parents=True)
    (stranger / "train.json").write_text("{}")
    file = results / "measured.csv"
    measured = pd.read_csv(file, keep_default_na=False)
    another = measured.iloc[:1].assign(cell="photo_patches/vq_vae/default/seed0")
    pd.concat([measured, another]).to_csv(file, index=False)
    states = {finding.why: finding.state for finding in verify(results)}
    assert states["budget smoke has no such cell"] == "foreign"
    assert states["measured.csv has its numbers, but there is no record"] == "foreign"


def test_the_command_fails_unless_something_is_there_and_all_is_ok(
    results: Path, tmp_path: Path
) -> None:
    assert command.main("smoke", tmp_path, tmp_path / "none") == 0
    edited("metrics.csv")(results / "cells" / CELL)
    assert command.main("smoke", tmp_path, tmp_path / "none") == 1
    with pytest.raises(BenchmarkError, match="nothing has been measured"):
        command.main("smoke", tmp_path / "empty", tmp_path)
