"""The records of a cell, typed: what its training, sampling and evaluation say of themselves.

A record is written and read by the same type. It may hold more than is read here, and one that was
written before a field existed has the field's default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from workflows.config.reading import read_json
from workflows.errors import ConfigError
from workflows.files import write_json


class Record(BaseModel):
    """commit, dirty: of the code that made it, and whether it had uncommitted changes. lock_sha256:
    of the file that pins the packages.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    commit: str = ""
    dirty: bool = False
    lock_sha256: str = ""
    device: str = ""
    threads: int = 1
    seconds: float = 0.0


class TrainRecord(Record):
    """train.json. epochs, steps: how far it came, of planned_steps. images: that it was trained on.

    knobs: those of the cell, of a diffusion model without those of sampling. versions: part of the
    training -> its version. channels: of an autoencoder's images. shape, classes: of a diffusion
    model's points and dataset. features: metric network that was part of what was minimised ->
    SHA-256 of its weights. first_stage: SHA-256 of the model whose latents were diffused.
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
    """sampling.json; finished, it also holds the knobs of sampling.

    epochs: of which samples along the training were kept. message: why there are no samples.
    model_sha256: of the model that was sampled. bits, coded_images: of a code, over so many images
    that were kept for validation; None of a model that cannot say how likely codes are.
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
        """What was asked for."""
        return dict(self.model_extra or {})


class EvaluationRecord(Record):
    """evaluation.json. status, message: whether the values are finite, and which are not.

    features: metric network -> SHA-256 of its weights. files: file of the cell -> SHA-256.
    dataset_sha256: of the images that were compared with. not_measured: metric -> why the images
    cannot have it.
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


Kind = TypeVar("Kind", bound=BaseModel)


def find(file: Path, kind: type[Kind]) -> Kind | None:
    """The record in a file; None if there is none that can be read."""
    try:
        return read_json(file, kind)
    except ConfigError:
        return None


def read(file: Path, kind: type[Kind]) -> Kind:
    """The record in a file. Raises ConfigError if it cannot be read."""
    return read_json(file, kind)


def write(file: Path, record: Record) -> None:
    """Write a record, atomically."""
    write_json(file, record.model_dump(mode="json", exclude_unset=True))
