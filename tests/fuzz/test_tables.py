"""Files of numbers that are damaged are refused by file and line, or still mean something sane."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.damage import JUNK, garbled, spoilt
from workflows.collecting import collect
from workflows.reading import read_csv, read_json, read_plan
from workflows.records import Today, states
from workflows.schema import ConfigError, schema

ROOT = Path(__file__).parents[2]
# A file of each kind, short enough to be damaged often where it matters.
FILES = {
    "measured": ROOT / "results/lite/measured.csv",
    "curves": ROOT / "results/lite/curves.csv",
    "verdicts": ROOT / "results/lite/verdicts.csv",
    "published": ROOT / "results/published/methods.csv",
}
SNIPPETS = st.sampled_from(
    [
        *("\x00", "\ufeff", '"', '""', ",", ";", "\n", "\r", "\t", "\n\n", "nan", "inf", "-inf"),
        *("1e999", "0x1f", "True", "1_000", " ", "é", "\u2028", "9" * 30, "-1", "=1+1", "None"),
    ]
)


def lines(kind: str) -> str:
    """The heading and six lines, as the repository has them."""
    return "".join(FILES[kind].read_text(encoding="utf-8").splitlines(keepends=True)[:7])


def refused(call: Callable[[], Any]) -> str | None:
    """What the project's own error says, in one line; None if it does not refuse."""
    try:
        call()
    except ConfigError as error:
        said = str(error)
    else:
        return None
    assert "\n" not in said
    return said


def sane(frame: pd.DataFrame, kind: str) -> None:
    """Numbers are finite, keys differ, texts are lines."""
    rules = schema(kind)
    assert list(frame.columns) == list(rules["properties"])
    numbers = frame.select_dtypes("number")
    # A PSNR may be.
    finite = numbers.drop(columns="value", errors="ignore")
    assert not np.isinf(finite.to_numpy(float)).any()
    assert not frame.duplicated(rules["x-key"]).any()
    for column in frame.columns.difference(numbers.columns):
        texts = frame[column].dropna().astype(str)
        assert not texts.str.contains(r"[\x00-\x1f]").any()


@given(data=st.data())
@pytest.mark.parametrize("kind", FILES)
def test_damaged_csv(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("csv") / f"{kind}.csv"
    file.write_bytes(data.draw(garbled(lines(kind), SNIPPETS)).encode("utf-8"))
    said = refused(lambda: read_csv(file, kind))
    if said is not None:
        assert said.startswith(f"{file}: ")
        return
    frame = read_csv(file, kind)
    sane(frame, kind)
    again = file.with_name("again.csv")
    frame.to_csv(again, index=False)
    pd.testing.assert_frame_equal(read_csv(again, kind), frame)


@pytest.mark.parametrize("kind", FILES)
def test_whole_csv_is_read(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"{kind}.csv"
    for text in (lines(kind), "\ufeff" + lines(kind), lines(kind).replace("\n", "\r\n")):
        file.write_bytes(text.encode("utf-8"))
        sane(read_csv(file, kind), kind)
        assert len(read_csv(file, kind)) == 6


LINE = "mnist/a/b/seed0,1,2,0.5,0.5,0.5,3.0,,100,1.5\n"
HEADING = ",".join(schema("curves")["properties"]) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty or cut short"),
        (HEADING + LINE[:-8], "cut short: its last line has no end"),
        (HEADING + LINE[:-1] + ",\n", "line 2: 11 values, must be 10"),
        (HEADING.replace(",step", "") + LINE, "columns are .* expected cell, epoch, step"),
        (HEADING + LINE + "\n" + LINE, "line 3: 0 values"),
        (HEADING + LINE + LINE, "line 3: repeats line 2; cell, step must differ"),
        (HEADING + LINE.replace("0.5", "nan", 1), "line 2: loss: 'nan' is no finite number"),
        (HEADING + LINE.replace("0.5", "True", 1), "line 2: loss: 'True' is no finite number"),
        (HEADING + LINE.replace(",2,", f",{2**63},"), "line 2: step: '.*' does not fit 64 bits"),
        (HEADING + LINE.replace("mnist", "mn\0ist"), "line 2: cell: unprintable character"),
        (HEADING + LINE.replace("mnist", '"mnist'), "not a CSV"),
        (HEADING + LINE.replace("mnist", "\udcff"), "not UTF-8 text"),
    ],
)
def test_a_csv_that_is_not_whole_is_refused_by_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "curves.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message) as caught:
        read_csv(file, "curves")
    assert str(caught.value).startswith(f"{file}: ")


def test_a_line_of_the_fixture_is_right(tmp_path: Path) -> None:
    file = tmp_path / "curves.csv"
    file.write_text(HEADING + LINE)
    assert len(read_csv(file, "curves")) == 1


CELL = "mnist/m/default/seed0"
MADE = {
    "train.json": json.dumps(
        {"cell": CELL, "budget": "made_up"}
        | {"status": "finished", "message": "", "epochs": 2, "steps": 6, "seconds": 1.5}
        | {"device": "cpu", "commit": "abc", "dirty": False}
        | {"threads": 1, "dataset_sha256": "da" * 32, "images": 900}
        | {"knobs": {"dataset": "mnist", "seed": 0, "epochs": 2}, "versions": {"method": 1}}
    ),
    "evaluation.json": json.dumps(
        {"protocols": ["exact"], "versions": {"exact": 1}, "fid_images": 64, "lpips_images": 64}
        | {"features": {"net": "fe" * 32}, "files": {}, "dataset_sha256": "da" * 32}
    ),
    "metrics.csv": "protocol,metric,value,images,features\nexact,rFID,2.5,64,net\n",
    "log.csv": "epoch,step,loss,reconstruction,usage,perplexity,images_per_second,seconds\n"
    "1,3,9.5,1,0.5,3,100,0.5\n2,6,8.5,1,0.6,4,100,1\n",
    "codes.csv": "code,count\n0,7\n1,0\n",
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One cell, with all that collecting reads of it; whoever damages a file puts it back."""
    folder = tmp_path_factory.mktemp("cells") / CELL
    folder.mkdir(parents=True)
    for name, text in MADE.items():
        (folder / name).write_text(text)
    Image.new("L", (8, 2)).save(folder / "reconstructions.png")
    planned = {
        "cell": CELL,
        "budget": "made_up",
        "folder": str(folder),
        "knobs": {"dataset": "mnist", "seed": 0, "epochs": 2},
        "defaults": {},
        "stage": 1,
        "missing": None,
        "versions": {"method": 1},
        "images": 900,
        "evaluation": {
            **{"protocols": ["exact"], "versions": {"exact": 1}},
            **{"fid_images": 64, "lpips_images": 64},
        },
    }
    return {
        "budget": "made_up",
        "title": "made up",
        "cells": {CELL: planned},
        "rows": [{"table": "one", "row": "a", "cell": CELL}],
        "tables": {"one": {"protocols": ["exact"]}},
        "datasets": {},
    }


def collected(plan: dict[str, Any], out: Path) -> None:
    """As the step does it."""
    collect(plan, states(plan["cells"], Today()), out)


def test_a_whole_record_of_a_cell_is_collected(plan: dict[str, Any], tmp_path: Path) -> None:
    collected(plan, tmp_path)
    measured = read_csv(tmp_path / "measured.csv", "measured")
    assert measured[["status", "value"]].to_numpy().tolist() == [["ok", 2.5]]
    assert len(read_csv(tmp_path / "curves.csv", "curves")) == 2


@given(data=st.data())
@pytest.mark.parametrize("name", MADE)
def test_a_damaged_record_of_a_cell_is_refused_and_nothing_written(
    tmp_path_factory: pytest.TempPathFactory, plan: dict[str, Any], name: str, data: st.DataObject
) -> None:
    """Or it counts as none, or as outdated, and gives no number."""
    out = tmp_path_factory.mktemp("out")
    file = Path(plan["cells"][CELL]["folder"]) / name
    text = data.draw(garbled(MADE[name], SNIPPETS))
    if name.endswith(".json") and data.draw(st.booleans()):
        text = json.dumps(data.draw(spoilt(json.loads(MADE[name]))))
    try:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        said = refused(lambda: collected(plan, out))
    finally:
        file.write_text(MADE[name])
    if said is not None:
        # Of the cell's file, or of the numbers that came of it.
        assert said.startswith((f"{file}: ", f"{out / 'measured.csv'}: "))
        assert [path.name for path in out.rglob("*") if path.is_file()] == []
        return
    for kind in ("measured", "curves", "codes"):
        sane(read_csv(out / f"{kind}.csv", kind), kind)


@pytest.mark.parametrize("name", ["train.json", "evaluation.json"])
@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, "\udcff"])
def test_a_record_that_cannot_be_read_counts_as_none(
    tmp_path: Path, plan: dict[str, Any], name: str, text: str
) -> None:
    file = Path(plan["cells"][CELL]["folder"]) / name
    try:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        collected(plan, tmp_path)
    finally:
        file.write_text(MADE[name])
    assert read_csv(tmp_path / "measured.csv", "measured").empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "is not of type object"),
        ("[" * 100_000, r"not JSON \(nested too deep\)"),
        (MADE["train.json"].replace(": 2,", ": 2.0,"), "epochs: 2.0 is not of type integer"),
        (MADE["train.json"].replace("finished", "done"), "status: 'done' is not allowed"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_record_of_a_training_is_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "train.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=message) as caught:
        read_json(file, "record")
    assert str(caught.value).startswith(f"{file}: ")


@given(data=st.data())
def test_a_damaged_plan_is_refused(
    tmp_path_factory: pytest.TempPathFactory, plan: dict[str, Any], data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    file.write_text(json.dumps(data.draw(spoilt(plan) | JUNK)))
    said = refused(lambda: read_plan(file))
    assert said is None or said.startswith(f"{file}: ")


def test_a_plan_that_shows_a_cell_it_lacks_is_refused(tmp_path: Path, plan: dict[str, Any]) -> None:
    file = tmp_path / "plan.json"
    for key in ("cells", "tables"):
        file.write_text(json.dumps({**plan, key: {}}))
        with pytest.raises(ConfigError, match=r"rows\.0\.(cell|table): '.*' is not in the plan"):
            read_plan(file)
