"""Decoded datasets on disk: train.npy, test.npy, labels.npy and dataset.json in one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflows.config.datasets import Dataset
from workflows.config.reading import read_json
from workflows.data import formats, preparation
from workflows.data.formats import Allocate, Decoded
from workflows.data.records import ArrayRecord, DatasetRecord, MissingRecord
from workflows.data.sources import obtain
from workflows.errors import ConfigError, DataError
from workflows.files import digest, write_json

PARTS = ("train", "test", "labels")
# Every step hashes the images that it reads, up to this many bytes, which takes a second or two.
# Larger arrays are only checked when a run begins.
SMALL = 2**31
# A reader either fills arrays that it gets from its third argument, or returns new arrays.
Reader = Callable[[Dataset, tuple[Path, ...], Allocate], Decoded]


def reader_of(name: str) -> Reader:
    """Return the reader with a name in READERS."""
    # Trainings import this module too, and the libraries that decode images would delay them.
    from workflows.data import databases, images

    return {
        "mnist_csv": formats.read_mnist_csv,
        "idx": formats.read_idx,
        "cifar10": formats.read_cifar10,
        "image_folder": images.read_image_folder,
        "lmdb": databases.read_lmdb,
        "photo_patches": images.read_photo_patches,
    }[name]


@dataclass(frozen=True)
class TrainData:
    """train, validation: uint8 (n, c, h, w), memory-mapped. record: dataset.json."""

    train: np.ndarray
    validation: np.ndarray
    record: DatasetRecord


def prepare(dataset: Dataset, out: Path) -> None:
    """Find, check and decode a dataset into the folder `out`.

    The training images are in a fixed, seeded order, and the last of them are the validation split.
    Large formats are decoded straight into the files. An older preparation stays until the new
    arrays are decoded and checked. Raises Unavailable if no source has the dataset, and DataError,
    naming the file, for a file that is not as expected.
    """
    source_files = obtain(dataset, out.parent / "downloads" / dataset.name)
    # Listed before the files are read, so that the next run notices a change in the meantime.
    listing = preparation.listing(source_files.paths)
    where = ", ".join(str(path) for path in source_files.paths)
    scratch = out / ".decoding"
    shutil.rmtree(scratch, ignore_errors=True)  # A killed run may have left the folder.
    scratch.mkdir(parents=True)
    try:
        decoded = reader_of(dataset.reader)(
            dataset,
            source_files.paths,
            lambda part, shape: new_file(scratch / f"{part}.npy", shape),
        )
        _check(dataset, decoded, where)
        pixel_variance = variance(decoded.train[: dataset.trained])
        labels = decoded.labels if dataset.classes else None
        label_array = np.asarray([] if labels is None else labels, np.int64)
        arrays = {"train": decoded.train, "test": decoded.test, "labels": label_array}
        written = {part: _write(scratch / f"{part}.npy", array) for part, array in arrays.items()}
        # dataset.json is deleted first and written last, so a folder that has it is complete.
        (out / "dataset.json").unlink(missing_ok=True)
        for part in PARTS:
            (scratch / f"{part}.npy").replace(out / f"{part}.npy")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    record = DatasetRecord(
        name=dataset.name,
        image_size=dataset.image_size,
        channels=dataset.channels,
        classes=dataset.classes,
        train=written["train"],
        test=written["test"],
        labels=written["labels"] if dataset.classes else None,
        validation=dataset.validation,
        variance=pixel_variance,
        source=source_files.detail,
        settings=preparation.settings_of(dataset),
        files=listing,
    )
    write_json(out / "dataset.json", record.model_dump(mode="json"))


def note_missing(name: str, out: Path, reason: str) -> None:
    """Write a record into `out` saying that no source has the dataset.

    The cells of the dataset are then left out. The arrays are written, empty, because one Snakemake
    rule names all of these files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        np.save(out / f"{part}.npy", np.empty(0, np.uint8))
    write_json(out / "dataset.json", MissingRecord(name=name, missing=reason).model_dump())


def variance(pixels: np.ndarray) -> float:
    """Return the variance of uint8 pixels (any shape) scaled to [0, 1]; only the end rounds."""
    counts = np.zeros(256, np.int64)
    # One image at a time, because bincount takes eight bytes for each pixel.
    for image in pixels:
        counts += np.bincount(image.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts @ values) / counts.sum()
    return float(counts @ (values - mean) ** 2 / counts.sum())


def read_record(folder: Path) -> DatasetRecord:
    """Read dataset.json of a prepared folder. Raises DataError, also if no source had the data."""
    path = folder / "dataset.json"
    if reason := preparation.missing(folder):
        raise DataError(f"{path}: {reason}")
    try:
        return read_json(path, DatasetRecord)
    except ConfigError as error:
        raise DataError(f"{error}; run workflows.steps.prepare first") from None


def load_train(folder: Path) -> TrainData:
    """Open the training and validation images of a prepared folder, and not its test images."""
    record = read_record(folder)
    array = _open(folder, record, record.train)
    trained = len(array) - record.validation
    return TrainData(array[:trained], array[trained:], record)


def load_test(folder: Path) -> tuple[np.ndarray, DatasetRecord]:
    """Return the test images, uint8 (n, c, h, w), memory-mapped, and dataset.json."""
    record = read_record(folder)
    return _open(folder, record, record.test), record


def load_labels(folder: Path) -> np.ndarray:
    """Return the labels (n,) of all training images; the labels of the validation split are last.

    Raises DataError if the dataset has no labels, or if the file is not the prepared one.
    """
    record = read_record(folder)
    if record.labels is None:
        raise DataError(f"{folder / 'dataset.json'}: {record.name} has no classes")
    _check_digest(folder, record.labels)
    return np.load(folder / record.labels.file, allow_pickle=False)


def verify(folder: Path) -> None:
    """Compare all arrays with their digests. Raises DataError, OSError."""
    for array_record in read_record(folder).arrays.values():
        _check_digest(folder, array_record)


def _check_digest(folder: Path, array_record: ArrayRecord) -> None:
    file = folder / array_record.file
    if digest(file) != array_record.sha256:
        raise DataError(f"{file}: sha256 is not {array_record.sha256}; prepare it again")


def _check(dataset: Dataset, decoded: Decoded, where: str) -> None:
    """Raise DataError for arrays that differ from the dataset's settings or cannot be learnt."""
    for part, array in (("train", decoded.train), ("test", decoded.test)):
        count, size = getattr(dataset.images, part), dataset.image_size
        _check_images(array, (count, dataset.channels, size, size), f"{where}: {part}")
        if dataset.pixels is None:
            continue
        sha256 = getattr(dataset.pixels, part)
        if hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() != sha256:
            message = f"{where}: {part}: decoded pixels have another sha256 than {sha256}"
            if dataset.pixels.strict:
                raise DataError(message)
            warnings.warn(f"{message}; JPEG decoders differ, so results may too", stacklevel=3)
    trained = decoded.train[: dataset.trained]
    if all((image == trained[0]).all() for image in trained):
        raise DataError(
            f"{where}: {dataset.name}: the {len(trained)} images to train on are all alike, so "
            "there is nothing to learn; look at the files"
        )
    if dataset.classes:
        _check_labels(decoded.labels, dataset.classes, dataset, where)


def _check_images(array: np.ndarray, shape: tuple[int, ...], where: str) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise DataError(f"{where}: {array.dtype} {array.shape}, must be uint8 {shape}")


def _check_labels(labels: np.ndarray | None, classes: int, dataset: Dataset, where: str) -> None:
    """Raise DataError unless each image has a label, and each class an image to train on."""
    if labels is None or labels.shape != (dataset.images.train,):
        raise DataError(f"{where}: no label for each of the {dataset.images.train} images")
    if labels.min() < 0 or labels.max() >= classes:
        label_range = f"{labels.min()} to {labels.max()}"
        raise DataError(f"{where}: labels are {label_range}, must be 0 to {classes - 1}")
    # Sampling asks a model for every class.
    absent = np.setdiff1d(np.arange(classes), labels[: dataset.trained])
    if len(absent):
        problem = f"none of the {dataset.trained} images to train on has label {absent[0]}"
        raise DataError(f"{where}: {dataset.name}: {problem}")


def new_file(path: Path, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.memmap[Any, Any]:
    """Return a new array mapped to a file. Raises DataError if the disk has no room for it."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    size = path.stat().st_size
    try:
        # If the disk filled up later, writing to the mapped file would kill the process.
        with path.open("r+b") as handle:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle.fileno(), 0, size)
    except OSError as error:
        raise DataError(
            f"{path}: no room for {size} bytes ({error.strerror}); make room and run again"
        ) from None
    return array


def _write(file: Path, array: np.ndarray) -> ArrayRecord:
    """Write an array to `file`, unless the array is mapped to it, and return its record."""
    if not isinstance(array, np.memmap):
        mapped = new_file(file, array.shape, array.dtype)
        mapped[...] = array
        array = mapped
    array.flush()
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
    return ArrayRecord(file=file.name, images=len(array), sha256=digest(file))


def _open(folder: Path, record: DatasetRecord, array_record: ArrayRecord) -> np.ndarray:
    """Map an array of images. Raises DataError unless the file fits its record.

    The digest of a file of more than SMALL bytes is not compared.
    """
    path, size = folder / array_record.file, record.image_size
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: {error}; prepare it again") from None
    _check_images(array, (array_record.images, record.channels, size, size), str(path))
    if path.stat().st_size <= SMALL:
        _check_digest(folder, array_record)
    return array
