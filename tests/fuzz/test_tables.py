"""Damaged records of a cell are refused by file and line, or give no number, or a sane one."""

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

from tests import plans
from tests.fuzz.damage import JUNK, garbled, spoilt
from workflows.config.lines import Codes, CsvLine, Curve, Measured, read_csv
from workflows.config.plan import Plan
from workflows.config.reading import parse
from workflows.config.records import TrainRecord, read
from workflows.errors import ConfigError
from workflows.records.collect import collect
from workflows.records.state import Today, states

KINDS: dict[str, type[CsvLine]] = {"measured": Measured, "curves": Curve, "codes": Codes}
SNIPPETS = st.sampled_from(
    [
        *("\x00", "\ufeff", '"', '""', ",", ";", "\n", "\r", "\t", "\n\n", "nan", "inf", "-inf"),
        *("1e999", "0x1f", "True", "1_000", " ", "é", "\u2028", "9" * 30, "-1", "=1+1", "None"),
    ]
)


def refused(call: Callable[[], Any]) -> str | None:
    """What the project's own error says; None if it does not refuse."""
    try:
        call()
    except ConfigError as error:
        return str(error)
    return None


def sane(frame: pd.DataFrame, kind: type[CsvLine]) -> None:
    """Numbers are finite, keys differ, texts are lines."""
    numbers = frame.select_dtypes("number")
    # A PSNR may be infinite.
    finite = numbers.drop(columns="value", errors="ignore")
    assert not np.isinf(finite.to_numpy(float)).any()
    assert not frame.duplicated([*kind.KEY]).any()
    for column in frame.columns.difference(numbers.columns):
        texts = frame[column].dropna().astype(str)
        assert not texts.str.contains(r"[\x00-\x1f]").any()


CELL = "mnist/m/default/seed0"
MADE = {
    "train.json": json.dumps(
        {"cell": CELL, "budget": "made_up"}
        | {"status": "finished", "message": "", "epochs": 2, "steps": 6, "seconds": 1.5}
        | {"device": "cpu", "commit": "abc", "dirty": False}
        | {"threads": 1, "dataset_sha256": "da" * 32, "images": 16}
        | {"knobs": plans.knobs(dataset="mnist"), "versions": {"method": 1}}
    ),
    "evaluation.json": json.dumps(
        {"protocols": ["exact"], "versions": {"exact": 1}}
        | {"features": {"net": "fe" * 32}, "files": {}, "dataset_sha256": "da" * 32}
    ),
    "metrics.csv": "protocol,metric,value,images,features\nexact,rFID,2.5,64,net\n",
    "log.csv": "epoch,step,loss,reconstruction,usage,perplexity,images_per_second,seconds\n"
    "1,3,9.5,1,0.5,3,100,0.5\n2,6,8.5,1,0.6,4,100,1\n",
    "codes.csv": "code,count\n0,7\n1,0\n",
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One cell, with all that collecting reads of it; whoever damages a file puts it back."""
    folder = tmp_path_factory.mktemp("cells") / CELL
    folder.mkdir(parents=True)
    for name, text in MADE.items():
        (folder / name).write_text(text)
    Image.new("L", (8, 2)).save(folder / "reconstructions.png")
    return plans.plan({CELL: plans.cell(folder, dataset="mnist")}, [("one", "a", CELL)])


def collected(plan: Plan, out: Path) -> None:
    """As the step does it."""
    collect(plan, states(plan, Today()), out)


def test_a_whole_record_of_a_cell_is_collected(plan: Plan, tmp_path: Path) -> None:
    collected(plan, tmp_path)
    measured = read_csv(tmp_path / "measured.csv", Measured)
    assert measured[["status", "value"]].to_numpy().tolist() == [["ok", 2.5]]
    assert len(read_csv(tmp_path / "curves.csv", Curve)) == 2


@given(data=st.data())
@pytest.mark.parametrize("name", MADE)
def test_a_damaged_record_of_a_cell_is_refused_and_nothing_written(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, name: str, data: st.DataObject
) -> None:
    """Or it counts as none, or as outdated, and gives no number."""
    out = tmp_path_factory.mktemp("out")
    file = Path(plan.cells[CELL].folder) / name
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
    for name, kind in KINDS.items():
        sane(read_csv(out / f"{name}.csv", kind), kind)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\udcff"])
def test_a_record_that_cannot_be_read_gives_no_number(
    tmp_path: Path, plan: Plan, text: str
) -> None:
    file = Path(plan.cells[CELL].folder) / "train.json"
    try:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ConfigError, match=r"not JSON|expected a mapping|not UTF-8"):
            read(file, TrainRecord)
        collected(plan, tmp_path)
    finally:
        file.write_text(MADE["train.json"])
    assert read_csv(tmp_path / "measured.csv", Measured)["value"].isna().all()


@given(data=st.data())
def test_a_damaged_plan_is_refused(plan: Plan, data: st.DataObject) -> None:
    content = data.draw(spoilt(plan.model_dump(mode="json")) | JUNK)
    said = refused(lambda: parse(content, Plan, "plan.json"))
    assert said is None or said.startswith("plan.json: ")
