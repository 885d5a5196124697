"""What the steps prepare and weights say of the files that they wrote."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    """A record may hold more than is read here, and may be older than a field with a default."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ArrayRecord(_Record):
    """The file of one array, relative to its folder. images: how many the array holds."""

    file: str
    images: int
    sha256: str


class ValidationRecord(_Record):
    """indices: the first validation image among the training images, and the end of all of them."""

    indices: Annotated[list[int], Field(min_length=2, max_length=2)]


class DatasetRecord(_Record):
    """dataset.json.

    variance: of the training images in [0, 1]. source: where they were found. settings, files: what
    the arrays were made from; see `preparation.py`. labels: only of a dataset with classes.
    """

    name: str
    image_size: int
    channels: int
    classes: int | None = None
    train: ArrayRecord
    test: ArrayRecord
    labels: ArrayRecord | None = None
    validation: ValidationRecord
    variance: float
    source: str = ""
    settings: dict[str, object] = {}
    files: str = ""

    @property
    def arrays(self) -> dict[str, ArrayRecord]:
        """Part ("train", "test" or "labels") -> its array, of the parts that the dataset has."""
        parts = {"train": self.train, "test": self.test, "labels": self.labels}
        return {part: array for part, array in parts.items() if array is not None}


class MissingRecord(_Record):
    """dataset.json of a dataset that no source has. missing: why."""

    name: str
    missing: str


class WeightsRecord(_Record):
    """<network>.json.

    key: what the weights were converted from; see `weight_sources.py`. features: how results name
    the network and its package. sha256: of <network>.safetensors.
    """

    network: str
    key: str = ""
    features: str
    sha256: str
