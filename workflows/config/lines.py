"""The lines of every CSV file, and how a file of them is read."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from workflows.config.names import MetricName, Name, Protocol
from workflows.config.reading import explain, read_text
from workflows.errors import ConfigError
from workflows.knobs import Closed

CellId = Annotated[str, Field(pattern=r"^[^/ ]+/[^/ ]+/[^/ ]+/seed[0-9]+$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]*$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
Label = Annotated[Text, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(ge=0)]
# The PSNR of equal images is infinite.
Value = Annotated[float, Field(allow_inf_nan=True)]
# pandas would make text or objects of other things that Python takes for numbers.
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]+)?([eE][-+]?[0-9]+)?|inf")


class CsvLine(Closed):
    """A line of a CSV file, whose columns are the fields. An empty cell is None.

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
    images: Annotated[int, Field(ge=1)] | None
    status: Literal["ok", "diverged", "dataset_missing", "outdated"]
    cell: CellId
    seed: Count
    epochs: Count | None
    budget: Label
    features: Text
    commit: Text
    device: Text
    seconds: Positive | None
    threads: Annotated[int, Field(ge=1)] | None
    dataset_digest: Digest
    features_digest: Digest
    lock_digest: Digest
    note: Text

    @model_validator(mode="after")
    def _complete(self) -> Measured:
        missing = [key for key in ("value", "images", "epochs") if getattr(self, key) is None]
        if self.status == "ok" and missing:
            raise ValueError(f"{missing[0]}: missing, although the status is ok")
        if self.status != "ok" and (self.value is not None or not self.note):
            raise ValueError(f"a line of status '{self.status}' has a note and no value")
        return self


class Metric(CsvLine):
    """One number that a cell's evaluation found, in its metrics.csv."""

    KEY = ("protocol", "metric")

    protocol: Protocol | Literal["samples"]
    metric: MetricName
    value: Value
    images: Annotated[int, Field(ge=1)]
    features: Text


class Log(CsvLine):
    """One record of an autoencoder's training, in a cell's log.csv. Epochs count in fractions;
    usage and perplexity are over the first 500 validation images.
    """

    KEY = ("step",)

    epoch: Positive
    step: Count
    loss: float
    reconstruction: float
    usage: Annotated[float, Field(ge=0, le=1)] | None
    perplexity: Positive | None
    images_per_second: Positive
    seconds: Positive


class DiffusionLog(CsvLine):
    """One record of a diffusion model's training, in a cell's log.csv."""

    KEY = ("step",)

    epoch: Positive
    step: Count
    loss: float
    images_per_second: Positive
    seconds: Positive


class Progress(CsvLine):
    """What a few samples were worth during a diffusion model's training, in progress.csv."""

    KEY = ("epoch",)

    epoch: Positive
    images: Annotated[int, Field(ge=1)]
    FID: float


class OfCell(CsvLine):
    """A line of the records of a cell, collected."""

    cell: CellId


class Curve(OfCell):
    """One record of a training, collected. A diffusion model has no reconstruction and no codes,
    but at some epochs the Fréchet distance of a few samples; epoch 0 is noise, decoded.
    """

    KEY = ("cell", "step")

    epoch: Positive
    step: Count
    loss: float | None
    reconstruction: float | None
    usage: Annotated[float, Field(ge=0, le=1)] | None
    perplexity: Positive | None
    FID: float | None
    images_per_second: Positive
    seconds: Positive


class CodeCount(CsvLine):
    """How often the test split hit one code, in a cell's codes.csv."""

    KEY: ClassVar[tuple[str, ...]] = ("code",)

    code: Count
    count: Count


class Codes(CodeCount, OfCell):
    """The same, collected."""

    KEY = ("cell", "code")


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


class VerdictLine(CsvLine):
    """What was found of a claim, on a dataset and by a metric.

    effect, low, high: in the metric's unit, positive where the claim is right, with the 95 %
    interval over seeds. diverged: seeds that are not judged, since a row of theirs diverged.
    published: the effect that the published numbers have.
    """

    KEY = ("claim", "dataset", "metric")

    claim: Name
    standing: Literal["stated", "inferred", "control", "others"]
    dataset: Label
    protocol: Literal["", "exact", "as_published", "samples"]
    metric: Label
    verdict: Literal["reproduced", "contradicted", "undecided", "not tested at this budget"]
    effect: float | None
    low: float | None
    high: float | None
    seeds: Count
    diverged: Count
    published: float | None


def read_csv(path: Path, kind: type[CsvLine]) -> pd.DataFrame:
    """The lines of a CSV file, every value checked.

    Columns of text keep the digits of the source; an empty cell is an empty string in a column of
    text and NaN in a column of numbers. Raises ConfigError naming the file and the line.
    """
    texts = {name for name, field in kind.model_fields.items() if _is_text(field.annotation)}
    found: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_split(path, list(kind.model_fields)), 2):
        where = f"{path}: line {number}"
        try:
            kind.model_validate({k: v or (v if k in texts else None) for k, v in line.items()})
        except ValidationError as error:
            raise ConfigError(explain(error, where)[0]) from None
        for name in line.keys() - texts:
            if line[name] and not _is_number(line[name]):
                raise ConfigError(f"{where}: {name}: '{line[name][:60]}' is no number of 64 bits")
        first = found.setdefault(tuple(line[name] for name in kind.KEY), number)
        if first != number:
            raise ConfigError(f"{where}: repeats line {first}; {', '.join(kind.KEY)} must differ")
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={name: [""] for name in kind.model_fields if name not in texts},
    )


def _is_number(text: str) -> bool:
    """Whether a text is a number as this project writes numbers."""
    return bool(NUMBER.fullmatch(text)) and (text == "inf" or math.isfinite(float(text)))


def _is_text(annotation: Any) -> bool:
    """Whether a column is of text: its values are no numbers."""
    try:
        TypeAdapter(annotation).validate_python(1, strict=True)
    except ValidationError:
        return True
    return False


def _split(path: Path, columns: list[str]) -> list[dict[str, str]]:
    """The values of every line by column. A file that was cut short has no end of its last line."""
    text = read_text(path).removeprefix("\ufeff")
    if not text.endswith("\n"):
        raise ConfigError(f"{path}: empty or cut short: the last line has no end")
    try:
        heading, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ConfigError(f"{path}: not a CSV ({error})") from None
    if heading != columns:
        named = ", ".join(heading)
        raise ConfigError(f"{path}: columns are {named}; expected {', '.join(columns)}")
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            raise ConfigError(f"{path}: line {number}: {len(line)} values, must be {len(columns)}")
    return [dict(zip(columns, line, strict=True)) for line in lines]
