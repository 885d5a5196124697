"""The records of a cell: what its training, its sampling and its evaluation report of themselves.

A record is written and read by the same type. It may have more fields than the type, and a field
that an older record lacks has its default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from workflows.config.reading import Kind, read_json
from workflows.errors import ConfigError
from workflows.files import write_json


class Record(BaseModel):
    """What all records have.

    commit, dirty: of the code, and whether the code had uncommitted changes. lock_sha256: of the
    file that pins the packages.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    commit: str = ""
    dirty: bool = False
    lock_sha256: str = ""
    device: str = ""
    threads: int = 1
    seconds: float = 0.0


class TrainRecord(Record):
    """train.json.

    message: why the training diverged. knobs: the settings of the cell, without those of sampling.
    epochs, steps: how many the training finished. images: the number of training images. processes:
    how many shared each batch. planned_steps: the steps of the whole training, also if it diverged
    before. channels: of the images of an autoencoder. versions: part of the training -> its
    version. features: metric network in the loss -> SHA-256 of its file. shape, classes: of the
    points and the dataset of a generative model. progress_samples: the samples of a generative
    model behind each distance that is measured during training. first_stage: SHA-256 of the model
    of the first stage. parameters: the number of trained parameters.
    """

    status: Literal["finished", "diverged"]
    message: str = ""
    budget: str
    cell: str
    knobs: dict[str, Any]
    epochs: int
    images: int
    steps: int
    processes: int = 1
    planned_steps: int = 0
    channels: int = 3
    dataset_sha256: str
    versions: dict[str, int | str] = {}
    features: dict[str, str] = {}
    shape: list[int] | None = None
    classes: int | None = None
    labels_sha256: str | None = None
    progress_samples: int | None = None
    first_stage: str | None = None
    log_sha256: str | None = None
    model_sha256: str | None = None
    parameters: int | None = None


class SamplingRecord(Record):
    """sampling.json, which also has the knobs of sampling as fields.

    message: why there are no samples. epochs: those with samples made during training.
    model_sha256: of the sampled model. bits: of a code, over coded_images validation images; None
    for a model without likelihoods.
    """

    status: str
    message: str = ""
    versions: dict[str, int] = {}
    epochs: list[int] = []
    model_sha256: str | None = None
    bits: float | None = None
    coded_images: int = 0

    @property
    def knobs(self) -> dict[str, Any]:
        """The knobs of sampling."""
        return dict(self.model_extra or {})


class EvaluationRecord(Record):
    """evaluation.json.

    message: which values are not finite. features: metric network -> SHA-256 of its file, in older
    records of a converted copy. files:
    file of the cell -> SHA-256. dataset_sha256: of the images that were compared with.
    not_measured: metric -> why these images cannot have it.
    """

    status: Literal["finished", "diverged"] = "finished"
    message: str = ""
    features: dict[str, str]
    files: dict[str, str]
    protocols: list[str] = []
    versions: dict[str, int] = {}
    dataset_sha256: str | None = None
    fid_images: int | None = None
    lpips_images: int | None = None
    reference_images: int | None = None
    not_measured: dict[str, str] = {}


# Raises ConfigError for a record that cannot be read.
read = read_json


def find(file: Path, kind: type[Kind]) -> Kind | None:
    """Return the record in a file, or None if there is none or it cannot be read."""
    try:
        return read(file, kind)
    except ConfigError:
        return None


def write(file: Path, record: Record) -> None:
    """Write a record, atomically."""
    write_json(file, record.model_dump(mode="json", exclude_unset=True))
