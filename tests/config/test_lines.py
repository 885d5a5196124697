"""CSV files: whole ones are read as they stand, others are refused by file, line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workflows.config.lines import Metric, read_csv
from workflows.errors import ConfigError

HEADING = "protocol,metric,value,images,features\n"
LINE = "exact,PSNR,24.5,100,\n"


def test_numbers_and_texts_have_their_types(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(HEADING + LINE + "exact,l1,1e-3,100,007\n" + "as_published,PSNR,inf,1,\n")
    frame = read_csv(file, Metric)
    assert frame["value"].tolist() == [24.5, 0.001, np.inf]
    assert frame["features"].tolist() == ["", "007", ""]
    assert frame["images"].dtype == np.int64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty or cut short"),
        (HEADING + LINE[:-1], "empty or cut short"),
        ("protocol,metric\n", "columns are protocol, metric; expected protocol, metric, value"),
        (HEADING + "exact,PSNR,24.5\n", "line 2: must have 5 values"),
        (HEADING + LINE + LINE, "line 3: repeats line 2; protocol, metric must differ"),
        (HEADING + "exact,PSMR,1,1,\n", "line 2: metric: metric 'PSMR' is unknown; did you mean"),
        (HEADING + "exactly,PSNR,1,1,\n", "line 2: protocol: 'exactly' is not allowed"),
        (HEADING + "exact,PSNR,much,1,\n", "line 2: value: 'much' must be a valid number"),
        (HEADING + "exact,PSNR,nan,1,\n", "value: 'nan' must be greater"),
        (HEADING + f"exact,PSNR,1,{2**64},\n", "line 2: images: '.*' must be less than 1000"),
        (HEADING + "exact,PSNR,1,,\n", "line 2: images: '' must be a valid integer"),
        (HEADING + "exact,PSNR,1,0,\n", "line 2: images: '0' must be greater than or equal to 1"),
        (HEADING + "exact,PSNR,1,1,a\x07b\n", "line 2: features: "),
        (HEADING + '"exact,PSNR,1,1,\n', "not a CSV"),
    ],
)
def test_a_csv_that_is_not_whole_is_refused_by_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_csv(file, Metric)
    assert str(error.value).startswith(str(file))


def test_a_missing_file_and_one_of_other_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_csv(tmp_path / "no.csv", Metric)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_csv(tmp_path / "bytes.csv", Metric)
