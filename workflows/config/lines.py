"""The columns of every CSV file, and how such a file is read."""

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
NotNegative = Annotated[float, Field(ge=0)]
# The PSNR of equal images is infinite. The bound refuses nan, which is not above anything.
Value = Annotated[float, Field(allow_inf_nan=True, ge=-math.inf)]


class CsvLine(Closed):
    """A line of a CSV file. The fields are the columns; an empty number is None.

    KEY: the columns that tell the lines of a file apart.
    """

    model_config = ConfigDict(strict=False)

    KEY: ClassVar[tuple[str, ...]]


class Measured(CsvLine):
    """One measured number in measured.csv.

    A line whose status is not "ok" has the protocol and metric "all", no value, and a note. The
    digests are the first digits of SHA-256 of the training images, of the weights of the metric's
    network if there is one, and of the file that pins the packages.
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
    seconds: NotNegative | None
    threads: Many | None
    dataset_digest: Digest
    features_digest: Digest
    lock_digest: Digest
    note: Text


class Metric(CsvLine):
    """One measured number in the metrics.csv of a cell."""

    KEY = ("protocol", "metric")

    protocol: Protocol | Literal["samples"]
    metric: MetricName
    value: Value
    images: Many
    features: Text


class Curve(CsvLine):
    """One moment of a training, in the log.csv of a cell or, with the cell's name, in curves.csv.

    Epochs count in fractions. Usage, perplexity and the mean Euclidean length of the codevectors
    that latents receive are over the first 500 validation images. In curves.csv generative models
    have, at some epochs, the Fréchet distance of a few samples; their epoch 0 is decoded noise.
    """

    KEY = ("cell", "step")

    cell: CellId = ""
    epoch: NotNegative
    step: Count
    loss: float | None
    reconstruction: float | None = None
    usage: Annotated[float, Field(ge=0, le=1)] | None = None
    perplexity: NotNegative | None = None
    codevector_length: NotNegative | None = None
    FID: float | None = None
    images_per_second: NotNegative
    seconds: NotNegative


class Progress(CsvLine):
    """The Fréchet distance of a few samples during a training, in progress.csv."""

    KEY = ("epoch",)

    epoch: NotNegative
    images: Many
    FID: float


class Codes(CsvLine):
    """How often the test images hit a code, in codes.csv of a cell or, collected, of a budget."""

    KEY = ("cell", "code")

    cell: CellId = ""
    code: Count
    count: Count


class Published(CsvLine):
    """One number of a publication. The value keeps the digits of the source, and a % sign."""

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
    """Read a CSV file and check every value. Columns that have a default may be missing.

    An empty cell is an empty string in a column of text and NaN in a column of numbers. Raises
    ConfigError naming the file and the line.
    """
    text = read_text(path).removeprefix("\ufeff")
    if not text.endswith("\n"):
        raise ConfigError(f"{path}: empty or cut short: the last line has no end")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error})") from None
    fields = kind.model_fields.items()
    columns = [name for name, field in fields if field.is_required() or name in header]
    if header != columns:
        raise ConfigError(f"{path}: columns are {', '.join(header)}; expected {', '.join(columns)}")
    optional = {name for name, field in fields if NoneType in get_args(field.annotation)}
    lines: list[dict[str, Any]] = []
    line_of: dict[tuple[Any, ...], int] = {}
    for number, row in enumerate(rows, 2):
        where = f"{path}: line {number}"
        if len(row) != len(columns):
            raise ConfigError(f"{where}: must have {len(columns)} values")
        line: dict[str, Any] = dict(zip(columns, row, strict=True))
        line |= {name: None for name, value in line.items() if not value and name in optional}
        try:
            lines.append(dict(kind.model_validate(line)))
        except ValidationError as error:
            raise ConfigError(explain(error, where)[0]) from None
        first = line_of.setdefault(tuple(lines[-1][name] for name in kind.KEY), number)
        if first != number:
            raise ConfigError(f"{where}: repeats line {first}; {', '.join(kind.KEY)} must differ")
    frame = pd.DataFrame(lines, columns=columns)
    # Pandas gives a column without any number the type of objects.
    return frame.astype({name: float for name in columns if lines and frame[name].isna().all()})
