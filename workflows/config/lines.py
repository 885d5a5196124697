"""The lines of every CSV file, and how a file of them is read."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, get_args

import pandas as pd
from pydantic import ConfigDict, Field, ValidationError

from workflows.config.names import MetricName, Name, Protocol
from workflows.config.reading import explain, read_text
from workflows.errors import ConfigError
from workflows.knobs import Closed

CellId = Annotated[str, Field(pattern=r"^[^/ ]+/[^/ ]+/[^/ ]+/seed[0-9]+$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]*$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Label = Annotated[Text, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, lt=10**18)]
Many = Annotated[int, Field(ge=1, lt=10**18)]
Positive = Annotated[float, Field(ge=0)]
# The PSNR of equal images is infinite; no bound holds for nan.
Value = Annotated[float, Field(allow_inf_nan=True, ge=-math.inf)]


class CsvLine(Closed):
    """A line of a CSV file, whose columns are the fields. An empty cell of numbers is None.

    KEY: the columns in which no two lines of a file are alike.
    """

    model_config = ConfigDict(strict=False)

    KEY: ClassVar[tuple[str, ...]]


class Measured(CsvLine):
    """One measured number. A line that is not ok has protocol and metric "all", a note, no value.

    Digests are the first digits of SHA-256: of the training images, of the metric network's weights
    (where the metric has one), and of the file that pins the packages.
    """

    KEY = ("table", "row", "dataset", "protocol", "metric", "cell")

    table: Name
    row: Label
    dataset: Name
    protocol: Protocol | Literal["samples", "all"]
    metric: MetricName | Literal["all"]
    value: Value | None
    images: Many | None
    status: Literal["ok", "diverged", "dataset_missing", "outdated"]
    cell: CellId
    seed: Count
    epochs: Count | None
    budget: Label
    features: Text
    commit: Text
    device: Text
    seconds: Positive | None
    threads: Many | None
    dataset_digest: Digest
    features_digest: Digest
    lock_digest: Digest
    note: Text


class Metric(CsvLine):
    """One number that a cell's evaluation found, in its metrics.csv."""

    KEY = ("protocol", "metric")

    protocol: Protocol | Literal["samples"]
    metric: MetricName
    value: Value
    images: Many
    features: Text


class Curve(CsvLine):
    """One record of a training, in a cell's log.csv or, collected, with the cell's name.

    Epochs count in fractions; usage and perplexity are over the first 500 validation images. A
    diffusion model has no reconstruction and no codes, but collected it has at some epochs the
    Fréchet distance of a few samples; its epoch 0 is noise, decoded.
    """

    KEY = ("cell", "step")

    cell: CellId = ""
    epoch: Positive
    step: Count
    loss: float | None
    reconstruction: float | None = None
    usage: Annotated[float, Field(ge=0, le=1)] | None = None
    perplexity: Positive | None = None
    FID: float | None = None
    images_per_second: Positive
    seconds: Positive


class Progress(CsvLine):
    """What a few samples were worth during a diffusion model's training, in progress.csv."""

    KEY = ("epoch",)

    epoch: Positive
    images: Many
    FID: float


class Codes(CsvLine):
    """How often the test split hit one code, in a cell's codes.csv or, collected, with its name."""

    KEY = ("cell", "code")

    cell: CellId = ""
    code: Count
    count: Count


class Published(CsvLine):
    """One number of a publication; value keeps the digits, and any % sign, of the source."""

    KEY = ("table", "row", "dataset", "protocol", "metric", "source")

    table: Name
    row: Label
    dataset: Name
    protocol: Literal["as_published"]
    metric: Label
    value: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?%?$")]
    source: Label
    evidence: Label
    note: Text


def read_csv(path: Path, kind: type[CsvLine]) -> pd.DataFrame:
    """The lines of a CSV file, every value checked. Columns that have a default may be missing.

    Columns of text keep the digits of the source; an empty cell is an empty string in a column of
    text and NaN in a column of numbers. Raises ConfigError naming the file and the line.
    """
    text = read_text(path).removeprefix("\ufeff")
    if not text.endswith("\n"):
        raise ConfigError(f"{path}: empty or cut short: the last line has no end")
    try:
        named, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error})") from None
    fields = kind.model_fields.items()
    columns = [name for name, field in fields if field.is_required() or name in named]
    if named != columns:
        raise ConfigError(f"{path}: columns are {', '.join(named)}; expected {', '.join(columns)}")
    optional = {name for name, field in fields if NoneType in get_args(field.annotation)}
    lines: list[dict[str, Any]] = []
    found: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 2):
        where = f"{path}: line {number}"
        if len(row) != len(columns):
            raise ConfigError(f"{where}: must have {len(columns)} values")
        pairs = zip(columns, row, strict=True)
        line = {name: value if value or name not in optional else None for name, value in pairs}
        try:
            lines.append(dict(kind.model_validate(line)))
        except ValidationError as error:
            raise ConfigError(explain(error, where)[0]) from None
        first = found.setdefault(tuple(lines[-1][name] for name in kind.KEY), number)
        if first != number:
            raise ConfigError(f"{where}: repeats line {first}; {', '.join(kind.KEY)} must differ")
    frame = pd.DataFrame(lines, columns=columns)
    return frame.astype({name: float for name in columns if lines and frame[name].isna().all()})
