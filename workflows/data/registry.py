"""The datasets there are: one YAML file each in `workflows/datasets/`, of a closed schema."""

from __future__ import annotations

import difflib
import math
import mmap
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows import strict_yaml
from workflows.reading import validate
from workflows.schema import ConfigError

DATASETS = Path(__file__).parents[1] / "datasets"


@dataclass(frozen=True)
class Reader:
    """fewest, most: files it takes; an image folder with a partition takes two. version: raised
    when the arrays it gives change, so that datasets are prepared again.
    """

    fewest: int
    most: int
    version: int = 1


READERS = {
    "mnist_csv": Reader(1, 1),
    "idx": Reader(2, 2),
    "cifar10": Reader(1, 1),
    "image_folder": Reader(1, 1),
    "lmdb": Reader(2, 2),
    "photo_patches": Reader(2, 100),
}


class DataError(ValueError):
    """A dataset is unknown, absent or not what it should be; the message names the file."""


# Where a reader puts what it decodes: part ("train" or "test") and shape to an uint8 array.
Allocate = Callable[[str, tuple[int, ...]], np.ndarray]


def in_memory(part: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of no file, which this process shares with those that it forks."""
    return np.frombuffer(mmap.mmap(-1, math.prod(shape)), np.uint8).reshape(shape)


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
        content = strict_yaml.read(path)
        validate(content, "dataset", str(path))
    except strict_yaml.Unreadable as error:
        raise DataError(f"{path}: {error}") from None
    except ConfigError as error:
        raise DataError(str(error)) from None
    if content["name"] != name:
        raise DataError(f"{path}: name: is '{content['name']}', must be the file's name '{name}'")
    if content["validation"] >= content["images"]["train"]:
        raise DataError(f"{path}: validation: must be below images.train")
    _check_options(content, path)
    _check_sources(content, path)
    defaults: dict[str, Any] = {
        "options": {},
        "checksums": {},
        "pixels": {},
        "advice": "",
        "classes": None,
    }
    tuples = {key: tuple(content[key]) for key in ("value_range", "sources")}
    return Dataset(**{**defaults, **content, **tuples})


def _check_options(content: Mapping[str, Any], path: Path) -> None:
    options = content.get("options", {})
    for key in ("pattern", "train", "test"):
        try:
            re.compile(options.get(key, ""))
        except (re.error, OverflowError, RecursionError) as error:
            raise DataError(f"{path}: options.{key}: not a regular expression: {error}") from None
    for key, other in (("train", "test"), ("test", "train")):
        if key in options and other not in options:
            raise DataError(f"{path}: options.{key}: goes with options.{other}, which is missing")
    if "resample" in options and not options.get("resize"):
        raise DataError(
            f"{path}: options.resample: goes with options.resize: true, which is missing"
        )
    if "labels" in options and "classes" not in content:
        raise DataError(f"{path}: options.labels: goes with 'classes', which is missing")


def _check_sources(content: Mapping[str, Any], path: Path) -> None:
    """A reader takes so many files, and two of one name would be one download."""
    reader = content["reader"]
    least, most = READERS[reader].fewest, READERS[reader].most
    if "partition" in content.get("options", {}):
        least, most = 2, 2
    for number, source in enumerate(content["sources"]):
        where = f"{path}: sources.{number}.files"
        count = len(source["files"])
        if not least <= count <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise DataError(f"{where}: {count} given, reader '{reader}' takes {wanted}")
        if source["kind"] == "url":
            names = [file["url"].rpartition("/")[2] for file in source["files"]]
            if len(set(names)) != len(names):
                raise DataError(f"{where}: two files have the same name")
