"""Damaged records of a cell are refused by file and line, or give no number, or a sane one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import plans
from workflows.config.lines import Codes, CsvLine, Curve, Measured, read_csv
from workflows.config.plan import Plan
from workflows.errors import ConfigError
from workflows.records.collect import collect
from workflows.records.state import states

KINDS: dict[str, type[CsvLine]] = {"measured": Measured, "curves": Curve, "codes": Codes}
# What an editor, a merge or another program leaves in a file.
FOREIGN = st.sampled_from(
    [
        *("\x00", "\ufeff", '"', '""', ",", ";", "\n", "\r", "\t", "\n\n", "nan", "inf", "-inf"),
        *("1e999", "0x1f", "True", "1_000", " ", "é", "\u2028", "9" * 30, "-1", "=1+1", "None"),
        *("null", "[]", "{}", "<<<<<<< HEAD\n", '"a": 1,'),
    ]
)
CELL = "mnist/m/default/seed0"
RECORD = {
    "train.json": json.dumps(
        {"cell": CELL, "budget": "made_up"}
        | {"status": "finished", "message": "", "epochs": 2, "steps": 6, "seconds": 1.5}
        | {"device": "cpu", "commit": "abc", "dirty": False}
        | {"threads": 1, "dataset_sha256": "da" * 32, "images": 16}
        | {"knobs": plans.cell(dataset="mnist").knobs.model_dump(), "versions": {"method": 1}}
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


@st.composite
def garbled(draw: st.DrawFn, text: str) -> str:
    """`text` cut short, with a piece lost or doubled, or something foreign in it."""
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, max(0, len(text) - 1)))
        stop = draw(st.integers(start, min(len(text), start + 40)))
        before, piece, after = text[:start], text[start:stop], text[stop:]
        foreign = draw(FOREIGN)
        ways = [
            before,
            before + after,
            before + 2 * piece + after,
            before + foreign + piece + after,
        ]
        text = draw(st.sampled_from([*ways, before + foreign + after]))
    return text


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


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One cell, with all that collecting reads of it; whoever damages a file puts it back."""
    folder = tmp_path_factory.mktemp("cells") / CELL
    folder.mkdir(parents=True)
    for name, text in RECORD.items():
        (folder / name).write_text(text)
    Image.new("L", (8, 2)).save(folder / "reconstructions.png")
    return plans.plan({CELL: plans.cell(folder, dataset="mnist")}, [("one", "a", CELL)])


def test_a_whole_record_of_a_cell_is_collected(plan: Plan, tmp_path: Path) -> None:
    collect(plan, states(plan, {}), tmp_path)
    measured = read_csv(tmp_path / "measured.csv", Measured)
    assert measured[["status", "value"]].to_numpy().tolist() == [["ok", 2.5]]
    assert len(read_csv(tmp_path / "curves.csv", Curve)) == 2


@given(data=st.data())
@pytest.mark.parametrize("name", RECORD)
def test_a_damaged_record_of_a_cell_is_refused_and_nothing_written(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, name: str, data: st.DataObject
) -> None:
    """Or it counts as none, or as outdated, and gives no number."""
    out = tmp_path_factory.mktemp("out")
    file = Path(plan.cells[CELL].folder) / name
    text = data.draw(garbled(RECORD[name]))
    message = None
    try:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        collect(plan, states(plan, {}), out)
    except ConfigError as error:
        message = str(error)
    finally:
        file.write_text(RECORD[name])
    if message is not None:
        # Of the cell's file, or of the numbers that came of it.
        assert message.startswith((f"{file}: ", f"{out / 'measured.csv'}: "))
        assert [path.name for path in out.rglob("*") if path.is_file()] == []
        return
    for name, kind in KINDS.items():
        sane(read_csv(out / f"{name}.csv", kind), kind)
