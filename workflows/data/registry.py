"""The datasets there are: one YAML file each in `workflows/datasets/`, of a closed schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jsonschema import Draft202012Validator

DATASETS = Path(__file__).parents[1] / "datasets"
SCHEMA = Path(__file__).parents[1] / "schemas" / "dataset.schema.yaml"


class DataError(ValueError):
    """A dataset is unknown, absent or not what it should be; the message names the file."""


# Where a reader puts what it decodes: part ("train" or "test") and shape to an uint8 array.
Allocate = Callable[[str, tuple[int, ...]], np.ndarray]


def in_memory(part: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of no file."""
    return np.empty(shape, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """What a reader gives: train and test, uint8 (n, c, h, w), and the training labels.

    labels: integers (n,) in [0, classes), in the order of `train`; None if the dataset has none.
    """

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Dataset:
    """What one YAML file says. Images are uint8, (channels, image_size, image_size), in 0..255.

    images: `train` (validation included) and `test` counts. validation: how many of the training
    images are held back. checksums: file name -> md5 of its unpacked bytes. pixels: `train` and
    `test` -> sha256 of the decoded array's bytes, `strict` if another sum is an error.
    options: settings of the reader. classes: how many its training labels tell apart, or None.
    """

    name: str
    title: str
    stand_in_for: str | None
    image_size: int
    channels: int
    value_range: tuple[int, int]
    licence: str
    citation: str
    reader: str
    options: dict[str, Any]
    sources: tuple[dict[str, Any], ...]
    checksums: dict[str, str]
    pixels: dict[str, Any]
    images: dict[str, int]
    validation: int
    advice: str
    classes: int | None


def names(folder: Path = DATASETS) -> list[str]:
    """Names of all datasets, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def describe(name: str, folder: Path = DATASETS) -> Dataset:
    """The dataset called `name`; DataError if there is none or its file breaks the schema."""
    known = names(folder)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise DataError(f"unknown dataset '{name}'; {hint}allowed: {', '.join(known)}")
    path = folder / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    for broken in Draft202012Validator(schema).iter_errors(content):
        raise DataError(f"{path}: {broken.json_path}: {broken.message}")
    if content["name"] != name:
        raise DataError(f"{path}: name: is '{content['name']}', must be the file's name '{name}'")
    if content["validation"] >= content["images"]["train"]:
        raise DataError(f"{path}: validation: must be below images.train")
    defaults: dict[str, Any] = {
        "options": {},
        "checksums": {},
        "pixels": {},
        "advice": "",
        "classes": None,
    }
    tuples = {key: tuple(content[key]) for key in ("value_range", "sources")}
    return Dataset(**{**defaults, **content, **tuples})
