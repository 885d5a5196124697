"""The types of the records that the step prepare writes beside its files."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _Record(BaseModel):
    """Keys that a type does not know are ignored, and an older record may lack optional keys."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class ArrayRecord(_Record):
    """The file of one array, relative to its folder. images: how many the array holds."""

    file: str
    images: int
    sha256: str


def _length(validation: object) -> object:
    """Return the number of images in place of their first and last index in older records."""
    match validation:
        case {"indices": [int(first), int(end)]}:
            return end - first
    return validation


class DatasetRecord(_Record):
    """dataset.json.

    validation: how many of the images in `train`, the last of them, are for validation. variance:
    of the other images in `train`, scaled to [0, 1]. source: where the files were found. settings,
    files: what the arrays were made from (see preparation.py). labels: None for a dataset without
    classes.
    """

    name: str
    image_size: int
    channels: int
    classes: int | None = None
    train: ArrayRecord
    test: ArrayRecord
    labels: ArrayRecord | None = None
    validation: Annotated[int, Field(ge=1), BeforeValidator(_length)]
    variance: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    source: str = ""
    settings: dict[str, object] = {}
    files: str = ""

    @model_validator(mode="after")
    def _leaves_training_images(self) -> DatasetRecord:
        if self.validation >= self.train.images:
            raise ValueError(f"validation: {self.validation} leaves none of {self.train.images}")
        return self

    @property
    def arrays(self) -> dict[str, ArrayRecord]:
        """The record of each array that the dataset has: "train", "test" and perhaps "labels"."""
        parts = {"train": self.train, "test": self.test, "labels": self.labels}
        return {part: array for part, array in parts.items() if array is not None}


class MissingRecord(_Record):
    """dataset.json of a dataset that no source has. missing: the reason."""

    name: str
    missing: str
